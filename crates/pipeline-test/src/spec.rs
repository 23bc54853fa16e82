//! What a test file says, once it is understood.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use syntax::{Source, Span};

/// A file of tests.
pub(crate) struct TestFile {
    pub(crate) source: Source,
    pub(crate) tests: Vec<TestCase>,
    /// Paths that `files` names, anywhere.
    pub(crate) files: Vec<(String, Span)>,
}

/// One test: a configuration, what happens, what is to come of it.
#[derive(Clone)]
pub(crate) struct TestCase {
    pub(crate) name: String,
    pub(crate) span: Span,
    pub(crate) config: Config,
    /// What the clock shows at the start, in nanoseconds since the Unix epoch.
    pub(crate) start_ns: i64,
    pub(crate) env: BTreeMap<String, String>,
    /// Contents by path, as the configuration writes it.
    pub(crate) files: BTreeMap<String, String>,
    pub(crate) answers: Vec<Answer>,
    pub(crate) stubs: Vec<Stub>,
    /// Servers by name, for `pipelinetest.mocks.http.<name>.url`.
    pub(crate) mocks: Vec<String>,
    pub(crate) steps: Vec<Step>,
}

/// The configuration under test: all parts together.
#[derive(Clone, Default)]
pub(crate) struct Config {
    /// Texts in the test file itself, at the line on which they stand there.
    pub(crate) inline: Vec<Source>,
    /// A file or a directory.
    pub(crate) path: Option<(PathBuf, Span)>,
}

/// What a server answers.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) to: Asked,
    pub(crate) method: Option<String>,
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Bytes,
    /// There is no connection.
    pub(crate) refuse: bool,
}

/// Who is asked.
#[derive(Clone)]
pub(crate) enum Asked {
    /// A URL, with or without its query.
    Url(TextMatch),
    /// The exporter of a global ID.
    Component(String),
}

/// What stands in place of a component.
#[derive(Clone)]
pub(crate) struct Stub {
    pub(crate) component: String,
    pub(crate) span: Span,
    pub(crate) exports: StubExports,
}

#[derive(Clone)]
pub(crate) enum StubExports {
    /// It does nothing and exports what it is built with.
    Off,
    /// These exports, each with its place.
    Values(Vec<(String, Span, eval::Value)>),
}

/// One thing that happens.
#[derive(Clone)]
pub(crate) enum Step {
    Send(Input),
    Advance(Duration),
    /// From now on servers answer this.
    Answer(Vec<Answer>),
    Assert(Vec<Assertion>, Duration),
}

/// Data for components.
#[derive(Clone)]
pub(crate) struct Input {
    /// Receivers (`loki.process.a.receiver`) or sources, whose data it is then.
    pub(crate) to: Vec<(String, Span)>,
    pub(crate) data: Data,
    /// Where the data stands.
    pub(crate) span: Span,
}

#[derive(Clone)]
pub(crate) enum Data {
    Loki(Vec<LogEntry>),
    /// A page in the text format.
    Prometheus {
        page: String,
        open_metrics: bool,
    },
    Traces(serde_json::Value),
    Metrics(serde_json::Value),
    Logs(serde_json::Value),
    Pyroscope(Vec<SentProfile>),
}

#[derive(Clone)]
pub(crate) struct SentProfile {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) body: Bytes,
    /// A request to `/ingest` in this format; otherwise pprof.
    pub(crate) ingest: Option<String>,
}

#[derive(Clone)]
pub(crate) struct LogEntry {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) line: String,
    pub(crate) timestamp_ns: Option<i64>,
    pub(crate) metadata: BTreeMap<String, String>,
}

/// The kinds of data that assertions look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Signal {
    Loki,
    Prometheus,
    Traces,
    Metrics,
    Logs,
    Pyroscope,
    OwnMetrics,
}

impl Signal {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Loki => "loki",
            Self::Prometheus => "prometheus",
            Self::Traces => "traces",
            Self::Metrics => "metrics",
            Self::Logs => "logs",
            Self::Pyroscope => "pyroscope",
            Self::OwnMetrics => "own_metrics",
        }
    }

    /// What one of them is called, and several.
    pub(crate) const fn items(self) -> (&'static str, &'static str) {
        match self {
            Self::Loki => ("entry", "entries"),
            Self::Prometheus | Self::OwnMetrics => ("sample", "samples"),
            Self::Traces => ("span", "spans"),
            Self::Metrics => ("data point", "data points"),
            Self::Logs => ("log record", "log records"),
            Self::Pyroscope => ("profile", "profiles"),
        }
    }

    /// The fields of an item, in the order in which they are shown.
    pub(crate) const fn fields(self) -> &'static [(&'static str, FieldType)] {
        use FieldType::{Flag, Map, Number, Text, Time};
        match self {
            Self::Loki => {
                &[("line", Text), ("labels", Map), ("structured_metadata", Map), ("timestamp", Time)]
            }
            Self::Prometheus | Self::OwnMetrics => &[
                ("labels", Map),
                ("value", Number),
                ("timestamp", Time),
                ("histogram", Flag),
                ("metadata", Map),
                ("exemplar", Map),
            ],
            Self::Pyroscope => &[
                ("labels", Map),
                ("format", Text),
                ("totals", Map),
                ("samples", Number),
                ("size", Number),
                ("timestamp", Time),
            ],
            Self::Traces => &[
                ("name", Text),
                ("kind", Text),
                ("status", Text),
                ("trace_id", Text),
                ("span_id", Text),
                ("parent_span_id", Text),
                ("attributes", Map),
                ("resource", Map),
                ("scope", Text),
                ("events", Text),
                ("start", Time),
                ("end", Time),
            ],
            Self::Metrics => &[
                ("name", Text),
                ("type", Text),
                ("unit", Text),
                ("temporality", Text),
                ("value", Number),
                ("count", Number),
                ("sum", Number),
                ("attributes", Map),
                ("resource", Map),
                ("scope", Text),
                ("timestamp", Time),
            ],
            Self::Logs => &[
                ("body", Text),
                ("severity_text", Text),
                ("severity_number", Number),
                ("attributes", Map),
                ("resource", Map),
                ("scope", Text),
                ("trace_id", Text),
                ("span_id", Text),
                ("timestamp", Time),
            ],
        }
    }
}

/// What a field of an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldType {
    Text,
    Number,
    Time,
    Flag,
    Map,
}

/// One claim about what has come.
#[derive(Clone)]
pub(crate) struct Assertion {
    pub(crate) signal: Signal,
    /// Receivers; none: all sinks together.
    pub(crate) sinks: Vec<(String, Span)>,
    pub(crate) rule: Rule,
    pub(crate) span: Span,
}

#[derive(Clone)]
pub(crate) enum Rule {
    /// At least one item matches.
    Contains(Match),
    /// As many items match.
    Count(Bounds, Match),
    /// No item matches.
    None(Match),
    /// Every item matches, and there is one.
    All(Match),
    /// Those that match are these, one to one.
    Exact { of: Match, items: Vec<Match>, ordered: bool },
    /// What a component has counted as dropped.
    Dropped { component: String, reason: Option<String>, count: Bounds },
}

/// How many.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bounds {
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Bounds {
    pub(crate) const fn exactly(n: f64) -> Self {
        Self { min: n, max: n }
    }

    pub(crate) fn holds(self, n: f64) -> bool {
        // Bits, for the sake of NaN and the staleness marker.
        (self.min <= n && n <= self.max) || self.min.to_bits() == n.to_bits()
    }
}

/// What an item is to be like: fields that are not named may be anything.
#[derive(Clone, Default)]
pub(crate) struct Match {
    pub(crate) fields: Vec<(&'static str, FieldMatch)>,
}

#[derive(Clone)]
pub(crate) enum FieldMatch {
    Text(TextMatch),
    Number(Bounds),
    /// From, to, in nanoseconds since the Unix epoch.
    Time(i64, i64),
    Flag(bool),
    Map {
        partial: bool,
        values: BTreeMap<String, TextMatch>,
        absent: Vec<String>,
    },
}

#[derive(Clone)]
pub(crate) enum TextMatch {
    Is(String),
    /// Somewhere in the text.
    Regex(regex::Regex),
    Contains(String),
    Not(Box<TextMatch>),
}

impl TextMatch {
    pub(crate) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Is(wanted) => text == wanted,
            Self::Regex(regex) => regex.is_match(text),
            Self::Contains(part) => text.contains(part.as_str()),
            Self::Not(inner) => !inner.matches(text),
        }
    }
}

impl std::fmt::Display for TextMatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Is(text) => write!(f, "{text:?}"),
            Self::Regex(regex) => write!(f, "matches /{regex}/"),
            Self::Contains(part) => write!(f, "contains {part:?}"),
            Self::Not(inner) => write!(f, "not {inner}"),
        }
    }
}

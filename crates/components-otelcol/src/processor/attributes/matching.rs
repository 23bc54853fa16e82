//! The `include` and `exclude` blocks: which items are edited.
//!
//! As the collector's `filter` packages: of several properties all have to match, of several texts of one
//! property one.

use component::eval::Value;
use component::{ArgEnum, Arguments, Error};
use signal::Regex;
use signal::otlp::proto::common::v1::any_value::Value as Kind;
use signal::otlp::proto::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use signal::otlp::proto::logs::v1::LogRecord;
use signal::otlp::proto::resource::v1::Resource;
use signal::otlp::proto::trace::v1::Span;
use signal::otlp::proto::trace::v1::span::SpanKind;

use super::action::any;
use crate::value;

/// What items have to be like.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct MatchArgs {
    /// How texts are compared.
    #[arg(code_type = "string")]
    pub match_type: MatchType,
    /// Names of services: the resource's `service.name`. Traces only.
    #[arg(default)]
    pub services: Vec<String>,
    /// Names of spans. Traces only.
    #[arg(default)]
    pub span_names: Vec<String>,
    /// Bodies of log records. Logs only.
    #[arg(default)]
    pub log_bodies: Vec<String>,
    /// Severity texts of log records. Logs only.
    #[arg(default)]
    pub log_severity_texts: Vec<String>,
    /// Names of metrics. Metrics only.
    #[arg(default)]
    pub metric_names: Vec<String>,
    /// Kinds of spans, such as `SPAN_KIND_SERVER`. Traces only.
    #[arg(default)]
    pub span_kinds: Vec<String>,
    /// How results of regular expressions are remembered.
    #[arg(block)]
    pub regexp: Option<RegexpArgs>,
    /// Severities of log records. Logs only.
    #[arg(block)]
    pub log_severity: Option<SeverityArgs>,
    /// Attributes of the item, all of which have to match.
    #[arg(block)]
    pub attribute: Vec<AttributeArgs>,
    /// Attributes of the resource, all of which have to match.
    #[arg(block)]
    pub resource: Vec<AttributeArgs>,
    /// Instrumentation scopes, one of which has to match.
    #[arg(block)]
    pub library: Vec<LibraryArgs>,
}

/// How texts are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ArgEnum)]
pub enum MatchType {
    /// They are equal.
    Strict,
    /// An RE2 expression matches somewhere in the text.
    Regexp,
}

/// How results of regular expressions are remembered: they need not be, here.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct RegexpArgs {
    /// Makes no difference to results.
    #[arg(default)]
    pub cache_enabled: bool,
    /// Makes no difference to results.
    #[arg(default)]
    pub cache_max_num_entries: i64,
}

/// Severities of log records.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct SeverityArgs {
    /// The lowest that matches: `TRACE`, `DEBUG`, `INFO`, `WARN`, `ERROR` or `FATAL`, or with 2, 3 or 4 behind.
    #[arg(code_type = "string(SeverityLevel)")]
    pub min: String,
    /// Whether records without a severity match.
    pub match_undefined: bool,
}

/// An attribute.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct AttributeArgs {
    /// Its key.
    pub key: String,
    /// Its value; any if it is not set.
    #[arg(default)]
    pub value: Value,
}

/// An instrumentation scope.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct LibraryArgs {
    /// Its name.
    pub name: String,
    /// Its version; any if it is not set.
    pub version: Option<String>,
}

/// A checked `include` or `exclude` block.
#[derive(Debug)]
pub(super) struct Matcher {
    services: Texts,
    span_names: Texts,
    span_kinds: Texts,
    log_bodies: Texts,
    severity_texts: Texts,
    metric_names: Texts,
    severity: Option<(i32, bool)>,
    attributes: Vec<Attribute>,
    resources: Vec<Attribute>,
    libraries: Vec<(Texts, Texts)>,
}

/// `None`: not asked for.
#[derive(Debug, Default)]
struct Texts(Option<Vec<Text>>);

#[derive(Debug)]
enum Text {
    Equal(String),
    Regex(Regex),
}

#[derive(Debug)]
struct Attribute {
    key: String,
    value: Expected,
}

#[derive(Debug)]
enum Expected {
    Anything,
    Equal(AnyValue),
    Regex(Regex),
}

const KINDS: [&str; 5] = [
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
];

impl Texts {
    fn new(block: &'static str, args: &MatchArgs, texts: &[String]) -> Result<Self, Error> {
        if texts.is_empty() {
            return Ok(Self(None));
        }
        let text = |text: &String| match args.match_type {
            MatchType::Strict => Ok(Text::Equal(text.clone())),
            MatchType::Regexp => Ok(Text::Regex(regex(block, text)?)),
        };
        Ok(Self(Some(texts.iter().map(text).collect::<Result<_, Error>>()?)))
    }

    fn is_match(&self, text: &str) -> bool {
        self.0.as_ref().is_none_or(|texts| {
            texts.iter().any(|t| match t {
                Text::Equal(expected) => expected == text,
                Text::Regex(regex) => regex.is_match(text),
            })
        })
    }

    fn is_asked(&self) -> bool {
        self.0.is_some()
    }
}

fn regex(block: &'static str, pattern: &str) -> Result<Regex, Error> {
    Regex::new(pattern).map_err(|error| Error::argument(block, error.to_string()))
}

impl Attribute {
    fn new(block: &'static str, kind: MatchType, args: &AttributeArgs) -> Result<Self, Error> {
        if args.key.is_empty() {
            return Err(Error::argument(block, "an attribute to match has an empty key"));
        }
        let value = match (kind, &args.value) {
            (_, Value::Null) => Expected::Anything,
            (MatchType::Regexp, Value::String(pattern)) => Expected::Regex(regex(block, pattern)?),
            (MatchType::Regexp, _) => {
                let message = format!("match_type regexp needs a string as the value of {:?}", args.key);
                return Err(Error::argument(block, message));
            }
            (MatchType::Strict, value) => Expected::Equal(any(value).ok_or_else(|| {
                Error::argument(block, format!("the value of {:?} is none that attributes have", args.key))
            })?),
        };
        Ok(Self { key: args.key.clone(), value })
    }

    fn is_match(&self, attributes: &[KeyValue]) -> bool {
        let Some(found) = attributes.iter().find(|a| a.key == self.key) else { return false };
        match &self.value {
            Expected::Anything => true,
            Expected::Equal(expected) => found.value.as_ref() == Some(expected),
            Expected::Regex(regex) => {
                let scalar = matches!(
                    found.value.as_ref().and_then(|v| v.value.as_ref()),
                    Some(
                        Kind::StringValue(_) | Kind::BoolValue(_) | Kind::IntValue(_) | Kind::DoubleValue(_)
                    )
                );
                scalar && regex.is_match(&value::text(found.value.as_ref()))
            }
        }
    }
}

impl Matcher {
    /// `block` is `include` or `exclude`.
    pub(super) fn new(block: &'static str, args: &MatchArgs) -> Result<Self, Error> {
        if let (MatchType::Strict, Some(kind)) =
            (args.match_type, args.span_kinds.iter().find(|k| !KINDS.contains(&k.as_str())))
        {
            let message = format!("{kind:?} is no kind of spans; there are {}", KINDS.join(", "));
            return Err(Error::argument(block, message));
        }
        let texts = |texts: &[String]| Texts::new(block, args, texts);
        let attributes = |list: &[AttributeArgs]| {
            list.iter().map(|a| Attribute::new(block, args.match_type, a)).collect::<Result<Vec<_>, _>>()
        };
        let library = |library: &LibraryArgs| {
            let version = library.version.as_slice();
            Ok((texts(std::slice::from_ref(&library.name))?, texts(version)?))
        };
        let severity =
            |args: &SeverityArgs| Ok::<_, Error>((severity(block, &args.min)?, args.match_undefined));
        Ok(Self {
            services: texts(&args.services)?,
            span_names: texts(&args.span_names)?,
            span_kinds: texts(&args.span_kinds)?,
            log_bodies: texts(&args.log_bodies)?,
            severity_texts: texts(&args.log_severity_texts)?,
            metric_names: texts(&args.metric_names)?,
            severity: args.log_severity.as_ref().map(severity).transpose()?,
            attributes: attributes(&args.attribute)?,
            resources: attributes(&args.resource)?,
            libraries: args.library.iter().map(library).collect::<Result<_, Error>>()?,
        })
    }

    fn asks_of_any(&self) -> bool {
        !self.attributes.is_empty() || !self.resources.is_empty() || !self.libraries.is_empty()
    }

    fn asks_of_logs(&self) -> bool {
        self.log_bodies.is_asked() || self.severity_texts.is_asked() || self.severity.is_some()
    }

    fn asks_of_spans(&self) -> bool {
        self.services.is_asked() || self.span_names.is_asked() || self.span_kinds.is_asked()
    }

    /// Refuses what makes no sense for the signals that go through.
    pub(super) fn check(&self, block: &'static str, traces: bool, logs: bool) -> Result<(), Error> {
        if traces && self.asks_of_logs() {
            return Err(Error::argument(block, "properties of log records do not go with traces in output"));
        }
        if logs && self.asks_of_spans() {
            let message = "services, span_names and span_kinds do not go with logs in output";
            return Err(Error::argument(block, message));
        }
        if traces && !self.asks_of_spans() && !self.asks_of_any() {
            let message = "needs a service, span name, span kind, attribute, resource or library for traces";
            return Err(Error::argument(block, message));
        }
        if logs && !self.asks_of_logs() && !self.asks_of_any() {
            let message = "needs a body, severity, attribute, resource or library for logs";
            return Err(Error::argument(block, message));
        }
        Ok(())
    }

    pub(super) fn span(&self, span: &Span, around: Around<'_>) -> bool {
        // Where there is no kind, the collector compares with nothing.
        let kind = SpanKind::try_from(span.kind).ok().filter(|kind| *kind != SpanKind::Unspecified);
        (!self.services.is_asked() || self.services.is_match(&around.service()))
            && self.span_names.is_match(&span.name)
            && self.span_kinds.is_match(kind.map(|kind| kind.as_str_name()).unwrap_or_default())
            && self.common(&span.attributes, around)
    }

    pub(super) fn record(&self, record: &LogRecord, around: Around<'_>) -> bool {
        (!self.log_bodies.is_asked() || self.log_bodies.is_match(&value::text(record.body.as_ref())))
            && self.severity_texts.is_match(&record.severity_text)
            && self.severity.is_none_or(|(min, undefined)| match record.severity_number {
                0 => undefined,
                number => number >= min,
            })
            && self.common(&record.attributes, around)
    }

    pub(super) fn metric_name(&self, name: &str) -> bool {
        self.metric_names.is_match(name)
    }

    /// What all items have.
    pub(super) fn common(&self, attributes: &[KeyValue], around: Around<'_>) -> bool {
        let scope = around.scope.map(|s| (s.name.as_str(), s.version.as_str())).unwrap_or_default();
        (self.libraries.is_empty()
            || self
                .libraries
                .iter()
                .any(|(name, version)| name.is_match(scope.0) && version.is_match(scope.1)))
            && self.resources.iter().all(|expected| expected.is_match(around.resource()))
            && self.attributes.iter().all(|expected| expected.is_match(attributes))
    }
}

/// What an item stands in.
#[derive(Clone, Copy)]
pub(super) struct Around<'a> {
    pub(super) resource: Option<&'a Resource>,
    pub(super) scope: Option<&'a InstrumentationScope>,
}

impl Around<'_> {
    fn resource(&self) -> &[KeyValue] {
        self.resource.map(|r| r.attributes.as_slice()).unwrap_or_default()
    }

    fn service(&self) -> String {
        let found = self.resource().iter().find(|a| a.key == "service.name");
        found.map_or_else(|| "<nil-service-name>".to_string(), |a| value::text(a.value.as_ref()))
    }
}

/// `INFO` is 9, `INFO2` 10.
fn severity(block: &'static str, level: &str) -> Result<i32, Error> {
    const LEVELS: [&str; 6] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
    let (name, step) = match level.as_bytes().last() {
        Some(digit @ b'2'..=b'4') => (&level[..level.len() - 1], i32::from(digit - b'1')),
        _ => (level, 0),
    };
    let at = LEVELS.iter().position(|l| *l == name);
    let at = at.and_then(|at| i32::try_from(at).ok());
    at.map(|at| at * 4 + 1 + step)
        .ok_or_else(|| Error::argument(block, format!("log_severity: unrecognized severity level {level:?}")))
}

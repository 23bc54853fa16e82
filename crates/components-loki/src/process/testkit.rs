//! For table tests of stages: entries in, entries out, metrics; no component around them.

use std::sync::Arc;

use component::eval::syntax::{Source, parse};
use component::eval::{Scope, decode};
use component::testkit::Names;
use component::{BuildCx, Services};
use signal::logs::{Entry, Hold, LogBuilder};
use signal::{Labels, Logs};

use super::pipeline::{Counters, Flush, Piece, Pipeline, StageCx};
use super::{Args, Stage};

/// One entry that goes in, and what is to come out.
#[derive(Clone, Debug)]
pub struct Case {
    line: String,
    labels: Vec<(String, String)>,
    metadata: Vec<(String, String)>,
    timestamp_ns: i64,
    gives: Option<Vec<Case>>,
}

impl Case {
    /// An entry of a stream without labels at one second after the epoch.
    pub fn new(line: impl Into<String>) -> Self {
        Self { line: line.into(), labels: vec![], metadata: vec![], timestamp_ns: 1_000_000_000, gives: None }
    }

    pub fn labels<const N: usize>(mut self, labels: [(&str, &str); N]) -> Self {
        self.labels = labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        self
    }

    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn metadata<const N: usize>(mut self, metadata: [(&str, &str); N]) -> Self {
        self.metadata = metadata.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        self
    }

    pub fn at(mut self, timestamp_ns: i64) -> Self {
        self.timestamp_ns = timestamp_ns;
        self
    }

    /// One entry comes out.
    pub fn gives(self, entry: Case) -> Self {
        self.gives_all([entry])
    }

    /// These come out.
    pub fn gives_all(mut self, entries: impl IntoIterator<Item = Case>) -> Self {
        self.gives = Some(entries.into_iter().collect());
        self
    }

    /// Nothing comes out.
    pub fn gives_nothing(self) -> Self {
        self.gives_all([])
    }

    /// It comes out as it went in.
    pub fn same(self) -> Self {
        let same = self.clone();
        self.gives(same)
    }

    fn entry(&self) -> (Labels, Entry) {
        let labels = Labels::from_pairs(self.labels.iter().map(|(n, v)| (n, v)));
        let metadata = Labels::from_pairs(self.metadata.iter().map(|(n, v)| (n, v)));
        let entry = Entry {
            stream: 0,
            timestamp_ns: self.timestamp_ns,
            line: self.line.as_str().into(),
            metadata: Some(metadata).filter(|m| !m.is_empty()),
        };
        (labels, entry)
    }

    fn shown(&self) -> String {
        let (labels, entry) = self.entry();
        shown(&labels, &entry)
    }
}

/// An entry as text, to compare and to read.
pub fn shown(labels: &Labels, entry: &Entry) -> String {
    let metadata = entry.metadata.as_ref().map(|m| format!(" {m}")).unwrap_or_default();
    format!("{} {labels} {:?}{metadata}", entry.timestamp_ns, &*entry.line)
}

/// A batch of entries.
pub fn batch(cases: &[Case], hold: Option<Hold>) -> Logs {
    let mut builder = LogBuilder::new(7, hold);
    for case in cases {
        let (labels, entry) = case.entry();
        let stream = builder.stream(&labels);
        builder.push(Entry { stream, ..entry });
    }
    builder.finish()
}

/// A pipeline under test.
pub struct Bench {
    pub pipeline: Pipeline,
    pub counters: Counters,
    pub node: BuildCx,
    metrics: OwnMetrics,
}

/// What the page of own metrics shows.
pub struct OwnMetrics(Arc<Services>);

fn stages(text: &str) -> Result<Vec<Stage>, String> {
    let source = Source::new("test.alloy", format!("forward_to = []\n{text}"));
    let (file, problems) = parse(&source);
    assert!(problems.is_empty(), "{text}: {problems:?}");
    let names = Names::default();
    let (args, problems) = decode::<Args>(&source, &file.body, None, &Scope::new(&names));
    let told = |d: &component::eval::syntax::Diagnostic| {
        format!("{} {}", d.message, d.help.as_deref().unwrap_or_default())
    };
    args.map(|args| args.stage).ok_or_else(|| problems.iter().map(told).collect::<Vec<_>>().join("\n"))
}

impl Bench {
    /// Builds and opens stages from their text.
    pub fn try_new(text: &str) -> Result<Self, String> {
        let services = Services::for_tests(std::env::temp_dir());
        let node = BuildCx::detached("loki.process.test", services.clone());
        let counters = Counters::new(&node.metrics());
        let cx = StageCx { counters: &counters, node: &node };
        let mut pipeline = Pipeline::new(&stages(text)?, &cx).map_err(|e| e.to_string())?;
        pipeline.open().map_err(|e| e.to_string())?;
        Ok(Self { pipeline, counters, node, metrics: OwnMetrics(services) })
    }

    /// As [`Bench::try_new`]; the stages are expected to be right.
    pub fn new(text: &str) -> Self {
        Self::try_new(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// Puts other stages in force; what was flushed by that.
    pub fn update(&mut self, text: &str) -> Vec<String> {
        let cx = StageCx { counters: &self.counters, node: &self.node };
        let pieces = self.pipeline.update(&stages(text).expect("valid stages"), &cx).expect("built");
        lines(&pieces)
    }

    /// What comes out of entries that go in as one batch.
    pub fn run(&mut self, cases: &[Case]) -> Vec<String> {
        lines(&self.pipeline.process(&batch(cases, None)))
    }

    /// What is kept back.
    pub fn flush(&mut self) -> Vec<String> {
        lines(&self.pipeline.flush(Flush::All))
    }

    /// What has been kept back for long enough.
    pub fn flush_due(&mut self) -> Vec<String> {
        lines(&self.pipeline.flush_due())
    }

    /// As [`OwnMetrics::metric`].
    pub fn metric(&self, name: &str) -> Option<f64> {
        self.metrics.metric(name)
    }

    /// The pipeline alone, for what runs it itself.
    pub fn split(self) -> (Pipeline, OwnMetrics) {
        (self.pipeline, self.metrics)
    }
}

impl OwnMetrics {
    /// The value of an own metric: `name{…}` as the page shows it, without the component's labels.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let text = self.0.metrics.text();
        let own = r#"component_id="loki.process.test",component_path="/""#;
        let line = |l: &str| {
            let l = l.replace(&format!(",{own}"), "").replace(&format!("{own},"), "").replace(own, "");
            let l = l.replace("{}", "");
            l.strip_prefix(name).and_then(|rest| rest.strip_prefix(' ')).map(str::to_owned)
        };
        text.lines().find_map(line).map(|value| value.parse().expect("a number"))
    }
}

/// Entries of pieces as texts.
pub fn lines(pieces: &[Piece]) -> Vec<String> {
    let entries = pieces.iter().flat_map(|p| p.batch.entries.iter().map(|e| shown(p.batch.labels(e), e)));
    entries.collect()
}

/// Each case alone, and all in one batch, through new stages of this text.
pub fn check(text: &str, cases: &[Case]) {
    let expected = |case: &Case| -> Vec<String> {
        case.gives.as_ref().expect("a case says what it gives").iter().map(Case::shown).collect()
    };
    for case in cases {
        let got = Bench::new(text).run(std::slice::from_ref(case));
        assert_eq!(got, expected(case), "{text}\n{}", case.shown());
    }
    let all: Vec<String> = cases.iter().flat_map(expected).collect();
    assert_eq!(Bench::new(text).run(cases), all, "in one batch: {text}");
}

/// The stages are refused with a message that holds `message`.
pub fn refused(text: &str, message: &str) {
    match Bench::try_new(text) {
        Err(error) => assert!(error.contains(message), "{text}: {error}"),
        Ok(_) => panic!("{text}: not refused"),
    }
}

/// Sends any bytes through the stages. A line never vanishes but by a stage that says so, and nothing panics.
pub fn fuzz(text: &str) {
    use proptest::prelude::*;
    let like = |pattern: &str| proptest::string::string_regex(pattern).expect("a pattern");
    let line = prop_oneof![
        any::<Vec<u8>>().prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        like("[ -~]{0,60}"),
        like(r#"(\{|\[|\}|\]|"|:|,|=|a|b|\\|\\u00e9|\\ud83d|1|-|e|\.| |true|null|\n|\x1b\[31m|é|<|>){0,40}"#),
        like(r#"2019-05-07T10:25:25\.1Z (stdout|stderr|x) (F|P|FP|) ?[a-z ]{0,8}"#),
        like(r#"\{"(log|a|b)":("[a-z]{0,3}(\\n)?"|[0-9]{1,3}|\{"b":[0-9]\}|\[[0-9],[0-9]\]|null),"b":"x"\}"#),
    ];
    let entry = (line, like("[ab]?")).prop_map(|(line, pod)| Case::new(line).label("pod", &pod));
    let config = ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() };
    let bench = std::cell::RefCell::new(Bench::new(text));
    proptest!(config, |(batches in proptest::collection::vec(proptest::collection::vec(entry, 1..8), 1..4))| {
        let mut bench = bench.borrow_mut();
        for cases in &batches {
            for piece in bench.pipeline.process(&batch(cases, None)) {
                prop_assert!(!piece.batch.is_empty());
            }
        }
        bench.flush();
        prop_assert_eq!(bench.flush(), Vec::<String>::new());
    });
}

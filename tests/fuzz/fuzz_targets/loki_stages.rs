//! Any text through each stage that takes text apart: no panic, it ends, and every entry comes out.
#![cfg_attr(feature = "libfuzzer", no_main)]

use std::cell::RefCell;

use component::{BuildCx, Services};
use components_loki::process::Args;
use components_loki::process::pipeline::{Counters, Flush, Pipeline, StageCx};
use eval::{Scope, decode};
use signal::Labels;
use signal::logs::{Entry, LogBuilder};
use syntax::Source;

/// Stages of which none drops or splits an entry.
const STAGES: [&str; 16] = [
    "stage.cri {}",
    "stage.docker {}",
    "stage.json {\n expressions = {a = \"\", b = \"a.b[0]\", c = \"*.c\"}\n}",
    "stage.json {\n expressions = {a = \"a || b | c\"}\n drop_malformed = false\n}",
    "stage.logfmt {\n mapping = {a = \"\", b = \"c\"}\n}\nstage.labels {\n values = {a = \"\", x = \"b\"}\n}",
    "stage.pattern {\n pattern = \"<a> - <_> [<b>] \\\"<c>\\\"\"\n}",
    "stage.regex {\n expression = \"^(?P<a>[a-z]*) *(?P<b>.*)$\"\n}\nstage.output {\n source = \"b\"\n}",
    "stage.replace {\n expression = \"(a+)(b)?\"\n replace = \"{{ .Value | ToUpper }}\"\n}",
    "stage.timestamp {\n source = \"a\"\n format = \"RFC3339\"\n}",
    "stage.windowsevent {\n source = \"message\"\n}",
    "stage.eventlogmessage {\n source = \"message\"\n}",
    "stage.decolorize {}",
    "stage.luhn {}",
    "stage.pack {\n labels = [\"job\"]\n}",
    "stage.truncate {\n rule {\n  limit = \"7B\"\n  suffix = \"…\"\n  source_type = \"line\"\n }\n}",
    "stage.template {\n source = \"a\"\n template = \"{{ .Entry | trunc 5 | b64enc | regexReplaceAll \\\"a(x*)b\\\" .job \\\"$1\\\" }}\"\n}\nstage.structured_metadata {\n values = {a = \"\"}\n}",
];

fn pipeline(stages: &str) -> Pipeline {
    let source = Source::new("fuzz", format!("forward_to = []\n{stages}"));
    let (file, problems) = syntax::parse(&source);
    assert!(problems.is_empty(), "{stages}: {problems:?}");
    let (args, problems) = decode::<Args>(&source, &file.body, None, &Scope::new(&()));
    let args = args.unwrap_or_else(|| panic!("{stages}: {problems:?}"));
    let node = BuildCx::detached("loki.process.fuzz", Services::for_tests(std::env::temp_dir()));
    let counters = Counters::new(&node.metrics());
    let mut pipeline =
        Pipeline::new(&args.stage, &StageCx { counters: &counters, node: &node }).expect(stages);
    pipeline.open().expect(stages);
    pipeline
}

thread_local! {
    static PIPELINES: RefCell<Vec<Pipeline>> = RefCell::new(STAGES.into_iter().map(pipeline).collect());
}

fuzz::target!(|text: &str| {
    let mut builder = LogBuilder::new(7, None);
    let stream = builder.stream(&Labels::from_pairs([("job", "fuzz")]));
    builder.push(Entry { stream, timestamp_ns: 1, line: text.into(), metadata: None });
    let batch = builder.finish();
    PIPELINES.with_borrow_mut(|pipelines| {
        for (stages, pipeline) in STAGES.iter().zip(pipelines) {
            let mut pieces = pipeline.process(&batch);
            pieces.extend(pipeline.flush(Flush::All));
            let entries: usize = pieces.iter().map(|piece| piece.batch.entries.len()).sum();
            assert_eq!(entries, 1, "{stages}");
        }
    });
});

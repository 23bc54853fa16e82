//! `loki.process`: nanoseconds an entry, stage by stage and for typical chains. A batch has 1,000 entries of four
//! streams, as a source sends it.

use std::hint::black_box;

use component::eval::syntax::{Source, parse};
use component::eval::{Scope, decode};
use component::testkit::Names;
use component::{BuildCx, Services};
use components_loki::process::Args;
use components_loki::process::pipeline::{Counters, Pipeline, StageCx};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use signal::logs::{Entry, LogBuilder};
use signal::{Labels, Logs};

const ENTRIES: usize = 1000;

const LEVELS: [&str; 4] = ["info", "info", "warn", "error"];

fn json(i: usize) -> String {
    let level = LEVELS[i % 4];
    format!(
        r#"{{"ts":"2024-05-07T10:25:25.{i:06}Z","level":"{level}","caller":"server/http.go:{i}","msg":"request completed","method":"GET","path":"/api/v1/items/{i}","status":200,"duration_ms":{}.5,"trace_id":"4bf92f3577b34da6a3ce929d0e0e{i:04}","user":{{"id":{i},"name":"ann"}}}}"#,
        i % 97
    )
}

fn logfmt(i: usize) -> String {
    let level = LEVELS[i % 4];
    format!(
        r#"ts=2024-05-07T10:25:25.{i:06}Z level={level} caller=server/http.go:{i} msg="request completed" method=GET path=/api/v1/items/{i} status=200 duration=12.5ms trace_id=4bf92f3577b34da6a3ce929d0e0e{i:04}"#
    )
}

fn nginx(i: usize) -> String {
    format!(
        r#"10.0.{}.{} - frank [07/May/2024:10:25:25 +0000] "GET /api/v1/items/{i} HTTP/1.1" 200 {} "-" "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36""#,
        i % 256,
        i % 199,
        i * 7
    )
}

fn cri(i: usize) -> String {
    format!("2024-05-07T10:25:25.{i:09}Z stdout F {}", logfmt(i))
}

fn docker(i: usize) -> String {
    let line = logfmt(i).replace('"', "\\\"");
    format!(r#"{{"log":"{line}\n","stream":"stdout","time":"2024-05-07T10:25:25.{i:09}Z"}}"#)
}

/// A stack trace: one first line in five.
fn java(i: usize) -> String {
    let text = if i.is_multiple_of(5) {
        format!("2024-05-07 10:25:25 ERROR request {i} failed")
    } else {
        format!("\tat com.example.Service.call(Service.java:{i})")
    };
    format!("2024-05-07T10:25:25.{i:09}Z stdout F {text}")
}

fn coloured(i: usize) -> String {
    format!("\u{1b}[32mINFO\u{1b}[0m request {i} completed in \u{1b}[1m12ms\u{1b}[0m")
}

fn array(i: usize) -> String {
    format!(r#"[{{"id":{i},"v":"a"}},{{"id":{i},"v":"b"}},{{"id":{i},"v":"c"}}]"#)
}

fn batch(line: fn(usize) -> String) -> Logs {
    let mut builder = LogBuilder::new(0, None);
    for i in 0..ENTRIES {
        let pod = format!("pod-{}", i / (ENTRIES / 4));
        let labels = [
            ("cluster", "eu-1"),
            ("namespace", "shop"),
            ("pod", &pod),
            ("container", "app"),
            ("job", "shop/app"),
        ];
        let stream = builder.stream(&Labels::from_pairs(labels));
        builder.push(Entry { stream, timestamp_ns: i as i64, line: line(i).into(), metadata: None });
    }
    builder.finish()
}

fn pipeline(stages: &str) -> Pipeline {
    let source = Source::new("bench.alloy", format!("forward_to = []\n{stages}"));
    let (file, problems) = parse(&source);
    assert!(problems.is_empty(), "{problems:?}");
    let names = Names::default();
    let (args, problems) = decode::<Args>(&source, &file.body, None, &Scope::new(&names));
    assert!(problems.is_empty(), "{problems:?}");
    let node = BuildCx::detached("loki.process.bench", Services::for_tests(std::env::temp_dir()));
    let counters = Counters::new(&node.metrics());
    let cx = StageCx { counters: &counters, node: &node };
    Pipeline::new(&args.expect("no problems").stage, &cx).expect("builds")
}

type Line = fn(usize) -> String;

const JSON: &str = r#"stage.json { expressions = { level = "", status = "" } }"#;
const LOGFMT: &str = r#"stage.logfmt { mapping = { level = "", status = "" } }"#;
const REGEX: &str = r#"stage.regex { expression = "^(?P<ip>\\S+) \\S+ (?P<user>\\S+) \\[[^\\]]+\\] \"(?P<method>\\S+) (?P<path>\\S+) [^\"]*\" (?P<status>\\d+)" }"#;
const LABELS: &str = r#"stage.labels { values = { level = "" } }"#;
const STATIC: &str = r#"stage.static_labels { values = { env = "prod" } }"#;
const MULTILINE: &str = r#"stage.multiline { firstline = "^\\d{4}-\\d{2}-\\d{2}" }"#;

/// Name, stages, lines.
type Case = (&'static str, String, fn(usize) -> String);

fn cases() -> Vec<Case> {
    let one = |stage: &str| stage.to_owned();
    let chain = |stages: &[&str]| stages.join("\n");
    vec![
        ("none_changes", one(r#"stage.drop { expression = "never seen" }"#), logfmt as fn(usize) -> String),
        ("static_labels", one(STATIC), logfmt),
        ("label_keep", one(r#"stage.label_keep { values = ["pod", "job"] }"#), logfmt),
        ("json", one(JSON), json),
        ("json_jmespath", one(r#"stage.json { expressions = { id = "user.id || status" } }"#), json),
        ("logfmt", one(LOGFMT), logfmt),
        ("regex", one(REGEX), nginx),
        (
            "pattern",
            one(r#"stage.pattern { pattern = "<ip> - <user> [<_>] \"<method> <path> <_>\" <status> <_>" }"#),
            nginx,
        ),
        ("cri", one("stage.cri { }"), cri),
        ("docker", one("stage.docker { }"), docker),
        ("multiline", one(MULTILINE), java),
        ("decolorize", one("stage.decolorize { }"), coloured),
        (
            "replace_text",
            one("stage.replace {\n expression = \"trace_id=(\\\\S+)\"\n replace = \"***\"\n}"),
            logfmt,
        ),
        (
            "replace_template",
            one(
                "stage.replace {\n expression = \"trace_id=(\\\\S+)\"\n replace = \"{{ .Value | ToUpper }}\"\n}",
            ),
            logfmt,
        ),
        ("split_json", one("stage.split_json { }"), array),
        ("chain_json_labels_static", chain(&[JSON, LABELS, STATIC]), json),
        ("chain_logfmt_labels", chain(&[LOGFMT, LABELS]), logfmt),
        (
            "chain_regex_labels",
            chain(&[REGEX, r#"stage.labels { values = { status = "", method = "" } }"#]),
            nginx,
        ),
        ("chain_cri_multiline", chain(&["stage.cri { }", MULTILINE]), java),
        ("chain_cri_json_labels", chain(&["stage.cri { }", LOGFMT, LABELS, STATIC]), cri),
        (
            "chain_json_metadata",
            chain(&[
                r#"stage.json { expressions = { trace_id = "" } }"#,
                r#"stage.structured_metadata { values = { trace_id = "" } }"#,
            ]),
            json,
        ),
    ]
}

/// Stages that make, choose, slow down and measure.
fn more_cases() -> Vec<(&'static str, &'static str, Line)> {
    vec![
        ("template_field", "stage.template {\n source = \"x\"\n template = \"{{ .job }}\"\n}", logfmt),
        (
            "template_functions",
            "stage.template {\n source = \"x\"\n template = \"{{ if eq .pod \\\"pod-1\\\" }}one{{ else }}{{ .job | ToUpper | trunc 4 }}{{ end }}\"\n}",
            logfmt,
        ),
        (
            "logfmt_timestamp",
            "stage.logfmt { mapping = { ts = \"\" } }\nstage.timestamp {\n source = \"ts\"\n format = \"RFC3339Nano\"\n}",
            logfmt,
        ),
        (
            "match_nothing",
            "stage.match {\n selector = \"{namespace=\\\"shop\\\"} |= \\\"never seen\\\"\"\n action = \"drop\"\n}",
            logfmt,
        ),
        (
            "metrics_counter",
            "stage.metrics {\n metric.counter {\n name = \"n\"\n action = \"inc\"\n match_all = true\n }\n}",
            logfmt,
        ),
        ("truncate_line", "stage.truncate { rule { limit = \"64B\" } }", logfmt),
        ("luhn", "stage.luhn { }", logfmt),
        ("limit_none", "stage.limit {\n rate = 1000000000\n burst = 1000000000\n drop = true\n}", logfmt),
        ("pack", "stage.pack { labels = [\"pod\", \"container\"] }", logfmt),
    ]
}

fn benches(c: &mut Criterion) {
    let mut group = c.benchmark_group("process");
    group.throughput(Throughput::Elements(ENTRIES as u64));
    let more = more_cases().into_iter().map(|(name, stages, line)| (name, stages.to_owned(), line));
    for (name, stages, line) in cases().into_iter().chain(more) {
        let mut pipeline = pipeline(&stages);
        let batch = batch(line);
        group.bench_function(name, |b| b.iter(|| pipeline.process(black_box(&batch))));
    }
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);

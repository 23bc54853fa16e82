//! Any text through each operator that takes text apart: no panic, it ends, no entry is lost, and what comes out can be
//! sent.
#![cfg_attr(feature = "libfuzzer", no_main)]

use std::sync::LazyLock;

use component::metrics::Metrics;
use components_otelcol::operators::entry::Entry;
use components_otelcol::operators::value::Value;
use components_otelcol::operators::{Config, Counters, Pipeline};
use eval::{ArgValue, Scope, evaluate};
use syntax::Source;

/// Lists of operators, of which none drops an entry.
const LISTS: [&str; 24] = [
    r#"[{type = "container", add_metadata_from_filepath = false}]"#,
    r#"[{type = "container", format = "docker", add_metadata_from_filepath = false}]"#,
    r#"[{type = "container", format = "crio", add_metadata_from_filepath = false}]"#,
    r#"[{type = "container", format = "containerd", add_metadata_from_filepath = false}]"#,
    r#"[{type = "csv_parser", header = "a,b,c"}]"#,
    r#"[{type = "csv_parser", header = "a;b", delimiter = ";", lazy_quotes = true}]"#,
    r#"[{type = "csv_parser", header = "a b", header_delimiter = " ", delimiter = "\t", ignore_quotes = true}]"#,
    r#"[{type = "json_parser"}, {type = "flatten", field = "attributes.a"}]"#,
    r#"[{type = "json_parser", parse_to = "body", parse_ints = true}, {type = "flatten", field = "body.a"}]"#,
    r#"[{type = "json_array_parser"}]"#,
    r#"[{type = "key_value_parser"}]"#,
    r#"[{type = "key_value_parser", delimiter = ":", pair_delimiter = ", "}]"#,
    r#"[{type = "regex_parser", regex = "^(?P<a>[a-z]*) *(?P<b>.*)$"}, {type = "remove", field = "attributes.a"}]"#,
    r#"[{type = "regex_replace", field = "body", regex = "(a|b)+(.)?", replace_with = "$2${1}"}]"#,
    r#"[{type = "regex_replace", field = "body", regex_name = "ansi_control_sequences"}]"#,
    r#"[{type = "syslog_parser", protocol = "rfc3164"}]"#,
    r#"[{type = "syslog_parser", protocol = "rfc5424", allow_skip_pri_header = true}]"#,
    r#"[{type = "syslog_parser", protocol = "rfc5424", enable_octet_counting = true}]"#,
    r#"[{type = "uri_parser"}]"#,
    r#"[{type = "unquote", field = "body"}]"#,
    r#"[{type = "trace_parser", trace_id = {parse_from = "body"}, span_id = {parse_from = "body"}, trace_flags = {parse_from = "body"}}]"#,
    r#"[{type = "severity_parser", parse_from = "body", mapping = {error = "5xx", debug = [{min = 7, max = 9}]}}]"#,
    r#"[{type = "time_parser", parse_from = "body", layout = "%Y-%m-%dT%H:%M:%S.%L%z"}]"#,
    r#"[{type = "key_value_parser"}, {type = "move", from = "attributes.a", to = "body.b.c"}, {type = "copy", from = "body.b", to = "resource[\"x.y\"]"}, {type = "retain", fields = ["body.b.c", "attributes.b"]}]"#,
];

fn pipeline(list: &str) -> Pipeline {
    let source = Source::new("fuzz", list);
    let (expression, problems) = syntax::parse_expression(&source);
    assert!(problems.is_empty(), "{list}: {problems:?}");
    let value = evaluate(&expression.expect("an expression"), &source, &Scope::new(&())).expect(list);
    let configs = Vec::<Config>::from_value(&value).expect("a list of objects");
    let metrics = Metrics::default().node("x");
    Pipeline::new("operators", &configs, &Counters::new(&metrics, "x")).expect(list)
}

fuzz::target!(|text: &str| {
    static PIPELINES: LazyLock<Vec<Pipeline>> = LazyLock::new(|| LISTS.into_iter().map(pipeline).collect());
    for (list, pipeline) in LISTS.iter().zip(PIPELINES.iter()) {
        let mut out = Vec::new();
        pipeline.process(Entry::new(Value::from(text), 1_000), &mut out);
        pipeline.flush(None, &mut out);
        assert_eq!(out.len(), 1, "{list}");
        out.into_iter().for_each(|entry| drop(entry.into_record()));
    }
});

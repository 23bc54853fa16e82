//! Records as entries: labels by hints, lines by formats, answers.

use component::testkit::{Harness, Names, Sink};
use component::{ArgValue, ComponentDef};
use signal::otlp::proto::collector::logs::v1::ExportLogsServiceRequest;
use signal::otlp::proto::common::v1::any_value::Value;
use signal::otlp::proto::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList};
use signal::otlp::proto::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use signal::otlp::proto::resource::v1::Resource;

use super::*;

fn any(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn string(value: &str) -> Value {
    Value::StringValue(value.into())
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(any(value)), ..KeyValue::default() }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, string(value))
}

fn record(body: &str, attributes: Vec<KeyValue>) -> LogRecord {
    LogRecord { time_unix_nano: 5, body: Some(any(string(body))), attributes, ..LogRecord::default() }
}

fn scope() -> Option<InstrumentationScope> {
    Some(InstrumentationScope { name: "lib".into(), version: "1".into(), ..Default::default() })
}

fn of(resource: Vec<KeyValue>, log_records: Vec<LogRecord>) -> OtlpLogs {
    let resource = Some(Resource { attributes: resource, ..Resource::default() });
    let scope_logs = vec![ScopeLogs { scope: scope(), log_records, ..ScopeLogs::default() }];
    OtlpLogs::of(OtlpRequest::from_message(ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { resource, scope_logs, ..ResourceLogs::default() }],
    }))
}

/// The stream and the line of one record.
fn one(resource: Vec<KeyValue>, log: LogRecord) -> (String, String) {
    let (labels, line) = record::convert(&log, &resource, None).expect("a known format");
    (labels.to_string(), line)
}

#[test]
fn a_record_without_hints_has_the_default_labels_and_is_json() {
    let resource = vec![
        text("service.name", "shop"),
        text("service.namespace", "eu"),
        text("service.instance.id", "i"),
        text("k", "v"),
    ];
    let mut log = record("a <b>", vec![text("user", "u\u{2028}"), attribute("n", Value::IntValue(3))]);
    (log.severity_number, log.severity_text) = (10, "Info".into());
    (log.trace_id, log.span_id, log.flags) = (vec![0xab; 16], vec![1; 8], 1);
    let (labels, line) =
        record::convert(&log, &resource, scope().as_ref()).map(|(l, s)| (l.to_string(), s)).expect("json");
    assert_eq!(labels, r#"{exporter="OTLP", instance="i", job="eu/shop", level="INFO2"}"#);
    let expected = [
        r#"{"body":"a \u003cb\u003e","traceid":"abababababababababababababababab","spanid":"0101010101010101","#,
        r#""severity":"Info","flags":1,"attributes":{"n":3,"user":"u\u2028"},"#,
        r#""resources":{"k":"v","service.instance.id":"i","service.name":"shop","service.namespace":"eu"},"#,
        r#""instrumentation_scope":{"name":"lib","version":"1"}}"#,
    ];
    assert_eq!(line, expected.concat());
}

#[test]
fn bodies_of_every_type_are_written() {
    let list =
        Value::ArrayValue(ArrayValue { values: vec![any(Value::BoolValue(true)), AnyValue::default()] });
    let map =
        Value::KvlistValue(KeyValueList { values: vec![text("b", "\"\u{1}\u{8}"), attribute("a", list)] });
    let cases = [
        (Some(any(map)), r#"{"body":{"a":[true,null],"b":"\"\u0001\b"}}"#),
        (Some(any(Value::DoubleValue(f64::NAN))), r#"{"body":"NaN"}"#),
        (Some(any(Value::DoubleValue(2.5))), r#"{"body":2.5}"#),
        (Some(any(Value::BytesValue(vec![1, 2]))), r#"{"body":"AQI="}"#),
        (None, "{}"),
    ];
    for (body, expected) in cases {
        let log = LogRecord { body, ..record("", vec![]) };
        assert_eq!(one(vec![], log).1, expected);
    }
    let event = LogRecord { event_name: "login".into(), body: None, ..record("", vec![]) };
    assert_eq!(one(vec![], event).1, r#"{"name":"login"}"#);
}

#[test]
fn hints_make_labels_of_attributes_and_take_them_out_of_the_line() {
    let names = |names: &[&str]| {
        Value::ArrayValue(ArrayValue { values: names.iter().map(|name| any(string(name))).collect() })
    };
    let map = Value::KvlistValue(KeyValueList { values: vec![text("id", "7")] });
    let log = record(
        "x",
        vec![
            text("loki.attribute.labels", "event.name, host.id ,missing"),
            text("loki.resource.labels", "zone"),
            text("event.name", "login"),
            attribute("host", map),
            text("zone", "removed too"),
        ],
    );
    let resource =
        vec![attribute("loki.resource.labels", names(&["region"])), text("region", "eu"), text("zone", "a")];
    let (labels, line) = one(resource, log);
    assert_eq!(labels, r#"{event_name="login", exporter="OTLP", host_id="7", region="eu", zone="a"}"#);
    assert_eq!(line, r#"{"body":"x","attributes":{"host":{"id":"7"}}}"#);
}

#[test]
fn the_level_is_the_attribute_or_the_severity() {
    let with = |attributes, severity_number| LogRecord { severity_number, ..record("x", attributes) };
    let cases = [
        (with(vec![], 17), r#"{exporter="OTLP", level="ERROR"}"#),
        (with(vec![], 24), r#"{exporter="OTLP", level="FATAL4"}"#),
        (with(vec![text("level", "own")], 1), r#"{exporter="OTLP", level="own"}"#),
        (with(vec![text("level", "own")], 0), r#"{exporter="OTLP"}"#),
        (with(vec![], 25), r#"{exporter="OTLP"}"#),
        (with(vec![attribute("loki.attribute.labels", Value::IntValue(1))], 1), r#"{exporter="OTLP"}"#),
    ];
    for (log, expected) in cases {
        assert_eq!(one(vec![], log).0, expected);
    }
    let kept = one(vec![], with(vec![attribute("loki.attribute.labels", Value::IntValue(1))], 1)).1;
    assert_eq!(kept, r#"{"body":"x","attributes":{"level":"TRACE"}}"#);
}

#[test]
fn the_tenant_hint_names_a_label_and_the_resource_comes_first() {
    let log = || record("x", vec![text("loki.tenant", "t"), text("t", "of record")]);
    assert_eq!(one(vec![], log()).0, r#"{exporter="OTLP", t="of record"}"#);
    let resource = vec![text("loki.tenant", "tenant.id"), text("tenant.id", "of resource")];
    let expected = (
        r#"{exporter="OTLP", tenant_id="of resource"}"#.to_string(),
        r#"{"body":"x","attributes":{"t":"of record"}}"#.to_string(),
    );
    assert_eq!(one(resource, log()), expected);
}

#[test]
fn lines_are_written_as_the_format_says() {
    let format = |format: &str, body: &str| {
        let mut log = record(body, vec![text("loki.format", format), text("a b", "c d")]);
        (log.severity_text, log.trace_id) = ("warn".into(), vec![2; 16]);
        one(vec![text("r", "1")], log).1
    };
    assert_eq!(format("raw", "as it is\n<&>"), "as it is\n<&>");
    let id = "02".repeat(16);
    assert_eq!(
        format("logfmt", "severity=x k=\"v w\" bare"),
        format!(r#"severity=warn k="v w" bare= traceID={id} attribute_ab="c d" resource_r=1"#)
    );
    assert_eq!(
        format("logfmt", "not: \"logfmt\""),
        format!(r#"msg="not: \"logfmt\"" traceID={id} severity=warn attribute_ab="c d" resource_r=1"#)
    );
    assert!(format("logfmt", "a=1\nb=2").starts_with(r#"msg="a=1\nb=2" "#));
    // The resource's hint is the stronger one.
    let log = record("x", vec![text("loki.format", "json")]);
    assert_eq!(one(vec![text("loki.format", "raw")], log).1, "x");
    let unknown = record::convert(&record("x", vec![text("loki.format", "xml")]), &[], None);
    assert_eq!(unknown.err(), Some(record::UnknownFormat("xml".into())));
}

#[tokio::test]
async fn a_batch_of_records_is_a_batch_of_entries_in_their_order() {
    let sink = Sink::<Logs>::new();
    let names = Names::default().with("next", sink.value());
    let harness = Harness::start(ComponentDef::of::<Loki>(), "forward_to = [next]", names).await;
    let component::eval::Value::Object(exports) = harness.node.exports() else { panic!("an object") };
    let input = OtelInput::from_value(&exports["input"]).expect("an input");
    assert!(input.traces.is_none() && input.metrics.is_none());
    let input = input.logs.expect("takes logs");
    let raw = |body: &str| record(body, vec![text("loki.format", "raw")]);
    let mut observed = raw("b");
    (observed.time_unix_nano, observed.observed_time_unix_nano) = (0, 9);
    let mut now = raw("c");
    now.time_unix_nano = 0;
    let sent = || {
        of(
            vec![],
            vec![raw("a"), record("x", vec![text("loki.format", "xml")]), observed.clone(), now.clone()],
        )
    };
    sink.answer(Err(Rejected::Retryable("full".into())));
    assert_eq!(input.send(sent()).await, Err(Rejected::Retryable("full".into())));
    sink.answer(Ok(()));
    input.send(sent()).await.expect("taken");
    let batch = sink.take().remove(0);
    let entries: Vec<_> = batch.entries.iter().map(|e| (e.line.to_string(), e.timestamp_ns)).collect();
    assert_eq!(entries[..2], [("a".to_string(), 5), ("b".to_string(), 9)]);
    assert!(entries[2].1 > 1_600_000_000_000_000_000);
    assert_eq!(batch.streams.len(), 1);
    let page = harness.services.metrics.text();
    for (name, count) in [("entries_total", 8), ("entries_failed", 2), ("entries_processed", 6)] {
        let line = format!("otelcol_exporter_loki_{name}{{");
        let found = page.lines().find(|l| l.starts_with(&line)).expect("exposed");
        assert!(found.ends_with(&format!(" {count}")), "{found}");
    }
    let only_bad = of(vec![], vec![record("x", vec![text("loki.format", "xml")])]);
    input.send(only_bad).await.expect("nothing to send");
    assert!(sink.take().is_empty());
}

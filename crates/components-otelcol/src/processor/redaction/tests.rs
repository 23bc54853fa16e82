//! Redaction of each signal by tables, with the component as its neighbours see it.

use component::testkit::{Harness, Names, Sink, surface};
use component::{ArgValue, ComponentDef};
use signal::otlp::proto::collector::logs::v1::ExportLogsServiceRequest;
use signal::otlp::proto::collector::metrics::v1::ExportMetricsServiceRequest;
use signal::otlp::proto::collector::trace::v1::ExportTraceServiceRequest;
use signal::otlp::proto::common::v1::any_value::Value;
use signal::otlp::proto::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList};
use signal::otlp::proto::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::metrics::v1::{Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics};
use signal::otlp::proto::resource::v1::Resource;
use signal::otlp::proto::trace::v1::span::Event;
use signal::otlp::proto::trace::v1::{ResourceSpans, ScopeSpans, Span};
use signal::otlp::{OtlpLogs, OtlpMetrics, OtlpRequest, Packed, Traces, TracesSignal};

use super::*;

fn any(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(any(value)), ..KeyValue::default() }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

fn int(key: &str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

fn body(lines: &str) -> String {
    format!("{lines}\noutput {{\n traces = [next]\n logs = [next]\n metrics = [next]\n}}")
}

struct Bench {
    harness: Harness,
    input: OtelInput,
    traces: Sink<Traces>,
    metrics: Sink<OtlpMetrics>,
    logs: Sink<OtlpLogs>,
}

impl Bench {
    async fn new() -> Self {
        let (traces, metrics, logs) = (Sink::new(), Sink::new(), Sink::new());
        let next = OtelInput {
            traces: Some(Sink::<Traces>::receiver(&traces)),
            metrics: Some(Sink::<OtlpMetrics>::receiver(&metrics)),
            logs: Some(Sink::<OtlpLogs>::receiver(&logs)),
        };
        let names = Names::default().with("next", next.to_value());
        let harness = Harness::start(ComponentDef::of::<Redaction>(), &body(""), names).await;
        let component::eval::Value::Object(exports) = harness.node.exports() else { panic!("an object") };
        let input = OtelInput::from_value(&exports["input"]).expect("an input");
        Self { harness, input, traces, metrics, logs }
    }

    async fn configure(&self, lines: &str) {
        self.harness.update(&body(lines)).await.expect(lines);
    }

    async fn spans(&self, spans: ResourceSpans) -> ResourceSpans {
        let request = ExportTraceServiceRequest { resource_spans: vec![spans] };
        let batch = Otlp::of(OtlpRequest::from_message(request));
        self.input.traces.as_ref().expect("taken").send(batch).await.expect("passed on");
        let out = self.traces.take().remove(0);
        out.requests[0].message().expect("decodes").resource_spans[0].clone()
    }

    async fn attributes(&self, attributes: Vec<KeyValue>) -> Vec<KeyValue> {
        let spans = vec![Span { attributes, ..Span::default() }];
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        let out = self.spans(ResourceSpans { scope_spans, ..ResourceSpans::default() }).await;
        out.scope_spans[0].spans[0].attributes.clone()
    }

    async fn record(&self, body: Value) -> LogRecord {
        let record = LogRecord { body: Some(any(body)), severity_text: "s".into(), ..LogRecord::default() };
        let scope_logs = vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }];
        let request = ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }],
        };
        let batch = Otlp::of(OtlpRequest::from_message(request));
        self.input.logs.as_ref().expect("taken").send(batch).await.expect("passed on");
        let out = self.logs.take().remove(0);
        out.requests[0].message().expect("decodes").resource_logs[0].scope_logs[0].log_records[0].clone()
    }
}

#[tokio::test]
async fn keys_and_values_are_taken_away_masked_or_left_alone() {
    let bench = Bench::new().await;
    let all = || vec![text("card", "no 4111 or 4222"), int("id", 4111), text("name", "bob"), text("x", "y")];
    let keep = "allow_all_keys = true\n";
    let cases = [
        ("", vec![]),
        ("allowed_keys = [\"name\", \"id\"]", vec![int("id", 4111), text("name", "bob")]),
        (
            "ignored_keys = [\"x\"]\nignored_key_patterns = [\"^na\"]",
            vec![text("name", "bob"), text("x", "y")],
        ),
        (
            "allow_all_keys = true\nblocked_values = [\"4[0-9]{3}\"]",
            vec![text("card", "no **** or ****"), int("id", 4111), text("name", "bob"), text("x", "y")],
        ),
        (
            "allow_all_keys = true\nblocked_values = [\"4[0-9]{3}\"]\nredact_all_types = true",
            vec![text("card", "no **** or ****"), text("id", "****"), text("name", "bob"), text("x", "y")],
        ),
        (
            "allow_all_keys = true\nblocked_key_patterns = [\"^(name|id)$\"]",
            vec![text("card", "no 4111 or 4222"), text("id", "****"), text("name", "****"), text("x", "y")],
        ),
        (
            "allow_all_keys = true\nblocked_values = [\"4[0-9]{3}\", \"bob\"]\nallowed_values = [\"4222\"]",
            vec![text("card", "no 4111 or 4222"), int("id", 4111), text("name", "****"), text("x", "y")],
        ),
        (
            "allow_all_keys = true\nblocked_values = [\"bob\"]\nhash_function = \"sha1\"",
            vec![
                text("card", "no 4111 or 4222"),
                int("id", 4111),
                text("name", "48181acd22b3edaebc8a447868a7df7ce629920a"),
                text("x", "y"),
            ],
        ),
        (keep, all()),
    ];
    for (lines, expected) in cases {
        bench.configure(lines).await;
        assert_eq!(bench.attributes(all()).await, expected, "{lines}");
    }
}

#[tokio::test]
async fn a_summary_says_what_was_done_and_adds_to_an_earlier_one() {
    let bench = Bench::new().await;
    let lines = "allowed_keys = [\"card\", \"ok\"]\nignored_keys = [\"i\"]\nblocked_values = [\"4[0-9]{3}\"]\nallowed_values = [\"^fine$\"]\n";
    let all =
        || vec![text("z", "1"), text("card", "4111"), text("ok", "fine"), text("i", "4111"), text("a", "2")];
    bench.configure(&format!("{lines}summary = \"info\"")).await;
    let counts = [
        int("redaction.redacted.count", 2),
        int("redaction.masked.count", 1),
        int("redaction.allowed.count", 1),
        int("redaction.ignored.count", 1),
    ];
    let kept = vec![text("card", "****"), text("ok", "fine"), text("i", "4111")];
    assert_eq!(bench.attributes(all()).await, [kept.clone(), counts.to_vec()].concat());
    bench.configure(&format!("{lines}summary = \"debug\"")).await;
    let out = bench
        .attributes(
            [all(), vec![text("redaction.redacted.keys", "m"), int("redaction.redacted.count", 1)]].concat(),
        )
        .await;
    assert!(out.contains(&text("redaction.redacted.keys", "a,m,z")), "{out:?}");
    assert!(out.contains(&int("redaction.redacted.count", 3)), "{out:?}");
    assert!(out.contains(&text("redaction.masked.keys", "card")), "{out:?}");
    assert_eq!(out.iter().filter(|a| a.key == "redaction.redacted.count").count(), 1);
}

#[tokio::test]
async fn resources_scopes_events_and_data_points_are_redacted_too() {
    let bench = Bench::new().await;
    bench.configure("allowed_keys = [\"k\"]\nblocked_values = [\"secret\"]").await;
    let attributes = || vec![text("k", "a secret"), text("no", "x")];
    let masked = vec![text("k", "a ****")];
    let event = |name: &str, attributes| Event { name: name.into(), attributes, ..Event::default() };
    let events = vec![event("e", attributes()), event("plain", vec![]), event("f", attributes())];
    let span = Span { name: "n".into(), events, attributes: attributes(), flags: 3, ..Span::default() };
    let scope = InstrumentationScope { name: "lib".into(), attributes: attributes(), ..Default::default() };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans: vec![span], ..ScopeSpans::default() }];
    let resource = Some(Resource { attributes: attributes(), ..Resource::default() });
    let out = bench.spans(ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }).await;
    assert_eq!(out.resource.expect("kept").attributes, masked);
    let scope = &out.scope_spans[0];
    assert_eq!(scope.scope.as_ref().map(|s| (&s.name, &s.attributes)), Some((&"lib".to_string(), &masked)));
    let span = &scope.spans[0];
    assert_eq!((&span.attributes, span.flags), (&masked, 3));
    let expected = [event("e", masked.clone()), event("plain", vec![]), event("f", masked.clone())];
    assert_eq!(span.events, expected);
    let point = NumberDataPoint { attributes: attributes(), time_unix_nano: 5, ..Default::default() };
    let data = Some(Data::Gauge(Gauge { data_points: vec![point] }));
    let metrics = vec![Metric { name: "m".into(), data, ..Metric::default() }];
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    let request = ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }],
    };
    let batch = Otlp::of(OtlpRequest::from_message(request));
    bench.input.metrics.as_ref().expect("taken").send(batch).await.expect("passed on");
    let out = bench.metrics.take().remove(0);
    let message = out.requests[0].message().expect("decodes").clone();
    let Some(Data::Gauge(gauge)) = &message.resource_metrics[0].scope_metrics[0].metrics[0].data else {
        panic!("a gauge")
    };
    assert_eq!((&gauge.data_points[0].attributes, gauge.data_points[0].time_unix_nano), (&masked, 5));
}

#[tokio::test]
async fn bodies_of_log_records_are_redacted_at_every_depth() {
    let bench = Bench::new().await;
    let lines = "allow_all_keys = true\nblocked_values = [\"4[0-9]{3}\"]\nsummary = \"debug\"";
    bench.configure(lines).await;
    let out = bench.record(Value::StringValue("card 4111".into())).await;
    assert_eq!(out.body, Some(any(Value::StringValue("card ****".into()))));
    assert_eq!(out.severity_text, "s");
    let body_notes = |keys: &str, count| {
        vec![text("redaction.body.masked.keys", keys), int("redaction.body.masked.count", count)]
    };
    assert_eq!(out.attributes, body_notes("body", 1));
    let list = Value::ArrayValue(ArrayValue {
        values: vec![any(Value::IntValue(4111)), any(Value::BoolValue(true))],
    });
    let map = Value::KvlistValue(KeyValueList {
        values: vec![text("plain", "x"), text("pin", "4222"), attribute("list", list)],
    });
    let outer = Value::KvlistValue(KeyValueList { values: vec![attribute("in", map)] });
    let out = bench.record(outer.clone()).await;
    let body = crate::value::text(out.body.as_ref());
    assert_eq!(body, r#"{"in":{"list":["****",true],"pin":"****","plain":"x"}}"#);
    assert_eq!(out.attributes, body_notes("in.list.[0],in.pin", 2));
    bench
        .configure(
            "allowed_keys = [\"in\", \"list\"]\nblocked_key_patterns = [\"^list$\"]\nsummary = \"info\"",
        )
        .await;
    let out = bench.record(outer).await;
    assert_eq!(crate::value::text(out.body.as_ref()), r#"{"in":{"list":"****"}}"#);
    assert_eq!(
        out.attributes,
        [int("redaction.body.redacted.count", 2), int("redaction.body.masked.count", 1)]
    );
}

/// URLs and queries in attributes, names of spans and bodies.
const SANITIZERS: &str = r#"
allow_all_keys = true
url_sanitizer {
    enabled    = true
    attributes = ["url.path"]
}
db_sanitizer {
    sql {
        enabled    = true
        attributes = ["db.query.text"]
    }
    redis {
        enabled    = true
        attributes = ["db.query.text"]
    }
}
"#;

#[tokio::test]
async fn urls_and_queries_in_attributes_are_cleaned() {
    let bench = Bench::new().await;
    bench.configure(SANITIZERS).await;
    let query = "SELECT * FROM users WHERE id = 7";
    for (attributes, expected) in [
        (vec![text("url.path", "/users/7/orders?x=1")], vec![text("url.path", "/users/*/orders")]),
        (vec![text("other", "/users/7")], vec![text("other", "/users/7")]),
        (
            vec![text("db.system.name", "MySQL"), text("db.query.text", query)],
            vec![text("db.system.name", "MySQL"), text("db.query.text", "SELECT * FROM users WHERE id = ?")],
        ),
        (
            vec![text("db.query.text", "SET user:7 bob"), text("db.system", "redis")],
            vec![text("db.query.text", "SET user:7 ?"), text("db.system", "redis")],
        ),
        (vec![text("db.query.text", query)], vec![text("db.query.text", query)]),
    ] {
        assert_eq!(bench.attributes(attributes.clone()).await, expected, "{attributes:?}");
    }
    // Blocked values and the note of what was masked.
    bench.configure(&format!("{SANITIZERS}\nblocked_values = [\"secret\"]\nsummary = \"info\"")).await;
    let out = bench.attributes(vec![text("url.path", "/secret/orders/7")]).await;
    assert_eq!(out, [text("url.path", "/*/orders/*"), int("redaction.masked.count", 1)]);
}

#[tokio::test]
async fn names_of_spans_are_cleaned_by_what_they_are_about() {
    let bench = Bench::new().await;
    let name = |kind: i32, name: &str, attributes: Vec<KeyValue>| Span {
        name: name.into(),
        kind,
        attributes,
        ..Span::default()
    };
    let sql = || vec![text("db.system.name", "postgresql")];
    let cases = [
        (name(3, "GET /users/7", vec![]), "GET /users/*"),
        (name(1, "GET /users/7", vec![]), "GET /users/7"),
        (name(2, "/7", vec![]), "/7"),
        (name(3, "SELECT 'bob'", sql()), "SELECT ?"),
        (name(1, "SELECT 'bob'", sql()), "SELECT ?"),
        (name(4, "SELECT 'bob'", sql()), "SELECT 'bob'"),
        (name(3, "SELECT 'bob'", vec![]), "SELECT 'bob'"),
    ];
    let rename = async |lines: &str, span: &Span| {
        bench.configure(lines).await;
        let scope_spans = vec![ScopeSpans { spans: vec![span.clone()], ..ScopeSpans::default() }];
        let out = bench.spans(ResourceSpans { scope_spans, ..ResourceSpans::default() }).await;
        out.scope_spans[0].spans[0].name.clone()
    };
    for (span, expected) in &cases {
        assert_eq!(rename(SANITIZERS, span).await, *expected, "{span:?}");
    }
    let off = SANITIZERS.replace("url_sanitizer {", "url_sanitizer {\n sanitize_span_name = false");
    let off = off.replace("db_sanitizer {", "db_sanitizer {\n sanitize_span_name = false");
    assert_eq!(rename(&off, &cases[0].0).await, "GET /users/7");
    assert_eq!(rename(&off, &cases[3].0).await, "SELECT 'bob'");
    let allowed = format!("{SANITIZERS}\nallowed_values = [\"^GET\"]");
    assert_eq!(rename(&allowed, &cases[0].0).await, "GET /users/7");
}

#[tokio::test]
async fn urls_and_queries_in_bodies_are_cleaned_and_prose_is_not() {
    let bench = Bench::new().await;
    bench.configure(SANITIZERS).await;
    for (body, expected) in [
        ("/users/7?x=1", "/users/*"),
        ("what now? the cache is cold", "what now? the cache is cold"),
        ("failed: SELECT a FROM t WHERE n = 'bob'", "failed: SELECT a FROM t WHERE n = ?"),
        ("SET key value", "SET key ?"),
    ] {
        let out = bench.record(Value::StringValue(body.into())).await;
        assert_eq!(crate::value::text(out.body.as_ref()), expected);
    }
    let map = Value::KvlistValue(KeyValueList { values: vec![text("q", "SELECT 1"), int("n", 7)] });
    let out = bench.record(map).await;
    assert_eq!(crate::value::text(out.body.as_ref()), r#"{"n":7,"q":"SELECT ?"}"#);
}

#[tokio::test]
async fn what_needs_no_redaction_is_passed_on_as_it_came() {
    let bench = Bench::new().await;
    bench.configure("allow_all_keys = true\nblocked_values = [\"4[0-9]{3}\"]").await;
    let spans = vec![Span { attributes: vec![text("k", "v")], ..Span::default() }];
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let message = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }],
    };
    let packed = Packed { encoding: "gzip", bytes: "as it was".into() };
    let wire = OtlpRequest::<TracesSignal>::from_message(message).wire().clone();
    let request = OtlpRequest::<TracesSignal>::from_wire(wire, 1, Some(packed));
    bench.input.traces.as_ref().expect("taken").send(Otlp::of(request)).await.expect("passed on");
    assert!(bench.traces.take()[0].requests[0].packed().is_some());
}

#[tokio::test]
async fn arguments_that_make_no_sense_are_refused() {
    let bench = Bench::new().await;
    for (lines, why) in [
        ("blocked_values = [\"(\"]", "error parsing regexp"),
        ("summary = \"loud\"", "silent, info or debug"),
        ("hash_function = \"crc\"", "must be md5"),
        ("hash_function = \"hmac-sha256\"", "is needed"),
    ] {
        let refused = bench.harness.update(&body(lines)).await.expect_err(lines);
        assert!(format!("{refused:?}").contains(why), "{lines}: {refused:?}");
    }
    bench.configure("url_sanitizer { }\ndb_sanitizer { }").await;
    let ours = surface(<Args as component::eval::Arguments>::schema());
    for line in [
        "allow_all_keys bool",
        "allowed_keys list(string)",
        "ignored_keys list(string)",
        "blocked_key_patterns list(string)",
        "ignored_key_patterns list(string)",
        "allowed_values list(string)",
        "blocked_values list(string)",
        "hash_function string",
        "hmac_key secret",
        "redact_all_types bool",
        "summary string",
        "url_sanitizer block unset",
        "url_sanitizer.sanitize_span_name bool = true",
        "db_sanitizer.opensearch block defaults",
        "db_sanitizer.es.attributes list(string)",
    ] {
        assert!(ours.iter().any(|l| l == line), "{line} in {ours:#?}");
    }
}

//! Actions and matching by tables, then the component as its neighbours see it.

use component::testkit::{Harness, Names, Sink};
use component::{ArgValue, ComponentDef};
use prost::Message as _;
use signal::otlp::proto::collector::logs::v1::ExportLogsServiceRequest;
use signal::otlp::proto::collector::metrics::v1::ExportMetricsServiceRequest;
use signal::otlp::proto::collector::trace::v1::ExportTraceServiceRequest;
use signal::otlp::proto::common::v1::any_value::Value;
use signal::otlp::proto::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use signal::otlp::proto::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::metrics::v1::{Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics};
use signal::otlp::proto::resource::v1::Resource;
use signal::otlp::proto::trace::v1::{ResourceSpans, ScopeSpans, Span};
use signal::otlp::{ClientMetadata, OtlpRequest, Packed, TracesSignal};
use signal::{OtlpLogs, OtlpMetrics, Traces};

use super::*;
use crate::exporter::sending::testkit::{self, Running};

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

fn shop() -> Option<Resource> {
    Some(Resource {
        attributes: vec![text("service.name", "shop"), text("env", "prod")],
        ..Resource::default()
    })
}

fn lib() -> Option<InstrumentationScope> {
    Some(InstrumentationScope { name: "lib".into(), version: "1.2".into(), ..Default::default() })
}

fn trace_request(attributes: Vec<KeyValue>) -> ExportTraceServiceRequest {
    let span = Span { name: "GET /a".into(), kind: 2, attributes, ..Span::default() };
    let scope_spans = vec![ScopeSpans { scope: lib(), spans: vec![span], ..ScopeSpans::default() }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { resource: shop(), scope_spans, ..ResourceSpans::default() }],
    }
}

fn traces(attributes: Vec<KeyValue>) -> Traces {
    Otlp::of(OtlpRequest::from_message(trace_request(attributes)))
}

fn logs(severity_number: i32) -> OtlpLogs {
    let record = LogRecord {
        body: Some(AnyValue { value: Some(Value::StringValue("user logged in".into())) }),
        severity_text: "info".into(),
        severity_number,
        ..LogRecord::default()
    };
    let scope_logs = vec![ScopeLogs { scope: lib(), log_records: vec![record], ..ScopeLogs::default() }];
    Otlp::of(OtlpRequest::from_message(ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { resource: shop(), scope_logs, ..ResourceLogs::default() }],
    }))
}

fn metrics() -> OtlpMetrics {
    let point =
        |n| NumberDataPoint { attributes: vec![attribute("n", Value::IntValue(n))], ..Default::default() };
    let data = Some(Data::Gauge(Gauge { data_points: vec![point(1), point(2)] }));
    let metrics = vec![Metric { name: "m".into(), data, ..Metric::default() }];
    let scope_metrics = vec![ScopeMetrics { scope: lib(), metrics, ..ScopeMetrics::default() }];
    Otlp::of(OtlpRequest::from_message(ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics { resource: shop(), scope_metrics, ..Default::default() }],
    }))
}

struct Bench {
    harness: Harness,
    input: OtelInput,
    traces: Sink<Traces>,
    metrics: Sink<OtlpMetrics>,
    logs: Sink<OtlpLogs>,
}

/// An action that shows that it was applied.
const MARK: &str = "action {\n key = \"mark\"\n value = 1\n action = \"insert\"\n}\n";

impl Bench {
    async fn new(body: &str) -> Self {
        let (traces, metrics, logs) = (Sink::new(), Sink::new(), Sink::new());
        let input = OtelInput {
            traces: Some(Sink::<Traces>::receiver(&traces)),
            metrics: Some(Sink::<OtlpMetrics>::receiver(&metrics)),
            logs: Some(Sink::<OtlpLogs>::receiver(&logs)),
        };
        let names = Names::default().with("next", input.to_value());
        let harness = Harness::start(ComponentDef::of::<Attributes>(), body, names).await;
        let component::eval::Value::Object(exports) = harness.node.exports() else { panic!("an object") };
        let input = OtelInput::from_value(&exports["input"]).expect("an input");
        Self { harness, input, traces, metrics, logs }
    }

    /// The attributes of the only span after the component.
    async fn span(&self, batch: Traces) -> Vec<KeyValue> {
        self.input.traces.as_ref().expect("taken").send(batch).await.expect("passed on");
        let out = self.traces.take().remove(0);
        let message = out.requests[0].message().expect("decodes");
        message.resource_spans[0].scope_spans[0].spans[0].attributes.clone()
    }
}

fn body(blocks: &str, signal: &str) -> String {
    format!("{blocks}\noutput {{ {signal} = [next] }}")
}

fn action(lines: &str) -> String {
    format!("action {{\n{lines}\n}}\n")
}

#[tokio::test]
async fn each_action_does_what_it_says() {
    let all = || {
        vec![
            text("s", "42"),
            attribute("i", Value::IntValue(7)),
            attribute("d", Value::DoubleValue(2.9)),
            attribute("b", Value::BoolValue(true)),
        ]
    };
    let with = |at: usize, new: KeyValue| {
        let mut list = all();
        list[at] = new;
        list
    };
    let more = |new: Vec<KeyValue>| [all(), new].concat();
    let hash_of_42 = "73475cb40a568e8da8a045ced110137e159f890ac4da883b6b17dc651b3a8049";
    let cases = [
        ("key = \"n\"\nvalue = \"v\"\naction = \"insert\"", more(vec![text("n", "v")])),
        ("key = \"s\"\nvalue = \"v\"\naction = \"insert\"", all()),
        ("key = \"s\"\nvalue = \"v\"\naction = \"update\"", with(0, text("s", "v"))),
        ("key = \"n\"\nvalue = \"v\"\naction = \"update\"", all()),
        ("key = \"s\"\nvalue = 1.5\naction = \"UPSERT\"", with(0, attribute("s", Value::DoubleValue(1.5)))),
        (
            "key = \"n\"\nvalue = true\naction = \"upsert\"",
            more(vec![attribute("n", Value::BoolValue(true))]),
        ),
        (
            "key = \"n\"\nfrom_attribute = \"i\"\naction = \"insert\"",
            more(vec![attribute("n", Value::IntValue(7))]),
        ),
        ("key = \"n\"\nfrom_attribute = \"no\"\naction = \"insert\"", all()),
        ("key = \"s\"\naction = \"delete\"", all()[1..].to_vec()),
        ("pattern = \"^[sid]$\"\naction = \"delete\"", all()[3..].to_vec()),
        ("key = \"s\"\naction = \"hash\"", with(0, text("s", hash_of_42))),
        (
            "key = \"s\"\npattern = \"(?P<first>.)(?P<i>.)\"\naction = \"extract\"",
            [with(1, text("i", "2")), vec![text("first", "4")]].concat(),
        ),
        ("key = \"i\"\npattern = \"(?P<x>.)\"\naction = \"extract\"", all()),
        (
            "key = \"s\"\nconverted_type = \"int\"\naction = \"convert\"",
            with(0, attribute("s", Value::IntValue(42))),
        ),
        (
            "key = \"s\"\nconverted_type = \"double\"\naction = \"convert\"",
            with(0, attribute("s", Value::DoubleValue(42.0))),
        ),
        ("key = \"i\"\nconverted_type = \"string\"\naction = \"convert\"", with(1, text("i", "7"))),
        (
            "key = \"d\"\nconverted_type = \"int\"\naction = \"convert\"",
            with(2, attribute("d", Value::IntValue(2))),
        ),
        (
            "key = \"b\"\nconverted_type = \"double\"\naction = \"convert\"",
            with(3, attribute("b", Value::DoubleValue(1.0))),
        ),
    ];
    let bench = Bench::new(&body("", "traces")).await;
    for (lines, expected) in cases {
        bench.harness.update(&body(&action(lines), "traces")).await.expect(lines);
        assert_eq!(bench.span(traces(all())).await, expected, "{lines}");
    }
}

#[tokio::test]
async fn what_the_receiver_noted_of_the_client_can_be_set() {
    let bench = Bench::new(&body("", "traces")).await;
    for (context, expected) in [
        ("metadata.X-Tenant", Some("a;b")),
        ("x-tenant", Some("a;b")),
        ("metadata.none", None),
        ("client.address", Some("::1")),
    ] {
        let lines = format!("key = \"k\"\nfrom_context = \"{context}\"\naction = \"insert\"");
        bench.harness.update(&body(&action(&lines), "traces")).await.expect(context);
        assert_eq!(bench.span(traces(vec![])).await, [], "nothing is known of the client");
        let mut batch = traces(vec![]);
        let headers = [("x-tenant", "a"), ("x-tenant", "b")].map(|(n, v)| (n.to_string(), v.to_string()));
        let client = ClientMetadata { headers: headers.into(), peer: "[::1]:4000".into() };
        batch.make_mut().client = Some(Arc::new(client));
        let set: Vec<_> = expected.iter().map(|value| text("k", value)).collect();
        assert_eq!(bench.span(batch).await, set, "{context}");
    }
}

#[tokio::test]
async fn spans_are_edited_where_include_matches_and_exclude_does_not() {
    let bench = Bench::new(&body("", "traces")).await;
    let cases = [
        ("services = [\"x\", \"shop\"]", true),
        ("services = [\"sho\"]", false),
        ("span_names = [\"GET /a\"]", true),
        ("span_names = [\"GET\"]", false),
        ("span_kinds = [\"SPAN_KIND_SERVER\"]", true),
        ("span_kinds = [\"SPAN_KIND_CLIENT\"]", false),
        ("services = [\"shop\"]\nspan_names = [\"no\"]", false),
        ("attribute { key = \"i\" }", true),
        ("attribute {\n key = \"i\"\n value = 7\n}", true),
        ("attribute {\n key = \"i\"\n value = \"7\"\n}", false),
        ("attribute { key = \"i\" }\nattribute { key = \"no\" }", false),
        ("resource {\n key = \"env\"\n value = \"prod\"\n}", true),
        ("resource {\n key = \"env\"\n value = \"dev\"\n}", false),
        ("library { name = \"lib\" }", true),
        ("library {\n name = \"lib\"\n version = \"1.2\"\n}", true),
        ("library {\n name = \"lib\"\n version = \"\"\n}", false),
        ("library { name = \"other\" }\nlibrary { name = \"lib\" }", true),
        ("REGEXP services = [\"^sh\"]", true),
        ("REGEXP span_names = [\"^/a\"]", false),
        ("REGEXP span_kinds = [\"SERVER\"]\nregexp { cache_enabled = true }", true),
        ("REGEXP attribute {\n key = \"i\"\n value = \"^7$\"\n}", true),
        ("REGEXP library {\n name = \"l.b\"\n version = \"^2\"\n}", false),
    ];
    for (properties, matches) in cases {
        let (kind, properties) = match properties.strip_prefix("REGEXP ") {
            Some(properties) => ("regexp", properties),
            None => ("strict", properties),
        };
        for (block, edited) in [("include", matches), ("exclude", !matches)] {
            let blocks = format!("{block} {{\nmatch_type = \"{kind}\"\n{properties}\n}}\n{MARK}");
            bench.harness.update(&body(&blocks, "traces")).await.expect(properties);
            let span = bench.span(traces(vec![attribute("i", Value::IntValue(7))])).await;
            assert_eq!(span.iter().any(|a| a.key == "mark"), edited, "{block} {properties}");
        }
    }
}

#[tokio::test]
async fn log_records_are_matched_by_body_and_severity() {
    let bench = Bench::new(&body("", "logs")).await;
    for (properties, severity, edited) in [
        ("log_bodies = [\"logged\"]", 9, true),
        ("log_bodies = [\"^logged\"]", 9, false),
        ("log_severity_texts = [\"inf\"]", 9, true),
        ("log_severity {\n min = \"INFO\"\n match_undefined = false\n}", 9, true),
        ("log_severity {\n min = \"INFO2\"\n match_undefined = false\n}", 9, false),
        ("log_severity {\n min = \"FATAL4\"\n match_undefined = true\n}", 0, true),
        ("log_severity {\n min = \"TRACE\"\n match_undefined = false\n}", 0, false),
        ("resource { key = \"env\" }", 9, true),
    ] {
        let blocks = format!("include {{\nmatch_type = \"regexp\"\n{properties}\n}}\n{MARK}");
        bench.harness.update(&body(&blocks, "logs")).await.expect(properties);
        bench.input.logs.as_ref().expect("taken").send(logs(severity)).await.expect("passed on");
        let out = bench.logs.take().remove(0);
        let record =
            &out.requests[0].message().expect("decodes").resource_logs[0].scope_logs[0].log_records[0];
        assert_eq!(!record.attributes.is_empty(), edited, "{properties} {severity}");
    }
}

#[tokio::test]
async fn data_points_are_matched_by_metric_and_by_their_own_attributes() {
    let bench = Bench::new(&body("", "metrics")).await;
    for (properties, edited) in [
        ("metric_names = [\"m\"]", [true, true]),
        ("metric_names = [\"n\"]", [false, false]),
        ("attribute {\n key = \"n\"\n value = 2\n}", [false, true]),
        ("resource { key = \"no\" }", [false, false]),
        ("span_names = [\"of no concern\"]", [true, true]),
    ] {
        let blocks = format!("include {{\nmatch_type = \"strict\"\n{properties}\n}}\n{MARK}");
        bench.harness.update(&body(&blocks, "metrics")).await.expect(properties);
        bench.input.metrics.as_ref().expect("taken").send(metrics()).await.expect("passed on");
        let out = bench.metrics.take().remove(0);
        let message = out.requests[0].message().expect("decodes");
        let Some(Data::Gauge(gauge)) = &message.resource_metrics[0].scope_metrics[0].metrics[0].data else {
            panic!("a gauge")
        };
        let marked: Vec<_> = gauge.data_points.iter().map(|p| p.attributes.len() == 2).collect();
        assert_eq!(marked, edited, "{properties}");
    }
}

#[tokio::test]
async fn a_request_that_nothing_changes_keeps_its_compressed_form() {
    let bench = Bench::new(&body(&action("key = \"s\"\nvalue = \"v\"\naction = \"update\""), "traces")).await;
    let request = |attributes| {
        let message = trace_request(attributes);
        let packed = Packed { encoding: "gzip", bytes: "as it was".into() };
        OtlpRequest::<TracesSignal>::from_wire(message.encode_to_vec().into(), 1, Some(packed))
    };
    let mut batch = Otlp::of(request(vec![text("t", "x")]));
    batch.make_mut().requests.push(request(vec![text("s", "x")]));
    batch.make_mut().requests.push(request(vec![text("s", "v")]));
    bench.input.traces.as_ref().expect("taken").send(batch).await.expect("passed on");
    let out = bench.traces.take().remove(0);
    let packed: Vec<_> = out.requests.iter().map(|request| request.packed().is_some()).collect();
    assert_eq!(packed, [true, false, true]);
    assert_eq!(out.items(), 3);
    let damaged = OtlpRequest::<TracesSignal>::from_wire(vec![0x0a, 5, 1].into(), 1, None);
    let answer = bench.input.traces.as_ref().expect("taken").send(Otlp::of(damaged)).await;
    assert!(matches!(answer, Err(Rejected::Permanent(_))), "{answer:?}");
}

#[tokio::test]
async fn blocks_that_make_no_sense_are_refused() {
    let bench = Bench::new(&body("", "traces")).await;
    let strict = |lines: &str| format!("include {{\nmatch_type = \"strict\"\n{lines}\n}}");
    let regexp = |lines: &str| format!("exclude {{\nmatch_type = \"regexp\"\n{lines}\n}}");
    for (blocks, signal, why) in [
        (action("action = \"insert\"\nvalue = 1"), "traces", "needs key"),
        (action("action = \"delete\""), "traces", "needs key or pattern"),
        (action("key = \"k\"\naction = \"insert\""), "traces", "exactly one of value"),
        (
            action("key = \"k\"\nvalue = 1\nfrom_attribute = \"a\"\naction = \"upsert\""),
            "traces",
            "exactly one",
        ),
        (action("key = \"k\"\nvalue = 1\naction = \"delete\""), "traces", "does not use value"),
        (
            action("key = \"k\"\nvalue = 1\npattern = \"a\"\naction = \"update\""),
            "traces",
            "does not use pattern",
        ),
        (
            action("key = \"k\"\nconverted_type = \"int\"\naction = \"hash\""),
            "traces",
            "does not use converted_type",
        ),
        (
            action("key = \"k\"\nconverted_type = \"bool\"\naction = \"convert\""),
            "traces",
            "string, int or double",
        ),
        (action("key = \"k\"\naction = \"extract\""), "traces", "needs pattern"),
        (action("key = \"k\"\npattern = \"a\"\naction = \"extract\""), "traces", "no named groups"),
        (
            action("key = \"k\"\npattern = \"(?P<a>.)(.)\"\naction = \"extract\""),
            "traces",
            "must have a name",
        ),
        (action("key = \"k\"\npattern = \"(\"\naction = \"hash\""), "traces", "error parsing regexp"),
        (action("key = \"k\"\nfrom_context = \"auth.sub\"\naction = \"insert\""), "traces", "from_context"),
        (action("key = \"k\"\naction = \"rename\""), "traces", "upsert"),
        (strict(""), "traces", "needs a service"),
        (strict("log_bodies = [\"a\"]"), "traces", "do not go with traces"),
        (strict("span_names = [\"a\"]"), "logs", "do not go with logs"),
        (strict(""), "logs", "needs a body"),
        (strict("span_kinds = [\"server\"]"), "traces", "SPAN_KIND_SERVER"),
        (strict("attribute { key = \"\" }"), "traces", "empty key"),
        (regexp("attribute {\n key = \"a\"\n value = 1\n}"), "traces", "needs a string"),
        (regexp("services = [\"(\"]"), "traces", "error parsing regexp"),
        (strict("log_severity {\n min = \"LOUD\"\n match_undefined = true\n}"), "logs", "LOUD"),
    ] {
        let refused = bench.harness.update(&body(&blocks, signal)).await.expect_err(&blocks);
        assert!(format!("{refused:?}").contains(why), "{blocks}: {refused:?}");
    }
}

#[test]
fn the_surface_is_alloys() {
    let matching = [
        "attribute block repeatable empty",
        "attribute.key string required",
        "attribute.value any",
        "library block repeatable empty",
        "library.name string required",
        "library.version string",
        "log_bodies list(string)",
        "log_severity block unset",
        "log_severity.match_undefined bool required",
        "log_severity.min string(SeverityLevel) required",
        "log_severity_texts list(string)",
        "match_type string required",
        "metric_names list(string)",
        "regexp block unset",
        "regexp.cache_enabled bool",
        "regexp.cache_max_num_entries int",
        "resource block repeatable empty",
        "resource.key string required",
        "resource.value any",
        "services list(string)",
        "span_kinds list(string)",
        "span_names list(string)",
    ];
    let mut expected: Vec<String> = [
        "action block repeatable empty",
        "action.action string required",
        "action.converted_type string",
        "action.from_attribute string",
        "action.from_context string",
        "action.key string",
        "action.pattern string",
        "action.value any",
        "exclude block unset",
        "include block unset",
    ]
    .map(str::to_string)
    .into();
    for block in ["include", "exclude"] {
        expected.extend(matching.map(|line| format!("{block}.{line}")));
    }
    expected.sort();
    let shared = |line: &String| line.starts_with("output") || line.starts_with("debug_metrics");
    let ours = component::testkit::surface(<Args as component::eval::Arguments>::schema());
    assert_eq!(ours.into_iter().filter(|line| !shared(line)).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn what_comes_and_goes_is_counted_unless_nothing_is_to_be_told() {
    use component::eval::ArgValue as _;
    let sink = component::testkit::Sink::<signal::OtlpLogs>::new();
    let input = component::otel::OtelInput { logs: Some(sink.receiver()), ..Default::default() };
    let names = component::testkit::Names::default().with("sink", input.to_value());
    let body = |level: &str| format!("output {{\nlogs = [sink]\n}}\ndebug_metrics {{\nlevel = {level:?}\n}}");
    let definition = component::ComponentDef::of::<Attributes>();
    let running = Running::start(definition, &body("basic"), names).await;
    running.push([1, 2]).await;
    sink.answer(Err(Rejected::Retryable("later".into())));
    running.send(testkit::logs(&[&[3]])).await.expect_err("refused");
    let sum =
        |what: &str| running.sum(&format!("otelcol_processor_{what}_items_total"), "otel_signal=\"logs\"");
    assert_eq!((sum("incoming"), sum("outgoing")), (3.0, 2.0));
    running.update(&body("none")).await;
    sink.answer(Ok(()));
    running.push([4]).await;
    assert_eq!((sum("incoming"), sum("outgoing")), (0.0, 0.0));
}

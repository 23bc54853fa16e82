//! The component as its neighbours see it.

use component::testkit::{Harness, Names, Sink};
use component::{ArgValue, ComponentDef};
use signal::otlp::proto::collector::logs::v1::ExportLogsServiceRequest;
use signal::otlp::proto::collector::metrics::v1::ExportMetricsServiceRequest;
use signal::otlp::proto::collector::trace::v1::ExportTraceServiceRequest;
use signal::otlp::proto::common::v1::any_value::Value;
use signal::otlp::proto::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use signal::otlp::proto::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::metrics::v1::{Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics};
use signal::otlp::proto::resource::v1::Resource;
use signal::otlp::proto::trace::v1::span::Event;
use signal::otlp::proto::trace::v1::{ResourceSpans, ScopeSpans, Span};
use signal::otlp::{OtlpSignal, TracesSignal};
use signal::{OtlpLogs, OtlpMetrics, Traces};

use super::*;

fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.into())) });
    KeyValue { key: key.into(), value, ..KeyValue::default() }
}

fn resource(name: &str) -> Option<Resource> {
    Some(Resource { attributes: vec![text("service.name", name)], ..Resource::default() })
}

fn scope(name: &str) -> Option<InstrumentationScope> {
    Some(InstrumentationScope { name: name.into(), ..InstrumentationScope::default() })
}

/// `shop/lib: a(start, end), b()`, `shop/other: c()`, `till/lib: d()`
fn traces() -> Traces {
    let span = |name: &str, events: &[&str]| Span {
        name: name.into(),
        events: events.iter().map(|e| Event { name: (*e).into(), ..Event::default() }).collect(),
        ..Span::default()
    };
    let scope_spans = |name: &str, spans| ScopeSpans { scope: scope(name), spans, ..ScopeSpans::default() };
    let resource_spans = |name: &str, scope_spans| ResourceSpans {
        resource: resource(name),
        scope_spans,
        ..ResourceSpans::default()
    };
    let shop = vec![
        scope_spans("lib", vec![span("a", &["start", "end"]), span("b", &[])]),
        scope_spans("other", vec![span("c", &[])]),
    ];
    let till = vec![scope_spans("lib", vec![span("d", &[])])];
    Otlp::of(OtlpRequest::from_message(ExportTraceServiceRequest {
        resource_spans: vec![resource_spans("shop", shop), resource_spans("till", till)],
    }))
}

fn show_traces(batch: &Traces) -> String {
    let mut out = Vec::new();
    for message in batch.requests.iter().map(|r| r.message().expect("decodes")) {
        for resource in &message.resource_spans {
            for scope in &resource.scope_spans {
                let spans: Vec<String> = scope
                    .spans
                    .iter()
                    .map(|s| {
                        format!(
                            "{}{}",
                            s.name,
                            s.events.iter().map(|e| format!("+{}", e.name)).collect::<String>()
                        )
                    })
                    .collect();
                out.push(format!("{}:{}", scope.scope.as_ref().map_or("", |s| &s.name), spans.join(",")));
            }
        }
    }
    out.join(" ")
}

fn metrics() -> OtlpMetrics {
    let point = |host: &str| NumberDataPoint { attributes: vec![text("host", host)], ..Default::default() };
    let metric = |name: &str, hosts: &[&str]| Metric {
        name: name.into(),
        data: Some(Data::Gauge(Gauge { data_points: hosts.iter().map(|h| point(h)).collect() })),
        ..Metric::default()
    };
    let metrics = vec![
        metric("m", &["x", "y"]),
        metric("n", &["x"]),
        Metric { name: "bare".into(), ..Metric::default() },
    ];
    let scope_metrics = vec![ScopeMetrics { scope: scope("lib"), metrics, ..ScopeMetrics::default() }];
    Otlp::of(OtlpRequest::from_message(ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: resource("shop"),
            scope_metrics,
            ..Default::default()
        }],
    }))
}

fn show_metrics(batch: &OtlpMetrics) -> String {
    let metrics = batch.requests.iter().flat_map(|r| &r.message().expect("decodes").resource_metrics);
    let metrics = metrics.flat_map(|r| &r.scope_metrics).flat_map(|s| &s.metrics);
    metrics.map(|m| format!("{}:{}", m.name, ottl::points(m))).collect::<Vec<_>>().join(" ")
}

fn logs() -> OtlpLogs {
    let record = |body: &str, severity_number| LogRecord {
        body: Some(AnyValue { value: Some(Value::StringValue(body.into())) }),
        severity_number,
        ..LogRecord::default()
    };
    let log_records = vec![record("GET /ready", 9), record("failed", 17)];
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    Otlp::of(OtlpRequest::from_message(ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: resource("shop"),
            scope_logs,
            ..ResourceLogs::default()
        }],
    }))
}

struct Bench {
    harness: Harness,
    input: OtelInput,
    traces: Sink<Traces>,
    metrics: Sink<OtlpMetrics>,
    logs: Sink<OtlpLogs>,
}

impl Bench {
    async fn new(blocks: &str) -> Self {
        let (traces, metrics, logs) = (Sink::new(), Sink::new(), Sink::new());
        let input = OtelInput {
            traces: Some(Sink::<Traces>::receiver(&traces)),
            metrics: Some(Sink::<OtlpMetrics>::receiver(&metrics)),
            logs: Some(Sink::<OtlpLogs>::receiver(&logs)),
        };
        let names = Names::default().with("next", input.to_value());
        let harness = Harness::start(ComponentDef::of::<Filter>(), &body(blocks), names).await;
        let component::eval::Value::Object(exports) = harness.node.exports() else { panic!("an object") };
        let input = OtelInput::from_value(&exports["input"]).expect("an input");
        Self { harness, input, traces, metrics, logs }
    }

    async fn update(&self, blocks: &str) {
        self.harness.update(&body(blocks)).await.expect(blocks);
    }

    async fn traces(&self) -> String {
        self.input.traces.as_ref().expect("taken").send(traces()).await.expect("passed on");
        self.traces.take().first().map_or("nothing".into(), show_traces)
    }

    async fn metrics(&self) -> String {
        self.input.metrics.as_ref().expect("taken").send(metrics()).await.expect("passed on");
        self.metrics.take().first().map_or("nothing".into(), show_metrics)
    }

    fn counter(&self, what: &str) -> u64 {
        let text = self.harness.services.metrics.text();
        let line = text.lines().find(|l| l.starts_with(&format!("otelcol_processor_filter_{what}")));
        let value = line.and_then(|l| l.rsplit(' ').next()).unwrap_or_else(|| panic!("{what} in {text}"));
        value.parse().expect("a number")
    }
}

fn body(blocks: &str) -> String {
    format!("{blocks}\noutput {{\n traces = [next]\n metrics = [next]\n logs = [next]\n}}")
}

const ALL: &str = "lib:a+start+end,b other:c lib:d";

#[tokio::test]
async fn spans_and_what_becomes_empty_are_dropped() {
    let bench = Bench::new("").await;
    let cases = [
        ("traces { span = [`name == \"none\"`] }", ALL),
        ("traces { span = [`name == \"a\"`, `name == \"c\"`] }", "lib:b lib:d"),
        (
            "traces { span = [`resource.attributes[\"service.name\"] == \"till\"`] }",
            "lib:a+start+end,b other:c",
        ),
        ("traces { span = [`true`] }", "nothing"),
        ("traces { spanevent = [`name == \"end\" and span.name == \"a\"`] }", "lib:a+start,b other:c lib:d"),
        ("traces {\n span = [`name == \"b\"`]\n spanevent = [`true`]\n}", "lib:a other:c lib:d"),
        (
            "trace_conditions {\n context = \"resource\"\n conditions = [`attributes[\"service.name\"] == \"shop\"`]\n}",
            "lib:d",
        ),
        ("trace_conditions {\n context = \"scope\"\n conditions = [`name == \"lib\"`]\n}", "other:c"),
        (
            "trace_conditions { conditions = [`scope.name == \"other\"`, `span.name == \"d\"`, `spanevent.name == \"start\"`] }",
            "lib:a+end,b",
        ),
        ("trace_conditions { conditions = [`IsRootSpan() and span.name == \"a\"`] }", "lib:b other:c lib:d"),
    ];
    for (blocks, expected) in cases {
        bench.update(blocks).await;
        assert_eq!(bench.traces().await, expected, "{blocks}");
    }
}

#[tokio::test]
async fn metrics_and_data_points_are_dropped() {
    let bench = Bench::new("").await;
    let cases = [
        ("metrics { metric = [`name == \"m\"`] }", "n:1 bare:0"),
        ("metrics { metric = [`HasAttrKeyOnDatapoint(\"host\")`] }", "bare:0"),
        ("metrics { metric = [`HasAttrOnDatapoint(\"host\", \"y\")`] }", "n:1 bare:0"),
        ("metrics { datapoint = [`attributes[\"host\"] == \"x\"`] }", "m:1 bare:0"),
        (
            "metrics { datapoint = [`metric.name == \"m\" and attributes[\"host\"] == \"y\"`] }",
            "m:1 n:1 bare:0",
        ),
        (
            "metric_conditions { conditions = [`metric.type == METRIC_DATA_TYPE_NONE`, `datapoint.attributes[\"host\"] == \"y\"`] }",
            "m:1 n:1",
        ),
        ("metric_conditions {\n context = \"resource\"\n conditions = [`true`]\n}", "nothing"),
    ];
    for (blocks, expected) in cases {
        bench.update(blocks).await;
        assert_eq!(bench.metrics().await, expected, "{blocks}");
    }
}

#[tokio::test]
async fn log_records_are_dropped_and_all_is_counted() {
    let bench = Bench::new(
        "logs { log_record = [`severity_number < SEVERITY_NUMBER_WARN`] }\n\
         traces {\n span = [`name == \"c\"`]\n spanevent = [`true`]\n}\n\
         metrics { datapoint = [`attributes[\"host\"] == \"x\"`] }",
    )
    .await;
    bench.input.logs.as_ref().expect("taken").send(logs()).await.expect("passed on");
    let out = bench.logs.take();
    let records = &out[0].requests[0].message().expect("decodes").resource_logs[0].scope_logs[0].log_records;
    assert_eq!(records.iter().map(|r| r.severity_number).collect::<Vec<_>>(), [17]);
    assert_eq!(out[0].items(), 1);
    bench.traces().await;
    bench.metrics().await;
    let seen = ["logs", "spans", "spanevents", "datapoints"]
        .map(|what| bench.counter(&format!("{what}_filtered_total")));
    assert_eq!(seen, [1, 1, 2, 2]);
    assert!(bench.harness.services.metrics.text().contains("filter=\"filter/"));
}

#[tokio::test]
async fn a_condition_that_fails_does_not_hold_or_refuses_the_request() {
    let fails = "traces { span = [`Split(attributes[\"none\"], \",\")[0] == \"x\"`, `name == \"a\"`] }";
    let bench = Bench::new(fails).await;
    assert_eq!(bench.traces().await, "lib:b other:c lib:d");
    assert_eq!(bench.counter("failed_conditions_total"), 4);
    bench.update(&format!("error_mode = \"silent\"\n{fails}")).await;
    assert_eq!(bench.traces().await, "lib:b other:c lib:d");
    assert_eq!(bench.counter("failed_conditions_total"), 4);
    bench.update(&format!("error_mode = \"propagate\"\n{fails}")).await;
    let error = bench.input.traces.as_ref().expect("taken").send(traces()).await;
    assert!(matches!(&error, Err(Rejected::Permanent(m)) if m.contains("expected a string")), "{error:?}");
}

#[tokio::test]
async fn a_request_that_nothing_is_dropped_from_is_passed_on_as_it_came() {
    let bench = Bench::new("traces { span = [`name == \"b\"`] }").await;
    let packed = signal::otlp::Packed { encoding: "gzip", bytes: bytes::Bytes::from_static(b"packed") };
    let keeps = |name: &str| {
        let spans = vec![Span { name: name.into(), ..Span::default() }];
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        let message = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }],
        };
        let wire = OtlpRequest::<TracesSignal>::from_message(message).wire().clone();
        OtlpRequest::<TracesSignal>::from_wire(wire, 1, Some(packed.clone()))
    };
    let mut batch = Otlp::of(keeps("a"));
    batch.make_mut().requests.push(keeps("b"));
    batch.make_mut().requests.push(keeps("c"));
    bench.input.traces.as_ref().expect("taken").send(batch).await.expect("passed on");
    let out = bench.traces.take().remove(0);
    assert_eq!(out.requests.len(), 2);
    assert!(out.requests.iter().all(|request| request.packed() == Some(&packed)));
    assert_eq!(TracesSignal::count(out.requests[1].message().expect("decodes")), 1);
    let damaged = OtlpRequest::<TracesSignal>::from_wire(bytes::Bytes::from_static(b"\x0a\x05"), 1, None);
    let error = bench.input.traces.as_ref().expect("taken").send(Otlp::of(damaged)).await;
    assert!(matches!(error, Err(Rejected::Permanent(_))));
}

#[tokio::test]
async fn mistakes_are_errors_of_the_configuration() {
    let bench = Bench::new("").await;
    let cases = [
        ("traces { span = [`nam == \"a\"`] }", "did you mean `name`?"),
        ("traces { span = [`name`] }", "this is a value and no condition"),
        ("traces { span = [`set(name, \"a\")`] }", "`set` is called like a converter"),
        ("logs { log_record = [`HasAttrKeyOnDatapoint(\"x\")`] }", "cannot be used in the context log"),
        ("log_conditions { conditions = [`body == \"x\"`] }", "does not begin with its context"),
        (
            "log_conditions {\n context = \"span\"\n conditions = [`true`]\n}",
            "is not one of the contexts resource, scope, log",
        ),
        ("error_mode = \"loud\"", "error_mode"),
    ];
    for (blocks, part) in cases {
        let error = format!("{:?}", bench.harness.update(&body(blocks)).await.expect_err(blocks));
        assert!(error.contains(part), "{blocks}: {error}");
    }
}

#[tokio::test]
async fn what_is_known_of_the_client_can_be_asked_about() {
    let bench = Bench::new("traces { span = [`otelcol.client.metadata[\"x-probe\"][0] == \"yes\"`] }").await;
    let input = bench.input.traces.as_ref().expect("taken");
    for (value, expected) in [("yes", 0), ("no", 1)] {
        let mut batch = traces();
        let headers = vec![("x-probe".into(), value.into())];
        batch.make_mut().client = Some(Arc::new(ClientMetadata { headers, ..ClientMetadata::default() }));
        input.send(batch).await.expect("taken");
        assert_eq!(bench.traces.take().len(), expected, "{value}");
    }
    assert_eq!(bench.traces().await, ALL, "a client that nothing is known of");
}

#[tokio::test]
async fn what_comes_and_goes_is_counted_unless_nothing_is_to_be_told() {
    let bench = Bench::new("traces { span = [`name == \"a\"`] }").await;
    bench.traces().await;
    let sum = |what: &str| {
        let text = bench.harness.services.metrics.text();
        let name = format!("otelcol_processor_{what}_items_total");
        let line =
            text.lines().find(|line| line.starts_with(&name) && line.contains("otel_signal=\"traces\""));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
    };
    assert_eq!((sum("incoming"), sum("outgoing")), (Some(4), Some(3)));
    bench.update("debug_metrics { level = \"none\" }").await;
    bench.traces().await;
    assert_eq!((sum("incoming"), sum("outgoing")), (None, None));
}

//! The component as its neighbours see it; what statements do is tested with the language.

use component::testkit::{Harness, Names, Sink};
use component::{ArgValue, ComponentDef};
use prost::Message as _;
use signal::otlp::proto::collector::logs::v1::ExportLogsServiceRequest;
use signal::otlp::proto::collector::metrics::v1::ExportMetricsServiceRequest;
use signal::otlp::proto::collector::trace::v1::ExportTraceServiceRequest;
use signal::otlp::proto::common::v1::any_value::Value;
use signal::otlp::proto::common::v1::{AnyValue, KeyValue};
use signal::otlp::proto::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::metrics::v1::{Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics};
use signal::otlp::proto::resource::v1::Resource;
use signal::otlp::proto::trace::v1::span::Event;
use signal::otlp::proto::trace::v1::{ResourceSpans, ScopeSpans, Span};
use signal::{OtlpLogs, OtlpMetrics, Traces};

use super::*;

fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.into())) });
    KeyValue { key: key.into(), value, ..KeyValue::default() }
}

fn resource() -> Option<Resource> {
    Some(Resource { attributes: vec![text("service.name", "shop")], ..Resource::default() })
}

fn traces() -> Traces {
    let span = |name: &str| Span {
        name: name.into(),
        kind: 2,
        attributes: vec![text("http.method", "GET")],
        events: vec![Event { name: "start".into(), ..Event::default() }],
        ..Span::default()
    };
    let scope_spans = vec![ScopeSpans { spans: vec![span("a"), span("b")], ..ScopeSpans::default() }];
    Otlp::of(OtlpRequest::from_message(ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { resource: resource(), scope_spans, ..ResourceSpans::default() }],
    }))
}

fn metrics() -> OtlpMetrics {
    let point = |host: &str| NumberDataPoint { attributes: vec![text("host", host)], ..Default::default() };
    let data = Some(Data::Gauge(Gauge { data_points: vec![point("x"), point("y")] }));
    let metrics = vec![Metric { name: "m".into(), data, ..Metric::default() }];
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    Otlp::of(OtlpRequest::from_message(ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics { resource: resource(), scope_metrics, ..Default::default() }],
    }))
}

fn logs() -> OtlpLogs {
    let record = |body: &str| LogRecord {
        body: Some(AnyValue { value: Some(Value::StringValue(body.into())) }),
        ..LogRecord::default()
    };
    let log_records = vec![record("{\"level\":\"info\"}"), record("plain")];
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    Otlp::of(OtlpRequest::from_message(ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { resource: resource(), scope_logs, ..ResourceLogs::default() }],
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
        let harness = Harness::start(ComponentDef::of::<Transform>(), &body(blocks), names).await;
        let component::eval::Value::Object(exports) = harness.node.exports() else { panic!("an object") };
        let input = OtelInput::from_value(&exports["input"]).expect("an input");
        Self { harness, input, traces, metrics, logs }
    }

    async fn traces(&self) -> Result<ExportTraceServiceRequest, Rejected> {
        self.input.traces.as_ref().expect("taken").send(traces()).await?;
        Ok(self.traces.take().remove(0).requests[0].message().expect("decodes").clone())
    }

    async fn metrics(&self) -> ExportMetricsServiceRequest {
        self.input.metrics.as_ref().expect("taken").send(metrics()).await.expect("passed on");
        self.metrics.take().remove(0).requests[0].message().expect("decodes").clone()
    }

    async fn logs(&self) -> Vec<LogRecord> {
        self.input.logs.as_ref().expect("taken").send(logs()).await.expect("passed on");
        let message = self.logs.take().remove(0).requests[0].message().expect("decodes").clone();
        message.resource_logs[0].scope_logs[0].log_records.clone()
    }
}

fn body(blocks: &str) -> String {
    format!("{blocks}\noutput {{\n traces = [next]\n metrics = [next]\n logs = [next]\n}}")
}

fn block(kind: &str, context: &str, statements: &[&str]) -> String {
    let statements: Vec<String> = statements.iter().map(|s| format!("`{s}`")).collect();
    format!("{kind}_statements {{\n context = \"{context}\"\n statements = [{}]\n}}\n", statements.join(", "))
}

#[tokio::test]
async fn statements_change_the_items_of_their_context() {
    let blocks = [
        block("trace", "resource", &[r#"set(attributes["cluster"], "c1")"#]),
        block("trace", "scope", &[r#"set(name, "lib")"#]),
        block(
            "trace",
            "span",
            &[r#"set(name, "A") where name == "a""#, r#"set(kind, SPAN_KIND_CLIENT) where name == "A""#],
        ),
        block("trace", "spanevent", &[r#"set(attributes["span"], span.name)"#]),
    ];
    let bench = Bench::new(&blocks.concat()).await;
    let message = bench.traces().await.expect("passed on");
    let resource = &message.resource_spans[0];
    assert_eq!(resource.resource.as_ref().map(|r| r.attributes.len()), Some(2));
    let scope = &resource.scope_spans[0];
    assert_eq!(scope.scope.as_ref().map(|s| s.name.as_str()), Some("lib"));
    let seen: Vec<_> = scope.spans.iter().map(|s| (s.name.as_str(), s.kind)).collect();
    assert_eq!(seen, [("A", 3), ("b", 2)]);
    assert_eq!(scope.spans[0].events[0].attributes, [text("span", "A")]);
}

#[tokio::test]
async fn contexts_are_found_from_the_paths() {
    let bench = Bench::new(
        "statements {\n trace = [`set(span.name, Concat([span.name, resource.attributes[\"service.name\"]], \"@\"))`]\n \
         metric = [`convert_gauge_to_sum(\"delta\", true)`, `set(datapoint.attributes[\"m\"], metric.name)`]\n \
         log = [`merge_maps(log.cache, ParseJSON(log.body), \"upsert\") where IsMatch(log.body, \"^\\\\{\")`, \
         `set(log.attributes[\"level\"], log.cache[\"level\"])`]\n}",
    )
    .await;
    let message = bench.traces().await.expect("passed on");
    assert_eq!(message.resource_spans[0].scope_spans[0].spans[1].name, "b@shop");
    let metric = &bench.metrics().await.resource_metrics[0].scope_metrics[0].metrics[0];
    let Some(Data::Sum(sum)) = &metric.data else { panic!("a sum") };
    assert!(sum.data_points.iter().all(|p| p.attributes.last() == Some(&text("m", "m"))));
    let records = bench.logs().await;
    // The cache is that of all records, as upstream in this style.
    assert_eq!(records[0].attributes, [text("level", "info")]);
    assert_eq!(records[1].attributes, [text("level", "info")]);
}

#[tokio::test]
async fn a_block_has_conditions_and_a_cache_for_each_item() {
    let bench = Bench::new(
        "log_statements {\n context = \"log\"\n conditions = [`IsMatch(body, \"^x\")`, `body != nil`]\n \
         statements = [`merge_maps(cache, ParseJSON(body), \"upsert\") where IsMatch(body, \"^\\\\{\")`, \
         `set(attributes[\"level\"], cache[\"level\"])`]\n}",
    )
    .await;
    let records = bench.logs().await;
    assert_eq!(records[0].attributes, [text("level", "info")]);
    assert_eq!(records[1].attributes, []);
    bench
        .harness
        .update(&body("log_statements {\n context = \"log\"\n conditions = [`body == nil`]\n statements = [`set(severity_text, \"x\")`]\n}"))
        .await
        .expect("valid");
    assert!(bench.logs().await.iter().all(|record| record.severity_text.is_empty()));
}

#[tokio::test]
async fn metrics_that_statements_add_are_seen_by_them_and_bounded() {
    let add = r#"copy_metric(name="copy", desc="d") where name == "m""#;
    let bench = Bench::new(&block("metric", "metric", &[add, r#"set(unit, "s")"#])).await;
    let message = bench.metrics().await;
    let seen: Vec<_> = message.resource_metrics[0].scope_metrics[0]
        .metrics
        .iter()
        .map(|m| (m.name.clone(), m.unit.clone()))
        .collect();
    assert_eq!(seen, [("m".into(), "s".into()), ("copy".into(), "s".into())]);

    bench.harness.update(&body(&block("metric", "metric", &["copy_metric()"]))).await.expect("valid");
    let error = bench.input.metrics.as_ref().expect("taken").send(metrics()).await;
    assert!(matches!(&error, Err(Rejected::Permanent(m)) if m.contains("more than 10000")), "{error:?}");
}

#[tokio::test]
async fn failures_are_told_ignored_or_refuse_the_request() {
    let fails = r#"set(attributes["n"], Split(attributes["none"], ","))"#;
    let statements = block("trace", "span", &[fails, r#"set(name, "after")"#]);
    let bench = Bench::new(&statements).await;
    let name =
        |message: ExportTraceServiceRequest| message.resource_spans[0].scope_spans[0].spans[0].name.clone();
    assert_eq!(name(bench.traces().await.expect("passed on")), "after");
    let shown = |bench: &Bench| bench.harness.services.metrics.text();
    assert!(
        shown(&bench).contains("otelcol_processor_transform_failed_statements_total"),
        "{}",
        shown(&bench)
    );
    let failed = |bench: &Bench| {
        let text = shown(bench);
        let line = text.lines().find(|l| l.contains("failed_statements_total{") && l.contains("traces"));
        line.and_then(|l| l.rsplit(' ').next()).map(str::to_owned)
    };
    assert_eq!(failed(&bench).as_deref(), Some("2"));

    bench.harness.update(&body(&format!("error_mode = \"silent\"\n{statements}"))).await.expect("valid");
    assert_eq!(name(bench.traces().await.expect("passed on")), "after");
    assert_eq!(failed(&bench).as_deref(), Some("2"));

    bench.harness.update(&body(&format!("error_mode = \"propagate\"\n{statements}"))).await.expect("valid");
    let error = bench.traces().await.expect_err("refused");
    assert!(
        matches!(&error, Rejected::Permanent(m) if m.contains("Split: expected a string, but got nil")),
        "{error:?}"
    );

    let own = statements.replacen("statements =", "error_mode = \"ignore\"\n statements =", 1);
    bench.harness.update(&body(&format!("error_mode = \"propagate\"\n{own}"))).await.expect("valid");
    assert_eq!(name(bench.traces().await.expect("passed on")), "after");
}

#[tokio::test]
async fn a_request_that_no_statement_applies_to_is_passed_on_as_it_came() {
    let bench = Bench::new(&block("trace", "span", &[r#"set(name, "x") where name == "none""#])).await;
    let wire = traces().requests[0].wire().clone();
    let packed = signal::otlp::Packed { encoding: "gzip", bytes: bytes::Bytes::from_static(b"packed") };
    let request = OtlpRequest::<TracesSignal>::from_wire(wire, 2, Some(packed.clone()));
    bench.input.traces.as_ref().expect("taken").send(Otlp::of(request)).await.expect("passed on");
    assert_eq!(bench.traces.take().remove(0).requests[0].packed(), Some(&packed));
    // Signals without statements are not even decoded.
    let damaged = OtlpRequest::<LogsSignal>::from_wire(bytes::Bytes::from_static(b"\x0a\x05"), 1, None);
    bench.input.logs.as_ref().expect("taken").send(Otlp::of(damaged)).await.expect("passed on");
    // A sender's own copy stays as it was.
    bench.harness.update(&body(&block("trace", "span", &[r#"set(name, "x")"#]))).await.expect("valid");
    let kept = traces();
    bench.input.traces.as_ref().expect("taken").send(kept.clone()).await.expect("passed on");
    assert_eq!(
        kept.requests[0].wire().as_ref(),
        traces().requests[0].message().expect("decoded").encode_to_vec()
    );
}

#[tokio::test]
async fn mistakes_are_errors_of_the_configuration() {
    let bench = Bench::new("").await;
    let cases = [
        (
            block("trace", "span", &["set(nam, 1)"]),
            "`nam` is no field of the context span at column 5 of `set(nam, 1)`; did you mean `name`?",
        ),
        (
            block("trace", "log", &["set(name, 1)"]),
            "\"log\" is not one of the contexts resource, scope, span, spanevent",
        ),
        (block("log", "log", &["set(body, otelcol.client.auth.attributes)"]), "is not kept"),
        ("statements { log = [`set(body, \"x\")`] }".into(), "does not begin with its context"),
        ("error_mode = \"loud\"".into(), "error_mode"),
        ("log_statements { statements = [] }".into(), "context"),
    ];
    for (blocks, part) in cases {
        let error = format!("{:?}", bench.harness.update(&body(&blocks)).await.expect_err(&blocks));
        assert!(error.replace("\\\"", "\"").contains(part), "{blocks}: {error}");
    }
}

#[tokio::test]
async fn what_is_known_of_the_client_can_be_noted() {
    let statement = r#"set(attributes["tenant"], otelcol.client.metadata["x-tenant"][0])"#;
    let bench = Bench::new(&block("log", "log", &[statement])).await;
    let mut batch = logs();
    let headers = vec![("x-tenant".into(), "shop".into())];
    batch.make_mut().client = Some(Arc::new(ClientMetadata { headers, ..ClientMetadata::default() }));
    bench.input.logs.as_ref().expect("taken").send(batch).await.expect("passed on");
    let out = bench.logs.take().remove(0);
    let message = out.requests[0].message().expect("decodes");
    assert_eq!(message.resource_logs[0].scope_logs[0].log_records[0].attributes, [text("tenant", "shop")]);
    assert!(bench.logs().await[0].attributes.is_empty(), "nothing is known of this one");
}

#[tokio::test]
async fn what_comes_and_goes_is_counted_unless_nothing_is_to_be_told() {
    let bench = Bench::new(&block("log", "log", &["set(severity_text, \"x\")"])).await;
    bench.logs().await;
    bench.logs.answer(Err(Rejected::Retryable("later".into())));
    bench.input.logs.as_ref().expect("taken").send(logs()).await.expect_err("refused");
    let sum = |what: &str| {
        let text = bench.harness.services.metrics.text();
        let name = format!("otelcol_processor_{what}_items_total");
        let line = text.lines().find(|line| line.starts_with(&name) && line.contains("otel_signal=\"logs\""));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
    };
    assert_eq!((sum("incoming"), sum("outgoing")), (Some(4), Some(2)));
    bench.harness.update(&body("debug_metrics { level = \"none\" }")).await.expect("sound");
    assert_eq!((sum("incoming"), sum("outgoing")), (None, None));
}

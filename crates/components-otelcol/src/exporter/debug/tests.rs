//! What is written, where, and how much of it.

use component::testkit::{Harness, Names};
use component::{ArgValue, ComponentDef};
use signal::otlp::proto::collector::logs::v1::ExportLogsServiceRequest;
use signal::otlp::proto::collector::metrics::v1::ExportMetricsServiceRequest;
use signal::otlp::proto::collector::trace::v1::ExportTraceServiceRequest;
use signal::otlp::proto::common::v1::any_value::Value;
use signal::otlp::proto::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use signal::otlp::proto::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::metrics::v1::{
    Histogram, HistogramDataPoint, Metric, ResourceMetrics, ScopeMetrics, Summary, SummaryDataPoint,
    summary_data_point::ValueAtQuantile,
};
use signal::otlp::proto::resource::v1::Resource;
use signal::otlp::proto::trace::v1::span::{Event, Link};
use signal::otlp::proto::trace::v1::{ResourceSpans, ScopeSpans, Span};
use signal::otlp::{OtlpRequest, TracesSignal};
use signal::{OtlpLogs, OtlpMetrics, Traces};

use super::*;
use crate::exporter::sending::testkit::Running;

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn traces() -> Traces {
    let span = Span {
        name: "GET /".into(),
        trace_id: vec![0xab; 16],
        span_id: vec![1; 8],
        kind: 2,
        start_time_unix_nano: 1_500_000_000,
        attributes: vec![attribute("code", Value::IntValue(200))],
        events: vec![Event { name: "retry".into(), ..Event::default() }],
        links: vec![Link { trace_state: "a=b".into(), ..Link::default() }],
        ..Span::default()
    };
    let scope = InstrumentationScope { name: "lib".into(), version: "1.2".into(), ..Default::default() };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans: vec![span], ..ScopeSpans::default() }];
    let attributes = vec![attribute("service.name", Value::StringValue("shop".into()))];
    let resource = Some(Resource { attributes, ..Resource::default() });
    let resource_spans = vec![ResourceSpans { resource, scope_spans, schema_url: "u".into() }];
    Otlp::of(OtlpRequest::from_message(ExportTraceServiceRequest { resource_spans }))
}

#[test]
fn traces_are_written_as_the_verbosity_says() {
    let basic = render(&traces(), Verbosity::Basic).expect("decodes");
    assert!(
        basic.starts_with("traces: 1 resource spans, 1 spans, ") && basic.lines().count() == 1,
        "{basic}"
    );
    let normal = render(&traces(), Verbosity::Normal).expect("decodes");
    let lines: Vec<_> = normal.lines().skip(1).collect();
    let ids = format!("{} {}", "ab".repeat(16), "01".repeat(8));
    let span = format!("GET / {ids} code=200");
    assert_eq!(lines, ["Resource #0 [u] service.name=shop", "Scope #0 lib@1.2", span.as_str()]);
    let detailed = render(&traces(), Verbosity::Detailed).expect("decodes");
    for part in [
        "     -> service.name: Str(shop)",
        "InstrumentationScope lib 1.2",
        "    Kind           : SPAN_KIND_SERVER",
        "    Start time     : 1970-01-01T00:00:01.5Z",
        "     -> code: Int(200)",
        "     -> Name: retry",
        "     -> TraceState: a=b",
    ] {
        assert!(detailed.lines().any(|line| line == part), "{part:?} in {detailed}");
    }
}

#[test]
fn a_line_a_batch_needs_no_decoding() {
    let bytes = traces().requests[0].wire().clone();
    let batch = Otlp::of(OtlpRequest::<TracesSignal>::from_wire(bytes, 1, None));
    assert!(
        render(&batch, Verbosity::Basic).expect("counted").starts_with("traces: 1 resource spans, 1 spans")
    );
    assert!(!batch.requests[0].is_decoded());
}

#[test]
fn logs_and_metrics_are_written() {
    let record = LogRecord {
        body: Some(AnyValue { value: Some(Value::StringValue("hello".into())) }),
        severity_number: 9,
        attributes: vec![attribute("a", Value::BoolValue(true))],
        ..LogRecord::default()
    };
    let scope_logs = vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }];
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }],
    };
    let logs: OtlpLogs = Otlp::of(OtlpRequest::from_message(request));
    assert!(render(&logs, Verbosity::Normal).expect("decodes").ends_with("\nhello a=true\n"));
    let detailed = render(&logs, Verbosity::Detailed).expect("decodes");
    assert!(
        detailed.contains("Body: Str(hello)\n") && detailed.contains("SEVERITY_NUMBER_INFO"),
        "{detailed}"
    );

    let histogram = HistogramDataPoint {
        count: 3,
        sum: Some(1.5),
        bucket_counts: vec![1, 2],
        explicit_bounds: vec![0.5],
        attributes: vec![attribute("a", Value::IntValue(1)), attribute("b", Value::IntValue(2))],
        ..HistogramDataPoint::default()
    };
    let summary = SummaryDataPoint {
        quantile_values: vec![ValueAtQuantile { quantile: 0.5, value: 7.0 }],
        ..SummaryDataPoint::default()
    };
    let metric = |name: &str, data| Metric { name: name.into(), data: Some(data), ..Metric::default() };
    let metrics = vec![
        metric("h", Data::Histogram(Histogram { data_points: vec![histogram], aggregation_temporality: 2 })),
        metric("s", Data::Summary(Summary { data_points: vec![summary] })),
    ];
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    let request = ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }],
    };
    let metrics: OtlpMetrics = Otlp::of(OtlpRequest::from_message(request));
    let normal = render(&metrics, Verbosity::Normal).expect("decodes");
    let expected = "\nh{a=1 b=2} count=3 sum=1.5 le0.5=1 le+Inf=2\ns{} count=0 sum=0 q0.5=7\n";
    assert!(normal.ends_with(expected), "{normal}");
    let detailed = render(&metrics, Verbosity::Detailed).expect("decodes");
    assert!(detailed.contains("AGGREGATION_TEMPORALITY_CUMULATIVE"), "{detailed}");
}

#[tokio::test(start_paused = true)]
async fn sampling_starts_anew_every_second() {
    for (initial, thereafter, expected) in
        [(2, 1, "yyyyyy"), (2, 0, "yy...."), (1, 3, "y..y.."), (0, 2, ".y.y.y")]
    {
        let sampler = Sampler { initial, thereafter, second: Mutex::new((Instant::now(), 0)) };
        for _ in 0..2 {
            let taken: String = (0..6).map(|_| if sampler.takes() { 'y' } else { '.' }).collect();
            assert_eq!(taken, expected, "{initial} {thereafter}");
            tokio::time::advance(Duration::from_secs(1)).await;
        }
    }
}

#[tokio::test]
async fn files_are_appended_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out.txt");
    let body = format!("use_internal_logger = false\noutput_paths = [\"{}\"]", path.display());
    let harness = Harness::start(ComponentDef::of::<Debug>(), &body, Names::default()).await;
    let component::eval::Value::Object(exports) = harness.node.exports() else { panic!("an object") };
    let input = OtelInput::from_value(&exports["input"]).expect("an input").traces.expect("takes traces");
    for _ in 0..2 {
        assert_eq!(input.send(traces()).await, Ok(()));
    }
    let text = std::fs::read_to_string(&path).expect("written");
    assert_eq!(text.matches("traces: 1 resource spans, 1 spans").count(), 2, "{text}");
    let missing =
        format!("use_internal_logger = false\noutput_paths = [\"{}/no/such\"]", folder.path().display());
    let refused = harness.update(&missing).await.expect_err("no such folder");
    assert!(format!("{refused:?}").contains("output_paths"), "{refused:?}");
    let damaged = OtlpRequest::<TracesSignal>::from_wire(vec![0x0a, 5, 1].into(), 1, None);
    assert!(matches!(input.send(Otlp::of(damaged)).await, Err(Rejected::Permanent(_))));
}

#[tokio::test]
async fn arguments_that_make_no_sense_are_refused() {
    let harness = Harness::start(ComponentDef::of::<Debug>(), "", Names::default()).await;
    for (body, why) in [
        ("verbosity = \"loud\"", "detailed"),
        ("sampling_initial = -1", "negative"),
        ("use_internal_logger = false\noutput_paths = []", "where to write"),
    ] {
        let refused = harness.update(body).await.expect_err(body);
        assert!(format!("{refused:?}").contains(why), "{refused:?}");
    }
}

#[tokio::test]
async fn what_is_taken_is_counted_unless_nothing_is_to_be_told() {
    let definition = ComponentDef::of::<Debug>();
    let running =
        Running::start(definition, "sampling_initial = 1\nsampling_thereafter = 0", Names::default()).await;
    running.push([1, 2, 3]).await;
    assert_eq!(running.sum("otelcol_exporter_sent_log_records_total", "exporter=\"debug/"), 3.0);
    running.update("debug_metrics {\nlevel = \"none\"\n}").await;
    running.push([4]).await;
    assert_eq!(running.sent(), 0.0);
}

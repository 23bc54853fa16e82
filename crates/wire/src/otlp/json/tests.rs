//! Against the types' own writer, and against clients that do not keep to the form.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use signal::otlp::proto::collector::logs::v1::ExportLogsServiceRequest;
use signal::otlp::proto::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value,
};
use signal::otlp::proto::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint,
    Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar,
    exponential_histogram_data_point::Buckets, number_data_point, summary_data_point::ValueAtQuantile,
};
use signal::otlp::proto::resource::v1::Resource;
use signal::otlp::proto::trace::v1::span::{Event, Link};
use signal::otlp::proto::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use super::super::check;
use super::*;

fn decoded<S: Readable + super::super::Schematic>(json: &[u8]) -> S::Request {
    let bytes = from_json::<S>(json).expect("a request");
    check::<S>(&bytes).expect("what is written is as the schema says");
    S::Request::decode(&*bytes).expect("decodes")
}

fn value(value: any_value::Value) -> Option<AnyValue> {
    Some(AnyValue { value: Some(value) })
}

fn attributes() -> Vec<KeyValue> {
    use any_value::Value as V;
    let list = ArrayValue { values: vec![AnyValue { value: Some(V::IntValue(-7)) }] };
    let inner =
        KeyValue { key: "in".into(), value: value(V::StringValue("x".into())), ..KeyValue::default() };
    let values = [
        V::StringValue("täxt \"q\"\n".into()),
        V::StringValue(String::new()),
        V::BoolValue(false),
        V::IntValue(i64::MIN),
        V::DoubleValue(-1.5e300),
        V::BytesValue(vec![0, 255, 62, 63]),
        V::ArrayValue(list),
        V::KvlistValue(KeyValueList { values: vec![inner] }),
    ];
    let pair = |(i, v)| KeyValue { key: format!("k{i}"), value: value(v), ..KeyValue::default() };
    values.into_iter().enumerate().map(pair).collect()
}

fn resource() -> Option<Resource> {
    Some(Resource { attributes: attributes(), dropped_attributes_count: 3, ..Resource::default() })
}

fn scope() -> Option<InstrumentationScope> {
    let (name, version) = ("lib".into(), "1".into());
    Some(InstrumentationScope { name, version, attributes: attributes(), dropped_attributes_count: 1 })
}

fn traces() -> ExportTraceServiceRequest {
    let link = Link {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        trace_state: "s".into(),
        attributes: attributes(),
        dropped_attributes_count: 2,
        flags: 257,
    };
    let event = Event {
        time_unix_nano: u64::MAX,
        name: "e".into(),
        attributes: attributes(),
        dropped_attributes_count: 9,
    };
    let span = Span {
        trace_id: vec![0xab; 16],
        span_id: vec![0xcd; 8],
        trace_state: "a=b".into(),
        parent_span_id: vec![0xef; 8],
        flags: 1,
        name: "span".into(),
        kind: 3,
        start_time_unix_nano: 1,
        end_time_unix_nano: 2,
        attributes: attributes(),
        dropped_attributes_count: 4,
        events: vec![event],
        dropped_events_count: 5,
        links: vec![link],
        dropped_links_count: 6,
        status: Some(Status { message: "m".into(), code: 2 }),
    };
    let scope_spans =
        vec![ScopeSpans { scope: scope(), spans: vec![span, Span::default()], schema_url: "u".into() }];
    let one = ResourceSpans { resource: resource(), scope_spans, schema_url: "v".into() };
    ExportTraceServiceRequest { resource_spans: vec![one, ResourceSpans::default()] }
}

fn exemplar() -> Exemplar {
    Exemplar {
        filtered_attributes: attributes(),
        time_unix_nano: 3,
        span_id: vec![1; 8],
        trace_id: vec![2; 16],
        value: Some(exemplar::Value::AsInt(-3)),
    }
}

fn metrics() -> ExportMetricsServiceRequest {
    let number = |value| NumberDataPoint {
        attributes: attributes(),
        start_time_unix_nano: 1,
        time_unix_nano: 2,
        exemplars: vec![exemplar()],
        flags: 1,
        value: Some(value),
    };
    let histogram = HistogramDataPoint {
        attributes: attributes(),
        start_time_unix_nano: 1,
        time_unix_nano: 2,
        count: 3,
        sum: Some(0.0),
        bucket_counts: vec![0, 1, u64::MAX],
        explicit_bounds: vec![0.5, 1.0],
        exemplars: vec![exemplar()],
        flags: 0,
        min: Some(-1.0),
        max: Some(2.5),
    };
    let exponential = ExponentialHistogramDataPoint {
        attributes: attributes(),
        start_time_unix_nano: 1,
        time_unix_nano: 2,
        count: 3,
        sum: Some(1.0),
        scale: -4,
        zero_count: 5,
        positive: Some(Buckets { offset: -2, bucket_counts: vec![1, 300] }),
        negative: Some(Buckets { offset: i32::MAX, bucket_counts: vec![] }),
        flags: 1,
        exemplars: vec![exemplar()],
        min: None,
        max: Some(0.0),
        zero_threshold: 0.25,
    };
    let summary = SummaryDataPoint {
        attributes: attributes(),
        start_time_unix_nano: 1,
        time_unix_nano: 2,
        count: 3,
        sum: 4.0,
        quantile_values: vec![ValueAtQuantile { quantile: 0.99, value: 1.0 }],
        flags: 0,
    };
    use number_data_point::Value::{AsDouble, AsInt};
    let all = [
        Data::Gauge(Gauge { data_points: vec![number(AsDouble(0.1)), number(AsInt(i64::MAX))] }),
        Data::Sum(Sum {
            data_points: vec![number(AsInt(0))],
            aggregation_temporality: 2,
            is_monotonic: true,
        }),
        Data::Histogram(Histogram { data_points: vec![histogram], aggregation_temporality: 1 }),
        Data::ExponentialHistogram(ExponentialHistogram {
            data_points: vec![exponential],
            aggregation_temporality: 2,
        }),
        Data::Summary(Summary { data_points: vec![summary] }),
    ];
    let metric = |data| Metric {
        name: "m".into(),
        description: "d".into(),
        unit: "s".into(),
        metadata: attributes(),
        data: Some(data),
    };
    let metrics = all.into_iter().map(metric).collect();
    let scope_metrics = vec![ScopeMetrics { scope: scope(), metrics, schema_url: "u".into() }];
    let one = ResourceMetrics { resource: resource(), scope_metrics, schema_url: "v".into() };
    ExportMetricsServiceRequest { resource_metrics: vec![one] }
}

fn logs() -> ExportLogsServiceRequest {
    let record = LogRecord {
        time_unix_nano: 1,
        observed_time_unix_nano: 2,
        severity_number: 17,
        severity_text: "error".into(),
        body: value(any_value::Value::StringValue("line".into())),
        attributes: attributes(),
        dropped_attributes_count: 3,
        flags: 1,
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        event_name: "e".into(),
    };
    let scope_logs = vec![ScopeLogs { scope: scope(), log_records: vec![record], schema_url: "u".into() }];
    let one = ResourceLogs { resource: resource(), scope_logs, schema_url: "v".into() };
    ExportLogsServiceRequest { resource_logs: vec![one] }
}

#[test]
fn what_another_program_writes_as_json_is_the_same_message() {
    let json = serde_json::to_vec(&traces()).expect("serialises");
    assert_eq!(decoded::<TracesSignal>(&json), traces());
    let json = serde_json::to_vec(&metrics()).expect("serialises");
    assert_eq!(decoded::<MetricsSignal>(&json), metrics());
    let json = serde_json::to_vec(&logs()).expect("serialises");
    assert_eq!(decoded::<LogsSignal>(&json), logs());
}

fn point(json: &str) -> NumberDataPoint {
    let body = format!(
        r#"{{"resource_metrics":[{{"scope_metrics":[{{"metrics":[{{"name":"m","sum":{{
            "aggregation_temporality":"AGGREGATION_TEMPORALITY_DELTA","is_monotonic":true,"data_points":[{json}]}}}}]}}]}}]}}"#
    );
    let request = decoded::<MetricsSignal>(body.as_bytes());
    let metric = &request.resource_metrics[0].scope_metrics[0].metrics[0];
    let Some(Data::Sum(sum)) = &metric.data else { panic!("{metric:?}") };
    assert_eq!((sum.aggregation_temporality, sum.is_monotonic), (1, true));
    sum.data_points[0].clone()
}

#[test]
fn numbers_come_in_every_form_that_clients_write() {
    use number_data_point::Value::{AsDouble, AsInt};
    for (json, expected) in [
        (r#"{"asInt":"-9223372036854775808"}"#, AsInt(i64::MIN)),
        (r#"{"asInt":12}"#, AsInt(12)),
        (r#"{"as_int":1.2e1}"#, AsInt(12)),
        (r#"{"asDouble":"Infinity"}"#, AsDouble(f64::INFINITY)),
        (r#"{"asDouble":"-Infinity"}"#, AsDouble(f64::NEG_INFINITY)),
        (r#"{"asDouble":"1.5"}"#, AsDouble(1.5)),
        (r#"{"asDouble":3}"#, AsDouble(3.0)),
        (r#"{"asDouble":0,"timeUnixNano":null,"whoKnows":[{"a":[1]}]}"#, AsDouble(0.0)),
    ] {
        assert_eq!(point(json).value, Some(expected), "{json}");
    }
    let Some(AsDouble(nan)) = point(r#"{"asDouble":"NaN"}"#).value else { panic!("a number") };
    assert!(nan.is_nan());
    assert_eq!(point(r#"{"timeUnixNano":"18446744073709551615"}"#).time_unix_nano, u64::MAX);
}

#[test]
fn what_cannot_be_carried_is_refused_and_never_left_out() {
    let metric = |data: &str| {
        format!(r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"name":"m",{data}}}]}}]}}]}}"#)
    };
    for data in [
        r#""sum":{"aggregationTemporality":"SOMETIMES"}"#,
        r#""sum":{"isMonotonic":"true"}"#,
        r#""sum":[]"#,
        r#""sum":{"dataPoints":{}}"#,
        r#""gauge":{"dataPoints":[{"asInt":"9223372036854775808"}]}"#,
        r#""gauge":{"dataPoints":[{"asInt":1.5}]}"#,
        r#""gauge":{"dataPoints":[{"asDouble":"many"}]}"#,
        r#""gauge":{"dataPoints":[{"timeUnixNano":-1}]}"#,
        r#""gauge":{"dataPoints":[{"flags":4294967296}]}"#,
        r#""gauge":{"dataPoints":[{"exemplars":[{"traceId":"xyz"}]}]}"#,
        r#""histogram":{"dataPoints":[{"bucketCounts":[1,null]}]}"#,
    ] {
        let json = metric(data);
        assert!(from_json::<MetricsSignal>(json.as_bytes()).is_err(), "{data}");
    }
    for json in
        ["", "null", "[]", "{", r#"{"resourceSpans":[]} x"#, r#"{"resourceSpans":[3]}"#, "{\"a\":\"\u{0}\"}"]
    {
        assert!(from_json::<TracesSignal>(json.as_bytes()).is_err(), "{json}");
    }
    let deep = format!(r#"{{"resourceLogs":{}"#, "[".repeat(100_000));
    assert!(from_json::<LogsSignal>(deep.as_bytes()).is_err());
}

proptest::proptest! {
    #[test]
    fn whatever_is_sent_is_refused_or_becomes_a_request_that_passes_the_check(
        at in 0_usize..20_000,
        bytes in proptest::collection::vec(proptest::sample::select(&br#"0129-.eE"{}[]:,\ntrufalsN"#[..]), 0..4),
        cut in 0_usize..4,
        signal in 0..3,
    ) {
        fn one<S: Readable + super::super::Schematic>(mut json: Vec<u8>, at: usize, bytes: &[u8], cut: usize) {
            let at = at % json.len();
            let end = (at + cut).min(json.len());
            json.splice(at..end, bytes.iter().copied());
            if let Ok(written) = from_json::<S>(&json) {
                check::<S>(&written).expect("what is written is a request");
                S::Request::decode(&*written).expect("and decodes");
            }
        }
        match signal {
            0 => one::<TracesSignal>(serde_json::to_vec(&traces()).expect("serialises"), at, &bytes, cut),
            1 => one::<MetricsSignal>(serde_json::to_vec(&metrics()).expect("serialises"), at, &bytes, cut),
            _ => one::<LogsSignal>(serde_json::to_vec(&logs()).expect("serialises"), at, &bytes, cut),
        }
    }
}

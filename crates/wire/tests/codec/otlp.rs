//! Checking OTLP requests against `prost`: what passes decodes, with the same number of items.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint,
    Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint,
    exponential_histogram_data_point::Buckets, summary_data_point::ValueAtQuantile,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use proptest::prelude::*;
use prost::Message;
use signal::otlp::{LogsSignal, MetricsSignal, OtlpSignal, TracesSignal};
use wire::otlp::{Error, Schematic, Uncut, check, split};

fn value() -> impl Strategy<Value = AnyValue> {
    let leaf = prop_oneof![
        ".{0,8}".prop_map(Value::StringValue),
        any::<bool>().prop_map(Value::BoolValue),
        any::<i64>().prop_map(Value::IntValue),
        any::<f64>().prop_map(Value::DoubleValue),
        any::<Vec<u8>>().prop_map(Value::BytesValue),
    ];
    let leaf = leaf.prop_map(|v| AnyValue { value: Some(v) });
    leaf.prop_recursive(3, 12, 3, |inner| {
        let list = prop::collection::vec(inner, 0..3);
        list.prop_map(|values| {
            let keyed = values.iter().map(|v| KeyValue {
                key: "k".into(),
                value: Some(v.clone()),
                ..KeyValue::default()
            });
            let value = if values.len() % 2 == 0 {
                Value::KvlistValue(KeyValueList { values: keyed.collect() })
            } else {
                Value::ArrayValue(ArrayValue { values })
            };
            AnyValue { value: Some(value) }
        })
    })
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let one = ("[a-z.é]{0,6}", prop::option::of(value()));
    prop::collection::vec(one.prop_map(|(key, value)| KeyValue { key, value, ..KeyValue::default() }), 0..3)
}

fn around<T: std::fmt::Debug>(
    item: impl Strategy<Value = T>,
) -> impl Strategy<Value = (Option<Resource>, Option<InstrumentationScope>, Vec<T>)> {
    (attributes(), prop::collection::vec(item, 0..4)).prop_map(|(attributes, items)| {
        let scope =
            InstrumentationScope { name: "s".into(), attributes: attributes.clone(), ..Default::default() };
        (Some(Resource { attributes, ..Resource::default() }), Some(scope), items)
    })
}

pub(super) fn traces() -> impl Strategy<Value = ExportTraceServiceRequest> {
    let span =
        (attributes(), any::<u64>(), any::<i32>(), ".{0,6}").prop_map(|(attributes, n, kind, name)| Span {
            trace_id: vec![7; 16],
            span_id: n.to_be_bytes().to_vec(),
            kind,
            flags: n as u32,
            start_time_unix_nano: n,
            events: vec![Event { name: name.clone(), attributes: attributes.clone(), ..Event::default() }],
            links: vec![Link { trace_id: vec![1], trace_state: name.clone(), ..Link::default() }],
            status: Some(Status { message: name.clone(), code: kind }),
            name,
            attributes,
            ..Span::default()
        });
    around(span).prop_map(|(resource, scope, spans)| {
        let scope_spans = vec![ScopeSpans { scope, spans, ..ScopeSpans::default() }];
        ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }],
        }
    })
}

pub(super) fn metrics() -> impl Strategy<Value = ExportMetricsServiceRequest> {
    let metric = (attributes(), any::<u64>(), 0..6usize).prop_map(|(attributes, n, kind)| {
        let exemplars = vec![Exemplar {
            span_id: vec![1],
            filtered_attributes: attributes.clone(),
            ..Exemplar::default()
        }];
        let number = NumberDataPoint {
            attributes: attributes.clone(),
            exemplars: exemplars.clone(),
            time_unix_nano: n,
            ..NumberDataPoint::default()
        };
        let data_points = vec![number; (n % 3) as usize];
        let data = match kind {
            0 => Data::Gauge(Gauge { data_points }),
            1 => Data::Sum(Sum { data_points, is_monotonic: true, aggregation_temporality: 2 }),
            2 => Data::Histogram(Histogram {
                data_points: vec![HistogramDataPoint {
                    attributes,
                    exemplars,
                    bucket_counts: vec![n, 0, 1],
                    explicit_bounds: vec![1.0, f64::NAN],
                    min: Some(0.5),
                    ..HistogramDataPoint::default()
                }],
                aggregation_temporality: 1,
            }),
            3 => Data::ExponentialHistogram(ExponentialHistogram {
                data_points: vec![ExponentialHistogramDataPoint {
                    attributes,
                    scale: -3,
                    positive: Some(Buckets { offset: -7, bucket_counts: vec![n, 1 << 40] }),
                    ..ExponentialHistogramDataPoint::default()
                }],
                aggregation_temporality: 2,
            }),
            4 => Data::Summary(Summary {
                data_points: vec![SummaryDataPoint {
                    attributes,
                    quantile_values: vec![ValueAtQuantile { quantile: 0.5, value: 1.0 }],
                    ..SummaryDataPoint::default()
                }],
            }),
            _ => return Metric { name: "none".into(), ..Metric::default() },
        };
        Metric { name: "m".into(), unit: "s".into(), data: Some(data), ..Metric::default() }
    });
    around(metric).prop_map(|(resource, scope, metrics)| {
        let scope_metrics = vec![ScopeMetrics { scope, metrics, ..ScopeMetrics::default() }];
        ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() }],
        }
    })
}

pub(super) fn logs() -> impl Strategy<Value = ExportLogsServiceRequest> {
    let record = (attributes(), value(), any::<u64>()).prop_map(|(attributes, body, n)| LogRecord {
        time_unix_nano: n,
        observed_time_unix_nano: n,
        severity_text: "INFO".into(),
        body: Some(body),
        flags: n as u32,
        event_name: "e".into(),
        attributes,
        ..LogRecord::default()
    });
    around(record).prop_map(|(resource, scope, log_records)| {
        let scope_logs = vec![ScopeLogs { scope, log_records, ..ScopeLogs::default() }];
        ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs { resource, scope_logs, ..ResourceLogs::default() }],
        }
    })
}

fn passes<S: Schematic>(request: &S::Request) {
    let bytes = request.encode_to_vec();
    assert_eq!(check::<S>(&bytes).map(|n| n as usize), Ok(S::count(request)));
}

/// Whatever was done to the bytes: what passes can be decoded, and counts agree.
fn agrees<S: Schematic>(bytes: &[u8]) {
    if let Ok(items) = check::<S>(bytes) {
        let decoded = S::Request::decode(bytes).expect("what passes decodes");
        // Of two values of one `oneof` the last counts for a decoder; such bytes come from no encoder.
        assert!(S::count(&decoded) <= items as usize);
    }
}

fn damaged<S: Schematic>(
    request: &S::Request,
    edits: &[(prop::sample::Index, u8)],
    cut: prop::sample::Index,
) {
    let mut bytes = request.encode_to_vec();
    if bytes.is_empty() {
        return;
    }
    for (at, byte) in edits {
        let at = at.index(bytes.len());
        bytes[at] = *byte;
    }
    agrees::<S>(&bytes);
    agrees::<S>(&bytes[..cut.index(bytes.len())]);
}

proptest! {
    #[test]
    fn requests_pass_with_their_items_counted(t in traces(), m in metrics(), l in logs()) {
        passes::<TracesSignal>(&t);
        passes::<MetricsSignal>(&m);
        passes::<LogsSignal>(&l);
    }

    #[test]
    fn what_passes_after_damage_can_still_be_decoded(
        t in traces(), m in metrics(), l in logs(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        damaged::<TracesSignal>(&t, &edits, cut);
        damaged::<MetricsSignal>(&m, &edits, cut);
        damaged::<LogsSignal>(&l, &edits, cut);
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        agrees::<TracesSignal>(&bytes);
        agrees::<MetricsSignal>(&bytes);
        agrees::<LogsSignal>(&bytes);
    }
}

/// A decoded request with every item in groups of its own: equal for requests that say the same of each item.
trait Flat: OtlpSignal {
    fn flat(request: Self::Request) -> Vec<Self::Request>;
}

impl Flat for TracesSignal {
    fn flat(request: Self::Request) -> Vec<Self::Request> {
        let mut out = Vec::new();
        for mut resource in request.resource_spans {
            for mut scope in std::mem::take(&mut resource.scope_spans) {
                for span in std::mem::take(&mut scope.spans) {
                    let scope = ScopeSpans { spans: vec![span], ..scope.clone() };
                    let resource = ResourceSpans { scope_spans: vec![scope], ..resource.clone() };
                    out.push(ExportTraceServiceRequest { resource_spans: vec![resource] });
                }
            }
        }
        out
    }
}

impl Flat for LogsSignal {
    fn flat(request: Self::Request) -> Vec<Self::Request> {
        let mut out = Vec::new();
        for mut resource in request.resource_logs {
            for mut scope in std::mem::take(&mut resource.scope_logs) {
                for record in std::mem::take(&mut scope.log_records) {
                    let scope = ScopeLogs { log_records: vec![record], ..scope.clone() };
                    let resource = ResourceLogs { scope_logs: vec![scope], ..resource.clone() };
                    out.push(ExportLogsServiceRequest { resource_logs: vec![resource] });
                }
            }
        }
        out
    }
}

impl Flat for MetricsSignal {
    fn flat(request: Self::Request) -> Vec<Self::Request> {
        let mut out = Vec::new();
        for mut resource in request.resource_metrics {
            for mut scope in std::mem::take(&mut resource.scope_metrics) {
                for mut metric in std::mem::take(&mut scope.metrics) {
                    for data in single_points(metric.data.take()) {
                        let metric = Metric { data: Some(data), ..metric.clone() };
                        let scope = ScopeMetrics { metrics: vec![metric], ..scope.clone() };
                        let resource = ResourceMetrics { scope_metrics: vec![scope], ..resource.clone() };
                        out.push(ExportMetricsServiceRequest { resource_metrics: vec![resource] });
                    }
                }
            }
        }
        out
    }
}

fn single_points(data: Option<Data>) -> Vec<Data> {
    macro_rules! each {
        ($data:expr, $kind:ident) => {{
            let mut data = $data;
            let points = std::mem::take(&mut data.data_points);
            points.into_iter().map(|p| Data::$kind($kind { data_points: vec![p], ..data.clone() })).collect()
        }};
    }
    match data {
        None => Vec::new(),
        Some(Data::Gauge(d)) => {
            d.data_points.into_iter().map(|p| Data::Gauge(Gauge { data_points: vec![p] })).collect()
        }
        Some(Data::Summary(d)) => {
            d.data_points.into_iter().map(|p| Data::Summary(Summary { data_points: vec![p] })).collect()
        }
        Some(Data::Sum(d)) => each!(d, Sum),
        Some(Data::Histogram(d)) => each!(d, Histogram),
        Some(Data::ExponentialHistogram(d)) => each!(d, ExponentialHistogram),
    }
}

/// Cuts the union of requests and compares with what decoding gives.
fn cuts<S: Schematic + Flat>(requests: &[S::Request], first: u32, most: u32) {
    let bytes: Vec<u8> = requests.iter().flat_map(|r| r.encode_to_vec()).collect();
    let whole = S::Request::decode(bytes.as_slice()).expect("requests one after the other are a request");
    let items = S::count(&whole);
    let pieces = split::<S>(&bytes, first, most).expect("a request");
    let mut parts = Vec::new();
    for (at, piece) in pieces.iter().enumerate() {
        assert_eq!(check::<S>(&piece.bytes), Ok(piece.items));
        let limit = if at == 0 { first } else { most };
        assert!(piece.items == limit || (piece.items < limit && at + 1 == pieces.len()), "{piece:?}");
        parts.extend(S::flat(S::Request::decode(piece.bytes.as_slice()).expect("a piece is a request")));
    }
    assert_eq!(parts.len(), items);
    // By bytes: NaN differs from itself.
    let bytes = |all: Vec<S::Request>| all.iter().map(Message::encode_to_vec).collect::<Vec<_>>();
    assert_eq!(bytes(parts), bytes(S::flat(whole)));
}

proptest! {
    #[test]
    fn pieces_say_of_each_item_what_the_request_said(
        t in prop::collection::vec(traces(), 1..4),
        m in prop::collection::vec(metrics(), 1..4),
        l in prop::collection::vec(logs(), 1..4),
        first in 1..6u32, most in 1..6u32,
    ) {
        cuts::<TracesSignal>(&t, first, most);
        cuts::<MetricsSignal>(&m, first, most);
        cuts::<LogsSignal>(&l, first, most);
    }

    #[test]
    fn cutting_damaged_bytes_does_no_harm(
        bytes in prop::collection::vec(any::<u8>(), 0..200), most in 0..4u32,
    ) {
        let _ = split::<TracesSignal>(&bytes, most, most);
        let _ = split::<MetricsSignal>(&bytes, most, most);
    }
}

#[test]
fn groups_without_items_are_kept_and_a_request_that_fits_is_one_piece() {
    let empty = ResourceSpans { schema_url: "u".into(), ..ResourceSpans::default() };
    let spans = vec![Span { name: "a".into(), ..Span::default() }; 2];
    let scope_spans = vec![ScopeSpans { spans, schema_url: "s".into(), ..ScopeSpans::default() }];
    let full = ResourceSpans { scope_spans, ..ResourceSpans::default() };
    let request = ExportTraceServiceRequest { resource_spans: vec![full, empty.clone()] };
    let whole = split::<TracesSignal>(&request.encode_to_vec(), 2, 2).expect("a request");
    let decoded: Vec<_> = whole
        .iter()
        .map(|p| ExportTraceServiceRequest::decode(p.bytes.as_slice()).expect("decodes"))
        .collect();
    assert_eq!(decoded, std::slice::from_ref(&request));
    let pieces = split::<TracesSignal>(&request.encode_to_vec(), 1, 1).expect("a request");
    assert_eq!(pieces.iter().map(|p| p.items).collect::<Vec<_>>(), [1, 1]);
    let last = ExportTraceServiceRequest::decode(pieces[1].bytes.as_slice()).expect("decodes");
    assert_eq!(last.resource_spans[1], empty);
    assert_eq!(split::<TracesSignal>(b"", 1, 1), Ok(vec![]));
}

#[test]
fn a_large_head_around_many_small_items_is_not_repeated_without_end() {
    let resource = Resource {
        attributes: vec![KeyValue { key: "k".repeat(100_000), ..KeyValue::default() }],
        ..Resource::default()
    };
    let scope_spans = vec![ScopeSpans { spans: vec![Span::default(); 1000], ..ScopeSpans::default() }];
    let spans = ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() };
    let bytes = ExportTraceServiceRequest { resource_spans: vec![spans] }.encode_to_vec();
    assert_eq!(split::<TracesSignal>(&bytes, 1, 1), Err(Uncut::Swells));
    assert_eq!(split::<TracesSignal>(&bytes, 200, 200).map(|pieces| pieces.len()), Ok(5));
}

#[test]
fn values_nested_too_deep_are_refused_before_a_decoder_would_give_up() {
    let nested = |depth: usize| {
        let mut value = AnyValue { value: Some(Value::BoolValue(true)) };
        for _ in 0..depth {
            value = AnyValue { value: Some(Value::ArrayValue(ArrayValue { values: vec![value] })) };
        }
        let record = LogRecord { body: Some(value), ..LogRecord::default() };
        let scope_logs = vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }];
        ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }],
        }
        .encode_to_vec()
    };
    for depth in 0..60 {
        let bytes = nested(depth);
        agrees::<LogsSignal>(&bytes);
        assert_eq!(check::<LogsSignal>(&bytes).is_err(), depth > 45, "{depth}");
    }
    assert_eq!(check::<LogsSignal>(&nested(46)), Err(Error::TooDeep));
}

#[test]
fn text_that_is_not_utf_8_and_wrong_types_are_refused() {
    // ResourceLogs.schema_url = "\xff"; ResourceLogs as a varint; SpanKind as text.
    assert!(check::<LogsSignal>(b"\x0a\x03\x1a\x01\xff").is_err());
    assert!(check::<LogsSignal>(b"\x08\x01").is_err());
    assert!(check::<TracesSignal>(b"\x0a\x06\x12\x04\x12\x02\x32\x00").is_err());
    assert_eq!(check::<TracesSignal>(b"\x0a\x04\x12\x02\x12\x00"), Ok(1));
    // Fields that this program does not know are kept by everyone.
    assert_eq!(check::<TracesSignal>(b"\xf8\x07\x01\x0a\x00"), Ok(0));
}

//! Decoded requests as text: a line an item, or everything there is to say of it.

use std::fmt::Write as _;

use signal::otlp::proto::common::v1::{InstrumentationScope, KeyValue};
use signal::otlp::proto::logs::v1::LogRecord;
use signal::otlp::proto::metrics::v1::exponential_histogram_data_point::Buckets;
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::metrics::v1::{
    Exemplar, ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint, SummaryDataPoint,
    exemplar, number_data_point,
};
use signal::otlp::proto::resource::v1::Resource;
use signal::otlp::proto::trace::v1::Span;
use signal::otlp::{LogsSignal, MetricsSignal, OtlpSignal, TracesSignal};

use crate::value;

/// A signal that can be written.
pub(super) trait Written: OtlpSignal {
    /// What its top level is called.
    const RESOURCES: &'static str;
    /// Writes a request, a line an item or in full.
    fn write(request: &Self::Request, detailed: bool, out: &mut String);
}

/// Writes the head of a group around items.
fn resource(out: &mut String, detailed: bool, at: usize, resource: Option<&Resource>, schema: &str) {
    let attributes = resource.map(|r| r.attributes.as_slice()).unwrap_or_default();
    if detailed {
        let _ = writeln!(out, "Resource #{at}\nResource SchemaURL: {schema}");
        list(out, "Resource attributes", attributes);
    } else {
        let _ = write!(out, "Resource #{at}");
        tail(out, schema, attributes);
    }
}

fn scope(out: &mut String, detailed: bool, at: usize, scope: Option<&InstrumentationScope>, schema: &str) {
    let none = InstrumentationScope::default();
    let scope = scope.unwrap_or(&none);
    if detailed {
        let _ = writeln!(out, "Scope #{at}\nScope SchemaURL: {schema}");
        let _ = writeln!(out, "InstrumentationScope {} {}", scope.name, scope.version);
        list(out, "InstrumentationScope attributes", &scope.attributes);
    } else {
        let _ = write!(out, "Scope #{at} {}", scope.name);
        if !scope.version.is_empty() {
            let _ = write!(out, "@{}", scope.version);
        }
        tail(out, schema, &scope.attributes);
    }
}

fn tail(out: &mut String, schema: &str, attributes: &[KeyValue]) {
    if !schema.is_empty() {
        let _ = write!(out, " [{schema}]");
    }
    pairs(out, attributes);
    out.push('\n');
}

fn pairs(out: &mut String, attributes: &[KeyValue]) {
    for a in attributes {
        let _ = write!(out, " {}={}", a.key, value::text(a.value.as_ref()));
    }
}

fn list(out: &mut String, title: &str, attributes: &[KeyValue]) {
    if attributes.is_empty() {
        return;
    }
    let _ = writeln!(out, "{title}:");
    for a in attributes {
        let value = a.value.as_ref();
        let _ = writeln!(out, "     -> {}: {}({})", a.key, value::type_name(value), value::text(value));
    }
}

fn time(ns: u64) -> String {
    match jiff::Timestamp::from_nanosecond(i128::from(ns)) {
        Ok(time) => time.to_string(),
        Err(_) => ns.to_string(),
    }
}

impl Written for TracesSignal {
    const RESOURCES: &'static str = "resource spans";

    fn write(request: &Self::Request, detailed: bool, out: &mut String) {
        for (at, r) in request.resource_spans.iter().enumerate() {
            resource(out, detailed, at, r.resource.as_ref(), &r.schema_url);
            for (at, s) in r.scope_spans.iter().enumerate() {
                scope(out, detailed, at, s.scope.as_ref(), &s.schema_url);
                for (at, span) in s.spans.iter().enumerate() {
                    if detailed { full_span(out, at, span) } else { short_span(out, span) }
                }
            }
        }
    }
}

fn short_span(out: &mut String, span: &Span) {
    let hex = const_hex::encode::<&[u8]>;
    let _ = write!(out, "{} {} {}", span.name, hex(&span.trace_id), hex(&span.span_id));
    tail(out, "", &span.attributes);
}

fn full_span(out: &mut String, at: usize, span: &Span) {
    let hex = const_hex::encode::<&[u8]>;
    let _ = writeln!(out, "Span #{at}");
    let _ = writeln!(out, "    Trace ID       : {}", hex(&span.trace_id));
    let _ = writeln!(out, "    Parent ID      : {}", hex(&span.parent_span_id));
    let _ = writeln!(out, "    ID             : {}", hex(&span.span_id));
    let _ = writeln!(out, "    Name           : {}", span.name);
    let _ = writeln!(out, "    Kind           : {}", span.kind().as_str_name());
    if !span.trace_state.is_empty() {
        let _ = writeln!(out, "    TraceState     : {}", span.trace_state);
    }
    let _ = writeln!(out, "    Start time     : {}", time(span.start_time_unix_nano));
    let _ = writeln!(out, "    End time       : {}", time(span.end_time_unix_nano));
    let status = span.status.clone().unwrap_or_default();
    let _ = writeln!(out, "    Status code    : {}", status.code().as_str_name());
    let _ = writeln!(out, "    Status message : {}", status.message);
    for (what, dropped) in [
        ("attributes", span.dropped_attributes_count),
        ("events", span.dropped_events_count),
        ("links", span.dropped_links_count),
    ] {
        if dropped > 0 {
            let _ = writeln!(out, "    Dropped {what}: {dropped}");
        }
    }
    list(out, "Attributes", &span.attributes);
    for (at, event) in span.events.iter().enumerate() {
        let _ = writeln!(out, "SpanEvent #{at}\n     -> Name: {}", event.name);
        let _ = writeln!(out, "     -> Timestamp: {}", time(event.time_unix_nano));
        let _ = writeln!(out, "     -> DroppedAttributesCount: {}", event.dropped_attributes_count);
        list(out, "     -> Attributes", &event.attributes);
    }
    for (at, link) in span.links.iter().enumerate() {
        let _ = writeln!(out, "SpanLink #{at}\n     -> Trace ID: {}", hex(&link.trace_id));
        let _ = writeln!(out, "     -> ID: {}\n     -> TraceState: {}", hex(&link.span_id), link.trace_state);
        let _ = writeln!(out, "     -> DroppedAttributesCount: {}", link.dropped_attributes_count);
        list(out, "     -> Attributes", &link.attributes);
    }
}

impl Written for LogsSignal {
    const RESOURCES: &'static str = "resource logs";

    fn write(request: &Self::Request, detailed: bool, out: &mut String) {
        for (at, r) in request.resource_logs.iter().enumerate() {
            resource(out, detailed, at, r.resource.as_ref(), &r.schema_url);
            for (at, s) in r.scope_logs.iter().enumerate() {
                scope(out, detailed, at, s.scope.as_ref(), &s.schema_url);
                for (at, record) in s.log_records.iter().enumerate() {
                    if detailed {
                        full_record(out, at, record);
                    } else {
                        out.push_str(&value::text(record.body.as_ref()));
                        tail(out, "", &record.attributes);
                    }
                }
            }
        }
    }
}

fn full_record(out: &mut String, at: usize, record: &LogRecord) {
    let _ = writeln!(out, "LogRecord #{at}");
    let _ = writeln!(out, "ObservedTimestamp: {}", time(record.observed_time_unix_nano));
    let _ = writeln!(out, "Timestamp: {}", time(record.time_unix_nano));
    let _ = writeln!(out, "SeverityText: {}", record.severity_text);
    let _ = writeln!(out, "SeverityNumber: {}", record.severity_number().as_str_name());
    if !record.event_name.is_empty() {
        let _ = writeln!(out, "EventName: {}", record.event_name);
    }
    let body = record.body.as_ref();
    let _ = writeln!(out, "Body: {}({})", value::type_name(body), value::text(body));
    list(out, "Attributes", &record.attributes);
    if record.dropped_attributes_count > 0 {
        let _ = writeln!(out, "DroppedAttributesCount: {}", record.dropped_attributes_count);
    }
    let _ = writeln!(out, "Trace ID: {}", const_hex::encode(&record.trace_id));
    let _ = writeln!(out, "Span ID: {}", const_hex::encode(&record.span_id));
    let _ = writeln!(out, "Flags: {}", record.flags);
}

impl Written for MetricsSignal {
    const RESOURCES: &'static str = "resource metrics";

    fn write(request: &Self::Request, detailed: bool, out: &mut String) {
        for (at, r) in request.resource_metrics.iter().enumerate() {
            resource(out, detailed, at, r.resource.as_ref(), &r.schema_url);
            for (at, s) in r.scope_metrics.iter().enumerate() {
                scope(out, detailed, at, s.scope.as_ref(), &s.schema_url);
                for (at, metric) in s.metrics.iter().enumerate() {
                    self::metric(out, detailed, at, metric);
                }
            }
        }
    }
}

fn metric(out: &mut String, detailed: bool, at: usize, metric: &Metric) {
    if detailed {
        let _ = writeln!(out, "Metric #{at}\nDescriptor:\n     -> Name: {}", metric.name);
        let _ = writeln!(out, "     -> Description: {}\n     -> Unit: {}", metric.description, metric.unit);
        let (kind, temporality) = match &metric.data {
            None => ("Empty", None),
            Some(Data::Gauge(_)) => ("Gauge", None),
            Some(Data::Sum(d)) => {
                let _ = writeln!(out, "     -> IsMonotonic: {}", d.is_monotonic);
                ("Sum", Some(d.aggregation_temporality()))
            }
            Some(Data::Histogram(d)) => ("Histogram", Some(d.aggregation_temporality())),
            Some(Data::ExponentialHistogram(d)) => {
                ("ExponentialHistogram", Some(d.aggregation_temporality()))
            }
            Some(Data::Summary(_)) => ("Summary", None),
        };
        let _ = writeln!(out, "     -> DataType: {kind}");
        if let Some(temporality) = temporality {
            let _ = writeln!(out, "     -> AggregationTemporality: {}", temporality.as_str_name());
        }
    }
    let mut point =
        |at: usize, attributes: &[KeyValue], times: (u64, u64), values: String, more: &[Exemplar]| {
            if !detailed {
                let mut labels = String::new();
                pairs(&mut labels, attributes);
                let _ = writeln!(out, "{}{{{}}} {values}", metric.name, labels.trim_start());
                return;
            }
            let _ = writeln!(out, "DataPoint #{at}");
            list(out, "Data point attributes", attributes);
            let _ = writeln!(out, "StartTimestamp: {}\nTimestamp: {}", time(times.0), time(times.1));
            let _ = writeln!(out, "Value: {values}");
            more.iter().enumerate().for_each(|(at, e)| exemplar(out, at, e));
        };
    macro_rules! points {
        ($data:expr, $p:ident, $values:expr, $exemplars:expr) => {
            for (at, $p) in $data.data_points.iter().enumerate() {
                let times = ($p.start_time_unix_nano, $p.time_unix_nano);
                point(at, &$p.attributes, times, $values($p), $exemplars);
            }
        };
    }
    match &metric.data {
        None => {}
        Some(Data::Gauge(d)) => points!(d, p, number, &p.exemplars),
        Some(Data::Sum(d)) => points!(d, p, number, &p.exemplars),
        Some(Data::Histogram(d)) => points!(d, p, buckets, &p.exemplars),
        Some(Data::ExponentialHistogram(d)) => {
            points!(d, p, exponential, &p.exemplars);
        }
        Some(Data::Summary(d)) => points!(d, p, quantiles, &[]),
    }
}

fn number(point: &NumberDataPoint) -> String {
    match point.value {
        None => String::new(),
        Some(number_data_point::Value::AsDouble(v)) => v.to_string(),
        Some(number_data_point::Value::AsInt(v)) => v.to_string(),
    }
}

/// Count, and what of sum, least and greatest value there is.
fn totals(count: u64, optional: [(&str, Option<f64>); 3]) -> String {
    let mut text = format!("count={count}");
    for (name, value) in optional {
        if let Some(value) = value {
            let _ = write!(text, " {name}={value}");
        }
    }
    text
}

fn buckets(point: &HistogramDataPoint) -> String {
    let mut text = totals(point.count, [("sum", point.sum), ("min", point.min), ("max", point.max)]);
    for (at, count) in point.bucket_counts.iter().enumerate() {
        let _ = match point.explicit_bounds.get(at) {
            Some(bound) => write!(text, " le{bound}={count}"),
            None => write!(text, " le+Inf={count}"),
        };
    }
    text
}

fn exponential(point: &ExponentialHistogramDataPoint) -> String {
    let mut text = totals(point.count, [("sum", point.sum), ("min", point.min), ("max", point.max)]);
    let _ = write!(text, " scale={} zero_count={}", point.scale, point.zero_count);
    let mut side = |name: &str, buckets: Option<&Buckets>| {
        if let Some(b) = buckets.filter(|b| !b.bucket_counts.is_empty()) {
            let _ = write!(text, " {name}@{}={:?}", b.offset, b.bucket_counts);
        }
    };
    side("negative", point.negative.as_ref());
    side("positive", point.positive.as_ref());
    text
}

fn quantiles(point: &SummaryDataPoint) -> String {
    let mut text = format!("count={} sum={}", point.count, point.sum);
    for q in &point.quantile_values {
        let _ = write!(text, " q{}={}", q.quantile, q.value);
    }
    text
}

fn exemplar(out: &mut String, at: usize, exemplar: &Exemplar) {
    let value = match exemplar.value {
        None => String::new(),
        Some(exemplar::Value::AsDouble(v)) => v.to_string(),
        Some(exemplar::Value::AsInt(v)) => v.to_string(),
    };
    let _ = writeln!(out, "Exemplar #{at}\n     -> Trace ID: {}", const_hex::encode(&exemplar.trace_id));
    let _ = writeln!(out, "     -> Span ID: {}", const_hex::encode(&exemplar.span_id));
    let _ = writeln!(out, "     -> Timestamp: {}\n     -> Value: {value}", time(exemplar.time_unix_nano));
    list(out, "     -> FilteredAttributes", &exemplar.filtered_attributes);
}

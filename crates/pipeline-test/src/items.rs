//! What has come, one item at a time, as named fields: what assertions look at and reports show.

use std::collections::BTreeMap;

use opentelemetry::common::v1::any_value::Value as Any;
use opentelemetry::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry::metrics::v1::metric::Data;
use opentelemetry::metrics::v1::number_data_point::Value as Number;
use opentelemetry::metrics::v1::{AggregationTemporality, NumberDataPoint};
use opentelemetry::resource::v1::Resource;
use signal::otlp::proto as opentelemetry;
use signal::profiles::ProfileBody;
use signal::{Logs, MetricKind, OtlpLogs, OtlpMetrics, Profiles, Samples, Traces};

use wire::pprof;

use crate::journal::Received;
use crate::spec::Signal;

/// Largest profile that is looked into.
const MOST_PROFILE: usize = 256 << 20;

/// One entry, sample, span …
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Item {
    /// The node that received it.
    pub(crate) node: String,
    pub(crate) fields: Vec<(&'static str, Field)>,
}

/// A field of an item.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Field {
    Text(String),
    Number(f64),
    /// Nanoseconds since the Unix epoch.
    Time(i64),
    Flag(bool),
    Map(BTreeMap<String, String>),
}

impl Item {
    pub(crate) fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|(n, _)| *n == name).map(|(_, f)| f)
    }
}

/// The items of a signal that a node has received, in order.
pub(crate) fn items(node: &str, received: &Received, signal: Signal) -> Vec<Item> {
    let mut found = Vec::new();
    match signal {
        Signal::Loki => received.logs.iter().for_each(|b| entries(b, &mut found)),
        Signal::Prometheus | Signal::OwnMetrics => {
            received.samples.iter().for_each(|b| samples(b, &mut found));
        }
        Signal::Pyroscope => received.profiles.iter().for_each(|b| profiles(b, &mut found)),
        Signal::Traces => received.traces.iter().for_each(|b| spans(b, &mut found)),
        Signal::Metrics => received.metrics.iter().for_each(|b| data_points(b, &mut found)),
        Signal::Logs => received.otlp_logs.iter().for_each(|b| records(b, &mut found)),
    }
    found.into_iter().map(|fields| Item { node: node.to_string(), fields }).collect()
}

type Fields = Vec<(&'static str, Field)>;

fn text(value: impl Into<String>) -> Field {
    Field::Text(value.into())
}

fn map<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Field {
    Field::Map(labels.into_iter().map(|(n, v)| (n.to_string(), v.to_string())).collect())
}

fn time(unix_nano: u64) -> Field {
    Field::Time(i64::try_from(unix_nano).unwrap_or(i64::MAX))
}

fn entries(batch: &Logs, out: &mut Vec<Fields>) {
    out.extend(batch.entries.iter().map(|entry| {
        vec![
            ("line", text(&*entry.line)),
            ("labels", map(batch.labels(entry))),
            ("structured_metadata", entry.metadata.as_ref().map_or(Field::Map(BTreeMap::new()), map)),
            ("timestamp", Field::Time(entry.timestamp_ns)),
        ]
    }));
}

pub(crate) fn samples(batch: &Samples, out: &mut Vec<Fields>) {
    let metadata = |family: u32| {
        let family = batch.families.get(family as usize);
        let pairs = family.map(|f| [("type", kind(f.kind)), ("help", &f.help), ("unit", &f.unit)]);
        let pairs = pairs.into_iter().flatten().filter(|(_, v)| !v.is_empty());
        Field::Map(pairs.map(|(n, v)| (n.to_string(), v.to_string())).collect())
    };
    for point in batch.points.iter() {
        let exemplar = batch.exemplars.iter().find(|e| e.series == *point.series);
        out.push(vec![
            ("labels", map(point.series)),
            ("value", Field::Number(point.value)),
            ("timestamp", Field::Time(point.timestamp_ms.saturating_mul(1_000_000))),
            ("histogram", Field::Flag(false)),
            ("metadata", metadata(point.family)),
            ("exemplar", exemplar.map_or(Field::Map(BTreeMap::new()), |e| map(&e.labels))),
        ]);
    }
    for point in &batch.histograms {
        out.push(vec![
            ("labels", map(&point.series)),
            ("timestamp", Field::Time(point.timestamp_ms.saturating_mul(1_000_000))),
            ("histogram", Field::Flag(true)),
            ("metadata", metadata(point.family)),
        ]);
    }
}

/// As Prometheus writes it.
fn kind(kind: MetricKind) -> &'static str {
    match kind {
        MetricKind::Unknown => "unknown",
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
        MetricKind::Histogram => "histogram",
        MetricKind::GaugeHistogram => "gaugehistogram",
        MetricKind::Summary => "summary",
        MetricKind::Info => "info",
        MetricKind::StateSet => "stateset",
    }
}

fn profiles(batch: &Profiles, out: &mut Vec<Fields>) {
    for profile in &batch.items {
        let mut fields = vec![("labels", map(&profile.labels))];
        match &profile.body {
            ProfileBody::Pprof(pprof) => {
                fields.push(("format", text("pprof")));
                if let Some(shape) = inside(&pprof.raw) {
                    let name = |(kind, unit): &(String, String)| format!("{kind}/{unit}");
                    let totals = shape.columns.iter().zip(&shape.totals);
                    let totals = totals.map(|(column, total)| (name(column), total.to_string())).collect();
                    fields.push(("totals", Field::Map(totals)));
                    fields.push(("samples", Field::Number(shape.samples as f64)));
                }
            }
            ProfileBody::Ingest(ingest) => {
                fields.push(("format", text(ingest.parameter("format").unwrap_or("folded"))));
            }
        }
        fields.push(("size", Field::Number(profile.raw().len() as f64)));
        fields.push(("timestamp", Field::Time(batch.received_ms.saturating_mul(1_000_000))));
        out.push(fields);
    }
}

/// What a pprof profile holds; `None` if it is none.
fn inside(raw: &[u8]) -> Option<pprof::Shape> {
    let mut unpacked = Vec::new();
    pprof::shape(pprof::unpack(raw, MOST_PROFILE, &mut unpacked).ok()?).ok()
}

fn attributes(attributes: &[KeyValue]) -> Field {
    Field::Map(attributes.iter().map(|a| (a.key.clone(), any(a.value.as_ref()))).collect())
}

/// A value of OTLP as text: a string as it is, the rest as JSON.
fn any(value: Option<&AnyValue>) -> String {
    match value.and_then(|v| v.value.as_ref()) {
        None => String::new(),
        Some(Any::StringValue(v)) => v.clone(),
        Some(other) => json(other).to_string(),
    }
}

fn json(value: &Any) -> serde_json::Value {
    let inner = |v: Option<&AnyValue>| v.and_then(|v| v.value.as_ref()).map_or(serde_json::Value::Null, json);
    match value {
        Any::StringValue(v) => v.as_str().into(),
        Any::BoolValue(v) => (*v).into(),
        Any::IntValue(v) => (*v).into(),
        Any::DoubleValue(v) => (*v).into(),
        Any::ArrayValue(v) => v.values.iter().map(|v| inner(Some(v))).collect(),
        Any::KvlistValue(v) => {
            let pairs = v.values.iter().map(|kv| (kv.key.clone(), inner(kv.value.as_ref())));
            serde_json::Value::Object(pairs.collect())
        }
        Any::BytesValue(v) => hex(v).into(),
        other => format!("{other:?}").into(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn around(resource: Option<&Resource>, scope: Option<&InstrumentationScope>) -> [(&'static str, Field); 2] {
    let resource = resource.map(|r| &*r.attributes).unwrap_or_default();
    [("resource", attributes(resource)), ("scope", text(scope.map(|s| s.name.clone()).unwrap_or_default()))]
}

fn spans(batch: &Traces, out: &mut Vec<Fields>) {
    for message in batch.requests.iter().filter_map(|r| r.message().ok()) {
        for resource in &message.resource_spans {
            for scope in &resource.scope_spans {
                let around = around(resource.resource.as_ref(), scope.scope.as_ref());
                for span in &scope.spans {
                    let kind = span.kind().as_str_name().trim_start_matches("SPAN_KIND_").to_lowercase();
                    let status =
                        span.status.as_ref().map(|s| s.code().as_str_name()).unwrap_or("STATUS_CODE_UNSET");
                    let events: Vec<&str> = span.events.iter().map(|e| e.name.as_str()).collect();
                    let mut fields = vec![
                        ("name", text(&span.name)),
                        ("kind", text(kind)),
                        ("status", text(status.trim_start_matches("STATUS_CODE_").to_lowercase())),
                        ("trace_id", text(hex(&span.trace_id))),
                        ("span_id", text(hex(&span.span_id))),
                        ("parent_span_id", text(hex(&span.parent_span_id))),
                        ("attributes", attributes(&span.attributes)),
                    ];
                    fields.extend(around.clone());
                    fields.push(("events", text(events.join(", "))));
                    fields.push(("start", time(span.start_time_unix_nano)));
                    fields.push(("end", time(span.end_time_unix_nano)));
                    out.push(fields);
                }
            }
        }
    }
}

fn records(batch: &OtlpLogs, out: &mut Vec<Fields>) {
    for message in batch.requests.iter().filter_map(|r| r.message().ok()) {
        for resource in &message.resource_logs {
            for scope in &resource.scope_logs {
                let around = around(resource.resource.as_ref(), scope.scope.as_ref());
                for record in &scope.log_records {
                    let mut fields = vec![
                        ("body", text(any(record.body.as_ref()))),
                        ("severity_text", text(&record.severity_text)),
                        ("severity_number", Field::Number(f64::from(record.severity_number))),
                        ("attributes", attributes(&record.attributes)),
                    ];
                    fields.extend(around.clone());
                    fields.push(("trace_id", text(hex(&record.trace_id))));
                    fields.push(("span_id", text(hex(&record.span_id))));
                    fields.push(("timestamp", time(record.time_unix_nano)));
                    out.push(fields);
                }
            }
        }
    }
}

/// What data points of all types have, and what one type adds.
struct DataPoint {
    attributes: Field,
    time: u64,
    numbers: Vec<(&'static str, Field)>,
}

fn data_points(batch: &OtlpMetrics, out: &mut Vec<Fields>) {
    for message in batch.requests.iter().filter_map(|r| r.message().ok()) {
        for resource in &message.resource_metrics {
            for scope in &resource.scope_metrics {
                let around = around(resource.resource.as_ref(), scope.scope.as_ref());
                for metric in &scope.metrics {
                    let (kind, temporality, points) = points(metric.data.as_ref());
                    for point in points {
                        let mut fields = vec![
                            ("name", text(&metric.name)),
                            ("type", text(kind)),
                            ("unit", text(&metric.unit)),
                            ("temporality", text(temporality)),
                        ];
                        fields.extend(point.numbers);
                        fields.push(("attributes", point.attributes));
                        fields.extend(around.clone());
                        fields.push(("timestamp", time(point.time)));
                        out.push(fields);
                    }
                }
            }
        }
    }
}

fn points(data: Option<&Data>) -> (&'static str, &'static str, Vec<DataPoint>) {
    let number = |p: &NumberDataPoint| {
        let value = match p.value {
            Some(Number::AsDouble(v)) => Some(v),
            Some(Number::AsInt(v)) => Some(v as f64),
            None => None,
        };
        DataPoint {
            attributes: attributes(&p.attributes),
            time: p.time_unix_nano,
            numbers: value.map(|v| ("value", Field::Number(v))).into_iter().collect(),
        }
    };
    let distribution = |a: &[KeyValue], time: u64, count: u64, sum: Option<f64>| {
        let mut numbers = vec![("count", Field::Number(count as f64))];
        numbers.extend(sum.map(|sum| ("sum", Field::Number(sum))));
        DataPoint { attributes: attributes(a), time, numbers }
    };
    match data {
        None => ("", "", Vec::new()),
        Some(Data::Gauge(d)) => ("gauge", "", d.data_points.iter().map(number).collect()),
        Some(Data::Sum(d)) => {
            let kind = if d.is_monotonic { "counter" } else { "updowncounter" };
            (kind, temporality(d.aggregation_temporality), d.data_points.iter().map(number).collect())
        }
        Some(Data::Histogram(d)) => {
            let points = d.data_points.iter();
            let points = points.map(|p| distribution(&p.attributes, p.time_unix_nano, p.count, p.sum));
            ("histogram", temporality(d.aggregation_temporality), points.collect())
        }
        Some(Data::ExponentialHistogram(d)) => {
            let points = d.data_points.iter();
            let points = points.map(|p| distribution(&p.attributes, p.time_unix_nano, p.count, p.sum));
            ("exponential_histogram", temporality(d.aggregation_temporality), points.collect())
        }
        Some(Data::Summary(d)) => {
            let points = d.data_points.iter();
            let points = points.map(|p| distribution(&p.attributes, p.time_unix_nano, p.count, Some(p.sum)));
            ("summary", "", points.collect())
        }
    }
}

fn temporality(number: i32) -> &'static str {
    match AggregationTemporality::try_from(number) {
        Ok(AggregationTemporality::Delta) => "delta",
        Ok(AggregationTemporality::Cumulative) => "cumulative",
        _ => "",
    }
}

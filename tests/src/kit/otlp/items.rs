//! Requests whose items carry numbers, and how they are found again.
//!
//! The number is the attribute `seq` of a span, data point or log record; whose number it is says the attribute
//! `client` of the resource.

use prost::Message;
use signal::otlp::proto::collector::logs::v1::ExportLogsServiceRequest;
use signal::otlp::proto::collector::metrics::v1::ExportMetricsServiceRequest;
use signal::otlp::proto::collector::trace::v1::ExportTraceServiceRequest;
use signal::otlp::proto::common::v1::any_value::Value;
use signal::otlp::proto::common::v1::{AnyValue, KeyValue};
use signal::otlp::proto::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, number_data_point,
};
use signal::otlp::proto::resource::v1::Resource;
use signal::otlp::proto::trace::v1::{ResourceSpans, ScopeSpans, Span};

/// One of the signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Traces,
    Metrics,
    Logs,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Traces, Self::Metrics, Self::Logs];

    /// `traces`, `metrics`, `logs`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
            Self::Logs => "logs",
        }
    }

    /// As own metrics call its items.
    pub fn items(self) -> &'static str {
        match self {
            Self::Traces => "spans",
            Self::Metrics => "metric_points",
            Self::Logs => "log_records",
        }
    }

    pub fn path(self) -> String {
        format!("/v1/{}", self.name())
    }

    pub fn method(self) -> &'static str {
        match self {
            Self::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Self::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            Self::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        }
    }

    /// Which signal a request is for, by either protocol.
    pub fn of_path(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.path() == path || kind.method() == path)
    }
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// The attributes of an item: its number, and so many bytes more.
fn attributes(number: u64, padding: usize) -> Vec<KeyValue> {
    let mut all = vec![attribute("seq", Value::IntValue(number as i64))];
    if padding > 0 {
        // Differs from item to item, so that it does not shrink to nothing.
        let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let text = (0..padding).map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            char::from(b'a' + (state % 26) as u8)
        });
        all.push(attribute("padding", Value::StringValue(text.collect())));
    }
    all
}

/// A serialised request of a client with items of these numbers, each with so many bytes of padding.
pub fn request(kind: Kind, client: &str, numbers: std::ops::Range<u64>, padding: usize) -> Vec<u8> {
    let resource = Some(Resource {
        attributes: vec![attribute("client", Value::StringValue(client.into()))],
        ..Resource::default()
    });
    match kind {
        Kind::Traces => {
            let span = |n: u64| Span {
                trace_id: u128::from(n + 1).to_be_bytes().to_vec(),
                span_id: (n + 1).to_be_bytes().to_vec(),
                name: "numbered".into(),
                kind: 1,
                start_time_unix_nano: 1_700_000_000_000_000_000 + n,
                end_time_unix_nano: 1_700_000_000_000_000_500 + n,
                attributes: attributes(n, padding),
                ..Span::default()
            };
            let scope_spans =
                vec![ScopeSpans { spans: numbers.map(span).collect(), ..ScopeSpans::default() }];
            let resource_spans = vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }];
            ExportTraceServiceRequest { resource_spans }.encode_to_vec()
        }
        Kind::Metrics => {
            let point = |n: u64| NumberDataPoint {
                attributes: attributes(n, padding),
                time_unix_nano: 1_700_000_000_000_000_000 + n,
                value: Some(number_data_point::Value::AsInt(n as i64)),
                ..NumberDataPoint::default()
            };
            let data = Some(Data::Gauge(Gauge { data_points: numbers.map(point).collect() }));
            let metrics = vec![Metric { name: "numbered".into(), data, ..Metric::default() }];
            let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
            let resource_metrics =
                vec![ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() }];
            ExportMetricsServiceRequest { resource_metrics }.encode_to_vec()
        }
        Kind::Logs => {
            let record = |n: u64| LogRecord {
                time_unix_nano: 1_700_000_000_000_000_000 + n,
                severity_number: 9,
                body: Some(AnyValue { value: Some(Value::StringValue(format!("line {n}"))) }),
                attributes: attributes(n, padding),
                ..LogRecord::default()
            };
            let log_records = numbers.map(record).collect();
            let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
            let resource_logs = vec![ResourceLogs { resource, scope_logs, ..ResourceLogs::default() }];
            ExportLogsServiceRequest { resource_logs }.encode_to_vec()
        }
    }
}

/// What a request says.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    Traces(ExportTraceServiceRequest),
    Metrics(ExportMetricsServiceRequest),
    Logs(ExportLogsServiceRequest),
}

impl Content {
    pub fn read(kind: Kind, bytes: &[u8]) -> Result<Self, String> {
        let told = |e: prost::DecodeError| e.to_string();
        Ok(match kind {
            Kind::Traces => Self::Traces(ExportTraceServiceRequest::decode(bytes).map_err(told)?),
            Kind::Metrics => Self::Metrics(ExportMetricsServiceRequest::decode(bytes).map_err(told)?),
            Kind::Logs => Self::Logs(ExportLogsServiceRequest::decode(bytes).map_err(told)?),
        })
    }

    /// Client and number of each item; items without a number have `None`.
    pub fn numbers(&self) -> Vec<(String, Option<u64>)> {
        let mut all = Vec::new();
        let mut note = |resource: &Option<Resource>, attributes: &[KeyValue]| {
            let client = resource.as_ref().map(|r| text(&r.attributes, "client")).unwrap_or_default();
            all.push((client, integer(attributes, "seq").and_then(|n| u64::try_from(n).ok())));
        };
        match self {
            Self::Traces(request) => {
                for r in &request.resource_spans {
                    let spans = r.scope_spans.iter().flat_map(|s| &s.spans);
                    spans.for_each(|span| note(&r.resource, &span.attributes));
                }
            }
            Self::Logs(request) => {
                for r in &request.resource_logs {
                    let records = r.scope_logs.iter().flat_map(|s| &s.log_records);
                    records.for_each(|record| note(&r.resource, &record.attributes));
                }
            }
            Self::Metrics(request) => {
                for r in &request.resource_metrics {
                    for metric in r.scope_metrics.iter().flat_map(|s| &s.metrics) {
                        for attributes in points(metric) {
                            note(&r.resource, attributes);
                        }
                    }
                }
            }
        }
        all
    }
}

/// The attributes of each data point of a metric.
fn points(metric: &Metric) -> Vec<&[KeyValue]> {
    match &metric.data {
        None => Vec::new(),
        Some(Data::Gauge(d)) => d.data_points.iter().map(|p| &*p.attributes).collect(),
        Some(Data::Sum(d)) => d.data_points.iter().map(|p| &*p.attributes).collect(),
        Some(Data::Histogram(d)) => d.data_points.iter().map(|p| &*p.attributes).collect(),
        Some(Data::ExponentialHistogram(d)) => d.data_points.iter().map(|p| &*p.attributes).collect(),
        Some(Data::Summary(d)) => d.data_points.iter().map(|p| &*p.attributes).collect(),
    }
}

fn value<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    attributes.iter().find(|a| a.key == key)?.value.as_ref()?.value.as_ref()
}

/// A text of attributes; empty where there is none.
fn text(attributes: &[KeyValue], key: &str) -> String {
    match value(attributes, key) {
        Some(Value::StringValue(text)) => text.clone(),
        _ => String::new(),
    }
}

fn integer(attributes: &[KeyValue], key: &str) -> Option<i64> {
    match value(attributes, key) {
        Some(Value::IntValue(n)) => Some(*n),
        _ => None,
    }
}

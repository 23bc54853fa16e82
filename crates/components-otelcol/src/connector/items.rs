//! The items of decoded requests of all signals, one after the other, for connectors that make metrics of any of them.

use component::eval::{Number, Value as Argument};
use ottl::{Context, View};
use signal::otlp::proto::common::v1::any_value::Value;
use signal::otlp::proto::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList};
use signal::otlp::proto::metrics::v1::Metric;
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::resource::v1::Resource;
use signal::otlp::{ClientMetadata, LogsSignal, MetricsSignal, OtlpSignal, TracesSignal};

/// Kinds of items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Spans.
    Spans,
    /// Events of spans.
    SpanEvents,
    /// Metrics.
    Metrics,
    /// Data points of metrics.
    DataPoints,
    /// Log records.
    Logs,
}

impl Kind {
    /// Its block in configurations.
    pub fn block(self) -> &'static str {
        match self {
            Self::Spans => "spans",
            Self::SpanEvents => "spanevents",
            Self::Metrics => "metrics",
            Self::DataPoints => "datapoints",
            Self::Logs => "logs",
        }
    }

    /// The context of its conditions.
    pub fn context(self) -> Context {
        match self {
            Self::Spans => Context::Span,
            Self::SpanEvents => Context::SpanEvent,
            Self::Metrics => Context::Metric,
            Self::DataPoints => Context::DataPoint,
            Self::Logs => Context::Log,
        }
    }
}

/// An item.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    /// Its kind.
    pub kind: Kind,
    /// For conditions and values.
    pub view: View<'a>,
    /// Its attributes; metrics have none.
    pub attributes: &'a [KeyValue],
    /// Those of its scope.
    pub scope: &'a [KeyValue],
    /// When it began and ended, Unix nanoseconds; 0 where it does not say.
    pub times: [u64; 2],
}

/// What is come upon in a request.
pub enum Step<'a> {
    /// A resource with these attributes: the items that follow are its.
    Resource(&'a [KeyValue]),
    /// An item.
    Item(Seen<'a>),
}

/// What is known of a client.
type Client<'c> = Option<&'c ClientMetadata>;

/// Called at each step; its error ends the walk.
pub type Visit<'v> = &'v mut dyn FnMut(Step<'_>) -> Result<(), String>;

/// A signal whose requests can be walked through.
pub trait Walked: OtlpSignal {
    /// Walks through a request that a client has sent.
    ///
    /// # Errors
    /// That of `visit`.
    fn walk(request: &Self::Request, client: Client<'_>, visit: Visit<'_>) -> Result<(), String>;
}

fn of_resource(resource: Option<&Resource>) -> &[KeyValue] {
    resource.map(|r| r.attributes.as_slice()).unwrap_or_default()
}

fn of_scope(scope: Option<&InstrumentationScope>) -> &[KeyValue] {
    scope.map(|s| s.attributes.as_slice()).unwrap_or_default()
}

impl Walked for TracesSignal {
    fn walk(request: &Self::Request, client: Client<'_>, visit: Visit<'_>) -> Result<(), String> {
        for resource in &request.resource_spans {
            visit(Step::Resource(of_resource(resource.resource.as_ref())))?;
            for scope in &resource.scope_spans {
                let of_scope = of_scope(scope.scope.as_ref());
                for span in &scope.spans {
                    visit(Step::Item(Seen {
                        kind: Kind::Spans,
                        view: View::span(resource, scope, span).sent_by(client),
                        attributes: &span.attributes,
                        scope: of_scope,
                        times: [span.start_time_unix_nano, span.end_time_unix_nano],
                    }))?;
                    for (at, event) in span.events.iter().enumerate() {
                        visit(Step::Item(Seen {
                            kind: Kind::SpanEvents,
                            view: View::span_event(resource, scope, span, at).sent_by(client),
                            attributes: &event.attributes,
                            scope: of_scope,
                            times: [event.time_unix_nano; 2],
                        }))?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Walked for MetricsSignal {
    fn walk(request: &Self::Request, client: Client<'_>, visit: Visit<'_>) -> Result<(), String> {
        for resource in &request.resource_metrics {
            visit(Step::Resource(of_resource(resource.resource.as_ref())))?;
            for scope in &resource.scope_metrics {
                let of_scope = of_scope(scope.scope.as_ref());
                for metric in &scope.metrics {
                    visit(Step::Item(Seen {
                        kind: Kind::Metrics,
                        view: View::metric(resource, scope, metric).sent_by(client),
                        attributes: &[],
                        scope: of_scope,
                        times: [0; 2],
                    }))?;
                    for at in 0..ottl::points(metric) {
                        let (attributes, time) = point(metric, at);
                        visit(Step::Item(Seen {
                            kind: Kind::DataPoints,
                            view: View::data_point(resource, scope, metric, at).sent_by(client),
                            attributes,
                            scope: of_scope,
                            times: [time; 2],
                        }))?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Walked for LogsSignal {
    fn walk(request: &Self::Request, client: Client<'_>, visit: Visit<'_>) -> Result<(), String> {
        for resource in &request.resource_logs {
            visit(Step::Resource(of_resource(resource.resource.as_ref())))?;
            for scope in &resource.scope_logs {
                let of_scope = of_scope(scope.scope.as_ref());
                for record in &scope.log_records {
                    visit(Step::Item(Seen {
                        kind: Kind::Logs,
                        view: View::log(resource, scope, record).sent_by(client),
                        attributes: &record.attributes,
                        scope: of_scope,
                        times: [record.time_unix_nano; 2],
                    }))?;
                }
            }
        }
        Ok(())
    }
}

/// Attributes and time of a data point.
fn point(metric: &Metric, at: usize) -> (&[KeyValue], u64) {
    match &metric.data {
        Some(Data::Gauge(d)) => (&d.data_points[at].attributes, d.data_points[at].time_unix_nano),
        Some(Data::Sum(d)) => (&d.data_points[at].attributes, d.data_points[at].time_unix_nano),
        Some(Data::Histogram(d)) => (&d.data_points[at].attributes, d.data_points[at].time_unix_nano),
        Some(Data::ExponentialHistogram(d)) => {
            (&d.data_points[at].attributes, d.data_points[at].time_unix_nano)
        }
        Some(Data::Summary(d)) => (&d.data_points[at].attributes, d.data_points[at].time_unix_nano),
        None => (&[], 0),
    }
}

/// A value of the configuration as an attribute's; nothing for `null`.
///
/// # Errors
/// If attributes cannot hold it.
pub fn default_value(value: &Argument) -> Result<Option<AnyValue>, String> {
    let any = |value: &Argument| default_value(value).map(Option::unwrap_or_default);
    let kind = match value {
        Argument::Null => return Ok(None),
        Argument::Bool(v) => Value::BoolValue(*v),
        Argument::Number(Number::Float(v)) => Value::DoubleValue(*v),
        Argument::Number(v) => Value::IntValue(v.as_i64()),
        Argument::String(text) => Value::StringValue(text.to_string()),
        Argument::Array(list) => {
            Value::ArrayValue(ArrayValue { values: list.iter().map(any).collect::<Result<_, _>>()? })
        }
        Argument::Object(map) => {
            let entry = |(key, value): (&String, &Argument)| {
                Ok(KeyValue { key: key.clone(), value: Some(any(value)?), ..KeyValue::default() })
            };
            Value::KvlistValue(KeyValueList { values: map.iter().map(entry).collect::<Result<_, String>>()? })
        }
        _ => return Err("default_value is none that attributes have".to_string()),
    };
    Ok(Some(AnyValue { value: Some(kind) }))
}

/// The attribute of a key in the first list that has it.
pub fn first<'a>(key: &str, lists: &[&'a [KeyValue]]) -> Option<&'a KeyValue> {
    lists.iter().find_map(|list| list.iter().find(|attribute| attribute.key == key))
}

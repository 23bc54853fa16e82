//! What a statement is about: an item with what surrounds it, to read or to change.

use signal::otlp::ClientMetadata;
use signal::otlp::proto::common::v1::{InstrumentationScope, KeyValue};
use signal::otlp::proto::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::metrics::v1::{
    ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, SummaryDataPoint,
};
use signal::otlp::proto::resource::v1::Resource;
use signal::otlp::proto::trace::v1::span::Event;
use signal::otlp::proto::trace::v1::{ResourceSpans, ScopeSpans, Span};

/// The kind of item that a statement is applied to: it decides about paths, functions and names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Context {
    /// `resource`
    Resource,
    /// `scope`, also `instrumentation_scope`
    Scope,
    /// `span`
    Span,
    /// `spanevent`
    SpanEvent,
    /// `metric`
    Metric,
    /// `datapoint`
    DataPoint,
    /// `log`
    Log,
}

impl Context {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Resource, Self::Scope, Self::Span, Self::SpanEvent, Self::Metric, Self::DataPoint, Self::Log];
    /// Those of traces.
    pub const TRACES: &'static [Self] = &[Self::Resource, Self::Scope, Self::Span, Self::SpanEvent];
    /// Those of metrics.
    pub const METRICS: &'static [Self] = &[Self::Resource, Self::Scope, Self::Metric, Self::DataPoint];
    /// Those of logs.
    pub const LOGS: &'static [Self] = &[Self::Resource, Self::Scope, Self::Log];

    /// As paths begin.
    pub fn name(self) -> &'static str {
        match self {
            Self::Resource => "resource",
            Self::Scope => "scope",
            Self::Span => "span",
            Self::SpanEvent => "spanevent",
            Self::Metric => "metric",
            Self::DataPoint => "datapoint",
            Self::Log => "log",
        }
    }

    /// The context of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        if name == "instrumentation_scope" {
            return Some(Self::Scope);
        }
        Self::ALL.into_iter().find(|context| context.name() == name)
    }

    /// The context around it that has fields of its own, up to the resource; itself first.
    pub(crate) fn around(self) -> &'static [Self] {
        match self {
            Self::Resource => &[Self::Resource],
            Self::Scope => &[Self::Scope, Self::Resource],
            Self::Span => &[Self::Span, Self::Scope, Self::Resource],
            Self::SpanEvent => &[Self::SpanEvent, Self::Span, Self::Scope, Self::Resource],
            Self::Metric => &[Self::Metric, Self::Scope, Self::Resource],
            Self::DataPoint => &[Self::DataPoint, Self::Metric, Self::Scope, Self::Resource],
            Self::Log => &[Self::Log, Self::Scope, Self::Resource],
        }
    }
}

/// An item to be read, with its resource and scope.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub(crate) resource: Option<&'a Resource>,
    pub(crate) resource_schema: &'a str,
    pub(crate) scope: Option<&'a InstrumentationScope>,
    pub(crate) scope_schema: &'a str,
    pub(crate) record: Record<'a>,
    pub(crate) cache: &'a [KeyValue],
    pub(crate) client: Option<&'a ClientMetadata>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Record<'a> {
    None,
    Span(&'a Span),
    Event(&'a Span, Option<&'a Event>, usize),
    Metric(&'a Metric),
    Point(&'a Metric, Point<'a>),
    Log(&'a LogRecord),
}

/// A data point of a metric.
#[derive(Clone, Copy, Debug)]
pub enum Point<'a> {
    /// None: the metric has no such point.
    None,
    /// Of a gauge or a sum.
    Number(&'a NumberDataPoint),
    /// Of a histogram.
    Histogram(&'a HistogramDataPoint),
    /// Of an exponential histogram.
    Exponential(&'a ExponentialHistogramDataPoint),
    /// Of a summary.
    Summary(&'a SummaryDataPoint),
}

impl<'a> Point<'a> {
    /// Point number `at` of a metric.
    pub fn of(metric: &'a Metric, at: usize) -> Self {
        match &metric.data {
            Some(Data::Gauge(d)) => d.data_points.get(at).map_or(Self::None, Self::Number),
            Some(Data::Sum(d)) => d.data_points.get(at).map_or(Self::None, Self::Number),
            Some(Data::Histogram(d)) => d.data_points.get(at).map_or(Self::None, Self::Histogram),
            Some(Data::ExponentialHistogram(d)) => {
                d.data_points.get(at).map_or(Self::None, Self::Exponential)
            }
            Some(Data::Summary(d)) => d.data_points.get(at).map_or(Self::None, Self::Summary),
            None => Self::None,
        }
    }
}

/// Data points of a metric.
pub fn points(metric: &Metric) -> usize {
    match &metric.data {
        Some(Data::Gauge(d)) => d.data_points.len(),
        Some(Data::Sum(d)) => d.data_points.len(),
        Some(Data::Histogram(d)) => d.data_points.len(),
        Some(Data::ExponentialHistogram(d)) => d.data_points.len(),
        Some(Data::Summary(d)) => d.data_points.len(),
        None => 0,
    }
}

impl<'a> View<'a> {
    fn new(
        resource: Option<&'a Resource>,
        resource_schema: &'a str,
        scope: Option<(Option<&'a InstrumentationScope>, &'a str)>,
        record: Record<'a>,
    ) -> Self {
        let (scope, scope_schema) = scope.unwrap_or_default();
        Self { resource, resource_schema, scope, scope_schema, record, cache: &[], client: None }
    }

    /// With what is known of the client that has sent it.
    #[must_use]
    pub fn sent_by(self, client: Option<&'a ClientMetadata>) -> Self {
        Self { client, ..self }
    }

    /// A resource.
    pub fn resource(resource: Option<&'a Resource>, schema_url: &'a str) -> Self {
        Self::new(resource, schema_url, None, Record::None)
    }

    /// A scope of a resource.
    pub fn scope(
        resource: (Option<&'a Resource>, &'a str),
        scope: (Option<&'a InstrumentationScope>, &'a str),
    ) -> Self {
        Self::new(resource.0, resource.1, Some(scope), Record::None)
    }

    fn traces(resource: &'a ResourceSpans, scope: &'a ScopeSpans, record: Record<'a>) -> Self {
        let scope = (scope.scope.as_ref(), scope.schema_url.as_str());
        Self::new(resource.resource.as_ref(), &resource.schema_url, Some(scope), record)
    }

    fn metrics(resource: &'a ResourceMetrics, scope: &'a ScopeMetrics, record: Record<'a>) -> Self {
        let scope = (scope.scope.as_ref(), scope.schema_url.as_str());
        Self::new(resource.resource.as_ref(), &resource.schema_url, Some(scope), record)
    }

    /// A span.
    pub fn span(resource: &'a ResourceSpans, scope: &'a ScopeSpans, span: &'a Span) -> Self {
        Self::traces(resource, scope, Record::Span(span))
    }

    /// Event number `at` of a span.
    pub fn span_event(resource: &'a ResourceSpans, scope: &'a ScopeSpans, span: &'a Span, at: usize) -> Self {
        Self::traces(resource, scope, Record::Event(span, span.events.get(at), at))
    }

    /// A metric.
    pub fn metric(resource: &'a ResourceMetrics, scope: &'a ScopeMetrics, metric: &'a Metric) -> Self {
        Self::metrics(resource, scope, Record::Metric(metric))
    }

    /// Data point number `at` of a metric.
    pub fn data_point(
        resource: &'a ResourceMetrics,
        scope: &'a ScopeMetrics,
        metric: &'a Metric,
        at: usize,
    ) -> Self {
        Self::metrics(resource, scope, Record::Point(metric, Point::of(metric, at)))
    }

    /// A log record.
    pub fn log(resource: &'a ResourceLogs, scope: &'a ScopeLogs, record: &'a LogRecord) -> Self {
        let scope = (scope.scope.as_ref(), scope.schema_url.as_str());
        Self::new(resource.resource.as_ref(), &resource.schema_url, Some(scope), Record::Log(record))
    }

    pub(crate) fn span_of(&self) -> Option<&'a Span> {
        match self.record {
            Record::Span(span) | Record::Event(span, ..) => Some(span),
            _ => None,
        }
    }

    pub(crate) fn metric_of(&self) -> Option<&'a Metric> {
        match self.record {
            Record::Metric(metric) | Record::Point(metric, _) => Some(metric),
            _ => None,
        }
    }
}

/// An item to be changed, with its resource and scope.
#[derive(Debug)]
pub struct Item<'a> {
    /// Its resource.
    pub resource: &'a mut Option<Resource>,
    /// The schema of the resource.
    pub resource_schema: &'a mut String,
    /// Its scope; of a resource: something empty.
    pub scope: &'a mut Option<InstrumentationScope>,
    /// The schema of the scope.
    pub scope_schema: &'a mut String,
    /// The item itself.
    pub record: RecordMut<'a>,
    /// What statements keep for later ones.
    pub cache: &'a mut Vec<KeyValue>,
    /// What is known of the client that has sent it.
    pub client: Option<&'a ClientMetadata>,
}

/// The item itself, below resource and scope.
#[derive(Debug)]
pub enum RecordMut<'a> {
    /// The item is the resource or the scope.
    None,
    /// A span.
    Span(&'a mut Span),
    /// An event of a span, by number.
    Event(&'a mut Span, usize),
    /// A metric; what functions make of it is added to the list.
    Metric(&'a mut Metric, &'a mut Vec<Metric>),
    /// A data point of a metric, by number; what functions make of it is added to the list.
    Point(&'a mut Metric, usize, &'a mut Vec<Metric>),
    /// A log record.
    Log(&'a mut LogRecord),
}

impl Item<'_> {
    /// The item, to be read.
    pub fn view(&self) -> View<'_> {
        let record = match &self.record {
            RecordMut::None => Record::None,
            RecordMut::Span(span) => Record::Span(span),
            RecordMut::Event(span, at) => Record::Event(span, span.events.get(*at), *at),
            RecordMut::Metric(metric, _) => Record::Metric(metric),
            RecordMut::Point(metric, at, _) => Record::Point(metric, Point::of(metric, *at)),
            RecordMut::Log(record) => Record::Log(record),
        };
        View {
            resource: self.resource.as_ref(),
            resource_schema: self.resource_schema,
            scope: self.scope.as_ref(),
            scope_schema: self.scope_schema,
            record,
            cache: self.cache,
            client: self.client,
        }
    }
}

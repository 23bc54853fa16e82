//! For the tests of components that handle metric streams.

use std::time::Duration;

use component::otel::OtelInput;
use component::testkit::{Harness, Names, Sink};
use component::{ArgValue, Component, ComponentDef, Receiver, Rejected};
use signal::otlp::proto::collector::logs::v1::ExportLogsServiceRequest;
use signal::otlp::proto::collector::metrics::v1::ExportMetricsServiceRequest;
use signal::otlp::proto::collector::trace::v1::ExportTraceServiceRequest;
use signal::otlp::proto::common::v1::any_value::Value as Any;
use signal::otlp::proto::common::v1::{AnyValue, KeyValue};
use signal::otlp::proto::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::metrics::v1::number_data_point::Value;
use signal::otlp::proto::metrics::v1::{
    ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint,
};
use signal::otlp::proto::resource::v1::Resource;
use signal::otlp::proto::trace::v1::{ResourceSpans, ScopeSpans, Span};
use signal::otlp::{LogsSignal, Otlp, OtlpMetrics, OtlpRequest, Traces, TracesSignal};

/// A component between a sender of metrics and a sink.
pub struct Bench {
    pub harness: Harness,
    pub sink: Sink<OtlpMetrics>,
    pub input: Receiver<OtlpMetrics>,
}

pub const OUTPUT: &str = "output { metrics = [next] }";

/// An attribute.
pub fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Any::StringValue(value.into())) });
    KeyValue { key: key.into(), value, ..Default::default() }
}

/// A point of a whole number.
pub fn int(start: u64, time: u64, value: i64) -> NumberDataPoint {
    let value = Some(Value::AsInt(value));
    NumberDataPoint { start_time_unix_nano: start, time_unix_nano: time, value, ..Default::default() }
}

/// A point of a float.
pub fn double(start: u64, time: u64, value: f64) -> NumberDataPoint {
    let value = Some(Value::AsDouble(value));
    NumberDataPoint { start_time_unix_nano: start, time_unix_nano: time, value, ..Default::default() }
}

pub fn sum(temporality: i32, is_monotonic: bool, data_points: Vec<NumberDataPoint>) -> Data {
    Data::Sum(Sum { data_points, aggregation_temporality: temporality, is_monotonic })
}

pub fn gauge(data_points: Vec<NumberDataPoint>) -> Data {
    Data::Gauge(Gauge { data_points })
}

pub fn summary(data_points: Vec<SummaryDataPoint>) -> Data {
    Data::Summary(Summary { data_points })
}

pub fn histogram(temporality: i32, data_points: Vec<HistogramDataPoint>) -> Data {
    Data::Histogram(Histogram { data_points, aggregation_temporality: temporality })
}

pub fn exponential(temporality: i32, data_points: Vec<ExponentialHistogramDataPoint>) -> Data {
    Data::ExponentialHistogram(ExponentialHistogram { data_points, aggregation_temporality: temporality })
}

/// A histogram's point: its sum is its count.
pub fn buckets(start: u64, time: u64, bounds: &[f64], counts: &[u64]) -> HistogramDataPoint {
    HistogramDataPoint {
        start_time_unix_nano: start,
        time_unix_nano: time,
        count: counts.iter().sum(),
        sum: Some(counts.iter().sum::<u64>() as f64),
        bucket_counts: counts.to_vec(),
        explicit_bounds: bounds.to_vec(),
        ..Default::default()
    }
}

pub fn metric(name: &str, data: Data) -> Metric {
    Metric { name: name.into(), data: Some(data), ..Default::default() }
}

/// One request with these metrics in one scope of an empty resource.
pub fn request(metrics: Vec<Metric>) -> ExportMetricsServiceRequest {
    let scope_metrics = vec![ScopeMetrics { metrics, ..Default::default() }];
    let resource_metrics = vec![ResourceMetrics { scope_metrics, ..Default::default() }];
    ExportMetricsServiceRequest { resource_metrics }
}

pub fn batch(metrics: Vec<Metric>) -> OtlpMetrics {
    Otlp::of(OtlpRequest::from_message(request(metrics)))
}

/// All metrics of batches, in order.
pub fn metrics(batches: &[OtlpMetrics]) -> Vec<Metric> {
    let requests = batches.iter().flat_map(|batch| &batch.requests);
    let messages = requests.map(|request| request.message().expect("a request"));
    let scopes = messages.flat_map(|m| &m.resource_metrics).flat_map(|r| &r.scope_metrics);
    scopes.flat_map(|scope| &scope.metrics).cloned().collect()
}

impl Bench {
    pub async fn new<C: Component>(args: &str) -> Self {
        let sink = Sink::<OtlpMetrics>::new();
        let next = OtelInput { metrics: Some(sink.receiver()), ..OtelInput::default() };
        let known = Names::default().with("next", next.to_value());
        let harness = Harness::start(ComponentDef::of::<C>(), &format!("{args}\n{OUTPUT}"), known).await;
        let component::eval::Value::Object(exports) = harness.node.exports() else { panic!("an object") };
        let input = OtelInput::from_value(&exports["input"]).expect("an input");
        let input = input.metrics.expect("takes metrics");
        Self { harness, sink, input }
    }

    pub async fn send(&self, metrics: Vec<Metric>) -> Result<(), Rejected> {
        self.input.send(batch(metrics)).await
    }

    /// Sends metrics and takes what has come out by then.
    pub async fn pass(&self, metrics: Vec<Metric>) -> Vec<Metric> {
        self.send(metrics).await.expect("taken");
        self.took()
    }

    /// What has come out.
    pub fn took(&self) -> Vec<Metric> {
        metrics(&self.sink.take())
    }

    /// An own metric: `name{label="value"}`, with the labels of the node left out.
    pub fn own(&self, series: &str) -> String {
        own(&self.harness, series)
    }
}

/// A connector between a sender of spans and a sink of metrics.
pub struct SpanBench {
    pub harness: Harness,
    pub sink: Sink<OtlpMetrics>,
    pub input: Receiver<Traces>,
}

impl SpanBench {
    pub async fn new<C: Component>(args: &str) -> Self {
        let sink = Sink::<OtlpMetrics>::new();
        let next = OtelInput { metrics: Some(sink.receiver()), ..OtelInput::default() };
        let known = Names::default().with("next", next.to_value());
        let harness = Harness::start(ComponentDef::of::<C>(), &format!("{args}\n{OUTPUT}"), known).await;
        let component::eval::Value::Object(exports) = harness.node.exports() else { panic!("an object") };
        let input = OtelInput::from_value(&exports["input"]).expect("an input");
        Self { harness, sink, input: input.traces.expect("takes spans") }
    }

    pub async fn send(&self, resources: Vec<ResourceSpans>) -> Result<(), Rejected> {
        self.input.send(traces(resources)).await
    }

    /// Lets some time pass and takes what has come out by then.
    pub async fn after(&self, time: Duration) -> Vec<ResourceMetrics> {
        tokio::time::sleep(time).await;
        settle().await;
        let batches = self.sink.take();
        let requests = batches.iter().flat_map(|batch| &batch.requests);
        requests.flat_map(|request| request.message().expect("a request").resource_metrics.clone()).collect()
    }

    pub fn own(&self, series: &str) -> String {
        own(&self.harness, series)
    }
}

/// A connector that takes all signals, and a sink of metrics.
pub struct ItemBench {
    pub harness: Harness,
    pub sink: Sink<OtlpMetrics>,
    input: OtelInput,
}

impl ItemBench {
    pub async fn new<C: Component>(args: &str) -> Self {
        let sink = Sink::<OtlpMetrics>::new();
        let next = OtelInput { metrics: Some(sink.receiver()), ..OtelInput::default() };
        let known = Names::default().with("next", next.to_value());
        let harness = Harness::start(ComponentDef::of::<C>(), &format!("{args}\n{OUTPUT}"), known).await;
        let component::eval::Value::Object(exports) = harness.node.exports() else { panic!("an object") };
        let input = OtelInput::from_value(&exports["input"]).expect("an input");
        Self { harness, sink, input }
    }

    pub async fn spans(&self, resources: Vec<ResourceSpans>) -> Result<(), Rejected> {
        self.input.traces.as_ref().expect("takes spans").send(traces(resources)).await
    }

    pub async fn metrics(&self, metrics: Vec<Metric>) -> Result<(), Rejected> {
        self.input.metrics.as_ref().expect("takes metrics").send(batch(metrics)).await
    }

    pub async fn logs(&self, resource_logs: Vec<ResourceLogs>) -> Result<(), Rejected> {
        let request = OtlpRequest::<LogsSignal>::from_message(ExportLogsServiceRequest { resource_logs });
        self.input.logs.as_ref().expect("takes logs").send(Otlp::of(request)).await
    }

    /// What has come out.
    pub fn took(&self) -> Vec<ResourceMetrics> {
        let batches = self.sink.take();
        let requests = batches.iter().flat_map(|batch| &batch.requests);
        requests.flat_map(|request| request.message().expect("a request").resource_metrics.clone()).collect()
    }

    pub fn own(&self, series: &str) -> String {
        own(&self.harness, series)
    }
}

/// Log records of a resource.
pub fn logs_of(attributes: Vec<KeyValue>, log_records: Vec<LogRecord>) -> ResourceLogs {
    ResourceLogs {
        resource: Some(Resource { attributes, ..Default::default() }),
        scope_logs: vec![ScopeLogs { log_records, ..Default::default() }],
        ..Default::default()
    }
}

/// Lets everything run that can without time passing.
pub async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// Spans as they come over the network.
pub fn traces(resource_spans: Vec<ResourceSpans>) -> Traces {
    let request = OtlpRequest::<TracesSignal>::from_message(ExportTraceServiceRequest { resource_spans });
    Otlp::of(OtlpRequest::from_wire(request.wire().clone(), request.items() as u32, None))
}

/// Spans of a resource.
pub fn spans_of(attributes: Vec<KeyValue>, spans: Vec<Span>) -> ResourceSpans {
    ResourceSpans {
        resource: Some(Resource { attributes, ..Default::default() }),
        scope_spans: vec![ScopeSpans { spans, ..Default::default() }],
        ..Default::default()
    }
}

/// One line a data point, sorted: name, attributes, value. Histograms as `count/sum`.
pub fn lines(resources: &[ResourceMetrics]) -> Vec<String> {
    let mut lines = Vec::new();
    for metric in resources.iter().flat_map(|r| &r.scope_metrics).flat_map(|s| &s.metrics) {
        let mut line = |attributes: &[KeyValue], value: String| {
            let mut attributes: Vec<_> = attributes
                .iter()
                .map(|a| format!("{}={}", a.key, crate::value::text(a.value.as_ref())))
                .collect();
            attributes.sort();
            lines.push(format!("{}{{{}}} {value}", metric.name, attributes.join(",")));
        };
        match metric.data.as_ref().expect("data") {
            Data::Sum(d) => d.data_points.iter().for_each(|p| line(&p.attributes, number(p))),
            Data::Gauge(d) => d.data_points.iter().for_each(|p| line(&p.attributes, number(p))),
            Data::Histogram(d) => d.data_points.iter().for_each(|p| {
                line(&p.attributes, format!("{}/{}", p.count, p.sum.unwrap_or_default()));
            }),
            Data::ExponentialHistogram(d) => d.data_points.iter().for_each(|p| {
                line(&p.attributes, format!("{}/{}", p.count, p.sum.unwrap_or_default()));
            }),
            Data::Summary(d) => d.data_points.iter().for_each(|p| {
                line(&p.attributes, format!("{}/{}", p.count, p.sum));
            }),
        }
    }
    lines.sort();
    lines
}

fn number(point: &NumberDataPoint) -> String {
    match point.value {
        Some(Value::AsInt(v)) => v.to_string(),
        Some(Value::AsDouble(v)) => v.to_string(),
        None => String::new(),
    }
}

/// The value of a component's own metric, with the labels of the node left out.
pub fn own(harness: &Harness, series: &str) -> String {
    let text = harness.services.metrics.text();
    let line = text.lines().find_map(|line| {
        let (id, value) = line.rsplit_once(' ')?;
        let (name, labels) = id.split_once('{').unwrap_or((id, ""));
        let own = labels.trim_end_matches('}').split(',').filter(|label| !label.starts_with("component_"));
        let own = own.collect::<Vec<_>>().join(",");
        let id = if own.is_empty() { name.to_string() } else { format!("{name}{{{own}}}") };
        (id == series).then(|| value.to_string())
    });
    line.unwrap_or_default()
}

//! Counts and latencies of edges, by their services.

use std::time::Duration;

use signal::otlp::proto::collector::metrics::v1::ExportMetricsServiceRequest;
use signal::otlp::proto::common::v1::any_value::Value as Any;
use signal::otlp::proto::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::metrics::v1::number_data_point::Value;
use signal::otlp::proto::metrics::v1::{Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum};
use tokio::time::Instant;

use super::Args;
use super::store::Edge;
use crate::streams::map::ByIdentity;
use crate::streams::recorder::{self, Dress, Layout, Recorder};
use crate::streams::{CUMULATIVE, Identity};

/// Series that have not changed for so long are forgotten.
pub(super) const IDLE: Duration = Duration::from_secs(15 * 60);

/// Series at most; what finds no room is counted in one more.
const MAX_SERIES: usize = 1 << 18;

/// All series.
pub(super) struct Graph {
    layout: Layout,
    extra_label: bool,
    series: ByIdentity<Series>,
    /// Smaller in tests.
    pub(super) most: usize,
}

struct Series {
    attributes: Vec<KeyValue>,
    total: u64,
    failed: u64,
    client: Recorder,
    server: Recorder,
    start: u64,
    seen: Instant,
}

impl Graph {
    pub(super) fn new(args: &Args) -> Self {
        let bounds = args.latency_histogram_buckets.iter().map(Duration::as_secs_f64).collect();
        let layout = match usize::try_from(args.exponential_histogram_max_size) {
            Ok(size) if size > 0 => Layout::Exponential(size),
            _ => Layout::Explicit(bounds),
        };
        let extra_label = args.virtual_node_extra_label;
        Self { layout, extra_label, series: ByIdentity::default(), most: MAX_SERIES }
    }

    /// Counts an edge; whether there is room for its series.
    pub(super) fn count(&mut self, edge: Edge, nanos: u64) -> bool {
        let attributes = self.attributes(&edge);
        let id = Identity::of(&attributes);
        let full = self.series.len() >= self.most && !self.series.contains_key(&id);
        let (id, attributes) = if full {
            let attributes = vec![attribute("otel.metric.overflow", Any::BoolValue(true))];
            (Identity::of(&attributes), attributes)
        } else {
            (id, attributes)
        };
        let layout = &self.layout;
        let series = self.series.entry(id).or_insert_with(|| Series {
            attributes,
            total: 0,
            failed: 0,
            client: Recorder::new(layout),
            server: Recorder::new(layout),
            start: nanos,
            seen: Instant::now(),
        });
        series.total += 1;
        series.failed += u64::from(edge.failed);
        series.seen = Instant::now();
        series.client.record(layout, edge.client_seconds, 1);
        series.server.record(layout, edge.server_seconds, 1);
        !full
    }

    fn attributes(&self, edge: &Edge) -> Vec<KeyValue> {
        let text = |key: &str, value: &str| attribute(key, Any::StringValue(value.to_string()));
        let mut attributes = vec![
            text("client", &edge.client),
            text("server", &edge.server),
            text("connection_type", edge.connection.as_str()),
            attribute("failed", Any::BoolValue(edge.failed)),
        ];
        attributes.extend(edge.dimensions.iter().map(|(key, value)| text(key, value)));
        if self.extra_label {
            attributes.push(text("virtual_node", edge.virtual_node));
        }
        attributes
    }

    /// Forgets series that have not changed for long.
    pub(super) fn forget(&mut self, now: Instant) {
        self.series.retain(|_, series| now.duration_since(series.seen) <= IDLE);
    }

    /// A request with all series; empty if there are none.
    pub(super) fn metrics(&self, nanos: u64) -> ExportMetricsServiceRequest {
        if self.series.is_empty() {
            return ExportMetricsServiceRequest::default();
        }
        let mut metrics = Vec::new();
        metrics.extend(self.sum("traces_service_graph_request_total", nanos, |series| series.total));
        metrics.extend(self.sum("traces_service_graph_request_failed_total", nanos, |series| series.failed));
        metrics.push(self.latency("traces_service_graph_request_server", nanos, |series| &series.server));
        metrics.push(self.latency("traces_service_graph_request_client", nanos, |series| &series.client));
        let scope = InstrumentationScope { name: "traces_service_graph".into(), ..Default::default() };
        let scope_metrics = vec![ScopeMetrics { scope: Some(scope), metrics, ..Default::default() }];
        let resource_metrics = vec![ResourceMetrics { scope_metrics, ..Default::default() }];
        ExportMetricsServiceRequest { resource_metrics }
    }

    /// Of the series that have counted any.
    fn sum(&self, name: &str, nanos: u64, count: impl Fn(&Series) -> u64) -> Option<Metric> {
        let points = self.series.values().filter(|series| count(series) > 0).map(|series| NumberDataPoint {
            attributes: series.attributes.clone(),
            start_time_unix_nano: series.start,
            time_unix_nano: nanos,
            value: Some(Value::AsInt(i64::try_from(count(series)).unwrap_or(i64::MAX))),
            ..Default::default()
        });
        let data_points: Vec<_> = points.collect();
        if data_points.is_empty() {
            return None;
        }
        let data = Data::Sum(Sum { data_points, aggregation_temporality: CUMULATIVE, is_monotonic: true });
        Some(Metric { name: name.into(), data: Some(data), ..Default::default() })
    }

    fn latency(&self, name: &str, nanos: u64, of: impl Fn(&Series) -> &Recorder) -> Metric {
        let all = self.series.values().map(|series| (of(series), series));
        let data = recorder::data(all, &self.layout, CUMULATIVE, |series| Dress {
            attributes: series.attributes.clone(),
            exemplars: Vec::new(),
            start: series.start,
            time: nanos,
        });
        Metric { name: name.into(), unit: "s".into(), data: Some(data), ..Default::default() }
    }
}

fn attribute(key: &str, value: Any) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}

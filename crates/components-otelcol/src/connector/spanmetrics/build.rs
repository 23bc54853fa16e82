//! Metrics of what has been counted.

use signal::otlp::proto::collector::metrics::v1::ExportMetricsServiceRequest;
use signal::otlp::proto::common::v1::InstrumentationScope;
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::metrics::v1::number_data_point::Value;
use signal::otlp::proto::metrics::v1::{Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum};
use signal::otlp::proto::resource::v1::Resource;

use super::args::{Temporality, Unit};
use super::plan::Plan;
use super::series::{Counted, Group, Series, State};
use crate::streams::recorder::{self, Dress};
use crate::streams::{CUMULATIVE, DELTA, Identity};

/// Makes one request.
pub(super) struct Builder<'a> {
    pub(super) plan: &'a Plan,
    pub(super) state: &'a State,
    /// The time of all points.
    pub(super) nanos: u64,
    pub(super) message: ExportMetricsServiceRequest,
    /// Resources and series of delta temporality that are in it.
    pub(super) keys: Vec<(Identity, Identity)>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(plan: &'a Plan, state: &'a State, nanos: u64) -> Self {
        Self { plan, state, nanos, message: ExportMetricsServiceRequest::default(), keys: Vec::new() }
    }

    fn is_delta(&self) -> bool {
        self.plan.args.aggregation_temporality == Temporality::Delta
    }

    fn temporality(&self) -> i32 {
        if self.is_delta() { DELTA } else { CUMULATIVE }
    }

    fn name(&self, name: &str) -> String {
        match self.plan.args.namespace.as_str() {
            "" => name.to_string(),
            namespace => format!("{namespace}.{name}"),
        }
    }

    /// Adds the metrics of a resource.
    pub(super) fn resource(&mut self, id: Identity, counted: &Counted) {
        let mut metrics = Vec::new();
        metrics.extend(self.sum("calls", id, &counted.calls));
        if let Some(layout) = &self.plan.layout
            && !counted.durations.0.is_empty()
        {
            let all = counted.durations.0.iter().map(|(key, series)| (&series.value, (*key, series)));
            let data = recorder::data(all, layout, self.temporality(), |(key, series)| {
                self.dress((id, key), series)
            });
            let unit = match self.plan.args.histogram.unit {
                Unit::Milliseconds => "ms",
                Unit::Seconds => "s",
            };
            let (name, unit) = (self.name("duration"), unit.to_string());
            metrics.push(Metric { name, unit, data: Some(data), ..Default::default() });
            self.note(id, &counted.durations);
        }
        metrics.extend(self.sum("events", id, &counted.events));
        if metrics.is_empty() {
            return;
        }
        let scope = InstrumentationScope { name: "spanmetricsconnector".into(), ..Default::default() };
        self.message.resource_metrics.push(ResourceMetrics {
            resource: Some(Resource { attributes: counted.attributes.clone(), ..Default::default() }),
            scope_metrics: vec![ScopeMetrics { scope: Some(scope), metrics, ..Default::default() }],
            ..Default::default()
        });
    }

    fn sum(&mut self, name: &str, id: Identity, group: &Group<u64>) -> Option<Metric> {
        if group.0.is_empty() {
            return None;
        }
        let points = group.0.iter().map(|(key, series)| {
            let Dress { attributes, exemplars, start, time } = self.dress((id, *key), series);
            NumberDataPoint {
                attributes,
                exemplars,
                start_time_unix_nano: start,
                time_unix_nano: time,
                value: Some(Value::AsInt(i64::try_from(series.value).unwrap_or(i64::MAX))),
                ..Default::default()
            }
        });
        let data = Data::Sum(Sum {
            data_points: points.collect(),
            aggregation_temporality: self.temporality(),
            is_monotonic: true,
        });
        self.note(id, group);
        Some(Metric { name: self.name(name), data: Some(data), ..Default::default() })
    }

    fn note<V>(&mut self, id: Identity, group: &Group<V>) {
        if self.is_delta() {
            self.keys.extend(group.0.keys().map(|key| (id, *key)));
        }
    }

    fn dress<V>(&self, key: (Identity, Identity), series: &Series<V>) -> Dress {
        // Deltas of a series follow each other without a gap.
        let last = if self.is_delta() { self.state.sent.get(&key).copied() } else { None };
        Dress {
            attributes: series.attributes.to_vec(),
            exemplars: series.exemplars.clone(),
            start: last.unwrap_or(series.start),
            time: self.nanos,
        }
    }
}

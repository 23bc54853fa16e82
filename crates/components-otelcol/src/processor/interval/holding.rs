//! What is held: a request that is ready to go, and where in it each stream's point is.

use signal::otlp::proto::collector::metrics::v1::ExportMetricsServiceRequest;
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics};

use super::Passthrough;
use crate::streams::map::ByIdentity;
use crate::streams::{Additive, CUMULATIVE, DELTA, Identity, Point, header};

/// Whether points of a metric are held. Sums that go up and down pass: the last of several says less than all.
pub(super) fn is_held(metric: &Metric, passthrough: Passthrough) -> bool {
    let known = |temporality| temporality == CUMULATIVE || temporality == DELTA;
    match &metric.data {
        None => false,
        Some(Data::Gauge(_)) => !passthrough.gauge,
        Some(Data::Summary(_)) => !passthrough.summary,
        Some(Data::Sum(d)) => d.is_monotonic && known(d.aggregation_temporality),
        Some(Data::Histogram(d)) => known(d.aggregation_temporality),
        Some(Data::ExponentialHistogram(d)) => known(d.aggregation_temporality),
    }
}

/// What is held of each stream.
#[derive(Default)]
pub(super) struct Holding {
    message: ExportMetricsServiceRequest,
    /// Place of each resource, of each scope in its resource, of each metric in its scope, of each point in its metric.
    resources: ByIdentity<usize>,
    scopes: ByIdentity<usize>,
    metrics: ByIdentity<usize>,
    points: ByIdentity<usize>,
}

impl Holding {
    /// Points that are held.
    pub(super) fn points(&self) -> usize {
        self.points.len()
    }

    pub(super) fn into_message(self) -> ExportMetricsServiceRequest {
        self.message
    }

    /// Adds a request with nothing but metrics that are held.
    pub(super) fn add(&mut self, message: ExportMetricsServiceRequest) {
        for from in message.resource_metrics {
            let id = Identity::resource(from.resource.as_ref());
            let all = &mut self.message.resource_metrics;
            let at = *self.resources.entry(id).or_insert_with(|| {
                let (resource, schema_url) = (from.resource.clone(), from.schema_url.clone());
                all.push(ResourceMetrics { resource, schema_url, ..Default::default() });
                all.len() - 1
            });
            let resource = &mut all[at];
            for scope in from.scope_metrics {
                add_scope(resource, id, scope, &mut self.scopes, &mut self.metrics, &mut self.points);
            }
        }
    }
}

fn add_scope(
    resource: &mut ResourceMetrics,
    id: Identity,
    from: ScopeMetrics,
    scopes: &mut ByIdentity<usize>,
    metrics: &mut ByIdentity<usize>,
    points: &mut ByIdentity<usize>,
) {
    let id = id.scope(from.scope.as_ref());
    let all = &mut resource.scope_metrics;
    let at = *scopes.entry(id).or_insert_with(|| {
        let (scope, schema_url) = (from.scope.clone(), from.schema_url.clone());
        all.push(ScopeMetrics { scope, schema_url, ..Default::default() });
        all.len() - 1
    });
    let all = &mut all[at].metrics;
    for metric in from.metrics {
        let id = id.metric(&metric);
        let at = *metrics.entry(id).or_insert_with(|| {
            all.push(header(&metric));
            all.len() - 1
        });
        let (Some(held), Some(data)) = (&mut all[at].data, metric.data) else { continue };
        add_points(held, data, id, points);
    }
}

/// The types of both are equal: they are a part of the identity.
fn add_points(held: &mut Data, data: Data, id: Identity, places: &mut ByIdentity<usize>) {
    match (held, data) {
        (Data::Gauge(held), Data::Gauge(d)) => newest(&mut held.data_points, d.data_points, id, places),
        (Data::Summary(held), Data::Summary(d)) => newest(&mut held.data_points, d.data_points, id, places),
        (Data::Sum(held), Data::Sum(d)) if d.aggregation_temporality == DELTA => {
            total(&mut held.data_points, d.data_points, |p| id.stream(&p.attributes), places);
        }
        (Data::Sum(held), Data::Sum(d)) => newest(&mut held.data_points, d.data_points, id, places),
        (Data::Histogram(held), Data::Histogram(d)) if d.aggregation_temporality == DELTA => {
            // Other buckets cannot be added: they are kept beside.
            let of = |p: &signal::otlp::proto::metrics::v1::HistogramDataPoint| {
                id.stream(&p.attributes).bounds(&p.explicit_bounds)
            };
            total(&mut held.data_points, d.data_points, of, places);
        }
        (Data::Histogram(held), Data::Histogram(d)) => {
            newest(&mut held.data_points, d.data_points, id, places);
        }
        (Data::ExponentialHistogram(held), Data::ExponentialHistogram(d))
            if d.aggregation_temporality == DELTA =>
        {
            total(&mut held.data_points, d.data_points, |p| id.stream(&p.attributes), places);
        }
        (Data::ExponentialHistogram(held), Data::ExponentialHistogram(d)) => {
            newest(&mut held.data_points, d.data_points, id, places);
        }
        _ => {}
    }
}

/// Of each stream the newest point.
fn newest<P: Point>(held: &mut Vec<P>, points: Vec<P>, metric: Identity, places: &mut ByIdentity<usize>) {
    for point in points {
        match places.get(&metric.stream(point.attributes())) {
            Some(at) if point.time() > held[*at].time() => held[*at] = point,
            Some(_) => {}
            None => {
                places.insert(metric.stream(point.attributes()), held.len());
                held.push(point);
            }
        }
    }
}

/// Of each stream the sum of all points.
fn total<P: Additive>(
    held: &mut Vec<P>,
    points: Vec<P>,
    id: impl Fn(&P) -> Identity,
    places: &mut ByIdentity<usize>,
) {
    for point in points {
        let id = id(&point);
        match places.get(&id) {
            // A point without a value, or a histogram with a wrong number of buckets, adds nothing that could be said.
            Some(at) => {
                let sum = &mut held[*at];
                if sum.add(&point).is_ok() {
                    sum.cover(&point);
                } else {
                    held.push(point);
                }
            }
            None => {
                places.insert(id, held.len());
                held.push(point);
            }
        }
    }
}

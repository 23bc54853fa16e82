//! Metric streams: what makes two data points points of the same stream, a bounded map of what is known of
//! each stream, and the arithmetic of points.
//!
//! A stream is a resource, a scope, a metric (name, unit, type, temporality, monotonicity) and the attributes
//! of its points. Points are handled decoded: their values change.

pub mod exponential;
pub mod held;
pub mod identity;
pub mod map;
pub mod point;
pub mod recorder;
#[cfg(test)]
pub mod testing;

use signal::otlp::proto::collector::metrics::v1::ExportMetricsServiceRequest;
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::metrics::v1::{
    AggregationTemporality, ExponentialHistogram, Histogram, Metric, ResourceMetrics, ScopeMetrics, Sum,
    Summary,
};
use signal::otlp::{Malformed, MetricsSignal, OtlpMetrics, OtlpRequest};

pub use identity::Identity;
pub use map::Streams;
pub use point::{Additive, Point, Reset};

/// Streams that a component keeps at most where its arguments set no limit.
pub const MAX_STREAMS: usize = 4 << 20;

/// The number of [`AggregationTemporality::Delta`] in messages.
pub const DELTA: i32 = AggregationTemporality::Delta as i32;
/// The number of [`AggregationTemporality::Cumulative`] in messages.
pub const CUMULATIVE: i32 = AggregationTemporality::Cumulative as i32;

/// A batch and its decoded requests, to be edited.
///
/// Decoding is apart from editing so that what is shared by all senders is locked for editing alone.
pub struct Decoded {
    batch: OtlpMetrics,
    messages: Vec<ExportMetricsServiceRequest>,
}

/// Decodes a batch.
///
/// # Errors
/// If a request cannot be decoded.
pub fn decode(batch: OtlpMetrics) -> Result<Decoded, Malformed> {
    let messages = batch.requests.iter().map(copy).collect::<Result<_, _>>()?;
    Ok(Decoded { batch, messages })
}

impl Decoded {
    /// Edits the requests. Those that `edit` says it has not changed stay as they came, in all their forms.
    pub fn edit(self, mut edit: impl FnMut(&mut ExportMetricsServiceRequest) -> bool) -> OtlpMetrics {
        let Self { mut batch, messages } = self;
        let edited = messages.into_iter().map(|mut message| edit(&mut message).then_some(message));
        let new: Vec<_> = edited.enumerate().filter_map(|(at, message)| Some((at, message?))).collect();
        if !new.is_empty() {
            let batch = batch.make_mut();
            for (at, message) in new {
                batch.requests[at] = OtlpRequest::from_message(message);
            }
            batch.requests.retain(|request| request.items() > 0);
        }
        batch
    }
}

/// A request as a message to change, while the request stays whole for others.
///
/// # Errors
/// If it cannot be decoded.
pub fn copy(request: &OtlpRequest<MetricsSignal>) -> Result<ExportMetricsServiceRequest, Malformed> {
    match request.is_decoded() {
        true => Ok(request.message()?.clone()),
        false => OtlpRequest::<MetricsSignal>::from_wire(request.wire().clone(), 0, None).into_message(),
    }
}

/// Keeps the metrics that `keep` says, which is told the identity of their scope. What has no metrics any more goes
/// too.
pub fn retain_metrics(
    request: &mut ExportMetricsServiceRequest,
    mut keep: impl FnMut(Identity, &mut Metric) -> bool,
) {
    request.resource_metrics.retain_mut(|resource| {
        let of_resource = Identity::resource(resource.resource.as_ref());
        let scopes = resource.scope_metrics.len();
        resource.scope_metrics.retain_mut(|scope| {
            let of_scope = of_resource.scope(scope.scope.as_ref());
            let metrics = scope.metrics.len();
            scope.metrics.retain_mut(|metric| keep(of_scope, metric));
            !scope.metrics.is_empty() || metrics == 0
        });
        !resource.scope_metrics.is_empty() || scopes == 0
    });
}

/// Takes the metrics that `take` says out of a request, with the resource and scope that they stand in.
pub fn take_metrics(
    request: &mut ExportMetricsServiceRequest,
    take: impl Fn(&Metric) -> bool,
) -> ExportMetricsServiceRequest {
    let mut taken = ExportMetricsServiceRequest::default();
    request.resource_metrics.retain_mut(|resource| {
        let mut scopes = Vec::new();
        let before = resource.scope_metrics.len();
        resource.scope_metrics.retain_mut(|scope| {
            let metrics: Vec<Metric> = scope.metrics.extract_if(.., |metric| take(metric)).collect();
            let emptied = scope.metrics.is_empty() && !metrics.is_empty();
            if !metrics.is_empty() {
                let (of, schema_url) = (scope.scope.clone(), scope.schema_url.clone());
                scopes.push(ScopeMetrics { scope: of, metrics, schema_url });
            }
            !emptied
        });
        if !scopes.is_empty() {
            taken.resource_metrics.push(ResourceMetrics {
                resource: resource.resource.clone(),
                scope_metrics: scopes,
                schema_url: resource.schema_url.clone(),
            });
        }
        !resource.scope_metrics.is_empty() || before == 0
    });
    taken
}

/// A metric without its points, of the same type.
pub fn header(metric: &Metric) -> Metric {
    let data = metric.data.as_ref().map(|data| match data {
        Data::Gauge(_) => Data::Gauge(Default::default()),
        Data::Sum(sum) => Data::Sum(Sum {
            data_points: Vec::new(),
            aggregation_temporality: sum.aggregation_temporality,
            is_monotonic: sum.is_monotonic,
        }),
        Data::Histogram(h) => Data::Histogram(Histogram {
            data_points: Vec::new(),
            aggregation_temporality: h.aggregation_temporality,
        }),
        Data::ExponentialHistogram(h) => Data::ExponentialHistogram(ExponentialHistogram {
            data_points: Vec::new(),
            aggregation_temporality: h.aggregation_temporality,
        }),
        Data::Summary(_) => Data::Summary(Summary::default()),
    });
    Metric {
        name: metric.name.clone(),
        description: metric.description.clone(),
        unit: metric.unit.clone(),
        metadata: metric.metadata.clone(),
        data,
    }
}

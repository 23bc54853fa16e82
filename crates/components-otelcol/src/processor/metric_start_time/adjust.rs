//! What is known of each stream, and the start that follows from it.

use signal::otlp::proto::collector::metrics::v1::ExportMetricsServiceRequest;
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::metrics::v1::number_data_point::Value;
use signal::otlp::proto::metrics::v1::{
    ExponentialHistogramDataPoint, HistogramDataPoint, NumberDataPoint, ResourceMetrics, SummaryDataPoint,
};
use tokio::time::Instant;

use super::{Args, Relay, Strategy};
use crate::streams::held::{Held, Holdable};
use crate::streams::map::Known;
use crate::streams::{Additive, CUMULATIVE, Identity, MAX_STREAMS, Reset, Streams, retain_metrics};

/// The metric that tells the start where no other is named. As Prometheus' client libraries call it.
const START_METRIC: &str = "process_start_time_seconds";

const MILLISECOND: u64 = 1_000_000;

/// A point that tells whether its stream has begun anew.
trait Counting: Holdable {
    /// Leaves what has been counted since an earlier point.
    fn since(&mut self, earlier: &Self) -> Result<(), Reset>;
}

macro_rules! counting {
    ($($type:ty),*) => {$(
        impl Counting for $type {
            fn since(&mut self, earlier: &Self) -> Result<(), Reset> {
                self.subtract(earlier)
            }
        }
    )*};
}
counting!(NumberDataPoint, HistogramDataPoint, ExponentialHistogramDataPoint);

impl Counting for SummaryDataPoint {
    fn since(&mut self, earlier: &Self) -> Result<(), Reset> {
        if self.count < earlier.count || self.sum < earlier.sum {
            return Err(Reset);
        }
        self.count -= earlier.count;
        self.sum -= earlier.sum;
        Ok(())
    }
}

/// What is known of a stream.
struct Stream {
    start: u64,
    last: Held,
    /// The point whose value is subtracted.
    initial: Option<Held>,
}

/// All streams.
pub(super) struct Adjuster {
    strategy: Strategy,
    streams: Streams<Stream>,
    /// When the component has begun, Unix nanoseconds: a start for want of a better.
    began: u64,
}

/// The start that a metric tells.
#[derive(Clone, Copy)]
struct Told {
    nanos: u64,
    /// No metric has told it.
    is_guess: bool,
}

impl Adjuster {
    pub(super) fn new(args: &Args) -> Self {
        let mut adjuster = Self {
            strategy: args.strategy,
            streams: Streams::new(MAX_STREAMS, None),
            began: signal::clock::now_unix_nano(),
        };
        adjuster.bound(args);
        adjuster
    }

    pub(super) fn bound(&mut self, args: &Args) {
        // Nobody is forgotten who had a point between the last two looks.
        self.streams.bound(MAX_STREAMS, Some(args.gc_interval * 2));
    }

    pub(super) fn expire(&mut self, now: Instant) {
        self.streams.expire(now);
    }

    /// Whether anything has changed.
    pub(super) fn request(
        &mut self,
        request: &mut ExportMetricsServiceRequest,
        relay: &Relay,
        now: Instant,
    ) -> bool {
        let told = self.told(request, relay);
        let mut told = told.into_iter();
        let mut changed = false;
        for resource in &mut request.resource_metrics {
            let told = told.next().expect("one a resource");
            let whole = std::mem::take(resource);
            let mut one = ExportMetricsServiceRequest { resource_metrics: vec![whole] };
            let mut step = Step { adjuster: self, relay, now, told, changed: &mut changed };
            retain_metrics(&mut one, |scope, metric| {
                let id = scope.metric(metric);
                step.data(id, &mut metric.data)
            });
            *resource = one.resource_metrics.pop().unwrap_or_default();
        }
        if changed {
            request.resource_metrics.retain(|resource| *resource != ResourceMetrics::default());
        }
        changed
    }

    /// The start that is told for each resource: by itself, else by any other, else by nobody.
    fn told(&self, request: &ExportMetricsServiceRequest, relay: &Relay) -> Vec<Told> {
        let guess = Told { nanos: self.began, is_guess: true };
        if self.strategy != Strategy::StartTimeMetric {
            return vec![guess; request.resource_metrics.len()];
        }
        let own: Vec<_> = request.resource_metrics.iter().map(|r| start_metric(r, relay)).collect();
        let any = own.iter().flatten().next().copied().unwrap_or(guess);
        own.into_iter().map(|own| own.unwrap_or(any)).collect()
    }
}

fn start_metric(resource: &ResourceMetrics, relay: &Relay) -> Option<Told> {
    let metrics = resource.scope_metrics.iter().flat_map(|scope| &scope.metrics);
    let named = metrics.filter(|metric| match &relay.regex {
        Some(regex) => regex.is_match(&metric.name),
        None => metric.name == START_METRIC,
    });
    let points = named.filter_map(|metric| match &metric.data {
        Some(Data::Gauge(d)) => d.data_points.first(),
        Some(Data::Sum(d)) => d.data_points.first(),
        _ => None,
    });
    let seconds = points.filter_map(|point| match point.value? {
        Value::AsDouble(seconds) => Some(seconds),
        Value::AsInt(seconds) => Some(seconds as f64),
    });
    let seconds = seconds.into_iter().find(|seconds| seconds.is_finite() && *seconds > 0.0)?;
    Some(Told {
        nanos: (seconds.trunc() as u64).saturating_mul(1_000_000_000) + (seconds.fract() * 1e9) as u64,
        is_guess: false,
    })
}

struct Step<'a> {
    adjuster: &'a mut Adjuster,
    relay: &'a Relay,
    now: Instant,
    told: Told,
    changed: &'a mut bool,
}

impl Step<'_> {
    /// Whether any point is left.
    fn data(&mut self, id: Identity, data: &mut Option<Data>) -> bool {
        match data {
            Some(Data::Sum(d)) if d.aggregation_temporality == CUMULATIVE => {
                let monotonic = d.is_monotonic;
                if !monotonic && self.adjuster.strategy == Strategy::SubtractInitialPoint {
                    return true;
                }
                self.points(id, &mut d.data_points, monotonic)
            }
            Some(Data::Histogram(d)) if d.aggregation_temporality == CUMULATIVE => {
                self.points(id, &mut d.data_points, true)
            }
            Some(Data::ExponentialHistogram(d)) if d.aggregation_temporality == CUMULATIVE => {
                self.points(id, &mut d.data_points, true)
            }
            Some(Data::Summary(d)) => self.points(id, &mut d.data_points, true),
            _ => true,
        }
    }

    fn points<P: Counting>(&mut self, metric: Identity, points: &mut Vec<P>, monotonic: bool) -> bool {
        let before = points.len();
        points.retain_mut(|point| {
            if point.start() != 0 && point.start() != point.time() {
                return true;
            }
            let dropped = self.point(metric, point, monotonic).err();
            *self.changed = true;
            if let Some(reason) = dropped {
                self.relay.dropped.with_label_values(&[reason]).inc();
            }
            dropped.is_none()
        });
        !points.is_empty() || before == 0
    }

    /// Sets the start of a point, or says why it does not go on.
    fn point<P: Counting>(
        &mut self,
        metric: Identity,
        point: &mut P,
        monotonic: bool,
    ) -> Result<(), &'static str> {
        let id = metric.stream(point.attributes());
        let strategy = self.adjuster.strategy;
        if point.is_unrecorded() {
            if let Some(stream) = self.adjuster.streams.get_mut(id) {
                point.set_start(stream.start.min(point.time()));
            }
            return Ok(());
        }
        let start = match strategy {
            Strategy::TrueResetPoint | Strategy::SubtractInitialPoint => point.time(),
            Strategy::StartTimeMetric => self.told.nanos.min(point.time()),
        };
        let subtracts = strategy == Strategy::SubtractInitialPoint;
        let first = || {
            let initial = subtracts.then(|| point.bare().hold());
            Stream { start, last: point.bare().hold(), initial }
        };
        match (self.adjuster.streams.see(id, self.now, first), subtracts) {
            (None, true) => Err("limit"),
            (Some(Known::New), true) => Err("initial"),
            (None | Some(Known::New), false) => {
                point.set_start(start);
                Ok(())
            }
            (Some(Known::Old(stream)), _) => known(stream, point, strategy, self.told, monotonic),
        }
    }
}

/// Sets the start of a point of a stream that is known, and subtracts what is to be subtracted.
fn known<P: Counting>(
    stream: &mut Stream,
    point: &mut P,
    strategy: Strategy,
    told: Told,
    monotonic: bool,
) -> Result<(), &'static str> {
    let original = point.bare();
    let mut initial = stream.initial.as_mut().and_then(P::held).map(|initial| initial.clone());
    if initial.as_ref().is_some_and(|initial| point.time() <= initial.time()) {
        return Err("initial");
    }
    let last = P::held(&mut stream.last).expect("the type is a part of the identity");
    if point.time() >= last.time() {
        let restarted = !told.is_guess && told.nanos > last.time() && told.nanos <= point.time();
        let reset = monotonic
            && (point.clone().since(last).is_err()
                || initial.as_ref().is_some_and(|initial| point.clone().since(initial).is_err()));
        if restarted || reset {
            stream.start = match strategy {
                Strategy::TrueResetPoint => point.time(),
                Strategy::StartTimeMetric if restarted => told.nanos,
                // It has begun somewhere between; so much is sure.
                _ => point.time().saturating_sub(MILLISECOND),
            };
            (stream.initial, initial) = (None, None);
        }
        *last = original;
    }
    if let Some(initial) = initial {
        // A late point of before a reset is what it says.
        let _ = point.since(&initial);
    }
    point.set_start(stream.start.min(point.time()));
    Ok(())
}

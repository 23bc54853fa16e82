//! The totals of all streams.

use std::time::Duration;

use component::metrics::{Collector, IntCounterVec, IntGauge, Opts};
use signal::otlp::proto::collector::metrics::v1::ExportMetricsServiceRequest;
use signal::otlp::proto::metrics::v1::metric::Data;
use tokio::time::Instant;

use crate::streams::held::{Held, Holdable};
use crate::streams::map::Known;
use crate::streams::{Additive, CUMULATIVE, DELTA, Identity, Streams, retain_metrics};

/// The component's own metrics.
pub(super) struct Counters {
    points: IntCounterVec,
    tracked: IntGauge,
    limit: IntGauge,
    max_stale: IntGauge,
}

impl Counters {
    pub(super) fn new() -> Self {
        const CONSTANT: &str = "metric names are constants of this program";
        let gauge = |name: &str, help: &str| IntGauge::new(name, help).expect(CONSTANT);
        let points = Opts::new(
            "otelcol_deltatocumulative_datapoints",
            "Delta points taken in; `error` says why one was dropped.",
        );
        Self {
            points: IntCounterVec::new(points, &["error"]).expect(CONSTANT),
            tracked: gauge("otelcol_deltatocumulative_streams_tracked", "Streams that are kept."),
            limit: gauge("otelcol_deltatocumulative_streams_limit", "Streams that are kept at most."),
            max_stale: gauge(
                "otelcol_deltatocumulative_streams_max_stale_seconds",
                "Time without points after which a stream is forgotten.",
            ),
        }
    }

    pub(super) fn bounds(&self, limit: usize, max_stale: Duration) {
        self.limit.set(i64::try_from(limit).unwrap_or(i64::MAX));
        self.max_stale.set(i64::try_from(max_stale.as_secs()).unwrap_or(i64::MAX));
    }

    pub(super) fn collectors(&self) -> Vec<Box<dyn Collector>> {
        vec![
            Box::new(self.points.clone()),
            Box::new(self.tracked.clone()),
            Box::new(self.limit.clone()),
            Box::new(self.max_stale.clone()),
        ]
    }

    fn point(&self, error: &str) {
        self.points.with_label_values(&[error]).inc();
    }
}

/// A stream's total.
struct Total {
    point: Held,
    /// The last batch with a point of it was refused: it comes again, though it is in the total already.
    unsent: bool,
}

/// The totals of all streams.
pub(super) struct Totals(Streams<Total>);

impl Totals {
    pub(super) fn new(limit: usize, idle: Option<Duration>) -> Self {
        Self(Streams::new(limit, idle))
    }

    pub(super) fn bound(&mut self, limit: usize, idle: Option<Duration>) {
        self.0.bound(limit, idle);
    }

    pub(super) fn expire(&mut self, now: Instant, counters: &Counters) {
        self.0.expire(now);
        self.show(counters);
    }

    fn show(&self, counters: &Counters) {
        counters.tracked.set(i64::try_from(self.0.len()).unwrap_or(i64::MAX));
    }

    pub(super) fn unsent(&mut self, streams: &[Identity]) {
        for id in streams {
            if let Some(total) = self.0.get_mut(*id) {
                total.unsent = true;
            }
        }
    }

    /// Puts totals in place of the delta points; whether there are any. `touched` tells the streams.
    pub(super) fn convert(
        &mut self,
        request: &mut ExportMetricsServiceRequest,
        now: Instant,
        counters: &Counters,
        touched: &mut Vec<Identity>,
    ) -> bool {
        let mut changed = false;
        retain_metrics(request, |scope, metric| {
            let mut adding = Adding { totals: &mut self.0, now, counters, touched: &mut *touched };
            // As an identity a stream keeps the temporality that it comes with.
            let id = |metric| scope.metric(metric);
            let left = match &metric.data {
                Some(Data::Sum(d)) if d.aggregation_temporality == DELTA => {
                    let id = id(metric);
                    let Some(Data::Sum(d)) = &mut metric.data else { return true };
                    d.aggregation_temporality = CUMULATIVE;
                    adding.points(id, &mut d.data_points)
                }
                Some(Data::Histogram(d)) if d.aggregation_temporality == DELTA => {
                    let id = id(metric);
                    let Some(Data::Histogram(d)) = &mut metric.data else { return true };
                    d.aggregation_temporality = CUMULATIVE;
                    adding.points(id, &mut d.data_points)
                }
                Some(Data::ExponentialHistogram(d)) if d.aggregation_temporality == DELTA => {
                    let id = id(metric);
                    let Some(Data::ExponentialHistogram(d)) = &mut metric.data else { return true };
                    d.aggregation_temporality = CUMULATIVE;
                    adding.points(id, &mut d.data_points)
                }
                _ => return true,
            };
            changed = true;
            left
        });
        if changed {
            self.show(counters);
        }
        changed
    }
}

struct Adding<'a> {
    totals: &'a mut Streams<Total>,
    now: Instant,
    counters: &'a Counters,
    touched: &'a mut Vec<Identity>,
}

impl Adding<'_> {
    /// Whether any point is left.
    fn points<P: Additive + Holdable>(&mut self, metric: Identity, points: &mut Vec<P>) -> bool {
        points.retain_mut(|point| {
            let error = self.point(metric, point).err();
            if error != Some(Dropped::Included) {
                self.counters.point(error.map(Dropped::reason).unwrap_or_default());
            }
            error.is_none()
        });
        !points.is_empty()
    }

    fn point<P: Additive + Holdable>(&mut self, metric: Identity, point: &mut P) -> Result<(), Dropped> {
        if point.is_nan() && !point.is_unrecorded() {
            return Err(Dropped::NotANumber);
        }
        let id = metric.stream(point.attributes());
        let first = || Total { point: point.bare().hold(), unsent: false };
        let total = match self.totals.see(id, self.now, first).ok_or(Dropped::Limit)? {
            Known::New => {
                self.touched.push(id);
                return Ok(());
            }
            Known::Old(total) => total,
        };
        let sum = P::held(&mut total.point).expect("the type is a part of the identity");
        if point.is_unrecorded() {
            point.set_start(sum.start());
            return Ok(());
        }
        if point.start() < sum.start() && point.start() != 0 {
            return Err(Dropped::OlderStart);
        }
        if point.time() <= sum.time() {
            match (total.unsent, point.time() == sum.time()) {
                (true, true) => total.unsent = false,
                (true, false) => return Err(Dropped::Included),
                (false, _) => return Err(Dropped::OutOfOrder),
            }
        } else {
            total.unsent = false;
            match sum.add(point) {
                Ok(()) => sum.set_time(point.time()),
                // Other buckets: there is nothing to add to, and a new series begins.
                Err(_) => *sum = point.bare(),
            }
        }
        let mut whole = sum.clone();
        whole.dress(std::mem::take(point));
        *point = whole;
        self.touched.push(id);
        Ok(())
    }
}

/// Why a point does not go on. The words are those of the collector.
#[derive(Clone, Copy, PartialEq)]
enum Dropped {
    Limit,
    OlderStart,
    OutOfOrder,
    NotANumber,
    /// It is in the total already.
    Included,
}

impl Dropped {
    fn reason(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::OlderStart => "delta.ErrOlderStart",
            Self::OutOfOrder => "delta.ErrOutOfOrder",
            Self::NotANumber => "nan",
            Self::Included => "included",
        }
    }
}

//! The last point of each stream, and what is owed.

use std::time::Duration;

use signal::otlp::proto::collector::metrics::v1::ExportMetricsServiceRequest;
use signal::otlp::proto::metrics::v1::metric::Data;
use tokio::time::Instant;

use super::{InitialValue, Relay};
use crate::streams::held::{Held, Holdable};
use crate::streams::map::Known;
use crate::streams::{Additive, CUMULATIVE, DELTA, Identity, MAX_STREAMS, Streams, retain_metrics};

/// What is known of a stream.
struct Stream {
    last: Held,
    /// A difference that was refused.
    owed: Option<Held>,
}

/// Differences of a batch, without what only the batch needs.
pub(super) type Sent = Vec<(Identity, Held)>;

/// All streams.
pub(super) struct Differ {
    streams: Streams<Stream>,
    /// When the component has begun, Unix nanoseconds.
    began: u64,
}

impl Differ {
    pub(super) fn new(idle: Option<Duration>) -> Self {
        Self { streams: Streams::new(MAX_STREAMS, idle), began: signal::clock::now_unix_nano() }
    }

    pub(super) fn bound(&mut self, idle: Option<Duration>) {
        self.streams.bound(MAX_STREAMS, idle);
    }

    pub(super) fn expire(&mut self, now: Instant) {
        self.streams.expire(now);
    }

    pub(super) fn tracked(&self) -> i64 {
        i64::try_from(self.streams.known()).unwrap_or(i64::MAX)
    }

    /// Remembers differences that were refused.
    pub(super) fn owe(&mut self, sent: Sent) {
        for (id, difference) in sent {
            let Some(stream) = self.streams.get_mut(id) else { continue };
            stream.owed = Some(match (stream.owed.take(), difference) {
                (None, difference) => difference,
                (Some(owed), Held::Number(more)) => together(owed, more),
                (Some(owed), Held::Histogram(more)) => together(owed, *more),
                (Some(owed), Held::Exponential(more)) => together(owed, *more),
                (Some(owed), Held::Summary(_)) => owed,
            });
        }
    }

    /// Puts differences in place of the cumulative points that are selected; whether there are any.
    pub(super) fn convert(
        &mut self,
        request: &mut ExportMetricsServiceRequest,
        relay: &Relay,
        now: Instant,
        sent: &mut Sent,
    ) -> bool {
        let mut changed = false;
        let began = self.began;
        retain_metrics(request, |scope, metric| {
            let cumulative = match &metric.data {
                // What goes up and down is no sum of differences that anyone could reset.
                Some(Data::Sum(d)) => d.is_monotonic && d.aggregation_temporality == CUMULATIVE,
                Some(Data::Histogram(d)) => d.aggregation_temporality == CUMULATIVE,
                Some(Data::ExponentialHistogram(d)) => d.aggregation_temporality == CUMULATIVE,
                _ => false,
            };
            if !cumulative || !relay.selection.has(metric) {
                return true;
            }
            changed = true;
            let id = scope.metric(metric);
            let streams = &mut self.streams;
            let mut step = Step { streams, relay, began, now, sent: &mut *sent };
            match &mut metric.data {
                Some(Data::Sum(d)) => {
                    d.aggregation_temporality = DELTA;
                    step.points(id, &mut d.data_points)
                }
                Some(Data::Histogram(d)) => {
                    d.aggregation_temporality = DELTA;
                    step.points(id, &mut d.data_points)
                }
                Some(Data::ExponentialHistogram(d)) => {
                    d.aggregation_temporality = DELTA;
                    step.points(id, &mut d.data_points)
                }
                _ => true,
            }
        });
        changed
    }
}

/// Both as one difference. Where their buckets differ the newer stays: the other cannot be said in it.
fn together<P: Additive + Holdable>(owed: Held, more: P) -> Held {
    let Some(mut owed) = P::release(owed) else { return more.hold() };
    match owed.add(&more) {
        Ok(()) => {
            owed.cover(&more);
            owed.hold()
        }
        Err(_) => more.hold(),
    }
}

struct Step<'a> {
    streams: &'a mut Streams<Stream>,
    relay: &'a Relay,
    began: u64,
    now: Instant,
    sent: &'a mut Sent,
}

/// What becomes of a point.
enum Fate {
    Pass,
    Drop,
    Count(&'static str),
}

impl Step<'_> {
    /// Whether any point is left.
    fn points<P: Additive + Holdable>(&mut self, metric: Identity, points: &mut Vec<P>) -> bool {
        let mut more = Vec::new();
        points.retain_mut(|point| match self.point(metric, point, &mut more) {
            Fate::Pass => true,
            Fate::Drop => false,
            Fate::Count(reason) => {
                self.relay.state.dropped.with_label_values(&[reason]).inc();
                false
            }
        });
        points.append(&mut more);
        !points.is_empty()
    }

    fn point<P: Additive + Holdable>(&mut self, metric: Identity, point: &mut P, more: &mut Vec<P>) -> Fate {
        if point.is_nan() || point.is_unrecorded() {
            return Fate::Pass;
        }
        let id = metric.stream(point.attributes());
        let first = || Stream { last: point.bare().hold(), owed: None };
        match self.streams.see(id, self.now, first) {
            None => Fate::Count("limit"),
            Some(Known::New) => self.initial(id, point),
            Some(Known::Old(stream)) => difference(stream, point, more, |difference| {
                self.sent.push((id, difference.clone().hold()));
            }),
        }
    }

    fn initial<P: Additive + Holdable>(&mut self, id: Identity, point: &P) -> Fate {
        let keep = match self.relay.initial {
            InitialValue::Keep => true,
            InitialValue::Drop => false,
            InitialValue::Auto => point.start() >= self.began && point.start() != point.time(),
        };
        if !keep {
            return Fate::Count("initial");
        }
        self.sent.push((id, point.bare().hold()));
        Fate::Pass
    }
}

/// Puts the difference to the last point, and what is owed, in place of a point. What is owed and does not go together
/// with it goes to `more`.
fn difference<P: Additive + Holdable>(
    stream: &mut Stream,
    point: &mut P,
    more: &mut Vec<P>,
    mut sent: impl FnMut(&P),
) -> Fate {
    let last = P::held(&mut stream.last).expect("the type is a part of the identity");
    if point.time() != 0 {
        match point.time().cmp(&last.time()) {
            std::cmp::Ordering::Less if stream.owed.is_some() => return Fate::Drop,
            std::cmp::Ordering::Equal if stream.owed.is_some() => {}
            std::cmp::Ordering::Less | std::cmp::Ordering::Equal => return Fate::Count("out_of_order"),
            std::cmp::Ordering::Greater => {}
        }
    }
    let mut difference = point.bare();
    let since = last.time();
    match difference.subtract(last) {
        Ok(()) => difference.set_start(since),
        // It has begun anew, and all of it is since then.
        Err(_) => difference.set_start(since.max(point.start())),
    }
    *last = point.bare();
    if let Some(mut owed) = stream.owed.take().and_then(P::release) {
        if difference.add(&owed).is_ok() {
            difference.cover(&owed);
        } else {
            sent(&owed);
            owed.dress(point.clone());
            more.push(owed);
        }
    }
    sent(&difference);
    difference.dress(std::mem::take(point));
    *point = difference;
    Fate::Pass
}

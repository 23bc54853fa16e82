//! Requests that are ready but for their values, for rows that come again and again.
//!
//! A row's list says all that a request needs besides values and a time: what relabelling makes of its series,
//! and the message that they make. Once a list has come [`WORTH`] times, [`Requests`] are made of it, which
//! takes about as long as encoding it ten times; from then on its series are not looked at.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use signal::samples::Point;
use signal::{ByOrigin, Row, SampleBatch, Series};
use wire::remote_write::{Counts, Message, Template};

use super::record::put_head;
use crate::MANY_SERIES;

/// Rows of one list before templates are made of it.
const WORTH: u32 = 3;
/// Bytes of templates, an endpoint: those of about three million series.
const MOST_BYTES: usize = 64 << 20;
/// After so long without a batch an origin's templates are forgotten.
const FORGET: Duration = Duration::from_secs(600);

/// The templates of an endpoint, by origin.
pub(super) struct Prepared(ByOrigin<State>);

enum State {
    /// The list has come so often.
    Seen(AtomicU32),
    /// `None`: no template can be made of it.
    Ready(Message, Option<Requests>),
}

/// The requests of a list.
pub(super) struct Requests {
    templates: Vec<Template>,
    /// Which of the row's samples are sent; `None` for all.
    kept: Option<Box<[u32]>>,
    samples: usize,
}

impl Default for Prepared {
    fn default() -> Self {
        Self(ByOrigin::new(MOST_BYTES, FORGET))
    }
}

/// A held answer that is known to be ready.
pub(super) struct Held(Arc<State>);

impl std::ops::Deref for Held {
    type Target = Requests;
    fn deref(&self) -> &Requests {
        match &*self.0 {
            State::Ready(_, Some(requests)) => requests,
            _ => unreachable!("held only where it is ready"),
        }
    }
}

impl Prepared {
    /// The requests for a row, made if it is time for that; `None` while it is not worth it, or where it
    /// cannot be.
    pub(super) fn requests(
        &self,
        origin: u64,
        row: &Row,
        message: Message,
        now: Instant,
        make: impl FnOnce() -> Option<Requests>,
    ) -> Option<Held> {
        let list = row.list().id();
        match self.0.get(origin, list, now) {
            Some(known) => match &*known {
                State::Seen(times) if times.fetch_add(1, Ordering::Relaxed) + 1 < WORTH => return None,
                State::Ready(known_message, requests) if *known_message == message => {
                    return requests.is_some().then_some(Held(known));
                }
                // Worth it now, or the endpoint has turned out to want the other message.
                State::Seen(_) | State::Ready(..) => {}
            },
            None => {
                self.0.put(origin, list, Arc::new(State::Seen(AtomicU32::new(1))), 64, now);
                return None;
            }
        }
        let requests = component::heavy(row.values().len() > MANY_SERIES, make);
        let cost = 64 + requests.as_ref().map_or(0, Requests::bytes);
        let ready = requests.is_some();
        let state = Arc::new(State::Ready(message, requests));
        self.0.put(origin, list, state.clone(), cost, now);
        ready.then_some(Held(state))
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.0.cost()
    }

    pub(super) fn sweep(&self, now: Instant) {
        self.0.sweep(now);
    }
}

impl Requests {
    /// From what `survives` makes of each series; `encode` gives the messages of a batch one by one.
    pub(super) fn new(
        row: &Row,
        message: Message,
        survives: impl Fn(&Series) -> Option<Series>,
        encode: impl FnOnce(&SampleBatch, &mut dyn FnMut(&[u8], Counts)),
    ) -> Option<Self> {
        let (list, timestamp_ms) = (row.list(), row.timestamp_ms());
        let mut kept = Vec::new();
        let points =
            row.series().iter().zip(list.family()).enumerate().filter_map(|(at, (series, family))| {
                let series = survives(series)?;
                kept.push(u32::try_from(at).ok()?);
                // Any value but 0, which messages leave out.
                Some(Point { series, timestamp_ms, value: 1.0, start_ms: 0, family })
            });
        let points: Vec<Point> = points.collect();
        let samples = points.len();
        let families = list.families().clone();
        let batch = SampleBatch { points: points.into(), families, ..SampleBatch::default() };
        let (mut templates, mut complete) = (Vec::new(), true);
        encode(&batch, &mut |body, counts| match Template::of(message, body, counts, timestamp_ms) {
            Some(template) => templates.push(template),
            None => complete = false,
        });
        let kept = (samples < list.len()).then(|| kept.into());
        complete.then_some(Self { templates, kept, samples })
    }

    /// Samples that are sent.
    pub(super) fn samples(&self) -> usize {
        self.samples
    }

    fn bytes(&self) -> usize {
        let kept = self.kept.as_ref().map_or(0, |kept| kept.len() * size_of::<u32>());
        self.templates.iter().map(Template::bytes).sum::<usize>() + kept
    }

    /// Calls `each` for the body of every record. `false`: the templates do not fit the row's time.
    pub(super) fn fill(&self, row: &Row, packed: &mut Vec<u8>, mut each: impl FnMut(&[u8], Counts)) -> bool {
        let mut first = 0;
        for template in &self.templates {
            let (counts, all) = (template.counts(), row.values());
            packed.clear();
            put_head(counts, packed);
            let (all, kept) = match &self.kept {
                None => (&all[first..], None),
                Some(kept) => (all, Some(&kept[first..])),
            };
            if !template.fill(all, kept, row.timestamp_ms(), packed) {
                return false;
            }
            first += counts.samples;
            each(packed, counts);
        }
        true
    }
}

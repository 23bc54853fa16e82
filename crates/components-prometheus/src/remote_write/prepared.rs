//! Requests that are ready but for their values, for rows that come again and again.
//!
//! A row's list says all that a request needs besides values and a time: what relabelling makes of its series,
//! and the message that they make. Once a list has come [`WORTH`] times, [`Requests`] are made of it, which
//! takes about as long as encoding it ten times; from then on its series are not looked at. An origin whose lists end
//! before that has paid is waited for longer each time, so that what is made for nothing stays a part of the whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use signal::samples::Point;
use signal::{ByOrigin, Row, SampleBatch, Series};
use wire::remote_write::{Counts, Message, Template};

use super::record::put_head;
use crate::MANY_SERIES;

/// Rows of one list before templates are made of it, where nothing is known against it.
const WORTH: u32 = 3;
/// Rows for which templates must serve to have been worth their making.
const PAID: u32 = 10;
/// Where they have not, twice as many rows are waited for with the origin's next list, up to so many.
const MOST_WORTH: u32 = 48;
/// Bytes of templates, an endpoint: those of about three million series.
const MOST_BYTES: usize = 64 << 20;
/// After so long without a batch an origin's templates are forgotten.
const FORGET: Duration = Duration::from_secs(600);

/// The templates of an endpoint, by origin.
pub(super) struct Prepared(ByOrigin<State>);

/// What is known of the list of an origin.
struct State {
    /// Rows before templates are made of it.
    worth: u32,
    /// Rows that have come: until templates were made, or since.
    rows: AtomicU32,
    /// For which message; `None` within: no template can be made of it.
    ready: Option<(Message, Option<Requests>)>,
}

impl State {
    /// Rows before templates are made of the list that follows this one.
    fn next_worth(&self) -> u32 {
        match self.ready {
            None => self.worth,
            Some(_) if self.rows.load(Ordering::Relaxed) >= PAID => WORTH,
            Some(_) => (self.worth * 2).min(MOST_WORTH),
        }
    }
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
        match &self.0.ready {
            Some((_, Some(requests))) => requests,
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
        let Some(known) = self.0.get(origin, list, now) else {
            let worth = self.0.last(origin).map_or(WORTH, |before| before.next_worth());
            self.0.put(origin, list, Arc::new(State { worth, rows: 1.into(), ready: None }), 64, now);
            return None;
        };
        let rows = known.rows.fetch_add(1, Ordering::Relaxed) + 1;
        match &known.ready {
            None if rows < known.worth => return None,
            Some((known_message, requests)) if *known_message == message => {
                return requests.is_some().then_some(Held(known));
            }
            // Worth it now, or the endpoint has turned out to want the other message.
            _ => {}
        }
        let requests = component::heavy(row.values().len() > MANY_SERIES, make);
        let cost = 64 + requests.as_ref().map_or(0, Requests::bytes);
        let is_ready = requests.is_some();
        let ready = Some((message, requests));
        let state = Arc::new(State { worth: known.worth, rows: 1.into(), ready });
        self.0.put(origin, list, state.clone(), cost, now);
        is_ready.then_some(Held(state))
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

#[cfg(test)]
mod tests {
    use signal::samples::NO_FAMILY;
    use signal::{FamilyList, Labels, SeriesList};

    use super::*;

    /// Lists of one origin, each of which comes `rows` times: of which rows templates were made.
    fn made(prepared: &Prepared, rows: &[u32]) -> Vec<Option<u32>> {
        let of_list = |rows: &u32| {
            let series = vec![Series::intern(Labels::from_pairs([("__name__", "up")]))];
            let list = Arc::new(SeriesList::new(series, vec![NO_FAMILY], FamilyList::default()));
            let mut made = None;
            for number in 1..=*rows {
                let row = Row::new(list.clone(), 1, vec![1.0]);
                prepared.requests(1, &row, Message::V1, Instant::now(), || {
                    assert_eq!(made, None);
                    made = Some(number);
                    None
                });
            }
            made
        };
        rows.iter().map(of_list).collect()
    }

    #[test]
    fn an_origin_whose_lists_end_early_is_waited_for_longer_until_one_has_paid() {
        let prepared = Prepared::default();
        assert_eq!(made(&prepared, &[2, 100, 3, 2, 6, 11]), [None, Some(3), Some(3), None, Some(6), None]);
        assert_eq!(made(&prepared, &[12, 30, 50, 60, 5]), [12, 24, 48, 48, 3].map(Some));
    }
}

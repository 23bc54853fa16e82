//! Rewriting the label sets of a batch: one look-up a stream, not an entry.
//!
//! Data path: the batch's streams → the cache of answers → new streams, entries moved to their places.
//! Invariants: a batch that nothing changes is passed on as it came; streams whose label sets become equal
//! share one place, so that their entries stay in order; what is remembered is bounded.

use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, UnitWeighter};
use signal::logs::{Entry, LogBatch};
use signal::{Labels, Logs};
use smallvec::SmallVec;

/// What becomes of a stream: its labels from now on, `None` where its entries are dropped.
pub type Answer = Option<Labels>;

/// Answers by label set. The least used go first.
pub struct StreamCache {
    answers: Cache<Labels, Answer, UnitWeighter, FixedState, DefaultLifecycle<Labels, Answer>>,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl StreamCache {
    /// Of at most so many streams; at least one.
    pub fn new(streams: usize) -> Self {
        let streams = streams.max(1);
        // One shard keeps the bound exact for small caches; large ones spread their locks.
        let shards = if streams < 4096 { 1 } else { 8 };
        let options = OptionsBuilder::new()
            .estimated_items_capacity(streams)
            .weight_capacity(streams as u64)
            .shards(shards)
            .build()
            .expect("both capacities are given");
        let answers =
            Cache::with_options(options, UnitWeighter, FixedState::default(), DefaultLifecycle::default());
        Self { answers, hits: AtomicU64::new(0), misses: AtomicU64::new(0) }
    }

    /// The remembered answer, or what `work_out` says, remembered from now on.
    pub fn answer(&self, stream: &Labels, work_out: impl FnOnce(&Labels) -> Answer) -> Answer {
        if let Some(known) = self.answers.get(stream) {
            self.hits.fetch_add(1, Ordering::Relaxed);
            return known;
        }
        self.misses.fetch_add(1, Ordering::Relaxed);
        // Outside of any lock: two threads may work out the same answer once.
        let answer = work_out(stream);
        self.answers.insert(stream.clone(), answer.clone());
        answer
    }

    /// Answers remembered.
    pub fn len(&self) -> usize {
        self.answers.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Hits and misses since they were last taken.
    pub fn take_counts(&self) -> (u64, u64) {
        (self.hits.swap(0, Ordering::Relaxed), self.misses.swap(0, Ordering::Relaxed))
    }
}

/// Gives each stream of the batch the labels that `answer` says; entries of dropped streams leave it.
pub fn relabelled(mut batch: Logs, mut answer: impl FnMut(&Labels) -> Answer) -> Logs {
    let answers: SmallVec<[Answer; 8]> = batch.streams.iter().map(&mut answer).collect();
    if answers.iter().zip(&batch.streams).all(|(after, before)| after.as_ref() == Some(before)) {
        return batch;
    }
    let (streams, places) = places(answers);
    if let Some(own) = batch.get_mut() {
        own.streams = streams;
        own.entries.retain_mut(|entry| match places[entry.stream as usize] {
            Some(place) => {
                entry.stream = place;
                true
            }
            None => false,
        });
        return batch;
    }
    // Made anew from the borrowed one, for whoever sent it still holds it.
    let moved = |e: &Entry| places[e.stream as usize].map(|place| Entry { stream: place, ..e.clone() });
    LogBatch {
        streams,
        entries: batch.entries.iter().filter_map(moved).collect(),
        received_ms: batch.received_ms,
        hold: batch.hold.clone(),
    }
    .into()
}

/// The label sets that are left, each once, and the place of each old stream among them.
fn places(answers: SmallVec<[Answer; 8]>) -> (Vec<Labels>, Vec<Option<u32>>) {
    let mut streams: Vec<Labels> = Vec::with_capacity(answers.len());
    let mut known: HashMap<Labels, u32, FixedState> = HashMap::default();
    let mut place = |labels: Labels| {
        *known.entry(labels).or_insert_with_key(|labels| {
            streams.push(labels.clone());
            u32::try_from(streams.len() - 1).expect("no more streams than the batch had")
        })
    };
    let places = answers.into_iter().map(|answer| answer.map(&mut place)).collect();
    (streams, places)
}

#[cfg(test)]
mod tests {
    use signal::logs::Receipt;

    use super::*;

    fn labels(job: &str) -> Labels {
        Labels::from_pairs([("job", job)])
    }

    fn batch(receipt: &Receipt) -> Logs {
        let entry = |i: usize, stream| Entry {
            stream,
            timestamp_ns: i as i64,
            line: format!("line {i}").into(),
            metadata: None,
        };
        LogBatch {
            streams: ["a", "b", "c"].map(labels).to_vec(),
            entries: [0, 1, 2, 1, 0].into_iter().enumerate().map(|(i, s)| entry(i, s)).collect(),
            received_ms: 7,
            hold: Some(receipt.hold()),
        }
        .into()
    }

    fn lines(batch: &Logs) -> Vec<(String, String)> {
        let job = |e| batch.labels(e).get("job").unwrap_or_default().to_string();
        batch.entries.iter().map(|e| (job(e), e.line.to_string())).collect()
    }

    #[test]
    fn entries_follow_their_streams_and_equal_streams_share_a_place() {
        let answer = |before: &Labels| match before.get("job") {
            Some("a") => Some(labels("c")),
            Some("b") => None,
            _ => Some(before.clone()),
        };
        let expected = [("c", "line 0"), ("c", "line 2"), ("c", "line 4")];
        let expected = expected.map(|(a, b)| (a.to_string(), b.to_string()));
        let receipt = Receipt::new();
        let (owned, shared) = (batch(&receipt), batch(&receipt));
        let (keep, copy) = (shared.clone(), relabelled(shared, answer));
        for after in [relabelled(owned, answer), copy] {
            assert_eq!(lines(&after), expected);
            assert_eq!((after.streams.len(), after.received_ms), (1, 7));
            assert!(after.hold.is_some() && !receipt.is_settled());
        }
        assert_eq!(keep.len(), 5, "what others hold stays as it was");
    }

    #[test]
    fn a_batch_that_nothing_changes_is_passed_on_as_it_came() {
        let batch = batch(&Receipt::new());
        let sent = batch.clone();
        // Equal, but another allocation.
        let after = relabelled(batch, |l| Some(Labels::from_pairs(l.iter())));
        assert!(std::ptr::eq(&*after, &*sent));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_counted() {
        let cache = StreamCache::new(10);
        for round in 0..2 {
            let answer = cache.answer(&labels("x"), |_| if round == 0 { None } else { unreachable!() });
            assert_eq!(answer, None);
        }
        assert_eq!(cache.take_counts(), (1, 1));
        for i in 0..1000 {
            cache.answer(&labels(&i.to_string()), |l| Some(l.clone()));
        }
        assert!(cache.len() <= 10, "{}", cache.len());
        assert_eq!(cache.take_counts(), (0, 1000));
    }
}

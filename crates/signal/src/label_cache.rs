//! What a change of label sets has made of each, remembered: rules, a table of targets. Bounded.

use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::FixedState;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, UnitWeighter};

use crate::Labels;

/// What becomes of a label set: the one from now on, `None` where what it belongs to is dropped.
pub type Relabelled = Option<Labels>;

/// Relabelleds by label set. The least used go first.
pub struct LabelCache {
    answers: Cache<Labels, Relabelled, UnitWeighter, FixedState, DefaultLifecycle<Labels, Relabelled>>,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl LabelCache {
    /// Of at most so many label sets; at least one.
    pub fn new(most: usize) -> Self {
        let most = most.max(1);
        // One shard keeps the bound exact for small caches; large ones spread their locks.
        let shards = if most < 4096 { 1 } else { 8 };
        let options = OptionsBuilder::new()
            .estimated_items_capacity(most)
            .weight_capacity(most as u64)
            .shards(shards)
            .build()
            .expect("both capacities are given");
        let answers =
            Cache::with_options(options, UnitWeighter, FixedState::default(), DefaultLifecycle::default());
        Self { answers, hits: AtomicU64::new(0), misses: AtomicU64::new(0) }
    }

    /// The remembered answer, or what `work_out` says, remembered from now on.
    pub fn answer(&self, labels: &Labels, work_out: impl FnOnce(&Labels) -> Relabelled) -> Relabelled {
        if let Some(known) = self.answers.get(labels) {
            self.hits.fetch_add(1, Ordering::Relaxed);
            return known;
        }
        self.misses.fetch_add(1, Ordering::Relaxed);
        // Outside of any lock: two threads may work out the same answer once.
        let answer = work_out(labels);
        self.answers.insert(labels.clone(), answer.clone());
        answer
    }

    /// Relabelleds remembered.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(job: &str) -> Labels {
        Labels::from_pairs([("job", job)])
    }

    #[test]
    fn what_is_remembered_is_bounded_and_counted() {
        let cache = LabelCache::new(10);
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

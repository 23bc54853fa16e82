//! Rewriting the label sets of a batch of profiles, with a memory of what was worked out.
//!
//! Invariants: a batch that nothing changes is passed on as it came; bodies are never copied; what is remembered is
//! bounded.

use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::FixedState;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, UnitWeighter};
use signal::{Labels, Profiles};

/// What becomes of a profile: its labels from now on, `None` where it is dropped.
pub(crate) type Answer = Option<Labels>;

/// Answers by label set. The least used go first.
pub(crate) struct LabelCache {
    answers: Cache<Labels, Answer, UnitWeighter, FixedState, DefaultLifecycle<Labels, Answer>>,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl LabelCache {
    /// Of at most so many label sets; at least one.
    pub(crate) fn new(most: usize) -> Self {
        let most = most.max(1);
        let options = OptionsBuilder::new()
            .estimated_items_capacity(most)
            .weight_capacity(most as u64)
            // One shard keeps the bound exact; there are few profiles a second.
            .shards(1)
            .build()
            .expect("both capacities are given");
        let answers =
            Cache::with_options(options, UnitWeighter, FixedState::default(), DefaultLifecycle::default());
        Self { answers, hits: AtomicU64::new(0), misses: AtomicU64::new(0) }
    }

    /// The remembered answer, or what `work_out` says, remembered from now on.
    pub(crate) fn answer(&self, labels: &Labels, work_out: impl FnOnce(&Labels) -> Answer) -> Answer {
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

    /// Answers remembered.
    pub(crate) fn len(&self) -> usize {
        self.answers.len()
    }

    /// Hits and misses since they were last taken.
    pub(crate) fn take_counts(&self) -> (u64, u64) {
        (self.hits.swap(0, Ordering::Relaxed), self.misses.swap(0, Ordering::Relaxed))
    }
}

/// Gives each profile of the batch the labels that `answer` says; those without an answer leave it.
pub(crate) fn relabelled(mut batch: Profiles, mut answer: impl FnMut(&Labels) -> Answer) -> Profiles {
    let answers: Vec<Answer> = batch.items.iter().map(|profile| answer(&profile.labels)).collect();
    if answers.iter().zip(&batch.items).all(|(after, before)| after.as_ref() == Some(&before.labels)) {
        return batch;
    }
    let mut answers = answers.into_iter();
    batch.make_mut().items.retain(|profile| match answers.next().flatten() {
        Some(labels) => {
            profile.labels = labels;
            true
        }
        None => false,
    });
    batch
}

//! Rewriting the label sets of a batch of profiles.
//!
//! Invariants: a batch that nothing changes is passed on as it came; bodies are never copied.

use signal::label_cache::Relabelled;
use signal::{Labels, Profiles};

/// Gives each profile of the batch the labels that `answer` says; those without an answer leave it.
pub(crate) fn relabelled(mut batch: Profiles, mut answer: impl FnMut(&Labels) -> Relabelled) -> Profiles {
    let answers: Vec<Relabelled> = batch.items.iter().map(|profile| answer(&profile.labels)).collect();
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

//! What all writers are: components that end in queues, one an endpoint.
//!
//! The engine is `delivery`, which knows bytes; the encoding and the protocol are the writer's own ([`Role`]). Here
//! is the life between the two: endpoints are opened, changed, drained; ports are attached and suspended; health
//! and debug information are told.
//! Invariants: a batch is taken in only while every endpoint has a queue; before a queue is closed nothing is on its
//! way into it, or its sender is told to repeat it; a queue that is still drained when its endpoint comes back is
//! taken over as it is, whether it is on disk or in memory.

mod args;
mod estate;
mod gauges;
mod life;
mod plan;

use std::time::Duration;

use component::Rejected;

pub use args::{Fsync, OnFull, Retries, distinct};
pub use gauges::Gauges;
pub use life::{Backend, Role, run};
pub use plan::{disk, plans};

/// No limit of age: longer than any program runs.
pub const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// What several endpoints' answers to one batch come to. A refusal that can be repeated wins: the others then get
/// the batch twice, none loses it.
///
/// # Errors
/// If one has refused the batch.
pub fn answer(answers: &[Result<(), Rejected>]) -> Result<(), Rejected> {
    let retryable = answers.iter().find(|a| matches!(a, Err(Rejected::Retryable(_))));
    let first = retryable.or_else(|| answers.iter().find(|a| a.is_err()));
    first.cloned().unwrap_or(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_repeated_is_repeated_whatever_others_have_said() {
        let [permanent, retryable] =
            [Rejected::Permanent("p".into()), Rejected::Retryable("r".into())].map(Err);
        assert!(answer(&[Ok(()), Ok(())]).is_ok());
        assert!(matches!(answer(&[Ok(()), permanent.clone()]), Err(Rejected::Permanent(_))));
        assert!(matches!(answer(&[permanent, Ok(()), retryable]), Err(Rejected::Retryable(_))));
    }
}

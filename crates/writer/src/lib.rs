//! What all writers are: components that end in queues, one an endpoint.
//!
//! The engine is `delivery`, which knows bytes; the encoding and the protocol are the writer's own ([`Role`]). Here
//! is the life between the two: endpoints are opened, changed, drained; ports are attached and suspended; health
//! and debug information are told.
//! Invariants: a batch is taken in only while every endpoint has a queue; before a queue is closed nothing is on its
//! way into it, or its sender is told to repeat it.

mod args;
mod gauges;
mod life;

use component::Rejected;
use xxhash_rust::xxh64::xxh64;

pub use args::{Fsync, OnFull};
pub use gauges::Gauges;
pub use life::{Backend, Role, run};

/// A name that stays the same while an endpoint is the same back end: of its name, or of its URL where it has none.
/// A second one of the same is numbered.
pub fn key<'a>(name: &str, url: &str, mut taken: impl FnMut(&str) -> bool + 'a) -> String {
    let identity = if name.is_empty() { url } else { name };
    let plain = format!("{:016x}", xxh64(identity.as_bytes(), 0));
    let twins = (1..).map(|n| format!("{plain}-{n}"));
    let key = std::iter::once(plain.clone()).chain(twins).find(|key| !taken(key));
    key.expect("numbers do not end")
}

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
    fn keys_follow_the_name_and_twins_are_numbered() {
        let first = key("", "http://a/", |_| false);
        assert_eq!(first, key("http://a/", "http://b/", |_| false));
        assert_eq!(key("", "http://a/", |key| key == first), format!("{first}-1"));
        assert_eq!(key("", "http://a/", |key| !key.ends_with("-2")), format!("{first}-2"));
    }

    #[test]
    fn what_can_be_repeated_is_repeated_whatever_others_have_said() {
        let [permanent, retryable] =
            [Rejected::Permanent("p".into()), Rejected::Retryable("r".into())].map(Err);
        assert!(answer(&[Ok(()), Ok(())]).is_ok());
        assert!(matches!(answer(&[Ok(()), permanent.clone()]), Err(Rejected::Permanent(_))));
        assert!(matches!(answer(&[permanent, Ok(()), retryable]), Err(Rejected::Retryable(_))));
    }
}

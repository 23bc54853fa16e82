//! What the owner of a queue hands over and implements: [`Record`], [`Transport`], [`Outcome`].
//!
//! The engine never looks inside a body: how two records share a request is the transport's business.

use std::{future::Future, pin::Pin, time::Duration};

use bytes::Bytes;

use crate::stats::Amount;

/// A boxed future, the same type as `futures_util::future::BoxFuture`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One encoded batch on its way to an endpoint.
///
/// `body` may be shared with other queues. A body that is a small slice of a much larger buffer keeps the
/// whole buffer alive while it is queued; copy it first if that matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The encoded batch, opaque to the engine.
    pub body: Bytes,
    /// How many items (samples, lines, spans, profiles) the body holds; used for limits and counters.
    pub items: u32,
    /// Order key: records of one group with equal keys are delivered in the order in which they were appended.
    pub key: u64,
    /// Who the records are for, where one endpoint serves several (tenants): only records of one group are ever
    /// given to [`Transport::send`] together. One that waits may be overtaken by records of other groups.
    pub group: u64,
    /// When the batch was made, Unix milliseconds. Its age against [`Config::max_age`](crate::Config).
    pub created_ms: i64,
    /// The newest data timestamp inside, Unix milliseconds; feeds [`Stats::newest_sent_ms`](crate::Stats).
    pub newest_ms: i64,
    /// The owner's own tag (samples, metadata, protocol version, …). Only records of one kind are ever
    /// given to [`Transport::send`] together.
    pub kind: u8,
}

/// One attempt at delivery, implemented by a writer.
pub trait Transport: Send + Sync + 'static {
    /// Sends `records`: one or more of one lane, one kind and one group, oldest first, within `Config::batch_items` and
    /// `Config::batch_bytes` (a single record may exceed them).
    ///
    /// `attempt` counts from 1. The returned future may be dropped at the drain deadline or at
    /// `Config::attempt_timeout`; the records are then attempted again (or remain on disk).
    fn send<'a>(&'a self, records: &'a [Record], attempt: u32) -> BoxFuture<'a, Outcome>;

    /// Told of records of a group that the queue gives up, whatever the reason; for counters by group. Called
    /// while the queue is locked: it must neither wait nor use the queue.
    fn dropped(&self, reason: &'static str, group: u64, amount: Amount) {
        let _ = (reason, group, amount);
    }
}

/// How an attempt ended. `reason` is a short stable word: it becomes a metric label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The endpoint has all the records.
    Delivered,
    /// Try the same records again, after back-off.
    Retry {
        /// Why, and the reason under which the records are dropped if `Config::max_attempts` is reached.
        reason: &'static str,
        /// What the endpoint or the network said, for people.
        message: String,
        /// `Retry-After`, if the endpoint sent one: the whole endpoint pauses for so long.
        after: Option<Duration>,
        /// The endpoint is limiting us (HTTP 429, gRPC RESOURCE_EXHAUSTED): senders shrink to the minimum.
        /// With `Config::retry_limited` off, the records are dropped instead.
        limited: bool,
    },
    /// The endpoint will never take these records: they are dropped and counted under `reason`.
    Drop {
        /// Counter label.
        reason: &'static str,
        /// What the endpoint said, for people.
        message: String,
    },
    /// The endpoint refused the request and one record of several may be to blame: each is sent again on its
    /// own, in order. For a single record this is the same as `Drop`.
    Split {
        /// Counter label if a record is refused on its own as well.
        reason: &'static str,
        /// What the endpoint said, for people.
        message: String,
    },
}

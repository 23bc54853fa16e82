//! The way of a queue's records into the queue that takes its place.
//!
//! When an endpoint's queue moves from memory to disk, what it still holds must not be lost: from the moment
//! of the handover on, its attempts, those in flight included, put their records into the new queue.

use std::sync::OnceLock;

use delivery::{Outcome, Queue, Record};
use tokio_util::sync::CancellationToken;

/// Where a queue's records go instead of to the endpoint, once that is decided.
#[derive(Debug, Default)]
pub(super) struct Handover {
    to: OnceLock<Queue>,
    begun: CancellationToken,
}

impl Handover {
    /// From now on records go to `queue`; only the first call has an effect.
    pub(super) fn begin(&self, queue: Queue) {
        // A second successor would split the order of a series over two queues.
        let _ = self.to.set(queue);
        self.begun.cancel();
    }

    /// The successor; waits until there is one.
    pub(super) async fn begun(&self) -> &Queue {
        self.begun.cancelled().await;
        self.to.get().expect("the successor is set before the token is cancelled")
    }
}

/// Puts records into the successor, in order.
pub(super) async fn pass(records: &[Record], to: &Queue) -> Outcome {
    for record in records {
        if let Err(error) = to.append(record.clone()).await {
            let message = format!("cannot be moved to the new queue: {error}");
            return Outcome::Retry { reason: "handover", message, after: None, limited: false };
        }
    }
    Outcome::Delivered
}

//! The way of a queue's records into the queue that takes its place.
//!
//! When an endpoint's queue moves from memory to disk, what it still holds must not be lost: from the moment
//! of the handover on, its attempts, those in flight included, put their records into the new queue.

use tokio::sync::SetOnce;

use crate::{Outcome, Queue, Record};

/// Where a queue's records go instead of to the endpoint, once that is decided. Transports of the queue share it
/// and wrap their attempts in [`Handover::or`].
#[derive(Debug, Default)]
pub struct Handover {
    to: SetOnce<Queue>,
}

impl Handover {
    /// From now on records go to `queue`; only the first call has an effect.
    pub fn begin(&self, queue: Queue) {
        // A second successor would split the order of a key over two queues.
        let _ = self.to.set(queue);
    }

    /// Makes an attempt; if the handover has begun, or begins meanwhile, moves the records instead.
    pub async fn or(&self, records: &[Record], attempt: impl Future<Output = Outcome>) -> Outcome {
        tokio::select! {
            biased;
            to = self.to.wait() => pass(records, to).await,
            outcome = attempt => outcome,
        }
    }
}

/// Puts records into the successor, in order.
async fn pass(records: &[Record], to: &Queue) -> Outcome {
    for record in records {
        if let Err(error) = to.append(record.clone()).await {
            let message = format!("cannot be moved to the new queue: {error}");
            return Outcome::Retry { reason: "handover", message, after: None, limited: false };
        }
    }
    Outcome::Delivered
}

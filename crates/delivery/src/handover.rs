//! The way of a queue's records into the queue that takes its place.
//!
//! When an endpoint's queue moves from memory to disk, what it still holds must not be lost: from the moment
//! of the handover on, its attempts put their records into the new queue. Invariant: an attempt that is in flight
//! at that moment is let finish, so that what the endpoint has taken is not sent again; only one that takes longer
//! than [`GRACE`] is abandoned, and its records moved as well.

use std::time::Duration;

use tokio::sync::SetOnce;
use tokio::time::timeout;

use crate::{Outcome, Queue, Record};

/// How long an attempt in flight may go on once its queue is handed over.
const GRACE: Duration = Duration::from_secs(10);

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

    /// Makes an attempt; if the handover has begun, moves the records instead. If it begins meanwhile, what the
    /// endpoint says of the records counts, as far as it says it in time and they are not to be sent again.
    pub async fn or(&self, records: &[Record], attempt: impl Future<Output = Outcome>) -> Outcome {
        if let Some(to) = self.to.get() {
            return pass(records, to).await;
        }
        tokio::pin!(attempt);
        let to = tokio::select! {
            biased;
            outcome = &mut attempt => return outcome,
            to = self.to.wait() => to,
        };
        match timeout(GRACE, attempt).await {
            Ok(Outcome::Retry { .. }) | Err(_) => pass(records, to).await,
            Ok(outcome) => outcome,
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

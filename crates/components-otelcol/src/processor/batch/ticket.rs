//! The answer to one sender, whose data may be spread over several batches.
//!
//! Invariant: the sender is answered exactly when the last of its parts is; a part that is dropped without
//! an answer counts as refused.

use component::Rejected;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// What the parts of one sender have in common.
struct Ticket {
    worst: Mutex<Result<(), Rejected>>,
    answer: Option<oneshot::Sender<Result<(), Rejected>>>,
    /// The room that the sender's bytes take.
    _room: OwnedSemaphorePermit,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(answer) = self.answer.take() {
            // The sender may have given up; then nobody is told, and it will send again.
            let _ = answer.send(self.worst.get_mut().clone());
        }
    }
}

/// One sender's interest in a part of its data.
pub(super) struct Claim {
    ticket: Arc<Ticket>,
    answered: bool,
}

impl Claim {
    /// For a sender whose data is in one part; [`Claim::share`] makes more.
    pub(super) fn new(room: OwnedSemaphorePermit) -> (Self, oneshot::Receiver<Result<(), Rejected>>) {
        let (answer, receiver) = oneshot::channel();
        let ticket = Ticket { worst: Mutex::new(Ok(())), answer: Some(answer), _room: room };
        (Self { ticket: Arc::new(ticket), answered: false }, receiver)
    }

    /// For another part of the same sender.
    pub(super) fn share(&self) -> Self {
        Self { ticket: self.ticket.clone(), answered: false }
    }

    /// Whether both are of one sender.
    pub(super) fn is_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.ticket, &other.ticket)
    }

    /// Says what became of the part.
    pub(super) fn answer(mut self, result: Result<(), Rejected>) {
        self.answered = true;
        self.note(result);
    }

    /// Of several refusals the one after which the sender tries again wins.
    fn note(&self, result: Result<(), Rejected>) {
        let mut worst = self.ticket.worst.lock();
        let weight = |r: &Result<(), Rejected>| match r {
            Ok(()) => 0,
            Err(Rejected::Permanent(_)) => 1,
            Err(Rejected::Stopped) => 2,
            Err(Rejected::Retryable(_)) => 3,
        };
        if weight(&result) > weight(&worst) {
            *worst = result;
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.answered {
            self.note(Err(Rejected::Stopped));
        }
    }
}

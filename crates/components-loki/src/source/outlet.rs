//! Hands batches of a source over, and keeps the positions that they stand for until they are settled.
//!
//! Invariants: a batch is offered again until the sinks have it, refuse it for good, or the source stops; a
//! position is given out only when the sinks have everything up to it and nobody below keeps a part of that
//! back.

use std::collections::VecDeque;

use component::metrics::IntCounter;
use component::{Fanout, Rejected};
use signal::Logs;
use signal::logs::Receipt;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use component::OnceAMinute;

use super::pauses::Pauses;

/// So many positions wait one by one; then the newest wait together.
const MAX_WAITING: usize = 64;

/// Where batches go. The receivers can be changed while a batch waits.
pub struct Outlet {
    forward_to: watch::Sender<Fanout<Logs>>,
    refused: IntCounter,
    told: OnceAMinute,
}

/// What has become of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handed {
    /// The sinks have it, or have refused it for good: the source goes on behind it.
    Over,
    /// The source stops, and the batch is to be read again.
    Stopped,
}

impl Outlet {
    /// `refused` counts entries that are refused for good.
    pub fn new(forward_to: Fanout<Logs>, refused: IntCounter) -> Self {
        Self { forward_to: watch::Sender::new(forward_to), refused, told: OnceAMinute::default() }
    }

    /// New receivers, for the next offer of a batch.
    pub fn set(&self, forward_to: Fanout<Logs>) {
        self.forward_to.send_replace(forward_to);
    }

    /// Offers a batch until it is taken.
    pub async fn send(&self, batch: Logs, stop: &CancellationToken) -> Handed {
        let mut receivers = self.forward_to.subscribe();
        let mut pauses = Pauses::default();
        loop {
            let forward_to = receivers.borrow_and_update().clone();
            match forward_to.send(batch.clone()).await {
                Ok(()) => return Handed::Over,
                Err(Rejected::Permanent(reason)) => {
                    self.refused.inc_by(batch.len() as u64);
                    if self.told.now() {
                        tracing::error!(%reason, "entries were refused for good and are dropped");
                    }
                    return Handed::Over;
                }
                // The receiver may be about to be replaced by another.
                Err(Rejected::Retryable(_) | Rejected::Stopped) => {}
            }
            tokio::select! {
                () = stop.cancelled() => return Handed::Stopped,
                result = receivers.changed() => if result.is_err() { return Handed::Stopped },
                () = tokio::time::sleep(pauses.next()) => {}
            }
        }
    }
}

/// Positions of batches that were handed over, in order, until they are settled.
#[derive(Debug)]
pub struct Ledger<P> {
    waiting: VecDeque<(P, Vec<Receipt>)>,
}

impl<P> Default for Ledger<P> {
    fn default() -> Self {
        Self { waiting: VecDeque::new() }
    }
}

impl<P> Ledger<P> {
    /// The batch up to this position was handed over.
    pub fn add(&mut self, position: P, receipt: Receipt) {
        if self.waiting.len() < MAX_WAITING {
            self.waiting.push_back((position, vec![receipt]));
            return;
        }
        // Nothing below has let go for long: the newest ones are settled together.
        if let Some((last, receipts)) = self.waiting.back_mut() {
            *last = position;
            receipts.retain(|r| !r.is_settled());
            receipts.push(receipt);
        }
    }

    /// The furthest position up to which everything is settled, once.
    pub fn settled(&mut self) -> Option<P> {
        let mut furthest = None;
        while let Some((_, receipts)) = self.waiting.front()
            && receipts.iter().all(Receipt::is_settled)
        {
            furthest = self.waiting.pop_front().map(|(position, _)| position);
        }
        furthest
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use component::testkit::Sink;
    use signal::Labels;
    use signal::logs::{Entry, LogBuilder};

    use super::*;

    fn batch() -> Logs {
        let mut builder = LogBuilder::new(0, None);
        let stream = builder.stream(&Labels::empty());
        builder.push(Entry { stream, timestamp_ns: 0, line: "x".into(), metadata: None });
        builder.finish()
    }

    fn outlet(sink: &Sink<Logs>) -> Outlet {
        Outlet::new(Fanout::new([sink.receiver()]), IntCounter::new("refused", "Refused.").unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_is_offered_until_it_is_taken_or_refused_for_good() {
        let (sink, stop) = (Sink::new(), CancellationToken::new());
        let outlet = outlet(&sink);
        sink.answer(Err(Rejected::Retryable("later".into())));
        let offers = async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            sink.answer(Ok(()));
        };
        let (handed, ()) = tokio::join!(outlet.send(batch(), &stop), offers);
        assert_eq!((handed, sink.take().len(), outlet.refused.get()), (Handed::Over, 1, 0));
        sink.answer(Err(Rejected::Permanent("never".into())));
        assert_eq!(outlet.send(batch(), &stop).await, Handed::Over);
        assert_eq!(outlet.refused.get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn new_receivers_get_the_batch_that_waits_and_a_stop_gives_it_back() {
        let (old, new, stop) = (Sink::new(), Sink::new(), CancellationToken::new());
        let outlet = outlet(&old);
        old.answer(Err(Rejected::Stopped));
        let change = async { outlet.set(Fanout::new([new.receiver()])) };
        let (handed, ()) = tokio::join!(outlet.send(batch(), &stop), change);
        assert_eq!((handed, new.take().len()), (Handed::Over, 1));
        new.answer(Err(Rejected::Retryable("later".into())));
        let (handed, ()) = tokio::join!(outlet.send(batch(), &stop), async { stop.cancel() });
        assert_eq!(handed, Handed::Stopped);
    }

    #[test]
    fn a_position_comes_out_when_all_before_it_are_settled() {
        let mut ledger = Ledger::default();
        let receipts: Vec<_> = (0..3).map(|_| Receipt::new()).collect();
        let mut holds: Vec<_> = receipts.iter().map(|r| Some(r.hold())).collect();
        for (i, receipt) in receipts.into_iter().enumerate() {
            ledger.add(i, receipt);
        }
        holds[1] = None;
        assert_eq!(ledger.settled(), None);
        holds[0] = None;
        assert_eq!(ledger.settled(), Some(1));
        assert_eq!(ledger.settled(), None);
        holds[2] = None;
        assert_eq!(ledger.settled(), Some(2));
    }

    #[test]
    fn what_waits_is_bounded_and_nothing_comes_out_early() {
        let mut ledger = Ledger::default();
        let first = Receipt::new();
        let mut hold = Some(first.hold());
        ledger.add(0, first);
        for i in 1..1000 {
            ledger.add(i, Receipt::new());
        }
        assert_eq!((ledger.waiting.len(), ledger.settled()), (MAX_WAITING, None));
        assert!(ledger.waiting.iter().map(|(_, r)| r.len()).sum::<usize>() <= MAX_WAITING + 1);
        hold.take();
        assert_eq!(ledger.settled(), Some(999));
    }
}

//! How sources without an acknowledgement of their own hand batches over: again and again until they are taken.
//!
//! Invariant: an entry is taken, or counted as dropped with a reason. The await is the back-pressure: who waits
//! here reads nothing meanwhile.

use std::time::Duration;

use component::metrics::{IntCounterVec, NodeMetrics};
use component::{Fanout, Rejected};
use signal::Logs;
use tokio_util::sync::CancellationToken;

use component::OnceAMinute;

use super::pauses::Pauses;

/// How long a batch may wait once the source is to stop.
const GRACE: Duration = Duration::from_secs(5);

/// Hands over, and counts what nobody wants.
pub(crate) struct HandOver {
    dropped: IntCounterVec,
    warned: OnceAMinute,
}

impl HandOver {
    /// `name` is the component's, with `_` for `.`.
    pub(crate) fn new(metrics: &NodeMetrics, name: &str) -> Self {
        let dropped = metrics.counter_vec(
            &format!("{name}_dropped_entries_total"),
            "Entries that were dropped, by reason.",
            &["reason"],
        );
        Self { dropped, warned: OnceAMinute::default() }
    }

    /// Counts entries that were dropped.
    pub(crate) fn drop(&self, reason: &str, count: u64) {
        if count > 0 {
            self.dropped.with_label_values(&[reason]).inc_by(count);
        }
    }

    /// Whether to tell the log of what may come with every batch.
    pub(crate) fn may_warn(&self) -> bool {
        self.warned.now()
    }

    /// Offers a batch until it is taken; answers how many of its entries were. Receivers are asked for anew
    /// each time: they may change while the batch waits.
    pub(crate) async fn send(
        &self,
        forward_to: impl Fn() -> Fanout<Logs>,
        batch: Logs,
        stop: &CancellationToken,
    ) -> u64 {
        let count = batch.len() as u64;
        if count == 0 {
            return 0;
        }
        let too_late = async {
            stop.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::pin!(too_late);
        let mut pauses = Pauses::default();
        loop {
            let receivers = forward_to();
            let sending = receivers.send(batch.clone());
            let answer = tokio::select! {
                answer = sending => answer,
                () = &mut too_late => Err(Rejected::Permanent("the source has stopped".to_owned())),
            };
            let why = match answer {
                Ok(()) => return count,
                Err(Rejected::Permanent(why)) => {
                    self.drop(if stop.is_cancelled() { "stopped" } else { "refused" }, count);
                    if self.may_warn() {
                        tracing::warn!(error = why, entries = count, "entries were refused");
                    }
                    return 0;
                }
                Err(error) => error.to_string(),
            };
            if self.may_warn() {
                tracing::warn!(error = why, entries = count, "entries wait to be taken");
            }
            tokio::select! {
                () = tokio::time::sleep(pauses.next()) => {}
                () = &mut too_late => {
                    self.drop("stopped", count);
                    return 0;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use component::metrics::Metrics;
    use component::testkit::Sink;
    use signal::logs::{Entry, LogBatch};

    use super::*;

    fn batch() -> Logs {
        let entry = Entry { stream: 0, timestamp_ns: 0, line: "x".into(), metadata: None };
        LogBatch { streams: vec![signal::Labels::empty()], entries: vec![entry], ..LogBatch::default() }
            .into()
    }

    struct Bench {
        metrics: Metrics,
        _node: NodeMetrics,
        hand_over: Arc<HandOver>,
        sink: Arc<Sink<Logs>>,
        stop: CancellationToken,
    }

    impl Bench {
        fn new() -> Self {
            let metrics = Metrics::default();
            let node = metrics.node("x");
            let hand_over = Arc::new(HandOver::new(&node, "x"));
            Self {
                metrics,
                _node: node,
                hand_over,
                sink: Arc::new(Sink::new()),
                stop: CancellationToken::new(),
            }
        }

        fn send(&self) -> tokio::task::JoinHandle<u64> {
            let (hand_over, stop, to) = (self.hand_over.clone(), self.stop.clone(), self.sink.receiver());
            tokio::spawn(async move { hand_over.send(|| Fanout::new([to.clone()]), batch(), &stop).await })
        }

        fn dropped(&self, reason: &str) -> bool {
            self.metrics.text().contains(&format!("reason=\"{reason}\"}} 1"))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_is_offered_until_it_is_taken() {
        let bench = Bench::new();
        bench.sink.answer(Err(Rejected::Retryable("full".into())));
        let sending = bench.send();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(!sending.is_finished());
        bench.sink.answer(Ok(()));
        assert_eq!(sending.await.expect("no panic"), 1);
        assert_eq!(bench.sink.take().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_refused_for_good_or_waits_when_the_source_stops_is_counted() {
        let bench = Bench::new();
        bench.sink.answer(Err(Rejected::Permanent("never".into())));
        assert_eq!(bench.send().await.expect("no panic"), 0);
        assert!(bench.dropped("refused") && !bench.dropped("stopped"));
        bench.sink.answer(Err(Rejected::Retryable("full".into())));
        let sending = bench.send();
        tokio::time::sleep(Duration::from_secs(1)).await;
        bench.stop.cancel();
        assert_eq!(sending.await.expect("no panic"), 0);
        assert!(bench.dropped("stopped"));
    }
}

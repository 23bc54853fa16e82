//! What has come to each receiver of a graph.
//!
//! Invariants: a batch is noted when it was taken, not when it was offered, so that one that is tried again is there
//! once; the journal is bounded, and a flow that has no end breaks the test instead of the machine.

use std::collections::BTreeMap;
use std::sync::Arc;

use component::{BoxFuture, Consumer, Port, Receiver, Rejected, Signal};
use parking_lot::Mutex;
use signal::{Logs, OtlpLogs, OtlpMetrics, Profiles, Samples, Traces};

/// Batches that a test may move in all.
const MOST_BATCHES: usize = 1_000_000;

/// Everything that has come.
#[derive(Default)]
pub(crate) struct Journal(Mutex<Noted>);

#[derive(Default)]
struct Noted {
    by_node: BTreeMap<String, Received>,
    batches: usize,
}

/// What has come to one node, in order.
#[derive(Clone, Default)]
pub(crate) struct Received {
    /// The data ends here.
    pub(crate) sink: bool,
    pub(crate) samples: Vec<Samples>,
    pub(crate) logs: Vec<Logs>,
    pub(crate) traces: Vec<Traces>,
    pub(crate) metrics: Vec<OtlpMetrics>,
    pub(crate) otlp_logs: Vec<OtlpLogs>,
    pub(crate) profiles: Vec<Profiles>,
    /// Why batches were refused further on, with how often.
    pub(crate) refused: BTreeMap<String, usize>,
}

/// A signal that can be noted.
pub(crate) trait Recorded: Signal {
    fn note(self, received: &mut Received);
}

impl Recorded for Samples {
    fn note(self, received: &mut Received) {
        received.samples.push(self);
    }
}

impl Recorded for Logs {
    fn note(mut self, received: &mut Received) {
        // Whoever waits for the end of the batch does not wait for the test.
        self.make_mut().hold = None;
        received.logs.push(self);
    }
}

impl Recorded for Traces {
    fn note(self, received: &mut Received) {
        received.traces.push(self);
    }
}

impl Recorded for OtlpMetrics {
    fn note(self, received: &mut Received) {
        received.metrics.push(self);
    }
}

impl Recorded for Profiles {
    fn note(self, received: &mut Received) {
        received.profiles.push(self);
    }
}

impl Recorded for OtlpLogs {
    fn note(self, received: &mut Received) {
        received.otlp_logs.push(self);
    }
}

impl Journal {
    /// Makes a node known, before anything has come.
    pub(crate) fn open(&self, node: &str, sink: bool) {
        self.0.lock().by_node.entry(node.to_string()).or_default().sink |= sink;
    }

    /// All nodes with what has come to them.
    pub(crate) fn read<R>(&self, read: impl FnOnce(&BTreeMap<String, Received>) -> R) -> R {
        read(&self.0.lock().by_node)
    }

    fn note<T: Recorded>(&self, node: &str, batch: T) -> Result<(), Rejected> {
        let mut noted = self.0.lock();
        if noted.batches >= MOST_BATCHES {
            return Err(Rejected::Permanent(format!(
                "the test has moved {MOST_BATCHES} batches: is there a loop?"
            )));
        }
        noted.batches += 1;
        batch.note(noted.by_node.entry(node.to_string()).or_default());
        Ok(())
    }

    fn refused(&self, node: &str, why: &Rejected) {
        let mut noted = self.0.lock();
        let received = noted.by_node.entry(node.to_string()).or_default();
        *received.refused.entry(why.to_string()).or_default() += 1;
    }
}

/// Notes what passes on to a receiver, or ends here.
struct Tap<T> {
    node: String,
    journal: Arc<Journal>,
    next: Option<Receiver<T>>,
}

impl<T: Recorded> Consumer<T> for Tap<T> {
    fn consume(&self, batch: T) -> BoxFuture<'_, Result<(), Rejected>> {
        Box::pin(async move {
            if let Some(next) = &self.next
                && let Err(why) = next.send(batch.clone()).await
            {
                self.journal.refused(&self.node, &why);
                return Err(why);
            }
            self.journal.note(&self.node, batch)
        })
    }
}

/// An address that notes what comes, and passes it on to `next`.
pub(crate) fn tap<T: Recorded>(node: &str, journal: &Arc<Journal>, next: Option<Receiver<T>>) -> Receiver<T> {
    let port = Port::detached(node);
    let _ = port.attach(Tap { node: node.to_string(), journal: journal.clone(), next });
    port.receiver()
}

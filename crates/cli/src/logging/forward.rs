//! Our own lines on their way to log receivers: one lane for each receiver of `write_to`.
//!
//! Data path: `push` (never waits) → the lane's queue → its task, which hands batches over and repeats what
//! is refused for now. Invariants: a queue is bounded in lines and bytes, the oldest go first, each is
//! counted; what a lane's own task logs, and what others log in it, is never put into a lane.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use component::metrics::{IntCounterVec, Opts};
use component::{Receiver, Rejected};
use parking_lot::Mutex;
use signal::logs::{Entry, LogBatch};
use signal::{Labels, Logs};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// Name of the span that a lane's task runs in.
pub const SPAN: &str = "logging.write_to";

/// Bounds of one lane's queue.
pub const MAX_LINES: usize = 8192;
const MAX_BYTES: usize = 4 << 20;
/// Lines handed over at a time.
const BATCH: usize = 1024;
/// Between two attempts to hand a batch over.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// A receiver that is no longer written to is given this long to take what waits for it.
const GRACE: Duration = Duration::from_secs(5);
/// How often drops are told.
const TELL: Duration = Duration::from_secs(60);

/// A line that waits.
struct Waiting {
    timestamp_ns: i64,
    line: ByteString,
}

/// The way to one receiver. Dropping it lets the task hand over what waits, within [`GRACE`].
pub struct Lane {
    receiver: Receiver<Logs>,
    shared: Arc<Shared>,
}

struct Shared {
    queue: Mutex<Queue>,
    /// There is something to do, or the lane is closed.
    wake: Notify,
    /// Nothing waits any more.
    idle: Notify,
    closed: CancellationToken,
    dropped: IntCounterVec,
}

#[derive(Default)]
struct Queue {
    lines: VecDeque<Waiting>,
    bytes: usize,
    in_flight: usize,
    /// Lost to a full queue and not told yet.
    lost: u64,
}

/// The counter of lines that reach no receiver.
pub fn counter() -> IntCounterVec {
    let help = "Own log lines that did not reach a receiver of logging.write_to.";
    let opts = Opts::new("alloy_logging_write_to_dropped_lines_total", help);
    IntCounterVec::new(opts, &["receiver", "reason"]).expect("a constant name")
}

impl Lane {
    /// Starts the lane's task.
    pub fn open(receiver: Receiver<Logs>, dropped: IntCounterVec, runtime: &tokio::runtime::Handle) -> Self {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            wake: Notify::new(),
            idle: Notify::new(),
            closed: CancellationToken::new(),
            dropped,
        });
        let task = run(receiver.clone(), shared.clone());
        // Outside of whatever span the configuration is evaluated in.
        let span = tracing::info_span!(parent: None, SPAN, receiver = receiver.owner());
        runtime.spawn(task.instrument(span));
        Self { receiver, shared }
    }

    /// Where it leads.
    pub fn receiver(&self) -> &Receiver<Logs> {
        &self.receiver
    }

    /// Adds a line. Never waits, and never logs: the log is locked.
    pub fn push(&self, timestamp_ns: i64, line: ByteString) {
        let mut queue = self.shared.queue.lock();
        queue.bytes += line.len();
        queue.lines.push_back(Waiting { timestamp_ns, line });
        let mut lost = 0;
        while queue.lines.len() > MAX_LINES || (queue.bytes > MAX_BYTES && queue.lines.len() > 1) {
            let oldest = queue.lines.pop_front().expect("longer than the bound");
            queue.bytes -= oldest.line.len();
            lost += 1;
        }
        queue.lost += lost;
        drop(queue);
        if lost > 0 {
            self.shared.count(&self.receiver, "queue_full", lost);
        }
        self.shared.wake.notify_one();
    }

    /// Returns when nothing waits; `false`: not by `deadline`.
    pub fn idle(&self, deadline: Instant) -> impl Future<Output = bool> + use<> {
        let shared = self.shared.clone();
        async move {
            let idle = async {
                loop {
                    let idle = shared.idle.notified();
                    if shared.queue.lock().is_idle() {
                        return;
                    }
                    idle.await;
                }
            };
            tokio::time::timeout_at(deadline, idle).await.is_ok()
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.shared.closed.cancel();
    }
}

impl Queue {
    fn is_idle(&self) -> bool {
        self.lines.is_empty() && self.in_flight == 0
    }

    fn take(&mut self) -> Vec<Waiting> {
        let count = self.lines.len().min(BATCH);
        let taken: Vec<_> = self.lines.drain(..count).collect();
        self.bytes -= taken.iter().map(|w| w.line.len()).sum::<usize>();
        self.in_flight = taken.len();
        taken
    }
}

impl Shared {
    fn count(&self, receiver: &Receiver<Logs>, reason: &str, lines: u64) {
        self.dropped.with_label_values(&[receiver.owner(), reason]).inc_by(lines);
    }

    /// The next lines; `None` when the lane is closed and empty.
    async fn next(&self) -> Option<Vec<Waiting>> {
        loop {
            let taken = self.queue.lock().take();
            if !taken.is_empty() {
                return Some(taken);
            }
            if self.closed.is_cancelled() {
                return None;
            }
            tokio::select! {
                () = self.wake.notified() => {}
                () = self.closed.cancelled() => {}
            }
        }
    }

    fn done(&self) {
        let mut queue = self.queue.lock();
        queue.in_flight = 0;
        let idle = queue.is_idle();
        drop(queue);
        if idle {
            self.idle.notify_waiters();
        }
    }
}

async fn run(receiver: Receiver<Logs>, shared: Arc<Shared>) {
    let grace = async {
        shared.closed.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        () = deliver_all(&receiver, &shared) => {}
        () = grace => {
            let queue = std::mem::take(&mut *shared.queue.lock());
            let lines = (queue.lines.len() + queue.in_flight) as u64;
            shared.count(&receiver, "receiver_gone", lines);
            tracing::warn!(lines, "own log lines did not reach a receiver that is no longer written to");
        }
    }
    shared.done();
}

async fn deliver_all(receiver: &Receiver<Logs>, shared: &Shared) {
    let mut told: Option<Instant> = None;
    while let Some(lines) = shared.next().await {
        let count = lines.len() as u64;
        let refused = deliver(receiver, batch(lines)).await;
        if refused.is_some() {
            shared.count(receiver, "rejected", count);
        }
        let lost = shared.queue.lock().lost;
        if (lost > 0 || refused.is_some()) && told.is_none_or(|t| t.elapsed() >= TELL) {
            told = Some(Instant::now());
            shared.queue.lock().lost = 0;
            let refused = refused.unwrap_or_default();
            tracing::warn!(lost, refused, "own log lines did not reach a receiver of logging.write_to");
        }
        shared.done();
    }
}

/// Hands a batch over for as long as it takes; answers why it is refused for good.
async fn deliver(receiver: &Receiver<Logs>, batch: Logs) -> Option<String> {
    let mut pause = BACKOFF.0;
    loop {
        match receiver.send(batch.clone()).await {
            Ok(()) => return None,
            Err(Rejected::Permanent(reason)) => return Some(reason),
            // A component that has stopped is started again by a reload, behind the same address.
            Err(Rejected::Retryable(_) | Rejected::Stopped) => {}
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(BACKOFF.1);
    }
}

/// Lines with the label that Alloy gives its own.
fn batch(lines: Vec<Waiting>) -> Logs {
    let entry = |w: Waiting| Entry { stream: 0, timestamp_ns: w.timestamp_ns, line: w.line, metadata: None };
    LogBatch {
        streams: vec![Labels::from_pairs([("component", "alloy")])],
        entries: lines.into_iter().map(entry).collect(),
        received_ms: jiff::Timestamp::now().as_millisecond(),
        hold: None,
    }
    .into()
}

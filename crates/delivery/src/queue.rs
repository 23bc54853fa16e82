//! The handle of a queue, and the task that drives its senders.
//!
//! Everything that decides is in `Engine`, behind one lock that is never held across an await; this file waits,
//! spawns and wakes.

use std::{collections::HashMap, io, path::PathBuf, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, OwnedMutexGuard},
    task::{AbortHandle, Id, JoinError, JoinHandle, JoinSet, spawn_blocking},
    time::{Instant, sleep_until, timeout, timeout_at},
};
use tracing::Instrument;

use crate::{
    Amount, Config, Drained, Outcome, Record, Stats, Transport,
    attempt::attempt,
    engine::{Accepted, Ended, Engine, Moment, Refused, tracks_sync},
    fs::{Fs, RealFs},
    log::Log,
};

/// How long an append waits before it tries a failing disk again.
const DISK_RETRY: Duration = Duration::from_secs(1);

/// A queue and its senders; a cheap handle. When the last handle is dropped, senders stop where they are:
/// what is on disk stays there, what is in memory only is lost. [`Queue::drain`] is the orderly way.
#[derive(Clone)]
pub struct Queue {
    handle: Arc<Handle>,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

/// Stops the driver, and with it all attempts, when the last [`Queue`] goes.
struct Handle {
    inner: Arc<Inner>,
    driver: AbortHandle,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Why a queue could not be opened. Damaged files are never a reason.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another queue, of this process or another, holds the folder.
    #[error("queue folder {path} is in use by another process or component; give each queue its own folder")]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The folder cannot be created, listed or locked.
    #[error("cannot open queue folder {path}: {source}")]
    Io {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Why a record was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// `OnFull::Reject` and no room; the record is counted as `queue_full`.
    #[error("the queue is full")]
    Full,
    /// The record alone exceeds the queue's budget or the format's limit of 256 MiB.
    #[error("a record of {bytes} bytes does not fit the queue's limit of {limit} bytes")]
    TooLarge {
        /// Its body.
        bytes: u64,
        /// The largest body accepted.
        limit: u64,
    },
    /// `drain` has begun.
    #[error("the queue is closed")]
    Closed,
    /// The disk failed and the policy is not to wait. After a failed `fsync` the record may still be delivered.
    #[error("cannot write to the queue: {0}")]
    Io(#[from] std::io::Error),
}

impl AppendError {
    /// Whether the same record may be accepted later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, AppendError::Full | AppendError::Io(_))
    }
}

/// A change that a running queue cannot make: the owner drains it and opens another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the queue folder of a running queue cannot change; drain it and open a new queue")]
pub struct FolderChanged;

impl Queue {
    /// Opens a queue and starts its senders on the current tokio runtime.
    ///
    /// What an earlier process left in the folder is queued again; damaged files are set aside and counted.
    pub async fn open(config: Config, transport: Arc<dyn Transport>) -> Result<Queue, OpenError> {
        let fs = config.disk.as_ref().map(|disk| Arc::new(RealFs::new(&disk.path)) as Arc<dyn Fs>);
        let surroundings = Surroundings { fs, clock: Arc::new(SystemClock), seed: fastrand::u64(..) };
        Queue::open_in(config, transport, surroundings).await
    }

    pub(crate) async fn open_in(
        config: Config,
        transport: Arc<dyn Transport>,
        surroundings: Surroundings,
    ) -> Result<Queue, OpenError> {
        let Surroundings { fs, clock, seed } = surroundings;
        let disk = match (&config.disk, fs) {
            (Some(disk), Some(fs)) => {
                let path = disk.path.clone();
                let syncs = tracks_sync(&config);
                let slow = fs.sync_is_slow();
                match run(slow, move || Log::open(fs, syncs, seed)).await {
                    Ok(Some(opened)) => Some(opened),
                    Ok(None) => return Err(OpenError::InUse { path }),
                    Err(source) => return Err(OpenError::Io { path, source }),
                }
            }
            _ => None,
        };
        let origin = Instant::now();
        let now = Moment { at: 0, unix_ms: clock.unix_ms() };
        let inner = Arc::new(Inner {
            engine: Mutex::new(Engine::new(config, transport, disk, seed, now)),
            origin,
            clock,
            wake: Notify::new(),
            space: Notify::new(),
            emptied: Notify::new(),
            turn: tokio::sync::Mutex::new(()),
            synced: tokio::sync::Mutex::new(0),
            sent_back: Notify::new(),
            drained: Arc::default(),
            driver: Mutex::new(None),
        });
        let driver = tokio::spawn(drive(inner.clone()).in_current_span());
        let abort = driver.abort_handle();
        *inner.driver.lock() = Some(driver);
        Ok(Queue { handle: Arc::new(Handle { inner, driver: abort }) })
    }

    /// Commits a record. `Ok`: it is in the file (in the page cache, or on the device under `Fsync::Always`),
    /// or queued when the queue has no disk.
    ///
    /// Waits while the queue is full or the disk fails under `OnFull::Block`; waiting calls are served in
    /// order. Cancelling a waiting call appends nothing.
    pub async fn append(&self, record: Record) -> Result<(), AppendError> {
        let inner = &self.handle.inner;
        let accepted = match inner.append_now(&record, false) {
            Some(Ok(accepted)) => accepted,
            Some(Err(refused)) if !refused.waits() => return Err(refused.into_error(&record)),
            _ => inner.append_in_turn(&record).await?,
        };
        if accepted.wake {
            inner.wake.notify_one();
        }
        if let Some(sequence) = accepted.sync {
            // A task of its own: a cancelled caller must not leave a sync half done for those who share it.
            let synced = tokio::spawn(inner.clone().sync(Some(sequence)).in_current_span());
            synced.await.map_err(io::Error::other)??;
        }
        Ok(())
    }

    /// Uses another transport from the next attempt on, at once: back-off and pauses begin anew.
    pub fn set_transport(&self, transport: Arc<dyn Transport>) {
        self.handle.inner.engine.lock().set_transport(transport);
        self.handle.inner.wake.notify_one();
    }

    /// Applies new limits without losing or reordering anything. A queue that is over a smaller limit shrinks
    /// as it is delivered (or at the next `append` under `OnFull::DropOldest`).
    ///
    /// # Errors
    /// If `config.disk` names another folder, or turns the disk on or off; nothing is changed then.
    pub fn reconfigure(&self, config: Config) -> Result<(), FolderChanged> {
        let inner = &self.handle.inner;
        let now = inner.now();
        if !inner.engine.lock().reconfigure(config, now) {
            return Err(FolderChanged);
        }
        inner.wake.notify_one();
        inner.space.notify_one();
        Ok(())
    }

    /// What is queued now is delivered before anything that is appended from now on, whatever the keys: for an
    /// owner that changes how it makes keys.
    pub fn fence(&self) {
        self.handle.inner.engine.lock().fence();
    }

    /// A snapshot for metrics, health and the UI.
    pub fn stats(&self) -> Stats {
        let now = self.handle.inner.now();
        self.handle.inner.engine.lock().stats(now)
    }

    /// Refuses further records, sends what is queued until `deadline`, stops the senders and releases the
    /// folder. The rest stays on disk, or is counted as dropped (`shutdown`) if there is none.
    ///
    /// A second call waits for the first and answers the same. A call that is dropped leaves the queue closed and
    /// its senders at work: another one goes on with it, or [`Queue::reopen`] takes it back.
    pub async fn drain(&self, deadline: Duration) -> Drained {
        let inner = &self.handle.inner;
        let drained = inner.drained.clone().lock_owned().await;
        if let Some(drained) = *drained {
            return drained;
        }
        let sent_before = {
            let mut engine = inner.engine.lock();
            engine.close();
            engine.stats(inner.now()).sent
        };
        inner.space.notify_one();
        inner.wake.notify_one();
        // Too far a deadline cannot be represented; a year is as good.
        let until = Instant::now() + deadline.min(Duration::from_secs(365 * 86_400));
        while !inner.engine.lock().is_drained() {
            if timeout_at(until, inner.emptied.notified()).await.is_err() {
                break;
            }
        }
        inner.engine.lock().end();
        // A task of its own: from here on there is no way back, whoever waits for it.
        let end = tokio::spawn(inner.clone().end(drained, sent_before).in_current_span());
        match end.await {
            Ok(drained) => drained,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime is shutting down, and with it the task that asked.
            Err(_) => std::future::pending().await,
        }
    }

    /// Takes records again, if a drain has begun and was given up before it was over; `false` if the queue has
    /// come to its end. What waited for room when the drain began has been sent back by then.
    pub async fn reopen(&self) -> bool {
        let inner = &self.handle.inner;
        loop {
            let sent_back = inner.sent_back.notified();
            tokio::pin!(sent_back);
            sent_back.as_mut().enable();
            if let Some(opened) = inner.engine.lock().reopen() {
                return opened;
            }
            sent_back.await;
        }
    }
}

/// What a queue takes from outside, so that tests can replace it.
pub(crate) struct Surroundings {
    pub fs: Option<Arc<dyn Fs>>,
    pub clock: Arc<dyn Clock>,
    pub seed: u64,
}

/// The wall clock.
pub(crate) trait Clock: Send + Sync + 'static {
    fn unix_ms(&self) -> i64;
}

struct SystemClock;

impl Clock for SystemClock {
    fn unix_ms(&self) -> i64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

struct Inner {
    engine: Mutex<Engine>,
    origin: Instant,
    clock: Arc<dyn Clock>,
    /// The driver should look at the engine.
    wake: Notify,
    /// Room may have been made; awaited only by the holder of `turn`.
    space: Notify,
    /// Everything is delivered and the queue is closing.
    emptied: Notify,
    /// Nothing waits for room any more in a queue that is closed.
    sent_back: Notify,
    /// Orders appends that wait.
    turn: tokio::sync::Mutex<()>,
    /// Every record below this number is on the device. Held while syncing, so that waiters share one.
    synced: tokio::sync::Mutex<u64>,
    drained: Arc<tokio::sync::Mutex<Option<Drained>>>,
    driver: Mutex<Option<JoinHandle<()>>>,
}

impl Inner {
    fn now(&self) -> Moment {
        Moment { at: self.origin.elapsed().as_millis() as i64, unix_ms: self.clock.unix_ms() }
    }

    /// `None`: others wait already and go first.
    fn append_now(&self, record: &Record, is_turn: bool) -> Option<Result<Accepted, Refused>> {
        let now = self.now();
        let mut engine = self.engine.lock();
        (is_turn || engine.waiting == 0).then(|| engine.append(record, now))
    }

    async fn append_in_turn(&self, record: &Record) -> Result<Accepted, AppendError> {
        let _waiting = Waiting::new(self);
        let _turn = self.turn.lock().await;
        loop {
            match self.append_now(record, true) {
                Some(Ok(accepted)) => return Ok(accepted),
                Some(Err(Refused::Full { wait: true })) | None => self.space.notified().await,
                // Space on the device may come from elsewhere, so look again without being told.
                Some(Err(Refused::Io { wait: true, .. })) => {
                    let _ = timeout(DISK_RETRY, self.space.notified()).await;
                }
                Some(Err(refused)) => return Err(refused.into_error(record)),
            }
        }
    }

    /// Forces appended records to the device, up to `sequence` at least.
    async fn sync(self: Arc<Self>, sequence: Option<u64>) -> io::Result<()> {
        let mut synced = self.synced.lock().await;
        if sequence.is_some_and(|sequence| sequence < *synced) {
            return Ok(());
        }
        let (unsynced, end, fs) = {
            let mut engine = self.engine.lock();
            // Without a log the queue has been closed, which synced it.
            let Some(log) = engine.log_mut() else { return Ok(()) };
            (log.take_unsynced(), log.next_sequence(), log.fs().clone())
        };
        let (result, unsynced) = run(fs.sync_is_slow(), move || (unsynced.sync(&*fs), unsynced)).await;
        match &result {
            Ok(()) => *synced = end,
            Err(error) => self.engine.lock().sync_failed(unsynced, error, self.now()),
        }
        result
    }

    /// Begins every attempt that is due; answers when to look again.
    fn begin_attempts(self: &Arc<Self>, attempts: &mut Attempts) -> Option<Instant> {
        let now = self.now();
        let mut engine = self.engine.lock();
        engine.expire_all(now);
        while let Some(job) = engine.next_job(now) {
            let lane = job.lane;
            let work = attempt(job, engine.fs(), engine.attempt_timeout()).in_current_span();
            attempts.lanes.insert(attempts.tasks.spawn(work).id(), lane);
        }
        if engine.take_due_sync(now) {
            tokio::spawn(self.clone().sync(None).in_current_span());
        }
        self.tell(&engine);
        let at = engine.next_wake()?;
        Some(self.origin + Duration::from_millis(at.max(now.at).cast_unsigned()))
    }

    /// Wakes those who wait for room or for the end.
    fn tell(&self, engine: &Engine) {
        if engine.waiting > 0 {
            self.space.notify_one();
        }
        if engine.is_drained() {
            self.emptied.notify_one();
        }
    }

    fn finish(&self, lane: usize, ended: Ended) {
        let now = self.now();
        self.engine.lock().finish(lane, ended, now);
    }

    /// What is left of a drain when its time is over.
    async fn end(
        self: Arc<Self>,
        mut drained: OwnedMutexGuard<Option<Drained>>,
        sent_before: Amount,
    ) -> Drained {
        let driver = self.driver.lock().take();
        if let Some(driver) = driver {
            driver.abort();
            // Ended either way; a panic in it has been reported by the runtime.
            let _ = driver.await;
        }
        let mut result = self.shut().await;
        result.sent = self.engine.lock().stats(self.now()).sent;
        result.sent -= sent_before;
        *drained = Some(result);
        result
    }

    /// The last step of a drain: nothing runs any more.
    async fn shut(&self) -> Drained {
        let _synced = self.synced.lock().await;
        let now = self.now();
        let (log, drained) = {
            let mut engine = self.engine.lock();
            engine.abandon_attempts();
            match engine.take_log() {
                Some(log) => (Some(log), Drained { left: engine.stats(now).queued, ..Drained::default() }),
                None => (None, Drained { dropped: engine.drop_all(now), ..Drained::default() }),
            }
        };
        if let Some(log) = log {
            let slow = log.fs().sync_is_slow();
            if let Err(error) = run(slow, move || log.close()).await {
                self.engine.lock().note_error(now, "disk", &error.to_string());
            }
        }
        drained
    }
}

/// Counts an append as waiting for as long as it lives.
struct Waiting<'a>(&'a Inner);

impl Waiting<'_> {
    fn new(inner: &Inner) -> Waiting<'_> {
        inner.engine.lock().waiting += 1;
        Waiting(inner)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut engine = self.0.engine.lock();
        engine.waiting -= 1;
        let sent_back = engine.is_closed() && engine.waiting == 0;
        drop(engine);
        if sent_back {
            self.0.sent_back.notify_waiters();
        }
    }
}

impl Refused {
    fn waits(&self) -> bool {
        matches!(self, Refused::Full { wait: true } | Refused::Io { wait: true, .. })
    }

    fn into_error(self, record: &Record) -> AppendError {
        match self {
            Refused::Full { .. } => AppendError::Full,
            Refused::TooLarge { limit } => AppendError::TooLarge { bytes: record.body.len() as u64, limit },
            Refused::Closed => AppendError::Closed,
            Refused::Io { error, .. } => AppendError::Io(error),
        }
    }
}

/// The attempts that run, and the lane of each.
#[derive(Default)]
struct Attempts {
    tasks: JoinSet<Ended>,
    lanes: HashMap<Id, usize>,
}

impl Attempts {
    /// The next attempt that ends. One that panicked counts as a refusal, so that a record that makes its
    /// transport panic cannot hold up its lane for ever.
    fn settle(&mut self, joined: Result<(Id, Ended), JoinError>) -> Option<(usize, Ended)> {
        match joined {
            Ok((id, ended)) => Some((self.lanes.remove(&id)?, ended)),
            Err(error) => {
                let lane = self.lanes.remove(&error.id())?;
                let outcome = Outcome::Split { reason: "panic", message: error.to_string() };
                Some((lane, Ended { outcome: Some(outcome), ..Ended::default() }))
            }
        }
    }
}

/// Runs until aborted; aborting it aborts the attempts.
async fn drive(inner: Arc<Inner>) {
    let mut attempts = Attempts::default();
    loop {
        let next = inner.begin_attempts(&mut attempts);
        let timer = async {
            match next {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some(joined) = attempts.tasks.join_next_with_id() => {
                if let Some((lane, ended)) = attempts.settle(joined) {
                    inner.finish(lane, ended);
                }
            }
            () = inner.wake.notified() => {}
            () = timer => {}
        }
    }
}

/// Runs `work` here, or on a thread for blocking work if it may be slow.
async fn run<T: Send + 'static>(slow: bool, work: impl FnOnce() -> T + Send + 'static) -> T {
    if !slow {
        return work();
    }
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime is shutting down, and with it the task that asked.
        Err(_) => std::future::pending().await,
    }
}

//! Reads what is ready and hands it on, on a few workers that all targets share.
//!
//! Data path: queue of targets with data → one read of one file → one batch → answer → back to the end of the
//! queue. So no file keeps others waiting, memory is bounded by the number of workers and not of files, and a
//! sink that does not answer stops all reading. What is refused waits with its target, within a budget; beyond
//! that it is read again.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use component::{OnceAMinute, Rejected};
use parking_lot::Mutex;
use signal::logs::{LogBatch, Receipt};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::generation::{Desk, Generation, Piece, buffer_size};
use crate::handle::{Handle, Mode, Slots};
use crate::inotify::Inotify;
use crate::lines::Split;
use crate::registry::Registry;
use crate::tail::{Job, State, Surroundings, Tail};
use crate::{Batch, FileFacts, Metrics, Outlet, Settings};

/// Batches in flight at once.
pub const WORKERS: usize = 4;

/// How long a file that was read to its end rests, so that a writer of small lines makes few batches.
const PACE: Duration = Duration::from_millis(50);

/// Bytes of refused batches that are kept rather than read again.
const KEPT_BYTES: usize = 8 << 20;

/// Buffers that are kept for the next read; a batch that still borrows one is not waited for.
const KEPT_BUFFERS: usize = 8;

/// Waits between tries of a refused batch.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Reads of a rotated file that may fail in a row.
const MOST_FAILURES: u32 = 10;

/// What workers and keeper share.
pub struct Engine {
    pub(crate) settings: ArcSwap<Settings>,
    outlet: ArcSwap<Box<dyn Outlet>>,
    pub(crate) metrics: Metrics,
    pub(crate) registry: Registry,
    slots: Slots,
    /// So many files are kept open at most.
    pub most_open: usize,
    pub(crate) damaged: Mutex<Option<SystemTime>>,
    pub(crate) inotify: Option<Inotify>,
    pub(crate) refolder: AtomicBool,
    queue: Mutex<VecDeque<Arc<Tail>>>,
    queued: Semaphore,
    /// The keeper has something to do sooner than it thought.
    pub(crate) wake: Notify,
    start: Instant,
    buffers: Mutex<VecDeque<Bytes>>,
    kept: AtomicUsize,
    /// No further turns.
    pub(crate) stopping: CancellationToken,
    /// Answers are not waited for any more.
    pub(crate) abandon: CancellationToken,
    refusals: OnceAMinute,
    pub(crate) shown: Mutex<Vec<Arc<Tail>>>,
}

/// What the UI shows of a target.
pub struct Shown {
    /// Path.
    pub path: String,
    /// Labels.
    pub labels: String,
    /// A file is open.
    pub is_running: bool,
    /// How far it was delivered.
    pub read_offset: u64,
}

/// What a turn came to.
enum Turn {
    /// There is more.
    More,
    /// Read to the end.
    Idle,
    /// To be tried again after a while.
    Later(Duration),
}

impl Engine {
    /// Without targets.
    pub fn new(settings: Settings, outlet: impl Outlet, metrics: Metrics) -> Self {
        let inotify = Inotify::new().inspect_err(
            |error| tracing::warn!(%error, "files are only polled: the kernel gives no watches"),
        );
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(1 << 20);
        Self {
            settings: ArcSwap::from_pointee(settings),
            outlet: ArcSwap::from_pointee(Box::new(outlet)),
            metrics,
            registry: Registry::default(),
            slots: Slots::default(),
            most_open: usize::try_from(limit / 2).unwrap_or(usize::MAX).clamp(16, 8192),
            damaged: Mutex::default(),
            inotify: inotify.ok(),
            refolder: AtomicBool::new(false),
            queue: Mutex::default(),
            queued: Semaphore::new(0),
            wake: Notify::new(),
            start: Instant::now(),
            buffers: Mutex::default(),
            kept: AtomicUsize::new(0),
            stopping: CancellationToken::new(),
            abandon: CancellationToken::new(),
            refusals: OnceAMinute::default(),
            shown: Mutex::default(),
        }
    }

    /// Puts settings and receivers in force.
    pub fn configure(&self, settings: Settings, outlet: impl Outlet) {
        self.settings.store(Arc::new(settings));
        self.outlet.store(Arc::new(Box::new(outlet)));
    }

    /// As where the kernel tells of no changes.
    pub fn only_poll(&mut self) {
        self.inotify = None;
    }

    /// The engine's clock.
    pub fn now_ms(&self) -> u64 {
        self.ms_of(Instant::now())
    }

    fn ms_of(&self, time: Instant) -> u64 {
        time.saturating_duration_since(self.start).as_millis() as u64
    }

    /// When a time of [`Engine::now_ms`] is.
    pub fn instant_of(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    /// Looks at a target at a time, or sooner if that was planned.
    pub fn look_at(&self, tail: &Tail, ms: u64) {
        if tail.due.fetch_min(ms, Ordering::Relaxed) > ms {
            self.wake.notify_one();
        }
    }

    /// The kernel told of a change of a target's file.
    pub fn file_changed(&self, tail: &Tail) {
        tail.armed.store(false, Ordering::Relaxed);
        let rested = tail.last_read.load(Ordering::Relaxed) + PACE.as_millis() as u64;
        self.look_at(tail, rested.max(self.now_ms()));
    }

    /// Puts a target at the end of the queue, unless it is in work already.
    pub fn ready(&self, tail: &Arc<Tail>) {
        if !tail.busy.swap(true, Ordering::AcqRel) {
            self.push(tail.clone());
        }
    }

    fn push(&self, tail: Arc<Tail>) {
        self.queue.lock().push_back(tail);
        self.queued.add_permits(1);
    }

    /// Calls `look` with what a look at a target needs.
    pub fn with_surroundings<R>(&self, look: impl FnOnce(&Surroundings<'_>) -> R) -> R {
        let settings = self.settings.load();
        look(&Surroundings {
            settings: &settings,
            registry: &self.registry,
            damaged: *self.damaged.lock(),
            slots: &self.slots,
            most_open: self.most_open,
            refolder: &self.refolder,
        })
    }

    /// How many files are kept open.
    pub fn taken(&self) -> usize {
        self.slots.taken()
    }

    /// For the UI.
    pub fn shown(&self) -> Vec<Shown> {
        let tails = self.shown.lock().clone();
        let show = |tail: &Arc<Tail>| {
            let mut state = tail.state.lock();
            Shown {
                path: tail.key.path.clone(),
                labels: tail.key.labels.clone(),
                is_running: state.current().is_some(),
                read_offset: state.files.back().map_or(0, |f| f.committed.offset),
            }
        };
        tails.iter().map(show).collect()
    }

    /// Works until the component stops; `_alive` is dropped at the end.
    pub async fn work(self: Arc<Self>, _alive: mpsc::Sender<()>) {
        let mut buffer = BytesMut::new();
        loop {
            let permit = tokio::select! {
                biased;
                () = self.stopping.cancelled() => return,
                permit = self.queued.acquire() => permit,
            };
            permit.expect("the semaphore is never closed").forget();
            let Some(tail) = self.queue.lock().pop_front() else { continue };
            match self.turn(&tail, &mut buffer).await {
                Turn::More => self.push(tail),
                Turn::Idle => self.rest(&tail),
                Turn::Later(wait) => {
                    tail.busy.store(false, Ordering::Release);
                    self.look_at(&tail, self.now_ms() + wait.as_millis() as u64);
                }
            }
        }
    }

    /// A target has been read to the end of its files.
    fn rest(&self, tail: &Tail) {
        let now = self.now_ms();
        tail.last_read.store(now, Ordering::Relaxed);
        let mut again = false;
        {
            let mut state = tail.state.lock();
            if let (Some(inotify), Some(file)) = (&self.inotify, state.current())
                && let Some(handle) = &file.handle
                && !handle.is_packed()
            {
                // Set before the watch is there: its event may come, and take it back, before `arm` has returned.
                if !tail.armed.swap(true, Ordering::Relaxed) && !inotify.arm(handle.file(), tail.number) {
                    tail.armed.store(false, Ordering::Relaxed);
                }
                // What was written before the watch was there is not told.
                again = handle.metadata().is_ok_and(|m| m.len() != file.size);
            }
            tail.busy.store(false, Ordering::Release);
            again |= state.next_file().is_some();
        }
        if again {
            self.look_at(tail, now + PACE.as_millis() as u64);
        }
    }

    async fn turn(self: &Arc<Self>, tail: &Arc<Tail>, buffer: &mut BytesMut) -> Turn {
        let refused = tail.state.lock().refused.take();
        let job = match refused {
            Some(job) => {
                self.kept.fetch_sub(job.bytes, Ordering::Relaxed);
                Ok(Some(job))
            }
            None => match self.read(tail, buffer, Mode::Inline) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.read_blocking(tail, buffer).await,
                other => other,
            },
        };
        match job {
            Ok(Some(job)) => self.deliver(tail, job).await,
            Ok(None) => Turn::Idle,
            Err(error) => {
                tracing::warn!(%error, path = %tail.path.display(), "the file could not be read; it is tried again");
                self.failed(tail);
                Turn::Later(Duration::from_secs(1))
            }
        }
    }

    /// Opens a file anew that could not be read, as network file systems need it; gives up one that was rotated
    /// away and stays like that, as it holds up those after it.
    fn failed(&self, tail: &Tail) {
        let mut state = tail.state.lock();
        let Some(file) = state.next_file() else { return };
        file.failures += 1;
        if file.rotated.is_none() {
            file.handle = None;
        } else if file.failures >= MOST_FAILURES {
            tracing::error!(path = %file.path.display(), "a rotated file cannot be read; its rest is lost");
            file.done = true;
        }
    }

    async fn read_blocking(
        self: &Arc<Self>,
        tail: &Arc<Tail>,
        buffer: &mut BytesMut,
    ) -> io::Result<Option<Job>> {
        let (engine, tail, mut taken) = (self.clone(), tail.clone(), std::mem::take(buffer));
        let read = tokio::task::spawn_blocking(move || {
            let job = engine.read(&tail, &mut taken, Mode::Blocking);
            (job, taken)
        });
        let (job, taken) = read.await.map_err(io::Error::other)?;
        *buffer = taken;
        job
    }

    /// The next batch of a target, if it has one.
    fn read(&self, tail: &Tail, buffer: &mut BytesMut, mode: Mode) -> io::Result<Option<Job>> {
        let mut state = tail.state.lock();
        let state = &mut *state;
        let now_ns = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        let now_ns = i64::try_from(now_ns).unwrap_or(i64::MAX);
        state.next_ns = state.next_ns.max(now_ns);
        let settings = self.settings.load_full();
        let size = buffer_size(&settings.framing);
        loop {
            let State { files, next_ns, line_length, .. } = state;
            let Some(file) = files.iter_mut().find(|f| f.has_data()) else { return Ok(None) };
            if buffer.len() != size {
                *buffer = self.buffer(size);
            }
            if settings.lock && !file.handle.as_ref().is_none_or(Handle::lock) {
                return Ok(None);
            }
            let mut lent = None;
            let desk = Desk { settings: &settings, buffer, lent: &mut lent, next_ns, line_length };
            let first_record = if settings.count_records { file.read.records + 1 } else { 0 };
            let piece = file.next_piece(desk, mode);
            if let (true, Some(handle)) = (settings.lock, &file.handle) {
                handle.unlock();
            }
            if let Some(lent) = lent {
                self.keep_buffer(lent);
            }
            let serial = file.serial;
            let facts = |file: &Generation| FileFacts {
                serial,
                id: file.id,
                path: tail.path.as_path().into(),
                real: file.path.clone(),
                header: file.header.clone(),
            };
            match piece? {
                Piece::Nothing => {}
                Piece::Skipped(split) => {
                    self.count(tail, split);
                    tail.moved.store(true, Ordering::Relaxed);
                }
                Piece::Replaced if mode == Mode::Inline => return Err(ErrorKind::WouldBlock.into()),
                Piece::Replaced => self.replaced(tail, state, serial)?,
                Piece::Lines { entries, end, split, after } => {
                    self.count(tail, split);
                    let receipt = Receipt::new();
                    let logs = LogBatch {
                        streams: vec![tail.stream.clone()],
                        entries,
                        received_ms: now_ns / 1_000_000,
                        hold: Some(receipt.hold()),
                    };
                    let batch = Batch { logs: logs.into(), file: facts(file), first_record };
                    return Ok(Some(Job { serial, batch, end, receipt, after, bytes: split.consumed }));
                }
            }
        }
    }

    /// A file does not hold what was read of it any more.
    fn replaced(&self, tail: &Tail, state: &mut State, serial: u64) -> io::Result<()> {
        if state.current().is_some_and(|f| f.serial == serial) {
            return self.with_surroundings(|at| tail.truncated(state, at));
        }
        let path = tail.path.display();
        tracing::warn!(%path, "a rotated file was overwritten; what was not read of it is lost");
        if let Some(file) = state.file(serial) {
            self.registry.forget(file.id, &tail.labels, &tail.path);
        }
        state.files.retain(|f| f.serial != serial);
        Ok(())
    }

    async fn deliver(&self, tail: &Arc<Tail>, job: Job) -> Turn {
        let outlet = self.outlet.load_full();
        let answer = tokio::select! {
            biased;
            () = self.abandon.cancelled() => Err(Rejected::Stopped),
            answer = outlet.send(&job.batch) => answer,
        };
        match answer {
            Ok(()) => tail.counts.lines.inc_by(job.batch.logs.len() as u64),
            Err(Rejected::Permanent(message)) => self.dropped(tail, &job, &message),
            Err(Rejected::Retryable(_) | Rejected::Stopped) => return self.refused(tail, job),
        }
        // A receipt tells about others only.
        drop(job.batch);
        let mut state = tail.state.lock();
        state.backoff = Duration::ZERO;
        state.not_before = None;
        if let Some(file) = state.file(job.serial) {
            file.accepted(job.end, job.receipt, job.after);
            tail.counts.read.set(file.read.offset as f64);
        }
        tail.moved.store(true, Ordering::Relaxed);
        if state.next_file().is_some() { Turn::More } else { Turn::Idle }
    }

    fn dropped(&self, tail: &Tail, job: &Job, message: &str) {
        self.metrics.dropped.with_label_values(&[tail.key.path.as_str()]).inc_by(job.batch.logs.len() as u64);
        if self.refusals.now() {
            let (path, lines) = (tail.path.display(), job.batch.logs.len());
            tracing::error!(%path, lines, %message, "lines were refused for good and dropped");
        }
    }

    fn refused(&self, tail: &Tail, job: Job) -> Turn {
        let mut state = tail.state.lock();
        let wait = (state.backoff * 2).clamp(BACKOFF.0, BACKOFF.1);
        state.backoff = wait;
        // Those refused together are not to come back together.
        let wait = wait.mul_f64(0.75 + fastrand::f64() / 2.0);
        state.not_before = Some(Instant::now() + wait);
        if self.kept.fetch_add(job.bytes, Ordering::Relaxed) + job.bytes <= KEPT_BYTES {
            state.refused = Some(job);
        } else {
            self.kept.fetch_sub(job.bytes, Ordering::Relaxed);
        }
        Turn::Later(wait)
    }

    fn count(&self, tail: &Tail, split: Split) {
        let metrics = &self.metrics;
        let counts = [
            (&metrics.undecodable, split.undecodable),
            (&metrics.cut, split.cut),
            (&metrics.holes, split.holes),
        ];
        for (counter, by) in counts.into_iter().filter(|(_, by)| *by > 0) {
            counter.with_label_values(&[tail.key.path.as_str()]).inc_by(by);
        }
    }

    /// A buffer that no batch borrows any more, or a new one.
    fn buffer(&self, size: usize) -> BytesMut {
        let mut buffers = self.buffers.lock();
        buffers.retain(|b| b.len() == size);
        if let Some(i) = buffers.iter().position(Bytes::is_unique)
            && let Some(Ok(buffer)) = buffers.remove(i).map(Bytes::try_into_mut)
        {
            return buffer;
        }
        BytesMut::zeroed(size)
    }

    fn keep_buffer(&self, buffer: Bytes) {
        let mut buffers = self.buffers.lock();
        if buffers.len() >= KEPT_BUFFERS {
            buffers.pop_front();
        }
        buffers.push_back(buffer);
    }
}

/// Numbers targets.
pub fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Where the positions of a component are.
pub fn positions_path(data_path: &std::path::Path) -> PathBuf {
    data_path.join("positions.yml")
}

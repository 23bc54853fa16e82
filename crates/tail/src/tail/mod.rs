//! One target: the file that its path leads to, and those that it led to before and that are not done.
//!
//! Two sides work on it. The look (on a blocking thread) compares the path with what is known: it opens what is
//! new, finds what was rotated away, and lets go of what is done. The turn (on a worker) reads the oldest file
//! that has something and waits for the answer. Invariant: files are read oldest first, and a file is let go
//! only when it has been read to its end, was waited for, and nobody keeps anything of it back.

mod begin;
mod rotate;

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use component::metrics::{Gauge, IntCounter, IntGauge};
use parking_lot::Mutex;
use signal::Labels;
use signal::logs::Receipt;
use tokio::time::Instant;

use crate::charset::Charset;
use crate::generation::{After, Generation};
use crate::handle::{Codec, Handle};
use crate::identity::{FileId, Mark, Place};
use crate::positions::{Key, Record};
use crate::registry::Registry;
use crate::{Batch, Packing, Settings};

/// How long a rotated file is watched for what its writer still writes before it opens the new one.
const LINGER: Duration = Duration::from_secs(30);

/// So many rotated files of one target are waited for; those before them are let go once they are read.
const MOST_LINGERING: usize = 16;

/// So many rotated files that are done are kept in mind for each target.
const MOST_REMEMBERED: usize = 16;

/// Nothing is looked at more often, whatever is configured.
const LEAST_POLL: Duration = Duration::from_millis(10);

/// Waits after a path could not be looked at. As Alloy's tailer: `backoff.Config`.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// One target.
pub struct Tail {
    /// Names it in this process.
    pub number: u64,
    /// Names it in the positions file.
    pub key: Key,
    /// Its path.
    pub path: PathBuf,
    /// Its labels without `filename`.
    pub labels: Labels,
    /// The labels of its stream.
    pub stream: Labels,
    /// When it is to be looked at next, in milliseconds of the engine's clock.
    pub due: AtomicU64,
    /// When it was last read to its end.
    pub last_read: AtomicU64,
    /// It waits for a worker or has one.
    pub busy: AtomicBool,
    /// Its positions may have changed.
    pub moved: AtomicBool,
    /// Its next change will be told.
    pub armed: AtomicBool,
    /// Names that come and go in its folders are told.
    pub told: AtomicBool,
    /// It was found when others were known already.
    pub is_late: bool,
    /// What has been read of it.
    pub state: Mutex<State>,
    /// Own metrics.
    pub counts: Counts,
}

/// Metrics of one path.
pub struct Counts {
    /// `…_read_lines_total`
    pub lines: IntCounter,
    /// `…_read_bytes_total`
    pub read: Gauge,
    /// `…_file_bytes_total`
    pub size: Gauge,
    /// `…_files_active_total`
    pub active: IntGauge,
}

/// What changes about a target.
#[derive(Default)]
pub struct State {
    /// Oldest first; the last is what the path leads to unless that is `rotated`.
    pub files: VecDeque<Generation>,
    /// A batch that was refused and is kept, with what it stands for.
    pub refused: Option<Job>,
    /// Until when a refusal is waited out.
    pub not_before: Option<Instant>,
    /// The wait before the next try of a refused batch.
    pub backoff: Duration,
    /// The target is gone; until when the rest is read.
    pub leaving: Option<Instant>,
    /// Time of the next entry.
    pub next_ns: i64,
    /// Length of lines, roughly.
    pub line_length: usize,
    /// Rotated files that were done not long ago, oldest first.
    done: VecDeque<Place>,
    /// What was stored, until it has been used.
    record: Option<Record>,
    started: bool,
    /// The path has been looked at without there being a file.
    awaited: bool,
    /// The positions file was damaged and says nothing of this target, which is not to be read then.
    pub skipped: bool,
    failures: u32,
    is_active: bool,
    poll: Duration,
    delay_until: Option<Instant>,
    start_at: Option<Instant>,
}

/// A batch and what it stands for.
pub struct Job {
    /// The file.
    pub serial: u64,
    /// The batch.
    pub batch: Batch,
    /// The place after it.
    pub end: Mark,
    /// Tells when nobody keeps anything of it back.
    pub receipt: Receipt,
    /// State of the file after it.
    pub after: After,
    /// Bytes of its lines.
    pub bytes: usize,
}

/// What a look needs.
pub struct Surroundings<'a> {
    /// Settings of the component.
    pub settings: &'a Settings,
    /// Files known under other paths.
    pub registry: &'a Registry,
    /// The positions file was damaged when the component started: at that time.
    pub damaged: Option<SystemTime>,
    /// Files that are kept open.
    pub slots: &'a crate::handle::Slots,
    /// How many may be.
    pub most_open: usize,
    /// Set where files are in folders that they were not in.
    pub refolder: &'a AtomicBool,
}

/// What came of a look.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    /// There is something to read; look again after.
    Data(Duration),
    /// Nothing now; look again after.
    Idle(Duration),
    /// The target is gone and so is its rest.
    Over,
}

impl State {
    /// New, with what was stored of it.
    pub fn new(record: Option<Record>) -> Self {
        let done = record.iter().flat_map(|r| r.done.iter().cloned()).collect();
        Self { record, done, line_length: 128, ..Self::default() }
    }

    /// Whether a stored position waits to be used.
    pub fn has_record(&self) -> bool {
        self.record.is_some()
    }

    /// The file of a serial number.
    pub fn file(&mut self, serial: u64) -> Option<&mut Generation> {
        self.files.iter_mut().find(|f| f.serial == serial)
    }

    /// The oldest file that has something.
    pub fn next_file(&mut self) -> Option<&mut Generation> {
        self.files.iter_mut().find(|f| f.has_data())
    }

    /// What the path leads to.
    pub fn current(&mut self) -> Option<&mut Generation> {
        self.files.back_mut().filter(|f| f.rotated.is_none())
    }

    /// Another charset was configured. It does not change where lines start, so files go on where they are.
    pub fn recode(&mut self, charset: Charset) {
        for file in self.files.iter_mut().filter(|f| !f.is_marked) {
            file.charset = charset;
        }
    }

    /// What is to be stored.
    pub fn record(&mut self) -> Option<Record> {
        self.files.iter_mut().for_each(Generation::settle);
        let Some(last) = self.files.back() else { return self.record.clone() };
        let rest = self.files.iter().take(self.files.len() - 1).filter(|f| !f.is_over());
        Some(Record {
            value: last.committed.offset.to_string(),
            file: Some(last.place(last.committed)),
            rest: rest.map(|f| f.place(f.committed)).collect(),
            done: self.done.iter().cloned().collect(),
        })
    }

    /// Remembers a rotated file that is done.
    fn remember(&mut self, place: Place) {
        if place.head.len == 0 {
            return;
        }
        self.done.retain(|d| d.head != place.head || d.id != place.id);
        if self.done.len() >= MOST_REMEMBERED {
            self.done.pop_front();
        }
        self.done.push_back(place);
    }
}

impl Tail {
    /// Compares the path with what is known.
    pub fn look(&self, at: &Surroundings<'_>) -> Seen {
        let mut state = self.state.lock();
        let state = &mut *state;
        let now = Instant::now();
        if state.leaving.is_none() {
            match self.look_at_path(state, at) {
                Ok(()) => (state.failures, state.delay_until) = (0, None),
                Err(error) => {
                    state.failures += 1;
                    if state.failures.is_power_of_two() {
                        tracing::warn!(%error, path = %self.path.display(), "the file cannot be read now");
                    }
                    let wait = (RETRY.0 * (1 << (state.failures - 1).min(4))).min(RETRY.1);
                    state.delay_until = Some(now + wait);
                }
            }
        }
        self.look_at_rotated(state, at, now);
        if at.settings.delete_after_read {
            self.delete_read(state, at);
        }
        self.set_active(state, !state.files.is_empty());
        self.counts.size.set(state.files.back().map_or(0.0, |f| f.size as f64));
        self.verdict(state, at, now)
    }

    /// Counts the target among those that are read, or not any more.
    pub fn set_active(&self, state: &mut State, active: bool) {
        if std::mem::replace(&mut state.is_active, active) != active {
            self.counts.active.add(if active { 1 } else { -1 });
        }
    }

    fn verdict(&self, state: &mut State, at: &Surroundings<'_>, now: Instant) -> Seen {
        let min = at.settings.poll.0.max(LEAST_POLL);
        let max = at.settings.poll.1.max(min);
        let data = state.refused.is_some() || state.next_file().is_some();
        let refused = state.not_before.filter(|until| *until > now);
        if let Some(deadline) = state.leaving
            && (now >= deadline || !data && state.files.iter().all(|f| !f.is_held()))
        {
            if data {
                tracing::warn!(path = %self.path.display(), "the target is gone and its rest was not taken in time");
            }
            return Seen::Over;
        }
        // Rotated files have no watch of their own.
        let calm = !data && state.files.len() == 1 && state.current().is_some();
        state.poll = if calm { (state.poll * 2).clamp(min, max) } else { min };
        let mut wait = state.poll;
        if calm && self.told.load(Ordering::Relaxed) && self.armed.load(Ordering::Relaxed) {
            wait = wait.max(at.settings.told_poll());
        }
        if let Some(after) = at.settings.flush_after {
            let until = state.files.iter().filter_map(|f| f.waiting).map(|since| since + after).min();
            if let Some(until) = until {
                wait = wait.min(until.saturating_duration_since(now)).max(LEAST_POLL);
            }
        }
        if let Some(until) = state.delay_until {
            wait = wait.max(until.saturating_duration_since(now));
        }
        match refused {
            Some(until) => Seen::Idle(wait.min(until - now).max(Duration::from_millis(1))),
            None if data => Seen::Data(wait),
            None => {
                self.spare_handle(state, at);
                Seen::Idle(wait)
            }
        }
    }

    /// Closes a file that is read to its end, where too many are open.
    fn spare_handle(&self, state: &mut State, at: &Surroundings<'_>) {
        if at.slots.taken() * 4 > at.most_open * 3
            && let Some(current) = state.current()
            // A line that has no end yet would be lost with a file that is then deleted.
            && current.size <= current.read.offset
        {
            current.handle = None;
        }
    }

    fn look_at_path(&self, state: &mut State, at: &Surroundings<'_>) -> io::Result<()> {
        if state.skipped {
            return Ok(());
        }
        let metadata = match std::fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if !std::mem::replace(&mut state.awaited, true) && !state.started {
                    tracing::warn!(path = %self.path.display(), "the file is not there; it is waited for");
                }
                self.left(state, at);
                return if state.has_record() { self.resume(state, at) } else { Ok(()) };
            }
            Err(error) => return Err(error),
        };
        if at.slots.taken() >= at.most_open && state.current().is_none_or(|f| f.handle.is_none()) {
            return Err(io::Error::other(
                "too many files are open; others have to be read to their end first",
            ));
        }
        let id = FileId::of(&metadata);
        if state.current().is_none() {
            return match () {
                () if state.has_record() => self.resume(state, at),
                () if !state.files.is_empty() => self.append_current(state, at, None),
                () => self.begin(state, at),
            };
        }
        match state.current() {
            Some(current) if current.id == id => {
                current.seen(metadata.len(), metadata.modified().ok());
                if metadata.len() < current.read.offset && !current.is_packed() {
                    return self.truncated(state, at);
                }
                if current.has_data() && current.handle.is_none() {
                    self.reopen(state, at)?;
                }
                Ok(())
            }
            _ => self.replaced(state, at),
        }
    }

    fn open(&self, at: &Surroundings<'_>) -> io::Result<Generation> {
        let mut handle = Handle::open(&self.path, at.settings.codec(&self.path))?;
        handle.count_in(at.slots);
        let path = std::fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        Generation::open(handle, path, at.settings)
    }

    fn reopen(&self, state: &mut State, at: &Surroundings<'_>) -> io::Result<()> {
        let mut handle = Handle::open(&self.path, at.settings.codec(&self.path))?;
        handle.count_in(at.slots);
        let id = handle.id()?;
        let current = state.current().expect("the caller has seen it");
        if id != current.id {
            return self.replaced(state, at);
        }
        current.handle = Some(handle);
        Ok(())
    }

    /// Takes note of what rotated files have grown by, and lets go of those that are done.
    fn look_at_rotated(&self, state: &mut State, at: &Surroundings<'_>, now: Instant) {
        let excess = state.files.len().saturating_sub(MOST_LINGERING);
        let leaving = state.leaving.is_some();
        for (i, file) in state.files.iter_mut().enumerate() {
            file.settle();
            if let (Some(after), Some(since)) = (at.settings.flush_after, file.waiting)
                && now.duration_since(since) >= after
            {
                file.flush = true;
                file.waiting = None;
            }
            if file.rotated.is_none() && !leaving {
                continue;
            }
            if let Some(Ok(metadata)) = file.handle.as_ref().map(Handle::metadata) {
                file.seen(metadata.len(), metadata.modified().ok());
                if leaving && metadata.nlink() == 0 {
                    file.rotated.get_or_insert(now);
                }
            }
            let since = file.rotated.unwrap_or(now);
            let waited = i < excess || leaving || now.duration_since(since) >= file.linger;
            if file.rotated.is_some() && waited && !file.done && !file.has_data() {
                file.finish = true;
            }
        }
        let before = state.files.len();
        let mut done = Vec::new();
        state.files.retain(|file| {
            let over = file.rotated.is_some() && file.is_over();
            if over {
                at.registry.done(file.id, &self.labels, &self.path, file.read);
                done.push(file.place(file.read));
            }
            !over
        });
        done.into_iter().for_each(|place| {
            at.registry.know_done(&self.key, place.clone());
            state.remember(place);
        });
        if state.files.len() != before {
            self.moved.store(true, Ordering::Relaxed);
        }
    }

    /// Removes the file that the path leads to, once everything of it was taken.
    fn delete_read(&self, state: &mut State, at: &Surroundings<'_>) {
        let Some(current) = state.current().filter(|f| f.is_over()) else { return };
        let (id, read, size) = (current.id, current.read, current.size);
        let is_packed = current.is_packed();
        match std::fs::metadata(&self.path) {
            Ok(m) if FileId::of(&m) == id && (is_packed || m.len() == read.offset) && m.len() == size => {}
            // It has grown, or is another: the next look sees it.
            Ok(m) => return current.seen(m.len(), m.modified().ok()),
            Err(_) => return,
        }
        match std::fs::remove_file(&self.path) {
            Ok(()) => {
                state.files.pop_back();
                at.registry.forget(id, &self.labels, &self.path);
                self.moved.store(true, Ordering::Relaxed);
            }
            Err(error) => {
                state.failures += 1;
                if state.failures.is_power_of_two() {
                    tracing::warn!(%error, path = %self.path.display(), "a file that was read cannot be removed");
                }
            }
        }
    }

    /// The path's folders: where it is, and where its links lead.
    pub fn folders(&self) -> Vec<PathBuf> {
        let mut folders: Vec<PathBuf> = self.path.parent().map(Path::to_path_buf).into_iter().collect();
        if let Some(real) =
            self.state.lock().files.back().and_then(|f| f.path.parent().map(Path::to_path_buf))
            && !folders.contains(&real)
        {
            folders.push(real);
        }
        folders
    }
}

impl Settings {
    /// How a file is compressed, if it is.
    pub fn codec(&self, path: &Path) -> Option<Codec> {
        match self.packing {
            Packing::None => None,
            Packing::All(codec) => Some(codec),
            Packing::ByName => Codec::of_name(path.file_name()?.to_str()?),
        }
    }

    fn initial_delay(&self) -> Option<Duration> {
        (self.packing != Packing::None && !self.initial_delay.is_zero()).then_some(self.initial_delay)
    }

    /// Where changes are told, looking is for what may be missed: writes through memory maps.
    fn told_poll(&self) -> Duration {
        self.poll.1.max(Duration::from_secs(1))
    }
}

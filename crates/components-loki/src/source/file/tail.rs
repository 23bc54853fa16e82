//! One target: the file that its path leads to, and those that it led to before and that are not done.
//!
//! Two sides work on it. The look (on a blocking thread) compares the path with what is known: it opens what is
//! new, finds what was rotated away, and lets go of what is done. The turn (on a worker) reads the oldest file
//! that has something and waits for the answer. Invariant: files are read oldest first, and a file is let go
//! only when it has been read to its end, was waited for, and nobody keeps anything of it back.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use component::metrics::{Gauge, IntCounter};
use parking_lot::Mutex;
use signal::logs::Receipt;
use signal::{Labels, Logs};
use tokio::time::Instant;

use super::Settings;
use super::charset::Charset;
use super::generation::{After, Generation};
use super::handle::{Codec, Handle};
use super::identity::{FileId, Mark, Place};
use super::positions::{Key, Record};
use super::registry::{Claim, Registry};
use super::siblings::{Found, Sibling, Siblings};

/// How long a rotated file is watched for what its writer still writes before it opens the new one.
const LINGER: Duration = Duration::from_secs(30);

/// So many rotated files of one target are waited for; those before them are let go once they are read.
const MOST_LINGERING: usize = 16;

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
    /// What has been read of it.
    pub state: Mutex<State>,
    /// Own metrics.
    pub counts: Counts,
}

/// Metrics of one path.
pub struct Counts {
    /// `loki_source_file_read_lines_total`
    pub lines: IntCounter,
    /// `loki_source_file_read_bytes_total`
    pub read: Gauge,
    /// `loki_source_file_file_bytes_total`
    pub size: Gauge,
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
    /// What was stored, until it has been used.
    record: Option<Record>,
    started: bool,
    /// The path has been looked at without there being a file.
    awaited: bool,
    /// The positions file was damaged and says nothing of this target, which is not to be read then.
    pub skipped: bool,
    failures: u32,
    poll: Duration,
    delay_until: Option<Instant>,
    start_at: Option<Instant>,
}

/// A batch and what it stands for.
pub struct Job {
    /// The file.
    pub serial: u64,
    /// The batch.
    pub logs: Logs,
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
    pub slots: &'a super::handle::Slots,
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
        Self { record, line_length: 128, ..Self::default() }
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
        })
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
                    let wait = (RETRY.0 * (1 << state.failures.min(4))).min(RETRY.1);
                    state.delay_until = Some(now + wait);
                }
            }
        }
        self.look_at_rotated(state, at, now);
        self.counts.size.set(state.files.back().map_or(0.0, |f| f.size as f64));
        self.verdict(state, at, now)
    }

    fn verdict(&self, state: &mut State, at: &Surroundings<'_>, now: Instant) -> Seen {
        let watch = &at.settings.file_watch;
        let min = watch.min_poll_frequency.max(LEAST_POLL);
        let max = watch.max_poll_frequency.max(min);
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
                state.awaited = true;
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

    /// The path leads nowhere: what it led to was renamed or removed and may still be written to.
    fn left(&self, state: &mut State, at: &Surroundings<'_>) {
        let Some(current) = state.current() else { return };
        if current.handle.is_some() || self.find_closed(current, at) {
            (current.rotated, current.linger) = (Some(Instant::now()), LINGER);
            at.registry.follow(current.id, &self.labels, &self.path);
        } else {
            let (id, mark) = (current.id, current.read);
            at.registry.done(id, &self.labels, &self.path, mark);
            state.files.pop_back();
        }
        self.moved.store(true, Ordering::Relaxed);
    }

    fn open(&self, at: &Surroundings<'_>) -> io::Result<Generation> {
        let mut handle = Handle::open(&self.path, at.settings.codec())?;
        handle.count_in(at.slots);
        let path = std::fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        Generation::open(handle, path, at.settings.charset)
    }

    /// The target's first file, of which nothing is known.
    fn begin(&self, state: &mut State, at: &Surroundings<'_>) -> io::Result<()> {
        if let Some(wait) = at.settings.initial_delay() {
            let until = *state.start_at.get_or_insert(Instant::now() + wait);
            if until > Instant::now() {
                return Ok(());
            }
        }
        let Some(mut file) = self.admit(self.open(at)?, at) else { return Ok(()) };
        if file.read.offset > 0 && file.read.seam.len > 3 {
            // Another target has read it before it was renamed.
        } else if !state.started && existed_at(&file, at.damaged) {
            match at.settings.on_positions_file_error {
                super::OnPositionsFileError::Skip => {
                    tracing::error!(path = %self.path.display(), "the file is not read: its position is lost");
                    state.skipped = true;
                    return Ok(());
                }
                super::OnPositionsFileError::RestartFromEnd => file = at_last_line(file)?,
                super::OnPositionsFileError::RestartFromBeginning => {}
            }
        } else if at.settings.tail_from_end && !state.started && !state.awaited && !file.is_packed() {
            file = at_last_line(file)?;
        }
        state.started = true;
        state.files.push_back(file);
        self.moved.store(true, Ordering::Relaxed);
        at.refolder.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// A new file at the path, unless another target reads it still; it may have been read under another path.
    fn admit(&self, mut file: Generation, at: &Surroundings<'_>) -> Option<Generation> {
        match at.registry.claim(file.id, &self.labels, &self.path) {
            Some(Claim::Wait) => return None,
            Some(Claim::From(mark)) => {
                let handle = file.handle.as_mut().expect("it was just opened");
                let has =
                    file.size >= mark.offset && handle.has_seam(mark.offset, mark.seam).unwrap_or(false);
                if has {
                    file = file.at(mark);
                }
            }
            None => {}
        }
        at.registry.current(file.id, &self.labels, &self.path);
        Some(file)
    }

    /// Goes on where another process, or this one before the target left, has been.
    fn resume(&self, state: &mut State, at: &Surroundings<'_>) -> io::Result<()> {
        let Some(record) = state.record.clone() else { return Ok(()) };
        let offset = record.offset();
        let place = record.file.filter(|place| Some(place.mark.offset) == offset);
        let mut paths = vec![self.path.clone()];
        paths.extend(std::fs::canonicalize(&self.path).ok());
        paths.extend(record.rest.iter().chain(&place).map(|place| place.path.clone()));
        let siblings = Siblings::of(&paths.iter().map(PathBuf::as_path).collect::<Vec<_>>());

        let current = match self.open(at) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let mut files = VecDeque::new();
        let mut ids: Vec<FileId> = current.iter().map(|f| f.id).collect();
        for place in &record.rest {
            if let Some((file, _)) = self.find(&siblings, place, &ids, at) {
                ids.push(file.id);
                files.push_back(file);
            } else {
                self.not_found(place);
            }
        }
        let current = match (current, &place) {
            (Some(file), Some(place)) => {
                let (file, same) = self.continued(file, place, &siblings);
                if same {
                    at.registry.current(file.id, &self.labels, &self.path);
                    Some(file)
                } else {
                    self.add_rotated(&siblings, place, &mut ids, &mut files, at);
                    self.admit(file, at)
                }
            }
            (None, Some(place)) => {
                self.add_rotated(&siblings, place, &mut ids, &mut files, at);
                None
            }
            (Some(file), None) => {
                at.registry.current(file.id, &self.labels, &self.path);
                Some(self.at_offset(file, offset, state, at)?)
            }
            (None, None) => None,
        };
        // Without any file the record is kept: the path may come back.
        if let Some(current) = current {
            files.push_back(current);
        }
        if !files.is_empty() {
            state.record = None;
            state.started = true;
        }
        let known = record.rest.iter().chain(&place).map(|place| place.id);
        for id in known.filter(|id| !files.iter().any(|f| f.id == *id)) {
            at.registry.forget(id, &self.labels, &self.path);
        }
        self.register(&files, at);
        state.files = files;
        at.refolder.store(true, Ordering::Relaxed);
        self.moved.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Whether the file at the path is that of a place; then it goes on there.
    fn continued(&self, mut file: Generation, place: &Place, siblings: &Siblings) -> (Generation, bool) {
        let handle = file.handle.as_mut().expect("it was just opened");
        let head = handle.head(super::identity::HEAD).unwrap_or_default();
        let fits = place.head.heads(&head)
            && handle.has_seam(place.mark.offset, place.mark.seam).unwrap_or(false)
            && (handle.is_packed() || file.size >= place.mark.offset);
        // Another inode with the same content is the file restored or written anew, unless the old one is
        // there as well.
        let known = usize::from(place.head.len) + usize::from(place.mark.seam.len);
        let same = file.id.ino == place.id.ino && (file.id.dev == place.id.dev || place.head.len > 0)
            || known >= 64 && siblings.by_id(place).is_none();
        if fits && same { (file.at(place.mark), true) } else { (file, false) }
    }

    /// A position that says nothing but an offset.
    fn at_offset(
        &self,
        file: Generation,
        offset: Option<u64>,
        state: &mut State,
        at: &Surroundings<'_>,
    ) -> io::Result<Generation> {
        match offset {
            Some(offset) if offset <= file.size || file.is_packed() => {
                Ok(file.at(Mark { offset, ..Mark::default() }))
            }
            // Truncated since. As Alloy: from the start.
            Some(_) => Ok(file),
            None => match at.settings.on_positions_file_error {
                super::OnPositionsFileError::Skip => {
                    tracing::error!(path = %self.path.display(), "the file is not read: its position is no number");
                    state.skipped = true;
                    Ok(file)
                }
                super::OnPositionsFileError::RestartFromEnd => at_last_line(file),
                super::OnPositionsFileError::RestartFromBeginning => Ok(file),
            },
        }
    }

    /// The rest of a file that was rotated away, then those that came and went after it.
    fn add_rotated(
        &self,
        siblings: &Siblings,
        place: &Place,
        ids: &mut Vec<FileId>,
        files: &mut VecDeque<Generation>,
        at: &Surroundings<'_>,
    ) {
        let Some((file, sibling)) = self.find(siblings, place, ids, at) else { return self.not_found(place) };
        ids.push(file.id);
        files.push_back(file);
        self.add_missed(siblings, &sibling, ids, files, at);
    }

    fn add_missed(
        &self,
        siblings: &Siblings,
        known: &Sibling,
        ids: &mut Vec<FileId>,
        files: &mut VecDeque<Generation>,
        at: &Surroundings<'_>,
    ) {
        for sibling in siblings.after(known) {
            let Ok(handle) = Handle::open(&sibling.path, sibling.codec) else { continue };
            let Ok(id) = handle.id() else { continue };
            if ids.contains(&id) || at.registry.claim(id, &self.labels, &self.path).is_some() {
                continue;
            }
            let found = Found { handle, id, sibling };
            if let Ok(file) = self.adopt(found, at) {
                tracing::info!(path = %file.path.display(), "a file came and went unseen; it is read now");
                ids.push(file.id);
                files.push_back(file);
            }
        }
    }

    fn find(
        &self,
        siblings: &Siblings,
        place: &Place,
        not: &[FileId],
        at: &Surroundings<'_>,
    ) -> Option<(Generation, Sibling)> {
        let found = siblings.by_id(place).filter(|f| !not.contains(&f.id));
        let found = found.or_else(|| siblings.by_content(place, not))?;
        let sibling = found.sibling.clone();
        let mut file = self.adopt(found, at).ok()?.at(place.mark);
        file.head = place.head;
        Some((file, sibling))
    }

    fn adopt(&self, found: Found, at: &Surroundings<'_>) -> io::Result<Generation> {
        let Found { mut handle, sibling, .. } = found;
        handle.count_in(at.slots);
        Ok(Generation::open(handle, sibling.path, at.settings.charset)?.rotated(LINGER))
    }

    fn not_found(&self, place: &Place) {
        if place.mark.offset > 0 || place.head.len > 0 {
            let last = place.path.display();
            tracing::warn!(path = %self.path.display(), %last, "a rotated file is gone; what was not read of it is lost");
        }
    }

    fn register(&self, files: &VecDeque<Generation>, at: &Surroundings<'_>) {
        for file in files.iter().filter(|f| f.rotated.is_some()) {
            at.registry.follow(file.id, &self.labels, &self.path);
        }
    }

    /// The path leads to another file.
    fn replaced(&self, state: &mut State, at: &Surroundings<'_>) -> io::Result<()> {
        let new = self.open(at)?;
        let current = state.files.back_mut().expect("there is a current file");
        if new.id == current.id {
            return Ok(());
        }
        if current.handle.is_none() && !self.find_closed(current, at) {
            // Closed because it was read to its end, and gone: nothing that is known of is lost.
            let old = state.files.pop_back().expect("there is a current file");
            at.registry.done(old.id, &self.labels, &self.path, old.read);
            return self.append_current(state, at, Some(new));
        }
        if written_anew(current, &new) {
            let (id, path, size) = (new.id, new.path, new.size);
            at.registry.forget(current.id, &self.labels, &self.path);
            (current.id, current.path, current.handle) = (id, path, new.handle);
            current.seen(size, new.modified);
            at.registry.current(id, &self.labels, &self.path);
            self.armed.store(false, Ordering::Relaxed);
            return Ok(());
        }
        (current.rotated, current.linger) = (Some(Instant::now()), LINGER);
        self.append_current(state, at, Some(new))
    }

    /// Finds a file by its inode that was closed to spare handles.
    fn find_closed(&self, file: &mut Generation, at: &Surroundings<'_>) -> bool {
        let place = file.place(file.read);
        let siblings = Siblings::of(&[&self.path, &place.path]);
        let found = siblings.by_id(&place).or_else(|| siblings.by_content(&place, &[]));
        let Some(mut found) = found else { return false };
        found.handle.count_in(at.slots);
        file.size = found.handle.metadata().map_or(file.size, |m| m.len());
        (file.handle, file.path) = (Some(found.handle), found.sibling.path);
        true
    }

    /// Puts a new file at the end, and before it those that came and went since the last look.
    fn append_current(
        &self,
        state: &mut State,
        at: &Surroundings<'_>,
        new: Option<Generation>,
    ) -> io::Result<()> {
        let new = match new {
            Some(new) => new,
            None => self.open(at)?,
        };
        if state.files.iter().any(|f| f.id == new.id && !f.done) {
            // Renamed back.
            if let Some(i) = state.files.iter().position(|f| f.id == new.id) {
                let mut file = state.files.remove(i).expect("the index was just found");
                file.rotated = None;
                at.registry.current(file.id, &self.labels, &self.path);
                state.files.push_back(file);
            }
            return Ok(());
        }
        let Some(new) = self.admit(new, at) else { return self.wait_for_path(state, at) };
        if let Some(last) = state.files.back() {
            let place = last.place(last.read);
            let siblings = Siblings::of(&[&self.path, &new.path, &place.path]);
            let mut ids: Vec<FileId> = state.files.iter().map(|f| f.id).chain([new.id]).collect();
            if let Some(found) = siblings.by_id(&place) {
                self.add_missed(&siblings, &found.sibling, &mut ids, &mut state.files, at);
            }
        }
        self.register(&state.files, at);
        at.refolder.store(true, Ordering::Relaxed);
        state.files.push_back(new);
        self.armed.store(false, Ordering::Relaxed);
        self.moved.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// The path leads to a file that another target reads.
    fn wait_for_path(&self, state: &mut State, at: &Surroundings<'_>) -> io::Result<()> {
        self.register(&state.files, at);
        self.moved.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn reopen(&self, state: &mut State, at: &Surroundings<'_>) -> io::Result<()> {
        let mut handle = Handle::open(&self.path, at.settings.codec())?;
        handle.count_in(at.slots);
        let id = handle.id()?;
        let current = state.current().expect("the caller has seen it");
        if id != current.id {
            return self.replaced(state, at);
        }
        current.handle = Some(handle);
        Ok(())
    }

    /// The current file was truncated: what was not read of it may be in a copy. It starts anew.
    pub fn truncated(&self, state: &mut State, at: &Surroundings<'_>) -> io::Result<()> {
        let fresh = self.open(at)?;
        let Some(current) = state.current() else { return Ok(()) };
        if fresh.id != current.id {
            return self.replaced(state, at);
        }
        let place = current.place(current.read);
        let unread = current.size.saturating_sub(current.read.offset);
        let siblings = Siblings::of(&[&self.path, &place.path]);
        let copy = siblings.by_content(&place, &[current.id]);
        if copy.is_none() && unread > 0 {
            let path = self.path.display();
            tracing::warn!(%path, "the file was truncated and no copy of it is there; what was not read is lost");
        }
        let copy = copy.and_then(|found| self.adopt(found, at).ok());
        if let Some(copy) = &copy {
            at.registry.follow(copy.id, &self.labels, &self.path);
        }
        // Nobody writes to a copy, so that its last line is one even without an end.
        let copy = copy.map(|copy| Generation { finish: !copy.is_packed(), ..copy });
        if let Some(rest) = current.continue_in(copy, fresh) {
            let end = state.files.len() - 1;
            state.files.insert(end, rest);
        }
        self.armed.store(false, Ordering::Relaxed);
        self.moved.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Takes note of what rotated files have grown by, and lets go of those that are done.
    fn look_at_rotated(&self, state: &mut State, at: &Surroundings<'_>, now: Instant) {
        let excess = state.files.len().saturating_sub(MOST_LINGERING);
        let leaving = state.leaving.is_some();
        for (i, file) in state.files.iter_mut().enumerate() {
            file.settle();
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
        state.files.retain(|file| {
            let over = file.rotated.is_some() && file.is_over();
            if over {
                at.registry.done(file.id, &self.labels, &self.path, file.read);
            }
            !over
        });
        if state.files.len() != before {
            self.moved.store(true, Ordering::Relaxed);
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
    /// How files are compressed, if they are.
    pub fn codec(&self) -> Option<Codec> {
        self.decompression.as_ref().map(|d| d.codec)
    }

    fn initial_delay(&self) -> Option<Duration> {
        self.decompression.as_ref().map(|d| d.initial_delay).filter(|d| !d.is_zero())
    }

    /// Where changes are told, looking is for what may be missed: writes through memory maps.
    fn told_poll(&self) -> Duration {
        self.file_watch.max_poll_frequency.max(Duration::from_secs(1))
    }
}

fn at_last_line(mut file: Generation) -> io::Result<Generation> {
    let mark = file.last_line()?;
    Ok(file.at(mark))
}

/// Whether a file was replaced by one that holds the same and perhaps more, as editors do it.
fn written_anew(current: &mut Generation, new: &Generation) -> bool {
    let offset = current.read.offset;
    if current.is_packed() || offset == 0 || new.size < offset {
        return false;
    }
    let window = offset.min(4096) as usize;
    let (mut before, mut after) = (vec![0; window], vec![0; window]);
    let Some(handle) = &current.handle else { return false };
    let Some(other) = &new.handle else { return false };
    for from in [0, offset - window as u64] {
        let read = handle.file().read_exact_at(&mut before, from);
        let read = read.and_then(|()| other.file().read_exact_at(&mut after, from));
        if read.is_err() || before != after {
            return false;
        }
    }
    true
}

/// Whether a file was there at a time; where the file system does not know it is taken to have been.
fn existed_at(file: &Generation, time: Option<SystemTime>) -> bool {
    let metadata = file.handle.as_ref().and_then(|handle| handle.metadata().ok());
    time.is_some_and(|time| metadata.and_then(|m| m.created().ok()).is_none_or(|created| created < time))
}

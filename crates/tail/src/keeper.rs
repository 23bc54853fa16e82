//! Keeps targets, positions and looks: everything about files that is not reading them.
//!
//! It owns the set of targets, plans when each is looked at (sooner where the kernel tells of a change), and
//! writes positions: every ten seconds while they change, soon after everything has come to rest, and at the
//! end. Looks and writes are done on blocking threads, one of each at a time, so that a file system that hangs
//! holds up neither updates nor the end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use hashbrown::{HashMap, HashSet};
use parking_lot::Mutex;
use signal::Labels;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::engine::{Engine, next_number, positions_path};
use crate::positions::{self, Key, NO_LABELS, Record};
use crate::tail::{Counts, Seen, State, Tail};
use crate::told::Told;
use crate::{Finder, Wanted};

/// The label that says where a line is from.
const FILENAME: &str = "filename";

/// How often positions are written while they change. As Alloy: `positions.Config.SyncPeriod`.
const SAVE_EVERY: Duration = Duration::from_secs(10);

/// How often it is seen what has changed.
const SNAP_EVERY: Duration = Duration::from_secs(1);

/// A positions file of up to this size is also written as soon as nothing changes any more.
const SMALL_FILE: usize = 256 << 10;

/// How often positions of files that are gone are removed.
const SWEEP_EVERY: Duration = Duration::from_secs(600);

/// Looks are made together, at most this often.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How often it is seen which folders are to be watched.
const FOLDERS_EVERY: Duration = Duration::from_secs(1);

/// How long the rest of a file is read whose target is gone.
const LEAVE_WITHIN: Duration = Duration::from_secs(300);

/// How long the end waits for answers, and then for what others keep back.
const END_WITHIN: Duration = Duration::from_secs(5);

/// Positions of targets that have left, in case they come back.
const REMEMBERED: usize = 10_000;

/// The keeper of one component.
pub struct Keeper {
    engine: Arc<Engine>,
    tails: HashMap<Key, Arc<Tail>>,
    by_number: HashMap<u64, Arc<Tail>>,
    by_path: HashMap<PathBuf, Vec<Arc<Tail>>>,
    finder: Arc<dyn Finder>,
    /// Files have been looked for.
    searched: bool,
    use_legacy: bool,
    path: PathBuf,
    records: BTreeMap<Key, Record>,
    left: HashMap<Key, Record>,
    unsaved: bool,
    last_size: usize,
    next_snap: Instant,
    next_save: Instant,
    next_sweep: Instant,
    next_sync: Option<Instant>,
    next_look: Instant,
    next_folders: Instant,
    reindex: bool,
    looking: Option<JoinHandle<Vec<Arc<Tail>>>>,
    saving: Option<JoinHandle<bool>>,
    alive: Option<mpsc::Sender<()>>,
    ended: mpsc::Receiver<()>,
}

impl Keeper {
    /// Reads what is stored.
    pub async fn open(
        engine: &Arc<Engine>,
        data_path: &Path,
        finder: Arc<dyn Finder>,
        legacy: &Path,
    ) -> Self {
        let path = positions_path(data_path);
        let (own, old) = (path.clone(), legacy.to_path_buf());
        let read = tokio::task::spawn_blocking(move || load(&own, &old)).await;
        let (records, damage) = read.unwrap_or_else(|error| (BTreeMap::new(), Some(error.to_string())));
        if let Some(damage) = damage {
            let kept = records.len();
            tracing::error!(path = %path.display(), %damage, kept, "the positions file is damaged; what is intact is used");
            *engine.damaged.lock() = Some(SystemTime::now());
        }
        engine.registry.know(&records);
        let (alive, ended) = mpsc::channel(1);
        let now = Instant::now();
        Self {
            engine: engine.clone(),
            tails: HashMap::new(),
            by_number: HashMap::new(),
            by_path: HashMap::new(),
            finder,
            // What is new while others are known has come while nobody ran.
            searched: !records.is_empty(),
            use_legacy: !legacy.as_os_str().is_empty(),
            path,
            records,
            left: HashMap::new(),
            unsaved: false,
            last_size: 0,
            next_snap: now + SNAP_EVERY,
            next_save: now,
            next_sweep: now + SWEEP_EVERY,
            next_sync: None,
            next_look: now,
            next_folders: now,
            reindex: false,
            looking: None,
            saving: None,
            alive: Some(alive),
            ended,
        }
    }

    /// For a worker, so that its end is seen.
    pub fn worker(&self) -> mpsc::Sender<()> {
        self.alive.clone().expect("workers are made before the end")
    }

    /// Takes the targets of new arguments. Those that stay go on where they are.
    pub async fn set_finder(&mut self, finder: Arc<dyn Finder>, use_legacy: bool) {
        (self.finder, self.use_legacy) = (finder, use_legacy);
        self.restart_changed();
        self.sync().await;
    }

    /// Whether files are compressed decides what an offset means: such targets begin again from their position.
    fn restart_changed(&mut self) {
        let settings = self.engine.settings.load_full();
        let changed: Vec<Key> = self
            .tails
            .iter()
            .filter(|(_, tail)| {
                let mut state = tail.state.lock();
                state.recode(settings.charset);
                state.current().is_some_and(|f| f.is_packed() != settings.codec(&tail.path).is_some())
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in changed {
            if let Some(tail) = self.tails.remove(&key) {
                self.by_number.remove(&tail.number);
                let mut state = tail.state.lock();
                tail.set_active(&mut state, false);
                state.files.iter().for_each(|f| self.engine.registry.forget(f.id, &tail.labels, &tail.path));
                if let Some(record) = state.record() {
                    self.left.insert(key, record);
                }
            }
        }
    }

    async fn sync(&mut self) {
        self.next_sync = self.finder.every().map(|period| Instant::now() + period);
        let finder = self.finder.clone();
        let wanted = match tokio::task::spawn_blocking(move || finder.find()).await {
            Ok(wanted) => wanted,
            Err(error) => {
                tracing::error!(%error, "files could not be looked for");
                return;
            }
        };
        let mut keys = HashSet::new();
        for wanted in wanted {
            if wanted.key.path.is_empty() {
                tracing::error!(labels = %wanted.key.labels, "a target names no file: it has no __path__");
                continue;
            }
            match self.tails.get(&wanted.key) {
                Some(tail) => tail.state.lock().leaving = None,
                None if wanted.is_old => continue,
                None => self.add(&wanted),
            }
            keys.insert(wanted.key);
        }
        let deadline = Instant::now() + LEAVE_WITHIN;
        for tail in self.tails.values().filter(|tail| !keys.contains(&tail.key)) {
            tail.state.lock().leaving.get_or_insert(deadline);
            self.engine.look_at(tail, self.engine.now_ms());
        }
        self.searched = true;
        self.index();
    }

    fn add(&mut self, wanted: &Wanted) {
        let key = wanted.key.clone();
        let mut record = self.left.remove(&key).or_else(|| self.records.get(&key).cloned());
        if record.is_none() && self.use_legacy {
            let bare = Key { path: key.path.clone(), labels: NO_LABELS.into() };
            record = self.records.get(&bare).cloned();
        }
        // What was left of rotated files is read under this path; patterns may find them by their new names
        // before this one is looked at.
        if let Some(record) = &record {
            let (registry, owner) = (&self.engine.registry, Path::new(&key.path));
            record.rest.iter().for_each(|place| registry.follow(place.id, &wanted.labels, owner));
            record.file.iter().for_each(|place| registry.current(place.id, &wanted.labels, owner));
        }
        let metrics = &self.engine.metrics;
        let path = key.path.as_str();
        let counts = Counts {
            lines: metrics.read_lines.with_label_values(&[path]),
            read: metrics.read_bytes.with_label_values(&[path]),
            size: metrics.file_bytes.with_label_values(&[path]),
            active: metrics.files_active.clone(),
        };
        let others = wanted.labels.iter().filter(|(name, _)| *name != FILENAME);
        let tail = Arc::new(Tail {
            number: next_number(),
            path: path.into(),
            stream: Labels::from_pairs(others.chain([(FILENAME, path)])),
            labels: wanted.labels.clone(),
            due: AtomicU64::new(0),
            last_read: AtomicU64::new(0),
            busy: AtomicBool::new(false),
            moved: AtomicBool::new(false),
            armed: AtomicBool::new(false),
            told: AtomicBool::new(false),
            is_late: self.searched,
            state: Mutex::new(State::new(record)),
            counts,
            key: key.clone(),
        });
        self.by_number.insert(tail.number, tail.clone());
        self.tails.insert(key, tail);
        self.engine.refolder.store(true, Ordering::Relaxed);
        self.engine.wake.notify_one();
    }

    fn remove(&mut self, tail: &Arc<Tail>) {
        if self.tails.get(&tail.key).is_none_or(|t| t.number != tail.number) {
            return;
        }
        self.tails.remove(&tail.key);
        self.by_number.remove(&tail.number);
        if !self.tails.values().any(|other| other.key.path == tail.key.path) {
            self.engine.metrics.forget(&tail.key.path);
        }
        let mut state = tail.state.lock();
        tail.set_active(&mut state, false);
        for file in &state.files {
            self.engine.registry.done(file.id, &tail.labels, &tail.path, file.read);
        }
        if let Some(record) = state.record() {
            if self.left.len() >= REMEMBERED {
                self.left.clear();
            }
            self.left.insert(tail.key.clone(), record);
        }
        self.unsaved |= self.records.remove(&tail.key).is_some();
    }

    fn index(&mut self) {
        self.by_path.clear();
        for tail in self.tails.values() {
            self.by_path.entry(tail.path.clone()).or_default().push(tail.clone());
            let real = tail.state.lock().files.back().map(|f| f.path.clone());
            if let Some(real) = real.filter(|real| *real != tail.path) {
                self.by_path.entry(real).or_default().push(tail.clone());
            }
        }
        *self.engine.shown.lock() = self.tails.values().cloned().collect();
    }

    /// One step of what there is to do. Safe to drop and call again.
    pub async fn step(&mut self) {
        let now = Instant::now();
        self.begin_looks(now);
        if self.next_sync.is_some_and(|at| at <= now) {
            return self.sync().await;
        }
        if self.next_snap <= now {
            self.snap(now);
        }
        let engine = self.engine.clone();
        // Those that have something to tell are many: they are heard as often as looks are made.
        let hears = now >= self.next_look;
        let until = if hears { self.next_event(now) } else { self.next_look.min(self.next_snap.max(now)) };
        tokio::select! {
            told = told(&engine) => self.changed(told),
            over = finished(&mut self.looking) => {
                self.looking = None;
                self.looked(over);
            }
            saved = finished(&mut self.saving) => {
                self.saving = None;
                self.unsaved |= saved != Some(true);
            }
            () = engine.wake.notified(), if hears => {}
            () = tokio::time::sleep_until(until) => {}
        }
    }

    fn next_event(&self, now: Instant) -> Instant {
        let mut until = self.next_snap;
        if let Some(sync) = self.next_sync {
            until = until.min(sync);
        }
        if self.looking.is_none() {
            let due = self.tails.values().map(|t| t.due.load(Ordering::Relaxed)).min();
            if let Some(due) = due.filter(|due| *due != u64::MAX) {
                until = until.min(self.engine.instant_of(due).max(self.next_look));
            }
        }
        until.max(now)
    }

    fn begin_looks(&mut self, now: Instant) {
        if self.looking.is_some() || now < self.next_look {
            return;
        }
        let ms = self.engine.now_ms();
        let mut due: Vec<Arc<Tail>> =
            self.tails.values().filter(|t| t.due.load(Ordering::Relaxed) <= ms).cloned().collect();
        if due.is_empty() {
            return;
        }
        self.next_look = now + LOOK_EVERY;
        due.iter().for_each(|t| t.due.store(u64::MAX, Ordering::Relaxed));
        let engine = self.engine.clone();
        let refolder = now >= self.next_folders && engine.refolder.swap(false, Ordering::Relaxed);
        let all: Vec<Arc<Tail>> = if refolder { self.tails.values().cloned().collect() } else { Vec::new() };
        if refolder {
            self.next_folders = now + FOLDERS_EVERY;
            self.reindex = true;
        }
        self.looking = Some(tokio::task::spawn_blocking(move || {
            // Those with a position first: they know rotated files that others are about to find.
            due.sort_by_cached_key(|t| !t.state.lock().has_record());
            due.retain(|tail| look(&engine, tail));
            if refolder {
                watch_folders(&engine, &all);
            }
            due
        }));
    }

    fn looked(&mut self, over: Option<Vec<Arc<Tail>>>) {
        match over {
            Some(over) => {
                over.iter().for_each(|tail| self.remove(tail));
                self.reindex |= !over.is_empty();
            }
            // It failed in the middle: nobody knows for whom.
            None => {
                let soon = self.engine.now_ms() + 1000;
                self.tails.values().for_each(|tail| self.engine.look_at(tail, soon));
            }
        }
        if std::mem::take(&mut self.reindex) {
            self.index();
        }
    }

    fn changed(&self, told: Vec<Told>) {
        let now = self.engine.now_ms();
        for told in told {
            match told {
                Told::Name(path) => {
                    let tails = self.by_path.get(&path).into_iter().flatten();
                    tails.for_each(|tail| self.engine.look_at(tail, now));
                }
                Told::File(number) => {
                    if let Some(tail) = self.by_number.get(&number) {
                        self.engine.file_changed(tail);
                    }
                }
                Told::Everything => self.tails.values().for_each(|tail| {
                    tail.armed.store(false, Ordering::Relaxed);
                    self.engine.look_at(tail, now);
                }),
            }
        }
    }

    /// Takes over what has moved; writes it if it is time.
    fn snap(&mut self, now: Instant) {
        self.next_snap = now + SNAP_EVERY;
        let moved = self.take_moved();
        if now >= self.next_sweep {
            self.next_sweep = now + SWEEP_EVERY;
            self.sweep();
        }
        let small = self.last_size <= SMALL_FILE;
        if self.unsaved && self.saving.is_none() && (now >= self.next_save || !moved && small) {
            self.next_save = now + SAVE_EVERY;
            self.unsaved = false;
            let (path, text) = (self.path.clone(), positions::render(&self.records));
            self.last_size = text.len();
            self.saving = Some(tokio::task::spawn_blocking(move || save(&path, &text)));
        }
    }

    fn take_moved(&mut self) -> bool {
        let mut moved = false;
        for tail in self.tails.values() {
            if !tail.moved.swap(false, Ordering::Relaxed) {
                continue;
            }
            let mut state = tail.state.lock();
            let record = state.record();
            if state.files.iter().any(|f| f.is_held()) {
                tail.moved.store(true, Ordering::Relaxed);
            }
            let changed = match record {
                Some(record) if self.records.get(&tail.key) != Some(&record) => {
                    self.records.insert(tail.key.clone(), record);
                    true
                }
                Some(_) => false,
                None => self.records.remove(&tail.key).is_some(),
            };
            moved |= changed;
        }
        self.unsaved |= moved;
        moved
    }

    /// Positions of files that are neither targets nor there are of no use.
    fn sweep(&mut self) {
        let (tails, before) = (&self.tails, self.records.len());
        self.records.retain(|key, record| {
            tails.contains_key(key) || record.offset().is_none() || Path::new(&key.path).exists()
        });
        self.unsaved |= self.records.len() != before;
    }

    /// Waits for answers that are under way, then for what others keep back, and writes positions.
    pub async fn stop(mut self) {
        self.engine.stopping.cancel();
        self.alive = None;
        if tokio::time::timeout(END_WITHIN, self.ended.recv()).await.is_err() {
            self.engine.abandon.cancel();
        }
        if let Some(saving) = self.saving.take() {
            let _ = saving.await;
        }
        let deadline = Instant::now() + END_WITHIN;
        while self.is_held() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.tails.values().for_each(|tail| tail.moved.store(true, Ordering::Relaxed));
        self.take_moved();
        let (path, text) = (self.path.clone(), positions::render(&self.records));
        if self.unsaved {
            let _ = tokio::task::spawn_blocking(move || save(&path, &text)).await;
        }
    }

    fn is_held(&self) -> bool {
        self.tails.values().any(|tail| {
            let mut state = tail.state.lock();
            state.files.iter_mut().any(|file| {
                file.settle();
                file.is_held()
            })
        })
    }
}

/// Looks at a target; whether it is over.
fn look(engine: &Arc<Engine>, tail: &Arc<Tail>) -> bool {
    let plan = |wait: Duration| engine.look_at(tail, engine.now_ms() + (wait.as_millis() as u64).max(1));
    match engine.with_surroundings(|at| tail.look(at)) {
        Seen::Over if !tail.busy.load(Ordering::Acquire) => return true,
        Seen::Over => plan(LOOK_EVERY),
        Seen::Idle(wait) => plan(wait),
        Seen::Data(wait) => {
            plan(wait);
            engine.ready(tail);
        }
    }
    false
}

/// Watches the folders of all targets.
fn watch_folders(engine: &Engine, tails: &[Arc<Tail>]) {
    let Some(inotify) = &engine.inotify else { return };
    let folders: Vec<Vec<PathBuf>> = tails.iter().map(|tail| tail.folders()).collect();
    let wanted: HashSet<PathBuf> = folders.iter().flatten().cloned().collect();
    let told: HashSet<PathBuf> = inotify.watch_folders(wanted).into_iter().collect();
    for (tail, folders) in tails.iter().zip(folders) {
        tail.told.store(folders.iter().all(|f| told.contains(f)), Ordering::Relaxed);
    }
}

/// Own positions, and those of the legacy file where there are none yet.
fn load(path: &Path, legacy: &Path) -> (BTreeMap<Key, Record>, Option<String>) {
    let is_new = std::fs::metadata(path).map_or(true, |m| m.len() == 0);
    let loaded = positions::load(path);
    if loaded.damage.is_some() {
        positions::set_aside(path);
    }
    if legacy.as_os_str().is_empty() || !is_new {
        return (loaded.records, loaded.damage);
    }
    let old = positions::load(legacy);
    tracing::info!(path = %legacy.display(), positions = old.records.len(), "positions are taken over");
    (old.records, loaded.damage.or(old.damage))
}

fn save(path: &Path, text: &str) -> bool {
    let saved = positions::save(path, text);
    if let Err(error) = &saved {
        tracing::error!(%error, path = %path.display(), "positions could not be written; it is tried again");
    }
    saved.is_ok()
}

async fn told(engine: &Engine) -> Vec<Told> {
    match &engine.inotify {
        Some(inotify) => inotify.told().await,
        None => std::future::pending().await,
    }
}

/// The result of a task, if there is one; its panic is none.
async fn finished<T>(task: &mut Option<JoinHandle<T>>) -> Option<T> {
    match task {
        Some(task) => match task.await {
            Ok(result) => Some(result),
            Err(error) => {
                tracing::error!(%error, "a task failed");
                None
            }
        },
        None => std::future::pending().await,
    }
}

//! `loki.source.journal` reads systemd's journal.
//!
//! Data path: the kernel tells of a change, or two seconds are over → [`reader`] on a blocking thread → entries →
//! line and labels ([`fields`]) → streams → `forward_to`; then the place moves.
//! Invariants: nothing of a journal is read on an asynchronous thread; a place moves only when the sinks have what
//! is before it; a reader that is replaced has ended before the next one begins.

mod fields;
mod header;
mod matches;
mod place;
mod reader;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use component::eval::Invalid;
use component::metrics::{IntCounter, IntCounterVec};
use component::{
    Arguments, BuildCx, Component, Error, Event, Exports, Fanout, Health, Receiver, RelabelRules, RunCx,
    Stability,
};
use notify::{RecursiveMode, Watcher};
use parking_lot::Mutex;
use signal::logs::{Entry, LogBuilder, Receipt};
use signal::{Labels, LabelsBuilder, Logs};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::cursors::{Cursors, SAVE_EVERY};
use super::outlet::{Handed, Ledger, Outlet};
use crate::intake::Intake;
use component::OnceAMinute;
use matches::Matches;
use place::{Cursor, Place};
use reader::{Found, Reader, roots};
use tail::positions;

/// How often the journal is looked at although the kernel does not tell of a change.
const POLL: Duration = Duration::from_secs(2);
/// Changes that come together are looked at together.
const GATHER: Duration = Duration::from_millis(100);
/// How long the end waits for a batch before positions are written.
const END_WITHIN: Duration = Duration::from_secs(5);
/// The labels under which the place is stored that only this program understands.
const OWN: &str = "ferroalloy";

/// Arguments.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct Args {
    /// Sends all fields of an entry as JSON instead of its message.
    #[arg(default)]
    pub format_as_json: bool,
    /// Entries that are older are left out when reading begins; 0 leaves out none.
    #[arg(default = "7h")]
    pub max_age: Duration,
    /// Folder of the journal; `/run/log/journal` and `/var/log/journal` where it is empty.
    #[arg(default)]
    pub path: String,
    /// Rules that make the labels of entries from `__journal_*`.
    pub relabel_rules: Option<RelabelRules>,
    /// `FIELD=value` terms that entries have to match; `+` begins an alternative set.
    #[arg(default)]
    pub matches: String,
    /// Where entries go.
    pub forward_to: Vec<Receiver<Logs>>,
    /// Labels for all entries.
    #[arg(default)]
    pub labels: BTreeMap<String, String>,
    /// Takes over the position of Promtail or Grafana Agent, while there is none of our own.
    #[arg(block)]
    pub legacy_position: Option<LegacyPosition>,
}

/// Where another program has stored how far it has read.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct LegacyPosition {
    /// Its positions file.
    pub file: String,
    /// The name of its journal job.
    pub name: String,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        Matches::parse(&self.matches).map(drop).map_err(|message| Invalid::field("matches", message))
    }
}

/// The component.
pub struct Journal {
    args: Args,
    metrics: Metrics,
}

/// Own metrics.
#[derive(Clone)]
struct Metrics {
    lines: IntCounter,
    errors: IntCounterVec,
    refused: IntCounter,
}

/// What readers share with each other and with the component.
struct Shared {
    cx: BuildCx,
    outlet: Outlet,
    metrics: Metrics,
    progress: Mutex<Progress>,
    /// Held by the reader at work.
    alone: tokio::sync::Mutex<()>,
    told: OnceAMinute,
    healthy: Mutex<Option<bool>>,
}

#[derive(Default)]
struct Progress {
    place: Place,
    ledger: Ledger<Place>,
}

impl Component for Journal {
    const NAME: &'static str = "loki.source.journal";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = JournalExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, JournalExports), Error> {
        Intake::new(Labels::empty(), args.relabel_rules.as_ref())?;
        if args.path.is_empty() {
            cx.needs_linux("systemd, whose journal is read where path is not set, is there only on Linux")?;
        }
        let metrics = cx.metrics();
        let errors = "Total number of parsing errors while reading journal messages.";
        let lines = "Total number of successful journal lines read.";
        let dropped = "Entries that were dropped, by reason.";
        let metrics = Metrics {
            lines: metrics.counter("loki_source_journal_target_lines_total", lines),
            errors: metrics.counter_vec(
                "loki_source_journal_target_parsing_errors_total",
                errors,
                &["error"],
            ),
            refused: metrics
                .counter_vec("loki_source_journal_dropped_entries_total", dropped, &["reason"])
                .with_label_values(&["refused"]),
        };
        Ok((Self { args, metrics }, JournalExports {}))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let cursors = Arc::new(Cursors::open(&cx.data_path()).await);
        let key = format!("cursor-{}", cx.id());
        let place = stored(&cursors, &key, self.args.legacy_position.as_ref()).await?;
        let shared = Arc::new(Shared {
            cx: (*cx).clone(),
            outlet: Outlet::new(Fanout::new([]), self.metrics.refused.clone()),
            metrics: self.metrics,
            progress: Mutex::new(Progress { place, ledger: Ledger::default() }),
            alone: tokio::sync::Mutex::default(),
            told: OnceAMinute::default(),
            healthy: Mutex::default(),
        });
        let mut stop = start(&shared, &cx, &self.args)?;
        let mut made = self.args;
        let mut save = tokio::time::interval(SAVE_EVERY);
        loop {
            tokio::select! {
                biased;
                event = cx.event() => match event {
                    Event::Stop => break,
                    Event::Update(update) => {
                        update.apply(|args| {
                            if (Args { forward_to: made.forward_to.clone(), ..args.clone() }) == made {
                                shared.outlet.set(Fanout::new(args.forward_to.iter().cloned()));
                            } else {
                                // The old one goes on until the new one is known to be good.
                                let new = start(&shared, &cx, &args)?;
                                std::mem::replace(&mut stop, new).cancel();
                            }
                            made = args;
                            Ok(())
                        });
                    }
                },
                _ = save.tick() => {
                    store(&shared, &cursors, &key);
                    let cursors = cursors.clone();
                    cx.spawn(async move { told(cursors.save_unless_busy().await) });
                }
            }
        }
        stop.cancel();
        if tokio::time::timeout(END_WITHIN, shared.alone.lock()).await.is_err() {
            tracing::warn!("the last entries were not taken; they are read again");
        }
        store(&shared, &cursors, &key);
        told(cursors.save().await);
        Ok(())
    }
}

/// Where the journal was left: by us, by Alloy, or by the program before.
async fn stored(cursors: &Cursors, key: &str, legacy: Option<&LegacyPosition>) -> Result<Place, Error> {
    let values = cursors.get(key);
    let own = values.iter().find(|(l, _)| l == OWN).and_then(|(_, v)| Place::parse(v));
    // Alloy looks under no labels, but takes legacy positions over under `{}`.
    let alloys = values.iter().find(|(l, _)| l != OWN).map(|(_, v)| v.clone());
    if let Some(text) = alloys {
        let cursor = Cursor::parse(&text);
        if cursor.is_none() {
            tracing::error!(cursor = %text, "the stored cursor is none; reading begins at max_age");
        }
        // If Alloy has gone on with this file since, only its cursor is right.
        let own = own.filter(|own| own.cursor == cursor);
        return Ok(own.unwrap_or_else(|| cursor.map(Place::at).unwrap_or_default()));
    }
    let Some(legacy) = legacy.filter(|_| cursors.is_empty()) else { return Ok(Place::default()) };
    let path = PathBuf::from(&legacy.file);
    let read = tokio::task::spawn_blocking(move || match std::fs::read_to_string(&path) {
        Ok(text) => Ok(positions::parse(&text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(positions::Loaded::default()),
        // To begin elsewhere would send what was sent.
        Err(error) => {
            Err(Error::io(format!("legacy_position cannot be read from {}", path.display()), error))
        }
    });
    let loaded = read.await.map_err(|e| Error::other(e.to_string()))??;
    let names = [format!("cursor-{}", legacy.name), format!("journal-{}", legacy.name)];
    let of_job = loaded.records.iter().find(|(key, _)| names.contains(&key.path));
    let cursor = of_job.and_then(|(_, record)| Cursor::parse(&record.value));
    if cursor.is_none() {
        let (file, name) = (&legacy.file, &legacy.name);
        tracing::warn!(%file, %name, "there is no position of this journal job; reading begins at max_age");
    }
    Ok(cursor.map(Place::at).unwrap_or_default())
}

/// Puts away what is settled.
fn store(shared: &Shared, cursors: &Cursors, key: &str) {
    let settled = shared.progress.lock().ledger.settled();
    if let Some(place) = settled
        && let Some(cursor) = place.cursor
    {
        cursors.put(key, &[("", cursor.render()), (OWN, place.render())]);
    }
}

fn told(saved: Result<(), Error>) {
    if let Err(error) = saved {
        tracing::error!(%error, "positions are not stored");
    }
}

/// Starts a reader with new arguments; it waits for the end of the one before.
fn start(shared: &Arc<Shared>, cx: &RunCx<Journal>, args: &Args) -> Result<CancellationToken, Error> {
    let mut fixed = args.labels.clone();
    // As Alloy: entries have the job of their component.
    fixed.entry("job".into()).or_insert_with(|| cx.id().to_owned());
    let worker = Worker {
        shared: shared.clone(),
        intake: Intake::new(Labels::from_pairs(&fixed), args.relabel_rules.as_ref())?,
        needed: fields::needed(args.relabel_rules.as_ref()),
        matches: Matches::parse(&args.matches).map_err(|e| Error::argument("matches", e))?,
        as_json: args.format_as_json,
        max_age: args.max_age,
        roots: roots(&args.path),
        found: LabelsBuilder::new(),
        stop: CancellationToken::new(),
    };
    shared.outlet.set(Fanout::new(args.forward_to.iter().cloned()));
    let stop = worker.stop.clone();
    cx.spawn(worker.run());
    Ok(stop)
}

/// A reader at work, made with one set of arguments.
struct Worker {
    shared: Arc<Shared>,
    intake: Intake,
    needed: Option<HashSet<String>>,
    matches: Matches,
    as_json: bool,
    max_age: Duration,
    roots: Vec<PathBuf>,
    found: LabelsBuilder,
    stop: CancellationToken,
}

impl Worker {
    async fn run(mut self) {
        let shared = self.shared.clone();
        let _alone = tokio::select! {
            () = self.stop.cancelled() => return,
            alone = shared.alone.lock() => alone,
        };
        let now = u64::try_from(jiff::Timestamp::now().as_microsecond()).unwrap_or(0);
        let age = u64::try_from(self.max_age.as_micros()).unwrap_or(u64::MAX);
        let cutoff = if self.max_age.is_zero() { 0 } else { now.saturating_sub(age) };
        let place = shared.progress.lock().place.clone();
        let mut reader = Reader::new(self.roots.clone(), self.matches.clone(), cutoff, place);
        let changed = Arc::new(Notify::new());
        let mut watcher = None;
        loop {
            if watcher.is_none() {
                watcher = watch(&self.roots, &changed);
            }
            let look = tokio::task::spawn_blocking(move || {
                let found = reader.look();
                (reader, found)
            });
            let found = match look.await {
                Ok((back, found)) => {
                    reader = back;
                    found
                }
                Err(error) => {
                    // The library's mistake must not be the end of reading.
                    self.shared.report(Some(format!("reading the journal failed: {error}")));
                    self.shared.metrics.errors.with_label_values(&["panic"]).inc();
                    let place = self.shared.progress.lock().place.clone();
                    reader = Reader::new(self.roots.clone(), self.matches.clone(), cutoff, place);
                    self.pause(&changed).await;
                    continue;
                }
            };
            let more = match found {
                Ok(found) => {
                    self.shared.report(None);
                    let more = found.more;
                    if self.deliver(found).await == Handed::Stopped {
                        return;
                    }
                    more
                }
                Err(error) => {
                    self.shared.report(Some(error));
                    false
                }
            };
            if !more {
                self.pause(&changed).await;
            }
            if self.stop.is_cancelled() {
                return;
            }
        }
    }

    /// Until there is a reason to look.
    async fn pause(&self, changed: &Notify) {
        tokio::select! {
            () = self.stop.cancelled() => return,
            () = tokio::time::sleep(POLL) => return,
            () = changed.notified() => {}
        }
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(GATHER) => {}
        }
    }

    async fn deliver(&mut self, found: Found) -> Handed {
        self.count(&found);
        let Some(place) = found.place else { return Handed::Over };
        let receipt = Receipt::new();
        let received_ms = jiff::Timestamp::now().as_millisecond();
        let mut batch = LogBuilder::new(received_ms, Some(receipt.hold()));
        for entry in found.entries {
            let line = fields::line(&entry.fields, self.as_json);
            if line.is_empty() {
                self.shared.metrics.errors.with_label_values(&["no_message"]).inc();
                continue;
            }
            self.found.clear();
            for (name, value) in fields::labels(&entry.fields, self.needed.as_ref()) {
                self.found.set(&name, &value);
            }
            let Some(stream) = self.intake.stream(&self.found.build()) else { continue };
            if stream.is_empty() {
                self.shared.metrics.errors.with_label_values(&["empty_labels"]).inc();
                continue;
            }
            let stream = batch.stream(&stream);
            let timestamp_ns = i64::try_from(entry.time.saturating_mul(1000)).unwrap_or(i64::MAX);
            batch.push(Entry { stream, timestamp_ns, line: line.into(), metadata: None });
        }
        let lines = batch.len() as u64;
        let batch = batch.finish();
        if lines > 0 && self.shared.outlet.send(batch, &self.stop).await == Handed::Stopped {
            return Handed::Stopped;
        }
        self.shared.metrics.lines.inc_by(lines);
        let mut progress = self.shared.progress.lock();
        if progress.place != place {
            progress.place = place.clone();
            progress.ledger.add(place, receipt);
        }
        Handed::Over
    }

    fn count(&self, found: &Found) {
        let errors = &self.shared.metrics.errors;
        for (path, error) in &found.bad_files {
            errors.with_label_values(&["corrupt_file"]).inc();
            tracing::warn!(path = %path.display(), %error, "a journal file is passed over");
        }
        errors.with_label_values(&["corrupt_entry"]).inc_by(found.bad_entries.len() as u64);
        if let Some(error) = found.bad_entries.first().filter(|_| self.shared.told.now()) {
            tracing::warn!(%error, entries = found.bad_entries.len(), "journal entries cannot be read and are passed over");
        }
    }
}

impl Shared {
    /// Reports the node's health where it has changed.
    fn report(&self, error: Option<String>) {
        let mut healthy = self.healthy.lock();
        if healthy.replace(error.is_none()) == Some(error.is_none()) {
            return;
        }
        match error {
            Some(error) => {
                tracing::warn!(%error, "the journal cannot be read now");
                self.cx.report(Health::unhealthy(error));
            }
            None => self.cx.report(Health::healthy("the journal is read")),
        }
    }
}

/// Has the kernel tell of changes. Without it, as on network file systems, the journal is looked at every two
/// seconds.
fn watch(roots: &[PathBuf], changed: &Arc<Notify>) -> Option<notify::RecommendedWatcher> {
    let tell = changed.clone();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|e| !matches!(e.kind, notify::EventKind::Access(_))) {
            tell.notify_one();
        }
    })
    .ok()?;
    let there = |root: &&PathBuf| Path::is_dir(root);
    let watched = roots.iter().filter(there).filter(|r| watcher.watch(r, RecursiveMode::Recursive).is_ok());
    (watched.count() > 0).then_some(watcher)
}

/// There are none.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct JournalExports {}

/// Reads any text as a place in a journal, the head of its file and a filter of it; for `tests/fuzz` only.
#[doc(hidden)]
pub fn read_arbitrary(text: &str, length: u64) {
    place::read_arbitrary(text);
    header::read_arbitrary(text.as_bytes(), length);
    let _ = matches::Matches::parse(text);
}

#[cfg(test)]
mod tests;

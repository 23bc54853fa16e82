//! The component as a whole, on real files: rotation, restarts, refusals.
//!
//! Time is paused, so that waits pass at once; what is waited for is always a line, a position or a metric.

mod faults;
mod handles;
mod positions;
mod renames;
mod rotation;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use component::testkit::{Harness, Names};
use component::{ArgValue, BoxFuture, ComponentDef, Consumer, Port, Rejected, Services};
use parking_lot::Mutex;
use signal::Logs;
use signal::logs::Hold;
use tokio::sync::Notify;

use super::File;

const DEF: ComponentDef = ComponentDef::of::<File>();

/// What the sink does.
#[derive(Clone, Debug)]
pub enum Mode {
    /// Keeps batches and answers.
    Answer(Result<(), Rejected>),
    /// Answers nothing at all.
    Block,
    /// Answers `Ok` and keeps the batch's hold.
    Hold,
}

/// The sink.
pub struct Gate {
    mode: Mutex<Mode>,
    changed: Notify,
    batches: Mutex<Vec<Logs>>,
    arrived: Notify,
    asked: AtomicUsize,
    holds: Mutex<Vec<Hold>>,
}

impl Consumer<Logs> for Gate {
    fn consume(&self, batch: Logs) -> BoxFuture<'_, Result<(), Rejected>> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::Relaxed);
            loop {
                let changed = self.changed.notified();
                let mode = self.mode.lock().clone();
                let answer = match mode {
                    Mode::Block => {
                        changed.await;
                        continue;
                    }
                    Mode::Hold => {
                        self.holds.lock().extend(batch.hold.clone());
                        Ok(())
                    }
                    Mode::Answer(answer) => answer,
                };
                if answer.is_ok() {
                    let mut batch = batch.into_batch();
                    batch.hold = None;
                    self.batches.lock().push(batch.into());
                    self.arrived.notify_waiters();
                }
                return answer;
            }
        })
    }
}

/// A component with a folder for logs, one for its data, and a sink.
pub struct Rig {
    folder: tempfile::TempDir,
    storage: tempfile::TempDir,
    port: Port<Logs>,
    pub gate: Arc<Gate>,
    harness: Option<Harness>,
    /// Lines that have arrived.
    pub lines: Vec<String>,
    /// Batches that have arrived.
    pub batches: Vec<Logs>,
}

impl Rig {
    /// Nothing runs yet.
    pub fn new() -> Self {
        let gate = Arc::new(Gate {
            mode: Mutex::new(Mode::Answer(Ok(()))),
            changed: Notify::new(),
            batches: Mutex::default(),
            arrived: Notify::new(),
            asked: AtomicUsize::new(0),
            holds: Mutex::default(),
        });
        let port = Port::detached("sink");
        let _ = port.attach_shared(gate.clone());
        let new = || tempfile::tempdir().unwrap();
        Self {
            folder: new(),
            storage: new(),
            port,
            gate,
            harness: None,
            lines: Vec::new(),
            batches: Vec::new(),
        }
    }

    /// A path in the folder for logs.
    pub fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Appends to a file.
    pub fn write(&self, name: &str, text: &str) {
        append(&self.at(name), text);
    }

    /// `targets = [{…}]` for a file.
    pub fn target(&self, name: &str) -> String {
        format!("targets = [{{__path__ = {:?}, job = \"x\", __hidden = \"y\"}}]\n", self.at(name))
    }

    /// Starts the component; `rest` is its body without `forward_to`.
    pub async fn start(&mut self, rest: &str) {
        let names = Names::default().with("sink", self.port.receiver().to_value());
        let harness = Harness::new(DEF, names, Services::for_tests(self.storage.path()));
        harness.update(&format!("{rest}\nforward_to = [sink]")).await.unwrap();
        harness.node.start();
        self.harness = Some(harness);
    }

    /// Gives the running component new arguments.
    pub async fn update(&mut self, rest: &str) {
        self.harness().update(&format!("{rest}\nforward_to = [sink]")).await.unwrap();
    }

    pub fn harness(&self) -> &Harness {
        self.harness.as_ref().unwrap()
    }

    /// Stops the component as at the end of the process.
    pub async fn stop(&mut self) {
        self.harness.take().unwrap().stop().await;
        self.collect();
    }

    /// What the sink does from now on.
    pub fn set(&self, mode: Mode) {
        if !matches!(mode, Mode::Hold) {
            self.gate.holds.lock().clear();
        }
        *self.gate.mode.lock() = mode;
        self.gate.changed.notify_waiters();
    }

    /// The sink is full from now on.
    pub fn refuse(&self) {
        self.set(Mode::Answer(Err(Rejected::Retryable("full".into()))));
    }

    /// The sink takes everything from now on.
    pub fn accept(&self) {
        self.set(Mode::Answer(Ok(())));
    }

    /// Waits until the sink has been asked once more.
    pub async fn asked(&self) {
        let before = self.gate.asked.load(Ordering::Relaxed);
        while self.gate.asked.load(Ordering::Relaxed) == before {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Takes over what has arrived.
    pub fn collect(&mut self) {
        let batches = std::mem::take(&mut *self.gate.batches.lock());
        self.lines.extend(batches.iter().flat_map(|b| b.entries.iter().map(|e| e.line.to_string())));
        self.batches.extend(batches);
    }

    /// Waits until so many lines have arrived in all.
    pub async fn until(&mut self, count: usize) {
        let gate = self.gate.clone();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(600);
        loop {
            let arrived = gate.arrived.notified();
            self.collect();
            if self.lines.len() >= count {
                return;
            }
            let more = tokio::time::timeout_at(deadline, arrived).await;
            assert!(more.is_ok(), "only {} of {count} lines: {:?}", self.lines.len(), self.lines.last());
        }
    }

    /// Lets the component do whatever it still would.
    pub async fn rest(&mut self) {
        tokio::time::sleep(Duration::from_secs(120)).await;
        self.collect();
    }

    /// The numbered lines of these ranges have arrived, each once, in order.
    pub async fn expect(&mut self, numbers: impl Iterator<Item = usize>) {
        let expected: Vec<String> = numbers.map(|n| format!("line {n}")).collect();
        self.until(expected.len()).await;
        self.rest().await;
        if self.lines != expected {
            let missing: Vec<_> = expected.iter().filter(|l| !self.lines.contains(l)).take(10).collect();
            let mut sorted = self.lines.clone();
            sorted.sort();
            let twice: Vec<_> = sorted.windows(2).filter(|w| w[0] == w[1]).map(|w| &w[0]).take(10).collect();
            panic!(
                "{} lines instead of {}; missing {missing:?}, twice {twice:?}",
                self.lines.len(),
                expected.len()
            );
        }
    }

    /// The positions file.
    pub fn positions_path(&self) -> PathBuf {
        self.storage.path().join("loki.source.file.test/positions.yml")
    }

    /// The value of an own metric of a path.
    pub fn metric(&self, name: &str, path: &Path) -> Option<f64> {
        let text = self.harness().services.metrics.text();
        let path = format!("path={path:?}");
        let line = text.lines().find(|l| l.starts_with(&format!("{name}{{")) && l.contains(&path))?;
        line.rsplit_once(' ')?.1.parse().ok()
    }
}

pub fn append(path: &Path, text: &str) {
    let mut file = std::fs::File::options().append(true).create(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// Numbered lines.
pub fn numbered(numbers: std::ops::Range<usize>) -> String {
    numbers.map(|n| format!("line {n}\n")).collect()
}

//! A log file whose lines are numbered, so that each can be looked for.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// What a line begins with, before its number.
const MARK: &str = "line=";

/// The number of a line.
pub fn number_of(line: &str) -> Option<u64> {
    let rest = &line[line.find(MARK)? + MARK.len()..];
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// Writes a log file. Clones share it.
#[derive(Clone)]
pub struct Journal(Arc<Mutex<Open>>);

/// The file while nobody writes.
pub struct Open {
    path: PathBuf,
    file: File,
    written: u64,
    /// Bytes that make a line long.
    padding: usize,
}

impl Journal {
    /// A new file; numbers begin with 1.
    pub fn create(path: &Path) -> Self {
        Self::with_padding(path, 0)
    }

    /// As [`Journal::create`], with so many bytes more in each line.
    pub fn with_padding(path: &Path, padding: usize) -> Self {
        let file = append(path);
        Self(Arc::new(Mutex::new(Open { path: path.to_path_buf(), file, written: 0, padding })))
    }

    /// Keeps others from writing.
    pub fn hold(&self) -> MutexGuard<'_, Open> {
        self.0.lock().expect("not poisoned")
    }

    /// Adds so many lines.
    pub fn write(&self, lines: u64) {
        self.hold().write(lines);
    }

    /// The last number.
    pub fn written(&self) -> u64 {
        self.hold().written
    }

    /// Writes `lines` every `pause` until the answer is dropped.
    pub fn keep_writing(&self, lines: u64, pause: Duration) -> Writing {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, journal) = (stop.clone(), self.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                journal.write(lines);
                std::thread::sleep(pause);
            }
        });
        Writing { stop, thread: Some(thread) }
    }
}

impl Open {
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn write(&mut self, lines: u64) {
        let mut text = String::new();
        let padding = "x".repeat(self.padding);
        for _ in 0..lines {
            self.written += 1;
            text.push_str(&format!("{MARK}{} the quick brown fox {padding}\n", self.written));
        }
        self.file.write_all(text.as_bytes()).expect("written");
    }

    /// Opens the path anew, as a program does that is told of a rotation.
    pub fn reopen(&mut self) {
        self.file = append(&self.path);
    }
}

fn append(path: &Path) -> File {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).expect("a folder");
    }
    OpenOptions::new().create(true).append(true).open(path).expect("a log file")
}

/// A thread that writes; it ends with this.
pub struct Writing {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

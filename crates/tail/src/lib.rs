//! Files as they grow and are rotated: which they are, where they were read to, their lines.
//!
//! Data path: [`Finder`] → [`tail::Tail`] (which file is it, what became of it) → [`generation::Generation`]
//! (read, split) → a [`Batch`] of one file that borrows the read buffer → [`Outlet`] → position.
//! Invariants: a place is persisted only when the batch before it was answered with `Ok` and nobody keeps
//! anything of it back; a file is recognised by what it is, not by its name; what is refused is kept or read
//! again, so that a blocked sink stops the reading and loses nothing.

pub mod charset;
pub mod engine;
mod generation;
pub mod handle;
pub mod identity;
#[cfg_attr(not(target_os = "linux"), path = "polled.rs")]
mod inotify;
pub mod keeper;
pub mod lines;
pub mod positions;
mod records;
mod registry;
mod siblings;
mod tail;
mod told;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use component::metrics::{GaugeVec, IntCounterVec, IntGauge, NodeMetrics};
use component::{BoxFuture, Fanout, Rejected};
use regex::bytes::Regex;
use signal::{Labels, Logs};

pub use charset::Charset;
pub use engine::{Engine, Shown, WORKERS};
pub use handle::Codec;
pub use keeper::Keeper;
pub use lines::{Framing, MAX_LINE, Rule};

use identity::FileId;
use positions::Key;

/// How files are read.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Their characters; a byte-order mark wins over it.
    pub charset: Charset,
    /// What makes an entry.
    pub framing: Framing,
    /// Where a file begins that there is no position of.
    pub start: Start,
    /// Where it begins if its position is lost.
    pub on_lost: OnLost,
    /// First wait between looks at a file, and the longest.
    pub poll: (Duration, Duration),
    /// Which files are compressed.
    pub packing: Packing,
    /// How long to wait before a new compressed file is read: its writer may not have finished.
    pub initial_delay: Duration,
    /// After how long a last line without its end is taken as one.
    pub flush_after: Option<Duration>,
    /// So many bytes of its head tell a file from others.
    pub head: usize,
    /// Files are removed when they have been read to their end and everything of them was taken.
    pub delete_after_read: bool,
    /// Read only what nobody else has locked.
    pub lock: bool,
    /// Tell the kernel not to keep what was read in its cache.
    pub advise: bool,
    /// Lines at the start of a file that are not entries but say something about all of them.
    pub header: Option<Regex>,
    /// Entries are numbered, and their number is kept with the position.
    pub count_records: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            charset: Charset::Utf8,
            framing: Framing::default(),
            start: Start::Beginning,
            on_lost: OnLost::Beginning,
            poll: (Duration::from_millis(250), Duration::from_millis(250)),
            packing: Packing::None,
            initial_delay: Duration::ZERO,
            flush_after: None,
            head: identity::HEAD,
            delete_after_read: false,
            lock: false,
            advise: false,
            header: None,
            count_records: false,
        }
    }
}

/// Where a file begins that there is no position of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At its start.
    Beginning,
    /// At its last line.
    LastLine,
    /// At its end, if it was there when the files were first looked for and nothing was known of any; one that
    /// comes later is new.
    End,
}

/// What to do with a file whose position was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLost {
    /// Read it from its start.
    Beginning,
    /// Read it from its last line.
    LastLine,
    /// Do not read it.
    Skip,
}

/// Which files are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// None.
    None,
    /// All.
    All(Codec),
    /// Those whose names say so.
    ByName,
}

/// Entries of one file, to be handed over together.
#[derive(Clone)]
pub struct Batch {
    /// The entries; their stream's labels are those of the target with `filename`.
    pub logs: Logs,
    /// The file that they are of.
    pub file: FileFacts,
    /// The number of the first entry in its file, from 1; 0 where they are not counted.
    pub first_record: u64,
}

/// What is known of the file of a batch.
#[derive(Clone)]
pub struct FileFacts {
    /// Names it in this process.
    pub serial: u64,
    /// Which it is.
    pub id: FileId,
    /// The path under which it was found.
    pub path: Arc<std::path::Path>,
    /// Where it is or was, links resolved.
    pub real: PathBuf,
    /// Lines of its header.
    pub header: Option<Arc<[ByteString]>>,
}

/// Where batches go.
pub trait Outlet: Send + Sync + 'static {
    /// `Ok`: everything below has it, or it was dropped on purpose.
    fn send<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Result<(), Rejected>>;
}

impl Outlet for Fanout<Logs> {
    fn send<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Result<(), Rejected>> {
        Box::pin(self.send(batch.logs.clone()))
    }
}

/// Finds files.
pub trait Finder: Send + Sync + 'static {
    /// Those that are to be read; called on a thread that may block.
    fn find(&self) -> Vec<Wanted>;

    /// How often files are looked for; `None`: once.
    fn every(&self) -> Option<Duration>;
}

/// A file that is to be read.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Names it in the positions file.
    pub key: Key,
    /// Its labels.
    pub labels: Labels,
    /// It is too old to be begun with.
    pub is_old: bool,
}

impl Wanted {
    /// A file with some labels.
    pub fn new(path: &str, labels: Labels) -> Self {
        let key = Key { path: path.to_string(), labels: positions::label_text(&labels) };
        Self { key, labels, is_old: false }
    }
}

/// Own metrics.
#[derive(Clone)]
pub struct Metrics {
    read_bytes: GaugeVec,
    file_bytes: GaugeVec,
    read_lines: IntCounterVec,
    files_active: IntGauge,
    dropped: IntCounterVec,
    undecodable: IntCounterVec,
    cut: IntCounterVec,
    holes: IntCounterVec,
}

impl Metrics {
    /// `prefix` is the name of the component, with `_` for `.`.
    pub fn new(metrics: &NodeMetrics, prefix: &str) -> Self {
        let name = |what: &str| format!("{prefix}_{what}");
        let path = &["path"];
        Self {
            read_bytes: metrics.gauge_vec(&name("read_bytes_total"), "Number of bytes read.", path),
            file_bytes: metrics.gauge_vec(&name("file_bytes_total"), "Number of bytes total.", path),
            read_lines: metrics.counter_vec(&name("read_lines_total"), "Number of lines read.", path),
            files_active: metrics.gauge(&name("files_active_total"), "Number of active files."),
            dropped: metrics.counter_vec(
                &name("dropped_lines_total"),
                "Lines that a receiver refused for good.",
                path,
            ),
            undecodable: metrics.counter_vec(
                &name("encoding_failures_total"),
                "Lines in which something could not be decoded and was replaced.",
                path,
            ),
            cut: metrics.counter_vec(
                &name("cut_lines_total"),
                "Parts of lines that were too long for one entry.",
                path,
            ),
            holes: metrics.counter_vec(
                &name("skipped_nul_bytes_total"),
                "NUL bytes of holes that were skipped.",
                path,
            ),
        }
    }

    fn forget(&self, path: &str) {
        let _ = self.read_bytes.remove_label_values(&[path]);
        let _ = self.file_bytes.remove_label_values(&[path]);
        for counters in [&self.read_lines, &self.dropped, &self.undecodable, &self.cut, &self.holes] {
            let _ = counters.remove_label_values(&[path]);
        }
    }
}

//! The delivery engine: everything between "a batch is encoded" and "the back end has it".
//!
//! One [`Queue`] serves one endpoint. It knows bytes, not signals: an owner appends [`Record`]s and implements
//! [`Transport`]; the queue bounds, stores, orders, retries, paces and reports.
//!
//! Invariant: a record for which `append` answered `Ok` is delivered at least once or counted as dropped with a
//! reason; records with equal keys are delivered in order.

mod attempt;
mod config;
mod cursor;
mod engine;
mod format;
mod fs;
mod inspect;
mod lane;
mod log;
mod queue;
mod record;
mod recover;
mod scale;
mod stats;
#[cfg(test)]
mod tests;

pub use config::{Backoff, Config, DiskConfig, Fsync, OnFull};
pub use inspect::{Inspection, SegmentInspection, StoredRecord, inspect};
pub use queue::{AppendError, FolderChanged, OpenError, Queue};
pub use record::{BoxFuture, Outcome, Record, Transport};
pub use stats::{Amount, Drained, Histogram, LastError, SEND_SECONDS_BOUNDS, Stats};

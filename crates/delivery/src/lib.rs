//! The delivery engine: everything between "a batch is encoded" and "the back end has it".
//!
//! One [`Queue`] serves one endpoint. It knows bytes, not signals: an owner appends [`Record`]s and implements
//! [`Transport`]; the queue bounds, stores, orders, retries, paces and reports.
//!
//! Invariant: a record for which `append` answered `Ok` is delivered at least once or counted as dropped with a
//! reason; records with equal keys are delivered in order.

mod config;
mod queue;
mod record;
mod stats;

pub use config::{Backoff, Config, DiskConfig, Fsync, OnFull};
pub use queue::{AppendError, FolderChanged, OpenError, Queue};
pub use record::{BoxFuture, Outcome, Record, Transport};
pub use stats::{Amount, Drained, Histogram, LastError, SEND_SECONDS_BOUNDS, Stats};

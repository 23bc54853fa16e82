//! The handle of a queue.

use std::{path::PathBuf, sync::Arc, time::Duration};

use crate::{Config, Drained, Record, Stats, Transport};

/// A queue and its senders; a cheap handle. When the last handle is dropped, senders stop where they are:
/// what is on disk stays there, what is in memory only is lost. [`Queue::drain`] is the orderly way.
#[derive(Clone)]
pub struct Queue {
    inner: Arc<()>,
}

/// Why a queue could not be opened. Damaged files are never a reason.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another queue, of this process or another, holds the folder.
    #[error("queue folder {path} is in use by another process or component; give each queue its own folder")]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The folder cannot be created, listed or locked.
    #[error("cannot open queue folder {path}: {source}")]
    Io {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Why a record was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// `OnFull::Reject` and no room; the record is counted as `queue_full`.
    #[error("the queue is full")]
    Full,
    /// The record alone exceeds the queue's budget or the format's limit of 256 MiB.
    #[error("a record of {bytes} bytes does not fit the queue's limit of {limit} bytes")]
    TooLarge {
        /// Its body.
        bytes: u64,
        /// The largest body accepted.
        limit: u64,
    },
    /// `drain` has begun.
    #[error("the queue is closed")]
    Closed,
    /// The disk failed and the policy is not to wait. After a failed `fsync` the record may still be delivered.
    #[error("cannot write to the queue: {0}")]
    Io(#[from] std::io::Error),
}

impl AppendError {
    /// Whether the same record may be accepted later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, AppendError::Full | AppendError::Io(_))
    }
}

/// A change that a running queue cannot make: the owner drains it and opens another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the queue folder of a running queue cannot change; drain it and open a new queue")]
pub struct FolderChanged;

impl Queue {
    /// Opens a queue and starts its senders on the current tokio runtime.
    ///
    /// What an earlier process left in the folder is queued again; damaged files are set aside and counted.
    pub async fn open(config: Config, transport: Arc<dyn Transport>) -> Result<Queue, OpenError> {
        let _ = (config, transport);
        Ok(Queue { inner: Arc::new(()) })
    }

    /// Commits a record. `Ok`: it is in the file (in the page cache, or on the device under `Fsync::Always`),
    /// or queued when the queue has no disk.
    ///
    /// Waits while the queue is full or the disk fails under `OnFull::Block`; waiting calls are served in
    /// order. Cancelling a waiting call appends nothing.
    pub async fn append(&self, record: Record) -> Result<(), AppendError> {
        let _ = (record, &self.inner);
        Err(AppendError::Closed)
    }

    /// Uses another transport from the next attempt on, at once: back-off and pauses begin anew.
    pub fn set_transport(&self, transport: Arc<dyn Transport>) {
        let _ = transport;
    }

    /// Applies new limits without losing or reordering anything. A queue that is over a smaller limit shrinks
    /// as it is delivered (or at the next `append` under `OnFull::DropOldest`).
    ///
    /// # Errors
    /// If `config.disk` names another folder, or turns the disk on or off; nothing is changed then.
    pub fn reconfigure(&self, config: Config) -> Result<(), FolderChanged> {
        let _ = config;
        Ok(())
    }

    /// A snapshot for metrics, health and the UI.
    pub fn stats(&self) -> Stats {
        Stats::default()
    }

    /// Refuses further records, sends what is queued until `deadline`, stops the senders and releases the
    /// folder. The rest stays on disk, or is counted as dropped (`shutdown`) if there is none.
    pub async fn drain(&self, deadline: Duration) -> Drained {
        let _ = deadline;
        Drained::default()
    }
}

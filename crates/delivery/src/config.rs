//! The limits and habits of one queue. Every limit has a finite default.

use std::{path::PathBuf, time::Duration};

/// Everything that can be chosen about a queue; all of it but the disk path can change while it runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// How many bytes of records are kept in memory (bodies plus a fixed cost a record). Without a disk
    /// this bounds the queue; with one, what exceeds it lives on disk only and is read back in its turn.
    pub memory_bytes: u64,
    /// The same bound in items.
    pub memory_items: u64,
    /// Where records are kept so that they survive the process; `None` keeps them in memory only.
    pub disk: Option<DiskConfig>,
    /// How many records may be queued at all. Bounds the index of a queue that lives on disk, which takes
    /// about 60 bytes of memory a record.
    pub max_records: usize,
    /// How many items may be queued at all, in memory or on disk. A record with more is let into an empty queue.
    pub max_items: u64,
    /// Records older than this are dropped as `too_old`. Age advances with the monotonic clock once a record
    /// is queued, so a jump of the wall clock drops nothing.
    pub max_age: Duration,
    /// What `append` does when the queue is full, or the device that it is on.
    pub on_full: OnFull,
    /// Fewest attempts in flight at once when there is work; also the limit while the endpoint answers 429.
    pub min_senders: usize,
    /// Most attempts in flight at once. Never more than `lanes`.
    pub max_senders: usize,
    /// Into how many independent first-in-first-out lanes the order keys are spread.
    pub lanes: usize,
    /// How many items one attempt may carry. 1 never joins records.
    pub batch_items: u64,
    /// How many body bytes one attempt may carry.
    pub batch_bytes: u64,
    /// How long a sender waits for further records when an attempt is not yet full.
    pub batch_wait: Duration,
    /// A record of so many items does not wait for others: what is like it would not fit beside it.
    pub batch_alone: u64,
    /// Exponential back-off of a lane after a failed attempt.
    pub backoff: Backoff,
    /// How the back-off grows and how it is spread.
    pub growth: Growth,
    /// Whether records are kept when the endpoint says that it is limiting us (429).
    pub retry_limited: bool,
    /// After so many failed attempts the records are dropped under the last reason; `None` retries until
    /// `max_age`.
    pub max_attempts: Option<u32>,
    /// Upper bound on a `Retry-After` that we honour, so that a broken endpoint cannot silence us for a year.
    pub retry_after_max: Duration,
    /// An attempt that takes longer is abandoned and retried with the reason `timeout`. A backstop: transports
    /// have their own timeouts.
    pub attempt_timeout: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            memory_bytes: 32 << 20,
            memory_items: 1_000_000,
            disk: None,
            max_records: 500_000,
            max_items: u64::MAX,
            max_age: Duration::from_secs(8 * 3600),
            on_full: OnFull::Block,
            min_senders: 1,
            max_senders: 16,
            lanes: 16,
            batch_items: 10_000,
            batch_bytes: 4 << 20,
            batch_wait: Duration::ZERO,
            batch_alone: u64::MAX,
            backoff: Backoff::default(),
            growth: Growth::default(),
            retry_limited: true,
            max_attempts: None,
            retry_after_max: Duration::from_secs(300),
            attempt_timeout: Duration::from_secs(300),
        }
    }
}

/// A queue folder and its budget. The folder belongs to one queue of one process (an advisory lock guards it).
#[derive(Debug, Clone, PartialEq)]
pub struct DiskConfig {
    /// The folder; created when missing.
    pub path: PathBuf,
    /// Budget for all segments. Segments are freed whole, so `segment_bytes` is held to an eighth of it.
    pub max_bytes: u64,
    /// Size at which a new segment file is begun; at most 256 MiB.
    pub segment_bytes: u64,
    /// When written records are forced to the device.
    pub fsync: Fsync,
}

impl DiskConfig {
    /// A folder with the default budget: 2 GiB, segments of 16 MiB, `fsync` every second.
    pub fn new(path: impl Into<PathBuf>) -> DiskConfig {
        DiskConfig {
            path: path.into(),
            max_bytes: 2 << 30,
            segment_bytes: 16 << 20,
            fsync: Fsync::Interval(Duration::from_secs(1)),
        }
    }
}

/// When records reach the device. Without any of it they survive `kill -9` already, but not a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// The operating system decides.
    Never,
    /// At most this long after they were appended.
    Interval(Duration),
    /// Before `append` answers. Concurrent appends share one `fsync`.
    Always,
}

/// What `append` does when the queue is full, or the device that it is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFull {
    /// Wait for room: back-pressure.
    Block,
    /// Drop the oldest records, counted as `queue_full`: one by one in memory, a segment at a time on disk.
    /// What is in an attempt is left to it; if nothing else is queued, wait.
    DropOldest,
    /// Answer [`AppendError::Full`](crate::AppendError::Full) and count the record as rejected.
    Reject,
}

/// Bounds of the exponential back-off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Wait after the first failure, before jitter.
    pub min: Duration,
    /// Longest wait.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff { min: Duration::from_millis(30), max: Duration::from_secs(5) }
    }
}

/// How a back-off grows from one failure to the next, and how attempts of several lanes are kept apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Growth {
    /// Each wait is so many times the one before; at least 1.
    pub multiplier: f64,
    /// A wait is chosen between these parts of what is due. Half to all of it unless said otherwise (equal
    /// jitter).
    pub spread: (f64, f64),
}

impl Default for Growth {
    fn default() -> Growth {
        Growth { multiplier: 2.0, spread: (0.5, 1.0) }
    }
}

impl Growth {
    /// The wait after so many failures in a row; `chance` lies between 0 and 1.
    pub fn wait(&self, backoff: Backoff, failures: u32, chance: f64) -> Duration {
        let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
        let max = backoff.max.max(backoff.min).as_secs_f64();
        // Beyond what a float can hold it is infinite, and `min` brings it back.
        let due = (backoff.min.as_secs_f64() * self.multiplier.max(1.0).powi(exponent)).min(max);
        let (low, high) = self.spread;
        let part = low + (high.max(low) - low) * chance.clamp(0.0, 1.0);
        Duration::try_from_secs_f64(due * part.max(0.0)).unwrap_or(backoff.max)
    }
}

#[cfg(test)]
mod growth_tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_are_spread() {
        let backoff = Backoff { min: Duration::from_secs(4), max: Duration::from_secs(30) };
        let doubling = Growth::default();
        let secs = |growth: &Growth, failures, chance| growth.wait(backoff, failures, chance).as_secs_f64();
        assert_eq!([1, 2, 3, 4, 400].map(|n| secs(&doubling, n, 1.0)), [4.0, 8.0, 16.0, 30.0, 30.0]);
        assert_eq!([1, 2, 3, 4, 400].map(|n| secs(&doubling, n, 0.0)), [2.0, 4.0, 8.0, 15.0, 15.0]);
        let wide = Growth { multiplier: 1.5, spread: (0.5, 1.5) };
        assert_eq!([0.0, 0.5, 1.0].map(|chance| secs(&wide, 2, chance)), [3.0, 6.0, 9.0]);
    }
}

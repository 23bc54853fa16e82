//! What a queue reports about itself: a cheap snapshot, counters since `open`.

use std::{collections::BTreeMap, time::Duration};

/// A snapshot of a queue. Counters count since [`Queue::open`](crate::Queue::open), and at any time
/// `recovered + appended == sent + dropped + queued`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stats {
    /// What waits, attempts in flight included.
    pub queued: Amount,
    /// What of `queued` is held in memory; the rest is on disk only.
    pub in_memory: Amount,
    /// What of `queued` is in an attempt right now.
    pub in_flight: Amount,
    /// Attempts running right now.
    pub attempts_in_flight: usize,
    /// Age of the oldest record at the front of a lane.
    pub oldest_age: Option<Duration>,
    /// Calls of `append` that wait for room or for the disk.
    pub waiting_appends: usize,
    /// Accepted by `append`.
    pub appended: Amount,
    /// Refused by `append` under `OnFull::Reject`; not part of `appended` nor of `dropped`.
    pub rejected: Amount,
    /// Found on disk by `open`.
    pub recovered: Amount,
    /// Delivered.
    pub sent: Amount,
    /// Attempts that ended.
    pub attempts: u64,
    /// What was in attempts that will be repeated.
    pub retried: Amount,
    /// Dropped, by reason: `queue_full`, `too_old`, `shutdown`, `panic`, `damaged`, and the transport's own.
    pub dropped: BTreeMap<&'static str, Amount>,
    /// The last failure of an attempt or of the disk.
    pub last_error: Option<LastError>,
    /// Why the disk did not take the last record that was offered.
    pub disk_refuses: Option<LastError>,
    /// When the last attempt succeeded, Unix milliseconds.
    pub last_success_ms: Option<i64>,
    /// The newest `newest_ms` among delivered records.
    pub newest_sent_ms: Option<i64>,
    /// The newest `newest_ms` among appended records.
    pub newest_appended_ms: Option<i64>,
    /// How long attempts took, failed ones included.
    pub send_seconds: Histogram,
    /// Attempts allowed in flight at once now.
    pub senders: usize,
    /// Attempts in flight that the arrival rate and the lag ask for.
    pub senders_desired: f64,
    /// `Config::min_senders` as applied.
    pub senders_min: usize,
    /// `Config::max_senders` as applied.
    pub senders_max: usize,
    /// For how much longer the endpoint is treated as limiting us.
    pub limited_for: Option<Duration>,
    /// Whether records are kept on disk.
    pub on_disk: bool,
    /// Bytes of the queue's segment files.
    pub disk_bytes: u64,
    /// Segment files.
    pub disk_segments: usize,
    /// Unreadable records or stretches of bytes that were set aside.
    pub damaged_records: u64,
    /// Bytes of them.
    pub damaged_bytes: u64,
    /// Whether `drain` has begun.
    pub closed: bool,
}

impl Stats {
    /// Everything dropped, whatever the reason.
    pub fn dropped_total(&self) -> Amount {
        let mut sum = Amount::default();
        for amount in self.dropped.values() {
            sum += *amount;
        }
        sum
    }
}

/// A number of records with their items and body bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// Records.
    pub records: u64,
    /// Items in them.
    pub items: u64,
    /// Body bytes in them.
    pub bytes: u64,
}

impl Amount {
    pub(crate) fn of(items: u32, bytes: usize) -> Amount {
        Amount { records: 1, items: u64::from(items), bytes: bytes as u64 }
    }
}

impl std::ops::AddAssign for Amount {
    fn add_assign(&mut self, other: Amount) {
        self.records += other.records;
        self.items += other.items;
        self.bytes += other.bytes;
    }
}

impl std::ops::SubAssign for Amount {
    fn sub_assign(&mut self, other: Amount) {
        self.records -= other.records;
        self.items -= other.items;
        self.bytes -= other.bytes;
    }
}

/// The last thing that went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastError {
    /// Unix milliseconds.
    pub at_ms: i64,
    /// The reason word (`disk` for the queue's own files).
    pub reason: &'static str,
    /// The message.
    pub text: String,
}

/// Upper bounds of [`Histogram`] in seconds; what lies above the last is in `count` only.
pub const SEND_SECONDS_BOUNDS: [f64; 15] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0, 120.0, 300.0];

/// Durations by [`SEND_SECONDS_BOUNDS`]; cumulative, as the exposition format wants them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Histogram {
    /// How many observations are at or below the bound of the same index.
    pub buckets: [u64; SEND_SECONDS_BOUNDS.len()],
    /// All observations.
    pub count: u64,
    /// Their sum in seconds.
    pub sum: f64,
}

impl Histogram {
    pub(crate) fn observe(&mut self, seconds: f64) {
        self.count += 1;
        self.sum += seconds;
        for (bucket, bound) in self.buckets.iter_mut().zip(SEND_SECONDS_BOUNDS) {
            *bucket += u64::from(seconds <= bound);
        }
    }
}

/// What [`Queue::drain`](crate::Queue::drain) achieved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drained {
    /// Delivered since `drain` was called.
    pub sent: Amount,
    /// Left on disk for the next `open`.
    pub left: Amount,
    /// Lost because the queue has no disk; counted under `shutdown`.
    pub dropped: Amount,
}

//! One first-in-first-out lane: the records of some order keys, of which only the front may be in an attempt.
//!
//! Invariant: `batch` entries at the front form the attempt that is running or will be repeated, `singles` after
//! them go out alone; both, and all that follows them, ascend by sequence number.

use std::collections::VecDeque;

use crate::{Config, Record, stats::Amount};

/// How far behind the front entries are looked for that may share its attempt.
const LOOK_AHEAD: usize = 1024;

/// A queued record. `record` is empty when it lives on disk only.
#[derive(Debug)]
pub(crate) struct Entry {
    pub sequence: u64,
    pub key: u64,
    /// When it was made, on the engine's monotonic scale.
    pub created_at: i64,
    /// When it was queued, on the same scale.
    pub queued_at: i64,
    pub offset: u32,
    pub len: u32,
    pub items: u32,
    pub kind: u8,
    pub group: u64,
    pub record: Option<Box<Record>>,
}

impl Entry {
    pub(crate) fn amount(&self) -> Amount {
        Amount::of(self.items, self.len as usize)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Lane {
    queue: VecDeque<Entry>,
    total: Amount,
    /// How many entries at the front belong to the current attempt.
    batch: usize,
    /// How many entries at the front must go out alone.
    singles: usize,
    pub in_flight: bool,
    /// Failed attempts of the current batch.
    pub failures: u32,
    /// Back-off ends.
    pub not_before: i64,
}

impl Lane {
    pub(crate) fn push(&mut self, entry: Entry) {
        debug_assert!(self.queue.back().is_none_or(|last| last.sequence < entry.sequence), "a lane ascends");
        self.total += entry.amount();
        self.queue.push_back(entry);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// How much is in the running attempt.
    pub(crate) fn in_flight_amount(&self) -> Amount {
        let mut sum = Amount::default();
        if self.in_flight {
            self.queue.iter().take(self.batch).for_each(|entry| sum += entry.amount());
        }
        sum
    }

    pub(crate) fn front(&self) -> Option<&Entry> {
        self.queue.front()
    }

    /// The entries of the current attempt.
    pub(crate) fn batch_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.queue.iter_mut().take(self.batch)
    }

    /// The first entry that is not in a running attempt.
    pub(crate) fn first_idle(&self) -> Option<&Entry> {
        self.queue.get(if self.in_flight { self.batch } else { 0 })
    }

    /// Whether an attempt would be filled by what is queued.
    pub(crate) fn is_full(&self, config: &Config) -> bool {
        self.total.items >= config.batch_items || self.total.bytes >= config.batch_bytes
    }

    /// When the next attempt may begin; `None` if there is nothing to begin.
    pub(crate) fn ready_at(&self, config: &Config, hurry: bool) -> Option<i64> {
        let front = self.queue.front()?;
        if self.in_flight {
            return None;
        }
        let alone = u64::from(front.items) >= config.batch_alone;
        let waits = self.batch == 0 && self.singles == 0 && !hurry && !alone && !self.is_full(config);
        let ripe = if waits { front.queued_at + millis(config.batch_wait) } else { front.queued_at };
        Some(ripe.max(self.not_before))
    }

    /// Chooses the entries of the next attempt, unless one is to be repeated: the front, and those of its group
    /// that follow, up to the limits. None at or above `fence`.
    pub(crate) fn begin(&mut self, config: &Config, fence: u64) {
        self.in_flight = true;
        if self.batch > 0 {
            return;
        }
        self.failures = 0;
        if self.singles > 0 {
            self.singles -= 1;
            self.batch = 1;
            return;
        }
        let Some((kind, group)) = self.queue.front().map(|front| (front.kind, front.group)) else { return };
        let mut sum = Amount::default();
        let mut end = 0;
        for (at, entry) in self.queue.iter().enumerate().take(LOOK_AHEAD) {
            if entry.group != group {
                continue;
            }
            sum += entry.amount();
            let over = sum.items > config.batch_items || sum.bytes > config.batch_bytes;
            if self.batch > 0 && (over || entry.kind != kind || entry.sequence >= fence) {
                break;
            }
            self.batch += 1;
            end = at + 1;
        }
        if end > self.batch {
            let (mine, others): (Vec<Entry>, Vec<Entry>) = {
                let mut left = self.batch;
                self.queue.drain(..end).partition(|entry| {
                    let mine = left > 0 && entry.group == group;
                    left -= usize::from(mine);
                    mine
                })
            };
            mine.into_iter().chain(others).rev().for_each(|entry| self.queue.push_front(entry));
        }
    }

    /// Ends the attempt and takes its entries out.
    pub(crate) fn take_batch(&mut self) -> Vec<Entry> {
        let taken: Vec<Entry> = self.queue.drain(..self.batch).collect();
        taken.iter().for_each(|entry| self.total -= entry.amount());
        self.in_flight = false;
        self.batch = 0;
        self.failures = 0;
        taken
    }

    /// Ends the attempt; its entries will each be attempted alone.
    pub(crate) fn split(&mut self) {
        self.in_flight = false;
        self.singles = self.batch;
        self.batch = 0;
        self.failures = 0;
    }

    pub(crate) fn batch_len(&self) -> usize {
        self.batch
    }

    /// Takes out entries of the current batch that `unwanted` picks, whether or not it is in flight.
    pub(crate) fn remove_from_batch(&mut self, mut unwanted: impl FnMut(&Entry) -> bool) -> Vec<Entry> {
        let mut removed = Vec::new();
        let mut at = 0;
        while at < self.batch {
            if unwanted(&self.queue[at]) {
                removed.extend(self.queue.remove(at));
                self.batch -= 1;
            } else {
                at += 1;
            }
        }
        removed.iter().for_each(|entry| self.total -= entry.amount());
        removed
    }

    /// Takes the first entry that is not in a running attempt if `unwanted` picks it.
    pub(crate) fn pop_idle_if(&mut self, unwanted: impl FnOnce(&Entry) -> bool) -> Option<Entry> {
        if !unwanted(self.first_idle()?) {
            return None;
        }
        let at = if self.in_flight { self.batch } else { 0 };
        let entry = self.queue.remove(at)?;
        if at < self.batch {
            self.batch -= 1;
        } else {
            self.singles = self.singles.saturating_sub(1);
        }
        self.total -= entry.amount();
        Some(entry)
    }

    /// Takes out entries that are not in a running attempt and that `unwanted` picks.
    pub(crate) fn remove_idle(&mut self, unwanted: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        let busy = if self.in_flight { self.batch } else { 0 };
        let (batch, singles) = (self.batch, self.singles);
        let mut removed = Vec::new();
        for (at, entry) in std::mem::take(&mut self.queue).into_iter().enumerate() {
            if at < busy || !unwanted(&entry) {
                self.queue.push_back(entry);
                continue;
            }
            self.batch -= usize::from(at < batch);
            self.singles -= usize::from((batch..batch + singles).contains(&at));
            self.total -= entry.amount();
            removed.push(entry);
        }
        removed
    }

    /// Takes everything, for another number of lanes. Nothing may be in flight.
    pub(crate) fn into_entries(self) -> VecDeque<Entry> {
        debug_assert!(!self.in_flight, "lanes are only rearranged at rest");
        self.queue
    }
}

/// Whole milliseconds, at most some 300 years.
pub(crate) fn millis(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).min(10_000_000_000_000)
}

/// Which lane a key belongs to: for an owner that puts what belongs to one lane into one record. The
/// multiplication spreads keys that are no hashes.
pub fn lane_of(key: u64, lanes: usize) -> usize {
    ((key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize) % lanes
}

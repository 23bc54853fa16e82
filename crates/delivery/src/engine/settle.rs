//! How a record gets out: delivered, dropped or put back for another attempt.

use std::collections::BTreeMap;

use super::{Ended, Engine, Moment, RECORD_OVERHEAD};
use crate::{
    Config, Outcome, Record,
    lane::{Entry, millis},
    stats::Amount,
};

impl Engine {
    /// Takes in how an attempt ended.
    pub(crate) fn finish(&mut self, index: usize, ended: Ended, now: Moment) {
        self.stats.attempts_in_flight -= 1;
        self.discard_damaged(index, &ended.damaged, now);
        let lane = &mut self.lanes[index];
        let Some(outcome) = ended.outcome.filter(|_| lane.batch_len() > 0) else {
            lane.in_flight = false;
            return;
        };
        self.stats.attempts += 1;
        self.stats.send_seconds.observe(ended.seconds);
        match outcome {
            Outcome::Delivered => {
                self.stats.newest_sent_ms = self.stats.newest_sent_ms.max(ended.newest_ms);
                self.delivered(index, ended.seconds, now);
            }
            Outcome::Retry { reason, message, limited: true, .. } if !self.config.retry_limited => {
                self.refuse(index, reason, &message, now);
            }
            Outcome::Retry { reason, message, after, limited } => {
                self.note_error(now, reason, &message);
                self.keep_loaded(index, ended.loaded);
                self.retry(index, reason, after.map(millis), limited, now);
            }
            Outcome::Split { reason, message } if lane.batch_len() > 1 => {
                self.note_error(now, reason, &message);
                self.keep_loaded(index, ended.loaded);
                self.lanes[index].split();
            }
            Outcome::Drop { reason, message } | Outcome::Split { reason, message } => {
                self.refuse(index, reason, &message, now);
            }
        }
    }

    fn discard_damaged(&mut self, index: usize, damaged: &[u64], now: Moment) {
        if damaged.is_empty() {
            return;
        }
        let lost = self.lanes[index].remove_from_batch(|entry| damaged.contains(&entry.sequence));
        for entry in &lost {
            self.stats.damaged_records += 1;
            self.stats.damaged_bytes += u64::from(entry.len);
            if let Some(log) = &mut self.log {
                log.note_damage(entry.sequence);
            }
        }
        self.note_error(now, "damaged", "a queued record could not be read back from disk");
        self.drop_entries(lost, "damaged", now);
    }

    fn delivered(&mut self, index: usize, seconds: f64, now: Moment) {
        let entries = self.lanes[index].take_batch();
        self.lanes[index].not_before = i64::MIN;
        let mut sum = Amount::default();
        entries.iter().for_each(|entry| sum += entry.amount());
        self.stats.sent += sum;
        self.stats.last_success_ms = Some(now.unix_ms);
        self.scale.sent(sum.items, seconds);
        self.release(&entries, now);
    }

    fn refuse(&mut self, index: usize, reason: &'static str, message: &str, now: Moment) {
        self.note_error(now, reason, message);
        let entries = self.lanes[index].take_batch();
        self.drop_entries(entries, reason, now);
    }

    fn retry(&mut self, index: usize, reason: &'static str, after: Option<i64>, limited: bool, now: Moment) {
        let lane = &mut self.lanes[index];
        lane.in_flight = false;
        lane.failures = lane.failures.saturating_add(1);
        let delay = backoff(&self.config, lane.failures, &mut self.rng);
        lane.not_before = now.at.saturating_add(delay);
        if self.config.max_attempts.is_some_and(|max| lane.failures >= max) {
            let entries = lane.take_batch();
            return self.drop_entries(entries, reason, now);
        }
        if let Some(after) = after {
            let pause = after.min(millis(self.config.retry_after_max));
            self.paused_until = self.paused_until.max(now.at.saturating_add(pause));
        }
        if limited {
            self.limited_until = self.limited_until.max(lane.not_before).max(self.paused_until);
            self.senders = self.scale.tick(now.at, self.stats.queued.items, self.senders, self.bounds(now));
        }
        let log = self.log.as_ref();
        let lane = &mut self.lanes[index];
        let doomed = lane.remove_from_batch(|entry| log.is_some_and(|log| log.is_doomed(entry.sequence)));
        self.drop_entries(doomed, "queue_full", now);
        self.expire(index, now);
        let lane = &mut self.lanes[index];
        let mut again = Amount::default();
        lane.batch_mut().for_each(|entry| again += entry.amount());
        self.stats.retried += again;
    }

    /// Keeps records that were read back for the next attempt, as far as memory allows.
    fn keep_loaded(&mut self, index: usize, loaded: Vec<(u64, Record)>) {
        for (sequence, record) in loaded {
            if !self.memory_has_room(&record) {
                return;
            }
            if let Some(entry) = self.lanes[index].batch_mut().find(|entry| entry.sequence == sequence) {
                self.stats.in_memory += entry.amount();
                self.memory_cost += u64::from(entry.len) + RECORD_OVERHEAD;
                entry.record = Some(Box::new(record));
            }
        }
    }

    /// Drops what is too old at the front of a lane.
    pub(super) fn expire(&mut self, index: usize, now: Moment) {
        let oldest = now.at.saturating_sub(millis(self.config.max_age));
        let lane = &mut self.lanes[index];
        let expired: Vec<Entry> =
            std::iter::from_fn(|| lane.pop_idle_if(|entry| entry.created_at < oldest)).collect();
        self.drop_entries(expired, "too_old", now);
    }

    /// Drops what is too old in every lane.
    pub(crate) fn expire_all(&mut self, now: Moment) {
        (0..self.lanes.len()).for_each(|lane| self.expire(lane, now));
    }

    pub(super) fn drop_entries(&mut self, entries: Vec<Entry>, reason: &'static str, now: Moment) {
        if entries.is_empty() {
            return;
        }
        let mut sum = Amount::default();
        entries.iter().for_each(|entry| sum += entry.amount());
        *self.stats.dropped.entry(reason).or_default() += sum;
        let mut groups: BTreeMap<u64, Amount> = BTreeMap::new();
        entries.iter().for_each(|entry| *groups.entry(entry.group).or_default() += entry.amount());
        groups.into_iter().for_each(|(group, amount)| self.transport.dropped(reason, group, amount));
        if self.may_log(now, reason) {
            tracing::warn!(reason, records = sum.records, items = sum.items, "dropped queued data");
        }
        self.release(&entries, now);
    }

    /// Forgets entries that were delivered or dropped.
    fn release(&mut self, entries: &[Entry], now: Moment) {
        for entry in entries {
            self.stats.queued -= entry.amount();
            if entry.record.is_some() {
                self.stats.in_memory -= entry.amount();
                self.memory_cost -= u64::from(entry.len) + RECORD_OVERHEAD;
            }
        }
        if let Some(fence) = &mut self.fence {
            fence.left -= entries.iter().filter(|entry| entry.sequence < fence.before).count() as u64;
            if fence.left == 0 {
                self.fence = None;
            }
        }
        let mut sequences: Vec<u64> = entries.iter().map(|entry| entry.sequence).collect();
        sequences.sort_unstable();
        let marked = self.log.as_mut().map_or(Ok(()), |log| log.done(&sequences));
        if let Err(error) = marked {
            self.note_error(now, "disk", &error.to_string());
        }
    }
}

/// How long a lane pauses after so many failures.
fn backoff(config: &Config, failures: u32, rng: &mut fastrand::Rng) -> i64 {
    millis(config.growth.wait(config.backoff, failures, rng.f64()))
}

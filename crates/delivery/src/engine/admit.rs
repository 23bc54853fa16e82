//! How a record gets in: room is checked or made, the log written, the lane chosen.

use super::{Accepted, Engine, Moment, RECORD_OVERHEAD, Refused};
use crate::{
    OnFull, Record,
    config::Fsync,
    format::MAX_BODY,
    lane::{Entry, lane_of},
    log::{Log, is_full},
    stats::Amount,
};

/// How long a device is told of that was full and cost data, in milliseconds: until it has cost none for so long.
const FULL_FOR: i64 = 60_000;

impl Engine {
    /// Accepts a record or says why not.
    pub(crate) fn append(&mut self, record: &Record, now: Moment) -> Result<Accepted, Refused> {
        if self.stats.closed {
            return Err(Refused::Closed);
        }
        let limit = self.largest_body();
        if record.body.len() as u64 > limit {
            return Err(Refused::TooLarge { limit });
        }
        let on_full = self.config.on_full;
        while !self.has_room(record) {
            match on_full {
                OnFull::DropOldest if self.evict(now) => {}
                OnFull::Block | OnFull::DropOldest => return Err(Refused::Full { wait: true }),
                OnFull::Reject => {
                    self.stats.rejected += Amount::of(record.items, record.body.len());
                    return Err(Refused::Full { wait: false });
                }
            }
        }
        let (sequence, offset) = self.write(record, now)?;
        let age = now.unix_ms.saturating_sub(record.created_ms).max(0);
        let hot = self.log.is_none() || self.memory_has_room(record);
        let entry = Entry {
            sequence,
            key: record.key,
            created_at: now.at.saturating_sub(age),
            queued_at: now.at,
            offset,
            len: record.body.len() as u32,
            items: record.items,
            kind: record.kind,
            group: record.group,
            record: hot.then(|| Box::new(record.clone())),
        };
        self.note_appended(&entry, record.newest_ms);
        let lane = lane_of(record.key, self.lanes.len());
        let lane = &mut self.lanes[lane];
        let (was_empty, was_full) = (lane.is_empty(), lane.is_full(&self.config));
        lane.push(entry);
        let filled = !was_full && lane.is_full(&self.config);
        let timer = self.schedule_sync(now);
        let always = matches!(&self.config.disk, Some(disk) if disk.fsync == Fsync::Always);
        Ok(Accepted { wake: was_empty || filled || timer, sync: always.then_some(sequence) })
    }

    fn note_appended(&mut self, entry: &Entry, newest_ms: i64) {
        let amount = entry.amount();
        self.stats.appended += amount;
        self.stats.queued += amount;
        self.stats.newest_appended_ms = self.stats.newest_appended_ms.max(Some(newest_ms));
        self.scale.arrived(entry.items);
        if entry.record.is_some() {
            self.stats.in_memory += amount;
            self.memory_cost += amount.bytes + RECORD_OVERHEAD;
        }
    }

    fn write(&mut self, record: &Record, now: Moment) -> Result<(u64, u32), Refused> {
        loop {
            let (Some(log), Some(disk)) = (&mut self.log, &self.config.disk) else {
                self.next_sequence += 1;
                return Ok((self.next_sequence, 0));
            };
            let before = log.disk_bytes();
            let error = match log.append(record, disk.segment_bytes) {
                Ok(position) => {
                    if now.at >= self.full_until {
                        self.stats.disk_refuses = None;
                    }
                    return Ok((position.sequence, position.offset));
                }
                Err(error) => error,
            };
            if is_full(&error) && log.disk_bytes() < before {
                // All of the current segment was delivered, and it has gone: there is room.
                continue;
            }
            self.note_error(now, "disk", &error.to_string());
            self.stats.disk_refuses = self.stats.last_error.clone();
            if is_full(&error) && self.config.on_full == OnFull::DropOldest && self.evict(now) {
                self.full_until = now.at + FULL_FOR;
            } else {
                return Err(Refused::Io { error, wait: self.config.on_full != OnFull::Reject });
            }
        }
    }

    fn largest_body(&self) -> u64 {
        match &self.config.disk {
            Some(disk) => Log::largest_body(disk.max_bytes),
            None => self.config.memory_bytes.saturating_sub(RECORD_OVERHEAD).min(MAX_BODY as u64),
        }
    }

    fn has_room(&mut self, record: &Record) -> bool {
        if self.stats.queued.records >= self.config.max_records as u64 {
            return false;
        }
        let items = self.stats.queued.items.saturating_add(record.items.into());
        if items > self.config.max_items && self.stats.queued.records > 0 {
            return false;
        }
        match (&mut self.log, &self.config.disk) {
            (Some(log), Some(disk)) => log.has_room(record.body.len(), disk.max_bytes),
            _ => self.memory_has_room(record),
        }
    }

    /// A record with more items than the bound alone is let into an empty memory.
    pub(super) fn memory_has_room(&self, record: &Record) -> bool {
        let items = self.stats.in_memory.items + u64::from(record.items);
        self.memory_cost + record.body.len() as u64 + RECORD_OVERHEAD <= self.config.memory_bytes
            && (items <= self.config.memory_items || self.stats.in_memory.records == 0)
    }

    /// Drops the oldest: a record, or with a disk the oldest segment. `false` if all is in flight.
    fn evict(&mut self, now: Moment) -> bool {
        let Some(log) = &self.log else {
            let oldest = self
                .lanes
                .iter_mut()
                .filter_map(|lane| Some((lane.first_idle()?.sequence, lane)))
                .min_by_key(|(sequence, _)| *sequence);
            let dropped: Vec<Entry> =
                oldest.and_then(|(_, lane)| lane.pop_idle_if(|_| true)).into_iter().collect();
            let found = !dropped.is_empty();
            self.drop_entries(dropped, "queue_full", now);
            return found;
        };
        let Some(range) = log.oldest_segment() else { return false };
        let mut dropped = Vec::new();
        for lane in &mut self.lanes {
            dropped.extend(lane.remove_idle(|entry| entry.sequence < range.end));
        }
        self.drop_entries(dropped, "queue_full", now);
        if let Some(log) = &mut self.log {
            log.doom(range.start);
        }
        true
    }
}

//! The queue as a state machine: what `append`, the senders and the clock do to it. No waiting, no tasks.
//!
//! Data path: `append` → log (if there is a disk) → lane → `next_job` → an attempt elsewhere → `finish` → cursor.
//! Invariant: `recovered + appended == sent + dropped + queued`, in every field.

mod admit;
mod settle;

use std::{collections::BTreeMap, io, sync::Arc};

use crate::{
    Config, Outcome, Record, Stats, Transport,
    config::Fsync,
    fs::Fs,
    lane::{Entry, Lane, lane_of, millis},
    log::{Log, Opened, Position, Unsynced},
    scale::{Bounds, Scale},
    stats::{Amount, LastError},
};

/// What a queued record is taken to cost in memory beside its body.
const RECORD_OVERHEAD: u64 = 160;
/// Longest silence between two log lines about the same kind of trouble.
const LOG_EVERY_MS: i64 = 60_000;

/// A moment: milliseconds on the engine's monotonic scale (for ages and timers) and on the wall's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    pub at: i64,
    pub unix_ms: i64,
}

/// Why a record was not accepted just now.
#[derive(Debug)]
pub(crate) enum Refused {
    /// No room; `wait` says whether the policy is to wait for some.
    Full {
        wait: bool,
    },
    TooLarge {
        limit: u64,
    },
    Closed,
    Io {
        error: io::Error,
        wait: bool,
    },
}

/// An accepted record.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// The senders should look.
    pub wake: bool,
    /// Must be synced up to this number before it is acknowledged.
    pub sync: Option<u64>,
}

/// A record of an attempt: here, or to be read back.
pub(crate) enum Source {
    Memory(Record),
    Disk(Position),
}

/// An attempt to be made.
pub(crate) struct Job {
    pub lane: usize,
    pub sources: Vec<Source>,
    pub attempt: u32,
    pub transport: Arc<dyn Transport>,
}

/// How an attempt ended.
#[derive(Default)]
pub(crate) struct Ended {
    /// `None` if none of its records could be read back.
    pub outcome: Option<Outcome>,
    /// Records that were read back.
    pub loaded: Vec<(u64, Record)>,
    /// Records that are not intact on disk.
    pub damaged: Vec<u64>,
    /// The newest data timestamp in its records.
    pub newest_ms: Option<i64>,
    pub seconds: f64,
}

/// What was queued when a fence was set goes before what came after.
struct Fence {
    /// The first sequence number behind it.
    before: u64,
    /// How many records are still in front of it.
    left: u64,
}

pub(crate) struct Engine {
    config: Config,
    transport: Arc<dyn Transport>,
    log: Option<Log>,
    lanes: Vec<Lane>,
    next_sequence: u64,
    /// Counters and gauges that are kept up to date; the rest is filled in by `stats`.
    stats: Stats,
    memory_cost: u64,
    senders: usize,
    scale: Scale,
    paused_until: i64,
    limited_until: i64,
    next_sync_at: Option<i64>,
    rng: fastrand::Rng,
    logged_at: BTreeMap<&'static str, i64>,
    fence: Option<Fence>,
    /// A drain has come to its end.
    ended: bool,
    /// Until then a device that was full is told of, though there is room again: it was made by dropping data.
    full_until: i64,
    pub(crate) waiting: usize,
}

impl Engine {
    pub(crate) fn new(
        config: Config,
        transport: Arc<dyn Transport>,
        disk: Option<(Log, Opened)>,
        seed: u64,
        now: Moment,
    ) -> Engine {
        let config = sane(config);
        let (log, opened) = disk.unzip();
        let mut engine = Engine {
            lanes: new_lanes(config.lanes),
            transport,
            log,
            next_sequence: 0,
            stats: Stats { on_disk: config.disk.is_some(), ..Stats::default() },
            memory_cost: 0,
            senders: config.min_senders,
            scale: Scale::default(),
            paused_until: i64::MIN,
            limited_until: i64::MIN,
            next_sync_at: None,
            rng: fastrand::Rng::with_seed(seed),
            logged_at: BTreeMap::new(),
            fence: None,
            ended: false,
            full_until: i64::MIN,
            waiting: 0,
            config,
        };
        if let Some(opened) = opened {
            engine.adopt(opened, now);
        }
        engine
    }

    /// Queues what an earlier process left.
    fn adopt(&mut self, opened: Opened, now: Moment) {
        self.stats.damaged_records = opened.damaged_records;
        self.stats.damaged_bytes = opened.damaged_bytes;
        for frame in opened.frames {
            let header = frame.header;
            let age = now.unix_ms.saturating_sub(header.created_ms).max(0);
            let entry = Entry {
                sequence: header.sequence,
                key: header.key,
                created_at: now.at.saturating_sub(age),
                queued_at: i64::MIN,
                offset: frame.offset,
                len: header.len,
                items: header.items,
                kind: header.kind,
                group: header.group,
                record: None,
            };
            self.stats.recovered += entry.amount();
            self.stats.queued += entry.amount();
            let lane = lane_of(header.key, self.lanes.len());
            self.lanes[lane].push(entry);
        }
        if self.stats.damaged_bytes > 0 {
            let (records, bytes) = (self.stats.damaged_records, self.stats.damaged_bytes);
            tracing::warn!(records, bytes, "part of the queue on disk was damaged and has been set aside");
        }
    }

    /// The next attempt to make now, if one is due and a sender is free.
    pub(crate) fn next_job(&mut self, now: Moment) -> Option<Job> {
        self.senders = self.scale.tick(now.at, self.stats.queued.items, self.senders, self.bounds(now));
        self.rearrange();
        while self.may_begin() && now.at >= self.paused_until {
            let (_, lane) = self
                .lanes
                .iter()
                .enumerate()
                .filter(|(_, lane)| self.ready_at(lane).is_some_and(|at| at <= now.at))
                .filter_map(|(index, lane)| Some((lane.front()?.sequence, index)))
                .min()?;
            self.expire(lane, now);
            if !self.lanes[lane].is_empty() {
                return Some(self.begin(lane));
            }
        }
        None
    }

    fn may_begin(&self) -> bool {
        self.stats.attempts_in_flight < self.senders && self.lanes.len() == self.config.lanes
    }

    /// When a lane's next attempt may begin, the fence considered.
    fn ready_at(&self, lane: &Lane) -> Option<i64> {
        let front = lane.front()?.sequence;
        let allowed = self.fence.as_ref().is_none_or(|fence| front < fence.before);
        lane.ready_at(&self.config, self.stats.closed).filter(|_| allowed)
    }

    /// What is queued now goes before what is appended from now on, whatever the keys.
    pub(crate) fn fence(&mut self) {
        let before = self.log.as_ref().map_or(self.next_sequence + 1, Log::next_sequence);
        let left = self.stats.queued.records;
        self.fence = (left > 0).then_some(Fence { before, left });
    }

    fn begin(&mut self, index: usize) -> Job {
        let fence = self.fence.as_ref().map_or(u64::MAX, |fence| fence.before);
        let lane = &mut self.lanes[index];
        lane.begin(&self.config, fence);
        let log = self.log.as_ref();
        let source = |entry: &mut Entry| match (&entry.record, log) {
            (Some(record), _) => Source::Memory((**record).clone()),
            (None, Some(log)) => {
                let position = log.position(entry.sequence, entry.offset, entry.len);
                Source::Disk(position.expect("a queued record pins its segment"))
            }
            (None, None) => unreachable!("without a disk every record is in memory"),
        };
        let sources = lane.batch_mut().map(source).collect();
        self.stats.attempts_in_flight += 1;
        Job { lane: index, sources, attempt: lane.failures + 1, transport: self.transport.clone() }
    }

    /// Drops everything, for a queue without a disk that is being closed.
    pub(crate) fn drop_all(&mut self, now: Moment) -> Amount {
        let before = self.stats.queued;
        for index in 0..self.lanes.len() {
            let lane = std::mem::take(&mut self.lanes[index]);
            self.drop_entries(lane.into_entries().into(), "shutdown", now);
        }
        before
    }

    /// Moves all entries to the configured number of lanes once nothing is in flight.
    fn rearrange(&mut self) {
        if self.lanes.len() == self.config.lanes || self.stats.attempts_in_flight > 0 {
            return;
        }
        let old = std::mem::replace(&mut self.lanes, new_lanes(self.config.lanes));
        let mut entries: Vec<Entry> = old.into_iter().flat_map(Lane::into_entries).collect();
        entries.sort_unstable_by_key(|entry| entry.sequence);
        for entry in entries {
            let lane = lane_of(entry.key, self.lanes.len());
            self.lanes[lane].push(entry);
        }
    }

    pub(crate) fn set_transport(&mut self, transport: Arc<dyn Transport>) {
        self.transport = transport;
        self.paused_until = i64::MIN;
        self.limited_until = i64::MIN;
        self.lanes.iter_mut().for_each(|lane| lane.not_before = i64::MIN);
    }

    /// Takes new limits; `false` if the folder differs.
    pub(crate) fn reconfigure(&mut self, config: Config, now: Moment) -> bool {
        let folder = |config: &Config| config.disk.as_ref().map(|disk| disk.path.clone());
        if folder(&config) != folder(&self.config) {
            return false;
        }
        self.config = sane(config);
        let syncs = tracks_sync(&self.config);
        if let Some(log) = &mut self.log {
            log.set_tracks_sync(syncs);
        }
        self.next_sync_at = None;
        self.schedule_sync(now);
        true
    }

    /// Arms the sync timer if something is unsynced. `true` if it was not armed.
    fn schedule_sync(&mut self, now: Moment) -> bool {
        let Some(Fsync::Interval(interval)) = self.config.disk.as_ref().map(|disk| disk.fsync) else {
            return false;
        };
        let arm = self.next_sync_at.is_none() && self.log.as_ref().is_some_and(Log::has_unsynced);
        if arm {
            self.next_sync_at = Some(now.at.saturating_add(millis(interval)));
        }
        arm
    }

    /// Whether the time for a sync has come; disarms the timer.
    pub(crate) fn take_due_sync(&mut self, now: Moment) -> bool {
        let due = self.next_sync_at.is_some_and(|at| at <= now.at);
        if due {
            self.next_sync_at = None;
        }
        due
    }

    pub(crate) fn attempt_timeout(&self) -> std::time::Duration {
        self.config.attempt_timeout
    }

    /// The files were not synced: they need it again, soon.
    pub(crate) fn sync_failed(&mut self, unsynced: Unsynced, error: &io::Error, now: Moment) {
        if let Some(log) = &mut self.log {
            log.sync_failed(unsynced);
        }
        self.schedule_sync(now);
        self.note_error(now, "disk", &error.to_string());
    }

    /// When the senders must look again even if nothing happens.
    pub(crate) fn next_wake(&self) -> Option<i64> {
        let queued = self.stats.queued.records > 0;
        let tick = queued.then(|| self.scale.next_tick());
        let ready = if self.may_begin() {
            let lanes = self.lanes.iter().filter_map(|lane| self.ready_at(lane)).min();
            lanes.map(|at| at.max(self.paused_until))
        } else {
            None
        };
        [tick, ready, self.next_sync_at].into_iter().flatten().min()
    }

    fn bounds(&self, now: Moment) -> Bounds {
        let (min, max) = (self.config.min_senders, self.config.max_senders);
        Bounds { min, max, limited: now.at < self.limited_until }
    }

    /// Remembers a failure, and logs it at most once a minute a reason.
    pub(crate) fn note_error(&mut self, now: Moment, reason: &'static str, text: &str) {
        if self.may_log(now, reason) {
            tracing::warn!(reason, error = text, "delivery failed");
        }
        self.stats.last_error = Some(LastError { at_ms: now.unix_ms, reason, text: text.to_owned() });
    }

    fn may_log(&mut self, now: Moment, reason: &'static str) -> bool {
        let last = self.logged_at.entry(reason).or_insert(i64::MIN);
        let due = now.at.saturating_sub(*last) >= LOG_EVERY_MS;
        if due {
            *last = now.at;
        }
        due
    }

    /// Refuses further records; what is queued no longer waits for company.
    pub(crate) fn close(&mut self) {
        self.stats.closed = true;
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.stats.closed
    }

    /// From here on a drain cannot be taken back.
    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    /// Takes records again; `Some(false)` if it is too late for that, `None` as long as appends are on their way
    /// back.
    pub(crate) fn reopen(&mut self) -> Option<bool> {
        if self.ended {
            return Some(false);
        }
        if self.stats.closed && self.waiting > 0 {
            return None;
        }
        self.stats.closed = false;
        Some(true)
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.stats.queued.records == 0
    }

    /// The attempts were stopped from outside.
    pub(crate) fn abandon_attempts(&mut self) {
        self.stats.attempts_in_flight = 0;
        self.lanes.iter_mut().for_each(|lane| lane.in_flight = false);
    }

    pub(crate) fn log_mut(&mut self) -> Option<&mut Log> {
        self.log.as_mut()
    }

    pub(crate) fn take_log(&mut self) -> Option<Log> {
        self.log.take()
    }

    pub(crate) fn fs(&self) -> Option<Arc<dyn Fs>> {
        self.log.as_ref().map(|log| log.fs().clone())
    }

    pub(crate) fn stats(&self, now: Moment) -> Stats {
        let mut stats = self.stats.clone();
        let oldest = self.lanes.iter().filter_map(|lane| Some(lane.front()?.created_at)).min();
        let span = |ms: i64| std::time::Duration::from_millis(ms.max(0).cast_unsigned());
        stats.oldest_age = oldest.map(|created| span(now.at.saturating_sub(created)));
        self.lanes.iter().for_each(|lane| stats.in_flight += lane.in_flight_amount());
        stats.waiting_appends = self.waiting;
        stats.senders = self.senders;
        stats.senders_desired = self.scale.desired();
        stats.senders_min = self.config.min_senders;
        stats.senders_max = self.config.max_senders;
        stats.limited_for = (now.at < self.limited_until).then(|| span(self.limited_until - now.at));
        if let Some(log) = &self.log {
            stats.disk_bytes = log.disk_bytes();
            stats.disk_segments = log.segment_count();
        }
        stats
    }
}

/// Whether the log has to remember which files are unsynced.
pub(crate) fn tracks_sync(config: &Config) -> bool {
    config.disk.as_ref().is_some_and(|disk| disk.fsync != Fsync::Never)
}

/// Makes limits that contradict each other agree; zero means one where zero would stop the queue.
fn sane(mut config: Config) -> Config {
    config.lanes = config.lanes.clamp(1, 1024);
    config.max_senders = config.max_senders.clamp(1, config.lanes);
    config.min_senders = config.min_senders.clamp(1, config.max_senders);
    config.max_records = config.max_records.max(1);
    if let Some(disk) = &mut config.disk {
        let eighth = (disk.max_bytes / 8).clamp(1, crate::format::MAX_BODY as u64);
        disk.segment_bytes = disk.segment_bytes.clamp(1, eighth);
    }
    config
}

fn new_lanes(count: usize) -> Vec<Lane> {
    (0..count).map(|_| Lane::default()).collect()
}

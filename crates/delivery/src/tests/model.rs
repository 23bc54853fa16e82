//! The log against a naive twin, on a file system that fails, with a crash at every system call.
//!
//! The twin is a map of what was acknowledged and is not done. After a kill the log must hold exactly that, plus
//! at most what the failed operations were about; after a power cut exactly what `fsync` had confirmed, at least.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use proptest::prelude::*;

use super::fake_fs::{FakeFs, Process};
use crate::{
    Record,
    log::{Log, Opened, read},
};

#[derive(Debug, Clone)]
enum Op {
    Append(usize),
    /// Marks these of the live records, by index, as done.
    Done(Vec<prop::sample::Index>),
    Sync,
    Room,
    DropOldestSegment,
    Capacity(Option<usize>),
    Failing(bool),
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0usize..200).prop_map(Op::Append),
        6 => prop::collection::vec(any::<prop::sample::Index>(), 1..4).prop_map(Op::Done),
        2 => Just(Op::Sync),
        1 => Just(Op::Room),
        1 => Just(Op::DropOldestSegment),
        1 => prop::option::of(200usize..2000).prop_map(Op::Capacity),
        1 => any::<bool>().prop_map(Op::Failing),
        1 => Just(Op::Reopen),
    ]
}

const SEGMENT: u64 = 600;

#[derive(Debug, Clone, PartialEq)]
struct Known {
    body: Bytes,
    offset: u32,
    durable: bool,
}

#[derive(Default)]
struct Twin {
    live: BTreeMap<u64, Known>,
    done: BTreeSet<u64>,
    /// Bodies of records whose append or whose mark as done failed: a restart may find them.
    unsure: BTreeSet<Bytes>,
    minted: u64,
}

struct Run {
    disk: FakeFs,
    fs: Arc<Process>,
    log: Option<Log>,
    twin: Twin,
}

fn open(fs: &Arc<Process>) -> std::io::Result<(Log, Opened)> {
    Ok(Log::open(fs.clone(), true, 9)?.expect("nobody else holds the lock"))
}

impl Run {
    fn new() -> Run {
        let disk = FakeFs::new(3);
        let fs = disk.process();
        let log = Some(open(&fs).unwrap().0);
        Run { disk, fs, log, twin: Twin::default() }
    }

    fn apply(&mut self, op: &Op) {
        let Some(log) = &mut self.log else { return };
        match op {
            Op::Append(len) => {
                let mut body = self.twin.minted.to_le_bytes().to_vec();
                body.resize(8 + len, self.twin.minted as u8);
                self.twin.minted += 1;
                let body = Bytes::from(body);
                let record = Record {
                    body: body.clone(),
                    items: 1,
                    key: 0,
                    group: 0,
                    created_ms: 0,
                    newest_ms: 0,
                    kind: 0,
                };
                match log.append(&record, SEGMENT) {
                    Ok(at) => {
                        let known = Known { body, offset: at.offset, durable: false };
                        assert_eq!(self.twin.live.insert(at.sequence, known), None, "numbers are used once");
                        assert!(!self.twin.done.contains(&at.sequence), "numbers are used once");
                    }
                    Err(_) => {
                        self.twin.unsure.insert(body);
                    }
                }
            }
            Op::Done(picks) => {
                let live: Vec<u64> = self.twin.live.keys().copied().collect();
                if live.is_empty() {
                    return;
                }
                let chosen: BTreeSet<u64> = picks.iter().map(|pick| live[pick.index(live.len())]).collect();
                self.done(chosen);
            }
            Op::Sync => {
                let unsynced = log.take_unsynced();
                match unsynced.sync(&*self.fs) {
                    Ok(()) => self.twin.live.values_mut().for_each(|known| known.durable = true),
                    Err(_) => log.sync_failed(unsynced),
                }
            }
            Op::Room => {
                log.has_room(10, 50);
            }
            Op::DropOldestSegment => {
                if let Some(range) = log.oldest_segment() {
                    let first = range.start;
                    self.done(self.twin.live.range(range).map(|(sequence, _)| *sequence).collect());
                    self.log.as_mut().unwrap().doom(first);
                }
            }
            Op::Capacity(capacity) => self.disk.set_capacity(*capacity),
            Op::Failing(failing) => self.disk.set_failing(if *failing { 20 } else { 0 }),
            Op::Reopen => self.reopen(false),
        }
    }

    fn done(&mut self, chosen: BTreeSet<u64>) {
        let sequences: Vec<u64> = chosen.iter().copied().collect();
        let marked = self.log.as_mut().unwrap().done(&sequences);
        for sequence in sequences {
            let known = self.twin.live.remove(&sequence).expect("only live records are marked");
            if marked.is_ok() {
                self.twin.done.insert(sequence);
            } else {
                self.twin.unsure.insert(known.body);
            }
        }
        if marked.is_ok() {
            let log = self.log.as_ref().unwrap();
            assert!(chosen.iter().all(|sequence| log.done_set().contains(*sequence)));
            assert!(self.twin.live.keys().all(|sequence| !log.done_set().contains(*sequence)));
        }
    }

    /// Ends the process and starts another; compares what it finds with the twin.
    fn reopen(&mut self, power_cut: bool) {
        self.log = None;
        if power_cut {
            self.disk.power_cut()
        } else {
            self.disk.restart()
        }
        self.disk.set_capacity(None);
        self.fs = self.disk.process();
        let (log, opened) = open(&self.fs).expect("a queue always opens");
        let mut found = BTreeMap::new();
        let mut last = None;
        for frame in opened.frames {
            let sequence = frame.header.sequence;
            assert!(last < Some(sequence), "frames come in order");
            last = Some(sequence);
            let at = log.position(sequence, frame.offset, frame.header.len).unwrap();
            let record = read(&*self.fs, &at).unwrap().expect("a recovered record reads back");
            let known = Known { body: record.body, offset: frame.offset, durable: true };
            assert_eq!(found.insert(sequence, known), None);
        }
        for (sequence, known) in &self.twin.live {
            if power_cut && !known.durable {
                continue;
            }
            let same = found.get(sequence).is_some_and(|found| found.body == known.body);
            assert!(same, "acknowledged record {sequence} is lost");
        }
        if power_cut {
            // Numbers of records that are wholly forgotten may be used again.
            self.twin.done.clear();
        }
        for (sequence, known) in &found {
            let expected = self.twin.live.get(sequence).is_some_and(|live| live.body == known.body)
                || self.twin.unsure.contains(&known.body);
            assert!(expected || power_cut, "record {sequence} should be gone");
            assert!(!self.twin.done.contains(sequence), "record {sequence} was done");
            let minted = u64::from_le_bytes(known.body[..8].try_into().unwrap()) < self.twin.minted;
            assert!(minted, "record {sequence} was never written");
        }
        self.twin.live = found;
        self.log = Some(log);
    }
}

/// Runs the operations once undisturbed, then again with a crash at each of the system calls they took.
fn crash_everywhere(ops: &[Op], power_cut: bool) {
    for crash_at in 1.. {
        let mut run = Run::new();
        run.disk.crash_after(crash_at);
        for op in ops {
            // Reopening would disarm the crash.
            if !matches!(op, Op::Reopen) && !run.disk.has_crashed() {
                run.apply(op);
            }
        }
        let finished = !run.disk.has_crashed();
        run.reopen(power_cut);
        run.apply(&Op::Append(5));
        run.reopen(false);
        if finished {
            break;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn the_log_agrees_with_its_twin_over_restarts_and_failures(ops in prop::collection::vec(op(), 1..80)) {
        let mut run = Run::new();
        ops.iter().for_each(|op| run.apply(op));
        run.reopen(false);
    }

    #[test]
    fn a_kill_at_any_system_call_loses_nothing_acknowledged(ops in prop::collection::vec(op(), 1..25)) {
        crash_everywhere(&ops, false);
    }

    #[test]
    fn a_power_cut_at_any_system_call_loses_nothing_synced(ops in prop::collection::vec(op(), 1..25)) {
        crash_everywhere(&ops, true);
    }
}

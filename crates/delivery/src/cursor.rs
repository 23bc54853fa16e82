//! Which records are done, in memory ([`DoneSet`]) and on disk ([`Cursor`]).
//!
//! The cursor file is a snapshot followed by one 20-byte entry for each finished run of records, so that after a
//! `kill -9` only what was in flight is sent again. When the entries outgrow the snapshot, a new file replaces the
//! old one by rename. A cursor that is lost or behind costs duplicates, never records; so it is not synced.

use std::{collections::BTreeMap, io, sync::Arc};

use crate::{
    format::{MAX_SEQUENCE, u32_at, u64_at},
    fs::{Append, Fs},
};

/// The cursor's file name.
pub(crate) const CURSOR: &str = "cursor";
const CURSOR_NEW: &str = "cursor.new";
const MAGIC: [u8; 8] = *b"FALLOYC1";
const SNAPSHOT_HEADER: usize = 28;
const RANGE: usize = 16;
const ENTRY: usize = 20;
/// Entries are folded into a snapshot when they take this much and more than the snapshot did.
const JOURNAL_MIN: usize = 64 << 10;

/// Sequence numbers that are done: all below `low`, and disjoint ranges above it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DoneSet {
    low: u64,
    /// start → end (exclusive), never touching one another or `low`.
    ranges: BTreeMap<u64, u64>,
}

impl DoneSet {
    /// Everything below `low`.
    pub(crate) fn below(low: u64) -> DoneSet {
        DoneSet { low, ranges: BTreeMap::new() }
    }

    /// The first sequence number that is not done.
    pub(crate) fn low(&self) -> u64 {
        self.low
    }

    /// One past the largest number known to be done.
    pub(crate) fn end(&self) -> u64 {
        self.ranges.last_key_value().map_or(self.low, |(_, &end)| end)
    }

    pub(crate) fn contains(&self, sequence: u64) -> bool {
        sequence < self.low
            || self.ranges.range(..=sequence).next_back().is_some_and(|(_, &end)| sequence < end)
    }

    /// Adds `start..end`.
    pub(crate) fn insert(&mut self, mut start: u64, mut end: u64) {
        start = start.max(self.low);
        if start >= end {
            return;
        }
        if let Some((&before, &before_end)) = self.ranges.range(..=start).next_back()
            && before_end >= start
        {
            start = before;
            end = end.max(before_end);
        }
        while let Some((&after, &after_end)) = self.ranges.range(start..=end).next() {
            end = end.max(after_end);
            self.ranges.remove(&after);
        }
        if start == self.low {
            self.low = end;
        } else {
            self.ranges.insert(start, end);
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SNAPSHOT_HEADER + RANGE * self.ranges.len());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.low.to_le_bytes());
        out.extend_from_slice(&(self.ranges.len() as u64).to_le_bytes());
        for (start, end) in &self.ranges {
            out.extend_from_slice(&start.to_le_bytes());
            out.extend_from_slice(&end.to_le_bytes());
        }
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a cursor file; `None` if its snapshot is damaged. A damaged entry ends the journal; the number of
    /// bytes from there on comes second.
    pub(crate) fn decode(bytes: &[u8]) -> Option<(DoneSet, usize)> {
        if bytes.len() < SNAPSHOT_HEADER || bytes[..8] != MAGIC {
            return None;
        }
        let count = usize::try_from(u64_at(bytes, 16)).ok()?;
        let snapshot = count.checked_mul(RANGE)?.checked_add(SNAPSHOT_HEADER)?;
        let body = bytes.get(..snapshot - 4)?;
        if bytes.len() < snapshot || crc32c::crc32c(body) != u32_at(bytes, snapshot - 4) {
            return None;
        }
        let mut done = DoneSet::below(u64_at(bytes, 8));
        let mut sane = done.low < MAX_SEQUENCE;
        for range in body[SNAPSHOT_HEADER - 4..].chunks_exact(RANGE) {
            let (start, end) = (u64_at(range, 0), u64_at(range, 8));
            sane &= start < end && end < MAX_SEQUENCE;
            done.insert(start, end);
        }
        if !sane {
            return None;
        }
        let mut journal = &bytes[snapshot..];
        while let Some((start, end)) = decode_entry(journal) {
            done.insert(start, end);
            journal = &journal[ENTRY..];
        }
        Some((done, journal.len()))
    }
}

fn encode_entry(start: u64, end: u64, out: &mut Vec<u8>) {
    let at = out.len();
    out.extend_from_slice(&start.to_le_bytes());
    out.extend_from_slice(&end.to_le_bytes());
    let crc = crc32c::crc32c_append(u32::from_le_bytes(*b"done"), &out[at..]);
    out.extend_from_slice(&crc.to_le_bytes());
}

fn decode_entry(bytes: &[u8]) -> Option<(u64, u64)> {
    let bytes: &[u8; ENTRY] = bytes.first_chunk()?;
    let (start, end) = (u64_at(bytes, 0), u64_at(bytes, 8));
    let mut expected = Vec::with_capacity(ENTRY);
    encode_entry(start, end, &mut expected);
    (expected == bytes && start < end && end < MAX_SEQUENCE).then_some((start, end))
}

/// The done set with its file.
pub(crate) struct Cursor {
    done: DoneSet,
    file: Option<Arc<dyn Append>>,
    snapshot_bytes: usize,
    journal_bytes: usize,
    /// The newest file holds everything; otherwise the next `mark` rewrites it.
    whole: bool,
}

impl Cursor {
    /// Continues from what recovery found. The file is written anew at the first `mark`, because an old one may
    /// end in half an entry.
    pub(crate) fn new(done: DoneSet) -> Cursor {
        Cursor { done, file: None, snapshot_bytes: 0, journal_bytes: 0, whole: false }
    }

    #[cfg(test)]
    pub(crate) fn done(&self) -> &DoneSet {
        &self.done
    }

    /// Notes sequence numbers that will never be used.
    pub(crate) fn skip(&mut self, sequence: u64) {
        self.done.insert(sequence, sequence + 1);
        self.whole = false;
    }

    /// Marks records as done (ascending), in memory for certain and on disk if the file can be written; a file
    /// that could not be written is rewritten at the next call.
    pub(crate) fn mark(&mut self, fs: &dyn Fs, sequences: &[u64]) -> io::Result<()> {
        let mut entries = Vec::with_capacity(ENTRY);
        let mut rest = sequences;
        while let Some(&start) = rest.first() {
            let run =
                rest.iter().zip(start..).take_while(|(sequence, expected)| **sequence == *expected).count();
            let end = start + run as u64;
            self.done.insert(start, end);
            encode_entry(start, end, &mut entries);
            rest = &rest[run..];
        }
        let outgrown = self.journal_bytes >= JOURNAL_MIN.max(self.snapshot_bytes);
        match &self.file {
            Some(file) if self.whole && !outgrown => {
                self.journal_bytes += entries.len();
                let written = file.append([&entries, &[]]);
                self.whole = written.is_ok();
                written
            }
            _ => self.rewrite(fs, false),
        }
    }

    /// Puts a new snapshot in place of the file.
    pub(crate) fn rewrite(&mut self, fs: &dyn Fs, sync: bool) -> io::Result<()> {
        self.whole = false;
        match fs.remove(CURSOR_NEW) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = fs.create_new(CURSOR_NEW)?;
        let snapshot = self.done.encode();
        file.append([&snapshot, &[]])?;
        if sync {
            file.sync()?;
        }
        fs.rename(CURSOR_NEW, CURSOR)?;
        self.snapshot_bytes = snapshot.len();
        self.journal_bytes = 0;
        self.file = Some(file);
        self.whole = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_done_set_agrees_with_a_plain_set(inserts in prop::collection::vec((0u64..60, 0u64..6), 0..40)) {
            let (mut done, mut plain) = (DoneSet::default(), std::collections::BTreeSet::new());
            for (start, len) in inserts {
                done.insert(start, start + len);
                plain.extend(start..start + len);
                for sequence in 0..70 {
                    prop_assert_eq!(done.contains(sequence), plain.contains(&sequence));
                }
                prop_assert_eq!(done.low(), (0..).find(|n| !plain.contains(n)).unwrap());
            }
            prop_assert_eq!(DoneSet::decode(&done.encode()), Some((done, 0)));
        }

        #[test]
        fn arbitrary_cursor_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = DoneSet::decode(&bytes);
            let mut prefixed = MAGIC.to_vec();
            prefixed.extend(bytes);
            let _ = DoneSet::decode(&prefixed);
        }
    }

    #[test]
    fn a_cursor_cut_anywhere_keeps_every_whole_entry_and_invents_none() {
        let mut done = DoneSet::below(5);
        done.insert(9, 12);
        let mut bytes = done.encode();
        let snapshot = bytes.len();
        for sequence in [20, 30, 40] {
            encode_entry(sequence, sequence + 1, &mut bytes);
        }
        for cut in 0..=bytes.len() {
            let Some((read, torn)) = DoneSet::decode(&bytes[..cut]) else {
                assert!(cut < snapshot, "the snapshot is whole at {cut}");
                continue;
            };
            let whole = (cut - snapshot) / ENTRY;
            assert_eq!(torn, (cut - snapshot) % ENTRY);
            for (index, sequence) in [20, 30, 40].into_iter().enumerate() {
                assert_eq!(read.contains(sequence), index < whole, "entry {index} at cut {cut}");
            }
        }
    }
}

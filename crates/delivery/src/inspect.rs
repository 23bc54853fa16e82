//! A read-only walk through a queue folder, for people and tools. Takes no lock and changes nothing; of a queue
//! that is in use it may see the last record half written, which counts as damage here.

use std::{io, path::Path, path::PathBuf};

use bytes::Bytes;

use crate::{
    Record,
    format::{FRAME_HEADER, Found, Scan, parse_segment_name, segment_name},
    fs::{Fs, RealFs},
    log::{read_folder, read_segment},
    stats::Amount,
};

/// What a queue folder holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inspection {
    /// The folder.
    pub path: PathBuf,
    /// Its segments, oldest first.
    pub segments: Vec<SegmentInspection>,
    /// Records that are still to be delivered.
    pub queued: Amount,
    /// The cursor: every record below this sequence number is done.
    pub done_below: u64,
    /// The sequence number that the next record will get.
    pub next_sequence: u64,
    /// Unreadable records or stretches of bytes in segments and cursor.
    pub damaged_records: u64,
    /// Bytes of them.
    pub damaged_bytes: u64,
    /// Files that were set aside earlier (`*.damaged`).
    pub set_aside: Vec<String>,
}

/// One segment file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SegmentInspection {
    /// Its file name.
    pub name: String,
    /// Its size.
    pub file_bytes: u64,
    /// All its intact records, done or not.
    pub stored: Amount,
    /// Those of them that are still to be delivered.
    pub queued: Amount,
    /// Unreadable records or stretches of bytes.
    pub damaged_records: u64,
    /// Bytes of them.
    pub damaged_bytes: u64,
}

/// A record on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// Its sequence number.
    pub sequence: u64,
    /// Whether it was delivered or dropped.
    pub done: bool,
    /// The record itself.
    pub record: Record,
}

/// Looks at the queue in `path`.
///
/// # Errors
/// If the folder or a segment cannot be read; damaged contents are no error.
pub fn inspect(path: impl AsRef<Path>) -> io::Result<Inspection> {
    let path = path.as_ref();
    let fs = RealFs::new(path);
    let found = read_folder(&fs)?;
    let mut inspection = Inspection {
        path: path.to_owned(),
        done_below: found.done.low(),
        next_sequence: found.next_sequence,
        damaged_records: found.damaged_records,
        damaged_bytes: found.damaged_bytes,
        ..Inspection::default()
    };
    let mut firsts = Vec::new();
    for (name, len) in fs.list()? {
        if name.ends_with(".damaged") {
            inspection.set_aside.push(name);
        } else if let Some(first) = parse_segment_name(&name) {
            firsts.push((first, len));
        }
    }
    firsts.sort_unstable();
    for (first, len) in firsts {
        let mut segment =
            SegmentInspection { name: segment_name(first), file_bytes: len, ..SegmentInspection::default() };
        let bytes = read_segment(&fs, first, len)?;
        let scan = Scan::new(&bytes);
        if scan.is_none() {
            segment.damaged_records = 1;
            segment.damaged_bytes = len;
        }
        for item in scan.into_iter().flat_map(|(_, scan)| scan) {
            match item {
                Found::Frame { header, .. } => {
                    let amount = Amount::of(header.items, header.len as usize);
                    segment.stored += amount;
                    if !found.done.contains(header.sequence) {
                        segment.queued += amount;
                    }
                }
                Found::Damage { len, .. } => {
                    segment.damaged_records += 1;
                    segment.damaged_bytes += len as u64;
                }
            }
        }
        inspection.queued += segment.queued;
        inspection.segments.push(segment);
    }
    Ok(inspection)
}

impl Inspection {
    /// The intact records, done ones included, oldest first; one segment at a time is in memory.
    pub fn records(&self) -> impl Iterator<Item = io::Result<StoredRecord>> {
        let fs = RealFs::new(&self.path);
        let done = read_folder(&fs).map(|found| found.done).unwrap_or_default();
        self.segments.iter().flat_map(move |segment| {
            let first = parse_segment_name(&segment.name).unwrap_or_default();
            match read_segment(&fs, first, segment.file_bytes) {
                Ok(bytes) => stored_records(Bytes::from(bytes), &done).into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            }
        })
    }
}

/// The records of one segment; their bodies share its bytes.
fn stored_records(bytes: Bytes, done: &crate::cursor::DoneSet) -> Vec<StoredRecord> {
    let frames = Scan::new(&bytes).into_iter().flat_map(|(_, scan)| scan);
    let record = |found| match found {
        Found::Frame { offset, header } => {
            let start = offset + FRAME_HEADER;
            let body = bytes.slice(start..start + header.len as usize);
            let done = done.contains(header.sequence);
            Some(StoredRecord { sequence: header.sequence, done, record: header.record(body) })
        }
        Found::Damage { .. } => None,
    };
    frames.filter_map(record).collect()
}

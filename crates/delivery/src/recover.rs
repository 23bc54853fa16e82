//! Recovery: a pure function from the bytes of a folder's files to what is still to be delivered.
//!
//! It keeps every intact frame that the cursor does not call done, whatever else is damaged, and never fails.

use std::{collections::BTreeMap, io};

use crate::{
    cursor::DoneSet,
    format::{FRAME_HEADER, Found, FrameHeader, SEGMENT_HEADER, Scan},
};

/// A segment file as the log knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    pub salt: u64,
    /// Size of the file.
    pub bytes: u64,
    /// Frames that are not done.
    pub live: usize,
    /// It holds damage: set aside rather than deleted when its frames are done.
    pub damaged: bool,
    /// Its frames were dropped for room while some were in flight; it no longer counts against the budget.
    pub doomed: bool,
}

/// A frame that is still to be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    pub offset: u32,
    pub header: FrameHeader,
}

/// What the files hold.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Recovered {
    /// Segments with live frames, by first sequence number.
    pub segments: BTreeMap<u64, Segment>,
    /// Live frames in order.
    pub frames: Vec<Frame>,
    /// All but the live frames.
    pub done: DoneSet,
    /// Above every number that was ever used.
    pub next_sequence: u64,
    pub damaged_records: u64,
    pub damaged_bytes: u64,
    /// The cursor's snapshot was unreadable.
    pub cursor_damaged: bool,
    /// Segments of which nothing can be read.
    pub unreadable: Vec<u64>,
    /// Segments without live frames, and whether they hold damage.
    pub finished: Vec<(u64, bool)>,
}

/// Reads a folder: the cursor file if there is one, and the segments by the number in their name, ascending.
/// Segments are looked at one at a time, so an iterator may load them lazily.
pub(crate) fn recover(
    cursor: Option<&[u8]>,
    segments: impl IntoIterator<Item = (u64, io::Result<Vec<u8>>)>,
) -> Recovered {
    let mut out = Recovered::default();
    let mut marked = DoneSet::default();
    if let Some(bytes) = cursor {
        match DoneSet::decode(bytes) {
            Some((done, torn)) => {
                marked = done;
                out.damaged_bytes += torn as u64;
            }
            None => {
                out.cursor_damaged = true;
                out.damaged_bytes += bytes.len() as u64;
            }
        }
    }
    out.next_sequence = marked.end();
    let mut segments = segments.into_iter().peekable();
    while let Some((name, bytes)) = segments.next() {
        let is_last = segments.peek().is_none();
        match bytes {
            Ok(bytes) => out.segment(name, &bytes, is_last, &marked),
            Err(_) => out.unreadable(name, 0),
        }
    }
    out.done = DoneSet::default();
    let mut from = 0;
    for frame in &out.frames {
        out.done.insert(from, frame.header.sequence);
        from = frame.header.sequence + 1;
    }
    out.done.insert(from, out.next_sequence);
    out
}

impl Recovered {
    fn unreadable(&mut self, name: u64, bytes: u64) {
        self.damaged_records += 1;
        self.damaged_bytes += bytes;
        self.unreadable.push(name);
    }

    fn segment(&mut self, name: u64, bytes: &[u8], is_last: bool, marked: &DoneSet) {
        if bytes.len() < SEGMENT_HEADER {
            // Its creation was cut short: it never held a record.
            self.damaged_bytes += bytes.len() as u64;
            self.finished.push((name, false));
            return;
        }
        let passed = self.next_sequence.max(name);
        let (header, scan) = match Scan::new(bytes) {
            Some((header, scan)) if header.first == name => (header, scan),
            _ => {
                self.unreadable(name, bytes.len() as u64);
                self.next_sequence = passed;
                return;
            }
        };
        let newest = self.frames.last().map(|frame| frame.header.sequence);
        let mut segment =
            Segment { salt: header.salt, bytes: bytes.len() as u64, live: 0, damaged: false, doomed: false };
        self.next_sequence = passed;
        for found in scan {
            match found {
                Found::Frame { offset, header } => {
                    self.next_sequence = self.next_sequence.max(header.sequence + 1);
                    let is_new = newest.is_none_or(|newest| header.sequence > newest);
                    if is_new && !marked.contains(header.sequence) {
                        segment.live += 1;
                        self.frames.push(Frame { offset: offset as u32, header });
                    }
                }
                Found::Damage { offset, len } => {
                    self.damaged_records += 1;
                    self.damaged_bytes += len as u64;
                    // What a kill leaves at the very end is half a record that was never acknowledged.
                    let torn_tail = is_last && offset + len == bytes.len() && len < FRAME_HEADER;
                    segment.damaged |= !torn_tail;
                }
            }
        }
        if segment.live == 0 {
            self.finished.push((name, segment.damaged));
        } else {
            self.segments.insert(name, segment);
        }
    }
}

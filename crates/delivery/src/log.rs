//! The queue on disk: segment files in order of sequence numbers, and the cursor.
//!
//! Synchronous and without time. Invariant: a frame is on disk, whole, before `append` answers; a failed write
//! leaves no trace that later frames could stumble over; a segment goes when all its frames are done.

use std::{collections::BTreeMap, io, sync::Arc};

use crate::{
    Record,
    cursor::{CURSOR, Cursor},
    format::{
        self, FRAME_HEADER, FrameHeader, MAX_BODY, SEGMENT_HEADER, SegmentHeader, parse_segment_name,
        segment_name,
    },
    fs::{Append, Fs},
    recover::{Frame, Recovered, Segment, recover},
};

/// How many damaged files are kept for a person to look at.
const DAMAGED_KEPT: usize = 4;
/// A file with a segment's name that is larger than any segment can be is not read into memory.
const MAX_FILE: u64 = 2 * MAX_BODY as u64 + (1 << 20);

/// Whether a write failed for want of room, on the device or of what its user may have of it.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Where a record lies, and enough to read it without the log's lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub segment: u64,
    pub salt: u64,
    pub sequence: u64,
    pub offset: u32,
    pub len: u32,
}

/// What `open` found besides the log.
pub(crate) struct Opened {
    pub frames: Vec<Frame>,
    pub damaged_records: u64,
    pub damaged_bytes: u64,
}

/// Files whose contents are not yet known to be on the device.
#[derive(Default)]
pub(crate) struct Unsynced {
    /// By their segments. One that is deleted is not among them: its room is given back only when nobody holds it.
    files: Vec<(u64, Arc<dyn Append>)>,
    folder: bool,
}

impl Unsynced {
    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty() && !self.folder
    }

    /// Forces everything to the device; blocks.
    pub(crate) fn sync(&self, fs: &dyn Fs) -> io::Result<()> {
        self.files.iter().try_for_each(|(_, file)| file.sync())?;
        if self.folder { fs.sync_folder() } else { Ok(()) }
    }
}

struct Current {
    first: u64,
    file: Arc<dyn Append>,
}

/// The files of one queue.
pub(crate) struct Log {
    fs: Arc<dyn Fs>,
    segments: BTreeMap<u64, Segment>,
    current: Option<Current>,
    cursor: Cursor,
    next_sequence: u64,
    disk_bytes: u64,
    unsynced: Unsynced,
    tracks_sync: bool,
    salts: fastrand::Rng,
    _lock: Box<dyn Send + Sync>,
}

impl Log {
    /// Reads the folder and sets damage aside. `Ok(None)`: the folder is locked by someone else.
    pub(crate) fn open(fs: Arc<dyn Fs>, tracks_sync: bool, seed: u64) -> io::Result<Option<(Log, Opened)>> {
        fs.create_folder()?;
        let Some(lock) = fs.lock()? else { return Ok(None) };
        let found = read_folder(&*fs)?;
        // Losing the race for these only means that they are looked at again by the next process.
        for &first in &found.unreadable {
            let _ = set_aside(&*fs, &segment_name(first));
        }
        if found.cursor_damaged {
            let _ = set_aside(&*fs, CURSOR);
        }
        for &(first, damaged) in &found.finished {
            let _ = discard(&*fs, first, damaged);
        }
        let log = Log {
            disk_bytes: found.segments.values().map(|segment| segment.bytes).sum(),
            segments: found.segments,
            current: None,
            cursor: Cursor::new(found.done),
            next_sequence: found.next_sequence,
            unsynced: Unsynced::default(),
            tracks_sync,
            salts: fastrand::Rng::with_seed(seed),
            fs,
            _lock: lock,
        };
        let opened = Opened {
            frames: found.frames,
            damaged_records: found.damaged_records,
            damaged_bytes: found.damaged_bytes,
        };
        Ok(Some((log, opened)))
    }

    /// Size of the segments that count against the budget.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.disk_bytes
    }

    pub(crate) fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// Whether a body of `len` bytes fits into `max_bytes`; frees a finished current segment if that helps.
    pub(crate) fn has_room(&mut self, len: usize, max_bytes: u64) -> bool {
        let fits = |disk_bytes: u64| disk_bytes + frame_size(len) + SEGMENT_HEADER as u64 <= max_bytes;
        if !fits(self.disk_bytes) {
            self.retire_finished();
        }
        fits(self.disk_bytes)
    }

    /// The largest body that could ever fit into `max_bytes`.
    pub(crate) fn largest_body(max_bytes: u64) -> u64 {
        max_bytes.saturating_sub((SEGMENT_HEADER + FRAME_HEADER) as u64).min(MAX_BODY as u64)
    }

    /// Writes a record. After an error nothing of it is left that a reader would take for a record.
    pub(crate) fn append(&mut self, record: &Record, segment_bytes: u64) -> io::Result<Position> {
        let size = frame_size(record.body.len());
        let begin_new = match &self.current {
            Some(current) => {
                let bytes = self.segments[&current.first].bytes;
                bytes > SEGMENT_HEADER as u64 && bytes + size > segment_bytes
            }
            None => true,
        };
        if begin_new {
            self.begin_segment()?;
        }
        let Some(current) = &self.current else { return Err(io::ErrorKind::NotFound.into()) };
        let (first, file) = (current.first, current.file.clone());
        let segment = self.segments.get_mut(&first).expect("the current segment is in the table");
        let sequence = self.next_sequence;
        let header = FrameHeader::of(record, sequence);
        if let Err(error) = file.append([&header.encode(segment.salt), &record.body]) {
            if file.truncate(segment.bytes).is_err() {
                // Half a frame stays at the end: no frame may follow it, and its number is not used again.
                segment.damaged = true;
                self.next_sequence += 1;
                self.cursor.skip(sequence);
                self.seal();
            } else if is_full(&error) {
                // So that the file goes, and makes room, as soon as what is in it is delivered.
                self.seal();
            }
            return Err(error);
        }
        let offset = segment.bytes as u32;
        segment.bytes += size;
        segment.live += 1;
        self.disk_bytes += size;
        self.next_sequence += 1;
        let position = Position { segment: first, salt: segment.salt, sequence, offset, len: header.len };
        self.note_unsynced(first, &file);
        Ok(position)
    }

    fn note_unsynced(&mut self, first: u64, file: &Arc<dyn Append>) {
        if self.tracks_sync && !self.unsynced.files.iter().any(|(known, _)| *known == first) {
            self.unsynced.files.push((first, file.clone()));
        }
    }

    fn begin_segment(&mut self) -> io::Result<()> {
        self.seal();
        self.fs.create_folder()?;
        let (first, file) = loop {
            let first = self.next_sequence;
            match self.fs.create_new(&segment_name(first)) {
                Ok(file) => break (first, file),
                // A file that could not be set aside still has this name: leave it and use the next number.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    self.next_sequence += 1;
                    self.cursor.skip(first);
                }
                Err(error) => return Err(error),
            }
        };
        let header = SegmentHeader { salt: self.salts.u64(..), first };
        if let Err(error) = file.append([&header.encode(), &[]]) {
            let _ = self.fs.remove(&segment_name(first));
            return Err(error);
        }
        self.unsynced.folder |= self.tracks_sync;
        let bytes = SEGMENT_HEADER as u64;
        self.disk_bytes += bytes;
        let segment = Segment { salt: header.salt, bytes, live: 0, damaged: false, doomed: false };
        self.segments.insert(first, segment);
        self.current = Some(Current { first, file });
        Ok(())
    }

    /// Ends the current segment; it goes at once if all of it is done.
    fn seal(&mut self) {
        if let Some(current) = self.current.take() {
            self.discard_if_finished(current.first);
        }
    }

    fn retire_finished(&mut self) {
        if self.current.as_ref().is_some_and(|current| self.segments[&current.first].live == 0) {
            self.seal();
        }
    }

    fn discard_if_finished(&mut self, first: u64) {
        let is_current = self.current.as_ref().is_some_and(|current| current.first == first);
        let Some(segment) = self.segments.get(&first) else { return };
        if segment.live > 0 || is_current {
            return;
        }
        // A file that cannot be deleted is found to be finished by the next process.
        let _ = discard(&*self.fs, first, segment.damaged);
        if !segment.doomed {
            self.disk_bytes -= segment.bytes;
        }
        self.segments.remove(&first);
        self.unsynced.files.retain(|(known, _)| *known != first);
    }

    /// Marks records (ascending) as done. They are done even if an error says that the cursor file could not be
    /// written: they would be sent again only after a crash.
    pub(crate) fn done(&mut self, sequences: &[u64]) -> io::Result<()> {
        if sequences.is_empty() {
            return Ok(());
        }
        let marked = self.cursor.mark(&*self.fs, sequences);
        for &sequence in sequences {
            let first = self.segment_of(sequence);
            if let Some(segment) = first.and_then(|first| self.segments.get_mut(&first)) {
                segment.live -= 1;
                if segment.live == 0 {
                    self.discard_if_finished(first.expect("the segment was just found"));
                }
            }
        }
        marked
    }

    fn segment_of(&self, sequence: u64) -> Option<u64> {
        self.segments.range(..=sequence).next_back().map(|(&first, _)| first)
    }

    /// Where to read a record back.
    pub(crate) fn position(&self, sequence: u64, offset: u32, len: u32) -> Option<Position> {
        let segment = self.segment_of(sequence)?;
        Some(Position { segment, salt: self.segments[&segment].salt, sequence, offset, len })
    }

    /// A record could not be read back: its segment is to be set aside.
    pub(crate) fn note_damage(&mut self, sequence: u64) {
        if let Some(segment) = self.segment_of(sequence).and_then(|first| self.segments.get_mut(&first)) {
            segment.damaged = true;
        }
    }

    /// The sequence numbers of the oldest segment that still counts against the budget.
    pub(crate) fn oldest_segment(&self) -> Option<std::ops::Range<u64>> {
        let (&first, _) = self.segments.iter().find(|(_, segment)| !segment.doomed && segment.live > 0)?;
        let end = self.segments.range(first + 1..).next().map_or(self.next_sequence, |(&next, _)| next);
        Some(first..end)
    }

    /// After its queued frames were dropped: frees the segment's budget although frames in flight pin the file.
    pub(crate) fn doom(&mut self, first: u64) {
        if self.current.as_ref().is_some_and(|current| current.first == first) {
            self.seal();
        }
        if let Some(segment) = self.segments.get_mut(&first) {
            segment.doomed = true;
            self.disk_bytes -= segment.bytes;
        }
    }

    pub(crate) fn is_doomed(&self, sequence: u64) -> bool {
        self.segment_of(sequence).is_some_and(|first| self.segments[&first].doomed)
    }

    /// Takes the files that need a sync.
    pub(crate) fn take_unsynced(&mut self) -> Unsynced {
        std::mem::take(&mut self.unsynced)
    }

    /// A sync failed: the files need it again, and new frames go to a new segment, because the system may have
    /// thrown the old one's pages away.
    pub(crate) fn sync_failed(&mut self, unsynced: Unsynced) {
        self.seal();
        self.unsynced.folder |= unsynced.folder;
        let segments = &self.segments;
        self.unsynced
            .files
            .extend(unsynced.files.into_iter().filter(|(first, _)| segments.contains_key(first)));
    }

    /// Every number below this one has been given out.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    pub(crate) fn has_unsynced(&self) -> bool {
        !self.unsynced.is_empty()
    }

    pub(crate) fn set_tracks_sync(&mut self, tracks_sync: bool) {
        self.tracks_sync = tracks_sync;
        if !tracks_sync {
            self.unsynced = Unsynced::default();
        }
    }

    pub(crate) fn fs(&self) -> &Arc<dyn Fs> {
        &self.fs
    }

    /// Leaves the folder tidy and (if syncing is wanted) durable; blocks.
    pub(crate) fn close(mut self) -> io::Result<()> {
        self.retire_finished();
        self.cursor.rewrite(&*self.fs, self.tracks_sync)?;
        self.unsynced.folder |= self.tracks_sync;
        self.unsynced.sync(&*self.fs)
    }

    #[cfg(test)]
    pub(crate) fn done_set(&self) -> &crate::cursor::DoneSet {
        self.cursor.done()
    }
}

/// Reads a record back; `Ok(None)` if it is not intact.
pub(crate) fn read(fs: &dyn Fs, at: &Position) -> io::Result<Option<Record>> {
    let size = frame_size(at.len as usize) as usize;
    match fs.read_at(&segment_name(at.segment), u64::from(at.offset), size) {
        Ok(bytes) => Ok(format::decode_frame(bytes, at.salt, at.sequence)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Runs recovery over a folder, loading one segment at a time.
pub(crate) fn read_folder(fs: &dyn Fs) -> io::Result<Recovered> {
    let mut cursor = None;
    let mut segments = Vec::new();
    for (name, len) in fs.list()? {
        if name == CURSOR {
            // An unreadable cursor is as good as a damaged one.
            cursor = Some(fs.read(CURSOR).unwrap_or_default());
        } else if let Some(first) = parse_segment_name(&name) {
            segments.push((first, len));
        }
    }
    segments.sort_unstable();
    let load = |(first, len): (u64, u64)| (first, read_segment(fs, first, len));
    Ok(recover(cursor.as_deref(), segments.into_iter().map(load)))
}

/// Reads a segment of `len` bytes, unless no segment can be so large.
pub(crate) fn read_segment(fs: &dyn Fs, first: u64, len: u64) -> io::Result<Vec<u8>> {
    if len > MAX_FILE {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    fs.read(&segment_name(first))
}

fn frame_size(body: usize) -> u64 {
    (FRAME_HEADER + body) as u64
}

fn discard(fs: &dyn Fs, first: u64, damaged: bool) -> io::Result<()> {
    if damaged { set_aside(fs, &segment_name(first)) } else { fs.remove(&segment_name(first)) }
}

/// Renames a file out of the way, and forgets the oldest of those that were.
fn set_aside(fs: &dyn Fs, name: &str) -> io::Result<()> {
    fs.rename(name, &format!("{name}.damaged"))?;
    let mut damaged: Vec<String> =
        fs.list()?.into_iter().map(|(name, _)| name).filter(|name| name.ends_with(".damaged")).collect();
    damaged.sort_unstable();
    let surplus = damaged.len().saturating_sub(DAMAGED_KEPT);
    damaged[..surplus].iter().try_for_each(|name| fs.remove(name))
}

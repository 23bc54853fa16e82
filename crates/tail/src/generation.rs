//! One file that a target's path led to at some time, and how far it has been read.
//!
//! Data path: handle → buffer → [`split`] → a batch that borrows the buffer. Three places matter: `read` is
//! where reading goes on; it moves when a batch was answered. `committed` is what may be persisted; it follows
//! when nobody keeps anything of the batch back any more. Invariant: a place is taken for this file's only as
//! long as the bytes before it are what they were.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use signal::logs::{Entry, Receipt};
use tokio::time::Instant;

use crate::Settings;
use crate::charset::Charset;
use crate::handle::{End, Handle, Mode};
use crate::identity::{FileId, Mark, Place, Print, SEAM};
use crate::lines::{Framing, Sheet, Split, split};

/// Size of a read: the bytes before the place, and what the splitter has to see at once.
pub fn buffer_size(framing: &Framing) -> usize {
    SEAM + framing.window()
}

/// A header is not longer than this; what comes then are entries.
const MAX_HEADER: usize = 256 << 10;

/// So many batches may be kept back by others; then the file is not read on.
const MAX_UNSETTLED: usize = 4096;

/// One file.
pub struct Generation {
    /// Names it in this process.
    pub serial: u64,
    /// Which file.
    pub id: FileId,
    /// Its head.
    pub head: Print,
    /// Where it is or was, links resolved.
    pub path: PathBuf,
    /// Open, or closed to spare handles.
    pub handle: Option<Handle>,
    /// Its characters.
    pub charset: Charset,
    /// A byte-order mark says so.
    pub is_marked: bool,
    /// Where reading goes on.
    pub read: Mark,
    /// What may be persisted.
    pub committed: Mark,
    /// Size on disk when it was last looked at, or more where more was read.
    pub size: u64,
    /// When it was last written.
    pub modified: Option<SystemTime>,
    /// At this size there was no whole line left.
    pub stalled: Option<u64>,
    /// Since when it is not what the path leads to, or has grown after that.
    pub rotated: Option<Instant>,
    /// How long a rotated file is waited for: its writer may not know yet.
    pub linger: Duration,
    /// What is left is to be taken as a line.
    pub finish: bool,
    /// What is there now is to be taken as a line, more may come.
    pub flush: bool,
    /// Since when a line without its end has been waited for.
    pub waiting: Option<Instant>,
    /// Lines of its header, once they are known.
    pub header: Option<std::sync::Arc<[ByteString]>>,
    /// There will not be more.
    pub done: bool,
    /// Reads that failed in a row.
    pub failures: u32,
    /// It was written without having grown: a read tells whether it was truncated in between.
    pub verify: bool,
    /// Batches that are not committed yet, oldest first.
    pub unsettled: VecDeque<(Mark, Receipt)>,
}

/// What a read came to.
pub enum Piece {
    /// Nothing to do now.
    Nothing,
    /// Got on without lines.
    Skipped(Split),
    /// The bytes are not those that were read before.
    Replaced,
    /// Lines.
    Lines {
        /// The entries.
        entries: Vec<Entry>,
        /// Where the next read starts if they are taken.
        end: Mark,
        /// What else was met.
        split: Split,
        /// What is true of the file then.
        after: After,
    },
}

/// The state of a file after what was read of it has been taken.
#[derive(Clone, Copy, Debug)]
pub struct After {
    stalled: Option<u64>,
    done: bool,
}

/// Where buffers and times of a read come from.
pub struct Desk<'a> {
    /// How files are read.
    pub settings: &'a Settings,
    /// The buffer, of [`buffer_size`] bytes.
    pub buffer: &'a mut BytesMut,
    /// Takes the buffer's bytes where a batch borrows them, to be used again.
    pub lent: &'a mut Option<Bytes>,
    /// Time of the next entry.
    pub next_ns: &'a mut i64,
    /// Length of lines, roughly.
    pub line_length: &'a mut usize,
}

fn next_serial() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Generation {
    /// An open file, to be read from its start, after a byte-order mark.
    pub fn open(mut handle: Handle, path: PathBuf, settings: &Settings) -> io::Result<Self> {
        let metadata = handle.metadata()?;
        let head = handle.head(settings.head.max(4))?;
        let (charset, mark) = settings.charset.of_mark(&head);
        let start = Mark { offset: mark as u64, seam: Print::of(&head[..mark]), records: 0 };
        let head = &head[..head.len().min(settings.head)];
        Ok(Self {
            serial: next_serial(),
            id: FileId::of(&metadata),
            head: Print::of(head),
            path,
            handle: Some(handle),
            charset,
            is_marked: mark > 0,
            read: start,
            committed: start,
            size: metadata.len(),
            modified: metadata.modified().ok(),
            stalled: None,
            rotated: None,
            linger: Duration::ZERO,
            finish: settings.delete_after_read,
            flush: false,
            waiting: None,
            header: None,
            done: false,
            failures: 0,
            verify: false,
            unsettled: VecDeque::new(),
        })
    }

    /// Lets reading go on at a place.
    #[must_use]
    pub fn at(mut self, mark: Mark) -> Self {
        // What was never read starts after the byte-order mark.
        if mark.offset > 0 {
            (self.read, self.committed) = (mark, mark);
        }
        self
    }

    /// Not what the path leads to any more.
    #[must_use]
    pub fn rotated(mut self, linger: Duration) -> Self {
        (self.rotated, self.linger) = (Some(Instant::now()), linger);
        self
    }

    /// The same lines are in another file now: a copy, made before this one was truncated. This one starts
    /// anew under another serial.
    pub fn continue_in(&mut self, copy: Option<Self>, fresh: Self) -> Option<Self> {
        let old = std::mem::replace(self, fresh);
        copy.map(|copy| Self {
            serial: old.serial,
            head: old.head,
            charset: old.charset,
            is_marked: old.is_marked,
            read: old.read,
            committed: old.committed,
            unsettled: old.unsettled,
            ..copy
        })
    }

    /// Whether it is compressed.
    pub fn is_packed(&self) -> bool {
        self.handle.as_ref().is_some_and(Handle::is_packed)
    }

    /// Whether a read would get on.
    pub fn has_data(&self) -> bool {
        if self.done || self.unsettled.len() >= MAX_UNSETTLED {
            return false;
        }
        let more = self.is_packed() || self.size > self.read.offset;
        self.finish || self.flush || self.verify || more && self.stalled != Some(self.size)
    }

    /// Nothing is left to read or to wait for.
    pub fn is_over(&self) -> bool {
        self.done && self.unsettled.is_empty()
    }

    /// Whether batches are kept back by others.
    pub fn is_held(&self) -> bool {
        !self.unsettled.is_empty()
    }

    /// For keeping: `committed`, or `read` for finding it again now.
    pub fn place(&self, mark: Mark) -> Place {
        Place { id: self.id, head: self.head, mark, path: self.path.clone() }
    }

    /// Takes note of what is on disk.
    pub fn seen(&mut self, size: u64, modified: Option<SystemTime>) {
        if size == self.size && modified == self.modified {
            return;
        }
        if size != self.size && self.rotated.is_some() {
            self.rotated = Some(Instant::now());
        }
        if self.is_packed() && size != self.size {
            // Waiting for the rest of an archive, or of the next that is appended.
            (self.done, self.stalled) = (false, None);
            if let Some(handle) = &mut self.handle {
                handle.has_grown();
            }
        }
        if self.rotated.is_none() && !self.is_packed() && size > self.size {
            // It was done because it is to be removed, and has grown before that.
            self.done = false;
        }
        self.verify |= size == self.size && !self.is_packed();
        (self.size, self.modified) = (size, modified);
    }

    /// A batch up to `end` was answered.
    pub fn accepted(&mut self, end: Mark, receipt: Receipt, after: After) {
        self.read = end;
        self.enter(after);
        if receipt.is_settled() && self.unsettled.is_empty() {
            self.committed = end;
        } else {
            self.unsettled.push_back((end, receipt));
        }
    }

    /// Commits what is not kept back any more.
    pub fn settle(&mut self) {
        while let Some((end, receipt)) = self.unsettled.front()
            && receipt.is_settled()
        {
            self.committed = *end;
            self.unsettled.pop_front();
        }
    }

    fn enter(&mut self, after: After) {
        self.stalled = after.stalled;
        self.done |= after.done;
        let rest = after.stalled.is_some() && self.size > self.read.offset && !self.is_packed();
        self.waiting = rest.then(|| self.waiting.unwrap_or_else(Instant::now));
        if let (true, Some(handle)) = (self.done, &mut self.handle) {
            handle.forget_window();
        }
    }

    fn skip_to(&mut self, end: Mark) {
        self.read = end;
        match self.unsettled.back_mut() {
            None => self.committed = end,
            Some(last) => last.0 = end,
        }
    }

    /// Reads on. [`Mode::Inline`] fails with `WouldBlock` where it would wait.
    pub fn next_piece(&mut self, desk: Desk<'_>, mode: Mode) -> io::Result<Piece> {
        if self.handle.is_none() && mode == Mode::Blocking {
            // Closed, and not to be found again if it was rotated; a look opens it where the path leads to it.
            let after = After { stalled: Some(self.size), done: self.rotated.is_some() };
            self.verify = false;
            self.enter(after);
            return Ok(Piece::Nothing);
        }
        if let (Some(pattern), None) = (&desk.settings.header, &self.header) {
            if mode == Mode::Inline {
                return Err(ErrorKind::WouldBlock.into());
            }
            if let Some(piece) = self.read_header(pattern)? {
                return Ok(piece);
            }
        }
        let Some(handle) = &mut self.handle else { return Err(ErrorKind::WouldBlock.into()) };
        let packed = handle.is_packed();
        let before = if packed { 0 } else { self.read.seam.len as usize };
        let from = self.read.offset - before as u64;
        let (got, end) = handle.read_at(desk.buffer, from, mode)?;
        if !packed && (got < before || !self.is_mine(&desk.buffer[..got], from)) {
            return Ok(Piece::Replaced);
        }
        if !packed && end.is_some() {
            self.size = from + got as u64;
        }
        self.extend_head(&desk.buffer[..got], from, desk.settings.head, mode)?;
        (self.verify, self.failures) = (false, 0);
        let last = match end {
            None => false,
            Some(End::Eof) => packed || self.finish,
            Some(End::Cut) => self.finish,
            Some(End::Damaged) => true,
        };
        if desk.settings.advise
            && let Some(handle) = &self.handle
        {
            handle.let_go(from, got);
        }
        let after = After { stalled: end.is_some().then_some(self.size), done: last };
        self.take_lines(desk, (before, got), after, end, mode)
    }

    fn take_lines(
        &mut self,
        desk: Desk<'_>,
        (before, got): (usize, usize),
        after: After,
        end: Option<End>,
        mode: Mode,
    ) -> io::Result<Piece> {
        let full = got == desk.buffer.len();
        // What is small is copied, so that it does not keep the whole buffer alive.
        let bytes = if got < desk.buffer.len() / 4 {
            Bytes::copy_from_slice(&desk.buffer[..got])
        } else {
            let whole = std::mem::take(desk.buffer).freeze();
            let bytes = whole.slice(..got);
            *desk.lent = Some(whole);
            bytes
        };
        let piece = bytes.slice(before..);
        let mut entries = Vec::with_capacity(piece.len() / (*desk.line_length).max(1) + 8);
        let mut sheet = Sheet { entries: &mut entries, next_ns: desk.next_ns };
        // A hole at the end may yet be filled, and a character be written whole.
        let flush = std::mem::take(&mut self.flush) && end.is_some() && self.charset.is_whole(&piece);
        let split = split(&piece, &desk.settings.framing, self.charset, after.done || flush, &mut sheet);
        let until = before + split.consumed;
        let seam = Print::of(&bytes[until.saturating_sub(SEAM)..until]);
        let counted = if desk.settings.count_records { entries.len() as u64 } else { 0 };
        let mark = Mark {
            offset: self.read.offset + split.consumed as u64,
            seam,
            records: self.read.records + counted,
        };
        if !entries.is_empty() {
            *desk.line_length = (split.consumed / entries.len()).max(16);
            return Ok(Piece::Lines { entries, end: mark, split, after });
        }
        if end.is_some() {
            // Where the file ends there is no whole line after this.
            self.enter(after);
        }
        if split.consumed > 0 {
            self.skip_to(mark);
            return Ok(Piece::Skipped(split));
        }
        match end {
            Some(_) => Ok(Piece::Nothing),
            // Only a hole fills a buffer without anything to take.
            None if full && mode == Mode::Blocking => self.skip_hole(),
            None => Err(ErrorKind::WouldBlock.into()),
        }
    }

    /// Whether the bytes at `from` are those of the file that was read before.
    fn is_mine(&self, bytes: &[u8], from: u64) -> bool {
        let seam = self.read.seam;
        seam.heads(bytes) && (from > 0 || self.head.heads(bytes))
    }

    /// Files are short when they are young: their print grows with them.
    fn extend_head(&mut self, bytes: &[u8], from: u64, length: usize, mode: Mode) -> io::Result<()> {
        let known = self.head.len as usize;
        if known >= length || self.size <= known as u64 || self.is_packed() {
            return Ok(());
        }
        if from == 0 {
            self.head = Print::of(&bytes[..bytes.len().min(length)]);
            return Ok(());
        }
        let mut head = vec![0; length];
        let handle = self.handle.as_mut().expect("the caller has read from it");
        let (got, _) = handle.read_at(&mut head, 0, mode)?;
        if self.head.heads(&head[..got]) {
            self.head = Print::of(&head[..got]);
        }
        Ok(())
    }

    /// Goes to the first byte that is not NUL; a hole at the end of the file may yet be filled.
    fn skip_hole(&mut self) -> io::Result<Piece> {
        let handle = self.handle.as_mut().expect("the caller has read from it");
        let start = self.read.offset;
        let mut at = start;
        let mut piece = vec![0; 256 << 10];
        let found = loop {
            at = handle.next_data(at).unwrap_or(at);
            let (got, end) = handle.read_at(&mut piece, at, Mode::Blocking)?;
            if let Some(i) = piece[..got].iter().position(|b| *b != 0) {
                break Some(at + i as u64);
            }
            at += got as u64;
            if end.is_some() {
                break None;
            }
        };
        let Some(found) = found else {
            self.size = at;
            self.enter(After { stalled: Some(at), done: self.finish });
            if !self.finish {
                return Ok(Piece::Nothing);
            }
            self.skip_to(Mark { offset: at, seam: Print::default(), ..self.read });
            return Ok(Piece::Skipped(Split { holes: at - start, ..Split::default() }));
        };
        let unit = self.charset.unit() as u64;
        // One NUL stays, as where the splitter skips them.
        let offset = found - (found - start) % unit - unit;
        // No seam: NUL bytes say nothing about which file it is.
        self.skip_to(Mark { offset, seam: Print::default(), ..self.read });
        Ok(Piece::Skipped(Split { holes: offset - start, ..Split::default() }))
    }

    /// Reads the lines of its header, from its start wherever reading goes on; `None` once they are known.
    fn read_header(&mut self, pattern: &regex::bytes::Regex) -> io::Result<Option<Piece>> {
        let handle = self.handle.as_mut().ok_or(ErrorKind::WouldBlock)?;
        let mut bytes = vec![0; MAX_HEADER];
        let (got, end) = handle.read_at(&mut bytes, 0, Mode::Blocking)?;
        let (_, start) = self.charset.of_mark(&bytes[..got]);
        let (mut lines, mut at, mut is_over) = (Vec::new(), start, false);
        while at < got {
            let (feed, next) = match self.charset.next_feed(&bytes[at..got]) {
                Some((feed, next)) => (at + feed, at + next),
                None if self.finish && end.is_some() => (got, got),
                None => break,
            };
            let line = self.charset.without_return(&bytes[at..feed]);
            let (text, _) = self.charset.decode(line);
            if !pattern.is_match(text.as_bytes()) {
                is_over = true;
                break;
            }
            lines.push(ByteString::from(text.as_ref()));
            at = next;
        }
        if !is_over && end.is_some() && !self.finish && at >= self.read.offset as usize {
            // It may go on.
            self.size = if self.is_packed() { self.size } else { got as u64 };
            self.verify = false;
            self.enter(After { stalled: Some(self.size), done: false });
            return Ok(Some(Piece::Nothing));
        }
        self.header = Some(lines.into());
        if at as u64 > self.read.offset {
            let seam = Print::of(&bytes[at.saturating_sub(SEAM)..at]);
            self.skip_to(Mark { offset: at as u64, seam, ..self.read });
        }
        Ok(None)
    }

    /// The end of what is there now.
    pub fn end(&mut self) -> io::Result<Mark> {
        let handle = self.handle.as_mut().ok_or(ErrorKind::NotFound)?;
        let offset = self.size.max(self.read.offset);
        let mut piece = vec![0; (offset as usize).min(SEAM)];
        let from = offset - piece.len() as u64;
        let (got, _) = handle.read_at(&mut piece, from, Mode::Blocking)?;
        Ok(Mark { offset, seam: Print::of(&piece[..got]), records: 0 })
    }

    /// Where the last line starts.
    pub fn last_line(&mut self) -> io::Result<Mark> {
        let handle = self.handle.as_mut().ok_or(ErrorKind::NotFound)?;
        let mut piece = vec![0; 64 << 10];
        let start = self.read;
        let mut end = start.offset + (self.size.saturating_sub(start.offset) & !1);
        while end > start.offset {
            let from = end.saturating_sub(piece.len() as u64).max(start.offset);
            let length = (end - from) as usize;
            let (got, _) = handle.read_at(&mut piece[..length], from, Mode::Blocking)?;
            if let Some((_, after)) = self.charset.last_feed(&piece[..got]) {
                let seam = Print::of(&piece[after.saturating_sub(SEAM)..after]);
                return Ok(Mark { offset: from + after as u64, seam, records: 0 });
            }
            end = from;
        }
        Ok(start)
    }
}

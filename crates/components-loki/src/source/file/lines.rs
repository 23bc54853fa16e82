//! Takes a piece of a file apart into entries.
//!
//! What a line is depends on its own bytes only, never on where reads happened to end: so a file can be read
//! on from any line's start. Invariant: `consumed` is such a start, and every byte before it is in an entry, is
//! a line end, or is a NUL byte that was counted.

use bytes::Bytes;
use bytestring::ByteString;
use signal::logs::Entry;

use super::charset::Charset;

/// A line of more bytes is delivered in parts of this size: what Loki takes at most unless it is told to.
pub const MAX_LINE: usize = 256 * 1024;

/// So many NUL bytes in a row are a hole of the file, not text.
const HOLE: usize = 16;

/// What must be seen of a line to know how its first part ends.
const LOOK: usize = MAX_LINE + 2 * HOLE;

/// What must be seen at once so that every piece but a hole gets on.
pub const WINDOW: usize = LOOK + 8;

/// What came of a piece.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// Bytes that are done.
    pub consumed: usize,
    /// Lines in which something could not be decoded.
    pub undecodable: u64,
    /// Parts that end where no line does.
    pub cut: u64,
    /// Bytes of holes.
    pub holes: u64,
}

/// Where entries go.
#[derive(Debug)]
pub struct Sheet<'a> {
    /// The entries.
    pub entries: &'a mut Vec<Entry>,
    /// Time of the next one. Each is a nanosecond after the one before: Loki takes lines of equal time and
    /// text for one.
    pub next_ns: &'a mut i64,
}

impl Sheet<'_> {
    fn put(&mut self, line: ByteString) {
        self.entries.push(Entry { stream: 0, timestamp_ns: *self.next_ns, line, metadata: None });
        *self.next_ns += 1;
    }
}

/// Splits a piece that starts where a line does. `last`: nothing will ever follow, so what is left is a line.
pub fn split(piece: &Bytes, charset: Charset, last: bool, sheet: &mut Sheet<'_>) -> Split {
    let mut done = Split::default();
    let whole = charset.last_feed(piece).map_or(0, |(_, end)| end);
    let region = piece.slice(..whole);
    if !fast(&region, charset, sheet) {
        slow(&region, charset, sheet, &mut done);
    }
    done.consumed = whole;
    rest(&piece.slice(whole..), charset, last, sheet, &mut done);
    done
}

/// Lines of good UTF-8 that are neither too long nor have NUL bytes: they are borrowed.
fn fast(region: &Bytes, charset: Charset, sheet: &mut Sheet<'_>) -> bool {
    if charset != Charset::Utf8 || memchr::memchr(0, region).is_some() {
        return false;
    }
    let Ok(text) = ByteString::try_from(region.clone()) else { return false };
    let (count, mut start) = (sheet.entries.len(), 0);
    for end in memchr::memchr_iter(b'\n', region) {
        let line = &text[start..end];
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.len() > MAX_LINE {
            *sheet.next_ns -= (sheet.entries.len() - count) as i64;
            sheet.entries.truncate(count);
            return false;
        }
        sheet.put(text.slice_ref(line));
        start = end + 1;
    }
    true
}

/// Any lines; `region` ends with a line feed or is empty.
fn slow(region: &Bytes, charset: Charset, sheet: &mut Sheet<'_>, done: &mut Split) {
    let mut at = 0;
    while let Some((feed, end)) = charset.next_feed(&region[at..]) {
        let line = region.slice(at..at + feed);
        let line = line.slice_ref(charset.without_return(&line));
        whole_line(&line, charset, sheet, done);
        at += end;
    }
}

/// A line without its end: holes before it are skipped, one inside ends it, and it is cut where it is too long.
/// One that is nothing but NUL bytes is a hole and no line.
fn whole_line(line: &Bytes, charset: Charset, sheet: &mut Sheet<'_>, done: &mut Split) {
    if line.is_empty() {
        return put(line, charset, sheet, done);
    }
    let mut rest = line.clone();
    loop {
        rest = rest.slice(skip_nul(&rest, charset, done)..);
        if rest.is_empty() {
            return;
        }
        let (part, hole) = first_part(&rest, charset);
        put(&rest.slice(..part), charset, sheet, done);
        done.cut += u64::from(part < rest.len() && !hole);
        rest = rest.slice(part..);
    }
}

/// How much of a line is its first part, and whether a hole ends it rather than its length.
fn first_part(line: &[u8], charset: Charset) -> (usize, bool) {
    let hole = find_hole(&line[..line.len().min(LOOK)], charset).filter(|hole| *hole <= MAX_LINE);
    match hole {
        Some(hole) => (hole, true),
        None if line.len() > MAX_LINE => (charset.cut(line, MAX_LINE), false),
        None => (line.len(), false),
    }
}

/// What comes after the last line end.
fn rest(tail: &Bytes, charset: Charset, last: bool, sheet: &mut Sheet<'_>, done: &mut Split) {
    if last {
        if !tail.is_empty() {
            whole_line(&tail.slice_ref(charset.without_return(tail)), charset, sheet, done);
            done.consumed += tail.len();
        }
        return;
    }
    let mut tail = tail.clone();
    loop {
        // A hole at the very end may yet be filled: it is skipped only when something follows.
        let nul = skip_nul(&tail, charset, &mut Split::default());
        if nul == tail.len() {
            return;
        }
        done.holes += nul as u64;
        done.consumed += nul;
        tail = tail.slice(nul..);
        let (part, hole) = first_part(&tail, charset);
        let ended = if hole {
            past_hole(&tail[part..], charset)
        } else {
            // The line's end may just not be there yet.
            tail.len() >= LOOK + 2 * charset.unit()
        };
        if !ended {
            return;
        }
        put(&tail.slice(..part), charset, sheet, done);
        done.consumed += part;
        done.cut += u64::from(!hole);
        tail = tail.slice(part..);
    }
}

fn past_hole(hole: &[u8], charset: Charset) -> bool {
    skip_nul(hole, charset, &mut Split::default()) < hole.len()
}

fn put(line: &Bytes, charset: Charset, sheet: &mut Sheet<'_>, done: &mut Split) {
    if charset == Charset::Utf8
        && let Ok(text) = ByteString::try_from(line.clone())
    {
        return sheet.put(text);
    }
    let (text, whole) = charset.decode(line);
    done.undecodable += u64::from(!whole);
    sheet.put(text.as_ref().into());
}

/// Bytes of NUL characters at the start.
fn skip_nul(line: &[u8], charset: Charset, done: &mut Split) -> usize {
    let nul = line.iter().position(|b| *b != 0).unwrap_or(line.len());
    // The first byte of a big-endian character that is no NUL may be one.
    let nul = nul - nul % charset.unit();
    done.holes += nul as u64;
    nul
}

/// Where a hole starts.
fn find_hole(line: &[u8], charset: Charset) -> Option<usize> {
    let mut at = 0;
    while let Some(found) = memchr::memchr(0, &line[at..]) {
        let start = at + found;
        let run = line[start..].iter().position(|b| *b != 0).unwrap_or(line.len() - start);
        let aligned = start.next_multiple_of(charset.unit());
        if run >= HOLE + charset.unit() - 1 || run >= HOLE && aligned == start {
            return Some(aligned);
        }
        at = start + run;
    }
    None
}

//! Takes a piece of a file apart into entries.
//!
//! What a line is depends on its own bytes only, never on where reads happened to end: so a file can be read
//! on from any line's start. Invariant: `consumed` is such a start, and every byte before it is in an entry, is
//! a line end, or is a NUL byte that was counted.

use bytes::Bytes;
use bytestring::ByteString;
use regex::bytes::Regex;
use signal::logs::Entry;

use crate::charset::Charset;
use crate::records;

/// A line of more bytes is delivered in parts of this size: what Loki takes at most unless it is told to.
pub const MAX_LINE: usize = 256 * 1024;

/// So many NUL bytes in a row are a hole of the file, not text.
const HOLE: usize = 16;

/// What makes an entry.
#[derive(Clone, Debug)]
pub struct Framing {
    /// How one ends.
    pub rule: Rule,
    /// What has more bytes is delivered in parts of this size.
    pub max: usize,
}

/// How an entry ends.
#[derive(Clone, Debug)]
pub enum Rule {
    /// With a line feed.
    Lines,
    /// Where the next one starts: at a match of this expression.
    Start {
        /// The expression.
        pattern: Regex,
        /// What matches is left out.
        omit: bool,
    },
    /// With a match of this expression.
    End {
        /// The expression.
        pattern: Regex,
        /// What matches is left out.
        omit: bool,
    },
}

impl Default for Framing {
    fn default() -> Self {
        Self { rule: Rule::Lines, max: MAX_LINE }
    }
}

impl Framing {
    /// What must be seen at once so that every piece but a hole gets on.
    pub fn window(&self) -> usize {
        look(self.max) + 8
    }
}

/// What must be seen of a line to know how its first part ends.
fn look(max: usize) -> usize {
    max + 2 * HOLE
}

/// What the splitting of a line depends on.
#[derive(Clone, Copy)]
struct How {
    charset: Charset,
    max: usize,
}

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
pub fn split(piece: &Bytes, framing: &Framing, charset: Charset, last: bool, sheet: &mut Sheet<'_>) -> Split {
    let how = How { charset, max: framing.max };
    match &framing.rule {
        Rule::Lines => split_lines(piece, how, last, sheet),
        Rule::Start { pattern, omit } => {
            records::by_start(piece, (pattern, *omit), (charset, framing.max), last, sheet)
        }
        Rule::End { pattern, omit } => {
            records::by_end(piece, (pattern, *omit), (charset, framing.max), last, sheet)
        }
    }
}

fn split_lines(piece: &Bytes, how: How, last: bool, sheet: &mut Sheet<'_>) -> Split {
    let charset = how.charset;
    let mut done = Split::default();
    let whole = charset.last_feed(piece).map_or(0, |(_, end)| end);
    let region = piece.slice(..whole);
    if !fast(&region, how, sheet) {
        slow(&region, how, sheet, &mut done);
    }
    done.consumed = whole;
    rest(&piece.slice(whole..), how, last, sheet, &mut done);
    done
}

/// Lines of good UTF-8 that are neither too long nor have NUL bytes: they are borrowed.
fn fast(region: &Bytes, how: How, sheet: &mut Sheet<'_>) -> bool {
    if how.charset != Charset::Utf8 || memchr::memchr(0, region).is_some() {
        return false;
    }
    let Ok(text) = ByteString::try_from(region.clone()) else { return false };
    let (count, mut start) = (sheet.entries.len(), 0);
    for end in memchr::memchr_iter(b'\n', region) {
        let line = &text[start..end];
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.len() > how.max {
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
fn slow(region: &Bytes, how: How, sheet: &mut Sheet<'_>, done: &mut Split) {
    let (charset, mut at) = (how.charset, 0);
    while let Some((feed, end)) = charset.next_feed(&region[at..]) {
        let line = region.slice(at..at + feed);
        let line = line.slice_ref(charset.without_return(&line));
        whole_line(&line, how, sheet, done);
        at += end;
    }
}

/// A line without its end: holes before it are skipped, one inside ends it, and it is cut where it is too long.
/// One that is nothing but NUL bytes is a hole and no line.
fn whole_line(line: &Bytes, how: How, sheet: &mut Sheet<'_>, done: &mut Split) {
    let charset = how.charset;
    if line.is_empty() {
        return put(line, charset, sheet, done);
    }
    let mut rest = line.clone();
    loop {
        rest = rest.slice(skip_nul(&rest, charset, done)..);
        if rest.is_empty() {
            return;
        }
        let (part, hole) = first_part(&rest, how);
        put(&rest.slice(..part), charset, sheet, done);
        done.cut += u64::from(part < rest.len() && !hole);
        rest = rest.slice(part..);
    }
}

/// How much of a line is its first part, and whether a hole ends it rather than its length.
fn first_part(line: &[u8], how: How) -> (usize, bool) {
    let hole = find_hole(&line[..line.len().min(look(how.max))], how.charset).filter(|hole| *hole <= how.max);
    match hole {
        Some(hole) => (hole, true),
        None if line.len() > how.max => (how.charset.cut(line, how.max), false),
        None => (line.len(), false),
    }
}

/// What comes after the last line end.
fn rest(tail: &Bytes, how: How, last: bool, sheet: &mut Sheet<'_>, done: &mut Split) {
    let charset = how.charset;
    if last {
        if !tail.is_empty() {
            whole_line(&tail.slice_ref(charset.without_return(tail)), how, sheet, done);
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
        let line = tail.slice(nul..);
        let (part, hole) = first_part(&line, how);
        // The line's end may just not be there yet, or a hole be filled; what fills the window is not waited with.
        let ended =
            line.len() >= look(how.max) + 2 * charset.unit() || hole && past_hole(&line[part..], charset);
        if !ended {
            // One NUL stays: what follows may be a line end, and a line of NULs is none.
            let skipped = nul.saturating_sub(charset.unit());
            done.holes += skipped as u64;
            done.consumed += skipped;
            return;
        }
        put(&line.slice(..part), charset, sheet, done);
        done.holes += nul as u64;
        done.consumed += nul + part;
        done.cut += u64::from(!hole);
        tail = line.slice(part..);
    }
}

fn past_hole(hole: &[u8], charset: Charset) -> bool {
    skip_nul(hole, charset, &mut Split::default()) < hole.len()
}

pub(crate) fn put(line: &Bytes, charset: Charset, sheet: &mut Sheet<'_>, done: &mut Split) {
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
pub(crate) fn skip_nul(line: &[u8], charset: Charset, done: &mut Split) -> usize {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UTF16: [Charset; 2] = [Charset::Utf16 { big_endian: false }, Charset::Utf16 { big_endian: true }];

    fn window_size() -> usize {
        Framing::default().window()
    }

    fn read_all(
        bytes: &[u8],
        charset: Charset,
        mut seen: impl FnMut(usize) -> usize,
    ) -> (Vec<String>, Split) {
        let bytes = Bytes::copy_from_slice(bytes);
        let (mut entries, mut next_ns, mut all) = (Vec::new(), 0, Split::default());
        let mut there = 0;
        loop {
            there = seen(there).clamp(there, bytes.len());
            let window = all.consumed..there.min(all.consumed + window_size());
            let last = there == bytes.len() && window.end == there;
            let mut sheet = Sheet { entries: &mut entries, next_ns: &mut next_ns };
            let split = split(&bytes.slice(window.clone()), &Framing::default(), charset, last, &mut sheet);
            assert!(split.consumed <= window.len());
            let full = window.len() == window_size();
            let hole = bytes[window.clone()].iter().all(|b| *b == 0);
            assert!(!full || split.consumed > 0 || hole, "a full window gets on");
            all.consumed += split.consumed;
            all.undecodable += split.undecodable;
            all.cut += split.cut;
            all.holes += split.holes;
            if full && split.consumed == 0 {
                // As the reader does with a hole that fills its buffer.
                let nul = bytes[all.consumed..there].iter().take_while(|b| **b == 0).count();
                if all.consumed + nul < there {
                    let nul = nul - nul % charset.unit() - charset.unit();
                    all.consumed += nul;
                    all.holes += nul as u64;
                } else if there == bytes.len() {
                    all.consumed += nul;
                    all.holes += nul as u64;
                    return (entries.iter().map(|e| e.line.to_string()).collect(), all);
                }
            }
            if last {
                assert_eq!(all.consumed, bytes.len());
                assert_eq!(next_ns, entries.len() as i64);
                return (entries.iter().map(|e| e.line.to_string()).collect(), all);
            }
        }
    }

    fn whole(bytes: &[u8], charset: Charset) -> (Vec<String>, Split) {
        read_all(bytes, charset, |_| usize::MAX)
    }

    /// The same as [`split`] over a whole file, unit by unit.
    fn naive(bytes: &[u8], charset: Charset) -> Vec<String> {
        let unit = charset.unit();
        let units: Vec<&[u8]> = bytes.chunks(unit).collect();
        let is = |u: &[u8], c: u8| match charset {
            Charset::Utf16 { big_endian: true } => u == [0, c],
            Charset::Utf16 { big_endian: false } => u == [c, 0],
            _ => u == [c],
        };
        let mut out = Vec::new();
        let mut rest = units.as_slice();
        while !rest.is_empty() {
            let end = rest.iter().position(|u| is(u, b'\n'));
            let mut line = &rest[..end.unwrap_or(rest.len())];
            rest = &rest[end.map_or(rest.len(), |end| end + 1)..];
            if line.last().is_some_and(|u| is(u, b'\r')) {
                line = &line[..line.len() - 1];
            }
            if line.is_empty() {
                out.push(String::new());
            }
            while !line.is_empty() {
                let nul = line.iter().take_while(|u| is(u, 0)).count();
                line = &line[nul..];
                let hole = (0..line.len()).find(|i| {
                    line.len() - i >= 16 / unit && line[*i..*i + 16 / unit].iter().all(|u| is(u, 0))
                });
                let longest = MAX_LINE / unit;
                let part = hole.filter(|h| *h <= longest).unwrap_or(line.len().min(longest));
                if part > 0 {
                    out.push(charset.decode(&line[..part].concat()).0.into_owned());
                }
                line = &line[part..];
            }
        }
        out
    }

    /// Shown in short: a failure is to be read.
    #[derive(Clone)]
    struct Token(String);

    impl std::fmt::Debug for Token {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            let start: String = self.0.chars().take(20).collect();
            write!(f, "{start:?}({})", self.0.len())
        }
    }

    fn token() -> impl Strategy<Value = Token> {
        let text = prop_oneof![
            8 => "[a-z =\"]{0,40}",
            2 => "\\PC{0,10}",
            6 => Just("\n".to_string()),
            3 => Just("\r\n".to_string()),
            1 => Just("\r".to_string()),
            2 => (1..40_usize).prop_map(|n| "\0".repeat(n)),
            1 => (MAX_LINE / 2 - 40..MAX_LINE + 80).prop_map(|n| "x".repeat(n)),
            1 => (1..3 * MAX_LINE).prop_map(|n| "\0".repeat(n)),
        ];
        text.prop_map(Token)
    }

    fn encode(text: &str, charset: Charset) -> Vec<u8> {
        match charset {
            Charset::Utf16 { big_endian: true } => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            Charset::Utf16 { big_endian: false } => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            Charset::Other(encoding) => encoding.encode(text).0.into_owned(),
            _ => text.as_bytes().to_vec(),
        }
    }

    fn charset() -> impl Strategy<Value = Charset> {
        prop_oneof![
            3 => Just(Charset::Utf8),
            1 => Just(Charset::Latin1),
            1 => Just(UTF16[0]),
            1 => Just(UTF16[1]),
            1 => Just(Charset::Other(encoding_rs::WINDOWS_1252)),
        ]
    }

    fn difference(lines: &[String], expected: &[String]) -> String {
        let at =
            lines.iter().zip(expected).position(|(a, b)| a != b).unwrap_or(lines.len().min(expected.len()));
        let show = |lines: &[String]| lines.get(at).map(|l| Token(l.clone()));
        format!("line {at}: {:?} instead of {:?}", show(lines), show(expected))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn lines_do_not_depend_on_where_reads_end(
            tokens in prop::collection::vec(token(), 0..24),
            charset in charset(),
            flips in prop::collection::vec((0..5000_usize, 128..=255_u8), 0..3),
            steps in prop::collection::vec(1..200_000_usize, 1..40),
        ) {
            let mut bytes = encode(&tokens.iter().map(|t| t.0.as_str()).collect::<String>(), charset);
            // A long line that is cut at a character of several bytes is cut before it: not in the twin.
            for (at, byte) in flips {
                if charset.unit() == 1 && at < bytes.len() && bytes.len() < MAX_LINE {
                    bytes[at] = byte;
                }
            }
            let expected = naive(&bytes, charset);
            let (lines, at_once) = whole(&bytes, charset);
            prop_assert!(lines == expected, "at once: {}", difference(&lines, &expected));
            let mut steps = steps.into_iter().cycle();
            let (lines, by_steps) = read_all(&bytes, charset, |there| there + steps.next().expect("it cycles"));
            prop_assert!(lines == expected, "by steps: {}", difference(&lines, &expected));
            prop_assert_eq!(by_steps, at_once);
        }
    }

    #[test]
    fn lines_of_good_utf8_are_borrowed_and_others_are_not_lost() {
        let bytes = Bytes::from_static(b"one\ntwo\r\n\nthree");
        let (mut entries, mut next_ns) = (Vec::new(), 5);
        let mut sheet = Sheet { entries: &mut entries, next_ns: &mut next_ns };
        let done = split(&bytes, &Framing::default(), Charset::Utf8, false, &mut sheet);
        assert_eq!(done, Split { consumed: 10, ..Split::default() });
        let lines: Vec<(&str, i64)> = entries.iter().map(|e| (&*e.line, e.timestamp_ns)).collect();
        assert_eq!(lines, [("one", 5), ("two", 6), ("", 7)]);
        assert_eq!(entries[1].line.as_bytes().as_ptr(), bytes[4..].as_ptr());
    }

    #[test]
    fn what_cannot_be_decoded_is_counted_by_line() {
        let (lines, done) = whole(b"a\xFF\xFE\nb\n\xC3\n\xC3\xA4\n", Charset::Utf8);
        assert_eq!(lines, ["a\u{FFFD}\u{FFFD}", "b", "\u{FFFD}", "ä"]);
        assert_eq!(done.undecodable, 2);
    }

    #[test]
    fn a_line_of_the_longest_length_is_whole_and_a_longer_one_is_cut() {
        for (length, end, expected) in [
            (MAX_LINE, "\n", vec![MAX_LINE]),
            (MAX_LINE, "\r\n", vec![MAX_LINE]),
            (MAX_LINE + 1, "\n", vec![MAX_LINE, 1]),
            (2 * MAX_LINE + 7, "", vec![MAX_LINE, MAX_LINE, 7]),
        ] {
            let (lines, done) = whole(format!("{}{end}", "x".repeat(length)).as_bytes(), Charset::Utf8);
            assert_eq!(lines.iter().map(String::len).collect::<Vec<_>>(), expected);
            assert_eq!(done.cut, expected.len() as u64 - 1);
        }
        let euros = "€".repeat(MAX_LINE);
        let (lines, done) = whole(euros.as_bytes(), Charset::Utf8);
        assert_eq!((lines.concat(), done.undecodable), (euros, 0), "no character is cut");
    }

    #[test]
    fn holes_end_lines_and_wait_at_the_end() {
        let hole = "\0".repeat(20);
        let text = format!("\0\0one\ntw\0o\nbroken{hole}three\n{hole}\n{hole}four\n{hole}");
        let (lines, done) = whole(text.as_bytes(), Charset::Utf8);
        assert_eq!(
            (lines, done.holes),
            (["one", "tw\0o", "broken", "three", "four"].iter().map(|s| s.to_string()).collect(), 82)
        );
        let bytes = Bytes::from(format!("a\nb{hole}"));
        let (mut entries, mut next_ns) = (Vec::new(), 0);
        let mut sheet = Sheet { entries: &mut entries, next_ns: &mut next_ns };
        assert_eq!(
            split(&bytes, &Framing::default(), Charset::Utf8, false, &mut sheet).consumed,
            2,
            "it may yet be filled"
        );
    }
}

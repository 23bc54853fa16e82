//! Takes a piece of a file apart into entries that start or end where an expression matches.
//!
//! As with lines, where entries end depends on bytes only: what may go on with the next read is left. What comes
//! before the first start is an entry too, and what is longer than an entry may be is one in parts: nothing is
//! left out but NUL bytes between entries, which are counted.

use bytes::Bytes;
use regex::bytes::Regex;

use crate::charset::Charset;
use crate::lines::{Sheet, Split, put, skip_nul};

/// Entries that start with a match.
pub fn by_start(
    piece: &Bytes,
    (pattern, omit): (&Regex, bool),
    (charset, max): (Charset, usize),
    last: bool,
    sheet: &mut Sheet<'_>,
) -> Split {
    each(piece, (charset, max), last, sheet, |at| {
        let first = pattern.find_at(piece, at)?;
        if first.start() > at {
            return Some((at, first.start(), first.start()));
        }
        let body = if omit { first.end() } else { at };
        let next = pattern.find_at(piece, first.end().max(at + 1).min(piece.len()))?;
        // A match at the very end may yet be another's beginning, unless it stands by itself.
        (next.start() > at).then_some((body.min(next.start()), next.start(), next.start()))
    })
}

/// Entries that end with a match.
pub fn by_end(
    piece: &Bytes,
    (pattern, omit): (&Regex, bool),
    (charset, max): (Charset, usize),
    last: bool,
    sheet: &mut Sheet<'_>,
) -> Split {
    each(piece, (charset, max), last, sheet, |at| {
        let mut found = pattern.find_at(piece, at)?;
        if found.end() == at {
            found = pattern.find_at(piece, (at + 1).min(piece.len()))?;
        }
        let end = if omit { found.start() } else { found.end() };
        (found.end() > at).then_some((at, end, found.end()))
    })
}

/// Takes entries as `find` tells them: where one starts, where it ends, where the next begins.
fn each(
    piece: &Bytes,
    (charset, max): (Charset, usize),
    last: bool,
    sheet: &mut Sheet<'_>,
    find: impl Fn(usize) -> Option<(usize, usize, usize)>,
) -> Split {
    let mut done = Split::default();
    let mut at = 0;
    loop {
        let nul = skip_nul(&piece[at..], charset, &mut Split::default());
        if at + nul == piece.len() {
            // A hole at the end may yet be filled.
            if last {
                done.holes += nul as u64;
                at = piece.len();
            }
            break;
        }
        if nul > 0 {
            done.holes += nul as u64;
            at += nul;
        }
        match find(at) {
            Some((start, end, next)) => {
                parts(&piece.slice(start..end), (charset, max), sheet, &mut done);
                at = next;
            }
            None if last => {
                let rest = piece.slice(at..);
                let text = rest.iter().rposition(|b| *b != 0).map_or(0, |i| i + 1);
                done.holes += (rest.len() - text) as u64;
                parts(&rest.slice(..text), (charset, max), sheet, &mut done);
                at = piece.len();
                break;
            }
            None if piece.len() - at > max => {
                let part = charset.cut(&piece[at..], max);
                put(&piece.slice(at..at + part), charset, sheet, &mut done);
                done.cut += 1;
                at += part;
            }
            None => break,
        }
    }
    done.consumed = at;
    done
}

/// One entry, in parts where it is too long.
fn parts(entry: &Bytes, (charset, max): (Charset, usize), sheet: &mut Sheet<'_>, done: &mut Split) {
    let mut rest = entry.clone();
    while rest.len() > max {
        let part = charset.cut(&rest, max);
        put(&rest.slice(..part), charset, sheet, done);
        done.cut += 1;
        rest = rest.slice(part..);
    }
    put(&rest, charset, sheet, done);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lines::{Framing, Rule, split};

    fn regex(pattern: &str) -> Regex {
        Regex::new(&format!("(?m){pattern}")).unwrap()
    }

    /// Reads in steps of any size; the entries and what was left.
    fn read(text: &[u8], framing: &Framing, step: usize, last: bool) -> (Vec<String>, Split) {
        let bytes = Bytes::copy_from_slice(text);
        let (mut entries, mut next_ns, mut all) = (Vec::new(), 0, Split::default());
        let mut there = 0;
        loop {
            there = (there + step).min(text.len());
            let mut sheet = Sheet { entries: &mut entries, next_ns: &mut next_ns };
            let is_last = last && there == text.len();
            let split = split(&bytes.slice(all.consumed..there), framing, Charset::Utf8, is_last, &mut sheet);
            all.consumed += split.consumed;
            all.holes += split.holes;
            all.cut += split.cut;
            if there == text.len() {
                return (entries.iter().map(|e| e.line.to_string()).collect(), all);
            }
        }
    }

    #[test]
    fn entries_start_or_end_where_an_expression_matches_however_reads_end() {
        let start = |pattern: &str, omit| Rule::Start { pattern: regex(pattern), omit };
        let end = |pattern: &str, omit| Rule::End { pattern: regex(pattern), omit };
        let cases: [(Rule, &str, &[&str], &str); 9] = [
            (start("^LOG ", false), "LOG 1\n at x\nLOG 2\nLOG 3", &["LOG 1\n at x\n", "LOG 2\n"], "LOG 3"),
            (start("^LOG ", true), "LOG 1\n at x\nLOG 2\nLOG 3", &["1\n at x\n", "2\n"], "3"),
            (start("^LOG ", false), "before\nLOG 1\n", &["before\n"], "LOG 1\n"),
            (start(r"^\d{4}-", false), "2026-a\n  b\n2026-c\n", &["2026-a\n  b\n"], "2026-c\n"),
            (start("none", false), "a\nb\n", &[], "a\nb\n"),
            (end("END\n", false), "a\nb END\nc END\nd", &["a\nb END\n", "c END\n"], "d"),
            (end("END\n", true), "a\nb END\nc END\nd", &["a\nb ", "c "], "d"),
            (end(";", false), "a;b;", &["a;", "b;"], ""),
            (end("\n\n", false), "a\nb\n\nc\n\n", &["a\nb\n\n", "c\n\n"], ""),
        ];
        for (rule, text, expected, rest) in cases {
            let framing = Framing { rule, max: 1000 };
            // A match that is a part of another cannot be seen byte by byte: steps end at lines or later.
            for step in [text.len(), 7] {
                let (entries, split) = read(text.as_bytes(), &framing, step, false);
                assert_eq!(entries, expected, "{framing:?} {step}");
                let omitted = matches!(framing.rule, Rule::Start { omit: true, .. });
                let left = &text[split.consumed..];
                assert_eq!(if omitted { &left[4..] } else { left }, rest, "{framing:?} {step}");
                let (entries, split) = read(text.as_bytes(), &framing, step, true);
                let is_whole = entries.len() == expected.len() + usize::from(!rest.is_empty());
                assert!(is_whole && split.consumed == text.len(), "{framing:?} {step}: {entries:?}");
            }
        }
    }

    #[test]
    fn what_is_too_long_comes_in_parts_and_holes_are_counted() {
        let framing = Framing { rule: Rule::Start { pattern: regex("^LOG"), omit: false }, max: 10 };
        let text = b"LOG 4567890123456789012345\nLOG 2\n\0\0\0LOG 3\n";
        let (entries, split) = read(text, &framing, text.len(), true);
        assert_eq!(entries.concat(), "LOG 4567890123456789012345\nLOG 2\n\0\0\0LOG 3\n");
        assert!(split.cut >= 2 && entries.iter().all(|e| e.len() <= 10), "{entries:?}");
        let (entries, split) = read(b"\0\0LOG 1\nLOG 2\n\0\0", &framing, 100, true);
        assert_eq!((entries.join("|").as_str(), split.holes), ("LOG 1\n|LOG 2\n", 4));
    }
}

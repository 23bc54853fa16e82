//! Any bytes as a file's, in any charset: no panic, bounded lines, and where a read ends makes no difference to what is a
//! line.
#![cfg_attr(feature = "libfuzzer", no_main)]

use bytes::Bytes;
use signal::logs::Entry;
use tail::lines::{Framing, Rule, Sheet, Split, split};
use tail::{Charset, MAX_LINE};

const CHARSETS: [&str; 6] = ["", "utf-16be", "utf-16le", "latin1", "windows-1252", "shift_jis"];

fn read(piece: &Bytes, framing: &Framing, charset: Charset, last: bool, entries: &mut Vec<Entry>) -> Split {
    let mut next_ns = entries.len() as i64;
    let done = split(piece, framing, charset, last, &mut Sheet { entries, next_ns: &mut next_ns });
    assert!(done.consumed <= piece.len());
    done
}

fn lines(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| &*entry.line).collect()
}

fuzz::target!(|input: (u8, u8, u16, &[u8])| {
    let (choice, max, at, bytes) = input;
    let name = CHARSETS[usize::from(choice) % CHARSETS.len()];
    let charset = Charset::named(name).expect("a charset");
    let bytes = Bytes::copy_from_slice(bytes);
    let pattern = || regex::bytes::Regex::new("a+b?|;\n").expect("an expression");
    let omit = choice & 0x40 != 0;
    let rule = match choice >> 4 & 3 {
        0 => Rule::Start { pattern: pattern(), omit },
        1 => Rule::End { pattern: pattern(), omit },
        _ => Rule::Lines,
    };
    let framing = Framing { rule, max: if max == 0 { MAX_LINE } else { usize::from(max).max(8) } };
    let mut whole = Vec::new();
    read(&bytes, &framing, charset, true, &mut whole);
    let longest = framing.max * 3 + 3;
    assert!(whole.iter().all(|entry| entry.line.len() <= longest), "{name}");
    // What is between reads is between units of the charset.
    let at = usize::from(at).min(bytes.len()) / charset.unit() * charset.unit();
    let mut parts = Vec::new();
    let consumed = read(&bytes.slice(..at), &framing, charset, false, &mut parts).consumed;
    read(&bytes.slice(consumed..), &framing, charset, true, &mut parts);
    if matches!(framing.rule, Rule::Lines) {
        assert_eq!(lines(&parts), lines(&whole), "{name} {} {at} {consumed}", framing.max);
    }
});

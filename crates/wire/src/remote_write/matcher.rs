//! Finds what a template can copy: slower and better than a compressor that sees each message once.
//!
//! Elements are those of google/snappy, format_description.txt. Positions are added as they may be copied
//! from; whatever changes from one request to the next is never added, and no match runs into it.

use hashbrown::HashMap;

/// As far as a copy of three bytes reaches back.
const WINDOW: usize = 65_535;
/// Shortest match that is looked for.
const SHORTEST: usize = 4;
/// Earlier places of four equal bytes that are looked at.
const DEPTH: usize = 24;
/// Earlier pieces that are looked at for the start of a piece.
const PIECES: usize = 80;
/// A match of this length is taken without a look at the next position.
const GOOD: usize = 32;
const NONE: u32 = u32::MAX;

pub(super) struct Matcher<'b> {
    body: &'b [u8],
    /// For each position where the bytes end that may be copied from there; 0 where none may.
    limit: Vec<u32>,
    /// The last position of four bytes, and for each position the one before it.
    last: HashMap<u32, u32, foldhash::fast::FixedState>,
    before: Vec<u32>,
    pieces: Vec<usize>,
}

impl<'b> Matcher<'b> {
    pub(super) fn new(body: &'b [u8]) -> Self {
        Self {
            body,
            limit: vec![0; body.len()],
            last: HashMap::default(),
            before: vec![NONE; body.len()],
            pieces: Vec::new(),
        }
    }

    /// A piece begins here, with bytes that are equal in all pieces.
    pub(super) fn add_piece(&mut self, start: usize) {
        self.pieces.push(start);
    }

    /// The bytes from `start` to `end` are written: copies may begin there.
    fn add(&mut self, start: usize, end: usize) {
        for at in start..end.min(self.body.len() + 1 - SHORTEST) {
            if let Some(last) = self.last.insert(word(self.body, at), at as u32) {
                self.before[at] = last;
            }
        }
    }

    /// How much is equal. A copy may read what it has just written.
    fn common(&self, source: usize, at: usize, end: usize) -> usize {
        let most = (end - at).min((self.limit[source] as usize).saturating_sub(source));
        let (a, b) = (&self.body[source..source + most], &self.body[at..at + most]);
        let words = a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0);
        let equal = words.take_while(|(a, b)| a == b).count() * 8;
        equal + a[equal..].iter().zip(&b[equal..]).take_while(|(a, b)| a == b).count()
    }

    /// Of the earlier pieces the one that has most in common with the piece that begins at `start`, behind
    /// the first `equal` bytes, and how much. A piece before it is there.
    pub(super) fn best_piece(&self, start: usize, equal: usize, end: usize) -> (usize, usize) {
        let last = *self.pieces.last().expect("a piece before this one");
        let mut best = (last, equal + self.common(last + equal, start + equal, end));
        for piece in self.pieces.iter().rev().skip(1).take(PIECES).copied() {
            if start - piece > WINDOW || best.1 == end - start {
                break;
            }
            let len = equal + self.common(piece + equal, start + equal, end);
            if len > best.1 {
                best = (piece, len);
            }
        }
        best
    }

    /// The longest match at a position.
    fn longest(&self, at: usize, end: usize) -> Option<(usize, usize)> {
        if at + SHORTEST > end {
            return None;
        }
        let mut candidate = *self.last.get(&word(self.body, at))?;
        let mut best = None;
        for _ in 0..DEPTH {
            let source = candidate as usize;
            if at - source > WINDOW {
                break;
            }
            let len = self.common(source, at, end);
            if len >= SHORTEST && best.is_none_or(|(_, longest)| len > longest) {
                best = Some((source, len));
            }
            candidate = self.before[source];
            if candidate == NONE {
                break;
            }
        }
        best
    }

    /// Appends elements for the bytes from `start` to `end`, which may be copied from then on, like those
    /// from `known`. Tells how many bytes at the end are a literal of their own.
    pub(super) fn compress(&mut self, known: usize, start: usize, end: usize, out: &mut Vec<u8>) -> usize {
        self.limit[known..end].fill(end as u32);
        self.add(known, start);
        let (mut at, mut literal) = (start, start);
        while at < end {
            let found = self.longest(at, end);
            let Some((source, len)) = found else {
                self.add(at, at + 1);
                at += 1;
                continue;
            };
            let later = if len < GOOD { self.longest(at + 1, end) } else { None };
            if later.is_some_and(|(_, longer)| longer > len + 1) {
                self.add(at, at + 1);
                at += 1;
                continue;
            }
            push_literal(out, &self.body[literal..at]);
            push_copy(out, at - source, len);
            self.add(at, at + len);
            at += len;
            literal = at;
        }
        push_literal(out, &self.body[literal..end]);
        end - literal
    }
}

fn word(body: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(body[at..at + SHORTEST].try_into().expect("four bytes"))
}

/// The tag of a literal, and its length.
pub(super) const fn literal_tag(len: usize) -> ([u8; 5], usize) {
    let [a, b, c, d] = (len as u32 - 1).to_le_bytes();
    match len {
        0..=60 => ([a << 2, 0, 0, 0, 0], 1),
        61..=0x100 => ([60 << 2, a, 0, 0, 0], 2),
        0x101..=0x1_0000 => ([61 << 2, a, b, 0, 0], 3),
        0x1_0001..=0x100_0000 => ([62 << 2, a, b, c, 0], 4),
        _ => ([63 << 2, a, b, c, d], 5),
    }
}

fn push_literal(out: &mut Vec<u8>, bytes: &[u8]) {
    if !bytes.is_empty() {
        let (tag, len) = literal_tag(bytes.len());
        out.extend_from_slice(&tag[..len]);
        out.extend_from_slice(bytes);
    }
}

/// A copy of one or more elements.
#[inline]
pub(super) fn push_copy(out: &mut Vec<u8>, distance: usize, mut len: usize) {
    while len > 64 {
        // No element shorter than four bytes may be left: those take three bytes for nothing.
        let part = if len < 68 { 60 } else { 64 };
        push_far(out, distance, part);
        len -= part;
    }
    if (4..=11).contains(&len) && distance < 2048 {
        out.extend_from_slice(&[(distance >> 8 << 5 | (len - 4) << 2 | 1) as u8, distance as u8]);
    } else {
        push_far(out, distance, len);
    }
}

#[inline]
fn push_far(out: &mut Vec<u8>, distance: usize, len: usize) {
    let [a, b, c, d, ..] = distance.to_le_bytes();
    if distance <= WINDOW {
        out.extend_from_slice(&[((len - 1) << 2 | 2) as u8, a, b]);
    } else {
        out.extend_from_slice(&[((len - 1) << 2 | 3) as u8, a, b, c, d]);
    }
}

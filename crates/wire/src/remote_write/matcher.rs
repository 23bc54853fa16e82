//! Finds what a template can copy: slower and better than a compressor that sees each message once.
//!
//! Elements are those of google/snappy, format_description.txt. Positions are added as they may be copied
//! from; whatever changes from one request to the next is never added, and no match runs into it.
//! Memory: as much as a window needs and no more, however large the message is, for the templates of many targets are
//! made in the same seconds.

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
/// Earlier places of which any are looked at: those with the same hash may have other bytes.
const STEPS: usize = 8 * DEPTH;
/// Places for positions: a position is a window away from the next one in its place.
const PLACES: usize = WINDOW + 1;

pub(super) struct Matcher<'b> {
    body: &'b [u8],
    /// By hash of four bytes, one more than their last position; 0 where there is none.
    last: Vec<u32>,
    /// By place of a position, how far back the position before it with that hash is; 0 where there is none in reach.
    before: Vec<u16>,
    /// By place of a position, where the bytes end that may be copied from there.
    limit: Vec<u32>,
    /// Where they begin and end.
    pieces: Vec<(usize, usize)>,
}

impl<'b> Matcher<'b> {
    pub(super) fn new(body: &'b [u8]) -> Self {
        let places = body.len().next_power_of_two().clamp(256, PLACES);
        Self {
            body,
            last: vec![0; places],
            before: vec![0; places],
            limit: vec![0; places],
            pieces: Vec::new(),
        }
    }

    fn place(&self, at: usize) -> usize {
        at & (self.limit.len() - 1)
    }

    fn slot(&self, word: u32) -> usize {
        // As many bits as there are slots, from the top, where a product is mixed best.
        (word.wrapping_mul(0x9e37_79b1) >> (32 - self.last.len().trailing_zeros())) as usize
    }

    /// A piece lies here, with bytes at its start that are equal in all pieces.
    pub(super) fn add_piece(&mut self, start: usize, end: usize) {
        self.pieces.push((start, end));
    }

    /// The bytes from `start` to `end` are written: copies may begin there and go on to `limit`.
    fn add(&mut self, start: usize, end: usize, limit: usize) {
        for at in start..end.min((self.body.len() + 1).saturating_sub(SHORTEST)) {
            let (place, slot) = (self.place(at), self.slot(word(self.body, at)));
            let back = (at + 1).checked_sub(self.last[slot] as usize).filter(|back| *back <= at);
            self.before[place] = back.and_then(|back| u16::try_from(back).ok()).unwrap_or(0);
            self.limit[place] = limit as u32;
            self.last[slot] = at as u32 + 1;
        }
    }

    /// How much is equal. A copy reads what lies before `limit`, and may read what it has just written.
    fn common(&self, source: usize, limit: usize, at: usize, end: usize) -> usize {
        let most = (end - at).min(limit.saturating_sub(source));
        let (a, b) = (&self.body[source..source + most], &self.body[at..at + most]);
        let words = a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0);
        let equal = words.take_while(|(a, b)| a == b).count() * 8;
        equal + a[equal..].iter().zip(&b[equal..]).take_while(|(a, b)| a == b).count()
    }

    /// Of the earlier pieces the one that has most in common with the piece that begins at `start`, behind
    /// the first `equal` bytes, and how much. A piece before it is there.
    pub(super) fn best_piece(&self, start: usize, equal: usize, end: usize) -> (usize, usize) {
        let (last, limit) = *self.pieces.last().expect("a piece before this one");
        let mut best = (last, equal + self.common(last + equal, limit, start + equal, end));
        for (piece, limit) in self.pieces.iter().rev().skip(1).take(PIECES).copied() {
            if start - piece > WINDOW || best.1 == end - start {
                break;
            }
            let len = equal + self.common(piece + equal, limit, start + equal, end);
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
        let bytes = word(self.body, at);
        let mut after = self.last[self.slot(bytes)];
        let (mut looked, mut best) = (0, None);
        for _ in 0..STEPS {
            let Some(source) = (after as usize).checked_sub(1) else { break };
            if at - source > WINDOW {
                break;
            }
            let place = self.place(source);
            if word(self.body, source) == bytes {
                let len = self.common(source, self.limit[place] as usize, at, end);
                if len >= SHORTEST && best.is_none_or(|(_, longest)| len > longest) {
                    best = Some((source, len));
                }
                looked += 1;
            }
            let back = self.before[place];
            if back == 0 || looked == DEPTH {
                break;
            }
            after -= u32::from(back);
        }
        best
    }

    /// Appends elements for the bytes from `start` to `end`, which may be copied from then on, like those
    /// from `known`. Tells how many bytes at the end are a literal of their own.
    pub(super) fn compress(&mut self, known: usize, start: usize, end: usize, out: &mut Vec<u8>) -> usize {
        self.add(known, start, end);
        let (mut at, mut literal) = (start, start);
        while at < end {
            let found = self.longest(at, end);
            let Some((source, len)) = found else {
                self.add(at, at + 1, end);
                at += 1;
                continue;
            };
            let later = if len < GOOD { self.longest(at + 1, end) } else { None };
            if later.is_some_and(|(_, longer)| longer > len + 1) {
                self.add(at, at + 1, end);
                at += 1;
                continue;
            }
            push_literal(out, &self.body[literal..at]);
            push_copy(out, at - source, len);
            self.add(at, at + len, end);
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
        push_element(out, distance, part);
        len -= part;
    }
    push_element(out, distance, len);
}

/// The shortest element for a copy of at most 64 bytes from within the window, and how many of its bytes count.
#[inline(always)]
pub(super) fn copy_element(distance: usize, len: usize) -> ([u8; 3], usize) {
    let [low, high, ..] = distance.to_le_bytes();
    if (4..=11).contains(&len) && distance < 2048 {
        ([high << 5 | ((len - 4) << 2) as u8 | 1, low, 0], 2)
    } else {
        ([((len - 1) << 2) as u8 | 2, low, high], 3)
    }
}

#[inline]
fn push_element(out: &mut Vec<u8>, distance: usize, len: usize) {
    if distance <= WINDOW {
        let (element, count) = copy_element(distance, len);
        out.extend_from_slice(&element[..count]);
    } else {
        let [a, b, c, d, ..] = distance.to_le_bytes();
        out.extend_from_slice(&[((len - 1) << 2) as u8 | 3, a, b, c, d]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_message_needs_no_more_room_than_a_window() {
        let room = |len: usize| {
            let body = vec![0; len];
            let Matcher { last, before, limit, .. } = Matcher::new(&body);
            4 * (last.len() + limit.len()) + 2 * before.len()
        };
        assert_eq!(room(10 << 20), room(PLACES));
        assert!(room(10 << 20) <= 640 << 10 && room(1000) <= 10 << 10 && room(0) > 0);
    }

    #[test]
    fn places_that_are_used_again_tell_nothing_of_the_positions_before() {
        // Parts that are equal lie closer together than a window, at its end, and beyond it.
        for distance in [1_000, WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW, 3 * PLACES] {
            let unlike =
                (0_u32..).map(|i| i.wrapping_mul(0x9e37_79b1).rotate_left(7)).flat_map(u32::to_le_bytes);
            let mut body: Vec<u8> = unlike.take(distance + 64).collect();
            body.copy_within(..64, distance);
            let (mut matcher, mut out) = (Matcher::new(&body), Vec::new());
            matcher.compress(0, 0, distance, &mut out);
            out.clear();
            matcher.compress(distance, distance, distance + 64, &mut out);
            let mut copy = Vec::new();
            push_copy(&mut copy, distance, 64);
            assert_eq!(out == copy, distance <= WINDOW, "{distance}: {out:?}");
        }
    }
}

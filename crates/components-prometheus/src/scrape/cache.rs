//! What the last page of a target held, line by line, as a prediction of the next page.
//!
//! An entry is 16 bytes and the bytes by which its series text differs from the line before: texts are
//! compared whole, nothing is hashed. While a page has the same lines in the same order, the cache is not
//! written to. At the first difference a new cache is begun: entries move over as their lines are met, by
//! prediction or, after a miss, by a table. What is left behind are the series that have ended.

use hashbrown::{HashMap, HashSet};
use signal::Series;
use wire::exposition::plain_value;
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

/// The page has the line more than once; this is not the first.
pub(super) const REPEATED: u16 = 1;
/// Its last sample had a time of its own.
pub(super) const STATED: u16 = 2;
/// Its last sample was a native histogram.
pub(super) const HISTOGRAM: u16 = 4;
/// It belongs to the metric family that stood above it.
pub(super) const IN_FAMILY: u16 = 8;
/// It was not there on the page before.
pub(super) const FRESH: u16 = 16;
/// It has moved to the cache of the next page.
const TAKEN: u16 = 32;

/// Texts longer than this are not kept as scratch.
const MAX_SCRATCH: usize = 64 << 10;

/// One line.
#[derive(Debug)]
pub(super) struct Entry {
    /// `None`: nothing is sent for the line itself.
    pub(super) series: Option<Series>,
    /// Bytes of text of its own.
    own: u32,
    /// Bytes of text that it shares with the entry before.
    shared: u16,
    pub(super) flags: u16,
}

/// A classic histogram's line as a part of a native one. Kept only where that is asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Part {
    /// The histogram that it is a part of; `None` where the line is not such a part.
    pub(super) histogram: Option<Series>,
    /// Which.
    pub(super) role: Role,
}

/// What a line of a classic histogram says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Role {
    #[default]
    Count,
    Sum,
    /// The bucket up to a bound.
    Bucket(f64),
}

/// Lines in their order.
#[derive(Debug, Default)]
pub(super) struct Lines {
    entries: Vec<Entry>,
    text: Vec<u8>,
    /// Empty, or one an entry.
    parts: Vec<Part>,
}

impl Lines {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Entries with their parts.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Entry, Option<&Series>)> {
        self.entries
            .iter()
            .enumerate()
            .map(|(i, e)| (e, self.parts.get(i).and_then(|p| p.histogram.as_ref())))
    }

    /// Reads a page that has these lines and no others, each with no more than a value, and puts the values
    /// behind `values`. Tells a hash of everything else on the page: comments and where they stand. `None`
    /// as soon as the page turns out to be another.
    ///
    /// A line is compared with the line before it as far as both are known to be equal, and with what only
    /// it has: nothing is copied, hashed or taken apart.
    pub(super) fn repeat(&self, body: &[u8], values: &mut Vec<f64>) -> Option<u64> {
        let (mut at, mut before, mut text, mut comments) = (0, 0, 0, self.entries.len() as u64);
        for entry in &self.entries {
            comments = skip_comments(body, &mut at, comments ^ values.len() as u64);
            let (shared, own) = (usize::from(entry.shared), entry.own as usize);
            let line = &body[at..];
            let (prefix, rest) = line.split_at_checked(shared)?;
            let (suffix, after) = rest.split_at_checked(own)?;
            if suffix != &self.text[text..text + own] || prefix != &body[before..before + shared] {
                return None;
            }
            let (value, len) = plain_value(after)?;
            values.push(value);
            (before, text) = (at, text + own);
            at += shared + own + len;
        }
        comments = skip_comments(body, &mut at, comments);
        (at == body.len()).then_some(comments)
    }

    /// Bytes of memory, labels not counted.
    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
            + self.text.capacity()
            + self.parts.capacity() * size_of::<Part>()
    }

    fn push(
        &mut self,
        last: &mut Vec<u8>,
        raw: &[u8],
        series: Option<Series>,
        flags: u16,
        part: Option<Part>,
    ) {
        let shared = common_prefix(last, raw).min(usize::from(u16::MAX));
        last.truncate(shared);
        last.extend_from_slice(&raw[shared..]);
        self.text.extend_from_slice(&raw[shared..]);
        self.entries.push(Entry { series, own: (raw.len() - shared) as u32, shared: shared as u16, flags });
        if let Some(part) = part {
            self.parts.push(part);
        }
    }

    fn shrink(&mut self) {
        // Growing by doubling would leave up to half of the memory unused for as long as the target lives.
        if self.entries.capacity() > self.entries.len() + self.entries.len() / 8 + 8 {
            self.entries.shrink_to_fit();
        }
        if self.text.capacity() > self.text.len() + self.text.len() / 8 + 64 {
            self.text.shrink_to_fit();
        }
        self.parts.shrink_to_fit();
    }
}

/// Goes behind the lines that begin with `#` and adds them to a hash.
fn skip_comments(body: &[u8], at: &mut usize, mut hash: u64) -> u64 {
    while body.get(*at) == Some(&b'#') {
        let line = &body[*at..];
        // OpenMetrics may end without a line break.
        let len = memchr::memchr(b'\n', line).map_or(line.len(), |end| end + 1);
        hash = xxh3_64_with_seed(&line[..len], hash ^ *SEED);
        *at += len;
    }
    hash
}

fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let (a_words, _) = a.as_chunks::<8>();
    let (b_words, _) = b.as_chunks::<8>();
    let words = a_words.iter().zip(b_words).take_while(|(a, b)| a == b).count() * 8;
    words + a[words..].iter().zip(&b[words..]).take_while(|(a, b)| a == b).count()
}

/// Keeps targets from making two lines equal.
static SEED: std::sync::LazyLock<u64> = std::sync::LazyLock::new(|| {
    use std::hash::BuildHasher;
    foldhash::fast::RandomState::default().hash_one(0u8)
});

/// The key of a line in the tables.
fn key(raw: &[u8]) -> u128 {
    xxh3_128_with_seed(raw, *SEED)
}

/// The key is a hash already.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KeyHasher(u64);

impl std::hash::Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are u128");
    }
    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}

type KeyState = std::hash::BuildHasherDefault<KeyHasher>;

/// Where a line of the old cache is.
#[derive(Clone, Copy, Debug)]
struct Place {
    index: usize,
    /// Where its own text begins.
    text: usize,
}

/// The new cache, once the page differs from the old one.
#[derive(Default)]
struct Rebuild {
    lines: Lines,
    /// Text of the last line in `lines`, or a prefix of it.
    last: Vec<u8>,
    /// Lines of the old cache; made at the first line that is not where it is expected.
    known: Option<HashMap<u128, Place, KeyState>>,
    /// Lines that only the new cache has.
    fresh: HashSet<u128, KeyState>,
}

/// One page's way through the cache.
pub(super) struct Walk<'c> {
    old: &'c mut Lines,
    /// Of the old cache, the line that is expected next, and where its own text begins.
    at: Place,
    /// Its text; empty at the end.
    expected: Vec<u8>,
    rebuild: Option<Rebuild>,
    with_parts: bool,
}

/// What the cache knows of a line.
pub(super) enum Found<'w> {
    /// The series is known.
    Known(&'w mut Entry, Option<&'w Part>),
    /// The page had the line before.
    Repeated,
    /// The line was not on the last page: it has to be parsed and [`Walk::add`]ed.
    New,
}

impl<'c> Walk<'c> {
    /// `scratch` is any buffer; it comes back from [`Walk::finish`].
    pub(super) fn new(old: &'c mut Lines, mut scratch: Vec<u8>, with_parts: bool) -> Self {
        scratch.clear();
        let mut walk =
            Self { old, at: Place { index: 0, text: 0 }, expected: scratch, rebuild: None, with_parts };
        walk.expect_current();
        walk
    }

    /// The text of the line that is expected next.
    #[inline]
    pub(super) fn expected(&self) -> &[u8] {
        &self.expected
    }

    /// `expected` holds the text of the line before, or a part of it that is long enough.
    #[inline]
    fn expect_current(&mut self) {
        match self.old.entries.get(self.at.index) {
            Some(entry) => {
                let own = &self.old.text[self.at.text..self.at.text + entry.own as usize];
                self.expected.truncate(usize::from(entry.shared));
                self.expected.extend_from_slice(own);
            }
            None => self.expected.clear(),
        }
    }

    #[inline]
    fn advance(&mut self) {
        self.at.text += self.old.entries[self.at.index].own as usize;
        self.at.index += 1;
        self.expect_current();
    }

    /// Finds a line.
    #[inline]
    pub(super) fn find(&mut self, raw: &[u8]) -> Found<'_> {
        // No series text is empty, and `expected` is empty only at the end.
        if raw == self.expected.as_slice() && self.rebuild.is_none() {
            let index = self.at.index;
            self.advance();
            let entry = &mut self.old.entries[index];
            return match entry.flags & REPEATED {
                0 => Found::Known(entry, self.old.parts.get(index)),
                _ => Found::Repeated,
            };
        }
        self.find_moved(raw)
    }

    #[cold]
    fn find_moved(&mut self, raw: &[u8]) -> Found<'_> {
        if self.rebuild.is_none() {
            self.begin_rebuild();
        }
        let predicted = raw == self.expected.as_slice()
            && self.old.entries.get(self.at.index).is_some_and(|e| e.flags & (TAKEN | REPEATED) == 0);
        if predicted {
            let index = self.at.index;
            self.advance();
            return self.take_over(index, raw);
        }
        let key = key(raw);
        match self.known_place(key) {
            Some(place) => {
                self.at = place;
                self.expected.clear();
                self.expected.extend_from_slice(raw);
                self.advance();
                if self.old.entries[place.index].flags & TAKEN != 0 {
                    self.add_repeated(raw);
                    return Found::Repeated;
                }
                self.take_over(place.index, raw)
            }
            None => {
                let rebuild = self.rebuild.as_mut().expect("begun above");
                if rebuild.fresh.insert(key) {
                    return Found::New;
                }
                self.add_repeated(raw);
                Found::Repeated
            }
        }
    }

    fn known_place(&mut self, key: u128) -> Option<Place> {
        let rebuild = self.rebuild.as_mut().expect("a rebuild has begun");
        let old = &*self.old;
        let known = rebuild.known.get_or_insert_with(|| {
            let mut known = HashMap::with_capacity_and_hasher(old.len(), KeyState::default());
            let (mut text, mut raw) = (0, Vec::new());
            for (index, entry) in old.entries.iter().enumerate() {
                raw.truncate(usize::from(entry.shared));
                raw.extend_from_slice(&old.text[text..text + entry.own as usize]);
                if entry.flags & REPEATED == 0 {
                    known.insert(self::key(&raw), Place { index, text });
                }
                text += entry.own as usize;
            }
            known
        });
        known.get(&key).copied()
    }

    fn begin_rebuild(&mut self) {
        let mut rebuild = Rebuild::default();
        let Place { index, text } = self.at;
        rebuild.lines.entries.reserve(self.old.len().max(64));
        for entry in &mut self.old.entries[..index] {
            rebuild.lines.entries.push(Entry { series: entry.series.take(), ..*entry });
            entry.flags |= TAKEN;
        }
        rebuild.lines.text.extend_from_slice(&self.old.text[..text]);
        rebuild.lines.parts.extend_from_slice(&self.old.parts[..index.min(self.old.parts.len())]);
        // What the line expected now shares with the one before is the part of that which is still known.
        let shared = self.old.entries.get(index).map_or(0, |e| usize::from(e.shared));
        rebuild.last.extend_from_slice(&self.expected[..shared]);
        self.rebuild = Some(rebuild);
    }

    fn take_over(&mut self, index: usize, raw: &[u8]) -> Found<'_> {
        let entry = &mut self.old.entries[index];
        entry.flags |= TAKEN;
        let (series, flags) = (entry.series.take(), entry.flags & !TAKEN);
        let part = self.with_parts.then(|| self.old.parts.get(index).cloned().unwrap_or_default());
        let rebuild = self.rebuild.as_mut().expect("entries move in a rebuild");
        rebuild.lines.push(&mut rebuild.last, raw, series, flags, part);
        let entry = rebuild.lines.entries.last_mut().expect("just pushed");
        Found::Known(entry, rebuild.lines.parts.last())
    }

    fn add_repeated(&mut self, raw: &[u8]) {
        let part = self.with_parts.then(Part::default);
        let rebuild = self.rebuild.as_mut().expect("a rebuild has begun");
        rebuild.lines.push(&mut rebuild.last, raw, None, REPEATED, part);
    }

    /// All lines so far were where they were expected, and none is left.
    pub(super) fn is_repeated(&self) -> bool {
        self.rebuild.is_none() && self.at.index == self.old.entries.len()
    }

    /// Adds the line for which [`Walk::find`] said [`Found::New`].
    pub(super) fn add(&mut self, raw: &[u8], series: Option<Series>, flags: u16, part: Part) {
        let part = self.with_parts.then_some(part);
        let rebuild = self.rebuild.as_mut().expect("a new line begins a rebuild");
        rebuild.lines.push(&mut rebuild.last, raw, series, flags | FRESH, part);
    }

    /// The page is at its end: calls `ended` for each series that it does not have any more, and keeps what
    /// it has for the next one. Series that other lines of the page have too are told as well.
    pub(super) fn finish(self, mut ended: impl FnMut(Option<Series>, u16, Part)) -> Vec<u8> {
        let part_of =
            |parts: &mut Vec<Part>, i: usize| parts.get_mut(i).map(std::mem::take).unwrap_or_default();
        match self.rebuild {
            None => {
                let index = self.at.index;
                for (i, entry) in self.old.entries.drain(index..).enumerate() {
                    ended(entry.series, entry.flags, part_of(&mut self.old.parts, index + i));
                }
                self.old.parts.truncate(index);
                self.old.text.truncate(self.at.text);
            }
            Some(rebuild) => {
                let old = std::mem::replace(self.old, rebuild.lines);
                let (entries, mut parts) = (old.entries, old.parts);
                for (i, entry) in entries.into_iter().enumerate().filter(|(_, e)| e.flags & TAKEN == 0) {
                    ended(entry.series, entry.flags, part_of(&mut parts, i));
                }
                for entry in &mut self.old.entries {
                    entry.flags &= !FRESH;
                }
                self.old.shrink();
            }
        }
        let mut scratch = self.expected;
        if scratch.capacity() > MAX_SCRATCH {
            scratch = Vec::new();
        }
        scratch
    }

    /// The page is worth nothing: keeps the lines of the old cache and of the page as predictions. Entries
    /// that only the page had keep [`FRESH`] until [`Lines::settle`].
    pub(super) fn abandon(self) -> Vec<u8> {
        if let Some(mut rebuild) = self.rebuild {
            let old = std::mem::take(self.old);
            let (mut text, mut raw) = (0, Vec::new());
            let mut parts = old.parts.into_iter();
            for entry in old.entries {
                raw.truncate(usize::from(entry.shared));
                raw.extend_from_slice(&old.text[text..text + entry.own as usize]);
                text += entry.own as usize;
                let part = parts.next();
                if entry.flags & (TAKEN | REPEATED) == 0 {
                    let part = self.with_parts.then(|| part.unwrap_or_default());
                    rebuild.lines.push(&mut rebuild.last, &raw, entry.series, entry.flags, part);
                }
            }
            rebuild.lines.shrink();
            *self.old = rebuild.lines;
        }
        self.expected
    }
}

impl Lines {
    /// Entries of an abandoned page become like all others.
    pub(super) fn settle(&mut self) {
        for entry in &mut self.entries {
            entry.flags &= !FRESH;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use signal::Labels;

    use super::*;

    fn series(raw: &str) -> Series {
        Series::intern(Labels::from_pairs([("__name__", raw)]))
    }

    /// Walks a page: what was new, what was repeated, what ended.
    fn walk(lines: &mut Lines, page: &[&str]) -> (Vec<String>, usize, Vec<String>) {
        let (mut new, mut repeated, mut ended) = (Vec::new(), 0, Vec::new());
        let mut walk = Walk::new(lines, Vec::new(), false);
        for raw in page {
            match walk.find(raw.as_bytes()) {
                Found::Known(entry, _) => assert_eq!(entry.series, Some(series(raw))),
                Found::Repeated => repeated += 1,
                Found::New => {
                    new.push(raw.to_string());
                    walk.add(raw.as_bytes(), Some(series(raw)), 0, Part::default());
                }
            }
        }
        walk.finish(|series, _, _| {
            ended.extend(series.map(|s| s.metric_name().unwrap_or_default().to_owned()))
        });
        (new, repeated, ended)
    }

    #[test]
    fn an_entry_takes_sixteen_bytes_and_what_differs_from_the_line_before() {
        assert_eq!(size_of::<Entry>(), 16);
        let page: Vec<String> =
            (0..1000).map(|i| format!("http_requests_total{{code=\"200\",path=\"/{i:04}\"}}")).collect();
        let page: Vec<&str> = page.iter().map(String::as_str).collect();
        let mut lines = Lines::default();
        assert_eq!(walk(&mut lines, &page).0.len(), 1000);
        assert!(lines.heap_bytes() < 1000 * 24, "{}", lines.heap_bytes());
    }

    #[test]
    fn a_page_like_the_last_one_changes_nothing() {
        let mut lines = Lines::default();
        let page = ["a{x=\"1\"}", "a{x=\"2\"}", "b"];
        walk(&mut lines, &page);
        let address = lines.entries.as_ptr();
        assert_eq!(walk(&mut lines, &page), (vec![], 0, vec![]));
        assert_eq!(lines.entries.as_ptr(), address);
    }

    #[test]
    fn an_abandoned_page_loses_no_entry() {
        let mut lines = Lines::default();
        walk(&mut lines, &["a", "b", "c"]);
        let mut walked = Walk::new(&mut lines, Vec::new(), false);
        assert!(matches!(walked.find(b"b"), Found::Known(..)));
        assert!(matches!(walked.find(b"d"), Found::New));
        walked.add(b"d", Some(series("d")), 0, Part::default());
        walked.abandon();
        assert_eq!(lines.entries.iter().filter(|e| e.flags & FRESH != 0).count(), 1);
        lines.settle();
        let (new, repeated, ended) = walk(&mut lines, &["a", "b", "c", "d"]);
        assert_eq!((new.len(), repeated, ended.len()), (0, 0, 0));
    }

    proptest! {
        #[test]
        fn pages_in_any_order_are_told_apart_as_sets_tell_them(
            pages in proptest::collection::vec(proptest::collection::vec("[ab]{1,3}", 0..12), 1..6),
        ) {
            let mut lines = Lines::default();
            let mut before = std::collections::BTreeSet::new();
            for page in &pages {
                let page: Vec<&str> = page.iter().map(String::as_str).collect();
                let now: std::collections::BTreeSet<&str> = page.iter().copied().collect();
                let (mut new, repeated, mut ended) = walk(&mut lines, &page);
                new.sort();
                ended.sort();
                prop_assert_eq!(new, now.difference(&before).map(|s| s.to_string()).collect::<Vec<_>>());
                prop_assert_eq!(ended, before.difference(&now).map(|s| s.to_string()).collect::<Vec<_>>());
                prop_assert_eq!(repeated, page.len() - now.len());
                before = now;
            }
        }
    }
}

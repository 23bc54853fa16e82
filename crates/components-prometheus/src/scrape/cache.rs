//! What the last page of a target held, line by line, as a prediction of the next page.
//!
//! A line is its length and a 64-bit hash of its series text under a secret of this process: 12 bytes, beside the
//! handle of its series. (That one of a million series in a scrape a second is taken for another is due once in
//! half a million years; only a line that is not the predicted one can be.) While a page has the same lines in
//! the same order, the cache is not written to. At the first difference a new cache is begun: lines move over
//! as they are met, by prediction or, after a miss, by a table. What is left behind are the series that have
//! ended.
//!
//! Between scrapes the series need not be there: they are packed ([`Lines::rest`]) and come back when a page differs.

use std::sync::{Arc, LazyLock};

use hashbrown::{HashMap, HashSet};
use signal::samples::NO_FAMILY;
use signal::{FamilyList, Need, Patience, Series, SeriesList};
use wire::exposition::plain_value;
use xxhash_rust::xxh3::{xxh3_64_with_secret, xxh3_64_with_seed};

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

/// No sample of its series was sent yet: those on the pages so far were left out.
pub(super) const UNSENT: u16 = 64;

/// The length of lines that are as long or longer; they are not predicted.
const LONG: u16 = u16::MAX;

/// A line's text, as far as it is remembered, and what was found out about it.
#[derive(Clone, Copy, Debug)]
struct Line {
    /// In bytes, so that a line takes 12 of them and not 16.
    hash: [u8; 8],
    len: u16,
    flags: u16,
}

// Inlined always: they run for each line, and where code is to be small a compiler would call them.
impl Line {
    #[inline(always)]
    fn new(raw: &[u8], flags: u16) -> Self {
        let len = u16::try_from(raw.len()).unwrap_or(LONG);
        Self { hash: xxh3_64_with_secret(raw, &*SECRET).to_ne_bytes(), len, flags }
    }

    #[inline(always)]
    fn hash(self) -> u64 {
        u64::from_ne_bytes(self.hash)
    }

    #[inline(always)]
    fn is(self, other: Self) -> bool {
        (self.hash, self.len) == (other.hash, other.len)
    }

    /// The length of the text, if `rest` begins with it.
    #[inline(always)]
    fn leads(self, rest: &[u8]) -> Option<usize> {
        let text = rest.get(..usize::from(self.len))?;
        (self.len != LONG && self.is(Self::new(text, 0))).then_some(text.len())
    }
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
    lines: Vec<Line>,
    series: Held,
    /// Empty, or one a line.
    parts: Vec<Part>,
    /// The series had to be unpacked since the last rest.
    unpacked: bool,
}

/// The series of lines; `None`: nothing is sent for the line itself.
#[derive(Debug)]
enum Held {
    Own(Vec<Option<Series>>),
    /// All have one: the first ones of a list that is held anyway.
    Listed(Arc<SeriesList>),
}

impl Default for Held {
    fn default() -> Self {
        Self::Own(Vec::new())
    }
}

impl Lines {
    /// The series, for changing: those of a list are taken out of it.
    fn own(&mut self) -> &mut Vec<Option<Series>> {
        if let Held::Listed(list) = &self.series {
            let series = list.series()[..self.lines.len()].iter().cloned().map(Some).collect();
            self.unpacked |= list.need() == Need::Unpacked;
            self.series = Held::Own(series);
        }
        match &mut self.series {
            Held::Own(series) => series,
            Held::Listed(_) => unreachable!("made its own above"),
        }
    }
}

impl Held {
    /// Of a page that is being walked.
    #[inline]
    fn own_at(&self, index: usize) -> Option<&Series> {
        match self {
            Self::Own(series) => series.get(index)?.as_ref(),
            Self::Listed(_) => unreachable!("a walk makes them its own"),
        }
    }
}

/// One line, to look at.
pub(super) struct Entry<'l> {
    pub(super) series: Option<&'l Series>,
    pub(super) flags: u16,
    /// The native histogram that the line is a part of.
    pub(super) histogram: Option<&'l Series>,
}

impl Lines {
    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    /// Shows all lines.
    pub(super) fn for_each(&self, mut each: impl FnMut(Entry<'_>)) {
        let listed = match &self.series {
            Held::Own(_) => None,
            Held::Listed(list) => Some(list.series()),
        };
        for (i, line) in self.lines.iter().enumerate() {
            let series = match (&self.series, &listed) {
                (Held::Own(series), _) => series.get(i).and_then(Option::as_ref),
                (_, listed) => listed.as_ref().and_then(|listed| listed.get(i)),
            };
            let histogram = self.parts.get(i).and_then(|part| part.histogram.as_ref());
            each(Entry { series, flags: line.flags, histogram });
        }
    }

    /// Reads a page that has these lines and no others, each with no more than a value, and puts the values
    /// behind `values`. Tells a hash of everything else on the page: comments and where they stand. `None`
    /// as soon as the page turns out to be another. Nothing is copied, looked up or taken apart.
    pub(super) fn repeat(&self, body: &[u8], values: &mut Vec<f64>) -> Option<u64> {
        let (mut at, mut comments) = (0, self.lines.len() as u64);
        for line in &self.lines {
            comments = skip_comments(body, &mut at, comments ^ values.len() as u64);
            let rest = &body[at..];
            let len = line.leads(rest)?;
            let (value, value_len) = plain_value(&rest[len..])?;
            values.push(value);
            at += len + value_len;
        }
        comments = skip_comments(body, &mut at, comments);
        (at == body.len()).then_some(comments)
    }

    /// Lets go of the series, if `list` begins with them: it is to outlive these lines.
    pub(super) fn share(&mut self, list: &Arc<SeriesList>) {
        if let Held::Own(own) = &self.series
            && own.len() <= list.len()
            && own.iter().zip(list.series().iter()).all(|(own, listed)| own.as_ref() == Some(listed))
        {
            self.series = Held::Listed(list.clone());
        }
    }

    /// There will be no other page for a while: packs the series if they have not been needed for long enough.
    pub(super) fn rest(&mut self, patience: &mut Patience) {
        let unpacked = std::mem::take(&mut self.unpacked);
        let need = match &self.series {
            Held::Listed(list) => list.need(),
            Held::Own(_) => Need::Held,
        };
        if !patience.is_over(if unpacked { Need::Unpacked } else { need }) || !self.parts.is_empty() {
            return;
        }
        if let Held::Own(own) = &mut self.series {
            // A line that repeats another has none.
            if own.iter().any(Option::is_none) {
                return;
            }
            let series: Vec<Series> = own.drain(..).flatten().collect();
            let family = vec![NO_FAMILY; series.len()];
            self.series = Held::Listed(Arc::new(SeriesList::new(series, family, FamilyList::default())));
        }
        if let Held::Listed(list) = &self.series {
            list.pack();
        }
    }

    /// Whether no series is held.
    #[cfg(test)]
    pub(super) fn is_packed(&self) -> bool {
        matches!(&self.series, Held::Listed(list) if list.is_packed())
    }

    /// Bytes of memory, labels not counted.
    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        let series = match &self.series {
            Held::Own(series) => series.capacity() * size_of::<Option<Series>>(),
            Held::Listed(_) => 0,
        };
        self.lines.capacity() * size_of::<Line>() + series + self.parts.capacity() * size_of::<Part>()
    }

    fn push(&mut self, line: Line, series: Option<Series>, part: Option<Part>) {
        self.own().push(series);
        self.lines.push(line);
        self.parts.extend(part);
    }

    /// Growing by doubling would leave up to half of the memory unused for as long as the target lives. Copied, not
    /// shrunk: an allocator may leave what is shrunk by less than half where it is.
    fn shrink(&mut self) {
        let own = self.own();
        *own = own.drain(..).collect::<Box<[_]>>().into_vec();
        self.lines = Vec::from(&self.lines[..]);
        self.parts = self.parts.drain(..).collect::<Box<[_]>>().into_vec();
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

/// Keeps targets from making two pages equal.
static SEED: LazyLock<u64> = LazyLock::new(|| random(0));

/// Keeps targets from making two lines equal. Random as a whole: a secret made from a seed would have to be
/// made again for each long line.
static SECRET: LazyLock<[u8; 192]> = LazyLock::new(|| {
    let mut secret = [0; 192];
    for (word, number) in secret.as_chunks_mut::<8>().0.iter_mut().zip(1..) {
        *word = random(number).to_ne_bytes();
    }
    secret
});

/// By number, the same for as long as the process lives.
fn random(number: u64) -> u64 {
    use std::hash::BuildHasher;
    static STATE: LazyLock<std::hash::RandomState> = LazyLock::new(Default::default);
    STATE.hash_one(number)
}

/// The key is a hash already.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KeyHasher(u64);

impl std::hash::Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are u64");
    }
    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

type KeyState = std::hash::BuildHasherDefault<KeyHasher>;

/// The new cache, once the page differs from the old one.
#[derive(Default)]
struct Rebuild {
    new: Lines,
    /// Where lines of the old cache are; made at the first line that is not where it is expected.
    known: Option<HashMap<u64, usize, KeyState>>,
    /// Lines that only the new cache has.
    fresh: HashSet<u64, KeyState>,
}

/// One page's way through the cache.
pub(super) struct Walk<'c> {
    old: &'c mut Lines,
    /// Of the old cache, the line that is expected next.
    at: usize,
    /// What was asked about last begins with that line.
    predicted: bool,
    rebuild: Option<Rebuild>,
    with_parts: bool,
}

/// What the cache knows of a line.
pub(super) enum Found<'w> {
    /// It was on the last page.
    Known { series: Option<&'w Series>, flags: &'w mut u16, part: Option<&'w Part> },
    /// The page had the line before.
    Repeated,
    /// The line was not on the last page: it has to be parsed and [`Walk::add`]ed.
    New,
}

impl<'c> Walk<'c> {
    pub(super) fn new(old: &'c mut Lines, with_parts: bool) -> Self {
        old.own();
        Self { old, at: 0, predicted: false, rebuild: None, with_parts }
    }

    /// The length of the line that is expected next, if `rest` begins with it. What is found next is a line
    /// at the place that was asked about last.
    #[inline]
    pub(super) fn predict(&mut self, rest: &[u8]) -> Option<usize> {
        let len = self.old.lines.get(self.at).and_then(|line| line.leads(rest));
        self.predicted = len.is_some();
        len
    }

    /// Finds a line.
    #[inline]
    pub(super) fn find(&mut self, raw: &[u8]) -> Found<'_> {
        let expected = self.old.lines.get(self.at).copied();
        let line = match expected {
            Some(line) if std::mem::take(&mut self.predicted) && usize::from(line.len) == raw.len() => line,
            _ => Line::new(raw, 0),
        };
        let is_expected = expected.is_some_and(|expected| expected.is(line));
        if is_expected && self.rebuild.is_none() {
            let index = self.at;
            self.at += 1;
            let flags = &mut self.old.lines[index].flags;
            return match *flags & REPEATED {
                0 => Found::Known {
                    series: self.old.series.own_at(index),
                    flags,
                    part: self.old.parts.get(index),
                },
                _ => Found::Repeated,
            };
        }
        self.find_moved(Line { flags: 0, ..line }, is_expected)
    }

    #[cold]
    fn find_moved(&mut self, line: Line, is_expected: bool) -> Found<'_> {
        if self.rebuild.is_none() {
            self.begin_rebuild();
        }
        if is_expected && self.old.lines[self.at].flags & (TAKEN | REPEATED) == 0 {
            self.at += 1;
            return self.take_over(self.at - 1);
        }
        match self.known_place(line) {
            Some(index) => {
                self.at = index + 1;
                if self.old.lines[index].flags & TAKEN != 0 {
                    self.add_repeated(line);
                    return Found::Repeated;
                }
                self.take_over(index)
            }
            None => {
                let rebuild = self.rebuild.as_mut().expect("begun above");
                if rebuild.fresh.insert(line.hash()) {
                    return Found::New;
                }
                self.add_repeated(line);
                Found::Repeated
            }
        }
    }

    fn known_place(&mut self, line: Line) -> Option<usize> {
        let rebuild = self.rebuild.as_mut().expect("a rebuild has begun");
        let old = &self.old.lines;
        let known = rebuild.known.get_or_insert_with(|| {
            let firsts = old.iter().enumerate().filter(|(_, line)| line.flags & REPEATED == 0);
            firsts.map(|(index, line)| (line.hash(), index)).collect()
        });
        known.get(&line.hash()).copied()
    }

    fn begin_rebuild(&mut self) {
        let mut rebuild = Rebuild::default();
        let (new, index) = (&mut rebuild.new, self.at);
        let expected = self.old.len().max(64);
        new.lines.reserve(expected);
        new.lines.extend_from_slice(&self.old.lines[..index]);
        self.old.lines[..index].iter_mut().for_each(|line| line.flags |= TAKEN);
        let mut series = Vec::with_capacity(expected);
        series.extend(self.old.own()[..index].iter_mut().map(Option::take));
        new.series = Held::Own(series);
        new.parts.extend_from_slice(&self.old.parts[..index.min(self.old.parts.len())]);
        self.rebuild = Some(rebuild);
    }

    fn take_over(&mut self, index: usize) -> Found<'_> {
        let line = self.old.lines[index];
        self.old.lines[index].flags |= TAKEN;
        let series = self.old.own()[index].take();
        let part = self.with_parts.then(|| self.old.parts.get(index).cloned().unwrap_or_default());
        let new = &mut self.rebuild.as_mut().expect("lines move in a rebuild").new;
        new.push(line, series, part);
        let index = new.lines.len() - 1;
        let flags = &mut new.lines[index].flags;
        Found::Known { series: new.series.own_at(index), flags, part: new.parts.last() }
    }

    fn add_repeated(&mut self, line: Line) {
        let part = self.with_parts.then(Part::default);
        let rebuild = self.rebuild.as_mut().expect("a rebuild has begun");
        rebuild.new.push(Line { flags: REPEATED, ..line }, None, part);
    }

    /// All lines so far were where they were expected, and none is left.
    pub(super) fn is_repeated(&self) -> bool {
        self.rebuild.is_none() && self.at == self.old.len()
    }

    /// Adds the line for which [`Walk::find`] said [`Found::New`].
    pub(super) fn add(&mut self, raw: &[u8], series: Option<Series>, flags: u16, part: Part) {
        let part = self.with_parts.then_some(part);
        let rebuild = self.rebuild.as_mut().expect("a new line begins a rebuild");
        rebuild.new.push(Line::new(raw, flags | FRESH | UNSENT), series, part);
    }

    /// A sample of the line that was found or added last is sent, the first one.
    pub(super) fn sent(&mut self) {
        let line = match &mut self.rebuild {
            Some(rebuild) => rebuild.new.lines.last_mut(),
            None => self.old.lines[..self.at].last_mut(),
        };
        line.expect("a line was found").flags &= !UNSENT;
    }

    /// The page is at its end: calls `ended` for each series that it does not have any more, and keeps what
    /// it has for the next one. Series that other lines of the page have too are told as well.
    pub(super) fn finish(self, mut ended: impl FnMut(Option<Series>, u16, Part)) {
        let from = if self.rebuild.is_some() { 0 } else { self.at };
        let own = self.old.own();
        let series = if from == 0 { std::mem::take(own) } else { own.split_off(from) };
        let mut parts = self.old.parts.drain(from.min(self.old.parts.len())..);
        for (line, series) in self.old.lines.drain(from..).zip(series) {
            let part = parts.next().unwrap_or_default();
            if line.flags & TAKEN == 0 {
                ended(series, line.flags, part);
            }
        }
        drop(parts);
        if let Some(rebuild) = self.rebuild {
            *self.old = Lines { unpacked: self.old.unpacked, ..rebuild.new };
            self.old.settle();
            self.old.shrink();
        }
    }

    /// The page is worth nothing: keeps the lines of the old cache and of the page as predictions. Lines
    /// that only the page had keep [`FRESH`] until [`Lines::settle`].
    pub(super) fn abandon(self) {
        let Some(Rebuild { mut new, .. }) = self.rebuild else { return };
        let series = std::mem::take(self.old.own());
        let Lines { lines, parts, unpacked, .. } = std::mem::take(self.old);
        let mut parts = parts.into_iter();
        for (line, series) in lines.into_iter().zip(series) {
            let part = parts.next();
            if line.flags & (TAKEN | REPEATED) == 0 {
                new.push(line, series, self.with_parts.then(|| part.unwrap_or_default()));
            }
        }
        new.shrink();
        *self.old = Lines { unpacked, ..new };
    }
}

impl Lines {
    /// Entries of an abandoned page become like all others.
    pub(super) fn settle(&mut self) {
        for line in &mut self.lines {
            line.flags &= !FRESH;
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
        let mut walk = Walk::new(lines, false);
        for raw in page {
            // As the parser of texts does, which may be told of a line that only begins like this one.
            if raw.len() % 2 == 0 {
                walk.predict(raw.as_bytes());
            }
            match walk.find(raw.as_bytes()) {
                Found::Known { series: known, .. } => assert_eq!(known, Some(&series(raw))),
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
    fn a_line_takes_twelve_bytes_and_those_of_its_series_until_a_list_has_them() {
        let page: Vec<String> =
            (0..1000).map(|i| format!("http_requests_total{{code=\"200\",path=\"/{i:04}\"}}")).collect();
        let page: Vec<&str> = page.iter().map(String::as_str).collect();
        let mut lines = Lines::default();
        assert_eq!(walk(&mut lines, &page).0.len(), 1000);
        assert_eq!(lines.heap_bytes(), 1000 * (12 + 8));
        let all: Vec<Series> = page.iter().map(|raw| series(raw)).chain([series("up")]).collect();
        let list = |series: Vec<Series>| {
            let family = vec![0; series.len()];
            Arc::new(SeriesList::new(series, family, Default::default()))
        };
        lines.share(&list(all[1..].to_vec()));
        assert_eq!(lines.heap_bytes(), 1000 * (12 + 8), "another list");
        lines.share(&list(all));
        assert_eq!(lines.heap_bytes(), 1000 * 12);
        let mut raws = page.iter();
        lines.for_each(|entry| assert_eq!(entry.series, raws.next().map(|raw| series(raw)).as_ref()));
        let (new, repeated, ended) = walk(&mut lines, &page[1..]);
        assert_eq!((new.len(), repeated, ended), (0, 0, vec![page[0].to_owned()]));
    }

    #[test]
    fn lines_that_rest_hold_no_series_and_know_what_has_ended() {
        let page = ["rest{x=\"1\"}", "rest{x=\"2\"}", "rest_b"];
        let (mut lines, mut patience) = (Lines::default(), Patience::default());
        walk(&mut lines, &page);
        lines.rest(&mut patience);
        assert!(lines.is_packed());
        assert_eq!(walk(&mut lines, &page), (vec![], 0, vec![]));
        assert!(!lines.is_packed());
        lines.rest(&mut patience);
        assert_eq!(walk(&mut lines, &[page[2], page[0], "rest_c"]).2, [page[1]]);
        lines.rest(&mut patience);
        let mut left = Vec::new();
        lines.for_each(|entry| left.extend(entry.series.cloned()));
        assert_eq!(left, [page[2], page[0], "rest_c"].map(series));
        // Of a line that repeats another there is no series to pack.
        walk(&mut lines, &[page[2], page[2]]);
        lines.rest(&mut patience);
        assert!(!lines.is_packed());
        assert_eq!(walk(&mut lines, &[page[0]]).2, [page[2]]);
        // Pages that differ every time are not packed for ever.
        for i in 0..20 {
            walk(&mut lines, &[page[i % 3]]);
            lines.rest(&mut patience);
        }
        assert!(!lines.is_packed());
    }

    #[test]
    fn a_line_of_any_length_is_found_again() {
        let page = ["a".repeat(65_534), "b".repeat(65_535), "c".repeat(65_536), "d".repeat(100_000)];
        let mut page: Vec<&str> = page.iter().map(String::as_str).collect();
        let mut lines = Lines::default();
        walk(&mut lines, &page);
        assert_eq!(walk(&mut lines, &page), (vec![], 0, vec![]));
        page.swap(1, 3);
        assert_eq!(walk(&mut lines, &page), (vec![], 0, vec![]));
    }

    #[test]
    fn a_page_like_the_last_one_changes_nothing() {
        let mut lines = Lines::default();
        let page = ["a{x=\"1\"}", "a{x=\"2\"}", "b"];
        walk(&mut lines, &page);
        let address = lines.lines.as_ptr();
        assert_eq!(walk(&mut lines, &page), (vec![], 0, vec![]));
        assert_eq!(lines.lines.as_ptr(), address);
    }

    #[test]
    fn an_abandoned_page_loses_no_entry() {
        let mut lines = Lines::default();
        walk(&mut lines, &["a", "b", "c"]);
        let mut walked = Walk::new(&mut lines, false);
        assert!(matches!(walked.find(b"b"), Found::Known { .. }));
        assert!(matches!(walked.find(b"d"), Found::New));
        walked.add(b"d", Some(series("d")), 0, Part::default());
        walked.abandon();
        let mut fresh = 0;
        lines.for_each(|entry| fresh += usize::from(entry.flags & FRESH != 0));
        assert_eq!(fresh, 1);
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

//! From a batch to the records of one endpoint: age limit, external labels and relabelling, message,
//! compression. The buffers are kept; what is kept of a batch is its compressed bytes.
//!
//! A row that has come several times goes another way: its request is a template that needs only the values
//! (`prepared.rs`).

use std::cell::Cell;
use std::sync::OnceLock;
use std::time::Instant;

use delivery::Record;
use parking_lot::Mutex;
use signal::names::NameScheme;
use signal::re2::Regex;
use signal::relabel::{Action, CacheBound, RelabelCache, Rule, Rules};
use signal::samples::{ExemplarPoint, HistogramPoint};
use signal::{FamilyList, Labels, SampleBatch, Series};
use wire::compress::SnappyEncoder;
use wire::remote_write::{Counts, Message, Options, V1Encoder, V2Encoder};

use super::bodies::Bodies;
use super::memo::{Memo, Memos};
use super::prepared::{Prepared, Requests};
use super::record::{KIND_V1, KIND_V2, put_head};

/// Series whose relabelling result is remembered where batches have no origin, an endpoint.
const CACHED_SERIES: usize = 200_000;
/// Batches without an origin are spread over this many order keys by series.
const KEYS: u64 = 8;
/// Buffers kept for the next batch: more are in use only while many targets begin at once.
const SPARE_BUFFERS: usize = 2;

/// Encodes for one endpoint.
pub(super) struct Encoder {
    options: Options,
    rules: Rules,
    /// For batches with an origin.
    memos: Memos,
    /// For rows that come again and again.
    prepared: Prepared,
    /// For batches without one, and for exemplars; made when it is needed.
    cache: OnceLock<RelabelCache>,
    age_limit_ms: Option<i64>,
    /// The series without labels: what relabelling drops, and what no receiver takes.
    nameless: Series,
    spare: Mutex<Vec<Buffers>>,
    bodies: Bodies,
}

/// What a batch became.
#[derive(Default)]
pub(super) struct Encoded {
    pub records: Vec<Record>,
    /// Left out: older than `sample_age_limit`.
    pub too_old: Counts,
    /// Left out by `write_relabel_config`, or without any label.
    pub relabeled: Counts,
    /// Left out: the endpoint does not take native histograms.
    pub histograms_off: Counts,
    /// Left out: exemplars whose sample is not in the batch, where the protocol has no place for them.
    pub lone: Counts,
}

#[derive(Default)]
struct Buffers {
    v1: V1Encoder,
    v2: V2Encoder,
    snappy: SnappyEncoder,
    message: Vec<u8>,
    packed: Vec<u8>,
    batch: SampleBatch,
    /// A message was written since the last sweep.
    used: bool,
}

/// External labels as rules: each fills a label that is absent or empty.
fn external_rule(name: &str, value: &str) -> Rule {
    Rule {
        source_labels: vec![name.to_string()],
        regex: Regex::anchored("").expect("the empty pattern"),
        target_label: name.replace('$', "$$"),
        replacement: value.replace('$', "$$"),
        action: Action::Replace,
        ..Rule::default()
    }
}

/// The chain that external labels and `write_relabel_config` make together.
pub(super) fn rules<'a>(
    external: impl IntoIterator<Item = (&'a String, &'a String)>,
    write_relabel: &Rules,
) -> Result<Rules, String> {
    let external = external.into_iter().map(|(name, value)| external_rule(name, value));
    let all = external.chain(write_relabel.definition().iter().cloned()).collect();
    Rules::new(all, NameScheme::Utf8).map_err(|(_, error)| error.to_string())
}

impl Encoder {
    pub(super) fn new(options: Options, rules: Rules, age_limit_ms: Option<i64>) -> Self {
        Self {
            options,
            rules,
            memos: Memos::default(),
            prepared: Prepared::default(),
            cache: OnceLock::new(),
            age_limit_ms,
            nameless: Series::intern(Labels::empty()),
            spare: Mutex::default(),
            bodies: Bodies::default(),
        }
    }

    /// Whether another encoder would make the same of every series.
    pub(super) fn same_rules(&self, rules: &Rules) -> bool {
        self.rules == *rules
    }

    /// Forgets origins that are silent. Buffers that were not written to since the last time are given back: where all
    /// batches are rows with templates, nothing is encoded any more.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        for buffers in self.spare.lock().iter_mut() {
            if !std::mem::take(&mut buffers.used) {
                *buffers = Buffers::default();
            }
        }
        self.bodies.sweep();
        self.memos.sweep(now);
        self.prepared.sweep(now);
    }

    /// `now_ms` is Unix time in milliseconds.
    pub(super) fn encode(&self, batch: &SampleBatch, message: Message, now_ms: i64) -> Encoded {
        let mut buffers = self.spare.lock().pop().unwrap_or_default();
        if let Some(encoded) = self.fill(batch, message, now_ms, &mut buffers) {
            self.keep(buffers);
            return encoded;
        }
        let mut encoded = Encoded::default();
        if !self.options.histograms {
            encoded.histograms_off.histograms = batch.histograms.len();
        }
        let mut scratch = std::mem::take(&mut buffers.batch);
        if self.has_too_old(batch, now_ms) || self.has_nameless(batch) {
            self.select(batch, now_ms, &mut scratch, &mut encoded);
            self.write_parts(&scratch, message, now_ms, &mut buffers, &mut encoded);
        } else if self.rules.is_empty() {
            self.write_parts(batch, message, now_ms, &mut buffers, &mut encoded);
        } else if let Some(origin) = batch.origin {
            let mut memo = self.memos.take(origin);
            self.lend(&mut memo, batch, &mut scratch, &mut encoded.relabeled);
            self.write_parts(&scratch, message, now_ms, &mut buffers, &mut encoded);
            memo.points.give_back(scratch.points.listed().drain(..).map(|p| p.series));
            memo.histograms.give_back(scratch.histograms.drain(..).map(|p| p.series));
            self.memos.put(origin, memo, Instant::now());
        } else {
            self.select(batch, now_ms, &mut scratch, &mut encoded);
            self.write_parts(&scratch, message, now_ms, &mut buffers, &mut encoded);
        }
        scratch.points.clear();
        scratch.histograms.clear();
        scratch.exemplars.clear();
        scratch.families = FamilyList::default();
        buffers.batch = scratch;
        self.keep(buffers);
        encoded
    }

    fn keep(&self, buffers: Buffers) {
        let mut spare = self.spare.lock();
        if spare.len() < SPARE_BUFFERS {
            spare.push(buffers);
        }
    }

    /// The records of a row for which there is a template, or one is worth its making.
    fn fill(
        &self,
        batch: &SampleBatch,
        message: Message,
        now_ms: i64,
        buffers: &mut Buffers,
    ) -> Option<Encoded> {
        let (row, origin) = (batch.points.row()?, batch.origin?);
        if !batch.histograms.is_empty() || !batch.exemplars.is_empty() {
            return None;
        }
        let (now, made) = (Instant::now(), Cell::new(false));
        let requests = self.prepared.requests(origin, row, message, now, || {
            made.set(true);
            let survives = |series: &Series| {
                let series =
                    if self.rules.is_empty() { series.clone() } else { self.rules.relabel_series(series)? };
                Some(series).filter(|series| !series.ptr_eq(&self.nameless))
            };
            let Buffers { v1, v2, message: buffer, used, .. } = buffers;
            *used = true;
            Requests::new(row, message, survives, |batch, each| match message {
                Message::V1 => {
                    let mut requests = v1.requests(batch, self.options);
                    while let Some(counts) = requests.next(buffer) {
                        each(buffer, counts);
                        buffer.clear();
                    }
                }
                Message::V2 => {
                    let mut requests = v2.requests(batch, self.options);
                    while let Some(counts) = requests.next(buffer) {
                        each(buffer, counts);
                        buffer.clear();
                    }
                }
            })
        })?;
        if made.get() && !self.rules.is_empty() {
            // The request has all of them written out, and the series that relabelling made are held by nobody else. To
            // ask the rules again, should the origin change, takes less time than the next template.
            drop(self.memos.take(origin));
        }
        let mut encoded = Encoded::default();
        if row.timestamp_ms() < self.oldest(now_ms) {
            encoded.too_old.samples = row.values().len();
            return Some(encoded);
        }
        encoded.relabeled.samples = row.values().len() - requests.samples();
        let kind = if message == Message::V1 { KIND_V1 } else { KIND_V2 };
        let packed = &mut buffers.packed;
        let filled = requests.fill(row, packed, |packed, counts| {
            let items = u32::try_from(counts.items()).unwrap_or(u32::MAX);
            let (key, newest_ms, body) = (origin, row.timestamp_ms(), self.bodies.copy(packed));
            encoded.records.push(Record { body, items, key, group: 0, created_ms: now_ms, newest_ms, kind });
        });
        filled.then_some(encoded)
    }

    /// The oldest time that is still taken.
    fn oldest(&self, now_ms: i64) -> i64 {
        self.age_limit_ms.map_or(i64::MIN, |limit| now_ms - limit)
    }

    fn has_too_old(&self, batch: &SampleBatch, now_ms: i64) -> bool {
        let oldest = self.oldest(now_ms);
        self.age_limit_ms.is_some()
            && (batch.points.iter().any(|p| p.timestamp_ms < oldest)
                || batch.histograms.iter().any(|p| p.timestamp_ms < oldest)
                || batch.exemplars.iter().any(|e| e.timestamp_ms < oldest && e.timestamp_ms != 0))
    }

    /// Whether there is a series without labels, for which a receiver would refuse the whole request.
    fn has_nameless(&self, batch: &SampleBatch) -> bool {
        let nameless = |series: &Series| series.ptr_eq(&self.nameless);
        batch.points.iter().any(|p| nameless(p.series))
            || batch.histograms.iter().any(|p| nameless(&p.series))
            || batch.exemplars.iter().any(|e| nameless(&e.series))
    }

    fn relabel(&self, series: &Series, now: Instant) -> Option<Series> {
        let cache = self.cache.get_or_init(|| RelabelCache::new(CacheBound::Entries(CACHED_SERIES)));
        let answer = if self.rules.is_empty() {
            Some(series.clone())
        } else {
            cache.relabel(&self.rules, series, now)
        };
        answer.filter(|series| !series.ptr_eq(&self.nameless))
    }

    /// Copies what survives, with the series that the memo of its origin tells.
    fn lend(&self, memo: &mut Memo, from: &SampleBatch, into: &mut SampleBatch, left_out: &mut Counts) {
        let relabel = |series: &Series| self.rules.relabel_series(series).unwrap_or(self.nameless.clone());
        memo.points.fit(from.points.iter().map(|p| p.series), relabel);
        memo.histograms.fit(from.histograms.iter().map(|p| &p.series), relabel);
        into.origin = from.origin;
        into.families = from.families.clone();
        into.points.extend(from.points.iter().zip(memo.points.lend(&self.nameless)).filter_map(
            |(p, series)| {
                let series = series?;
                Some(p.with_series(series))
            },
        ));
        into.histograms.extend(from.histograms.iter().zip(memo.histograms.lend(&self.nameless)).filter_map(
            |(p, series)| {
                let HistogramPoint { timestamp_ms, start_ms, family, .. } = *p;
                let histogram = p.histogram.clone();
                Some(HistogramPoint { series: series?, timestamp_ms, histogram, start_ms, family })
            },
        ));
        let now = Instant::now();
        into.exemplars.extend(from.exemplars.iter().filter_map(|e| {
            let series = self.relabel(&e.series, now)?;
            Some(ExemplarPoint { series, ..e.clone() })
        }));
        left_out.samples = from.points.len() - into.points.len();
        left_out.histograms = from.histograms.len() - into.histograms.len();
        left_out.exemplars = from.exemplars.len() - into.exemplars.len();
    }

    /// Copies what survives age limit and rules.
    fn select(&self, from: &SampleBatch, now_ms: i64, into: &mut SampleBatch, encoded: &mut Encoded) {
        let (oldest, now) = (self.oldest(now_ms), Instant::now());
        let survives = |series: &Series, timestamp_ms: i64, too_old: &mut usize, relabeled: &mut usize| {
            if timestamp_ms < oldest {
                *too_old += 1;
                return None;
            }
            let answer = self.relabel(series, now);
            *relabeled += usize::from(answer.is_none());
            answer
        };
        let Encoded { too_old, relabeled, .. } = encoded;
        into.origin = from.origin;
        into.families = from.families.clone();
        into.points.extend(from.points.iter().filter_map(|p| {
            let series = survives(p.series, p.timestamp_ms, &mut too_old.samples, &mut relabeled.samples)?;
            Some(p.with_series(series))
        }));
        into.histograms.extend(from.histograms.iter().filter_map(|p| {
            let series =
                survives(&p.series, p.timestamp_ms, &mut too_old.histograms, &mut relabeled.histograms)?;
            Some(HistogramPoint { series, ..p.clone() })
        }));
        into.exemplars.extend(from.exemplars.iter().filter_map(|e| {
            let timestamp_ms = if e.timestamp_ms == 0 { now_ms } else { e.timestamp_ms };
            let series = survives(&e.series, timestamp_ms, &mut too_old.exemplars, &mut relabeled.exemplars)?;
            Some(ExemplarPoint { series, ..e.clone() })
        }));
    }

    fn write_parts(
        &self,
        batch: &SampleBatch,
        message: Message,
        now_ms: i64,
        buffers: &mut Buffers,
        encoded: &mut Encoded,
    ) {
        match batch.origin {
            Some(key) => self.write(batch, key, message, now_ms, buffers, encoded),
            None => {
                for (key, part) in split(batch) {
                    self.write(&part, key, message, now_ms, buffers, encoded);
                }
            }
        }
    }

    fn write(
        &self,
        batch: &SampleBatch,
        key: u64,
        message: Message,
        now_ms: i64,
        buffers: &mut Buffers,
        encoded: &mut Encoded,
    ) {
        let Encoded { records, lone, .. } = encoded;
        let newest_ms = newest(batch).unwrap_or(now_ms);
        let Buffers { v1, v2, snappy, message: buffer, packed, used, .. } = buffers;
        *used = true;
        let mut put = |buffer: &mut Vec<u8>, counts: Counts, kind: u8| {
            packed.clear();
            put_head(counts, packed);
            snappy.compress(buffer, packed).expect("a request is far smaller than snappy's 4 GiB");
            buffer.clear();
            let items = u32::try_from(counts.items()).unwrap_or(u32::MAX);
            let body = self.bodies.copy(packed);
            records.push(Record { body, items, key, group: 0, created_ms: now_ms, newest_ms, kind });
        };
        match message {
            Message::V1 => {
                let mut requests = v1.requests(batch, self.options);
                while let Some(counts) = requests.next(buffer) {
                    put(buffer, counts, KIND_V1);
                }
            }
            Message::V2 => {
                let mut requests = v2.requests(batch, self.options);
                while let Some(counts) = requests.next(buffer) {
                    put(buffer, counts, KIND_V2);
                }
                *lone += requests.left_out();
            }
        }
    }
}

fn newest(batch: &SampleBatch) -> Option<i64> {
    let points = batch.points.iter().map(|p| p.timestamp_ms);
    points.chain(batch.histograms.iter().map(|p| p.timestamp_ms)).max()
}

/// Parts of a batch by order key, so that each series keeps its order however many senders there are.
fn split(batch: &SampleBatch) -> Vec<(u64, SampleBatch)> {
    let mut parts: Vec<SampleBatch> = Vec::new();
    parts.resize_with(KEYS as usize, SampleBatch::default);
    let part_of = |series: &Series| (series.hash() % KEYS) as usize;
    for point in batch.points.iter() {
        parts[part_of(point.series)].points.push(point.to_point());
    }
    for point in &batch.histograms {
        parts[part_of(&point.series)].histograms.push(point.clone());
    }
    for exemplar in &batch.exemplars {
        parts[part_of(&exemplar.series)].exemplars.push(exemplar.clone());
    }
    let mut keyed: Vec<_> = (0..KEYS).zip(parts).collect();
    keyed.retain(|(_, part)| {
        !part.points.is_empty() || !part.histograms.is_empty() || !part.exemplars.is_empty()
    });
    keyed.iter_mut().for_each(|(_, part)| part.families = batch.families.clone());
    keyed
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use signal::samples::Point;
    use signal::{Row, SeriesList};

    use super::*;
    use crate::remote_write::record;

    fn point(name: &str, timestamp_ms: i64) -> Point {
        let series = Series::intern(Labels::from_pairs([("__name__", name), ("region", "own"), ("a", "1")]));
        Point { series, timestamp_ms, value: 1.0, start_ms: 0, family: signal::samples::NO_FAMILY }
    }

    fn read(record: &Record) -> Vec<String> {
        let opened = record::open(record).expect("a record opens");
        let received =
            wire::remote_write::decode(record::message(record.kind), &opened, 1 << 20).expect("decodes");
        received.batch.points.iter().map(|p| p.series.to_string()).collect()
    }

    fn read_points(record: &Record) -> Vec<(String, i64, f64)> {
        let opened = record::open(record).expect("a record opens");
        let received =
            wire::remote_write::decode(record::message(record.kind), &opened, 1 << 20).expect("decodes");
        let points = received.batch.points.iter();
        points.map(|p| (p.series.to_string(), p.timestamp_ms, p.value)).collect()
    }

    fn encoder(external: &[(&str, &str)], limit: Option<i64>) -> Encoder {
        let external: Vec<_> = external.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        let rules = rules(external.iter().map(|(n, v)| (n, v)), &Rules::none()).expect("rules");
        Encoder::new(Options { max_samples: 2, ..Options::default() }, rules, limit)
    }

    #[test]
    fn external_labels_fill_only_what_a_series_lacks() {
        let batch =
            SampleBatch { points: vec![point("up", 5)].into(), origin: Some(1), ..SampleBatch::default() };
        let encoded =
            encoder(&[("region", "external"), ("cost", "$1")], None).encode(&batch, Message::V1, 10);
        assert_eq!(read(&encoded.records[0]), [r#"up{a="1", cost="$1", region="own"}"#]);
    }

    #[test]
    fn a_batch_with_an_origin_is_relabelled_like_one_without() {
        let drop_b = Rule {
            source_labels: vec!["__name__".into()],
            regex: Regex::anchored("b.*").expect("a pattern"),
            action: Action::Drop,
            ..Rule::default()
        };
        let write_relabel = Rules::new(vec![drop_b], NameScheme::Utf8).expect("rules");
        let external = [("zone".to_string(), "z".to_string())];
        let rules = rules(external.iter().map(|(n, v)| (n, v)), &write_relabel).expect("rules");
        let encoder = Encoder::new(Options { max_samples: 100, ..Options::default() }, rules, None);
        // Of the first few nothing is remembered.
        let early = [&["a", "b1"][..]; 4];
        let names = [&["a", "b1", "c"][..], &["a", "b1", "c"], &["b2", "c", "a", "d"], &["d"]];
        for names in early.into_iter().chain(names) {
            let points: Vec<_> = names.iter().map(|n| point(n, 5)).collect();
            let sent = |origin| {
                let batch = SampleBatch { points: points.clone().into(), origin, ..SampleBatch::default() };
                let encoded = encoder.encode(&batch, Message::V2, 10);
                let mut series: Vec<_> = encoded.records.iter().flat_map(read).collect();
                series.sort();
                (series, encoded.relabeled)
            };
            let (with, without) = (sent(Some(3)), sent(None));
            assert_eq!(with, without, "{names:?}");
            assert_eq!(with.1.samples, names.iter().filter(|n| n.starts_with('b')).count());
            assert!(with.0.iter().all(|s| s.contains(r#"zone="z""#)), "{with:?}");
        }
    }

    #[test]
    fn a_row_is_sent_like_the_list_of_its_points_however_often_it_comes() {
        let drop_b = Rule {
            source_labels: vec!["__name__".into()],
            regex: Regex::anchored("b.*").expect("a pattern"),
            action: Action::Drop,
            ..Rule::default()
        };
        let external = [("zone".to_string(), "z".to_string())];
        let both = Rules::new(vec![drop_b], NameScheme::Utf8).expect("rules");
        let both = rules(external.iter().map(|(n, v)| (n, v)), &both).expect("rules");
        let names = ["a", "b", "c", "b2", "d", "e", "f"];
        let series: Vec<_> =
            names.iter().map(|n| point(n, 0).series).chain([Series::intern(Labels::empty())]).collect();
        let family = vec![signal::samples::NO_FAMILY; series.len()];
        let list = Arc::new(SeriesList::new(series, family, FamilyList::default()));
        for (rules, left) in [(both, 6), (Rules::none(), 7)] {
            let encoder = Encoder::new(Options { max_samples: 3, ..Options::default() }, rules, Some(60_000));
            let plain =
                Encoder::new(Options { max_samples: 3, ..Options::default() }, encoder.rules.clone(), None);
            for round in 0..12 {
                // The endpoint turns out to know only the old message.
                let message = if round < 6 { Message::V2 } else { Message::V1 };
                let time = 1_763_700_000_000 + i64::from(round);
                let values = (0..8).map(|i| f64::from(i % 3 * round)).collect();
                let row = Row::new(list.clone(), time, values);
                let mut batch = SampleBatch { points: row.into(), origin: Some(1), ..SampleBatch::default() };
                let encoded = encoder.encode(&batch, message, time + 60_000);
                batch.points.listed();
                let expected = plain.encode(&batch, message, time);
                let all = |encoded: &Encoded| {
                    let records = encoded.records.iter();
                    records.map(|r| (read_points(r), r.items, r.key, r.newest_ms, r.kind)).collect::<Vec<_>>()
                };
                assert_eq!(all(&encoded), all(&expected), "round {round}");
                assert_eq!(record::total(&encoded.records).samples, left);
                assert_eq!(encoded.relabeled, expected.relabeled);
                assert_eq!(encoder.prepared.bytes() > 64, round >= 1, "templates from the third time on");
                let late = encoder.encode(
                    &SampleBatch { points: Row::new(list.clone(), time, vec![1.0; 8]).into(), ..batch },
                    message,
                    time + 60_001,
                );
                assert_eq!((late.records.len(), late.too_old.samples), (0, 8));
            }
        }
    }

    #[test]
    fn what_relabelling_made_of_a_row_is_forgotten_once_its_request_is_ready() {
        let encoder = encoder(&[("zone", "z")], None);
        let list = |names: &[&str]| {
            let series: Vec<_> = names.iter().map(|n| point(n, 0).series).collect();
            let family = vec![signal::samples::NO_FAMILY; series.len()];
            Arc::new(SeriesList::new(series, family, FamilyList::default()))
        };
        let (one, other) = (list(&["a", "b"]), list(&["a", "b", "c"]));
        let rounds = [
            (&one, 0),
            (&other, 0),
            (&one, 0),
            (&other, 3),
            (&one, 2),
            (&other, 3),
            (&other, 3),
            (&other, 0),
            (&other, 0),
            (&one, 0),
        ];
        for (round, (list, remembered)) in rounds.into_iter().enumerate() {
            let time = 1_763_700_000_000 + round as i64;
            let row = Row::new(list.clone(), time, vec![1.5; list.series().len()]);
            let batch = SampleBatch { points: row.into(), origin: Some(1), ..SampleBatch::default() };
            let encoded = encoder.encode(&batch, Message::V1, time);
            let sent: Vec<_> = encoded.records.iter().flat_map(read).collect();
            assert_eq!(sent.len(), list.series().len());
            assert!(sent.iter().all(|series| series.contains(r#"zone="z""#)), "{sent:?}");
            assert_eq!(encoder.memos.pairs(), remembered, "round {round}");
        }
    }

    #[test]
    fn buffers_that_are_not_needed_any_more_are_given_back() {
        let encoder = encoder(&[("zone", "z")], None);
        let held = || {
            let bytes = |b: &Buffers| b.message.capacity() + b.packed.capacity();
            encoder.spare.lock().iter().map(bytes).sum::<usize>()
        };
        for origin in [1, 2] {
            let points = vec![point("a", 5), point("b", 5)].into();
            let batch = SampleBatch { points, origin: Some(origin), ..SampleBatch::default() };
            assert_eq!(encoder.encode(&batch, Message::V1, 10).records.len(), 1);
            assert!(held() > 0);
            encoder.sweep();
            assert!(held() > 0, "they were needed since the last time");
            encoder.sweep();
            assert_eq!(held(), 0);
        }
    }

    #[test]
    fn a_series_without_labels_is_left_out_and_not_sent_to_spoil_its_request() {
        let keep_nothing = Rule {
            regex: Regex::anchored(".*").expect("a pattern"),
            action: Action::LabelDrop,
            ..Rule::default()
        };
        let drops = Rules::new(vec![keep_nothing], NameScheme::Utf8).expect("rules");
        let nameless = Point { series: Series::intern(Labels::empty()), ..point("x", 5) };
        for (rules, points, left) in [
            (Rules::none(), vec![nameless.clone(), point("up", 5)], 1),
            (drops.clone(), vec![nameless, point("up", 5)], 0),
            (drops, vec![point("down", 5), point("up", 5)], 0),
        ] {
            for origin in [Some(1), None] {
                let encoder = Encoder::new(Options::default(), rules.clone(), None);
                let batch = SampleBatch { points: points.clone().into(), origin, ..SampleBatch::default() };
                let encoded = encoder.encode(&batch, Message::V1, 10);
                assert_eq!(record::total(&encoded.records).samples, left);
                assert_eq!(encoded.relabeled.samples, 2 - left);
            }
        }
    }

    #[test]
    fn samples_past_the_age_limit_are_left_out_and_counted() {
        let points = vec![point("old", 1_000), point("new", 9_500)];
        let batch = SampleBatch { points: points.into(), origin: Some(1), ..SampleBatch::default() };
        let encoded = encoder(&[], Some(5_000)).encode(&batch, Message::V1, 10_000);
        assert_eq!(encoded.too_old.samples, 1);
        assert_eq!(encoded.records.len(), 1);
        assert_eq!(encoded.records[0].newest_ms, 9_500);
    }

    #[test]
    fn a_batch_is_cut_into_requests_of_the_wanted_size_in_both_versions() {
        for message in [Message::V1, Message::V2] {
            let points: Vec<_> = (0..5).map(|i| point(&format!("m{i}"), 1)).collect();
            let batch = SampleBatch { points: points.into(), origin: Some(7), ..SampleBatch::default() };
            let encoded = encoder(&[], None).encode(&batch, message, 10);
            let items: Vec<_> = encoded.records.iter().map(|r| (r.items, r.key)).collect();
            assert_eq!(items, [(2, 7), (2, 7), (1, 7)]);
            assert_eq!(record::total(&encoded.records).samples, 5);
        }
    }

    #[test]
    fn without_an_origin_a_series_always_gets_the_same_order_key() {
        let points: Vec<_> = (0..100).map(|i| point(&format!("m{i}"), 1)).collect();
        let batch = SampleBatch { points: points.into(), ..SampleBatch::default() };
        let encoder = encoder(&[], None);
        let keys = |records: &[Record]| {
            let mut keys: Vec<_> =
                records.iter().flat_map(|r| read(r).into_iter().map(|s| (s, r.key))).collect();
            keys.sort();
            keys
        };
        let first = keys(&encoder.encode(&batch, Message::V1, 1).records);
        let again = keys(&encoder.encode(&batch, Message::V1, 2).records);
        assert_eq!(first, again);
        assert!(first.iter().any(|(_, k)| *k != first[0].1), "spread over several keys");
    }
}

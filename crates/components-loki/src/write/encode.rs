//! From a batch of entries to the records of one endpoint's queue.
//!
//! Data path: entries by stream (in place where the batch has one stream) → stream known or made → the record of
//! its tenant and lane. Entries of a stream keep their order; each line is copied once, into the record.

use std::sync::Arc;

use bytes::Bytes;
use delivery::{Record, lane_of};
use hashbrown::HashMap;
use signal::LogBatch;
use signal::logs::{Entry, Hold};
use wire::loki::{entry_len, push_stream, stream_len};

use super::metrics::{Late, Tenant};
use super::record::{head_len, put_head};
use super::streams::{Stream, Streams};

/// Loki's default `reject_old_samples_max_age`.
const TOO_OLD_NS: i64 = 7 * 24 * 3600 * 1_000_000_000;
/// Half of Loki's default `max_chunk_age`: what is further behind its stream's newest entry is refused.
const TOO_FAR_BEHIND_NS: i64 = 3600 * 1_000_000_000;

/// How an endpoint cuts records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Shards.
    pub lanes: usize,
    /// Bytes of a record, as far as entries allow.
    pub record_bytes: usize,
    /// Records are kept in memory only: a source is not to take them for sent before they are.
    pub in_memory: bool,
}

/// A body that is in memory only, with what keeps the source's position back until the queue lets go of it: when
/// it is delivered, or given up and counted.
struct Held {
    body: Vec<u8>,
    #[expect(dead_code, reason = "held, not read")]
    hold: Hold,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

/// Makes records.
pub(super) struct Encoder {
    streams: Streams,
    shape: Shape,
}

/// A record in the making.
struct Open {
    body: Vec<u8>,
    items: u32,
    newest_ns: i64,
    key: u64,
    tenant: Arc<Tenant>,
}

/// The records of a batch, and those still open by tenant and lane.
struct Records<'a> {
    batch: &'a LogBatch,
    now_ms: i64,
    shape: Shape,
    open: Vec<Open>,
    places: HashMap<(u64, usize), usize, foldhash::fast::RandomState>,
    done: Vec<(Record, Arc<Tenant>)>,
}

impl Encoder {
    pub(super) fn new(streams: Streams, shape: Shape) -> Self {
        Self { streams, shape }
    }

    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    /// The records of a batch, each with its tenant. What is left out is counted.
    pub(super) fn encode(&self, batch: &LogBatch, now_ms: i64) -> Vec<(Record, Arc<Tenant>)> {
        let mut records = Records {
            batch,
            now_ms,
            shape: self.shape,
            open: Vec::new(),
            places: HashMap::default(),
            done: Vec::new(),
        };
        let Some(first) = batch.entries.first() else { return Vec::new() };
        if batch.entries.iter().all(|entry| entry.stream == first.stream) {
            if let Some(stream) = self.stream(batch, first.stream, &batch.entries) {
                records.add(&stream, batch.entries.iter());
            }
        } else {
            for (stream, entries) in self.by_stream(batch) {
                records.add(&stream, entries.iter().map(|i| &batch.entries[*i as usize]));
            }
        }
        records.finish()
    }

    /// The stream of a place in the batch, unless there are too many.
    fn stream<'a>(
        &self,
        batch: &LogBatch,
        place: u32,
        entries: impl IntoIterator<Item = &'a Entry>,
    ) -> Option<Arc<Stream>> {
        let (stream, fits) = self.streams.get(&batch.streams[place as usize]);
        if !fits {
            let (count, bytes) = entries.into_iter().fold((0, 0), |(n, b), e| (n + 1, b + e.bytes()));
            stream.tenant.dropped("stream_limited", count, bytes as u64);
        }
        fits.then_some(stream)
    }

    /// Streams in order of their first entry, each with the indices of its entries.
    fn by_stream(&self, batch: &LogBatch) -> Vec<(Arc<Stream>, Vec<u32>)> {
        // Places of the batch may turn out to be one stream: only the labels that are sent count.
        let mut of_place: Vec<Option<usize>> = vec![None; batch.streams.len()];
        let mut of_key: HashMap<u64, usize, foldhash::fast::RandomState> = HashMap::default();
        let mut all: Vec<(Option<Arc<Stream>>, Vec<u32>)> = Vec::new();
        for (i, entry) in batch.entries.iter().enumerate() {
            let index = *of_place[entry.stream as usize].get_or_insert_with(|| {
                let (stream, fits) = self.streams.get(&batch.streams[entry.stream as usize]);
                *of_key.entry(stream.key).or_insert_with(|| {
                    all.push((fits.then(|| stream.clone()), Vec::new()));
                    all.len() - 1
                })
            });
            match &mut all[index] {
                (Some(_), indices) => indices.push(i as u32),
                (None, _) => {
                    let (stream, _) = self.streams.get(&batch.streams[entry.stream as usize]);
                    stream.tenant.dropped("stream_limited", 1, entry.bytes() as u64);
                }
            }
        }
        all.into_iter().filter_map(|(stream, entries)| Some((stream?, entries))).collect()
    }
}

impl Records<'_> {
    /// Adds entries of one stream, in records of the size that is wanted.
    fn add<'e>(&mut self, stream: &Stream, entries: impl Iterator<Item = &'e Entry> + Clone) {
        let newest = count_late(stream, entries.clone(), self.now_ms);
        let mut rest = entries;
        let mut next = rest.clone().next();
        while next.is_some() {
            let place = self.place(stream);
            let open = &mut self.open[place];
            // Tag and length of a long stream, and its labels.
            let room = self.shape.record_bytes.saturating_sub(open.body.len() + stream.labels.len() + 24);
            let (mut count, mut bytes) = (0, 0);
            for entry in rest.clone() {
                let len = entry_len(entry);
                // One that is larger than a record has a record of its own.
                if bytes + len > room && (count > 0 || open.items > 0) {
                    break;
                }
                bytes += len;
                count += 1;
            }
            if count > 0 {
                open.body.reserve_exact(stream_len(&stream.labels, bytes));
                push_stream(&mut open.body, &stream.labels, bytes, rest.clone().take(count));
                open.items += count as u32;
                open.newest_ns = open.newest_ns.max(newest);
                rest.nth(count - 1);
                next = rest.clone().next();
            }
            if next.is_some() {
                self.close(place);
            }
        }
    }

    /// The place of the open record that a stream belongs into.
    fn place(&mut self, stream: &Stream) -> usize {
        let tenant = &stream.tenant;
        let lane = (tenant.group, lane_of(stream.key, self.shape.lanes));
        let known = self.places.get(&lane).copied();
        let fresh = || {
            let mut body = Vec::with_capacity(head_len(&tenant.name) + 1);
            put_head(&tenant.name, &mut body);
            Open { body, items: 0, newest_ns: i64::MIN, key: stream.key, tenant: tenant.clone() }
        };
        match known {
            Some(place) => {
                if self.open[place].items == 0 {
                    self.open[place] = fresh();
                }
                place
            }
            None => {
                self.open.push(fresh());
                self.places.insert(lane, self.open.len() - 1);
                self.open.len() - 1
            }
        }
    }

    /// Ends the record at a place; another may begin there.
    fn close(&mut self, place: usize) {
        let open = &mut self.open[place];
        let created_ms = if self.batch.received_ms > 0 { self.batch.received_ms } else { self.now_ms };
        let body = std::mem::take(&mut open.body);
        let hold = self.batch.hold.clone().filter(|_| self.shape.in_memory);
        let record = Record {
            body: match hold {
                Some(hold) => Bytes::from_owner(Held { body, hold }),
                None => body.into(),
            },
            items: std::mem::take(&mut open.items),
            key: open.key,
            group: open.tenant.group,
            // A clock that was set back must not make entries seem to come from the future.
            created_ms: created_ms.min(self.now_ms),
            newest_ms: open.newest_ns / 1_000_000,
            kind: 0,
        };
        self.done.push((record, open.tenant.clone()));
    }

    fn finish(mut self) -> Vec<(Record, Arc<Tenant>)> {
        for place in 0..self.open.len() {
            if self.open[place].items > 0 {
                self.close(place);
            }
        }
        self.done
    }
}

/// Counts entries that Loki is likely to refuse for their time; answers the newest.
fn count_late<'e>(stream: &Stream, entries: impl Iterator<Item = &'e Entry>, now_ms: i64) -> i64 {
    let oldest = now_ms.saturating_mul(1_000_000).saturating_sub(TOO_OLD_NS);
    let mut newest = stream.newest_ns();
    let mut late = Late::default();
    let mut last = i64::MIN;
    for entry in entries {
        let at = entry.timestamp_ns;
        if at < oldest {
            late.too_old += 1;
        } else if at < newest.saturating_sub(TOO_FAR_BEHIND_NS) {
            late.too_far_behind += 1;
        } else if at < newest {
            late.out_of_order += 1;
        }
        newest = newest.max(at);
        last = last.max(at);
    }
    stream.advance(newest);
    stream.tenant.late(late);
    last
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use signal::{Labels, LogBuilder};

    use super::super::metrics::Metrics;
    use super::super::record::open;
    use super::*;

    const NOW_MS: i64 = 1_763_700_000_000;

    fn encoder(metrics: &Metrics, shape: Shape, max_streams: usize) -> Encoder {
        let streams = Streams::new(BTreeMap::new(), String::new(), metrics.host("h"), max_streams);
        Encoder::new(streams, shape)
    }

    /// Entries as (stream, tenant, line), a second apart.
    fn batch(entries: &[(&str, &str, &str)]) -> LogBatch {
        let mut builder = LogBuilder::new(0, None);
        for (i, (name, tenant, line)) in entries.iter().enumerate() {
            let stream = builder.stream(&Labels::from_pairs([("s", *name), ("__tenant_id__", *tenant)]));
            let timestamp_ns = NOW_MS * 1_000_000 + i as i64 * 1_000_000_000;
            builder.push(Entry { stream, timestamp_ns, line: (*line).to_owned().into(), metadata: None });
        }
        builder.finish().into_batch()
    }

    /// Each record as its tenant and its lines by stream.
    fn shown(records: &[(Record, Arc<Tenant>)]) -> Vec<String> {
        let show = |(record, tenant): &(Record, Arc<Tenant>)| {
            let (name, request) = open(record).expect("our own");
            assert_eq!(name, &*tenant.name);
            let received = wire::loki::decode(&request.to_vec().into(), 0, 1 << 24).expect("our own");
            let (batch, mut out) = (received.batch, name.to_owned());
            assert_eq!(batch.entries.len(), record.items as usize);
            for entry in &batch.entries {
                let stream = batch.labels(entry).get("s").unwrap_or_default();
                out += &format!(" {stream}={}", entry.line);
            }
            out
        };
        records.iter().map(show).collect()
    }

    #[test]
    fn a_batch_becomes_a_record_for_each_tenant_with_its_streams_in_order() {
        let metrics = Metrics::for_tests();
        let encoder = encoder(&metrics, Shape { lanes: 1, record_bytes: 1 << 20, in_memory: true }, 0);
        let entries = [
            ("a", "", "1"),
            ("b", "", "2"),
            ("a", "t", "3"),
            ("a", "", "4"),
            ("b", "", "5"),
            ("a", "t", "6"),
        ];
        let records = encoder.encode(&batch(&entries), NOW_MS);
        assert_eq!(shown(&records), [" a=1 a=4 b=2 b=5", "t a=3 a=6"]);
        assert_ne!(records[0].0.group, records[1].0.group);
        assert_eq!(records[0].0.newest_ms, NOW_MS + 4000);
        assert!(encoder.encode(&LogBatch::default(), NOW_MS).is_empty());
    }

    #[test]
    fn records_are_cut_between_entries_and_only_a_huge_entry_exceeds_the_size() {
        let metrics = Metrics::for_tests();
        for lines in 1..40 {
            let encoder = encoder(&metrics, Shape { lanes: 1, record_bytes: 300, in_memory: true }, 0);
            let huge = "h".repeat(1000);
            let line = |i: usize| if i == 7 { huge.clone() } else { format!("line {i} {}", "x".repeat(i)) };
            let all: Vec<_> = (0..lines).map(line).collect();
            for streams in [1, 3] {
                let name = |i: usize| ["a", "b", "c"][i % streams];
                let entries: Vec<_> = all.iter().enumerate().map(|(i, l)| (name(i), "", &**l)).collect();
                let records = encoder.encode(&batch(&entries), NOW_MS);
                for (record, _) in &records {
                    assert!(record.body.len() <= 300 || record.items == 1, "{}", record.body.len());
                }
                let out = shown(&records).join("");
                for (i, line) in all.iter().enumerate() {
                    assert_eq!(out.matches(&format!("{}={line}", name(i))).count(), 1, "{line}");
                }
                assert!(records.len() <= 2 + lines / 3 + 3, "{lines} lines in {} records", records.len());
            }
        }
    }

    #[test]
    fn every_stream_has_one_lane() {
        let metrics = Metrics::for_tests();
        let encoder = encoder(&metrics, Shape { lanes: 4, record_bytes: 1 << 20, in_memory: true }, 0);
        let names: Vec<String> = (0..64).map(|i| format!("s{i}")).collect();
        let mut lane_of_stream = BTreeMap::new();
        for round in 0..3 {
            let text = round.to_string();
            let entries: Vec<_> = names.iter().skip(round).map(|n| (&**n, "", &*text)).collect();
            let records = encoder.encode(&batch(&entries), NOW_MS);
            assert_eq!(records.len(), 4);
            for (i, (record, _)) in records.iter().enumerate() {
                let lane = lane_of(record.key, 4);
                for word in shown(&records)[i].split(' ').skip(1) {
                    let stream = word.split('=').next().unwrap().to_owned();
                    assert_eq!(*lane_of_stream.entry(stream).or_insert(lane), lane);
                }
            }
        }
        assert_eq!(lane_of_stream.len(), 64);
    }

    #[test]
    fn late_entries_and_streams_beyond_the_limit_are_counted() {
        let metrics = Metrics::for_tests();
        let encoder = encoder(&metrics, Shape { lanes: 1, record_bytes: 1 << 20, in_memory: true }, 1);
        let mut late = batch(&[("a", "", "now"); 4]);
        let now = NOW_MS * 1_000_000;
        let offsets = [0, -1, -TOO_FAR_BEHIND_NS - 1, -TOO_OLD_NS - 1];
        late.entries.iter_mut().zip(offsets).for_each(|(entry, offset)| entry.timestamp_ns = now + offset);
        assert_eq!(encoder.encode(&late, NOW_MS)[0].0.items, 4, "counted, and sent all the same");
        let records = encoder.encode(&batch(&[("a", "", "x"), ("b", "", "yz"), ("b", "", "w")]), NOW_MS);
        assert_eq!(shown(&records), [" a=x"]);
        assert!(encoder.encode(&batch(&[("b", "", "v")]), NOW_MS).is_empty());
        let text = metrics.text();
        for (name, labels, value) in [
            ("late_entries_total", "reason=\"out_of_order\"", 1),
            ("late_entries_total", "reason=\"too_far_behind\"", 1),
            ("late_entries_total", "reason=\"too_old\"", 1),
            ("dropped_entries_total", "reason=\"stream_limited\"", 3),
            ("dropped_bytes_total", "reason=\"stream_limited\"", 4),
        ] {
            let line =
                text.lines().find(|l| l.starts_with(&format!("loki_write_{name}")) && l.contains(labels));
            assert!(line.is_some_and(|l| l.ends_with(&format!(" {value}"))), "{name}{{{labels}}}: {line:?}");
        }
    }
}

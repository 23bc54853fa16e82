//! A record that its endpoint refuses, in parts: one sample that is too old, or out of order, makes a receiver
//! refuse the request that it is in, and the others must not go with it.
//!
//! Data path: refused record → two parts, cut where the time changes → each sent; a part that is refused is cut
//! again. Invariants: parts come in the order of time, so that each series keeps its order; the number of
//! requests and the time that one record may take are bounded.

use std::time::Duration;

use delivery::Record;
use parking_lot::Mutex;
use signal::SampleBatch;
use signal::samples::{HistogramPoint, Point};
use tokio::time::Instant;
use wire::compress::SnappyEncoder;
use wire::remote_write::{Counts, Message, Options, V1Encoder, V2Encoder, decode};

use super::record::{KIND_METADATA, MOST_BYTES, message, open, put_head};

/// Most requests that a refused record is tried in. A bad sample among two thousand is found by 22.
pub(super) const MOST_PARTS: usize = 32;

/// Most requests for parts, an endpoint, in a minute: what is refused again and again must not become a load.
const PARTS_A_MINUTE: u32 = 256;

/// Counts the requests for parts of an endpoint.
#[derive(Debug, Default)]
pub(super) struct Allowance(Mutex<Option<(Instant, u32)>>);

impl Allowance {
    /// Whether another request may be made in this minute.
    pub(super) fn is_left(&self) -> bool {
        spent(*self.0.lock()) < PARTS_A_MINUTE
    }

    /// Counts a request, if it may be made.
    pub(super) fn take(&self) -> bool {
        let mut window = self.0.lock();
        let before = spent(*window);
        let start = window.filter(|_| before > 0).map_or_else(Instant::now, |(start, _)| start);
        *window = Some((start, before.saturating_add(1).min(PARTS_A_MINUTE)));
        before < PARTS_A_MINUTE
    }
}

fn spent(window: Option<(Instant, u32)>) -> u32 {
    window.filter(|(start, _)| start.elapsed() < Duration::from_secs(60)).map_or(0, |(_, count)| count)
}

enum Piece {
    Point(Point),
    Histogram(HistogramPoint),
}

impl Piece {
    fn timestamp_ms(&self) -> i64 {
        match self {
            Self::Point(point) => point.timestamp_ms,
            Self::Histogram(point) => point.timestamp_ms,
        }
    }
}

/// Two records that hold together what one holds; `None` where it cannot be cut.
pub(super) fn halves(record: &Record) -> Option<[Record; 2]> {
    if record.kind == KIND_METADATA {
        return None;
    }
    let version = message(record.kind);
    let received = decode(version, &open(record).ok()?, MOST_BYTES).ok()?;
    // What a decoder finds fault with would be lost by encoding the rest anew.
    if !received.refused.is_empty() {
        return None;
    }
    let SampleBatch { mut points, histograms, exemplars, families, .. } = received.batch;
    let points = points.listed().drain(..).map(Piece::Point);
    let mut pieces: Vec<Piece> = points.chain(histograms.into_iter().map(Piece::Histogram)).collect();
    pieces.sort_by_key(Piece::timestamp_ms);
    let later = pieces.split_off(cut(&pieces)?);
    let mut parts = [pieces, later].map(|pieces| {
        let mut part = SampleBatch { families: families.clone(), ..SampleBatch::default() };
        for piece in pieces {
            match piece {
                Piece::Point(point) => part.points.push(point),
                Piece::Histogram(point) => part.histograms.push(point),
            }
        }
        part
    });
    for exemplar in exemplars {
        let of = |part: &SampleBatch| {
            part.points.iter().any(|p| p.series.ptr_eq(&exemplar.series))
                || part.histograms.iter().any(|p| p.series.ptr_eq(&exemplar.series))
        };
        let at = usize::from(!of(&parts[0]));
        parts[at].exemplars.push(exemplar);
    }
    let [earlier, later] = parts.map(|part| encode(record, version, &part));
    Some([earlier?, later?])
}

/// Where pieces in the order of time are cut: next to the time that most of them have; where all have one, in
/// the middle.
fn cut(pieces: &[Piece]) -> Option<usize> {
    if pieces.len() < 2 {
        return None;
    }
    let (mut start, mut main) = (0, 0..0);
    for run in pieces.chunk_by(|a, b| a.timestamp_ms() == b.timestamp_ms()) {
        if run.len() > main.len() {
            main = start..start + run.len();
        }
        start += run.len();
    }
    Some(match main {
        main if main.start > 0 => main.start,
        main if main.end < pieces.len() => main.end,
        _ => pieces.len() / 2,
    })
}

fn encode(record: &Record, version: Message, part: &SampleBatch) -> Option<Record> {
    let options = Options { max_samples: usize::MAX, ..Options::default() };
    let (mut buffer, mut counts) = (Vec::new(), Counts::default());
    match version {
        Message::V1 => {
            let mut encoder = V1Encoder::new();
            let mut requests = encoder.requests(part, options);
            while let Some(more) = requests.next(&mut buffer) {
                counts += more;
            }
        }
        Message::V2 => {
            let mut encoder = V2Encoder::new();
            // One request: several bodies of version 2 cannot be joined.
            counts = encoder.requests(part, options).next(&mut buffer)?;
        }
    }
    let mut body = Vec::new();
    put_head(counts, &mut body);
    SnappyEncoder::new().compress(&buffer, &mut body).ok()?;
    let items = u32::try_from(counts.items()).unwrap_or(u32::MAX);
    Some(Record { body: body.into(), items, ..record.clone() })
}

#[cfg(test)]
mod tests {
    use signal::samples::{ExemplarPoint, NO_FAMILY, STALE_NAN};
    use signal::{Labels, Series};

    use super::*;
    use crate::remote_write::record::{KIND_V1, KIND_V2, counts};

    fn batch(times: &[i64]) -> SampleBatch {
        let series = |i: usize| Series::intern(Labels::from_pairs([("__name__", format!("sift_{i}"))]));
        let points = times.iter().enumerate().map(|(i, time)| {
            let value = if i == 0 { STALE_NAN } else { i as f64 };
            Point { series: series(i), timestamp_ms: *time, value, start_ms: 0, family: NO_FAMILY }
        });
        let exemplars = (0..times.len()).map(|i| ExemplarPoint {
            series: series(i),
            labels: Labels::from_pairs([("trace_id", i.to_string())]),
            value: i as f64,
            timestamp_ms: times[i],
        });
        let points: Vec<_> = points.collect();
        SampleBatch { points: points.into(), exemplars: exemplars.collect(), ..SampleBatch::default() }
    }

    fn record(kind: u8, batch: &SampleBatch) -> Record {
        let body = bytes::Bytes::new();
        let like = Record { body, items: 0, key: 7, group: 0, created_ms: 3, newest_ms: 9, kind };
        encode(&like, message(kind), batch).expect("encodes")
    }

    fn read(record: &Record) -> Vec<(String, i64, u64)> {
        let received = decode(message(record.kind), &open(record).expect("opens"), 1 << 20).expect("decodes");
        let batch = received.batch;
        // Exemplars go with their series.
        assert!(batch.exemplars.iter().all(|e| batch.points.iter().any(|p| p.series.ptr_eq(&e.series))));
        assert_eq!(batch.exemplars.len(), batch.points.len());
        assert_eq!((record.key, record.created_ms, record.newest_ms), (7, 3, 9));
        assert_eq!(counts(record), received.counts);
        let points = batch.points.iter();
        points.map(|p| (p.series.to_string(), p.timestamp_ms, p.value.to_bits())).collect()
    }

    #[test]
    fn a_record_is_cut_next_to_the_time_that_most_samples_have() {
        for kind in [KIND_V1, KIND_V2] {
            let cases: [(&[i64], &[i64], &[i64]); 5] = [
                (&[5, 5, 1, 5, 2], &[1, 2], &[5, 5, 5]),
                (&[5, 5, 9, 5], &[5, 5, 5], &[9]),
                (&[5, 5, 1, 5, 9], &[1], &[5, 5, 5, 9]),
                (&[5, 5, 5, 5], &[5, 5], &[5, 5]),
                (&[1, 2], &[1], &[2]),
            ];
            for (times, earlier, later) in cases {
                let whole = record(kind, &batch(times));
                let parts = halves(&whole).expect("can be cut");
                let times_of = |part| read(part).iter().map(|(_, time, _)| *time).collect::<Vec<_>>();
                let mut found = parts.each_ref().map(times_of);
                found.iter_mut().for_each(|times| times.sort_unstable());
                assert_eq!(found, [earlier, later], "{times:?}");
                let mut together: Vec<_> = parts.iter().flat_map(read).collect();
                let mut before = read(&whole);
                together.sort();
                before.sort();
                assert_eq!(together, before);
            }
            assert!(halves(&record(kind, &batch(&[5]))).is_none());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_allowance_is_for_a_minute() {
        let allowance = Allowance::default();
        let taken = |allowance: &Allowance| (0..1000).filter(|_| allowance.take()).count();
        assert_eq!(taken(&allowance), PARTS_A_MINUTE as usize);
        assert!(!allowance.is_left());
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(!allowance.is_left() && !allowance.take());
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(allowance.is_left());
        assert_eq!(taken(&allowance), PARTS_A_MINUTE as usize);
    }

    #[test]
    fn what_cannot_be_read_is_not_cut() {
        let good = record(KIND_V1, &batch(&[1, 2]));
        assert!(halves(&Record { body: good.body.slice(..20), ..good.clone() }).is_none());
        assert!(halves(&Record { kind: KIND_METADATA, ..good }).is_none());
    }
}

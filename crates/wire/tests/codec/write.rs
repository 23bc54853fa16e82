//! Remote write: our encodings read by the oracle, the oracle's read by us, and hostile bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use prost::Message as _;
use signal::histogram::{BucketSpan, HistogramCounts, NativeHistogram, ResetHint};
use signal::samples::{ExemplarPoint, HistogramPoint, NO_FAMILY, Point};
use signal::{FamilyMetadata, Labels, MetricKind, SampleBatch, Series};
use wire::remote_write::{
    Counts, DecodeError, Message, Options, Received, V1Encoder, V2Encoder, decode, encode_metadata, merge_v1,
    merge_v2,
};

use crate::schema::client::LabelPair;
use crate::schema::{self, v1, v2};

const LIMIT: usize = 1 << 20;

fn series(pairs: &[(&str, &str)]) -> Series {
    Series::intern(Labels::from_pairs(pairs.iter().copied()))
}

fn family(name: &str, kind: MetricKind, help: &str, unit: &str) -> Arc<FamilyMetadata> {
    Arc::new(FamilyMetadata { name: name.into(), kind, help: help.into(), unit: unit.into() })
}

fn histogram(float: bool) -> NativeHistogram {
    let counts = if float {
        HistogramCounts::Float {
            count: 2.5,
            zero_count: 0.0,
            positive_counts: vec![1.0, 1.5],
            negative_counts: vec![],
        }
    } else {
        HistogramCounts::Int { count: 4, zero_count: 1, positive_deltas: vec![1, 1], negative_deltas: vec![] }
    };
    NativeHistogram {
        schema: 2,
        zero_threshold: 0.001,
        sum: 7.5,
        counts,
        positive_spans: vec![BucketSpan { offset: -3, length: 2 }],
        negative_spans: vec![],
        custom_values: vec![],
        reset_hint: ResetHint::Gauge,
    }
}

/// Counters of two families, a repeated series, histograms, exemplars of all of them and of nobody.
fn batch() -> SampleBatch {
    let long = "x".repeat(300);
    let all = [
        series(&[("__name__", "a_total"), ("instance", "i:9"), ("job", "j"), ("mode", "user")]),
        series(&[("__name__", "a_total"), ("instance", "i:9"), ("job", "j"), ("mode", "system")]),
        series(&[("__name__", "b"), ("instance", "i:9"), ("job", "j"), ("long", &long)]),
        series(&[("__name__", "h"), ("job", "j")]),
        series(&[("__name__", "nobody")]),
    ];
    let point = |i: usize, timestamp_ms, value, start_ms, family| Point {
        series: all[i].clone(),
        timestamp_ms,
        value,
        start_ms,
        family,
    };
    let exemplar = |i: usize, id: &str, timestamp_ms| ExemplarPoint {
        series: all[i].clone(),
        labels: Labels::from_pairs([("trace_id", id)]),
        value: 0.5,
        timestamp_ms,
    };
    SampleBatch {
        points: vec![
            point(0, 1_700_000_000_000, 1.5, 0, 0),
            point(1, 1_700_000_000_000, 0.0, 1_600_000_000_000, 0),
            point(2, 1_700_000_000_000, -0.0, 0, 1),
            point(2, 1_700_000_000_001, f64::from_bits(0x7ff0_0000_0000_0002), 0, 1),
            point(0, -5, 3.0, 0, NO_FAMILY),
        ]
        .into(),
        histograms: vec![
            HistogramPoint {
                series: all[3].clone(),
                timestamp_ms: 9,
                histogram: Arc::new(histogram(false)),
                start_ms: 8,
                family: 2,
            },
            HistogramPoint {
                series: all[3].clone(),
                timestamp_ms: 10,
                histogram: Arc::new(histogram(true)),
                start_ms: 0,
                family: 2,
            },
        ],
        exemplars: vec![
            exemplar(1, "t1", 5),
            exemplar(3, "t2", 6),
            exemplar(0, "t3", 0),
            exemplar(1, "t4", 7),
            exemplar(4, "t5", 8),
        ],
        families: vec![
            family("a", MetricKind::Counter, "help of a", "seconds"),
            family("b", MetricKind::Unknown, "", ""),
            family("h", MetricKind::Histogram, "help of h", ""),
        ]
        .into(),
        origin: None,
    }
}

/// What of the batch a version can say: in version 2 there is no exemplar without a sample.
fn sendable(message: Message) -> SampleBatch {
    let mut batch = batch();
    if message == Message::V2 {
        assert_eq!(batch.exemplars.pop().unwrap().series.get("__name__"), Some("nobody"));
    }
    batch
}

fn encode(message: Message, batch: &SampleBatch, options: Options) -> Vec<(Vec<u8>, Counts)> {
    let mut out = Vec::new();
    let (mut encoder1, mut encoder2) = (V1Encoder::new(), V2Encoder::new());
    let (mut requests1, mut requests2) =
        (encoder1.requests(batch, options), encoder2.requests(batch, options));
    loop {
        let mut body = Vec::new();
        let counts = match message {
            Message::V1 => requests1.next(&mut body),
            Message::V2 => requests2.next(&mut body),
        };
        match counts {
            Some(counts) => out.push((body, counts)),
            None => return out,
        }
    }
}

/// What a batch says, whatever the order and grouping: a line for each item.
fn lines(batch: &SampleBatch, metadata: bool) -> BTreeMap<String, usize> {
    let family = |i: u32| {
        let family = batch.families.get(i as usize).filter(|_| metadata);
        family.filter(|f| f.kind != MetricKind::Unknown).map(|f| (f.kind, f.help.clone(), f.unit.clone()))
    };
    let mut lines = BTreeMap::new();
    let mut add = |line: String| *lines.entry(line).or_insert(0) += 1;
    for p in batch.points.iter() {
        let start = if metadata { p.start_ms } else { 0 };
        add(format!(
            "{} {:x} {} {start} {:?}",
            p.series,
            p.value.to_bits(),
            p.timestamp_ms,
            family(p.family)
        ));
    }
    for h in &batch.histograms {
        let start = if metadata { h.start_ms } else { 0 };
        add(format!("{} {:?} {} {start} {:?}", h.series, h.histogram, h.timestamp_ms, family(h.family)));
    }
    for e in &batch.exemplars {
        add(format!("{} # {} {} {}", e.series, e.labels, e.value, e.timestamp_ms));
    }
    lines
}

fn whole(received: Received) -> SampleBatch {
    assert!(received.refused.is_empty(), "{}", received.refused);
    received.batch
}

#[test]
fn version_1_is_what_the_schema_says() {
    let bodies = encode(Message::V1, &batch(), Options::default());
    let [(body, counts)] = &bodies[..] else { panic!("one request") };
    assert_eq!(*counts, Counts { samples: 5, histograms: 2, exemplars: 5, metadata: 0 });
    let request = v1::WriteRequest::decode(&body[..]).unwrap();
    let sizes: Vec<_> =
        request.timeseries.iter().map(|t| (t.samples.len(), t.histograms.len(), t.exemplars.len())).collect();
    assert_eq!(sizes, [(1, 0, 1), (1, 0, 2), (2, 0, 0), (1, 0, 0), (0, 2, 1), (0, 0, 1)]);
    let first = &request.timeseries[0];
    let labels: Vec<_> = first.labels.iter().map(|l| (l.name.as_str(), l.value.as_str())).collect();
    assert_eq!(labels, [("__name__", "a_total"), ("instance", "i:9"), ("job", "j"), ("mode", "user")]);
    assert_eq!(first.samples, [v1::Sample { value: 1.5, timestamp: 1_700_000_000_000 }]);
    assert_eq!((first.exemplars[0].value, first.exemplars[0].timestamp), (0.5, 0));
    assert_eq!(request.timeseries[2].samples[1].value.to_bits(), 0x7ff0_0000_0000_0002);
    assert_eq!(request.timeseries[3].samples[0].timestamp, -5);
    let h = &request.timeseries[4].histograms;
    assert_eq!((h[0].count, h[0].zero_count), (Some(schema::Count::Int(4)), Some(schema::ZeroCount::Int(1))));
    assert_eq!(
        (h[0].positive_deltas.as_slice(), h[0].reset_hint, h[0].timestamp, h[0].start_timestamp),
        (&[1, 1][..], 3, 9, 0)
    );
    assert_eq!(
        (h[1].count, h[1].positive_counts.as_slice()),
        (Some(schema::Count::Float(2.5)), &[1.0, 1.5][..])
    );
    // The oracle spells it in as many bytes, but for -0.0, of which it forgets the sign.
    assert_eq!(request.encoded_len() + 9, body.len());
}

#[test]
fn version_2_is_what_the_schema_says() {
    let bodies = encode(Message::V2, &batch(), Options::default());
    let [(body, counts)] = &bodies[..] else { panic!("one request") };
    assert_eq!(*counts, Counts { samples: 5, histograms: 2, exemplars: 4, metadata: 0 });
    let request = v2::Request::decode(&body[..]).unwrap();
    assert_eq!(request.symbols[0], "");
    let mut unique = request.symbols.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), request.symbols.len(), "no symbol twice");
    let text = |refs: &[u32]| {
        refs.iter().map(|r| request.symbols[*r as usize].as_str()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(text(&request.timeseries[1].labels_refs), "__name__ a_total instance i:9 job j mode system");
    let sample = v2::Sample { value: 0.0, timestamp: 1_700_000_000_000, start_timestamp: 1_600_000_000_000 };
    assert_eq!(request.timeseries[1].samples, [sample]);
    let metadata = request.timeseries[1].metadata.unwrap();
    assert_eq!(
        (metadata.kind, text(&[metadata.help_ref, metadata.unit_ref])),
        (1, "help of a seconds".to_owned())
    );
    assert_eq!(text(&request.timeseries[1].exemplars[1].labels_refs), "trace_id t4");
    let h = &request.timeseries[4];
    assert_eq!((h.histograms[0].start_timestamp, h.metadata.unwrap().kind), (8, 3));
    assert_eq!((h.created_timestamp, request.timeseries[3].metadata), (0, None));
    assert!(body.starts_with(&[0x22, 0]), "symbols come first");
}

#[test]
fn in_version_2_every_series_has_samples_or_histograms_and_never_both() {
    // Both kinds of one series, which a target changes from one to the other.
    let mut mixed = batch();
    let both = mixed.histograms[0].series.clone();
    let point = Point { series: both.clone(), timestamp_ms: 8, value: 1.0, start_ms: 0, family: 2 };
    mixed.points.extend([point]);
    for histograms in [true, false] {
        for max_samples in [1, 2, 100] {
            let options = Options { histograms, max_samples, exemplars: true };
            let mut encoder = V2Encoder::new();
            let mut requests = encoder.requests(&mixed, options);
            let (mut body, mut series, mut exemplars) = (Vec::new(), 0, 0);
            while let Some(counts) = requests.next(&mut body) {
                exemplars += counts.exemplars;
                for one in v2::Request::decode(&body[..]).unwrap().timeseries {
                    assert_ne!(one.samples.is_empty(), one.histograms.is_empty(), "{one:?}");
                    assert!(!one.labels_refs.is_empty());
                    series += 1;
                }
                body.clear();
            }
            assert!(series >= 5, "{series}");
            assert_eq!((exemplars, requests.left_out().exemplars), (4, 1));
        }
    }
    // Nothing but exemplars is no request at all.
    mixed.points = Vec::new().into();
    mixed.histograms.clear();
    let mut encoder = V2Encoder::new();
    let mut requests = encoder.requests(&mixed, Options::default());
    assert_eq!((requests.next(&mut Vec::new()), requests.left_out().exemplars), (None, 5));
}

#[test]
fn what_is_written_is_read_again_however_it_is_cut() {
    for max_samples in [1, 2, 3, 7, 100] {
        let options = Options { max_samples, ..Options::default() };
        for message in [Message::V1, Message::V2] {
            let mut lines_read = BTreeMap::new();
            for (body, counts) in encode(message, &batch(), options) {
                assert!(counts.items() <= max_samples + 2, "{counts:?}");
                let received = decode(message, &body, LIMIT).unwrap();
                assert_eq!(received.counts, counts);
                for (line, n) in lines(&whole(received), message == Message::V2) {
                    *lines_read.entry(line).or_insert(0) += n;
                }
            }
            let sent = lines(&sendable(message), message == Message::V2);
            assert_eq!(lines_read, sent, "{message:?} in {max_samples}");
        }
    }
}

#[test]
fn what_an_endpoint_does_not_want_is_not_sent() {
    let options = Options { exemplars: false, histograms: false, ..Options::default() };
    for message in [Message::V1, Message::V2] {
        let bodies = encode(message, &batch(), options);
        assert_eq!(
            bodies.iter().map(|b| b.1).collect::<Vec<_>>(),
            [Counts { samples: 5, ..Counts::default() }]
        );
        assert!(encode(message, &SampleBatch::default(), options).is_empty());
    }
}

#[test]
fn metadata_of_version_1_is_what_the_schema_says() {
    let mut body = Vec::new();
    let counts = encode_metadata(batch().families.iter().map(|f| &**f), &mut body);
    assert_eq!(counts.metadata, 3);
    let request = v1::WriteRequest::decode(&body[..]).unwrap();
    let first = &request.metadata[0];
    assert_eq!(
        (first.kind, &first.metric_family_name[..], &first.help[..], &first.unit[..]),
        (1, "a", "help of a", "seconds")
    );
    let received = decode(Message::V1, &body, LIMIT).unwrap();
    assert_eq!(received.batch.families, batch().families);
    assert_eq!(received.counts, counts);
}

#[test]
fn merged_requests_say_what_the_single_ones_said() {
    for message in [Message::V1, Message::V2] {
        let bodies = encode(message, &batch(), Options { max_samples: 2, ..Options::default() });
        let bodies: Vec<&[u8]> = bodies.iter().map(|b| &b.0[..]).collect();
        assert!(bodies.len() > 2);
        let mut merged = Vec::new();
        match message {
            Message::V1 => merge_v1(&bodies, &mut merged),
            Message::V2 => merge_v2(&bodies, &mut merged).unwrap(),
        }
        let received = whole(decode(message, &merged, LIMIT).unwrap());
        let sent = lines(&sendable(message), message == Message::V2);
        assert_eq!(lines(&received, message == Message::V2), sent);
        if message == Message::V2 {
            let symbols = v2::Request::decode(&merged[..]).unwrap().symbols;
            assert_eq!(symbols.iter().filter(|s| *s == "instance").count(), 1);
            assert!(merged.len() < bodies.iter().map(|b| b.len()).sum());
        }
    }
}

#[test]
fn a_merge_with_a_symbol_out_of_range_fails_and_leaves_the_output_alone() {
    let good = encode(Message::V2, &batch(), Options::default());
    let bad = v2::Request {
        symbols: vec![String::new()],
        timeseries: vec![v2::TimeSeries { labels_refs: vec![0, 7], ..Default::default() }],
    };
    let mut out = b"before".to_vec();
    let error = merge_v2(&[&good[0].0, &bad.encode_to_vec()], &mut out).unwrap_err();
    assert_eq!((error, &out[..]), (DecodeError::UnknownSymbol { reference: 7, symbols: 1 }, &b"before"[..]));
}

fn v1_series(pairs: &[(&str, &str)]) -> v1::TimeSeries {
    let labels = pairs.iter().map(|(n, v)| LabelPair { name: (*n).into(), value: (*v).into() }).collect();
    v1::TimeSeries { labels, samples: vec![v1::Sample { value: 1.0, timestamp: 1 }], ..Default::default() }
}

#[test]
fn series_that_make_no_sense_are_refused_alone_and_named() {
    let bad_histogram = v1::TimeSeries {
        samples: vec![],
        histograms: vec![schema::Histogram {
            count: Some(schema::Count::Int(3)),
            schema: 99,
            ..Default::default()
        }],
        ..v1_series(&[("__name__", "h")])
    };
    let request = v1::WriteRequest {
        timeseries: vec![
            v1_series(&[("job", "j"), ("__name__", "unsorted"), ("empty", "")]),
            v1_series(&[("job", "j")]),
            v1_series(&[("__name__", "d"), ("job", "1"), ("job", "2")]),
            v1_series(&[("__name__", "e"), ("", "x")]),
            bad_histogram,
            v1_series(&[]),
        ],
        metadata: vec![],
    };
    let mut body = request.encode_to_vec();
    // A label whose text is not UTF-8.
    body.extend([0x0a, 9, 0x0a, 5, 0x0a, 1, 0xff, 0x12, 0, 0x12, 0]);
    let received = decode(Message::V1, &body, LIMIT).unwrap();
    assert_eq!(received.counts, Counts { samples: 1, ..Counts::default() });
    assert_eq!(received.batch.points.at(0).series.to_string(), "unsorted{job=\"j\"}");
    let reasons = received.refused.reasons;
    assert_eq!((received.refused.count, received.refused.samples), (6, 6));
    for (reason, part) in reasons.iter().zip([
        "series {job=\"j\"} has no metric name",
        "\"job\" is given twice",
        "empty name",
        "histogram of h: schema 99",
        "series {} has no metric name",
        "is not valid UTF-8",
    ]) {
        assert!(reason.contains(part), "{reason}");
    }
}

#[test]
fn references_that_make_no_sense_are_refused_alone_and_named() {
    let sample = v2::Sample { value: 1.0, timestamp: 5, start_timestamp: 0 };
    let series = |labels_refs: Vec<u32>| v2::TimeSeries {
        labels_refs,
        samples: vec![sample],
        created_timestamp: 4,
        ..Default::default()
    };
    let request = v2::Request {
        symbols: ["", "__name__", "up"].map(String::from).to_vec(),
        timeseries: vec![
            series(vec![1, 2]),
            series(vec![1, 3]),
            series(vec![1, 2, 1]),
            series(vec![1, 2, 1, 2]),
            series(vec![]),
        ],
    };
    let received = decode(Message::V2, &request.encode_to_vec(), LIMIT).unwrap();
    assert_eq!((received.counts.samples, received.batch.points.at(0).start_ms), (1, 4));
    let reasons = received.refused.to_string();
    for part in [
        "reference 3 is outside of the table of 3 symbols",
        "must come in pairs",
        "given twice",
        "no metric name",
    ] {
        assert!(reasons.contains(part), "{reasons}");
    }
    let metadata = v2::TimeSeries {
        metadata: Some(v2::Metadata { kind: 1, help_ref: 9, unit_ref: 0 }),
        ..series(vec![1, 2])
    };
    let request = v2::Request { timeseries: vec![metadata], ..request };
    let error = decode(Message::V2, &request.encode_to_vec(), LIMIT).unwrap_err();
    assert_eq!(error, DecodeError::UnknownSymbol { reference: 9, symbols: 3 });
}

#[test]
fn few_bytes_cannot_expand_to_much_text() {
    let mut refs = vec![1, 2];
    refs.extend((3..1003).flat_map(|i| [i, 2]));
    let mut symbols = vec![String::new(), "__name__".to_owned(), "x".repeat(2000)];
    symbols.extend((0..1000).map(|i| format!("l{i}")));
    let request =
        v2::Request { symbols, timeseries: vec![v2::TimeSeries { labels_refs: refs, ..Default::default() }] };
    assert_eq!(
        decode(Message::V2, &request.encode_to_vec(), LIMIT).unwrap_err(),
        DecodeError::TooLarge { limit: LIMIT }
    );
}

#[test]
fn a_body_cut_anywhere_is_an_error_or_holds_less() {
    for message in [Message::V1, Message::V2] {
        let (body, counts) = encode(message, &batch(), Options::default()).remove(0);
        for end in 0..body.len() {
            if let Ok(received) = decode(message, &body[..end], LIMIT) {
                assert!(received.counts.items() < counts.items(), "cut at {end}");
            }
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(body: Vec<u8>) {
        for message in [Message::V1, Message::V2] {
            let _ = decode(message, &body, LIMIT);
        }
        let _ = merge_v2(&[&body, &body], &mut Vec::new());
    }

    #[test]
    fn changed_bodies_never_panic(at: prop::sample::Index, byte: u8, second: prop::sample::Index, other: u8) {
        for message in [Message::V1, Message::V2] {
            let (mut body, _) = encode(message, &batch(), Options::default()).remove(0);
            let len = body.len();
            body[at.index(len)] = byte;
            body[second.index(len)] = other;
            let _ = decode(message, &body, LIMIT);
            let _ = merge_v2(&[&body, &body], &mut Vec::new());
        }
    }

    #[test]
    fn any_batch_comes_back(
        items in prop::collection::vec((prop::collection::btree_map("[a-d]", "[x-z]{0,2}", 0..4), any::<f64>(), any::<i64>(), any::<i64>(), 0u32..3), 0..30),
        max_samples in 1usize..12,
    ) {
        let families = batch().families;
        let points: Vec<Point> = items.into_iter().map(|(labels, value, timestamp_ms, start_ms, family)| {
            let pairs = labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).chain([("__name__", "m")]);
            Point { series: Series::intern(Labels::from_pairs(pairs)), timestamp_ms, value, start_ms, family }
        }).collect();
        let batch = SampleBatch { points: points.into(), families, ..SampleBatch::default() };
        for message in [Message::V1, Message::V2] {
            let bodies = encode(message, &batch, Options { max_samples, ..Options::default() });
            prop_assert_eq!(bodies.len(), batch.points.len().div_ceil(max_samples));
            let mut merged = Vec::new();
            merge_v2(&bodies.iter().filter(|_| message == Message::V2).map(|b| &b.0[..]).collect::<Vec<_>>(), &mut merged).unwrap();
            let mut read = SampleBatch::default();
            let mut read_lines = BTreeMap::new();
            for (body, _) in &bodies {
                let received = whole(decode(message, body, LIMIT).unwrap());
                for (line, n) in lines(&received, message == Message::V2) {
                    *read_lines.entry(line).or_insert(0) += n;
                }
                read.points.extend(received.points.iter().map(|p| p.to_point()));
            }
            let order = |b: &SampleBatch| b.points.iter().map(|p| (p.series.id(), p.timestamp_ms, p.value.to_bits())).collect::<Vec<_>>();
            prop_assert_eq!(order(&read), order(&batch));
            prop_assert_eq!(read_lines, lines(&batch, message == Message::V2));
            if message == Message::V2 {
                prop_assert_eq!(lines(&whole(decode(message, &merged, LIMIT).unwrap()), true), lines(&batch, true));
            }
        }
    }
}

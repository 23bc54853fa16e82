//! Loki's push request: ours read by the oracle, the oracle's read by us, joining, both forms in JSON, and
//! hostile bytes.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message as _;
use signal::logs::Entry;
use signal::{Labels, LogBatch};
use wire::loki::{
    DecodeError, RawStreams, Received, decode, decode_json, entry_len, merge, parse_label_string,
    push_stream, stream_len, write_label_string,
};

use crate::schema::logproto::{self, EntryAdapter, LabelPairAdapter, PushRequest, StreamAdapter};

const LIMIT: usize = 1 << 20;

/// An entry in plain terms: labels, time, line, metadata.
type Plain = (Vec<(String, String)>, i64, String, Vec<(String, String)>);

fn pairs(labels: &Labels) -> Vec<(String, String)> {
    labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
}

fn plain(batch: &LogBatch) -> Vec<Plain> {
    let metadata = |entry: &Entry| entry.metadata.as_ref().map(pairs).unwrap_or_default();
    let plain = |e: &Entry| (pairs(batch.labels(e)), e.timestamp_ns, e.line.to_string(), metadata(e));
    batch.entries.iter().map(plain).collect()
}

fn label_string(labels: &Labels) -> String {
    let mut out = String::new();
    write_label_string(labels, &mut out);
    out
}

/// Writes a batch stream by stream.
fn encode(batch: &LogBatch) -> Vec<u8> {
    let mut out = Vec::new();
    for (i, labels) in batch.streams.iter().enumerate() {
        let entries = batch.entries.iter().filter(|e| e.stream as usize == i);
        let (labels, before) = (label_string(labels), out.len());
        let len = entries.clone().map(entry_len).sum();
        push_stream(&mut out, &labels, len, entries);
        assert_eq!(out.len() - before, stream_len(&labels, len));
    }
    out
}

fn grouped(all: Vec<Plain>) -> BTreeMap<Vec<(String, String)>, Vec<Plain>> {
    let mut by_stream = BTreeMap::<_, Vec<Plain>>::new();
    all.into_iter().for_each(|e| by_stream.entry(e.0.clone()).or_default().push(e));
    by_stream
}

/// What the oracle reads from a body.
fn oracle(body: &[u8]) -> Vec<Plain> {
    let request = PushRequest::decode(body).expect("what we write is a push request");
    let mut all = Vec::new();
    for stream in request.streams {
        let labels = pairs(&parse_label_string(&stream.labels).expect("labels that we wrote"));
        for entry in stream.entries {
            let t = entry.timestamp.expect("every entry has its time");
            let ns = i128::from(t.seconds) * 1_000_000_000 + i128::from(t.nanos);
            let metadata = entry.structured_metadata.into_iter().map(|p| (p.name, p.value)).collect();
            all.push((labels.clone(), ns.try_into().unwrap(), entry.line, metadata));
        }
    }
    all
}

fn labels_strategy() -> impl Strategy<Value = Labels> {
    proptest::collection::vec(("[a-z_]{1,5}", "\\PC{1,9}|[a-z\"\\\\\n]{1,40}"), 0..4)
        .prop_map(Labels::from_pairs)
}

fn batch_strategy() -> impl Strategy<Value = LogBatch> {
    let streams = proptest::collection::hash_set(labels_strategy().prop_map(|l| pairs(&l)), 1..4);
    let times = prop_oneof![Just(0), Just(-1), Just(i64::MAX), Just(i64::MIN), any::<i64>(), 0..1i64 << 61];
    let entry = (any::<u32>(), times, "\\PC{0,20}|[a-z]{100,140}", proptest::option::of(labels_strategy()));
    (streams, proptest::collection::vec(entry, 0..12)).prop_map(|(streams, entries)| {
        let streams: Vec<_> = streams.into_iter().map(Labels::from_pairs).collect();
        let entry = |(stream, timestamp_ns, line, metadata): (u32, _, String, Option<Labels>)| Entry {
            stream: stream % streams.len() as u32,
            timestamp_ns,
            line: line.into(),
            metadata: metadata.filter(|m| !m.is_empty()),
        };
        LogBatch { entries: entries.into_iter().map(entry).collect(), streams, ..LogBatch::default() }
    })
}

fn adapter(batch: &LogBatch) -> PushRequest {
    let pair = |(name, value): (&str, &str)| LabelPairAdapter { name: name.into(), value: value.into() };
    let entry = |e: &Entry| EntryAdapter {
        timestamp: Some(logproto::Timestamp {
            seconds: e.timestamp_ns.div_euclid(1_000_000_000),
            nanos: e.timestamp_ns.rem_euclid(1_000_000_000) as i32,
        }),
        line: e.line.to_string(),
        structured_metadata: e.metadata.iter().flat_map(|m| m.iter().map(pair)).collect(),
        parsed: vec![pair(("level", "info"))],
    };
    let stream = |(i, labels): (usize, &Labels)| StreamAdapter {
        labels: label_string(labels),
        entries: batch.entries.iter().filter(|e| e.stream as usize == i).map(entry).collect(),
        hash: 7,
    };
    PushRequest { streams: batch.streams.iter().enumerate().map(stream).collect(), format: "x".into() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_oracle_reads_what_we_write(batch in batch_strategy()) {
        prop_assert_eq!(grouped(oracle(&encode(&batch))), grouped(plain(&batch)));
    }

    #[test]
    fn we_read_what_the_oracle_writes(batch in batch_strategy()) {
        let body = Bytes::from(adapter(&batch).encode_to_vec());
        let received = decode(&body, 5, LIMIT).unwrap();
        prop_assert!(received.refused.is_empty(), "{}", received.refused);
        prop_assert_eq!((received.replaced, received.batch.received_ms), (0, 5));
        for entry in received.batch.entries.iter().filter(|e| !e.line.is_empty()) {
            let (line, within) = (entry.line.as_bytes().as_ptr_range(), body.as_ptr_range());
            prop_assert!(within.start <= line.start && line.end <= within.end, "a line was copied");
        }
        prop_assert_eq!(grouped(plain(&received.batch)), grouped(plain(&batch)));
    }

    #[test]
    fn joined_bodies_hold_every_stream_once_with_all_entries_in_order(
        batches in proptest::collection::vec(batch_strategy(), 0..4)
    ) {
        let bodies: Vec<_> = batches.iter().map(encode).collect();
        let mut out = b"kept".to_vec();
        merge(bodies.iter().map(|b| &b[..]), &mut out).unwrap();
        let body = out.strip_prefix(b"kept").unwrap();
        let names: Vec<_> = RawStreams::new(body).map(|s| s.unwrap().labels).collect();
        let unique: std::collections::BTreeSet<_> = names.iter().collect();
        prop_assert_eq!(names.len(), unique.len());
        let all = bodies.iter().flat_map(|b| oracle(b)).collect();
        prop_assert_eq!(grouped(oracle(body)), grouped(all));
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_stay_within_the_limit(
        body in proptest::collection::vec(any::<u8>(), 0..200)
    ) {
        let body = Bytes::from(body);
        let _ = decode(&body, 0, LIMIT);
        let _ = decode_json(&body, 0, LIMIT);
        let _ = merge([&body[..], &body[..]], &mut Vec::new());
    }

    #[test]
    fn a_body_with_a_flipped_bit_never_panics(batch in batch_strategy(), at in any::<usize>(), bit in 0..8) {
        let mut body = encode(&batch);
        let len = body.len().max(1);
        if let Some(byte) = body.get_mut(at % len) {
            *byte ^= 1u8 << bit;
        }
        let _ = decode(&Bytes::from(body), 0, LIMIT);
    }

    #[test]
    fn both_forms_of_json_say_the_same(batch in batch_strategy()) {
        let metadata = |e: &Entry| {
            let pairs = e.metadata.as_ref().map(pairs).unwrap_or_default();
            serde_json::Value::Object(pairs.into_iter().map(|(n, v)| (n, v.into())).collect())
        };
        let rfc3339 = |ns: i64| jiff::Timestamp::from_nanosecond(i128::from(ns)).unwrap().to_string();
        let (mut new, mut old) = (Vec::new(), Vec::new());
        for (i, labels) in batch.streams.iter().enumerate() {
            let mine = || batch.entries.iter().filter(|e| e.stream as usize == i);
            let values: Vec<_> =
                mine().map(|e| serde_json::json!([e.timestamp_ns.to_string(), &*e.line, metadata(e)])).collect();
            let object: serde_json::Map<_, _> = pairs(labels).into_iter().map(|(n, v)| (n, v.into())).collect();
            new.push(serde_json::json!({"values": values, "stream": object}));
            let entries: Vec<_> = mine()
                .map(|e| serde_json::json!({"ts": rfc3339(e.timestamp_ns), "line": &*e.line, "structuredMetadata": metadata(e)}))
                .collect();
            old.push(serde_json::json!({"entries": entries, "labels": label_string(labels)}));
        }
        for streams in [new, old] {
            let body = Bytes::from(serde_json::json!({"streams": streams, "other": [1]}).to_string());
            let received = decode_json(&body, 5, LIMIT).unwrap();
            prop_assert!(received.refused.is_empty(), "{}", received.refused);
            prop_assert_eq!(grouped(plain(&received.batch)), grouped(plain(&batch)));
        }
    }
}

fn push(streams: Vec<StreamAdapter>) -> Bytes {
    PushRequest { streams, format: String::new() }.encode_to_vec().into()
}

fn entry(seconds: i64, nanos: i32, line: &str) -> EntryAdapter {
    let timestamp = Some(logproto::Timestamp { seconds, nanos });
    EntryAdapter { timestamp, line: line.into(), ..EntryAdapter::default() }
}

fn stream(labels: &str, entries: Vec<EntryAdapter>) -> StreamAdapter {
    StreamAdapter { labels: labels.into(), entries, hash: 0 }
}

fn lines(received: &Received) -> Vec<&str> {
    received.batch.entries.iter().map(|e| &*e.line).collect()
}

#[test]
fn a_stream_with_bad_labels_is_refused_alone() {
    let good = || vec![entry(1, 0, "good")];
    let body = push(vec![
        stream("{a=\"1\"}", good()),
        stream("{a=", vec![entry(1, 0, "x"), entry(2, 0, "y")]),
        stream("", vec![entry(1, 0, "z")]),
        stream("{b=\"1\",b=\"2\"}", vec![]),
        stream("{}", good()),
    ]);
    let received = decode(&body, 0, LIMIT).unwrap();
    assert_eq!(lines(&received), ["good", "good"]);
    assert_eq!((received.refused.streams, received.refused.entries), (3, 3));
    let text = received.refused.to_string();
    assert!(text.contains("{a=") && text.contains("\"b\" is given twice"), "{text}");
}

#[test]
fn labels_that_come_after_the_entries_are_found() {
    let mut message = Vec::new();
    let entry = entry(1, 5, "line").encode_to_vec();
    wire::proto::push_bytes_field(&mut message, 2, &entry);
    wire::proto::push_bytes_field(&mut message, 1, b"{a=\"1\"}");
    let mut body = Vec::new();
    wire::proto::push_bytes_field(&mut body, 1, &message);
    let received = decode(&body.into(), 0, LIMIT).unwrap();
    assert_eq!(
        plain(&received.batch),
        [(vec![("a".into(), "1".into())], 1_000_000_005, "line".into(), vec![])]
    );
}

#[test]
fn bytes_that_are_no_utf_8_are_replaced_and_counted() {
    let mut message = Vec::new();
    wire::proto::push_bytes_field(&mut message, 1, b"{a=\"\xff\"}");
    for line in [&b"\xc3("[..], b"fine"] {
        let mut entry = Vec::new();
        wire::proto::push_bytes_field(&mut entry, 2, line);
        wire::proto::push_message_field(&mut entry, 3, |pair| {
            wire::proto::push_bytes_field(pair, 1, b"m");
            wire::proto::push_bytes_field(pair, 2, b"\x80");
        });
        wire::proto::push_bytes_field(&mut message, 2, &entry);
    }
    let mut body = Vec::new();
    wire::proto::push_bytes_field(&mut body, 1, &message);
    let received = decode(&body.into(), 0, LIMIT).unwrap();
    assert_eq!(lines(&received), ["\u{fffd}(", "fine"]);
    assert_eq!(received.replaced, 4);
    let labels = pairs(&received.batch.streams[0]);
    assert_eq!(labels, [("a".to_owned(), "\u{fffd}".to_owned())]);

    let json = b"{\"streams\":[{\"stream\":{\"a\":\"1\"},\"values\":[[\"1\",\"\xff!\"]]}]}";
    let received = decode_json(&Bytes::from_static(json), 0, LIMIT).unwrap();
    assert_eq!((lines(&received), received.replaced), (vec!["\u{fffd}!"], 1));
}

#[test]
fn times_that_are_none_are_refused_and_those_out_of_reach_are_the_nearest() {
    let cases = [
        (253_402_300_800, 0, None),
        (-62_135_596_801, 0, None),
        (0, -1, None),
        (0, 1_000_000_000, None),
        (-1, 999_999_999, Some(-1)),
        (253_402_300_799, 0, Some(i64::MAX)),
        (-62_135_596_800, 0, Some(i64::MIN)),
    ];
    for (seconds, nanos, expected) in cases {
        let result = decode(&push(vec![stream("{}", vec![entry(seconds, nanos, "x")])]), 0, LIMIT);
        match expected {
            Some(ns) => assert_eq!(result.unwrap().batch.entries[0].timestamp_ns, ns),
            None => assert_eq!(result.unwrap_err(), DecodeError::Timestamp { seconds, nanos: nanos.into() }),
        }
    }
}

#[test]
fn a_body_of_nothing_but_empty_entries_costs_no_more_than_the_limit() {
    let many = vec![EntryAdapter::default(); 100_000];
    let body = push(vec![stream("{a=\"1\"}", many)]);
    assert_eq!(decode(&body, 0, LIMIT).unwrap_err(), DecodeError::TooLarge { limit: LIMIT });
    let values = "[\"1\",\"\"],".repeat(100_000);
    let json = format!("{{\"streams\":[{{\"values\":[{}]}}]}}", values.trim_end_matches(','));
    assert_eq!(decode_json(&json.into(), 0, LIMIT).unwrap_err(), DecodeError::TooLarge { limit: LIMIT });

    let streams = (0..20_000).map(|i| stream(&format!("{{a=\"{i}\"}}"), vec![])).collect();
    assert_eq!(decode(&push(streams), 0, LIMIT).unwrap_err(), DecodeError::TooLarge { limit: LIMIT });
    let mut wide = entry(1, 0, "x");
    wide.structured_metadata = vec![LabelPairAdapter::default(); 10_001];
    let body = push(vec![stream("{}", vec![wide])]);
    assert_eq!(decode(&body, 0, 1 << 30).unwrap_err(), DecodeError::TooManyLabels);
    let wide = stream(&format!("{{{}}}", "a='',".repeat(10_001)), vec![]);
    assert!(decode(&push(vec![wide]), 0, LIMIT).unwrap().refused.to_string().contains("more than 10000"));
}

#[test]
fn json_that_is_no_push_request_is_refused_with_the_reason() {
    let deep = format!("{{\"streams\":{}", "[".repeat(200));
    let deep_elsewhere = format!("{{\"x\":{}", "[".repeat(100_000));
    let cases = [
        ("", "EOF"),
        ("[]", "an object with streams"),
        ("{\"streams\":[]} x", "trailing"),
        ("{\"streams\":5}", "an array of streams"),
        ("{\"streams\":[5]}", "a stream"),
        ("{\"streams\":[{\"values\":[5]}]}", "[\"nanoseconds\", \"line\"]"),
        ("{\"streams\":[{\"values\":[[]]}]}", "length 0"),
        ("{\"streams\":[{\"values\":[[\"1\"]]}]}", "length 1"),
        ("{\"streams\":[{\"values\":[[\"1.5\",\"x\"]]}]}", "number of nanoseconds"),
        ("{\"streams\":[{\"values\":[[1,\"x\"]]}]}", "a string"),
        ("{\"streams\":[{\"values\":[[\"1\",\"x\",{\"a\":1}]]}]}", "a string"),
        ("{\"streams\":[{\"stream\":{\"a\":1}}]}", "a string"),
        ("{\"streams\":[{\"entries\":[{\"ts\":\"yesterday\"}]}]}", "RFC 3339"),
        (&deep, "a stream"),
        (&deep_elsewhere, "EOF"),
    ];
    for (json, part) in cases {
        match decode_json(&Bytes::from(json.to_owned()), 0, LIMIT) {
            Err(DecodeError::Json(reason)) => assert!(reason.contains(part), "{json:.60}: {reason}"),
            other => panic!("{json:.60}: {other:?}"),
        }
    }
}

#[test]
fn json_takes_what_loki_takes() {
    let json = r#"{"streams": [
        {"stream": {"a": "1"}, "values": null},
        {"stream": null, "values": [["2", "esc\n\u00e9\ud800", {"m": "1", "e": ""}, "more"]]},
        {"values": [["3", "refused"]]},
        {"labels": "{a=\"2\"}", "entries": [{"ts": "1970-01-01T01:00:00.000000001+01:00", "line": "old",
            "structuredMetadata": [{"name": "m", "value": "v"}]}]},
        {"labels": "{a", "entries": [{"line": "bad"}]}
    ]}"#;
    let received = decode_json(&Bytes::from_static(json.as_bytes()), 0, LIMIT).unwrap();
    let pair = |n: &str, v: &str| vec![(n.to_owned(), v.to_owned())];
    assert_eq!(
        plain(&received.batch),
        [
            (vec![], 2, "esc\né\u{fffd}\u{fffd}\u{fffd}".to_owned(), pair("m", "1")),
            (pair("a", "2"), 1, "old".to_owned(), pair("m", "v")),
        ]
    );
    assert_eq!((received.refused.streams, received.refused.entries), (2, 2));
}

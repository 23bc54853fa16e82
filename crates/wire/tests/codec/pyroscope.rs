//! The Push API: ours read by the oracle, the oracle's read by us, in protobuf and in JSON, and hostile bytes.

use base64::Engine as _;
use bytes::Bytes;
use proptest::prelude::*;
use prost::Message as _;
use signal::Labels;
use signal::profiles::{Pprof, Profile, ProfileBody};
use wire::pyroscope::{DecodeError, decode, decode_json, push_series, series_len};

use crate::schema::push_v1::{LabelPair, PushRequest, RawProfileSeries, RawSample};

const LIMIT: usize = 1 << 20;

/// A profile in plain terms: labels, bytes, ID.
type Plain = (Vec<(String, String)>, Vec<u8>, String);

fn plain(profiles: &[Profile]) -> Vec<Plain> {
    let plain = |profile: &Profile| {
        let ProfileBody::Pprof(pprof) = &profile.body else { panic!("only the Push API is read here") };
        let labels = profile.labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        (labels, pprof.raw.to_vec(), pprof.id.to_string())
    };
    profiles.iter().map(plain).collect()
}

/// What the oracle reads from a body.
fn oracle(body: &[u8]) -> Vec<Plain> {
    let request = PushRequest::decode(body).expect("what we write is a push request");
    let mut all = Vec::new();
    for series in request.series {
        let labels: Vec<_> = series.labels.into_iter().map(|l| (l.name, l.value)).collect();
        all.extend(series.samples.into_iter().map(|s| (labels.clone(), s.raw_profile, s.id)));
    }
    all
}

fn json(request: &PushRequest, url_safe: bool) -> String {
    let base64 = |raw: &[u8]| match url_safe {
        true => base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(raw),
        false => base64::engine::general_purpose::STANDARD.encode(raw),
    };
    let series = request.series.iter().map(|series| {
        let labels = series.labels.iter().map(|l| serde_json::json!({"name": l.name, "value": l.value}));
        let samples = series
            .samples
            .iter()
            .map(|s| serde_json::json!({"rawProfile": base64(&s.raw_profile), "ID": s.id}));
        serde_json::json!({"labels": labels.collect::<Vec<_>>(), "samples": samples.collect::<Vec<_>>()})
    });
    serde_json::json!({"series": series.collect::<Vec<_>>(), "more": [{}]}).to_string()
}

fn samples() -> impl Strategy<Value = Vec<Pprof>> {
    let raw = prop_oneof![proptest::collection::vec(any::<u8>(), 0..20), Just(vec![7; 300])];
    let sample = (raw, "[a-f0-9-]{0,8}").prop_map(|(raw, id)| Pprof { id: id.into(), raw: raw.into() });
    proptest::collection::vec(sample, 0..4)
}

fn series() -> impl Strategy<Value = Vec<(Labels, Vec<Pprof>)>> {
    let labels = proptest::collection::vec(("[a-z_]{1,5}", "\\PC{1,9}|[a-z]{120,140}"), 0..4)
        .prop_map(Labels::from_pairs);
    proptest::collection::vec((labels, samples()), 0..4)
}

proptest! {
    #[test]
    fn what_we_write_is_what_the_oracle_reads_and_what_we_read(all in series()) {
        let mut body = Vec::new();
        for (labels, samples) in &all {
            let before = body.len();
            push_series(&mut body, labels, samples.iter());
            prop_assert_eq!(body.len() - before, series_len(labels, samples.iter()));
        }
        let body = Bytes::from(body);
        let read = decode(&body, LIMIT).expect("we have written it");
        let expected: Vec<_> = all
            .iter()
            .flat_map(|(labels, samples)| {
                samples.iter().map(|s| Profile { labels: labels.clone(), body: ProfileBody::Pprof(s.clone()) })
            })
            .collect();
        prop_assert_eq!(&read, &expected);
        prop_assert_eq!(oracle(&body), plain(&read));
        for profile in read.iter().filter(|p| !p.raw().is_empty()) {
            let at = profile.raw().as_ptr() as usize - body.as_ptr() as usize;
            prop_assert_eq!(&body[at..at + profile.raw().len()], &profile.raw()[..], "a slice, no copy");
        }
    }

    #[test]
    fn json_says_the_same_as_protobuf(all in series(), url_safe: bool) {
        let mut body = Vec::new();
        all.iter().for_each(|(labels, samples)| push_series(&mut body, labels, samples.iter()));
        let request = PushRequest::decode(&body[..]).expect("what we write is a push request");
        let read = decode_json(json(&request, url_safe).as_bytes(), LIMIT).expect("it is JSON");
        prop_assert_eq!(read, decode(&body.into(), LIMIT).expect("we have written it"));
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(body in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = decode(&body.clone().into(), LIMIT);
        let _ = decode_json(&body, LIMIT);
    }
}

#[test]
fn labels_that_come_after_the_samples_are_found_and_annotations_are_left_out() {
    let mut series = Vec::new();
    let sample = RawSample { raw_profile: vec![1, 2], id: "x".into() }.encode_to_vec();
    wire::proto::push_bytes_field(&mut series, 2, &sample);
    wire::proto::push_bytes_field(&mut series, 3, b"\x0a\x01a");
    for value in ["1", "2"] {
        let label = LabelPair { name: "a".into(), value: value.into() }.encode_to_vec();
        wire::proto::push_bytes_field(&mut series, 1, &label);
    }
    let mut body = Vec::new();
    wire::proto::push_bytes_field(&mut body, 1, &series);
    let read = plain(&decode(&body.into(), LIMIT).expect("a push request"));
    assert_eq!(read, [(vec![("a".into(), "2".into())], vec![1, 2], "x".into())]);
}

#[test]
fn a_body_of_nothing_but_empty_samples_costs_no_more_than_the_limit() {
    let samples = vec![RawSample::default(); 100_000];
    let body: Bytes =
        PushRequest { series: vec![RawProfileSeries { labels: vec![], samples }] }.encode_to_vec().into();
    assert_eq!(decode(&body, LIMIT), Err(DecodeError::TooLarge { limit: LIMIT }));
    let series = vec![RawProfileSeries { labels: vec![LabelPair::default(); 10_001], samples: vec![] }];
    let body = PushRequest { series }.encode_to_vec().into();
    assert_eq!(decode(&body, 1 << 30), Err(DecodeError::TooManyLabels));

    let json = format!("{{\"series\":[{{\"samples\":[{}{{}}]}}]}}", "{},".repeat(10_000));
    let refused = decode_json(json.as_bytes(), LIMIT);
    assert!(matches!(&refused, Err(DecodeError::Json(reason)) if reason.contains("10000")), "{refused:?}");
    let json = format!("{{\"series\":[{}{{}}]}}", "{\"samples\":[{},{}]},".repeat(20_000));
    assert_eq!(decode_json(json.as_bytes(), LIMIT), Err(DecodeError::TooLarge { limit: LIMIT }));
}

#[test]
fn json_takes_what_its_mapping_allows_and_refuses_the_rest_with_the_reason() {
    let good = r#"{"x":{"y":[1]},"series":[{"labels":null,"samples":[{"raw_profile":"AQI","ID":null}]},{}]}"#;
    let read = plain(&decode_json(good.as_bytes(), LIMIT).expect("it is allowed"));
    assert_eq!(read, [(vec![], vec![1, 2], String::new())]);
    assert_eq!(decode_json(b"{\"series\":null}", LIMIT), Ok(vec![]));
    let cases = [
        ("", "EOF"),
        ("[]", "an object with series"),
        ("{} x", "trailing"),
        ("{\"series\":5}", "an array of series"),
        ("{\"series\":[{\"samples\":[{\"rawProfile\":\"*\"}]}]}", "base64"),
        ("{\"series\":[{\"samples\":[{\"rawProfile\":5}]}]}", "string"),
    ];
    for (json, part) in cases {
        match decode_json(json.as_bytes(), LIMIT) {
            Err(DecodeError::Json(reason)) => assert!(reason.contains(part), "{json}: {reason}"),
            other => panic!("{json}: {other:?}"),
        }
    }
}

//! Requests over real sockets, from our own encoder, in every form, and from hostile clients.

use std::io::Write as _;

use component::ComponentDef;
use component::testkit::Names;
use signal::logs::Entry;
use wire::compress::SnappyEncoder;
use wire::loki::{entry_len, push_stream};

use super::super::http_intake::bench::Bench;
use super::*;

const DEFINITION: ComponentDef = ComponentDef::of::<Api>();
const PUSH: &str = "POST /loki/api/v1/push HTTP/1.1\r\n";
const JSON: &str = "POST /api/v1/push HTTP/1.1\r\nContent-Type: application/json; charset=utf-8\r\n";
const TS: i64 = 1_700_000_000_000_000_007;
const KEEP: &str = "use_incoming_timestamp = true";

fn entry(line: &str) -> Entry {
    let metadata = Some(Labels::from_pairs([("trace", "7")]));
    Entry { stream: 0, timestamp_ns: TS, line: line.to_owned().into(), metadata }
}

fn snappy(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    SnappyEncoder::new().compress(body, &mut out).expect("small");
    out
}

/// Streams with one line each, as protobuf.
fn proto(streams: &[(&str, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (labels, line) in streams {
        let entry = entry(line);
        push_stream(&mut body, labels, entry_len(&entry), [&entry].into_iter());
    }
    body
}

fn json(labels: &str, line: &str) -> String {
    format!(r#"{{"streams": [{{"stream": {labels}, "values": [["{TS}", "{line}", {{"trace": "7"}}]]}}]}}"#)
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).expect("memory");
    encoder.finish().expect("memory")
}

fn deflate(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).expect("memory");
    encoder.finish().expect("memory")
}

#[tokio::test]
async fn every_form_of_a_push_request_gives_the_same_entry() {
    let bench = Bench::start(DEFINITION, KEEP).await;
    let plain = proto(&[("{job=\"a\"}", "line")]);
    let text = json("{\"job\": \"a\"}", "line");
    let legacy = r#"{"streams": [{"labels": "{job=\"a\"}", "entries": [{"ts": "2023-11-14T22:13:20.000000007Z", "line": "line"}]}]}"#;
    let cases: [(&str, &str, Vec<u8>); 10] = [
        (PUSH, "Content-Type: application/x-protobuf\r\n", snappy(&plain)),
        (PUSH, "", snappy(&plain)),
        (PUSH, "Content-Encoding: snappy\r\n", snappy(&plain)),
        (PUSH, "Content-Encoding: gzip\r\n", gzip(&snappy(&plain))),
        (PUSH, "Content-Encoding: gzip\r\n", gzip(&plain)),
        (PUSH, "Content-Encoding: deflate\r\n", deflate(&snappy(&plain))),
        (JSON, "", text.clone().into_bytes()),
        (JSON, "Content-Encoding: gzip\r\n", gzip(text.as_bytes())),
        (JSON, "Content-Encoding: snappy\r\n", text.clone().into_bytes()),
        (
            "POST /api/prom/push HTTP/1.1\r\nContent-Type: application/json\r\n",
            "",
            legacy.as_bytes().to_vec(),
        ),
    ];
    for (head, headers, body) in cases {
        let answer = bench.send(&format!("{head}{headers}"), &body).await;
        assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{head}{headers}");
        let batch = bench.sink.take().remove(0);
        assert_eq!(batch.labels(&batch.entries[0]).to_string(), "{job=\"a\"}");
        let got = &batch.entries[0];
        assert_eq!((got.timestamp_ns, &*got.line), (TS, "line"), "{head}{headers}");
        if !head.contains("prom") {
            assert_eq!(got.metadata, entry("").metadata, "{head}{headers}");
        }
        assert!(batch.received_ms > 1_700_000_000_000);
    }
    assert_eq!(bench.metric("loki_source_api_entries_written"), 10.0);
}

#[tokio::test]
async fn plain_lines_get_the_components_labels_and_no_rules() {
    let extra = "labels = {own = \"x\"}\nrelabel_rules = rules";
    let names = Names::default().with("rules", drop_all());
    let bench = Bench::start_with(DEFINITION, extra, "", names).await;
    for path in ["/loki/api/v1/raw", "/api/v1/raw"] {
        let head = format!("POST {path} HTTP/1.1\r\nX-Scope-OrgID: team\r\n");
        assert_eq!(bench.send(&head, b"one\r\n\n\r\n two\nbad \xff").await.status, 204);
        let labels = "{__tenant_id__=\"team\", own=\"x\"}";
        let expected = ["one", " two", "bad \u{fffd}"].map(|line| (labels.to_owned(), line.to_owned()));
        assert_eq!(bench.lines(), expected, "{path}");
    }
    // The rules are for pushed streams.
    assert_eq!(bench.send(PUSH, &snappy(&proto(&[("{job=\"a\"}", "x")]))).await.status, 204);
    assert!(bench.lines().is_empty());
    assert_eq!(bench.metric("loki_source_api_dropped_entries_total{reason=\"relabel_rules\"}"), 1.0);
}

fn drop_all() -> component::eval::Value {
    let rule = component::RelabelRule {
        source_labels: vec!["job".into()],
        separator: ";".into(),
        regex: Some(".*".parse().expect("a pattern")),
        modulus: 0,
        target_label: String::new(),
        replacement: "$1".into(),
        action: component::RelabelAction::Drop,
    };
    component::eval::ArgValue::to_value(&RelabelRules(std::sync::Arc::new(vec![rule])))
}

#[tokio::test]
async fn own_labels_replace_those_of_clients_and_the_tenant_is_the_headers() {
    let bench = Bench::start(DEFINITION, "labels = {job = \"own\"}").await;
    let body = snappy(&proto(&[("{job=\"a\", x=\"1\", __tenant_id__=\"evil\", __meta=\"m\"}", "l")]));
    for (header, tenant) in [("", ""), ("X-Scope-OrgID: team-1\r\n", "__tenant_id__=\"team-1\", ")] {
        assert_eq!(bench.send(&format!("{PUSH}{header}"), &body).await.status, 204);
        assert_eq!(bench.lines(), [(format!("{{{tenant}job=\"own\", x=\"1\"}}"), "l".to_owned())]);
    }
    for bad in ["a|b", "..", "a/b", "ü"] {
        let answer = bench.send(&format!("{PUSH}X-Scope-OrgID: {bad}\r\n"), &body).await;
        assert_eq!(answer.status, 400, "{bad}");
    }
    assert!(bench.lines().is_empty());
}

#[tokio::test]
async fn a_bad_stream_costs_itself_only_and_the_client_is_told() {
    let bench = Bench::start(DEFINITION, "").await;
    let body = snappy(&proto(&[("{job=\"a\"}", "good"), ("{job=", "bad"), ("{}", "nameless")]));
    let answer = bench.send(PUSH, &body).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert_eq!(bench.lines(), [("{job=\"a\"}".to_owned(), "good".to_owned())]);
    let answer = bench.send(PUSH, &snappy(&proto(&[("{}", "nameless")]))).await;
    assert!(answer.status == 400 && answer.body.contains("no labels"), "{answer:?}");
    // Nothing was good: while the sink is full this is not to be sent again.
    bench.sink.answer(Err(component::Rejected::Retryable("full".into())));
    assert_eq!(bench.send(PUSH, &snappy(&proto(&[("{", "bad")]))).await.status, 400);
}

#[tokio::test]
async fn every_error_has_its_status() {
    let bench = Bench::start(DEFINITION, "max_send_message_size = \"1KiB\"").await;
    let good = snappy(&proto(&[("{job=\"a\"}", "x")]));
    let long = snappy(&proto(&[("{job=\"a\"}", &"x".repeat(2000))]));
    let cases: [(&str, &str, &[u8], u16); 9] = [
        (PUSH, "", &good, 204),
        (PUSH, "", b"no snappy", 400),
        (PUSH, "", &snappy(b"no protobuf"), 400),
        (PUSH, "Content-Encoding: br\r\n", &good, 400),
        (PUSH, "Content-Encoding: gzip\r\n", &good, 400),
        (JSON, "", b"{", 400),
        (JSON, "", b"[]", 400),
        (PUSH, "", &long, 413),
        (JSON, "", &[b' '; 1025], 413),
    ];
    for (head, headers, body, status) in cases {
        let answer = bench.send(&format!("{head}{headers}"), body).await;
        assert_eq!(answer.status, status, "{head}{headers}: {answer:?}");
    }
    let answer = bench.send("GET /ready HTTP/1.1\r\n", b"").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "ready"));
}

#[tokio::test]
async fn a_bomb_costs_no_more_than_the_limit() {
    let bench = Bench::start(DEFINITION, "max_send_message_size = \"64KiB\"").await;
    let bomb = vec![b' '; 1 << 20];
    for (head, headers, body) in [
        (JSON, "Content-Encoding: gzip\r\n", gzip(&bomb)),
        (JSON, "Content-Encoding: deflate\r\n", deflate(&bomb)),
        (PUSH, "Content-Encoding: gzip\r\n", gzip(&snappy(&bomb))),
        (PUSH, "", snappy(&bomb)),
        (PUSH, "Content-Encoding: gzip\r\n", gzip(&gzip(&bomb))),
    ] {
        let answer = bench.send(&format!("{head}{headers}"), &body).await;
        assert!(matches!(answer.status, 413 | 400), "{head}{headers}: {answer:?}");
    }
    assert!(bench.lines().is_empty());
}

#[tokio::test]
async fn a_larger_limit_is_in_force_with_the_next_request() {
    let bench = Bench::start(DEFINITION, "max_send_message_size = \"1KiB\"").await;
    let long = "x".repeat(2000);
    let head = "POST /api/v1/raw HTTP/1.1\r\n";
    assert_eq!(bench.send(head, long.as_bytes()).await.status, 413);
    let config = super::super::http_intake::bench::config(bench.port, "max_send_message_size = \"4KiB\"", "");
    bench.harness.update(&config).await.expect("updated");
    assert_eq!(bench.send(head, long.as_bytes()).await.status, 204);
    assert_eq!(bench.lines()[0].1, long);
}

#[tokio::test]
async fn lines_of_a_large_request_are_read_elsewhere_and_keep_their_order() {
    let bench = Bench::start(DEFINITION, "").await;
    let body: String = (0..100_000).map(|i| format!("line {i}\n")).collect();
    assert_eq!(bench.send("POST /api/v1/raw HTTP/1.1\r\n", body.as_bytes()).await.status, 204);
    let lines = bench.lines();
    assert_eq!(
        (lines.len(), lines[0].1.as_str(), lines[99_999].1.as_str()),
        (100_000, "line 0", "line 99999")
    );
}

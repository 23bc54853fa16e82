//! What Firehose sends, and what it is told.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use component::ComponentDef;

use super::super::http_intake::bench::{Answer, Bench};
use super::*;
use crate::source::bench::keep_all;

const DEFINITION: ComponentDef = ComponentDef::of::<AwsFirehose>();
const HEAD: &str = "POST /awsfirehose/api/v1/push HTTP/1.1\r\nX-Amz-Firehose-Request-Id: r-1\r\n\
                    X-Amz-Firehose-Source-Arn: arn:aws:firehose:x\r\n";
const CLOUD_WATCH: &str = r#"{"messageType":"DATA_MESSAGE","owner":"123","logGroup":"group","logStream":"stream",
    "subscriptionFilters":["a","b"],"logEvents":[
    {"id":"1","timestamp":1432826855000,"message":"first"},{"id":"2","timestamp":1432826855001,"message":"second"}]}"#;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn body(records: &[&[u8]]) -> Vec<u8> {
    let records: Vec<_> = records.iter().map(|r| serde_json::json!({"data": STANDARD.encode(r)})).collect();
    let request =
        serde_json::json!({"requestId": "r-1", "timestamp": 1_578_090_903_599_i64, "records": records});
    request.to_string().into_bytes()
}

fn json(answer: &Answer) -> serde_json::Value {
    assert!(answer.head.contains("content-type: application/json"), "{answer:?}");
    serde_json::from_str(&answer.body).expect("JSON")
}

#[tokio::test]
async fn records_of_both_kinds_become_entries_with_their_labels() {
    let extra = "relabel_rules = rules\nuse_incoming_timestamp = true";
    let bench = Bench::start_with(DEFINITION, extra, "", keep_all("__aws_(.+)")).await;
    let attributes = "X-Amz-Firehose-Common-Attributes: {\"commonAttributes\":{\"lbl_env\":\"prod\"}}\r\n";
    let head = format!("{HEAD}X-Scope-OrgID: team\r\n{attributes}");
    let answer = bench.send(&head, &body(&[b"direct\n", &gzip(CLOUD_WATCH.as_bytes())])).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let told = json(&answer);
    assert_eq!(told["requestId"], "r-1");
    assert!(
        told["timestamp"].as_i64().expect("a number") > 1_600_000_000_000
            && told.get("errorMessage").is_none()
    );
    let common = "firehose_request_id=\"r-1\", firehose_source_arn=\"arn:aws:firehose:x\"";
    let cw = format!(
        "{{__tenant_id__=\"team\", cw_log_group=\"group\", cw_log_stream=\"stream\", cw_matched_filters=\"a,b\", \
         cw_msg_type=\"DATA_MESSAGE\", env=\"prod\", {common}, owner=\"123\"}}"
    );
    assert_eq!(
        bench.entries(),
        [
            (
                format!("{{__tenant_id__=\"team\", env=\"prod\", {common}}}"),
                1_578_090_903_599_000_000,
                "direct".to_owned()
            ),
            (cw.clone(), 1_432_826_855_000_000_000, "first".to_owned()),
            (cw, 1_432_826_855_001_000_000, "second".to_owned()),
        ]
    );
    for (name, value) in [
        ("records_received{type=\"direct-put\"}", 1.0),
        ("records_received{type=\"cloudwatch-logs\"}", 1.0),
        ("batch_size_sum", 2.0),
        ("entries_written", 3.0),
    ] {
        assert_eq!(bench.metric(&format!("loki_source_awsfirehose_{name}")), value, "{name}");
    }
}

#[tokio::test]
async fn only_who_has_the_key_comes_in() {
    let bench = Bench::start(DEFINITION, "access_key = \"secret\"").await;
    for (key, status) in [
        ("", 401),
        ("X-Amz-Firehose-Access-Key: secre\r\n", 401),
        ("X-Amz-Firehose-Access-Key: secret\r\n", 200),
    ] {
        let answer = bench.send(&format!("{HEAD}{key}"), &body(&[b"x"])).await;
        assert_eq!(answer.status, status, "{key}");
        assert_eq!(json(&answer)["requestId"], "r-1");
    }
    assert_eq!(bench.lines().len(), 1);
}

#[tokio::test]
async fn what_cannot_be_read_is_counted_and_costs_itself_only() {
    let bench = Bench::start(DEFINITION, "").await;
    let cut = &gzip(CLOUD_WATCH.as_bytes())[..50];
    let answer = bench.send(HEAD, &body(&[b"good", cut, &gzip(b"no json")])).await;
    assert_eq!(answer.status, 200, "Firehose must not send it again");
    assert_eq!(bench.lines(), [("{}".to_owned(), "good".to_owned())]);
    for (reason, count) in [("gzip-deflate", 1.0), ("cw-json-decode", 1.0)] {
        let name = format!("loki_source_awsfirehose_record_errors{{reason=\"{reason}\"}}");
        assert_eq!(bench.metric(&name), count, "{reason}");
    }
    let answer = bench.send(HEAD, b"{\"records\": [{\"data\": \"%\"}]}").await;
    assert_eq!(answer.status, 200);
    assert_eq!(bench.metric("loki_source_awsfirehose_record_errors{reason=\"base64-decode\"}"), 1.0);
    let answer = bench.send(HEAD, b"no json").await;
    assert!(answer.status == 400 && json(&answer)["errorMessage"].is_string());
    let answer = bench.send(&format!("{HEAD}Content-Encoding: gzip\r\n"), b"no gzip").await;
    assert_eq!(answer.status, 400);
    for (reason, count) in [("read_or_format", 1.0), ("pre_read", 1.0)] {
        let name = format!("loki_source_awsfirehose_request_errors{{reason=\"{reason}\"}}");
        assert_eq!(bench.metric(&name), count, "{reason}");
    }
    let attributes = "X-Amz-Firehose-Common-Attributes: no json\r\n";
    assert_eq!(bench.send(&format!("{HEAD}{attributes}"), &body(&[b"x"])).await.status, 200);
    let name = "loki_source_awsfirehose_invalid_static_labels_errors{reason=\"invalid_json_format\"}";
    assert_eq!(bench.metric(name), 1.0);
}

#[tokio::test]
async fn a_compressed_request_is_read_and_a_refusal_is_told_in_json() {
    let bench = Bench::start(DEFINITION, "").await;
    let head = format!("{HEAD}Content-Encoding: gzip\r\n");
    assert_eq!(bench.send(&head, &gzip(&body(&[b"x"]))).await.status, 200);
    bench.sink.answer(Err(component::Rejected::Retryable("full".into())));
    let answer = bench.send(&head, &gzip(&body(&[b"x"]))).await;
    assert!(answer.status == 503 && answer.head.contains("retry-after"), "{answer:?}");
    assert_eq!(json(&answer)["errorMessage"], "full");
}

#[test]
fn keys_are_compared_as_a_whole() {
    for (a, b, expected) in [("a", "a", true), ("a", "b", false), ("a", "ab", false), ("", "", true)] {
        assert_eq!(equal(a.as_bytes(), b.as_bytes()), expected);
    }
}

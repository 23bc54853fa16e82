//! Requests over real sockets, from our own encoders and from hostile clients.

use std::sync::Arc;

use component::testkit::{Harness, Names, Refused, Sink};
use component::{ComponentDef, Rejected, Services};
use signal::samples::{ExemplarPoint, Point};
use signal::{FamilyMetadata, Labels, MetricKind, SampleBatch, Samples, Series};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use wire::compress::SnappyEncoder;
use wire::remote_write::{Message, Options, V1Encoder, V2Encoder};

use super::*;

const DEFINITION: ComponentDef = ComponentDef::of::<ReceiveHttp>();

const BOTH: &str = r#"accepted_remote_write_protobuf_messages = ["prometheus.WriteRequest", "io.prometheus.write.v2.Request"]"#;

/// A port that was free a moment ago.
fn free_port() -> u16 {
    net::testkit::free_port()
}

fn config(port: u16, extra: &str) -> String {
    format!(
        "forward_to = [sink]\n{extra}\nhttp {{\n listen_address = \"127.0.0.1\"\n listen_port = {port}\n}}"
    )
}

struct Bench {
    harness: Harness,
    sink: Sink<Samples>,
    port: u16,
}

impl Bench {
    async fn start(extra: &str) -> Self {
        let (sink, port) = (Sink::new(), free_port());
        let names = Names::default().with("sink", sink.value());
        let harness = Harness::start(DEFINITION, &config(port, extra), names).await;
        let bench = Self { harness, sink, port };
        bench.listening(port).await;
        bench
    }

    /// Waits for the server: the start of a node does not.
    async fn listening(&self, port: u16) {
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::task::yield_now().await;
        }
    }

    async fn post(&self, headers: &str, body: &[u8]) -> String {
        request(self.port, &format!("POST /api/v1/metrics/write HTTP/1.1\r\n{headers}"), body).await
    }

    async fn post_message(&self, message: Message, body: &[u8]) -> String {
        let headers = format!("Content-Encoding: snappy\r\nContent-Type: {}\r\n", message.content_type());
        self.post(&headers, body).await
    }
}

async fn request(port: u16, head: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("listening");
    let head = format!("{head}Host: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.expect("sent");
    // The server may answer and close before it has read all.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).to_lowercase()
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or_default()
}

fn batch() -> SampleBatch {
    let series = Series::intern(Labels::from_pairs([("__name__", "hits_total"), ("code", "200")]));
    let family = FamilyMetadata {
        name: "hits".into(),
        kind: MetricKind::Counter,
        help: "Hits.".into(),
        unit: "s".into(),
    };
    let labels = Labels::from_pairs([("trace_id", "x")]);
    SampleBatch {
        points: vec![Point { series: series.clone(), timestamp_ms: 5, value: 1.5, start_ms: 0, family: 0 }]
            .into(),
        exemplars: vec![ExemplarPoint { series, labels, value: 1.0, timestamp_ms: 4 }],
        families: vec![Arc::new(family)].into(),
        ..SampleBatch::default()
    }
}

fn packed(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    SnappyEncoder::new().compress(body, &mut out).expect("small");
    out
}

fn encoded(message: Message, batch: &SampleBatch) -> Vec<u8> {
    let mut body = Vec::new();
    match message {
        Message::V1 => V1Encoder::new().requests(batch, Options::default()).next(&mut body),
        Message::V2 => V2Encoder::new().requests(batch, Options::default()).next(&mut body),
    }
    .expect("one request");
    packed(&body)
}

#[tokio::test]
async fn what_our_own_encoders_write_arrives_unchanged() {
    let bench = Bench::start(BOTH).await;
    for message in [Message::V1, Message::V2] {
        let answer = bench.post_message(message, &encoded(message, &batch())).await;
        assert_eq!(status(&answer), 204, "{answer}");
        let written = "x-prometheus-remote-write-samples-written: 1";
        assert_eq!(answer.contains(written), message == Message::V2, "{answer}");
        let got = bench.sink.take().remove(0);
        assert_eq!(got.points.at(0).series, batch().points.at(0).series);
        assert_eq!((got.points.at(0).timestamp_ms, got.points.at(0).value), (5, 1.5));
        assert_eq!(got.exemplars[0].labels.to_string(), "{trace_id=\"x\"}");
        assert!(got.families.is_empty(), "metadata is passed on only where that is asked for");
    }
    let text = bench.harness.services.metrics.text();
    assert!(text.contains("prometheus_forwarded_samples_total{component_id=\"prometheus.receive_http.test\",component_path=\"/\"} 4"));
    assert!(text.contains("status_code=\"204\""), "{text}");
}

#[tokio::test]
async fn every_error_has_its_status() {
    let bench = Bench::start("").await;
    let good = encoded(Message::V1, &batch());
    let v1 = "Content-Type: application/x-protobuf\r\n";
    let cases: [(&str, &[u8], u16); 7] = [
        (v1, &good, 204),
        ("", &good, 204),
        (v1, b"no snappy", 400),
        (v1, &packed(b"no protobuf"), 400),
        ("Content-Type: application/json\r\n", &good, 415),
        ("Content-Type: application/x-protobuf\r\nContent-Encoding: gzip\r\n", &good, 415),
        ("Content-Type: application/x-protobuf;proto=io.prometheus.write.v2.Request\r\n", &good, 415),
    ];
    for (headers, body, expected) in cases {
        let answer = bench.post(headers, body).await;
        assert_eq!(status(&answer), expected, "{headers}: {answer}");
    }
    let answer = request(bench.port, "GET /api/v1/metrics/write HTTP/1.1\r\n", b"").await;
    assert_eq!(status(&answer), 405);
    assert_eq!(status(&request(bench.port, "POST /other HTTP/1.1\r\n", b"").await), 404);
}

#[tokio::test]
async fn bodies_beyond_the_limits_are_refused_before_they_cost_memory() {
    let bench = Bench::start("").await;
    // A snappy header that claims a gigabyte.
    let answer = bench.post("", &[0x80, 0x80, 0x80, 0x80, 0x04, 0, 0]).await;
    assert_eq!(status(&answer), 413, "{answer}");
    let head = format!(
        "POST /api/v1/metrics/write HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        MAX_PACKED + 1
    );
    let mut stream = TcpStream::connect(("127.0.0.1", bench.port)).await.expect("listening");
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = vec![0; 64];
    let n = stream.read(&mut answer).await.expect("an answer");
    assert!(String::from_utf8_lossy(&answer[..n]).starts_with("HTTP/1.1 413"));
}

#[tokio::test]
async fn a_request_is_acknowledged_only_when_the_sink_has_it() {
    let bench = Bench::start("").await;
    let body = encoded(Message::V1, &batch());
    for refusal in [Rejected::Retryable("full".into()), Rejected::Stopped] {
        bench.sink.answer(Err(refusal));
        let answer = bench.post_message(Message::V1, &body).await;
        assert!(status(&answer) == 503 && answer.contains("retry-after: 5"), "{answer}");
    }
    bench.sink.answer(Err(Rejected::Permanent("never".into())));
    assert_eq!(status(&bench.post_message(Message::V1, &body).await), 400);
    bench.sink.answer(Ok(()));
    assert_eq!(status(&bench.post_message(Message::V1, &body).await), 204);
    assert_eq!(bench.sink.take().len(), 1);
}

/// A request with a good series and one without a name.
fn half_bad() -> SampleBatch {
    let mut batch = batch();
    let series = Series::intern(Labels::from_pairs([("nameless", "x")]));
    batch.points.push(Point {
        series,
        timestamp_ms: 5,
        value: 1.0,
        start_ms: 0,
        family: signal::samples::NO_FAMILY,
    });
    batch
}

#[tokio::test]
async fn a_bad_series_does_not_cost_the_good_ones() {
    let bench = Bench::start(BOTH).await;
    for (message, expected) in [(Message::V1, 204), (Message::V2, 400)] {
        let answer = bench.post_message(message, &encoded(message, &half_bad())).await;
        assert_eq!(status(&answer), expected, "{answer}");
        if message == Message::V2 {
            assert!(answer.contains("samples-written: 1") && answer.contains("metric name"), "{answer}");
        }
        assert_eq!(bench.sink.take()[0].points.len(), 1);
    }
}

#[tokio::test]
async fn metadata_becomes_families_or_labels_where_it_is_wanted() {
    let sink = Sink::<Samples>::new();
    let mut args = <Args as component::eval::Arguments>::defaults();
    args.forward_to = vec![sink.receiver()];
    args.accepted_remote_write_protobuf_messages = vec![args::Message::V2];
    (args.append_metadata, args.enable_type_and_unit_labels) = (true, true);
    let cx = BuildCx::detached("test", Services::for_tests("unused"));
    let (component, _) = ReceiveHttp::build(args, &cx).expect("valid");
    let body = encoded(Message::V2, &batch());
    let shared = component.shared;
    let answer = shared.take(Message::V2, &body, &shared.config.load_full()).await;
    assert_eq!(answer.status(), 204);
    let got = sink.take().remove(0);
    assert_eq!(got.points.at(0).series.get("__type__"), Some("counter"));
    assert_eq!(got.points.at(0).series.get("__unit__"), Some("s"));
    assert_eq!(got.families[got.points.at(0).family as usize].help, "Hits.");
}

#[tokio::test]
async fn a_change_of_port_or_limits_refuses_no_request() {
    let mut bench = Bench::start("").await;
    let body = encoded(Message::V1, &batch());
    let limits = config(bench.port, "").replace("listen_port", "conn_limit = 10\n listen_port");
    bench.harness.update(&limits).await.expect("updated");
    assert_eq!(status(&bench.post_message(Message::V1, &body).await), 204);
    let port = free_port();
    bench.harness.update(&config(port, "")).await.expect("updated");
    bench.port = port;
    assert_eq!(status(&bench.post_message(Message::V1, &body).await), 204);
    // A port that cannot be had leaves everything as it is.
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let refused = bench.harness.update(&config(taken.local_addr().expect("bound").port(), "")).await;
    assert!(matches!(refused, Err(Refused::Error(_))), "{refused:?}");
    assert_eq!(status(&bench.post_message(Message::V1, &body).await), 204);
    bench.harness.stop().await;
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
}

#[tokio::test]
async fn what_cannot_be_honoured_is_refused() {
    let cases = [("grpc { }", "gRPC"), ("accepted_remote_write_protobuf_messages = []", "at least one")];
    for (extra, part) in cases {
        let harness = Harness::new(DEFINITION, Names::default(), Services::for_tests("unused"));
        match harness.update(&format!("forward_to = []\n{extra}")).await {
            Err(Refused::Diagnostics(all)) => {
                assert!(all.iter().any(|d| d.message.contains(part)), "{all:?}")
            }
            other => panic!("{extra}: {other:?}"),
        }
    }
}

//! Requests over real sockets, as SDKs and collectors send them and as hostile clients do.

use component::eval::Arguments;
use component::testkit::{Harness, Names, Refused, Sink, surface};
use component::{ComponentDef, Rejected, Services};
use net::testkit::free_port;
use signal::profiles::{Ingest, Pprof, Profile, ProfileBody};
use signal::{Labels, Profiles};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire::compress::{Encoding, compress};
use wire::pyroscope::push_series;

use super::*;

const DEFINITION: ComponentDef = ComponentDef::of::<ReceiveHttp>();
const PUSH: &str = "POST /push.v1.PusherService/Push";
const PROTO: &str = "Content-Type: application/proto\r\n";
const JSON: &str = "Content-Type: application/json\r\n";

fn config(port: u16) -> String {
    format!("forward_to = [sink]\nhttp {{\n listen_address = \"127.0.0.1\"\n listen_port = {port}\n}}")
}

struct Bench {
    harness: Harness,
    sink: Sink<Profiles>,
    port: u16,
}

impl Bench {
    async fn start() -> Self {
        let (sink, port) = (Sink::new(), free_port());
        let names = Names::default().with("sink", sink.value());
        let harness = Harness::start(DEFINITION, &config(port), names).await;
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

    async fn request(&self, line: &str, headers: &str, body: &[u8]) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.expect("listening");
        let length = body.len();
        let head = format!(
            "{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("sent");
        // The server may answer and close before it has read all.
        let _ = stream.write_all(body).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn counted(&self, name: &str, part: &str) -> f64 {
        let text = self.harness.services.metrics.text();
        let is_it =
            |l: &&str| l.strip_prefix(name).is_some_and(|rest| rest.starts_with('{')) && l.contains(part);
        text.lines().filter(is_it).filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or_default()
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied())
}

/// A push request of two series; the second has labels as given.
fn push(second: &[(&str, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    let sample = |id: &str, raw: &'static [u8]| Pprof { id: id.to_owned().into(), raw: raw.into() };
    let first = labels(&[("__name__", "process_cpu"), ("service_name", "shop")]);
    push_series(&mut body, &first, [sample("1", b"\x1f\x8bone"), sample("2", b"two")].iter());
    push_series(&mut body, &labels(second), [sample("", b"three")].iter());
    body
}

fn expected() -> Vec<Profile> {
    let shop = labels(&[("__name__", "process_cpu"), ("service_name", "shop"), ("app_name", "process_cpu")]);
    let memory = labels(&[("__name__", "memory"), ("service_name", "memory")]);
    let profile = |labels: &Labels, id: &str, raw: &'static [u8]| {
        let body = ProfileBody::Pprof(Pprof { id: id.to_owned().into(), raw: raw.into() });
        Profile { labels: labels.clone(), body }
    };
    vec![profile(&shop, "1", b"\x1f\x8bone"), profile(&shop, "2", b"two"), profile(&memory, "", b"three")]
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    compress(Encoding::Gzip, None, &[body], &mut out).expect("compressed");
    out
}

#[tokio::test]
async fn a_push_arrives_whole_in_every_form_that_connect_has() {
    let bench = Bench::start().await;
    let proto = push(&[("__name__", "memory")]);
    let json = br#"{"series":[{"labels":[{"name":"__name__","value":"process_cpu"},{"name":"service_name",
        "value":"shop"}],"samples":[{"ID":"1","rawProfile":"H4tvbmU="},{"ID":"2","rawProfile":"dHdv"}]},
        {"labels":[{"name":"__name__","value":"memory"}],"samples":[{"rawProfile":"dGhyZWU="}]}]}"#;
    let gzipped =
        |headers: &str| format!("{headers}Content-Encoding: gzip\r\nConnect-Protocol-Version: 1\r\n");
    let cases = [
        (PROTO.to_owned(), proto.clone(), "application/proto"),
        (gzipped(PROTO), gzip(&proto), "application/proto"),
        (JSON.replace("json", "json; charset=utf-8"), json.to_vec(), "application/json"),
        (gzipped(JSON), gzip(json), "application/json"),
    ];
    for (headers, body, media) in cases {
        let answer = bench.request(PUSH, &headers, &body).await;
        assert_eq!(status(&answer), 200, "{headers}{answer}");
        assert!(answer.to_lowercase().contains(&format!("content-type: {media}")), "{answer}");
        assert!(
            answer.ends_with(if media == "application/json" { "\r\n\r\n{}" } else { "\r\n\r\n" }),
            "{answer}"
        );
        let got = bench.sink.take().remove(0);
        assert_eq!(got.items[..], expected()[..], "{headers}");
        assert!(got.received_ms > 0);
    }
    assert_eq!(bench.counted("pyroscope_receive_http_profiles_total", ""), 12.0);
    assert_eq!(
        bench.counted("pyroscope_receive_http_request_duration_seconds_count", "push_v1_pusherservice_push"),
        4.0
    );
}

#[tokio::test]
async fn a_request_to_ingest_arrives_as_it_was_sent() {
    let bench = Bench::start().await;
    let line = "POST /ingest?name=app%7Bregion%3Deu%2Cservice_name%3Dshop%7D&from=1700000000&until=1700000010\
                &sampleRate=100&spyName=gospy&units=samples&aggregationType=sum&format=pprof";
    let body = b"--x\r\n\x00\xff any bytes\r\n--x--";
    let headers = "Content-Type: multipart/form-data; boundary=x\r\nContent-Encoding: gzip\r\n";
    let answer = bench.request(line, headers, body).await;
    assert_eq!(status(&answer), 200, "{answer}");
    let got = bench.sink.take().remove(0);
    let [profile] = &got.items[..] else { panic!("{got:?}") };
    let expected = [("__name__", "app"), ("app_name", "app"), ("region", "eu"), ("service_name", "shop")];
    assert_eq!(profile.labels, labels(&expected));
    let ProfileBody::Ingest(Ingest { content_type, content_encoding, raw, .. }) = &profile.body else {
        panic!("{profile:?}")
    };
    assert_eq!((&**content_type, &**content_encoding), ("multipart/form-data; boundary=x", "gzip"));
    assert_eq!(&raw[..], body, "not even decompressed");
    let ProfileBody::Ingest(ingest) = &profile.body else { panic!("{profile:?}") };
    let read = ["from", "until", "sampleRate", "spyName", "units", "aggregationType", "format"];
    let read = read.map(|name| ingest.parameter(name).unwrap_or("absent"));
    assert_eq!(read, ["1700000000", "1700000010", "100", "gospy", "samples", "sum", "pprof"]);
    assert_eq!(ingest.parameter("name"), None);
}

#[tokio::test]
async fn every_error_has_its_status_and_its_code() {
    let bench = Bench::start().await;
    let good = push(&[("__name__", "memory")]);
    let cases: [(&str, &str, &[u8], u16, &str); 13] = [
        (PUSH, PROTO, b"\x0a\xff", 400, "invalid_argument"),
        (PUSH, JSON, b"{\"series\":5}", 400, "an array of series"),
        (PUSH, "", &good, 415, "expected application/proto"),
        (PUSH, "Content-Type: application/grpc\r\n", &good, 415, "application/grpc"),
        (PUSH, &format!("{PROTO}Content-Encoding: snappy\r\n"), &good, 501, "unimplemented"),
        (PUSH, &format!("{PROTO}Content-Encoding: gzip\r\n"), &good, 400, "invalid_argument"),
        (PUSH, &format!("{PROTO}Connect-Protocol-Version: 2\r\n"), &good, 400, "version 1"),
        ("GET /push.v1.PusherService/Push", "", b"", 405, "allow: POST"),
        ("GET /ingest?name=a", "", b"", 405, "allow: POST"),
        ("POST /ingest", "", b"x", 400, "no name"),
        ("POST /ingest?name=a%20b", "", b"x", 400, "no name of an application"),
        ("POST /ingest?name=a%7Bb-c%3D1%7D", "", b"x", 400, "no name of a label"),
        ("POST /other", "", b"", 404, "/ingest"),
    ];
    for (line, headers, body, expected, part) in cases {
        let answer = bench.request(line, headers, body).await;
        assert_eq!(status(&answer), expected, "{line} {headers}: {answer}");
        assert!(answer.contains(part), "{line} {headers}: {answer}");
        assert!(bench.sink.take().is_empty(), "{line}");
    }
    assert_eq!(bench.counted("pyroscope_receive_http_dropped_profiles_total", "bad_query"), 3.0);
}

#[tokio::test]
async fn a_bad_series_does_not_cost_the_good_ones_and_the_client_learns_of_it() {
    let bench = Bench::start().await;
    for bad in [&[("__name__", "memory"), ("a-b", "1")][..], &[]] {
        let answer = bench.request(PUSH, PROTO, &push(bad)).await;
        assert!(status(&answer) == 400 && answer.contains("invalid_argument"), "{answer}");
        assert_eq!(bench.sink.take()[0].items[..], expected()[..2]);
    }
    assert_eq!(bench.counted("pyroscope_receive_http_dropped_profiles_total", "invalid_labels"), 2.0);
}

#[tokio::test]
async fn a_request_is_acknowledged_only_when_the_sink_has_it() {
    let bench = Bench::start().await;
    let body = push(&[("__name__", "memory")]);
    for (line, headers) in [(PUSH, PROTO), ("POST /ingest?name=a", "")] {
        for refusal in [Rejected::Retryable("full".into()), Rejected::Stopped] {
            bench.sink.answer(Err(refusal));
            let answer = bench.request(line, headers, &body).await.to_lowercase();
            assert!(status(&answer) == 503 && answer.contains("retry-after: 5"), "{answer}");
            assert_eq!(answer.contains("\"code\":\"unavailable\""), line == PUSH, "{answer}");
        }
        bench.sink.answer(Err(Rejected::Permanent("never".into())));
        let answer = bench.request(line, headers, &body).await;
        assert!(status(&answer) == 400 && answer.contains("never"), "{answer}");
        bench.sink.answer(Ok(()));
        assert_eq!(status(&bench.request(line, headers, &body).await), 200);
        assert_eq!(bench.sink.take().len(), 1);
    }
    assert_eq!(bench.counted("pyroscope_receive_http_dropped_profiles_total", "refused"), 4.0);
}

#[tokio::test]
async fn bodies_beyond_the_limits_are_refused_before_they_cost_memory() {
    let bench = Bench::start().await;
    for line in [PUSH, "POST /ingest?name=a"] {
        let length = MAX_BODY + 1;
        let head = format!("{line} HTTP/1.1\r\nHost: x\r\n{PROTO}Content-Length: {length}\r\n\r\n");
        let mut stream = TcpStream::connect(("127.0.0.1", bench.port)).await.expect("listening");
        stream.write_all(head.as_bytes()).await.expect("sent");
        let mut answer = vec![0; 64];
        let n = stream.read(&mut answer).await.expect("an answer");
        assert!(String::from_utf8_lossy(&answer[..n]).starts_with("HTTP/1.1 413"), "{line}");
    }
}

#[tokio::test]
async fn a_move_to_another_port_and_another_sink_refuses_nothing() {
    let mut bench = Bench::start().await;
    let port = free_port();
    bench.harness.update(&config(port)).await.expect("updated");
    bench.listening(port).await;
    bench.port = port;
    assert_eq!(status(&bench.request("POST /ingest?name=a", "", b"x").await), 200);
    bench.harness.update(&config(port).replace("[sink]", "[]")).await.expect("updated");
    assert_eq!(status(&bench.request("POST /ingest?name=a", "", b"x").await), 200);
    assert_eq!(bench.sink.take().len(), 1, "the second went nowhere, as the configuration says");
}

#[tokio::test]
async fn a_block_that_nothing_would_answer_is_refused() {
    let harness = Harness::new(DEFINITION, Names::default(), Services::for_tests("unused"));
    let refused = harness.update("forward_to = []\ngrpc { }").await.expect_err("refused");
    assert!(
        matches!(refused, Refused::Diagnostics(d) if d[0].message.contains("nothing would answer over gRPC"))
    );
}

/// `surface.txt` holds the facts of Alloy 1.18.
#[test]
fn names_types_and_defaults_are_those_of_alloy() {
    let ours = surface(Args::schema());
    let theirs: Vec<_> = include_str!("surface.txt").lines().collect();
    let missing: Vec<_> = theirs.iter().filter(|l| !ours.iter().any(|o| o == *l)).collect();
    let added: Vec<_> = ours.iter().filter(|l| !theirs.contains(&l.as_str())).collect();
    assert!(missing.is_empty() && added.is_empty(), "missing: {missing:#?}\nadded: {added:#?}");
}

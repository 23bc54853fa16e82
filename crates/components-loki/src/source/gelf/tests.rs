//! Datagrams over a real socket.

use std::io::Write as _;

use component::ComponentDef;
use component::testkit::{Harness, Names, Sink};

use super::*;
use crate::source::bench::{keep_all, metric};

const DEFINITION: ComponentDef = ComponentDef::of::<Gelf>();

struct Bench {
    harness: Harness,
    sink: Sink<Logs>,
    client: UdpSocket,
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    net::testkit::free_port()
}

fn config(port: u16, extra: &str) -> String {
    format!("listen_address = \"127.0.0.1:{port}\"\nforward_to = [sink]\n{extra}")
}

impl Bench {
    async fn start(extra: &str) -> (Self, u16) {
        let (sink, port) = (Sink::new(), free_port());
        let names: Names = keep_all("__gelf_message_(.+)").with("sink", sink.value());
        let harness = Harness::start(DEFINITION, &config(port, extra), names).await;
        let client = UdpSocket::bind("127.0.0.1:0").await.expect("free");
        client.connect(("127.0.0.1", port)).await.expect("an address");
        (Self { harness, sink, client }, port)
    }

    /// Sends a datagram, again until somebody listens.
    async fn send(&self, datagram: &[u8]) {
        while self.client.send(datagram).await.is_err() {
            tokio::task::yield_now().await;
        }
    }

    /// Waits for so many entries: labels and lines.
    async fn entries(&self, count: usize) -> Vec<(String, i64, String)> {
        let mut all = Vec::new();
        while all.len() < count {
            for batch in self.sink.wait(1).await {
                all.extend(
                    batch
                        .entries
                        .iter()
                        .map(|e| (batch.labels(e).to_string(), e.timestamp_ns, e.line.to_string())),
                );
            }
        }
        all
    }

    fn metric(&self, name: &str) -> f64 {
        metric(&self.harness, name)
    }
}

/// Waits until the socket is bound, with a message that is thrown away.
async fn ready(bench: &Bench) {
    loop {
        let _ = bench.client.send(b"{}").await;
        let waited = tokio::time::timeout(Duration::from_millis(20), bench.entries(1)).await;
        if waited.is_ok() {
            break;
        }
    }
    bench.sink.take();
}

const MESSAGE: &str =
    r#"{"version":"1.1","host":"web","short_message":"hello","timestamp":1385053862.5,"level":3,"_b":1}"#;

#[tokio::test]
async fn messages_come_in_every_compression_and_in_chunks() {
    let (bench, _) = Bench::start("use_incoming_timestamp = true\nrelabel_rules = rules").await;
    ready(&bench).await;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(MESSAGE.as_bytes()).expect("memory");
    let gzip = gzip.finish().expect("memory");
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    zlib.write_all(MESSAGE.as_bytes()).expect("memory");
    bench.send(MESSAGE.as_bytes()).await;
    bench.send(&gzip).await;
    bench.send(&zlib.finish().expect("memory")).await;
    let parts: Vec<_> = gzip.chunks(40).collect();
    for (number, part) in parts.iter().enumerate().rev() {
        let count = u8::try_from(parts.len()).expect("few");
        bench.send(&[&[0x1e, 0x0f, 1, 2, 3, 4, 5, 6, 7, 8, number as u8, count], *part].concat()).await;
    }
    let expected = (
        "{host=\"web\", level=\"error\", version=\"1.1\"}".to_owned(),
        1_385_053_862_500_000_000,
        MESSAGE.to_owned(),
    );
    assert_eq!(bench.entries(4).await, vec![expected; 4]);
}

#[tokio::test]
async fn what_is_no_message_is_counted_and_the_rest_goes_on() {
    let (bench, _) = Bench::start("").await;
    ready(&bench).await;
    for bad in [
        &b"no json"[..],
        b"\x1f\x8b broken",
        &[0x1e, 0x0f],
        &[0x1e, 0x0f, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 0],
        b"{\"host\":1}",
    ] {
        bench.send(bad).await;
    }
    let large = format!("{{\"short_message\":\"{}\"}}", "x".repeat(20_000));
    bench.send(large.as_bytes()).await;
    let entries = bench.entries(1).await;
    assert!(entries[0].0 == "{}" && entries[0].2.contains(&"x".repeat(20_000)));
    for name in ["loki_source_gelf_target_parsing_errors_total", "gelf_target_parsing_errors_total"] {
        assert_eq!(bench.metric(name), 5.0, "{name}");
    }
}

#[tokio::test]
async fn a_change_of_rules_keeps_the_socket_and_one_of_the_address_moves_it() {
    let (bench, port) = Bench::start("").await;
    ready(&bench).await;
    bench.harness.update(&config(port, "relabel_rules = rules")).await.expect("updated");
    bench.send(MESSAGE.as_bytes()).await;
    assert!(bench.entries(1).await[0].0.contains("web"));
    let port = free_port();
    bench.harness.update(&config(port, "")).await.expect("updated");
    let client = UdpSocket::bind("127.0.0.1:0").await.expect("free");
    client.send_to(MESSAGE.as_bytes(), ("127.0.0.1", port)).await.expect("sent");
    assert_eq!(bench.entries(1).await[0].0, "{}");
    bench.harness.stop().await;
    std::net::UdpSocket::bind(("127.0.0.1", port)).expect("free again");
}

#[tokio::test]
async fn a_batch_is_offered_until_it_is_taken() {
    let (bench, _) = Bench::start("").await;
    ready(&bench).await;
    bench.sink.answer(Err(component::Rejected::Retryable("full".into())));
    bench.send(MESSAGE.as_bytes()).await;
    tokio::time::timeout(Duration::from_millis(50), bench.sink.wait(1)).await.expect_err("nothing is taken");
    bench.sink.answer(Ok(()));
    assert_eq!(bench.entries(1).await.len(), 1);
}

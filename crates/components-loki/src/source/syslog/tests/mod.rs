//! Messages over real sockets: what arrives, what reloads, back-pressure and hostile clients do.

mod peers;

use std::time::Duration;

use component::testkit::{Harness, Names, Refused, Sink};
use component::{ComponentDef, Rejected};
use net::testkit::free_port;
use signal::Logs;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UdpSocket};

use super::*;
use crate::source::bench::{keep_all, metric};

const DEFINITION: ComponentDef = ComponentDef::of::<Syslog>();
/// A message of RFC 5424, its text aside.
const HEAD: &str = "<165>1 2023-11-14T22:13:20.000007Z host app 42 id - ";
const TS: i64 = 1_700_000_000_000_007_000;

struct Bench {
    harness: Harness,
    sink: Sink<Logs>,
    port: u16,
}

fn listener(port: u16, extra: &str) -> String {
    format!("listener {{\n address = \"127.0.0.1:{port}\"\n{extra}\n}}\n")
}

fn config(listeners: &str) -> String {
    format!("forward_to = [sink]\nrelabel_rules = rules\n{listeners}")
}

/// Names with a rule that keeps what is known of a message.
fn names(sink: &Sink<Logs>) -> Names {
    keep_all("__syslog_(?:message|connection)_(.+)").with("sink", sink.value())
}

impl Bench {
    /// One listener.
    async fn start(extra: &str) -> Self {
        let port = free_port();
        Self::with(port, &config(&listener(port, extra))).await
    }

    async fn with(port: u16, config: &str) -> Self {
        let sink = Sink::new();
        let harness = Harness::start(DEFINITION, config, names(&sink)).await;
        let bench = Self { harness, sink, port };
        bench.ready().await;
        bench
    }

    /// The start of a node does not wait for its sockets; what is shown of it tells.
    async fn ready(&self) {
        while self.harness.node.debug_info().is_empty() {
            tokio::task::yield_now().await;
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).await.expect("listening")
    }

    async fn datagram(&self, text: &[u8]) {
        let client = UdpSocket::bind("127.0.0.1:0").await.expect("free");
        client.send_to(text, ("127.0.0.1", self.port)).await.expect("sent");
    }

    /// Waits for so many entries.
    async fn entries(&self, count: usize) -> Vec<(String, i64, String)> {
        let mut all = Vec::new();
        while all.len() < count {
            for batch in self.sink.wait(1).await {
                let entry = |e: &signal::logs::Entry| {
                    (batch.labels(e).to_string(), e.timestamp_ns, e.line.to_string())
                };
                all.extend(batch.entries.iter().map(entry));
            }
        }
        all
    }

    /// Waits for so many lines.
    async fn lines(&self, count: usize) -> Vec<String> {
        self.entries(count).await.into_iter().map(|(_, _, line)| line).collect()
    }

    fn metric(&self, name: &str) -> f64 {
        metric(&self.harness, name)
    }

    /// Waits until a counter has a value.
    async fn until(&self, name: &str, value: f64) {
        while self.metric(name) < value {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(self.metric(name), value, "{name}");
    }
}

#[tokio::test]
async fn a_message_becomes_an_entry_with_its_labels() {
    let extra = "label_structured_data = true\nuse_incoming_timestamp = true\nlabels = {own = \"x\"}";
    let bench = Bench::start(extra).await;
    let message = "<165>1 2023-11-14T22:13:20.000007Z host app 42 id [a@1 k=\"v\"] text";
    bench.connect().await.write_all(format!("{message}\n").as_bytes()).await.expect("sent");
    let (labels, time, line) = bench.entries(1).await.remove(0);
    let hostname =
        labels.split("hostname=\"").nth(1).map(|l| l.split('"').next().unwrap_or_default().to_owned());
    assert!(
        labels.contains("app_name=\"app\", facility=\"local4\", hostname=\"host\"")
            || labels.contains("app_name=\"app\", facility=\"local4\""),
        "{labels}, {hostname:?}"
    );
    for part in [
        "ip_address=\"127.0.0.1\"",
        "msg_id=\"id\"",
        "own=\"x\"",
        "proc_id=\"42\"",
        "sd_a_1_k=\"v\"",
        "severity=\"notice\"",
    ] {
        assert!(labels.contains(part), "{part} in {labels}");
    }
    assert!(!labels.contains("__"), "{labels}");
    assert_eq!((time, line.as_str()), (TS, "text"));
    bench.until("loki_source_syslog_entries_total", 1.0).await;
}

#[tokio::test]
async fn every_format_is_read_over_both_protocols() {
    let whole = format!("{HEAD}text");
    let cases = [
        ("", whole.as_str(), "text"),
        ("use_rfc5424_message = true", whole.as_str(), whole.as_str()),
        ("syslog_format = \"rfc3164\"", "<34>Oct 11 22:14:15 host su[7]: failed", "failed"),
        ("syslog_format = \"raw\"", "<34>CEF:0|x y", "CEF:0|x y"),
        (
            "syslog_format = \"rfc3164\"\nrfc3164_cisco_components {\n enable_all = true\n}",
            "<189>237: 000485: r1: *Jan  8 19:46:03.295: %SYS-5-CONFIG_I: Configured",
            "Configured",
        ),
    ];
    for (extra, message, line) in cases {
        let tcp = Bench::start(extra).await;
        let mut stream = tcp.connect().await;
        // Counted, with a line end, and with neither at the end of the stream.
        let text = format!("{} {message}{message}\n{message}", message.len());
        stream.write_all(text.as_bytes()).await.expect("sent");
        drop(stream);
        assert_eq!(tcp.lines(3).await, [line; 3], "{extra} over TCP");
        let udp = Bench::start(&format!("protocol = \"udp\"\n{extra}")).await;
        udp.datagram(message.as_bytes()).await;
        udp.datagram(format!("{message}\r\n\0").as_bytes()).await;
        udp.datagram(format!("{} {message}{} {message}", message.len(), message.len()).as_bytes()).await;
        assert_eq!(udp.lines(4).await, [line; 4], "{extra} over UDP");
    }
}

#[tokio::test]
async fn lines_may_end_with_a_nul() {
    let bench = Bench::start(
        "syslog_format = \"raw\"\nraw_format_options {\n use_null_terminator_delimiter = true\n}",
    )
    .await;
    bench.connect().await.write_all(b"one\nline\0<3>two\0").await.expect("sent");
    assert_eq!(bench.lines(2).await, ["one\nline", "two"]);
}

#[tokio::test]
async fn a_last_line_does_not_wait_for_the_next_and_one_in_pieces_is_whole() {
    let bench = Bench::start("").await;
    let mut stream = bench.connect().await;
    stream.write_all(format!("{HEAD}first\n").as_bytes()).await.expect("sent");
    assert_eq!(bench.lines(1).await, ["first"], "while the connection stays open");
    stream.write_all(format!("{HEAD}sec").as_bytes()).await.expect("sent");
    tokio::time::timeout(Duration::from_millis(30), bench.lines(1)).await.expect_err("it is not whole");
    stream.write_all(b"ond\nof two\n").await.expect("sent");
    assert_eq!(bench.lines(1).await, ["second\nof two"]);
}

#[tokio::test]
async fn times_count_where_they_are_wanted_and_make_sense() {
    let year =
        "syslog_format = \"rfc3164\"\nuse_incoming_timestamp = true\nrfc3164_default_to_current_year = true";
    let cases = [
        ("", format!("{HEAD}x"), false),
        ("use_incoming_timestamp = true", format!("{HEAD}x"), true),
        ("use_incoming_timestamp = true", "<1>1 - - - - - - x".to_owned(), false),
        (
            "syslog_format = \"rfc3164\"\nuse_incoming_timestamp = true",
            "<1>Oct 11 22:14:15 h x".to_owned(),
            false,
        ),
        (year, "<1>Oct 11 22:14:15 h x".to_owned(), true),
        (year, "<1>2023-11-14T22:13:20.000007Z h x".to_owned(), true),
    ];
    for (extra, message, theirs) in cases {
        let bench = Bench::start(extra).await;
        let before = crate::intake::now_ns();
        bench.connect().await.write_all(format!("{message}\n").as_bytes()).await.expect("sent");
        let (_, time, _) = bench.entries(1).await.remove(0);
        let now = (before..=crate::intake::now_ns()).contains(&time);
        assert_eq!(now, !theirs, "{extra}: {message}");
    }
}

#[tokio::test]
async fn what_is_no_message_is_counted_and_the_stream_goes_on() {
    let bench = Bench::start("max_message_length = 100").await;
    let mut stream = bench.connect().await;
    let long = "x".repeat(200);
    let text = format!("{HEAD}one\n<34>no message\n<1>1 - - - - - -\n{HEAD}{long}\n{HEAD}two\n");
    stream.write_all(text.as_bytes()).await.expect("sent");
    let lines = bench.lines(3).await;
    assert_eq!(
        (lines[0].as_str(), lines[1].as_str(), lines[2].as_str()),
        ("one", &long[..100 - HEAD.len()], "two")
    );
    for (name, value) in
        [("parsing_errors_total", 1.0), ("empty_messages_total", 1.0), ("truncated_messages_total", 1.0)]
    {
        bench.until(&format!("loki_source_syslog_{name}"), value).await;
    }
    // A length that nothing can have ends the connection, but no other.
    stream.write_all(b"99999999999999 <1>").await.expect("sent");
    bench.until("loki_source_syslog_parsing_errors_total", 2.0).await;
    bench.connect().await.write_all(format!("{HEAD}three\n").as_bytes()).await.expect("sent");
    assert_eq!(bench.lines(1).await, ["three"]);
}

#[tokio::test]
async fn messages_without_a_text_are_taken_where_they_are_wanted() {
    let bench = Bench::start("rfc5424_allow_empty_msg = true").await;
    bench.connect().await.write_all(format!("{}\n", HEAD.trim_end()).as_bytes()).await.expect("sent");
    assert_eq!(bench.lines(1).await, [""]);
}

#[tokio::test]
async fn a_silent_connection_is_closed() {
    let bench = Bench::start("idle_timeout = \"50ms\"").await;
    let mut stream = bench.connect().await;
    stream.write_all(format!("{HEAD}half").as_bytes()).await.expect("sent");
    let mut rest = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest).await.expect("closed");
    assert_eq!(bench.lines(1).await, ["half"], "what has come counts");
}

#[tokio::test]
async fn senders_wait_while_nothing_is_taken_and_nothing_is_lost() {
    let bench = Bench::start("").await;
    bench.sink.answer(Err(Rejected::Retryable("full".into())));
    let mut stream = bench.connect().await;
    let block: String = (0..2000).map(|i| format!("{HEAD}{i:0>500}\n")).collect();
    let sending = tokio::spawn(async move {
        for _ in 0..10 {
            stream.write_all(block.as_bytes()).await.expect("sent");
        }
        stream
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!sending.is_finished(), "11 MB have been read although nobody takes them");
    bench.sink.answer(Ok(()));
    let lines = bench.lines(20_000).await;
    let expected = (0..20_000).map(|i| format!("{:0>500}", i % 2000));
    assert!(lines.into_iter().eq(expected), "lost or out of order");
    drop(sending.await.expect("no panic"));
}

#[tokio::test]
async fn a_change_of_arguments_keeps_connections_and_their_half_messages() {
    let bench = Bench::start("labels = {v = \"1\"}").await;
    let mut stream = bench.connect().await;
    stream.write_all(format!("{HEAD}one\n{HEAD}t").as_bytes()).await.expect("sent");
    bench.lines(1).await;
    let other = free_port();
    let listeners = format!("{}{}", listener(bench.port, "labels = {v = \"2\"}"), listener(other, ""));
    bench.harness.update(&config(&listeners)).await.expect("updated");
    stream.write_all(b"wo\n").await.expect("the connection is there");
    let (labels, _, line) = bench.entries(1).await.remove(0);
    assert!(labels.contains("v=\"2\"") && line == "two", "{labels} {line}");
    TcpStream::connect(("127.0.0.1", other)).await.expect("the new one listens");
    // The new one goes; a connection of it is read to its end.
    let mut gone = TcpStream::connect(("127.0.0.1", other)).await.expect("listening");
    gone.write_all(format!("{HEAD}last\n").as_bytes()).await.expect("sent");
    bench.harness.update(&config(&listener(bench.port, ""))).await.expect("updated");
    assert_eq!(bench.lines(1).await, ["last"]);
    assert!(TcpStream::connect(("127.0.0.1", other)).await.is_err());
}

#[tokio::test]
async fn an_address_that_cannot_be_had_leaves_everything_as_it_is() {
    let bench = Bench::start("").await;
    let mut stream = bench.connect().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let port = taken.local_addr().expect("bound").port();
    let both = format!("{}{}", listener(bench.port, "protocol = \"udp\""), listener(port, ""));
    let refused = bench.harness.update(&config(&both)).await;
    assert!(matches!(refused, Err(Refused::Error(_))), "{refused:?}");
    stream.write_all(format!("{HEAD}one\n").as_bytes()).await.expect("sent");
    assert_eq!(bench.lines(1).await, ["one"]);
    bench.connect().await;
}

#[tokio::test]
async fn another_component_takes_an_address_over_without_refusing_anybody() {
    let bench = Bench::start("").await;
    let before = bench.connect().await;
    let second = Bench::with(bench.port, &config(&listener(bench.port, ""))).await;
    bench.connect().await.write_all(format!("{HEAD}new\n").as_bytes()).await.expect("sent");
    assert_eq!(second.lines(1).await, ["new"]);
    drop(before);
    bench.harness.stop().await;
    bench.connect().await.write_all(format!("{HEAD}still\n").as_bytes()).await.expect("sent");
    assert_eq!(second.lines(1).await, ["still"]);
}

#[tokio::test]
async fn stopping_reads_what_connections_still_hold() {
    let bench = Bench::start("").await;
    let mut streams = Vec::new();
    for i in 0..20 {
        let mut stream = bench.connect().await;
        stream.write_all(format!("{HEAD}{i}\n").as_bytes()).await.expect("sent");
        streams.push(stream);
    }
    let udp = Bench::start("protocol = \"udp\"").await;
    udp.datagram(format!("{HEAD}datagram").as_bytes()).await;
    bench.lines(1).await;
    bench.harness.stop().await;
    udp.harness.stop().await;
    assert_eq!(udp.lines(1).await, ["datagram"]);
    assert!(TcpStream::connect(("127.0.0.1", bench.port)).await.is_err());
}

#[tokio::test]
async fn datagrams_that_cannot_wait_are_counted() {
    let bench = Bench::start("protocol = \"udp\"\nudp_queue_size = 1").await;
    bench.sink.answer(Err(Rejected::Retryable("full".into())));
    let client = UdpSocket::bind("127.0.0.1:0").await.expect("free");
    let dropped = "loki_source_syslog_dropped_datagrams_total{reason=\"queue_full\"}";
    let text = format!("{HEAD}x");
    let mut sent = 0;
    while sent < 1_000_000 && !bench.harness.services.metrics.text().contains("queue_full") {
        for _ in 0..100 {
            client.send_to(text.as_bytes(), ("127.0.0.1", bench.port)).await.expect("sent");
        }
        sent += 100;
        tokio::task::yield_now().await;
    }
    assert!(bench.metric(dropped) > 0.0 && sent < 10_000, "{sent} were kept");
}

#[tokio::test]
async fn what_cannot_be_honoured_is_refused() {
    let port = free_port();
    let cases = [
        ("syslog_format = \"raw\"\nuse_incoming_timestamp = true", "no effect"),
        ("syslog_format = \"raw\"\nuse_rfc5424_message = true", "no effect"),
        ("syslog_format = \"rfc3164\"\nrfc5424_allow_empty_msg = true", "no effect"),
        ("raw_format_options { }", "no effect"),
        ("rfc3164_cisco_components {\n enable_all = true\n}", "no effect"),
        ("syslog_format = \"rfc3164\"\nrfc3164_cisco_components { }", "at least one"),
        ("protocol = \"sctp\"", "tcp"),
        ("syslog_format = \"rfc9999\"", "rfc5424"),
        ("max_message_length = -1", "max_message_length"),
        ("udp_queue_size = 0", "udp_queue_size"),
        ("tls_config {\n cert_file = \"x\"\n}", "key"),
    ];
    for (extra, part) in cases {
        let sink = Sink::new();
        let harness = Harness::new(DEFINITION, names(&sink), component::Services::for_tests("unused"));
        match harness.update(&config(&listener(port, extra))).await {
            Err(Refused::Diagnostics(all)) => {
                assert!(all.iter().any(|d| format!("{d:?}").contains(part)), "{extra}: {all:?}");
            }
            other => panic!("{extra}: {other:?}"),
        }
    }
    for listeners in
        [listener(port, "").repeat(2), "listener {\n address = \"x\"\n}".to_owned(), String::new()]
    {
        let sink = Sink::new();
        let harness = Harness::new(DEFINITION, names(&sink), component::Services::for_tests("unused"));
        let refused = harness.update(&config(&listeners)).await;
        assert!(matches!(refused, Err(Refused::Diagnostics(_))), "{listeners}: {refused:?}");
    }
}

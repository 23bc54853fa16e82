//! All protocols over real sockets, what UDP loses, hostile clients, reloads, and a real client by hand.

use component::eval::Arguments;
use component::otel::OtelInput;
use component::testkit::{Harness, Names, Refused, Sink, surface};
use component::{ArgValue, ComponentDef, Rejected, Services};
use net::grpc::Code;
use signal::otlp::Traces;
use signal::otlp::proto::trace::v1::Span;
use tokio::net::UdpSocket;

use super::{Args, JaegerReceiver};
use crate::receiver::bench::{Answer, Caller, frame, free_port, gzip, listening, send};

const DEFINITION: ComponentDef = ComponentDef::of::<JaegerReceiver>();
const OUTPUT: &str = "output {\n traces = [input]\n}";
const METHOD: &str = "/jaeger.api_v2.CollectorService/PostSpans";
const THRIFT: &str = "Content-Type: application/x-thrift\r\n";

#[derive(Clone, Copy)]
struct Ports {
    grpc: u16,
    http: u16,
    binary: u16,
    compact: u16,
}

struct Bench {
    harness: Harness,
    sink: Sink<Traces>,
    ports: Ports,
    client: UdpSocket,
}

fn config(ports: Ports, in_agents: &str, output: &str) -> String {
    let Ports { grpc, http, binary, compact } = ports;
    format!(
        "protocols {{\n\
         grpc {{\n endpoint = \"127.0.0.1:{grpc}\"\n}}\n\
         thrift_http {{\n endpoint = \"127.0.0.1:{http}\"\n max_request_body_size = \"1MiB\"\n}}\n\
         thrift_binary {{\n endpoint = \"127.0.0.1:{binary}\"\n{in_agents}\n}}\n\
         thrift_compact {{\n endpoint = \"127.0.0.1:{compact}\"\n{in_agents}\n}}\n}}\n{output}"
    )
}

impl Bench {
    async fn with(in_agents: &str, output: &str) -> Self {
        let ports = Ports { grpc: free_port(), http: free_port(), binary: free_port(), compact: free_port() };
        let sink = Sink::new();
        let input = OtelInput { traces: Some(sink.receiver()), ..OtelInput::default() };
        let names = Names::default().with("input", input.to_value());
        let harness = Harness::start(DEFINITION, &config(ports, in_agents, output), names).await;
        let client = UdpSocket::bind("127.0.0.1:0").await.expect("loopback");
        let bench = Self { harness, sink, ports, client };
        bench.up().await;
        bench
    }

    /// Waits until all listen: the sockets of the agent are bound last.
    async fn up(&self) {
        listening(self.ports.grpc).await;
        listening(self.ports.http).await;
        while std::net::UdpSocket::bind(("127.0.0.1", self.ports.compact)).is_ok() {
            tokio::task::yield_now().await;
        }
    }

    async fn post(&self, headers: &str, body: &[u8]) -> Answer {
        send(self.ports.http, &format!("POST /api/traces HTTP/1.1\r\n{headers}"), body).await
    }

    async fn call(&self, message: Vec<u8>) -> Code {
        Caller::connect(self.ports.grpc).await.call(METHOD, &[], message).await.code
    }

    async fn emit(&self, port: u16, datagram: &[u8]) {
        self.client.send_to(datagram, ("127.0.0.1", port)).await.expect("sent");
    }

    async fn names(&self, count: usize) -> Vec<String> {
        names(&self.sink.wait(count).await)
    }

    fn text(&self) -> String {
        self.harness.services.metrics.text()
    }

    /// Waits until a counter of dropped datagrams is there.
    async fn dropped(&self, of: &str, reason: &str, count: usize) {
        let name = format!("otelcol_receiver_jaeger_thrift_{of}_dropped_datagrams_total{{");
        let reason = format!("reason=\"{reason}\"");
        loop {
            let text = self.text();
            let line = text.lines().find(|l| l.starts_with(&name) && l.contains(&reason));
            if line.is_some_and(|l| l.ends_with(&format!(" {count}"))) {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

fn names(batches: &[Traces]) -> Vec<String> {
    spans(batches).into_iter().map(|s| s.name).collect()
}

fn spans(batches: &[Traces]) -> Vec<Span> {
    let requests = batches.iter().flat_map(|b| &b.requests).map(|r| r.message().expect("decodes"));
    let scopes = requests.flat_map(|r| &r.resource_spans).flat_map(|r| &r.scope_spans);
    scopes.flat_map(|s| &s.spans).cloned().collect()
}

/// A batch of one span (trace 1, ID 2) in the binary protocol.
fn batch(name: &str) -> Vec<u8> {
    let i64 = |id: u8, value: u64| [vec![10, 0, id], value.to_be_bytes().to_vec()].concat();
    let text =
        |id: u8, text: &str| [&[11, 0, id][..], &(text.len() as u32).to_be_bytes(), text.as_bytes()].concat();
    let span = [i64(1, 1), i64(3, 2), text(5, name), i64(8, 5), i64(9, 1), vec![0]].concat();
    [vec![12, 0, 1], text(1, "shop"), vec![0], vec![15, 0, 2, 12, 0, 0, 0, 1], span, vec![0]].concat()
}

/// The same as a call of the agent.
fn binary(name: &str) -> Vec<u8> {
    [&b"\x80\x01\0\x04\0\0\0\x09emitBatch\0\0\0\x01"[..], &[12, 0, 1], &batch(name), &[0]].concat()
}

/// The same in the compact protocol.
pub(super) fn compact(name: &str) -> Vec<u8> {
    let text = |header: u8, text: &str| [&[header, text.len() as u8], text.as_bytes()].concat();
    let span = [&[0x16, 2][..], &[0x26, 4], &text(0x28, name), &[0x36, 10], &[0x16, 2], &[0]].concat();
    let process = [vec![0x1c], text(0x18, "shop"), vec![0]].concat();
    let batch = [process, vec![0x19, 0x1c], span, vec![0]].concat();
    [&b"\x82\x81\x01\x09emitBatch"[..], &[0x1c], &batch, &[0]].concat()
}

/// The same as a request of gRPC, in its frame.
fn request(name: &str) -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| [&[number << 3 | 2, bytes.len() as u8], bytes].concat();
    let id = [[0u8; 15].to_vec(), vec![1]].concat();
    let span = [field(1, &id), field(2, &[0, 0, 0, 0, 0, 0, 0, 2]), field(3, name.as_bytes())].concat();
    let batch = [field(1, &span), field(2, &field(1, b"shop"))].concat();
    frame(0, &field(1, &batch))
}

#[tokio::test]
async fn spans_arrive_over_every_protocol() {
    let bench = Bench::with("", OUTPUT).await;
    let Ports { binary: binary_port, compact: compact_port, .. } = bench.ports;
    assert_eq!(bench.call(request("a")).await, Code::Ok);
    assert_eq!(bench.names(1).await, ["a"]);
    for media in ["application/x-thrift", "application/vnd.apache.thrift.binary; x=y"] {
        let answer = bench.post(&format!("Content-Type: {media}\r\n"), &batch("b")).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        assert_eq!(bench.names(1).await, ["b"]);
    }
    let packed = bench.post(&format!("{THRIFT}Content-Encoding: gzip\r\n"), &gzip(&batch("c"))).await;
    assert_eq!((packed.status, bench.names(1).await), (202, vec!["c".to_string()]));
    bench.emit(binary_port, &binary("d")).await;
    assert_eq!(bench.names(1).await, ["d"]);
    bench.emit(compact_port, &compact("e")).await;
    let batches = bench.sink.wait(1).await;
    let span = &spans(&batches)[0];
    assert_eq!(
        (span.name.as_str(), span.trace_id[15], span.span_id[7], span.start_time_unix_nano),
        ("e", 1, 2, 5000)
    );
    assert_eq!(batches[0].client.as_ref().expect("noted").peer, "127.0.0.1");
    let text = bench.text();
    for (transport, count) in
        [("grpc", 1), ("collector_http", 3), ("udp_thrift_binary", 1), ("udp_thrift_compact", 1)]
    {
        let end =
            format!("receiver=\"jaeger/otelcol.receiver.jaeger.test\",transport=\"{transport}\"}} {count}");
        assert!(
            text.lines()
                .any(|l| l.starts_with("otelcol_receiver_accepted_spans_total{") && l.ends_with(&end)),
            "{text}"
        );
    }
    assert!(text.contains("rpc_service=\"jaeger.api_v2.CollectorService\""), "{text}");
}

#[tokio::test]
async fn clients_that_can_be_answered_hear_what_became_of_their_spans() {
    let bench = Bench::with("", OUTPUT).await;
    bench.sink.answer(Err(Rejected::Retryable("full".into())));
    let answer = bench.post(THRIFT, &batch("a")).await;
    assert!(answer.status == 503 && answer.head.contains("retry-after"), "{answer:?}");
    assert_eq!(bench.call(request("a")).await, Code::Unavailable);
    bench.sink.answer(Err(Rejected::Permanent("never".into())));
    assert_eq!(bench.post(THRIFT, &batch("a")).await.status, 400);
    assert_eq!(bench.call(request("a")).await, Code::InvalidArgument);
    let silent = Bench::with("", "output { }").await;
    assert_eq!(silent.post(THRIFT, &batch("a")).await.status, 404);
    assert_eq!(silent.call(request("a")).await, Code::Unimplemented);
    silent.emit(silent.ports.compact, &compact("a")).await;
    silent.dropped("compact", "no_consumer", 1).await;
}

#[tokio::test]
async fn datagrams_are_tried_again_until_a_consumer_takes_them() {
    let bench = Bench::with("workers = 1", OUTPUT).await;
    bench.sink.answer(Err(Rejected::Retryable("full".into())));
    bench.emit(bench.ports.compact, &compact("a")).await;
    bench.emit(bench.ports.compact, &compact("b")).await;
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    bench.sink.answer(Ok(()));
    let mut all = Vec::new();
    while all.len() < 2 {
        all.extend(bench.names(1).await);
    }
    assert_eq!(all, ["a", "b"]);
    bench.sink.answer(Err(Rejected::Permanent("never".into())));
    bench.emit(bench.ports.binary, &binary("c")).await;
    bench.dropped("binary", "rejected", 1).await;
}

#[tokio::test]
async fn what_is_too_much_for_the_queue_is_counted_and_the_rest_arrives() {
    let bench = Bench::with("workers = 1\nqueue_size = 4\nmax_packet_size = \"200B\"", OUTPUT).await;
    bench.sink.answer(Err(Rejected::Retryable("full".into())));
    let sent = 64;
    let lost = loop {
        for n in 0..sent {
            bench.emit(bench.ports.compact, &compact(&n.to_string())).await;
        }
        let text = bench.text();
        let name = "otelcol_receiver_jaeger_thrift_compact_dropped_datagrams_total{";
        if text.lines().any(|l| l.starts_with(name) && l.contains("queue_full")) {
            break true;
        }
        tokio::task::yield_now().await;
    };
    bench.sink.answer(Ok(()));
    assert!(lost && !bench.names(1).await.is_empty());
    bench.emit(bench.ports.compact, &compact(&"x".repeat(100))).await;
    bench.emit(bench.ports.compact, &[0; 201]).await;
    bench.dropped("compact", "too_large", 1).await;
}

#[tokio::test]
async fn hostile_input_is_refused_and_the_next_client_is_served() {
    let bench = Bench::with("", OUTPUT).await;
    let good = batch("a");
    for end in 0..good.len() {
        assert_eq!(bench.post(THRIFT, &good[..end]).await.status, 400, "{end}");
    }
    let lie = [12u8, 0, 1, 15, 0, 2, 12, 0x7f, 0xff, 0xff, 0xff];
    let nothings = [vec![15, 0, 2, 12, 0, 0x0f, 0, 0], vec![0; 0x0f_0001]].concat();
    let deep = [12u8, 0, 9].repeat(100_000);
    for (headers, body, status) in [
        (THRIFT.to_string(), lie.to_vec(), 400),
        (THRIFT.to_string(), nothings, 400),
        (THRIFT.to_string(), deep, 400),
        (THRIFT.to_string(), vec![0; 2 << 20], 413),
        (format!("{THRIFT}Content-Encoding: gzip\r\n"), gzip(&vec![0; 2 << 20]), 413),
        ("Content-Type: text/plain\r\n".to_string(), good.clone(), 400),
    ] {
        let answer = bench.post(&headers, &body).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    assert_eq!(send(bench.ports.http, "GET /api/traces HTTP/1.1\r\n", b"").await.status, 405);
    assert_eq!(send(bench.ports.http, "POST /other HTTP/1.1\r\n", b"").await.status, 404);
    for message in [&b"hello"[..], &[0x0a, 200], &[0x0a, 4, 0x0a, 2, 0x0a, 1]] {
        assert_eq!(bench.call(frame(0, message)).await, Code::InvalidArgument, "{message:?}");
    }
    assert_eq!(bench.call(frame(0, &vec![0; 5 << 20])).await, Code::ResourceExhausted);
    let mut bad = 0;
    for datagram in [binary("a"), compact("a")] {
        for end in (0..datagram.len()).step_by(7) {
            bench.emit(bench.ports.binary, &datagram[..end]).await;
            bad += 1;
        }
    }
    bench.dropped("binary", "invalid", bad).await;
    assert!(bench.sink.take().is_empty(), "nothing of all that gets through");
    assert_eq!(bench.post(THRIFT, &good).await.status, 202);
    assert_eq!(bench.call(request("b")).await, Code::Ok);
    bench.emit(bench.ports.binary, &binary("c")).await;
    let mut all = Vec::new();
    while all.len() < 3 {
        all.extend(bench.names(1).await);
    }
    assert_eq!(all, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_reload_loses_no_datagram_and_a_bad_one_changes_nothing() {
    let bench = Bench::with("", OUTPUT).await;
    let (mut sent, mut got) = (0, 0);
    for round in 0..6 {
        for _ in 0..20 {
            bench.emit(bench.ports.compact, &compact("a")).await;
            sent += 1;
        }
        let in_agents = format!("workers = {}\nsocket_buffer_size = \"{}KiB\"", round + 1, 256 + round);
        bench.harness.update(&config(bench.ports, &in_agents, OUTPUT)).await.expect("updated");
    }
    while got < sent {
        got += bench.names(1).await.len();
    }
    assert_eq!(got, sent);
    let other = std::net::UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let taken = other.local_addr().expect("bound").port();
    let bad = Ports { grpc: free_port(), compact: taken, ..bench.ports };
    assert!(matches!(
        bench.harness.update(&config(bad, "workers = 3", OUTPUT)).await,
        Err(Refused::Error(_))
    ));
    assert_eq!(bench.call(request("b")).await, Code::Ok);
    assert_eq!(bench.names(1).await, ["b"]);
    bench.emit(bench.ports.binary, &binary("c")).await;
    assert_eq!(bench.names(1).await, ["c"]);
    bench.emit(bench.ports.compact, &compact("d")).await;
    assert_eq!(bench.names(1).await, ["d"]);
}

#[tokio::test]
async fn what_waits_is_handed_over_at_the_end() {
    let bench = Bench::with("", OUTPUT).await;
    for _ in 0..30 {
        bench.emit(bench.ports.compact, &compact("a")).await;
    }
    bench.harness.stop().await;
    assert_eq!(names(&bench.sink.take()).len(), 30);
    assert!(std::net::UdpSocket::bind(("127.0.0.1", bench.ports.compact)).is_ok(), "closed");
}

#[tokio::test]
async fn what_cannot_be_honoured_is_refused() {
    for (protocols, part) in [
        ("grpc {\n transport = \"unix\"\n}", "transport"),
        ("grpc {\n endpoint = \"x\"\n}", "has no port"),
        ("thrift_http {\n compression_algorithms = [\"br\"]\n}", "not a compression"),
        ("thrift_compact {\n queue_size = -1\n}", "queue_size must be"),
        ("thrift_binary {\n workers = 100000\n}", "workers must be"),
        ("thrift_binary {\n endpoint = \"6832\"\n}", "has no port"),
        ("thrift_binary {\n endpoint = \":1\"\n}\nthrift_compact {\n endpoint = \":1\"\n}", "both listen"),
        ("grpc {\n endpoint = \":1\"\n}\nthrift_http {\n endpoint = \":1\"\n}", "both listen"),
    ] {
        let harness = Harness::new(DEFINITION, Names::default(), Services::for_tests("unused"));
        match harness.update(&format!("protocols {{\n{protocols}\n}}\noutput {{}}")).await {
            Err(Refused::Diagnostics(all)) => {
                assert!(all.iter().any(|d| d.message.contains(part)), "{protocols}: {all:?}");
            }
            other => panic!("{protocols}: {other:?}"),
        }
    }
}

#[test]
fn the_endpoints_have_their_own_defaults() {
    let lines = surface(Args::schema());
    for line in [
        "protocols.grpc.endpoint string = \"0.0.0.0:14250\"",
        "protocols.grpc.max_recv_msg_size size(base2)",
        "protocols.thrift_http.endpoint string = \"0.0.0.0:14268\"",
        "protocols.thrift_binary.endpoint string = \"0.0.0.0:6832\"",
        "protocols.thrift_compact.endpoint string = \"0.0.0.0:6831\"",
        "protocols.thrift_compact.max_packet_size size(base2) = \"65KiB\"",
        "protocols.thrift_compact.queue_size int = 1000",
        "protocols.thrift_compact.workers int = 10",
        "protocols.thrift_compact.socket_buffer_size size(base2)",
        "protocols block required error",
    ] {
        assert!(lines.iter().any(|l| l == line), "{line}: {lines:#?}");
    }
}

/// `jaeger-client` of npm over UDP and HTTP, by hand; see `client.js`:
/// `JAEGER_CLIENT="node client.js" cargo test -p components-otelcol jaeger_client -- --ignored`.
#[tokio::test]
#[ignore = "needs a client: node with the packages that client.js names; name the command in JAEGER_CLIENT"]
async fn a_real_jaeger_client_delivers_its_spans() {
    let command = std::env::var("JAEGER_CLIENT").expect("JAEGER_CLIENT is a command");
    let bench = Bench::with("", OUTPUT).await;
    for how in ["udp", "http"] {
        let mut words = command.split_whitespace();
        let mut run = tokio::process::Command::new(words.next().expect("a command"));
        run.args(words)
            .env("HOW", how)
            .env("JAEGER_AGENT_PORT", bench.ports.binary.to_string())
            .env("JAEGER_URL", format!("http://127.0.0.1:{}/api/traces", bench.ports.http));
        let output = run.output().await.expect("the client runs");
        assert!(output.status.success(), "{how}: {}", String::from_utf8_lossy(&output.stderr));
        let mut found = Vec::new();
        while found.len() < 2 {
            let batches = tokio::time::timeout(std::time::Duration::from_secs(20), bench.sink.wait(1)).await;
            found.extend(spans(&batches.expect("spans arrive")));
        }
        let outer = found.iter().find(|s| s.name == "outer").expect("the outer span");
        let inner = found.iter().find(|s| s.name == "inner").expect("the inner span");
        assert_eq!((&inner.parent_span_id, &inner.trace_id), (&outer.span_id, &outer.trace_id), "{how}");
        assert_eq!(inner.status.as_ref().map(|s| s.code), Some(2), "{how}: error was set");
        assert_eq!(inner.events[0].name, "retry", "{how}");
    }
}

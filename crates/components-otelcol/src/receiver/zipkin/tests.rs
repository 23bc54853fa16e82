//! All forms over a real socket, hostile clients, reloads, and a real client by hand.

use component::eval::Arguments;
use component::otel::OtelInput;
use component::testkit::{Harness, Names, Refused, Sink, surface};
use component::{ArgValue, ComponentDef, Rejected, Services};
use signal::otlp::Traces;
use signal::otlp::proto::trace::v1::Span;
use tokio::net::TcpStream;

use super::{Args, ZipkinReceiver};
use crate::receiver::bench::{Answer, free_port, gzip, listening, send};

const DEFINITION: ComponentDef = ComponentDef::of::<ZipkinReceiver>();
const OUTPUT: &str = "output {\n traces = [input]\n}";
const SPAN: &str = r#"[{"traceId":"1","id":"2","name":"a","timestamp":5,"tags":{"n":"1"},"shared":true}]"#;
const JSON: &str = "Content-Type: application/json\r\n";

struct Bench {
    harness: Harness,
    sink: Sink<Traces>,
    port: u16,
}

fn config(port: u16, more: &str, output: &str) -> String {
    format!("endpoint = \"127.0.0.1:{port}\"\n{more}\n{output}")
}

impl Bench {
    async fn with(more: &str, output: &str) -> Self {
        let (sink, port) = (Sink::new(), free_port());
        let input = OtelInput { traces: Some(sink.receiver()), ..OtelInput::default() };
        let names = Names::default().with("input", input.to_value());
        let harness = Harness::start(DEFINITION, &config(port, more, output), names).await;
        listening(port).await;
        Self { harness, sink, port }
    }

    async fn post(&self, path: &str, headers: &str, body: &[u8]) -> Answer {
        send(self.port, &format!("POST {path} HTTP/1.1\r\n{headers}"), body).await
    }

    fn spans(&self) -> Vec<Span> {
        let batches = self.sink.take();
        let requests = batches.iter().flat_map(|b| &b.requests).map(|r| r.message().expect("decodes"));
        let scopes = requests.flat_map(|r| &r.resource_spans).flat_map(|r| &r.scope_spans);
        scopes.flat_map(|s| &s.spans).cloned().collect()
    }
}

/// A list of one Thrift span: trace 1, ID 2, name `a`.
fn thrift() -> Vec<u8> {
    let i64 = |id: u8, value: u64| [vec![10, 0, id], value.to_be_bytes().to_vec()].concat();
    [vec![12, 0, 0, 0, 1], i64(1, 1), vec![11, 0, 3, 0, 0, 0, 1, b'a'], i64(4, 2), i64(10, 5), vec![0]]
        .concat()
}

/// A list of one span in protobuf: trace 1, ID 2, name `a`.
fn protobuf() -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| [&[number << 3 | 2, bytes.len() as u8], bytes].concat();
    field(
        1,
        &[field(1, &[0, 0, 0, 0, 0, 0, 0, 1]), field(3, &[0, 0, 0, 0, 0, 0, 0, 2]), field(5, b"a")].concat(),
    )
}

#[tokio::test]
async fn all_forms_arrive_compressed_or_not() {
    let bench = Bench::with("", OUTPUT).await;
    let thrift_type = "Content-Type: application/x-thrift\r\n";
    let proto_type = "Content-Type: application/x-protobuf; v=2\r\n";
    for (path, headers, body, transport) in [
        ("/api/v2/spans", JSON, SPAN.as_bytes().to_vec(), "http_v2_json"),
        ("/zipkin/api/v2/spans?x", "", SPAN.as_bytes().to_vec(), "http_v2_json"),
        ("/api/v2/spans", proto_type, protobuf(), "http_v2_proto"),
        ("/api/v1/spans", JSON, SPAN.as_bytes().to_vec(), "http_v1_json"),
        ("/api/v1/spans", thrift_type, thrift(), "http_v1_thrift"),
    ] {
        for packed in [false, true] {
            let encoding = if packed { "Content-Encoding: gzip\r\n" } else { "" };
            let sent = if packed { gzip(&body) } else { body.clone() };
            let answer = bench.post(path, &format!("{headers}{encoding}"), &sent).await;
            assert_eq!((answer.status, answer.body.len()), (202, 0), "{path} {headers} {answer:?}");
            let spans = bench.spans();
            assert_eq!(
                spans.iter().map(|s| (s.name.as_str(), s.trace_id[15], s.span_id[7])).collect::<Vec<_>>(),
                [("a", 1, 2)]
            );
        }
        let text = bench.harness.services.metrics.text();
        let line = format!("receiver=\"zipkin/otelcol.receiver.zipkin.test\",transport=\"{transport}\"}}");
        assert!(
            text.lines()
                .any(|l| l.starts_with("otelcol_receiver_accepted_spans_total{") && l.contains(&line)),
            "{text}"
        );
    }
    let text = bench.harness.services.metrics.text();
    let counted = text.lines().find(|l| l.starts_with("otelcol_receiver_zipkin_conversion_dropped_total{"));
    let counted = counted.expect("counted");
    assert!(counted.contains("what=\"shared flag\"") && counted.ends_with(" 4"), "{counted}");
    assert_eq!(bench.post("/api/v2/spans", JSON, b"[]").await.status, 202);
    assert!(bench.sink.take().is_empty());
}

#[tokio::test]
async fn a_client_hears_what_became_of_its_spans() {
    let bench = Bench::with("", OUTPUT).await;
    bench.sink.answer(Err(Rejected::Retryable("full".into())));
    let answer = bench.post("/api/v2/spans", JSON, SPAN.as_bytes()).await;
    assert!(answer.status == 503 && answer.head.contains("retry-after"), "{answer:?}");
    bench.sink.answer(Err(Rejected::Permanent("never".into())));
    assert_eq!(bench.post("/api/v2/spans", JSON, SPAN.as_bytes()).await.status, 400);
    let text = bench.harness.services.metrics.text();
    assert!(text.contains("otelcol_receiver_refused_spans_total"), "{text}");
    let silent = Bench::with("", "output { }").await;
    assert_eq!(silent.post("/api/v2/spans", JSON, SPAN.as_bytes()).await.status, 404);
}

#[tokio::test]
async fn hostile_bodies_are_refused_and_the_next_client_is_served() {
    let bench = Bench::with("max_request_body_size = \"1MiB\"", OUTPUT).await;
    let deep = "[".repeat(100_000);
    let gzipped = format!("{JSON}Content-Encoding: gzip\r\n");
    let thrift_type = "Content-Type: application/x-thrift\r\n";
    let proto_type = "Content-Type: application/x-protobuf\r\n";
    let lie = [12, 0x7f, 0xff, 0xff, 0xff, 0];
    let nothings = [vec![12, 0, 0x0f, 0, 0], vec![0; 0x0f_0000]].concat();
    for (path, headers, body, status) in [
        ("/api/v2/spans", JSON, b"".to_vec(), 400),
        ("/api/v2/spans", JSON, b"[{}]".to_vec(), 400),
        ("/api/v2/spans", JSON, deep.clone().into_bytes(), 400),
        ("/api/v2/spans", JSON, vec![0xff; 100], 400),
        ("/api/v2/spans", JSON, vec![b' '; 2 << 20], 413),
        ("/api/v2/spans", &gzipped, gzip(&vec![b' '; 2 << 20]), 413),
        ("/api/v2/spans", &gzipped, b"no gzip".to_vec(), 400),
        ("/api/v2/spans", "Content-Encoding: br\r\n", SPAN.as_bytes().to_vec(), 415),
        ("/api/v2/spans", proto_type, vec![0x0a, 200], 400),
        ("/api/v1/spans", thrift_type, lie.to_vec(), 400),
        ("/api/v1/spans", thrift_type, nothings, 400),
        ("/api/v1/spans", JSON, deep.into_bytes(), 400),
    ] {
        let answer = bench.post(path, headers, &body).await;
        assert_eq!(answer.status, status, "{path} {headers} {answer:?}");
    }
    for (body, headers, path) in
        [(protobuf(), proto_type, "/api/v2/spans"), (thrift(), thrift_type, "/api/v1/spans")]
    {
        for end in 1..body.len() {
            assert_eq!(bench.post(path, headers, &body[..end]).await.status, 400, "{end}");
        }
    }
    assert_eq!(send(bench.port, "GET /api/v2/spans HTTP/1.1\r\n", b"").await.status, 405);
    assert!(bench.sink.take().is_empty(), "nothing of all that gets through");
    assert_eq!(bench.post("/api/v2/spans", JSON, SPAN.as_bytes()).await.status, 202);
    assert_eq!(bench.spans().len(), 1);
}

#[tokio::test]
async fn a_change_of_arguments_is_in_force_with_the_next_request_and_a_bad_one_changes_nothing() {
    let bench = Bench::with("include_metadata = true\ncors {\n allowed_origins = [\"*\"]\n}", OUTPUT).await;
    let answer = bench.post("/api/v2/spans", "Origin: http://page\r\nX-Tenant: t\r\n", SPAN.as_bytes()).await;
    assert!(
        answer.status == 202 && answer.head.contains("access-control-allow-origin: http://page"),
        "{answer:?}"
    );
    let batch = bench.sink.take().remove(0);
    assert_eq!(batch.client.as_ref().expect("noted").values("x-tenant").collect::<Vec<_>>(), ["t"]);
    bench.harness.update(&config(bench.port, "parse_string_tags = true", OUTPUT)).await.expect("updated");
    assert_eq!(bench.post("/api/v2/spans", JSON, SPAN.as_bytes()).await.status, 202);
    let span = &bench.spans()[0];
    assert!(format!("{:?}", span.attributes[0]).contains("IntValue(1)"), "{span:?}");
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let other = taken.local_addr().expect("bound").port();
    assert!(matches!(bench.harness.update(&config(other, "", OUTPUT)).await, Err(Refused::Error(_))));
    assert_eq!(bench.post("/api/v2/spans", JSON, SPAN.as_bytes()).await.status, 202);
    bench.harness.update(&config(bench.port, "", "output { }")).await.expect("updated");
    assert_eq!(bench.post("/api/v2/spans", JSON, SPAN.as_bytes()).await.status, 404);
    bench.harness.stop().await;
    assert!(TcpStream::connect(("127.0.0.1", bench.port)).await.is_err());
}

#[tokio::test]
async fn what_cannot_be_honoured_is_refused() {
    for (body, part) in [
        ("endpoint = \"x\"", "has no port"),
        ("compression_algorithms = [\"br\"]", "not a compression"),
        ("debug_metrics {\n disable_high_cardinality_metrics = false\n}", "every client"),
        ("parse_string_tags = 1", "bool"),
    ] {
        let harness = Harness::new(DEFINITION, Names::default(), Services::for_tests("unused"));
        match harness.update(&format!("{body}\noutput {{}}")).await {
            Err(Refused::Diagnostics(all)) => {
                assert!(all.iter().any(|d| d.message.contains(part)), "{body}: {all:?}");
            }
            other => panic!("{body}: {other:?}"),
        }
    }
}

#[test]
fn the_endpoint_has_its_own_default() {
    let lines = surface(Args::schema());
    for line in [
        "endpoint string = \"0.0.0.0:9411\"",
        "max_request_body_size size(base2) = \"20MiB\"",
        "parse_string_tags bool",
    ] {
        assert!(lines.iter().any(|l| l == line), "{line}: {lines:#?}");
    }
    assert_eq!(Args::defaults().server.endpoint, "0.0.0.0:9411");
}

/// OpenTelemetry's exporter for Go and the `zipkin` package of npm, by hand:
/// `ZIPKIN_CLIENT="node client.js" cargo test -p components-otelcol zipkin_client -- --ignored`; see `client.js`.
#[tokio::test]
#[ignore = "needs a client: node with the packages that client.js names; name the command in ZIPKIN_CLIENT"]
async fn a_real_zipkin_client_delivers_its_spans() {
    let command = std::env::var("ZIPKIN_CLIENT").expect("ZIPKIN_CLIENT is a command");
    let bench = Bench::with("", OUTPUT).await;
    let mut words = command.split_whitespace();
    let mut run = tokio::process::Command::new(words.next().expect("a command"));
    run.args(words).env("ZIPKIN_URL", format!("http://127.0.0.1:{}", bench.port));
    let output = run.output().await.expect("the client runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let spans = bench.spans();
    assert!(!spans.is_empty());
    assert!(spans.iter().any(|s| s.name.contains("outer")), "{spans:#?}");
    assert!(spans.iter().any(|s| !s.parent_span_id.is_empty()), "{spans:#?}");
}

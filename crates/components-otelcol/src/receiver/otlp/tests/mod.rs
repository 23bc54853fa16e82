//! Three signals over every protocol, hostile clients, reloads under load.

mod bench;
mod reload;
mod sdk;
mod tls;

use component::eval::Value;
use component::testkit::{Harness, Names, Refused};
use component::{ComponentDef, Rejected, Services};
use net::grpc::{Code, Status};
use prost::Message;
use signal::otlp::proto::collector::metrics::v1::ExportMetricsServiceRequest;
use signal::otlp::proto::collector::trace::v1::ExportTraceServiceRequest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use bench::{ALL, Bench, DEFINITION, METHODS, PATHS, frame, gzip, requests, send, traces};

const PROTOBUF: &str = "Content-Type: application/x-protobuf\r\n";
const JSON: &str = "Content-Type: application/json\r\n";

fn zlib(body: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).expect("memory");
    encoder.finish().expect("memory")
}

fn snappy(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    wire::compress::SnappyEncoder::new().compress(body, &mut out).expect("small");
    out
}

type Compression = (&'static str, fn(&[u8]) -> Vec<u8>, Option<&'static str>);

/// The word, what it does, and whether the body is kept.
fn compressions() -> [Compression; 6] {
    [
        ("", <[u8]>::to_vec, None),
        ("gzip", gzip, Some("gzip")),
        ("zstd", |body| zstd::encode_all(body, 1).expect("memory"), Some("zstd")),
        ("deflate", zlib, None),
        ("zlib", zlib, None),
        ("snappy", snappy, None),
    ]
}

#[tokio::test]
async fn three_signals_arrive_over_http_in_both_forms_and_every_compression() {
    let bench = Bench::start().await;
    for (path, (wire, json)) in PATHS.into_iter().zip(requests()) {
        for (word, pack, kept) in compressions() {
            let encoding =
                if word.is_empty() { String::new() } else { format!("Content-Encoding: {word}\r\n") };
            let answer = bench.post(path, &format!("{PROTOBUF}{encoding}"), &pack(&wire)).await;
            assert_eq!((answer.status, answer.body.len()), (200, 0), "{path} {word} {answer:?}");
            assert!(answer.head.contains("content-type: application/x-protobuf"), "{answer:?}");
            assert_eq!(bench.sinks.take(), [(wire.clone().into(), kept)], "{path} {word}");

            let answer = bench.post(path, &format!("{JSON}{encoding}"), &pack(&json)).await;
            assert_eq!((answer.status, answer.body), (200, b"{\"partialSuccess\":{}}".to_vec()));
            let arrived = bench.sinks.take();
            assert!(arrived.len() == 1 && arrived[0].1.is_none(), "JSON is not what exporters send");
            match path {
                "/v1/traces" => {
                    assert_eq!(ExportTraceServiceRequest::decode(&*arrived[0].0), Ok(traces()));
                }
                "/v1/metrics" => {
                    assert_eq!(ExportMetricsServiceRequest::decode(&*arrived[0].0), Ok(bench::metrics()));
                }
                _ => assert!(!arrived[0].0.is_empty()),
            }
        }
    }
}

#[tokio::test]
async fn three_signals_arrive_over_grpc_with_and_without_compression() {
    let bench = Bench::start().await;
    let mut caller = bench::Caller::connect(bench.grpc).await;
    for (method, (wire, _)) in METHODS.into_iter().zip(requests()) {
        for (word, pack, kept) in compressions().into_iter().filter(|c| c.0 != "zlib") {
            let (flag, word) = if word.is_empty() { (0, "identity") } else { (1, word) };
            let headers = [("grpc-encoding", word), ("grpc-timeout", "30S")];
            let status = caller.call(method, &headers, frame(flag, &pack(&wire))).await;
            assert_eq!(status.code, Code::Ok, "{method} {word} {status}");
            assert_eq!(bench.sinks.take(), [(wire.clone().into(), kept)], "{method} {word}");
        }
    }
}

#[tokio::test]
async fn items_are_counted_as_they_were_taken_or_refused() {
    let bench = Bench::start().await;
    let [(spans, _), (points, _), (records, _)] = requests();
    for (path, body) in PATHS.into_iter().zip([&spans, &points, &records]) {
        assert_eq!(bench.post(path, PROTOBUF, body).await.status, 200);
    }
    bench.sinks.logs.answer(Err(Rejected::Retryable("full".into())));
    assert_eq!(bench.call(METHODS[2], &[], frame(0, &records)).await.code, Code::Unavailable);
    let text = bench.text();
    let value = |name: &str, transport: &str| {
        let labels = format!("receiver=\"otlp/otelcol.receiver.otlp.test\",transport=\"{transport}\"}} ");
        let mut lines = text.lines().filter(|l| l.starts_with(&format!("otelcol_receiver_{name}_total{{")));
        lines.find_map(|l| l.split_once(&labels)).map(|(_, v)| v.to_owned())
    };
    assert_eq!(value("accepted_spans", "http").as_deref(), Some("2"), "{text}");
    assert_eq!(value("accepted_metric_points", "http").as_deref(), Some("1"));
    assert_eq!(value("accepted_log_records", "http").as_deref(), Some("3"));
    assert_eq!(value("refused_log_records", "grpc").as_deref(), Some("3"));
    assert_eq!(value("refused_spans", "http"), None);
    let call = "rpc_grpc_status_code=\"14\",rpc_method=\"Export\",rpc_service=\"opentelemetry.proto.collector.logs.v1.LogsService\"";
    assert!(text.contains("rpc_server_duration_milliseconds_count") && text.contains(call), "{text}");

    let quiet = Bench::with("", "", &format!("debug_metrics {{\n level = \"none\"\n}}\n{ALL}")).await;
    assert_eq!(quiet.post(PATHS[0], PROTOBUF, &spans).await.status, 200);
    assert_eq!(quiet.call(METHODS[0], &[], frame(0, &spans)).await.code, Code::Ok);
    assert!(!quiet.text().contains("otelcol_receiver") && !quiet.text().contains("rpc_server"));
}

#[tokio::test]
async fn a_client_is_told_success_only_when_the_consumer_has_the_request() {
    let bench = Bench::start().await;
    let [(wire, json), ..] = requests();
    for refusal in [Rejected::Retryable("full".into()), Rejected::Stopped] {
        bench.sinks.traces.answer(Err(refusal));
        let answer = bench.post(PATHS[0], PROTOBUF, &wire).await;
        assert!(answer.status == 503 && answer.head.contains("retry-after: 5"), "{answer:?}");
        // google.rpc.Status: the code and a message.
        assert!(answer.body.starts_with(&[8, 14, 18]), "{answer:?}");
        assert_eq!(bench.call(METHODS[0], &[], frame(0, &wire)).await.code, Code::Unavailable);
    }
    bench.sinks.traces.answer(Err(Rejected::Permanent("never".into())));
    let answer = bench.post(PATHS[0], JSON, &json).await;
    let body: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!((answer.status, &body["code"], &body["message"]), (400, &3.into(), &"never".into()));
    assert!(answer.head.contains("content-type: application/json"));
    let status = bench.call(METHODS[0], &[], frame(0, &wire)).await;
    assert_eq!(status, Status::new(Code::InvalidArgument, "never"));
    assert!(bench.sinks.take().is_empty());
    bench.sinks.traces.answer(Ok(()));
    assert_eq!(bench.call(METHODS[0], &[], frame(0, &wire)).await.code, Code::Ok);
    assert_eq!(bench.sinks.take().len(), 1);
}

#[tokio::test]
async fn a_signal_without_a_consumer_is_not_served() {
    let bench = Bench::with("", "", "output {\n metrics = [input]\n}").await;
    for (i, (path, (wire, _))) in PATHS.into_iter().zip(requests()).enumerate() {
        let (status, code) = if i == 1 { (200, Code::Ok) } else { (404, Code::Unimplemented) };
        assert_eq!(bench.post(path, PROTOBUF, &wire).await.status, status, "{path}");
        assert_eq!(bench.call(METHODS[i], &[], frame(0, &wire)).await.code, code, "{path}");
    }
}

#[tokio::test]
async fn only_the_protocols_whose_block_is_there_listen() {
    let (sinks, port) = (bench::Sinks::new(), bench::free_port());
    let body = format!("http {{\n endpoint = \"127.0.0.1:{port}\"\n traces_url_path = \"in\"\n}}\n{ALL}");
    let harness = Harness::start(DEFINITION, &body, sinks.names()).await;
    bench::listening(port).await;
    let head = format!("POST /in HTTP/1.1\r\n{PROTOBUF}");
    assert_eq!(send(port, &head, &requests()[0].0).await.status, 200);
    // gRPC's own port is free for another, which finds nobody there.
    let grpc = bench::free_port();
    let both = format!("grpc {{\n endpoint = \"127.0.0.1:{grpc}\"\n}}\n{body}");
    assert!(tokio::net::TcpStream::connect(("127.0.0.1", grpc)).await.is_err());
    harness.update(&both).await.expect("updated");
    assert!(tokio::net::TcpStream::connect(("127.0.0.1", grpc)).await.is_ok());
    harness.update(&body).await.expect("updated");
    harness.stop().await;
    assert!(tokio::net::TcpStream::connect(("127.0.0.1", grpc)).await.is_err());
}

#[tokio::test]
async fn hostile_payloads_are_the_problem_of_their_sender_alone() {
    let small = ["max_recv_msg_size = \"1MiB\"", "max_request_body_size = \"1MiB\""];
    let bench = Bench::with(small[0], small[1], ALL).await;
    let [(wire, json), ..] = requests();
    let deep = (0..200).fold(Vec::new(), |inner, _| {
        let value = frame_field(5, &inner);
        frame_field(1, &value)
    });
    let attribute = frame_field(2, &deep);
    let too_deep = frame_field(1, &frame_field(1, &frame_field(1, &attribute)));
    let bad: Vec<Vec<u8>> = vec![
        wire[..wire.len() - 1].to_vec(),
        vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0x7f],
        vec![0x08, 1],
        vec![0xff; 20],
        // A schema_url that is no text.
        vec![0x0a, 3, 0x1a, 1, 0xff],
        too_deep,
        b"hello".to_vec(),
    ];
    for body in &bad {
        assert_eq!(bench.post(PATHS[0], PROTOBUF, body).await.status, 400, "{body:?}");
        let status = bench.call(METHODS[0], &[], frame(0, body)).await;
        assert_eq!(status.code, Code::InvalidArgument, "{body:?}");
    }
    let nested = "[".repeat(100_000);
    for body in
        ["", "null", "{", nested.as_str(), r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"kind":"X"}]}]}]}"#]
    {
        assert_eq!(bench.post(PATHS[0], JSON, body.as_bytes()).await.status, 400, "{body:.40}");
    }
    let encoded = |word: &str| format!("{PROTOBUF}Content-Encoding: {word}\r\n");
    for (headers, body, expected) in [
        (encoded("gzip"), b"no gzip".to_vec(), 400),
        (encoded("gzip"), gzip(&vec![0; 2 << 20]), 413),
        (encoded("zstd"), zstd::encode_all(&vec![0; 2 << 20][..], 1).expect("memory"), 413),
        (encoded("snappy"), vec![0xff, 0xff, 0xff, 0xff, 0x0f], 413),
        (encoded("lz4"), wire.clone(), 415),
        (encoded("br"), wire.clone(), 415),
        (encoded("gzip, gzip"), wire.clone(), 415),
        ("Content-Type: text/plain\r\n".to_owned(), wire.clone(), 415),
        (String::new(), wire.clone(), 415),
        (JSON.to_owned(), wire.clone(), 400),
        (PROTOBUF.to_owned(), json.clone(), 400),
    ] {
        let answer = bench.post(PATHS[0], &headers, &body).await;
        assert_eq!(answer.status, expected, "{headers} {answer:?}");
    }
    let bomb = frame(1, &gzip(&vec![0; 2 << 20]));
    let status = bench.call(METHODS[0], &[("grpc-encoding", "gzip")], bomb).await;
    assert_eq!(status.code, Code::ResourceExhausted);
    assert_eq!(send(bench.http, "GET /v1/traces HTTP/1.1\r\n", b"").await.status, 405);
    assert_eq!(send(bench.http, "POST /v1/other HTTP/1.1\r\n", b"").await.status, 404);
    assert!(bench.sinks.take().is_empty(), "nothing of all that gets through");
    assert_eq!(bench.post(PATHS[0], PROTOBUF, &wire).await.status, 200);
    assert_eq!(bench.call(METHODS[0], &[], frame(0, &wire)).await.code, Code::Ok);
}

/// A field of bytes.
fn frame_field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    wire::proto::push_varint(&mut out, bytes.len() as u64);
    out.extend_from_slice(bytes);
    out
}

#[tokio::test]
async fn the_limits_of_the_configuration_hold_before_and_after_decompression() {
    let bench = Bench::with(
        "max_recv_msg_size = \"100B\"",
        "max_request_body_size = \"100B\"\n compression_algorithms = [\"gzip\"]",
        ALL,
    )
    .await;
    let small = requests()[0].0.clone();
    assert!(small.len() < 100);
    let large = [&small[..]; 3].concat();
    assert_eq!(bench.post(PATHS[0], PROTOBUF, &small).await.status, 200);
    assert_eq!(bench.post(PATHS[0], PROTOBUF, &large).await.status, 413);
    let packed = gzip(&large);
    assert!(packed.len() < 100);
    let gzipped = format!("{PROTOBUF}Content-Encoding: gzip\r\n");
    assert_eq!(bench.post(PATHS[0], &gzipped, &packed).await.status, 413);
    let zstd = format!("{PROTOBUF}Content-Encoding: zstd\r\n");
    assert_eq!(bench.post(PATHS[0], &zstd, &packed).await.status, 415);
    assert_eq!(bench.call(METHODS[0], &[], frame(0, &small)).await.code, Code::Ok);
    assert_eq!(bench.call(METHODS[0], &[], frame(0, &large)).await.code, Code::ResourceExhausted);
    let headers = [("grpc-encoding", "gzip")];
    assert_eq!(bench.call(METHODS[0], &headers, frame(1, &packed)).await.code, Code::ResourceExhausted);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up_in_time() {
    let bench = Bench::with("", "read_timeout = \"50ms\"", ALL).await;
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", bench.http)).await.expect("listening");
    let head = format!("POST /v1/traces HTTP/1.1\r\nHost: x\r\n{PROTOBUF}Content-Length: 10\r\n\r\nab");
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an answer and the end");
    assert!(answer.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn calls_that_are_given_up_at_once_cost_nobody_else_anything() {
    let bench = Bench::start().await;
    let wire = &requests()[0].0;
    for _ in 0..3 {
        let mut rude = bench::Caller::connect(bench.grpc).await;
        for _ in 0..200 {
            if !rude.give_up(METHODS[0], frame(0, wire)).await {
                break;
            }
        }
    }
    bench.sinks.take();
    assert_eq!(bench.call(METHODS[0], &[], frame(0, wire)).await.code, Code::Ok);
    assert!(!bench.sinks.take().is_empty());
}

#[tokio::test]
async fn headers_are_noted_only_where_that_is_asked_for() {
    let bench = Bench::with("include_metadata = true", "", ALL).await;
    let wire = &requests()[0].0;
    let headers = [("x-scope-orgid", "a")];
    assert_eq!(bench.call(METHODS[0], &headers, frame(0, wire)).await.code, Code::Ok);
    let answer = bench.post(PATHS[0], &format!("{PROTOBUF}X-Scope-OrgID: b\r\n"), wire).await;
    assert_eq!(answer.status, 200);
    let batches = bench.sinks.traces.take();
    let client = batches[0].client.as_ref().expect("noted");
    assert_eq!(client.values("x-scope-orgid").collect::<Vec<_>>(), ["a"]);
    assert!(client.peer.starts_with("127.0.0.1:") && batches[0].received_ms > 0);
    assert!(batches[1].client.is_none());
}

#[tokio::test]
async fn only_clients_that_the_handler_knows_may_send() {
    let handler = |definition: component::ComponentDef, body: &'static str| async move {
        let harness = Harness::start(definition, body, Names::default()).await;
        match harness.node.exports() {
            Value::Object(fields) => fields.get("handler").cloned().expect("a handler"),
            other => panic!("{other:?}"),
        }
    };
    let bearer = handler(ComponentDef::pure::<crate::auth::bearer::Bearer>(), "token = \"secret\"").await;
    let headers = "header {\n key = \"a\"\n value = \"b\"\n}";
    let headers = handler(ComponentDef::pure::<crate::auth::headers::Headers>(), headers).await;
    let sinks = bench::Sinks::new();
    let names = sinks.names().with("bearer", bearer).with("headers", headers);
    let (grpc, http) = (bench::free_port(), bench::free_port());
    let body = bench::config((grpc, "auth = bearer"), (http, "auth = bearer"), ALL);
    let harness = Harness::start(DEFINITION, &body, names).await;
    bench::listening(http).await;
    let wire = &requests()[0].0;
    for (given, status, code) in [
        (None, 401, Code::Unauthenticated),
        (Some("Bearer wrong"), 401, Code::Unauthenticated),
        (Some("Bearer secret"), 200, Code::Ok),
    ] {
        let header = given.map(|g| format!("Authorization: {g}\r\n")).unwrap_or_default();
        let head = format!("POST /v1/traces HTTP/1.1\r\n{PROTOBUF}{header}");
        assert_eq!(send(http, &head, wire).await.status, status, "{given:?}");
        let metadata: Vec<_> = given.map(|g| ("authorization", g)).into_iter().collect();
        let mut caller = bench::Caller::connect(grpc).await;
        assert_eq!(caller.call(METHODS[0], &metadata, frame(0, wire)).await.code, code, "{given:?}");
    }
    assert_eq!(sinks.take().len(), 2);
    // A handler that signs requests cannot check them.
    let refused = harness.update(&body.replace("auth = bearer", "auth = headers")).await;
    assert!(
        matches!(&refused, Err(Refused::Error(e)) if e.to_string().contains("cannot check")),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_may_post() {
    let cors = "cors {\n allowed_origins = [\"https://*.example\"]\n}";
    let bench = Bench::with("", cors, ALL).await;
    let asks = |origin: &str| {
        format!(
            "OPTIONS /v1/traces HTTP/1.1\r\nOrigin: {origin}\r\nAccess-Control-Request-Method: POST\r\n\
             Access-Control-Request-Headers: content-type\r\n"
        )
    };
    let answer = send(bench.http, &asks("https://a.example"), b"").await;
    assert_eq!(answer.status, 204);
    assert!(answer.head.contains("access-control-allow-origin: https://a.example"), "{answer:?}");
    let answer = send(bench.http, &asks("https://evil"), b"").await;
    assert!(!answer.head.contains("access-control-allow-origin"), "{answer:?}");
    let headers = format!("{PROTOBUF}Origin: https://a.example\r\n");
    let answer = bench.post(PATHS[0], &headers, &requests()[0].0).await;
    assert!(answer.status == 200 && answer.head.contains("access-control-allow-origin"), "{answer:?}");
}

#[tokio::test]
async fn what_cannot_be_honoured_is_refused() {
    for (body, part) in [
        ("grpc { transport = \"unix\" }", "transport"),
        ("grpc { endpoint = \"x\" }", "has no port"),
        ("grpc { tls { } }", "certificate"),
        ("grpc { endpoint = \":1\" }\nhttp { endpoint = \":1\" }", "both listen"),
        ("http { logs_url_path = \"/v1/traces\" }", "another signal's"),
        ("http { compression_algorithms = [\"br\"] }", "not a compression"),
        ("debug_metrics { disable_high_cardinality_metrics = false }", "every client"),
    ] {
        let harness = Harness::new(DEFINITION, Names::default(), Services::for_tests("unused"));
        let body = body.replace("{ ", "{\n").replace(" }", "\n}");
        match harness.update(&format!("{body}\noutput {{}}")).await {
            Err(Refused::Diagnostics(all)) => {
                assert!(all.iter().any(|d| d.message.contains(part)), "{body}: {all:?}");
            }
            other => panic!("{body}: {other:?}"),
        }
    }
}

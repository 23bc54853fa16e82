//! What all sources over HTTP do alike, shown with the drain of Heroku: it has the simplest body.

use component::testkit::{Names, Refused};
use component::{ComponentDef, Rejected};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use wire::proto::{Reader, Value, push_bytes_field};

use super::bench::{Bench, answer, config, free_port, listening};
use super::*;
use crate::source::heroku::Heroku;

const DEFINITION: ComponentDef = ComponentDef::of::<Heroku>();
const POST: &str = "POST /heroku/api/v1/drain HTTP/1.1\r\n";
const BODY: &[u8] = b"54 <40>1 2012-11-30T06:45:29+00:00 host app web.3 - hello";

#[tokio::test]
async fn a_request_is_acknowledged_only_when_all_of_forward_to_has_it() {
    let bench = Bench::start(DEFINITION, "").await;
    for refusal in [Rejected::Retryable("full".into()), Rejected::Stopped] {
        bench.sink.answer(Err(refusal));
        let answer = bench.send(POST, BODY).await;
        assert!(answer.status == 503 && answer.head.contains("retry-after: 5"), "{answer:?}");
    }
    bench.sink.answer(Err(Rejected::Permanent("never".into())));
    let answer = bench.send(POST, BODY).await;
    assert_eq!((answer.status, answer.body.as_str()), (400, "never\n"));
    assert_eq!(bench.metric("loki_source_heroku_dropped_entries_total{reason=\"refused\"}"), 1.0);
    bench.sink.answer(Ok(()));
    assert_eq!(bench.send(POST, BODY).await.status, 204);
    assert_eq!(bench.lines(), [("{}".into(), "hello".into())]);
    assert_eq!(bench.metric("loki_source_heroku_drain_entries_total"), 1.0);
}

#[tokio::test]
async fn other_paths_and_methods_are_answered_without_reading_a_body() {
    let bench = Bench::start(DEFINITION, "").await;
    for (head, status, part) in [
        ("POST /other HTTP/1.1\r\n", 404, "/heroku/api/v1/drain"),
        ("GET /heroku/api/v1/drain HTTP/1.1\r\n", 405, "only POST"),
        ("POST /healthy HTTP/1.1\r\n", 405, "only GET"),
        ("GET /healthy HTTP/1.1\r\n", 200, ""),
    ] {
        let answer = bench.send(head, b"").await;
        assert!(answer.status == status && answer.body.contains(part), "{head}: {answer:?}");
    }
    assert!(bench.send("GET /heroku/api/v1/drain HTTP/1.1\r\n", b"").await.head.contains("allow: post"));
}

#[tokio::test]
async fn requests_are_measured_by_the_names_that_alloy_has() {
    let bench = Bench::start(DEFINITION, "").await;
    assert_eq!(bench.send(POST, BODY).await.status, 204);
    let route = "method=\"POST\",route=\"heroku_api_v1_drain\"";
    for (name, value) in [
        (format!("request_duration_seconds_count{{{route},status_code=\"204\",ws=\"false\"}}"), 1.0),
        (format!("request_message_bytes_sum{{{route}}}"), BODY.len() as f64),
        (format!("response_message_bytes_sum{{{route}}}"), 0.0),
        (format!("inflight_requests{{{route}}}"), 0.0),
    ] {
        assert_eq!(bench.metric(&format!("loki_source_heroku_drain_target_{name}")), value, "{name}");
    }
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_before_it_is_sent() {
    let bench = Bench::start(DEFINITION, "").await;
    let mut stream = TcpStream::connect(("127.0.0.1", bench.port)).await.expect("listening");
    let head = format!("{POST}Host: x\r\nContent-Length: {}\r\n\r\n", (16 << 20) + 1);
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut start = [0; 12];
    stream.read_exact(&mut start).await.expect("an answer");
    assert_eq!(&start, b"HTTP/1.1 413");
}

#[tokio::test]
async fn half_a_request_and_a_client_that_goes_away_leave_nothing_behind() {
    let bench = Bench::start_with(DEFINITION, "", "server_read_timeout = \"100ms\"", Names::default()).await;
    let mut slow = TcpStream::connect(("127.0.0.1", bench.port)).await.expect("listening");
    slow.write_all(format!("{POST}Host: x\r\nContent-Length: 100\r\n\r\n53 <40>").as_bytes())
        .await
        .expect("sent");
    let mut gone = TcpStream::connect(("127.0.0.1", bench.port)).await.expect("listening");
    gone.write_all(format!("{POST}Host: x\r\nContent-Length: 100\r\n\r\n").as_bytes()).await.expect("sent");
    drop(gone);
    assert_eq!(answer(&mut slow).await.status, 408);
    assert_eq!(bench.send(POST, BODY).await.status, 204);
    assert_eq!(bench.lines().len(), 1);
    let inflight = "loki_source_heroku_drain_target_inflight_requests{route=\"heroku_api_v1_drain\"}";
    while bench.metric(inflight) > 0.0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_flood_of_connections_waits_its_turn() {
    let bench = Bench::start_with(DEFINITION, "", "conn_limit = 2", Names::default()).await;
    let idle: Vec<_> =
        futures_util::future::join_all((0..20).map(|_| TcpStream::connect(("127.0.0.1", bench.port)))).await;
    let port = bench.port;
    let waiting = tokio::spawn(async move { super::bench::request(port, POST, BODY).await });
    drop(idle);
    assert_eq!(waiting.await.expect("no panic").status, 204);
}

#[tokio::test]
async fn a_change_of_port_or_limits_refuses_no_request() {
    let mut bench = Bench::start(DEFINITION, "").await;
    bench.harness.update(&config(bench.port, "", "conn_limit = 10")).await.expect("updated");
    assert_eq!(bench.send(POST, BODY).await.status, 204);
    let port = free_port();
    bench.harness.update(&config(port, "labels = {a = \"b\"}", "")).await.expect("updated");
    bench.port = port;
    bench.sink.take();
    assert_eq!(bench.send(POST, BODY).await.status, 204);
    assert_eq!(bench.lines(), [("{a=\"b\"}".into(), "hello".into())]);
    // A port that cannot be had leaves everything as it is.
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let refused = bench.harness.update(&config(taken.local_addr().expect("bound").port(), "", "")).await;
    assert!(matches!(refused, Err(Refused::Error(_))), "{refused:?}");
    assert_eq!(bench.send(POST, BODY).await.status, 204);
    bench.harness.stop().await;
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
}

/// Calls `httpgrpc.HTTP/Handle` or another method; answers the status and the message of the call.
async fn call(port: u16, method: &str, message: &[u8]) -> (String, Vec<u8>) {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("listening");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("HTTP/2");
    let connection = tokio::spawn(connection);
    let mut body = vec![0];
    body.extend_from_slice(&u32::try_from(message.len()).expect("small").to_be_bytes());
    body.extend_from_slice(message);
    let request = http::Request::post(format!("http://x{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(Bytes::from(body)))
        .expect("a request");
    let (head, body) = sender.send_request(request).await.expect("an answer").into_parts();
    assert_eq!(head.headers["content-type"], "application/grpc");
    let body = body.collect().await.expect("a body");
    let trailers = body.trailers().cloned().unwrap_or(head.headers);
    let status = trailers["grpc-status"].to_str().expect("text").to_owned();
    drop(sender);
    connection.abort();
    (status, body.to_bytes().to_vec())
}

#[tokio::test]
async fn the_same_requests_come_over_grpc() {
    let port = free_port();
    let grpc = format!("grpc {{\n listen_address = \"127.0.0.1\"\n listen_port = {port}\n}}");
    let bench = Bench::start(DEFINITION, &grpc).await;
    listening(port).await;
    let mut message = Vec::new();
    push_bytes_field(&mut message, 1, b"POST");
    push_bytes_field(&mut message, 2, b"/heroku/api/v1/drain");
    push_bytes_field(&mut message, 4, BODY);
    let (status, answer) = call(port, "/httpgrpc.HTTP/Handle", &message).await;
    assert_eq!(status, "0");
    let field = Reader::new(&answer[5..]).next_field().expect("a message").expect("a field");
    assert!(field.number == 1 && matches!(field.value, Value::Varint(204)), "{field:?}");
    assert_eq!(bench.lines().len(), 1);
    // Other answers than success are answers too; those of class 5xx are errors of the call.
    bench.sink.answer(Err(Rejected::Retryable("full".into())));
    assert_eq!(call(port, "/httpgrpc.HTTP/Handle", &message).await.0, "503");
    assert_eq!(call(port, "/httpgrpc.HTTP/Handle", b"\xff").await.0, "3");
    assert_eq!(call(port, "/other.Service/Method", &message).await.0, "12");
    // The block goes, and with it the port.
    bench.harness.update(&config(bench.port, "", "")).await.expect("updated");
    while TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

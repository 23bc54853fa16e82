//! Unary gRPC: hyper's own HTTP/2 client against the server half.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use component::BoxFuture;
use http::{HeaderMap, Request, StatusCode, Version};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use net::grpc::{Call, Code, Finished, Limits, PREFIX, Service, Status, handler};
use net::server::Budget;
use net::{Server, ServerOptions};
use parking_lot::Mutex;
use tokio::net::TcpStream;
use wire::compress::SnappyEncoder;

const LIMIT: usize = 100_000;

/// Answers what it is sent, and some paths in other ways.
#[derive(Default)]
struct Echo(Arc<Mutex<Vec<(String, Code, usize)>>>);

impl Service for Echo {
    fn serves(&self, method: &str) -> bool {
        method.starts_with("/test.Echo/")
    }

    fn call(&self, call: Call) -> BoxFuture<'_, Result<Bytes, Status>> {
        Box::pin(async move {
            match call.method.as_str() {
                "/test.Echo/Hang" => std::future::pending().await,
                "/test.Echo/Fail" => Err(Status::new(Code::Unavailable, "täglich 100 %")),
                "/test.Echo/Packed" => {
                    let (name, packed) = call.packed.expect("the call was compressed");
                    assert_eq!((name, call.headers["x-key"].as_bytes()), ("snappy", &b"v"[..]));
                    assert!(call.peer.is_some());
                    Ok(packed)
                }
                _ => Ok(call.message),
            }
        })
    }

    fn finished(&self, f: &Finished<'_>) {
        self.0.lock().push((f.method.to_owned(), f.code, f.request_bytes));
    }
}

/// Method, metadata, body, and the code that comes of them.
type Case = (&'static str, Vec<(&'static str, &'static str)>, Vec<u8>, Code);

struct Bench {
    server: Server,
    finished: Arc<Mutex<Vec<(String, Code, usize)>>>,
}

/// What a client got.
#[derive(Debug)]
struct Answer {
    http: StatusCode,
    status: Option<Status>,
    message: Bytes,
    headers: HeaderMap,
}

impl Bench {
    async fn start() -> Self {
        let echo = Echo::default();
        let finished = echo.0.clone();
        let limits = Limits { max_message: LIMIT, budget: Budget::new(1 << 20) };
        let options = ServerOptions::default().max_body(LIMIT + PREFIX);
        let server =
            Server::bind("test", "127.0.0.1", 0, options, handler(echo, limits)).await.expect("loopback");
        Self { server, finished }
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        let stream = TcpStream::connect(self.server.address()).await.expect("listening");
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .expect("HTTP/2");
        tokio::spawn(connection);
        let response = sender.send_request(request).await.expect("an answer");
        let (head, body) = response.into_parts();
        let collected = body.collect().await.expect("a body");
        let trailers = collected.trailers().cloned();
        let status = trailers.as_ref().and_then(Status::read).or_else(|| Status::read(&head.headers));
        let message = collected.to_bytes();
        Answer { http: head.status, status, message, headers: head.headers }
    }

    async fn call(&self, method: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        let uri = format!("http://{}{method}", self.server.address());
        let mut request =
            Request::post(uri).version(Version::HTTP_2).header("content-type", "application/grpc");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Full::new(body.into())).expect("a request")).await
    }
}

fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    let mut frame = vec![flag];
    frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
    frame.extend_from_slice(message);
    frame
}

fn code(answer: &Answer) -> Code {
    answer.status.as_ref().expect("a status").code
}

#[tokio::test]
async fn a_message_is_answered_with_a_message_and_a_status_in_the_trailers() {
    let bench = Bench::start().await;
    for message in [&b""[..], b"hello", &vec![7; LIMIT]] {
        let answer = bench.call("/test.Echo/Say", &[], framed(0, message)).await;
        assert_eq!((answer.http, code(&answer)), (StatusCode::OK, Code::Ok));
        assert!(answer.message == framed(0, message) && !answer.headers.contains_key("grpc-status"));
        assert_eq!(answer.headers["content-type"], "application/grpc");
    }
    let finished = bench.finished.lock().clone();
    assert_eq!(finished[1], ("/test.Echo/Say".to_owned(), Code::Ok, 5));
}

#[tokio::test]
async fn a_compressed_message_is_unpacked_and_kept() {
    let bench = Bench::start().await;
    let mut packed = Vec::new();
    SnappyEncoder::new().compress(&[3; 5000], &mut packed).expect("small");
    let headers = [("grpc-encoding", "snappy"), ("x-key", "v")];
    let answer = bench.call("/test.Echo/Say", &headers, framed(1, &packed)).await;
    assert_eq!(answer.message, framed(0, &[3; 5000]));
    let answer = bench.call("/test.Echo/Packed", &headers, framed(1, &packed)).await;
    assert_eq!(answer.message, framed(0, &packed));
    // A compressor may leave a message as it is.
    let answer = bench.call("/test.Echo/Say", &headers, framed(0, b"as it is")).await;
    assert_eq!(answer.message, framed(0, b"as it is"));
}

#[tokio::test]
async fn every_failure_has_its_status_in_the_headers() {
    let bench = Bench::start().await;
    let mut bomb = Vec::new();
    SnappyEncoder::new().compress(&vec![0; LIMIT + 1], &mut bomb).expect("small");
    let mut twice = framed(0, b"one");
    twice.extend(framed(0, b"two"));
    let large = framed(0, &vec![0; LIMIT + 1]);
    let (say, snappy) = ("/test.Echo/Say", ("grpc-encoding", "snappy"));
    let cases: Vec<Case> = vec![
        ("/test.Other/Say", vec![], framed(0, b""), Code::Unimplemented),
        ("/test.Echo/Fail", vec![], framed(0, b""), Code::Unavailable),
        (say, vec![("grpc-encoding", "br")], framed(1, b"x"), Code::Unimplemented),
        (say, vec![], framed(1, b"x"), Code::Internal),
        (say, vec![], framed(2, b"x"), Code::Internal),
        (say, vec![snappy], framed(1, b"\xff\xff"), Code::Internal),
        (say, vec![snappy], framed(1, &bomb), Code::ResourceExhausted),
        (say, vec![], large, Code::ResourceExhausted),
        // Four gigabytes that never come.
        (say, vec![], vec![0, 0xff, 0xff, 0xff, 0xff, 1], Code::ResourceExhausted),
        (say, vec![], framed(0, b"cut off")[..8].to_vec(), Code::Internal),
        (say, vec![], vec![0, 0], Code::Internal),
        (say, vec![], vec![], Code::Internal),
        (say, vec![], twice, Code::Unimplemented),
        (say, vec![("grpc-timeout", "soon")], framed(0, b""), Code::Internal),
        ("/test.Echo/Hang", vec![("grpc-timeout", "20m")], framed(0, b""), Code::DeadlineExceeded),
    ];
    for (method, headers, body, expected) in cases {
        let answer = bench.call(method, &headers, body).await;
        assert_eq!(code(&answer), expected, "{method} {headers:?} {answer:?}");
        assert!(answer.headers.contains_key("grpc-status") && answer.message.is_empty());
        assert_eq!(answer.http, StatusCode::OK);
    }
    let answer = bench.call("/test.Echo/Fail", &[], framed(0, b"")).await;
    assert_eq!(answer.status.expect("a status").message, "täglich 100 %");
}

#[tokio::test]
async fn what_is_not_grpc_is_answered_in_plain_http() {
    let bench = Bench::start().await;
    let uri = format!("http://{}/test.Echo/Say", bench.server.address());
    let with = |method: &str, media: &str| {
        let request = Request::builder().method(method).uri(&uri).version(Version::HTTP_2);
        request.header("content-type", media).body(Full::new(Bytes::new())).expect("a request")
    };
    for (method, media, expected) in [
        ("GET", "application/grpc", StatusCode::METHOD_NOT_ALLOWED),
        ("POST", "application/json", StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("POST", "application/grpc+json", StatusCode::UNSUPPORTED_MEDIA_TYPE),
    ] {
        assert_eq!(bench.send(with(method, media)).await.http, expected, "{method} {media}");
    }
}

#[tokio::test]
async fn a_message_in_many_parts_is_put_together() {
    let bench = Bench::start().await;
    let stream = TcpStream::connect(bench.server.address()).await.expect("listening");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("HTTP/2");
    tokio::spawn(connection);
    let bytes = framed(0, b"in many parts");
    let parts: Vec<_> =
        bytes.chunks(1).map(|part| Ok::<_, Infallible>(Frame::data(Bytes::copy_from_slice(part)))).collect();
    let body = StreamBody::new(futures_util::stream::iter(parts));
    let uri = format!("http://{}/test.Echo/Say", bench.server.address());
    let request = Request::post(uri).header("content-type", "application/grpc+proto").body(body);
    let sending = sender.send_request(request.expect("a request"));
    let response = tokio::time::timeout(Duration::from_secs(30), sending).await.expect("in time");
    let body = response.expect("an answer").into_body().collect().await.expect("a body").to_bytes();
    assert_eq!(body, bytes);
}

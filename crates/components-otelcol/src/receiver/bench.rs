//! Clients of receivers under test, over real sockets: HTTP/1 by hand, gRPC by HTTP/2.

use std::io::Write;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use net::grpc::{Code, PREFIX, Status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    net::testkit::free_port()
}

pub(crate) async fn listening(port: u16) {
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        tokio::task::yield_now().await;
    }
}

/// What a client got over HTTP.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In lower case.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// Sends a request: its first line and headers, each with its line end, and its body.
pub(crate) async fn send(port: u16, head: &str, body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("listening");
    let head = format!("{head}Host: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.expect("sent");
    // The server may answer and close before it has read all.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or(answer.len());
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or_default();
    Answer { status, head, body: answer.get(end + 4..).unwrap_or_default().to_vec() }
}

/// A client with one HTTP/2 connection.
pub(crate) struct Caller {
    sender: hyper::client::conn::http2::SendRequest<Full<Bytes>>,
    port: u16,
}

impl Caller {
    pub(crate) async fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("listening");
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .expect("HTTP/2");
        tokio::spawn(connection);
        Self { sender, port }
    }

    fn request(
        &self,
        method: &str,
        headers: &[(&'static str, &str)],
        frame: Vec<u8>,
    ) -> Request<Full<Bytes>> {
        let uri = format!("http://127.0.0.1:{}{method}", self.port);
        let mut request = Request::post(uri).header("content-type", "application/grpc");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Full::new(frame.into())).expect("a request")
    }

    /// Opens a call and resets it at once; `false` when the server has had enough of that.
    pub(crate) async fn give_up(&mut self, method: &str, frame: Vec<u8>) -> bool {
        let request = self.request(method, &[], frame);
        let sending = self.sender.send_request(request);
        let answer = tokio::time::timeout(std::time::Duration::ZERO, sending).await;
        tokio::task::yield_now().await;
        !matches!(answer, Ok(Err(_)))
    }

    pub(crate) async fn call(
        &mut self,
        method: &str,
        headers: &[(&'static str, &str)],
        frame: Vec<u8>,
    ) -> Status {
        let request = self.request(method, headers, frame);
        let response = self.sender.send_request(request).await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK);
        let (head, body) = response.into_parts();
        let collected = body.collect().await.expect("a body");
        let trailers = collected.trailers().cloned().unwrap_or_else(HeaderMap::new);
        let status = Status::read(&trailers).or_else(|| Status::read(&head.headers)).expect("a status");
        // An answer has one empty message, a failure none.
        let expected = if status.code == Code::Ok { PREFIX } else { 0 };
        assert_eq!(collected.to_bytes().len(), expected);
        status
    }
}

pub(crate) fn frame(flag: u8, message: &[u8]) -> Vec<u8> {
    let mut frame = vec![flag];
    frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
    frame.extend_from_slice(message);
    frame
}

pub(crate) fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).expect("memory");
    encoder.finish().expect("memory")
}

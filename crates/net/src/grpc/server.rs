//! The server's half: one message in, one message or status out.
//!
//! Data path: headers → is the method there? → the frame, within limit and budget → decompression, within
//! limit and budget → the service → message and trailers. Whatever goes wrong before the service is asked is
//! answered with headers alone.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use component::BoxFuture;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use tokio::time::Instant;
use wire::compress::{self, Encoding, decompress, most};

use super::status::{Code, Status};
use super::{
    ACCEPTED, GRPC_ACCEPT_ENCODING, GRPC_ENCODING, GRPC_TIMEOUT, MEDIA_TYPE, PREFIX, encoding_named,
};
use crate::server::body::Parts;
use crate::server::{BodyError, Budget, Peer, Refusal, RequestBody, ResponseBody, Room, StreamHandler};
use crate::server::{empty, text};

/// One call, ready to be answered.
#[derive(Debug)]
pub struct Call {
    /// `/package.Service/Method`.
    pub method: String,
    /// The metadata.
    pub headers: HeaderMap,
    /// Who calls.
    pub peer: Option<Peer>,
    /// The message, decompressed.
    pub message: Bytes,
    /// The message as it came, where it was compressed, with the word for how.
    pub packed: Option<(&'static str, Bytes)>,
    /// The memory that the message takes; keep it for as long as the message.
    pub room: Room,
}

/// A call that has been answered.
#[derive(Debug)]
pub struct Finished<'a> {
    /// `/package.Service/Method`.
    pub method: &'a str,
    /// The outcome.
    pub code: Code,
    /// From the headers to the answer.
    pub took: Duration,
    /// Bytes of the message, as it came.
    pub request_bytes: usize,
    /// Bytes of the answer.
    pub response_bytes: usize,
}

/// What answers calls.
pub trait Service: Send + Sync + 'static {
    /// Whether there is such a method; asked before anything of a message is read.
    fn serves(&self, method: &str) -> bool;

    /// Whether a caller may call; asked before anything of a message is read.
    fn admit<'a>(&'a self, _headers: &'a HeaderMap) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Answers one call with a serialised message.
    fn call(&self, call: Call) -> BoxFuture<'_, Result<Bytes, Status>>;

    /// A call of a method that is there has been answered.
    fn finished(&self, _finished: &Finished<'_>) {}
}

/// What a call may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a message, compressed and decompressed.
    pub max_message: usize,
    /// What the messages of all calls may take together.
    pub budget: Budget,
}

/// Turns a [`Service`] into what a server takes.
pub fn handler(service: impl Service, limits: Limits) -> Arc<dyn StreamHandler> {
    Arc::new(Grpc { service, limits })
}

struct Grpc<S> {
    service: S,
    limits: Limits,
}

impl<S: Service> StreamHandler for Grpc<S> {
    fn handle(&self, request: Request<RequestBody>) -> BoxFuture<'_, Response<ResponseBody>> {
        Box::pin(async move {
            if let Some(refused) = not_grpc(&request) {
                return refused;
            }
            let started = Instant::now();
            let method = request.uri().path().to_owned();
            if !self.service.serves(&method) {
                let message = format!("{method} is not served here");
                return answer(Err(Status::new(Code::Unimplemented, message)));
            }
            let mut request_bytes = 0;
            let result = self.timed(request, &mut request_bytes).await;
            self.service.finished(&Finished {
                method: &method,
                code: result.as_ref().map_or_else(|status| status.code, |_| Code::Ok),
                took: started.elapsed(),
                request_bytes,
                response_bytes: result.as_ref().map_or(0, Bytes::len),
            });
            answer(result)
        })
    }
}

impl<S: Service> Grpc<S> {
    /// Answers within the time that the caller gives.
    async fn timed(&self, request: Request<RequestBody>, size: &mut usize) -> Result<Bytes, Status> {
        let limit = request.headers().get(GRPC_TIMEOUT).map(timeout).transpose()?;
        let answering = self.call(request, size);
        match limit {
            None => answering.await,
            Some(limit) => tokio::time::timeout(limit, answering)
                .await
                .unwrap_or_else(|_| Err(Status::new(Code::DeadlineExceeded, "the caller's time is over"))),
        }
    }

    async fn call(&self, request: Request<RequestBody>, size: &mut usize) -> Result<Bytes, Status> {
        self.service.admit(request.headers()).await?;
        let encoding = encoding(request.headers())?;
        let (head, body) = request.into_parts();
        let mut room = self.limits.budget.room();
        let (compressed, packed) = self.frame(body, &mut room).await?;
        *size = packed.len();
        let (message, packed) = match (compressed, encoding) {
            (false, _) => (packed, None),
            (true, (_, Encoding::Identity)) => {
                let why = "a message is compressed, but grpc-encoding does not say how";
                return Err(Status::new(Code::Internal, why));
            }
            (true, (name, encoding)) => {
                (self.unpack(encoding, &packed, &mut room).await?, Some((name, packed)))
            }
        };
        let peer = head.extensions.get::<Peer>().cloned();
        let method = head.uri.path().to_owned();
        self.service.call(Call { method, headers: head.headers, peer, message, packed, room }).await
    }

    /// The one message of a call, and whether it is compressed.
    async fn frame(&self, mut body: RequestBody, room: &mut Room) -> Result<(bool, Bytes), Status> {
        let limit = self.limits.max_message;
        let mut frame = Frame::new(limit);
        while let Some(data) = body.next().await.map_err(|e| broken(&e, limit))? {
            room.at_least(frame.parts.len() + data.len()).await.map_err(refused)?;
            frame.push(data)?;
        }
        frame.finish()
    }

    async fn unpack(&self, encoding: Encoding, packed: &Bytes, room: &mut Room) -> Result<Bytes, Status> {
        let limit = self.limits.max_message;
        let worst = most(encoding, packed, limit);
        room.at_least(packed.len() + worst).await.map_err(refused)?;
        let mut message = Vec::new();
        decompress(encoding, packed, limit, &mut message).map_err(|error| {
            let code = match error {
                compress::Error::TooLarge { .. } => Code::ResourceExhausted,
                compress::Error::Corrupt { .. } => Code::Internal,
            };
            Status::new(code, error.to_string())
        })?;
        message.shrink_to_fit();
        room.at_most(packed.len() + message.len());
        Ok(message.into())
    }
}

/// The frame of a call, as it arrives: a flag, a length, and so many bytes.
struct Frame {
    limit: usize,
    parts: Parts,
    /// Its length with the prefix, once that is there.
    expected: Option<usize>,
}

impl Frame {
    fn new(limit: usize) -> Self {
        Self { limit, parts: Parts::default(), expected: None }
    }

    fn push(&mut self, data: Bytes) -> Result<(), Status> {
        self.parts.push(data);
        if self.expected.is_none()
            && let Some(prefix) = self.parts.bytes().first_chunk::<PREFIX>()
        {
            self.expected = Some(self.length(*prefix)?);
        }
        if self.expected.is_some_and(|expected| self.parts.len() > expected) {
            return Err(Status::new(Code::Unimplemented, "a unary call has one message only"));
        }
        Ok(())
    }

    /// How long a frame is in all, from its first bytes.
    fn length(&self, prefix: [u8; PREFIX]) -> Result<usize, Status> {
        let [flag, length @ ..] = prefix;
        if flag > 1 {
            return Err(Status::new(Code::Internal, "a message has an unknown flag"));
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > self.limit {
            return Err(too_large(length, self.limit));
        }
        Ok(PREFIX + length)
    }

    /// Whether its message is compressed, and the message.
    fn finish(self) -> Result<(bool, Bytes), Status> {
        let frame = self.parts.finish();
        match self.expected {
            Some(expected) if frame.len() == expected => Ok((frame[0] == 1, frame.slice(PREFIX..))),
            Some(_) => Err(Status::new(Code::Internal, "the message is shorter than it claims")),
            None => Err(Status::new(Code::Internal, "there is no message in the call")),
        }
    }
}

/// Reads any parts as the body of a call; for `tests/fuzz/fuzz_targets/grpc_calls.rs` only.
pub fn read_arbitrary_call<'a>(parts: impl Iterator<Item = &'a [u8]>, limit: usize) -> Option<(bool, Bytes)> {
    let mut frame = Frame::new(limit);
    parts.map(Bytes::copy_from_slice).try_for_each(|part| frame.push(part)).ok()?;
    frame.finish().ok()
}

fn too_large(length: usize, limit: usize) -> Status {
    let message = format!("the message has {length} bytes, the limit is {limit}");
    Status::new(Code::ResourceExhausted, message)
}

fn broken(error: &BodyError, limit: usize) -> Status {
    match error {
        BodyError::TooLarge(_) => {
            Status::new(Code::ResourceExhausted, format!("the message is larger than the limit of {limit}"))
        }
        BodyError::TooSlow => Status::new(Code::DeadlineExceeded, error.to_string()),
        BodyError::Broken(_) => Status::new(Code::Cancelled, error.to_string()),
    }
}

fn refused(refusal: Refusal) -> Status {
    let code = match refusal.status {
        StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
        StatusCode::PAYLOAD_TOO_LARGE => Code::ResourceExhausted,
        _ => Code::InvalidArgument,
    };
    Status::new(code, refusal.why)
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        refused(refusal)
    }
}

/// What is not gRPC is answered in plain HTTP.
fn not_grpc(request: &Request<RequestBody>) -> Option<Response<ResponseBody>> {
    if request.version() < Version::HTTP_2 {
        return Some(text(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "gRPC needs HTTP/2\n"));
    }
    if *request.method() != Method::POST {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "gRPC calls are posted\n");
        response.headers_mut().insert(http::header::ALLOW, HeaderValue::from_static("POST"));
        return Some(response);
    }
    let media = request.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let subtype = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if subtype == "application/grpc" || subtype == "application/grpc+proto" {
        return None;
    }
    Some(text(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the Content-Type must be application/grpc\n"))
}

fn encoding(headers: &HeaderMap) -> Result<(&'static str, Encoding), Status> {
    let Some(value) = headers.get(GRPC_ENCODING) else { return Ok(("identity", Encoding::Identity)) };
    encoding_named(value.as_bytes())
        .ok_or_else(|| Status::new(Code::Unimplemented, format!("the grpc-encoding {value:?} is not known")))
}

/// At most eight digits and a unit, as the protocol says.
fn timeout(value: &HeaderValue) -> Result<Duration, Status> {
    let parse = || {
        let (unit, digits) = value.as_bytes().split_last()?;
        if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
        Some(match unit {
            b'H' => Duration::from_secs(number * 3600),
            b'M' => Duration::from_secs(number * 60),
            b'S' => Duration::from_secs(number),
            b'm' => Duration::from_millis(number),
            b'u' => Duration::from_micros(number),
            b'n' => Duration::from_nanos(number),
            _ => return None,
        })
    };
    parse().ok_or_else(|| Status::new(Code::Internal, format!("the grpc-timeout {value:?} is none")))
}

fn answer(result: Result<Bytes, Status>) -> Response<ResponseBody> {
    let mut response = match &result {
        Err(_) => Response::new(empty()),
        Ok(message) => {
            let mut frame = BytesMut::with_capacity(PREFIX + message.len());
            frame.put_u8(0);
            // Answers are a service's own and small.
            frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
            frame.extend_from_slice(message);
            let mut trailers = HeaderMap::new();
            Status::new(Code::Ok, "").put(&mut trailers);
            let body = Full::new(frame.freeze()).with_trailers(std::future::ready(Some(Ok(trailers))));
            Response::new(body.map_err(|never: std::convert::Infallible| match never {}).boxed_unsync())
        }
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, MEDIA_TYPE);
    headers.insert(GRPC_ACCEPT_ENCODING, ACCEPTED);
    if let Err(status) = &result {
        status.put(headers);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_digits_and_a_unit() {
        for (text, expected) in [
            ("1H", Some(3600 * 1_000_000_000)),
            ("2M", Some(120 * 1_000_000_000)),
            ("10S", Some(10_000_000_000)),
            ("250m", Some(250_000_000)),
            ("7u", Some(7_000)),
            ("99999999n", Some(99_999_999)),
            ("123456789n", None),
            ("S", None),
            ("", None),
            ("-1S", None),
            ("1.5S", None),
            ("1s", None),
        ] {
            let found = timeout(&HeaderValue::from_static(text)).ok().map(|d| d.as_nanos());
            assert_eq!(found, expected, "{text}");
        }
    }
}

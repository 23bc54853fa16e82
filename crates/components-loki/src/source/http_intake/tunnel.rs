//! The gRPC side of a source: the service `httpgrpc.HTTP`, which carries the same HTTP requests.
//!
//! As github.com/grafana/dskit (`httpgrpc`), which is what Alloy's servers offer over gRPC: one method,
//! `Handle(HTTPRequest) returns (HTTPResponse)`. An answer of class 5xx is a gRPC error that has the response
//! among its details.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use component::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use net::server::{Peer, Refusal, RequestBody, ResponseBody, StreamHandler, empty};
use wire::proto::{Error, Reader, push_bytes_field, push_message_field, push_varint_field};

use super::{Protocol, Shared};

/// The one method.
const METHOD: &str = "/httpgrpc.HTTP/Handle";

/// Statuses of gRPC that are answered here.
const INVALID_ARGUMENT: u32 = 3;
const RESOURCE_EXHAUSTED: u32 = 8;
const UNIMPLEMENTED: u32 = 12;
const UNAVAILABLE: u32 = 14;

/// Answers requests of a gRPC server.
pub(super) struct Tunnel<P: Protocol>(pub(super) Arc<Shared<P>>);

impl<P: Protocol> StreamHandler for Tunnel<P> {
    fn handle(&self, request: Request<RequestBody>) -> BoxFuture<'_, Response<ResponseBody>> {
        Box::pin(async move {
            if request.uri().path() != METHOD || request.method() != Method::POST {
                return failed(UNIMPLEMENTED, &format!("only {METHOD} is answered here"), None);
            }
            let peer = request.extensions().get::<Peer>().cloned();
            let mut room = self.0.bodies.room();
            let message = match request.into_body().within(&mut room).await {
                Ok(message) => message,
                Err(refusal) => return failed(code(&refusal), &refusal.why, None),
            };
            let mut request = match unframe(&message).and_then(|m| carried(&m)) {
                Ok(request) => request,
                Err(why) => return failed(INVALID_ARGUMENT, &why, None),
            };
            if let Some(peer) = peer {
                request.extensions_mut().insert(peer);
            }
            let (head, body) = request.into_parts();
            let response = self.0.clone().serve(head, &mut room, async |_| Ok(body)).await;
            let encoded = encode(&response);
            if response.status().is_server_error() {
                let why = String::from_utf8_lossy(response.body()).trim().to_owned();
                return failed(u32::from(response.status().as_u16()), &why, Some(&encoded));
            }
            answered(&encoded)
        })
    }
}

fn code(refusal: &Refusal) -> u32 {
    match refusal.status {
        StatusCode::PAYLOAD_TOO_LARGE => RESOURCE_EXHAUSTED,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::REQUEST_TIMEOUT => UNAVAILABLE,
        _ => INVALID_ARGUMENT,
    }
}

/// The message of a unary call: a byte that says whether it is compressed, and its length, before it.
fn unframe(body: &Bytes) -> Result<Bytes, String> {
    let Some((head, rest)) = body.split_first_chunk::<5>() else {
        return Err("the message broke off".to_owned());
    };
    if head[0] != 0 {
        return Err("compressed messages are not taken".to_owned());
    }
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    if rest.len() != length as usize {
        return Err("the message's length is wrong".to_owned());
    }
    Ok(body.slice(5..))
}

/// The HTTP request in an `HTTPRequest`.
fn carried(message: &Bytes) -> Result<Request<Bytes>, String> {
    decode(message).map_err(|e| format!("the message is not an HTTPRequest: {e}"))?
}

fn decode(message: &Bytes) -> Result<Result<Request<Bytes>, String>, Error> {
    let (mut method, mut url, mut body) = ("GET", "/", Bytes::new());
    let mut headers = HeaderMap::new();
    let mut reader = Reader::new(message);
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => method = field.str()?,
            2 => url = field.str()?,
            3 => header(field.message()?, &mut headers)?,
            4 => body = message.slice_ref(field.bytes()?),
            _ => {}
        }
    }
    let request = || {
        let mut request = Request::new(body);
        *request.method_mut() = Method::from_bytes(method.as_bytes()).map_err(|e| e.to_string())?;
        *request.uri_mut() = url.parse::<Uri>().map_err(|e| e.to_string())?;
        *request.headers_mut() = headers;
        Ok(request)
    };
    Ok(request())
}

/// `Header { string key = 1; repeated string values = 2; }`; one that HTTP does not allow is left out.
fn header(mut reader: Reader<'_>, headers: &mut HeaderMap) -> Result<(), Error> {
    let mut name = None;
    while let Some(field) = reader.next_field()? {
        match (field.number, &name) {
            (1, _) => name = HeaderName::from_bytes(field.bytes()?).ok(),
            (2, Some(name)) => {
                if let Ok(value) = HeaderValue::from_bytes(field.bytes()?) {
                    headers.append(name.clone(), value);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// `HTTPResponse { int32 code = 1; repeated Header headers = 2; bytes body = 3; }`.
fn encode(response: &Response<Bytes>) -> Vec<u8> {
    let mut out = Vec::with_capacity(response.body().len() + 128);
    push_varint_field(&mut out, 1, u64::from(response.status().as_u16()));
    for (name, value) in response.headers() {
        push_message_field(&mut out, 2, |out| {
            push_bytes_field(out, 1, name.as_str().as_bytes());
            push_bytes_field(out, 2, value.as_bytes());
        });
    }
    push_bytes_field(&mut out, 3, response.body());
    out
}

/// A call that worked: one message, then the status in the trailers.
fn answered(message: &[u8]) -> Response<ResponseBody> {
    let mut body = Vec::with_capacity(message.len() + 5);
    body.push(0);
    body.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    body.extend_from_slice(message);
    let trailers = HeaderMap::from_iter([(GRPC_STATUS, HeaderValue::from_static("0"))]);
    let body = Full::new(Bytes::from(body)).with_trailers(std::future::ready(Some(Ok(trailers))));
    call(body.map_err(|never: std::convert::Infallible| match never {}).boxed_unsync())
}

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// A call that did not work: the status is in the headers. `response` is an `HTTPResponse` for the details.
fn failed(code: u32, why: &str, response: Option<&[u8]>) -> Response<ResponseBody> {
    let mut answer = call(empty());
    let headers = answer.headers_mut();
    headers.insert(GRPC_STATUS, HeaderValue::from(code));
    if let Ok(value) = HeaderValue::from_str(&percent(why)) {
        headers.insert(GRPC_MESSAGE, value);
    }
    if let Some(response) = response {
        // google.rpc.Status { code = 1; message = 2; repeated Any details = 3; }
        let mut status = Vec::new();
        push_varint_field(&mut status, 1, u64::from(code));
        push_bytes_field(&mut status, 2, why.as_bytes());
        push_message_field(&mut status, 3, |out| {
            push_bytes_field(out, 1, b"type.googleapis.com/httpgrpc.HTTPResponse");
            push_bytes_field(out, 2, response);
        });
        if let Ok(value) = HeaderValue::from_str(&STANDARD_NO_PAD.encode(status)) {
            headers.insert(GRPC_DETAILS, value);
        }
    }
    answer
}

fn call(body: ResponseBody) -> Response<ResponseBody> {
    let mut response = Response::new(body);
    let value = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(http::header::CONTENT_TYPE, value);
    response
}

/// Percent-encoding as gRPC wants it in `grpc-message`: everything but printable ASCII, and `%`.
fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => out.push(char::from(byte)),
            _ => {
                use std::fmt::Write as _;
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Bytes {
        let mut message = Vec::new();
        push_bytes_field(&mut message, 1, method.as_bytes());
        push_bytes_field(&mut message, 2, url.as_bytes());
        for (name, value) in headers {
            push_message_field(&mut message, 3, |out| {
                push_bytes_field(out, 1, name.as_bytes());
                push_bytes_field(out, 2, value.as_bytes());
            });
        }
        push_bytes_field(&mut message, 4, body);
        message.into()
    }

    #[test]
    fn a_request_comes_out_of_its_envelope() {
        let message = request("POST", "/a?b=c", &[("X-One", "1"), ("bad name", "2")], b"body");
        let request = carried(&message).expect("a request");
        assert_eq!(
            (request.method(), request.uri().path(), request.uri().query()),
            (&Method::POST, "/a", Some("b=c"))
        );
        assert_eq!(request.headers().get("x-one").map(HeaderValue::as_bytes), Some(&b"1"[..]));
        assert_eq!((request.headers().len(), &request.body()[..]), (1, &b"body"[..]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = unframe(&bytes.clone().into());
            let _ = carried(&bytes.into());
        }
    }

    #[test]
    fn messages_for_headers_are_ascii() {
        assert_eq!(percent("50% für\n"), "50%25 f%C3%BCr%0A");
    }
}

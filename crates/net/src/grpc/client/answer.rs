//! The answer to a call: what comes on the stream, and what it means that it breaks off.
//!
//! Invariant: of what a peer claims or sends no more than the limit is held.

use std::error::Error as _;
use std::time::Duration;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use wire::compress::{Encoding, decompress};
use wire::proto::Reader;

use super::super::status::{Code, Status};
use super::super::{GRPC_ENCODING, PREFIX, encoding_named};
use super::{Answer, Failure};

const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
const RETRY_INFO: &str = "google.rpc.RetryInfo";
/// Binary metadata comes with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Reads an answer to its end.
pub(super) async fn read(response: Response<Incoming>, limit: usize) -> Result<Answer, Failure> {
    let (head, body) = response.into_parts();
    if let Some(status) = Status::read(&head.headers) {
        return finish(status, &head.headers, &Bytes::new(), &head.headers, limit);
    }
    if head.status != StatusCode::OK {
        return Err(http_status(head.status));
    }
    let media = head.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if !media.starts_with("application/grpc") {
        let message = format!("the answer is no gRPC: its Content-Type is {media:?}");
        return Err(Failure::on_the_way(Code::Unknown, message));
    }
    let (frame, trailers) = collect(body, limit).await?;
    match trailers.as_ref().and_then(Status::read) {
        Some(status) => finish(status, &trailers.unwrap_or_default(), &frame, &head.headers, limit),
        None => Err(Failure::on_the_way(Code::Internal, "the peer ended its answer without a status")),
    }
}

async fn collect(mut body: Incoming, limit: usize) -> Result<(Bytes, Option<HeaderMap>), Failure> {
    let mut frame = BytesMut::new();
    while let Some(part) = body.frame().await {
        match part.map_err(|error| broken(&error))?.into_data() {
            Ok(data) if frame.len() + data.len() > limit.saturating_add(PREFIX) => {
                let message = format!("the answer is larger than the limit of {limit} bytes");
                return Err(Failure::on_the_way(Code::ResourceExhausted, message));
            }
            Ok(data) => frame.extend_from_slice(&data),
            Err(part) => return Ok((frame.freeze(), part.into_trailers().ok())),
        }
    }
    Ok((frame.freeze(), None))
}

/// The outcome is known; a message beside it is read where it matters.
fn finish(
    status: Status,
    trailers: &HeaderMap,
    frame: &Bytes,
    headers: &HeaderMap,
    limit: usize,
) -> Result<Answer, Failure> {
    if status.code != Code::Ok {
        return Err(Failure { status, said: true, retry_after: retry_after(trailers) });
    }
    let bytes = frame.len().saturating_sub(PREFIX);
    // The service has done what it was asked for: an answer that cannot be read says nothing against that.
    let message = message(frame, headers, limit).unwrap_or_default();
    Ok(Answer { message, bytes })
}

fn message(frame: &Bytes, headers: &HeaderMap, limit: usize) -> Option<Bytes> {
    let (prefix, message) = (frame.get(..PREFIX)?, frame.slice(PREFIX..));
    let length = u32::from_be_bytes(prefix[1..].try_into().ok()?) as usize;
    if message.len() != length {
        return None;
    }
    match (prefix[0], headers.get(GRPC_ENCODING)) {
        (0, _) => Some(message),
        (1, Some(name)) => {
            let (_, encoding) = encoding_named(name.as_bytes()).filter(|(_, e)| *e != Encoding::Identity)?;
            let mut out = Vec::new();
            decompress(encoding, &message, limit, &mut out).ok()?;
            Some(out.into())
        }
        _ => None,
    }
}

/// What an answer means that is HTTP only (gRPC's `http-grpc-status-mapping`).
fn http_status(status: StatusCode) -> Failure {
    let code = match status.as_u16() {
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502..=504 => Code::Unavailable,
        _ => Code::Unknown,
    };
    let said = status.is_client_error() && code != Code::Unavailable;
    Failure { said, ..Failure::on_the_way(code, format!("the answer is HTTP {status} rather than gRPC")) }
}

/// `google.rpc.RetryInfo` among the details of a `google.rpc.Status`.
fn retry_after(trailers: &HeaderMap) -> Option<Duration> {
    let details = BASE64.decode(trailers.get(DETAILS)?.as_bytes()).ok()?;
    let mut status = Reader::new(&details);
    while let Some(field) = status.next_field().ok()? {
        if field.number != 3 {
            continue;
        }
        let (mut any, mut name, mut value) = (field.message().ok()?, "", &[][..]);
        while let Some(field) = any.next_field().ok()? {
            match field.number {
                1 => name = field.str().ok()?,
                2 => value = field.bytes().ok()?,
                _ => {}
            }
        }
        if name.rsplit('/').next() == Some(RETRY_INFO) {
            return Some(retry_delay(value).unwrap_or_default());
        }
    }
    None
}

fn retry_delay(info: &[u8]) -> Option<Duration> {
    let mut info = Reader::new(info);
    while let Some(field) = info.next_field().ok()? {
        if field.number != 1 {
            continue;
        }
        let (mut duration, mut seconds, mut nanos) = (field.message().ok()?, 0, 0);
        while let Some(field) = duration.next_field().ok()? {
            match field.number {
                1 => seconds = u64::try_from(field.i64().ok()?).ok()?,
                2 => nanos = u32::try_from(field.i64().ok()?).ok()?,
                _ => {}
            }
        }
        return Duration::from_secs(seconds).checked_add(Duration::from_nanos(nanos.into()));
    }
    None
}

/// Reads any bytes as what a peer answers; for `tests/fuzz/fuzz_targets/grpc_answers.rs` only.
pub(super) fn read_arbitrary(frame: Bytes, encoding: &[u8], details: &[u8], limit: usize) {
    let mut headers = HeaderMap::new();
    if let Ok(encoding) = HeaderValue::from_bytes(encoding) {
        headers.insert(GRPC_ENCODING, encoding);
    }
    if let Some(message) = message(&frame, &headers, limit) {
        let is_plain = frame[0] == 0;
        assert!(is_plain || message.len() <= limit, "more than the limit was unpacked");
        assert!(!is_plain || message.len() + PREFIX == frame.len());
    }
    let mut trailers = HeaderMap::new();
    // As a peer writes it, and whatever else a header may hold.
    for details in [BASE64.encode(details).into_bytes(), details.to_vec()] {
        if let Ok(details) = HeaderValue::from_bytes(&details) {
            trailers.insert(DETAILS, details);
            let _ = retry_after(&trailers);
        }
    }
}

/// What it means that a stream or its connection broke (gRPC over HTTP/2, "Errors").
pub(super) fn broken(error: &hyper::Error) -> Failure {
    let code = match reason(error) {
        Some(h2::Reason::CANCEL) => Code::Cancelled,
        Some(h2::Reason::ENHANCE_YOUR_CALM) => Code::ResourceExhausted,
        Some(h2::Reason::INADEQUATE_SECURITY) => Code::PermissionDenied,
        Some(h2::Reason::REFUSED_STREAM) | None => Code::Unavailable,
        Some(_) => Code::Internal,
    };
    Failure::on_the_way(code, format!("the connection or its stream broke: {}", crate::error::causes(error)))
}

/// Whether the peer has certainly not begun with a call.
pub(super) fn unprocessed(error: &hyper::Error) -> bool {
    error.is_canceled()
        || h2_error(error).is_some_and(|e| {
            e.reason() == Some(h2::Reason::REFUSED_STREAM) || (e.is_go_away() && e.is_remote())
        })
}

/// The code with which a peer has reset a stream or closed a connection.
pub(super) fn reason(error: &hyper::Error) -> Option<h2::Reason> {
    h2_error(error)?.reason()
}

fn h2_error(error: &hyper::Error) -> Option<&h2::Error> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use wire::proto::{push_bytes_field, push_message_field, push_varint_field};

    use super::*;

    fn details(name: &str, seconds: u64, nanos: u64) -> HeaderMap {
        let mut status = Vec::new();
        push_varint_field(&mut status, 1, 8);
        push_message_field(&mut status, 3, |any| {
            push_bytes_field(any, 1, name.as_bytes());
            push_message_field(any, 2, |info| {
                push_message_field(info, 1, |delay| {
                    push_varint_field(delay, 1, seconds);
                    push_varint_field(delay, 2, nanos);
                });
            });
        });
        let text = BASE64.encode(status);
        [(DETAILS, HeaderValue::try_from(text.trim_end_matches('=')).unwrap())].into_iter().collect()
    }

    #[test]
    fn the_wait_that_a_service_asks_for_is_found() {
        let name = "type.googleapis.com/google.rpc.RetryInfo";
        assert_eq!(retry_after(&details(name, 3, 500_000_000)), Some(Duration::from_millis(3500)));
        assert_eq!(retry_after(&details("type.googleapis.com/google.rpc.Help", 3, 0)), None);
        let negative = details(name, (-3i64).cast_unsigned(), 0);
        assert_eq!(retry_after(&negative), Some(Duration::ZERO));
        assert_eq!(retry_after(&HeaderMap::new()), None);
        let garbage = [(DETAILS, HeaderValue::from_static("%%%"))].into_iter().collect();
        assert_eq!(retry_after(&garbage), None);
    }

    #[test]
    fn an_answer_of_http_alone_has_a_status() {
        for (http, code, said) in [
            (404, Code::Unimplemented, true),
            (401, Code::Unauthenticated, true),
            (429, Code::Unavailable, false),
            (503, Code::Unavailable, false),
            (500, Code::Unknown, false),
            (302, Code::Unknown, false),
        ] {
            let failure = http_status(StatusCode::from_u16(http).unwrap());
            assert_eq!((failure.status.code, failure.said), (code, said), "{http}");
        }
    }
}

//! The outcome of a call.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

pub(super) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub(super) const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// What may not stand in `grpc-message` as it is; everything outside of ASCII is encoded anyway.
const RESERVED: &AsciiSet = &CONTROLS.add(b'%');

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// Done.
    Ok = 0,
    /// The caller gave up.
    Cancelled = 1,
    /// Nobody knows.
    Unknown = 2,
    /// The request is broken.
    InvalidArgument = 3,
    /// It took too long.
    DeadlineExceeded = 4,
    /// What was asked for is not there.
    NotFound = 5,
    /// It is there already.
    AlreadyExists = 6,
    /// The caller may not do that.
    PermissionDenied = 7,
    /// Something is used up, or the message is too large.
    ResourceExhausted = 8,
    /// The state is not one in which that can be done.
    FailedPrecondition = 9,
    /// Something else came in between.
    Aborted = 10,
    /// Past the end.
    OutOfRange = 11,
    /// There is no such method.
    Unimplemented = 12,
    /// The protocol was broken.
    Internal = 13,
    /// The same call may succeed later.
    Unavailable = 14,
    /// Data is lost for good.
    DataLoss = 15,
    /// Nobody knows who the caller is.
    Unauthenticated = 16,
}

impl Code {
    const ALL: [Self; 17] = [
        Self::Ok,
        Self::Cancelled,
        Self::Unknown,
        Self::InvalidArgument,
        Self::DeadlineExceeded,
        Self::NotFound,
        Self::AlreadyExists,
        Self::PermissionDenied,
        Self::ResourceExhausted,
        Self::FailedPrecondition,
        Self::Aborted,
        Self::OutOfRange,
        Self::Unimplemented,
        Self::Internal,
        Self::Unavailable,
        Self::DataLoss,
        Self::Unauthenticated,
    ];

    /// The number on the wire.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Of a number; unknown ones stand for [`Code::Unknown`].
    pub fn from_number(number: u32) -> Self {
        Self::ALL.get(number as usize).copied().unwrap_or(Self::Unknown)
    }
}

/// A code and what there is to say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code:?}: {message}")]
pub struct Status {
    /// How the call ended.
    pub code: Code,
    /// One sentence.
    pub message: Cow<'static, str>,
}

impl Status {
    /// A status.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }

    /// As `google.rpc.Status`, which HTTP answers of OTLP carry.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.message.len() + 8);
        wire::proto::push_varint_field(&mut out, 1, self.code.number().into());
        wire::proto::push_bytes_field(&mut out, 2, self.message.as_bytes());
        out
    }

    /// Puts it into headers or trailers.
    pub fn put(&self, headers: &mut HeaderMap) {
        headers.insert(GRPC_STATUS, HeaderValue::from(u16::from(self.code.number())));
        if !self.message.is_empty() {
            let message = utf8_percent_encode(&self.message, RESERVED).to_string();
            if let Ok(message) = HeaderValue::try_from(message) {
                headers.insert(GRPC_MESSAGE, message);
            }
        }
    }

    /// Reads it from headers or trailers; `None` where there is none.
    pub fn read(headers: &HeaderMap) -> Option<Self> {
        let number = headers.get(GRPC_STATUS)?.to_str().ok().and_then(|n| n.parse().ok());
        let message = headers.get(GRPC_MESSAGE).and_then(|m| m.to_str().ok()).unwrap_or_default();
        let message = percent_decode_str(message).decode_utf8_lossy().into_owned();
        Some(Self::new(number.map_or(Code::Unknown, Code::from_number), message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_any_text_survives_the_way_through_headers() {
        for text in ["", "plain words", "100 %", "täglich\r\ngrpc-status: 0", "\u{0}\u{7f}"] {
            let status = Status::new(Code::Internal, text);
            let mut headers = HeaderMap::new();
            status.put(&mut headers);
            assert_eq!(Status::read(&headers), Some(status), "{text:?}");
        }
        assert_eq!(Status::read(&HeaderMap::new()), None);
    }

    #[test]
    fn codes_are_their_numbers() {
        for (number, code) in Code::ALL.into_iter().enumerate() {
            assert_eq!((code.number() as usize, Code::from_number(number as u32)), (number, code));
        }
        assert_eq!(Code::from_number(99), Code::Unknown);
    }
}

//! The Connect protocol as far as a unary call needs it: codes, and errors as JSON.
//!
//! As "Connect Protocol Reference" of connectrpc.com: a unary request is an ordinary POST whose body is the message;
//! an error is a status other than 200 with a body `{"code": "…", "message": "…"}`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// The header by which a client says that it speaks the protocol; its value is `1`.
pub const VERSION_HEADER: &str = "connect-protocol-version";
/// `Content-Type` of messages in protobuf.
pub const PROTO: &str = "application/proto";
/// `Content-Type` of messages in JSON, and of errors.
pub const JSON: &str = "application/json";

/// What went wrong. The same words as gRPC's codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The caller has given up.
    Canceled,
    /// Nobody knows.
    Unknown,
    /// The request makes no sense.
    InvalidArgument,
    /// It took too long.
    DeadlineExceeded,
    /// What was asked for does not exist.
    NotFound,
    /// What was to be made exists.
    AlreadyExists,
    /// The caller may not do this.
    PermissionDenied,
    /// A limit is reached.
    ResourceExhausted,
    /// The system is not in the state that this needs.
    FailedPrecondition,
    /// Another call was in the way.
    Aborted,
    /// Past the valid range.
    OutOfRange,
    /// No such procedure.
    Unimplemented,
    /// A mistake in the server.
    Internal,
    /// Not now.
    Unavailable,
    /// Data is gone or damaged.
    DataLoss,
    /// The caller has not said who it is.
    Unauthenticated,
}

/// Every code with its word and its status.
const CODES: [(Code, &str, u16); 16] = [
    (Code::Canceled, "canceled", 499),
    (Code::Unknown, "unknown", 500),
    (Code::InvalidArgument, "invalid_argument", 400),
    (Code::DeadlineExceeded, "deadline_exceeded", 504),
    (Code::NotFound, "not_found", 404),
    (Code::AlreadyExists, "already_exists", 409),
    (Code::PermissionDenied, "permission_denied", 403),
    (Code::ResourceExhausted, "resource_exhausted", 429),
    (Code::FailedPrecondition, "failed_precondition", 400),
    (Code::Aborted, "aborted", 409),
    (Code::OutOfRange, "out_of_range", 400),
    (Code::Unimplemented, "unimplemented", 501),
    (Code::Internal, "internal", 500),
    (Code::Unavailable, "unavailable", 503),
    (Code::DataLoss, "data_loss", 500),
    (Code::Unauthenticated, "unauthenticated", 401),
];

impl Code {
    /// The word in an error's body.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// The status that goes with it.
    pub fn http_status(self) -> u16 {
        self.row().2
    }

    /// Of the word in an error's body.
    pub fn from_name(name: &str) -> Option<Self> {
        CODES.iter().find(|(_, word, _)| *word == name).map(|(code, ..)| *code)
    }

    fn row(self) -> &'static (Self, &'static str, u16) {
        CODES.iter().find(|(code, ..)| *code == self).expect("the table has every code")
    }
}

#[derive(Serialize, Deserialize)]
struct ErrorBody<'a> {
    #[serde(borrow)]
    code: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    message: Cow<'a, str>,
}

/// Reads the body of an error; `None` where it is none of the protocol: a proxy on the way has answered.
pub fn parse_error(body: &[u8]) -> Option<(Code, String)> {
    let error: ErrorBody<'_> = serde_json::from_slice(body).ok()?;
    Some((Code::from_name(&error.code)?, error.message.into_owned()))
}

/// The body of an error.
pub fn write_error(code: Code, message: &str) -> Vec<u8> {
    let error = ErrorBody { code: code.name().into(), message: message.into() };
    serde_json::to_vec(&error).expect("two strings are always JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_comes_back_from_its_error() {
        for (code, name, _) in CODES {
            let body = write_error(code, "a \"message\"");
            assert_eq!(parse_error(&body), Some((code, "a \"message\"".to_owned())));
            assert_eq!(Code::from_name(name), Some(code));
        }
        assert_eq!(write_error(Code::Unavailable, ""), br#"{"code":"unavailable"}"#);
    }

    #[test]
    fn what_a_proxy_answers_is_no_error_of_the_protocol() {
        for body in ["", "502 Bad Gateway", "{\"message\":\"x\"}", "{\"code\":\"odd\"}", "{\"code\":5}"] {
            assert_eq!(parse_error(body.as_bytes()), None, "{body}");
        }
        let more = br#"{"message":"m\n","code":"aborted","details":[{"type":"t","value":"AA"}]}"#;
        assert_eq!(parse_error(more), Some((Code::Aborted, "m\n".to_owned())));
    }
}

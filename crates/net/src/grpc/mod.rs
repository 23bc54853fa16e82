//! gRPC with unary calls over raw message bytes; what a message says is not known here.
//!
//! A message travels as one byte that tells whether it is compressed, its length in four, and itself. The
//! outcome comes after the answer, in trailers, or in the headers where there is no answer.
//! Invariant: a length that a peer claims is believed only up to the limit of the call.

mod client;
mod server;
mod status;

use http::{HeaderName, HeaderValue};
use wire::compress::Encoding;

pub use client::{
    Answer, Balancing, Channel, ChannelOptions, Endpoint, Failure, Keepalive, Unary, is_reserved,
    read_arbitrary,
};
pub use server::{Call, Finished, Limits, Service, handler, read_arbitrary_call};
pub use status::{Code, Status};

/// Bytes in front of a message.
pub const PREFIX: usize = 5;

const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const ACCEPTED: HeaderValue = HeaderValue::from_static("identity,gzip,zstd,deflate,snappy");
const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/grpc");

/// The encodings of messages, by the words of `grpc-encoding`.
fn encoding_named(word: &[u8]) -> Option<(&'static str, Encoding)> {
    const KNOWN: [(&str, Encoding); 5] = [
        ("identity", Encoding::Identity),
        ("gzip", Encoding::Gzip),
        ("zstd", Encoding::Zstd),
        ("deflate", Encoding::Deflate),
        ("snappy", Encoding::Snappy),
    ];
    KNOWN.into_iter().find(|(name, _)| name.as_bytes() == word)
}

//! Loki's push request: `logproto.PushRequest` in protobuf, and its two forms in JSON.
//!
//! The writer copies: an entry goes from [`signal::logs::Entry`] into the body once, and bodies are joined by
//! concatenating the bytes of entries, stream by stream. Readers take bodies from anybody; lines are borrowed
//! from the body.

mod decode;
mod encode;
mod json;
mod labels;

pub use decode::{DecodeError, Received, Refused, decode};
pub use encode::{RawStream, RawStreams, entry_len, merge, push_entry, push_stream, stream_len};
pub use json::decode_json;
pub use labels::{LabelStringError, parse_label_string, write_label_string};

/// The `Content-Type` of the protobuf form; its body is one snappy block.
pub const CONTENT_TYPE: &str = "application/x-protobuf";
/// The path of the push API below a Loki's address.
pub const PUSH_PATH: &str = "/loki/api/v1/push";
/// The header that names the tenant.
pub const TENANT_HEADER: &str = "X-Scope-OrgID";

/// Labels of a stream, or of the structured metadata of an entry, that readers take. Far above what any Loki
/// stores; a name and a value can be two bytes in a body, and dozens in memory.
const MAX_LABELS: usize = 10_000;

//! `otelcol.exporter.*`, and what they share.

pub mod args;
pub mod debug;
pub mod file;
pub mod loadbalancing;
pub mod loki;
pub mod otlp;
pub mod otlphttp;
pub mod prometheus;
pub(crate) mod sending;

/// Reads any bytes as a record of a queue; for `tests/fuzz` only.
#[doc(hidden)]
pub fn read_arbitrary(kind: u8, body: bytes::Bytes) {
    sending::read_arbitrary(kind, body);
}

//! The codecs against an oracle (`prost` structs written down from the published schemas), against tables of
//! what Prometheus takes and refuses, and against arbitrary bytes.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a failure is the test's failure")]

mod loki;
mod otlp;
mod otlp_edit;
mod proto_exposition;
mod pyroscope;
mod schema;
mod text_exposition;
mod write;

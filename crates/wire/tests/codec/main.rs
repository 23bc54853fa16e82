//! The codecs against an oracle (`prost` structs written down from the published schemas), against tables of
//! what Prometheus takes and refuses, and against arbitrary bytes.

mod proto_exposition;
mod schema;
mod text_exposition;
mod write;

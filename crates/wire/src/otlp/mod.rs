//! OTLP requests as bytes: checking and counting without decoding, and what comes as JSON.

mod check;
mod json;
mod json_schema;
mod schema;

pub use json::{Readable, from_json};

pub use check::{Error, MAX_DEPTH, Schematic, check};

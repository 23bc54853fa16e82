//! OTLP requests as bytes: checking and counting without decoding.

mod check;
mod schema;

pub use check::{Error, MAX_DEPTH, Schematic, check};

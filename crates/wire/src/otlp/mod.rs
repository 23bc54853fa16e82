//! OTLP requests as bytes: checking, counting and cutting without decoding, and what comes as JSON.

mod check;
mod json;
mod json_schema;
mod schema;
mod split;

pub use check::{Error, MAX_DEPTH, Schematic, check};
pub use json::{Readable, from_json};
pub use split::{Piece, Uncut, split};

//! OTLP requests as bytes: checking, counting and cutting without decoding.

mod check;
mod schema;
mod split;

pub use check::{Error, MAX_DEPTH, Schematic, check};
pub use split::{Piece, Uncut, split};

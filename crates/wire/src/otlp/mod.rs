//! OTLP requests as bytes: checking, counting, cutting and editing without decoding, and what comes as JSON.

mod attributes;
mod check;
mod edit;
mod json;
mod json_schema;
mod partition;
mod schema;
mod split;
pub mod view;

pub use attributes::{AttributeList, push_attribute, text_value};
pub use check::{Error, MAX_DEPTH, Schematic, check};
pub use edit::{Around, Editor, Fate, Splices, Uneditable, edit, edit_bytes};
pub use json::{Readable, from_json};
pub use partition::{Flat, partition};
pub use split::{Piece, Uncut, split};

//! Expressions, values, and the decoding of block bodies into argument structs.
//!
//! Data path: [`syntax::ast`] → [`evaluate`] with a [`Scope`] → [`Value`] → [`ArgValue`] → a struct that
//! implements [`Arguments`]; back again through [`Arguments::encode`] for the UI and API.
//! Invariants: nothing here does I/O except the standard library's look at environment and host name;
//! [`decode`] and [`check`] report every problem, each at its place; a secret is never part of a message.

mod arg;
mod body;
mod collections;
mod conceal;
mod decode;
mod duration;
mod evaluate;
mod operators;
mod render;
mod schema;
mod scope;
mod size;
pub mod stdlib;
mod suggest;
mod types;
mod value;

pub use arg::{ArgValue, ErrorKind, Step, ValueError, capsule_from_value};
pub use body::{Arguments, Exports, Invalid, Item, OneOf};
pub use conceal::{names_secret, passwords};
pub use decode::{BlockDecoder, BodyDecoder, check, check_schema, decode};
pub use duration::{format_duration, parse_duration};
pub use evaluate::evaluate;
pub use render::items_to_json;
pub use schema::{Absent, AttributeSchema, BlockSchema, BodySchema, ExportSchema, FieldSchema};
pub use scope::{Resolve, Scope, Stability};
pub use size::Size;
pub use suggest::closest;
pub use syntax;
pub use types::fits;
pub use value::{Capsule, CapsuleType, Function, Number, OptionalSecret, Secret, Value};

// For code that derives write.
#[doc(hidden)]
pub use arg::{ObjectDecoder, choice, literal};
#[doc(hidden)]
pub use body::NoArguments;

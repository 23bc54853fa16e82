//! One walk over a request: is it what the schema says, down to the UTF-8 of every text, and how many items
//! does it carry?
//!
//! What passes here can be decoded, forwarded beside other requests and edited in place without another
//! look; so that one client's bad payload is that client's problem alone. Nothing is allocated, and work is
//! linear in the bytes.

use signal::otlp::{LogsSignal, MetricsSignal, OtlpSignal, TracesSignal};

use super::schema::{self, Kind, Schema};
use crate::proto::{self, Reader, Value};

/// How deep messages may be nested, the request itself included. Decoders stop at 100; values of attributes
/// are what nests.
pub const MAX_DEPTH: u32 = 96;

/// Why bytes are not an OTLP request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not the protobuf message that it should be.
    #[error(transparent)]
    Proto(#[from] proto::Error),
    /// Attribute values inside of attribute values.
    #[error("values are nested more than {MAX_DEPTH} messages deep")]
    TooDeep,
    /// More than 2^32 items.
    #[error("more items than can be counted")]
    TooMany,
}

/// A signal whose requests can be checked.
pub trait Schematic: OtlpSignal {
    #[doc(hidden)]
    fn schema() -> &'static RequestSchema;
}

/// The table of a request.
#[doc(hidden)]
pub struct RequestSchema(pub(super) &'static Schema);

macro_rules! schematic {
    ($($signal:ty => $schema:ident),*) => {$(
        impl Schematic for $signal {
            fn schema() -> &'static RequestSchema {
                static SCHEMA: RequestSchema = RequestSchema(&schema::$schema);
                &SCHEMA
            }
        }
    )*};
}
schematic!(TracesSignal => TRACES, MetricsSignal => METRICS, LogsSignal => LOGS);

/// Checks a serialised export request; answers how many spans, data points or log records it carries.
///
/// # Errors
/// If a field has another type than the schema says, a text is not UTF-8, a length goes past its message or
/// values are nested too deep.
pub fn check<S: Schematic>(request: &[u8]) -> Result<u32, Error> {
    let mut items = 0;
    walk(request, S::schema().0, MAX_DEPTH, &mut items)?;
    u32::try_from(items).map_err(|_| Error::TooMany)
}

fn walk(bytes: &[u8], schema: &'static Schema, depth: u32, items: &mut u64) -> Result<(), Error> {
    let Some(depth) = depth.checked_sub(1) else { return Err(Error::TooDeep) };
    let mut reader = Reader::new(bytes);
    while let Some(field) = reader.next_field()? {
        let kind = schema.0.get(field.number as usize).copied().unwrap_or(Kind::Unknown);
        match (kind, field.value) {
            (Kind::Message(inner) | Kind::Group(inner), Value::Bytes(bytes)) => {
                walk(bytes, inner, depth, items)?
            }
            (Kind::Item(inner), Value::Bytes(bytes)) => {
                *items += 1;
                walk(bytes, inner, depth, items)?;
            }
            (Kind::Text, Value::Bytes(bytes)) => {
                std::str::from_utf8(bytes).map_err(|_| proto::Error::InvalidUtf8 { field: field.number })?;
            }
            (Kind::Unknown, _)
            | (Kind::Opaque, Value::Bytes(_))
            | (Kind::Varint | Kind::Varints, Value::Varint(_))
            | (Kind::Fixed64 | Kind::Fixed64s, Value::Fixed64(_))
            | (Kind::Fixed32, Value::Fixed32(_)) => {}
            (Kind::Fixed64s, Value::Bytes(packed)) if packed.len().is_multiple_of(8) => {}
            (Kind::Fixed64s, Value::Bytes(_)) => return Err(proto::Error::Truncated.into()),
            (Kind::Varints, Value::Bytes(_)) => field.each_varint(|_| {})?,
            _ => return Err(proto::Error::WrongWireType { field: field.number }.into()),
        }
    }
    Ok(())
}

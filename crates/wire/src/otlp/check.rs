//! One walk over a request: is it what the schema says, down to the UTF-8 of every text, and how many items
//! does it carry?
//!
//! What passes here can be decoded, forwarded beside other requests and edited in place without another
//! look; so that one client's bad payload is that client's problem alone. Nothing is allocated, and work is
//! linear in the bytes.

use signal::otlp::{LogsSignal, MetricsSignal, OtlpSignal, TracesSignal};

use super::schema::{self, Kind, Schema};
use crate::proto::{self, Reader};

/// How deep messages may be nested, the request itself included. Decoders stop at 100; values of attributes
/// are what nests.
pub const MAX_DEPTH: u32 = 96;

/// Wire types.
const VARINT: u8 = 0;
const I64: u8 = 1;
const LEN: u8 = 2;
const I32: u8 = 5;

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
    // Tag and schema together say what follows; to take each field as a value first takes half as much time again.
    while let Some((field, wire_type)) = reader.next_tag()? {
        match (schema.0.get(field as usize).unwrap_or(&Kind::Unknown), wire_type) {
            (Kind::Text, LEN) if is_text(reader.delimited()?) => {}
            (Kind::Text, LEN) => return Err(proto::Error::InvalidUtf8 { field }.into()),
            (Kind::Message(inner) | Kind::Group(inner), LEN) => {
                walk(reader.delimited()?, inner, depth, items)?;
            }
            (Kind::Item(inner), LEN) => {
                *items += 1;
                walk(reader.delimited()?, inner, depth, items)?;
            }
            (Kind::Opaque, LEN) => drop(reader.delimited()?),
            (Kind::Varint | Kind::Varints, VARINT) => drop(reader.varint()?),
            (Kind::Fixed64 | Kind::Fixed64s, I64) => reader.skip(8)?,
            (Kind::Fixed32, I32) => reader.skip(4)?,
            (Kind::Fixed64s, LEN) => {
                if !reader.delimited()?.len().is_multiple_of(8) {
                    return Err(proto::Error::Truncated.into());
                }
            }
            (Kind::Varints, LEN) => {
                let mut packed = Reader::new(reader.delimited()?);
                while !packed.is_empty() {
                    packed.varint()?;
                }
            }
            (Kind::Unknown, _) => drop(reader.value(field, wire_type)?),
            _ => {
                reader.value(field, wire_type)?;
                return Err(proto::Error::WrongWireType { field }.into());
            }
        }
    }
    Ok(())
}

/// Texts of requests are short and nearly always ASCII.
#[inline]
fn is_text(bytes: &[u8]) -> bool {
    is_ascii(bytes) || std::str::from_utf8(bytes).is_ok()
}

#[inline]
fn is_ascii(bytes: &[u8]) -> bool {
    // The last word and the whole ones before it may overlap.
    let Some(last) = bytes.last_chunk::<8>() else {
        return bytes.iter().fold(0, |all, byte| all | byte) < 0x80;
    };
    let all = bytes
        .as_chunks::<8>()
        .0
        .iter()
        .fold(u64::from_ne_bytes(*last), |all, word| all | u64::from_ne_bytes(*word));
    all & 0x8080_8080_8080_8080 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_that_is_not_ascii_is_seen_at_each_place_of_a_text_of_each_length() {
        for len in 0..40 {
            let mut text = vec![b'a'; len];
            assert!(is_ascii(&text) && is_text(&text));
            for at in 0..len {
                text[at] = 0x80;
                assert!(!is_ascii(&text) && !is_text(&text), "{at} of {len}");
                text[at] = b'a';
            }
        }
        assert!(is_text("ä".as_bytes()) && !is_ascii("ä".as_bytes()));
    }
}

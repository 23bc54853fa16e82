//! OTLP/JSON to the serialised form, in one pass and without the messages in between.
//!
//! As the protobuf JSON mapping with OTLP's exceptions: IDs are in base 16, and enums may be names, which the
//! specification rules out but collectors take. Names of fields may also have underscores. 64-bit numbers are
//! texts or numbers; NaN and infinities are texts. Fields that nobody knows are passed over.
//! Invariant: a known field is carried or the request is refused; nothing is lost silently.

use std::fmt;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use signal::otlp::{LogsSignal, MetricsSignal, OtlpSignal, TracesSignal};

use super::json_schema::{self, Field, Kind, Schema};
use crate::proto::push_varint;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);

/// A signal whose requests can be read from JSON.
pub trait Readable: OtlpSignal {
    #[doc(hidden)]
    fn json() -> &'static JsonSchema;
}

/// The names of a request.
#[doc(hidden)]
pub struct JsonSchema(&'static Schema);

macro_rules! readable {
    ($($signal:ty => $schema:ident),*) => {$(
        impl Readable for $signal {
            fn json() -> &'static JsonSchema {
                static SCHEMA: JsonSchema = JsonSchema(&json_schema::$schema);
                &SCHEMA
            }
        }
    )*};
}
readable!(TracesSignal => TRACES, MetricsSignal => METRICS, LogsSignal => LOGS);

/// Serialises a request that is given as JSON. Items are not counted here.
///
/// # Errors
/// If it is not JSON, or a known field has a value that its type does not have.
pub fn from_json<S: Readable>(json: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
    let mut out = Vec::with_capacity(json.len() / 2);
    let mut reader = serde_json::Deserializer::from_slice(json);
    Body { schema: S::json().0, out: &mut out }.deserialize(&mut reader)?;
    reader.end()?;
    Ok(out)
}

/// Puts the length in front of what `write` appends.
fn delimited<E>(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
    let start = out.len();
    write(out)?;
    let end = out.len();
    push_varint(out, (end - start) as u64);
    let digits = out.len() - end;
    out[start..].rotate_right(digits);
    Ok(())
}

/// A message: an object.
struct Body<'o> {
    schema: &'static Schema,
    out: &'o mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Body<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Body<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(field) = map.next_key_seed(Key(self.schema))? {
            match field {
                Some(field) => map.next_value_seed(Value { field, out: &mut *self.out })?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// The name of a field.
struct Key(&'static Schema);

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Option<&'static Field>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Option<&'static Field>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        let fields = self.0.0.iter();
        Ok(if name.contains('_') {
            fields.into_iter().find(|f| same_words(f.name, name))
        } else {
            fields.into_iter().find(|f| f.name == name)
        })
    }
}

/// Whether `snake_case` and `camelCase` are the same name.
fn same_words(camel: &str, snake: &str) -> bool {
    let mut camel = camel.bytes();
    let mut snake = snake.bytes();
    while let Some(byte) = snake.next() {
        let expected = if byte == b'_' { snake.next().map(|b| b.to_ascii_uppercase()) } else { Some(byte) };
        if expected.is_none() || camel.next() != expected {
            return false;
        }
    }
    camel.next().is_none()
}

/// The value of a field: one, or a list of them.
struct Value<'o> {
    field: &'static Field,
    out: &'o mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.field.repeated {
            return deserializer.deserialize_any(self);
        }
        Element {
            kind: self.field.kind,
            number: Some(self.field.number),
            name: self.field.name,
            out: self.out,
        }
        .deserialize(deserializer)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list for {}", self.field.name)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Field { kind, number, name, .. } = *self.field;
        let packed = !matches!(kind, Kind::Message(_) | Kind::Text | Kind::Base64 | Kind::Hex);
        if !packed {
            while list
                .next_element_seed(Element { kind, number: Some(number), name, out: &mut *self.out })?
                .is_some()
            {}
            return Ok(());
        }
        push_varint(self.out, u64::from(number) << 3 | 2);
        delimited(self.out, |out| {
            while list.next_element_seed(Element { kind, number: None, name, out: &mut *out })?.is_some() {}
            Ok(())
        })
    }
}

/// One value; without a number it stands in a packed list.
struct Element<'o> {
    kind: Kind,
    number: Option<u32>,
    name: &'static str,
    out: &'o mut Vec<u8>,
}

impl Element<'_> {
    fn tag(&mut self, wire_type: u64) {
        if let Some(number) = self.number {
            push_varint(self.out, u64::from(number) << 3 | wire_type);
        }
    }

    fn varint(mut self, value: u64) {
        self.tag(0);
        push_varint(self.out, value);
    }

    fn fixed64(mut self, bytes: [u8; 8]) {
        self.tag(1);
        self.out.extend_from_slice(&bytes);
    }

    fn bytes(mut self, bytes: &[u8]) {
        self.tag(2);
        push_varint(self.out, bytes.len() as u64);
        self.out.extend_from_slice(bytes);
    }

    fn integer<E: Error>(self, value: i128) -> Result<(), E> {
        let name = self.name;
        let range = move |_| E::custom(format_args!("{name}: {value} is out of range"));
        match self.kind {
            Kind::UInt32 => self.varint(u32::try_from(value).map_err(range)?.into()),
            Kind::UInt64 => self.varint(u64::try_from(value).map_err(range)?),
            Kind::Int64 => self.varint(i64::try_from(value).map_err(range)?.cast_unsigned()),
            // Enums are open: numbers that this program does not know are carried.
            Kind::Enum(_) => {
                self.varint(i64::from(i32::try_from(value).map_err(range)?).cast_unsigned());
            }
            Kind::SInt32 => {
                let value = i32::try_from(value).map_err(range)?;
                self.varint(u64::from(((value << 1) ^ (value >> 31)).cast_unsigned()));
            }
            Kind::Fixed32 => {
                let value = u32::try_from(value).map_err(range)?;
                let mut this = self;
                this.tag(5);
                this.out.extend_from_slice(&value.to_le_bytes());
            }
            Kind::Fixed64 => self.fixed64(u64::try_from(value).map_err(range)?.to_le_bytes()),
            Kind::SFixed64 => self.fixed64(i64::try_from(value).map_err(range)?.to_le_bytes()),
            Kind::Double => self.fixed64((value as f64).to_le_bytes()),
            _ => return Err(E::custom(format_args!("{}: a number is not expected", self.name))),
        }
        Ok(())
    }

    fn text<E: Error>(self, text: &str) -> Result<(), E> {
        let name = self.name;
        let refuse = |what: &str| E::custom(format_args!("{name}: {text:?} is not {what}"));
        match self.kind {
            Kind::Text => self.bytes(text.as_bytes()),
            Kind::Hex => self.bytes(&unhex(text).ok_or_else(|| refuse("in base 16"))?),
            Kind::Base64 => {
                // The URL-safe alphabet is allowed too.
                let text = text.replace('-', "+").replace('_', "/");
                self.bytes(&BASE64.decode(&text).map_err(|_| refuse("base64"))?);
            }
            Kind::Enum(names) => match names.iter().find(|(name, _)| *name == text) {
                Some((_, value)) => self.varint((*value).into()),
                None => {
                    let number = text.parse::<i32>().map_err(|_| refuse("a known name"))?;
                    return self.integer(number.into());
                }
            },
            Kind::Double => {
                let number: f64 = match text {
                    "NaN" => f64::NAN,
                    "Infinity" => f64::INFINITY,
                    "-Infinity" => f64::NEG_INFINITY,
                    _ => text.parse().map_err(|_| refuse("a number"))?,
                };
                self.fixed64(number.to_le_bytes());
            }
            Kind::Bool | Kind::Message(_) => return Err(refuse("expected here")),
            _ => {
                let number = text.parse::<i128>().map_err(|_| refuse("a whole number"))?;
                return self.integer(number);
            }
        }
        Ok(())
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect()
}

impl<'de> DeserializeSeed<'de> for Element<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Element<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "another value for {}", self.name)
    }

    /// `null` is as if the field were not there; in a list it would be a hole.
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        match (self.number, self.kind) {
            (None, _) => Err(E::custom(format_args!("{}: null in a list", self.name))),
            _ => Ok(()),
        }
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        match self.kind {
            Kind::Bool => {
                self.varint(value.into());
                Ok(())
            }
            _ => Err(E::custom(format_args!("{}: a truth value is not expected", self.name))),
        }
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.integer(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.integer(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        match self.kind {
            Kind::Double => {
                self.fixed64(value.to_le_bytes());
                Ok(())
            }
            // Whole numbers may be written with an exponent.
            _ if value.fract() == 0.0 && value.abs() < 1.9e19 => self.integer(value as i128),
            _ => Err(E::custom(format_args!("{}: {value} is not a whole number", self.name))),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.text(text)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, map: A) -> Result<(), A::Error> {
        let Kind::Message(schema) = self.kind else {
            return Err(A::Error::custom(format_args!("{}: an object is not expected", self.name)));
        };
        self.tag(2);
        delimited(self.out, |out| Body { schema, out }.visit_map(map))
    }
}

#[cfg(test)]
mod tests;

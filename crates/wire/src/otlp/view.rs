//! Looks into serialised messages: fields with their places, attributes, values. Nothing is copied.
//!
//! A message may say a field several times that there is one of; decoders take the last one or merge them.
//! No encoder writes that, and no view understands it: it is answered with [`Unclear::Repeated`], and whoever
//! wants to go on decodes the request and encodes it again, after which every field stands there once.

use std::ops::Range;

use crate::proto::{self, Field, Reader, Value};

/// Why a message cannot be looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unclear {
    /// Not the protobuf message that it should be.
    #[error(transparent)]
    Proto(#[from] proto::Error),
    /// A field that there is one of stands there several times, or what is around an item stands behind it.
    #[error("a field stands where no encoder would put it")]
    Repeated,
}

/// The fields of a message with their places in it, tags included.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    reader: Reader<'a>,
    len: usize,
}

/// Walks over a message.
pub fn fields(message: &[u8]) -> Fields<'_> {
    Fields { reader: Reader::new(message), len: message.len() }
}

impl<'a> Fields<'a> {
    /// The next field and its place.
    ///
    /// # Errors
    /// If the bytes are not a protobuf message.
    #[inline]
    pub fn next_field(&mut self) -> Result<Option<(Range<usize>, Field<'a>)>, proto::Error> {
        let start = self.len - self.reader.rest().len();
        let Some(field) = self.reader.next_field()? else { return Ok(None) };
        Ok(Some((start..self.len - self.reader.rest().len(), field)))
    }
}

/// Puts a value where there has to be none yet.
///
/// # Errors
/// If there is one.
#[inline]
pub fn once<T>(place: &mut Option<T>, value: T) -> Result<(), Unclear> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Unclear::Repeated),
    }
}

/// One attribute of a message.
#[derive(Clone, Debug, PartialEq)]
pub struct Attribute<'a> {
    /// Its place in the message, tag included.
    pub place: Range<usize>,
    /// The serialised `KeyValue`.
    pub raw: &'a [u8],
    /// The key.
    pub key: &'a [u8],
    /// The serialised `AnyValue`; none where there is none, which is not the same as an empty one.
    pub value: Option<&'a [u8]>,
}

/// A `KeyValue` at a place of a message.
///
/// # Errors
/// If it has several keys or values.
#[inline]
pub fn attribute(place: Range<usize>, raw: &[u8]) -> Result<Attribute<'_>, Unclear> {
    let (mut key, mut value) = (None, None);
    let mut reader = Reader::new(raw);
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => once(&mut key, field.bytes()?)?,
            2 => once(&mut value, field.bytes()?)?,
            _ => {}
        }
    }
    Ok(Attribute { place, raw, key: key.unwrap_or_default(), value })
}

/// The attribute of a key in a message whose attributes have a field number; the first if there are several.
///
/// # Errors
/// If the message is not what it should be.
pub fn find<'a>(message: &'a [u8], number: u32, key: &[u8]) -> Result<Option<Attribute<'a>>, Unclear> {
    let mut fields = fields(message);
    while let Some((place, field)) = fields.next_field()? {
        if field.number == number {
            let attribute = attribute(place, field.bytes()?)?;
            if attribute.key == key {
                return Ok(Some(attribute));
            }
        }
    }
    Ok(None)
}

/// What an `AnyValue` holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Any<'a> {
    /// Nothing.
    Empty,
    /// Text; UTF-8 in a checked request.
    Text(&'a [u8]),
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A float.
    Double(f64),
    /// The serialised `ArrayValue`.
    Array(&'a [u8]),
    /// The serialised `KeyValueList`.
    Map(&'a [u8]),
    /// Bytes.
    Bytes(&'a [u8]),
    /// A reference to a table that only profiles have.
    Index,
}

/// Reads a serialised `AnyValue`.
///
/// # Errors
/// If it holds several.
#[inline]
pub fn any(value: &[u8]) -> Result<Any<'_>, Unclear> {
    let mut found = None;
    let mut reader = Reader::new(value);
    while let Some(field) = reader.next_field()? {
        let any = match field.number {
            1 => Any::Text(field.bytes()?),
            2 => Any::Bool(field.u64()? != 0),
            3 => Any::Int(field.i64()?),
            4 => Any::Double(field.f64()?),
            5 => Any::Array(field.bytes()?),
            6 => Any::Map(field.bytes()?),
            7 => Any::Bytes(field.bytes()?),
            8 => Any::Index,
            _ => continue,
        };
        once(&mut found, any)?;
    }
    Ok(found.unwrap_or(Any::Empty))
}

/// As [`any`], with nothing for a missing value.
///
/// # Errors
/// If it holds several.
pub fn any_or_empty(value: Option<&[u8]>) -> Result<Any<'_>, Unclear> {
    value.map_or(Ok(Any::Empty), any)
}

/// Text as it is in a checked request.
///
/// # Errors
/// If it is not UTF-8, which a checked request never has in a text.
pub fn text(bytes: &[u8]) -> Result<&str, Unclear> {
    std::str::from_utf8(bytes).map_err(|_| Unclear::Proto(proto::Error::InvalidUtf8 { field: 1 }))
}

/// The payload of a field that is a message, text or bytes.
///
/// # Errors
/// If it is something else.
pub fn payload<'a>(field: &Field<'a>) -> Result<&'a [u8], Unclear> {
    match field.value {
        Value::Bytes(bytes) => Ok(bytes),
        _ => Err(Unclear::Proto(proto::Error::WrongWireType { field: field.number })),
    }
}

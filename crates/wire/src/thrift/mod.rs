//! A small reader of Apache Thrift's binary and compact protocols: values as borrowed slices, no schema.
//!
//! Data path: message header (where there is one) → struct → fields, each read as what the caller expects or
//! skipped. Invariants: a length or a count is believed only as far as there are bytes for it; nesting ends at
//! [`MAX_DEPTH`]; each step consumes at least one byte, so that work is linear in the input.

#[cfg(test)]
pub(crate) mod testkit;
#[cfg(test)]
mod tests;

/// How deep structs, lists and maps may be nested. Jaeger's end at eight.
pub const MAX_DEPTH: u32 = 32;

/// One of the two protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `TBinaryProtocol`, with or without a version in front of messages.
    Binary,
    /// `TCompactProtocol`.
    Compact,
}

/// The type of a value, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `bool`.
    Bool,
    /// `byte`.
    Byte,
    /// `i16`.
    I16,
    /// `i32` and enums.
    I32,
    /// `i64`.
    I64,
    /// `double`.
    Double,
    /// `string` and `binary`.
    Bytes,
    /// A struct.
    Struct,
    /// A map.
    Map,
    /// A list or a set: they are written alike.
    List,
    /// A UUID.
    Uuid,
}

/// Why bytes are not Thrift.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Ends inside of a value, or a length goes past the end.
    #[error("the Thrift message ends inside a value")]
    Truncated,
    /// A varint of more bits than its type has.
    #[error("a varint is too long")]
    VarintTooLong,
    /// A type that does not exist.
    #[error("there is no Thrift type {0}")]
    UnknownType(u8),
    /// A list or map that claims more than the rest can hold.
    #[error("a container claims {0} elements, more than there are bytes for")]
    TooMany(u64),
    /// Containers inside of containers.
    #[error("values are nested more than {MAX_DEPTH} deep")]
    TooDeep,
    /// A message that begins in another way.
    #[error("the message begins with no header that is known")]
    NoHeader,
}

/// A field of a struct, before its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its number in the struct.
    pub id: i16,
    /// Its type.
    pub kind: Kind,
    /// Compact booleans stand in the header.
    inline: Option<bool>,
}

/// The header of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Name of the method.
    pub name: &'a [u8],
    /// 1 for a call, 4 for one without an answer.
    pub kind: u8,
}

/// Reads values one after the other.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    protocol: Protocol,
    depth: u32,
}

impl<'a> Reader<'a> {
    /// From the start of a value or a message.
    pub fn new(bytes: &'a [u8], protocol: Protocol) -> Self {
        Self { rest: bytes, protocol, depth: 0 }
    }

    /// What is left.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Error::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Error::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, Error> {
        Ok(self.array::<1>()?[0])
    }

    fn varint(&mut self, bits: u32) -> Result<u64, Error> {
        let mut value = 0u64;
        let mut shift = 0;
        loop {
            let byte = self.byte()?;
            let low = u64::from(byte & 0x7f);
            if shift >= bits || (bits - shift < 7 && low >> (bits - shift) != 0) {
                return Err(Error::VarintTooLong);
            }
            value |= low << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
            shift += 7;
        }
    }

    fn zigzag(&mut self, bits: u32) -> Result<i64, Error> {
        let value = self.varint(bits)?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A length in bytes, or a count of elements.
    fn count(&mut self) -> Result<u64, Error> {
        match self.protocol {
            // A negative one is a lie like any other that is too large.
            Protocol::Binary => Ok(u64::from(u32::from_be_bytes(self.array()?))),
            Protocol::Compact => self.varint(32),
        }
    }

    /// `i16`.
    pub fn i16(&mut self) -> Result<i16, Error> {
        match self.protocol {
            Protocol::Binary => Ok(i16::from_be_bytes(self.array()?)),
            // Writers may keep 32 bits.
            Protocol::Compact => Ok(self.zigzag(32)? as i16),
        }
    }

    /// `i32`.
    pub fn i32(&mut self) -> Result<i32, Error> {
        match self.protocol {
            Protocol::Binary => Ok(i32::from_be_bytes(self.array()?)),
            Protocol::Compact => Ok(self.zigzag(32)? as i32),
        }
    }

    /// `i64`.
    pub fn i64(&mut self) -> Result<i64, Error> {
        match self.protocol {
            Protocol::Binary => Ok(i64::from_be_bytes(self.array()?)),
            Protocol::Compact => self.zigzag(64),
        }
    }

    /// `double`.
    pub fn f64(&mut self) -> Result<f64, Error> {
        let bytes = self.array()?;
        Ok(match self.protocol {
            Protocol::Binary => f64::from_be_bytes(bytes),
            // As all writers do, whatever the first specification said.
            Protocol::Compact => f64::from_le_bytes(bytes),
        })
    }

    /// `bool`, of a field.
    pub fn bool(&mut self, field: Field) -> Result<bool, Error> {
        match field.inline {
            Some(value) => Ok(value),
            None => Ok(self.byte()? == 1),
        }
    }

    /// `string` or `binary`.
    pub fn bytes(&mut self) -> Result<&'a [u8], Error> {
        let length = self.count()?;
        self.take(usize::try_from(length).map_err(|_| Error::Truncated)?)
    }

    fn kind(&self, code: u8) -> Result<Kind, Error> {
        Ok(match (self.protocol, code) {
            (Protocol::Binary, 2) | (Protocol::Compact, 1 | 2) => Kind::Bool,
            (_, 3) => Kind::Byte,
            (Protocol::Binary, 4) | (Protocol::Compact, 7) => Kind::Double,
            (Protocol::Binary, 6) | (Protocol::Compact, 4) => Kind::I16,
            (Protocol::Binary, 8) | (Protocol::Compact, 5) => Kind::I32,
            (Protocol::Binary, 10) | (Protocol::Compact, 6) => Kind::I64,
            (Protocol::Binary, 11) | (Protocol::Compact, 8) => Kind::Bytes,
            (_, 12) => Kind::Struct,
            (Protocol::Binary, 13) | (Protocol::Compact, 11) => Kind::Map,
            (Protocol::Binary, 14 | 15) | (Protocol::Compact, 9 | 10) => Kind::List,
            (Protocol::Binary, 16) | (Protocol::Compact, 13) => Kind::Uuid,
            (_, other) => return Err(Error::UnknownType(other)),
        })
    }

    /// Bytes of a value at least.
    fn least(&self, kind: Kind) -> u64 {
        match (self.protocol, kind) {
            (_, Kind::Uuid) => 16,
            (_, Kind::Double) | (Protocol::Binary, Kind::I64) => 8,
            (Protocol::Binary, Kind::I16) => 2,
            (Protocol::Binary, Kind::I32 | Kind::Bytes) => 4,
            (Protocol::Binary, Kind::List) => 5,
            (Protocol::Binary, Kind::Map) => 6,
            _ => 1,
        }
    }

    fn fits(&self, count: u64, each: u64) -> Result<usize, Error> {
        if count.saturating_mul(each) > self.rest.len() as u64 {
            return Err(Error::TooMany(count));
        }
        usize::try_from(count).map_err(|_| Error::TooMany(count))
    }

    /// The header of a list or set: the type of its elements and how many there are.
    pub fn list(&mut self) -> Result<(Kind, usize), Error> {
        let (kind, count) = match self.protocol {
            Protocol::Binary => {
                let code = self.byte()?;
                let count = self.count()?;
                // Some writers give an empty list no type.
                if count == 0 {
                    return Ok((self.kind(code).unwrap_or(Kind::Struct), 0));
                }
                (self.kind(code)?, count)
            }
            Protocol::Compact => {
                let header = self.byte()?;
                let count = if header >> 4 == 15 { self.varint(32)? } else { u64::from(header >> 4) };
                if count == 0 {
                    return Ok((self.kind(header & 15).unwrap_or(Kind::Struct), 0));
                }
                (self.kind(header & 15)?, count)
            }
        };
        Ok((kind, self.fits(count, self.least(kind))?))
    }

    fn map(&mut self) -> Result<(Kind, Kind, usize), Error> {
        let (key, value, count) = match self.protocol {
            Protocol::Binary => {
                let (key, value) = (self.byte()?, self.byte()?);
                (key, value, self.count()?)
            }
            Protocol::Compact => match self.varint(32)? {
                0 => (0, 0, 0),
                count => {
                    let kinds = self.byte()?;
                    (kinds >> 4, kinds & 15, count)
                }
            },
        };
        if count == 0 {
            return Ok((Kind::Byte, Kind::Byte, 0));
        }
        let (key, value) = (self.kind(key)?, self.kind(value)?);
        Ok((key, value, self.fits(count, self.least(key) + self.least(value))?))
    }

    /// Reads a struct: gives each field to `each`, which reads or skips its value.
    ///
    /// # Errors
    /// If a header is broken, nesting too deep, or `each` fails.
    pub fn structure<E: From<Error>>(
        &mut self,
        mut each: impl FnMut(&mut Self, Field) -> Result<(), E>,
    ) -> Result<(), E> {
        self.deeper()?;
        let mut last = 0;
        while let Some(field) = self.field(&mut last)? {
            each(self, field)?;
        }
        self.depth -= 1;
        Ok(())
    }

    fn deeper(&mut self) -> Result<(), Error> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(Error::TooDeep) } else { Ok(()) }
    }

    fn field(&mut self, last: &mut i16) -> Result<Option<Field>, Error> {
        let header = self.byte()?;
        if header == 0 {
            return Ok(None);
        }
        let (id, code, inline) = match self.protocol {
            Protocol::Binary => (i16::from_be_bytes(self.array()?), header, None),
            Protocol::Compact => {
                let code = header & 15;
                let id = match header >> 4 {
                    0 => self.i16()?,
                    delta => last.wrapping_add(i16::from(delta)),
                };
                (id, code, matches!(code, 1 | 2).then_some(code == 1))
            }
        };
        *last = id;
        Ok(Some(Field { id, kind: self.kind(code)?, inline }))
    }

    /// Reads a list of structs, calling `each` before every one. A list of something else is skipped.
    ///
    /// # Errors
    /// If the list is broken or `each` fails.
    pub fn structs<E: From<Error>>(
        &mut self,
        mut each: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        let (kind, count) = self.list()?;
        self.deeper()?;
        for _ in 0..count {
            if kind == Kind::Struct { each(self)? } else { self.skip_value(kind)? }
        }
        self.depth -= 1;
        Ok(())
    }

    /// Passes over the value of a field.
    pub fn skip(&mut self, field: Field) -> Result<(), Error> {
        if field.inline.is_some() { Ok(()) } else { self.skip_value(field.kind) }
    }

    fn skip_value(&mut self, kind: Kind) -> Result<(), Error> {
        match kind {
            Kind::Bool | Kind::Byte => self.byte().map(drop),
            Kind::I16 => self.i16().map(drop),
            Kind::I32 => self.i32().map(drop),
            Kind::I64 => self.i64().map(drop),
            Kind::Double => self.take(8).map(drop),
            Kind::Uuid => self.take(16).map(drop),
            Kind::Bytes => self.bytes().map(drop),
            Kind::Struct => self.structure(Self::skip),
            Kind::List => {
                let (kind, count) = self.list()?;
                self.deeper()?;
                (0..count).try_for_each(|_| self.skip_value(kind))?;
                self.depth -= 1;
                Ok(())
            }
            Kind::Map => {
                let (key, value, count) = self.map()?;
                self.deeper()?;
                for _ in 0..count {
                    self.skip_value(key)?;
                    self.skip_value(value)?;
                }
                self.depth -= 1;
                Ok(())
            }
        }
    }

    /// The header of a call.
    pub fn message(&mut self) -> Result<Message<'a>, Error> {
        match self.protocol {
            Protocol::Compact => {
                let [protocol, version] = self.array()?;
                if protocol != 0x82 || version & 0x1f != 1 {
                    return Err(Error::NoHeader);
                }
                self.varint(32)?;
                Ok(Message { name: self.bytes()?, kind: version >> 5 })
            }
            Protocol::Binary => {
                let first = u32::from_be_bytes(self.array()?);
                if first >> 16 == 0x8001 {
                    let name = self.bytes()?;
                    self.take(4)?;
                    return Ok(Message { name, kind: first as u8 & 7 });
                }
                if first >> 31 == 1 {
                    return Err(Error::NoHeader);
                }
                // Old writers: the name, the kind, the sequence number.
                let name = self.take(first as usize)?;
                let kind = self.byte()?;
                self.take(4)?;
                Ok(Message { name, kind })
            }
        }
    }
}

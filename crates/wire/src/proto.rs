//! A small protobuf reader and writer: fields as borrowed slices, no schema, no allocation.
//!
//! The reader never looks past its slice and never trusts a length: every message is read by walking
//! fields, and each step consumes at least one byte, so that work is linear in the input.

/// Why bytes are not the protobuf message that they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A field or a varint goes past the end.
    #[error("the protobuf message ends inside a field")]
    Truncated,
    /// A varint of more than ten bytes or more than 64 bits.
    #[error("a varint is longer than 64 bits")]
    VarintTooLong,
    /// Field number 0 or above 2^29-1.
    #[error("a field has an invalid number")]
    InvalidField,
    /// Groups were removed from protobuf, wire types 6 and 7 never existed.
    #[error("field {field} has the unsupported wire type {wire_type}")]
    UnsupportedWireType {
        /// Field number.
        field: u32,
        /// Wire type found.
        wire_type: u8,
    },
    /// The field is known but has another type here.
    #[error("field {field} does not have the wire type that the schema says")]
    WrongWireType {
        /// Field number.
        field: u32,
    },
    /// A `string` field that is not UTF-8.
    #[error("field {field} is not valid UTF-8")]
    InvalidUtf8 {
        /// Field number.
        field: u32,
    },
}

/// One value as it stands in a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1.
    Fixed64(u64),
    /// Wire type 2: a string, bytes, a message or packed scalars.
    Bytes(&'a [u8]),
    /// Wire type 5.
    Fixed32(u32),
}

/// One field: its number and its value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Field<'a> {
    /// Field number, at least 1.
    pub number: u32,
    /// The value.
    pub value: Value<'a>,
}

impl<'a> Field<'a> {
    fn wrong(self) -> Error {
        Error::WrongWireType { field: self.number }
    }

    /// The payload of a length-delimited field.
    pub fn bytes(self) -> Result<&'a [u8], Error> {
        if let Value::Bytes(bytes) = self.value { Ok(bytes) } else { Err(self.wrong()) }
    }

    /// The payload of a `string` field.
    pub fn str(self) -> Result<&'a str, Error> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Error::InvalidUtf8 { field: self.number })
    }

    /// A reader over an embedded message.
    pub fn message(self) -> Result<Reader<'a>, Error> {
        Ok(Reader::new(self.bytes()?))
    }

    /// `uint64`.
    pub fn u64(self) -> Result<u64, Error> {
        if let Value::Varint(v) = self.value { Ok(v) } else { Err(self.wrong()) }
    }

    /// `uint32` and enums: higher bits are cut off, as every protobuf decoder does.
    pub fn u32(self) -> Result<u32, Error> {
        Ok(self.u64()? as u32)
    }

    /// `int64` (two's complement varint).
    pub fn i64(self) -> Result<i64, Error> {
        Ok(self.u64()? as i64)
    }

    /// `sint32` (zigzag varint).
    pub fn s32(self) -> Result<i32, Error> {
        Ok(unzigzag(self.u64()?) as i32)
    }

    /// `double`.
    pub fn f64(self) -> Result<f64, Error> {
        if let Value::Fixed64(v) = self.value { Ok(f64::from_bits(v)) } else { Err(self.wrong()) }
    }

    /// A `repeated` varint field, packed or not: calls `f` for each element.
    pub fn each_varint(self, mut f: impl FnMut(u64)) -> Result<(), Error> {
        match self.value {
            Value::Varint(v) => f(v),
            Value::Bytes(packed) => {
                let mut reader = Reader::new(packed);
                while !reader.is_empty() {
                    f(reader.varint()?);
                }
            }
            _ => return Err(self.wrong()),
        }
        Ok(())
    }

    /// A `repeated double` field, packed or not: calls `f` for each element.
    pub fn each_f64(self, mut f: impl FnMut(f64)) -> Result<(), Error> {
        match self.value {
            Value::Fixed64(v) => f(f64::from_bits(v)),
            Value::Bytes(packed) => {
                let (doubles, rest) = packed.as_chunks::<8>();
                if !rest.is_empty() {
                    return Err(Error::Truncated);
                }
                doubles.iter().for_each(|d| f(f64::from_le_bytes(*d)));
            }
            _ => return Err(self.wrong()),
        }
        Ok(())
    }
}

/// Walks the fields of a message.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads `message` from its start.
    pub fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What is left.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next field, or `None` at the end.
    #[inline]
    pub fn next_field(&mut self) -> Result<Option<Field<'a>>, Error> {
        let Some((number, wire_type)) = self.next_tag()? else { return Ok(None) };
        let value = self.value(number, wire_type)?;
        Ok(Some(Field { number, value }))
    }

    /// The number and the wire type of the next field, or `None` at the end. What follows is its value.
    #[inline]
    pub(crate) fn next_tag(&mut self) -> Result<Option<(u32, u8)>, Error> {
        let Some(first) = self.rest.first() else { return Ok(None) };
        if (8..0x80).contains(first) {
            self.rest = &self.rest[1..];
            return Ok(Some((u32::from(first >> 3), first & 7)));
        }
        self.long_tag().map(Some)
    }

    #[cold]
    fn long_tag(&mut self) -> Result<(u32, u8), Error> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|n| (1..1 << 29).contains(n));
        Ok((number.ok_or(Error::InvalidField)?, (tag & 7) as u8))
    }

    /// The value of a field of this wire type.
    #[inline]
    pub(crate) fn value(&mut self, field: u32, wire_type: u8) -> Result<Value<'a>, Error> {
        Ok(match wire_type {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(*self.array()?)),
            2 => Value::Bytes(self.delimited()?),
            5 => Value::Fixed32(u32::from_le_bytes(*self.array()?)),
            _ => return Err(Error::UnsupportedWireType { field, wire_type }),
        })
    }

    /// Goes behind `len` bytes.
    #[inline]
    pub(crate) fn skip(&mut self, len: usize) -> Result<(), Error> {
        self.rest = self.rest.get(len..).ok_or(Error::Truncated)?;
        Ok(())
    }

    /// A varint.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, Error> {
        if let [first, rest @ ..] = self.rest
            && *first < 0x80
        {
            self.rest = rest;
            return Ok(u64::from(*first));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64, Error> {
        let mut value = 0u64;
        for (i, byte) in self.rest.iter().take(10).enumerate() {
            let bits = u64::from(byte & 0x7f);
            if i == 9 && bits > 1 {
                return Err(Error::VarintTooLong);
            }
            value |= bits << (7 * i);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[i + 1..];
                return Ok(value);
            }
        }
        Err(if self.rest.len() < 10 { Error::Truncated } else { Error::VarintTooLong })
    }

    /// A length and that many bytes.
    #[inline]
    pub fn delimited(&mut self) -> Result<&'a [u8], Error> {
        let len = usize::try_from(self.varint()?).map_err(|_| Error::Truncated)?;
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(Error::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], Error> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(Error::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }
}

/// Bytes that `value` takes as a varint.
#[inline]
pub const fn varint_len(value: u64) -> usize {
    // 9/64 approximates 1/7 exactly enough for 1..=64 significant bits.
    ((64 - (value | 1).leading_zeros() as usize) * 9 + 64) / 64
}

/// Appends zeros, to be written over. In blocks: a compiler that is asked for little code makes of [`Vec::resize`] a loop
/// over bytes.
pub fn push_zeros(out: &mut Vec<u8>, mut count: usize) {
    const ZEROS: [u8; 1024] = [0; 1024];
    out.reserve(count);
    while count > 0 {
        let part = count.min(ZEROS.len());
        out.extend_from_slice(&ZEROS[..part]);
        count -= part;
    }
}

/// Appends a varint.
#[inline]
pub fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Writes a varint into `out` and returns its length. `out` must hold ten bytes.
#[inline]
pub fn put_varint(out: &mut [u8], mut value: u64) -> usize {
    let mut i = 0;
    while value >= 0x80 {
        out[i] = value as u8 | 0x80;
        value >>= 7;
        i += 1;
    }
    out[i] = value as u8;
    i + 1
}

/// Appends a varint field, also where it is zero.
pub fn push_varint_field(out: &mut Vec<u8>, field: u32, value: u64) {
    push_varint(out, u64::from(field) << 3);
    push_varint(out, value);
}

/// Appends a `double` field unless it is +0.0 (the proto3 default; −0.0 is kept, it has other bits).
pub fn push_f64_field(out: &mut Vec<u8>, field: u32, value: f64) {
    if value.to_bits() != 0 {
        push_varint(out, u64::from(field) << 3 | 1);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// Appends a length-delimited field.
pub fn push_bytes_field(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    push_varint(out, u64::from(field) << 3 | 2);
    push_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends an embedded message that `write` appends: its length is put before it afterwards. Meant for
/// messages off the hot path: those longer than 127 bytes are moved once.
pub fn push_message_field(out: &mut Vec<u8>, field: u32, write: impl FnOnce(&mut Vec<u8>)) {
    push_varint(out, u64::from(field) << 3 | 2);
    let at = out.len();
    out.push(0);
    write(out);
    let len = out.len() - at - 1;
    if len < 0x80 {
        out[at] = len as u8;
    } else {
        let mut header = [0; 10];
        let n = put_varint(&mut header, len as u64);
        out.splice(at..=at, header[..n].iter().copied());
    }
}

/// ZigZag, for `sint32` and `sint64`.
#[inline]
pub const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Undoes [`zigzag`].
#[inline]
pub const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_of_every_length_come_back() {
        for shift in 0..64 {
            for value in [1u64 << shift, (1u64 << shift) - 1, u64::MAX >> shift] {
                let mut out = Vec::new();
                push_varint(&mut out, value);
                assert_eq!(out.len(), varint_len(value), "{value}");
                let mut reader = Reader::new(&out);
                assert_eq!(reader.varint(), Ok(value));
                assert!(reader.is_empty());
            }
        }
    }

    #[test]
    fn zigzag_comes_back() {
        for value in [0, 1, -1, i64::MAX, i64::MIN, i64::from(i32::MIN)] {
            assert_eq!(unzigzag(zigzag(value)), value);
        }
        assert_eq!((zigzag(-1), zigzag(1)), (1, 2));
    }

    #[test]
    fn broken_messages_are_refused() {
        let cases: &[(&[u8], Error)] = &[
            (&[0x0a], Error::Truncated),
            (&[0x0a, 5, 1], Error::Truncated),
            (&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], Error::Truncated),
            (&[0x08, 0x80], Error::Truncated),
            (&[0x09, 1, 2, 3], Error::Truncated),
            (&[0x0d, 1, 2, 3], Error::Truncated),
            (&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2], Error::VarintTooLong),
            (&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], Error::VarintTooLong),
            (&[0x00, 1], Error::InvalidField),
            (&[0x0b], Error::UnsupportedWireType { field: 1, wire_type: 3 }),
            (&[0x0f], Error::UnsupportedWireType { field: 1, wire_type: 7 }),
        ];
        for (bytes, error) in cases {
            assert_eq!(Reader::new(bytes).next_field(), Err(*error), "{bytes:?}");
        }
    }

    #[test]
    fn long_embedded_messages_get_a_long_length() {
        for len in [0usize, 127, 128, 20_000] {
            let mut out = Vec::new();
            push_message_field(&mut out, 3, |out| out.resize(out.len() + len, 7));
            let field = Reader::new(&out).next_field().unwrap().unwrap();
            assert_eq!((field.number, field.bytes().unwrap().len()), (3, len));
        }
    }
}

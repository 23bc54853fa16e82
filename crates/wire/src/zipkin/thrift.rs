//! `zipkinCore.thrift`: a list of spans of version 1, fields by their numbers there.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::json::Scalar;
use super::v1::{Annotation, Binary, Span};
use super::{Endpoint, Error};
use crate::spans::{Meter, lossy};
use crate::thrift::{Kind, Reader};

pub(super) fn each<'a>(
    reader: &mut Reader<'a>,
    meter: &mut Meter,
    mut f: impl FnMut(Span<'a>, &mut Meter) -> Result<(), Error>,
) -> Result<(), Error> {
    reader.structs::<Error>(|reader| {
        let span = span(reader, meter)?;
        f(span, meter)
    })
}

fn span<'a>(reader: &mut Reader<'a>, meter: &mut Meter) -> Result<Span<'a>, Error> {
    let mut span = Span::default();
    let (mut low, mut high) = (0, 0);
    reader.structure::<Error>(|reader, field| {
        match (field.id, field.kind) {
            (1, Kind::I64) => low = reader.i64()? as u64,
            (3, Kind::Bytes) => span.name = lossy(reader.bytes()?),
            (4, Kind::I64) => span.id = reader.i64()? as u64,
            (5, Kind::I64) => span.parent = reader.i64()? as u64,
            (6, Kind::List) => reader.structs::<Error>(|reader| {
                meter.item::<Annotation<'_>>(0)?;
                span.annotations.push(annotation(reader)?);
                Ok(())
            })?,
            (8, Kind::List) => reader.structs::<Error>(|reader| {
                meter.item::<Binary<'_>>(0)?;
                span.binary.push(binary(reader)?);
                Ok(())
            })?,
            (9, Kind::Bool) => span.debug = reader.bool(field)?,
            (10, Kind::I64) => span.timestamp = reader.i64()?,
            (11, Kind::I64) => span.duration = reader.i64()?,
            (12, Kind::I64) => high = reader.i64()? as u64,
            _ => reader.skip(field)?,
        }
        Ok(())
    })?;
    span.trace = u128::from(high) << 64 | u128::from(low);
    Ok(span)
}

fn annotation<'a>(reader: &mut Reader<'a>) -> Result<Annotation<'a>, Error> {
    let mut annotation = Annotation::default();
    reader.structure::<Error>(|reader, field| {
        match (field.id, field.kind) {
            (1, Kind::I64) => annotation.timestamp = reader.i64()?,
            (2, Kind::Bytes) => annotation.value = lossy(reader.bytes()?),
            (3, Kind::Struct) => annotation.endpoint = Some(endpoint(reader)?),
            _ => reader.skip(field)?,
        }
        Ok(())
    })?;
    Ok(annotation)
}

fn binary<'a>(reader: &mut Reader<'a>) -> Result<Binary<'a>, Error> {
    let (mut key, mut value, mut kind, mut from) = (lossy(b""), &b""[..], 6, None);
    reader.structure::<Error>(|reader, field| {
        match (field.id, field.kind) {
            (1, Kind::Bytes) => key = lossy(reader.bytes()?),
            (2, Kind::Bytes) => value = reader.bytes()?,
            (3, Kind::I32) => kind = reader.i32()?,
            (4, Kind::Struct) => from = Some(endpoint(reader)?),
            _ => reader.skip(field)?,
        }
        Ok(())
    })?;
    Ok(Binary { key, value: scalar(kind, value), endpoint: from })
}

/// A value of `AnnotationType`. One that is shorter than its type stays what it is, as text.
fn scalar(kind: i32, bytes: &[u8]) -> Scalar<'_> {
    use base64::Engine as _;
    let number = match kind {
        0 => return Scalar::Bool(bytes == [1]),
        1 => {
            return Scalar::Text(base64::engine::general_purpose::STANDARD.encode(bytes).into());
        }
        2 => bytes.first_chunk().map(|b| Scalar::Int(i16::from_be_bytes(*b).into())),
        3 => bytes.first_chunk().map(|b| Scalar::Int(i32::from_be_bytes(*b).into())),
        4 => bytes.first_chunk().map(|b| Scalar::Int(i64::from_be_bytes(*b))),
        5 => bytes.first_chunk().map(|b| Scalar::Double(f64::from_be_bytes(*b))),
        _ => None,
    };
    number.unwrap_or_else(|| Scalar::Text(lossy(bytes)))
}

fn endpoint<'a>(reader: &mut Reader<'a>) -> Result<Endpoint<'a>, Error> {
    let mut endpoint = Endpoint::default();
    reader.structure::<Error>(|reader, field| {
        match (field.id, field.kind) {
            (1, Kind::I32) => match reader.i32()? {
                0 => {}
                ip => endpoint.ipv4 = Ipv4Addr::from(ip as u32).to_string().into(),
            },
            (2, Kind::I16) => endpoint.port = reader.i16()? as u16,
            (3, Kind::Bytes) => endpoint.service = lossy(reader.bytes()?),
            (4, Kind::Bytes) => {
                if let Ok(bytes) = <[u8; 16]>::try_from(reader.bytes()?) {
                    endpoint.ipv6 = Ipv6Addr::from(bytes).to_string().into();
                }
            }
            _ => reader.skip(field)?,
        }
        Ok(())
    })?;
    Ok(endpoint)
}

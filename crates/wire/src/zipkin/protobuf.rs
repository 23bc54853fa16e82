//! `zipkin.proto3.ListOfSpans`: fields by their numbers there.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::v2::{Kind, Span};
use super::{Endpoint, Error};
use crate::proto::{Reader, Value};
use crate::spans::{Meter, lossy};

pub(super) fn each<'a>(
    body: &'a [u8],
    meter: &mut Meter,
    mut f: impl FnMut(Span<'a>, &mut Meter) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut reader = Reader::new(body);
    let mut place = 0;
    while let Some(field) = reader.next_field()? {
        if field.number == 1 {
            place += 1;
            let span = span(field.message()?, place, meter)?;
            f(span, meter)?;
        }
    }
    Ok(())
}

/// An ID of up to so many bytes.
fn id(bytes: &[u8], most: usize) -> Option<u128> {
    (bytes.len() <= most).then(|| bytes.iter().fold(0, |id, byte| id << 8 | u128::from(*byte)))
}

fn span<'a>(mut reader: Reader<'a>, place: usize, meter: &mut Meter) -> Result<Span<'a>, Error> {
    let bad = |what| Error::Id { span: place, what, found: "too long" };
    let mut span = Span::default();
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => span.trace = id(field.bytes()?, 16).ok_or_else(|| bad("the trace ID"))?,
            2 => span.parent = id(field.bytes()?, 8).ok_or_else(|| bad("the parent's ID"))? as u64,
            3 => span.id = id(field.bytes()?, 8).ok_or_else(|| bad("the span ID"))? as u64,
            4 => {
                span.kind = match field.u32()? {
                    1 => Kind::Client,
                    2 => Kind::Server,
                    3 => Kind::Producer,
                    4 => Kind::Consumer,
                    _ => Kind::None,
                }
            }
            5 => span.name = lossy(field.bytes()?),
            6 => match field.value {
                Value::Fixed64(micros) => span.timestamp = micros,
                _ => return Err(crate::proto::Error::WrongWireType { field: 6 }.into()),
            },
            7 => span.duration = field.u64()?,
            8 => span.local = Some(endpoint(field.message()?)?),
            9 => span.remote = Some(endpoint(field.message()?)?),
            10 => {
                meter.item::<(u64, Cow<'_, str>)>(0)?;
                span.annotations.push(annotation(field.message()?)?);
            }
            11 => {
                meter.item::<(Cow<'_, str>, Cow<'_, str>)>(0)?;
                span.tags.push(tag(field.message()?)?);
            }
            12 => span.debug = field.u64()? != 0,
            13 => span.shared = field.u64()? != 0,
            _ => {}
        }
    }
    Ok(span)
}

fn annotation<'a>(mut reader: Reader<'a>) -> Result<(u64, Cow<'a, str>), Error> {
    let mut found = (0, lossy(b""));
    while let Some(field) = reader.next_field()? {
        match (field.number, field.value) {
            (1, Value::Fixed64(micros)) => found.0 = micros,
            (1, _) => return Err(crate::proto::Error::WrongWireType { field: 1 }.into()),
            (2, _) => found.1 = lossy(field.bytes()?),
            _ => {}
        }
    }
    Ok(found)
}

fn tag<'a>(mut reader: Reader<'a>) -> Result<(Cow<'a, str>, Cow<'a, str>), Error> {
    let mut found = (lossy(b""), lossy(b""));
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => found.0 = lossy(field.bytes()?),
            2 => found.1 = lossy(field.bytes()?),
            _ => {}
        }
    }
    Ok(found)
}

fn endpoint<'a>(mut reader: Reader<'a>) -> Result<Endpoint<'a>, Error> {
    let mut endpoint = Endpoint::default();
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => endpoint.service = lossy(field.bytes()?),
            2 => {
                if let Ok(bytes) = <[u8; 4]>::try_from(field.bytes()?) {
                    endpoint.ipv4 = Ipv4Addr::from(bytes).to_string().into();
                }
            }
            3 => {
                if let Ok(bytes) = <[u8; 16]>::try_from(field.bytes()?) {
                    endpoint.ipv6 = Ipv6Addr::from(bytes).to_string().into();
                }
            }
            4 => endpoint.port = u16::try_from(field.i64()?).unwrap_or(0),
            _ => {}
        }
    }
    Ok(endpoint)
}

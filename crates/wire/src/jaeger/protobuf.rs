//! `api_v2/model.proto` and `collector.proto`: fields by their numbers there.

use super::Error;
use super::model::{Batch, Log, Process, Reference, ReferenceKind, Span, Tag, TagValue};
use crate::proto::{Field, Reader};
use crate::spans::{Meter, lossy};

/// `PostSpansRequest`. Fields that come twice are merged, as protobuf says: of messages the fields of the later win.
pub(super) fn request<'a>(request: &'a [u8], meter: &mut Meter) -> Result<Batch<'a>, Error> {
    let mut found = Batch::default();
    let mut reader = Reader::new(request);
    while let Some(field) = reader.next_field()? {
        if field.number == 1 {
            batch(field.message()?, meter, &mut found)?;
        }
    }
    Ok(found)
}

fn batch<'a>(mut reader: Reader<'a>, meter: &mut Meter, into: &mut Batch<'a>) -> Result<(), Error> {
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => {
                meter.item::<Span<'_>>(0)?;
                into.spans.push(span(field.message()?, meter)?);
            }
            2 => into.process = Some(process(field.message()?, meter)?),
            _ => {}
        }
    }
    Ok(())
}

fn process<'a>(mut reader: Reader<'a>, meter: &mut Meter) -> Result<Process<'a>, Error> {
    let mut process = Process::default();
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => process.service = lossy(field.bytes()?),
            2 => tags(field, meter, &mut process.tags)?,
            _ => {}
        }
    }
    Ok(process)
}

fn trace_id(field: Field<'_>) -> Result<u128, Error> {
    let bytes = field.bytes()?;
    match bytes.len() {
        0 => Ok(0),
        8 | 16 => Ok(bytes.iter().fold(0, |id, byte| id << 8 | u128::from(*byte))),
        length => Err(Error::Id { what: "trace", length }),
    }
}

fn span_id(field: Field<'_>) -> Result<u64, Error> {
    let bytes = field.bytes()?;
    match bytes.len() {
        0 => Ok(0),
        8 => Ok(bytes.iter().fold(0, |id, byte| id << 8 | u64::from(*byte))),
        length => Err(Error::Id { what: "span", length }),
    }
}

/// `google.protobuf.Timestamp` and `Duration`: seconds and nanoseconds. What lies before the epoch is 0.
fn nanos(mut reader: Reader<'_>) -> Result<u64, Error> {
    let (mut seconds, mut nanos) = (0, 0);
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => seconds = field.i64()?,
            2 => nanos = field.i64()?,
            _ => {}
        }
    }
    let all = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    Ok(u64::try_from(all.max(0)).unwrap_or(u64::MAX))
}

fn span<'a>(mut reader: Reader<'a>, meter: &mut Meter) -> Result<Span<'a>, Error> {
    let mut span = Span::default();
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => span.trace = trace_id(field)?,
            2 => span.id = span_id(field)?,
            3 => span.name = lossy(field.bytes()?),
            4 => {
                meter.item::<Reference>(0)?;
                span.references.push(reference(field.message()?)?);
            }
            5 => span.flags = field.u32()?,
            6 => span.start_ns = nanos(field.message()?)?,
            7 => span.duration_ns = nanos(field.message()?)?,
            8 => tags(field, meter, &mut span.tags)?,
            9 => {
                meter.item::<Log<'_>>(0)?;
                span.logs.push(log(field.message()?, meter)?);
            }
            10 => span.process = Some(process(field.message()?, meter)?),
            12 => {
                meter.item::<std::borrow::Cow<'_, str>>(0)?;
                span.warnings.push(lossy(field.bytes()?));
            }
            _ => {}
        }
    }
    Ok(span)
}

fn reference(mut reader: Reader<'_>) -> Result<Reference, Error> {
    let mut reference = Reference::default();
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => reference.trace = trace_id(field)?,
            2 => reference.span = span_id(field)?,
            3 => reference.kind = ReferenceKind::from_number(field.i64()?),
            _ => {}
        }
    }
    Ok(reference)
}

fn log<'a>(mut reader: Reader<'a>, meter: &mut Meter) -> Result<Log<'a>, Error> {
    let mut log = Log::default();
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => log.time_ns = nanos(field.message()?)?,
            2 => tags(field, meter, &mut log.fields)?,
            _ => {}
        }
    }
    Ok(log)
}

fn tags<'a>(field: Field<'a>, meter: &mut Meter, into: &mut Vec<Tag<'a>>) -> Result<(), Error> {
    meter.item::<Tag<'_>>(0)?;
    into.push(tag(field.message()?)?);
    Ok(())
}

fn tag<'a>(mut reader: Reader<'a>) -> Result<Tag<'a>, Error> {
    let mut key = lossy(b"");
    let (mut kind, mut text, mut flag, mut int, mut double, mut bytes) =
        (0, lossy(b""), false, 0, 0.0, &b""[..]);
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => key = lossy(field.bytes()?),
            2 => kind = field.i64()?,
            3 => text = lossy(field.bytes()?),
            4 => flag = field.u64()? != 0,
            5 => int = field.i64()?,
            6 => double = field.f64()?,
            7 => bytes = field.bytes()?,
            _ => {}
        }
    }
    let value = match kind {
        0 => TagValue::Text(text),
        1 => TagValue::Bool(flag),
        2 => TagValue::Int(int),
        3 => TagValue::Double(double.to_bits()),
        4 => TagValue::Bytes(bytes),
        other => TagValue::Other(other),
    };
    Ok(Tag { key, value })
}

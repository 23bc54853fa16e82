//! `jaeger.thrift`: fields by their numbers there. What has another type than it should is passed over, as every
//! Thrift reader does.

use super::Error;
use super::model::{Batch, Log, Process, Reference, ReferenceKind, Span, Tag, TagValue};
use crate::spans::{Meter, lossy, micros};
use crate::thrift::{Kind, Reader};

/// The one argument of a call.
pub(super) fn argument<'a>(reader: &mut Reader<'a>, meter: &mut Meter) -> Result<Batch<'a>, Error> {
    let mut found = Batch::default();
    reader.structure::<Error>(|reader, field| {
        if (field.id, field.kind) == (1, Kind::Struct) {
            found = batch(reader, meter)?;
            return Ok(());
        }
        Ok(reader.skip(field)?)
    })?;
    Ok(found)
}

pub(super) fn batch<'a>(reader: &mut Reader<'a>, meter: &mut Meter) -> Result<Batch<'a>, Error> {
    let mut batch = Batch::default();
    reader.structure::<Error>(|reader, field| {
        match (field.id, field.kind) {
            (1, Kind::Struct) => batch.process = Some(process(reader, meter)?),
            (2, Kind::List) => reader.structs::<Error>(|reader| {
                meter.item::<Span<'_>>(0)?;
                batch.spans.push(span(reader, meter)?);
                Ok(())
            })?,
            _ => reader.skip(field)?,
        }
        Ok(())
    })?;
    Ok(batch)
}

fn process<'a>(reader: &mut Reader<'a>, meter: &mut Meter) -> Result<Process<'a>, Error> {
    let mut process = Process::default();
    reader.structure::<Error>(|reader, field| {
        match (field.id, field.kind) {
            (1, Kind::Bytes) => process.service = lossy(reader.bytes()?),
            (2, Kind::List) => tags(reader, meter, &mut process.tags)?,
            _ => reader.skip(field)?,
        }
        Ok(())
    })?;
    Ok(process)
}

/// Two halves of a trace ID.
fn wide(high: i64, low: i64) -> u128 {
    u128::from(high as u64) << 64 | u128::from(low as u64)
}

fn span<'a>(reader: &mut Reader<'a>, meter: &mut Meter) -> Result<Span<'a>, Error> {
    let mut span = Span::default();
    let (mut low, mut high) = (0, 0);
    reader.structure::<Error>(|reader, field| {
        match (field.id, field.kind) {
            (1, Kind::I64) => low = reader.i64()?,
            (2, Kind::I64) => high = reader.i64()?,
            (3, Kind::I64) => span.id = reader.i64()? as u64,
            (4, Kind::I64) => span.parent = reader.i64()? as u64,
            (5, Kind::Bytes) => span.name = lossy(reader.bytes()?),
            (6, Kind::List) => reader.structs::<Error>(|reader| {
                meter.item::<Reference>(0)?;
                span.references.push(reference(reader)?);
                Ok(())
            })?,
            (7, Kind::I32) => span.flags = reader.i32()? as u32,
            (8, Kind::I64) => span.start_ns = micros(reader.i64()?),
            (9, Kind::I64) => span.duration_ns = micros(reader.i64()?),
            (10, Kind::List) => tags(reader, meter, &mut span.tags)?,
            (11, Kind::List) => reader.structs::<Error>(|reader| {
                meter.item::<Log<'_>>(0)?;
                span.logs.push(log(reader, meter)?);
                Ok(())
            })?,
            _ => reader.skip(field)?,
        }
        Ok(())
    })?;
    span.trace = wide(high, low);
    Ok(span)
}

fn reference(reader: &mut Reader<'_>) -> Result<Reference, Error> {
    let mut reference = Reference::default();
    let (mut low, mut high) = (0, 0);
    reader.structure::<Error>(|reader, field| {
        match (field.id, field.kind) {
            (1, Kind::I32) => reference.kind = ReferenceKind::from_number(reader.i32()?.into()),
            (2, Kind::I64) => low = reader.i64()?,
            (3, Kind::I64) => high = reader.i64()?,
            (4, Kind::I64) => reference.span = reader.i64()? as u64,
            _ => reader.skip(field)?,
        }
        Ok(())
    })?;
    reference.trace = wide(high, low);
    Ok(reference)
}

fn log<'a>(reader: &mut Reader<'a>, meter: &mut Meter) -> Result<Log<'a>, Error> {
    let mut log = Log::default();
    reader.structure::<Error>(|reader, field| {
        match (field.id, field.kind) {
            (1, Kind::I64) => log.time_ns = micros(reader.i64()?),
            (2, Kind::List) => tags(reader, meter, &mut log.fields)?,
            _ => reader.skip(field)?,
        }
        Ok(())
    })?;
    Ok(log)
}

fn tags<'a>(reader: &mut Reader<'a>, meter: &mut Meter, into: &mut Vec<Tag<'a>>) -> Result<(), Error> {
    reader.structs::<Error>(|reader| {
        meter.item::<Tag<'_>>(0)?;
        into.push(tag(reader)?);
        Ok(())
    })
}

fn tag<'a>(reader: &mut Reader<'a>) -> Result<Tag<'a>, Error> {
    let mut key = lossy(b"");
    let (mut kind, mut text, mut double, mut flag, mut int, mut bytes) =
        (0, lossy(b""), 0.0, false, 0, &b""[..]);
    reader.structure::<Error>(|reader, field| {
        match (field.id, field.kind) {
            (1, Kind::Bytes) => key = lossy(reader.bytes()?),
            (2, Kind::I32) => kind = reader.i32()?,
            (3, Kind::Bytes) => text = lossy(reader.bytes()?),
            (4, Kind::Double) => double = reader.f64()?,
            (5, Kind::Bool) => flag = reader.bool(field)?,
            (6, Kind::I64) => int = reader.i64()?,
            (7, Kind::Bytes) => bytes = reader.bytes()?,
            _ => reader.skip(field)?,
        }
        Ok(())
    })?;
    let value = match kind {
        0 => TagValue::Text(text),
        1 => TagValue::Double(double.to_bits()),
        2 => TagValue::Bool(flag),
        3 => TagValue::Int(int),
        4 => TagValue::Bytes(bytes),
        other => TagValue::Other(other.into()),
    };
    Ok(Tag { key, value })
}

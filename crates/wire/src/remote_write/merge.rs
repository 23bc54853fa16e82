//! Several encoded requests as one, without decoding samples.

use super::DecodeError;
use super::symbols::Symbols;
use crate::proto::{Field, Reader, Value, push_bytes_field, push_varint, push_varint_field};

/// Merges remote write 1 bodies: all fields are repeated, so the concatenation is the merged message.
pub fn merge_v1(bodies: &[&[u8]], out: &mut Vec<u8>) {
    bodies.iter().for_each(|body| out.extend_from_slice(body));
}

/// Merges remote write 2 bodies into one whose symbol table serves them all, and appends it to `out`. Fails
/// on a body that is broken or refers to a symbol that it lacks; `out` is then as before.
pub fn merge_v2(bodies: &[&[u8]], out: &mut Vec<u8>) -> Result<(), DecodeError> {
    if let [body] = bodies {
        out.extend_from_slice(body);
        return Ok(());
    }
    let mut merge =
        Merge { symbols: Symbols::new(), series: Vec::new(), scratch: Vec::new(), refs: Vec::new() };
    for body in bodies {
        merge.add(body)?;
    }
    out.extend_from_slice(merge.symbols.bytes());
    out.extend_from_slice(&merge.series);
    Ok(())
}

struct Merge {
    symbols: Symbols,
    series: Vec<u8>,
    scratch: Vec<u8>,
    refs: Vec<u8>,
}

/// The symbols of the body at hand, each with its reference in the merged table once it has one.
type Table<'a> = Vec<(&'a [u8], Option<u32>)>;

impl Merge {
    fn add(&mut self, body: &[u8]) -> Result<(), DecodeError> {
        let mut table: Table<'_> = Vec::new();
        let mut reader = Reader::new(body);
        while let Some(field) = reader.next_field()? {
            if field.number == 4 {
                table.push((field.bytes()?, None));
            }
        }
        let mut reader = Reader::new(body);
        while let Some(field) = reader.next_field()? {
            if field.number == 5 {
                self.add_series(field.message()?, &mut table)?;
            }
        }
        Ok(())
    }

    fn add_series(&mut self, mut series: Reader<'_>, table: &mut Table<'_>) -> Result<(), DecodeError> {
        let mut body = std::mem::take(&mut self.scratch);
        body.clear();
        self.refs.clear();
        while let Some(field) = series.next_field()? {
            match field.number {
                1 => self.add_refs(field, table)?,
                4 => self.add_exemplar(field, table, &mut body)?,
                5 => self.add_metadata(field, table, &mut body)?,
                _ => push_field(&mut body, field),
            }
        }
        // References may come in several pieces; they are one list.
        let mut labels = Vec::with_capacity(self.refs.len() + 6);
        push_bytes_field(&mut labels, 1, &self.refs);
        push_varint(&mut self.series, 5 << 3 | 2);
        push_varint(&mut self.series, (labels.len() + body.len()) as u64);
        self.series.extend_from_slice(&labels);
        self.series.extend_from_slice(&body);
        self.scratch = body;
        Ok(())
    }

    fn add_refs(&mut self, field: Field<'_>, table: &mut Table<'_>) -> Result<(), DecodeError> {
        let mut result = Ok(());
        field.each_varint(|old| match translate(&mut self.symbols, table, old) {
            Ok(new) => push_varint(&mut self.refs, u64::from(new)),
            Err(error) => result = Err(error),
        })?;
        result
    }

    fn add_exemplar(
        &mut self,
        field: Field<'_>,
        table: &mut Table<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), DecodeError> {
        let labels = std::mem::take(&mut self.refs);
        let mut message = Vec::new();
        let mut reader = field.message()?;
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => self.add_refs(field, table)?,
                _ => push_field(&mut message, field),
            }
        }
        let refs = std::mem::replace(&mut self.refs, labels);
        if !refs.is_empty() {
            push_bytes_field(&mut message, 1, &refs);
        }
        push_bytes_field(out, 4, &message);
        Ok(())
    }

    fn add_metadata(
        &mut self,
        field: Field<'_>,
        table: &mut Table<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), DecodeError> {
        let mut message = Vec::new();
        let mut reader = field.message()?;
        while let Some(field) = reader.next_field()? {
            match field.number {
                3 | 4 => {
                    let new = translate(&mut self.symbols, table, field.u64()?)?;
                    push_varint_field(&mut message, field.number, u64::from(new));
                }
                _ => push_field(&mut message, field),
            }
        }
        push_bytes_field(out, 5, &message);
        Ok(())
    }
}

fn translate(symbols: &mut Symbols, table: &mut Table<'_>, old: u64) -> Result<u32, DecodeError> {
    let symbols_known = table.len();
    let entry = usize::try_from(old).ok().and_then(|i| table.get_mut(i));
    match entry {
        Some((_, Some(new))) => Ok(*new),
        Some((text, new)) => Ok(*new.insert(symbols.of(text))),
        // Senders that leave the table out may still mean "nothing" by 0.
        None if old == 0 => Ok(0),
        None => Err(DecodeError::UnknownSymbol { reference: old, symbols: symbols_known }),
    }
}

fn push_field(out: &mut Vec<u8>, field: Field<'_>) {
    match field.value {
        Value::Varint(v) => push_varint_field(out, field.number, v),
        Value::Bytes(bytes) => push_bytes_field(out, field.number, bytes),
        Value::Fixed64(v) => {
            push_varint(out, u64::from(field.number) << 3 | 1);
            out.extend_from_slice(&v.to_le_bytes());
        }
        Value::Fixed32(v) => {
            push_varint(out, u64::from(field.number) << 3 | 5);
            out.extend_from_slice(&v.to_le_bytes());
        }
    }
}

//! A writer of both protocols, independent of the reader: for tests and as seeds.

use super::{Kind, Protocol};

/// A value to write.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Bool(bool),
    Byte(u8),
    I16(i16),
    I32(i32),
    I64(i64),
    Double(f64),
    Bytes(Vec<u8>),
    Struct(Vec<(i16, Value)>),
    List(Kind, Vec<Value>),
    Map(Kind, Kind, Vec<(Value, Value)>),
}

pub(crate) fn text(text: &str) -> Value {
    Value::Bytes(text.as_bytes().to_vec())
}

pub(crate) fn structs(all: Vec<Value>) -> Value {
    Value::List(Kind::Struct, all)
}

/// A value, as it stands in a struct or alone.
pub(crate) fn write(value: &Value, protocol: Protocol) -> Vec<u8> {
    let mut out = Vec::new();
    put(value, protocol, &mut out);
    out
}

/// A call without an answer of a method with one argument.
pub(crate) fn call(name: &str, argument: Value, protocol: Protocol) -> Vec<u8> {
    let mut out = match protocol {
        Protocol::Binary => {
            let mut out = vec![0x80, 1, 0, 4];
            put(&text(name), protocol, &mut out);
            out.extend_from_slice(&[0, 0, 0, 7]);
            out
        }
        Protocol::Compact => {
            let mut out = vec![0x82, 1 | 4 << 5, 7];
            put(&text(name), protocol, &mut out);
            out
        }
    };
    put(&Value::Struct(vec![(1, argument)]), protocol, &mut out);
    out
}

fn varint(out: &mut Vec<u8>, value: u64) {
    crate::proto::push_varint(out, value);
}

fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

fn length(out: &mut Vec<u8>, length: usize, protocol: Protocol) {
    match protocol {
        Protocol::Binary => out.extend_from_slice(&(length as u32).to_be_bytes()),
        Protocol::Compact => varint(out, length as u64),
    }
}

fn code(kind: Kind, protocol: Protocol) -> u8 {
    let (binary, compact) = match kind {
        Kind::Bool => (2, 1),
        Kind::Byte => (3, 3),
        Kind::I16 => (6, 4),
        Kind::I32 => (8, 5),
        Kind::I64 => (10, 6),
        Kind::Double => (4, 7),
        Kind::Bytes => (11, 8),
        Kind::Struct => (12, 12),
        Kind::Map => (13, 11),
        Kind::List => (15, 9),
        Kind::Uuid => (16, 13),
    };
    if protocol == Protocol::Binary { binary } else { compact }
}

fn kind(value: &Value) -> Kind {
    match value {
        Value::Bool(_) => Kind::Bool,
        Value::Byte(_) => Kind::Byte,
        Value::I16(_) => Kind::I16,
        Value::I32(_) => Kind::I32,
        Value::I64(_) => Kind::I64,
        Value::Double(_) => Kind::Double,
        Value::Bytes(_) => Kind::Bytes,
        Value::Struct(_) => Kind::Struct,
        Value::List(..) => Kind::List,
        Value::Map(..) => Kind::Map,
    }
}

fn put(value: &Value, protocol: Protocol, out: &mut Vec<u8>) {
    let compact = protocol == Protocol::Compact;
    match value {
        Value::Bool(v) => out.push(if *v { 1 } else { u8::from(compact) * 2 }),
        Value::Byte(v) => out.push(*v),
        Value::I16(v) if compact => varint(out, zigzag((*v).into())),
        Value::I32(v) if compact => varint(out, zigzag((*v).into())),
        Value::I64(v) if compact => varint(out, zigzag(*v)),
        Value::Double(v) if compact => out.extend_from_slice(&v.to_le_bytes()),
        Value::I16(v) => out.extend_from_slice(&v.to_be_bytes()),
        Value::I32(v) => out.extend_from_slice(&v.to_be_bytes()),
        Value::I64(v) => out.extend_from_slice(&v.to_be_bytes()),
        Value::Double(v) => out.extend_from_slice(&v.to_be_bytes()),
        Value::Bytes(v) => {
            length(out, v.len(), protocol);
            out.extend_from_slice(v);
        }
        Value::Struct(fields) => {
            let mut last = 0;
            for (id, value) in fields {
                header(*id, &mut last, value, protocol, out);
            }
            out.push(0);
        }
        Value::List(of, all) => {
            let code = code(*of, protocol);
            if !compact {
                out.push(code);
                length(out, all.len(), protocol);
            } else if all.len() < 15 {
                out.push((all.len() as u8) << 4 | code);
            } else {
                out.push(0xf0 | code);
                varint(out, all.len() as u64);
            }
            all.iter().for_each(|value| put(value, protocol, out));
        }
        Value::Map(key, of, all) => {
            let (key, of) = (code(*key, protocol), code(*of, protocol));
            if !compact {
                out.extend_from_slice(&[key, of]);
                length(out, all.len(), protocol);
            } else {
                varint(out, all.len() as u64);
                if !all.is_empty() {
                    out.push(key << 4 | of);
                }
            }
            for (key, value) in all {
                put(key, protocol, out);
                put(value, protocol, out);
            }
        }
    }
}

fn header(id: i16, last: &mut i16, value: &Value, protocol: Protocol, out: &mut Vec<u8>) {
    let code = code(kind(value), protocol);
    if protocol == Protocol::Binary {
        out.push(code);
        out.extend_from_slice(&id.to_be_bytes());
        return put(value, protocol, out);
    }
    let code = if matches!(value, Value::Bool(false)) { 2 } else { code };
    let delta = i32::from(id) - i32::from(*last);
    if (1..=15).contains(&delta) {
        out.push((delta as u8) << 4 | code);
    } else {
        out.push(code);
        varint(out, zigzag(id.into()));
    }
    *last = id;
    if !matches!(value, Value::Bool(_)) {
        put(value, protocol, out);
    }
}

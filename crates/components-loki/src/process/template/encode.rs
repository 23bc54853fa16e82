//! Digests, base 64, base 32 and JSON.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gotmpl::Value;
use net::digest::Digest;

use super::args::{Args, Map, error, text};
use super::budget::{self, Result, STEP, spend_text};
use super::show::Json;

/// `Hash salt text` and `Sha2Hash salt text`.
pub(super) fn salted(args: &Args<'_>, digest: Digest) -> Result<Value> {
    args.exactly(2)?;
    let salted = [args.text(0)?, args.text(1)?].concat();
    text(digest.hex(salted.as_bytes()))
}

pub(super) fn sum(args: &Args<'_>, digest: Digest) -> Result<Value> {
    args.exactly(1)?;
    text(digest.hex(args.text(0)?.as_bytes()))
}

pub(super) fn adler32(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    let (a, b) = args.text(0)?.bytes().fold((1_u32, 0_u32), |(a, b), byte| {
        let a = (a + u32::from(byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    text((b << 16 | a).to_string())
}

pub(super) fn b64enc(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    let value = args.text(0)?;
    spend_text(value.len() * 4 / 3 + 4)?;
    text(STANDARD.encode(value))
}

/// The bytes of what was encoded, or the error as text, as in Sprig.
pub(super) fn b64dec(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    // As Go's decoder: line breaks do not count.
    let value: String = args.text(0)?.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    match STANDARD.decode(&value) {
        Ok(bytes) => text(String::from_utf8_lossy(&bytes)),
        Err(
            base64::DecodeError::InvalidByte(at, _)
            | base64::DecodeError::InvalidLastSymbol { offset: at, .. },
        ) => text(format!("illegal base64 data at input byte {at}")),
        Err(_) => text(format!("illegal base64 data at input byte {}", value.len() / 4 * 4)),
    }
}

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

pub(super) fn b32enc(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    let value = args.text(0)?.as_bytes();
    spend_text(value.len() * 8 / 5 + 8)?;
    let mut out = String::new();
    for group in value.chunks(5) {
        let mut bytes = [0; 8];
        bytes[3..3 + group.len()].copy_from_slice(group);
        let bits = u64::from_be_bytes(bytes);
        let digits = (group.len() * 8).div_ceil(5);
        for i in 0..8 {
            let digit = BASE32[(bits >> (35 - 5 * i)) as usize & 31];
            out.push(if i < digits { char::from(digit) } else { '=' });
        }
    }
    text(out)
}

pub(super) fn b32dec(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    let value: String = args.text(0)?.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    let digits = value.trim_end_matches('=');
    let padding = value.len() - digits.len();
    if !value.len().is_multiple_of(8) || !matches!(padding, 0 | 1 | 3 | 4 | 6) {
        return text(format!("illegal base32 data at input byte {}", value.len()));
    }
    let (mut out, mut bits, mut held) = (Vec::new(), 0_u32, 0_u32);
    for (at, digit) in digits.bytes().enumerate() {
        let Some(five) = BASE32.iter().position(|known| *known == digit) else {
            return text(format!("illegal base32 data at input byte {at}"));
        };
        bits = (bits << 5 | five as u32) & 0xffff;
        held += 5;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    text(String::from_utf8_lossy(&out))
}

/// `fromJson`: nothing where the text is no JSON; `must`: an error.
pub(super) fn from_json(args: &Args<'_>, must: bool) -> Result<Value> {
    args.exactly(1)?;
    let source = args.text(0)?;
    budget::spend(source.len())?;
    match serde_json::from_str(source) {
        Ok(json) => value_of(json),
        Err(problem) if must => error(problem.to_string()),
        Err(_) => Ok(Value::Nil),
    }
}

fn value_of(json: serde_json::Value) -> Result<Value> {
    budget::spend(STEP)?;
    Ok(match json {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Bool(yes) => Value::Bool(yes),
        // Numbers of JSON are floats to Go.
        serde_json::Value::Number(n) => Value::Float(n.as_f64().unwrap_or(f64::NAN)),
        serde_json::Value::String(text) => Value::String(text.into()),
        serde_json::Value::Array(items) => {
            let items = items.into_iter().map(value_of).collect::<Result<Vec<_>>>()?;
            Value::List(items.into())
        }
        serde_json::Value::Object(fields) => {
            let mut map = Map::new();
            for (key, value) in fields {
                map.insert(key.into(), value_of(value)?);
            }
            Value::Map(Arc::new(map))
        }
    })
}

/// `toJson` and its forms: an empty text where a value has no JSON; `must`: an error.
pub(super) fn to_json(args: &Args<'_>, json: Json, must: bool) -> Result<Value> {
    args.exactly(1)?;
    match json.encode(args.get(0)) {
        Ok(out) => text(out),
        // Running out of fuel ends the template all the same, at the next step.
        Err(problem) if must => Err(problem),
        Err(_) => text(""),
    }
}

/// A random UUID. Good for names, not for secrets.
pub(super) fn uuid(args: &Args<'_>) -> Result<Value> {
    args.exactly(0)?;
    let bits = fastrand::u128(..) & !(0xf << 76) & !(0x3 << 62) | 4 << 76 | 2 << 62;
    let hex = format!("{bits:032x}");
    text(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
}

//! Base64, URL escapes, secrets and the environment.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::{CallError, take};
use crate::arg::ValueError;
use crate::value::{Secret, Value};

type Answer = Result<Value, CallError>;

pub(super) fn nonsensitive(arguments: &[Value]) -> Answer {
    let secret: Secret = take(arguments, 0)?;
    Ok(secret.reveal().into())
}

pub(super) fn env(arguments: &[Value]) -> Answer {
    let name: String = take(arguments, 0)?;
    // `=` and NUL cannot be part of a name; the operating system is not asked for them.
    let known = !name.is_empty() && !name.contains(['=', '\0']);
    Ok(known.then(|| super::environment::variable(&name)).flatten().unwrap_or_default().as_str().into())
}

fn decode(arguments: &[Value], engine: &impl Engine) -> Answer {
    let text: String = take(arguments, 0)?;
    let refuse = |message: String| CallError::argument(0, ValueError::invalid(message));
    // As Go's encoding/base64, which skips line ends.
    let text: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    let bytes = engine.decode(&text).map_err(|e| refuse(format!("this is not base64: {e}")))?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text.into()),
        Err(_) => Err(refuse("what it decodes to is not UTF-8 text".to_owned())),
    }
}

pub(super) fn from_base64(arguments: &[Value]) -> Answer {
    decode(arguments, &STANDARD)
}

pub(super) fn from_url_base64(arguments: &[Value]) -> Answer {
    decode(arguments, &URL_SAFE)
}

pub(super) fn to_base64(arguments: &[Value]) -> Answer {
    let text: String = take(arguments, 0)?;
    Ok(STANDARD.encode(text).into())
}

pub(super) fn to_url_base64(arguments: &[Value]) -> Answer {
    let text: String = take(arguments, 0)?;
    Ok(URL_SAFE.encode(text).into())
}

/// What Go's url.QueryEscape leaves alone.
const QUERY: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b' ');

pub(super) fn url_encode(arguments: &[Value]) -> Answer {
    let text: String = take(arguments, 0)?;
    Ok(utf8_percent_encode(&text, &QUERY).to_string().replace(' ', "+").into())
}

pub(super) fn url_decode(arguments: &[Value]) -> Answer {
    let text: String = take(arguments, 0)?;
    let refuse = |message: String| CallError::argument(0, ValueError::invalid(message));
    let bytes = text.as_bytes();
    for (at, _) in text.match_indices('%') {
        let hex = bytes.get(at + 1..at + 3).is_some_and(|h| h.iter().all(u8::is_ascii_hexdigit));
        if !hex {
            return Err(refuse("a % must be followed by two hexadecimal digits".to_owned()));
        }
    }
    let spaced = text.replace('+', " ");
    match percent_decode_str(&spaced).decode_utf8() {
        Ok(text) => Ok(text.as_ref().into()),
        Err(_) => Err(refuse("what it decodes to is not UTF-8 text".to_owned())),
    }
}

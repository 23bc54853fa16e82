//! GELF, Graylog's format: messages in JSON, compressed or not, in one datagram or in chunks.
//!
//! As github.com/grafana/go-gelf, which Alloy uses, reads and writes them.

mod chunks;
mod number;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::compress::{self, Encoding, decompress};
use crate::json;
pub use chunks::{Assembled, Chunks};

/// The first bytes of a chunk.
const CHUNK: [u8; 2] = [0x1e, 0x0f];

/// A message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    /// Version of the format.
    pub version: String,
    /// Who sent it.
    pub host: String,
    /// The text in short.
    pub short: String,
    /// The text in full.
    pub full: String,
    /// Seconds since the Unix epoch; 0 where it is not said.
    pub timestamp: f64,
    /// Severity, as in syslog; 0 where it is not said.
    pub level: i32,
    /// Facility; no longer part of the format.
    pub facility: String,
    /// More fields, by their names with `_` in front, as JSON.
    pub extra: BTreeMap<String, String>,
}

/// Why a datagram is no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GelfError {
    /// The chunks do not fit together.
    #[error("{0}")]
    Chunk(&'static str),
    /// Not compressed as it says, or too large.
    #[error("{0}")]
    Compression(#[from] compress::Error),
    /// Not JSON of this form.
    #[error("the message is not GELF: {0}")]
    Json(String),
    /// A field has another type than the format says.
    #[error("the field {0} has the wrong type")]
    Type(&'static str),
}

/// Decompresses what a datagram or the chunks of a message hold; at most `limit` bytes come out.
///
/// # Errors
/// If it is compressed, but broken, or more than the limit.
pub fn unpack(data: &[u8], limit: usize) -> Result<Cow<'_, [u8]>, GelfError> {
    let encoding = match data {
        [0x1f, 0x8b, ..] => Encoding::Gzip,
        // RFC 1950. JSON begins with `{`, which is no zlib header.
        [0x78, flg, ..] if (0x7800 | u16::from(*flg)) % 31 == 0 => Encoding::Deflate,
        _ => return Ok(Cow::Borrowed(data)),
    };
    let mut out = Vec::new();
    decompress(encoding, data, limit, &mut out)?;
    Ok(Cow::Owned(out))
}

impl Message {
    /// Reads a message; what follows it (a NUL, as over TCP) is ignored.
    ///
    /// # Errors
    /// If it is not JSON of this form.
    pub fn parse(data: &[u8]) -> Result<Self, GelfError> {
        let text = String::from_utf8_lossy(data);
        let mut documents =
            serde_json::Deserializer::from_str(&text).into_iter::<BTreeMap<Cow<'_, str>, &RawValue>>();
        let fields = match documents.next() {
            Some(Ok(fields)) => fields,
            Some(Err(error)) => return Err(GelfError::Json(error.to_string())),
            None => return Err(GelfError::Json("it is empty".to_owned())),
        };
        let mut message = Self::default();
        for (name, value) in fields {
            message.field(&name, value)?;
        }
        Ok(message)
    }

    fn field(&mut self, name: &str, value: &RawValue) -> Result<(), GelfError> {
        fn text(name: &'static str, value: &RawValue) -> Result<String, GelfError> {
            serde_json::from_str(value.get()).map_err(|_| GelfError::Type(name))
        }
        match name {
            "version" => self.version = text("version", value)?,
            "host" => self.host = text("host", value)?,
            "short_message" => self.short = text("short_message", value)?,
            "full_message" => self.full = text("full_message", value)?,
            "facility" => self.facility = text("facility", value)?,
            "timestamp" => self.timestamp = number::parse(value.get()).ok_or(GelfError::Type("timestamp"))?,
            "level" => self.level = number::parse(value.get()).ok_or(GelfError::Type("level"))? as i32,
            name if name.starts_with('_') => {
                let value: Value =
                    serde_json::from_str(value.get()).map_err(|e| GelfError::Json(e.to_string()))?;
                let mut json = String::new();
                write_value(&value, &mut json);
                self.extra.insert(name.to_owned(), json);
            }
            // Fields that the format does not know are left out, as go-gelf leaves them out.
            _ => {}
        }
        Ok(())
    }

    /// The severity's name, as Alloy has it in a label; `None` for levels that syslog does not know.
    pub fn level_name(&self) -> Option<&'static str> {
        match self.level {
            0..=7 => Some(crate::syslog::Priority(self.level as u8).severity()),
            _ => None,
        }
    }

    /// The time in nanoseconds since the Unix epoch; `None` where it is not said, or out of range.
    pub fn timestamp_ns(&self) -> Option<i64> {
        let ns = self.timestamp * 1e9;
        (self.timestamp != 0.0 && ns.is_finite() && ns.abs() < i64::MAX as f64).then_some(ns as i64)
    }

    /// As one line of JSON: the fields that the format knows in its order, then the others by name. As Go's
    /// `encoding/json` writes it.
    pub fn write(&self, out: &mut String) {
        let mut text = |name: &str, value: &str, always: bool| {
            if always || !value.is_empty() {
                let _ = write!(out, "{}\"{name}\":", if out.is_empty() { '{' } else { ',' });
                json::text(value, true, out);
            }
        };
        text("version", &self.version, true);
        text("host", &self.host, true);
        text("short_message", &self.short, true);
        text("full_message", &self.full, false);
        out.push_str(",\"timestamp\":");
        json::float(self.timestamp, out);
        if self.level != 0 {
            let _ = write!(out, ",\"level\":{}", self.level);
        }
        if !self.facility.is_empty() {
            out.push_str(",\"facility\":");
            json::text(&self.facility, true, out);
        }
        for (name, json) in &self.extra {
            out.push(',');
            json::text(name, true, out);
            out.push(':');
            out.push_str(json);
        }
        out.push('}');
    }
}

fn write_value(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Number(n) => match n.as_f64() {
            // Whole numbers keep all their digits, which Go loses above 2^53.
            Some(float) if n.is_f64() => json::float(float, out),
            _ => {
                let _ = write!(out, "{n}");
            }
        },
        Value::String(text) => json::text(text, true, out),
        Value::Array(list) => {
            out.push('[');
            for (i, value) in list.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_value(value, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push('{');
            let mut fields: Vec<_> = map.iter().collect();
            fields.sort_unstable_by_key(|(name, _)| *name);
            for (i, (name, value)) in fields.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                json::text(name, true, out);
                out.push(':');
                write_value(value, out);
            }
            out.push('}');
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn line(json: &str) -> Result<String, GelfError> {
        let mut out = String::new();
        Message::parse(json.as_bytes())?.write(&mut out);
        Ok(out)
    }

    #[test]
    fn a_message_comes_out_as_go_writes_it() {
        for (json, expected) in [
            (
                r#"{"version":"1.1","host":"example.org","short_message":"A short","full_message":"Back\ntrace <x> & y",
                "timestamp":1385053862.3072,"level":1,"_user_id":9001,"_some_info":"foo","_f":1.50,"ignored":1}"#,
                r#"{"version":"1.1","host":"example.org","short_message":"A short","full_message":"Back\ntrace \u003cx\u003e \u0026 y","timestamp":1385053862.3072,"level":1,"_f":1.5,"_some_info":"foo","_user_id":9001}"#,
            ),
            ("{}\0", r#"{"version":"","host":"","short_message":"","timestamp":0}"#),
            (
                r#"{"facility":"f","level":0,"_":{"b":[1,"x",null,true],"a":12345678901234567890},"":1}"#,
                r#"{"version":"","host":"","short_message":"","timestamp":0,"facility":"f","_":{"a":12345678901234567890,"b":[1,"x",null,true]}}"#,
            ),
        ] {
            assert_eq!(line(json).as_deref(), Ok(expected));
        }
        for (json, error) in [
            (r#"{"host":1}"#, GelfError::Type("host")),
            (r#"{"level":"1"}"#, GelfError::Type("level")),
            (r#"{"timestamp":"1"}"#, GelfError::Type("timestamp")),
        ] {
            assert_eq!(line(json), Err(error));
        }
        assert!(matches!(line("x"), Err(GelfError::Json(_))));
        assert!(matches!(line(""), Err(GelfError::Json(_))));
    }

    #[test]
    fn times_and_levels_that_make_no_sense_are_none() {
        let message = |timestamp, level| Message { timestamp, level, ..Message::default() };
        assert_eq!(message(1.5, 3).timestamp_ns(), Some(1_500_000_000));
        for timestamp in [0.0, 1e30, -1e30, f64::NAN] {
            assert_eq!(message(timestamp, 0).timestamp_ns(), None);
        }
        assert_eq!(message(0.0, 3).level_name(), Some("error"));
        assert_eq!([message(0.0, 8).level_name(), message(0.0, -1).level_name()], [None, None]);
    }

    #[test]
    fn every_compression_is_unpacked_within_the_limit() {
        let body = br#"{"host":"h"}"#;
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(body).expect("memory");
        for level in 0..=9 {
            let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(level));
            zlib.write_all(body).expect("memory");
            assert_eq!(unpack(&zlib.finish().expect("memory"), 100).as_deref(), Ok(&body[..]));
        }
        let gzip = gzip.finish().expect("memory");
        assert_eq!(unpack(&gzip, 100).as_deref(), Ok(&body[..]));
        assert!(matches!(unpack(&gzip, 5), Err(GelfError::Compression(compress::Error::TooLarge { .. }))));
        assert_eq!(unpack(body, 5).as_deref(), Ok(&body[..]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Message::parse(&bytes);
            let _ = unpack(&bytes, 1000);
        }

        /// What is written is JSON again, with the same texts.
        #[test]
        fn an_independent_reader_gets_the_same(host in ".{0,20}", short in ".{0,20}", key in "_[a-z<\"]{1,5}", value in ".{0,20}", level in 0i32..9) {
            let json = serde_json::json!({"host": host, "short_message": short, "level": level, key.clone(): value});
            let line = line(&json.to_string()).expect("valid");
            let back: Value = serde_json::from_str(&line).expect("JSON");
            prop_assert_eq!(&back["host"], &Value::from(host));
            prop_assert_eq!(&back["short_message"], &Value::from(short));
            prop_assert_eq!(&back[&key], &Value::from(value));
            prop_assert_eq!(back.get("level").map(|l| l.as_i64()), (level != 0).then_some(Some(i64::from(level))));
        }
    }
}

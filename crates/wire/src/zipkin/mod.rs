//! Zipkin's spans, version 1 (JSON, Thrift) and 2 (JSON, protobuf), and what they are in OTLP.
//!
//! Data path: bytes → one span at a time, which borrows from them → [`v1`] or [`v2`] → resources, scopes, spans.
//! Text that is not UTF-8 is repaired; what OTLP has no place for is told in [`Converted::dropped`].
//! Invariant: memory is bounded by the length of the input, see [`crate::spans::memory`].

mod json;
mod protobuf;
mod tags;
#[cfg(test)]
mod tests;
mod thrift;
mod v1;
mod v2;

use std::borrow::Cow;

use crate::proto;
use crate::spans::{Converted, Meter, TooMuch};
use crate::thrift::{Protocol, Reader};

/// A form of Zipkin's spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A JSON list of spans with annotations.
    V1Json,
    /// A Thrift list of the same, in the binary protocol.
    V1Thrift,
    /// A JSON list of spans with tags.
    V2Json,
    /// `zipkin.proto3.ListOfSpans`.
    V2Proto,
}

/// What a conversion is told beside the body.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Tags that look like numbers or booleans become such.
    pub parse_string_tags: bool,
    /// The time of spans of version 1 that tell none, Unix nanoseconds.
    pub now_ns: u64,
}

/// Why a body is not a list of spans.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not JSON, or not of spans.
    #[error("{0}")]
    Json(String),
    /// Not protobuf.
    #[error(transparent)]
    Proto(#[from] proto::Error),
    /// Not Thrift.
    #[error(transparent)]
    Thrift(#[from] crate::thrift::Error),
    /// A list of nothings.
    #[error(transparent)]
    TooMuch(#[from] TooMuch),
    /// A span without an ID, or with one that is none.
    #[error("span {span}: {what} is {found}")]
    Id {
        /// Its place in the list, from 1.
        span: usize,
        /// The field.
        what: &'static str,
        /// What is wrong with it.
        found: &'static str,
    },
}

/// Reads a list of spans.
///
/// # Errors
/// If the body is not one.
pub fn decode(body: &[u8], format: Format, options: Options) -> Result<Converted, Error> {
    let mut meter = Meter::of(body.len());
    match format {
        Format::V1Json => {
            let mut to = v1::Translation::new(options);
            json::each(&repaired(body), |span: json::V1Span<'_>| to.json(span, &mut meter))?;
            Ok(to.finish(&meter))
        }
        Format::V1Thrift => from_thrift(&mut Reader::new(body, Protocol::Binary), meter, options),
        Format::V2Json => {
            let mut to = v2::Translation::new(options);
            json::each(&repaired(body), |span: json::V2Span<'_>| to.json(span, &mut meter))?;
            Ok(to.finish(&meter))
        }
        Format::V2Proto => {
            let mut to = v2::Translation::new(options);
            protobuf::each(body, &mut meter, |span, meter| to.span(span, meter))?;
            Ok(to.finish(&meter))
        }
    }
}

/// The one argument of `emitZipkinBatch`, a call of Jaeger's agent.
pub(crate) fn from_agent(reader: &mut Reader<'_>, mut meter: Meter) -> Result<Converted, Error> {
    let mut to = v1::Translation::new(Options::default());
    reader.structure::<Error>(|reader, field| {
        if (field.id, field.kind) == (1, crate::thrift::Kind::List) {
            return thrift::each(reader, &mut meter, |span, meter| to.span(span, meter));
        }
        Ok(reader.skip(field)?)
    })?;
    Ok(to.finish(&meter))
}

fn from_thrift(reader: &mut Reader<'_>, mut meter: Meter, options: Options) -> Result<Converted, Error> {
    let mut to = v1::Translation::new(options);
    thrift::each(reader, &mut meter, |span, meter| to.span(span, meter))?;
    Ok(to.finish(&meter))
}

/// JSON has to be UTF-8; what is not becomes replacement characters, as in Go.
fn repaired(body: &[u8]) -> Cow<'_, str> {
    crate::spans::lossy(body)
}

/// An endpoint, as all forms give it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Endpoint<'a> {
    service: Cow<'a, str>,
    ipv4: Cow<'a, str>,
    ipv6: Cow<'a, str>,
    port: u16,
}

/// An ID in base 16, of up to so many digits.
fn hex(text: &str, most: usize) -> Result<u128, &'static str> {
    if text.is_empty() {
        return Err("missing");
    }
    if text.len() > most || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err("not in base 16, or too long");
    }
    match u128::from_str_radix(text, 16) {
        Ok(0) | Err(_) => Err("zero"),
        Ok(id) => Ok(id),
    }
}

//! Jaeger's batches of spans, in protobuf (`api_v2`) and Thrift (`jaeger.thrift`, `agent.thrift`), and what they are
//! in OTLP.
//!
//! Data path: bytes → [`model::Batch`], which borrows from them → [`translate`]. Text that is not UTF-8 is repaired;
//! what OTLP has no place for is told in [`Converted::dropped`].
//! Invariant: memory is bounded by the length of the input, see [`crate::spans::memory`].

mod model;
mod protobuf;
#[cfg(test)]
mod tests;
mod thrift;
mod translate;

use crate::spans::{Converted, Meter, TooMuch};
use crate::thrift::{Message, Protocol, Reader};
use crate::{proto, zipkin};

/// Why bytes are not a batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not Thrift.
    #[error(transparent)]
    Thrift(#[from] crate::thrift::Error),
    /// Not protobuf.
    #[error(transparent)]
    Proto(#[from] proto::Error),
    /// A list of nothings.
    #[error(transparent)]
    TooMuch(#[from] TooMuch),
    /// An ID in protobuf that has another length.
    #[error("a {what} ID has {length} bytes")]
    Id {
        /// `trace` or `span`.
        what: &'static str,
        /// What it has.
        length: usize,
    },
    /// A call to the agent that carries no spans.
    #[error("the agent has no method {0:?}")]
    Method(String),
    /// A Zipkin batch that was sent to the agent.
    #[error(transparent)]
    Zipkin(#[from] zipkin::Error),
}

/// Reads a `PostSpansRequest`.
///
/// # Errors
/// If the bytes are not one.
pub fn from_request(request: &[u8]) -> Result<Converted, Error> {
    let mut meter = Meter::of(request.len());
    let batch = protobuf::request(request, &mut meter)?;
    Ok(translate::batch(batch, meter)?)
}

/// Reads a `jaeger.Batch` in Thrift, as it is posted to a collector.
///
/// # Errors
/// If the bytes are not one.
pub fn from_batch(batch: &[u8], protocol: Protocol) -> Result<Converted, Error> {
    let mut meter = Meter::of(batch.len());
    let batch = thrift::batch(&mut Reader::new(batch, protocol), &mut meter)?;
    Ok(translate::batch(batch, meter)?)
}

/// Reads a call of the agent: `emitBatch`, or `emitZipkinBatch`.
///
/// # Errors
/// If the bytes are not one.
pub fn from_agent(datagram: &[u8], protocol: Protocol) -> Result<Converted, Error> {
    let mut reader = Reader::new(datagram, protocol);
    let mut meter = Meter::of(datagram.len());
    let Message { name, .. } = reader.message()?;
    match name {
        b"emitBatch" => Ok(translate::batch(thrift::argument(&mut reader, &mut meter)?, meter)?),
        b"emitZipkinBatch" => Ok(zipkin::from_agent(&mut reader, meter)?),
        other => Err(Error::Method(String::from_utf8_lossy(&other[..other.len().min(64)]).into_owned())),
    }
}

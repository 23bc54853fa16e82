//! What protocols differ in: how one request gets to the back end, and what its answer means.

use std::time::Duration;

use bytes::Bytes;
use component::BoxFuture;
use prost::Message;
use signal::otlp::proto::collector::trace::v1::ExportTraceServiceResponse;

use super::record::Headers;
use super::writing::Writing;
use crate::auth::Handler;

/// Brings requests of one signal to a back end.
pub(crate) trait Carrier: Send + Sync + 'static {
    /// How requests are written.
    fn writing(&self) -> &Writing;

    /// Whose headers of the client travel with the data.
    fn auth(&self) -> Option<&Handler>;

    /// For log lines; carries no credentials.
    fn shown(&self) -> &str;

    /// Brings one request, which is written already, with headers of the client.
    fn carry<'a>(&'a self, headers: &'a Headers, body: Bytes) -> BoxFuture<'a, Verdict>;
}

/// What an answer means for the requests of a post or call.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    /// Taken, but for so many items; with what the back end says about it.
    Taken { rejected: u64, message: String },
    /// Another queue of this exporter has it, which counts it.
    Passed,
    /// Other queues of this exporter have a part of it; of so many items this is left for later.
    Rest { rest: Bytes, items: u64, reason: &'static str, message: String },
    /// Later it may be taken.
    Later { reason: &'static str, message: String, after: Option<Duration>, limited: bool },
    /// It will never be taken; perhaps a part of it would be.
    Refused { message: String, in_parts: bool },
}

/// Rejected items and the message of a partial success; the three signals have the same fields.
pub(crate) fn partial_success(body: &[u8]) -> Option<(u64, String)> {
    let success = ExportTraceServiceResponse::decode(body).ok()?.partial_success?;
    Some((u64::try_from(success.rejected_spans).unwrap_or(0), success.error_message))
}

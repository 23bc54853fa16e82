//! OTLP data as it travels: export requests that stay serialised until somebody needs their content.
//!
//! A batch is a list of requests; an export request is one repeated field, so that the bytes of several, one
//! after the other, *are* their union. Boundaries of received requests are kept: when a back end refuses a
//! union, each can be tried on its own. A request has up to three forms: as it was compressed by the client,
//! serialised, decoded; each is made from the one before it when it is first asked for, and is then shared by
//! everyone who holds the batch.
//! Invariant: a request is never changed; who edits makes a new one, which loses the forms of the old.

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use prost::Message;
use smallvec::SmallVec;

pub use opentelemetry_proto::tonic as proto;

/// One of OTLP's signals.
pub trait OtlpSignal: Copy + Default + fmt::Debug + Send + Sync + 'static {
    /// `traces`, `metrics` or `logs`.
    const NAME: &'static str;
    /// What its items are called: spans, data points, log records.
    const ITEMS: &'static str;
    /// Its export request.
    type Request: Message + Default + Clone + PartialEq + fmt::Debug + 'static;

    /// Items in a decoded request.
    fn count(request: &Self::Request) -> usize;
}

/// Spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TracesSignal;
/// Metric data points.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MetricsSignal;
/// Log records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogsSignal;

impl OtlpSignal for TracesSignal {
    const NAME: &'static str = "traces";
    const ITEMS: &'static str = "spans";
    type Request = ExportTraceServiceRequest;

    fn count(request: &Self::Request) -> usize {
        request.resource_spans.iter().flat_map(|r| &r.scope_spans).map(|s| s.spans.len()).sum()
    }
}

impl OtlpSignal for MetricsSignal {
    const NAME: &'static str = "metrics";
    const ITEMS: &'static str = "data points";
    type Request = ExportMetricsServiceRequest;

    fn count(request: &Self::Request) -> usize {
        let metrics = request.resource_metrics.iter().flat_map(|r| &r.scope_metrics).flat_map(|s| &s.metrics);
        metrics
            .map(|metric| match &metric.data {
                None => 0,
                Some(Data::Gauge(d)) => d.data_points.len(),
                Some(Data::Sum(d)) => d.data_points.len(),
                Some(Data::Histogram(d)) => d.data_points.len(),
                Some(Data::ExponentialHistogram(d)) => d.data_points.len(),
                Some(Data::Summary(d)) => d.data_points.len(),
            })
            .sum()
    }
}

impl OtlpSignal for LogsSignal {
    const NAME: &'static str = "logs";
    const ITEMS: &'static str = "log records";
    type Request = ExportLogsServiceRequest;

    fn count(request: &Self::Request) -> usize {
        request.resource_logs.iter().flat_map(|r| &r.scope_logs).map(|s| s.log_records.len()).sum()
    }
}

/// A shared batch of spans.
pub type Traces = Otlp<TracesSignal>;
/// A shared batch of metric data points.
pub type OtlpMetrics = Otlp<MetricsSignal>;
/// A shared batch of log records.
pub type OtlpLogs = Otlp<LogsSignal>;

/// A shared batch of requests of one signal.
#[derive(Clone, Debug, Default)]
pub struct Otlp<S: OtlpSignal>(Arc<OtlpBatch<S>>);

/// What a batch holds.
#[derive(Clone, Debug, Default)]
pub struct OtlpBatch<S: OtlpSignal> {
    /// The requests; what they say together is their order one after the other.
    pub requests: SmallVec<[OtlpRequest<S>; 1]>,
    /// What is known of the client, where a receiver was asked to note it (`include_metadata`).
    pub client: Option<Arc<ClientMetadata>>,
    /// When the receiver took it in, Unix milliseconds; 0 where nobody has noted it.
    pub received_ms: i64,
}

/// What a receiver notes of the client of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientMetadata {
    /// Headers or gRPC metadata, names in lower case, in the order of the request.
    pub headers: Vec<(String, String)>,
    /// Address of the other end.
    pub peer: String,
}

impl ClientMetadata {
    /// All values of a header; `name` is in lower case.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// A compressed body as a client has sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// `gzip`, `zstd`, …: the word of Content-Encoding.
    pub encoding: &'static str,
    /// The body.
    pub bytes: Bytes,
}

/// One export request.
#[derive(Clone, Debug)]
pub struct OtlpRequest<S: OtlpSignal> {
    items: u32,
    forms: Arc<Forms<S::Request>>,
    signal: PhantomData<S>,
}

#[derive(Debug)]
struct Forms<M> {
    packed: Option<Packed>,
    wire: OnceLock<Bytes>,
    message: OnceLock<M>,
}

/// Serialised bytes that are no request. Receivers check what they take in, so that this tells of a mistake
/// in this program or of damage on disk.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("not an OTLP {signal} request: {error}")]
pub struct Malformed {
    signal: &'static str,
    error: prost::DecodeError,
}

impl<S: OtlpSignal> OtlpRequest<S> {
    /// From serialised bytes that have been checked and counted; with the body that they were unpacked from.
    pub fn from_wire(bytes: Bytes, items: u32, packed: Option<Packed>) -> Self {
        Self::new(items, Forms { packed, wire: OnceLock::from(bytes), message: OnceLock::new() })
    }

    /// From a decoded request.
    pub fn from_message(message: S::Request) -> Self {
        let items = u32::try_from(S::count(&message)).unwrap_or(u32::MAX);
        Self::new(items, Forms { packed: None, wire: OnceLock::new(), message: OnceLock::from(message) })
    }

    fn new(items: u32, forms: Forms<S::Request>) -> Self {
        Self { items, forms: Arc::new(forms), signal: PhantomData }
    }

    /// Spans, data points or log records in it.
    pub fn items(&self) -> usize {
        self.items as usize
    }

    /// The body as the client has compressed it, where nobody has edited it since.
    pub fn packed(&self) -> Option<&Packed> {
        self.forms.packed.as_ref()
    }

    /// The serialised form.
    pub fn wire(&self) -> &Bytes {
        self.forms.wire.get_or_init(|| {
            let message = self.forms.message.get();
            message.map(|m| m.encode_to_vec().into()).unwrap_or_default()
        })
    }

    /// Whether the decoded form is there already, so that asking for it costs nothing.
    pub fn is_decoded(&self) -> bool {
        self.forms.message.get().is_some()
    }

    /// The decoded form, shared by all who ask.
    ///
    /// # Errors
    /// If the bytes are no request.
    pub fn message(&self) -> Result<&S::Request, Malformed> {
        if let Some(message) = self.forms.message.get() {
            return Ok(message);
        }
        let decoded =
            S::Request::decode(self.wire().clone()).map_err(|error| Malformed { signal: S::NAME, error })?;
        Ok(self.forms.message.get_or_init(|| decoded))
    }

    /// The decoded form for changing: copied only if somebody else holds the request too.
    ///
    /// # Errors
    /// If the bytes are no request.
    pub fn into_message(self) -> Result<S::Request, Malformed> {
        self.message()?;
        let message = match Arc::try_unwrap(self.forms) {
            Ok(mut forms) => forms.message.take(),
            Err(shared) => shared.message.get().cloned(),
        };
        Ok(message.unwrap_or_default())
    }
}

impl<S: OtlpSignal> PartialEq for OtlpRequest<S> {
    /// By content.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.forms, &other.forms) || self.wire() == other.wire()
    }
}

impl<S: OtlpSignal> Otlp<S> {
    /// Makes a batch shareable.
    pub fn new(batch: OtlpBatch<S>) -> Self {
        Self(Arc::new(batch))
    }

    /// A batch of one request.
    pub fn of(request: OtlpRequest<S>) -> Self {
        let mut batch = OtlpBatch::default();
        batch.requests.push(request);
        Self::new(batch)
    }

    /// For changing: copies the list (not the requests) only if somebody else holds the batch too.
    pub fn make_mut(&mut self) -> &mut OtlpBatch<S> {
        Arc::make_mut(&mut self.0)
    }

    /// The batch itself; copies only if somebody else holds it too.
    pub fn into_batch(self) -> OtlpBatch<S> {
        Arc::unwrap_or_clone(self.0)
    }

    /// Spans, data points or log records in all its requests.
    pub fn items(&self) -> usize {
        self.requests.iter().map(OtlpRequest::items).sum()
    }

    /// Whether it has no items.
    pub fn is_empty(&self) -> bool {
        self.items() == 0
    }
}

impl<S: OtlpSignal> std::ops::Deref for Otlp<S> {
    type Target = OtlpBatch<S>;
    fn deref(&self) -> &OtlpBatch<S> {
        &self.0
    }
}

impl<S: OtlpSignal> From<OtlpBatch<S>> for Otlp<S> {
    fn from(batch: OtlpBatch<S>) -> Self {
        Self::new(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::proto::trace::v1::{ResourceSpans, ScopeSpans, Span};
    use super::*;

    fn request(names: &[&str]) -> ExportTraceServiceRequest {
        let spans = names.iter().map(|n| Span { name: (*n).into(), ..Span::default() }).collect();
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }],
        }
    }

    #[test]
    fn the_bytes_of_two_requests_are_the_bytes_of_their_union() {
        let [a, b] = [request(&["a"]), request(&["b", "c"])]
            .map(|message| OtlpRequest::<TracesSignal>::from_message(message).wire().clone());
        let union = ExportTraceServiceRequest::decode(Bytes::from([a, b].concat())).expect("a request");
        assert_eq!(TracesSignal::count(&union), 3);
    }

    #[test]
    fn a_request_is_decoded_once_and_copied_only_if_it_is_shared() {
        let message = request(&["a", "b"]);
        let one = OtlpRequest::<TracesSignal>::from_wire(message.encode_to_vec().into(), 2, None);
        assert!(!one.is_decoded());
        let (first, second) = (one.message().expect("decodes"), one.message().expect("decodes"));
        assert!(std::ptr::eq(first, second));
        let other = one.clone();
        assert_eq!(other.into_message(), Ok(message.clone()));
        assert_eq!(one.into_message(), Ok(message));
    }

    #[test]
    fn damaged_bytes_are_told_and_not_taken_for_an_empty_request() {
        let damaged = OtlpRequest::<LogsSignal>::from_wire(Bytes::from_static(b"\x0a\x05\x01"), 1, None);
        assert!(damaged.message().is_err_and(|e| e.to_string().contains("logs")));
    }
}

//! What goes together: takes requests apart by the back ends of their items' keys.
//!
//! Trace IDs are read from the bytes; other keys need what is around an item, so that the request is decoded.
//! Invariant: every item is in exactly one part.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use signal::otlp::proto::collector::metrics::v1::ExportMetricsServiceRequest;
use signal::otlp::proto::common::v1::KeyValue;
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics};
use signal::otlp::proto::resource::v1::Resource;
use signal::otlp::{LogsSignal, MetricsSignal, OtlpSignal, TracesSignal};
use wire::otlp::{Flat, partition};
use wire::proto::Reader;

use super::ring::Ring;
use crate::signals::{Grouped, Kind};

/// What goes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RoutingKey {
    Trace,
    Service,
    Resource,
    Metric,
    Stream,
}

impl RoutingKey {
    pub(super) fn named(text: &str) -> Result<Self, String> {
        Ok(match text {
            "traceID" | "" => Self::Trace,
            "service" => Self::Service,
            "resource" => Self::Resource,
            "metric" => Self::Metric,
            "streamID" => Self::Stream,
            "attributes" => {
                return Err("attributes needs routing_attributes, which this component does not have".into());
            }
            _ => return Err("must be traceID, service, resource, metric or streamID".into()),
        })
    }

    /// Whether it says something about a signal.
    pub(super) fn takes(self, kind: Kind) -> bool {
        match self {
            Self::Service => true,
            Self::Trace => kind != Kind::Metrics,
            Self::Resource | Self::Metric | Self::Stream => kind == Kind::Metrics,
        }
    }
}

/// A part of a request, for one back end.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Part {
    pub backend: Arc<str>,
    pub items: u32,
    pub bytes: Bytes,
}

/// Takes a request apart. `None`: there is no back end at all.
///
/// # Errors
/// If the bytes are no request, which a checked one never is.
pub(super) fn share(
    kind: Kind,
    key: RoutingKey,
    ring: &Ring,
    request: &Bytes,
) -> Result<Option<Vec<Part>>, String> {
    match (kind, key) {
        (Kind::Traces, RoutingKey::Trace) => by_trace::<TracesSignal>(ring, request, 1),
        (Kind::Logs, _) if key == RoutingKey::Trace => by_trace::<LogsSignal>(ring, request, 9),
        (Kind::Traces, _) => by_resource::<TracesSignal>(ring, request, service),
        (Kind::Logs, _) => by_resource::<LogsSignal>(ring, request, service),
        (Kind::Metrics, RoutingKey::Metric | RoutingKey::Stream) => by_metric(ring, request, key),
        (Kind::Metrics, RoutingKey::Resource) => by_resource::<MetricsSignal>(ring, request, |resource| {
            attributes(resource.map_or(&[], |r| &r.attributes[..]))
        }),
        (Kind::Metrics, _) => by_resource::<MetricsSignal>(ring, request, service),
    }
}

/// `field`: the number of the trace ID in an item. What has none goes anywhere, as upstream.
fn by_trace<S: Flat>(ring: &Ring, request: &Bytes, field: u32) -> Result<Option<Vec<Part>>, String> {
    if ring.backend(b"").is_none() {
        return Ok(None);
    }
    let anywhere = fastrand::u128(..).to_be_bytes();
    let backend = |item: &[u8]| {
        let mut id = &anywhere[..];
        let mut reader = Reader::new(item);
        while let Some(found) = reader.next_field()? {
            if found.number == field {
                id = Some(found.bytes()?).filter(|id| id.iter().any(|byte| *byte != 0)).unwrap_or(&anywhere);
            }
        }
        Ok::<_, wire::proto::Error>(ring.backend(id).expect("there is one").clone())
    };
    let parts = partition::<S, _, _>(request, backend).map_err(|e| e.to_string())?;
    let part = |(backend, piece): (Arc<str>, wire::otlp::Piece)| Part {
        backend,
        items: piece.items,
        bytes: piece.bytes.into(),
    };
    Ok(Some(parts.into_iter().map(part).collect()))
}

/// The name of a resource's service; those without one go together.
fn service(resource: Option<&Resource>) -> Vec<u8> {
    let attributes = resource.map_or(&[][..], |resource| &resource.attributes);
    let name = attributes.iter().find(|attribute| attribute.key == "service.name");
    crate::value::text(name.and_then(|name| name.value.as_ref())).into_bytes()
}

fn by_resource<S: Grouped>(
    ring: &Ring,
    request: &Bytes,
    key: impl Fn(Option<&Resource>) -> Vec<u8>,
) -> Result<Option<Vec<Part>>, String> {
    let mut message = S::Request::decode(&request[..]).map_err(|e| e.to_string())?;
    let mut parts = Parts::<S>::default();
    for group in std::mem::take(S::groups(&mut message)) {
        let Some(backend) = ring.backend(&key(S::resource(&group))) else { return Ok(None) };
        S::groups(parts.of(backend)).push(group);
    }
    Ok(Some(parts.finish()))
}

/// By name of a metric, or by stream: then a metric is taken apart into its data points.
fn by_metric(ring: &Ring, request: &Bytes, key: RoutingKey) -> Result<Option<Vec<Part>>, String> {
    let message = ExportMetricsServiceRequest::decode(&request[..]).map_err(|e| e.to_string())?;
    let mut parts = Parts::<MetricsSignal>::default();
    for resource in message.resource_metrics {
        let around = attributes(resource.resource.as_ref().map_or(&[], |r| &r.attributes[..]));
        let head = ResourceMetrics { scope_metrics: Vec::new(), ..resource.clone() };
        for scope in resource.scope_metrics {
            let scope_head = ScopeMetrics { metrics: Vec::new(), ..scope.clone() };
            let named =
                scope.scope.as_ref().map(|s| format!("{}\0{}", s.name, s.version)).unwrap_or_default();
            for metric in scope.metrics {
                let pieces = match key {
                    RoutingKey::Stream => by_stream(&metric, &[&around, named.as_bytes()].concat()),
                    _ => vec![(metric.name.clone().into_bytes(), metric)],
                };
                for (key, metric) in pieces {
                    let Some(backend) = ring.backend(&key) else { return Ok(None) };
                    put(parts.of(backend), &head, &scope_head, metric);
                }
            }
        }
    }
    Ok(Some(parts.finish()))
}

/// Appends a metric, in the resource and scope that were last appended to where they are the same.
fn put(
    request: &mut ExportMetricsServiceRequest,
    head: &ResourceMetrics,
    scope: &ScopeMetrics,
    metric: Metric,
) {
    let resources = &mut request.resource_metrics;
    if !resources.last().is_some_and(|r| r.resource == head.resource && r.schema_url == head.schema_url) {
        resources.push(head.clone());
    }
    let scopes = &mut resources.last_mut().expect("pushed").scope_metrics;
    if !scopes.last().is_some_and(|s| s.scope == scope.scope && s.schema_url == scope.schema_url) {
        scopes.push(scope.clone());
    }
    let metrics = &mut scopes.last_mut().expect("pushed").metrics;
    match metrics.last_mut() {
        Some(last) if same_metric(last, &metric) => append(last, metric),
        _ => metrics.push(metric),
    }
}

fn same_metric(a: &Metric, b: &Metric) -> bool {
    let shape = |metric: &Metric| match &metric.data {
        Some(Data::Sum(sum)) => (1, sum.aggregation_temporality, sum.is_monotonic),
        Some(Data::Gauge(_)) => (2, 0, false),
        Some(Data::Histogram(h)) => (3, h.aggregation_temporality, false),
        Some(Data::ExponentialHistogram(h)) => (4, h.aggregation_temporality, false),
        Some(Data::Summary(_)) => (5, 0, false),
        None => (0, 0, false),
    };
    a.name == b.name
        && a.unit == b.unit
        && a.description == b.description
        && a.metadata == b.metadata
        && shape(a) == shape(b)
}

fn append(into: &mut Metric, from: Metric) {
    match (&mut into.data, from.data) {
        (Some(Data::Sum(into)), Some(Data::Sum(from))) => into.data_points.extend(from.data_points),
        (Some(Data::Gauge(into)), Some(Data::Gauge(from))) => into.data_points.extend(from.data_points),
        (Some(Data::Histogram(into)), Some(Data::Histogram(from))) => {
            into.data_points.extend(from.data_points)
        }
        (Some(Data::ExponentialHistogram(into)), Some(Data::ExponentialHistogram(from))) => {
            into.data_points.extend(from.data_points);
        }
        (Some(Data::Summary(into)), Some(Data::Summary(from))) => into.data_points.extend(from.data_points),
        // They have the same shape.
        _ => {}
    }
}

/// A metric a data point, each with the key of its stream.
fn by_stream(metric: &Metric, around: &[u8]) -> Vec<(Vec<u8>, Metric)> {
    let key = |of: &[KeyValue]| [around, b"\0", metric.name.as_bytes(), b"\0", &attributes(of)].concat();
    let one = |data: Data| Metric { data: Some(data), ..metric.clone() };
    macro_rules! points {
        ($data:ident, $kind:ident) => {{
            let each = |point: &_| {
                let mut only = $data.clone();
                only.data_points = vec![Clone::clone(point)];
                one(Data::$kind(only))
            };
            $data.data_points.iter().map(|point| (key(&point.attributes), each(point))).collect()
        }};
    }
    match &metric.data {
        Some(Data::Sum(data)) => points!(data, Sum),
        Some(Data::Gauge(data)) => points!(data, Gauge),
        Some(Data::Histogram(data)) => points!(data, Histogram),
        Some(Data::ExponentialHistogram(data)) => points!(data, ExponentialHistogram),
        Some(Data::Summary(data)) => points!(data, Summary),
        None => Vec::new(),
    }
}

/// Attributes as a key: their order does not matter.
fn attributes(attributes: &[KeyValue]) -> Vec<u8> {
    let mut all: Vec<Vec<u8>> = attributes.iter().map(Message::encode_length_delimited_to_vec).collect();
    all.sort_unstable();
    all.concat()
}

/// Decoded requests by back end, in the order in which the back ends came up.
struct Parts<S: OtlpSignal> {
    requests: Vec<(Arc<str>, S::Request)>,
    at: HashMap<Arc<str>, usize>,
}

impl<S: OtlpSignal> Default for Parts<S> {
    fn default() -> Self {
        Self { requests: Vec::new(), at: HashMap::new() }
    }
}

impl<S: OtlpSignal> Parts<S> {
    fn of(&mut self, backend: &Arc<str>) -> &mut S::Request {
        let at = match self.at.entry(backend.clone()) {
            Entry::Occupied(at) => *at.get(),
            Entry::Vacant(at) => {
                self.requests.push((backend.clone(), S::Request::default()));
                *at.insert(self.requests.len() - 1)
            }
        };
        &mut self.requests[at].1
    }

    fn finish(self) -> Vec<Part> {
        let part = |(backend, request): (Arc<str>, S::Request)| Part {
            backend,
            items: u32::try_from(S::count(&request)).unwrap_or(u32::MAX),
            bytes: request.encode_to_vec().into(),
        };
        self.requests.into_iter().map(part).filter(|part| part.items > 0).collect()
    }
}

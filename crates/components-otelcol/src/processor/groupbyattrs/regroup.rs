//! Takes decoded requests apart into their items and puts those together again that belong together.
//!
//! Invariant: no item is lost, and within a group items keep their order.

use hashbrown::HashMap;
use prost::Message as _;
use signal::otlp::proto::common::v1::{InstrumentationScope, KeyValue};
use signal::otlp::proto::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics};
use signal::otlp::proto::resource::v1::Resource;
use signal::otlp::proto::trace::v1::{ResourceSpans, ScopeSpans, Span};
use signal::otlp::{LogsSignal, MetricsSignal, OtlpSignal, TracesSignal};

/// What stands around items, with the schema that describes it.
pub(super) type Around<T> = (Option<T>, String);

/// A request as a list of scopes with their items.
type Parts<I> = Vec<(Around<Resource>, Vec<(Around<InstrumentationScope>, Vec<I>)>)>;

/// A signal whose items can be regrouped.
pub(super) trait Grouped: OtlpSignal {
    /// What stands in a scope: a span, a log record, a metric.
    type Item;

    fn apart(request: Self::Request) -> Parts<Self::Item>;
    fn together(parts: Parts<Self::Item>) -> Self::Request;

    /// Takes attributes of keys out of an item; one that consists of several may become several.
    fn take(item: Self::Item, keys: &[String]) -> Vec<(Vec<KeyValue>, Self::Item)>;

    /// What items have to have in common to become one; none if they never do.
    fn identity(_item: &Self::Item) -> Option<Vec<u8>> {
        None
    }

    /// Puts an item of the same identity into another.
    fn merge(_into: &mut Self::Item, _item: Self::Item) {}
}

/// Takes the attributes of keys out of a list.
fn take(attributes: &mut Vec<KeyValue>, keys: &[String]) -> Vec<KeyValue> {
    attributes.extract_if(.., |attribute| keys.contains(&attribute.key)).collect()
}

macro_rules! grouped {
    ($resources:ident, $resource:ident, $scopes:ident, $scope:ident, $items:ident, $item:ty) => {
        fn apart(request: Self::Request) -> Parts<$item> {
            let scopes = |scopes: Vec<$scope>| {
                scopes.into_iter().map(|s| ((s.scope, s.schema_url), s.$items)).collect()
            };
            let resources = request.$resources.into_iter();
            resources.map(|r| ((r.resource, r.schema_url), scopes(r.$scopes))).collect()
        }

        fn together(parts: Parts<$item>) -> Self::Request {
            let scope = |((scope, schema_url), items)| $scope { scope, $items: items, schema_url };
            let resource = |((resource, schema_url), scopes): (_, Vec<_>)| $resource {
                resource,
                $scopes: scopes.into_iter().map(scope).collect(),
                schema_url,
            };
            Self::Request { $resources: parts.into_iter().map(resource).collect() }
        }
    };
}

impl Grouped for TracesSignal {
    type Item = Span;
    grouped!(resource_spans, ResourceSpans, scope_spans, ScopeSpans, spans, Span);

    fn take(mut span: Span, keys: &[String]) -> Vec<(Vec<KeyValue>, Span)> {
        vec![(take(&mut span.attributes, keys), span)]
    }
}

impl Grouped for LogsSignal {
    type Item = LogRecord;
    grouped!(resource_logs, ResourceLogs, scope_logs, ScopeLogs, log_records, LogRecord);

    fn take(mut record: LogRecord, keys: &[String]) -> Vec<(Vec<KeyValue>, LogRecord)> {
        vec![(take(&mut record.attributes, keys), record)]
    }
}

impl Grouped for MetricsSignal {
    type Item = Metric;
    grouped!(resource_metrics, ResourceMetrics, scope_metrics, ScopeMetrics, metrics, Metric);

    fn take(mut metric: Metric, keys: &[String]) -> Vec<(Vec<KeyValue>, Metric)> {
        let Some(data) = metric.data.take() else { return vec![(Vec::new(), metric)] };
        // Each run of points with the same attributes taken out is a metric of its own.
        macro_rules! runs {
            ($kind:ident, $data:expr) => {{
                let mut data = $data;
                let points = std::mem::take(&mut data.data_points);
                let mut runs: Vec<(Vec<KeyValue>, Vec<_>)> = Vec::new();
                for mut point in points {
                    let taken = take(&mut point.attributes, keys);
                    match runs.last_mut() {
                        Some((last, points)) if *last == taken => points.push(point),
                        _ => runs.push((taken, vec![point])),
                    }
                }
                if runs.is_empty() {
                    runs.push((Vec::new(), Vec::new()));
                }
                let metric = |(taken, data_points)| {
                    let mut data = data.clone();
                    data.data_points = data_points;
                    (taken, Metric { data: Some(Data::$kind(data)), ..metric.clone() })
                };
                runs.into_iter().map(metric).collect()
            }};
        }
        match data {
            Data::Gauge(data) => runs!(Gauge, data),
            Data::Sum(data) => runs!(Sum, data),
            Data::Histogram(data) => runs!(Histogram, data),
            Data::ExponentialHistogram(data) => runs!(ExponentialHistogram, data),
            Data::Summary(data) => runs!(Summary, data),
        }
    }

    /// The metric without its points.
    fn identity(metric: &Metric) -> Option<Vec<u8>> {
        let mut metric = metric.clone();
        match &mut metric.data {
            None => {}
            Some(Data::Gauge(d)) => d.data_points.clear(),
            Some(Data::Sum(d)) => d.data_points.clear(),
            Some(Data::Histogram(d)) => d.data_points.clear(),
            Some(Data::ExponentialHistogram(d)) => d.data_points.clear(),
            Some(Data::Summary(d)) => d.data_points.clear(),
        }
        Some(metric.encode_to_vec())
    }

    fn merge(into: &mut Metric, metric: Metric) {
        match (&mut into.data, metric.data) {
            (Some(Data::Gauge(a)), Some(Data::Gauge(b))) => a.data_points.extend(b.data_points),
            (Some(Data::Sum(a)), Some(Data::Sum(b))) => a.data_points.extend(b.data_points),
            (Some(Data::Histogram(a)), Some(Data::Histogram(b))) => a.data_points.extend(b.data_points),
            (Some(Data::ExponentialHistogram(a)), Some(Data::ExponentialHistogram(b))) => {
                a.data_points.extend(b.data_points);
            }
            (Some(Data::Summary(a)), Some(Data::Summary(b))) => a.data_points.extend(b.data_points),
            _ => {}
        }
    }
}

/// What has been put together so far.
pub(super) struct Groups<'k, S: Grouped> {
    keys: &'k [String],
    parts: Parts<S::Item>,
    resources: HashMap<Vec<u8>, usize>,
    scopes: HashMap<(usize, Vec<u8>), usize>,
    items: HashMap<(usize, usize, Vec<u8>), usize>,
    /// Items of which attributes were taken, and others.
    pub(super) grouped: u64,
    pub(super) others: u64,
}

impl<'k, S: Grouped> Groups<'k, S> {
    pub(super) fn new(keys: &'k [String]) -> Self {
        Self {
            keys,
            parts: Vec::new(),
            resources: HashMap::new(),
            scopes: HashMap::new(),
            items: HashMap::new(),
            grouped: 0,
            others: 0,
        }
    }

    /// Resources.
    pub(super) fn len(&self) -> usize {
        self.parts.len()
    }

    pub(super) fn add(&mut self, request: S::Request) {
        for (resource, scopes) in S::apart(request) {
            for (scope, items) in scopes {
                for item in items {
                    for (taken, item) in S::take(item, self.keys) {
                        *if taken.is_empty() { &mut self.others } else { &mut self.grouped } += 1;
                        self.put(with(&resource, taken), &scope, item);
                    }
                }
            }
        }
    }

    fn put(&mut self, resource: Around<Resource>, scope: &Around<InstrumentationScope>, item: S::Item) {
        let key = resource_key(&resource);
        let parts = &mut self.parts;
        let at = *self.resources.entry(key).or_insert_with(|| {
            parts.push((resource, Vec::new()));
            parts.len() - 1
        });
        let scopes = &mut parts[at].1;
        let scope_at = *self.scopes.entry((at, scope_key(scope))).or_insert_with(|| {
            scopes.push((scope.clone(), Vec::new()));
            scopes.len() - 1
        });
        let items = &mut scopes[scope_at].1;
        let Some(identity) = S::identity(&item) else { return items.push(item) };
        match self.items.get(&(at, scope_at, identity.clone())) {
            Some(known) => S::merge(&mut items[*known], item),
            None => {
                self.items.insert((at, scope_at, identity), items.len());
                items.push(item);
            }
        }
    }

    pub(super) fn finish(self) -> S::Request {
        S::together(self.parts)
    }
}

/// The resource with more attributes, which beat its own.
fn with((resource, schema): &Around<Resource>, taken: Vec<KeyValue>) -> Around<Resource> {
    if taken.is_empty() {
        return (resource.clone(), schema.clone());
    }
    let mut resource = resource.clone().unwrap_or_default();
    for attribute in taken {
        match resource.attributes.iter_mut().find(|a| a.key == attribute.key) {
            Some(own) => *own = attribute,
            None => resource.attributes.push(attribute),
        }
    }
    (Some(resource), schema.clone())
}

/// Equal for resources with the same attributes, in whatever order.
fn resource_key((resource, schema): &Around<Resource>) -> Vec<u8> {
    let mut resource = resource.clone().unwrap_or_default();
    resource.attributes.sort_by(|a, b| a.key.cmp(&b.key));
    [resource.encode_to_vec(), schema.as_bytes().to_vec()].join(&0)
}

fn scope_key((scope, schema): &Around<InstrumentationScope>) -> Vec<u8> {
    let mut scope = scope.clone().unwrap_or_default();
    scope.attributes.sort_by(|a, b| a.key.cmp(&b.key));
    [scope.encode_to_vec(), schema.as_bytes().to_vec()].join(&0)
}

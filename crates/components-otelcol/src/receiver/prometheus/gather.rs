//! Samples sorted into resources, scopes, metrics and points.
//!
//! Everything is found by 128-bit hashes of names and labels under a seed of this process; the parts of a histogram
//! or summary meet in the group of their labels without `le` and `quantile`, and of their time.

use std::sync::Arc;

use hashbrown::HashMap;
use signal::histogram::ResetHint;
use signal::otlp::proto::common::v1::KeyValue;
use signal::points::PointRef;
use signal::samples::{ExemplarPoint, FamilyMetadata, HistogramPoint, NO_FAMILY};
use signal::{METRIC_NAME, NativeHistogram, SampleBatch, Series};
use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::classify::{self, Class, Kind, Known, Part, Shapes};
use crate::dropped::Dropped;
use crate::value::attribute;

const SCOPE: &str = "otel_scope_";

/// Where series come from.
#[derive(Default)]
pub(super) struct Resource {
    pub(super) job: String,
    pub(super) instance: String,
    /// What `target_info` says.
    pub(super) info: Vec<KeyValue>,
}

/// What has measured.
#[derive(Default)]
pub(super) struct Scope {
    pub(super) resource: usize,
    /// Nothing is said of it.
    pub(super) unnamed: bool,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) schema_url: String,
    pub(super) attributes: Vec<KeyValue>,
}

/// One metric of a scope.
pub(super) struct Metric {
    pub(super) scope: usize,
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) family: Option<Arc<FamilyMetadata>>,
}

/// One point of a metric, in parts.
pub(super) struct Group {
    pub(super) metric: usize,
    pub(super) attributes: Vec<KeyValue>,
    pub(super) time_ms: i64,
    pub(super) start_ms: i64,
    pub(super) value: Option<f64>,
    pub(super) sum: Option<f64>,
    pub(super) count: Option<f64>,
    /// Bounds or quantiles with their values.
    pub(super) parts: Vec<(f64, f64)>,
    pub(super) native: Option<Arc<NativeHistogram>>,
    pub(super) exemplars: Vec<ExemplarPoint>,
}

/// What a batch is sorted into; each list in the order in which its members were met.
pub(super) struct Gathered<'a> {
    pub(super) resources: Vec<Resource>,
    pub(super) scopes: Vec<Scope>,
    pub(super) metrics: Vec<Metric>,
    pub(super) groups: Vec<Group>,
    places: HashMap<u128, usize, foldhash::fast::FixedState>,
    /// The last group of each series, where there are exemplars to be put.
    by_series: Option<HashMap<usize, usize, foldhash::fast::FixedState>>,
    text: Vec<u8>,
    seed: u64,
    known: &'a Known,
    dropped: &'a Dropped,
}

/// The kinds of things that have places.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Level {
    Resource,
    Scope,
    Metric,
    Group,
}

/// What is not an attribute of a point.
fn is_own(kind: Kind, label: &str) -> bool {
    let of_kind = match kind {
        Kind::Histogram => "le",
        Kind::Summary => "quantile",
        Kind::Gauge | Kind::Counter | Kind::Plain | Kind::Exponential => "",
    };
    label == METRIC_NAME
        || label == "job"
        || label == "instance"
        || label == of_kind
        || label.starts_with(SCOPE)
}

impl<'a> Gathered<'a> {
    pub(super) fn new(seed: u64, known: &'a Known, dropped: &'a Dropped) -> Self {
        Self {
            resources: Vec::new(),
            scopes: Vec::new(),
            metrics: Vec::new(),
            groups: Vec::new(),
            places: HashMap::default(),
            by_series: None,
            text: Vec::new(),
            seed,
            known,
            dropped,
        }
    }

    pub(super) fn batch(&mut self, batch: &SampleBatch) {
        self.known.learn(&batch.families);
        self.by_series = (!batch.exemplars.is_empty()).then(HashMap::default);
        let family = |index: u32| match index {
            NO_FAMILY => None,
            index => batch.families.get(index as usize),
        };
        let shapes = Shapes::of(batch.points.iter().filter(|p| family(p.family).is_none()));
        for point in batch.points.iter() {
            self.point(point, family(point.family), &shapes);
        }
        for point in &batch.histograms {
            self.histogram(point, family(point.family));
        }
        batch.exemplars.iter().for_each(|exemplar| self.exemplar(exemplar));
    }

    fn point(&mut self, point: PointRef<'_>, family: Option<&Arc<FamilyMetadata>>, shapes: &Shapes<'_>) {
        let labels = point.series;
        let Some(name) = self.named(labels) else { return };
        match name {
            "target_info" => return self.target_info(labels),
            "otel_scope_info" => return self.scope_info(labels),
            _ => {}
        }
        let class = classify::sample(labels, name, family, self.known, shapes);
        let Some(group) = self.group(point.series, &class, point.timestamp_ms, point.start_ms) else {
            return;
        };
        let group = &mut self.groups[group];
        match class.part {
            Part::Value => group.value = Some(point.value),
            Part::Sum => group.sum = Some(point.value),
            Part::Count => group.count = Some(point.value),
            Part::Bucket(bound) | Part::Quantile(bound) => group.parts.push((bound, point.value)),
            // Seconds with a fraction; what is no time is none.
            Part::Created if point.value > 0.0 => group.start_ms = (point.value * 1000.0) as i64,
            Part::Created => {}
        }
    }

    fn histogram(&mut self, point: &HistogramPoint, family: Option<&Arc<FamilyMetadata>>) {
        let Some(name) = self.named(&point.series) else { return };
        let custom = point.histogram.has_custom_buckets();
        let class = classify::histogram(name, family, self.known, custom);
        let group = self.group(&point.series, &class, point.timestamp_ms, point.start_ms);
        if point.histogram.reset_hint == ResetHint::Gauge {
            // OTLP has no such histograms: it goes on as one that only grows, as the collector does it.
            self.dropped.add("reset hint", "histogram of current values", 1);
        }
        if let Some(group) = group {
            self.groups[group].native = Some(point.histogram.clone());
        }
    }

    fn exemplar(&mut self, exemplar: &ExemplarPoint) {
        let place = self.by_series.as_ref().and_then(|places| places.get(&exemplar.series.id()));
        let group = place.map(|place| &mut self.groups[*place]);
        match group {
            Some(group) if self.metrics[group.metric].kind != Kind::Summary => {
                group.exemplars.push(exemplar.clone());
            }
            Some(_) => self.dropped.add("exemplar", "of a summary", 1),
            None => self.dropped.add("exemplar", "without a sample", 1),
        }
    }

    fn named<'l>(&self, labels: &'l Series) -> Option<&'l str> {
        let name = labels.metric_name();
        if name.is_none() {
            self.dropped.add("sample", "no metric name", 1);
        }
        name
    }

    fn group(&mut self, series: &Series, class: &Class<'_>, time_ms: i64, start_ms: i64) -> Option<usize> {
        if time_ms < 0 {
            self.dropped.add("sample", "time before 1970", 1);
            return None;
        }
        let labels = series;
        let metric = self.metric(labels, class);
        let kind = class.kind;
        let own = labels.iter().filter(|(name, _)| !is_own(kind, name));
        let key = self.key(Level::Group, metric, time_ms, own.clone());
        let groups = &mut self.groups;
        let group = *self.places.entry(key).or_insert_with(|| {
            groups.push(Group {
                metric,
                attributes: own.map(|(name, value)| attribute(name, value)).collect(),
                time_ms,
                start_ms: 0,
                value: None,
                sum: None,
                count: None,
                parts: Vec::new(),
                native: None,
                exemplars: Vec::new(),
            });
            groups.len() - 1
        });
        if start_ms > 0 {
            self.groups[group].start_ms = start_ms;
        }
        if let Some(places) = &mut self.by_series {
            places.insert(series.id(), group);
        }
        Some(group)
    }

    fn metric(&mut self, labels: &Series, class: &Class<'_>) -> usize {
        let scope = self.scope(labels);
        // Counters' creation times have the name without `_total`, which samples have or not.
        let name = match class.part {
            Part::Created if class.kind == Kind::Counter => {
                let key = self.key(Level::Metric, scope, class.kind as i64, [(class.name, "")].into_iter());
                if let Some(place) = self.places.get(&key) {
                    return *place;
                }
                format!("{}_total", class.name)
            }
            _ => class.name.to_string(),
        };
        let key = self.key(Level::Metric, scope, class.kind as i64, [(&*name, "")].into_iter());
        let metrics = &mut self.metrics;
        *self.places.entry(key).or_insert_with(|| {
            metrics.push(Metric { scope, name, kind: class.kind, family: class.family.clone() });
            metrics.len() - 1
        })
    }

    fn resource(&mut self, labels: &Series) -> usize {
        let identity = ["job", "instance"].map(|label| (label, labels.get(label).unwrap_or_default()));
        let key = self.key(Level::Resource, 0, 0, identity.into_iter());
        let resources = &mut self.resources;
        *self.places.entry(key).or_insert_with(|| {
            let [job, instance] = identity.map(|(_, value)| value.to_string());
            resources.push(Resource { job, instance, info: Vec::new() });
            resources.len() - 1
        })
    }

    fn scope(&mut self, labels: &Series) -> usize {
        let resource = self.resource(labels);
        let own = labels.iter().filter(|(name, _)| name.starts_with(SCOPE));
        self.scope_at(resource, own)
    }

    /// The scope that labels name.
    fn scope_at<'l>(
        &mut self,
        resource: usize,
        own: impl Iterator<Item = (&'l str, &'l str)> + Clone,
    ) -> usize {
        let key = self.key(Level::Scope, resource, 0, own.clone());
        let scopes = &mut self.scopes;
        *self.places.entry(key).or_insert_with(|| {
            let mut scope = Scope { resource, unnamed: true, ..Scope::default() };
            for (name, value) in own {
                scope.unnamed = false;
                match &name[SCOPE.len()..] {
                    "name" => scope.name = value.to_string(),
                    "version" => scope.version = value.to_string(),
                    "schema_url" => scope.schema_url = value.to_string(),
                    other => scope.attributes.push(attribute(other, value)),
                }
            }
            scopes.push(scope);
            scopes.len() - 1
        })
    }

    fn target_info(&mut self, labels: &Series) {
        let resource = self.resource(labels);
        let own = labels.iter().filter(|(name, _)| !matches!(*name, METRIC_NAME | "job" | "instance"));
        self.resources[resource].info = own.map(|(name, value)| attribute(name, value)).collect();
    }

    /// Attributes for the scope that the points name with the same name and version.
    fn scope_info(&mut self, labels: &Series) {
        let resource = self.resource(labels);
        let is_name =
            |name: &str| matches!(name, "otel_scope_name" | "otel_scope_version" | "otel_scope_schema_url");
        let scope = self.scope_at(resource, labels.iter().filter(|(name, _)| is_name(name)));
        let own = labels
            .iter()
            .filter(|(name, _)| !is_name(name) && !matches!(*name, METRIC_NAME | "job" | "instance"));
        self.scopes[scope].attributes = own.map(|(name, value)| attribute(name, value)).collect();
    }

    fn key<'l>(
        &mut self,
        level: Level,
        above: usize,
        number: i64,
        pairs: impl Iterator<Item = (&'l str, &'l str)>,
    ) -> u128 {
        let out = &mut self.text;
        out.clear();
        out.push(level as u8);
        out.extend_from_slice(&above.to_le_bytes());
        out.extend_from_slice(&number.to_le_bytes());
        for text in pairs.flat_map(|(name, value)| [name, value]) {
            out.extend_from_slice(&(text.len() as u32).to_le_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        xxh3_128_with_seed(out, self.seed)
    }
}

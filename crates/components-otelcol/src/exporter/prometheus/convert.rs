//! From requests to one batch of samples: walks resources, scopes and metrics; `points` writes what they hold.

use std::borrow::Cow;
use std::sync::Arc;

use hashbrown::HashMap;
use signal::otlp::proto::collector::metrics::v1::ExportMetricsServiceRequest;
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::metrics::v1::{AggregationTemporality, Metric, ResourceMetrics};
use signal::otlp::{Malformed, MetricsSignal, OtlpBatch, OtlpRequest};
use signal::otlp_names::Instrument;
use signal::samples::{FamilyMetadata, MetricKind, NO_FAMILY, Point};
use signal::{LabelsBuilder, SampleBatch, Samples};
use tokio::time::Instant;

use super::Options;
use super::cache::{Cache, Entry, Keys, MOST_SERIES, Shard, Slot};
use super::labels::{Labeler, Origin};
use crate::dropped::Dropped;

/// One generation of options and the cache of what was made by them.
pub struct Converter {
    pub(super) options: Options,
    pub(super) dropped: Dropped,
    pub(super) cache: Cache,
    seed: u64,
    since: Instant,
}

impl Converter {
    /// With an empty cache.
    pub fn new(options: Options, dropped: Dropped) -> Self {
        let cache = Cache::new(MOST_SERIES);
        Self { options, dropped, cache, seed: Keys::random_seed(), since: Instant::now() }
    }

    /// The samples of a batch.
    ///
    /// # Errors
    /// If a request does not decode; nothing of the batch is remembered as written then.
    pub fn convert(&self, batch: &OtlpBatch<MetricsSignal>) -> Result<Samples, Malformed> {
        let mut decoded = Vec::with_capacity(batch.requests.len());
        for request in &batch.requests {
            decoded.push(message(request)?);
        }
        let mut writer = Writer::new(self);
        for message in &decoded {
            message.resource_metrics.iter().for_each(|resource| writer.resource(resource));
        }
        Ok(writer.finish())
    }

    /// Forgets series that no point came for in `idle` seconds.
    pub(super) fn forget(&self, idle: u32) {
        self.cache.forget(self.seconds().saturating_sub(idle));
    }

    /// Seconds of this generation.
    fn seconds(&self) -> u32 {
        u32::try_from(self.since.elapsed().as_secs()).unwrap_or(u32::MAX)
    }
}

/// The decoded form, which stays with the request only if it is there already: samples take its place.
fn message(request: &OtlpRequest<MetricsSignal>) -> Result<Cow<'_, ExportMetricsServiceRequest>, Malformed> {
    if request.is_decoded() {
        return request.message().map(Cow::Borrowed);
    }
    let own = OtlpRequest::<MetricsSignal>::from_wire(request.wire().clone(), 0, None);
    own.into_message().map(Cow::Owned)
}

/// Writes one batch.
pub(super) struct Writer<'a> {
    pub(super) converter: &'a Converter,
    pub(super) labeler: Labeler<'a>,
    pub(super) keys: Keys,
    pub(super) batch: SampleBatch,
    families: Families,
    pub(super) now_ns: u64,
    pub(super) now: u32,
}

#[derive(Default)]
struct Families {
    list: Vec<Arc<FamilyMetadata>>,
    places: HashMap<Arc<FamilyMetadata>, u32, foldhash::fast::RandomState>,
}

/// A metric on its way.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) origin: Origin<'a>,
    pub(super) metric: &'a Metric,
    pub(super) instrument: Instrument,
    pub(super) key: u128,
    pub(super) family: u32,
}

impl<'a> Writer<'a> {
    fn new(converter: &'a Converter) -> Self {
        Self {
            converter,
            labeler: Labeler {
                options: &converter.options,
                dropped: &converter.dropped,
                builder: LabelsBuilder::new(),
            },
            keys: Keys::new(converter.seed),
            batch: SampleBatch::default(),
            families: Families::default(),
            now_ns: signal::clock::now_unix_nano(),
            now: converter.seconds(),
        }
    }

    fn finish(mut self) -> Samples {
        self.batch.families = Arc::new(self.families.list);
        self.batch.into()
    }

    fn resource(&mut self, resource: &ResourceMetrics) {
        let attributes = resource.resource.as_ref().map(|r| &*r.attributes).unwrap_or_default();
        let key = self.keys.below(0, &[], attributes);
        // Held for the whole resource: what is under it is this resource's and those that share the shard.
        let mut shard = self.converter.cache.shard(key);
        let shard = &mut *shard;
        if self.converter.options.target_info {
            let info = self.keys.below(key, &["target_info"], &[]);
            self.info(shard, info, ("target_info", "Target metadata"), |labeler| {
                labeler.target_info(attributes)
            });
        }
        for scope in &resource.scope_metrics {
            let origin = Origin { resource: attributes, scope: scope.scope.as_ref() };
            let (name, version, scope_attributes) = match origin.scope {
                Some(scope) => (&*scope.name, &*scope.version, &*scope.attributes),
                None => ("", "", &[][..]),
            };
            let key = self.keys.below(key, &["scope", name, version], scope_attributes);
            if self.converter.options.scope_info {
                let info = self.keys.below(key, &["otel_scope_info"], &[]);
                self.info(shard, info, ("otel_scope_info", ""), |labeler| {
                    labeler.scope_info(origin);
                    true
                });
            }
            scope.metrics.iter().for_each(|metric| self.metric(shard, key, origin, metric));
        }
    }

    /// A gauge that is always 1 and tells something with its labels.
    fn info(
        &mut self,
        shard: &mut Shard,
        key: u128,
        (name, help): (&str, &str),
        labels: impl FnOnce(&mut Labeler<'_>) -> bool,
    ) {
        let (mut spare, labeler) = (None, &mut self.labeler);
        let entry = self.converter.cache.entry(shard, (key, None), self.now, &mut spare, || {
            labels(labeler).then(|| [Slot::new(labeler.builder.build_series())].into())
        });
        let Some(entry) = entry else { return };
        entry.touch(self.now);
        let series = entry.slots[0].series.clone();
        let family = if self.converter.options.metadata {
            let metadata = FamilyMetadata {
                name: name.into(),
                kind: MetricKind::Gauge,
                help: help.into(),
                unit: String::new(),
            };
            self.families.place(Arc::new(metadata))
        } else {
            NO_FAMILY
        };
        let timestamp_ms = millis(self.now_ns);
        self.batch.points.push(Point { series, timestamp_ms, value: 1.0, start_ms: 0, family });
    }

    fn metric(&mut self, shard: &mut Shard, scope: u128, origin: Origin<'_>, metric: &Metric) {
        let Some(data) = &metric.data else { return };
        let (kind, name, points) = match data {
            Data::Gauge(gauge) => (MetricKind::Gauge, "gauge", gauge.data_points.len()),
            Data::Sum(sum) if sum.is_monotonic => (MetricKind::Counter, "sum", sum.data_points.len()),
            Data::Sum(sum) => (MetricKind::Gauge, "sum", sum.data_points.len()),
            Data::Histogram(h) => (MetricKind::Histogram, "histogram", h.data_points.len()),
            Data::ExponentialHistogram(h) => {
                (MetricKind::Histogram, "exponential_histogram", h.data_points.len())
            }
            Data::Summary(summary) => (MetricKind::Summary, "summary", summary.data_points.len()),
        };
        let temporality = match data {
            Data::Sum(sum) => sum.aggregation_temporality,
            Data::Histogram(h) => h.aggregation_temporality,
            Data::ExponentialHistogram(h) => h.aggregation_temporality,
            Data::Gauge(_) | Data::Summary(_) => AggregationTemporality::Cumulative as i32,
        };
        if temporality != AggregationTemporality::Cumulative as i32 {
            let delta = temporality == AggregationTemporality::Delta as i32;
            let why = if delta { "delta temporality" } else { "unknown temporality" };
            return self.converter.dropped.add(name, why, points);
        }
        let instrument = match data {
            Data::Gauge(_) => Instrument::Gauge,
            Data::Sum(sum) if sum.is_monotonic => Instrument::Counter,
            _ => Instrument::Other,
        };
        // Sums that differ in this only have different names.
        let monotonic = if instrument == Instrument::Counter { "monotonic" } else { "" };
        let key = self.keys.below(scope, &[name, monotonic, &metric.name, &metric.unit], &[]);
        let family = self.family(shard, key, kind, instrument, metric);
        let context = Context { origin, metric, instrument, key, family };
        match data {
            Data::Gauge(gauge) => self.numbers(shard, context, &gauge.data_points),
            Data::Sum(sum) => self.numbers(shard, context, &sum.data_points),
            Data::Histogram(h) if self.converter.options.custom_buckets => {
                h.data_points.iter().for_each(|point| self.custom_histogram(shard, context, point));
            }
            Data::Histogram(h) => {
                h.data_points.iter().for_each(|point| self.histogram(shard, context, point))
            }
            Data::ExponentialHistogram(h) => {
                h.data_points.iter().for_each(|point| self.exponential(shard, context, point));
            }
            Data::Summary(summary) => {
                summary.data_points.iter().for_each(|point| self.summary(shard, context, point));
            }
        }
    }

    fn family(
        &mut self,
        shard: &mut Shard,
        key: u128,
        kind: MetricKind,
        instrument: Instrument,
        metric: &Metric,
    ) -> u32 {
        if !self.converter.options.metadata {
            return NO_FAMILY;
        }
        let names = self.converter.options.names;
        let metadata = shard.family(
            key,
            self.now,
            |known| known.help == metric.description,
            || {
                let name = names.metric_name(&metric.name, &metric.unit, instrument)?;
                let (help, unit) = (metric.description.clone(), metric.unit.clone());
                Some(FamilyMetadata { name, kind, help, unit })
            },
        );
        metadata.map_or(NO_FAMILY, |metadata| self.families.place(metadata))
    }

    /// The entry of a point, with series made by `series` where there are none.
    pub(super) fn entry<'s>(
        &mut self,
        shard: &'s mut Shard,
        context: Context<'_>,
        (key, bounds): (u128, Option<&[f64]>),
        spare: &'s mut Option<Entry>,
        series: impl FnOnce(&mut Labeler<'_>, &str) -> Box<[Slot]>,
    ) -> Option<&'s mut Entry> {
        let (labeler, names) = (&mut self.labeler, self.converter.options.names);
        let entry = self.converter.cache.entry(shard, (key, bounds), self.now, spare, || {
            let metric = context.metric;
            let name = names.metric_name(&metric.name, &metric.unit, context.instrument)?;
            Some(series(labeler, &name))
        });
        if entry.is_none() {
            self.converter.dropped.add("data point", "no name left", 1);
        }
        entry
    }
}

impl Families {
    /// The place of a family in the batch.
    fn place(&mut self, family: Arc<FamilyMetadata>) -> u32 {
        let list = &mut self.list;
        *self.places.entry(family).or_insert_with_key(|family| {
            list.push(family.clone());
            u32::try_from(list.len() - 1).expect("a batch has fewer than 2^32 families")
        })
    }
}

/// Milliseconds of nanoseconds.
pub(super) fn millis(ns: u64) -> i64 {
    (ns / 1_000_000) as i64
}

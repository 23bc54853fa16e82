//! Data points as samples, by kind.

use std::sync::Arc;

use signal::histogram::{HistogramCounts, HistogramError, has_no_value};
use signal::otlp::proto::metrics::v1::{
    Exemplar, ExponentialHistogramDataPoint, HistogramDataPoint, NumberDataPoint, SummaryDataPoint, exemplar,
    number_data_point,
};
use signal::otlp_names::Instrument;
use signal::samples::{ExemplarPoint, HistogramPoint, Point, STALE_NAN, is_stale};
use signal::{METRIC_NAME, NativeHistogram, Series};
use smallvec::SmallVec;

use super::cache::{Before, Entry, Shard, Slot};
use super::convert::{Context, Writer, millis};
use super::labels::{Labeler, exemplar_labels};

/// When a point was taken, and since when it counts.
#[derive(Clone, Copy)]
struct Times {
    time_ms: i64,
    start_ms: i64,
    family: u32,
    /// Where a zero is to be written before the point.
    zero_ms: Option<i64>,
}

impl Writer<'_> {
    /// A point's time, noted in its entry; `None` if it is before the last one.
    fn times(
        &self,
        entry: &mut Entry,
        context: Context<'_>,
        (time_ns, start_ns): (u64, u64),
        counts: bool,
    ) -> Option<Times> {
        let time_ns = if time_ns == 0 { self.now_ns } else { time_ns };
        let Some(Before(before_ns)) = entry.advance(time_ns, self.now) else {
            self.converter.dropped.add("data point", "out of order", 1);
            return None;
        };
        let start_ns = if counts { start_ns } else { 0 };
        let starts = start_ns != 0 && start_ns < time_ns && before_ns.is_some_and(|before| start_ns > before);
        let zero_ms = (starts && self.converter.options.start_zero).then(|| millis(start_ns));
        Some(Times { time_ms: millis(time_ns), start_ms: millis(start_ns), family: context.family, zero_ms })
    }

    fn push(&mut self, series: &Series, value: f64, times: Times) {
        let Times { time_ms, start_ms, family, zero_ms } = times;
        let point =
            |timestamp_ms, value| Point { series: series.clone(), timestamp_ms, value, start_ms, family };
        if let Some(zero_ms) = zero_ms.filter(|_| !is_stale(value)) {
            self.batch.points.push(point(zero_ms, 0.0));
        }
        self.batch.points.push(point(time_ms, value));
    }

    pub(super) fn numbers(&mut self, shard: &mut Shard, context: Context<'_>, points: &[NumberDataPoint]) {
        let counts = context.instrument == Instrument::Counter;
        for point in points {
            let value = match &point.value {
                _ if has_no_value(point.flags) => STALE_NAN,
                Some(number_data_point::Value::AsDouble(value)) => *value,
                Some(number_data_point::Value::AsInt(value)) => *value as f64,
                None => {
                    self.converter.dropped.add("data point", "no value", 1);
                    continue;
                }
            };
            let key = self.keys.below(context.key, &[], &point.attributes);
            let mut spare = None;
            let entry = self.entry(shard, context, (key, None), &mut spare, |labeler, name| {
                labeler.point(context.origin, &point.attributes, None);
                [labeler.slot(name)].into()
            });
            let Some(entry) = entry else { continue };
            let at = (point.time_unix_nano, point.start_time_unix_nano);
            let Some(times) = self.times(entry, context, at, counts) else { continue };
            let slot = &mut entry.slots[0];
            self.push(&slot.series, value, times);
            if counts {
                in_time(&point.exemplars).for_each(|exemplar| self.exemplar(slot, exemplar));
            } else {
                self.converter.dropped.add("exemplar", "of a gauge", point.exemplars.len());
            }
        }
    }

    /// As `_sum`, `_count` and `_bucket` series.
    pub(super) fn histogram(&mut self, shard: &mut Shard, context: Context<'_>, point: &HistogramDataPoint) {
        let stale = has_no_value(point.flags);
        let ordered = point.explicit_bounds.windows(2).all(|pair| pair[0] < pair[1]);
        if !ordered || point.explicit_bounds.iter().any(|bound| bound.is_nan()) {
            return self.converter.dropped.add("histogram", "bounds out of order", 1);
        }
        // Without counts there are no buckets but the one of all; +Inf is written anyway.
        let finite = point.explicit_bounds.iter().take_while(|bound| **bound != f64::INFINITY).count();
        let known = if stale { finite } else { finite.min(point.bucket_counts.len()) };
        let bounds = &point.explicit_bounds[..known];
        // A point without a value may leave its bounds out: those of before are stale too.
        let wanted = if stale && bounds.is_empty() { None } else { Some(bounds) };
        let key = self.keys.below(context.key, &[], &point.attributes);
        let mut spare = None;
        let entry = self.entry(shard, context, (key, wanted), &mut spare, |labeler, name| {
            labeler.point(context.origin, &point.attributes, Some("le"));
            let mut slots =
                vec![labeler.slot(&format!("{name}_sum")), labeler.slot(&format!("{name}_count"))];
            labeler.builder.set(METRIC_NAME, &format!("{name}_bucket"));
            for le in bounds.iter().map(f64::to_string).chain(["+Inf".to_string()]) {
                labeler.builder.set("le", &le);
                slots.push(Slot::new(labeler.builder.build_series()));
            }
            slots.into()
        });
        let Some(entry) = entry else { return };
        let at = (point.time_unix_nano, point.start_time_unix_nano);
        let Some(times) = self.times(entry, context, at, true) else { return };
        let [sum, count, buckets @ ..] = &mut *entry.slots else { unreachable!("made with sum and count") };
        let value = |value: f64| if stale { STALE_NAN } else { value };
        if stale || point.sum.is_some() {
            self.push(&sum.series, value(point.sum.unwrap_or_default()), times);
        }
        self.push(&count.series, value(point.count as f64), times);
        let mut below = 0_u64;
        let own = point.bucket_counts.iter().copied().chain(std::iter::repeat(0));
        let all = buckets.len() - 1;
        for (slot, own) in buckets[..all].iter().zip(own) {
            below = below.saturating_add(own);
            self.push(&slot.series, value(below as f64), times);
        }
        self.push(&buckets[all].series, value(point.count as f64), times);
        for exemplar in in_time(&point.exemplars) {
            let observed = observed(exemplar);
            let bucket = entry.bounds.partition_point(|bound| *bound < observed);
            self.exemplar(&mut buckets[bucket.min(all)], exemplar);
        }
    }

    /// As one native histogram with custom buckets.
    pub(super) fn custom_histogram(
        &mut self,
        shard: &mut Shard,
        context: Context<'_>,
        point: &HistogramDataPoint,
    ) {
        let key = self.keys.below(context.key, &[], &point.attributes);
        let (series, at) = ((key, &point.attributes[..]), (point.time_unix_nano, point.start_time_unix_nano));
        self.native(shard, context, series, at, NativeHistogram::from_explicit(point), &point.exemplars);
    }

    pub(super) fn exponential(
        &mut self,
        shard: &mut Shard,
        context: Context<'_>,
        point: &ExponentialHistogramDataPoint,
    ) {
        let key = self.keys.below(context.key, &[], &point.attributes);
        let (series, at) = ((key, &point.attributes[..]), (point.time_unix_nano, point.start_time_unix_nano));
        self.native(shard, context, series, at, NativeHistogram::from_exponential(point), &point.exemplars);
    }

    fn native(
        &mut self,
        shard: &mut Shard,
        context: Context<'_>,
        (key, attributes): (u128, &[signal::otlp::proto::common::v1::KeyValue]),
        at: (u64, u64),
        histogram: Result<NativeHistogram, HistogramError>,
        exemplars: &[Exemplar],
    ) {
        let histogram = match histogram {
            Ok(histogram) => histogram,
            Err(error) => {
                let scale = matches!(error, HistogramError::Schema(_));
                let why = if scale { "scale below -4" } else { "inconsistent" };
                return self.converter.dropped.add("histogram", why, 1);
            }
        };
        let mut spare = None;
        let entry = self.entry(shard, context, (key, None), &mut spare, |labeler, name| {
            labeler.point(context.origin, attributes, None);
            [labeler.slot(name)].into()
        });
        let Some(entry) = entry else { return };
        let Some(times) = self.times(entry, context, at, true) else { return };
        let slot = &mut entry.slots[0];
        let Times { time_ms, start_ms, family, zero_ms } = times;
        let series = slot.series.clone();
        let sample = |timestamp_ms, histogram| HistogramPoint {
            series: series.clone(),
            timestamp_ms,
            histogram: Arc::new(histogram),
            start_ms,
            family,
        };
        if let Some(zero_ms) = zero_ms
            && !histogram.is_stale()
        {
            self.batch.histograms.push(sample(zero_ms, empty_like(&histogram)));
        }
        self.batch.histograms.push(sample(time_ms, histogram));
        in_time(exemplars).for_each(|exemplar| self.exemplar(slot, exemplar));
    }

    pub(super) fn summary(&mut self, shard: &mut Shard, context: Context<'_>, point: &SummaryDataPoint) {
        let stale = has_no_value(point.flags);
        let quantiles: SmallVec<[f64; 8]> = point.quantile_values.iter().map(|q| q.quantile).collect();
        let wanted = if stale && quantiles.is_empty() { None } else { Some(&*quantiles) };
        let key = self.keys.below(context.key, &[], &point.attributes);
        let mut spare = None;
        let entry = self.entry(shard, context, (key, wanted), &mut spare, |labeler, name| {
            labeler.point(context.origin, &point.attributes, Some("quantile"));
            let mut slots =
                vec![labeler.slot(&format!("{name}_sum")), labeler.slot(&format!("{name}_count"))];
            labeler.builder.set(METRIC_NAME, name);
            for quantile in &quantiles {
                labeler.builder.set("quantile", &quantile.to_string());
                slots.push(Slot::new(labeler.builder.build_series()));
            }
            slots.into()
        });
        let Some(entry) = entry else { return };
        let at = (point.time_unix_nano, point.start_time_unix_nano);
        let Some(times) = self.times(entry, context, at, true) else { return };
        let [sum, count, slots @ ..] = &*entry.slots else { unreachable!("made with sum and count") };
        let value = |value: f64| if stale { STALE_NAN } else { value };
        self.push(&sum.series, value(point.sum), times);
        self.push(&count.series, value(point.count as f64), times);
        let values = point.quantile_values.iter().map(|q| q.value).chain(std::iter::repeat(0.0));
        // A quantile is a value of its own and does not grow from zero.
        let times = Times { zero_ms: None, start_ms: 0, ..times };
        for (slot, quantile) in slots.iter().zip(values) {
            self.push(&slot.series, value(quantile), times);
        }
    }

    /// Exemplars older than the last one of their series are left out: Prometheus refuses requests with such.
    fn exemplar(&mut self, slot: &mut Slot, exemplar: &Exemplar) {
        if exemplar.time_unix_nano < slot.exemplar_ns {
            return self.converter.dropped.add("exemplar", "out of order", 1);
        }
        // One from the future is not one that later ones come before.
        slot.exemplar_ns = exemplar.time_unix_nano.min(self.now_ns);
        let ids = [("trace_id", &exemplar.trace_id), ("span_id", &exemplar.span_id)];
        let ids = ids.into_iter().filter(|(_, id)| id.iter().any(|byte| *byte != 0));
        let ids = ids.map(|(name, id)| (name.to_string(), const_hex::encode(id))).collect();
        let names = self.converter.options.names;
        let labels = exemplar_labels(ids, &exemplar.filtered_attributes, names).unwrap_or_else(|ids_only| {
            self.converter.dropped.add("exemplar attribute", "too long", exemplar.filtered_attributes.len());
            ids_only
        });
        self.batch.exemplars.push(ExemplarPoint {
            series: slot.series.clone(),
            labels,
            value: observed(exemplar),
            timestamp_ms: millis(exemplar.time_unix_nano),
        });
    }
}

impl Labeler<'_> {
    /// The series of the labels that are there, under a name.
    fn slot(&mut self, name: &str) -> Slot {
        self.builder.set(METRIC_NAME, name);
        Slot::new(self.builder.build_series())
    }
}

/// Exemplars as they were observed, which is how a series takes them.
fn in_time(exemplars: &[Exemplar]) -> impl Iterator<Item = &Exemplar> {
    let mut sorted: SmallVec<[&Exemplar; 4]> = exemplars.iter().collect();
    sorted.sort_by_key(|exemplar| exemplar.time_unix_nano);
    sorted.into_iter()
}

fn observed(exemplar: &Exemplar) -> f64 {
    match exemplar.value {
        Some(exemplar::Value::AsDouble(value)) => value,
        Some(exemplar::Value::AsInt(value)) => value as f64,
        None => 0.0,
    }
}

/// The histogram before the first observation.
fn empty_like(histogram: &NativeHistogram) -> NativeHistogram {
    NativeHistogram {
        sum: 0.0,
        counts: HistogramCounts::Int {
            count: 0,
            zero_count: 0,
            positive_deltas: Vec::new(),
            negative_deltas: Vec::new(),
        },
        positive_spans: Vec::new(),
        negative_spans: Vec::new(),
        ..histogram.clone()
    }
}

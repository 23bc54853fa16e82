//! OTLP's histograms as native ones, and back. As prometheus/storage/remote/otlptranslator and the
//! collector's prometheusreceiver.
//!
//! OTLP's bucket `i` begins at base^i, Prometheus' ends there: indexes differ by one.

use std::borrow::Cow;

use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::{
    DataPointFlags, ExponentialHistogramDataPoint, HistogramDataPoint,
};

use super::buckets::{absolute, deltas, dense, indexes};
use super::{
    BucketSpan, CUSTOM_BUCKETS, EXPONENTIAL, HistogramCounts, HistogramError, NativeHistogram, ResetHint,
};

/// Width of the zero bucket where the sender says nothing.
const ZERO_THRESHOLD: f64 = 1e-128;

/// Empty buckets that cost less to write than a new span does.
const FILL: i64 = 2;

/// OTLP writes every bucket between the first and the last: above this many the resolution is lowered.
const MOST_BUCKETS: usize = 20_000;

/// Whether a data point says that there is no value.
pub fn has_no_value(flags: u32) -> bool {
    flags & DataPointFlags::NoRecordedValueMask as u32 != 0
}

impl NativeHistogram {
    /// From an exponential histogram; scales above 8 are lowered to 8.
    ///
    /// # Errors
    /// If the scale is below -4 or the counts contradict each other.
    pub fn from_exponential(point: &ExponentialHistogramDataPoint) -> Result<Self, HistogramError> {
        if has_no_value(point.flags) {
            return Ok(Self::stale());
        }
        if point.scale < *EXPONENTIAL.start() {
            return Err(HistogramError::Schema(point.scale));
        }
        let schema = point.scale.min(*EXPONENTIAL.end());
        // Beyond 63 every index is 0 or -1 anyway.
        let shift = (point.scale - schema).min(63);
        let (positive_spans, positive) = lowered(point.positive.as_ref(), shift);
        let (negative_spans, negative) = lowered(point.negative.as_ref(), shift);
        let zero_threshold = if point.zero_threshold > 0.0 { point.zero_threshold } else { ZERO_THRESHOLD };
        let histogram = Self {
            schema,
            zero_threshold,
            sum: point.sum.unwrap_or_default(),
            counts: HistogramCounts::Int {
                count: point.count,
                zero_count: point.zero_count,
                positive_deltas: deltas(&positive),
                negative_deltas: deltas(&negative),
            },
            positive_spans,
            negative_spans,
            custom_values: Vec::new(),
            reset_hint: ResetHint::Unknown,
        };
        histogram.validate().map(|()| histogram)
    }

    /// From a histogram with explicit bounds: custom buckets.
    ///
    /// # Errors
    /// If there is not one bucket more than bounds, or bounds or counts contradict each other.
    pub fn from_explicit(point: &HistogramDataPoint) -> Result<Self, HistogramError> {
        if has_no_value(point.flags) {
            return Ok(Self::stale());
        }
        let everything = [point.count];
        let own = match &*point.bucket_counts {
            [] if point.explicit_bounds.is_empty() => &everything,
            own => own,
        };
        let bounds = match &*point.explicit_bounds {
            [bounds @ .., f64::INFINITY] if own.len() == bounds.len() + 1 => bounds,
            bounds => bounds,
        };
        if own.len() != bounds.len() + 1 {
            return Err(HistogramError::TooFewBounds { bounds: bounds.len(), buckets: own.len() as u64 });
        }
        let filled = own.iter().zip(0..).filter(|(count, _)| **count > 0);
        let (positive_spans, positive) = dense(filled.map(|(count, index)| (index, *count as i64)), FILL);
        let histogram = Self {
            schema: CUSTOM_BUCKETS,
            zero_threshold: 0.0,
            sum: point.sum.unwrap_or_default(),
            counts: HistogramCounts::Int {
                count: point.count,
                zero_count: 0,
                positive_deltas: deltas(&positive),
                negative_deltas: Vec::new(),
            },
            positive_spans,
            negative_spans: Vec::new(),
            custom_values: bounds.to_vec(),
            reset_hint: ResetHint::Unknown,
        };
        histogram.validate().map(|()| histogram)
    }

    /// Counts, buckets and flags of an exponential histogram. Fractions of float counts are cut off, and the
    /// resolution is lowered where the buckets lie too far apart to be written one by one.
    ///
    /// # Errors
    /// If it has custom buckets or is not consistent.
    pub fn to_exponential(&self) -> Result<ExponentialHistogramDataPoint, HistogramError> {
        let mut point = ExponentialHistogramDataPoint::default();
        if self.is_stale() {
            point.flags = DataPointFlags::NoRecordedValueMask as u32;
            return Ok(point);
        }
        if self.has_custom_buckets() {
            return Err(HistogramError::Schema(self.schema));
        }
        self.validate()?;
        let mut histogram = Cow::Borrowed(self);
        while reach(&histogram.positive_spans).max(reach(&histogram.negative_spans)) > MOST_BUCKETS {
            let schema = histogram.schema - 1;
            if !histogram.to_mut().reduce_resolution(schema) {
                return Err(HistogramError::Schema(histogram.schema));
            }
        }
        point.scale = histogram.schema;
        point.sum = Some(histogram.sum);
        point.zero_threshold = histogram.zero_threshold;
        match &histogram.counts {
            HistogramCounts::Int { count, zero_count, positive_deltas, negative_deltas } => {
                (point.count, point.zero_count) = (*count, *zero_count);
                let own = |deltas: &[i64]| absolute(deltas).map(|c| c as u64).collect::<Vec<_>>();
                point.positive = written(&histogram.positive_spans, own(positive_deltas));
                point.negative = written(&histogram.negative_spans, own(negative_deltas));
            }
            HistogramCounts::Float { count, zero_count, positive_counts, negative_counts } => {
                (point.count, point.zero_count) = (*count as u64, *zero_count as u64);
                let own = |counts: &[f64]| counts.iter().map(|c| *c as u64).collect::<Vec<_>>();
                point.positive = written(&histogram.positive_spans, own(positive_counts));
                point.negative = written(&histogram.negative_spans, own(negative_counts));
            }
        }
        Ok(point)
    }

    /// Counts, buckets and flags of a histogram with explicit bounds. Fractions of float counts are cut off.
    ///
    /// # Errors
    /// If it has no custom buckets or is not consistent.
    pub fn to_explicit(&self) -> Result<HistogramDataPoint, HistogramError> {
        let mut point = HistogramDataPoint::default();
        if self.is_stale() {
            point.flags = DataPointFlags::NoRecordedValueMask as u32;
            return Ok(point);
        }
        if !self.has_custom_buckets() {
            return Err(HistogramError::Schema(self.schema));
        }
        self.validate()?;
        point.sum = Some(self.sum);
        point.explicit_bounds.clone_from(&self.custom_values);
        point.bucket_counts = vec![0; self.custom_values.len() + 1];
        let mut set = |index: i64, count: u64| {
            // Inside: `validate` has compared the spans with the bounds.
            if let Some(own) = usize::try_from(index).ok().and_then(|i| point.bucket_counts.get_mut(i)) {
                *own = count;
            }
        };
        match &self.counts {
            HistogramCounts::Int { count, positive_deltas, .. } => {
                indexes(&self.positive_spans)
                    .zip(absolute(positive_deltas))
                    .for_each(|(i, c)| set(i, c as u64));
                point.count = *count;
            }
            HistogramCounts::Float { count, positive_counts, .. } => {
                indexes(&self.positive_spans).zip(positive_counts).for_each(|(i, c)| set(i, *c as u64));
                point.count = *count as u64;
            }
        }
        Ok(point)
    }
}

/// One side's buckets, `shift` scales lower, as Prometheus holds them.
fn lowered(side: Option<&Buckets>, shift: i32) -> (Vec<BucketSpan>, Vec<i64>) {
    let Some(side) = side else { return (Vec::new(), Vec::new()) };
    let mut merged: Vec<(i64, i64)> = Vec::new();
    for (count, at) in side.bucket_counts.iter().zip(i64::from(side.offset)..) {
        if *count == 0 {
            continue;
        }
        let index = (at >> shift) + 1;
        match merged.last_mut() {
            Some((last, sum)) if *last == index => *sum = sum.wrapping_add(*count as i64),
            _ => merged.push((index, *count as i64)),
        }
    }
    dense(merged, FILL)
}

/// Buckets from the first to the last of one side, empty ones included.
fn reach(spans: &[BucketSpan]) -> usize {
    let total = |sum: i64, (at, span): (usize, &BucketSpan)| {
        sum.saturating_add(i64::from(span.length)).saturating_add(if at == 0 {
            0
        } else {
            span.offset.into()
        })
    };
    spans.iter().enumerate().fold(0, total).try_into().unwrap_or(usize::MAX)
}

/// One side's buckets as OTLP writes them.
fn written(spans: &[BucketSpan], counts: Vec<u64>) -> Option<Buckets> {
    let first = indexes(spans).next()?;
    let mut bucket_counts = Vec::with_capacity(counts.len());
    for (index, count) in indexes(spans).zip(counts) {
        bucket_counts.resize(usize::try_from(index - first).ok()?, 0);
        bucket_counts.push(count);
    }
    Some(Buckets { offset: i32::try_from(first - 1).ok()?, bucket_counts })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn side(offset: i32, counts: &[u64]) -> Option<Buckets> {
        Some(Buckets { offset, bucket_counts: counts.to_vec() })
    }

    fn point(
        scale: i32,
        positive: Option<Buckets>,
        negative: Option<Buckets>,
    ) -> ExponentialHistogramDataPoint {
        let all = |side: &Option<Buckets>| side.iter().flat_map(|b| &b.bucket_counts).sum::<u64>();
        ExponentialHistogramDataPoint {
            count: all(&positive) + all(&negative) + 1,
            zero_count: 1,
            sum: Some(2.5),
            scale,
            positive,
            negative,
            ..ExponentialHistogramDataPoint::default()
        }
    }

    fn spans(spans: &[(i32, u32)]) -> Vec<BucketSpan> {
        spans.iter().map(|(offset, length)| BucketSpan { offset: *offset, length: *length }).collect()
    }

    fn positive(histogram: &NativeHistogram) -> Vec<i64> {
        let HistogramCounts::Int { positive_deltas, .. } = &histogram.counts else { panic!("integers") };
        absolute(positive_deltas).collect()
    }

    #[test]
    fn buckets_move_up_by_one_and_wide_gaps_are_spans() {
        let histogram = NativeHistogram::from_exponential(&point(
            3,
            side(-2, &[0, 4, 0, 0, 5, 0, 0, 0, 6]),
            side(0, &[7]),
        ))
        .expect("consistent");
        assert_eq!((histogram.schema, histogram.sum), (3, 2.5));
        assert_eq!(histogram.zero_threshold, ZERO_THRESHOLD);
        assert_eq!(histogram.positive_spans, spans(&[(0, 4), (3, 1)]));
        assert_eq!(positive(&histogram), [4, 0, 0, 5, 6]);
        assert_eq!(histogram.negative_spans, spans(&[(1, 1)]));
    }

    #[test]
    fn a_scale_that_is_too_high_is_lowered_and_one_that_is_too_low_refused() {
        // Two scales down: -3 … 4 fall into -1, 0 and 1.
        let high = point(10, side(-3, &[1, 2, 3, 4, 5, 6, 7, 8]), None);
        let histogram = NativeHistogram::from_exponential(&high).expect("consistent");
        assert_eq!(histogram.schema, 8);
        assert_eq!(histogram.positive_spans, spans(&[(0, 3)]));
        assert_eq!(positive(&histogram), [1 + 2 + 3, 4 + 5 + 6 + 7, 8]);
        let low = NativeHistogram::from_exponential(&point(-5, None, None));
        assert_eq!(low, Err(HistogramError::Schema(-5)));
        let mut wrong = point(0, side(0, &[1]), None);
        wrong.count = 1;
        assert!(NativeHistogram::from_exponential(&wrong).is_err());
    }

    #[test]
    fn no_recorded_value_is_the_stale_marker_both_ways() {
        let flags = DataPointFlags::NoRecordedValueMask as u32;
        let point = ExponentialHistogramDataPoint { flags, ..Default::default() };
        let stale = NativeHistogram::from_exponential(&point).expect("stale");
        assert!(stale.is_stale());
        assert_eq!(stale.to_exponential(), Ok(point));
        let point = HistogramDataPoint { flags, ..Default::default() };
        assert!(NativeHistogram::from_explicit(&point).expect("stale").is_stale());
        assert_eq!(stale.to_explicit(), Ok(point));
    }

    #[test]
    fn explicit_bounds_become_custom_buckets() {
        let explicit = |bounds: &[f64], counts: &[u64]| HistogramDataPoint {
            count: counts.iter().sum(),
            sum: Some(9.0),
            explicit_bounds: bounds.to_vec(),
            bucket_counts: counts.to_vec(),
            ..HistogramDataPoint::default()
        };
        let point = explicit(&[0.5, 1.0, 2.0], &[0, 3, 0, 2]);
        let histogram = NativeHistogram::from_explicit(&point).expect("consistent");
        assert_eq!(histogram.positive_spans, spans(&[(1, 3)]));
        assert_eq!(positive(&histogram), [3, 0, 2]);
        assert_eq!(histogram.to_explicit(), Ok(point));
        let bare = HistogramDataPoint { count: 4, ..HistogramDataPoint::default() };
        assert_eq!(positive(&NativeHistogram::from_explicit(&bare).expect("one bucket")), [4]);
        assert!(NativeHistogram::from_explicit(&explicit(&[1.0, 2.0], &[1, 2])).is_err());
        assert!(NativeHistogram::from_explicit(&explicit(&[2.0, 1.0], &[1, 2, 3])).is_err());
        let infinite = explicit(&[1.0, f64::INFINITY], &[1, 2]);
        assert_eq!(NativeHistogram::from_explicit(&infinite).expect("fits").custom_values, [1.0]);
    }

    #[test]
    fn buckets_that_lie_far_apart_cost_resolution_and_not_memory() {
        let mut histogram = NativeHistogram::from_exponential(&point(8, side(0, &[1]), None)).expect("ok");
        histogram.positive_spans = spans(&[(-300_000, 1), (600_000, 1)]);
        histogram.counts = HistogramCounts::Int {
            count: 2,
            zero_count: 0,
            positive_deltas: vec![1, 0],
            negative_deltas: vec![],
        };
        let point = histogram.to_exponential().expect("lowered");
        assert!(point.scale < 8);
        let counts = point.positive.expect("buckets").bucket_counts;
        assert!(counts.len() <= MOST_BUCKETS && counts.iter().sum::<u64>() == 2);
        histogram.positive_spans = spans(&[(i32::MIN, 1), (i32::MAX, 1)]);
        assert!(histogram.to_exponential().is_err());
    }

    #[test]
    fn fractions_are_cut_off() {
        let whole = NativeHistogram::from_exponential(&point(2, side(0, &[1, 2]), None)).expect("ok");
        let mut float = whole.to_float();
        if let HistogramCounts::Float { positive_counts, .. } = &mut float.counts {
            positive_counts[1] = 2.9;
        }
        assert_eq!(float.to_exponential(), whole.to_exponential());
    }

    proptest! {
        #[test]
        fn an_exponential_histogram_comes_back(
            scale in -4_i32..=8,
            offsets in (-500_i32..500, -500_i32..500),
            counts in (prop::collection::vec(0_u64..5, 0..40), prop::collection::vec(0_u64..5, 0..40)),
        ) {
            let trimmed = |offset: i32, counts: &[u64]| {
                let first = counts.iter().position(|c| *c > 0)?;
                let last = counts.iter().rposition(|c| *c > 0)?;
                side(offset + first as i32, &counts[first..=last])
            };
            let mut sent = point(scale, trimmed(offsets.0, &counts.0), trimmed(offsets.1, &counts.1));
            sent.zero_threshold = 0.25;
            let native = NativeHistogram::from_exponential(&sent).expect("consistent");
            prop_assert_eq!(native.validate(), Ok(()));
            prop_assert_eq!(native.to_exponential(), Ok(sent));
        }

        #[test]
        fn lowering_the_scale_keeps_every_observation(
            scale in 9_i32..=20,
            offset in -2000_i32..2000,
            counts in prop::collection::vec(0_u64..5, 0..60),
        ) {
            let all: u64 = counts.iter().sum();
            let native = NativeHistogram::from_exponential(&point(scale, side(offset, &counts), None));
            let native = native.expect("consistent");
            prop_assert_eq!(native.schema, 8);
            prop_assert_eq!(positive(&native).iter().sum::<i64>() as u64, all);
        }
    }
}

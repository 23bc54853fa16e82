//! Exponential histograms: recording values, merging and subtracting.
//!
//! As OpenTelemetry's data model: bucket `i` at scale `s` holds values in `(base^i, base^(i+1)]`, `base = 2^(2^-s)`.
//! One scale coarser halves an index. Invariants: a histogram that was recorded or merged here has at most so
//! many buckets a sign as its caller allows, at the finest scale that allows them; the index of a value is always
//! computed at the finest scale first, so that merging gives what recording all values would have given.

use signal::otlp::proto::metrics::v1::ExponentialHistogramDataPoint as Histogram;
use signal::otlp::proto::metrics::v1::exponential_histogram_data_point::Buckets;

use super::point::{Reset, both};

/// Buckets a sign at most, where nothing else is configured: the default of OpenTelemetry's SDKs.
pub const MAX_BUCKETS: usize = 160;

/// The finest scale that values are recorded at.
pub const MAX_SCALE: i32 = 20;

/// A histogram without values that is ready to record.
pub fn empty() -> Histogram {
    Histogram { scale: MAX_SCALE, sum: Some(0.0), ..Histogram::default() }
}

/// Records a value `count` times. Values that are not finite have no bucket: they are not recorded, and the answer
/// is `false`.
pub fn record(histogram: &mut Histogram, value: f64, count: u64, max_buckets: usize) -> bool {
    if !value.is_finite() {
        return false;
    }
    histogram.count = histogram.count.saturating_add(count);
    histogram.sum = histogram.sum.map(|sum| sum + value * count as f64);
    let first = histogram.count == count;
    let extreme = |known: Option<f64>, f: fn(f64, f64) -> f64| match known {
        Some(known) => Some(f(known, value)),
        None => first.then_some(value),
    };
    histogram.min = extreme(histogram.min, f64::min);
    histogram.max = extreme(histogram.max, f64::max);
    let size = value.abs();
    if size <= histogram.zero_threshold {
        histogram.zero_count = histogram.zero_count.saturating_add(count);
        return true;
    }
    let mut at = index(size, histogram.scale);
    let sign = if value > 0.0 { &mut histogram.positive } else { &mut histogram.negative };
    let ends = sign.as_ref().and_then(ends).map_or((at, at), |(lo, hi)| (lo.min(at), hi.max(at)));
    let by = needed(ends, max_buckets);
    if by > 0 {
        histogram.positive.iter_mut().chain(&mut histogram.negative).for_each(|b| coarsen(b, by));
        histogram.scale = histogram.scale.saturating_sub_unsigned(by);
        at >>= by;
    }
    let sign = if value > 0.0 { &mut histogram.positive } else { &mut histogram.negative };
    add_at(sign.get_or_insert_default(), at, count);
    true
}

/// Adds the values of another histogram.
pub fn merge(histogram: &mut Histogram, other: &Histogram, max_buckets: usize) {
    let mut own = Shape::take(histogram);
    let mut more = Shape::of(other);
    let scale = own.scale.min(more.scale);
    own.coarsen_to(scale);
    more.coarsen_to(scale);
    let sign = |a: &Buckets, b: &Buckets| match (ends(a), ends(b)) {
        (Some(a), Some(b)) => needed((a.0.min(b.0), a.1.max(b.1)), max_buckets),
        (Some(one), None) | (None, Some(one)) => needed(one, max_buckets),
        (None, None) => 0,
    };
    let by = sign(&own.positive, &more.positive).max(sign(&own.negative, &more.negative));
    own.coarsen(by);
    more.coarsen(by);
    widen_zero(&mut own, &mut more);
    for (own, more) in [(&mut own.positive, &more.positive), (&mut own.negative, &more.negative)] {
        let Some((lo, hi)) = ends(more) else { continue };
        for (at, count) in (lo..=hi).zip(&more.bucket_counts) {
            if *count > 0 {
                add_at(own, at, *count);
            }
        }
    }
    own.zero_count = own.zero_count.saturating_add(more.zero_count);
    own.put(histogram);
    histogram.count = histogram.count.saturating_add(other.count);
    histogram.sum = both(histogram.sum, other.sum, |a, b| a + b);
    histogram.min = both(histogram.min, other.min, f64::min);
    histogram.max = both(histogram.max, other.max, f64::max);
}

/// Subtracts an earlier state of the same histogram.
///
/// # Errors
/// If it cannot be that; then nothing has changed. A histogram only grows: in counts, in the width of its buckets
/// and in its zero bucket.
pub fn subtract(histogram: &mut Histogram, earlier: &Histogram) -> Result<(), Reset> {
    if histogram.count < earlier.count
        || histogram.zero_threshold < earlier.zero_threshold
        || histogram.scale > earlier.scale
    {
        return Err(Reset);
    }
    let (mut own, mut less) = (Shape::of(histogram), Shape::of(earlier));
    less.coarsen_to(own.scale);
    widen_zero(&mut own, &mut less);
    own.zero_count = own.zero_count.checked_sub(less.zero_count).ok_or(Reset)?;
    for (own, less) in [(&mut own.positive, &less.positive), (&mut own.negative, &less.negative)] {
        let Some((lo, hi)) = ends(less) else { continue };
        for (at, count) in (lo..=hi).zip(&less.bucket_counts).filter(|(_, count)| **count > 0) {
            let slot = usize::try_from(at - i64::from(own.offset)).ok();
            let now = slot.and_then(|slot| own.bucket_counts.get_mut(slot)).ok_or(Reset)?;
            *now = now.checked_sub(*count).ok_or(Reset)?;
        }
        trim(own);
    }
    own.put(histogram);
    histogram.count -= earlier.count;
    histogram.sum = both(histogram.sum, earlier.sum, |now, before| now - before);
    (histogram.min, histogram.max) = (None, None);
    Ok(())
}

/// Scale and buckets, apart from the histogram.
struct Shape {
    scale: i32,
    positive: Buckets,
    negative: Buckets,
    zero_count: u64,
    zero_threshold: f64,
}

impl Shape {
    fn of(histogram: &Histogram) -> Self {
        let (positive, negative) = (histogram.positive.clone(), histogram.negative.clone());
        Self::new(histogram, positive.unwrap_or_default(), negative.unwrap_or_default())
    }

    fn take(histogram: &mut Histogram) -> Self {
        let (positive, negative) = (histogram.positive.take(), histogram.negative.take());
        Self::new(histogram, positive.unwrap_or_default(), negative.unwrap_or_default())
    }

    fn new(histogram: &Histogram, mut positive: Buckets, mut negative: Buckets) -> Self {
        trim(&mut positive);
        trim(&mut negative);
        let Histogram { scale, zero_count, zero_threshold, .. } = *histogram;
        Self { scale, positive, negative, zero_count, zero_threshold }
    }

    fn put(self, histogram: &mut Histogram) {
        (histogram.scale, histogram.zero_count) = (self.scale, self.zero_count);
        histogram.zero_threshold = self.zero_threshold;
        let some = |buckets: Buckets| (!buckets.bucket_counts.is_empty()).then_some(buckets);
        (histogram.positive, histogram.negative) = (some(self.positive), some(self.negative));
    }

    fn coarsen_to(&mut self, scale: i32) {
        self.coarsen((i64::from(self.scale) - i64::from(scale)).max(0) as u32);
    }

    fn coarsen(&mut self, by: u32) {
        if by > 0 {
            coarsen(&mut self.positive, by);
            coarsen(&mut self.negative, by);
            self.scale = self.scale.saturating_sub_unsigned(by);
        }
    }

    /// Whether a bucket has values.
    fn has(&self, at: i64) -> bool {
        [&self.positive, &self.negative].into_iter().any(|buckets| {
            let slot = usize::try_from(at - i64::from(buckets.offset)).ok();
            slot.and_then(|slot| buckets.bucket_counts.get(slot)).is_some_and(|count| *count > 0)
        })
    }

    /// What is in buckets up to this one goes to the zero bucket.
    fn swallow(&mut self, last: i64) {
        for buckets in [&mut self.positive, &mut self.negative] {
            let gone = (last + 1 - i64::from(buckets.offset)).clamp(0, buckets.bucket_counts.len() as i64);
            let swallowed = buckets.bucket_counts.drain(..gone as usize).fold(0u64, u64::saturating_add);
            buckets.offset = (i64::from(buckets.offset) + gone) as i32;
            self.zero_count = self.zero_count.saturating_add(swallowed);
            trim(buckets);
        }
    }
}

/// Gives both, which have the same scale, the wider of their zero buckets. Where its end lies inside of a bucket
/// with values, it is widened to that bucket's end.
fn widen_zero(a: &mut Shape, b: &mut Shape) {
    if a.zero_threshold == b.zero_threshold {
        return;
    }
    let mut threshold = a.zero_threshold.max(b.zero_threshold);
    let last = index(threshold, a.scale);
    if a.has(last) || b.has(last) {
        threshold = threshold.max(upper_bound(last, a.scale));
    }
    for shape in [a, b] {
        shape.swallow(last);
        shape.zero_threshold = threshold;
    }
}

/// The bucket of a value above 0.
pub fn index(value: f64, scale: i32) -> i64 {
    // Below 2^-1022 the exponent is in the fraction.
    let (value, shift) =
        if value < f64::MIN_POSITIVE { (value * (1u64 << 52) as f64, 52) } else { (value, 0) };
    let bits = value.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i64 - 1023 - shift;
    let fraction = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    let finest = scale.max(MAX_SCALE);
    let steps = f64::from(finest).exp2();
    // Upper bounds belong to their buckets: a power of two is the last value of the bucket below.
    let within = (fraction.log2() * steps).ceil() as i64 - 1;
    let at = ((exponent as f64) * steps) as i64;
    let at = at.saturating_add(within) >> i64::from(finest).saturating_sub(i64::from(scale)).min(63);
    // Finer than the finest scale, which only others use, it may be more than an offset can say.
    at.clamp(i64::from(i32::MIN), i64::from(i32::MAX))
}

fn upper_bound(at: i64, scale: i32) -> f64 {
    ((at as f64 + 1.0) * (-f64::from(scale)).exp2()).exp2()
}

/// First and last index.
fn ends(buckets: &Buckets) -> Option<(i64, i64)> {
    let lo = i64::from(buckets.offset);
    let len = buckets.bucket_counts.len() as i64;
    (len > 0).then_some((lo, lo + len - 1))
}

/// How many scales coarser so many buckets are enough.
fn needed((lo, hi): (i64, i64), max_buckets: usize) -> u32 {
    // Positive and negative indices never become one.
    let max = max_buckets.max(2) as i64;
    let mut by = 0;
    while (hi >> by) - (lo >> by) >= max {
        by += 1;
    }
    by
}

/// Takes empty buckets off both ends.
fn trim(buckets: &mut Buckets) {
    let counts = &mut buckets.bucket_counts;
    counts.truncate(counts.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1));
    let lead = counts.iter().position(|count| *count > 0).unwrap_or(0);
    if lead > 0 {
        counts.drain(..lead);
        buckets.offset = (i64::from(buckets.offset) + lead as i64).min(i64::from(i32::MAX)) as i32;
    }
    if counts.is_empty() {
        buckets.offset = 0;
    }
}

fn coarsen(buckets: &mut Buckets, by: u32) {
    let Some((lo, hi)) = ends(buckets) else { return };
    let by = by.min(63);
    let first = lo >> by;
    let mut counts = vec![0u64; ((hi >> by) - first + 1) as usize];
    for (at, count) in (lo..=hi).zip(&buckets.bucket_counts) {
        let slot = &mut counts[((at >> by) - first) as usize];
        *slot = slot.saturating_add(*count);
    }
    *buckets = Buckets { offset: first as i32, bucket_counts: counts };
}

/// Adds to a bucket that is at most a few away from those that there are.
fn add_at(buckets: &mut Buckets, at: i64, count: u64) {
    let Some((lo, hi)) = ends(buckets) else {
        *buckets = Buckets { offset: at as i32, bucket_counts: vec![count] };
        return;
    };
    if at < lo {
        let more = (lo - at) as usize;
        buckets.bucket_counts.splice(..0, std::iter::repeat_n(0, more));
        buckets.offset = at as i32;
    } else if at > hi {
        buckets.bucket_counts.resize((at - lo + 1) as usize, 0);
    }
    let slot = &mut buckets.bucket_counts[(at - i64::from(buckets.offset)) as usize];
    *slot = slot.saturating_add(count);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[f64], max_buckets: usize) -> Histogram {
        let mut histogram = empty();
        values.iter().for_each(|v| assert!(record(&mut histogram, *v, 1, max_buckets)));
        histogram
    }

    fn buckets(offset: i32, counts: &[u64]) -> Option<Buckets> {
        Some(Buckets { offset, bucket_counts: counts.to_vec() })
    }

    fn total(histogram: &Histogram) -> u64 {
        let sides = histogram.positive.iter().chain(&histogram.negative);
        histogram.zero_count + sides.flat_map(|b| &b.bucket_counts).sum::<u64>()
    }

    #[test]
    fn a_value_is_in_the_bucket_whose_upper_bound_it_does_not_exceed() {
        // The examples of the data model: at scale 0 buckets end at powers of two, at 3 at eighths of them.
        for (value, scale, expected) in [
            (1.0, 0, -1),
            (1.5, 0, 0),
            (2.0, 0, 0),
            (2.1, 0, 1),
            (4.0, 0, 1),
            (4.0, -1, 0),
            (16.0, -1, 1),
            (17.0, -1, 2),
            (0.25, -1, -2),
            (1.0, 3, -1),
            (2.0, 3, 7),
            (1.1, 3, 1),
            (f64::MAX, 0, 1023),
            (f64::MIN_POSITIVE, 0, -1023),
            (5e-324, 0, -1075),
            (f64::MAX, -11, 0),
        ] {
            assert_eq!(index(value, scale), expected, "{value} at {scale}");
        }
    }

    #[test]
    fn a_histogram_grows_coarser_only_as_far_as_its_size_demands() {
        let histogram = of(&[1.0, 2.0, 4.0], 3);
        assert_eq!((histogram.scale, &histogram.positive), (0, &buckets(-1, &[1, 1, 1])));
        let histogram = of(&[1.0, 2.0, 4.0, 8.0], 3);
        assert_eq!((histogram.scale, &histogram.positive), (-1, &buckets(-1, &[1, 2, 1])));
        let histogram = of(&[-3.0, 0.0, 3.0], 160);
        assert_eq!((histogram.scale, histogram.zero_count, histogram.count), (MAX_SCALE, 1, 3));
        assert_eq!((histogram.min, histogram.max, histogram.sum), (Some(-3.0), Some(3.0), Some(0.0)));
    }

    #[test]
    fn a_wider_zero_bucket_swallows_what_lies_in_it_and_is_widened_to_the_end_of_a_bucket() {
        let narrow = Histogram {
            count: 6,
            positive: buckets(-2, &[1, 2, 3]), // (¼, ½], (½, 1], (1, 2]
            ..Histogram::default()
        };
        let wide = Histogram { count: 1, zero_count: 1, zero_threshold: 0.75, ..Histogram::default() };
        let mut merged = narrow.clone();
        merge(&mut merged, &wide, 160);
        assert_eq!((merged.zero_count, merged.zero_threshold, merged.count), (4, 1.0, 7));
        assert_eq!(merged.positive, buckets(0, &[3]));
        let mut merged = wide;
        merged.zero_threshold = 0.5;
        merge(&mut merged, &narrow, 160);
        assert_eq!((merged.zero_count, merged.zero_threshold), (2, 0.5));
        assert_eq!(merged.positive, buckets(-1, &[2, 3]));
    }

    #[test]
    fn what_shrinks_has_begun_anew() {
        let earlier = of(&[1.0, 2.0, 3.0], 160);
        let mut later = of(&[1.0, 2.0, 3.5, 3.6], 160);
        let unchanged = later.clone();
        assert_eq!(subtract(&mut later, &earlier), Err(Reset));
        assert_eq!(later, unchanged);
        assert_eq!(subtract(&mut of(&[1.0], 160), &earlier), Err(Reset));
    }

    #[test]
    fn hostile_offsets_scales_and_counts_neither_panic_nor_grow() {
        let far = |offset, scale| Histogram {
            scale,
            count: u64::MAX,
            positive: buckets(offset, &[0, u64::MAX, 0, 1]),
            negative: buckets(offset, &[]),
            zero_threshold: f64::from(scale).abs(),
            ..Histogram::default()
        };
        for (a, b) in [
            (far(i32::MAX, 0), far(i32::MIN, 0)),
            (far(i32::MAX, i32::MAX), far(0, i32::MIN)),
            (far(-5, 100), far(i32::MIN, -100)),
        ] {
            let mut merged = a.clone();
            merge(&mut merged, &b, 160);
            assert!(merged.positive.iter().all(|p| p.bucket_counts.len() <= 160));
            let _ = subtract(&mut merged, &a);
            record(&mut merged, 1e300, 1, 160);
        }
        assert!(!record(&mut empty(), f64::NAN, 1, 160));
    }

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            4 => (-40.0..40.0f64, any::<bool>()).prop_map(|(e, neg)| e.exp2() * if neg { -1.0 } else { 1.0 }),
            2 => 1.0..1.001f64,
            1 => Just(0.0),
            1 => (-30..30i32).prop_map(|e| f64::from(e).exp2()),
            1 => any::<f64>().prop_filter("finite", |v| v.is_finite()),
        ]
    }

    proptest! {
        /// Merging two histograms gives what recording all values into one gives.
        #[test]
        fn merging_two_equals_one_built_from_all_values(
            a in prop::collection::vec(value(), 0..40), b in prop::collection::vec(value(), 0..40), max in 2..50usize,
        ) {
            let mut merged = of(&a, max);
            let other = of(&b, max);
            merge(&mut merged, &other, max);
            let all: Vec<f64> = a.iter().chain(&b).copied().collect();
            let one = of(&all, max);
            prop_assert_eq!(merged.count, one.count);
            prop_assert_eq!(total(&merged), one.count);
            prop_assert_eq!(merged.zero_count, one.zero_count);
            prop_assert_eq!(&merged.positive, &one.positive);
            prop_assert_eq!(&merged.negative, &one.negative);
            prop_assert_eq!(merged.scale, one.scale);
        }

        /// Subtracting the earlier state leaves what was recorded since.
        #[test]
        fn a_difference_holds_what_was_recorded_in_between(
            a in prop::collection::vec(value(), 0..40), b in prop::collection::vec(value(), 0..40),
        ) {
            let earlier = of(&a, 20);
            let all: Vec<f64> = a.iter().chain(&b).copied().collect();
            let mut later = of(&all, 20);
            prop_assert_eq!(subtract(&mut later, &earlier), Ok(()));
            prop_assert_eq!(later.count, b.len() as u64);
            let mut expected = Shape::of(&of(&b, 20));
            expected.coarsen_to(later.scale);
            prop_assert_eq!(later.positive.unwrap_or_default(), expected.positive);
            prop_assert_eq!(later.negative.unwrap_or_default(), expected.negative);
        }
    }
}

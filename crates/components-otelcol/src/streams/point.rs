//! Data points of all types as one trait, and the sums and differences of those that have them.
//!
//! Adding and subtracting is about values; times are the caller's.

use signal::otlp::proto::common::v1::KeyValue;
use signal::otlp::proto::metrics::v1::number_data_point::Value;
use signal::otlp::proto::metrics::v1::{
    DataPointFlags, Exemplar, ExponentialHistogramDataPoint, HistogramDataPoint, NumberDataPoint,
    SummaryDataPoint,
};

use super::exponential;

/// What all data points have.
pub trait Point: Clone + Default + PartialEq + std::fmt::Debug + Send + Sync + 'static {
    /// Its attributes.
    fn attributes(&self) -> &[KeyValue];
    /// Start of what it counts, Unix nanoseconds; 0 if unknown.
    fn start(&self) -> u64;
    /// Sets its start.
    fn set_start(&mut self, nanos: u64);
    /// Its time, Unix nanoseconds.
    fn time(&self) -> u64;
    /// Sets its time.
    fn set_time(&mut self, nanos: u64);
    /// Its flags, see [`DataPointFlags`].
    fn flags(&self) -> u32;
    /// The point without attributes and exemplars: what is worth keeping of a stream.
    fn bare(&self) -> Self;
    /// Takes attributes, exemplars and flags of another.
    fn dress(&mut self, from: Self);

    /// It says that there was nothing to measure.
    fn is_unrecorded(&self) -> bool {
        self.flags() & DataPointFlags::NoRecordedValueMask as u32 != 0
    }

    /// Widens its time to that of another: the earlier start, the later end.
    fn cover(&mut self, other: &Self) {
        match (self.start(), other.start()) {
            (0, start) => self.set_start(start),
            (_, 0) => {}
            (own, start) => self.set_start(own.min(start)),
        }
        self.set_time(self.time().max(other.time()));
    }
}

/// Points that have sums and differences.
pub trait Additive: Point {
    /// Adds the values of another.
    ///
    /// # Errors
    /// If they do not go together; then nothing has changed.
    fn add(&mut self, other: &Self) -> Result<(), Unequal>;

    /// Subtracts the values of an earlier cumulative point of the same stream.
    ///
    /// # Errors
    /// If the earlier cannot be a part of this one: the stream has begun anew. Then nothing has changed.
    fn subtract(&mut self, earlier: &Self) -> Result<(), Reset>;

    /// Its value is none that arithmetic is possible with.
    fn is_nan(&self) -> bool {
        false
    }
}

/// The points have different buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unequal;

/// The stream of the points has begun anew between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reset;

macro_rules! point {
    ($($type:ty),*) => {$(
        impl Point for $type {
            fn attributes(&self) -> &[KeyValue] {
                &self.attributes
            }

            fn start(&self) -> u64 {
                self.start_time_unix_nano
            }

            fn set_start(&mut self, nanos: u64) {
                self.start_time_unix_nano = nanos;
            }

            fn time(&self) -> u64 {
                self.time_unix_nano
            }

            fn set_time(&mut self, nanos: u64) {
                self.time_unix_nano = nanos;
            }

            fn flags(&self) -> u32 {
                self.flags
            }

            fn bare(&self) -> Self {
                self.without_dress()
            }

            fn dress(&mut self, from: Self) {
                self.flags = from.flags;
                self.attributes = from.attributes;
                <Self as Exemplars>::set(self, from.exemplars);
            }
        }
    )*};
}

/// The type has exemplars.
trait Exemplars {
    fn set(&mut self, exemplars: Vec<Exemplar>);
}

/// A copy that does not copy what it would drop.
trait WithoutDress {
    fn without_dress(&self) -> Self;
}

macro_rules! with_exemplars {
    ($($type:ident { $($field:ident),* }),*) => {$(
        impl Exemplars for $type {
            fn set(&mut self, exemplars: Vec<Exemplar>) {
                self.exemplars = exemplars;
            }
        }

        impl WithoutDress for $type {
            fn without_dress(&self) -> Self {
                Self {
                    start_time_unix_nano: self.start_time_unix_nano,
                    time_unix_nano: self.time_unix_nano,
                    $($field: self.$field.clone(),)*
                    ..Self::default()
                }
            }
        }
    )*};
}

with_exemplars!(
    NumberDataPoint { value },
    HistogramDataPoint { count, sum, min, max, bucket_counts, explicit_bounds },
    ExponentialHistogramDataPoint {
        count,
        sum,
        min,
        max,
        scale,
        zero_count,
        zero_threshold,
        positive,
        negative
    }
);
point!(NumberDataPoint, HistogramDataPoint, ExponentialHistogramDataPoint);

impl Point for SummaryDataPoint {
    fn attributes(&self) -> &[KeyValue] {
        &self.attributes
    }

    fn start(&self) -> u64 {
        self.start_time_unix_nano
    }

    fn set_start(&mut self, nanos: u64) {
        self.start_time_unix_nano = nanos;
    }

    fn time(&self) -> u64 {
        self.time_unix_nano
    }

    fn set_time(&mut self, nanos: u64) {
        self.time_unix_nano = nanos;
    }

    fn flags(&self) -> u32 {
        self.flags
    }

    fn bare(&self) -> Self {
        Self { attributes: Vec::new(), quantile_values: Vec::new(), ..self.clone() }
    }

    fn dress(&mut self, from: Self) {
        (self.flags, self.attributes, self.quantile_values) =
            (from.flags, from.attributes, from.quantile_values);
    }
}

fn float(value: Value) -> f64 {
    match value {
        Value::AsDouble(v) => v,
        Value::AsInt(v) => v as f64,
    }
}

impl Additive for NumberDataPoint {
    fn add(&mut self, other: &Self) -> Result<(), Unequal> {
        self.value = match (self.value, other.value) {
            (None, value) | (value, None) => value,
            (Some(Value::AsInt(a)), Some(Value::AsInt(b))) => Some(match a.checked_add(b) {
                Some(sum) => Value::AsInt(sum),
                None => Value::AsDouble(a as f64 + b as f64),
            }),
            (Some(a), Some(b)) => Some(Value::AsDouble(float(a) + float(b))),
        };
        Ok(())
    }

    fn subtract(&mut self, earlier: &Self) -> Result<(), Reset> {
        let (Some(now), Some(before)) = (self.value, earlier.value) else { return Ok(()) };
        self.value = Some(match (now, before) {
            (Value::AsInt(now), Value::AsInt(before)) if now >= before => match now.checked_sub(before) {
                Some(difference) => Value::AsInt(difference),
                None => Value::AsDouble(now as f64 - before as f64),
            },
            (now, before) if float(now) >= float(before) => Value::AsDouble(float(now) - float(before)),
            _ => return Err(Reset),
        });
        Ok(())
    }

    fn is_nan(&self) -> bool {
        matches!(self.value, Some(Value::AsDouble(v)) if v.is_nan())
    }
}

impl Additive for HistogramDataPoint {
    fn add(&mut self, other: &Self) -> Result<(), Unequal> {
        if self.explicit_bounds != other.explicit_bounds
            || self.bucket_counts.len() != other.bucket_counts.len()
        {
            return Err(Unequal);
        }
        for (own, more) in self.bucket_counts.iter_mut().zip(&other.bucket_counts) {
            *own = own.saturating_add(*more);
        }
        self.count = self.count.saturating_add(other.count);
        self.sum = both(self.sum, other.sum, |a, b| a + b);
        self.min = both(self.min, other.min, f64::min);
        self.max = both(self.max, other.max, f64::max);
        Ok(())
    }

    fn subtract(&mut self, earlier: &Self) -> Result<(), Reset> {
        if self.explicit_bounds != earlier.explicit_bounds
            || self.bucket_counts.len() != earlier.bucket_counts.len()
            || self.count < earlier.count
            || self.bucket_counts.iter().zip(&earlier.bucket_counts).any(|(now, before)| now < before)
        {
            return Err(Reset);
        }
        self.count -= earlier.count;
        for (now, before) in self.bucket_counts.iter_mut().zip(&earlier.bucket_counts) {
            *now -= before;
        }
        self.sum = both(self.sum, earlier.sum, |now, before| now - before);
        // Nobody knows the smallest and largest since.
        (self.min, self.max) = (None, None);
        Ok(())
    }

    fn is_nan(&self) -> bool {
        self.sum.is_some_and(f64::is_nan)
    }
}

impl Additive for ExponentialHistogramDataPoint {
    fn add(&mut self, other: &Self) -> Result<(), Unequal> {
        exponential::merge(self, other, exponential::MAX_BUCKETS);
        Ok(())
    }

    fn subtract(&mut self, earlier: &Self) -> Result<(), Reset> {
        exponential::subtract(self, earlier)
    }

    fn is_nan(&self) -> bool {
        self.sum.is_some_and(f64::is_nan)
    }
}

/// What is known of both is known of what they make together.
pub(super) fn both(a: Option<f64>, b: Option<f64>, f: impl Fn(f64, f64) -> f64) -> Option<f64> {
    a.zip(b).map(|(a, b)| f(a, b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(value: Value) -> NumberDataPoint {
        NumberDataPoint { value: Some(value), ..Default::default() }
    }

    #[test]
    fn numbers_add_and_subtract_in_their_own_type_where_it_holds_the_result() {
        use Value::{AsDouble, AsInt};
        for (a, b, sum) in [
            (AsInt(2), AsInt(3), AsInt(5)),
            (AsDouble(2.5), AsDouble(3.0), AsDouble(5.5)),
            (AsInt(2), AsDouble(0.5), AsDouble(2.5)),
            (AsInt(i64::MAX), AsInt(i64::MAX), AsDouble(i64::MAX as f64 * 2.0)),
        ] {
            let mut point = number(a);
            point.add(&number(b)).expect("numbers always add");
            assert_eq!(point.value, Some(sum), "{a:?} + {b:?}");
        }
        let mut point = number(AsInt(7));
        assert_eq!(point.subtract(&number(AsInt(9))), Err(Reset));
        assert_eq!(point.value, Some(AsInt(7)));
        assert_eq!(point.subtract(&number(AsInt(3))), Ok(()));
        assert_eq!(point.value, Some(AsInt(4)));
    }

    fn histogram(bounds: &[f64], counts: &[u64]) -> HistogramDataPoint {
        HistogramDataPoint {
            count: counts.iter().sum(),
            sum: Some(counts.iter().sum::<u64>() as f64),
            min: Some(counts[0] as f64),
            max: Some(9.0),
            bucket_counts: counts.to_vec(),
            explicit_bounds: bounds.to_vec(),
            ..Default::default()
        }
    }

    #[test]
    fn histograms_add_and_subtract_only_with_equal_bounds() {
        let mut point = histogram(&[1.0, 2.0], &[1, 2, 3]);
        point.add(&histogram(&[1.0, 2.0], &[5, 0, 1])).expect("equal bounds");
        assert_eq!((point.count, &*point.bucket_counts, point.sum), (12, &[6, 2, 4][..], Some(12.0)));
        assert_eq!((point.min, point.max), (Some(1.0), Some(9.0)));
        let unchanged = point.clone();
        assert_eq!(point.add(&histogram(&[1.0, 3.0], &[1, 1, 1])), Err(Unequal));
        assert_eq!(point.subtract(&histogram(&[1.0, 3.0], &[1, 1, 1])), Err(Reset));
        assert_eq!(point.subtract(&histogram(&[1.0, 2.0], &[7, 0, 0])), Err(Reset), "a bucket has shrunk");
        assert_eq!(point, unchanged);
        point.subtract(&histogram(&[1.0, 2.0], &[5, 0, 1])).expect("a part of it");
        assert_eq!((point.count, &*point.bucket_counts, point.min), (6, &[1, 2, 3][..], None));
    }

    #[test]
    fn times_cover_both_points_and_an_unknown_start_is_none() {
        let at = |start, time| {
            let mut point = number(Value::AsInt(1));
            (point.start_time_unix_nano, point.time_unix_nano) = (start, time);
            point
        };
        for (a, b, expected) in [((5, 9), (3, 7), (3, 9)), ((0, 4), (3, 7), (3, 7)), ((3, 7), (0, 9), (3, 9))]
        {
            let mut point = at(a.0, a.1);
            point.cover(&at(b.0, b.1));
            assert_eq!((point.start(), point.time()), expected);
        }
    }
}

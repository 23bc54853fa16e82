//! Whether a histogram is consistent. As prometheus/model/histogram: `Histogram.Validate`,
//! `FloatHistogram.Validate`.

use super::{BucketSpan, EXPONENTIAL, HistogramCounts, NativeHistogram, buckets};

/// Why a histogram cannot be accepted.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum HistogramError {
    /// Neither exponential nor custom.
    #[error("histogram has schema {0}, which is not between -4 and 8 and not -53")]
    Schema(i32),
    /// The sum of the buckets exceeds the count.
    #[error(
        "histogram's observation count should be at least the number of observations found in the buckets: {buckets} observations found in buckets, but the Count field is {count}"
    )]
    CountTooSmall {
        /// What the buckets hold.
        buckets: u64,
        /// What the count says.
        count: u64,
    },
    /// The sum of the buckets is not the count.
    #[error(
        "histogram's observation count should equal the number of observations found in the buckets: {buckets} observations found in buckets, but the Count field is {count}"
    )]
    CountMismatch {
        /// What the buckets hold.
        buckets: u64,
        /// What the count says.
        count: u64,
    },
    /// A bucket holds less than nothing.
    #[error("histogram has a bucket whose observation count is negative: bucket {0}")]
    NegativeBucket(usize),
    /// A span goes backwards.
    #[error("histogram has a span whose offset is negative: span {0}")]
    NegativeOffset(usize),
    /// The spans speak of another number of buckets.
    #[error(
        "histogram spans specify different number of buckets than provided: spans need {spans} buckets, have {buckets}"
    )]
    SpanMismatch {
        /// Buckets that the spans describe.
        spans: u64,
        /// Buckets there are.
        buckets: usize,
    },
    /// Custom bounds do not grow, or are not numbers.
    #[error("histogram custom bounds must be in strictly increasing order: bound {0}")]
    BoundOrder(usize),
    /// The last custom bound is +Inf, which goes without saying.
    #[error("histogram custom bounds must be finite")]
    BoundInfinite,
    /// More buckets than custom bounds make.
    #[error("histogram custom bounds are too few: {bounds} bounds for buckets up to {buckets}")]
    TooFewBounds {
        /// Bounds given.
        bounds: usize,
        /// Index of the last bucket, counted from 1.
        buckets: u64,
    },
    /// Something that custom buckets cannot have.
    #[error("histogram with custom buckets must not have {0}")]
    NotWithCustom(&'static str),
    /// Custom bounds on an exponential histogram.
    #[error("histogram with exponential schema must not have custom bounds")]
    UnexpectedBounds,
}

impl NativeHistogram {
    /// Whether counts, spans and schema fit together.
    pub fn validate(&self) -> Result<(), HistogramError> {
        let (positive, negative) = match &self.counts {
            HistogramCounts::Int { positive_deltas, negative_deltas, .. } => {
                (positive_deltas.len(), negative_deltas.len())
            }
            HistogramCounts::Float { positive_counts, negative_counts, .. } => {
                (positive_counts.len(), negative_counts.len())
            }
        };
        if self.has_custom_buckets() {
            self.validate_custom(positive, negative)?;
        } else if EXPONENTIAL.contains(&self.schema) {
            spans_fit(&self.positive_spans, positive, 1)?;
            spans_fit(&self.negative_spans, negative, 1)?;
            if !self.custom_values.is_empty() {
                return Err(HistogramError::UnexpectedBounds);
            }
        } else {
            return Err(HistogramError::Schema(self.schema));
        }
        self.validate_counts()
    }

    fn validate_custom(&self, positive: usize, negative: usize) -> Result<(), HistogramError> {
        let mut last = f64::NEG_INFINITY;
        for (i, bound) in self.custom_values.iter().enumerate() {
            if bound.is_nan() || *bound <= last {
                return Err(HistogramError::BoundOrder(i));
            }
            last = *bound;
        }
        if last == f64::INFINITY {
            return Err(HistogramError::BoundInfinite);
        }
        let reach = spans_fit(&self.positive_spans, positive, 0)?;
        if reach > self.custom_values.len() as u64 + 1 {
            return Err(HistogramError::TooFewBounds { bounds: self.custom_values.len(), buckets: reach });
        }
        let zero_count = match self.counts {
            HistogramCounts::Int { zero_count, .. } => zero_count != 0,
            HistogramCounts::Float { zero_count, .. } => zero_count != 0.0,
        };
        let unfit = [
            (zero_count, "a zero count"),
            (self.zero_threshold != 0.0, "a zero threshold"),
            (!self.negative_spans.is_empty() || negative > 0, "negative buckets"),
        ];
        match unfit.iter().find(|(present, _)| *present) {
            Some((_, what)) => Err(HistogramError::NotWithCustom(what)),
            None => Ok(()),
        }
    }

    fn validate_counts(&self) -> Result<(), HistogramError> {
        match &self.counts {
            HistogramCounts::Int { count, zero_count, positive_deltas, negative_deltas } => {
                let mut sum = *zero_count;
                for deltas in [negative_deltas, positive_deltas] {
                    for (i, bucket) in buckets::absolute(deltas).enumerate() {
                        let bucket =
                            u64::try_from(bucket).map_err(|_| HistogramError::NegativeBucket(i + 1))?;
                        sum = sum.wrapping_add(bucket);
                    }
                }
                // Observations of NaN are counted but are in no bucket, and make the sum NaN.
                if self.sum.is_nan() && sum > *count {
                    return Err(HistogramError::CountTooSmall { buckets: sum, count: *count });
                }
                if !self.sum.is_nan() && sum != *count {
                    return Err(HistogramError::CountMismatch { buckets: sum, count: *count });
                }
            }
            // The sum of floats is not exact, so it says nothing.
            HistogramCounts::Float { positive_counts, negative_counts, .. } => {
                for counts in [negative_counts, positive_counts] {
                    if let Some(i) = counts.iter().position(|count| *count < 0.0) {
                        return Err(HistogramError::NegativeBucket(i + 1));
                    }
                }
            }
        }
        Ok(())
    }
}

/// Checks spans; offsets may be negative only before `from`. Returns how far the spans reach.
fn spans_fit(spans: &[BucketSpan], buckets: usize, from: usize) -> Result<u64, HistogramError> {
    let (mut held, mut reach) = (0_u64, 0_u64);
    for (i, span) in spans.iter().enumerate() {
        if i >= from && span.offset < 0 {
            return Err(HistogramError::NegativeOffset(i + 1));
        }
        held += u64::from(span.length);
        reach += u64::from(span.length) + u64::from(span.offset.max(0).unsigned_abs());
    }
    if held != buckets as u64 {
        return Err(HistogramError::SpanMismatch { spans: held, buckets });
    }
    Ok(reach)
}

#[cfg(test)]
mod tests {
    use super::super::{ResetHint, convert_classic};
    use super::*;

    fn histogram() -> NativeHistogram {
        NativeHistogram {
            schema: 1,
            zero_threshold: 0.001,
            sum: 18.4,
            counts: HistogramCounts::Int {
                count: 12,
                zero_count: 2,
                positive_deltas: vec![1, 1, -1, 0],
                negative_deltas: vec![2, 1],
            },
            positive_spans: vec![BucketSpan { offset: -3, length: 2 }, BucketSpan { offset: 1, length: 2 }],
            negative_spans: vec![BucketSpan { offset: 0, length: 2 }],
            custom_values: vec![],
            reset_hint: ResetHint::Unknown,
        }
    }

    #[test]
    fn consistent_histograms_are_accepted() {
        assert_eq!(histogram().validate(), Ok(()));
        assert_eq!(histogram().to_float().validate(), Ok(()));
        assert_eq!(NativeHistogram::stale().validate(), Ok(()));
        assert_eq!(histogram().to_float().to_int(), Some(histogram()));
    }

    #[test]
    fn what_does_not_fit_together_is_named() {
        let broken = |change: fn(&mut NativeHistogram)| {
            let mut histogram = histogram();
            change(&mut histogram);
            histogram.validate().unwrap_err()
        };
        assert_eq!(broken(|h| h.schema = 9), HistogramError::Schema(9));
        assert_eq!(broken(|h| h.positive_spans[1].offset = -1), HistogramError::NegativeOffset(2));
        assert_eq!(
            broken(|h| h.positive_spans[1].length = 3),
            HistogramError::SpanMismatch { spans: 5, buckets: 4 }
        );
        assert_eq!(broken(|h| h.custom_values.push(1.0)), HistogramError::UnexpectedBounds);
        let set = |h: &mut NativeHistogram, to: u64| {
            if let HistogramCounts::Int { count, .. } = &mut h.counts {
                *count = to;
            }
        };
        let mut histogram = histogram();
        set(&mut histogram, 13);
        assert_eq!(histogram.validate(), Err(HistogramError::CountMismatch { buckets: 12, count: 13 }));
        histogram.sum = f64::NAN;
        assert_eq!(histogram.validate(), Ok(()));
        set(&mut histogram, 11);
        assert_eq!(histogram.validate(), Err(HistogramError::CountTooSmall { buckets: 12, count: 11 }));
        assert_eq!(
            broken(|h| if let HistogramCounts::Int { negative_deltas, .. } = &mut h.counts {
                *negative_deltas = vec![2, -3];
            }),
            HistogramError::NegativeBucket(2)
        );
    }

    #[test]
    fn custom_bounds_must_grow_be_finite_and_suffice() {
        let broken = |change: fn(&mut NativeHistogram)| {
            let mut histogram = convert_classic(&[(1.0, 2.0), (2.0, 3.0)], 1.0, Some(4.0)).unwrap();
            assert_eq!(histogram.validate(), Ok(()));
            change(&mut histogram);
            histogram.validate().unwrap_err()
        };
        assert_eq!(broken(|h| h.custom_values = vec![2.0, 1.0]), HistogramError::BoundOrder(1));
        assert_eq!(broken(|h| h.custom_values = vec![f64::NAN, 1.0]), HistogramError::BoundOrder(0));
        assert_eq!(broken(|h| h.custom_values[1] = f64::INFINITY), HistogramError::BoundInfinite);
        assert_eq!(
            broken(|h| h.custom_values.truncate(1)),
            HistogramError::TooFewBounds { bounds: 1, buckets: 3 }
        );
        assert_eq!(broken(|h| h.zero_threshold = 0.1), HistogramError::NotWithCustom("a zero threshold"));
        assert_eq!(broken(|h| h.positive_spans[0].offset = -1), HistogramError::NegativeOffset(1));
    }
}

//! Classic histograms (`le` buckets) as native histograms with custom buckets.
//! As prometheus/util/convertnhcb.

use super::buckets::{deltas, dense, whole};
use super::{CUSTOM_BUCKETS, HistogramCounts, NativeHistogram, ResetHint};

/// Why `le` buckets do not make a histogram.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ClassicError {
    /// A count below zero or not a number.
    #[error("classic histogram has a count of {0}, which is no count")]
    BadCount(f64),
    /// A bound that is not a number.
    #[error("classic histogram has a bucket bound that is not a number")]
    BadBound,
    /// One bound twice.
    #[error("classic histogram has the bucket bound {0} twice")]
    DuplicateBound(f64),
    /// A bucket holds less than the one before it, which it should include.
    #[error(
        "classic histogram's buckets are not cumulative: the one up to {0} holds less than the one before"
    )]
    NotCumulative(f64),
    /// The count says less than the buckets hold.
    #[error("classic histogram's count {count} is less than its last bucket {bucket}")]
    CountTooSmall {
        /// The count.
        count: f64,
        /// The highest bucket.
        bucket: f64,
    },
}

/// Empty buckets that cost less to write than a new span does.
const FILL: i64 = 2;

/// Makes a native histogram with custom buckets of `(upper bound, cumulative count)` pairs in any order, with
/// or without +Inf. Without `count` the highest bucket says it. Integer counts where all are whole.
pub fn convert_classic(
    buckets: &[(f64, f64)],
    sum: f64,
    count: Option<f64>,
) -> Result<NativeHistogram, ClassicError> {
    let mut sorted = buckets.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut last: Option<(f64, f64)> = None;
    for (bound, cumulative) in &sorted {
        if cumulative.is_nan() || *cumulative < 0.0 {
            return Err(ClassicError::BadCount(*cumulative));
        }
        if bound.is_nan() {
            return Err(ClassicError::BadBound);
        }
        match last {
            Some((before, _)) if before == *bound => return Err(ClassicError::DuplicateBound(*bound)),
            Some((_, below)) if *cumulative < below => return Err(ClassicError::NotCumulative(*bound)),
            _ => last = Some((*bound, *cumulative)),
        }
    }
    let highest = last.map_or(0.0, |(_, cumulative)| cumulative);
    let count = count.unwrap_or(highest);
    if count.is_nan() || count < 0.0 {
        return Err(ClassicError::BadCount(count));
    }
    if count < highest {
        return Err(ClassicError::CountTooSmall { count, bucket: highest });
    }
    match last {
        Some((f64::INFINITY, cumulative)) if cumulative < count => {
            return Err(ClassicError::CountTooSmall { count: cumulative, bucket: count });
        }
        Some((f64::INFINITY, _)) => {}
        _ => sorted.push((f64::INFINITY, count)),
    }
    let custom_values = sorted[..sorted.len() - 1].iter().map(|(bound, _)| *bound).collect();
    let all_whole = sorted.iter().all(|(_, cumulative)| whole(*cumulative).is_some());
    let mut below = 0.0;
    let own = sorted.iter().zip(0..).filter_map(|((_, cumulative), index)| {
        let count = cumulative - below;
        below = *cumulative;
        (count > 0.0).then_some((index, count))
    });
    let (positive_spans, positive_counts) = dense(own, FILL);
    let counts = if all_whole {
        let whole: Vec<i64> = positive_counts.iter().map(|count| *count as i64).collect();
        HistogramCounts::Int {
            count: count as u64,
            zero_count: 0,
            positive_deltas: deltas(&whole),
            negative_deltas: Vec::new(),
        }
    } else {
        HistogramCounts::Float { count, zero_count: 0.0, positive_counts, negative_counts: Vec::new() }
    };
    Ok(NativeHistogram {
        schema: CUSTOM_BUCKETS,
        zero_threshold: 0.0,
        sum,
        counts,
        positive_spans,
        negative_spans: Vec::new(),
        custom_values,
        reset_hint: ResetHint::Unknown,
    })
}

#[cfg(test)]
mod tests {
    use super::super::BucketSpan;
    use super::*;

    #[test]
    fn cumulative_buckets_become_custom_buckets() {
        let inf = f64::INFINITY;
        let histogram = convert_classic(&[(2.0, 5.0), (1.0, 3.0), (inf, 9.0)], 12.5, Some(9.0)).unwrap();
        assert_eq!(histogram.custom_values, [1.0, 2.0]);
        assert_eq!(histogram.positive_spans, [BucketSpan { offset: 0, length: 3 }]);
        let HistogramCounts::Int { count, positive_deltas, .. } = &histogram.counts else {
            panic!("whole counts are integers")
        };
        assert_eq!((*count, positive_deltas.as_slice()), (9, [3, -1, 2].as_slice()));
        assert_eq!(histogram.validate(), Ok(()));
        assert_eq!(convert_classic(&[(2.0, 5.0), (1.0, 3.0)], 12.5, Some(9.0)), Ok(histogram));
    }

    #[test]
    fn long_runs_of_empty_buckets_and_empty_ends_are_not_written() {
        let cumulative = [0.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 3.5, 3.5];
        let buckets: Vec<(f64, f64)> = cumulative.iter().zip(0..).map(|(c, i)| (f64::from(i), *c)).collect();
        let histogram = convert_classic(&buckets, 1.0, None).unwrap();
        assert_eq!(
            histogram.positive_spans,
            [BucketSpan { offset: 1, length: 4 }, BucketSpan { offset: 3, length: 1 }]
        );
        let HistogramCounts::Float { count, positive_counts, .. } = &histogram.counts else {
            panic!("a half is no integer")
        };
        assert_eq!((*count, positive_counts.as_slice()), (3.5, [1.0, 0.0, 0.0, 1.0, 1.5].as_slice()));
        assert_eq!(histogram.validate(), Ok(()));
        assert_eq!(convert_classic(&[], 0.0, None).unwrap().validate(), Ok(()));
    }

    #[test]
    fn buckets_that_contradict_each_other_are_refused() {
        let inf = f64::INFINITY;
        let error = |buckets: &[(f64, f64)], count| convert_classic(buckets, 0.0, count).unwrap_err();
        assert_eq!(error(&[(1.0, 2.0), (2.0, 1.0)], None), ClassicError::NotCumulative(2.0));
        assert_eq!(error(&[(1.0, 2.0), (1.0, 2.0)], None), ClassicError::DuplicateBound(1.0));
        assert_eq!(error(&[(1.0, -2.0)], None), ClassicError::BadCount(-2.0));
        assert_eq!(error(&[(f64::NAN, 2.0)], None), ClassicError::BadBound);
        let small = ClassicError::CountTooSmall { count: 1.0, bucket: 2.0 };
        assert_eq!(error(&[(1.0, 2.0)], Some(1.0)), small);
        assert_eq!(error(&[(inf, 1.0)], Some(2.0)), small);
    }
}

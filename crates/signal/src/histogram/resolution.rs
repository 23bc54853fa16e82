//! Exponential histograms with fewer, wider buckets. As prometheus/model/histogram: `reduceResolution`.

use super::buckets::{absolute, deltas, dense, indexes};
use super::{BucketSpan, EXPONENTIAL, HistogramCounts, NativeHistogram};

impl NativeHistogram {
    /// Merges buckets down to a lower schema. Histograms with custom buckets, a schema that is not lower or
    /// one below -4 change nothing; `false` then.
    pub fn reduce_resolution(&mut self, schema: i32) -> bool {
        if !EXPONENTIAL.contains(&schema) || !EXPONENTIAL.contains(&self.schema) || schema >= self.schema {
            return false;
        }
        let shift = (self.schema - schema).unsigned_abs();
        match &mut self.counts {
            HistogramCounts::Int { positive_deltas, negative_deltas, .. } => {
                for (spans, side) in
                    [(&mut self.positive_spans, positive_deltas), (&mut self.negative_spans, negative_deltas)]
                {
                    let (merged, counts) = merge(spans, absolute(side), shift, i64::wrapping_add);
                    (*spans, *side) = (merged, deltas(&counts));
                }
            }
            HistogramCounts::Float { positive_counts, negative_counts, .. } => {
                for (spans, side) in
                    [(&mut self.positive_spans, positive_counts), (&mut self.negative_spans, negative_counts)]
                {
                    (*spans, *side) = merge(spans, side.iter().copied(), shift, |a, b| a + b);
                }
            }
        }
        self.schema = schema;
        true
    }

    /// Lowers the resolution until there are at most `limit` buckets; `false` where that cannot be reached.
    pub fn limit_buckets(&mut self, limit: usize) -> bool {
        while self.bucket_count() > limit {
            if !self.reduce_resolution(self.schema - 1) {
                return false;
            }
        }
        true
    }
}

fn merge<C: Copy + Default>(
    spans: &[BucketSpan],
    counts: impl Iterator<Item = C>,
    shift: u32,
    add: impl Fn(C, C) -> C,
) -> (Vec<BucketSpan>, Vec<C>) {
    let mut merged: Vec<(i64, C)> = Vec::new();
    for (index, count) in indexes(spans).zip(counts) {
        // Bucket i ends at base^i, so the wider one that ends at or after it.
        let index = ((index - 1) >> shift) + 1;
        match merged.last_mut() {
            Some((last, sum)) if *last == index => *sum = add(*sum, count),
            _ => merged.push((index, count)),
        }
    }
    dense(merged, 0)
}

#[cfg(test)]
mod tests {
    use super::super::ResetHint;
    use super::*;

    #[test]
    fn buckets_merge_into_those_that_contain_them() {
        let mut histogram = NativeHistogram {
            schema: 2,
            zero_threshold: 0.0,
            sum: 1.0,
            counts: HistogramCounts::Int {
                count: 22,
                zero_count: 0,
                // Counts 1, 3, 1 at 0..3; 2, 1, 1 at 5..8; 6 at 20; 7 at -3 on the other side.
                positive_deltas: vec![1, 2, -2, 1, -1, 0, 5],
                negative_deltas: vec![7],
            },
            positive_spans: vec![
                BucketSpan { offset: 0, length: 3 },
                BucketSpan { offset: 2, length: 3 },
                BucketSpan { offset: 12, length: 1 },
            ],
            negative_spans: vec![BucketSpan { offset: -3, length: 1 }],
            custom_values: vec![],
            reset_hint: ResetHint::No,
        };
        let mut float = histogram.to_float();
        assert_eq!(histogram.validate(), Ok(()));
        assert!(histogram.reduce_resolution(0));
        assert_eq!(histogram.validate(), Ok(()));
        // 0 → 0; 1, 2 → 1; 5, 6, 7 → 2; 20 → 5; -3 → 0.
        let HistogramCounts::Int { positive_deltas, negative_deltas, .. } = &histogram.counts else {
            panic!("integer counts stay integer")
        };
        assert_eq!(absolute(positive_deltas).collect::<Vec<_>>(), [1, 4, 4, 6]);
        assert_eq!(negative_deltas, &[7]);
        assert_eq!(
            histogram.positive_spans,
            [BucketSpan { offset: 0, length: 3 }, BucketSpan { offset: 2, length: 1 }]
        );
        assert_eq!(histogram.negative_spans, [BucketSpan { offset: 0, length: 1 }]);
        assert!(float.reduce_resolution(0));
        assert_eq!(float, histogram.to_float());
        assert!(!histogram.reduce_resolution(0) && !histogram.reduce_resolution(-5));
        assert!(histogram.limit_buckets(4) && histogram.schema == -1);
        assert!(!histogram.limit_buckets(0) && histogram.schema == -4);
    }
}

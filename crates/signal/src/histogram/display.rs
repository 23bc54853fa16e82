//! A native histogram as text, in the notation of Prometheus' expression browser:
//! `{count:7, sum:9.5, [-2,-1):1, [-0.001,0.001]:2, (1,2]:4}`, buckets in order of their bounds, empty ones left out.

use std::fmt;

use super::{BucketSpan, HistogramCounts, NativeHistogram};
use crate::exposition::write_value;

impl fmt::Display for NativeHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let float = self.to_float();
        let HistogramCounts::Float { count, zero_count, positive_counts, negative_counts } = &float.counts
        else {
            unreachable!("made of floats");
        };
        let mut out = String::from("{count:");
        write_value(*count, &mut out);
        out.push_str(", sum:");
        write_value(self.sum, &mut out);
        let negative: Vec<_> = buckets(&self.negative_spans, negative_counts).collect();
        for (index, count) in negative.into_iter().rev() {
            let (lower, upper) = self.bounds(index);
            bucket('[', -upper, -lower, ')', count, &mut out);
        }
        if *zero_count != 0.0 {
            bucket('[', -self.zero_threshold, self.zero_threshold, ']', *zero_count, &mut out);
        }
        for (index, count) in buckets(&self.positive_spans, positive_counts) {
            let (lower, upper) = self.bounds(index);
            bucket('(', lower, upper, ']', count, &mut out);
        }
        out.push('}');
        f.write_str(&out)
    }
}

impl NativeHistogram {
    /// The bounds of a positive bucket: 2^((index - 1) / 2^schema) and 2^(index / 2^schema), or the custom ones.
    fn bounds(&self, index: i32) -> (f64, f64) {
        if self.has_custom_buckets() {
            let at =
                |i: Option<i32>| i.and_then(|i| self.custom_values.get(usize::try_from(i).ok()?)).copied();
            let lower = at(index.checked_sub(1)).unwrap_or(f64::NEG_INFINITY);
            return (lower, at(Some(index)).unwrap_or(f64::INFINITY));
        }
        let bound = |index: f64| (index * f64::from(-self.schema).exp2()).exp2();
        (bound(f64::from(index) - 1.0), bound(f64::from(index)))
    }
}

/// Index and count of each bucket that is not empty.
fn buckets<'h>(spans: &'h [BucketSpan], counts: &'h [f64]) -> impl Iterator<Item = (i32, f64)> + 'h {
    let mut next = 0_i32;
    let indexes = spans.iter().flat_map(move |span| {
        let first = next.saturating_add(span.offset);
        next = first.saturating_add_unsigned(span.length);
        first..next
    });
    indexes.zip(counts.iter().copied()).filter(|(_, count)| *count != 0.0)
}

fn bucket(open: char, lower: f64, upper: f64, close: char, count: f64, out: &mut String) {
    out.push_str(", ");
    out.push(open);
    write_value(lower, out);
    out.push(',');
    write_value(upper, out);
    out.push(close);
    out.push(':');
    write_value(count, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::{CUSTOM_BUCKETS, ResetHint};

    fn spans(spans: &[(i32, u32)]) -> Vec<BucketSpan> {
        spans.iter().map(|(offset, length)| BucketSpan { offset: *offset, length: *length }).collect()
    }

    #[test]
    fn buckets_stand_in_order_of_their_bounds_and_empty_ones_are_left_out() {
        let histogram = NativeHistogram {
            schema: 0,
            zero_threshold: 0.001,
            sum: 9.5,
            counts: HistogramCounts::Int {
                count: 12,
                zero_count: 2,
                positive_deltas: vec![4, -4, 1],
                negative_deltas: vec![1, 2],
            },
            positive_spans: spans(&[(1, 2), (1, 1)]),
            negative_spans: spans(&[(1, 2)]),
            custom_values: Vec::new(),
            reset_hint: ResetHint::Unknown,
        };
        let text = "{count:12, sum:9.5, [-4,-2):3, [-2,-1):1, [-0.001,0.001]:2, (1,2]:4, (8,16]:1}";
        assert_eq!(histogram.to_string(), text);
        assert_eq!(histogram.to_float().to_string(), text);
        // Twice as fine: factors of the square root of two.
        let finer = NativeHistogram { schema: 1, positive_spans: spans(&[(2, 3)]), ..histogram };
        assert!(finer.to_string().contains("(1.4142135623730951,2]:4, (2.8284271247461903,4]:1"), "{finer}");
    }

    #[test]
    fn custom_buckets_have_their_own_bounds() {
        let histogram = NativeHistogram {
            schema: CUSTOM_BUCKETS,
            counts: HistogramCounts::Float {
                count: 3.5,
                zero_count: 0.0,
                positive_counts: vec![1.0, 2.0, 0.5],
                negative_counts: Vec::new(),
            },
            positive_spans: spans(&[(0, 3)]),
            custom_values: vec![0.5, 1.0],
            sum: 3.0,
            ..NativeHistogram::stale()
        };
        assert_eq!(histogram.to_string(), "{count:3.5, sum:3, (-Inf,0.5]:1, (0.5,1]:2, (1,+Inf]:0.5}");
    }

    #[test]
    fn a_histogram_without_buckets_has_count_and_sum() {
        assert_eq!(NativeHistogram::stale().to_string(), "{count:0, sum:NaN}");
    }
}

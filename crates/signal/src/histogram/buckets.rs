//! Buckets between their two forms: counts with indexes, and spans with dense counts.

use super::BucketSpan;

/// Absolute counts of integer buckets, which are held as differences. Wraps where the sender's do not fit.
pub(super) fn absolute(deltas: &[i64]) -> impl Iterator<Item = i64> {
    deltas.iter().scan(0_i64, |count, delta| {
        *count = count.wrapping_add(*delta);
        Some(*count)
    })
}

/// Each count as the difference to the one before.
pub(super) fn deltas(counts: &[i64]) -> Vec<i64> {
    let mut last = 0;
    counts
        .iter()
        .map(|count| {
            let delta = count.wrapping_sub(last);
            last = *count;
            delta
        })
        .collect()
}

/// A count without fraction and within the exact range of a float.
pub(super) fn whole(count: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    ((0.0..=EXACT).contains(&count) && count.fract() == 0.0).then_some(count as i64)
}

/// Index of every bucket that spans describe. Wide enough for any offsets that a sender can write.
pub(super) fn indexes(spans: &[BucketSpan]) -> impl Iterator<Item = i64> {
    let mut next = 0_i64;
    spans.iter().flat_map(move |span| {
        let first = next + i64::from(span.offset);
        next = first + i64::from(span.length);
        first..next
    })
}

/// Spans and dense counts of buckets in order of their indexes. Gaps of at most `fill` become empty buckets.
pub(super) fn dense<C: Copy + Default>(
    buckets: impl IntoIterator<Item = (i64, C)>,
    fill: i64,
) -> (Vec<BucketSpan>, Vec<C>) {
    let (mut spans, mut counts): (Vec<BucketSpan>, Vec<C>) = (Vec::new(), Vec::new());
    let mut next = 0;
    for (index, count) in buckets {
        let gap = index - next;
        match spans.last_mut() {
            Some(span) if gap <= fill => {
                span.length += gap as u32 + 1;
                counts.resize(counts.len() + gap as usize, C::default());
            }
            _ => spans.push(BucketSpan { offset: i32::try_from(gap).unwrap_or(i32::MAX), length: 1 }),
        }
        counts.push(count);
        next = index + 1;
    }
    (spans, counts)
}

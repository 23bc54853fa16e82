//! Native histograms between `prompb.Histogram` (the same message in remote write 1 and 2), the checks that
//! Prometheus makes before it stores one, and the compact form that it keeps.

use signal::NativeHistogram;
use signal::histogram::{BucketSpan, HistogramCounts, ResetHint};

use crate::proto::{self, Field, push_f64_field, push_message_field, push_varint, push_varint_field, zigzag};

/// Schema number of histograms with custom buckets.
const CUSTOM_BUCKETS: i32 = -53;

/// A histogram as it comes off the wire: both kinds of counts, whichever were sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct WireHistogram {
    pub count_int: u64,
    pub count_float: Option<f64>,
    pub sum: f64,
    pub schema: i32,
    pub zero_threshold: f64,
    pub zero_count_int: u64,
    pub zero_count_float: f64,
    pub negative_spans: Vec<BucketSpan>,
    pub negative_deltas: Vec<i64>,
    pub negative_counts: Vec<f64>,
    pub positive_spans: Vec<BucketSpan>,
    pub positive_deltas: Vec<i64>,
    pub positive_counts: Vec<f64>,
    pub reset_hint: ResetHint,
    pub timestamp_ms: i64,
    pub custom_values: Vec<f64>,
    pub start_ms: i64,
}

impl WireHistogram {
    /// Reads a `Histogram` message of remote write 1 or 2.
    pub(crate) fn decode(message: &[u8]) -> Result<Self, proto::Error> {
        let mut h = Self::default();
        let mut reader = proto::Reader::new(message);
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => h.count_int = field.u64()?,
                2 => h.count_float = Some(field.f64()?),
                3 => h.sum = field.f64()?,
                4 => h.schema = field.s32()?,
                5 => h.zero_threshold = field.f64()?,
                6 => h.zero_count_int = field.u64()?,
                7 => h.zero_count_float = field.f64()?,
                8 => h.negative_spans.push(span(field)?),
                9 => field.each_varint(|v| h.negative_deltas.push(proto::unzigzag(v)))?,
                10 => field.each_f64(|v| h.negative_counts.push(v))?,
                11 => h.positive_spans.push(span(field)?),
                12 => field.each_varint(|v| h.positive_deltas.push(proto::unzigzag(v)))?,
                13 => field.each_f64(|v| h.positive_counts.push(v))?,
                14 => h.reset_hint = reset_hint(field.u32()?),
                15 => h.timestamp_ms = field.i64()?,
                16 => field.each_f64(|v| h.custom_values.push(v))?,
                17 => h.start_ms = field.i64()?,
                _ => {}
            }
        }
        Ok(h)
    }

    /// The histogram; a float one if a float count was sent.
    pub(crate) fn into_native(self) -> NativeHistogram {
        let counts = match self.count_float {
            Some(count) => HistogramCounts::Float {
                count,
                zero_count: self.zero_count_float,
                positive_counts: self.positive_counts,
                negative_counts: self.negative_counts,
            },
            None => HistogramCounts::Int {
                count: self.count_int,
                zero_count: self.zero_count_int,
                positive_deltas: self.positive_deltas,
                negative_deltas: self.negative_deltas,
            },
        };
        NativeHistogram {
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            sum: self.sum,
            counts,
            positive_spans: self.positive_spans,
            negative_spans: self.negative_spans,
            custom_values: self.custom_values,
            reset_hint: self.reset_hint,
        }
    }
}

/// Reads a `BucketSpan`, which is the same message wherever it occurs.
pub(crate) fn span(field: Field<'_>) -> Result<BucketSpan, proto::Error> {
    let mut span = BucketSpan { offset: 0, length: 0 };
    let mut reader = field.message()?;
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => span.offset = field.s32()?,
            2 => span.length = field.u32()?,
            _ => {}
        }
    }
    Ok(span)
}

fn reset_hint(value: u32) -> ResetHint {
    match value {
        1 => ResetHint::Yes,
        2 => ResetHint::No,
        3 => ResetHint::Gauge,
        _ => ResetHint::Unknown,
    }
}

/// Appends the fields of a `Histogram` message of remote write. `start_ms` is field 17 of version 2 only:
/// 0 leaves it out.
pub(crate) fn write(h: &NativeHistogram, timestamp_ms: i64, start_ms: i64, out: &mut Vec<u8>) {
    match &h.counts {
        HistogramCounts::Int { count, zero_count, positive_deltas, negative_deltas } => {
            // Members of a oneof are written also where they are zero: they say which kind it is.
            push_varint_field(out, 1, *count);
            push_middle(h, out);
            push_varint_field(out, 6, *zero_count);
            push_spans(out, 8, &h.negative_spans);
            push_deltas(out, 9, negative_deltas);
            push_spans(out, 11, &h.positive_spans);
            push_deltas(out, 12, positive_deltas);
        }
        HistogramCounts::Float { count, zero_count, positive_counts, negative_counts } => {
            push_f64_always(out, 2, *count);
            push_middle(h, out);
            push_f64_always(out, 7, *zero_count);
            push_spans(out, 8, &h.negative_spans);
            push_doubles(out, 10, negative_counts);
            push_spans(out, 11, &h.positive_spans);
            push_doubles(out, 13, positive_counts);
        }
    }
    for (field, value) in [(14, h.reset_hint as u64), (15, timestamp_ms as u64)] {
        if value != 0 {
            push_varint_field(out, field, value);
        }
    }
    push_doubles(out, 16, &h.custom_values);
    if start_ms != 0 {
        push_varint_field(out, 17, start_ms as u64);
    }
}

fn push_middle(h: &NativeHistogram, out: &mut Vec<u8>) {
    push_f64_field(out, 3, h.sum);
    if h.schema != 0 {
        push_varint_field(out, 4, zigzag(i64::from(h.schema)));
    }
    push_f64_field(out, 5, h.zero_threshold);
}

fn push_f64_always(out: &mut Vec<u8>, field: u32, value: f64) {
    push_varint(out, u64::from(field) << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

fn push_spans(out: &mut Vec<u8>, field: u32, spans: &[BucketSpan]) {
    for span in spans {
        push_message_field(out, field, |out| {
            if span.offset != 0 {
                push_varint_field(out, 1, zigzag(i64::from(span.offset)));
            }
            if span.length != 0 {
                push_varint_field(out, 2, u64::from(span.length));
            }
        });
    }
}

fn push_deltas(out: &mut Vec<u8>, field: u32, deltas: &[i64]) {
    if !deltas.is_empty() {
        push_message_field(out, field, |out| deltas.iter().for_each(|d| push_varint(out, zigzag(*d))));
    }
}

fn push_doubles(out: &mut Vec<u8>, field: u32, values: &[f64]) {
    if !values.is_empty() {
        push_varint(out, u64::from(field) << 3 | 2);
        push_varint(out, values.len() as u64 * 8);
        values.iter().for_each(|v| out.extend_from_slice(&v.to_le_bytes()));
    }
}

/// Checks what Prometheus checks before it stores a histogram (model/histogram: `Validate`), and says what
/// is wrong.
pub(crate) fn validate(h: &NativeHistogram) -> Result<(), String> {
    let (positive, negative, zero_count_is_zero) = match &h.counts {
        HistogramCounts::Int { positive_deltas, negative_deltas, zero_count, .. } => {
            (positive_deltas.len(), negative_deltas.len(), *zero_count == 0)
        }
        HistogramCounts::Float { positive_counts, negative_counts, zero_count, .. } => {
            (positive_counts.len(), negative_counts.len(), *zero_count == 0.0)
        }
    };
    check_spans("positive", &h.positive_spans, positive)?;
    check_spans("negative", &h.negative_spans, negative)?;
    if h.schema == CUSTOM_BUCKETS {
        if negative > 0 || !h.negative_spans.is_empty() || !zero_count_is_zero || h.zero_threshold != 0.0 {
            return Err("a histogram with custom buckets has no negative and no zero buckets".to_owned());
        }
        check_custom(h)?;
    } else if !(-4..=8).contains(&h.schema) {
        return Err(format!("schema {} is neither -53 nor between -4 and 8", h.schema));
    } else if !h.custom_values.is_empty() {
        return Err("a histogram with an exponential schema has no custom bounds".to_owned());
    }
    check_counts(h)
}

fn check_spans(side: &str, spans: &[BucketSpan], buckets: usize) -> Result<(), String> {
    if let Some(span) = spans.iter().skip(1).find(|s| s.offset < 0) {
        return Err(format!("a {side} span that is not the first has the negative offset {}", span.offset));
    }
    let wanted: u64 = spans.iter().map(|s| u64::from(s.length)).sum();
    if wanted != buckets as u64 {
        return Err(format!("the {side} spans are for {wanted} buckets, {buckets} are given"));
    }
    Ok(())
}

fn check_custom(h: &NativeHistogram) -> Result<(), String> {
    let sorted = h.custom_values.windows(2).all(|w| w[0] < w[1]);
    if !sorted || h.custom_values.iter().any(|b| b.is_nan() || *b == f64::INFINITY) {
        return Err("custom bounds must rise and leave out +Inf".to_owned());
    }
    if h.positive_spans.first().is_some_and(|s| s.offset < 0) {
        return Err("the first span of custom buckets has a negative offset".to_owned());
    }
    let reach: i64 = h.positive_spans.iter().map(|s| i64::from(s.offset) + i64::from(s.length)).sum();
    if reach > h.custom_values.len() as i64 + 1 {
        return Err(format!(
            "the spans reach bucket {reach}, the {} custom bounds do not",
            h.custom_values.len()
        ));
    }
    Ok(())
}

fn check_counts(h: &NativeHistogram) -> Result<(), String> {
    match &h.counts {
        HistogramCounts::Int { count, zero_count, positive_deltas, negative_deltas } => {
            let mut total = u128::from(*zero_count);
            for deltas in [positive_deltas, negative_deltas] {
                let mut bucket = 0i64;
                for delta in deltas {
                    bucket = bucket
                        .checked_add(*delta)
                        .filter(|b| *b >= 0)
                        .ok_or("a bucket has a negative count")?;
                    total += bucket.unsigned_abs() as u128;
                }
            }
            // NaN observations are counted and fall into no bucket.
            let fits = if h.sum.is_nan() { total <= u128::from(*count) } else { total == u128::from(*count) };
            if fits {
                Ok(())
            } else {
                Err(format!("the buckets hold {total} observations, the count says {count}"))
            }
        }
        HistogramCounts::Float { count, zero_count, positive_counts, negative_counts } => {
            let negative = |v: &f64| *v < 0.0 || v.is_nan();
            if negative(count) && !signal::samples::is_stale(h.sum)
                || negative(zero_count)
                || positive_counts.iter().chain(negative_counts).any(negative)
            {
                return Err("a count is negative or not a number".to_owned());
            }
            Ok(())
        }
    }
}

/// Removes empty buckets and joins neighbouring spans. As prometheus/model/histogram: `Compact(0)`.
pub(crate) fn compact(h: &mut NativeHistogram) {
    match &mut h.counts {
        HistogramCounts::Int { positive_deltas, negative_deltas, .. } => {
            compact_deltas(&mut h.positive_spans, positive_deltas);
            compact_deltas(&mut h.negative_spans, negative_deltas);
        }
        HistogramCounts::Float { positive_counts, negative_counts, .. } => {
            compact_counts(&mut h.positive_spans, positive_counts);
            compact_counts(&mut h.negative_spans, negative_counts);
        }
    }
}

fn compact_deltas(spans: &mut Vec<BucketSpan>, deltas: &mut Vec<i64>) {
    let mut counts: Vec<i64> = Vec::with_capacity(deltas.len());
    for delta in deltas.iter() {
        counts.push(counts.last().copied().unwrap_or(0).wrapping_add(*delta));
    }
    if compact_side(spans, &mut counts, |c| *c == 0) {
        let mut last = 0i64;
        *deltas = counts.into_iter().map(|c| c.wrapping_sub(std::mem::replace(&mut last, c))).collect();
    }
}

fn compact_counts(spans: &mut Vec<BucketSpan>, counts: &mut Vec<f64>) {
    compact_side(spans, counts, |c| *c == 0.0);
}

/// Works on absolute counts, which must be as many as the spans say. Returns whether anything changed.
fn compact_side<T: Copy>(
    spans: &mut Vec<BucketSpan>,
    counts: &mut Vec<T>,
    empty: impl Fn(&T) -> bool,
) -> bool {
    let joined = spans.iter().enumerate().all(|(i, s)| s.length > 0 && (i == 0 || s.offset > 0));
    if joined && !counts.iter().any(&empty) {
        return false;
    }
    let mut kept: Vec<BucketSpan> = Vec::with_capacity(spans.len());
    let (mut index, mut end) = (0i64, 0i64);
    let mut source = std::mem::take(counts).into_iter();
    for span in spans.iter() {
        index += i64::from(span.offset);
        for count in source.by_ref().take(span.length as usize) {
            if !empty(&count) {
                match kept.last_mut().filter(|_| index == end) {
                    Some(last) => last.length += 1,
                    None => kept.push(BucketSpan { offset: (index - end) as i32, length: 1 }),
                }
                end = index + 1;
                counts.push(count);
            }
            index += 1;
        }
    }
    *spans = kept;
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(list: &[(i32, u32)]) -> Vec<BucketSpan> {
        list.iter().map(|(offset, length)| BucketSpan { offset: *offset, length: *length }).collect()
    }

    fn int(positive: &[(i32, u32)], deltas: &[i64], count: u64) -> NativeHistogram {
        NativeHistogram {
            schema: 3,
            zero_threshold: 1e-128,
            sum: 1.5,
            counts: HistogramCounts::Int {
                count,
                zero_count: 0,
                positive_deltas: deltas.to_vec(),
                negative_deltas: Vec::new(),
            },
            positive_spans: spans(positive),
            negative_spans: Vec::new(),
            custom_values: Vec::new(),
            reset_hint: ResetHint::Unknown,
        }
    }

    #[test]
    fn empty_buckets_and_touching_spans_go_away() {
        type Side<'a> = (&'a [(i32, u32)], &'a [i64]);
        let cases: &[(Side<'_>, Side<'_>)] = &[
            ((&[(-2, 3), (2, 1)], &[1, 1, 1, -2]), (&[(-2, 3), (2, 1)], &[1, 1, 1, -2])),
            ((&[(0, 2), (0, 1)], &[1, 0, 0]), (&[(0, 3)], &[1, 0, 0])),
            ((&[(5, 4)], &[0, 2, -2, 3]), (&[(6, 1), (1, 1)], &[2, 1])),
            ((&[(-3, 1), (1, 2), (0, 0)], &[4, -4, 1]), (&[(-3, 1), (2, 1)], &[4, -3])),
            ((&[(0, 0)], &[]), (&[], &[])),
            ((&[(1, 2)], &[0, 0]), (&[], &[])),
        ];
        for ((before, deltas), (after, left)) in cases {
            let mut h = int(before, deltas, 0);
            compact(&mut h);
            let expected = int(after, left, 0);
            assert_eq!(h, expected, "{before:?} {deltas:?}");
        }
    }

    #[test]
    fn histograms_that_prometheus_would_refuse_are_refused() {
        let good = int(&[(0, 2), (1, 1)], &[1, 1, -1], 4);
        assert_eq!(validate(&good), Ok(()));
        let mut nan_sum = int(&[(0, 1)], &[1], 3);
        nan_sum.sum = f64::NAN;
        assert_eq!(validate(&nan_sum), Ok(()));
        let custom = NativeHistogram {
            schema: -53,
            zero_threshold: 0.0,
            custom_values: vec![1.0, 2.0],
            ..int(&[(1, 2)], &[1, 0], 2)
        };
        assert_eq!(validate(&custom), Ok(()));
        let bad: &[(NativeHistogram, &str)] = &[
            (int(&[(0, 2)], &[1], 1), "for 2 buckets"),
            (int(&[(0, u32::MAX), (0, u32::MAX)], &[1], 1), "for 8589934590 buckets"),
            (int(&[(0, 1), (-1, 1)], &[1, 0], 2), "negative offset"),
            (int(&[(0, 2)], &[1, -2], 0), "negative count"),
            (int(&[(0, 2)], &[i64::MAX, 1], 0), "negative count"),
            (int(&[(0, 1)], &[1], 5), "the count says 5"),
            (NativeHistogram { schema: 9, ..good.clone() }, "schema 9"),
            (NativeHistogram { custom_values: vec![1.0], ..good.clone() }, "no custom bounds"),
            (NativeHistogram { custom_values: vec![2.0, 1.0], ..custom.clone() }, "must rise"),
            (NativeHistogram { custom_values: vec![1.0, f64::INFINITY], ..custom.clone() }, "+Inf"),
            (NativeHistogram { custom_values: vec![1.0], ..custom.clone() }, "reach bucket 3"),
            (NativeHistogram { zero_threshold: 1.0, ..custom }, "no zero buckets"),
        ];
        for (h, message) in bad {
            let error = validate(h).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut h = int(&[(-4, 2), (3, 1)], &[5, -2, 100], 111);
        h.reset_hint = ResetHint::No;
        let float = NativeHistogram {
            counts: HistogramCounts::Float {
                count: 0.0,
                zero_count: 0.0,
                positive_counts: vec![1.5, 2.5, 0.5],
                negative_counts: vec![1.0],
            },
            negative_spans: spans(&[(7, 1)]),
            ..h.clone()
        };
        for h in [h, float] {
            let mut out = Vec::new();
            write(&h, -5, 7, &mut out);
            let read = WireHistogram::decode(&out).unwrap();
            assert_eq!((read.timestamp_ms, read.start_ms), (-5, 7));
            assert_eq!(read.into_native(), h);
        }
    }
}

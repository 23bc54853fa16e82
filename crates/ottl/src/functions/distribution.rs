//! What lies in the buckets of a histogram: percentiles, and exponential buckets put into explicit ones.

use signal::otlp::proto::metrics::v1::exponential_histogram_data_point::Buckets;
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::metrics::v1::number_data_point::Value as Number;
use signal::otlp::proto::metrics::v1::{
    ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, NumberDataPoint,
};

use super::Takes::{Double, Fixed, Str};
use super::editors::one_of;
use super::metrics::{BOUNDS, derived, env, metric_of, numbers};
use super::{Args, Function, optional, param};
use crate::context::{Context, Item};
use crate::error::EvalError;
use crate::value::{Value, double};

pub(super) const TABLE: &[Function] = &[
    Function::edit(
        "convert_exponential_histogram_to_histogram",
        &[param("distribution", Fixed), BOUNDS],
        to_explicit,
    )
    .only(&[Context::Metric])
    .prepared(|args| {
        one_of(args, 0, &["upper", "midpoint", "uniform", "random"])?;
        if args.is_empty_list(1) { Err("the list of bounds is empty".into()) } else { Ok(()) }
    }),
    Function::edit(
        "extract_percentile_metric",
        &[param("percentile", Double), optional("suffix", Str)],
        extract_percentile,
    )
    .only(&[Context::Metric])
    .prepared(|args| {
        let percentile = match args.literal(0) {
            Some(Value::Double(v)) => *v,
            Some(Value::Int(v)) => *v as f64,
            _ => return Ok(()),
        };
        match percentile > 0.0 && percentile < 100.0 {
            true => Ok(()),
            false => Err("a percentile lies between 0 and 100".into()),
        }
    }),
];

/// The bounds of exponential bucket number `at`.
fn bounds(scale: i32, at: i64) -> (f64, f64) {
    let factor = std::f64::consts::LN_2 * 2f64.powi(-scale);
    let bound = |at: i64| (at as f64 * factor).exp();
    (bound(at), bound(at + 1))
}

/// Each filled bucket as lower bound, upper bound and count, from the smallest value to the largest.
fn ranges(point: &ExponentialHistogramDataPoint) -> Vec<(f64, f64, u64)> {
    let side = |buckets: Option<&Buckets>| -> Vec<(f64, f64, u64)> {
        let Some(buckets) = buckets else { return Vec::new() };
        let filled = buckets.bucket_counts.iter().enumerate().filter(|(_, count)| **count > 0);
        filled
            .map(|(at, count)| {
                let (lower, upper) = bounds(point.scale, i64::from(buckets.offset) + at as i64);
                (lower, upper, *count)
            })
            .collect()
    };
    let mut all: Vec<_> =
        side(point.negative.as_ref()).into_iter().rev().map(|(l, u, n)| (-u, -l, n)).collect();
    if point.zero_count > 0 {
        all.push((-point.zero_threshold, point.zero_threshold, point.zero_count));
    }
    all.extend(side(point.positive.as_ref()));
    all
}

/// The bucket of a value: bounds are upper ones, the last bucket has none.
fn bucket_of(bounds: &[f64], value: f64) -> usize {
    bounds.iter().position(|bound| value <= *bound).unwrap_or(bounds.len())
}

fn to_explicit(args: &Args, item: &mut Item<'_>) -> Result<(), EvalError> {
    let explicit_bounds = numbers(args, 1, &env(item))?;
    if explicit_bounds.is_empty() || !explicit_bounds.windows(2).all(|pair| pair[0] < pair[1]) {
        return Err(EvalError::new("the bounds have to be there and to rise"));
    }
    let distribution = args.fixed(0).unwrap_or("random");
    let Some((metric, _)) = metric_of(item) else { return Ok(()) };
    let Some(Data::ExponentialHistogram(old)) = &mut metric.data else { return Ok(()) };
    let convert = |point: ExponentialHistogramDataPoint| {
        let mut counts = vec![0u64; explicit_bounds.len() + 1];
        for range in ranges(&point) {
            distribute(distribution, &explicit_bounds, range, &mut counts);
        }
        HistogramDataPoint {
            attributes: point.attributes,
            start_time_unix_nano: point.start_time_unix_nano,
            time_unix_nano: point.time_unix_nano,
            count: point.count,
            sum: point.sum,
            bucket_counts: counts,
            explicit_bounds: explicit_bounds.clone(),
            exemplars: point.exemplars,
            flags: point.flags,
            min: point.min,
            max: point.max,
        }
    };
    metric.data = Some(Data::Histogram(Histogram {
        data_points: std::mem::take(&mut old.data_points).into_iter().map(convert).collect(),
        aggregation_temporality: old.aggregation_temporality,
    }));
    Ok(())
}

/// Puts the values of one exponential bucket into the explicit ones.
fn distribute(
    distribution: &str,
    bounds: &[f64],
    (lower, upper, count): (f64, f64, u64),
    counts: &mut [u64],
) {
    let within: Vec<usize> = (0..bounds.len()).filter(|at| (lower..=upper).contains(&bounds[*at])).collect();
    match distribution {
        "midpoint" => counts[bucket_of(bounds, f64::midpoint(lower, upper))] += count,
        "uniform" if !within.is_empty() => {
            let share = count / within.len() as u64;
            let rest = usize::try_from(count % within.len() as u64).unwrap_or_default();
            for (number, at) in within.into_iter().enumerate() {
                counts[at] += share + u64::from(number < rest);
            }
        }
        "random" if !within.is_empty() => {
            // Each value falls somewhere between the bounds of its bucket; so many at once as they are alike.
            let mut left = count;
            for _ in 0..count.min(1_000) {
                let value = lower + fastrand::f64() * (upper - lower);
                let share = (count / 1_000).max(1).min(left);
                counts[bucket_of(bounds, value)] += share;
                left -= share;
            }
            counts[within[fastrand::usize(..within.len())]] += left;
        }
        _ => counts[bucket_of(bounds, upper)] += count,
    }
}

fn extract_percentile(args: &Args, item: &mut Item<'_>) -> Result<(), EvalError> {
    let (percentile, suffix) = {
        let env = env(item);
        let percentile = args.double(0, &env)?;
        let suffix = match args.is_absent(1) {
            true => format!("_p{}", double(percentile)),
            false => args.str(1, &env)?.into_owned(),
        };
        (percentile, suffix)
    };
    if !(percentile > 0.0 && percentile < 100.0) {
        return Err(EvalError::new("a percentile lies between 0 and 100"));
    }
    let Some((metric, added)) = metric_of(item) else { return Ok(()) };
    macro_rules! gauge {
        ($points:expr, $read:ident) => {
            $points
                .iter()
                .filter_map(|p| {
                    Some(NumberDataPoint {
                        attributes: p.attributes.clone(),
                        start_time_unix_nano: p.start_time_unix_nano,
                        time_unix_nano: p.time_unix_nano,
                        value: Some(Number::AsDouble($read(p, percentile / 100.0)?)),
                        ..NumberDataPoint::default()
                    })
                })
                .collect()
        };
    }
    let data_points: Vec<NumberDataPoint> = match &metric.data {
        Some(Data::Histogram(d)) => gauge!(d.data_points, explicit_quantile),
        Some(Data::ExponentialHistogram(d)) => gauge!(d.data_points, exponential_quantile),
        _ => return Err(EvalError::new("the metric is no histogram")),
    };
    if !data_points.is_empty() {
        added.push(derived(metric, &suffix, &metric.unit, Data::Gauge(Gauge { data_points })));
    }
    Ok(())
}

/// The bucket that holds a quantile, and how far into it the quantile lies.
fn locate(counts: impl Iterator<Item = u64>, total: u64, quantile: f64) -> Option<(usize, f64)> {
    let rank = quantile * total as f64;
    let mut below = 0u64;
    let mut last = None;
    for (at, count) in counts.enumerate() {
        if count == 0 {
            continue;
        }
        if (below + count) as f64 >= rank {
            return Some((at, ((rank - below as f64) / count as f64).clamp(0.0, 1.0)));
        }
        below += count;
        last = Some((at, 1.0));
    }
    last
}

fn explicit_quantile(point: &HistogramDataPoint, quantile: f64) -> Option<f64> {
    let total = point.bucket_counts.iter().sum();
    let (at, share) = locate(point.bucket_counts.iter().copied(), total, quantile)?;
    let bound = |at: usize| point.explicit_bounds.get(at).copied();
    let upper = bound(at);
    let lower = match at.checked_sub(1).and_then(bound) {
        Some(lower) => lower,
        // Nothing is known below the first bound; what is not negative begins with zero.
        None => point.min.or_else(|| upper.map(|upper| if upper >= 0.0 { 0.0 } else { upper }))?,
    };
    let upper = upper.or(point.max).unwrap_or(lower);
    Some(lower + (upper - lower) * share)
}

fn exponential_quantile(point: &ExponentialHistogramDataPoint, quantile: f64) -> Option<f64> {
    let ranges = ranges(point);
    let total = ranges.iter().map(|(.., count)| count).sum();
    let (at, share) = locate(ranges.iter().map(|(.., count)| *count), total, quantile)?;
    let (lower, upper, _) = ranges[at];
    Some(match (lower > 0.0, upper < 0.0) {
        (true, _) => lower * (upper / lower).powf(share),
        (_, true) => -(-lower * (upper / lower).powf(share)),
        _ => lower + (upper - lower) * share,
    })
}

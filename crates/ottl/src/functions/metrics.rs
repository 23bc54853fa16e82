//! The transform processor's functions of metrics: other types, new metrics from old ones, other buckets.

use signal::otlp::proto::common::v1::any_value::Value as Proto;
use signal::otlp::proto::metrics::v1::exemplar::Value as ExemplarNumber;
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::metrics::v1::number_data_point::Value as Number;
use signal::otlp::proto::metrics::v1::{
    AggregationTemporality, Exemplar, Gauge, HistogramDataPoint, Metric, NumberDataPoint, Sum,
};

use super::Takes::{Bool, Double, Fixed, Str, Values};
use super::editors::one_of;
use super::{Args, Function, optional, param};
use crate::context::{Context, Item, RecordMut};
use crate::error::EvalError;
use crate::expr::Env;
use crate::value::{Value, any, put};

const METRIC: &[Context] = &[Context::Metric];
/// Older versions had these in the context of data points.
const BOTH: &[Context] = &[Context::Metric, Context::DataPoint];
const TEMPORALITY: [&str; 2] = ["cumulative", "delta"];

pub(super) const TABLE: &[Function] = &[
    Function::edit(
        "convert_gauge_to_sum",
        &[param("aggregation_temporality", Fixed), param("is_monotonic", Bool)],
        gauge_to_sum,
    )
    .only(BOTH)
    .prepared(|args| one_of(args, 0, &TEMPORALITY)),
    Function::edit("convert_sum_to_gauge", &[], sum_to_gauge).only(BOTH),
    Function::edit(
        "convert_summary_count_val_to_sum",
        &[param("aggregation_temporality", Fixed), param("is_monotonic", Bool), optional("suffix", Str)],
        |args, item| summary_to_sum(args, item, "_count", |p| Number::AsInt(p.count as i64)),
    )
    .only(BOTH)
    .prepared(|args| one_of(args, 0, &TEMPORALITY)),
    Function::edit(
        "convert_summary_quantile_val_to_gauge",
        &[optional("attribute_key", Str), optional("suffix", Str)],
        quantiles_to_gauge,
    )
    .only(METRIC),
    Function::edit(
        "convert_summary_sum_val_to_sum",
        &[param("aggregation_temporality", Fixed), param("is_monotonic", Bool), optional("suffix", Str)],
        |args, item| summary_to_sum(args, item, "_sum", |p| Number::AsDouble(p.sum)),
    )
    .only(BOTH)
    .prepared(|args| one_of(args, 0, &TEMPORALITY)),
    Function::edit(
        "copy_metric",
        &[optional("name", Str), optional("description", Str), optional("unit", Str)],
        copy_metric,
    )
    .only(METRIC),
    Function::edit(
        "extract_count_metric",
        &[param("is_monotonic", Bool), optional("suffix", Str)],
        extract_count,
    )
    .only(METRIC),
    Function::edit(
        "extract_sum_metric",
        &[param("is_monotonic", Bool), optional("suffix", Str)],
        extract_sum,
    )
    .only(METRIC),
    Function::edit(
        "merge_histogram_buckets",
        &[param("target_value", Double), optional("method", Fixed)],
        merge_buckets,
    )
    .only(BOTH)
    .prepared(|args| {
        one_of(args, 1, &["remove_explicit_bound", "limit_buckets"])?;
        match (args.fixed(1), args.literal(0)) {
            (Some("limit_buckets"), Some(Value::Int(1..))) | (None | Some("remove_explicit_bound"), _) => {
                Ok(())
            }
            (_, None) => Ok(()),
            _ => Err("`limit_buckets` needs a positive int".into()),
        }
    }),
    Function::edit("scale_metric", &[param("factor", Double), optional("unit", Str)], scale_metric)
        .only(METRIC),
];

pub(super) fn env<'i>(item: &'i Item<'_>) -> Env<'i> {
    Env::of(item.view())
}

/// The metric, and where new ones go.
pub(super) fn metric_of<'i>(item: &'i mut Item<'_>) -> Option<(&'i mut Metric, &'i mut Vec<Metric>)> {
    match &mut item.record {
        RecordMut::Metric(metric, added) | RecordMut::Point(metric, _, added) => Some((metric, added)),
        _ => None,
    }
}

fn temporality(args: &Args) -> i32 {
    match args.fixed(0) {
        Some("delta") => AggregationTemporality::Delta as i32,
        _ => AggregationTemporality::Cumulative as i32,
    }
}

fn sum_to_gauge(_: &Args, item: &mut Item<'_>) -> Result<(), EvalError> {
    if let Some((metric, _)) = metric_of(item)
        && let Some(Data::Sum(sum)) = &mut metric.data
    {
        metric.data = Some(Data::Gauge(Gauge { data_points: std::mem::take(&mut sum.data_points) }));
    }
    Ok(())
}

fn gauge_to_sum(args: &Args, item: &mut Item<'_>) -> Result<(), EvalError> {
    let is_monotonic = args.bool_or(1, &env(item), false)?;
    if let Some((metric, _)) = metric_of(item)
        && let Some(Data::Gauge(gauge)) = &mut metric.data
    {
        let data_points = std::mem::take(&mut gauge.data_points);
        let aggregation_temporality = temporality(args);
        metric.data = Some(Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic }));
    }
    Ok(())
}

/// The fields that points of all types have.
macro_rules! number_point {
    ($point:expr, $value:expr) => {
        NumberDataPoint {
            attributes: $point.attributes.clone(),
            start_time_unix_nano: $point.start_time_unix_nano,
            time_unix_nano: $point.time_unix_nano,
            flags: $point.flags,
            value: Some($value),
            exemplars: Vec::new(),
        }
    };
}

pub(super) fn derived(metric: &Metric, suffix: &str, unit: &str, data: Data) -> Metric {
    Metric {
        name: format!("{}{suffix}", metric.name),
        description: metric.description.clone(),
        unit: unit.to_owned(),
        data: Some(data),
        ..Metric::default()
    }
}

fn add_sum(
    item: &mut Item<'_>,
    suffix: &str,
    unit: &str,
    data_points: Vec<NumberDataPoint>,
    aggregation_temporality: i32,
    is_monotonic: bool,
) {
    if let Some((metric, added)) = metric_of(item)
        && !data_points.is_empty()
    {
        let data = Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic });
        added.push(derived(metric, suffix, unit, data));
    }
}

fn summary_to_sum(
    args: &Args,
    item: &mut Item<'_>,
    default: &str,
    read: fn(&signal::otlp::proto::metrics::v1::SummaryDataPoint) -> Number,
) -> Result<(), EvalError> {
    let (monotonic, suffix) = {
        let env = env(item);
        (args.bool_or(1, &env, false)?, args.str_or(2, &env, default)?.into_owned())
    };
    // For each data point once: those of a metric make one new metric.
    if matches!(item.record, RecordMut::Point(_, 1.., _)) {
        return Ok(());
    }
    let Some((metric, _)) = metric_of(item) else { return Ok(()) };
    let Some(Data::Summary(summary)) = &metric.data else { return Ok(()) };
    let points = summary.data_points.iter().map(|p| number_point!(p, read(p))).collect();
    let unit = metric.unit.clone();
    add_sum(item, &suffix, &unit, points, temporality(args), monotonic);
    Ok(())
}

fn quantiles_to_gauge(args: &Args, item: &mut Item<'_>) -> Result<(), EvalError> {
    let (key, suffix) = {
        let env = env(item);
        (args.str_or(0, &env, "quantile")?.into_owned(), args.str_or(1, &env, ".quantiles")?.into_owned())
    };
    let Some((metric, added)) = metric_of(item) else { return Ok(()) };
    let Some(Data::Summary(summary)) = &metric.data else { return Ok(()) };
    let mut data_points = Vec::new();
    for point in &summary.data_points {
        for quantile in &point.quantile_values {
            let mut new = number_point!(point, Number::AsDouble(quantile.value));
            put(&mut new.attributes, &key, any(Proto::DoubleValue(quantile.quantile)));
            data_points.push(new);
        }
    }
    if !data_points.is_empty() {
        added.push(derived(metric, &suffix, &metric.unit, Data::Gauge(Gauge { data_points })));
    }
    Ok(())
}

fn copy_metric(args: &Args, item: &mut Item<'_>) -> Result<(), EvalError> {
    let mut texts = [None, None, None];
    {
        let env = env(item);
        for (at, text) in texts.iter_mut().enumerate() {
            if !args.is_absent(at) {
                *text = Some(args.str(at, &env)?.into_owned());
            }
        }
    }
    let Some((metric, added)) = metric_of(item) else { return Ok(()) };
    let mut copy = metric.clone();
    let [name, description, unit] = texts;
    copy.name = name.unwrap_or(copy.name);
    copy.description = description.unwrap_or(copy.description);
    copy.unit = unit.unwrap_or(copy.unit);
    added.push(copy);
    Ok(())
}

/// Data points with their temporality.
type Extracted = (Vec<NumberDataPoint>, i32);

fn extract(
    args: &Args,
    item: &mut Item<'_>,
    default: &str,
    unit: fn(&Metric) -> &str,
    points: fn(&Data) -> Option<Extracted>,
) -> Result<(), EvalError> {
    let (monotonic, suffix) = {
        let env = env(item);
        (args.bool_or(0, &env, false)?, args.str_or(1, &env, default)?.into_owned())
    };
    let Some((metric, _)) = metric_of(item) else { return Ok(()) };
    let Some((found, temporality)) = metric.data.as_ref().and_then(points) else {
        return Err(EvalError::new("the metric is no histogram, exponential histogram or summary"));
    };
    let unit = unit(metric).to_owned();
    add_sum(item, &suffix, &unit, found, temporality, monotonic);
    Ok(())
}

fn extract_count(args: &Args, item: &mut Item<'_>) -> Result<(), EvalError> {
    extract(
        args,
        item,
        "_count",
        |_| "1",
        |data| {
            let count = |count: u64| Number::AsInt(count as i64);
            Some(match data {
                Data::Histogram(d) => (
                    d.data_points.iter().map(|p| number_point!(p, count(p.count))).collect(),
                    d.aggregation_temporality,
                ),
                Data::ExponentialHistogram(d) => (
                    d.data_points.iter().map(|p| number_point!(p, count(p.count))).collect(),
                    d.aggregation_temporality,
                ),
                Data::Summary(d) => (
                    d.data_points.iter().map(|p| number_point!(p, count(p.count))).collect(),
                    AggregationTemporality::Cumulative as i32,
                ),
                Data::Gauge(_) | Data::Sum(_) => return None,
            })
        },
    )
}

/// Points without a sum are left out.
fn extract_sum(args: &Args, item: &mut Item<'_>) -> Result<(), EvalError> {
    extract(
        args,
        item,
        "_sum",
        |metric| &metric.unit,
        |data| {
            let sum = Number::AsDouble;
            Some(match data {
                Data::Histogram(d) => (
                    d.data_points.iter().filter_map(|p| Some(number_point!(p, sum(p.sum?)))).collect(),
                    d.aggregation_temporality,
                ),
                Data::ExponentialHistogram(d) => (
                    d.data_points.iter().filter_map(|p| Some(number_point!(p, sum(p.sum?)))).collect(),
                    d.aggregation_temporality,
                ),
                Data::Summary(d) => (
                    d.data_points.iter().map(|p| number_point!(p, sum(p.sum))).collect(),
                    AggregationTemporality::Cumulative as i32,
                ),
                Data::Gauge(_) | Data::Sum(_) => return None,
            })
        },
    )
}

fn scale_exemplars(exemplars: &mut [Exemplar], factor: f64) {
    for exemplar in exemplars {
        exemplar.value = exemplar.value.take().map(|value| match value {
            ExemplarNumber::AsDouble(v) => ExemplarNumber::AsDouble(v * factor),
            ExemplarNumber::AsInt(v) => ExemplarNumber::AsDouble(v as f64 * factor),
        });
    }
}

/// Whole numbers become doubles, so that nothing is cut off.
fn scale_metric(args: &Args, item: &mut Item<'_>) -> Result<(), EvalError> {
    let (factor, unit) = {
        let env = env(item);
        let unit = if args.is_absent(1) { None } else { Some(args.str(1, &env)?.into_owned()) };
        (args.double(0, &env)?, unit)
    };
    let Some((metric, _)) = metric_of(item) else { return Ok(()) };
    match &mut metric.data {
        Some(Data::Gauge(Gauge { data_points }) | Data::Sum(Sum { data_points, .. })) => {
            for point in data_points {
                point.value = point.value.take().map(|value| match value {
                    Number::AsDouble(v) => Number::AsDouble(v * factor),
                    Number::AsInt(v) => Number::AsDouble(v as f64 * factor),
                });
                scale_exemplars(&mut point.exemplars, factor);
            }
        }
        Some(Data::Histogram(histogram)) => {
            for point in &mut histogram.data_points {
                for value in [&mut point.sum, &mut point.min, &mut point.max].into_iter().flatten() {
                    *value *= factor;
                }
                point.explicit_bounds.iter_mut().for_each(|bound| *bound *= factor);
                scale_exemplars(&mut point.exemplars, factor);
            }
        }
        Some(Data::Summary(summary)) => {
            for point in &mut summary.data_points {
                point.sum *= factor;
                point.quantile_values.iter_mut().for_each(|quantile| quantile.value *= factor);
            }
        }
        Some(Data::ExponentialHistogram(_)) | None => {
            return Err(EvalError::new("a metric of this type cannot be scaled"));
        }
    }
    if let Some(unit) = unit {
        metric.unit = unit;
    }
    Ok(())
}

fn merge_buckets(args: &Args, item: &mut Item<'_>) -> Result<(), EvalError> {
    let target = args.double(0, &env(item))?;
    let limit = args.fixed(1) == Some("limit_buckets");
    if limit && (target < 1.0 || target.fract() != 0.0) {
        return Err(EvalError::new("`limit_buckets` needs a positive int"));
    }
    let only = match &item.record {
        RecordMut::Point(_, at, _) => Some(*at),
        _ => None,
    };
    let Some((metric, _)) = metric_of(item) else { return Ok(()) };
    let Some(Data::Histogram(histogram)) = &mut metric.data else { return Ok(()) };
    for (at, point) in histogram.data_points.iter_mut().enumerate() {
        if only.is_none_or(|only| only == at) && point.bucket_counts.len() == point.explicit_bounds.len() + 1
        {
            if limit { limit_buckets(point, target as usize) } else { remove_bound(point, target) }
        }
    }
    Ok(())
}

/// The bucket below the bound and that above it become one.
fn remove_bound(point: &mut HistogramDataPoint, bound: f64) {
    let Some(at) = point.explicit_bounds.iter().position(|b| (b - bound).abs() < 1e-12) else { return };
    point.explicit_bounds.remove(at);
    let merged = point.bucket_counts.remove(at);
    point.bucket_counts[at] += merged;
}

/// Neighbours become one, as few of them as will do.
fn limit_buckets(point: &mut HistogramDataPoint, limit: usize) {
    let ordered = point.explicit_bounds.windows(2).all(|pair| pair[0] < pair[1]);
    if !ordered || point.bucket_counts.len() <= limit {
        return;
    }
    let group = point.bucket_counts.len().div_ceil(limit);
    let bounds = point.explicit_bounds.iter().skip(group - 1).step_by(group).copied();
    let counts: Vec<u64> = point.bucket_counts.chunks(group).map(|counts| counts.iter().sum()).collect();
    // A last group that is full ends with the bucket without an upper bound.
    point.explicit_bounds = bounds.take(counts.len() - 1).collect();
    point.bucket_counts = counts;
}

/// Lists of numbers that are written out or computed.
pub(super) fn numbers(args: &Args, at: usize, env: &Env<'_>) -> Result<Vec<f64>, EvalError> {
    let number = |value: Value<'_>| match value {
        Value::Double(v) => Ok(v),
        Value::Int(v) => Ok(v as f64),
        other => Err(super::wrong("numbers", &other)),
    };
    args.values(at, env)?.into_iter().map(number).collect()
}

pub(super) const BOUNDS: super::Param = param("explicit_bounds", Values);

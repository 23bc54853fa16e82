//! `aggregate_on_attributes` and `aggregate_on_attribute_value`: data points of a metric become one where their
//! attributes and times are the same.

use std::collections::HashMap;

use signal::otlp::proto::common::v1::KeyValue;
use signal::otlp::proto::metrics::v1::exponential_histogram_data_point::Buckets;
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::metrics::v1::number_data_point::Value as Number;
use signal::otlp::proto::metrics::v1::{
    AggregationTemporality, ExponentialHistogramDataPoint, HistogramDataPoint, NumberDataPoint,
};

use super::Takes::{Fixed, Str, Values};
use super::editors::one_of;
use super::metrics::{env, metric_of};
use super::types::text_of;
use super::{Args, Function, optional, param};
use crate::context::{Context, Item};
use crate::error::EvalError;
use crate::value::{any_str, find, map_json, put};

const FUNCTIONS: [&str; 6] = ["sum", "max", "min", "mean", "median", "count"];

pub(super) const TABLE: &[Function] = &[
    Function::edit(
        "aggregate_on_attributes",
        &[param("function", Fixed), optional("attributes", Values)],
        |args, item| {
            let keys = match args.is_absent(1) {
                true => None,
                false => Some(owned(args, 1, item)?),
            };
            aggregate(args, item, |map| {
                if let Some(keys) = &keys {
                    map.retain(|e| keys.contains(&e.key));
                }
                true
            })
        },
    )
    .only(&[Context::Metric])
    .prepared(|args| one_of(args, 0, &FUNCTIONS)),
    Function::edit(
        "aggregate_on_attribute_value",
        &[
            param("function", Fixed),
            param("attribute", Str),
            param("values", Values),
            param("new_value", Str),
        ],
        |args, item| {
            let values = owned(args, 2, item)?;
            let (key, new) = {
                let env = env(item);
                (args.str(1, &env)?.into_owned(), args.str(3, &env)?.into_owned())
            };
            aggregate(args, item, |map| {
                let old = find(map, &key).and_then(|v| text_of(v.value.as_ref()));
                let found = old.is_some_and(|old| values.iter().any(|value| value == old));
                if found {
                    put(map, &key, any_str(new.as_str()));
                }
                found
            })
        },
    )
    .only(&[Context::Metric])
    .prepared(|args| one_of(args, 0, &FUNCTIONS)),
];

fn owned(args: &Args, at: usize, item: &Item<'_>) -> Result<Vec<String>, EvalError> {
    Ok(args.strings(at, &env(item))?.into_iter().map(|s| s.into_owned()).collect())
}

/// Changes the attributes of each point, and merges those for which `change` says so.
fn aggregate(
    args: &Args,
    item: &mut Item<'_>,
    change: impl Fn(&mut Vec<KeyValue>) -> bool,
) -> Result<(), EvalError> {
    let function = args.fixed(0).unwrap_or("sum");
    let Some((metric, _)) = metric_of(item) else { return Ok(()) };
    let is_delta = |t: i32| t == AggregationTemporality::Delta as i32;
    let only_sum = || match function {
        "sum" => Ok(()),
        _ => Err(EvalError::new("histograms can only be aggregated with `sum`")),
    };
    match &mut metric.data {
        Some(Data::Gauge(d)) => groups(&mut d.data_points, false, change, |p| number(p, function)),
        Some(Data::Sum(d)) => {
            let delta = is_delta(d.aggregation_temporality);
            groups(&mut d.data_points, delta, change, |p| number(p, function));
        }
        Some(Data::Histogram(d)) => {
            only_sum()?;
            let delta = is_delta(d.aggregation_temporality);
            groups(&mut d.data_points, delta, change, histogram);
        }
        Some(Data::ExponentialHistogram(d)) => {
            only_sum()?;
            let delta = is_delta(d.aggregation_temporality);
            groups(&mut d.data_points, delta, change, exponential);
        }
        Some(Data::Summary(_)) | None => {
            return Err(EvalError::new("a metric of this type cannot be aggregated"));
        }
    }
    Ok(())
}

trait Point {
    fn attributes(&mut self) -> &mut Vec<KeyValue>;
    fn time(&self) -> u64;
    fn start(&mut self) -> &mut u64;
    /// What has to be the same beside attributes and times.
    fn shape(&self) -> String;
}

macro_rules! point {
    ($type:ty, $self:ident => $shape:expr) => {
        impl Point for $type {
            fn attributes(&mut self) -> &mut Vec<KeyValue> {
                &mut self.attributes
            }
            fn time(&self) -> u64 {
                self.time_unix_nano
            }
            fn start(&mut self) -> &mut u64 {
                &mut self.start_time_unix_nano
            }
            fn shape(&$self) -> String {
                $shape
            }
        }
    };
}

point!(NumberDataPoint, self => String::new());
point!(HistogramDataPoint, self => format!("{:?} {} {} {}", self.explicit_bounds, self.bucket_counts.len(), self.min.is_some(), self.max.is_some()));
point!(ExponentialHistogramDataPoint, self => format!("{} {} {} {}", self.scale, self.zero_threshold, self.min.is_some(), self.max.is_some()));

fn groups<P: Point>(
    points: &mut Vec<P>,
    delta: bool,
    change: impl Fn(&mut Vec<KeyValue>) -> bool,
    merge: impl Fn(Vec<P>) -> P,
) {
    enum Slot<P> {
        Kept(P),
        Merged(Vec<P>),
    }
    let mut slots: Vec<Slot<P>> = Vec::new();
    let mut known: HashMap<(String, u64, u64, String), usize> = HashMap::new();
    for mut point in points.drain(..) {
        if !change(point.attributes()) {
            slots.push(Slot::Kept(point));
            continue;
        }
        let start = if delta { *point.start() } else { 0 };
        let key = (map_json(point.attributes()).to_string(), point.time(), start, point.shape());
        let at = *known.entry(key).or_insert_with(|| {
            slots.push(Slot::Merged(Vec::new()));
            slots.len() - 1
        });
        if let Slot::Merged(group) = &mut slots[at] {
            group.push(point);
        }
    }
    points.extend(slots.into_iter().map(|slot| match slot {
        Slot::Kept(point) => point,
        Slot::Merged(mut group) => {
            let earliest = group.iter_mut().map(|p| *p.start()).min().unwrap_or_default();
            let mut point = merge(group);
            *point.start() = earliest;
            point
        }
    }));
}

/// Whole numbers stay whole if all are.
fn number(group: Vec<NumberDataPoint>, function: &str) -> NumberDataPoint {
    let count = group.len();
    let ints: Option<Vec<i64>> = group
        .iter()
        .map(|p| match p.value {
            Some(Number::AsInt(v)) => Some(v),
            _ => None,
        })
        .collect();
    let doubles = group.iter().map(|p| match p.value {
        Some(Number::AsInt(v)) => v as f64,
        Some(Number::AsDouble(v)) => v,
        None => 0.0,
    });
    let value = match ints {
        Some(mut ints) => {
            ints.sort_unstable();
            let sum = || ints.iter().fold(0i64, |sum, v| sum.saturating_add(*v));
            Number::AsInt(match function {
                "max" => ints[count - 1],
                "min" => ints[0],
                "mean" => sum() / count as i64,
                "median" if count % 2 == 1 => ints[count / 2],
                "median" => (ints[count / 2 - 1] + ints[count / 2]) / 2,
                "count" => count as i64,
                _ => sum(),
            })
        }
        None => {
            let mut doubles: Vec<f64> = doubles.collect();
            doubles.sort_by(f64::total_cmp);
            let sum: f64 = doubles.iter().sum();
            Number::AsDouble(match function {
                "max" => doubles[count - 1],
                "min" => doubles[0],
                "mean" => sum / count as f64,
                "median" if count % 2 == 1 => doubles[count / 2],
                "median" => (doubles[count / 2 - 1] + doubles[count / 2]) / 2.0,
                "count" => count as f64,
                _ => sum,
            })
        }
    };
    let mut group = group.into_iter();
    let mut first = group.next().expect("a group has a point");
    first.value = Some(value);
    group.for_each(|p| first.exemplars.extend(p.exemplars));
    first
}

fn add(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a + b),
        _ => None,
    }
}

fn histogram(group: Vec<HistogramDataPoint>) -> HistogramDataPoint {
    let merged = group.into_iter().reduce(|mut all, p| {
        all.count += p.count;
        all.sum = add(all.sum, p.sum);
        all.min = all.min.zip(p.min).map(|(a, b)| a.min(b));
        all.max = all.max.zip(p.max).map(|(a, b)| a.max(b));
        all.bucket_counts.iter_mut().zip(p.bucket_counts).for_each(|(a, b)| *a += b);
        all.exemplars.extend(p.exemplars);
        all
    });
    merged.expect("a group has a point")
}

fn exponential(group: Vec<ExponentialHistogramDataPoint>) -> ExponentialHistogramDataPoint {
    let merged = group.into_iter().reduce(|mut all, p| {
        all.count += p.count;
        all.sum = add(all.sum, p.sum);
        all.min = all.min.zip(p.min).map(|(a, b)| a.min(b));
        all.max = all.max.zip(p.max).map(|(a, b)| a.max(b));
        all.zero_count += p.zero_count;
        all.positive = buckets(all.positive, p.positive);
        all.negative = buckets(all.negative, p.negative);
        all.exemplars.extend(p.exemplars);
        all
    });
    merged.expect("a group has a point")
}

/// Buckets of one scale, added where they lie.
fn buckets(a: Option<Buckets>, b: Option<Buckets>) -> Option<Buckets> {
    /// Beyond this the two lie so far apart that what is between them would fill the memory.
    const MOST: i64 = 1 << 16;
    let filled = |buckets: &Buckets| !buckets.bucket_counts.is_empty();
    let (a, b) = match (a.filter(filled), b.filter(filled)) {
        (Some(a), Some(b)) => (a, b),
        (a, b) => return a.or(b),
    };
    let end = |x: &Buckets| i64::from(x.offset) + x.bucket_counts.len() as i64;
    let offset = a.offset.min(b.offset);
    let length = (end(&a).max(end(&b)) - i64::from(offset)).min(MOST);
    let mut counts = vec![0u64; usize::try_from(length).unwrap_or_default()];
    let last = counts.len() - 1;
    for part in [a, b] {
        let from = usize::try_from(i64::from(part.offset) - i64::from(offset)).unwrap_or_default();
        for (at, count) in part.bucket_counts.into_iter().enumerate() {
            counts[(from + at).min(last)] += count;
        }
    }
    Some(Buckets { offset, bucket_counts: counts })
}

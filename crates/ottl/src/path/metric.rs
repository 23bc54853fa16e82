//! Fields of metrics and data points.

use std::borrow::Cow;

use signal::otlp::proto::common::v1::any_value::Value as Any;
use signal::otlp::proto::common::v1::{AnyValue, KeyValue};
use signal::otlp::proto::metrics::v1::exponential_histogram_data_point::Buckets;
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::metrics::v1::number_data_point::Value as Number;
use signal::otlp::proto::metrics::v1::{
    ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint, SummaryDataPoint,
};

use super::attributes::set_map;
use super::{as_bool, as_double, as_int, as_str, as_time, nanos, time, wrong};
use crate::context::{Item, Point, Record, RecordMut, View};
use crate::error::EvalError;
use crate::value::{Part, Value, any};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MetricField {
    Name,
    Description,
    Unit,
    Type,
    Temporality,
    Monotonic,
    DataPoints,
    Metadata,
}

pub(super) const METRIC: &[(&str, MetricField)] = &[
    ("name", MetricField::Name),
    ("description", MetricField::Description),
    ("unit", MetricField::Unit),
    ("type", MetricField::Type),
    ("aggregation_temporality", MetricField::Temporality),
    ("is_monotonic", MetricField::Monotonic),
    ("data_points", MetricField::DataPoints),
    ("metadata", MetricField::Metadata),
];

/// The number of a metric's type, as the collector's `pmetric.MetricType`.
fn type_of(metric: &Metric) -> i64 {
    match metric.data {
        None => 0,
        Some(Data::Gauge(_)) => 1,
        Some(Data::Sum(_)) => 2,
        Some(Data::Histogram(_)) => 3,
        Some(Data::ExponentialHistogram(_)) => 4,
        Some(Data::Summary(_)) => 5,
    }
}

impl MetricField {
    pub(super) fn get(self, metric: &Metric) -> Value<'_> {
        match self {
            Self::Name => Value::str(&metric.name),
            Self::Description => Value::str(&metric.description),
            Self::Unit => Value::str(&metric.unit),
            Self::Type => Value::Int(type_of(metric)),
            Self::Temporality => match &metric.data {
                Some(Data::Sum(d)) => Value::Int(i64::from(d.aggregation_temporality)),
                Some(Data::Histogram(d)) => Value::Int(i64::from(d.aggregation_temporality)),
                Some(Data::ExponentialHistogram(d)) => Value::Int(i64::from(d.aggregation_temporality)),
                Some(Data::Gauge(_) | Data::Summary(_)) | None => Value::Nil,
            },
            Self::Monotonic => match &metric.data {
                Some(Data::Sum(d)) => Value::Bool(d.is_monotonic),
                _ => Value::Nil,
            },
            Self::DataPoints => Value::Part(match &metric.data {
                Some(Data::Gauge(d)) => Part::NumberPoints(Cow::Borrowed(&d.data_points)),
                Some(Data::Sum(d)) => Part::NumberPoints(Cow::Borrowed(&d.data_points)),
                Some(Data::Histogram(d)) => Part::HistogramPoints(Cow::Borrowed(&d.data_points)),
                Some(Data::ExponentialHistogram(d)) => Part::ExponentialPoints(Cow::Borrowed(&d.data_points)),
                Some(Data::Summary(d)) => Part::SummaryPoints(Cow::Borrowed(&d.data_points)),
                None => return Value::Nil,
            }),
            Self::Metadata => Value::Map(Cow::Borrowed(&metric.metadata)),
        }
    }

    pub(super) fn set(self, metric: &mut Metric, value: Value<'static>) -> Result<(), EvalError> {
        match self {
            Self::Name => metric.name = as_str(value)?,
            Self::Description => metric.description = as_str(value)?,
            Self::Unit => metric.unit = as_str(value)?,
            Self::Type => {
                let hint =
                    "the type of a metric cannot be set; use convert_sum_to_gauge or convert_gauge_to_sum";
                return Err(EvalError::new(hint));
            }
            Self::Temporality => {
                let new = as_int(&value)? as i32;
                match &mut metric.data {
                    Some(Data::Sum(d)) => d.aggregation_temporality = new,
                    Some(Data::Histogram(d)) => d.aggregation_temporality = new,
                    Some(Data::ExponentialHistogram(d)) => d.aggregation_temporality = new,
                    Some(Data::Gauge(_) | Data::Summary(_)) | None => {}
                }
            }
            Self::Monotonic => {
                let new = as_bool(&value)?;
                if let Some(Data::Sum(d)) = &mut metric.data {
                    d.is_monotonic = new;
                }
            }
            Self::DataPoints => match (&mut metric.data, value) {
                (Some(Data::Gauge(d)), Value::Part(Part::NumberPoints(new))) => {
                    d.data_points = new.into_owned()
                }
                (Some(Data::Sum(d)), Value::Part(Part::NumberPoints(new))) => {
                    d.data_points = new.into_owned()
                }
                (Some(Data::Histogram(d)), Value::Part(Part::HistogramPoints(new))) => {
                    d.data_points = new.into_owned();
                }
                (Some(Data::ExponentialHistogram(d)), Value::Part(Part::ExponentialPoints(new))) => {
                    d.data_points = new.into_owned();
                }
                (Some(Data::Summary(d)), Value::Part(Part::SummaryPoints(new))) => {
                    d.data_points = new.into_owned();
                }
                (None, _) => {}
                (Some(_), other) => return Err(wrong("data points of the metric's type", &other)),
            },
            Self::Metadata => set_map(&mut metric.metadata, value)?,
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PointField {
    Attributes,
    StartNanos,
    Start,
    TimeNanos,
    Time,
    Double,
    Int,
    Exemplars,
    Flags,
    Count,
    Sum,
    Min,
    Max,
    BucketCounts,
    Bounds,
    Scale,
    ZeroCount,
    ZeroThreshold,
    Positive,
    PositiveOffset,
    PositiveCounts,
    Negative,
    NegativeOffset,
    NegativeCounts,
    Quantiles,
}

pub(super) const POINT: &[(&str, PointField)] = &[
    ("attributes", PointField::Attributes),
    ("start_time_unix_nano", PointField::StartNanos),
    ("start_time", PointField::Start),
    ("time_unix_nano", PointField::TimeNanos),
    ("time", PointField::Time),
    ("value_double", PointField::Double),
    ("value_int", PointField::Int),
    ("exemplars", PointField::Exemplars),
    ("flags", PointField::Flags),
    ("count", PointField::Count),
    ("sum", PointField::Sum),
    ("min", PointField::Min),
    ("max", PointField::Max),
    ("bucket_counts", PointField::BucketCounts),
    ("explicit_bounds", PointField::Bounds),
    ("scale", PointField::Scale),
    ("zero_count", PointField::ZeroCount),
    ("zero_threshold", PointField::ZeroThreshold),
    ("positive", PointField::Positive),
    ("positive.offset", PointField::PositiveOffset),
    ("positive.bucket_counts", PointField::PositiveCounts),
    ("negative", PointField::Negative),
    ("negative.offset", PointField::NegativeOffset),
    ("negative.bucket_counts", PointField::NegativeCounts),
    ("quantile_values", PointField::Quantiles),
];

/// A data point to be changed.
enum PointMut<'m> {
    Number(&'m mut NumberDataPoint),
    Histogram(&'m mut HistogramDataPoint),
    Exponential(&'m mut ExponentialHistogramDataPoint),
    Summary(&'m mut SummaryDataPoint),
}

fn point_mut(metric: &mut Metric, at: usize) -> Option<PointMut<'_>> {
    match metric.data.as_mut()? {
        Data::Gauge(d) => d.data_points.get_mut(at).map(PointMut::Number),
        Data::Sum(d) => d.data_points.get_mut(at).map(PointMut::Number),
        Data::Histogram(d) => d.data_points.get_mut(at).map(PointMut::Histogram),
        Data::ExponentialHistogram(d) => d.data_points.get_mut(at).map(PointMut::Exponential),
        Data::Summary(d) => d.data_points.get_mut(at).map(PointMut::Summary),
    }
}

/// The attributes of a data point.
pub(super) fn attributes(metric: &mut Metric, at: usize) -> Option<&mut Vec<KeyValue>> {
    Some(match point_mut(metric, at)? {
        PointMut::Number(p) => &mut p.attributes,
        PointMut::Histogram(p) => &mut p.attributes,
        PointMut::Exponential(p) => &mut p.attributes,
        PointMut::Summary(p) => &mut p.attributes,
    })
}

/// One field that points of all types have.
macro_rules! common {
    ($point:expr, $p:ident => $value:expr) => {
        match $point {
            Point::Number($p) => $value,
            Point::Histogram($p) => $value,
            Point::Exponential($p) => $value,
            Point::Summary($p) => $value,
            Point::None => Value::Nil,
        }
    };
}

macro_rules! common_mut {
    ($point:expr, $p:ident => $set:expr) => {
        match $point {
            PointMut::Number($p) => $set,
            PointMut::Histogram($p) => $set,
            PointMut::Exponential($p) => $set,
            PointMut::Summary($p) => $set,
        }
    };
}

fn counts(values: &[u64]) -> Value<'static> {
    Value::List(Cow::Owned(values.iter().map(|v| any(Any::IntValue(*v as i64))).collect()))
}

fn bounds(values: &[f64]) -> Value<'static> {
    Value::List(Cow::Owned(values.iter().map(|v| any(Any::DoubleValue(*v))).collect()))
}

fn as_counts(value: &Value<'_>) -> Result<Vec<u64>, EvalError> {
    let Value::List(list) = value else { return Err(wrong("a list of ints", value)) };
    let count = |item: &AnyValue| match item.value {
        Some(Any::IntValue(v)) => u64::try_from(v).ok(),
        _ => None,
    };
    let counts: Option<Vec<u64>> = list.iter().map(count).collect();
    counts.ok_or_else(|| EvalError::new("expected a list of ints that are not negative"))
}

fn as_bounds(value: &Value<'_>) -> Result<Vec<f64>, EvalError> {
    let Value::List(list) = value else { return Err(wrong("a list of doubles", value)) };
    let bound = |item: &AnyValue| match item.value {
        Some(Any::DoubleValue(v)) => Some(v),
        Some(Any::IntValue(v)) => Some(v as f64),
        _ => None,
    };
    let bounds: Option<Vec<f64>> = list.iter().map(bound).collect();
    bounds.ok_or_else(|| EvalError::new("expected a list of numbers"))
}

fn buckets(buckets: Option<&Buckets>) -> Value<'_> {
    Value::Part(Part::Buckets(match buckets {
        Some(buckets) => Cow::Borrowed(buckets),
        None => Cow::Owned(Buckets::default()),
    }))
}

fn offset(buckets: Option<&Buckets>) -> Value<'static> {
    Value::Int(buckets.map_or(0, |b| i64::from(b.offset)))
}

fn bucket_counts(buckets: Option<&Buckets>) -> Value<'static> {
    counts(buckets.map_or(&[], |b| b.bucket_counts.as_slice()))
}

impl PointField {
    pub(super) fn get<'a>(self, view: &View<'a>) -> Value<'a> {
        let Record::Point(_, point) = view.record else { return Value::Nil };
        let optional = |value: Option<f64>| value.map_or(Value::Nil, Value::Double);
        match (self, point) {
            (Self::Attributes, _) => common!(point, p => Value::Map(Cow::Borrowed(&p.attributes))),
            (Self::StartNanos, _) => common!(point, p => nanos(p.start_time_unix_nano)),
            (Self::Start, _) => common!(point, p => time(p.start_time_unix_nano)),
            (Self::TimeNanos, _) => common!(point, p => nanos(p.time_unix_nano)),
            (Self::Time, _) => common!(point, p => time(p.time_unix_nano)),
            (Self::Flags, _) => common!(point, p => Value::Int(i64::from(p.flags))),
            // As the collector's accessors: a value of the other type reads as zero.
            (Self::Double, Point::Number(p)) => match p.value {
                Some(Number::AsDouble(v)) => Value::Double(v),
                _ => Value::Double(0.0),
            },
            (Self::Int, Point::Number(p)) => match p.value {
                Some(Number::AsInt(v)) => Value::Int(v),
                _ => Value::Int(0),
            },
            (Self::Exemplars, Point::Number(p)) => Value::Part(Part::Exemplars(Cow::Borrowed(&p.exemplars))),
            (Self::Exemplars, Point::Histogram(p)) => {
                Value::Part(Part::Exemplars(Cow::Borrowed(&p.exemplars)))
            }
            (Self::Exemplars, Point::Exponential(p)) => {
                Value::Part(Part::Exemplars(Cow::Borrowed(&p.exemplars)))
            }
            (Self::Count, Point::Histogram(p)) => Value::Int(p.count as i64),
            (Self::Count, Point::Exponential(p)) => Value::Int(p.count as i64),
            (Self::Count, Point::Summary(p)) => Value::Int(p.count as i64),
            (Self::Sum, Point::Histogram(p)) => Value::Double(p.sum.unwrap_or_default()),
            (Self::Sum, Point::Exponential(p)) => Value::Double(p.sum.unwrap_or_default()),
            (Self::Sum, Point::Summary(p)) => Value::Double(p.sum),
            (Self::Min, Point::Histogram(p)) => optional(p.min),
            (Self::Min, Point::Exponential(p)) => optional(p.min),
            (Self::Max, Point::Histogram(p)) => optional(p.max),
            (Self::Max, Point::Exponential(p)) => optional(p.max),
            (Self::BucketCounts, Point::Histogram(p)) => counts(&p.bucket_counts),
            (Self::Bounds, Point::Histogram(p)) => bounds(&p.explicit_bounds),
            (Self::Scale, Point::Exponential(p)) => Value::Int(i64::from(p.scale)),
            (Self::ZeroCount, Point::Exponential(p)) => Value::Int(p.zero_count as i64),
            (Self::ZeroThreshold, Point::Exponential(p)) => Value::Double(p.zero_threshold),
            (Self::Positive, Point::Exponential(p)) => buckets(p.positive.as_ref()),
            (Self::PositiveOffset, Point::Exponential(p)) => offset(p.positive.as_ref()),
            (Self::PositiveCounts, Point::Exponential(p)) => bucket_counts(p.positive.as_ref()),
            (Self::Negative, Point::Exponential(p)) => buckets(p.negative.as_ref()),
            (Self::NegativeOffset, Point::Exponential(p)) => offset(p.negative.as_ref()),
            (Self::NegativeCounts, Point::Exponential(p)) => bucket_counts(p.negative.as_ref()),
            (Self::Quantiles, Point::Summary(p)) => {
                Value::Part(Part::Quantiles(Cow::Borrowed(&p.quantile_values)))
            }
            _ => Value::Nil,
        }
    }

    /// A field that the type of the point does not have is left alone, as upstream.
    pub(super) fn set(self, item: &mut Item<'_>, value: Value<'static>) -> Result<(), EvalError> {
        let RecordMut::Point(metric, at, _) = &mut item.record else { return Ok(()) };
        let Some(point) = point_mut(metric, *at) else { return Ok(()) };
        match self {
            Self::Attributes => common_mut!(point, p => set_map(&mut p.attributes, value)?),
            Self::StartNanos => {
                let new = as_int(&value)? as u64;
                common_mut!(point, p => p.start_time_unix_nano = new);
            }
            Self::Start => {
                let new = as_time(&value)?;
                common_mut!(point, p => p.start_time_unix_nano = new);
            }
            Self::TimeNanos => {
                let new = as_int(&value)? as u64;
                common_mut!(point, p => p.time_unix_nano = new);
            }
            Self::Time => {
                let new = as_time(&value)?;
                common_mut!(point, p => p.time_unix_nano = new);
            }
            Self::Flags => {
                let new = as_int(&value)? as u32;
                common_mut!(point, p => p.flags = new);
            }
            _ => self.set_typed(point, value)?,
        }
        Ok(())
    }

    fn set_typed(self, point: PointMut<'_>, value: Value<'static>) -> Result<(), EvalError> {
        match (self, point) {
            (Self::Double, PointMut::Number(p)) => p.value = Some(Number::AsDouble(as_double(&value)?)),
            (Self::Int, PointMut::Number(p)) => p.value = Some(Number::AsInt(as_int(&value)?)),
            (Self::Exemplars, point) => {
                let Value::Part(Part::Exemplars(new)) = value else { return Err(wrong("exemplars", &value)) };
                match point {
                    PointMut::Number(p) => p.exemplars = new.into_owned(),
                    PointMut::Histogram(p) => p.exemplars = new.into_owned(),
                    PointMut::Exponential(p) => p.exemplars = new.into_owned(),
                    PointMut::Summary(_) => {}
                }
            }
            (Self::Count, PointMut::Histogram(p)) => p.count = as_int(&value)? as u64,
            (Self::Count, PointMut::Exponential(p)) => p.count = as_int(&value)? as u64,
            (Self::Count, PointMut::Summary(p)) => p.count = as_int(&value)? as u64,
            (Self::Sum, PointMut::Histogram(p)) => p.sum = Some(as_double(&value)?),
            (Self::Sum, PointMut::Exponential(p)) => p.sum = Some(as_double(&value)?),
            (Self::Sum, PointMut::Summary(p)) => p.sum = as_double(&value)?,
            (Self::Min, PointMut::Histogram(p)) => p.min = Some(as_double(&value)?),
            (Self::Min, PointMut::Exponential(p)) => p.min = Some(as_double(&value)?),
            (Self::Max, PointMut::Histogram(p)) => p.max = Some(as_double(&value)?),
            (Self::Max, PointMut::Exponential(p)) => p.max = Some(as_double(&value)?),
            (Self::BucketCounts, PointMut::Histogram(p)) => p.bucket_counts = as_counts(&value)?,
            (Self::Bounds, PointMut::Histogram(p)) => p.explicit_bounds = as_bounds(&value)?,
            (Self::Quantiles, PointMut::Summary(p)) => match value {
                Value::Part(Part::Quantiles(new)) => p.quantile_values = new.into_owned(),
                other => return Err(wrong("quantiles", &other)),
            },
            (_, PointMut::Exponential(p)) => self.set_exponential(p, value)?,
            _ => {}
        }
        Ok(())
    }

    fn set_exponential(
        self,
        p: &mut ExponentialHistogramDataPoint,
        value: Value<'static>,
    ) -> Result<(), EvalError> {
        let as_buckets = |value: Value<'static>| match value {
            Value::Part(Part::Buckets(new)) => Ok(Some(new.into_owned())),
            other => Err(wrong("buckets", &other)),
        };
        match self {
            Self::Scale => p.scale = as_int(&value)? as i32,
            Self::ZeroCount => p.zero_count = as_int(&value)? as u64,
            Self::ZeroThreshold => p.zero_threshold = as_double(&value)?,
            Self::Positive => p.positive = as_buckets(value)?,
            Self::PositiveOffset => p.positive.get_or_insert_default().offset = as_int(&value)? as i32,
            Self::PositiveCounts => p.positive.get_or_insert_default().bucket_counts = as_counts(&value)?,
            Self::Negative => p.negative = as_buckets(value)?,
            Self::NegativeOffset => p.negative.get_or_insert_default().offset = as_int(&value)? as i32,
            Self::NegativeCounts => p.negative.get_or_insert_default().bucket_counts = as_counts(&value)?,
            _ => {}
        }
        Ok(())
    }
}

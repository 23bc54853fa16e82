//! The filter processor's questions about the data points of a metric.

use signal::otlp::proto::common::v1::KeyValue;
use signal::otlp::proto::metrics::v1::Metric;
use signal::otlp::proto::metrics::v1::metric::Data;

use super::Takes::Str;
use super::types::text_of;
use super::{Function, param};
use crate::context::Context;
use crate::value::{Value, find};

pub(super) const TABLE: &[Function] = &[
    Function::convert("HasAttrKeyOnDatapoint", &[param("key", Str)], |args, env| {
        let key = args.str(0, env)?;
        Ok(Value::Bool(env.view.metric_of().is_some_and(|m| any_point(m, |map| find(map, &key).is_some()))))
    })
    .only(&[Context::Metric]),
    Function::convert(
        "HasAttrOnDatapoint",
        &[param("key", Str), param("expected_value", Str)],
        |args, env| {
            let (key, expected) = (args.str(0, env)?, args.str(1, env)?);
            let same =
                |map: &[KeyValue]| find(map, &key).and_then(|v| text_of(v.value.as_ref())) == Some(&expected);
            Ok(Value::Bool(env.view.metric_of().is_some_and(|m| any_point(m, same))))
        },
    )
    .only(&[Context::Metric]),
];

fn any_point(metric: &Metric, test: impl Fn(&[KeyValue]) -> bool) -> bool {
    match &metric.data {
        Some(Data::Gauge(d)) => d.data_points.iter().any(|p| test(&p.attributes)),
        Some(Data::Sum(d)) => d.data_points.iter().any(|p| test(&p.attributes)),
        Some(Data::Histogram(d)) => d.data_points.iter().any(|p| test(&p.attributes)),
        Some(Data::ExponentialHistogram(d)) => d.data_points.iter().any(|p| test(&p.attributes)),
        Some(Data::Summary(d)) => d.data_points.iter().any(|p| test(&p.attributes)),
        None => false,
    }
}

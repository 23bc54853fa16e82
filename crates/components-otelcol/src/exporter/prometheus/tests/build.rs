//! Requests for tests.

use signal::OtlpMetrics;
use signal::otlp::OtlpRequest;
use signal::otlp::proto::collector::metrics::v1::ExportMetricsServiceRequest;
use signal::otlp::proto::common::v1::any_value::Value;
use signal::otlp::proto::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::metrics::v1::{
    Exemplar, Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, exemplar, number_data_point,
};
use signal::otlp::proto::resource::v1::Resource;

pub(super) const SECOND: u64 = 1_000_000_000;
pub(super) const CUMULATIVE: i32 = 2;
pub(super) const DELTA: i32 = 1;
pub(super) const NO_VALUE: u32 = 1;

pub(super) fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.into())) });
    KeyValue { key: key.into(), value, ..KeyValue::default() }
}

pub(super) fn of(resource: &[KeyValue], metrics: Vec<Metric>) -> OtlpMetrics {
    let scope = InstrumentationScope {
        name: "lib".into(),
        version: "1.2".into(),
        attributes: vec![text("team", "x")],
        ..InstrumentationScope::default()
    };
    let scope_metrics = vec![ScopeMetrics { scope: Some(scope), metrics, ..ScopeMetrics::default() }];
    let resource = Some(Resource { attributes: resource.to_vec(), ..Resource::default() });
    OtlpMetrics::of(OtlpRequest::from_message(ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() }],
    }))
}

pub(super) fn metric(name: &str, unit: &str, data: Data) -> Metric {
    let (name, unit, description) = (name.into(), unit.into(), "help".into());
    Metric { name, unit, description, data: Some(data), ..Metric::default() }
}

pub(super) fn number(attributes: &[KeyValue], value: f64) -> NumberDataPoint {
    NumberDataPoint {
        attributes: attributes.to_vec(),
        start_time_unix_nano: SECOND,
        time_unix_nano: 2 * SECOND,
        value: Some(number_data_point::Value::AsDouble(value)),
        ..NumberDataPoint::default()
    }
}

pub(super) fn gauge(name: &str, unit: &str, points: &[(&[KeyValue], f64)]) -> Metric {
    let data_points = points.iter().map(|(attributes, value)| number(attributes, *value)).collect();
    metric(name, unit, Data::Gauge(Gauge { data_points }))
}

pub(super) fn sum(
    name: &str,
    is_monotonic: bool,
    aggregation_temporality: i32,
    point: NumberDataPoint,
) -> Metric {
    metric(name, "", Data::Sum(Sum { data_points: vec![point], aggregation_temporality, is_monotonic }))
}

pub(super) fn counter(name: &str, unit: &str, value: f64) -> Metric {
    Metric { unit: unit.into(), ..sum(name, true, CUMULATIVE, number(&[], value)) }
}

/// Start and time of all points of a sum, in seconds.
pub(super) fn set_times(metric: &mut Metric, start: u64, time: u64) {
    let Some(Data::Sum(sum)) = &mut metric.data else { panic!("a sum") };
    for point in &mut sum.data_points {
        (point.start_time_unix_nano, point.time_unix_nano) = (start * SECOND, time * SECOND);
    }
}

pub(super) fn exemplar(value: f64, seconds: u64) -> Exemplar {
    Exemplar {
        time_unix_nano: seconds * SECOND,
        trace_id: vec![0xab; 16],
        value: Some(exemplar::Value::AsDouble(value)),
        ..Exemplar::default()
    }
}

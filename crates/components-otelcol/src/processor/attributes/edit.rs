//! Finds the items of a decoded request and applies the rules to each.

use signal::otlp::proto::common::v1::KeyValue;
use signal::otlp::proto::metrics::v1::Metric;
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::{ClientMetadata, LogsSignal, MetricsSignal, OtlpSignal, TracesSignal};

use super::Rules;
use super::matching::Around;

/// A signal whose items have attributes.
pub(super) trait Edited: OtlpSignal {
    /// Edits a request; whether anything has changed.
    fn edit(request: &mut Self::Request, rules: &Rules, client: Option<&ClientMetadata>) -> bool;
}

impl Edited for TracesSignal {
    fn edit(request: &mut Self::Request, rules: &Rules, client: Option<&ClientMetadata>) -> bool {
        let mut changed = false;
        for resource in &mut request.resource_spans {
            for scope in &mut resource.scope_spans {
                let around = Around { resource: resource.resource.as_ref(), scope: scope.scope.as_ref() };
                for span in &mut scope.spans {
                    if rules.applies(|matcher| matcher.span(span, around)) {
                        changed |= rules.apply(&mut span.attributes, client);
                    }
                }
            }
        }
        changed
    }
}

impl Edited for LogsSignal {
    fn edit(request: &mut Self::Request, rules: &Rules, client: Option<&ClientMetadata>) -> bool {
        let mut changed = false;
        for resource in &mut request.resource_logs {
            for scope in &mut resource.scope_logs {
                let around = Around { resource: resource.resource.as_ref(), scope: scope.scope.as_ref() };
                for record in &mut scope.log_records {
                    if rules.applies(|matcher| matcher.record(record, around)) {
                        changed |= rules.apply(&mut record.attributes, client);
                    }
                }
            }
        }
        changed
    }
}

impl Edited for MetricsSignal {
    fn edit(request: &mut Self::Request, rules: &Rules, client: Option<&ClientMetadata>) -> bool {
        let mut changed = false;
        for resource in &mut request.resource_metrics {
            for scope in &mut resource.scope_metrics {
                let around = Around { resource: resource.resource.as_ref(), scope: scope.scope.as_ref() };
                for metric in &mut scope.metrics {
                    changed |= edit_metric(metric, around, rules, client);
                }
            }
        }
        changed
    }
}

fn edit_metric(
    metric: &mut Metric,
    around: Around<'_>,
    rules: &Rules,
    client: Option<&ClientMetadata>,
) -> bool {
    let name = &metric.name;
    let mut changed = false;
    let mut point = |attributes: &mut Vec<KeyValue>| {
        if rules.applies(|matcher| matcher.metric_name(name) && matcher.common(attributes, around)) {
            changed |= rules.apply(attributes, client);
        }
    };
    match &mut metric.data {
        None => {}
        Some(Data::Gauge(d)) => d.data_points.iter_mut().for_each(|p| point(&mut p.attributes)),
        Some(Data::Sum(d)) => d.data_points.iter_mut().for_each(|p| point(&mut p.attributes)),
        Some(Data::Histogram(d)) => d.data_points.iter_mut().for_each(|p| point(&mut p.attributes)),
        Some(Data::ExponentialHistogram(d)) => {
            d.data_points.iter_mut().for_each(|p| point(&mut p.attributes));
        }
        Some(Data::Summary(d)) => d.data_points.iter_mut().for_each(|p| point(&mut p.attributes)),
    }
    changed
}

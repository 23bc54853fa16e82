//! Constants of the contexts.

use signal::otlp::proto::logs::v1::SeverityNumber;

use crate::context::Context;

const SPAN: &[(&str, i64)] = &[
    ("SPAN_KIND_UNSPECIFIED", 0),
    ("SPAN_KIND_INTERNAL", 1),
    ("SPAN_KIND_SERVER", 2),
    ("SPAN_KIND_CLIENT", 3),
    ("SPAN_KIND_PRODUCER", 4),
    ("SPAN_KIND_CONSUMER", 5),
    ("STATUS_CODE_UNSET", 0),
    ("STATUS_CODE_OK", 1),
    ("STATUS_CODE_ERROR", 2),
];

const METRIC: &[(&str, i64)] = &[
    ("AGGREGATION_TEMPORALITY_UNSPECIFIED", 0),
    ("AGGREGATION_TEMPORALITY_DELTA", 1),
    ("AGGREGATION_TEMPORALITY_CUMULATIVE", 2),
    ("METRIC_DATA_TYPE_NONE", 0),
    ("METRIC_DATA_TYPE_GAUGE", 1),
    ("METRIC_DATA_TYPE_SUM", 2),
    ("METRIC_DATA_TYPE_HISTOGRAM", 3),
    ("METRIC_DATA_TYPE_EXPONENTIAL_HISTOGRAM", 4),
    ("METRIC_DATA_TYPE_SUMMARY", 5),
];

const POINT: &[(&str, i64)] = &[("FLAG_NONE", 0), ("FLAG_NO_RECORDED_VALUE", 1)];

/// The constants of a context with their values.
fn table(context: Context) -> Vec<(&'static str, i64)> {
    match context {
        Context::Resource | Context::Scope => Vec::new(),
        Context::Span | Context::SpanEvent => SPAN.to_vec(),
        Context::Metric => METRIC.to_vec(),
        Context::DataPoint => [METRIC, POINT].concat(),
        Context::Log => (0..=24)
            .filter_map(|n| Some((SeverityNumber::try_from(n).ok()?.as_str_name(), i64::from(n))))
            .collect(),
    }
}

pub(crate) fn names(context: Context) -> impl Iterator<Item = &'static str> {
    table(context).into_iter().map(|(name, _)| name)
}

pub(crate) fn value(context: Context, symbol: &str) -> Option<i64> {
    table(context).into_iter().find(|(name, _)| *name == symbol).map(|(_, value)| value)
}

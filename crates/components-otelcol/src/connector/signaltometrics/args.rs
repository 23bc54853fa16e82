//! Arguments.

use component::Arguments;
use component::eval::Value;
use component::otel::{DebugMetrics, Output};

/// Buckets where none are configured.
const BUCKETS: [f64; 16] = [
    2.0, 4.0, 6.0, 8.0, 10.0, 50.0, 100.0, 200.0, 400.0, 800.0, 1000.0, 1400.0, 2000.0, 5000.0, 10_000.0,
    15_000.0,
];

/// `otelcol.connector.signaltometrics`
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct Args {
    /// What happens when a condition or value cannot be applied to an item: `propagate` refuses the batch, `ignore` logs it and
    /// goes on, `silent` goes on.
    #[arg(default = "propagate")]
    pub error_mode: String,
    /// Metrics of spans.
    #[arg(block)]
    pub spans: Vec<MetricArgs>,
    /// Metrics of data points.
    #[arg(block)]
    pub datapoints: Vec<MetricArgs>,
    /// Metrics of log records.
    #[arg(block)]
    pub logs: Vec<MetricArgs>,
    /// Where metrics go.
    #[arg(block, required)]
    pub output: Output,
    /// How much the component tells of itself.
    #[arg(block)]
    pub debug_metrics: DebugMetrics,
}

/// A metric. It is one of a histogram, an exponential histogram, a sum and a gauge.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct MetricArgs {
    /// Its name.
    pub name: String,
    /// What it is.
    #[arg(default)]
    pub description: String,
    /// Its unit.
    #[arg(default)]
    pub unit: String,
    /// OTTL conditions, one of which has to hold for an item to be a part of it.
    #[arg(default)]
    pub conditions: Vec<String>,
    /// Attributes of resources that it keeps; all of them if none is listed.
    #[arg(block)]
    pub include_resource_attributes: Vec<AttributeArgs>,
    /// Attributes of items that it has.
    #[arg(block)]
    pub attributes: Vec<AttributeArgs>,
    /// With given buckets.
    #[arg(block)]
    pub histogram: Option<HistogramArgs>,
    /// With exponential buckets.
    #[arg(block)]
    pub exponential_histogram: Option<ExponentialArgs>,
    /// The sum of all values.
    #[arg(block)]
    pub sum: Option<ValueArgs>,
    /// The last value.
    #[arg(block)]
    pub gauge: Option<ValueArgs>,
}

/// An attribute.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct AttributeArgs {
    /// Its key.
    pub key: String,
    /// Items without it are a part of the metric too.
    #[arg(default)]
    pub optional: bool,
    /// Its value for items without it.
    #[arg(default)]
    pub default_value: Value,
}

/// With given buckets.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct HistogramArgs {
    /// Upper bounds.
    #[arg(default = BUCKETS.to_vec())]
    pub buckets: Vec<f64>,
    /// How often the value is recorded, in OTTL; once if it is not set.
    #[arg(default)]
    pub count: String,
    /// What is recorded, in OTTL.
    pub value: String,
}

/// With exponential buckets.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct ExponentialArgs {
    /// Buckets at most.
    #[arg(default = 160)]
    pub max_size: i64,
    /// How often the value is recorded, in OTTL; once if it is not set.
    #[arg(default)]
    pub count: String,
    /// What is recorded, in OTTL.
    pub value: String,
}

/// A value.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct ValueArgs {
    /// The value, in OTTL.
    pub value: String,
}

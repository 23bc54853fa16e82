//! Arguments.

use std::time::Duration;

use component::eval::Invalid;
use component::otel::{DebugMetrics, Output};
use component::{ArgEnum, Arguments};

/// Buckets where none are configured.
pub(crate) const BUCKETS: [Duration; 16] = [
    Duration::from_millis(2),
    Duration::from_millis(4),
    Duration::from_millis(6),
    Duration::from_millis(8),
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(800),
    Duration::from_secs(1),
    Duration::from_millis(1400),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(15),
];

/// `otelcol.connector.spanmetrics`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// Dimensions of the default set that are left out.
    #[arg(default)]
    pub exclude_dimensions: Vec<String>,
    /// Sets of dimensions that are cached.
    #[arg(
        default,
        no_effect = "dimensions are not cached; aggregation_cardinality_limit bounds how many sets of them there are"
    )]
    pub dimensions_cache_size: i64,
    /// Resources that are kept at most; the one unused for longest makes room after it has been sent once more.
    #[arg(default = 1000)]
    pub resource_metrics_cache_size: i64,
    /// Resource attributes that tell resources apart; all of them if none is listed.
    #[arg(default)]
    pub resource_metrics_key_attributes: Vec<String>,
    /// Combinations of dimensions a metric and resource; further ones are counted together. 0 sets no limit.
    #[arg(default)]
    pub aggregation_cardinality_limit: i64,
    /// Whether metrics count from the beginning or from the last flush.
    #[arg(default = Temporality::Cumulative, code_type = "string")]
    pub aggregation_temporality: Temporality,
    /// How often metrics are sent.
    #[arg(default = Duration::from_secs(60))]
    pub metrics_flush_interval: Duration,
    /// Metrics of a resource without spans for so long are forgotten; 0 forgets none.
    #[arg(default)]
    pub metrics_expiration: Duration,
    /// A combination of dimensions without spans for so long is forgotten; 0 forgets none.
    #[arg(default)]
    pub series_expiration: Duration,
    /// Series of delta temporality whose last time is kept, to be the start of the next point.
    #[arg(default = 1000)]
    pub metric_timestamp_cache_size: i64,
    /// Stands before the names of metrics, with a dot.
    #[arg(default = "traces.span.metrics")]
    pub namespace: String,
    /// Instrumentation scopes whose name and version become dimensions.
    #[arg(default)]
    pub include_instrumentation_scope: Vec<String>,
    /// Adds the ID of this process as the dimension `collector.instance.id`.
    #[arg(default)]
    pub include_collector_instance_id: bool,
    /// Dimensions besides the default ones.
    #[arg(block)]
    pub dimension: Vec<DimensionArgs>,
    /// Dimensions of the calls alone.
    #[arg(block)]
    pub calls_dimension: Vec<DimensionArgs>,
    /// The histogram of durations.
    #[arg(block, required)]
    pub histogram: HistogramArgs,
    /// Spans as examples.
    #[arg(block)]
    pub exemplars: ExemplarsArgs,
    /// The metric of events.
    #[arg(block)]
    pub events: EventsArgs,
    /// Where metrics go.
    #[arg(block, required)]
    pub output: Output,
    /// How much the component tells of itself.
    #[arg(block)]
    pub debug_metrics: DebugMetrics,
}

/// Whether metrics count from the beginning or from the last flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ArgEnum)]
pub enum Temporality {
    /// From the beginning.
    #[arg(name = "CUMULATIVE")]
    Cumulative,
    /// From the last flush.
    #[arg(name = "DELTA")]
    Delta,
}

/// A dimension.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct DimensionArgs {
    /// Key of an attribute of the span or else of the resource.
    #[arg(default)]
    pub name: String,
    /// Its value where there is no such attribute.
    #[arg(code_type = "string")]
    pub default: Option<String>,
    /// A pattern instead of a name: every attribute whose key matches is a dimension.
    #[arg(default)]
    pub glob: String,
}

/// The histogram of durations.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct HistogramArgs {
    /// Without it.
    #[arg(default)]
    pub disable: bool,
    /// Unit of durations.
    #[arg(default = Unit::Milliseconds, code_type = "string")]
    pub unit: Unit,
    /// Dimensions of the durations alone.
    #[arg(block)]
    pub dimension: Vec<DimensionArgs>,
    /// With exponential buckets.
    #[arg(block)]
    pub exponential: Option<ExponentialArgs>,
    /// With buckets of these bounds.
    #[arg(block)]
    pub explicit: Option<ExplicitArgs>,
}

/// Unit of durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ArgEnum)]
pub enum Unit {
    /// Milliseconds.
    #[arg(name = "ms")]
    Milliseconds,
    /// Seconds.
    #[arg(name = "s")]
    Seconds,
}

/// Exponential buckets.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct ExponentialArgs {
    /// Buckets at most.
    #[arg(default = 160)]
    pub max_size: i64,
}

/// Buckets of given bounds.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct ExplicitArgs {
    /// Upper bounds.
    #[arg(default = BUCKETS.to_vec())]
    pub buckets: Vec<Duration>,
}

/// Spans as examples.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct ExemplarsArgs {
    /// With examples.
    #[arg(default)]
    pub enabled: bool,
    /// Examples a data point at most.
    #[arg(default = 5)]
    pub max_per_data_point: i64,
}

/// The metric of events.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct EventsArgs {
    /// With it.
    #[arg(default)]
    pub enabled: bool,
    /// Attributes of events that are dimensions.
    #[arg(block)]
    pub dimension: Vec<DimensionArgs>,
}

/// The dimensions that there always are.
pub(super) const DEFAULT_DIMENSIONS: [&str; 4] = ["service.name", "span.name", "span.kind", "status.code"];

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if self.metrics_flush_interval.is_zero() {
            return Err(Invalid::field("metrics_flush_interval", "must be above 0"));
        }
        let positive = [
            ("resource_metrics_cache_size", self.resource_metrics_cache_size),
            ("metric_timestamp_cache_size", self.metric_timestamp_cache_size),
        ];
        if let Some((name, _)) = positive.into_iter().find(|(_, value)| *value <= 0) {
            return Err(Invalid::field(name, "must be above 0"));
        }
        let not_negative = [
            ("dimensions_cache_size", self.dimensions_cache_size),
            ("aggregation_cardinality_limit", self.aggregation_cardinality_limit),
        ];
        if let Some((name, _)) = not_negative.into_iter().find(|(_, value)| *value < 0) {
            return Err(Invalid::field(name, "must not be negative"));
        }
        if self.exemplars.max_per_data_point < 0 {
            return Err(Invalid::field("exemplars", "max_per_data_point must not be negative"));
        }
        self.histogram.validate()?;
        if self.events.enabled && self.events.dimension.is_empty() {
            return Err(Invalid::field("events", "needs a dimension where it is enabled"));
        }
        let none = Vec::new();
        let events = if self.events.enabled { &self.events.dimension } else { &none };
        for (block, own) in [
            ("dimension", &none),
            ("calls_dimension", &self.calls_dimension),
            ("histogram", &self.histogram.dimension),
            ("events", events),
        ] {
            self.check_dimensions(block, own)?;
        }
        Ok(())
    }

    /// Each has a name of its own among those of its metric.
    fn check_dimensions(&self, block: &'static str, own: &[DimensionArgs]) -> Result<(), Invalid> {
        let mut known: Vec<&str> = DEFAULT_DIMENSIONS.into();
        for dimension in self.dimension.iter().chain(own) {
            match (dimension.name.is_empty(), dimension.glob.is_empty()) {
                (true, true) => return Err(Invalid::field(block, "a dimension needs a name or a glob")),
                (false, false) => {
                    let message = format!("{:?}: a dimension has either a name or a glob", dimension.name);
                    return Err(Invalid::field(block, message));
                }
                (true, false) if dimension.default.is_some() => {
                    let message = format!("{:?}: default goes with a name", dimension.glob);
                    return Err(Invalid::field(block, message));
                }
                (true, false) => continue,
                (false, true) => {}
            }
            if known.contains(&dimension.name.as_str()) {
                return Err(Invalid::field(block, format!("there are two dimensions {:?}", dimension.name)));
            }
            known.push(&dimension.name);
        }
        Ok(())
    }
}

impl HistogramArgs {
    fn validate(&self) -> Result<(), Invalid> {
        if self.explicit.is_some() && self.exponential.is_some() {
            return Err(Invalid::field("histogram", "explicit and exponential exclude each other"));
        }
        if self.exponential.as_ref().is_some_and(|e| !(0..=(1 << 20)).contains(&e.max_size)) {
            return Err(Invalid::field("histogram", "max_size must be between 0 (the default) and 1048576"));
        }
        let ascending = |buckets: &Vec<Duration>| buckets.windows(2).all(|pair| pair[0] < pair[1]);
        if !self.explicit.as_ref().is_none_or(|e| ascending(&e.buckets)) {
            return Err(Invalid::field("histogram", "buckets must be ascending"));
        }
        Ok(())
    }

    /// Durations in the unit.
    pub(super) fn value(&self, nanos: u64) -> f64 {
        match self.unit {
            Unit::Milliseconds => nanos as f64 / 1e6,
            Unit::Seconds => nanos as f64 / 1e9,
        }
    }
}

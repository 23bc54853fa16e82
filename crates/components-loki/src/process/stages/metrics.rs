//! `stage.metrics` counts and measures entries; what it finds is on `/metrics`, with the entry's labels.

mod series;

use std::time::Duration;

use component::eval::{Invalid, parse_duration};
use component::{ArgEnum, Arguments, Error};

pub use series::CustomMetrics;
use series::{Change, Kind, Metric};

use crate::process::extracted::Value;
use crate::process::pipeline::{Cx, Flow, MapStage, Node, StageCx};
use crate::process::record::Record;

/// `stage.metrics`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// The metrics.
    #[arg(one_of)]
    pub metric: Vec<MetricArgs>,
}

/// A metric.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub enum MetricArgs {
    /// A number that only goes up.
    #[arg(name = "metric.counter")]
    Counter(CounterArgs),
    /// A number that goes up and down.
    #[arg(name = "metric.gauge")]
    Gauge(GaugeArgs),
    /// How often values were how large.
    #[arg(name = "metric.histogram")]
    Histogram(HistogramArgs),
}

/// `metric.counter`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = CounterArgs::validate)]
pub struct CounterArgs {
    /// Name, behind the prefix.
    pub name: String,
    /// What it counts, for people.
    #[arg(default)]
    pub description: String,
    /// Extracted value that is counted; else the one of the metric's name.
    #[arg(default)]
    pub source: String,
    /// In front of the name.
    #[arg(default = "loki_process_custom_")]
    pub prefix: String,
    /// After this long without a change a series goes.
    #[arg(default = "5m")]
    pub max_idle_duration: Duration,
    /// Only entries whose value is this are counted.
    #[arg(default)]
    pub value: String,
    /// What an entry does to the counter.
    #[arg(code_type = "string")]
    pub action: CounterAction,
    /// Whether all entries are counted, with or without the value.
    #[arg(default)]
    pub match_all: bool,
    /// Whether the bytes of lines are added.
    #[arg(default)]
    pub count_entry_bytes: bool,
}

/// What an entry does to a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ArgEnum)]
pub enum CounterAction {
    /// Adds one.
    Inc,
    /// Adds the value.
    Add,
}

/// `metric.gauge`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = GaugeArgs::validate)]
pub struct GaugeArgs {
    /// Name, behind the prefix.
    pub name: String,
    /// What it shows, for people.
    #[arg(default)]
    pub description: String,
    /// Extracted value that is shown; else the one of the metric's name.
    #[arg(default)]
    pub source: String,
    /// In front of the name.
    #[arg(default = "loki_process_custom_")]
    pub prefix: String,
    /// After this long without a change a series goes.
    #[arg(default = "5m")]
    pub max_idle_duration: Duration,
    /// Only entries whose value is this change it.
    #[arg(default)]
    pub value: String,
    /// What an entry does to the gauge.
    #[arg(code_type = "string")]
    pub action: GaugeAction,
}

/// What an entry does to a gauge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ArgEnum)]
pub enum GaugeAction {
    /// Sets it to the value.
    Set,
    /// Adds one.
    Inc,
    /// Takes one away.
    Dec,
    /// Adds the value.
    Add,
    /// Takes the value away.
    Sub,
}

/// `metric.histogram`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = HistogramArgs::validate)]
pub struct HistogramArgs {
    /// Name, behind the prefix.
    pub name: String,
    /// What it measures, for people.
    #[arg(default)]
    pub description: String,
    /// Extracted value that is measured; else the one of the metric's name.
    #[arg(default)]
    pub source: String,
    /// In front of the name.
    #[arg(default = "loki_process_custom_")]
    pub prefix: String,
    /// After this long without a change a series goes.
    #[arg(default = "5m")]
    pub max_idle_duration: Duration,
    /// Only entries whose value is this are measured.
    #[arg(default)]
    pub value: String,
    /// Upper bounds of the buckets, ascending.
    pub buckets: Vec<f64>,
}

/// Buckets of a histogram that names none. As Prometheus' client.
const DEFAULT_BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Most buckets of a histogram.
const MOST_BUCKETS: usize = 500;

/// What all kinds have.
struct Common<'a> {
    name: &'a str,
    description: &'a str,
    source: &'a str,
    prefix: &'a str,
    max_idle: Duration,
    value: &'a str,
}

macro_rules! common {
    ($args:expr) => {
        Common {
            name: &$args.name,
            description: &$args.description,
            source: &$args.source,
            prefix: &$args.prefix,
            max_idle: $args.max_idle_duration,
            value: &$args.value,
        }
    };
}

impl Common<'_> {
    fn validate(&self) -> Result<(), Invalid> {
        if self.max_idle < Duration::from_secs(1) {
            return Err(Invalid::field("max_idle_duration", "must be at least 1s"));
        }
        if self.name.is_empty() || !signal::names::is_legacy_name(&self.full_name()) {
            let message = format!("{:?} is not a name of a metric", self.full_name());
            return Err(Invalid::field("name", message)
                .with_help("letters, digits, _ and : only, and no digit first"));
        }
        Ok(())
    }

    fn full_name(&self) -> String {
        // As Alloy: an empty prefix is the default one.
        let prefix = if self.prefix.is_empty() { "loki_process_custom_" } else { self.prefix };
        format!("{prefix}{}", self.name)
    }
}

impl CounterArgs {
    fn validate(&self) -> Result<(), Invalid> {
        common!(self).validate()?;
        if self.match_all && !self.value.is_empty() {
            return Err(Invalid::field("match_all", "a value to match and match_all exclude each other"));
        }
        if self.count_entry_bytes && !(self.match_all && self.action == CounterAction::Add) {
            let message = "needs match_all = true and action = \"add\"";
            return Err(Invalid::field("count_entry_bytes", message));
        }
        Ok(())
    }
}

impl GaugeArgs {
    fn validate(&self) -> Result<(), Invalid> {
        common!(self).validate()
    }
}

impl HistogramArgs {
    fn validate(&self) -> Result<(), Invalid> {
        common!(self).validate()?;
        if self.buckets.windows(2).any(|pair| pair[0] >= pair[1]) || self.buckets.iter().any(|b| b.is_nan()) {
            return Err(Invalid::field("buckets", "must be in ascending order"));
        }
        if self.buckets.len() > MOST_BUCKETS {
            return Err(Invalid::field("buckets", format!("must be {MOST_BUCKETS} at most")));
        }
        Ok(())
    }
}

impl MetricArgs {
    fn common(&self) -> Common<'_> {
        match self {
            Self::Counter(args) => common!(args),
            Self::Gauge(args) => common!(args),
            Self::Histogram(args) => common!(args),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Counter(_) => Kind::Counter,
            Self::Gauge(_) => Kind::Gauge,
            Self::Histogram(args) if args.buckets.is_empty() => Kind::Histogram(DEFAULT_BUCKETS.into()),
            Self::Histogram(args) => {
                // What is above the last bound is counted in any case.
                Kind::Histogram(
                    args.buckets.iter().copied().filter(|bound| *bound != f64::INFINITY).collect(),
                )
            }
        }
    }
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        for (i, metric) in self.metric.iter().enumerate() {
            let name = metric.common().full_name();
            let other = self.metric[..i].iter().find(|other| other.common().full_name() == name);
            if other.is_some_and(|other| other.kind() != metric.kind()) {
                let message = format!("{name:?} is the name of two metrics that are not of one kind");
                return Err(Invalid::body(message));
            }
        }
        Ok(())
    }

    pub(super) fn build(&self, cx: &StageCx<'_>) -> Result<Node, Error> {
        let metrics = self.metric.iter().map(|args| {
            let common = args.common();
            let source = if common.source.is_empty() { common.name } else { common.source };
            let metric = cx.counters.custom.metric(&common.full_name(), args.kind(), common.description);
            Measure { args: args.clone(), source: source.to_owned(), max_idle: common.max_idle, metric }
        });
        Ok(Node::map(Metrics(metrics.collect())))
    }
}

struct Metrics(Vec<Measure>);

struct Measure {
    args: MetricArgs,
    source: String,
    max_idle: Duration,
    metric: Metric,
}

impl MapStage for Metrics {
    fn process(&mut self, record: &mut Record<'_>, cx: &Cx) -> Flow {
        for measure in &self.0 {
            if let Some(change) = measure.change(record) {
                measure.metric.apply(&cx.labels(record), change, measure.max_idle, cx.now);
            }
        }
        Flow::Next
    }
}

impl Measure {
    /// What an entry does to the metric, if anything.
    fn change(&self, record: &Record<'_>) -> Option<Change> {
        if let MetricArgs::Counter(args) = &self.args
            && args.match_all
        {
            return match args.action {
                CounterAction::Inc => Some(Change::Add(1.0)),
                CounterAction::Add if args.count_entry_bytes => Some(Change::Add(record.line.len() as f64)),
                // There is no value to add.
                CounterAction::Add => None,
            };
        }
        let value = record.extracted.get(&self.source)?;
        let wanted = self.args.common().value;
        if !wanted.is_empty() && value.text().as_deref() != Some(wanted) {
            return None;
        }
        match &self.args {
            MetricArgs::Counter(args) => match args.action {
                CounterAction::Inc => Some(Change::Add(1.0)),
                // A counter does not go down.
                CounterAction::Add => number(value).filter(|n| *n >= 0.0).map(Change::Add),
            },
            MetricArgs::Gauge(args) => match args.action {
                GaugeAction::Inc => Some(Change::Add(1.0)),
                GaugeAction::Dec => Some(Change::Add(-1.0)),
                GaugeAction::Set => number(value).map(Change::Set),
                GaugeAction::Add => number(value).map(Change::Add),
                GaugeAction::Sub => number(value).map(|n| Change::Add(-n)),
            },
            MetricArgs::Histogram(_) => number(value).map(Change::Observe),
        }
    }
}

/// A value as a number; of a duration such as `1.5ms` its seconds.
fn number(value: Value<'_>) -> Option<f64> {
    match value {
        Value::Text(text) => {
            text.parse().ok().or_else(|| parse_duration(text).ok().map(|nanos| nanos as f64 / 1e9))
        }
        Value::Bool(truth) => Some(f64::from(u8::from(truth))),
        Value::Number(_) | Value::Float(_) => value.number(),
        Value::Null => None,
    }
}

#[cfg(test)]
mod tests;

//! Which metrics are converted.

use component::{ArgEnum, Arguments, Error};
use signal::Regex;
use signal::otlp::proto::metrics::v1::Metric;
use signal::otlp::proto::metrics::v1::metric::Data;

/// An `include` or `exclude` block.
#[derive(Clone, Debug, Default, PartialEq, Arguments)]
pub struct SelectionArgs {
    /// Names of metrics, or expressions that match somewhere in them.
    #[arg(default)]
    pub metrics: Vec<String>,
    /// How names are compared. Goes with `metrics`.
    #[arg(default = MatchType::Unset, code_type = "string")]
    pub match_type: MatchType,
    /// Types of metrics: `sum`, `histogram`, `exponentialhistogram`.
    #[arg(default)]
    pub metric_types: Vec<String>,
}

/// How names are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ArgEnum)]
pub enum MatchType {
    /// Not at all.
    #[default]
    #[arg(name = "", default)]
    Unset,
    /// They are equal.
    Strict,
    /// An RE2 expression matches.
    Regexp,
}

/// Both blocks.
pub(super) struct Selection {
    include: Side,
    exclude: Side,
}

struct Side {
    names: Option<Names>,
    types: Vec<Kind>,
}

enum Names {
    Strict(Vec<String>),
    Regexp(Vec<Regex>),
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Sum,
    Histogram,
    Exponential,
}

impl Selection {
    pub(super) fn new(include: &SelectionArgs, exclude: &SelectionArgs) -> Result<Self, Error> {
        Ok(Self { include: Side::new("include", include)?, exclude: Side::new("exclude", exclude)? })
    }

    /// Whether a metric is to be converted, if it can be.
    pub(super) fn has(&self, metric: &Metric) -> bool {
        let kind = match &metric.data {
            Some(Data::Sum(_)) => Kind::Sum,
            Some(Data::Histogram(_)) => Kind::Histogram,
            Some(Data::ExponentialHistogram(_)) => Kind::Exponential,
            _ => return false,
        };
        self.include.names.as_ref().is_none_or(|names| names.has(&metric.name))
            && (self.include.types.is_empty() || self.include.types.contains(&kind))
            && !self.exclude.names.as_ref().is_some_and(|names| names.has(&metric.name))
            && !self.exclude.types.contains(&kind)
    }
}

impl Side {
    fn new(block: &'static str, args: &SelectionArgs) -> Result<Self, Error> {
        let names = match (args.match_type, args.metrics.is_empty()) {
            (MatchType::Unset, true) => None,
            (MatchType::Unset, false) => {
                let message = "metrics needs match_type: strict or regexp";
                return Err(Error::argument(block, message));
            }
            (_, true) => return Err(Error::argument(block, "match_type needs metrics")),
            (MatchType::Strict, false) => Some(Names::Strict(args.metrics.clone())),
            (MatchType::Regexp, false) => {
                let regex = |pattern: &String| {
                    Regex::new(pattern).map_err(|error| Error::argument(block, error.to_string()))
                };
                Some(Names::Regexp(args.metrics.iter().map(regex).collect::<Result<_, _>>()?))
            }
        };
        let kind = |name: &String| match name.to_lowercase().as_str() {
            "sum" => Ok(Kind::Sum),
            "histogram" => Ok(Kind::Histogram),
            "exponentialhistogram" | "exponential_histogram" => Ok(Kind::Exponential),
            _ => {
                let message = format!(
                    "{name:?} in metric_types is no type that is converted: sum, histogram, exponentialhistogram"
                );
                Err(Error::argument(block, message))
            }
        };
        Ok(Self { names, types: args.metric_types.iter().map(kind).collect::<Result<_, _>>()? })
    }
}

impl Names {
    fn has(&self, name: &str) -> bool {
        match self {
            Self::Strict(names) => names.iter().any(|n| n == name),
            Self::Regexp(list) => list.iter().any(|regex| regex.is_match(name)),
        }
    }
}

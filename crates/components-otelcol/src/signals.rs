//! The three signals as a value, for code that is the same for all of them.

use signal::otlp::proto::logs::v1::ResourceLogs;
use signal::otlp::proto::metrics::v1::ResourceMetrics;
use signal::otlp::proto::resource::v1::Resource;
use signal::otlp::proto::trace::v1::ResourceSpans;
use signal::otlp::{LogsSignal, MetricsSignal, OtlpSignal, TracesSignal};

/// A signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Spans.
    Traces,
    /// Metric data points.
    Metrics,
    /// Log records.
    Logs,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Traces, Self::Metrics, Self::Logs];

    /// That of a type.
    pub fn of<S: OtlpSignal>() -> Self {
        Self::ALL.into_iter().find(|kind| kind.name() == S::NAME).expect("there are three signals")
    }

    /// As in URLs and labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
            Self::Logs => "logs",
        }
    }

    /// What the names of metrics call its items.
    pub fn items(self) -> &'static str {
        match self {
            Self::Traces => "spans",
            Self::Metrics => "metric_points",
            Self::Logs => "log_records",
        }
    }
}

/// A signal whose decoded requests are lists of groups, each with a resource: all of them.
pub trait Grouped: OtlpSignal {
    /// Items of a resource.
    type Group: Send;

    /// The groups of a request.
    fn groups(request: &mut Self::Request) -> &mut Vec<Self::Group>;

    /// The resource of a group.
    fn resource(group: &Self::Group) -> Option<&Resource>;
}

macro_rules! grouped {
    ($signal:ty, $group:ty, $groups:ident) => {
        impl Grouped for $signal {
            type Group = $group;

            fn groups(request: &mut Self::Request) -> &mut Vec<Self::Group> {
                &mut request.$groups
            }

            fn resource(group: &Self::Group) -> Option<&Resource> {
                group.resource.as_ref()
            }
        }
    };
}

grouped!(TracesSignal, ResourceSpans, resource_spans);
grouped!(MetricsSignal, ResourceMetrics, resource_metrics);
grouped!(LogsSignal, ResourceLogs, resource_logs);

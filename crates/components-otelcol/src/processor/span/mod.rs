//! `otelcol.processor.span` names spans after their attributes, makes attributes of their names, and sets their
//! status.
//!
//! Data path: batch → splices of the bytes of each span that `include` and `exclude` let through → `output`, all
//! in the sender's task.

mod rename;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use component::otel::{DebugMetrics, OtelFanout, OtelInput, Output};
use component::{Arguments, BuildCx, Component, Error, Exports, Port, Rejected, RunCx, Stability};
use signal::otlp::{Traces, TracesSignal};

use super::attributes::matching::{Filter, Filtering, MatchArgs};
use super::items::{ItemCounts, ItemMetrics};
use super::relay::{self, Change};
use crate::signals::Kind;
use rename::{Renaming, Rules};

/// `otelcol.processor.span`
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct Args {
    /// Only spans like this are changed.
    #[arg(block)]
    pub include: Option<MatchArgs>,
    /// Spans like this are not changed.
    #[arg(block)]
    pub exclude: Option<MatchArgs>,
    /// How the name changes.
    #[arg(block)]
    pub name: NameArgs,
    /// The status that is set.
    #[arg(block)]
    pub status: Option<StatusArgs>,
    /// Where spans go; only traces are taken.
    #[arg(block, required)]
    pub output: Output,
    /// How much the component tells of itself.
    #[arg(block)]
    pub debug_metrics: DebugMetrics,
}

/// How the name changes.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct NameArgs {
    /// Attributes whose values, one after the other, are the new name; without one of them it stays.
    #[arg(default)]
    pub from_attributes: Vec<String>,
    /// What stands between the values.
    #[arg(default)]
    pub separator: String,
    /// Attributes that are made of the name.
    #[arg(block)]
    pub to_attributes: Option<ToAttributesArgs>,
}

/// Attributes that are made of the name.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct ToAttributesArgs {
    /// RE2 expressions; each of their named groups becomes an attribute, and in the name its own name in braces.
    pub rules: Vec<String>,
    /// Apply no further rule after one that matches.
    #[arg(default)]
    pub break_after_match: bool,
    /// Leave the name as it is.
    #[arg(default)]
    pub keep_original_name: bool,
}

/// The status that is set.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct StatusArgs {
    /// `Ok`, `Error` or `Unset`.
    pub code: String,
    /// What went wrong; for `Error` only.
    #[arg(default)]
    pub description: String,
}

/// What others may refer to.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct SpanExports {
    /// Takes spans in.
    pub input: OtelInput,
}

/// The component.
pub struct SpanProcessor {
    args: Args,
    port: Port<Traces>,
    metrics: Arc<ItemMetrics>,
}

/// One generation of the arguments.
struct Generation {
    filter: Filter,
    rules: Rules,
    counts: ItemCounts,
}

impl Generation {
    fn new(args: &Args, metrics: &Arc<ItemMetrics>) -> Result<(Arc<Self>, OtelFanout), Error> {
        let rules = Rules::new(&args.name, args.status.as_ref())?;
        let filter = Filter::new(args.include.as_ref(), args.exclude.as_ref(), true, false)?;
        let counts = metrics.at(args.debug_metrics.level);
        Ok((Arc::new(Self { filter, rules, counts }), args.output.fanout()?))
    }
}

impl Change<TracesSignal> for Generation {
    fn change(&self, batch: Traces) -> Result<Option<Traces>, Rejected> {
        let filtering = Filtering::new(&self.filter, Kind::Traces);
        relay::edit_batch(batch, &mut Renaming::new(&self.rules, filtering))
    }

    fn counts(&self) -> Option<&ItemCounts> {
        Some(&self.counts)
    }
}

impl Component for SpanProcessor {
    const NAME: &'static str = "otelcol.processor.span";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = SpanExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, SpanExports), Error> {
        let metrics = ItemMetrics::new("span", cx);
        Generation::new(&args, &metrics)?;
        let port = cx.port::<Traces>("traces");
        let input = OtelInput { traces: Some(port.receiver()), ..OtelInput::default() };
        Ok((Self { args, port, metrics }, SpanExports { input }))
    }

    async fn run(self, cx: RunCx<Self>) -> Result<(), Error> {
        let make = |args: &Args| Generation::new(args, &self.metrics);
        relay::run_traces(cx, &self.port, self.args.clone(), make).await
    }
}

//! `otelcol.processor.attributes` edits the attributes of spans, log records and data points.
//!
//! Data path: batch → the actions for each item that `include` and `exclude` let through, as splices of the
//! request's bytes → `output`, all in the sender's task. A request that nothing changes is passed on as it
//! came, in all its forms.

pub(in crate::processor) mod action;
#[cfg(test)]
mod decoded;
mod edit;
pub(in crate::processor) mod matching;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use component::otel::{DebugMetrics, OtelFanout, OtelInput, Output};
use component::{Arguments, BuildCx, Component, Error, Event, Exports, Rejected, RunCx, Stability};
use signal::otlp::Otlp;
use wire::otlp::Schematic;

use super::items::{ItemCounts, ItemMetrics};
use super::relay::{self, Change};
use crate::ports::Ports;
use crate::signals::Kind;
use action::{Action, ActionArgs};
use edit::Editing;
use matching::{Filter, MatchArgs};

/// `otelcol.processor.attributes`
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct Args {
    /// Only items like this are edited.
    #[arg(block)]
    pub include: Option<MatchArgs>,
    /// Items like this are not edited.
    #[arg(block)]
    pub exclude: Option<MatchArgs>,
    /// What is done to each item's attributes, in order.
    #[arg(block)]
    pub action: Vec<ActionArgs>,
    /// Where data goes.
    #[arg(block, required)]
    pub output: Output,
    /// How much the component tells of itself.
    #[arg(block)]
    pub debug_metrics: DebugMetrics,
}

/// What others may refer to.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct AttributesExports {
    /// Takes data in.
    pub input: OtelInput,
}

/// The component.
pub struct Attributes {
    rules: Arc<Rules>,
    next: OtelFanout,
    ports: Ports,
    metrics: Arc<ItemMetrics>,
}

/// One generation of the arguments.
struct Rules {
    filter: Filter,
    actions: Vec<Action>,
    counts: ItemCounts,
}

impl Rules {
    fn new(args: &Args, next: &OtelFanout, metrics: &Arc<ItemMetrics>) -> Result<Arc<Self>, Error> {
        let (traces, logs) = (!next.traces.is_empty(), !next.logs.is_empty());
        Ok(Arc::new(Self {
            filter: Filter::new(args.include.as_ref(), args.exclude.as_ref(), traces, logs)?,
            actions: args.action.iter().map(Action::new).collect::<Result<_, _>>()?,
            counts: metrics.at(args.debug_metrics.level),
        }))
    }
}

impl<S: Schematic> Change<S> for Rules {
    fn change(&self, batch: Otlp<S>) -> Result<Option<Otlp<S>>, Rejected> {
        if self.actions.is_empty() {
            return Ok(Some(batch));
        }
        let client = batch.client.clone();
        relay::edit_batch(batch, &mut Editing::new(self, Kind::of::<S>(), client.as_deref()))
    }

    fn counts(&self) -> Option<&ItemCounts> {
        Some(&self.counts)
    }
}

impl Component for Attributes {
    const NAME: &'static str = "otelcol.processor.attributes";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = AttributesExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, AttributesExports), Error> {
        let next = args.output.fanout()?;
        let metrics = ItemMetrics::new("attributes", cx);
        let rules = Rules::new(&args, &next, &metrics)?;
        let ports = Ports::new(cx);
        let exports = AttributesExports { input: ports.input() };
        Ok((Self { rules, next, ports, metrics }, exports))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let _ = self.ports.relay(&self.next, &self.rules);
        loop {
            match cx.event().await {
                Event::Stop => return Ok(()),
                Event::Update(update) => {
                    update.apply(|args| {
                        let next = args.output.fanout()?;
                        let rules = Rules::new(&args, &next, &self.metrics)?;
                        let _ = self.ports.relay(&next, &rules);
                        Ok(())
                    });
                }
            }
        }
    }
}

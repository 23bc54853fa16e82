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

<<<<<<< HEAD
use component::otel::{DebugMetrics, MetricsLevel, OtelFanout, OtelInput, Output};
use component::{
    Arguments, BoxFuture, BuildCx, Component, Consumer, Error, Event, Exports, Fanout, Rejected, RunCx,
    Signal, Stability,
};
use signal::otlp::{ClientMetadata, Malformed, Otlp, OtlpRequest};

use crate::ports::{Consumers, Ports};
use crate::processor::items::ItemMetrics;
=======
use component::otel::{DebugMetrics, OtelFanout, OtelInput, Output};
use component::{Arguments, BuildCx, Component, Error, Event, Exports, Rejected, RunCx, Stability};
use signal::otlp::Otlp;
use wire::otlp::Schematic;

use super::relay::{self, Change};
use crate::ports::Ports;
use crate::signals::Kind;
>>>>>>> sampling
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
#[derive(Debug)]
struct Rules {
    filter: Filter,
    actions: Vec<Action>,
    shows: MetricsLevel,
}

impl Rules {
    fn new(args: &Args, next: &OtelFanout) -> Result<Arc<Self>, Error> {
        let (traces, logs) = (!next.traces.is_empty(), !next.logs.is_empty());
        Ok(Arc::new(Self {
            filter: Filter::new(args.include.as_ref(), args.exclude.as_ref(), traces, logs)?,
            actions: args.action.iter().map(Action::new).collect::<Result<_, _>>()?,
<<<<<<< HEAD
            shows: args.debug_metrics.level,
        })
=======
        }))
>>>>>>> sampling
    }
}

impl<S: Schematic> Change<S> for Rules {
    fn change(&self, batch: Otlp<S>) -> Result<Option<Otlp<S>>, Rejected> {
        if self.actions.is_empty() {
<<<<<<< HEAD
            return Ok(batch);
        }
        let mut new = Vec::new();
        for (at, request) in batch.requests.iter().enumerate() {
            // A copy: the request stays whole for others, and for the case that nothing changes.
            let mut message = match request.is_decoded() {
                true => request.message()?.clone(),
                false => OtlpRequest::<S>::from_wire(request.wire().clone(), 0, None).into_message()?,
            };
            if S::edit(&mut message, self, batch.client.as_deref()) {
                new.push((at, OtlpRequest::from_message(message)));
            }
        }
        if !new.is_empty() {
            let batch = batch.make_mut();
            new.into_iter().for_each(|(at, request)| batch.requests[at] = request);
        }
        Ok(batch)
    }

    fn consumers(self: &Arc<Self>, next: &OtelFanout, metrics: &Arc<ItemMetrics>) -> Consumers {
        metrics.show(self.shows);
        let (rules, metrics) = (self, metrics);
        Consumers {
            traces: Relay::new(rules, &next.traces, metrics),
            metrics: Relay::new(rules, &next.metrics, metrics),
            logs: Relay::new(rules, &next.logs, metrics),
=======
            return Ok(Some(batch));
>>>>>>> sampling
        }
        let client = batch.client.clone();
        relay::edit_batch(batch, &mut Editing::new(self, Kind::of::<S>(), client.as_deref()))
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
        let rules = Rules::new(&args, &next)?;
        let ports = Ports::new(cx);
        let exports = AttributesExports { input: ports.input() };
        let metrics = ItemMetrics::new("attributes", cx);
        Ok((Self { rules, next, ports, metrics }, exports))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
<<<<<<< HEAD
        let _ = self.ports.attach_for(&self.next, self.rules.consumers(&self.next, &self.metrics));
=======
        let _ = self.ports.relay(&self.next, &self.rules);
>>>>>>> sampling
        loop {
            match cx.event().await {
                Event::Stop => return Ok(()),
                Event::Update(update) => {
                    update.apply(|args| {
                        let next = args.output.fanout()?;
<<<<<<< HEAD
                        let rules = Arc::new(Rules::new(&args, &next)?);
                        let _ = self.ports.attach_for(&next, rules.consumers(&next, &self.metrics));
=======
                        let rules = Rules::new(&args, &next)?;
                        let _ = self.ports.relay(&next, &rules);
>>>>>>> sampling
                        Ok(())
                    });
                }
            }
        }
    }
}
<<<<<<< HEAD

/// Stands behind the port of one signal.
struct Relay<S: Edited> {
    rules: Arc<Rules>,
    next: Fanout<Otlp<S>>,
    metrics: Arc<ItemMetrics>,
}

impl<S: Edited> Relay<S>
where
    Otlp<S>: Signal,
{
    fn new(rules: &Arc<Rules>, next: &Fanout<Otlp<S>>, metrics: &Arc<ItemMetrics>) -> Arc<Self> {
        Arc::new(Self { rules: rules.clone(), next: next.clone(), metrics: metrics.clone() })
    }
}

impl<S: Edited> Consumer<Otlp<S>> for Relay<S>
where
    Otlp<S>: Signal,
{
    fn consume(&self, batch: Otlp<S>) -> BoxFuture<'_, Result<(), Rejected>> {
        Box::pin(async move {
            let (shows, items) = (self.rules.shows, batch.items());
            self.metrics.came(shows, S::NAME, items);
            let batch = self.rules.batch(batch).map_err(|error| Rejected::Permanent(error.to_string()))?;
            self.next.send(batch).await?;
            self.metrics.went(shows, S::NAME, items);
            Ok(())
        })
    }
}
=======
>>>>>>> sampling

//! `otelcol.processor.attributes` edits the attributes of spans, log records and data points.
//!
//! Data path: batch → each request decoded → the actions for each item that `include` and `exclude` let
//! through → `output`, all in the sender's task. A request that nothing changes is passed on as it came, in
//! all its forms.

mod action;
mod edit;
mod matching;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use component::otel::{DebugMetrics, MetricsLevel, OtelFanout, OtelInput, Output};
use component::{
    Arguments, BoxFuture, BuildCx, Component, Consumer, Error, Event, Exports, Fanout, Rejected, RunCx,
    Signal, Stability,
};
use signal::otlp::{ClientMetadata, Malformed, Otlp, OtlpRequest};

use crate::ports::{Consumers, Ports};
use crate::processor::items::ItemMetrics;
use action::{Action, ActionArgs};
use edit::Edited;
use matching::{MatchArgs, Matcher};

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
    include: Option<Matcher>,
    exclude: Option<Matcher>,
    actions: Vec<Action>,
    shows: MetricsLevel,
}

impl Rules {
    fn new(args: &Args, next: &OtelFanout) -> Result<Self, Error> {
        let matcher = |block: &'static str, args: &Option<MatchArgs>| {
            let Some(args) = args else { return Ok(None) };
            let matcher = Matcher::new(block, args)?;
            matcher.check(block, !next.traces.is_empty(), !next.logs.is_empty())?;
            Ok::<_, Error>(Some(matcher))
        };
        Ok(Self {
            include: matcher("include", &args.include)?,
            exclude: matcher("exclude", &args.exclude)?,
            actions: args.action.iter().map(Action::new).collect::<Result<_, _>>()?,
            shows: args.debug_metrics.level,
        })
    }

    /// Whether an item is edited, by a test for a matcher.
    fn applies(&self, test: impl Fn(&Matcher) -> bool) -> bool {
        self.include.as_ref().is_none_or(&test) && !self.exclude.as_ref().is_some_and(&test)
    }

    /// Whether anything has changed.
    fn apply(
        &self,
        attributes: &mut Vec<signal::otlp::proto::common::v1::KeyValue>,
        client: Option<&ClientMetadata>,
    ) -> bool {
        self.actions.iter().fold(false, |changed, action| action.apply(attributes, client) | changed)
    }

    fn batch<S: Edited>(&self, mut batch: Otlp<S>) -> Result<Otlp<S>, Malformed> {
        if self.actions.is_empty() {
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
        }
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
        let rules = Arc::new(Rules::new(&args, &next)?);
        let ports = Ports::new(cx);
        let exports = AttributesExports { input: ports.input() };
        let metrics = ItemMetrics::new("attributes", cx);
        Ok((Self { rules, next, ports, metrics }, exports))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let _ = self.ports.attach_for(&self.next, self.rules.consumers(&self.next, &self.metrics));
        loop {
            match cx.event().await {
                Event::Stop => return Ok(()),
                Event::Update(update) => {
                    update.apply(|args| {
                        let next = args.output.fanout()?;
                        let rules = Arc::new(Rules::new(&args, &next)?);
                        let _ = self.ports.attach_for(&next, rules.consumers(&next, &self.metrics));
                        Ok(())
                    });
                }
            }
        }
    }
}

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

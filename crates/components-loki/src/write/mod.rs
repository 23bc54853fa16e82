//! `loki.write` sends log entries to Loki.
//!
//! Data path: batch → for each endpoint: streams' label strings, external labels, tenants → records of encoded
//! entries → the endpoint's queue, on disk if that is turned on → its senders: records joined, snappy, HTTP.
//! Invariants: a batch is acknowledged when every endpoint's queue has it, or what is left out is counted;
//! endpoints share nothing but the batch, so one that is down never holds up another's sending.

mod answer;
mod args;
#[doc(hidden)]
pub mod bench;
mod encode;
mod endpoint;
mod metrics;
mod plan;
mod record;
mod streams;
#[cfg(test)]
mod tests;
mod transport;

use std::sync::Arc;
use std::time::Duration;

use component::eval::{Item, Value};
use component::{
    BoxFuture, BuildCx, Component, Consumer, Draining, Error, Event, Exports, Health, Port, Receiver,
    Rejected, RunCx, Stability,
};
use delivery::{Endpoint as _, Endpoints};
use futures_util::future::join_all;
use signal::Logs;
use tokio::time::{Instant, MissedTickBehavior, sleep_until, timeout};

pub use args::Args;
use endpoint::{Endpoint, Inlet};
use metrics::Metrics;
use plan::{Plan, plans};

/// How often health is looked at.
const HEALTH_INTERVAL: Duration = Duration::from_secs(5);
/// A Loki that has taken nothing for this long, while something waits, makes the node unhealthy.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long batches that are on their way into a queue are waited for before it is closed. They take
/// microseconds, unless the queue is full and blocks.
const GRACE: Duration = Duration::from_secs(5);

/// What others may refer to.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct WriteExports {
    /// Takes entries in.
    pub receiver: Receiver<Logs>,
}

/// The component.
pub struct Write {
    plans: Vec<Plan>,
    port: Port<Logs>,
    metrics: Arc<Metrics>,
}

impl Component for Write {
    const NAME: &'static str = "loki.write";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = WriteExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, WriteExports), Error> {
        let plans = plans(&args, cx)?;
        let port = cx.port("receiver");
        let exports = WriteExports { receiver: port.receiver() };
        Ok((Self { plans, port, metrics: Arc::new(Metrics::new(&cx.metrics())) }, exports))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let endpoints = Endpoints::new(self.metrics.clone());
        let mut running = Running { endpoints, port: self.port, metrics: self.metrics };
        let errors = running.endpoints.open(self.plans).await;
        let _ = running.opened(errors, &cx);
        let mut health = tokio::time::interval(HEALTH_INTERVAL);
        health.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = cx.event() => match event {
                    Event::Stop => break,
                    Event::Update(update) => {
                        let changed = match plans(update.args(), &cx) {
                            Ok(new) => {
                                running.change(new, &cx).await;
                                Ok(())
                            }
                            Err(error) => Err(error),
                        };
                        update.answer(changed);
                    }
                },
                _ = health.tick() => running.report(&cx),
                () = at(running.endpoints.reopen_at()) => {
                    let errors = running.endpoints.reopen().await;
                    let _ = running.opened(errors, &cx);
                }
            }
        }
        running.stop().await;
        Ok(())
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

struct Running {
    endpoints: Endpoints<Endpoint>,
    port: Port<Logs>,
    metrics: Arc<Metrics>,
}

impl Running {
    /// Endpoints have been opened; the answer tells when nothing is on its way into others any more.
    fn opened(&self, errors: Vec<String>, cx: &RunCx<Write>) -> Draining {
        if !errors.is_empty() {
            cx.report(Health::unhealthy(errors.join("; ")));
        }
        let queues: Vec<_> = self.endpoints.iter().map(|e| (e.plan.name.clone(), e.queue.clone())).collect();
        cx.set_debug_info(move || {
            queues.iter().map(|(name, queue)| debug_item(name, &queue.stats())).collect()
        });
        self.attach()
    }

    /// New plans: endpoints that stay are changed in place, new ones opened, others drained in the
    /// background.
    async fn change(&mut self, plans: Vec<Plan>, cx: &RunCx<Write>) {
        let reshards = |endpoint: &Endpoint| {
            let same = plans.iter().find(|plan| plan.key == endpoint.plan.key);
            same.is_some_and(|plan| plan.shape.lanes != endpoint.plan.shape.lanes)
        };
        if self.endpoints.iter().any(reshards) {
            // A record that was cut for another number of shards must not come after the fence.
            settle(self.port.suspend()).await;
        }
        let port = self.port.clone();
        let (gone, errors) = self.endpoints.change(plans, async || settle(port.suspend()).await).await;
        let replaced = self.opened(errors, cx);
        let metrics = self.metrics.clone();
        cx.spawn(async move {
            // The generation before may still put batches into endpoints that are removed.
            settle(replaced).await;
            join_all(gone.iter().map(|endpoint| endpoint.drain(&metrics, Duration::ZERO))).await;
            metrics.forget_gone();
        });
    }

    /// Puts the endpoints behind the receiver. While an endpoint cannot be opened senders wait: what they
    /// have is not acknowledged, so it is not lost.
    fn attach(&self) -> Draining {
        if !self.endpoints.are_open() {
            return self.port.suspend();
        }
        self.port.attach(Writer { inlets: self.endpoints.iter().map(Endpoint::inlet).collect() })
    }

    fn report(&self, cx: &RunCx<Write>) {
        if !self.endpoints.are_open() {
            return;
        }
        let trouble = |e: &Endpoint| {
            let trouble = e.queue.stats().trouble(PATIENCE)?;
            Some(format!("endpoint {}: {trouble}", e.plan.name))
        };
        let troubles: Vec<_> = self.endpoints.iter().filter_map(trouble).collect();
        cx.report(match troubles.is_empty() {
            true => Health::healthy("all endpoints take what is sent"),
            false => Health::unhealthy(troubles.join("; ")),
        });
    }

    async fn stop(&self) {
        settle(self.port.stop()).await;
        join_all(self.endpoints.all().map(|endpoint| endpoint.drain(&self.metrics, Duration::ZERO))).await;
    }
}

/// Waits until no batch is in a replaced generation, but not for those that a full queue holds up: closing
/// the queue sends them back.
async fn settle(replaced: Draining) {
    if timeout(GRACE, replaced.finished()).await.is_err() {
        tracing::debug!("batches still wait for a full queue that is to be closed");
    }
}

fn debug_item(name: &str, stats: &delivery::Stats) -> Item {
    let attribute = |name: &'static str, value: Value| Item::Attribute { name: name.into(), value };
    let figures = stats.figures().into_iter().map(|(name, value)| attribute(name, Value::from(value)));
    let error =
        stats.last_error.iter().map(|error| attribute("last_error", Value::from(error.text.as_str())));
    Item::Block {
        name: "endpoint".into(),
        label: Some(name.to_string()),
        body: figures.chain(error).collect(),
    }
}

/// One generation of the component: all endpoints of one configuration.
struct Writer {
    inlets: Vec<Inlet>,
}

impl Consumer<Logs> for Writer {
    fn consume(&self, batch: Logs) -> BoxFuture<'_, Result<(), Rejected>> {
        Box::pin(async move {
            let now_ms = jiff::Timestamp::now().as_millisecond();
            match &self.inlets[..] {
                [only] => only.put(&batch, now_ms).await,
                all => {
                    let answers = join_all(all.iter().map(|inlet| inlet.put(&batch, now_ms))).await;
                    // A refusal that can be repeated wins: the others then get the batch twice, none loses it.
                    let retryable = answers.iter().find(|a| matches!(a, Err(Rejected::Retryable(_))));
                    let first = retryable.or_else(|| answers.iter().find(|a| a.is_err()));
                    first.cloned().unwrap_or(Ok(()))
                }
            }
        })
    }
}

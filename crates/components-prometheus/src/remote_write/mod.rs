//! `prometheus.remote_write` sends samples to Prometheus-compatible back ends.
//!
//! Data path: batch → for each endpoint: external labels and relabelling → remote-write message → snappy →
//! the endpoint's queue, on disk unless that is turned off → its senders → HTTP.
//! Invariants: a batch is acknowledged when every endpoint's queue has it; endpoints share nothing but the
//! batch, so one that is down never holds up another.

mod args;
#[doc(hidden)]
pub mod bench;
mod encode;
mod endpoint;
mod gauges;
mod memo;
mod metadata;
mod metrics;
mod plan;
mod prepared;
mod record;
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
use signal::Samples;
use tokio::time::{Instant, MissedTickBehavior, sleep_until, timeout};

pub use args::Args;
use endpoint::{Endpoint, Inlet, metadata_record};
use metadata::Families;
use metrics::Metrics;
use plan::{Plan, plans};

/// How often health is looked at.
const HEALTH_INTERVAL: Duration = Duration::from_secs(5);
/// A back end that has taken nothing for this long, while something waits, makes the node unhealthy.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long batches that are on their way into a queue are waited for before it is closed. They take
/// microseconds, unless the queue is full and blocks.
const GRACE: Duration = Duration::from_secs(5);
/// How long metadata may wait for a place in a queue.
const METADATA_WAIT: Duration = Duration::from_secs(1);

/// What others may refer to.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct RemoteWriteExports {
    /// Takes samples in.
    pub receiver: Receiver<Samples>,
}

/// The component.
pub struct RemoteWrite {
    plans: Vec<Plan>,
    port: Port<Samples>,
    metrics: Arc<Metrics>,
}

impl Component for RemoteWrite {
    const NAME: &'static str = "prometheus.remote_write";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = RemoteWriteExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, RemoteWriteExports), Error> {
        let plans = plans(&args, cx)?;
        let port = cx.port("receiver");
        let exports = RemoteWriteExports { receiver: port.receiver() };
        Ok((Self { plans, port, metrics: Arc::new(Metrics::new(&cx.metrics())) }, exports))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let mut running = Running::new(self.port, self.metrics);
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
                () = at(running.metadata_due()) => running.send_metadata().await,
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
    port: Port<Samples>,
    metrics: Arc<Metrics>,
    families: Arc<Families>,
}

impl Running {
    fn new(port: Port<Samples>, metrics: Arc<Metrics>) -> Self {
        Self { endpoints: Endpoints::new(metrics.clone()), port, metrics, families: Arc::default() }
    }

    /// Endpoints have been opened; the answer tells when nothing is on its way into others any more.
    fn opened(&self, errors: Vec<String>, cx: &RunCx<RemoteWrite>) -> Draining {
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
    async fn change(&mut self, plans: Vec<Plan>, cx: &RunCx<RemoteWrite>) {
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
        self.port.attach(Writer {
            inlets: self.endpoints.iter().map(Endpoint::inlet).collect(),
            metrics: self.metrics.clone(),
            families: self.families.clone(),
        })
    }

    fn report(&self, cx: &RunCx<RemoteWrite>) {
        self.endpoints.iter().for_each(Endpoint::sweep);
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

    fn metadata_due(&self) -> Option<Instant> {
        self.endpoints.iter().filter_map(Endpoint::metadata_due).min()
    }

    /// Queues metadata for every endpoint that is due.
    async fn send_metadata(&mut self) {
        let now = Instant::now();
        let now_ms = jiff::Timestamp::now().as_millisecond();
        for endpoint in self.endpoints.iter_mut() {
            if endpoint.metadata_due().is_none_or(|due| due > now) {
                continue;
            }
            let families = self.families.since(endpoint.metadata_sent);
            endpoint.metadata_sent = now;
            for part in families.chunks(endpoint.plan.metadata.max_samples_per_send) {
                let record = metadata_record(part.iter().map(|f| &**f), now_ms);
                // It comes again with the next interval: a full queue is no place for it.
                match timeout(METADATA_WAIT, endpoint.queue.append(record)).await {
                    Ok(Ok(())) => self.metrics.metadata_queued(part.len()),
                    Ok(Err(error)) => tracing::debug!(%error, "metadata was not queued"),
                    Err(_) => {
                        tracing::debug!("metadata was not queued: the queue is full");
                        break;
                    }
                }
            }
        }
        let longest = self.endpoints.iter().map(|e| e.plan.metadata.send_interval).max().unwrap_or_default();
        if let Some(before) = now.checked_sub(longest.saturating_mul(2)) {
            self.families.forget(before);
        }
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
    metrics: Arc<Metrics>,
    families: Arc<Families>,
}

impl Consumer<Samples> for Writer {
    fn consume(&self, batch: Samples) -> BoxFuture<'_, Result<(), Rejected>> {
        Box::pin(async move {
            self.metrics.taken(&batch);
            self.families.note(&batch, Instant::now());
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

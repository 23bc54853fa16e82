//! `prometheus.remote_write` sends samples to Prometheus-compatible back ends.
//!
//! Data path: batch → for each endpoint: external labels and relabelling → remote-write message → snappy →
//! the endpoint's queue, on disk unless that is turned off → its senders → HTTP.
//! Invariants: a batch is acknowledged when every endpoint's queue has it; endpoints share nothing but the
//! batch, so one that is down never holds up another.

mod args;
mod encode;
mod endpoint;
mod metadata;
mod metrics;
mod record;
mod transport;



use std::sync::Arc;
use std::time::Duration;

use component::eval::{Item, Value};
use component::{
    BoxFuture, BuildCx, Component, Consumer, Error, Event, Exports, Health, Port, Receiver, Rejected, RunCx, Stability,
};
use futures_util::future::join_all;
use signal::Samples;
use tokio::time::MissedTickBehavior;

pub use args::Args;
use endpoint::{Endpoint, Inlet, Plan, plans};
use metadata::Families;
use metrics::Metrics;

/// How often health is looked at.
const HEALTH_INTERVAL: Duration = Duration::from_secs(5);
/// A back end that has taken nothing for this long, while something waits, makes the node unhealthy.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a removed or stopping endpoint may go on sending what it keeps on disk anyway.
const DRAIN_DISK: Duration = Duration::from_secs(10);
/// The same where what is not sent is lost. As Alloy's flush deadline.
const DRAIN_MEMORY: Duration = Duration::from_secs(60);
/// Between attempts to open a queue.
const REOPEN: Duration = Duration::from_secs(5);

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
        let mut running = Running { endpoints: Vec::new(), port: self.port, metrics: self.metrics, families: Arc::default() };
        let mut waiting = running.open(self.plans, &cx).await;
        running.attach(&waiting);
        let mut health = tokio::time::interval(HEALTH_INTERVAL);
        health.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut metadata = metadata::Ticker::default();
        loop {
            tokio::select! {
                event = cx.event() => match event {
                    Event::Stop => break,
                    Event::Update(update) => match plans(update.args(), &cx) {
                        Ok(new) => {
                            waiting = running.change(new, &cx).await;
                            running.attach(&waiting);
                            update.answer(Ok(()));
                        }
                        Err(error) => update.answer(Err(error)),
                    },
                },
                _ = health.tick() => running.report(&waiting, &cx),
                () = metadata.due(&running.endpoints) => metadata.send(&running.endpoints, &running.families, &running.metrics).await,
                () = tokio::time::sleep(REOPEN), if !waiting.is_empty() => {
                    waiting = running.open(std::mem::take(&mut waiting), &cx).await;
                    running.attach(&waiting);
                }
            }
        }
        running.stop().await;
        Ok(())
    }
}

struct Running {
    endpoints: Vec<Endpoint>,
    port: Port<Samples>,
    metrics: Arc<Metrics>,
    families: Arc<Families>,
}

impl Running {
    /// Opens endpoints; gives back those that could not be opened now.
    async fn open(&mut self, plans: Vec<Plan>, cx: &RunCx<RemoteWrite>) -> Vec<Plan> {
        let mut waiting = Vec::new();
        for plan in plans {
            let again = plan.clone();
            match Endpoint::open(plan, &self.metrics).await {
                Ok(endpoint) => self.endpoints.push(endpoint),
                Err(error) => {
                    tracing::error!(%error, remote_name = %again.name, "the endpoint's queue cannot be opened; trying again");
                    cx.report(Health::unhealthy(error.to_string()));
                    waiting.push(again);
                }
            }
        }
        let shown = self.endpoints.iter().map(|e| (e.plan.name.clone(), e.plan.shown_url.clone(), e.queue.clone()));
        self.metrics.show(shown.collect());
        let queues: Vec<_> = self.endpoints.iter().map(|e| (e.plan.name.clone(), e.queue.clone())).collect();
        cx.set_debug_info(move || queues.iter().map(|(name, queue)| debug_item(name, &queue.stats())).collect());
        waiting
    }

    /// New plans: endpoints that stay are changed in place, new ones opened, others drained in the
    /// background.
    async fn change(&mut self, plans: Vec<Plan>, cx: &RunCx<RemoteWrite>) -> Vec<Plan> {
        let mut old = std::mem::take(&mut self.endpoints);
        let mut new = Vec::new();
        for plan in plans {
            let Some(at) = old.iter().position(|e| e.plan.key == plan.key) else {
                new.push(plan);
                continue;
            };
            let mut endpoint = old.swap_remove(at);
            match endpoint.change(plan, &self.metrics) {
                Ok(()) => self.endpoints.push(endpoint),
                Err(plan) => {
                    // The folder comes or goes: nothing may be in flight while the queue moves.
                    self.port.suspend().finished().await;
                    endpoint.queue.drain(DRAIN_DISK).await;
                    new.push(plan);
                }
            }
        }
        for endpoint in old {
            cx.spawn(async move { drain(&endpoint).await });
        }
        self.open(new, cx).await
    }

    /// Puts the endpoints behind the receiver. While an endpoint cannot be opened senders wait: what they
    /// have is not acknowledged, so it is not lost.
    fn attach(&self, waiting: &[Plan]) {
        if !waiting.is_empty() {
            let _ = self.port.suspend();
            return;
        }
        let _ = self.port.attach(Writer {
            inlets: self.endpoints.iter().map(Endpoint::inlet).collect(),
            metrics: self.metrics.clone(),
            families: self.families.clone(),
        });
    }

    fn report(&self, waiting: &[Plan], cx: &RunCx<RemoteWrite>) {
        if !waiting.is_empty() {
            return;
        }
        let troubles: Vec<_> = self.endpoints.iter().filter_map(|e| trouble(&e.plan.name, &e.queue.stats())).collect();
        cx.report(match troubles.is_empty() {
            true => Health::healthy("all endpoints take what is sent"),
            false => Health::unhealthy(troubles.join("; ")),
        });
    }

    async fn stop(&self) {
        self.port.stop().finished().await;
        join_all(self.endpoints.iter().map(drain)).await;
    }
}

async fn drain(endpoint: &Endpoint) {
    let on_disk = endpoint.plan.config.disk.is_some();
    let drained = endpoint.queue.drain(if on_disk { DRAIN_DISK } else { DRAIN_MEMORY }).await;
    if drained.dropped.items > 0 {
        endpoint.counters.dropped("shutdown", drained.dropped.items);
        tracing::error!(remote_name = %endpoint.plan.name, samples = drained.dropped.items, "samples were lost: the queue is not kept on disk");
    } else if drained.left.items > 0 {
        tracing::info!(remote_name = %endpoint.plan.name, samples = drained.left.items, "samples stay on disk until the next start");
    }
}

/// Why an endpoint is unwell: the last success against what was offered.
fn trouble(name: &str, stats: &delivery::Stats) -> Option<String> {
    let error = stats.last_error.as_ref()?;
    let since_success = stats.last_success_ms.is_none_or(|ms| ms < error.at_ms);
    let waits = stats.oldest_age.is_some_and(|age| age > PATIENCE);
    (since_success && (waits || stats.waiting_appends > 0))
        .then(|| format!("endpoint {name}: {} ({})", error.text, error.reason))
}

fn debug_item(name: &str, stats: &delivery::Stats) -> Item {
    let number = |name: &'static str, value: u64| Item::Attribute { name: name.into(), value: Value::from(value) };
    let mut body = vec![
        number("queued_items", stats.queued.items),
        number("queued_bytes", stats.queued.bytes),
        number("disk_bytes", stats.disk_bytes),
        number("sent_items", stats.sent.items),
        number("retried_items", stats.retried.items),
        number("dropped_items", stats.dropped_total().items),
        number("senders", stats.senders as u64),
    ];
    if let Some(error) = &stats.last_error {
        body.push(Item::Attribute { name: "last_error".into(), value: Value::from(error.text.as_str()) });
    }
    Item::Block { name: "endpoint".into(), label: Some(name.to_string()), body }
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
            self.metrics.appended(&batch);
            self.families.note(&batch);
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

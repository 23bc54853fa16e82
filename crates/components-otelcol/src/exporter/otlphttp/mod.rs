//! `otelcol.exporter.otlphttp` sends spans, metrics and logs by OTLP over HTTP.
//!
//! Data path: batch → one record (its requests as they are, still compressed where that fits) → the queue of its
//! signal → its senders: records joined if that is asked for, compressed, posted.
//! Invariants: a batch is acknowledged when the queue has it, or without a queue when the back end has; the three
//! signals share nothing but the client, so one that is refused does not hold up the others.

mod answer;
mod args;
mod endpoint;
mod metrics;
mod plan;
mod record;
#[cfg(test)]
mod tests;
mod transport;

use std::sync::Arc;
use std::time::Duration;

use component::eval::{Item, Value};
use component::otel::{MetricsLevel, OtelInput};
use component::{
    BoxFuture, BuildCx, Component, Consumer, Draining, Error, Event, Exports, Health, Port, Rejected, RunCx,
    Stability,
};
use delivery::{Endpoint as _, Endpoints};
use futures_util::future::join_all;
use signal::otlp::{LogsSignal, MetricsSignal, Otlp, TracesSignal};
use tokio::time::{MissedTickBehavior, timeout};

pub use args::Args;
use endpoint::{Endpoint, Inlet};
use metrics::Metrics;
use plan::{Plan, plans};

use crate::exporter::cut::Cut;
use crate::signals::Kind;

/// How often health is looked at.
const HEALTH_INTERVAL: Duration = Duration::from_secs(5);
/// A back end that has taken nothing for this long, while something waits, makes the node unhealthy.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long batches that are on their way into a queue are waited for before it is closed.
const GRACE: Duration = Duration::from_secs(5);

/// What others may refer to.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct ExporterExports {
    /// Takes spans, metrics and logs in.
    pub input: OtelInput,
}

/// The component.
pub struct OtlpHttp {
    plans: Vec<Plan>,
    ports: Ports,
    metrics: Arc<Metrics>,
}

impl Component for OtlpHttp {
    const NAME: &'static str = "otelcol.exporter.otlphttp";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = ExporterExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, ExporterExports), Error> {
        let plans = plans(&args, cx)?;
        let ports = Ports { traces: cx.port("traces"), metrics: cx.port("metrics"), logs: cx.port("logs") };
        let metrics = Metrics::new(&cx.metrics(), format!("otlphttp/{}", cx.id()));
        note(&args, &metrics);
        let exports = ExporterExports { input: ports.input() };
        Ok((Self { plans, ports, metrics }, exports))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let endpoints = Endpoints::new(self.metrics.clone());
        let mut running = Running { endpoints, ports: self.ports, metrics: self.metrics };
        let errors = running.endpoints.open(self.plans).await;
        let _ = running.opened(&errors, &cx);
        let mut health = tokio::time::interval(HEALTH_INTERVAL);
        health.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = cx.event() => match event {
                    Event::Stop => break,
                    Event::Update(update) => {
                        let changed = match plans(update.args(), &cx) {
                            Ok(new) => {
                                note(update.args(), &running.metrics);
                                running.change(new, &cx).await;
                                Ok(())
                            }
                            Err(error) => Err(error),
                        };
                        update.answer(changed);
                    }
                },
                _ = health.tick() => running.report(&cx),
            }
        }
        running.stop().await;
        Ok(())
    }
}

/// What of the arguments concerns no queue.
fn note(args: &Args, metrics: &Metrics) {
    metrics.show(args.debug_metrics.level != MetricsLevel::None);
    for argument in args.client.without_effect() {
        tracing::warn!(argument, "this argument has no effect: buffers are sized by what goes through them");
    }
}

/// The ways in, by signal.
struct Ports {
    traces: Port<signal::Traces>,
    metrics: Port<signal::OtlpMetrics>,
    logs: Port<signal::OtlpLogs>,
}

impl Ports {
    fn input(&self) -> OtelInput {
        OtelInput {
            traces: Some(self.traces.receiver()),
            metrics: Some(self.metrics.receiver()),
            logs: Some(self.logs.receiver()),
        }
    }

    /// Puts a generation behind the ports.
    fn attach(&self, endpoints: &Endpoints<Endpoint>) -> [Draining; 3] {
        fn put<S: Cut>(port: &Port<Otlp<S>>, endpoints: &Endpoints<Endpoint>) -> Draining
        where
            Otlp<S>: component::Signal,
        {
            let kind = Kind::of::<S>();
            match endpoints.iter().find(|endpoint| endpoint.plan.kind == kind) {
                Some(endpoint) => port.attach(Writer(endpoint.inlet())),
                None => port.suspend(),
            }
        }
        [
            put::<TracesSignal>(&self.traces, endpoints),
            put::<MetricsSignal>(&self.metrics, endpoints),
            put::<LogsSignal>(&self.logs, endpoints),
        ]
    }

    fn suspend(&self) -> [Draining; 3] {
        [self.traces.suspend(), self.metrics.suspend(), self.logs.suspend()]
    }

    fn stop(&self) -> [Draining; 3] {
        [self.traces.stop(), self.metrics.stop(), self.logs.stop()]
    }
}

struct Running {
    endpoints: Endpoints<Endpoint>,
    ports: Ports,
    metrics: Arc<Metrics>,
}

impl Running {
    /// Queues have been opened; the answer tells when nothing is on its way into others any more.
    fn opened(&self, errors: &[String], cx: &RunCx<OtlpHttp>) -> [Draining; 3] {
        if !errors.is_empty() {
            cx.report(Health::unhealthy(errors.join("; ")));
        }
        let queues: Vec<_> =
            self.endpoints.iter().filter_map(|e| Some((e.plan.kind.name(), e.queue.clone()?))).collect();
        cx.set_debug_info(move || {
            queues.iter().map(|(name, queue)| debug_item(name, &queue.stats())).collect()
        });
        self.ports.attach(&self.endpoints)
    }

    /// New plans: queues that stay are changed in place, others drained in the background.
    async fn change(&mut self, plans: Vec<Plan>, cx: &RunCx<OtlpHttp>) {
        let ports = &self.ports;
        let (gone, errors) = self.endpoints.change(plans, async || settle(ports.suspend()).await).await;
        let replaced = self.opened(&errors, cx);
        let metrics = self.metrics.clone();
        cx.spawn(async move {
            // The generation before may still put batches into queues that are removed.
            settle(replaced).await;
            join_all(gone.iter().map(|endpoint| endpoint.drain(&metrics, Duration::ZERO))).await;
        });
    }

    fn report(&self, cx: &RunCx<OtlpHttp>) {
        let trouble = |endpoint: &Endpoint| {
            let trouble = endpoint.queue.as_ref()?.stats().trouble(PATIENCE)?;
            Some(format!("{}: {trouble}", endpoint.plan.kind.name()))
        };
        let troubles: Vec<_> = self.endpoints.iter().filter_map(trouble).collect();
        cx.report(match troubles.is_empty() {
            true => Health::healthy("the back end takes what is sent"),
            false => Health::unhealthy(troubles.join("; ")),
        });
    }

    async fn stop(&self) {
        settle(self.ports.stop()).await;
        join_all(self.endpoints.all().map(|endpoint| endpoint.drain(&self.metrics, Duration::ZERO))).await;
    }
}

/// Waits until no batch is in a replaced generation, but not for those that a full queue or a back end holds up:
/// closing sends them back.
async fn settle(replaced: [Draining; 3]) {
    if timeout(GRACE, join_all(replaced.map(Draining::finished))).await.is_err() {
        tracing::debug!("batches still wait for a queue or a back end");
    }
}

fn debug_item(name: &str, stats: &delivery::Stats) -> Item {
    let attribute = |name: &'static str, value: Value| Item::Attribute { name: name.into(), value };
    let figures = stats.figures().into_iter().map(|(name, value)| attribute(name, Value::from(value)));
    let error =
        stats.last_error.iter().map(|error| attribute("last_error", Value::from(error.text.as_str())));
    Item::Block { name: "signal".into(), label: Some(name.to_string()), body: figures.chain(error).collect() }
}

/// One generation of the way in of a signal.
struct Writer(Inlet);

impl<S: Cut> Consumer<Otlp<S>> for Writer
where
    Otlp<S>: component::Signal,
{
    fn consume(&self, batch: Otlp<S>) -> BoxFuture<'_, Result<(), Rejected>> {
        Box::pin(async move { self.0.put(&batch).await })
    }
}

//! What all exporters of OTLP share: queues, attempts, retries, metrics, the life of the component.
//!
//! Data path: batch → one record (its requests as they are, still compressed where that fits) → the queue of its
//! signal → its senders: records joined if that is asked for, written, carried (`Carrier`) to the back end.
//! Invariants: a batch is acknowledged when the queue has it, or without a queue when the back end has; the three
//! signals share nothing but the client, so one that is refused does not hold up the others.

mod carrier;
mod courier;
mod endpoint;
mod metrics;
mod plan;
mod record;
mod writing;

use std::sync::Arc;
use std::time::Duration;

use component::eval::{Item, Value};
use component::otel::{DebugMetrics, MetricsLevel, OtelInput};
use component::{
    BoxFuture, BuildCx, Component, Consumer, Draining, Error, Event, Exports, Health, Rejected, RunCx,
};
use delivery::{Endpoint as _, Endpoints};
use futures_util::future::join_all;
use signal::otlp::Otlp;
use tokio::time::{MissedTickBehavior, sleep_until, timeout};
use wire::otlp::Schematic;

pub(crate) use carrier::{Carrier, Verdict, partial_success};
pub(crate) use endpoint::{Endpoint, Inlet};
pub(crate) use metrics::Metrics;
pub(crate) use plan::{Plan, Queueing, client_name};
pub(crate) use record::{Headers, open};
pub(crate) use writing::Writing;

use crate::ports::{Consumers, Ports};
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

/// What arguments say.
#[derive(Clone, Default)]
pub(crate) struct Setup {
    pub plans: Vec<Plan>,
    /// Signals that cannot be sent anywhere, and why.
    pub nowhere: Vec<(Kind, String)>,
    pub shows: DebugMetrics,
}

/// An exporter to one back end that has been built.
pub(crate) struct Sending {
    setup: Setup,
    ports: Ports,
    metrics: Arc<Metrics>,
}

impl Sending {
    /// `kind` is the last part of the component's name.
    pub(crate) fn new(kind: &str, setup: Setup, cx: &BuildCx) -> (Self, ExporterExports) {
        let ports = Ports::new(cx);
        let metrics = Metrics::new(&cx.metrics(), format!("{kind}/{}", cx.id()));
        let exports = ExporterExports { input: ports.input() };
        (Self { setup, ports, metrics }, exports)
    }

    /// Lives until it is told to stop. `setup`: what new arguments say.
    pub(crate) async fn run<C: Component>(
        self,
        mut cx: RunCx<C>,
        setup: impl Fn(&C::Args, &BuildCx) -> Result<Setup, Error>,
    ) -> Result<(), Error> {
        let mut running = Running::new(self.ports, self.metrics, front(&self.setup));
        running.metrics.show(self.setup.shows.level != MetricsLevel::None);
        running.open(self.setup.plans, &cx).await;
        let mut health = running.health();
        loop {
            tokio::select! {
                event = cx.event() => match event {
                    Event::Stop => break,
                    Event::Update(update) => {
                        let changed = match setup(update.args(), &cx) {
                            Ok(new) => {
                                running.metrics.show(new.shows.level != MetricsLevel::None);
                                running.front = front(&new);
                                running.change(new.plans, &cx).await;
                                Ok(())
                            }
                            Err(error) => Err(error),
                        };
                        update.answer(changed);
                    }
                },
                _ = health.tick() => running.report(&cx),
                () = running.reopening() => running.reopen(&cx).await,
            }
        }
        running.stop().await;
        Ok(())
    }
}

/// A consumer a signal: its queue, or a refusal where it cannot be sent anywhere.
fn front(setup: &Setup) -> Front {
    let nowhere = setup.nowhere.clone();
    Box::new(move |endpoints, metrics| {
        let writer = |kind: Kind| {
            let why = nowhere.iter().find(|(of, _)| *of == kind).map(|(_, why)| why.clone());
            Some(Arc::new(match why {
                Some(why) => Writer::Nowhere { kind, why, metrics: metrics.clone() },
                None => {
                    Writer::To(endpoints.iter().find(|endpoint| endpoint.plan.kind == kind)?.inlet())
                }
            }))
        };
        Some(Consumers {
            traces: writer(Kind::Traces)?,
            metrics: writer(Kind::Metrics)?,
            logs: writer(Kind::Logs)?,
        })
    })
}

/// What takes batches in, made of the endpoints that are open; `None` where senders are to wait.
pub(crate) type Front =
    Box<dyn Fn(&Endpoints<Endpoint>, &Arc<Metrics>) -> Option<Consumers> + Send + Sync>;

/// The queues of a running exporter.
pub(crate) struct Running {
    endpoints: Endpoints<Endpoint>,
    ports: Ports,
    pub metrics: Arc<Metrics>,
    pub front: Front,
}

impl Running {
    pub(crate) fn new(ports: Ports, metrics: Arc<Metrics>, front: Front) -> Self {
        Self { endpoints: Endpoints::new(metrics.clone()), ports, metrics, front }
    }

    /// When [`Running::report`] is due.
    pub(crate) fn health(&self) -> tokio::time::Interval {
        let mut health = tokio::time::interval(HEALTH_INTERVAL);
        health.set_missed_tick_behavior(MissedTickBehavior::Delay);
        health
    }

    /// Opens the first queues.
    pub(crate) async fn open<C: Component>(&mut self, plans: Vec<Plan>, cx: &RunCx<C>) {
        let errors = self.endpoints.open(plans).await;
        let _ = self.opened(&errors, cx);
    }

    /// Waits until [`Running::reopen`] is due.
    pub(crate) fn reopening(&self) -> impl Future<Output = ()> + use<> {
        let at = self.endpoints.reopen_at();
        async move {
            match at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Tries those queues again that could not be opened.
    pub(crate) async fn reopen<C: Component>(&mut self, cx: &RunCx<C>) {
        let errors = self.endpoints.reopen().await;
        let _ = self.opened(&errors, cx);
    }

    /// Queues have been opened; the answer tells when nothing is on its way into others any more.
    fn opened<C: Component>(&self, errors: &[String], cx: &RunCx<C>) -> [Draining; 3] {
        if !errors.is_empty() {
            cx.report(Health::unhealthy(errors.join("; ")));
        }
        let queues: Vec<_> =
            self.endpoints.iter().filter_map(|e| Some((e.plan.title(), e.queue.clone()?))).collect();
        cx.set_debug_info(move || {
            queues.iter().map(|(name, queue)| debug_item(name, &queue.stats())).collect()
        });
        match (self.front)(&self.endpoints, &self.metrics).filter(|_| self.endpoints.are_open()) {
            Some(consumers) => self.ports.attach(consumers),
            None => self.ports.suspend(),
        }
    }

    /// New plans: queues that stay are changed in place, others drained in the background.
    pub(crate) async fn change<C: Component>(&mut self, plans: Vec<Plan>, cx: &RunCx<C>) {
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

    pub(crate) fn report<C: Component>(&self, cx: &RunCx<C>) {
        if !self.endpoints.are_open() {
            // Why is said where the opening has failed.
            return;
        }
        let trouble = |endpoint: &Endpoint| {
            let trouble = endpoint.queue.as_ref()?.stats().trouble(PATIENCE)?;
            Some(format!("{}: {trouble}", endpoint.plan.title()))
        };
        let troubles: Vec<_> = self.endpoints.iter().filter_map(trouble).collect();
        cx.report(match troubles.is_empty() {
            true => Health::healthy("the back end takes what is sent"),
            false => Health::unhealthy(troubles.join("; ")),
        });
    }

    pub(crate) async fn stop(&self) {
        settle(self.ports.stop()).await;
        join_all(self.endpoints.all().map(|endpoint| endpoint.drain(&self.metrics, Duration::ZERO))).await;
    }
}

impl Plan {
    /// What people call it.
    fn title(&self) -> String {
        match &*self.backend {
            "" => self.kind.name().to_owned(),
            backend => format!("{backend} {}", self.kind.name()),
        }
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
#[expect(clippy::large_enum_variant, reason = "there are three of them, each behind a pointer")]
enum Writer {
    To(Inlet),
    Nowhere { kind: Kind, why: String, metrics: Arc<Metrics> },
}

impl<S: Schematic> Consumer<Otlp<S>> for Writer
where
    Otlp<S>: component::Signal,
{
    fn consume(&self, batch: Otlp<S>) -> BoxFuture<'_, Result<(), Rejected>> {
        Box::pin(async move {
            match self {
                Self::To(inlet) => inlet.put(&batch).await,
                Self::Nowhere { kind, why, metrics } => {
                    metrics.failed(*kind, "no_endpoint", batch.items() as u64);
                    Err(Rejected::Permanent(why.clone()))
                }
            }
        })
    }
}

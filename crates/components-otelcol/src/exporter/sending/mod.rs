//! What all exporters of OTLP share: queues, attempts, retries, metrics.
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
#[cfg(test)]
pub(crate) mod testkit;
mod writing;

use std::marker::PhantomData;
use std::sync::Arc;

use component::otel::{DebugMetrics, MetricsLevel, OtelInput};
use component::{BoxFuture, BuildCx, Component, Consumer, Draining, Error, Exports, Rejected, RunCx, Signal};
use delivery::Endpoints;
use signal::otlp::Otlp;
use wire::otlp::Schematic;

pub(crate) use carrier::{Carrier, Verdict, partial_success};
pub(crate) use endpoint::{Endpoint, Inlet};
pub(crate) use metrics::Metrics;
pub(crate) use plan::{Plan, Queueing, kept_backends};
pub(crate) use record::{Headers, Part};
pub(crate) use writing::Writing;

use crate::ports::{Consumers, Ports};
use crate::signals::Kind;

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
    pub(crate) async fn run<C, F>(self, cx: RunCx<C>, setup: F) -> Result<(), Error>
    where
        C: Component,
        F: Fn(&C::Args, &BuildCx) -> Result<Setup, Error> + Send + Sync + 'static,
    {
        let Self { setup: Setup { plans, nowhere, shows }, ports, metrics } = self;
        metrics.show(shows.level != MetricsLevel::None);
        let role = Role { setup, nowhere, ports, metrics: metrics.clone(), component: PhantomData::<fn(C)> };
        writer::run(role, plans, metrics, cx).await
    }
}

/// What of a writer is particular to an exporter of OTLP.
struct Role<C, F> {
    setup: F,
    nowhere: Vec<(Kind, String)>,
    ports: Ports,
    metrics: Arc<Metrics>,
    component: PhantomData<fn(C)>,
}

impl<C, F> writer::Role for Role<C, F>
where
    C: Component,
    F: Fn(&C::Args, &BuildCx) -> Result<Setup, Error> + Send + Sync + 'static,
{
    type Component = C;
    type Endpoint = Endpoint;

    fn plans(&mut self, args: &C::Args, cx: &RunCx<C>) -> Result<Vec<Plan>, Error> {
        let Setup { plans, nowhere, shows } = (self.setup)(args, cx)?;
        self.metrics.show(shows.level != MetricsLevel::None);
        self.nowhere = nowhere;
        Ok(plans)
    }

    fn attach(&self, endpoints: &Endpoints<Endpoint>) -> Vec<Draining> {
        attach(&self.ports, endpoints, &self.nowhere, &self.metrics)
    }

    fn suspend(&self) -> Vec<Draining> {
        self.ports.suspend().into()
    }

    fn stop(&self) -> Vec<Draining> {
        self.ports.stop().into()
    }
}

/// Puts the endpoints of now behind the ports; `nowhere` are signals that cannot be sent anywhere, and why.
pub(crate) fn attach(
    ports: &Ports,
    endpoints: &Endpoints<Endpoint>,
    nowhere: &[(Kind, String)],
    metrics: &Arc<Metrics>,
) -> Vec<Draining> {
    let writer = |kind: Kind| {
        let why = nowhere.iter().find(|(of, _)| *of == kind).map(|(_, why)| why.clone());
        Some(Arc::new(match why {
            Some(why) => Writer::Nowhere { kind, why, metrics: metrics.clone() },
            None => {
                let endpoint = endpoints.iter().find(|endpoint| endpoint.plan.kind == kind)?;
                Writer::To(Box::new(endpoint.inlet()))
            }
        }))
    };
    match (writer(Kind::Traces), writer(Kind::Metrics), writer(Kind::Logs)) {
        (Some(traces), Some(metrics), Some(logs)) => ports.attach(Consumers { traces, metrics, logs }).into(),
        _ => ports.suspend().into(),
    }
}

/// One generation of the way in of a signal.
enum Writer {
    To(Box<Inlet>),
    Nowhere { kind: Kind, why: String, metrics: Arc<Metrics> },
}

impl<S: Schematic> Consumer<Otlp<S>> for Writer
where
    Otlp<S>: Signal,
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

/// Reads any bytes as a record of a queue; for `tests/fuzz` only.
pub(super) fn read_arbitrary(kind: u8, body: bytes::Bytes) {
    record::read_arbitrary(kind, body);
}

//! `otelcol.exporter.loadbalancing` shares data out among back ends, what belongs together to one.
//!
//! Data path: batch → the queue in front → taken apart by the ring (`router`) → the queue of each back end, with
//! the machinery of `otelcol.exporter.otlp` behind it. Invariant: a batch leaves the queue in front only when
//! every part of it is in the queue of a back end (or with the back end itself, where that has no queue).

mod args;
mod backends;
mod find;
mod keys;
mod metrics;
mod ring;
mod router;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use component::otel::{MetricsLevel, OtelInput};
use component::{BuildCx, Component, Draining, Error, RunCx, Stability};
use delivery::Endpoints;

pub use args::Args;
use backends::{Backends, Shared, router};
use find::{Finder, Surroundings};
use metrics::Balance;
use router::Table;

use super::sending::{Endpoint, ExporterExports, Metrics, Plan, Queueing, attach};
use crate::ports::Ports;
use crate::rpc::Rpc;
use crate::signals::Kind;

/// How long one attempt to hand over may take where no `timeout` says it: back ends without a queue answer themselves.
const HANDING_OVER: Duration = Duration::from_secs(300);

/// The component.
pub struct LoadBalancing {
    args: Arc<Args>,
    ports: Ports,
    metrics: Arc<Metrics>,
    balance: Arc<Balance>,
    rpc: Arc<Rpc>,
}

impl Component for LoadBalancing {
    const NAME: &'static str = "otelcol.exporter.loadbalancing";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = ExporterExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, ExporterExports), Error> {
        // Whether the client's arguments can work does not depend on where it goes.
        let otlp = &args.protocol.otlp;
        super::otlp::calls::caller("localhost:4317", &otlp.client, otlp.timeout, cx, None)
            .map_err(|why| Error::argument("protocol.otlp.client", why))?;
        let ports = Ports::new(cx);
        let exports = exports(&args, &ports);
        let built = Self {
            args: Arc::new(args),
            ports,
            metrics: Metrics::new(&cx.metrics(), format!("loadbalancing/{}", cx.id())),
            balance: Balance::new(&cx.metrics()),
            rpc: Arc::new(Rpc::new(&cx.metrics(), "client")),
        };
        Ok((built, exports))
    }

    async fn run(self, cx: RunCx<Self>) -> Result<(), Error> {
        let Self { args, ports, metrics, balance, rpc } = self;
        let shared = Arc::<Shared>::default();
        let build: BuildCx = (*cx).clone();
        let backends = Backends::start(
            args.clone(),
            build,
            metrics.clone(),
            balance.clone(),
            rpc.clone(),
            shared.clone(),
            Finder::new(cx.services().user_agent(), Surroundings::default()),
        );
        let backends = Arc::new(backends);
        let role = Role { ports, metrics: metrics.clone(), balance, rpc, shared, backends: backends.clone() };
        let plans = role.front(&args, &cx);
        let result = writer::run(role, plans, metrics, cx).await;
        // The queue in front is empty or given up: now those behind it.
        if let Some(backends) = Arc::into_inner(backends) {
            backends.stop().await;
        }
        result
    }
}

/// Signals that the routing key says something about.
fn exports(args: &Args, ports: &Ports) -> ExporterExports {
    let all = ports.input();
    let key = args.key();
    ExporterExports {
        input: OtelInput {
            traces: all.traces.filter(|_| key.takes(Kind::Traces)),
            metrics: all.metrics.filter(|_| key.takes(Kind::Metrics)),
            logs: all.logs.filter(|_| key.takes(Kind::Logs)),
        },
    }
}

/// What of a writer is particular to this one: the queues in front.
struct Role {
    ports: Ports,
    metrics: Arc<Metrics>,
    balance: Arc<Balance>,
    rpc: Arc<Rpc>,
    shared: Arc<Shared>,
    backends: Arc<Backends>,
}

impl Role {
    fn front(&self, args: &Args, cx: &BuildCx) -> Vec<Plan> {
        self.metrics.show(args.debug_metrics.level != MetricsLevel::None);
        if args.debug_metrics.level != MetricsLevel::Detailed {
            self.rpc.reset();
        }
        let queueing = Queueing {
            queue: args.sending_queue.clone(),
            retry: args.retry_on_failure.clone(),
            timeout: if args.timeout.is_zero() { HANDING_OVER } else { args.timeout },
            most_at_once: None,
        };
        let router = |kind| Arc::new(router(args, kind, &self.shared.tables, &self.balance));
        Kind::ALL.map(|kind| queueing.plan(kind, "", router(kind), cx)).into()
    }
}

impl writer::Role for Role {
    type Component = LoadBalancing;
    type Endpoint = Endpoint;

    fn plans(&mut self, args: &Args, cx: &RunCx<LoadBalancing>) -> Result<Vec<Plan>, Error> {
        let otlp = &args.protocol.otlp;
        super::otlp::calls::caller("localhost:4317", &otlp.client, otlp.timeout, cx, None)
            .map_err(|why| Error::argument("protocol.otlp.client", why))?;
        cx.export(&exports(args, &self.ports));
        self.backends.change(Arc::new(args.clone()));
        Ok(self.front(args, cx))
    }

    fn attach(&self, endpoints: &Endpoints<Endpoint>) -> Vec<Draining> {
        attach(&self.ports, endpoints, &[], &self.metrics)
    }

    fn suspend(&self) -> Vec<Draining> {
        self.ports.suspend().into()
    }

    fn stop(&self) -> Vec<Draining> {
        self.ports.stop().into()
    }

    fn trouble(&self) -> Option<String> {
        self.backends.trouble()
    }
}

impl Table {
    /// Back ends that are open.
    fn backends(&self) -> Vec<Arc<str>> {
        let mut all: Vec<_> = self.inlets.keys().map(|(backend, _)| backend.clone()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

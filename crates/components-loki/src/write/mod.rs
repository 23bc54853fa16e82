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

use component::{
    BoxFuture, BuildCx, Component, Consumer, Draining, Error, Exports, Port, Receiver, Rejected, RunCx,
    Stability,
};
use delivery::Endpoints;
use futures_util::future::join_all;
use signal::Logs;

pub use args::Args;
use endpoint::{Endpoint, Inlet};
use metrics::Metrics;
use plan::{Plan, plans};

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

    async fn run(self, cx: RunCx<Self>) -> Result<(), Error> {
        writer::run(Role { port: self.port }, self.plans, self.metrics, cx).await
    }
}

/// What of a writer is particular to this one.
struct Role {
    port: Port<Logs>,
}

impl writer::Role for Role {
    type Component = Write;
    type Endpoint = Endpoint;

    fn plans(&mut self, args: &Args, cx: &RunCx<Write>) -> Result<Vec<Plan>, Error> {
        plans(args, cx)
    }

    fn attach(&self, endpoints: &Endpoints<Endpoint>) -> Vec<Draining> {
        vec![self.port.attach(Writer { inlets: endpoints.iter().map(Endpoint::inlet).collect() })]
    }

    fn suspend(&self) -> Vec<Draining> {
        vec![self.port.suspend()]
    }

    fn stop(&self) -> Vec<Draining> {
        vec![self.port.stop()]
    }

    /// A record that was cut for another number of shards must not come after the fence.
    fn must_settle(&self, endpoint: &Endpoint, plan: &Plan) -> bool {
        plan.shape.lanes != endpoint.plan.shape.lanes
    }

    fn forget_gone(metrics: &Arc<Metrics>) {
        metrics.forget_gone();
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
                all => writer::answer(&join_all(all.iter().map(|inlet| inlet.put(&batch, now_ms))).await),
            }
        })
    }
}

/// Reads any bytes as a record of a queue; for `tests/fuzz` only.
#[doc(hidden)]
pub fn read_arbitrary(body: bytes::Bytes) {
    record::read_arbitrary(body);
}

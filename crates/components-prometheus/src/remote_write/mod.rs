//! `prometheus.remote_write` sends samples to Prometheus-compatible back ends.
//!
//! Data path: batch → for each endpoint: external labels and relabelling → remote-write message → snappy →
//! the endpoint's queue, on disk unless that is turned off → its senders → HTTP.
//! Invariants: a batch is acknowledged when every endpoint's queue has it; endpoints share nothing but the
//! batch, so one that is down never holds up another.

mod args;
#[doc(hidden)]
pub mod bench;
mod bodies;
mod encode;
mod endpoint;
mod gauges;
mod memo;
mod metadata;
mod metrics;
mod plan;
mod prepared;
mod record;
mod sift;
#[cfg(test)]
mod tests;
mod transport;

use std::sync::Arc;
use std::time::Duration;

use component::{
    BoxFuture, BuildCx, Component, Consumer, Draining, Error, Exports, Port, Receiver, Rejected, RunCx,
    Stability,
};
use delivery::Endpoints;
use futures_util::future::join_all;
use signal::Samples;
use tokio::time::{Instant, timeout};

pub use args::Args;
use endpoint::{Endpoint, Inlet, metadata_record};
use metadata::Families;
use metrics::Metrics;
use plan::{Plan, plans};

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

    async fn run(self, cx: RunCx<Self>) -> Result<(), Error> {
        let role = Role { port: self.port, metrics: self.metrics.clone(), families: Arc::default() };
        writer::run(role, self.plans, self.metrics, cx).await
    }
}

/// What of a writer is particular to this one.
struct Role {
    port: Port<Samples>,
    metrics: Arc<Metrics>,
    families: Arc<Families>,
}

impl writer::Role for Role {
    type Component = RemoteWrite;
    type Endpoint = Endpoint;

    fn plans(&mut self, args: &Args, cx: &RunCx<RemoteWrite>) -> Result<Vec<Plan>, Error> {
        plans(args, cx)
    }

    fn attach(&self, endpoints: &Endpoints<Endpoint>) -> Vec<Draining> {
        vec![self.port.attach(Writer {
            inlets: endpoints.iter().map(Endpoint::inlet).collect(),
            metrics: self.metrics.clone(),
            families: self.families.clone(),
        })]
    }

    fn suspend(&self) -> Vec<Draining> {
        vec![self.port.suspend()]
    }

    fn stop(&self) -> Vec<Draining> {
        vec![self.port.stop()]
    }

    fn forget_gone(metrics: &Arc<Metrics>) {
        metrics.forget_gone();
    }

    fn due(&self, endpoints: &Endpoints<Endpoint>) -> Option<Instant> {
        endpoints.iter().filter_map(Endpoint::metadata_due).min()
    }

    /// Queues metadata for every endpoint that is due.
    async fn act(&mut self, endpoints: &mut Endpoints<Endpoint>) {
        let now = Instant::now();
        let now_ms = jiff::Timestamp::now().as_millisecond();
        for endpoint in endpoints.iter_mut() {
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
        let longest = endpoints.iter().map(|e| e.plan.metadata.send_interval).max().unwrap_or_default();
        if let Some(before) = now.checked_sub(longest.saturating_mul(2)) {
            self.families.forget(before);
        }
    }

    fn sweep(&self, endpoints: &Endpoints<Endpoint>) {
        endpoints.iter().for_each(Endpoint::sweep);
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
            self.families.note(&batch, Instant::now());
            let now_ms = jiff::Timestamp::now().as_millisecond();
            let answer = match &self.inlets[..] {
                [only] => only.put(&batch, now_ms).await,
                all => writer::answer(&join_all(all.iter().map(|inlet| inlet.put(&batch, now_ms))).await),
            };
            if answer.is_ok() {
                // Not before: what is refused comes again, and whoever waits may give up.
                self.metrics.taken(&batch);
            }
            answer
        })
    }
}

/// Reads any bytes as a record of a queue; for `tests/fuzz` only.
#[doc(hidden)]
pub fn read_arbitrary(kind: u8, body: bytes::Bytes) {
    record::read_arbitrary(kind, body);
}

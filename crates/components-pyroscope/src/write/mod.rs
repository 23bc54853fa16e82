//! `pyroscope.write` sends profiles to Pyroscope.
//!
//! Data path: batch → a record a profile, made once → each endpoint's queue, on disk if that is turned on → its
//! senders: one request a record, to the API that the profile came by.
//! Invariants: a batch is acknowledged when every endpoint's queue has it, or what is left out is counted; a
//! profile's bytes are sent as they were received; endpoints share nothing but records, so one that is down never
//! holds up another's sending.

mod args;
mod encode;
mod endpoint;
mod metrics;
mod plan;
#[cfg(test)]
mod tests;
mod transport;

use std::sync::Arc;
use std::time::Instant;

use component::{
    BoxFuture, BuildCx, Component, Consumer, Draining, Error, Exports, OnceAMinute, Port, Receiver, Rejected,
    RunCx, Stability,
};
use delivery::Endpoints;
use futures_util::future::join_all;
use signal::Profiles;

pub use args::Args;
use encode::{Encoder, Kind};
use endpoint::{Endpoint, Inlet};
use metrics::Metrics;
use parking_lot::Mutex;
use plan::{Plan, plans};

/// What others may refer to.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct WriteExports {
    /// Takes profiles in.
    pub receiver: Receiver<Profiles>,
}

/// The component.
pub struct Write {
    plans: Vec<Plan>,
    role: Role,
    metrics: Arc<Metrics>,
}

impl Component for Write {
    const NAME: &'static str = "pyroscope.write";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = WriteExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, WriteExports), Error> {
        let plans = plans(&args, cx)?;
        let port = cx.port("receiver");
        let exports = WriteExports { receiver: port.receiver() };
        let metrics = Arc::new(Metrics::new(&cx.metrics()));
        let encoder = Mutex::new(Arc::new(Encoder::new(args.external_labels)));
        let role = Role { port, encoder, metrics: metrics.clone(), warned: Arc::default() };
        Ok((Self { plans, role, metrics }, exports))
    }

    async fn run(self, cx: RunCx<Self>) -> Result<(), Error> {
        writer::run(self.role, self.plans, self.metrics, cx).await
    }
}

/// What of a writer is particular to this one.
struct Role {
    port: Port<Profiles>,
    encoder: Mutex<Arc<Encoder>>,
    metrics: Arc<Metrics>,
    warned: Arc<OnceAMinute>,
}

impl writer::Role for Role {
    type Component = Write;
    type Endpoint = Endpoint;

    fn plans(&mut self, args: &Args, cx: &RunCx<Write>) -> Result<Vec<Plan>, Error> {
        let plans = plans(args, cx)?;
        *self.encoder.lock() = Arc::new(Encoder::new(args.external_labels.clone()));
        Ok(plans)
    }

    fn attach(&self, endpoints: &Endpoints<Endpoint>) -> Vec<Draining> {
        let writer = Writer {
            inlets: endpoints.iter().map(Endpoint::inlet).collect(),
            encoder: self.encoder.lock().clone(),
            metrics: self.metrics.clone(),
            warned: self.warned.clone(),
        };
        vec![self.port.attach(writer)]
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
}

/// One generation of the component: all endpoints of one configuration.
struct Writer {
    inlets: Vec<Inlet>,
    encoder: Arc<Encoder>,
    metrics: Arc<Metrics>,
    warned: Arc<OnceAMinute>,
}

impl Consumer<Profiles> for Writer {
    fn consume(&self, batch: Profiles) -> BoxFuture<'_, Result<(), Rejected>> {
        Box::pin(async move {
            let began = Instant::now();
            let kind = batch.items.first().map(|profile| Kind::of(&profile.body));
            let answer = self.put(&batch).await;
            if let Some(kind) = kind {
                self.metrics.taken(kind, began.elapsed());
            }
            answer
        })
    }
}

impl Writer {
    async fn put(&self, batch: &Profiles) -> Result<(), Rejected> {
        let mut records = Vec::with_capacity(batch.len());
        for encoded in self.encoder.encode(batch) {
            match encoded {
                Ok(record) => records.push(record),
                Err(refused) => {
                    let bytes = refused.bytes as u64;
                    self.inlets.iter().for_each(|inlet| inlet.counted.dropped("invalid_labels", 1, bytes));
                    if self.warned.now() {
                        tracing::warn!(error = %refused.why, labels = %refused.labels, "a profile is left out");
                    }
                }
            }
        }
        match &self.inlets[..] {
            [only] => only.put(records).await,
            all => writer::answer(&join_all(all.iter().map(|inlet| inlet.put(records.clone()))).await),
        }
    }
}

/// Reads any bytes as a record of a queue; for `tests/fuzz` only.
#[doc(hidden)]
pub fn read_arbitrary(kind: u8, body: bytes::Bytes) {
    encode::read_arbitrary(kind, body);
}

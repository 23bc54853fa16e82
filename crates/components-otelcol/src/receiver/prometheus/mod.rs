//! `otelcol.receiver.prometheus` turns the samples of `prometheus.*` components into OTLP metrics.
//!
//! Data path: batch → each sample classified by its metadata or name (`classify`) → sorted into resources,
//! scopes, metrics and points (`gather`) → one request (`assemble`) → `output`, all in the sender's task.
//! Invariant: what is not carried over is counted, with a reason.

mod assemble;
mod classify;
mod gather;
#[cfg(test)]
mod tests;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use component::otel::{DebugMetrics, Output};
use component::{
    Arguments, BoxFuture, BuildCx, Component, Consumer, Error, Event, Exports, Fanout, Port, Receiver,
    Rejected, RunCx, Stability,
};
use signal::otlp::OtlpRequest;
use signal::{OtlpMetrics, SampleBatch, Samples};

use crate::dropped::Dropped;
use classify::Known;
use gather::Gathered;

/// `otelcol.receiver.prometheus`
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct Args {
    /// Where metrics go.
    #[arg(block, required)]
    pub output: Output,
    /// How much the component tells of itself.
    #[arg(block, no_effect = "the component has no metrics that could be left out")]
    pub debug_metrics: DebugMetrics,
}

/// What others may refer to.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct PrometheusExports {
    /// Takes samples in.
    pub receiver: Receiver<Samples>,
}

/// The component.
pub struct Prometheus {
    next: Fanout<OtlpMetrics>,
    port: Port<Samples>,
    converter: Arc<Converter>,
}

/// Makes requests of batches.
struct Converter {
    known: Known,
    seed: u64,
    dropped: Dropped,
}

impl Component for Prometheus {
    const NAME: &'static str = "otelcol.receiver.prometheus";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = PrometheusExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, PrometheusExports), Error> {
        let next = args.output.fanout()?.metrics;
        let port = cx.port::<Samples>("receiver");
        let exports = PrometheusExports { receiver: port.receiver() };
        let dropped = Dropped::new(cx, "otelcol_receiver_prometheus");
        Ok((Self { next, port, converter: Arc::new(Converter::new(dropped)) }, exports))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        self.attach(self.next.clone());
        loop {
            match cx.event().await {
                Event::Stop => return Ok(()),
                Event::Update(update) => {
                    update.apply(|args| {
                        self.attach(args.output.fanout()?.metrics);
                        Ok(())
                    });
                }
            }
        }
    }
}

impl Prometheus {
    fn attach(&self, next: Fanout<OtlpMetrics>) {
        let owner = self.port.receiver().owner().to_string();
        let _ = self.port.attach(Input { converter: self.converter.clone(), next, owner });
    }
}

impl Converter {
    fn new(dropped: Dropped) -> Self {
        Self { known: Known::default(), seed: RandomState::new().build_hasher().finish(), dropped }
    }

    fn convert(&self, batch: &SampleBatch) -> Option<OtlpMetrics> {
        let mut gathered = Gathered::new(self.seed, &self.known, &self.dropped);
        gathered.batch(batch);
        let request = assemble::assemble(gathered, &self.dropped);
        let has_points = !request.resource_metrics.is_empty();
        has_points.then(|| OtlpMetrics::of(OtlpRequest::from_message(request)))
    }
}

/// Stands behind the port.
struct Input {
    converter: Arc<Converter>,
    next: Fanout<OtlpMetrics>,
    owner: String,
}

impl Consumer<Samples> for Input {
    fn consume(&self, batch: Samples) -> BoxFuture<'_, Result<(), Rejected>> {
        Box::pin(async move {
            if self.next.is_empty() {
                let message = format!("{} has no consumer for metrics in its output", self.owner);
                return Err(Rejected::Permanent(message));
            }
            match self.converter.convert(&batch) {
                Some(metrics) => self.next.send(metrics).await,
                None => Ok(()),
            }
        })
    }
}

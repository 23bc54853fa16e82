//! `otelcol.exporter.otlp` sends spans, metrics and logs by OTLP over gRPC.
//!
//! Queues, retries and metrics are those of all exporters (`sending`); here are the calls, and what their
//! outcome means.

pub(crate) mod args;
pub(crate) mod calls;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use component::otel::MetricsLevel;
use component::{BuildCx, Component, Error, RunCx, Stability};

pub use args::Args;
use calls::caller;

use super::sending::{ExporterExports, Queueing, Sending, Setup};
use crate::rpc::Rpc;
use crate::signals::Kind;

/// The component.
pub struct OtlpExporter {
    sending: Sending,
    rpc: Arc<Rpc>,
}

impl Component for OtlpExporter {
    const NAME: &'static str = "otelcol.exporter.otlp";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = ExporterExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, ExporterExports), Error> {
        let rpc = Arc::new(Rpc::new(&cx.metrics(), "client"));
        let (sending, exports) = Sending::new("otlp", setup(&args, cx, &rpc)?, cx);
        Ok((Self { sending, rpc }, exports))
    }

    async fn run(self, cx: RunCx<Self>) -> Result<(), Error> {
        let rpc = self.rpc;
        self.sending.run(cx, move |args, cx| setup(args, cx, &rpc)).await
    }
}

fn setup(args: &Args, cx: &BuildCx, rpc: &Arc<Rpc>) -> Result<Setup, Error> {
    let queueing = Queueing {
        queue: args.sending_queue.clone(),
        retry: args.retry_on_failure.clone(),
        timeout: args.timeout,
        most_at_once: None,
    };
    let detailed = args.debug_metrics.level == MetricsLevel::Detailed;
    if !detailed {
        rpc.reset();
    }
    let caller =
        caller(&args.client.endpoint, &args.client.rest, args.timeout, cx, detailed.then(|| rpc.clone()))
            .map_err(|e| Error::argument("client", e))?;
    let plan = |kind: Kind| queueing.plan(kind, "", Arc::new(caller.of(kind)), cx);
    Ok(Setup { plans: Kind::ALL.map(plan).into(), nowhere: Vec::new(), shows: args.debug_metrics.clone() })
}

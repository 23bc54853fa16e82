//! `otelcol.receiver.jaeger` takes spans from Jaeger's clients: over gRPC, in Thrift over HTTP, and in the agent's
//! datagrams.
//!
//! Data path: [`servers`] and [`agent`] → `wire::jaeger` → `output`. Invariants: a client that can be answered is told
//! success only when every consumer of traces has its spans; a datagram that is not handed over is counted with a
//! reason; a change of arguments refuses no request.

mod agent;
mod args;
mod servers;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use component::metrics::NodeMetrics;
use component::{BuildCx, Component, Error, Event, Exports, RunCx, Stability};

pub use args::{AgentArgs, Args, BinaryArgs, CompactArgs, GrpcArgs, HttpArgs, Protocols};
use servers::{Servers, Shared};

use super::spans::{Spans, Target};

/// Nothing: data goes to `output`.
#[derive(Clone, Debug, Default, PartialEq, Exports)]
pub struct JaegerReceiverExports {}

/// The component.
pub struct JaegerReceiver {
    args: Args,
    spans: Arc<Spans>,
    metrics: NodeMetrics,
}

impl Component for JaegerReceiver {
    const NAME: &'static str = "otelcol.receiver.jaeger";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = JaegerReceiverExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, JaegerReceiverExports), Error> {
        let target = check(&args)?;
        let spans = Spans::new("jaeger", target, cx);
        Ok((Self { args, spans, metrics: cx.metrics() }, JaegerReceiverExports {}))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let Self { mut args, spans, metrics } = self;
        let dropped = |of: &str| {
            let name = format!("otelcol_receiver_jaeger_{of}_dropped_datagrams_total");
            metrics.counter_vec(&name, "Datagrams that were dropped, by reason.", &["reason"])
        };
        let shared = Shared {
            spans,
            spawner: cx.spawner(),
            binary_dropped: dropped("thrift_binary"),
            compact_dropped: dropped("thrift_compact"),
        };
        let mut servers = match Servers::bind(&args.protocols, &shared).await {
            Ok(servers) => servers,
            Err((bound, error)) => {
                bound.end().await;
                return Err(error);
            }
        };
        tell(&args);
        loop {
            match cx.event().await {
                Event::Stop => {
                    servers.end().await;
                    return Ok(());
                }
                Event::Update(update) => {
                    let new = update.args().clone();
                    let result = change(&mut servers, &args, &new, &shared).await;
                    if result.is_ok() {
                        tell(&new);
                        args = new;
                    }
                    update.answer(result);
                }
            }
        }
    }
}

/// What the decoder cannot check.
fn check(args: &Args) -> Result<Target, Error> {
    args.protocols.grpc.as_ref().map(|grpc| grpc.server.options()).transpose()?;
    args.protocols.thrift_http.as_ref().map(|http| http.server.options()).transpose()?;
    Target::new(&args.output, &args.debug_metrics)
}

async fn change(servers: &mut Servers, old: &Args, new: &Args, shared: &Shared) -> Result<(), Error> {
    let target = check(new)?;
    servers.change(&old.protocols, &new.protocols, shared).await?;
    shared.spans.aim(target);
    Ok(())
}

/// What is fine but perhaps not what is meant.
fn tell(args: &Args) {
    let protocols = &args.protocols;
    if *protocols == Protocols::default() {
        tracing::warn!("nothing listens: add a block to protocols");
    }
    if args.output.traces.is_empty() {
        tracing::warn!("nothing is served: output has no consumer of traces");
    }
}

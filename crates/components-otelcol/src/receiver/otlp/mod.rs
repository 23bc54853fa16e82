//! `otelcol.receiver.otlp` takes traces, metrics and logs over OTLP: gRPC, HTTP with protobuf, HTTP with JSON.
//!
//! Data path: server → protocol (`grpc`, `http`) → `intake` → `output`. A request stays serialised: it is
//! checked and counted in one walk, and kept as it was compressed too.
//! Invariants: a client is told success only when every consumer of the signal has its request; a change of
//! arguments refuses no request: new servers are there before the old ones go, and take over the connections
//! where the address is the same.

mod args;
mod grpc;
mod http;
mod intake;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use component::{BuildCx, Component, Error, Event, Exports, OnceAMinute, RunCx, Stability};
use net::Server;
use net::grpc::Limits;
use net::server::Budget;

pub use args::{Args, HttpArgs};
use intake::{BUDGET, Config, Shared};

use crate::receiver::metrics::Metrics;
use crate::server::GrpcServerArgs;
use crate::signals::Kind;

/// How long requests under way may take when a server stops or moves.
const GRACE: Duration = Duration::from_secs(30);

/// Nothing: data goes to `output`.
#[derive(Clone, Debug, Default, PartialEq, Exports)]
pub struct OtlpReceiverExports {}

/// The component.
pub struct OtlpReceiver {
    args: Args,
    shared: Arc<Shared>,
}

impl Component for OtlpReceiver {
    const NAME: &'static str = "otelcol.receiver.otlp";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = OtlpReceiverExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, OtlpReceiverExports), Error> {
        let config = check(&args)?;
        let shared = Arc::new(Shared {
            config: ArcSwap::from_pointee(config),
            budget: Budget::new(BUDGET),
            metrics: Metrics::new(&cx.metrics(), "otlp", cx.id(), &Kind::ALL),
            cx: cx.clone(),
            warned: OnceAMinute::default(),
        });
        Ok((Self { args, shared }, OtlpReceiverExports {}))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let Self { mut args, shared } = self;
        let mut servers = Servers::bind(&args, &shared).await?;
        tell(&args);
        loop {
            match cx.event().await {
                Event::Stop => {
                    servers.shutdown().await;
                    return Ok(());
                }
                Event::Update(update) => {
                    let new = update.args().clone();
                    let result = change(&mut servers, &args, &new, &shared, &cx).await;
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
fn check(args: &Args) -> Result<Config, Error> {
    args.grpc.as_ref().map(GrpcServerArgs::options).transpose()?;
    args.http.as_ref().map(|http| http.server.options()).transpose()?;
    Config::new(args)
}

/// What is fine but perhaps not what is meant.
fn tell(args: &Args) {
    if args.grpc.is_none() && args.http.is_none() {
        tracing::warn!("nothing listens: add a grpc or an http block");
    }
}

/// A server for each block that is there.
#[derive(Default)]
struct Servers {
    grpc: Option<Server>,
    http: Option<Server>,
}

async fn bind_grpc(args: &Args, shared: &Arc<Shared>) -> Result<Option<Server>, Error> {
    let Some(grpc) = &args.grpc else { return Ok(None) };
    let limits = Limits { max_message: grpc.max_message(), budget: shared.budget.clone() };
    let handler = net::grpc::handler(grpc::Export(shared.clone()), limits);
    grpc.bind(shared.cx.id(), handler).await.map(Some)
}

async fn bind_http(args: &Args, shared: &Arc<Shared>) -> Result<Option<Server>, Error> {
    let Some(http) = args.http.as_ref().map(|http| &http.server) else { return Ok(None) };
    http.bind(shared.cx.id(), Arc::new(http::Post(shared.clone()))).await.map(Some)
}

impl Servers {
    async fn bind(args: &Args, shared: &Arc<Shared>) -> Result<Self, Error> {
        let mut servers = Self { grpc: bind_grpc(args, shared).await?, http: None };
        match bind_http(args, shared).await {
            Ok(http) => servers.http = http,
            Err(error) => {
                servers.shutdown().await;
                return Err(error);
            }
        }
        Ok(servers)
    }

    async fn shutdown(self) {
        let end = async |server: Option<Server>| {
            if let Some(server) = server {
                server.shutdown(GRACE).await;
            }
        };
        tokio::join!(end(self.grpc), end(self.http));
    }
}

/// Puts new arguments into force. The old servers answer what they have begun.
async fn change(
    servers: &mut Servers,
    old: &Args,
    new: &Args,
    shared: &Arc<Shared>,
    cx: &RunCx<OtlpReceiver>,
) -> Result<(), Error> {
    let config = check(new)?;
    let mut before = Servers::default();
    if new.grpc != old.grpc {
        before.grpc = std::mem::replace(&mut servers.grpc, bind_grpc(new, shared).await?);
    }
    let moved = new.http.as_ref().map(|h| &h.server) != old.http.as_ref().map(|h| &h.server);
    // What is posted from now on finds paths and limits in the configuration.
    let http = if moved { bind_http(new, shared).await } else { Ok(None) };
    match http {
        Ok(http) if moved => before.http = std::mem::replace(&mut servers.http, http),
        Ok(_) => {}
        Err(error) => {
            // All or nothing: the first server takes its address back.
            if new.grpc != old.grpc {
                let back = bind_grpc(old, shared).await;
                let after = std::mem::replace(&mut servers.grpc, back.ok().flatten().or(before.grpc));
                cx.spawn(Servers { grpc: after, http: None }.shutdown());
            }
            return Err(error);
        }
    }
    shared.metrics.show(config.level);
    shared.config.store(Arc::new(config));
    cx.spawn(before.shutdown());
    Ok(())
}

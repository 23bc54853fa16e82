//! `prometheus.receive_http` takes remote write requests and forwards their samples.
//!
//! Data path: server → request → `forward_to`; the client is answered when all of `forward_to` has the
//! samples. Invariant: a change of arguments refuses no request: the new server is there before the old one
//! goes, and takes over its connections where the address is the same.

mod args;
mod handler;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use component::{BuildCx, Component, Error, Event, Exports, RunCx, Stability};
use net::server::Budget;
use net::{Server, ServerOptions};
use tokio::time::MissedTickBehavior;

pub use args::Args;
use handler::{BODIES, BUDGET, Config, MAX_PACKED, Metrics, Shared, Write};

/// How often the number of connections is told.
const TICK: Duration = Duration::from_secs(5);

/// Nothing: samples go to `forward_to`.
#[derive(Clone, Debug, Default, PartialEq, Exports)]
pub struct ReceiveHttpExports {}

/// The component.
pub struct ReceiveHttp {
    args: Args,
    shared: Arc<Shared>,
}

impl Component for ReceiveHttp {
    const NAME: &'static str = "prometheus.receive_http";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = ReceiveHttpExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, ReceiveHttpExports), Error> {
        check(&args)?;
        let shared = Arc::new(Shared {
            config: ArcSwap::from_pointee(Config::new(&args)),
            bodies: Budget::new(BODIES),
            budget: Budget::new(BUDGET),
            metrics: Metrics::new(&cx.metrics()),
            cx: cx.clone(),
        });
        Ok((Self { args, shared }, ReceiveHttpExports {}))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let Self { mut args, shared } = self;
        let mut server = bind(&args, &shared).await?;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = cx.event() => match event {
                    Event::Stop => {
                        server.shutdown(args.graceful_shutdown_timeout).await;
                        return Ok(());
                    }
                    Event::Update(update) => {
                        let new = update.args().clone();
                        let result = change(&mut server, &args, &new, &shared, &cx).await;
                        if result.is_ok() {
                            args = new;
                        }
                        update.answer(result);
                    }
                },
                _ = tick.tick() => shared.metrics.requests.connections("http", server.connections()),
            }
        }
    }
}

/// What the decoder cannot check.
fn check(args: &Args) -> Result<(), Error> {
    ServerOptions::from_http(&args.http.clone().unwrap_or_default())?;
    Ok(())
}

async fn bind(args: &Args, shared: &Arc<Shared>) -> Result<Server, Error> {
    let http = args.http.clone().unwrap_or_default();
    let options = ServerOptions::from_http(&http)?.max_body(MAX_PACKED);
    let handler = Arc::new(Write(shared.clone()));
    let port =
        u16::try_from(http.listen_port).map_err(|_| Error::argument("http", "listen_port must be a port"))?;
    Ok(Server::bind(shared.cx.id(), &http.listen_address, port, options, handler).await?)
}

/// Puts new arguments into force. The old server answers what it has begun.
async fn change(
    server: &mut Server,
    old: &Args,
    new: &Args,
    shared: &Arc<Shared>,
    cx: &RunCx<ReceiveHttp>,
) -> Result<(), Error> {
    check(new)?;
    if new.http != old.http {
        let before = std::mem::replace(server, bind(new, shared).await?);
        let grace = old.graceful_shutdown_timeout;
        cx.spawn(async move {
            before.shutdown(grace).await;
        });
    }
    shared.config.store(Arc::new(Config::new(new)));
    Ok(())
}

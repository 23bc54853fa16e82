//! `pyroscope.receive_http` takes profiles by Pyroscope's two protocols and forwards them.
//!
//! Data path: server → request → `forward_to`; the client is answered when all of `forward_to` has the profiles.
//! Invariants: a profile's bytes are passed on as they came; what all requests hold together is bounded; a change of
//! arguments refuses no request: the new server is there before the old one goes, and takes over its connections
//! where the address is the same.

mod args;
mod handler;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use component::{BuildCx, Component, Error, Event, Exports, Fanout, RunCx, Stability};
use net::{Server, ServerOptions};
use signal::Profiles;
use tokio::time::MissedTickBehavior;

pub use args::Args;
use handler::{Answering, MAX_BODY, Shared};

/// How often the number of connections is told.
const TICK: Duration = Duration::from_secs(5);

/// Nothing: profiles go to `forward_to`.
#[derive(Clone, Debug, Default, PartialEq, Exports)]
pub struct ReceiveHttpExports {}

/// The component.
pub struct ReceiveHttp {
    args: Args,
    shared: Arc<Shared>,
}

impl Component for ReceiveHttp {
    const NAME: &'static str = "pyroscope.receive_http";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = ReceiveHttpExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, ReceiveHttpExports), Error> {
        check(&args)?;
        let shared = Arc::new(Shared::new(fanout(&args), cx));
        Ok((Self { args, shared }, ReceiveHttpExports {}))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let Self { mut args, shared } = self;
        let mut server = bind(&args, &shared, &cx).await?;
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
                _ = tick.tick() => shared.tell(limit(&args), server.connections()),
            }
        }
    }
}

fn fanout(args: &Args) -> ArcSwap<Fanout<Profiles>> {
    ArcSwap::from_pointee(Fanout::new(args.forward_to.iter().cloned()))
}

fn limit(args: &Args) -> i64 {
    args.http.as_ref().map_or_else(|| net::args::HttpServerArgs::default().conn_limit, |http| http.conn_limit)
}

/// What the decoder cannot check.
fn check(args: &Args) -> Result<(), Error> {
    ServerOptions::from_http(&args.http.clone().unwrap_or_default())?;
    Ok(())
}

async fn bind(args: &Args, shared: &Arc<Shared>, cx: &BuildCx) -> Result<Server, Error> {
    let http = args.http.clone().unwrap_or_default();
    let options = ServerOptions::from_http(&http)?.max_body(MAX_BODY);
    let handler = Arc::new(Answering(shared.clone()));
    Ok(Server::bind(cx.id(), &http.listen_address, http.port(), options, handler).await?)
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
        let before = std::mem::replace(server, bind(new, shared, cx).await?);
        let grace = old.graceful_shutdown_timeout;
        cx.spawn(async move {
            before.shutdown(grace).await;
        });
    }
    shared.forward_to.store(fanout(new).into_inner());
    Ok(())
}

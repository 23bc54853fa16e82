//! `faro.receiver` takes what the Grafana Faro Web SDK posts from web pages: logs, exceptions, measurements and events
//! become log lines, spans become traces.
//!
//! Data path: server → [`handler`] → `wire::faro` → `output`; stack traces go through [`sourcemaps`] on their way.
//! Invariants: a page is told success only when everybody has its data; a change of arguments refuses no request;
//! what strangers send is bounded in every respect.

mod args;
mod handler;
mod limiter;
mod metrics;
mod sourcemaps;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use component::{BuildCx, Component, Error, Event, Exports, OnceAMinute, RunCx, Stability};
use net::server::Budget;
use net::{Server, ServerOptions};
use tokio::time::Instant;

pub use args::{
    Args, Cache, Location, LogFormat, Output, RateLimiting, Server as ServerArgs, SourceMaps, Strategy,
};
use handler::{BUDGET, Collect, Config, Shared};
use metrics::Metrics;

/// How long requests under way may take when a server stops or moves.
const GRACE: Duration = Duration::from_secs(30);
/// How often apps without requests are looked for.
const APPS: Duration = Duration::from_secs(60);

/// Nothing: data goes to `output`.
#[derive(Clone, Debug, Default, PartialEq, Exports)]
pub struct FaroReceiverExports {}

/// The component.
pub struct FaroReceiver {
    args: Args,
    shared: Arc<Shared>,
}

impl Component for FaroReceiver {
    const NAME: &'static str = "faro.receiver";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = FaroReceiverExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, FaroReceiverExports), Error> {
        let metrics = Metrics::new(&cx.metrics());
        let config = Config::new(&args, None, &metrics)?;
        let shared = Arc::new(Shared {
            config: ArcSwap::from_pointee(config),
            budget: Budget::new(BUDGET),
            metrics,
            cx: cx.clone(),
            warned: OnceAMinute::default(),
        });
        Ok((Self { args, shared }, FaroReceiverExports {}))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let Self { mut args, shared } = self;
        let mut server = bind(&args, &shared).await?;
        tell(&args);
        let (mut apps, mut maps) =
            (Instant::now() + APPS, Instant::now() + shared.config.load().maps.interval());
        loop {
            let event = tokio::select! {
                event = cx.event() => event,
                () = tokio::time::sleep_until(apps) => {
                    shared.config.load().limiter.clean();
                    apps = Instant::now() + APPS;
                    continue;
                }
                () = tokio::time::sleep_until(maps) => {
                    let config = shared.config.load_full();
                    config.maps.clean();
                    maps = Instant::now() + config.maps.interval();
                    continue;
                }
            };
            match event {
                Event::Stop => {
                    server.shutdown(GRACE).await;
                    return Ok(());
                }
                Event::Update(update) => {
                    let new = update.args().clone();
                    let result = change(&mut server, &args, &new, &shared, &cx).await;
                    if result.is_ok() {
                        tell(&new);
                        args = new;
                        maps = Instant::now() + shared.config.load().maps.interval();
                    }
                    update.answer(result);
                }
            }
        }
    }
}

async fn bind(args: &Args, shared: &Arc<Shared>) -> Result<Server, Error> {
    let options = ServerOptions::default().max_body(args.server.max_payload());
    let handler = Arc::new(Collect::new(&args.server, shared));
    let (host, port) = (args.server.listen_address.as_str(), args.server.port());
    Ok(Server::bind(shared.cx.id(), host, port, options, handler).await?)
}

/// What is fine but perhaps not what is meant.
fn tell(args: &Args) {
    if args.output.logs.is_empty() && args.output.traces.is_empty() {
        tracing::warn!("what is received goes nowhere: output has no consumers");
    }
}

/// Puts new arguments into force. The old server answers what it has begun.
async fn change(
    server: &mut Server,
    old: &Args,
    new: &Args,
    shared: &Arc<Shared>,
    cx: &RunCx<FaroReceiver>,
) -> Result<(), Error> {
    let before = shared.config.load_full();
    let config = Config::new(new, Some((old, &before)), &shared.metrics)?;
    if new.server != old.server {
        let before = std::mem::replace(server, bind(new, shared).await?);
        cx.spawn(async move {
            before.shutdown(GRACE).await;
        });
    }
    shared.config.store(Arc::new(config));
    Ok(())
}

/// Reads any bytes as a source map; for `tests/fuzz` only.
#[doc(hidden)]
pub fn read_arbitrary(content: &[u8], line: u32, column: u32) {
    sourcemaps::read_arbitrary(content, line, column);
}

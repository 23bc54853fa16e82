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
use component::{BuildCx, Component, Error, Exports, RunCx, Stability};
use net::args::HttpServerArgs;
use net::server::serving::{self, Serving};
use net::server::{Budget, RequestMetrics, StreamHandler};

pub use args::Args;
use handler::{BODIES, BUDGET, Config, MAX_PACKED, Metrics, Shared, Write};

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
        serving::check::<Self>(&args)?;
        let shared = Arc::new(Shared {
            config: ArcSwap::from_pointee(Config::new(&args)),
            bodies: Budget::new(BODIES),
            budget: Budget::new(BUDGET),
            metrics: Metrics::new(&cx.metrics()),
            cx: cx.clone(),
        });
        Ok((Self { args, shared }, ReceiveHttpExports {}))
    }

    async fn run(self, cx: RunCx<Self>) -> Result<(), Error> {
        let args = self.args.clone();
        serving::serve(&self, args, cx).await
    }
}

impl Serving for ReceiveHttp {
    type Config = Config;

    fn http(args: &Args) -> Option<&HttpServerArgs> {
        args.http.as_ref()
    }

    fn max_body(_args: &Args) -> usize {
        MAX_PACKED
    }

    fn grace(args: &Args) -> Duration {
        args.graceful_shutdown_timeout
    }

    fn handler(&self) -> Arc<dyn StreamHandler> {
        Arc::new(Write(self.shared.clone()))
    }

    fn config(args: &Args) -> Result<Config, Error> {
        Ok(Config::new(args))
    }

    fn apply(&self, config: Config) {
        self.shared.config.store(Arc::new(config));
    }

    fn requests(&self) -> &RequestMetrics {
        &self.shared.metrics.requests
    }
}

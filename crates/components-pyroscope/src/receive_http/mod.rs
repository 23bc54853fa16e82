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
use component::{BuildCx, Component, Error, Exports, Fanout, RunCx, Stability};
use net::args::HttpServerArgs;
use net::server::serving::{self, Serving};
use net::server::{RequestMetrics, StreamHandler};
use signal::Profiles;

pub use args::Args;
use handler::{Answering, MAX_BODY, Shared};

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
        serving::check::<Self>(&args)?;
        let shared = Arc::new(Shared::new(ArcSwap::from_pointee(fanout(&args)), cx));
        Ok((Self { args, shared }, ReceiveHttpExports {}))
    }

    async fn run(self, cx: RunCx<Self>) -> Result<(), Error> {
        let args = self.args.clone();
        serving::serve(&self, args, cx).await
    }
}

impl Serving for ReceiveHttp {
    type Config = Fanout<Profiles>;

    fn http(args: &Args) -> Option<&HttpServerArgs> {
        args.http.as_ref()
    }

    fn max_body(_args: &Args) -> usize {
        MAX_BODY
    }

    fn grace(args: &Args) -> Duration {
        args.graceful_shutdown_timeout
    }

    fn handler(&self) -> Arc<dyn StreamHandler> {
        Arc::new(Answering(self.shared.clone()))
    }

    fn config(args: &Args) -> Result<Fanout<Profiles>, Error> {
        Ok(fanout(args))
    }

    fn apply(&self, forward_to: Fanout<Profiles>) {
        self.shared.forward_to.store(Arc::new(forward_to));
    }

    fn requests(&self) -> &RequestMetrics {
        &self.shared.requests
    }

    fn tell(&self, args: &Args) {
        self.shared.tell(limit(args));
    }
}

fn fanout(args: &Args) -> Fanout<Profiles> {
    Fanout::new(args.forward_to.iter().cloned())
}

/// Connections that are let in; 0 is what the server has of its own.
fn limit(args: &Args) -> usize {
    let given = args.http.as_ref().and_then(|http| usize::try_from(http.conn_limit).ok());
    given.filter(|given| *given > 0).unwrap_or(net::server::DEFAULT_CONNECTIONS)
}

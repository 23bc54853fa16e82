//! The life of a component that is a server: it listens, tells how many are connected, follows its arguments, ends.
//!
//! Invariants: a change of arguments refuses no request: the new server is there before the old one goes, takes over its
//! connections where the address is the same, and the old one answers what it has begun; arguments that cannot be put
//! into force change nothing.

use std::sync::Arc;
use std::time::Duration;

use component::{Component, Error, Event, RunCx};
use tokio::time::MissedTickBehavior;

use super::{RequestMetrics, Server, ServerOptions, StreamHandler};
use crate::args::{GrpcServerArgs, HttpServerArgs};

/// How often the number of connections is told.
const TICK: Duration = Duration::from_secs(5);

/// A component that serves HTTP, and perhaps gRPC, until it is stopped.
pub trait Serving: Component + Sync {
    /// What of the arguments requests are answered by; it changes while they are under way.
    type Config: Send;

    /// Where it listens, if the arguments say so.
    fn http(args: &Self::Args) -> Option<&HttpServerArgs>;

    /// Where it listens for gRPC, if it does.
    fn grpc(_args: &Self::Args) -> Option<&GrpcServerArgs> {
        None
    }

    /// Bytes of a body of HTTP as it comes.
    fn max_body(args: &Self::Args) -> usize;

    /// How long requests under way may take when the server stops or moves.
    fn grace(args: &Self::Args) -> Duration;

    /// What answers.
    fn handler(&self) -> Arc<dyn StreamHandler>;

    /// What answers over gRPC, for those who listen for it.
    fn grpc_handler(&self) -> Arc<dyn StreamHandler> {
        self.handler()
    }

    /// Reads the arguments.
    ///
    /// # Errors
    /// If they cannot be put into force.
    fn config(args: &Self::Args) -> Result<Self::Config, Error>;

    /// Puts them into force: cannot fail any more.
    fn apply(&self, config: Self::Config);

    /// Where the number of connections is told.
    fn requests(&self) -> &RequestMetrics;

    /// What else is told now and then.
    fn tell(&self, _args: &Self::Args) {}
}

/// What the decoder cannot check: certificates and networks can be read.
///
/// # Errors
/// If not.
pub fn check<S: Serving>(args: &S::Args) -> Result<(), Error> {
    ServerOptions::from_http(&http::<S>(args))?;
    S::grpc(args).map(ServerOptions::from_grpc).transpose()?;
    Ok(())
}

/// Serves until the component is stopped.
///
/// # Errors
/// If it cannot listen.
pub async fn serve<S: Serving>(serving: &S, mut args: S::Args, mut cx: RunCx<S>) -> Result<(), Error> {
    let mut servers = Servers::bind(serving, &args, &cx).await?;
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            event = cx.event() => match event {
                Event::Stop => {
                    servers.shutdown(S::grace(&args)).await;
                    return Ok(());
                }
                Event::Update(update) => {
                    let new = update.args().clone();
                    let result = servers.change(serving, &args, &new, &cx).await;
                    if result.is_ok() {
                        args = new;
                    }
                    update.answer(result);
                }
            },
            _ = tick.tick() => {
                servers.tell(serving.requests());
                serving.tell(&args);
            }
        }
    }
}

fn http<S: Serving>(args: &S::Args) -> HttpServerArgs {
    S::http(args).cloned().unwrap_or_default()
}

/// The listeners of a component.
struct Servers {
    http: Server,
    grpc: Option<Server>,
}

impl Servers {
    async fn bind<S: Serving>(serving: &S, args: &S::Args, cx: &RunCx<S>) -> Result<Self, Error> {
        let http = bind_http(serving, args, cx).await?;
        Ok(Self { http, grpc: bind_grpc(serving, args, cx).await? })
    }

    fn tell(&self, metrics: &RequestMetrics) {
        metrics.connections("http", self.http.connections());
        if let Some(grpc) = &self.grpc {
            metrics.connections("grpc", grpc.connections());
        }
    }

    /// Puts new arguments into force. Old servers answer what they have begun.
    async fn change<S: Serving>(
        &mut self,
        serving: &S,
        old: &S::Args,
        new: &S::Args,
        cx: &RunCx<S>,
    ) -> Result<(), Error> {
        check::<S>(new)?;
        let config = S::config(new)?;
        let http = match S::http(old) != S::http(new) || S::max_body(old) != S::max_body(new) {
            true => Some(bind_http(serving, new, cx).await?),
            false => None,
        };
        let mut gone = Vec::new();
        if S::grpc(old) != S::grpc(new) {
            let grpc = bind_grpc(serving, new, cx).await?;
            gone.extend(std::mem::replace(&mut self.grpc, grpc));
        }
        if let Some(http) = http {
            gone.push(std::mem::replace(&mut self.http, http));
        }
        serving.apply(config);
        let grace = S::grace(old);
        for server in gone {
            cx.spawn(async move {
                server.shutdown(grace).await;
            });
        }
        Ok(())
    }

    async fn shutdown(self, grace: Duration) {
        let grpc = async {
            if let Some(grpc) = self.grpc {
                grpc.shutdown(grace).await;
            }
        };
        tokio::join!(self.http.shutdown(grace), grpc);
    }
}

async fn bind_http<S: Serving>(serving: &S, args: &S::Args, cx: &RunCx<S>) -> Result<Server, Error> {
    let http = http::<S>(args);
    let options = ServerOptions::from_http(&http)?.max_body(S::max_body(args));
    Ok(Server::bind(cx.id(), &http.listen_address, http.port(), options, serving.handler()).await?)
}

async fn bind_grpc<S: Serving>(serving: &S, args: &S::Args, cx: &RunCx<S>) -> Result<Option<Server>, Error> {
    let Some(grpc) = S::grpc(args) else { return Ok(None) };
    let options = ServerOptions::from_grpc(grpc)?;
    let handler = serving.grpc_handler();
    let server = Server::bind(cx.id(), &grpc.listen_address, grpc.port(), options, handler).await?;
    tracing::info!(address = %server.address(), "listening for gRPC");
    Ok(Some(server))
}

//! `loki.source.syslog` takes syslog messages over TCP, TLS and UDP.
//!
//! Data path: socket → frames → messages → labels and rules → `forward_to`. Invariants: a change of arguments
//! drops no connection whose address and TLS stay; TCP senders wait while `forward_to` does, and what UDP's
//! cannot wait with is counted; everything that a client can make grow has a bound.

mod args;
mod datagram;
mod labels;
mod read;
mod stream;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arc_swap::ArcSwap;
use component::eval::{Item, Value};
use component::metrics::IntCounterVec;
use component::{BuildCx, Component, Error, Event, RunCx, Stability};
use net::ServerTls;
use net::args::TlsConfigArgs;
use net::socket::{Claim, listen_tcp, listen_udp};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::http_intake::NoExports;
pub use args::{Args, CiscoComponents, Format, ListenerArgs, Protocol, RawFormatOptions};
use net::datagrams::KERNEL_BUFFER;
use read::{Current, Metrics, Reading};

/// The component.
pub struct Syslog {
    args: Args,
    metrics: Arc<Metrics>,
    dropped: IntCounterVec,
}

/// A listener that runs.
struct Listener {
    protocol: Protocol,
    address: String,
    tls_args: TlsConfigArgs,
    current: Current,
    retire: CancellationToken,
    /// Closed when all that it has taken in is handed over.
    done: watch::Receiver<()>,
}

/// A listener that may run, as its sockets and certificates are there.
enum Bound {
    Tcp(Claim<TcpListener>, Option<Arc<ServerTls>>),
    Udp(Claim<UdpSocket>),
}

impl Component for Syslog {
    const NAME: &'static str = "loki.source.syslog";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = NoExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, NoExports), Error> {
        check(&args)?;
        let metrics = cx.metrics();
        let dropped = metrics.counter_vec(
            "loki_source_syslog_dropped_datagrams_total",
            "Datagrams that were dropped, by reason.",
            &["reason"],
        );
        Ok((Self { args, metrics: Arc::new(Metrics::new(&metrics)), dropped }, NoExports {}))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let Self { args, metrics, dropped } = self;
        let mut running = Running { listeners: Vec::new(), metrics, dropped };
        running.change(&args, &cx).await?;
        loop {
            match cx.event().await {
                Event::Update(update) => {
                    let new = update.args().clone();
                    update.answer(running.change(&new, &cx).await);
                }
                Event::Stop => {
                    running.stop().await;
                    return Ok(());
                }
            }
        }
    }
}

/// What the decoder cannot check.
fn check(args: &Args) -> Result<(), Error> {
    for listener in &args.listener {
        Reading::new(listener, &args.forward_to, args.relabel_rules.as_ref())?;
        ServerTls::for_listener(&listener.tls_config)?;
    }
    Ok(())
}

/// The TLS of a listener, its certificates read.
fn server_tls(args: &ListenerArgs) -> Result<Option<Arc<ServerTls>>, Error> {
    if args.protocol == Protocol::Udp {
        return Ok(None);
    }
    let tls = ServerTls::for_listener(&args.tls_config)?.map(Arc::new);
    if let Some(tls) = &tls {
        tls.config()?;
    }
    Ok(tls)
}

async fn bind(args: &ListenerArgs, tls: Option<Arc<ServerTls>>, owner: &str) -> Result<Bound, Error> {
    Ok(match args.protocol {
        Protocol::Tcp => Bound::Tcp(listen_tcp(owner, &args.address).await?, tls),
        Protocol::Udp => Bound::Udp(listen_udp(owner, &args.address, KERNEL_BUFFER).await?),
    })
}

struct Running {
    listeners: Vec<Listener>,
    metrics: Arc<Metrics>,
    dropped: IntCounterVec,
}

impl Running {
    /// Puts arguments into force: all of them, or, where a socket cannot be had, none.
    async fn change(&mut self, args: &Args, cx: &RunCx<Syslog>) -> Result<(), Error> {
        check(args)?;
        let mut plan = Vec::new();
        for listener in &args.listener {
            let reading = Reading::new(listener, &args.forward_to, args.relabel_rules.as_ref())?;
            let known = self.listeners.iter().position(|l| l.stays(listener));
            let held = self.listeners.iter().any(|l| l.key() == listener.key());
            plan.push((listener, reading, known, held, server_tls(listener)?));
        }
        // A listener loses its socket to whoever claims the address: that comes last, when nothing can fail.
        plan.sort_by_key(|(_, _, _, held, _)| *held);
        let mut bound = Vec::new();
        for (listener, _, known, _, tls) in &plan {
            bound.push(match known {
                Some(_) => None,
                None => Some(bind(listener, tls.clone(), cx.id()).await?),
            });
        }
        let mut old: Vec<Option<Listener>> =
            std::mem::take(&mut self.listeners).into_iter().map(Some).collect();
        for ((listener, reading, known, _, _), bound) in plan.into_iter().zip(bound) {
            let running = match (known.and_then(|i| old[i].take()), bound) {
                (Some(running), _) => {
                    running.current.store(Arc::new(reading));
                    running
                }
                (None, Some(bound)) => self.start(listener, reading, bound, cx),
                (None, None) => continue,
            };
            self.listeners.push(running);
        }
        old.into_iter().flatten().for_each(|gone| gone.retire.cancel());
        self.tell(cx);
        Ok(())
    }

    fn start(&self, args: &ListenerArgs, reading: Reading, bound: Bound, cx: &RunCx<Syslog>) -> Listener {
        let current = Arc::new(ArcSwap::from_pointee(reading));
        let retire = CancellationToken::new();
        let (ended, done) = watch::channel(());
        let metrics = self.metrics.clone();
        match bound {
            Bound::Tcp(claim, tls) => {
                tracing::info!(address = %claim.address(), tls = tls.is_some(), "listening for syslog over TCP");
                let shared = stream::Listening {
                    current: current.clone(),
                    tls,
                    metrics,
                    retire: retire.clone(),
                    cx: (**cx).clone(),
                };
                cx.spawn(async move {
                    let _ended = ended;
                    stream::accept(claim, Arc::new(shared)).await;
                });
            }
            Bound::Udp(claim) => {
                tracing::info!(address = %claim.address(), "listening for syslog over UDP");
                let shared = datagram::Listening {
                    current: current.clone(),
                    metrics,
                    dropped: self.dropped.clone(),
                    retire: retire.clone(),
                    cx: (**cx).clone(),
                };
                cx.spawn(async move {
                    let _ended = ended;
                    datagram::receive(claim, Arc::new(shared)).await;
                });
            }
        }
        Listener {
            protocol: args.protocol,
            address: args.address.clone(),
            tls_args: args.tls_config.clone(),
            current,
            retire,
            done,
        }
    }

    /// What the UI shows.
    fn tell(&self, cx: &RunCx<Syslog>) {
        let listeners: Vec<_> = self.listeners.iter().map(|l| (l.current.clone(), l.done.clone())).collect();
        cx.set_debug_info(move || {
            let one = |(current, done): &(Current, watch::Receiver<()>)| {
                let reading = current.load();
                let labels = signal::Labels::from_pairs(&reading.args.labels).to_string();
                let items = vec![
                    Item::Attribute { name: "ready".into(), value: Value::from(done.has_changed().is_ok()) },
                    Item::Attribute {
                        name: "listen_address".into(),
                        value: Value::from(reading.args.address.as_str()),
                    },
                    Item::Attribute { name: "labels".into(), value: Value::from(labels.as_str()) },
                ];
                Item::Block { name: "listeners_info".into(), label: None, body: items }
            };
            listeners.iter().map(one).collect()
        });
    }

    /// Ends everything; returns when what was taken in is handed over.
    async fn stop(self) {
        self.listeners.iter().for_each(|listener| listener.retire.cancel());
        for mut listener in self.listeners {
            while listener.done.changed().await.is_ok() {}
        }
    }
}

impl Listener {
    fn key(&self) -> (Protocol, &str) {
        (self.protocol, &self.address)
    }

    /// Whether this one goes on under new arguments.
    fn stays(&self, args: &ListenerArgs) -> bool {
        let queue = self.current.load().args.udp_queue_size;
        self.key() == args.key()
            && match self.protocol {
                Protocol::Tcp => self.tls_args == args.tls_config,
                Protocol::Udp => queue == args.udp_queue_size,
            }
            && !self.retire.is_cancelled()
            && self.done.has_changed().is_ok()
    }
}

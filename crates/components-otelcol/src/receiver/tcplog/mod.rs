//! `otelcol.receiver.tcplog` takes lines of text over TCP.
//!
//! Data path: connection → lines (`text`) → operators → `output`. Invariant: senders wait while consumers do; a
//! change of arguments drops no connection whose address and TLS stay.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use component::eval::{Invalid, Size};
use component::metrics::IntCounterVec;
use component::otel::{DebugMetrics, Output};
use component::{Arguments, BuildCx, Component, Error, Event, Exports, RunCx, Stability};
use tail::{Framing, Rule};

use super::check_debug_metrics;
use super::filelog::{Encoding, Multiline};
use super::text::{Address, Frames, Listeners, Reading};
use crate::operators::deliver::{Delivery, Given, Retry, Way};
use crate::operators::{Config, Counters, Pipeline};
use crate::own_metrics::Switch;
use crate::server::TlsServerArgs;

/// In names of metrics.
const PREFIX: &str = "otelcol_receiver_tcplog";

/// `otelcol.receiver.tcplog`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// Where to listen, as `host:port`.
    pub listen_address: String,
    /// A longer record comes in parts.
    #[arg(default = Size::mib(1))]
    pub max_log_size: Size,
    /// Add attributes of both ends of the connection, `net.peer.ip` and the like.
    #[arg(default)]
    pub add_attributes: bool,
    /// All that a connection sends is one record.
    #[arg(default)]
    pub one_log_per_packet: bool,
    /// Encoding of the text, by its IANA name; `nop` gives bodies as bytes.
    #[arg(default = "utf-8")]
    pub encoding: String,
    /// Operators, one after the other. Alloy has no such argument here; the Collector has.
    #[arg(default)]
    pub operators: Vec<Config>,
    /// TLS.
    #[arg(block)]
    pub tls: Option<TlsServerArgs>,
    /// Records of several lines.
    #[arg(block)]
    pub multiline: Option<Multiline>,
    /// How records are offered that nobody takes.
    #[arg(block)]
    pub retry_on_failure: Retry,
    /// The component's own metrics.
    #[arg(block)]
    pub debug_metrics: DebugMetrics,
    /// Where records go.
    #[arg(block, required)]
    pub output: Output,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if net::socket::split(&self.listen_address).is_none() {
            let message = format!("{:?} is not an address", self.listen_address);
            return Err(Invalid::field("listen_address", message).with_help("write host:port"));
        }
        check_debug_metrics(&self.debug_metrics)?;
        self.reading().map(|_| ())
    }

    fn reading(&self) -> Result<Reading, Invalid> {
        let encoding = Encoding::named(&self.encoding)?;
        let rule = self.multiline.as_ref().map_or(Ok(Rule::Lines), Multiline::rule)?;
        encoding.check(&rule)?;
        let most = most(self.max_log_size)?;
        let frames = match self.one_log_per_packet {
            true => Frames::Whole(most),
            false => Frames::Split(Framing { rule, max: most }),
        };
        let add_attributes = self.add_attributes;
        Ok(Reading { frames, encoding, keep_spaces: (false, false), add_attributes })
    }

    fn address(&self) -> Address {
        Address::Tcp { address: self.listen_address.clone(), tls: self.tls.clone().map(Box::new) }
    }

    fn way(&self, counters: &Counters) -> Result<Way, Error> {
        let pipeline = Pipeline::new("operators", &self.operators, counters);
        Ok(Way {
            pipeline: pipeline.map_err(|message| Error::argument("operators", message))?,
            given: Given::default(),
            fanout: self.output.fanout()?.logs,
            retry: self.retry_on_failure.clone(),
        })
    }
}

/// The size of a record in bytes.
///
/// # Errors
/// If it has no sense.
pub(super) fn most(size: Size) -> Result<usize, Invalid> {
    let most = usize::try_from(size.bytes()).ok().filter(|n| (1..=256 << 20).contains(n));
    most.ok_or_else(|| Invalid::field("max_log_size", "max_log_size must be from 1B to 256MiB"))
}

/// Nothing: data goes to `output`.
#[derive(Clone, Debug, Default, PartialEq, Exports)]
pub struct TcpLogExports {}

/// The component.
pub struct TcpLog {
    args: Args,
    delivery: Arc<Delivery>,
    switch: Switch,
    datagrams: IntCounterVec,
}

impl Component for TcpLog {
    const NAME: &'static str = "otelcol.receiver.tcplog";
    const STABILITY: Stability = Stability::Experimental;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = TcpLogExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, TcpLogExports), Error> {
        let (counters, switch) = Counters::switched(&cx.metrics(), PREFIX, args.debug_metrics.level);
        if let Some(tls) = &args.tls {
            tls.server()?;
        }
        let delivery = Arc::new(Delivery::new(args.way(&counters)?, counters.clone()));
        let datagrams = counters.datagrams();
        Ok((Self { args, delivery, switch, datagrams }, TcpLogExports {}))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let Self { args, delivery, switch, datagrams } = self;
        let mut listeners = Listeners::new(delivery.clone(), datagrams);
        listeners.change(vec![(args.address(), reading(&args)?)], &cx).await?;
        let (timed, stop) = (delivery.clone(), listeners.stopping().clone());
        let time = cx.spawn(async move { timed.keep_time(&stop).await });
        loop {
            match cx.event().await {
                Event::Stop => break,
                Event::Update(update) => {
                    let new = update.args().clone();
                    let result = change(&new, &delivery, &mut listeners, &cx).await;
                    if result.is_ok() {
                        switch.show(new.debug_metrics.level);
                    }
                    update.answer(result);
                }
            }
        }
        time.abort();
        listeners.stop().await;
        Ok(())
    }
}

fn reading(args: &Args) -> Result<Reading, Error> {
    args.reading().map_err(|e| Error::argument(e.field.unwrap_or("encoding"), e.message))
}

async fn change(
    new: &Args,
    delivery: &Arc<Delivery>,
    listeners: &mut Listeners,
    cx: &RunCx<TcpLog>,
) -> Result<(), Error> {
    let way = new.way(delivery.counters())?;
    listeners.change(vec![(new.address(), reading(new)?)], cx).await?;
    let held = delivery.change(way);
    let (delivery, stop) = (delivery.clone(), listeners.stopping().clone());
    cx.spawn(async move { drop(delivery.hand_over(held, &stop).await) });
    Ok(())
}

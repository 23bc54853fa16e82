//! `otelcol.receiver.syslog` takes messages of syslog over TCP, TLS and UDP.
//!
//! Data path: socket → messages (`text`) → the parser (`operators::syslog_parser`) → operators → `output`.
//! Invariants as those of `text`: TCP's senders wait while consumers do, what UDP's cannot wait with is counted.

mod args;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use component::eval::Invalid;
use component::metrics::IntCounterVec;
use component::{BuildCx, Component, Error, Event, Exports, RunCx, Stability};

pub use args::{Args, Protocol, Tcp, Udp};

use super::text::{Address, Listeners, Reading};
use crate::operators::deliver::{Delivery, Given, Way};
use crate::operators::options::Options;
use crate::operators::syslog_parser::SyslogParser;
use crate::operators::{Counters, Parser, Pipeline};
use crate::own_metrics::Switch;

/// In names of metrics.
const PREFIX: &str = "otelcol_receiver_syslog";

/// Nothing: data goes to `output`.
#[derive(Clone, Debug, Default, PartialEq, Exports)]
pub struct SyslogExports {}

/// The component.
pub struct Syslog {
    args: Args,
    delivery: Arc<Delivery>,
    switch: Switch,
    datagrams: IntCounterVec,
}

impl Component for Syslog {
    const NAME: &'static str = "otelcol.receiver.syslog";
    const STABILITY: Stability = Stability::PublicPreview;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = SyslogExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, SyslogExports), Error> {
        let (counters, switch) = Counters::switched(&cx.metrics(), PREFIX, args.debug_metrics.level);
        if let Some(tls) = args.tcp.as_ref().and_then(|tcp| tcp.tls.as_ref()) {
            tls.server()?;
        }
        let delivery = Arc::new(Delivery::new(way(&args, &counters)?, counters.clone()));
        let datagrams = counters.datagrams();
        Ok((Self { args, delivery, switch, datagrams }, SyslogExports {}))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let Self { args, delivery, switch, datagrams } = self;
        let mut listeners = Listeners::new(delivery.clone(), datagrams);
        listeners.change(wanted(&args)?, &cx).await?;
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

fn invalid(error: Invalid) -> Error {
    Error::argument(error.field.unwrap_or("tcp"), error.message)
}

fn wanted(args: &Args) -> Result<Vec<(Address, Reading)>, Error> {
    args.listeners().map_err(invalid)
}

/// The operators, with the parser before them.
fn way(args: &Args, counters: &Counters) -> Result<Way, Error> {
    let wrong = |message: String| Error::argument("operators", message);
    let mut pipeline = Pipeline::new("operators", &args.operators, counters).map_err(wrong)?;
    let parser = Parser::new(&mut Options::new("syslog", Default::default())).map_err(wrong)?;
    let parser = SyslogParser::with_rules(parser, args.rules().map_err(invalid)?);
    let (drops, quiet) = args.on_error().map_err(invalid)?;
    pipeline.prepend("syslog_parser", parser, drops, quiet);
    Ok(Way {
        pipeline,
        given: Given::default(),
        fanout: args.output.fanout()?.logs,
        retry: args.retry_on_failure.clone(),
    })
}

async fn change(
    new: &Args,
    delivery: &Arc<Delivery>,
    listeners: &mut Listeners,
    cx: &RunCx<Syslog>,
) -> Result<(), Error> {
    let way = way(new, delivery.counters())?;
    listeners.change(wanted(new)?, cx).await?;
    let held = delivery.change(way);
    let (delivery, stop) = (delivery.clone(), listeners.stopping().clone());
    cx.spawn(async move { drop(delivery.hand_over(held, &stop).await) });
    Ok(())
}

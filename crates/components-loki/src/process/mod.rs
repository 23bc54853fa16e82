//! `loki.process` runs log entries through stages and forwards what comes out.
//!
//! Data path: [`relay`] takes a batch, [`pipeline`] sends each entry as a [`record`] through the [`stages`], what
//! comes out goes to `forward_to` in the sender's task. `Ok` means that each entry was taken below, was dropped
//! by a stage and counted, or is kept back by a stage together with the batch's hold.

#[cfg(test)]
mod corpus;
mod counters;
mod debug;
mod expression;
pub mod extracted;
pub mod go_time;
pub mod labels;
pub mod logql;
pub mod pipeline;
pub mod record;
mod relay;
mod rfc3339;
pub mod stages;
pub mod template;
#[cfg(test)]
mod testkit;

use std::sync::Arc;

use component::{
    Arguments, BuildCx, Component, Error, Event, Exports, Fanout, Port, Receiver, RunCx, Stability,
};
use signal::Logs;

use pipeline::{Counters, Pipeline, StageCx};
use relay::{Entrance, Relay};
use stages::Stage;

/// `loki.process`
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct Args {
    /// Where processed entries go.
    pub forward_to: Vec<Receiver<Logs>>,
    /// What is done with each entry, in this order.
    #[arg(one_of)]
    pub stage: Vec<Stage>,
}

/// What others may refer to.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct ProcessExports {
    /// Takes entries in.
    pub receiver: Receiver<Logs>,
}

/// The component.
pub struct Process {
    args: Args,
    pipeline: Pipeline,
    port: Port<Logs>,
    counters: Counters,
}

impl Component for Process {
    const NAME: &'static str = "loki.process";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = ProcessExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, ProcessExports), Error> {
        let counters = Counters::new(&cx.metrics());
        let pipeline = Pipeline::new(&args.stage, &StageCx { counters: &counters, node: cx })?;
        let port = cx.port("receiver");
        let exports = ProcessExports { receiver: port.receiver() };
        Ok((Self { args, pipeline, port, counters }, exports))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let Self { args, mut pipeline, port, counters } = self;
        pipeline.open()?;
        let build = BuildCx::clone(&cx);
        let relay = Relay::new(pipeline, fanout(&args), &counters, build.clone(), cx.stopping());
        let relay = Arc::new(relay);
        let courier = relay.clone();
        cx.spawn(async move { courier.courier().await });
        let _ = port.attach(Entrance(relay.clone()));
        loop {
            match cx.event().await {
                Event::Stop => {
                    port.stop();
                    relay.drain().await;
                    return Ok(());
                }
                Event::Update(update) => {
                    let stage_cx = StageCx { counters: &counters, node: &build };
                    let result = relay.update(&update.args().stage, &stage_cx, fanout(update.args())).await;
                    update.answer(result);
                }
            }
        }
    }
}

fn fanout(args: &Args) -> Fanout<Logs> {
    Fanout::new(args.forward_to.iter().cloned())
}

#[cfg(test)]
mod tests;

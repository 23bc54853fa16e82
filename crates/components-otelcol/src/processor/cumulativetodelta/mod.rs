//! `otelcol.processor.cumulativetodelta` turns cumulative points into what has been added since the last.
//!
//! Data path: batch → each cumulative point that is to be converted becomes its difference to the last of its stream →
//! `output`, in the sender's task. Other points pass as they are.
//! Invariant: what is added to a stream goes on once. A difference that nobody has taken is owed: it is a part of the
//! next difference of its stream.

mod differ;
mod selection;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use component::metrics::{IntCounterVec, IntGauge, Opts};
use component::otel::{DebugMetrics, OtelInput, Output};
use component::{
    ArgEnum, Arguments, BoxFuture, BuildCx, Component, Consumer, Error, Event, Exports, Fanout, Port,
    Rejected, RunCx, Stability,
};
use parking_lot::Mutex;
use signal::otlp::OtlpMetrics;
use tokio::time::{Instant, MissedTickBehavior};

use crate::own_metrics::Switch;
use crate::ports::attach;
use crate::streams::decode;
use differ::{Differ, Sent};
use selection::{Selection, SelectionArgs};

/// `otelcol.processor.cumulativetodelta`
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct Args {
    /// After so long without a point a stream is forgotten; 0 forgets none.
    #[arg(default)]
    pub max_staleness: Duration,
    /// What becomes of the first point of a stream.
    #[arg(default = InitialValue::Auto, code_type = "string")]
    pub initial_value: InitialValue,
    /// Only metrics like this are converted.
    #[arg(block)]
    pub include: SelectionArgs,
    /// Metrics like this are not converted.
    #[arg(block)]
    pub exclude: SelectionArgs,
    /// Where data goes.
    #[arg(block, required)]
    pub output: Output,
    /// How much the component tells of itself.
    #[arg(block)]
    pub debug_metrics: DebugMetrics,
}

/// What becomes of the first point of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ArgEnum)]
pub enum InitialValue {
    /// It goes on as it is if it says that its stream began after the component has, else as `drop`.
    Auto,
    /// It goes on as it is.
    Keep,
    /// It goes nowhere; differences begin with the second.
    Drop,
}

/// What others may refer to.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct CumulativeToDeltaExports {
    /// Takes data in.
    pub input: OtelInput,
}

/// The component.
pub struct CumulativeToDelta {
    args: Args,
    port: Port<OtlpMetrics>,
    state: Arc<State>,
    shown: Switch,
}

/// What all senders share, over reloads too.
struct State {
    differ: Mutex<Differ>,
    dropped: IntCounterVec,
    tracked: IntGauge,
}

impl State {
    fn new(args: &Args) -> Arc<Self> {
        const CONSTANT: &str = "metric names are constants of this program";
        let dropped = Opts::new(
            "otelcol_cumulativetodelta_datapoints_dropped",
            "Points that did not become a difference, by reason.",
        );
        Arc::new(Self {
            differ: Mutex::new(Differ::new(args.idle())),
            dropped: IntCounterVec::new(dropped, &["reason"]).expect(CONSTANT),
            tracked: IntGauge::new("otelcol_cumulativetodelta_streams_tracked", "Streams that are known.")
                .expect(CONSTANT),
        })
    }

    fn expire(&self) {
        let mut differ = self.differ.lock();
        differ.expire(Instant::now());
        self.tracked.set(differ.tracked());
    }
}

impl Args {
    fn idle(&self) -> Option<Duration> {
        (!self.max_staleness.is_zero()).then_some(self.max_staleness)
    }

    fn next(&self) -> Result<Fanout<OtlpMetrics>, Error> {
        Ok(self.output.fanout()?.metrics)
    }
}

impl Component for CumulativeToDelta {
    const NAME: &'static str = "otelcol.processor.cumulativetodelta";
    const STABILITY: Stability = Stability::PublicPreview;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = CumulativeToDeltaExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, CumulativeToDeltaExports), Error> {
        args.next()?;
        Selection::new(&args.include, &args.exclude)?;
        let port = cx.port::<OtlpMetrics>("metrics");
        let input = OtelInput { metrics: Some(port.receiver()), ..OtelInput::default() };
        let state = State::new(&args);
        let shown = Switch::new(
            &cx.metrics(),
            "otelcol_cumulativetodelta",
            args.debug_metrics.level,
            vec![Box::new(state.dropped.clone()), Box::new(state.tracked.clone())],
        );
        Ok((Self { args, port, state, shown }, CumulativeToDeltaExports { input }))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let state = self.state;
        let attach_to = |args: &Args| {
            let next = args.next()?;
            let selection = Selection::new(&args.include, &args.exclude)?;
            let relay =
                Relay { state: state.clone(), selection, initial: args.initial_value, next: next.clone() };
            let _ = attach(&self.port, &next, Arc::new(relay));
            Ok::<_, Error>(())
        };
        attach_to(&self.args)?;
        let mut sweeps = tokio::time::interval(Duration::from_secs(60));
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let event = tokio::select! {
                event = cx.event() => event,
                _ = sweeps.tick() => {
                    state.expire();
                    continue;
                }
            };
            match event {
                Event::Stop => return Ok(()),
                Event::Update(update) => {
                    update.apply(|args| {
                        attach_to(&args)?;
                        state.differ.lock().bound(args.idle());
                        self.shown.show(args.debug_metrics.level);
                        Ok(())
                    });
                }
            }
        }
    }
}

/// Stands behind the port.
struct Relay {
    state: Arc<State>,
    selection: Selection,
    initial: InitialValue,
    next: Fanout<OtlpMetrics>,
}

/// Differences that nobody has taken yet. Dropped without an answer, because the sender has given up, it counts as
/// refused.
struct Unanswered<'a> {
    state: &'a State,
    sent: Sent,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if !self.sent.is_empty() {
            self.state.differ.lock().owe(std::mem::take(&mut self.sent));
        }
    }
}

impl Relay {
    async fn take(&self, batch: OtlpMetrics) -> Result<(), Rejected> {
        let mut unanswered = Unanswered { state: &self.state, sent: Sent::new() };
        let decoded = decode(batch).map_err(|error| Rejected::Permanent(error.to_string()))?;
        let batch = {
            let mut differ = self.state.differ.lock();
            let now = Instant::now();
            let batch = decoded.edit(|request| differ.convert(request, self, now, &mut unanswered.sent));
            self.state.tracked.set(differ.tracked());
            batch
        };
        let answer = if batch.is_empty() { Ok(()) } else { self.next.send(batch).await };
        if matches!(answer, Ok(()) | Err(Rejected::Permanent(_))) {
            unanswered.sent.clear();
        }
        answer
    }
}

impl Consumer<OtlpMetrics> for Relay {
    fn consume(&self, batch: OtlpMetrics) -> BoxFuture<'_, Result<(), Rejected>> {
        Box::pin(self.take(batch))
    }
}

//! `otelcol.processor.deltatocumulative` adds delta points up to cumulative ones.
//!
//! Data path: batch → each delta point is added to its stream's total and takes its place → `output`, in the sender's
//! task. Other points pass as they are.
//! Invariant: what was added is in every later point of the stream, also if the batch was refused; so that a sender
//! who tries again adds nothing twice.

mod accumulate;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use component::otel::{DebugMetrics, OtelInput, Output};
use component::{
    Arguments, BoxFuture, BuildCx, Component, Consumer, Error, Event, Exports, Fanout, Port, Rejected, RunCx,
    Stability,
};
use parking_lot::Mutex;
use signal::otlp::OtlpMetrics;
use tokio::time::{Instant, MissedTickBehavior};

use crate::own_metrics::Switch;
use crate::ports::attach;
use crate::streams::{Identity, MAX_STREAMS, decode};
use accumulate::{Counters, Totals};

/// `otelcol.processor.deltatocumulative`
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct Args {
    /// After so long without a point a stream is forgotten; 0 forgets none.
    #[arg(default = Duration::from_secs(300))]
    pub max_stale: Duration,
    /// Streams that are kept at most; points of further ones are dropped. 0 and the default stand for 4,194,304.
    #[arg(default = i64::MAX, code_type = "int")]
    pub max_streams: i64,
    /// Where data goes.
    #[arg(block, required)]
    pub output: Output,
    /// How much the component tells of itself.
    #[arg(block)]
    pub debug_metrics: DebugMetrics,
}

impl Args {
    fn limit(&self) -> usize {
        match usize::try_from(self.max_streams) {
            Ok(limit) if limit > 0 && self.max_streams < i64::MAX => limit,
            _ => MAX_STREAMS,
        }
    }

    fn idle(&self) -> Option<Duration> {
        (!self.max_stale.is_zero()).then_some(self.max_stale)
    }

    fn check(&self) -> Result<Fanout<OtlpMetrics>, Error> {
        if self.max_streams < 0 {
            return Err(Error::argument("max_streams", "must not be negative"));
        }
        Ok(self.output.fanout()?.metrics)
    }
}

/// What others may refer to.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct DeltaToCumulativeExports {
    /// Takes data in.
    pub input: OtelInput,
}

/// The component.
pub struct DeltaToCumulative {
    args: Args,
    port: Port<OtlpMetrics>,
    state: Arc<State>,
    shown: Switch,
}

/// What all senders share, over reloads too.
struct State {
    totals: Mutex<Totals>,
    counters: Arc<Counters>,
}

impl Component for DeltaToCumulative {
    const NAME: &'static str = "otelcol.processor.deltatocumulative";
    const STABILITY: Stability = Stability::Experimental;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = DeltaToCumulativeExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, DeltaToCumulativeExports), Error> {
        args.check()?;
        let port = cx.port::<OtlpMetrics>("metrics");
        let input = OtelInput { metrics: Some(port.receiver()), ..OtelInput::default() };
        let counters = Arc::new(Counters::new());
        counters.bounds(args.limit(), args.max_stale);
        let shown = Switch::new(
            &cx.metrics(),
            "otelcol_deltatocumulative",
            args.debug_metrics.level,
            counters.collectors(),
        );
        let totals = Mutex::new(Totals::new(args.limit(), args.idle()));
        let state = Arc::new(State { totals, counters });
        Ok((Self { args, port, state, shown }, DeltaToCumulativeExports { input }))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let state = self.state;
        let attach_to = |next: Fanout<OtlpMetrics>| {
            let relay = Relay { state: state.clone(), next: next.clone() };
            let _ = attach(&self.port, &next, Arc::new(relay));
        };
        attach_to(self.args.check()?);
        let mut sweeps = tokio::time::interval(Duration::from_secs(60));
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let event = tokio::select! {
                event = cx.event() => event,
                _ = sweeps.tick() => {
                    state.totals.lock().expire(Instant::now(), &state.counters);
                    continue;
                }
            };
            match event {
                Event::Stop => return Ok(()),
                Event::Update(update) => {
                    update.apply(|args| {
                        let next = args.check()?;
                        state.totals.lock().bound(args.limit(), args.idle());
                        state.counters.bounds(args.limit(), args.max_stale);
                        self.shown.show(args.debug_metrics.level);
                        attach_to(next);
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
    next: Fanout<OtlpMetrics>,
}

/// Streams whose new totals nobody has taken yet. Dropped without an answer, because the sender has given up, it
/// counts as refused.
struct Unanswered<'a> {
    state: &'a State,
    touched: Vec<Identity>,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if !self.touched.is_empty() {
            self.state.totals.lock().unsent(&self.touched);
        }
    }
}

impl Relay {
    async fn take(&self, batch: OtlpMetrics) -> Result<(), Rejected> {
        let mut unanswered = Unanswered { state: &self.state, touched: Vec::new() };
        let decoded = decode(batch).map_err(|error| Rejected::Permanent(error.to_string()))?;
        let batch = {
            let mut totals = self.state.totals.lock();
            let now = Instant::now();
            decoded
                .edit(|request| totals.convert(request, now, &self.state.counters, &mut unanswered.touched))
        };
        let answer = if batch.is_empty() { Ok(()) } else { self.next.send(batch).await };
        if matches!(answer, Ok(()) | Err(Rejected::Permanent(_))) {
            unanswered.touched.clear();
        }
        answer
    }
}

impl Consumer<OtlpMetrics> for Relay {
    fn consume(&self, batch: OtlpMetrics) -> BoxFuture<'_, Result<(), Rejected>> {
        Box::pin(self.take(batch))
    }
}

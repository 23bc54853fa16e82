//! `otelcol.processor.tail_sampling` keeps or drops traces as a whole, after most of their spans have arrived.
//!
//! Data path: sender → the traces of its spans, as bytes (`pool`), and the answer → after `decision_wait`, the
//! policies → a task that sends what was sampled to `output`.
//! Invariants: what waits is bounded in traces and bytes; what has been taken is decided about and handed on at
//! every kind of end but a crash.

mod args;
mod composite;
mod condition;
mod metrics;
mod policy;
mod pool;
#[cfg(test)]
mod tests;
mod trace;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use component::eval::Invalid;
use component::otel::{DebugMetrics, OtelInput, Output};
use component::{
    Arguments, BoxFuture, BuildCx, Component, Consumer, Error, Event, Exports, Port, Rejected, RunCx,
    Stability,
};
use signal::otlp::Traces;

use super::relay::Shown;
use crate::ports;
use args::{DecisionCache, PolicyArgs};
use metrics::Counters;
use policy::Policies;
use pool::Pool;

/// Tells traces apart.
type TraceId = [u8; 16];

/// `otelcol.processor.tail_sampling`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// Decide about traces; one that samples a trace is enough.
    #[arg(block, required)]
    pub policy: Vec<PolicyArgs>,
    /// How long a trace waits from its first span on.
    #[arg(default = Duration::from_secs(30))]
    pub decision_wait: Duration,
    /// How long it waits at most after its root span; 0 makes no difference.
    #[arg(default = Duration::ZERO)]
    pub decision_wait_after_root_received: Duration,
    /// Traces that may wait.
    #[arg(default = 50_000)]
    pub num_traces: u64,
    /// When `num_traces` wait, senders wait, too; otherwise the oldest is decided about before its time.
    #[arg(default)]
    pub block_on_overflow: bool,
    /// Room for so many traces is made in advance.
    #[arg(default)]
    pub expected_new_traces_per_sec: u64,
    /// Ask no further policy after one that samples the trace.
    #[arg(default)]
    pub sample_on_first_match: bool,
    /// Drop what waits when the component ends, instead of deciding about it.
    #[arg(default)]
    pub drop_pending_traces_on_shutdown: bool,
    /// A trace that grows larger is dropped; 0 sets no limit.
    #[arg(default)]
    pub maximum_trace_size_bytes: u64,
    /// How many decisions are remembered for spans that come late.
    #[arg(default = DecisionCache::default())]
    pub decision_cache: DecisionCache,
    /// Where sampled traces go; only traces are taken.
    #[arg(block, required)]
    pub output: Output,
    /// How much the component tells of itself.
    #[arg(block)]
    pub debug_metrics: DebugMetrics,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if self.decision_wait < Duration::from_millis(1) {
            return Err(Invalid::field("decision_wait", "must be greater than zero"));
        }
        if self.num_traces == 0 {
            return Err(Invalid::field("num_traces", "must be greater than zero"));
        }
        Ok(())
    }

    fn policies(&self, component: &str) -> Result<Policies, Error> {
        Policies::new(component, &self.policy, self.sample_on_first_match)
    }
}

/// What others may refer to.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct TailSamplingExports {
    /// Takes spans in.
    pub input: OtelInput,
}

/// The component.
pub struct TailSampling {
    args: Args,
    policies: Policies,
    port: Port<Traces>,
    counters: Counters,
    shown: Shown,
}

impl Component for TailSampling {
    const NAME: &'static str = "otelcol.processor.tail_sampling";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = TailSamplingExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, TailSamplingExports), Error> {
        args.output.fanout()?;
        let policies = args.policies(cx.id())?;
        let port = cx.port::<Traces>("traces");
        let input = OtelInput { traces: Some(port.receiver()), ..OtelInput::default() };
        let counters = Counters::new();
        let shown = counters.show(&cx.metrics(), args.debug_metrics.level);
        Ok((Self { args, policies, port, counters, shown }, TailSamplingExports { input }))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let next = self.args.output.fanout()?;
        let pool = Pool::new(&self.args, self.policies, next.traces.clone(), self.counters);
        let pool = Arc::new(pool);
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let worker = pool.clone();
        cx.spawn(async move {
            worker::work(worker).await;
            drop(end);
        });
        let _ = ports::attach(&self.port, &next.traces, Arc::new(Intake(pool.clone())));
        loop {
            match cx.event().await {
                Event::Stop => {
                    let draining = self.port.stop();
                    pool.stop();
                    draining.finished().await;
                    // An error is what comes: nothing is ever sent.
                    let _ = ended.await;
                    return Ok(());
                }
                Event::Update(update) => {
                    let id = cx.id().to_string();
                    update.apply(|args| {
                        let next = args.output.fanout()?;
                        let policies = args.policies(&id)?;
                        pool.configure(&args, policies, next.traces.clone());
                        let _ = ports::attach(&self.port, &next.traces, Arc::new(Intake(pool.clone())));
                        self.shown.show(args.debug_metrics.level);
                        Ok(())
                    });
                }
            }
        }
    }
}

/// Stands behind the port.
struct Intake(Arc<Pool>);

impl Consumer<Traces> for Intake {
    fn consume(&self, batch: Traces) -> BoxFuture<'_, Result<(), Rejected>> {
        Box::pin(self.0.take(batch))
    }
}

//! `otelcol.connector.signaltometrics` makes metrics of values that OTTL expressions find in items of any signal.
//!
//! Data path: batch → of each item that a metric's conditions let through, the value for the series of its attributes → the
//! metrics of the batch → `output`, all in the sender's task. Nothing is held.

mod aggregate;
mod args;
mod plan;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};

use component::metrics::IntCounter;
use component::otel::OtelInput;
use component::{
    BoxFuture, BuildCx, Component, Consumer, Error, Event, Exports, Fanout, Rejected, RunCx, Stability,
};
use ottl::ErrorMode;
use signal::clock::now_unix_nano;
use signal::otlp::{Otlp, OtlpMetrics, OtlpRequest};

use super::count::attach_all;
use super::items::{Kind, Walked};
use crate::own_metrics::Switch;
use crate::ports::{Consumers, Ports};
use aggregate::{Aggregate, Problem};
pub use args::Args;
use plan::Plan;

/// What others may refer to.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct SignalToMetricsExports {
    /// Takes data in.
    pub input: OtelInput,
}

/// The component.
pub struct SignalToMetrics {
    args: Args,
    ports: Ports,
    failed: IntCounter,
    shown: Switch,
}

impl Component for SignalToMetrics {
    const NAME: &'static str = "otelcol.connector.signaltometrics";
    const STABILITY: Stability = Stability::Experimental;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = SignalToMetricsExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, SignalToMetricsExports), Error> {
        args.output.fanout()?;
        Plan::new(&args, "")?;
        let ports = Ports::new(cx);
        let exports = SignalToMetricsExports { input: ports.input() };
        let failed = IntCounter::new(
            "otelcol_connector_signaltometrics_failed_items_total",
            "Items that are no part of a metric because a condition or value could not be applied to them.",
        );
        let failed = failed.expect("metric names are constants of this program");
        let shown = Switch::new(
            &cx.metrics(),
            "otelcol_connector_signaltometrics",
            args.debug_metrics.level,
            vec![Box::new(failed.clone())],
        );
        Ok((Self { args, ports, failed, shown }, exports))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let instance_id = cx.services().instance_id.clone();
        let attach = |args: &Args| {
            let next = args.output.fanout()?.metrics;
            let plan = Plan::new(args, &instance_id)?;
            let failed = self.failed.clone();
            let relay = Relay { plan, next: next.clone(), failed, complained: AtomicU64::new(0) };
            let _ = attach_all(&self.ports, &next, Consumers::of(relay));
            Ok::<_, Error>(())
        };
        attach(&self.args)?;
        loop {
            match cx.event().await {
                Event::Stop => return Ok(()),
                Event::Update(update) => {
                    update.apply(|args| {
                        attach(&args)?;
                        self.shown.show(args.debug_metrics.level);
                        Ok(())
                    });
                }
            }
        }
    }
}

/// Stands behind all ports.
struct Relay {
    plan: Plan,
    next: Fanout<OtlpMetrics>,
    failed: IntCounter,
    /// The minute of the last complaint.
    complained: AtomicU64,
}

impl Relay {
    fn problem(&self, problem: &Problem<'_>) -> Result<(), String> {
        self.failed.inc();
        match self.plan.mode {
            ErrorMode::Propagate => Err(problem.to_string()),
            ErrorMode::Silent => Ok(()),
            ErrorMode::Ignore => {
                let minute = now_unix_nano() / 60_000_000_000;
                if self.complained.swap(minute, Ordering::Relaxed) != minute {
                    tracing::warn!(%problem, "items are left out of metrics");
                }
                Ok(())
            }
        }
    }

    fn metrics<S: Walked>(&self, batch: &Otlp<S>) -> Result<OtlpMetrics, Rejected> {
        let mut problem = |problem: &Problem<'_>| self.problem(problem);
        let mut aggregate = Aggregate::new(&self.plan, &mut problem);
        for request in &batch.requests {
            let message = request.message().map_err(|error| Rejected::Permanent(error.to_string()))?;
            S::walk(message, batch.client.as_deref(), &mut |step| aggregate.step(step))
                .map_err(Rejected::Permanent)?;
        }
        Ok(Otlp::of(OtlpRequest::from_message(aggregate.finish(now_unix_nano()))))
    }
}

/// The kind of items of a signal that metrics are made of.
fn kind<S: Walked>() -> Kind {
    match S::NAME {
        "traces" => Kind::Spans,
        "metrics" => Kind::DataPoints,
        _ => Kind::Logs,
    }
}

impl<S: Walked> Consumer<Otlp<S>> for Relay {
    fn consume(&self, batch: Otlp<S>) -> BoxFuture<'_, Result<(), Rejected>> {
        Box::pin(async move {
            if !self.plan.has(kind::<S>()) {
                return Ok(());
            }
            let metrics = self.metrics(&batch)?;
            if metrics.is_empty() { Ok(()) } else { self.next.send(metrics).await }
        })
    }
}

//! `otelcol.connector.count` counts items of any signal.
//!
//! Data path: batch → each item that a metric's conditions let through counts one for its attributes → one metric of
//! delta temporality a resource → `output`, all in the sender's task. Nothing is held.

mod counting;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use component::eval::Value;
use component::metrics::{IntCounter, IntCounterVec, Opts};
use component::otel::{DebugMetrics, OtelFanout, OtelInput, Output};
use component::{
    Arguments, BoxFuture, BuildCx, Component, Consumer, Error, Event, Exports, Fanout, Rejected, RunCx,
    Stability,
};
use signal::otlp::{Otlp, OtlpMetrics, OtlpRequest};

use super::items::{Kind, Walked};
use crate::own_metrics::Switch;
use crate::ports::{Consumers, Ports};
use counting::{Plan, Tally};

/// `otelcol.connector.count`
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct Args {
    /// Metrics of spans; `trace.span.count` if there is no such block.
    #[arg(block)]
    pub spans: Vec<MetricArgs>,
    /// Metrics of events of spans; `trace.span.event.count` if there is no such block.
    #[arg(block)]
    pub spanevents: Vec<MetricArgs>,
    /// Metrics of metrics; `metric.count` if there is no such block.
    #[arg(block)]
    pub metrics: Vec<MetricArgs>,
    /// Metrics of data points; `metric.datapoint.count` if there is no such block.
    #[arg(block)]
    pub datapoints: Vec<MetricArgs>,
    /// Metrics of log records; `log.record.count` if there is no such block.
    #[arg(block)]
    pub logs: Vec<MetricArgs>,
    /// Where metrics go.
    #[arg(block, required)]
    pub output: Output,
    /// How much the component tells of itself.
    #[arg(block)]
    pub debug_metrics: DebugMetrics,
}

/// A metric.
#[derive(Clone, Debug, Default, PartialEq, Arguments)]
pub struct MetricArgs {
    /// Its name.
    #[arg(default)]
    pub name: String,
    /// What it is.
    #[arg(default)]
    pub description: String,
    /// OTTL conditions, one of which has to hold for an item to be counted.
    #[arg(default)]
    pub conditions: Vec<String>,
    /// Attributes that items are counted by.
    #[arg(block)]
    pub attributes: Vec<AttributeArgs>,
}

/// An attribute that items are counted by.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct AttributeArgs {
    /// Its key.
    pub key: String,
    /// Its value for items without it; they are not counted if it is not set.
    #[arg(default)]
    pub default_value: Value,
}

/// What others may refer to.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct CountExports {
    /// Takes data in.
    pub input: OtelInput,
}

/// The component.
pub struct Count {
    args: Args,
    ports: Ports,
    counters: Counters,
    shown: Switch,
}

/// The component's own metrics.
#[derive(Clone)]
struct Counters {
    failed: IntCounterVec,
    counted: IntCounter,
}

impl Component for Count {
    const NAME: &'static str = "otelcol.connector.count";
    const STABILITY: Stability = Stability::Experimental;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = CountExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, CountExports), Error> {
        const CONSTANT: &str = "metric names are constants of this program";
        args.output.fanout()?;
        Plan::new(&args)?;
        let ports = Ports::new(cx);
        let exports = CountExports { input: ports.input() };
        let failed = Opts::new(
            "otelcol_connector_count_failed_conditions_total",
            "Items that were not counted because a condition could not be applied to them.",
        );
        let counters = Counters {
            failed: IntCounterVec::new(failed, &["metric"]).expect(CONSTANT),
            counted: IntCounter::new(
                "otelcol_connector_count_items_total",
                "Items counted, once for each metric.",
            )
            .expect(CONSTANT),
        };
        let shown = Switch::new(
            &cx.metrics(),
            "otelcol_connector_count",
            args.debug_metrics.level,
            vec![Box::new(counters.failed.clone()), Box::new(counters.counted.clone())],
        );
        Ok((Self { args, ports, counters, shown }, exports))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let attach = |args: &Args| {
            let next = args.output.fanout()?.metrics;
            let plan = Arc::new(Plan::new(args)?);
            let relay = Relay { plan, next: next.clone(), counters: self.counters.clone() };
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

/// Puts consumers of all signals behind the ports, if the metrics that they make have somewhere to go.
pub(super) fn attach_all(
    ports: &Ports,
    next: &Fanout<OtlpMetrics>,
    consumers: Consumers,
) -> [component::Draining; 3] {
    if next.is_empty() {
        let nowhere = OtelFanout { traces: Fanout::new([]), metrics: Fanout::new([]), logs: Fanout::new([]) };
        return ports.attach_for(&nowhere, consumers);
    }
    ports.attach(consumers)
}

/// Stands behind all ports.
struct Relay {
    plan: Arc<Plan>,
    next: Fanout<OtlpMetrics>,
    counters: Counters,
}

impl Relay {
    fn count<S: Walked>(&self, batch: &Otlp<S>) -> Result<OtlpMetrics, Rejected> {
        let mut tally = Tally::new(&self.plan);
        for request in &batch.requests {
            let message = request.message().map_err(|error| Rejected::Permanent(error.to_string()))?;
            S::walk(message, batch.client.as_deref(), &mut |step| {
                tally.step(step);
                Ok(())
            })
            .map_err(Rejected::Permanent)?;
        }
        let (message, counted, failed) = tally.finish();
        self.counters.counted.inc_by(counted);
        for (metric, failed) in failed {
            self.counters.failed.with_label_values(&[metric]).inc_by(failed);
        }
        Ok(Otlp::of(OtlpRequest::from_message(message)))
    }
}

impl<S: Walked> Consumer<Otlp<S>> for Relay {
    fn consume(&self, batch: Otlp<S>) -> BoxFuture<'_, Result<(), Rejected>> {
        Box::pin(async move {
            let metrics = self.count(&batch)?;
            if metrics.is_empty() { Ok(()) } else { self.next.send(metrics).await }
        })
    }
}

/// The metrics of a kind, and what there is without any.
pub(super) fn metrics(args: &Args, kind: Kind) -> (&[MetricArgs], [&'static str; 2]) {
    match kind {
        Kind::Spans => (&args.spans, ["trace.span.count", "The number of spans observed."]),
        Kind::SpanEvents => {
            (&args.spanevents, ["trace.span.event.count", "The number of span events observed."])
        }
        Kind::Metrics => (&args.metrics, ["metric.count", "The number of metrics observed."]),
        Kind::DataPoints => {
            (&args.datapoints, ["metric.datapoint.count", "The number of data points observed."])
        }
        Kind::Logs => (&args.logs, ["log.record.count", "The number of log records observed."]),
    }
}

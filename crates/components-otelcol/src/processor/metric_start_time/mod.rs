//! `otelcol.processor.metric_start_time` gives cumulative points a start.
//!
//! Data path: batch → each cumulative point without a start gets one, by what is known of its stream → `output`, in the
//! sender's task. Points that have a start pass as they are.
//! Invariant: a batch that comes again, because it was refused, comes out as the first time.

mod adjust;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use component::metrics::{IntCounterVec, Opts};
use component::otel::{DebugMetrics, OtelInput, Output};
use component::{
    ArgEnum, Arguments, BoxFuture, BuildCx, Component, Consumer, Error, Event, Exports, Fanout, Port,
    Rejected, RunCx, Stability,
};
use parking_lot::Mutex;
use signal::Regex;
use signal::otlp::OtlpMetrics;
use tokio::time::Instant;

use crate::flush::every;
use crate::own_metrics::Switch;
use crate::ports::attach;
use crate::streams::decode;
use adjust::Adjuster;

/// `otelcol.processor.metric_start_time`
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct Args {
    /// Where a start comes from.
    #[arg(default = Strategy::TrueResetPoint, code_type = "string")]
    pub strategy: Strategy,
    /// How often streams are looked for that had no point for twice as long; those are forgotten.
    #[arg(default = Duration::from_secs(600))]
    pub gc_interval: Duration,
    /// Which metrics tell the start, with the strategy `start_time_metric`; `process_start_time_seconds` if it is not set.
    #[arg(default)]
    pub start_time_metric_regex: String,
    /// Where data goes.
    #[arg(block, required)]
    pub output: Output,
    /// How much the component tells of itself.
    #[arg(block)]
    pub debug_metrics: DebugMetrics,
}

/// Where a start comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ArgEnum)]
pub enum Strategy {
    /// A stream starts at the time of its first point.
    TrueResetPoint,
    /// A stream starts at the time of its first point, whose value is subtracted from all that follow.
    SubtractInitialPoint,
    /// A metric tells.
    StartTimeMetric,
}

impl Args {
    fn check(&self) -> Result<(Fanout<OtlpMetrics>, Option<Regex>), Error> {
        if self.gc_interval.is_zero() {
            return Err(Error::argument("gc_interval", "must be above 0"));
        }
        let next = self.output.fanout()?.metrics;
        if self.start_time_metric_regex.is_empty() {
            return Ok((next, None));
        }
        if self.strategy != Strategy::StartTimeMetric {
            let message = "goes only with the strategy start_time_metric";
            return Err(Error::argument("start_time_metric_regex", message));
        }
        let regex = Regex::new(&self.start_time_metric_regex)
            .map_err(|error| Error::argument("start_time_metric_regex", error.to_string()))?;
        Ok((next, Some(regex)))
    }
}

/// What others may refer to.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct MetricStartTimeExports {
    /// Takes data in.
    pub input: OtelInput,
}

/// The component.
pub struct MetricStartTime {
    args: Args,
    port: Port<OtlpMetrics>,
    dropped: IntCounterVec,
    shown: Switch,
}

impl Component for MetricStartTime {
    const NAME: &'static str = "otelcol.processor.metric_start_time";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = MetricStartTimeExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, MetricStartTimeExports), Error> {
        args.check()?;
        let port = cx.port::<OtlpMetrics>("metrics");
        let input = OtelInput { metrics: Some(port.receiver()), ..OtelInput::default() };
        let dropped = Opts::new(
            "otelcol_processor_metric_start_time_dropped_points_total",
            "Points that are dropped, by reason.",
        );
        let dropped =
            IntCounterVec::new(dropped, &["reason"]).expect("metric names are constants of this program");
        let shown = Switch::new(
            &cx.metrics(),
            "otelcol_processor_metric_start_time",
            args.debug_metrics.level,
            vec![Box::new(dropped.clone())],
        );
        Ok((Self { args, port, dropped, shown }, MetricStartTimeExports { input }))
    }

    async fn run(mut self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let (next, regex) = self.args.check()?;
        let mut adjuster = Arc::new(Mutex::new(Adjuster::new(&self.args)));
        self.attach(&adjuster, next, regex);
        let mut sweeps = every(self.args.gc_interval);
        loop {
            let event = tokio::select! {
                event = cx.event() => event,
                _ = sweeps.tick() => {
                    adjuster.lock().expire(Instant::now());
                    continue;
                }
            };
            match event {
                Event::Stop => return Ok(()),
                Event::Update(update) => {
                    update.apply(|args| {
                        let (next, regex) = args.check()?;
                        if args.strategy == self.args.strategy {
                            adjuster.lock().bound(&args);
                        } else {
                            adjuster = Arc::new(Mutex::new(Adjuster::new(&args)));
                        }
                        self.attach(&adjuster, next, regex);
                        self.shown.show(args.debug_metrics.level);
                        sweeps = every(args.gc_interval);
                        self.args = args;
                        Ok(())
                    });
                }
            }
        }
    }
}

impl MetricStartTime {
    fn attach(&self, adjuster: &Arc<Mutex<Adjuster>>, next: Fanout<OtlpMetrics>, regex: Option<Regex>) {
        let (adjuster, dropped) = (adjuster.clone(), self.dropped.clone());
        let relay = Relay { adjuster, regex, dropped, next: next.clone() };
        let _ = attach(&self.port, &next, Arc::new(relay));
    }
}

/// Stands behind the port.
struct Relay {
    adjuster: Arc<Mutex<Adjuster>>,
    regex: Option<Regex>,
    dropped: IntCounterVec,
    next: Fanout<OtlpMetrics>,
}

impl Relay {
    async fn take(&self, batch: OtlpMetrics) -> Result<(), Rejected> {
        let decoded = decode(batch).map_err(|error| Rejected::Permanent(error.to_string()))?;
        let batch = {
            let mut adjuster = self.adjuster.lock();
            decoded.edit(|request| adjuster.request(request, self, Instant::now()))
        };
        if batch.is_empty() {
            return Ok(());
        }
        self.next.send(batch).await
    }
}

impl Consumer<OtlpMetrics> for Relay {
    fn consume(&self, batch: OtlpMetrics) -> BoxFuture<'_, Result<(), Rejected>> {
        Box::pin(self.take(batch))
    }
}

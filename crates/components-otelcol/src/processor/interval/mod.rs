//! `otelcol.processor.interval` lets each stream have one point an interval.
//!
//! Data path: batch → points that are not held go to `output` in the sender's task; those that are held are added to
//! what is held of their stream → once an interval all that is held goes to `output`.
//! Invariants: a point is held exactly if its sender is answered `Ok`; what is refused for now stays held; at most
//! [`MAX_HELD`] points are held, and a sender without room sends what is.

mod holding;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use component::eval::Invalid;
use component::metrics::{IntCounter, IntGauge};
use component::otel::{DebugMetrics, OtelInput, Output};
use component::{
    Arguments, BoxFuture, BuildCx, Component, Consumer, Error, Event, Exports, Fanout, Port, Rejected, RunCx,
    Stability,
};
use parking_lot::Mutex;
use signal::otlp::proto::collector::metrics::v1::ExportMetricsServiceRequest;
use signal::otlp::{MetricsSignal, Otlp, OtlpBatch, OtlpMetrics, OtlpRequest, OtlpSignal};

use crate::flush::{Flusher, Gathers, every};
use crate::own_metrics::Switch;
use crate::ports::attach;
use crate::streams::{copy, take_metrics};
use holding::Holding;

/// Points that are held at most.
const MAX_HELD: usize = 1 << 20;

/// `otelcol.processor.interval`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// How long points are held at most.
    #[arg(default = Duration::from_secs(60))]
    pub interval: Duration,
    /// What is not held.
    #[arg(block)]
    pub passthrough: Passthrough,
    /// Where data goes.
    #[arg(block, required)]
    pub output: Output,
    /// How much the component tells of itself.
    #[arg(block)]
    pub debug_metrics: DebugMetrics,
}

/// Types of metrics that are not held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Arguments)]
pub struct Passthrough {
    /// Gauges pass at once.
    #[arg(default)]
    pub gauge: bool,
    /// Summaries pass at once.
    #[arg(default)]
    pub summary: bool,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if self.interval.is_zero() {
            return Err(Invalid::field("interval", "must be above 0"));
        }
        Ok(())
    }
}

/// What others may refer to.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct IntervalExports {
    /// Takes data in.
    pub input: OtelInput,
}

/// The component.
pub struct Interval {
    args: Args,
    port: Port<OtlpMetrics>,
    state: Arc<State>,
    shown: Switch,
}

/// What senders and flushes share, over reloads too.
struct State {
    holding: Mutex<Holding>,
    next: ArcSwap<Fanout<OtlpMetrics>>,
    held: IntGauge,
    early: IntCounter,
    dropped: IntCounter,
    /// Smaller in tests.
    most: usize,
}

impl State {
    fn new(next: Fanout<OtlpMetrics>, most: usize) -> Arc<Self> {
        const CONSTANT: &str = "metric names are constants of this program";
        let held = IntGauge::new("otelcol_processor_interval_held_points", "Points that are held.");
        let early = IntCounter::new(
            "otelcol_processor_interval_early_exports_total",
            "Exports before the end of an interval because too many points were held.",
        );
        let dropped = IntCounter::new(
            "otelcol_processor_interval_dropped_points_total",
            "Held points that were refused for good.",
        );
        Arc::new(Self {
            holding: Mutex::default(),
            next: ArcSwap::from_pointee(next),
            held: held.expect(CONSTANT),
            early: early.expect(CONSTANT),
            dropped: dropped.expect(CONSTANT),
            most,
        })
    }

    /// Sends all that is held.
    async fn export(&self) -> Result<(), Rejected> {
        let message = {
            let mut holding = self.holding.lock();
            self.held.set(0);
            std::mem::take(&mut *holding).into_message()
        };
        if message.resource_metrics.is_empty() {
            return Ok(());
        }
        let request = OtlpRequest::from_message(message);
        let batch = Otlp::of(request.clone());
        let mut taken = Taken { state: self, request: Some(request) };
        let next = self.next.load_full();
        let answer = next.send(batch).await;
        match &answer {
            Ok(()) => taken.request = None,
            Err(Rejected::Permanent(_)) => {
                let request = taken.request.take();
                self.dropped.inc_by(request.map_or(0, |request| request.items() as u64));
            }
            Err(Rejected::Retryable(_) | Rejected::Stopped) => {}
        }
        answer
    }

    fn hold(&self, message: ExportMetricsServiceRequest) {
        let mut holding = self.holding.lock();
        holding.add(message);
        self.held.set(i64::try_from(holding.points()).unwrap_or(i64::MAX));
    }
}

/// What an export has taken; if it is still there when the export ends, refused or given up, it is held again.
struct Taken<'a> {
    state: &'a State,
    request: Option<OtlpRequest<MetricsSignal>>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if let Some(Ok(message)) = self.request.take().map(OtlpRequest::into_message) {
            self.state.hold(message);
        }
    }
}

impl Gathers for State {
    fn flush(&self) -> BoxFuture<'_, Result<(), Rejected>> {
        Box::pin(self.export())
    }
}

impl Component for Interval {
    const NAME: &'static str = "otelcol.processor.interval";
    const STABILITY: Stability = Stability::Experimental;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = IntervalExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, IntervalExports), Error> {
        let next = args.output.fanout()?.metrics;
        let port = cx.port::<OtlpMetrics>("metrics");
        let input = OtelInput { metrics: Some(port.receiver()), ..OtelInput::default() };
        let state = State::new(next, MAX_HELD);
        let shown = Switch::new(
            &cx.metrics(),
            "otelcol_processor_interval",
            args.debug_metrics.level,
            vec![
                Box::new(state.held.clone()),
                Box::new(state.early.clone()),
                Box::new(state.dropped.clone()),
            ],
        );
        Ok((Self { args, port, state, shown }, IntervalExports { input }))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let state = self.state;
        let flusher = Flusher::new(state.clone(), cx.spawner());
        let attach_to = |passthrough: Passthrough, next: Fanout<OtlpMetrics>| {
            state.next.store(Arc::new(next.clone()));
            let _ = attach(&self.port, &next, Arc::new(Relay { state: state.clone(), passthrough }));
        };
        attach_to(self.args.passthrough, self.args.output.fanout()?.metrics);
        let mut ticks = every(self.args.interval);
        loop {
            let event = tokio::select! {
                event = cx.event() => event,
                _ = ticks.tick() => {
                    flusher.start();
                    continue;
                }
            };
            match event {
                Event::Stop => {
                    self.port.stop().finished().await;
                    flusher.finish().await;
                    return Ok(());
                }
                Event::Update(update) => {
                    update.apply(|args| {
                        attach_to(args.passthrough, args.output.fanout()?.metrics);
                        self.shown.show(args.debug_metrics.level);
                        ticks = every(args.interval);
                        // What is held was promised for the old interval.
                        flusher.start();
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
    passthrough: Passthrough,
}

impl Relay {
    async fn take(&self, batch: OtlpMetrics) -> Result<(), Rejected> {
        let OtlpBatch { requests, client, received_ms } = batch.into_batch();
        let mut rest = OtlpBatch { client, received_ms, ..OtlpBatch::default() };
        let mut held = Vec::new();
        for request in requests {
            let mut message = copy(&request).map_err(|error| Rejected::Permanent(error.to_string()))?;
            let taken = take_metrics(&mut message, |metric| holding::is_held(metric, self.passthrough));
            if taken.resource_metrics.is_empty() {
                rest.requests.push(request);
                continue;
            }
            held.push(taken);
            if MetricsSignal::count(&message) > 0 {
                rest.requests.push(OtlpRequest::from_message(message));
            }
        }
        let points: usize = held.iter().map(MetricsSignal::count).sum();
        if points > 0 && self.state.holding.lock().points() + points > self.state.most {
            self.state.early.inc();
            self.state.export().await?;
        }
        let rest = Otlp::new(rest);
        if !rest.is_empty() {
            // First: a refusal here makes the sender send again what must not be held already.
            self.state.next.load_full().send(rest).await?;
        }
        held.into_iter().for_each(|message| self.state.hold(message));
        Ok(())
    }
}

impl Consumer<OtlpMetrics> for Relay {
    fn consume(&self, batch: OtlpMetrics) -> BoxFuture<'_, Result<(), Rejected>> {
        Box::pin(self.take(batch))
    }
}

//! `otelcol.connector.spanmetrics` counts spans and the time that they took.
//!
//! Data path: batch of spans → each is found on the wire, and counted for the series that its dimensions make → once a
//! flush interval all series go to `output` as metrics.
//! Invariant: a span is counted exactly if its sender is answered `Ok`; what is counted stays until it has been sent.

mod args;
mod build;
mod plan;
mod series;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arc_swap::ArcSwap;
use component::metrics::{IntCounter, IntCounterVec, IntGauge, Opts};
use component::otel::{DebugMetrics, OtelInput, Output};
use component::{
    BoxFuture, BuildCx, Component, Consumer, Error, Event, Exports, Fanout, Port, Rejected, RunCx, Stability,
};
use parking_lot::Mutex;
use signal::clock::now_unix_nano;
use signal::otlp::{Otlp, OtlpMetrics, OtlpRequest, Traces};

use crate::connector::generation::{Counts, Generation};
use crate::flush::{Gathers, every};
use crate::own_metrics::Switch;
pub use args::Args;
pub(crate) use args::BUCKETS;
use build::Builder;
use plan::Plan;
use series::{Counted, Outcome, State};

/// What others may refer to.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct SpanMetricsExports {
    /// Takes spans.
    pub input: OtelInput,
}

/// The component.
pub struct SpanMetrics {
    args: Args,
    port: Port<Traces>,
    counters: Arc<Counters>,
    shown: Switch,
}

/// The component's own metrics.
struct Counters {
    skipped: IntCounterVec,
    overflown: IntCounter,
    dropped: IntCounter,
    series: IntGauge,
}

impl Counters {
    fn new() -> Arc<Self> {
        const CONSTANT: &str = "metric names are constants of this program";
        let counter = |name: &str, help: &str| IntCounter::new(name, help).expect(CONSTANT);
        let skipped = Opts::new(
            "otelcol_connector_spanmetrics_skipped_spans_total",
            "Spans that were not counted, by reason.",
        );
        let series = "otelcol_connector_spanmetrics_series";
        Arc::new(Self {
            skipped: IntCounterVec::new(skipped, &["reason"]).expect(CONSTANT),
            overflown: counter(
                "otelcol_connector_spanmetrics_overflow_spans_total",
                "Spans that were counted without their dimensions because there were too many series.",
            ),
            dropped: counter(
                "otelcol_connector_spanmetrics_dropped_points_total",
                "Data points that were refused for good.",
            ),
            series: IntGauge::new(series, "Series that are kept.").expect(CONSTANT),
        })
    }
}

impl Component for SpanMetrics {
    const NAME: &'static str = "otelcol.connector.spanmetrics";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = SpanMetricsExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, SpanMetricsExports), Error> {
        args.output.fanout()?;
        Plan::new(&args, "")?;
        let port = cx.port::<Traces>("traces");
        let input = OtelInput { traces: Some(port.receiver()), ..OtelInput::default() };
        let counters = Counters::new();
        let shown = Switch::new(
            &cx.metrics(),
            "otelcol_connector_spanmetrics",
            args.debug_metrics.level,
            vec![
                Box::new(counters.skipped.clone()),
                Box::new(counters.overflown.clone()),
                Box::new(counters.dropped.clone()),
                Box::new(counters.series.clone()),
            ],
        );
        Ok((Self { args, port, counters, shown }, SpanMetricsExports { input }))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let connector = |args: &Args, cx: &RunCx<Self>| {
            let plan = Plan::new(args, &cx.services().instance_id)?;
            let next = args.output.fanout()?.metrics;
            Ok::<_, Error>(Connector::new(plan, next, self.counters.clone()))
        };
        let mut args = self.args.clone();
        let mut counting = Generation::start(&self.port, connector(&args, &cx)?, cx.spawner());
        let mut ticks = every(args.metrics_flush_interval);
        loop {
            let event = tokio::select! {
                event = cx.event() => event,
                _ = ticks.tick() => {
                    counting.flush();
                    continue;
                }
            };
            match event {
                Event::Stop => {
                    counting.stop().await;
                    return Ok(());
                }
                Event::Update(update) => {
                    update.apply(|new| {
                        match series_are_equal(&args, &new) {
                            true => counting.redirect(new.output.fanout()?.metrics),
                            false => counting.replace(connector(&new, &cx)?),
                        }
                        ticks = every(new.metrics_flush_interval);
                        self.shown.show(new.debug_metrics.level);
                        args = new;
                        Ok(())
                    });
                }
            }
        }
    }
}

/// Whether what was counted with one can be counted on with the other.
fn series_are_equal(a: &Args, b: &Args) -> bool {
    let strip = |args: &Args| Args {
        output: Output::default(),
        debug_metrics: DebugMetrics::default(),
        metrics_flush_interval: std::time::Duration::ZERO,
        ..args.clone()
    };
    strip(a) == strip(b)
}

/// One generation of the arguments that make series.
pub struct Connector {
    plan: Arc<Plan>,
    state: Mutex<State>,
    next: ArcSwap<Fanout<OtlpMetrics>>,
    counters: Arc<Counters>,
}

impl Connector {
    fn new(plan: Arc<Plan>, next: Fanout<OtlpMetrics>, counters: Arc<Counters>) -> Self {
        Self { plan, state: Mutex::default(), next: ArcSwap::from_pointee(next), counters }
    }

    /// For benches: counts batches without a graph.
    ///
    /// # Errors
    /// If the arguments are none that a plan can be made of.
    pub fn detached(args: &Args) -> Result<Self, Error> {
        Ok(Self::new(Plan::new(args, "")?, Fanout::new([]), Counters::new()))
    }

    /// Counts the spans of a batch.
    ///
    /// # Errors
    /// If its bytes are damaged.
    pub fn count(&self, batch: &Traces) -> Result<(), Rejected> {
        let mut outcome = Outcome::default();
        let nanos = now_unix_nano();
        let mut result = Ok(());
        {
            let mut state = self.state.lock();
            for request in &batch.requests {
                result = state.count(&self.plan, request.wire(), nanos, &mut outcome);
                if result.is_err() {
                    break;
                }
            }
            self.counters.series.set(i64::try_from(state.len()).unwrap_or(i64::MAX));
        }
        if outcome.nameless > 0 {
            self.counters.skipped.with_label_values(&["no_service_name"]).inc_by(outcome.nameless);
        }
        self.counters.overflown.inc_by(outcome.overflown);
        result.map_err(|error| Rejected::Permanent(error.to_string()))
    }

    async fn take(&self, batch: Traces) -> Result<(), Rejected> {
        if !self.state.lock().has_room(&self.plan) {
            // Resources that have made room for others have to go before more do.
            self.export().await?;
        }
        self.count(&batch)
    }

    async fn export(&self) -> Result<(), Rejected> {
        let nanos = now_unix_nano();
        let (message, unsent, keys) = {
            let mut state = self.state.lock();
            let taken = state.take(&self.plan);
            let mut builder = Builder::new(&self.plan, &state, nanos);
            state.resources.iter().for_each(|(id, counted)| builder.resource(*id, counted));
            taken.iter().for_each(|(id, counted)| builder.resource(*id, counted));
            let (message, keys) = (builder.message, builder.keys);
            state.resources.values_mut().for_each(Counted::clear_exemplars);
            state.expire(&self.plan);
            self.counters.series.set(i64::try_from(state.len()).unwrap_or(i64::MAX));
            (message, Unsent { connector: self, taken }, keys)
        };
        let mut unsent = unsent;
        if message.resource_metrics.is_empty() {
            return Ok(());
        }
        let request = OtlpRequest::from_message(message);
        let points = request.items() as u64;
        let next = self.next.load_full();
        let answer = next.send(Otlp::of(request)).await;
        if matches!(answer, Ok(()) | Err(Rejected::Permanent(_))) {
            unsent.taken.clear();
            let limit = usize::try_from(self.plan.args.metric_timestamp_cache_size).unwrap_or(usize::MAX);
            self.state.lock().note_sent(keys, nanos, limit);
        }
        if matches!(answer, Err(Rejected::Permanent(_))) {
            self.counters.dropped.inc_by(points);
        }
        answer
    }
}

/// What a flush has taken; what is left of it when the flush ends, refused or given up, is counted on.
struct Unsent<'a> {
    connector: &'a Connector,
    taken: Vec<(crate::streams::Identity, Counted)>,
}

impl Drop for Unsent<'_> {
    fn drop(&mut self) {
        if !self.taken.is_empty() {
            let taken = std::mem::take(&mut self.taken);
            self.connector.state.lock().put_back(&self.connector.plan, taken);
        }
    }
}

impl Gathers for Connector {
    fn flush(&self) -> BoxFuture<'_, Result<(), Rejected>> {
        Box::pin(self.export())
    }
}

impl Counts for Connector {
    fn next(&self) -> &ArcSwap<Fanout<OtlpMetrics>> {
        &self.next
    }
}

impl Consumer<Traces> for Connector {
    fn consume(&self, batch: Traces) -> BoxFuture<'_, Result<(), Rejected>> {
        Box::pin(self.take(batch))
    }
}

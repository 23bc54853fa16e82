//! `otelcol.processor.probabilistic_sampler` lets a share of spans and log records through.
//!
//! Data path: batch → a decision for each item, on its serialised bytes: kept items are copied in runs, with a
//! new trace state where it changes → `output`, all in the sender's task. Nothing is decoded.

mod sampler;
#[cfg(test)]
mod tests;
mod threshold;
mod tracestate;

use std::sync::Arc;

use component::eval::Invalid;
use component::metrics::{IntCounterVec, Opts};
use component::otel::{DebugMetrics, OtelFanout, OtelInput, Output};
use component::{
    ArgEnum, Arguments, BuildCx, Component, Error, Event, Exports, Port, Rejected, RunCx, Stability,
};
use signal::otlp::{Otlp, OtlpLogs, Traces};
use wire::otlp::Schematic;

use super::items::{ItemCounts, ItemMetrics};
use super::relay::{self, Change, Shown};
use sampler::{Policy, Sampler, Sampling};
use threshold::{DIGITS, MIN_PROBABILITY};

/// `otelcol.processor.probabilistic_sampler`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// How many of a hundred items go through; 100 and more are all.
    #[arg(default = 0.0)]
    pub sampling_percentage: f64,
    /// Makes hashing samplers with different seeds independent of each other.
    #[arg(default = 0)]
    pub hash_seed: u32,
    /// How decisions are made.
    #[arg(default = Mode::Proportional, code_type = "string")]
    pub mode: Mode,
    /// Drop items whose sampling information is missing or wrong; otherwise they go through.
    #[arg(default = true)]
    pub fail_closed: bool,
    /// Hexadecimal digits of thresholds, 1 to 14.
    #[arg(default = 4, code_type = "int")]
    pub sampling_precision: u8,
    /// What decides about log records in the mode `hash_seed`: `traceID` or `record`.
    #[arg(default = "traceID".to_string())]
    pub attribute_source: String,
    /// An attribute of log records whose value is hashed where no trace ID decides.
    #[arg(default)]
    pub from_attribute: String,
    /// An attribute of log records with a percentage that takes the place of `sampling_percentage`.
    #[arg(default)]
    pub sampling_priority: String,
    /// Where sampled data goes; metrics are not taken.
    #[arg(block, required)]
    pub output: Output,
    /// How much the component tells of itself.
    #[arg(block)]
    pub debug_metrics: DebugMetrics,
}

/// How decisions are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ArgEnum)]
pub enum Mode {
    /// By a hash of the trace ID or an attribute and `hash_seed`.
    #[arg(name = "hash_seed")]
    HashSeed,
    /// Items leave with the same probability, whatever was sampled before.
    Equalizing,
    /// Of the items that arrive, a share leaves.
    Proportional,
    /// `hash_seed` where a seed is set or log records are not sampled by trace ID, otherwise `proportional`.
    #[arg(name = "")]
    Unset,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        let percent = self.sampling_percentage;
        if !percent.is_finite() || percent < 0.0 {
            return Err(Invalid::field("sampling_percentage", "must be 0 or more"));
        }
        if percent > 0.0 && percent / 100.0 < MIN_PROBABILITY {
            return Err(Invalid::field(
                "sampling_percentage",
                "is smaller than the smallest probability, 2^-56",
            ));
        }
        if !(1..=DIGITS).contains(&usize::from(self.sampling_precision)) {
            return Err(Invalid::field("sampling_precision", "must be between 1 and 14"));
        }
        if !["traceID", "record"].contains(&self.attribute_source.as_str()) {
            return Err(Invalid::field("attribute_source", "must be traceID or record"));
        }
        Ok(())
    }

    fn is_from_trace_id(&self) -> bool {
        self.attribute_source == "traceID"
    }
}

/// What others may refer to.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct SamplerExports {
    /// Takes data in.
    pub input: OtelInput,
}

/// The component.
pub struct ProbabilisticSampler {
    args: Args,
    traces: Port<Traces>,
    logs: Port<OtlpLogs>,
    counters: Arc<Counters>,
    shown: Shown,
    metrics: Arc<ItemMetrics>,
}

/// Items by policy and decision.
struct Counters {
    traces: IntCounterVec,
    logs: IntCounterVec,
}

impl Counters {
    fn new() -> Self {
        let counter = |items: &str, help: &str| {
            let name = format!("otelcol_processor_probabilistic_sampler_count_{items}_sampled_total");
            IntCounterVec::new(Opts::new(name, help), &["policy", "sampled"])
                .expect("metric names are constants of this program")
        };
        Self {
            traces: counter("traces", "Count of traces that were sampled or not"),
            logs: counter("logs", "Count of logs that were sampled or not"),
        }
    }
}

/// One generation of the arguments.
struct Generation {
    traces: Sampler,
    logs: Sampler,
    from_attribute: String,
    counters: Arc<Counters>,
    counts: ItemCounts,
}

impl Generation {
    fn new(args: &Args, counters: &Arc<Counters>, counts: ItemCounts) -> Arc<Self> {
        Arc::new(Self {
            traces: Sampler::new(args, false),
            logs: Sampler::new(args, true),
            from_attribute: args.from_attribute.clone(),
            counters: counters.clone(),
            counts,
        })
    }

    fn sample<S: Schematic>(
        &self,
        sampler: &Sampler,
        counter: &IntCounterVec,
        batch: Otlp<S>,
    ) -> Result<Option<Otlp<S>>, Rejected> {
        let mut sampling = Sampling::new::<S>(sampler);
        let sampled = relay::edit_batch(batch, &mut sampling)?;
        sampling.done();
        for (policy, counts) in Policy::ALL.iter().zip(sampling.counts()) {
            for (sampled, count) in ["false", "true"].iter().zip(counts) {
                if *count > 0 {
                    let policy = policy.name(&self.from_attribute);
                    counter.with_label_values(&[policy, sampled]).inc_by(*count);
                }
            }
        }
        Ok(sampled)
    }
}

impl Change<signal::otlp::TracesSignal> for Generation {
    fn change(&self, batch: Traces) -> Result<Option<Traces>, Rejected> {
        self.sample(&self.traces, &self.counters.traces, batch)
    }

    fn counts(&self) -> Option<&ItemCounts> {
        Some(&self.counts)
    }
}

impl Change<signal::otlp::LogsSignal> for Generation {
    fn change(&self, batch: OtlpLogs) -> Result<Option<OtlpLogs>, Rejected> {
        self.sample(&self.logs, &self.counters.logs, batch)
    }

    fn counts(&self) -> Option<&ItemCounts> {
        Some(&self.counts)
    }
}

impl ProbabilisticSampler {
    fn attach(&self, args: &Args, next: &OtelFanout) {
        let counts = self.metrics.at(args.debug_metrics.level);
        let generation = Generation::new(args, &self.counters, counts);
        let _ = relay::attach(&self.traces, &next.traces, &generation);
        let _ = relay::attach(&self.logs, &next.logs, &generation);
        self.shown.show(args.debug_metrics.level);
    }
}

impl Component for ProbabilisticSampler {
    const NAME: &'static str = "otelcol.processor.probabilistic_sampler";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = SamplerExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, SamplerExports), Error> {
        args.output.fanout()?;
        let (traces, logs) = (cx.port::<Traces>("traces"), cx.port::<OtlpLogs>("logs"));
        let input = OtelInput { traces: Some(traces.receiver()), logs: Some(logs.receiver()), metrics: None };
        let counters = Arc::new(Counters::new());
        let shown = Shown::new(
            &cx.metrics(),
            "otelcol_processor_probabilistic_sampler",
            args.debug_metrics.level,
            vec![Box::new(counters.traces.clone()), Box::new(counters.logs.clone())],
        );
        let metrics = ItemMetrics::new("probabilistic_sampler", cx);
        Ok((Self { args, traces, logs, counters, shown, metrics }, SamplerExports { input }))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        self.attach(&self.args, &self.args.output.fanout()?);
        loop {
            match cx.event().await {
                Event::Stop => return Ok(()),
                Event::Update(update) => {
                    update.apply(|args| {
                        let next = args.output.fanout()?;
                        self.attach(&args, &next);
                        Ok(())
                    });
                }
            }
        }
    }
}

/// Reads any text as a trace state; for `tests/fuzz` only.
#[doc(hidden)]
pub fn read_arbitrary(text: &str) {
    tracestate::read_arbitrary(text);
}

//! The component's own metrics, under Alloy's names.

use component::metrics::{
    Collector, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, NodeMetrics, Opts,
};
use component::otel::MetricsLevel;

use super::policy::{Decision, Policies, Said};
use crate::processor::relay::Shown;

/// Milliseconds.
const TIMER: [f64; 23] = [
    1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 150.0, 200.0, 300.0, 400.0, 500.0, 750.0, 1000.0, 2000.0,
    3000.0, 4000.0, 5000.0, 10_000.0, 20_000.0, 30_000.0, 50_000.0,
];

/// The collector's bounds for histograms that say none.
const AGE: [f64; 15] =
    [0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1000.0, 2500.0, 5000.0, 7500.0, 10_000.0];

/// Counters, gauges and histograms.
#[derive(Clone)]
pub(super) struct Counters {
    pub(super) by_policy: IntCounterVec,
    pub(super) global: IntCounterVec,
    pub(super) new_traces: IntCounter,
    pub(super) timer: Histogram,
    pub(super) late_age: Histogram,
    pub(super) errors: IntCounter,
    pub(super) executions: IntCounterVec,
    pub(super) execution_time: IntCounterVec,
    /// Decided, or given up, before their time.
    pub(super) too_early: IntCounter,
    pub(super) too_large: IntCounter,
    pub(super) removal_age: Histogram,
    pub(super) in_memory: IntGauge,
    pub(super) from_cache: IntCounterVec,
    /// Sampled spans that were not delivered, by reason.
    pub(super) dropped: IntCounterVec,
}

impl Counters {
    pub(super) fn new() -> Self {
        const CONSTANT: &str = "metric names are constants of this program";
        const PREFIX: &str = "otelcol_processor_tail_sampling_";
        let name = |name: &str| format!("{PREFIX}{name}");
        let counter = |n: &str, help: &str| IntCounter::new(name(n), help).expect(CONSTANT);
        let vec = |n: &str, help: &str, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name(n), help), labels).expect(CONSTANT)
        };
        let histogram = |n: &str, help: &str, bounds: &[f64]| {
            Histogram::with_opts(HistogramOpts::new(name(n), help).buckets(bounds.to_vec())).expect(CONSTANT)
        };
        Self {
            by_policy: vec(
                "count_traces_sampled_total",
                "Count of traces that were sampled or not per sampling policy",
                &["policy", "sampled", "decision"],
            ),
            global: vec(
                "global_count_traces_sampled_total",
                "Global count of traces that were sampled or not by at least one policy",
                &["sampled", "decision"],
            ),
            new_traces: counter("new_trace_id_received_total", "Counts the arrival of new traces"),
            timer: histogram(
                "sampling_decision_timer_latency_milliseconds",
                "Latency (in milliseconds) of each run of the sampling decision timer",
                &TIMER,
            ),
            late_age: histogram(
                "sampling_late_span_age_seconds",
                "Time (in seconds) from the sampling decision was taken and the arrival of a late span",
                &AGE,
            ),
            errors: counter(
                "sampling_policy_evaluation_error_total",
                "Count of sampling policy evaluation errors",
            ),
            executions: vec(
                "sampling_policy_execution_count_total",
                "Total number of executions of a specific sampling policy",
                &["policy"],
            ),
            execution_time: vec(
                "sampling_policy_execution_time_sum_microseconds_total",
                "Total time spent (in microseconds) executing a specific sampling policy",
                &["policy"],
            ),
            too_early: counter(
                "sampling_trace_dropped_too_early_total",
                "Count of traces that had to be decided about before the configured wait time",
            ),
            too_large: counter(
                "traces_dropped_too_large_total",
                "Count of traces that were dropped because they exceeded maximum_trace_size_bytes",
            ),
            removal_age: histogram(
                "sampling_trace_removal_age_seconds",
                "Time (in seconds) from arrival of a new trace until its removal from memory",
                &AGE,
            ),
            in_memory: IntGauge::new(
                name("sampling_traces_on_memory"),
                "Tracks the number of traces current on memory",
            )
            .expect(CONSTANT),
            from_cache: vec(
                "early_releases_from_cache_decision_total",
                "Number of spans that were able to be immediately released due to a decision cache hit.",
                &["sampled"],
            ),
            dropped: vec(
                "dropped_spans_total",
                "Spans that were not decided about, or sampled and not delivered, by reason",
                &["reason"],
            ),
        }
    }

    /// Puts them on the page.
    pub(super) fn show(&self, metrics: &NodeMetrics, level: MetricsLevel) -> Shown {
        let Self { by_policy, global, new_traces, timer, late_age, errors, executions, .. } = self.clone();
        let Self {
            execution_time, too_early, too_large, removal_age, in_memory, from_cache, dropped, ..
        } = self.clone();
        let collectors: Vec<Box<dyn Collector>> = vec![
            Box::new(by_policy),
            Box::new(global),
            Box::new(new_traces),
            Box::new(timer),
            Box::new(late_age),
            Box::new(errors),
            Box::new(executions),
            Box::new(execution_time),
            Box::new(too_early),
            Box::new(too_large),
            Box::new(removal_age),
            Box::new(in_memory),
            Box::new(from_cache),
            Box::new(dropped),
        ];
        Shown::new(metrics, "otelcol_processor_tail_sampling", level, collectors)
    }

    /// Counts what was said of a trace and what was done with it.
    pub(super) fn decided(&self, policies: &Policies, said: &[Said], decision: Decision) {
        for Said { policy, decision, took } in said {
            let policy = policies.label(*policy);
            match decision {
                None => self.errors.inc(),
                Some(decision) => {
                    let [sampled, decision] = decision.labels();
                    self.by_policy.with_label_values(&[policy, sampled, decision]).inc();
                }
            }
            self.executions.with_label_values(&[policy]).inc();
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            self.execution_time.with_label_values(&[policy]).inc_by(micros);
        }
        self.global.with_label_values(&decision.labels()).inc();
    }
}

//! The component's own metrics, under Alloy's names.

use component::metrics::{IntCounter, IntCounterVec, NodeMetrics};

use super::stages::metrics::CustomMetrics;

/// The component's own metrics that stages share. As Alloy names them.
#[derive(Clone)]
pub struct Counters {
    /// Dropped lines by `reason`.
    dropped: IntCounterVec,
    /// Lines dropped by `stage.limit` by `label_name` and `label_value`.
    pub dropped_by_label: IntCounterVec,
    /// Fields that `stage.truncate` cut, by `field`.
    pub truncated_fields: IntCounterVec,
    /// Partial lines that `stage.cri` let go because there were too many.
    pub cri_partial_lines_flushed: IntCounter,
    /// Lines that `stage.cri` cut.
    pub cri_lines_truncated: IntCounter,
    /// How often the cache of label sets was full.
    pub label_cache_overflows: IntCounter,
    /// Metrics that stages make of entries.
    pub custom: CustomMetrics,
}

impl Counters {
    /// Registers them.
    pub fn new(metrics: &NodeMetrics) -> Self {
        let name = |what: &str| format!("loki_process_{what}");
        let vec = |what: &str, help: &str, labels: &[&str]| metrics.counter_vec(&name(what), help, labels);
        let counter = |what: &str, help: &str| metrics.counter(&name(what), help);
        Self {
            dropped: vec(
                "dropped_lines_total",
                "A count of all log lines dropped as a result of a pipeline stage",
                &["reason"],
            ),
            dropped_by_label: vec(
                "dropped_lines_by_label_total",
                "A count of all log lines dropped as a result of a pipeline stage",
                &["label_name", "label_value"],
            ),
            truncated_fields: vec(
                "truncated_fields_total",
                "A count of all log lines, labels, extracted values, or structured_metadata truncated as a result of a pipeline stage",
                &["field"],
            ),
            cri_partial_lines_flushed: counter(
                "cri_partial_lines_flushed_total",
                "A count of partial lines that were flushed prematurely due to the max_partial_lines limit being exceeded",
            ),
            cri_lines_truncated: counter(
                "cri_lines_truncated_total",
                "A count of lines that were truncated due to the max_partial_line_size limit",
            ),
            label_cache_overflows: counter(
                "label_cache_overflows_total",
                "How often the cache of label sets was full and begun anew",
            ),
            custom: CustomMetrics::new(metrics),
        }
    }

    /// The counter of lines that a stage drops for a reason; to be asked for once, when the stage is built.
    pub fn dropped(&self, reason: &str) -> IntCounter {
        self.dropped.with_label_values(&[reason])
    }
}

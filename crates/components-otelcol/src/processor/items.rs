//! What went into a processor and what came out, by the names that Alloy gives it.

use std::sync::Arc;

use component::BuildCx;
use component::metrics::IntCounterVec;
use component::otel::MetricsLevel;

/// The two counters; they show nothing until something was counted.
pub(crate) struct ItemMetrics {
    processor: String,
    incoming: IntCounterVec,
    outgoing: IntCounterVec,
}

impl ItemMetrics {
    /// `kind` is the last part of the component's name.
    pub(crate) fn new(kind: &str, cx: &BuildCx) -> Arc<Self> {
        let (_, local) = component::metrics::split_global_id(cx.id());
        let labels = ["processor", "otel_signal"];
        let counter = |name: &str, help: &str| cx.metrics().counter_vec(name, help, &labels);
        Arc::new(Self {
            processor: format!("{kind}/{local}"),
            incoming: counter("otelcol_processor_incoming_items_total", "Items that came in."),
            outgoing: counter(
                "otelcol_processor_outgoing_items_total",
                "Items that all consumers have taken.",
            ),
        })
    }

    /// So many items have come.
    pub(crate) fn came(&self, level: MetricsLevel, signal: &str, items: usize) {
        self.count(&self.incoming, level, signal, items);
    }

    /// So many items have gone on.
    pub(crate) fn went(&self, level: MetricsLevel, signal: &str, items: usize) {
        self.count(&self.outgoing, level, signal, items);
    }

    fn count(&self, family: &IntCounterVec, level: MetricsLevel, signal: &str, items: usize) {
        if level > MetricsLevel::None {
            family.with_label_values(&[self.processor.as_str(), signal]).inc_by(items as u64);
        }
    }

    /// The level has changed: what it does not show any more is forgotten.
    pub(crate) fn show(&self, level: MetricsLevel) {
        if level == MetricsLevel::None {
            self.incoming.reset();
            self.outgoing.reset();
        }
    }
}

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

    /// Counts as far as `level` asks for it. What it does not show any more is forgotten.
    pub(crate) fn at(self: &Arc<Self>, level: MetricsLevel) -> ItemCounts {
        if level == MetricsLevel::None {
            self.incoming.reset();
            self.outgoing.reset();
        }
        ItemCounts { metrics: self.clone(), on: level > MetricsLevel::None }
    }
}

/// The counters, for one generation of a component.
pub(crate) struct ItemCounts {
    metrics: Arc<ItemMetrics>,
    on: bool,
}

impl ItemCounts {
    /// So many items have come.
    pub(crate) fn came(&self, signal: &str, items: usize) {
        self.count(&self.metrics.incoming, signal, items);
    }

    /// So many items have gone on.
    pub(crate) fn went(&self, signal: &str, items: usize) {
        self.count(&self.metrics.outgoing, signal, items);
    }

    fn count(&self, family: &IntCounterVec, signal: &str, items: usize) {
        if self.on {
            family.with_label_values(&[self.metrics.processor.as_str(), signal]).inc_by(items as u64);
        }
    }
}

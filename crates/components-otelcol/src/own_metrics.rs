//! A component's own metrics behind the switch of its `debug_metrics` block.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use component::metrics::{Collector, Computed, NodeMetrics};
use component::otel::MetricsLevel;

/// Whether a component's own metrics are shown.
#[derive(Clone)]
pub struct Switch(Arc<AtomicBool>);

impl Switch {
    /// Registers metrics that are shown unless the level is `none`. `identity` tells them from those of other
    /// switches of the node.
    pub fn new(
        metrics: &NodeMetrics,
        identity: &str,
        level: MetricsLevel,
        collectors: Vec<Box<dyn Collector>>,
    ) -> Self {
        let shown = Arc::new(AtomicBool::new(level != MetricsLevel::None));
        let switch = shown.clone();
        metrics.register(Computed::new(identity, move || {
            if !switch.load(Ordering::Relaxed) {
                return Vec::new();
            }
            let families = collectors.iter().flat_map(|collector| collector.collect());
            families.filter(|family| !family.get_metric().is_empty()).collect()
        }));
        Self(shown)
    }

    /// Follows new arguments.
    pub fn show(&self, level: MetricsLevel) {
        self.0.store(level != MetricsLevel::None, Ordering::Relaxed);
    }
}

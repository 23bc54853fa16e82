//! The component's own metrics; `debug_metrics` says how many of them are shown.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use component::metrics::{
    Collector, Computed, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, NodeMetrics, Opts,
};
use component::otel::MetricsLevel;

/// Bounds of the collector's histogram of items.
const ITEMS: [f64; 22] = [
    10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1000.0, 2000.0, 3000.0, 4000.0, 5000.0, 6000.0,
    7000.0, 8000.0, 9000.0, 10_000.0, 20_000.0, 30_000.0, 50_000.0, 100_000.0,
];

/// Bounds of the collector's histogram of bytes, after those of items up to 50,000.
const BYTES: [f64; 18] = [
    100_000.0, 200_000.0, 300_000.0, 400_000.0, 500_000.0, 600_000.0, 700_000.0, 800_000.0, 900_000.0, 1e6,
    2e6, 3e6, 4e6, 5e6, 6e6, 7e6, 8e6, 9e6,
];

/// Counters of all signals together.
pub(super) struct Counters {
    shown: AtomicU8,
    pub(super) by_size: IntCounter,
    pub(super) by_timeout: IntCounter,
    pub(super) items: Histogram,
    pub(super) bytes: Histogram,
    pub(super) cardinality: IntGauge,
    pub(super) refused: IntCounterVec,
}

impl Counters {
    pub(super) fn new(metrics: &NodeMetrics, level: MetricsLevel) -> Arc<Self> {
        const CONSTANT: &str = "metric names are constants of this program";
        let counter = |name: &str, help: &str| IntCounter::new(name, help).expect(CONSTANT);
        let histogram = |name: &str, help: &str, bounds: Vec<f64>| {
            Histogram::with_opts(HistogramOpts::new(name, help).buckets(bounds)).expect(CONSTANT)
        };
        let bytes = ITEMS[..ITEMS.len() - 1].iter().chain(&BYTES).copied().collect();
        let refused = Opts::new(
            "otelcol_processor_batch_metadata_refused_items_total",
            "Items refused because metadata_cardinality_limit combinations were being gathered.",
        );
        let counters = Arc::new(Self {
            shown: AtomicU8::new(level as u8),
            by_size: counter(
                "otelcol_processor_batch_batch_size_trigger_send_total",
                "Number of times the batch was sent due to a size trigger",
            ),
            by_timeout: counter(
                "otelcol_processor_batch_timeout_trigger_send_total",
                "Number of times the batch was sent due to a timeout trigger",
            ),
            items: histogram(
                "otelcol_processor_batch_batch_send_size",
                "Number of units in the batch",
                ITEMS.to_vec(),
            ),
            bytes: histogram(
                "otelcol_processor_batch_batch_send_size_bytes",
                "Number of bytes in batch that was sent",
                bytes,
            ),
            cardinality: IntGauge::new(
                "otelcol_processor_batch_metadata_cardinality",
                "Number of distinct metadata value combinations being processed",
            )
            .expect(CONSTANT),
            refused: IntCounterVec::new(refused, &["signal"]).expect(CONSTANT),
        });
        let shown = counters.clone();
        metrics.register(Computed::new("otelcol_processor_batch", move || shown.collect()));
        counters
    }

    /// Shows as many metrics as the level says.
    pub(super) fn show(&self, level: MetricsLevel) {
        self.shown.store(level as u8, Ordering::Relaxed);
    }

    fn collect(&self) -> Vec<component::metrics::proto::MetricFamily> {
        let shown = self.shown.load(Ordering::Relaxed);
        if shown == MetricsLevel::None as u8 {
            return Vec::new();
        }
        let mut collectors: Vec<&dyn Collector> =
            vec![&self.by_size, &self.by_timeout, &self.items, &self.cardinality, &self.refused];
        if shown == MetricsLevel::Detailed as u8 {
            collectors.push(&self.bytes);
        }
        let families = collectors.into_iter().flat_map(Collector::collect);
        families.filter(|family| !family.get_metric().is_empty()).collect()
    }
}

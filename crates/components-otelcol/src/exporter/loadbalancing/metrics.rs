//! The balancer's own metrics, by Alloy's names; those of the exporters behind it are in `sending`.

use std::sync::Arc;
use std::time::Duration;

use component::metrics::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, NodeMetrics, Opts};

/// Resolutions, back ends, and how handing over went.
pub(super) struct Balance {
    resolutions: IntCounterVec,
    backends: IntGaugeVec,
    updates: IntCounterVec,
    latency: HistogramVec,
    outcomes: IntCounterVec,
}

impl Balance {
    pub(super) fn new(metrics: &NodeMetrics) -> Arc<Self> {
        const CONSTANT: &str = "metric names are constants of this program";
        let backends = Opts::new("otelcol_loadbalancer_num_backends", "Back ends in use.");
        let latency = HistogramOpts::new(
            "otelcol_loadbalancer_backend_latency",
            "Milliseconds that handing data to the queue of a back end took.",
        )
        .buckets(vec![5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0]);
        Arc::new(Self {
            resolutions: metrics.counter_vec(
                "otelcol_loadbalancer_num_resolutions_total",
                "How often the back ends were looked for.",
                &["resolver", "success"],
            ),
            backends: metrics.register(IntGaugeVec::new(backends, &["resolver"]).expect(CONSTANT)),
            updates: metrics.counter_vec(
                "otelcol_loadbalancer_num_backend_updates_total",
                "How often other back ends were found than before.",
                &["resolver"],
            ),
            latency: metrics.register(HistogramVec::new(latency, &["endpoint"]).expect(CONSTANT)),
            outcomes: metrics.counter_vec(
                "otelcol_loadbalancer_backend_outcome_total",
                "How often data was handed to the queue of a back end.",
                &["endpoint", "success"],
            ),
        })
    }

    pub(super) fn resolved(&self, resolver: &str, success: bool) {
        self.resolutions.with_label_values(&[resolver, word(success)]).inc();
    }

    pub(super) fn changed(&self, resolver: &str, backends: usize) {
        self.updates.with_label_values(&[resolver]).inc();
        self.backends.with_label_values(&[resolver]).set(backends as i64);
    }

    pub(super) fn handed_over(&self, backend: &str, took: Duration, success: bool) {
        self.latency.with_label_values(&[backend]).observe(took.as_secs_f64() * 1000.0);
        self.outcomes.with_label_values(&[backend, word(success)]).inc();
    }

    /// A back end is gone, and with it what is told of it.
    pub(super) fn forget(&self, backend: &str) {
        // Nothing was told of it yet, where that fails.
        let _ = self.latency.remove_label_values(&[backend]);
        for success in [true, false] {
            let _ = self.outcomes.remove_label_values(&[backend, word(success)]);
        }
    }
}

fn word(success: bool) -> &'static str {
    if success { "true" } else { "false" }
}

//! Own metrics, by the names that Alloy gives them.

use component::metrics::{GaugeVec, IntCounter, IntCounterVec, NodeMetrics};
use net::server::RequestMetrics;
use parking_lot::Mutex;
use wire::faro::{Kind, Payload};

use super::limiter::LimiterMetrics;

/// Origins that are told apart; URLs are what clients make up.
const MOST_ORIGINS: usize = 100;

pub(super) struct Metrics {
    pub(super) requests: RequestMetrics,
    pub(super) limiter: LimiterMetrics,
    items: [(Kind, IntCounter); 4],
    errors: IntCounterVec,
    unserved: IntCounterVec,
    pub(super) maps: MapMetrics,
}

/// Those of source maps.
#[derive(Clone)]
pub(super) struct MapMetrics {
    pub(super) size: GaugeVec,
    pub(super) downloads: IntCounterVec,
    pub(super) reads: IntCounterVec,
    pub(super) evicted: IntCounter,
    origins: std::sync::Arc<Mutex<Vec<String>>>,
}

impl Metrics {
    pub(super) fn new(metrics: &NodeMetrics) -> Self {
        let items = |kind: Kind| {
            let name = format!("faro_receiver_{}s_total", kind.name());
            (kind, metrics.counter(&name, &format!("Number of {}s that were taken.", kind.name())))
        };
        Self {
            requests: RequestMetrics::new(metrics, "faro_receiver"),
            limiter: LimiterMetrics::new(metrics),
            items: Kind::ALL.map(items),
            errors: metrics.counter_vec(
                "faro_receiver_exporter_errors_total",
                "Payloads that consumers did not take, by what was to be handed over.",
                &["exporter"],
            ),
            unserved: metrics.counter_vec(
                "faro_receiver_unserved_items_total",
                "Items that output has no consumer for.",
                &["signal"],
            ),
            maps: MapMetrics::new(metrics),
        }
    }

    /// Everybody has a payload.
    pub(super) fn taken(&self, payload: &Payload<'_>) {
        for (kind, counter) in &self.items {
            counter.inc_by(payload.count(*kind) as u64);
        }
    }

    /// Somebody has not.
    pub(super) fn failed(&self, exporter: &str) {
        self.errors.with_label_values(&[exporter]).inc();
    }

    /// There is nobody.
    pub(super) fn unserved(&self, signal: &str, items: usize) {
        if items > 0 {
            self.unserved.with_label_values(&[signal]).inc_by(items as u64);
        }
    }
}

impl MapMetrics {
    pub(super) fn new(metrics: &NodeMetrics) -> Self {
        Self {
            size: metrics.gauge_vec(
                "faro_receiver_sourcemap_cache_size",
                "Source maps that are remembered, by origin.",
                &["origin"],
            ),
            downloads: metrics.counter_vec(
                "faro_receiver_sourcemap_downloads_total",
                "Downloads of code and source maps, by origin and status.",
                &["origin", "http_status"],
            ),
            reads: metrics.counter_vec(
                "faro_receiver_sourcemap_file_reads_total",
                "Source maps looked for on disk, by origin and status.",
                &["origin", "status"],
            ),
            evicted: metrics.counter(
                "faro_receiver_sourcemap_cache_evicted_total",
                "Source maps that were forgotten because there was no room.",
            ),
            origins: std::sync::Arc::default(),
        }
    }

    /// Scheme and host of a URL, as a label.
    pub(super) fn origin(&self, url: &str) -> String {
        let Ok(url) = net::Url::parse(url) else { return "?".to_owned() };
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let origin = format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default());
        let mut known = self.origins.lock();
        if !known.contains(&origin) {
            if known.len() >= MOST_ORIGINS {
                return "other".to_owned();
            }
            known.push(origin.clone());
        }
        origin
    }
}

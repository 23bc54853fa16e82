//! Gets a page, and the component's own metrics.

use component::Services;
use component::metrics::{Histogram, IntCounter, IntCounterVec, IntGauge, NodeMetrics};
use http::header::{ACCEPT, ACCEPT_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};
use net::scrape::{Failed, Fetch, Page};

use super::page::Scratch;
use super::worker::Job;

/// Largest page where the user sets no limit.
pub(super) const DEFAULT_BODY: usize = 256 << 20;

const SCRAPE_TIMEOUT: HeaderName = HeaderName::from_static("x-prometheus-scrape-timeout-seconds");

/// What one scrape needs of memory besides its results.
#[derive(Default)]
pub(super) struct Buffers {
    /// The page as text or protobuf.
    pub(super) page: Page,
    pub(super) scratch: Scratch,
}

/// Puts the page into `page.body` and gives its content type.
pub(super) async fn fetch(job: &Job, services: &Services, page: &mut Page) -> Result<String, Failed> {
    let fetch = Fetch {
        client: &job.settings.client,
        services,
        url: &job.spec.url,
        headers: headers(job),
        timeout: job.spec.timeout,
        limit: job.settings.body_limit,
        lenient: false,
    };
    fetch.into(page).await
}

fn headers(job: &Job) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(4);
    headers.insert(ACCEPT, job.settings.accept.clone());
    let encoding = if job.settings.compression { "gzip" } else { "identity" };
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(encoding));
    let seconds = job.spec.timeout.as_secs_f64().to_string();
    if let Ok(seconds) = HeaderValue::try_from(seconds) {
        headers.insert(SCRAPE_TIMEOUT, seconds);
    }
    headers
}

/// Own metrics of the component.
#[derive(Clone)]
pub(super) struct Metrics {
    pub(super) targets: IntGauge,
    pub(super) forwarded: IntCounter,
    pub(super) latency: Histogram,
    pub(super) dropped: IntCounterVec,
    pub(super) failed: IntCounterVec,
}

impl Metrics {
    pub(super) fn new(metrics: &NodeMetrics) -> Self {
        const SECONDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
        Self {
            targets: metrics.gauge("prometheus_scrape_targets_gauge", "Targets that this component scrapes."),
            forwarded: metrics
                .counter("prometheus_forwarded_samples_total", "Samples that were taken by all of forward_to."),
            latency: metrics.histogram(
                "prometheus_fanout_latency",
                "Seconds that handing a batch to all of forward_to took.",
                &SECONDS,
            ),
            dropped: metrics.counter_vec(
                "prometheus_scrape_samples_dropped_total",
                "Samples lost: left out of a page (repeated, ahead) or not taken by forward_to (timeout, stopped, permanent).",
                &["reason"],
            ),
            failed: metrics.counter_vec(
                "prometheus_scrape_failures_total",
                "Scrapes that failed: no whole answer (dns, connect, tls, timeout, protocol, status, …), or a page that does not count (page, limit, name).",
                &["reason"],
            ),
        }
    }

    pub(super) fn drop(&self, reason: &str, count: usize) {
        if count > 0 {
            self.dropped.with_label_values(&[reason]).inc_by(count as u64);
        }
    }
}

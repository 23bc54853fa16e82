//! Gets a page: over the network, or from a component of this process; decompressed, within its limit.

use std::panic::AssertUnwindSafe;

use bytes::Bytes;
use component::Services;
use component::metrics::{Histogram, IntCounter, IntCounterVec, IntGauge, NodeMetrics};
use futures_util::FutureExt;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};
use net::{Client, Url};
use parking_lot::Mutex;
use wire::compress::{Encoding, decompress};

use super::page::Scratch;
use super::worker::Job;

/// Largest page where the user sets no limit.
pub(super) const DEFAULT_BODY: usize = 256 << 20;
/// Buffers kept for the next scrape, and the most bytes that each may keep.
const SPARE_BUFFERS: usize = 4;
const SPARE_BYTES: usize = 8 << 20;

const SCRAPE_TIMEOUT: HeaderName = HeaderName::from_static("x-prometheus-scrape-timeout-seconds");

/// What one scrape needs of memory besides its results.
#[derive(Default)]
pub(super) struct Buffers {
    /// The page as text or protobuf.
    pub(super) body: Vec<u8>,
    /// The page as it came.
    packed: Vec<u8>,
    pub(super) scratch: Scratch,
}

/// Buffers of scrapes that are done.
#[derive(Default)]
pub(super) struct Pool(Mutex<Vec<Buffers>>);

impl Pool {
    pub(super) fn take(&self) -> Buffers {
        self.0.lock().pop().unwrap_or_default()
    }

    pub(super) fn put(&self, mut buffers: Buffers) {
        for buffer in [&mut buffers.body, &mut buffers.packed] {
            buffer.clear();
            if buffer.capacity() > SPARE_BYTES {
                *buffer = Vec::new();
            }
        }
        let mut spare = self.0.lock();
        if spare.len() < SPARE_BUFFERS {
            spare.push(buffers);
        }
    }
}

/// Why there is no page.
pub(super) struct Failed {
    pub(super) message: String,
    /// It is larger than it may be.
    pub(super) too_large: bool,
}

impl From<String> for Failed {
    fn from(message: String) -> Self {
        Self { message, too_large: false }
    }
}

impl From<net::Error> for Failed {
    fn from(error: net::Error) -> Self {
        Self { too_large: error.kind() == net::Kind::BodyTooLarge, message: error.to_string() }
    }
}

/// Puts the page into `buffers.body` and gives its content type.
pub(super) async fn fetch(job: &Job, services: &Services, buffers: &mut Buffers) -> Result<String, Failed> {
    let (encoding, content_type) = if in_memory(&job.spec.url, services) {
        let call = call(job, services, &mut buffers.packed);
        let timeout = job.spec.timeout;
        tokio::time::timeout(timeout, call).await.map_err(|_| format!("no answer within {timeout:?}"))??
    } else {
        get(&job.settings.client, job, &mut buffers.packed).await?
    };
    let limit = job.settings.body_limit;
    let encoding = Encoding::from_content_encoding(&encoding)
        .ok_or_else(|| format!("the page has the unknown Content-Encoding {encoding:?}"))?;
    if encoding == Encoding::Identity {
        std::mem::swap(&mut buffers.body, &mut buffers.packed);
    } else {
        buffers.body.clear();
        decompress(encoding, &buffers.packed, limit, &mut buffers.body).map_err(|error| Failed {
            too_large: matches!(error, wire::compress::Error::TooLarge { .. }),
            message: error.to_string(),
        })?;
    }
    Ok(content_type)
}

fn in_memory(url: &Url, services: &Services) -> bool {
    let Some((host, port)) = services.memory_address.rsplit_once(':') else { return false };
    url.scheme() == "http"
        && url.host_str() == Some(host)
        && url.port_or_known_default().is_some_and(|p| port.parse() == Ok(p))
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

fn check_status(status: http::StatusCode) -> Result<(), Failed> {
    match status {
        http::StatusCode::OK => Ok(()),
        other => Err(Failed::from(format!("server returned HTTP status {other}"))),
    }
}

/// Over the network; the request's deadline covers the body.
async fn get(client: &Client, job: &Job, into: &mut Vec<u8>) -> Result<(String, String), Failed> {
    let mut request = net::Request::get(job.spec.url.clone()).timeout(job.spec.timeout);
    request.headers = headers(job);
    let response = client.send(request).await?;
    check_status(response.status())?;
    let encoding = response.content_encoding().unwrap_or_default().to_owned();
    let content_type = response.content_type().unwrap_or_default().to_owned();
    into.clear();
    response.read_into(into, job.settings.body_limit).await?;
    Ok((encoding, content_type))
}

/// From this process.
async fn call(job: &Job, services: &Services, into: &mut Vec<u8>) -> Result<(String, String), Failed> {
    let url = &job.spec.url;
    let path = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let mut request = http::Request::get(path).body(Bytes::new()).map_err(|e| e.to_string())?;
    *request.headers_mut() = headers(job);
    if let Ok(agent) = HeaderValue::try_from(services.user_agent()) {
        request.headers_mut().insert(USER_AGENT, agent);
    }
    let response = AssertUnwindSafe(services.handlers.call(request)).catch_unwind().await;
    let response = response.map_err(|_| "the component that answers there panicked".to_owned())?;
    check_status(response.status())?;
    let header = |name| {
        response
            .headers()
            .get(name)
            .and_then(|v: &HeaderValue| v.to_str().ok())
            .unwrap_or_default()
            .to_owned()
    };
    let limit = job.settings.body_limit;
    if response.body().len() > limit {
        let message = format!("the page is larger than the limit of {limit} bytes");
        return Err(Failed { message, too_large: true });
    }
    into.clear();
    into.extend_from_slice(response.body());
    Ok((header(CONTENT_ENCODING), header(CONTENT_TYPE)))
}

/// Own metrics of the component.
#[derive(Clone)]
pub(super) struct Metrics {
    pub(super) targets: IntGauge,
    pub(super) forwarded: IntCounter,
    pub(super) latency: Histogram,
    pub(super) dropped: IntCounterVec,
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
        }
    }

    pub(super) fn drop(&self, reason: &str, count: usize) {
        if count > 0 {
            self.dropped.with_label_values(&[reason]).inc_by(count as u64);
        }
    }
}

//! What receivers of telemetry share: a budget of memory for requests under way, refusals as answers, and the
//! metrics of requests.
//!
//! Invariant: what all requests of one receiver hold together stays below its budget; who finds no room in
//! time is told to come again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use component::Rejected;
use component::metrics::{GaugeVec, HistogramOpts, HistogramVec, NodeMetrics};
use http::header::RETRY_AFTER;
use http::{HeaderValue, Method, Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::body::BodyError;

/// How long a request may wait for room, and its batch for being taken. Senders give up after 30 s and would
/// not learn what became of the request.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// What clients are told to wait for, in seconds.
const RETRY_SECONDS: &str = "5";

/// Memory that the requests of one receiver may hold together.
#[derive(Clone, Debug)]
pub struct Budget {
    kib: Arc<Semaphore>,
    total: u32,
}

/// A request's share of a [`Budget`]; given back when it is dropped.
#[derive(Debug)]
pub struct Room {
    budget: Budget,
    permit: Option<OwnedSemaphorePermit>,
}

impl Budget {
    /// A budget of so many bytes.
    pub fn new(bytes: usize) -> Self {
        let total = u32::try_from(bytes / 1024).unwrap_or(u32::MAX).max(1);
        let total = total.min(u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX));
        Self { kib: Arc::new(Semaphore::new(total as usize)), total }
    }

    /// No room yet.
    pub fn room(&self) -> Room {
        Room { budget: self.clone(), permit: None }
    }
}

impl Room {
    /// Makes the room at least so large; waits until others give theirs back. A request larger than the
    /// whole budget gets all of it.
    ///
    /// # Errors
    /// If there is no room in time.
    pub async fn at_least(&mut self, bytes: usize) -> Result<(), Refusal> {
        let wanted = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).min(self.budget.total);
        let held = self.permit.as_ref().map_or(0, |p| p.num_permits() as u32);
        if wanted <= held {
            return Ok(());
        }
        let more = self.budget.kib.clone().acquire_many_owned(wanted - held);
        let Ok(Ok(more)) = tokio::time::timeout(PATIENCE, more).await else {
            return Err(Refusal::busy("too many requests are under way"));
        };
        match &mut self.permit {
            Some(permit) => permit.merge(more),
            None => self.permit = Some(more),
        }
        Ok(())
    }
}

impl Room {
    /// Gives back what is more than so much.
    pub fn at_most(&mut self, bytes: usize) {
        let kept = bytes.div_ceil(1024);
        if let Some(permit) = &mut self.permit {
            drop(permit.split(permit.num_permits().saturating_sub(kept)));
        }
    }
}

/// Why a request is not taken, as the client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The answer's status.
    pub status: StatusCode,
    /// One sentence.
    pub why: String,
}

impl Refusal {
    /// A refusal with a status.
    pub fn new(status: StatusCode, why: impl Into<String>) -> Self {
        Self { status, why: why.into() }
    }

    /// The request is broken.
    pub fn bad(why: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, why)
    }

    /// The same request may be taken later.
    pub fn busy(why: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, why)
    }

    /// As an answer in plain text.
    pub fn response(&self) -> Response<Bytes> {
        let mut response = component::http::text_response(self.status, format!("{}\n", self.why));
        self.mark(&mut response);
        response
    }

    /// Adds to an answer what its status asks for: when to come again.
    pub fn mark(&self, response: &mut Response<Bytes>) {
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(RETRY_SECONDS));
        }
    }
}

impl From<&BodyError> for Refusal {
    fn from(error: &BodyError) -> Self {
        Self::new(error.status(), error.to_string())
    }
}

/// Waits until a batch is taken, at most [`PATIENCE`].
///
/// # Errors
/// 503 where it was not taken but may be later, 400 where it never will be.
pub async fn taken(sending: impl Future<Output = Result<(), Rejected>>) -> Result<(), Refusal> {
    match tokio::time::timeout(PATIENCE, sending).await {
        Err(_) => Err(Refusal::busy("the data was not taken in time")),
        Ok(Err(error @ (Rejected::Stopped | Rejected::Retryable(_)))) => {
            Err(Refusal::busy(error.to_string()))
        }
        Ok(Err(Rejected::Permanent(why))) => Err(Refusal::bad(why)),
        Ok(Ok(())) => Ok(()),
    }
}

/// Metrics of a receiver's requests, by the names that Alloy gives them.
#[derive(Clone)]
pub struct RequestMetrics {
    duration: HistogramVec,
    request_bytes: HistogramVec,
    response_bytes: HistogramVec,
    connections: GaugeVec,
    inflight: GaugeVec,
}

/// A request that is counted as under way until it is answered or dropped.
pub struct Inflight(component::metrics::Gauge);

impl Drop for Inflight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl RequestMetrics {
    /// Registers them; `namespace` stands in front of each name.
    pub fn new(metrics: &NodeMetrics, namespace: &str) -> Self {
        const SECONDS: [f64; 14] =
            [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0];
        const MIB: [f64; 8] = [1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0];
        let name = |what: &str| format!("{namespace}_{what}");
        let vec = |what: &str, help: &str, buckets: Vec<f64>, labels: &[&str]| {
            let opts = HistogramOpts::new(name(what), help).buckets(buckets);
            metrics.register(
                HistogramVec::new(opts, labels).expect("metric names are constants of this program"),
            )
        };
        let bytes = || MIB.map(|mib| mib * 1_048_576.0).to_vec();
        let sizes = ["method", "route"];
        Self {
            duration: vec(
                "request_duration_seconds",
                "Seconds that answering requests took.",
                SECONDS.to_vec(),
                &["method", "route", "status_code", "ws"],
            ),
            request_bytes: vec("request_message_bytes", "Bytes of request bodies.", bytes(), &sizes),
            response_bytes: vec("response_message_bytes", "Bytes of response bodies.", bytes(), &sizes),
            connections: metrics.gauge_vec(&name("tcp_connections"), "Connections open now.", &["protocol"]),
            inflight: metrics.gauge_vec(&name("inflight_requests"), "Requests under way.", &sizes),
        }
    }

    /// How many connections of a protocol (`http`, `grpc`) are open.
    pub fn connections(&self, protocol: &str, count: usize) {
        self.connections.with_label_values(&[protocol]).set(count as f64);
    }

    /// A request begins. `route` is its path with `_` for `/`, as Alloy names it.
    pub fn begun(&self, method: &Method, route: &str) -> Inflight {
        let gauge = self.inflight.with_label_values(&[method_name(method), route]);
        gauge.inc();
        Inflight(gauge)
    }

    /// A request was answered.
    pub fn answered(
        &self,
        method: &Method,
        route: &str,
        request: usize,
        response: &Response<Bytes>,
        took: Duration,
    ) {
        let (method, status) = (method_name(method), response.status());
        self.duration
            .with_label_values(&[method, route, status.as_str(), "false"])
            .observe(took.as_secs_f64());
        self.request_bytes.with_label_values(&[method, route]).observe(request as f64);
        self.response_bytes.with_label_values(&[method, route]).observe(response.body().len() as f64);
    }
}

/// A client must not be able to make as many label values as it likes.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::POST => "POST",
        Method::GET => "GET",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_room_waits_and_is_refused_only_after_a_while() {
        let budget = Budget::new(10 << 10);
        let mut first = budget.room();
        first.at_least(1).await.expect("room");
        first.at_least(8 << 10).await.expect("room");
        let mut second = budget.room();
        let refused = second.at_least(3 << 10).await.expect_err("too much");
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(refused.response().headers().contains_key(RETRY_AFTER));
        let waiting = tokio::spawn(async move {
            second.at_least(3 << 10).await.expect("room");
        });
        tokio::task::yield_now().await;
        drop(first);
        waiting.await.expect("no panic");
    }

    #[tokio::test]
    async fn a_request_larger_than_the_budget_gets_all_of_it() {
        let budget = Budget::new(4 << 10);
        let mut room = budget.room();
        room.at_least(usize::MAX).await.expect("room");
        assert_eq!(budget.kib.available_permits(), 0);
        room.at_most(2 << 10);
        assert_eq!(budget.kib.available_permits(), 2);
        room.at_most(9 << 10);
        assert_eq!(budget.kib.available_permits(), 2);
        drop(room);
        assert_eq!(budget.kib.available_permits(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_that_is_not_taken_is_asked_for_again_unless_it_never_will_be() {
        let answers: [(Result<(), Rejected>, Option<StatusCode>); 4] = [
            (Ok(()), None),
            (Err(Rejected::Stopped), Some(StatusCode::SERVICE_UNAVAILABLE)),
            (Err(Rejected::Retryable("full".into())), Some(StatusCode::SERVICE_UNAVAILABLE)),
            (Err(Rejected::Permanent("never".into())), Some(StatusCode::BAD_REQUEST)),
        ];
        for (answer, status) in answers {
            assert_eq!(taken(std::future::ready(answer)).await.err().map(|r| r.status), status);
        }
        let late = taken(std::future::pending()).await.expect_err("never taken");
        assert_eq!(late.status, StatusCode::SERVICE_UNAVAILABLE);
    }
}

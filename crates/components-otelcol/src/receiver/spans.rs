//! What receivers of foreign spans come to: converted spans, one batch, all consumers.
//!
//! Invariant: a client hears of success only when every consumer of traces has its spans; what a conversion cannot
//! carry is counted.

use std::sync::Arc;

use arc_swap::ArcSwap;
use component::otel::{DebugMetrics, MetricsLevel, Output};
use component::{BuildCx, Error, Fanout, OnceAMinute, Rejected};
use net::grpc::Finished;
use net::server::{Budget, Refusal, taken};
use signal::otlp::{ClientMetadata, OtlpBatch, OtlpRequest, Traces, TracesSignal};
use wire::spans::Converted;

use super::metrics::Metrics;
use crate::dropped::Dropped;
use crate::ports::hand_over;
use crate::signals::Kind;

/// Bytes that the requests of one receiver may hold together; more wait.
const BUDGET: usize = 512 << 20;

/// Where spans go; may change while requests are under way.
pub(super) struct Target {
    pub(super) traces: Fanout<Traces>,
    level: MetricsLevel,
}

impl Target {
    pub(super) fn new(output: &Output, debug: &DebugMetrics) -> Result<Self, Error> {
        Ok(Self { traces: output.fanout()?.traces, level: debug.level })
    }
}

/// What lives as long as the component.
pub(super) struct Spans {
    pub(super) target: ArcSwap<Target>,
    pub(super) budget: Budget,
    pub(super) cx: BuildCx,
    metrics: Metrics,
    unconverted: Dropped,
    /// Of refusals in the log.
    warned: OnceAMinute,
}

impl Spans {
    /// For a receiver of a type (`zipkin`).
    pub(super) fn new(of: &str, target: Target, cx: &BuildCx) -> Arc<Self> {
        Arc::new(Self {
            target: ArcSwap::from_pointee(target),
            budget: Budget::new(BUDGET),
            cx: cx.clone(),
            unconverted: Dropped::new(cx, &format!("otelcol_receiver_{of}")),
            metrics: Metrics::new(&cx.metrics(), of, cx.id(), &[Kind::Traces]),
            warned: OnceAMinute::default(),
        })
    }

    /// Puts another target into force.
    pub(super) fn aim(&self, target: Target) {
        self.metrics.show(target.level);
        self.target.store(Arc::new(target));
    }

    /// Whether there is anybody who takes spans.
    pub(super) fn is_served(&self) -> bool {
        !self.target.load().traces.is_empty()
    }

    /// Spans as a batch; `None` where there are none.
    pub(super) fn batch(
        &self,
        transport: &str,
        converted: Converted,
        client: Option<Arc<ClientMetadata>>,
    ) -> Option<Traces> {
        if self.target.load().level > MetricsLevel::None {
            for (what, why, count) in converted.dropped.iter() {
                self.unconverted.add(what, why, usize::try_from(count).unwrap_or(usize::MAX));
            }
        }
        let request = OtlpRequest::<TracesSignal>::from_message(converted.request);
        if request.items() == 0 {
            return None;
        }
        self.cx.live_debug(|| format!("{} spans received over {transport}", request.items()));
        let received_ms = jiff::Timestamp::now().as_millisecond();
        let mut batch = OtlpBatch { client, received_ms, ..OtlpBatch::default() };
        batch.requests.push(request);
        Some(Traces::new(batch))
    }

    /// Hands a batch over for a client that waits for the answer.
    pub(super) async fn take(&self, transport: &str, batch: Traces) -> Result<(), Refusal> {
        let target = self.target.load_full();
        if target.traces.is_empty() {
            // Taken out by a reload since the request was let in.
            return Err(Refusal::busy("traces are not taken any more"));
        }
        let items = batch.items();
        let now = || self.target.load().traces.clone();
        let answer = taken(hand_over(batch, &target.traces, now)).await;
        self.count(transport, items, answer.is_ok());
        if let Err(refusal) = &answer
            && refusal.status == http::StatusCode::BAD_REQUEST
        {
            self.warn(items, &refusal.why);
        }
        answer
    }

    /// Hands a batch over once, for a source that asks again itself.
    pub(super) async fn offer(&self, batch: Traces) -> Result<(), Rejected> {
        self.target.load_full().traces.send(batch).await
    }

    /// Spans were taken, or not.
    pub(super) fn count(&self, transport: &str, spans: usize, taken: bool) {
        self.metrics.received::<TracesSignal>(self.target.load().level, transport, spans as u64, taken);
    }

    /// Spans were refused for good.
    pub(super) fn warn(&self, spans: usize, error: &str) {
        if self.warned.now() {
            tracing::warn!(error, spans, "spans were refused for good");
        }
    }

    /// A call was answered.
    pub(super) fn called(&self, finished: &Finished<'_>) {
        self.metrics.called(self.target.load().level, finished);
    }
}

//! Spans that have ended, on their way to the receivers.
//!
//! Data path: `push` (never waits) → the queue → its task, which hands batches over and repeats what is refused for
//! now. Invariants: the queue is bounded, what does not fit is counted; what the task itself causes makes no spans.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use component::metrics::{IntCounterVec, Opts};
use component::{Fanout, Rejected, Services};
use parking_lot::Mutex;
use signal::otlp::proto::collector::trace::v1::ExportTraceServiceRequest;
use signal::otlp::proto::common::v1::InstrumentationScope;
use signal::otlp::proto::resource::v1::Resource;
use signal::otlp::proto::trace::v1::{ResourceSpans, ScopeSpans, Span};
use signal::otlp::{OtlpRequest, Traces, TracesSignal};
use tokio::sync::Notify;
use tracing::Instrument as _;

/// Name of the span that the task runs in.
pub(super) const SPAN: &str = "tracing.write_to";

/// Spans that wait at most, that go together at most, and the longest wait for company: the defaults of the
/// OpenTelemetry specification's batching processor.
const MAX_WAITING: usize = 2048;
const BATCH: usize = 512;
const WAIT: Duration = Duration::from_secs(5);
/// Between two attempts to hand a batch over.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Spans that wait.
pub(super) struct Queue {
    spans: Mutex<Vec<Span>>,
    /// In the batch that is being handed over.
    in_flight: AtomicUsize,
    receivers: ArcSwap<Fanout<Traces>>,
    started: AtomicBool,
    /// There is a batch, or somebody waits for what there is.
    wake: Notify,
    /// A batch is gone.
    done: Notify,
    dropped: IntCounterVec,
}

impl Default for Queue {
    fn default() -> Self {
        let help = "Own spans that did not reach the receivers of tracing.write_to.";
        let opts = Opts::new("alloy_tracing_write_to_dropped_spans_total", help);
        Self {
            spans: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            receivers: ArcSwap::from_pointee(Fanout::new([])),
            started: AtomicBool::new(false),
            wake: Notify::new(),
            done: Notify::new(),
            dropped: IntCounterVec::new(opts, &["reason"]).expect("a constant name"),
        }
    }
}

/// Who the spans are of.
pub(super) fn resource(services: &Services) -> Resource {
    let attributes = [
        ("service.name", "alloy".to_string()),
        ("service.version", format!("v{}", crate::VERSION)),
        ("service.instance.id", services.instance_id.to_string()),
        ("telemetry.sdk.language", "rust".to_string()),
    ];
    let attributes = attributes.into_iter().map(|(key, value)| super::text(key, value)).collect();
    Resource { attributes, ..Resource::default() }
}

impl Queue {
    pub(super) fn dropped(&self) -> IntCounterVec {
        self.dropped.clone()
    }

    fn drop_spans(&self, reason: &str, count: usize) {
        self.dropped.with_label_values(&[reason]).inc_by(count as u64);
    }

    /// Where batches go from now on.
    pub(super) fn send_to(&self, receivers: Fanout<Traces>) {
        self.receivers.store(Arc::new(receivers));
    }

    /// Starts the task, once.
    pub(super) fn start(self: &Arc<Self>, runtime: &tokio::runtime::Handle, resource: Resource) {
        if !self.started.swap(true, Ordering::Relaxed) {
            // Outside of whatever span the configuration is evaluated in.
            let span = tracing::info_span!(parent: None, SPAN);
            runtime.spawn(run(Arc::downgrade(self), resource).instrument(span));
        }
    }

    /// Adds a span. Never waits.
    pub(super) fn push(&self, span: Span) {
        let mut spans = self.spans.lock();
        if spans.len() >= MAX_WAITING {
            drop(spans);
            return self.drop_spans("queue_full", 1);
        }
        spans.push(span);
        let full = spans.len() >= BATCH;
        drop(spans);
        if full {
            self.wake.notify_one();
        }
    }

    /// Returns when everything is handed over.
    pub(super) async fn flush(&self) {
        loop {
            let done = self.done.notified();
            if self.spans.lock().is_empty() && self.in_flight.load(Ordering::Acquire) == 0 {
                return;
            }
            self.wake.notify_one();
            done.await;
        }
    }

    fn take(&self) -> Vec<Span> {
        let mut spans = self.spans.lock();
        let count = spans.len().min(BATCH);
        self.in_flight.store(count, Ordering::Release);
        spans.drain(..count).collect()
    }

    /// Hands a batch over for as long as it takes.
    async fn deliver(&self, batch: Traces) {
        let count = batch.items();
        let mut pause = BACKOFF.0;
        loop {
            let receivers = self.receivers.load_full();
            if receivers.is_empty() {
                return self.drop_spans("receiver_gone", count);
            }
            match receivers.send(batch.clone()).await {
                Ok(()) => return,
                Err(Rejected::Permanent(reason)) => {
                    tracing::debug!(reason, "own spans were refused");
                    return self.drop_spans("rejected", count);
                }
                // A component that has stopped is started again by a reload, behind the same address.
                Err(Rejected::Retryable(_) | Rejected::Stopped) => {}
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(BACKOFF.1);
        }
    }
}

/// Ends with the queue.
async fn run(queue: Weak<Queue>, resource: Resource) {
    while let Some(queue) = queue.upgrade() {
        tokio::select! {
            () = queue.wake.notified() => {}
            () = tokio::time::sleep(WAIT) => {}
        }
        loop {
            let spans = queue.take();
            if spans.is_empty() {
                break;
            }
            queue.deliver(request(spans, &resource)).await;
        }
        queue.done.notify_waiters();
    }
}

fn request(spans: Vec<Span>, resource: &Resource) -> Traces {
    let scope = InstrumentationScope {
        name: "ferroalloy".to_string(),
        version: crate::VERSION.to_string(),
        ..InstrumentationScope::default()
    };
    let scope_spans = ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() };
    let resource_spans = ResourceSpans {
        resource: Some(resource.clone()),
        scope_spans: vec![scope_spans],
        ..ResourceSpans::default()
    };
    let message = ExportTraceServiceRequest { resource_spans: vec![resource_spans] };
    Traces::of(OtlpRequest::<TracesSignal>::from_message(message))
}

//! One endpoint of the component: its queue, its encoder, its way in and out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use component::{Error, Rejected};
use delivery::{AppendError, Queue};
use signal::LogBatch;

use super::encode::Encoder;
use super::metrics::{Host, Metrics, Shown, Tenant};
use super::plan::Plan;
use super::streams::Streams;
use super::transport::{Kept, LokiTransport};

/// A running endpoint.
pub(super) struct Endpoint {
    pub plan: Plan,
    pub queue: Queue,
    /// Tells queues apart on `/metrics`.
    id: u64,
    encoder: Arc<Encoder>,
    host: Arc<Host>,
    kept: Arc<Kept>,
}

impl delivery::Endpoint for Endpoint {
    type Plan = Plan;
    type Shared = Arc<Metrics>;
    type Error = Error;

    fn plan(&self) -> &Plan {
        &self.plan
    }

    async fn open(plan: Plan, metrics: &Arc<Metrics>) -> Result<Self, Error> {
        static IDS: AtomicU64 = AtomicU64::new(0);
        let (host, kept) = (metrics.host(&plan.host), Arc::<Kept>::default());
        let transport = Arc::new(transport(&plan, &host, &kept));
        let opened = Queue::open(plan.config.clone(), transport).await;
        let queue = opened.map_err(|e| Error::other(e.to_string()))?;
        if queue.stats().recovered.records > 0 {
            // They may have been spread over another number of shards.
            queue.fence();
        }
        let encoder = Arc::new(encoder(&plan, &host));
        let id = IDS.fetch_add(1, Ordering::Relaxed);
        let endpoint = Self { plan, queue, id, encoder, host, kept };
        metrics.show(id, endpoint.shown());
        Ok(endpoint)
    }

    fn change(&mut self, plan: Plan, metrics: &Arc<Metrics>) -> Result<(), Box<Plan>> {
        if plan.shape.lanes != self.plan.shape.lanes {
            self.queue.fence();
        }
        if self.queue.reconfigure(plan.config.clone()).is_err() {
            return Err(Box::new(plan));
        }
        let host = metrics.host(&plan.host);
        self.queue.set_transport(Arc::new(transport(&plan, &host, &self.kept)));
        let same = plan.external_labels == self.plan.external_labels
            && plan.tenant == self.plan.tenant
            && plan.host == self.plan.host
            && plan.max_streams == self.plan.max_streams
            && plan.shape == self.encoder.shape()
            // After the component was taken out and came back its metrics are others.
            && Arc::ptr_eq(&host, &self.host);
        self.host = host;
        if !same {
            self.encoder = Arc::new(encoder(&plan, &self.host));
        }
        self.plan = plan;
        metrics.show(self.id, self.shown());
        Ok(())
    }

    fn hand_over(&self, to: &Self) {
        self.kept.handover.begin(to.queue.clone());
        // The same transport again: what waits for the end of a back-off goes at once.
        self.queue.set_transport(Arc::new(transport(&self.plan, &self.host, &self.kept)));
    }

    async fn drain(&self, metrics: &Arc<Metrics>, deadline: Duration) {
        let drained = self.queue.drain(self.plan.drain_timeout.max(deadline)).await;
        if drained.dropped.items > 0 {
            tracing::error!(endpoint = %self.plan.name, url = %self.plan.shown_url, entries = drained.dropped.items, "entries were lost: the queue is not kept on disk");
        } else if drained.left.items > 0 {
            tracing::warn!(endpoint = %self.plan.name, url = %self.plan.shown_url, entries = drained.left.items, "entries stay on disk until the endpoint is started again");
        }
        metrics.close(self.id);
    }
}

impl writer::Backend for Endpoint {
    const WORD: &'static str = "endpoint";

    fn queue(&self) -> Option<&Queue> {
        Some(&self.queue)
    }
}

impl Endpoint {
    fn shown(&self) -> Shown {
        let (host, name) = (self.plan.host.clone(), self.plan.name.clone());
        Shown { host, name, queue: self.queue.clone() }
    }

    /// What a writer needs to put batches in.
    pub(super) fn inlet(&self) -> Inlet {
        Inlet { queue: self.queue.clone(), encoder: self.encoder.clone() }
    }
}

fn encoder(plan: &Plan, host: &Arc<Host>) -> Encoder {
    let streams =
        Streams::new(plan.external_labels.clone(), plan.tenant.clone(), host.clone(), plan.max_streams);
    Encoder::new(streams, plan.shape)
}

fn transport(plan: &Plan, host: &Arc<Host>, kept: &Arc<Kept>) -> LokiTransport {
    LokiTransport {
        client: plan.client.clone(),
        url: plan.url.clone(),
        headers: plan.headers.clone(),
        timeout: plan.timeout,
        host: host.clone(),
        kept: kept.clone(),
        name: plan.name.clone(),
    }
}

/// The way into one endpoint's queue.
pub(super) struct Inlet {
    queue: Queue,
    encoder: Arc<Encoder>,
}

impl Inlet {
    /// Encodes a batch and queues it; `Ok` when the queue has all of it, or what it has not is counted.
    pub(super) async fn put(&self, batch: &LogBatch, now_ms: i64) -> Result<(), Rejected> {
        for (record, tenant) in self.encoder.encode(batch, now_ms) {
            let (items, bytes) = (record.items.into(), record.body.len() as u64);
            if let Err(error) = self.queue.append(record).await {
                refused(&error, &tenant, items, bytes)?;
            }
        }
        Ok(())
    }
}

/// What it means that a record was not accepted.
fn refused(error: &AppendError, tenant: &Tenant, entries: u64, bytes: u64) -> Result<(), Rejected> {
    match error {
        AppendError::Full => {
            tenant.dropped("queue_is_full", entries, bytes);
            Ok(())
        }
        AppendError::TooLarge { .. } => {
            tracing::warn!(%error, "an entry is larger than the queue");
            tenant.dropped("line_too_long", entries, bytes);
            Ok(())
        }
        // Only this endpoint's queue: the component goes on without it, or has stopped, which the next attempt
        // will tell.
        AppendError::Closed => Err(Rejected::Retryable("the endpoint is being replaced".into())),
        AppendError::Io(error) => Err(Rejected::Retryable(error.to_string())),
    }
}

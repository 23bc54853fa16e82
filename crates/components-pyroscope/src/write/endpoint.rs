//! One endpoint of the component: its queue, its way in and out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use component::{Error, Rejected};
use delivery::{AppendError, Queue, Record};

use super::metrics::{Counted, Metrics};
use super::plan::Plan;
use super::transport::{Kept, PyroscopeTransport};

/// A running endpoint.
pub(super) struct Endpoint {
    pub plan: Plan,
    pub queue: Queue,
    /// Tells queues apart on `/metrics`.
    id: u64,
    counted: Arc<Counted>,
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
        let (counted, kept) = (metrics.endpoint(&plan.endpoint), Arc::<Kept>::default());
        let transport = Arc::new(transport(&plan, &counted, &kept));
        let opened = Queue::open(plan.config.clone(), transport).await;
        let queue = opened.map_err(|e| Error::other(e.to_string()))?;
        let id = IDS.fetch_add(1, Ordering::Relaxed);
        let endpoint = Self { plan, queue, id, counted, kept };
        endpoint.show(metrics);
        Ok(endpoint)
    }

    fn change(&mut self, plan: Plan, metrics: &Arc<Metrics>) -> Result<(), Box<Plan>> {
        if self.queue.reconfigure(plan.config.clone()).is_err() {
            return Err(Box::new(plan));
        }
        self.counted = metrics.endpoint(&plan.endpoint);
        self.queue.set_transport(Arc::new(transport(&plan, &self.counted, &self.kept)));
        self.plan = plan;
        self.show(metrics);
        Ok(())
    }

    fn hand_over(&self, to: &Self) {
        self.kept.handover.begin(to.queue.clone());
        // The same transport again: what waits for the end of a back-off goes at once.
        self.queue.set_transport(Arc::new(transport(&self.plan, &self.counted, &self.kept)));
    }

    async fn drain(&self, metrics: &Arc<Metrics>, deadline: Duration) {
        let drained = self.queue.drain(self.plan.drain_timeout.max(deadline)).await;
        let (name, url) = (&self.plan.name, &self.plan.endpoint);
        if drained.dropped.items > 0 {
            tracing::error!(endpoint = %name, %url, profiles = drained.dropped.items, "profiles were lost: the queue is not kept on disk");
        } else if drained.left.items > 0 {
            tracing::warn!(endpoint = %name, %url, profiles = drained.left.items, "profiles stay on disk until the endpoint is started again");
        }
        metrics.gauges.close(self.id);
    }
}

impl writer::Backend for Endpoint {
    const WORD: &'static str = "endpoint";

    fn queue(&self) -> Option<&Queue> {
        Some(&self.queue)
    }
}

impl Endpoint {
    fn show(&self, metrics: &Metrics) {
        let labels = [self.plan.endpoint.clone(), self.plan.name.clone()];
        metrics.gauges.show(self.id, labels, self.queue.clone());
    }

    /// What a writer needs to put batches in.
    pub(super) fn inlet(&self) -> Inlet {
        Inlet { queue: self.queue.clone(), counted: self.counted.clone() }
    }
}

fn transport(plan: &Plan, counted: &Arc<Counted>, kept: &Arc<Kept>) -> PyroscopeTransport {
    PyroscopeTransport {
        client: plan.client.clone(),
        push_url: plan.push_url.clone(),
        ingest_url: plan.ingest_url.clone(),
        headers: plan.headers.clone(),
        timeout: plan.timeout,
        counted: counted.clone(),
        kept: kept.clone(),
    }
}

/// The way into one endpoint's queue.
pub(super) struct Inlet {
    queue: Queue,
    pub counted: Arc<Counted>,
}

impl Inlet {
    /// Queues records; `Ok` when the queue has all of them, or what it has not is counted.
    pub(super) async fn put(&self, records: Vec<Record>) -> Result<(), Rejected> {
        for record in records {
            let bytes = record.body.len() as u64;
            if let Err(error) = self.queue.append(record).await {
                self.refused(&error, bytes)?;
            }
        }
        Ok(())
    }

    /// What it means that a record was not accepted.
    fn refused(&self, error: &AppendError, bytes: u64) -> Result<(), Rejected> {
        match error {
            AppendError::Full => {
                self.counted.dropped("queue_is_full", 1, bytes);
                Ok(())
            }
            AppendError::TooLarge { .. } => {
                tracing::warn!(%error, "a profile is larger than the queue");
                self.counted.dropped("profile_too_large", 1, bytes);
                Ok(())
            }
            // Only this endpoint's queue: the component goes on without it, or has stopped, which the next attempt
            // will tell.
            AppendError::Closed => Err(Rejected::Retryable("the endpoint is being replaced".into())),
            AppendError::Io(error) => Err(Rejected::Retryable(error.to_string())),
        }
    }
}

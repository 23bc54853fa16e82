//! One endpoint of the component: its queue, its encoder, its way in and out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use component::{Error, Rejected};
use delivery::{AppendError, Handover, Queue, Record};
use futures_util::FutureExt;
use signal::SampleBatch;
use tokio::time::Instant;
use wire::remote_write::{Counts, Message};

use super::args;
use super::encode::Encoder;
use super::metrics::{Counters, Metrics, Shown};
use super::plan::Plan;
use super::record::{KIND_METADATA, put_head};
use super::transport::{HttpTransport, Learned};

/// A running endpoint.
pub(super) struct Endpoint {
    pub plan: Plan,
    pub queue: Queue,
    /// When metadata was last sent, or the endpoint opened.
    pub metadata_sent: Instant,
    /// Tells queues apart on `/metrics`.
    id: u64,
    counters: Arc<Counters>,
    encoder: Arc<Encoder>,
    learned: Arc<Learned>,
    handover: Arc<Handover>,
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
        let (learned, handover) = (Arc::<Learned>::default(), Arc::<Handover>::default());
        let counters = metrics.endpoint(&plan.name, &plan.shown_url);
        let transport = transport(&plan, &learned, &counters, &handover);
        let opened = Queue::open(plan.config.clone(), Arc::new(transport)).await;
        let queue = opened.map_err(|e| Error::other(e.to_string()))?;
        let encoder = Arc::new(encoder(&plan));
        let id = IDS.fetch_add(1, Ordering::Relaxed);
        let metadata_sent = Instant::now();
        let endpoint = Self { plan, queue, metadata_sent, id, counters, encoder, learned, handover };
        metrics.show(id, endpoint.shown());
        Ok(endpoint)
    }

    fn change(&mut self, plan: Plan, metrics: &Arc<Metrics>) -> Result<(), Box<Plan>> {
        if self.queue.reconfigure(plan.config.clone()).is_err() {
            return Err(Box::new(plan));
        }
        if plan.message != self.plan.message || plan.url != self.plan.url {
            self.learned = Arc::default();
        }
        self.counters = metrics.endpoint(&plan.name, &plan.shown_url);
        self.queue.set_transport(Arc::new(transport(&plan, &self.learned, &self.counters, &self.handover)));
        let same = self.encoder.same_rules(&plan.rules)
            && plan.options == self.plan.options
            && plan.age_limit_ms == self.plan.age_limit_ms;
        if !same {
            self.encoder = Arc::new(encoder(&plan));
        }
        self.plan = plan;
        metrics.show(self.id, self.shown());
        Ok(())
    }

    fn hand_over(&self, to: &Endpoint) {
        self.handover.begin(to.queue.clone());
        // The same transport again: what waits for the end of a back-off goes at once.
        let transport = transport(&self.plan, &self.learned, &self.counters, &self.handover);
        self.queue.set_transport(Arc::new(transport));
    }

    async fn drain(&self, metrics: &Arc<Metrics>, deadline: Duration) {
        let drained = self.queue.drain(self.plan.drain_deadline().max(deadline)).await;
        if drained.dropped.items > 0 {
            tracing::error!(remote_name = %self.plan.name, samples = drained.dropped.items, "samples were lost: the queue is not kept on disk");
        } else if drained.left.items > 0 {
            tracing::warn!(remote_name = %self.plan.name, samples = drained.left.items, "samples stay on disk until the endpoint is started again");
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
        Shown {
            name: self.plan.name.clone(),
            url: self.plan.shown_url.clone(),
            queue: self.queue.clone(),
            capacity: self.plan.capacity,
            max_samples: self.plan.options.max_samples,
        }
    }

    /// What a writer needs to put batches in.
    pub(super) fn inlet(&self) -> Inlet {
        Inlet {
            queue: self.queue.clone(),
            encoder: self.encoder.clone(),
            counters: self.counters.clone(),
            learned: self.learned.clone(),
            message: self.plan.message,
            waits_for_disk: self.plan.waits_for_disk(),
        }
    }

    /// Frees what is only kept for speed and was not used for a while.
    pub(super) fn sweep(&self) {
        self.encoder.sweep();
    }

    /// When metadata has to be sent apart from samples, if it has to.
    pub(super) fn metadata_due(&self) -> Option<Instant> {
        let wanted = self.plan.metadata.send && message(self.plan.message, &self.learned) == Message::V1;
        wanted.then(|| self.metadata_sent + self.plan.metadata.send_interval)
    }
}

fn encoder(plan: &Plan) -> Encoder {
    Encoder::new(plan.options, plan.rules.clone(), plan.age_limit_ms)
}

fn transport(
    plan: &Plan,
    learned: &Arc<Learned>,
    counters: &Arc<Counters>,
    handover: &Arc<Handover>,
) -> HttpTransport {
    HttpTransport {
        client: plan.client.clone(),
        url: plan.url.clone(),
        headers: plan.headers.clone(),
        timeout: plan.timeout,
        retry_limited: plan.config.retry_limited,
        learned: learned.clone(),
        counters: counters.clone(),
        handover: handover.clone(),
        name: plan.name.clone(),
    }
}

/// The message that new records get.
fn message(wanted: args::Message, learned: &Learned) -> Message {
    match wanted {
        args::Message::V2 if !learned.v1_only.load(Ordering::Relaxed) => Message::V2,
        _ => Message::V1,
    }
}

/// The way into one endpoint's queue.
pub(super) struct Inlet {
    queue: Queue,
    encoder: Arc<Encoder>,
    counters: Arc<Counters>,
    learned: Arc<Learned>,
    message: args::Message,
    /// An append waits for the device even where there is room.
    waits_for_disk: bool,
}

impl Inlet {
    /// Encodes a batch and queues it; `Ok` when the queue has all of it.
    pub(super) async fn put(&self, batch: &SampleBatch, now_ms: i64) -> Result<(), Rejected> {
        let encoded = self.encoder.encode(batch, message(self.message, &self.learned), now_ms);
        self.counters.dropped("too_old", encoded.too_old);
        self.counters.dropped("dropped_series", encoded.relabeled);
        self.counters.dropped("native_histograms_off", encoded.histograms_off);
        self.counters.dropped("without_sample", encoded.lone);
        for record in encoded.records {
            let counts = super::record::counts(&record);
            self.append(record).await.map_err(|error| self.refused(&error, counts))?;
        }
        Ok(())
    }

    async fn append(&self, record: Record) -> Result<(), AppendError> {
        let mut append = std::pin::pin!(self.queue.append(record));
        if let Some(answer) = append.as_mut().now_or_never() {
            if matches!(answer, Err(AppendError::Full)) {
                self.counters.queue_was_full();
            }
            return answer;
        }
        if !self.waits_for_disk {
            self.counters.queue_was_full();
        }
        append.await
    }

    fn refused(&self, error: &AppendError, counts: Counts) -> Rejected {
        match error {
            // Only this endpoint's queue: the component goes on without it, or has stopped, which the next
            // attempt will tell.
            AppendError::Closed => Rejected::Retryable("the endpoint is being replaced".into()),
            e if e.is_retryable() => Rejected::Retryable(e.to_string()),
            e => {
                self.counters.dropped("too_large", counts);
                Rejected::Permanent(e.to_string())
            }
        }
    }
}

/// A record of metadata.
pub(super) fn metadata_record<'a>(
    families: impl ExactSizeIterator<Item = &'a signal::FamilyMetadata>,
    now_ms: i64,
) -> Record {
    let items = u32::try_from(families.len()).unwrap_or(u32::MAX);
    let mut message = Vec::new();
    wire::remote_write::encode_metadata(families, &mut message);
    let mut body = Vec::new();
    put_head(Counts::default(), &mut body);
    let mut snappy = wire::compress::SnappyEncoder::new();
    snappy.compress(&message, &mut body).expect("metadata is far smaller than snappy's 4 GiB");
    Record {
        body: body.into(),
        items,
        key: u64::MAX,
        group: 0,
        created_ms: now_ms,
        newest_ms: 0,
        kind: KIND_METADATA,
    }
}

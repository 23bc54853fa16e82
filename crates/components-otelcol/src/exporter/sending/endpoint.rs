//! One signal of the exporter: its queue, its way in and out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use component::{Error, Rejected};
use delivery::{AppendError, OpenError, Outcome, Queue, Record, Transport};
use http::{HeaderName, HeaderValue};
use parking_lot::Mutex;
use signal::otlp::{Otlp, OtlpRequest};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use wire::otlp::{Schematic, split};

use super::carrier::Carrier;
use super::courier::{Courier, Kept};
use super::metrics::{Metrics, Shown};
use super::plan::{Joining, Plan};
use super::record::{Headers, record};
use crate::exporter::args::Sizer;
use crate::storage::file::Folder;

/// How long a queue may go on sending when the component stops or changes into one without a queue.
const DRAIN: Duration = Duration::from_secs(15);

/// The same where what is not sent stays on disk.
const DRAIN_DISK: Duration = Duration::from_secs(5);
/// Between attempts to get hold of a folder.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// A running signal.
pub(crate) struct Endpoint {
    pub plan: Plan,
    /// `None`: senders wait for the answer.
    pub queue: Option<Queue>,
    /// Tells queues apart on `/metrics`.
    id: u64,
    courier: Arc<Courier>,
    kept: Arc<Kept>,
    metrics: Arc<Metrics>,
    keys: Arc<Keys>,
    /// Sends back those who wait for an answer.
    closing: CancellationToken,
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
        let kept = Arc::<Kept>::default();
        let courier = Arc::new(courier(&plan, metrics, &kept));
        let queue = match plan.queued {
            true => Some(open_queue(&plan, &courier).await?),
            false => None,
        };
        let endpoint = Self {
            plan,
            queue,
            id: IDS.fetch_add(1, Ordering::Relaxed),
            courier,
            kept,
            metrics: metrics.clone(),
            keys: Arc::default(),
            closing: CancellationToken::new(),
        };
        endpoint.show();
        Ok(endpoint)
    }

    fn change(&mut self, plan: Plan, metrics: &Arc<Metrics>) -> Result<(), Box<Plan>> {
        if let Some(queue) = &self.queue
            && queue.reconfigure(plan.config.clone()).is_err()
        {
            return Err(Box::new(plan));
        }
        self.metrics = metrics.clone();
        self.courier = Arc::new(courier(&plan, metrics, &self.kept));
        if let Some(queue) = &self.queue {
            queue.set_transport(self.courier.clone());
        }
        // Who waits for an answer gets one from the new configuration.
        std::mem::take(&mut self.closing).cancel();
        self.plan = plan;
        self.show();
        Ok(())
    }

    fn hand_over(&self, to: &Self) {
        if let (Some(queue), Some(next)) = (&self.queue, &to.queue) {
            self.kept.handover.begin(next.clone());
            queue.set_transport(self.courier.clone());
        }
    }

    async fn drain(&self, metrics: &Arc<Metrics>, deadline: Duration) {
        self.closing.cancel();
        if let Some(queue) = &self.queue {
            let patience = if self.plan.config.disk.is_some() { DRAIN_DISK } else { DRAIN };
            let drained = queue.drain(patience.max(deadline)).await;
            if drained.dropped.items > 0 {
                let (url, items) = (self.plan.carrier.shown(), drained.dropped.items);
                tracing::error!(
                    url,
                    signal = self.plan.kind.name(),
                    items,
                    "data was lost: it could not be sent in time"
                );
            }
        }
        metrics.hide_queue(self.id);
    }
}

/// Opens a queue; a folder that another process holds is waited for as long as its storage says.
async fn open_queue(plan: &Plan, courier: &Arc<Courier>) -> Result<Queue, Error> {
    let began = Instant::now();
    let patience = plan.folder.as_ref().map_or(Duration::ZERO, Folder::timeout);
    loop {
        if let Some(folder) = &plan.folder {
            folder.prepare().map_err(Error::other)?;
        }
        match Queue::open(plan.config.clone(), courier.clone()).await {
            Ok(queue) => return Ok(queue),
            Err(OpenError::InUse { .. }) if began.elapsed() < patience => sleep(ASK_AGAIN).await,
            Err(error) => return Err(Error::other(error.to_string())),
        }
    }
}

impl writer::Backend for Endpoint {
    const WORD: &'static str = "signal";

    fn queue(&self) -> Option<&Queue> {
        self.queue.as_ref()
    }
}

impl Endpoint {
    fn show(&self) {
        if let Some(queue) = &self.queue {
            let Plan { kind, sizer, capacity, .. } = self.plan;
            let backend = self.plan.backend.clone();
            self.metrics.show_queue(self.id, Shown { kind, backend, queue: queue.clone(), sizer, capacity });
        }
    }

    /// What waits, and what comes still, goes another way from now on.
    pub(crate) fn divert(&self, carrier: Arc<dyn Carrier>) {
        if let Some(queue) = &self.queue {
            let mut diverted = courier(&self.plan, &self.metrics, &self.kept);
            diverted.carrier = carrier;
            queue.set_transport(Arc::new(diverted));
        }
    }

    /// What a writer needs to put batches in.
    pub(crate) fn inlet(&self) -> Inlet {
        Inlet {
            way: match &self.queue {
                Some(queue) => Way::Queued(queue.clone()),
                None => Way::Direct(self.closing.clone()),
            },
            plan: self.plan.clone(),
            courier: self.courier.clone(),
            metrics: self.metrics.clone(),
            keys: self.keys.clone(),
        }
    }
}

fn courier(plan: &Plan, metrics: &Arc<Metrics>, kept: &Arc<Kept>) -> Courier {
    Courier {
        kind: plan.kind,
        carrier: plan.carrier.clone(),
        give_up_after: plan.give_up_after.filter(|_| plan.retries),
        metrics: metrics.clone(),
        kept: kept.clone(),
    }
}

/// Which sender a record goes to: they take turns. Where records are joined a turn lasts until there is enough
/// for a request, so that they meet.
#[derive(Default)]
struct Keys(Mutex<Turn>);

#[derive(Default)]
struct Turn {
    key: u64,
    filled: u64,
}

impl Keys {
    fn next(&self, joining: Option<&Joining>, record: &Record) -> u64 {
        let mut turn = self.0.lock();
        let key = turn.key;
        turn.filled += match joining.map(|joining| joining.sizer) {
            Some(Sizer::Bytes) => record.body.len() as u64,
            _ => u64::from(record.items),
        };
        if joining.is_none_or(|joining| turn.filled >= joining.enough) {
            *turn = Turn { key: key.wrapping_add(1), filled: 0 };
        }
        key
    }
}

/// The parts of a request with more items than a request may have. Where its parts would be out of all proportion
/// it stays whole: a back end may still take it.
fn cut<S: Schematic>(request: OtlpRequest<S>, most: usize) -> Vec<OtlpRequest<S>> {
    let most = u32::try_from(most).unwrap_or(u32::MAX);
    match split::<S>(request.wire(), most, most) {
        Ok(pieces) => {
            let part =
                |piece: wire::otlp::Piece| OtlpRequest::from_wire(piece.bytes.into(), piece.items, None);
            pieces.into_iter().map(part).collect()
        }
        Err(error) => {
            tracing::debug!(%error, "a request is sent whole");
            vec![request]
        }
    }
}

/// The way into the queue of a signal, or to the back end itself.
pub(crate) struct Inlet {
    way: Way,
    plan: Plan,
    courier: Arc<Courier>,
    metrics: Arc<Metrics>,
    keys: Arc<Keys>,
}

enum Way {
    Queued(Queue),
    Direct(CancellationToken),
}

impl Inlet {
    /// Takes a batch in: `Ok` when the queue has it, or the back end where there is no queue.
    pub(crate) async fn put<S: Schematic>(&self, batch: &Otlp<S>) -> Result<(), Rejected> {
        if batch.is_empty() {
            return Ok(());
        }
        let client = batch.client.as_deref();
        let headers = self.plan.carrier.auth().map_or(Ok(Vec::new()), |auth| auth.client_headers(client));
        let headers = headers.and_then(|headers| {
            let parsed = |(name, value): (HeaderName, String)| match HeaderValue::try_from(value) {
                Ok(value) => Ok((name, value)),
                Err(_) => Err(format!("header {name} has a value that a header cannot have")),
            };
            headers.into_iter().map(parsed).collect::<Result<Headers, _>>()
        });
        let headers = headers.map_err(|message| {
            self.metrics.failed(self.plan.kind, "ambiguous_header", batch.items() as u64);
            Rejected::Permanent(message)
        })?;
        self.put_with(batch, &headers).await
    }

    /// As [`Inlet::put`], with headers of the client that are known already.
    pub(crate) async fn put_with<S: Schematic>(
        &self,
        batch: &Otlp<S>,
        headers: &Headers,
    ) -> Result<(), Rejected> {
        let now = jiff::Timestamp::now().as_millisecond();
        let writing = self.plan.carrier.writing();
        let stays = |word: &str, body: &[u8]| self.plan.joining.is_none() && writing.takes(word, body);
        for group in self.groups(batch) {
            let mut record = record(&group, headers, stays, now);
            record.key = self.keys.next(self.plan.joining.as_ref(), &record);
            match &self.way {
                Way::Queued(queue) => {
                    let (items, bytes) = (record.items.into(), record.body.len());
                    queue.append(record).await.map_err(|error| self.not_queued(&error, items, bytes))?;
                }
                Way::Direct(closing) => self.send(record, closing).await?,
            }
        }
        Ok(())
    }

    /// The requests of a batch that make a record: all of them, unless that is more than a request may have.
    fn groups<S: Schematic>(&self, batch: &Otlp<S>) -> Vec<Vec<OtlpRequest<S>>> {
        let filled = batch.requests.iter().filter(|request| request.items() > 0).cloned();
        let Some(most) = self.plan.joining.and_then(|joining| joining.most_items) else {
            return vec![filled.collect()];
        };
        let mut groups: Vec<Vec<OtlpRequest<S>>> = vec![Vec::new()];
        let mut room = most;
        for request in filled {
            let parts = match request.items() <= most {
                true => vec![request],
                false => cut(request, most),
            };
            for part in parts {
                if part.items() > room {
                    groups.push(Vec::new());
                    room = most;
                }
                room -= part.items().min(room);
                groups.last_mut().expect("one at least").push(part);
            }
        }
        groups.retain(|group| !group.is_empty());
        groups
    }

    /// What it means that a record was not accepted.
    fn not_queued(&self, error: &AppendError, items: u64, bytes: usize) -> Rejected {
        match error {
            AppendError::TooLarge { .. } => {
                self.metrics.enqueue_failed(self.plan.kind, items);
                tracing::warn!(%error, bytes, "a request is larger than the queue");
                Rejected::Permanent(error.to_string())
            }
            // The next attempt finds the queue that takes the place of this one.
            AppendError::Closed => Rejected::Retryable("the exporter is being replaced".into()),
            AppendError::Full | AppendError::Io(_) => {
                self.metrics.enqueue_failed(self.plan.kind, items);
                Rejected::Retryable(format!("sending queue of {}: {error}", self.plan.kind.name()))
            }
        }
    }

    /// Sends a record while its sender waits, as often as `retry_on_failure` says.
    async fn send(&self, record: Record, closing: &CancellationToken) -> Result<(), Rejected> {
        let items = u64::from(record.items);
        let records = [record];
        let began = Instant::now();
        for attempt in 1.. {
            let outcome = tokio::select! {
                outcome = self.courier.send(&records, attempt) => outcome,
                () = closing.cancelled() => return Err(Rejected::Retryable("the exporter is being replaced".into())),
            };
            let (reason, message, after) = match outcome {
                Outcome::Delivered => return Ok(()),
                Outcome::Drop { reason, message } | Outcome::Split { reason, message } => {
                    self.metrics.failed(self.plan.kind, reason, items);
                    // Refused by the back end, or by time: only the former says that it will never be taken.
                    return Err(match reason {
                        "refused" | "damaged" => Rejected::Permanent(message),
                        _ => Rejected::Retryable(message),
                    });
                }
                Outcome::Retry { reason, message, after, .. } => (reason, message, after),
            };
            let wait = self.plan.config.growth.wait(self.plan.config.backoff, attempt, fastrand::f64());
            let wait = wait.max(after.unwrap_or_default());
            let over = self.plan.give_up_after.is_some_and(|limit| began.elapsed() + wait > limit);
            if !self.plan.retries || over {
                self.metrics.failed(self.plan.kind, reason, items);
                return Err(Rejected::Retryable(message));
            }
            tokio::select! {
                () = sleep(wait) => {}
                () = closing.cancelled() => return Err(Rejected::Retryable(message)),
            }
        }
        Ok(())
    }
}

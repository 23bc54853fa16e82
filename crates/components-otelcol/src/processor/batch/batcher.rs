//! Gathers what several senders have into batches, and hands each batch on in a task of its own.
//!
//! Data path: a sender gets room for its bytes, puts its requests into the gathering of its metadata, and
//! waits for the answer. A gathering goes out when it has enough items, when it holds too many bytes, when
//! its oldest data has waited for `timeout`, or when a sender finds no room. Requests are put one after the
//! other, which for OTLP is their union; only those that cross `send_batch_max_size` are cut.
//! Invariants: bytes held, under way included, never exceed [`HELD_BYTES`] (one larger request goes alone);
//! every sender is answered with what became of its own data.

use std::sync::Arc;
use std::time::Duration;

use component::{BoxFuture, BuildCx, Consumer, Fanout, Rejected, Signal, Spawner};
use hashbrown::HashMap;
use parking_lot::Mutex;
use signal::otlp::{ClientMetadata, Otlp, OtlpBatch, OtlpRequest, OtlpSignal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use wire::otlp::Schematic;

use super::Args;
use super::metrics::Counters;
use super::ticket::Claim;

/// Serialised bytes that a batcher of one signal may hold, waiting or under way.
pub(super) const HELD_BYTES: usize = 64 << 20;

/// A gathering of so many bytes goes out whatever the number of its items.
pub(super) const BATCH_BYTES: usize = 16 << 20;

/// Room is counted in these.
const UNIT: usize = 1 << 10;

/// The batcher of one signal for one set of arguments.
pub(super) struct Batcher<S: OtlpSignal>(Arc<Shared<S>>);

struct Shared<S: OtlpSignal> {
    limits: Limits,
    room: Arc<Semaphore>,
    gatherings: Mutex<HashMap<Key, Gathering<S>>>,
    next: Fanout<Otlp<S>>,
    counters: Arc<Counters>,
    spawner: Spawner,
    cx: BuildCx,
}

/// The arguments as numbers to compare with.
struct Limits {
    timeout: Duration,
    size: usize,
    max_size: usize,
    keys: Vec<String>,
    cardinality: usize,
}

/// The values of each of `metadata_keys`.
type Key = Vec<Vec<String>>;

/// What waits to become a batch.
struct Gathering<S: OtlpSignal> {
    parts: Vec<Part<S>>,
    items: usize,
    bytes: usize,
    /// Sends it when its time is over.
    timer: Option<AbortHandle>,
    /// Tells it from later gatherings of the same metadata.
    number: u64,
}

struct Part<S: OtlpSignal> {
    request: OtlpRequest<S>,
    received_ms: i64,
    claim: Claim,
}

#[derive(Clone, Copy, PartialEq)]
enum Trigger {
    Size,
    Timeout,
}

impl<S: OtlpSignal> Clone for Batcher<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl Limits {
    fn new(args: &Args) -> Self {
        let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let or_all = |n: u64| if n == 0 { usize::MAX } else { number(n) };
        Self {
            timeout: args.timeout,
            // Without a time to wait for, or without a size to wait for, nothing waits.
            size: if args.timeout.is_zero() { 1 } else { number(args.send_batch_size).max(1) },
            max_size: or_all(args.send_batch_max_size),
            keys: args.metadata_keys.iter().map(|key| key.to_lowercase()).collect(),
            cardinality: or_all(args.metadata_cardinality_limit),
        }
    }

    fn key(&self, client: Option<&ClientMetadata>) -> Key {
        let values =
            |key: &String| client.map(|c| c.values(key).map(str::to_string).collect()).unwrap_or_default();
        self.keys.iter().map(values).collect()
    }

    /// What the batch of a key says of its clients.
    fn client(&self, key: &Key) -> Option<Arc<ClientMetadata>> {
        if self.keys.is_empty() {
            return None;
        }
        let headers = self
            .keys
            .iter()
            .zip(key)
            .flat_map(|(name, values)| values.iter().map(|value| (name.clone(), value.clone())));
        Some(Arc::new(ClientMetadata { headers: headers.collect(), peer: String::new() }))
    }
}

impl<S: OtlpSignal + Schematic> Batcher<S>
where
    Otlp<S>: Signal,
{
    pub(super) fn new(
        args: &Args,
        next: Fanout<Otlp<S>>,
        counters: Arc<Counters>,
        spawner: Spawner,
        cx: BuildCx,
    ) -> Self {
        Self(Arc::new(Shared {
            limits: Limits::new(args),
            room: Arc::new(Semaphore::new(HELD_BYTES / UNIT)),
            gatherings: Mutex::default(),
            next,
            counters,
            spawner,
            cx,
        }))
    }

    /// Sends everything that waits.
    pub(super) fn flush(&self) {
        let mut gatherings = self.0.gatherings.lock();
        for (key, gathering) in gatherings.drain() {
            self.0.counters.cardinality.dec();
            self.send(&key, gathering, Trigger::Timeout);
        }
    }

    async fn take(&self, batch: Otlp<S>) -> Result<(), Rejected> {
        if batch.is_empty() {
            return Ok(());
        }
        let key = self.0.limits.key(batch.client.as_deref());
        let bytes = batch.requests.iter().map(|request| request.wire().len()).sum();
        let room = self.room_for(bytes).await?;
        let answer = self.put(key, batch, bytes, room)?;
        answer.await.unwrap_or(Err(Rejected::Stopped))
    }

    async fn room_for(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Rejected> {
        let units = bytes.div_ceil(UNIT).clamp(1, HELD_BYTES / UNIT) as u32;
        if let Ok(room) = self.0.room.clone().try_acquire_many_owned(units) {
            return Ok(room);
        }
        // Whoever waits for others here is what a full batch waits for.
        self.flush();
        self.0.room.clone().acquire_many_owned(units).await.map_err(|_| Rejected::Stopped)
    }

    fn put(
        &self,
        key: Key,
        batch: Otlp<S>,
        bytes: usize,
        room: OwnedSemaphorePermit,
    ) -> Result<tokio::sync::oneshot::Receiver<Result<(), Rejected>>, Rejected> {
        let limits = &self.0.limits;
        let mut gatherings = self.0.gatherings.lock();
        if !gatherings.contains_key(&key) {
            if gatherings.len() >= limits.cardinality {
                let items = batch.items() as u64;
                self.0.counters.refused.with_label_values(&[S::NAME]).inc_by(items);
                let message = "too many combinations of metadata values are being gathered";
                return Err(Rejected::Retryable(message.to_string()));
            }
            self.0.counters.cardinality.inc();
            gatherings.insert(key.clone(), self.begin(&key));
        }
        let gathering = gatherings.get_mut(&key).expect("put above");
        let (claim, answer) = Claim::new(room);
        let OtlpBatch { requests, received_ms, .. } = batch.into_batch();
        gathering.items += requests.iter().map(OtlpRequest::items).sum::<usize>();
        gathering.bytes += bytes;
        let parts = requests.into_iter().filter(|request| request.items() > 0);
        gathering.parts.extend(parts.map(|request| Part { request, received_ms, claim: claim.share() }));
        claim.answer(Ok(()));
        if gathering.items >= limits.size || gathering.bytes >= BATCH_BYTES {
            let gathering = gatherings.remove(&key).expect("put above");
            self.0.counters.cardinality.dec();
            if let Some(rest) = self.send(&key, gathering, Trigger::Size) {
                self.0.counters.cardinality.inc();
                let mut begun = self.begin(&key);
                (begun.parts, begun.items, begun.bytes) = (rest.parts, rest.items, rest.bytes);
                gatherings.insert(key, begun);
            }
        }
        Ok(answer)
    }

    /// An empty gathering whose time runs.
    fn begin(&self, key: &Key) -> Gathering<S> {
        static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut gathering = Gathering { parts: Vec::new(), items: 0, bytes: 0, timer: None, number };
        if self.0.limits.size > 1 {
            let (batcher, key) = (self.clone(), key.clone());
            gathering.timer = Some(self.0.spawner.spawn(async move {
                tokio::time::sleep(batcher.0.limits.timeout).await;
                batcher.time_is_over(&key, number);
            }));
        }
        gathering
    }

    fn time_is_over(&self, key: &Key, number: u64) {
        let mut gatherings = self.0.gatherings.lock();
        if gatherings.get(key).is_some_and(|gathering| gathering.number == number) {
            let mut gathering = gatherings.remove(key).expect("seen just now");
            self.0.counters.cardinality.dec();
            // This runs in the timer's own task, which has more to do.
            gathering.timer = None;
            self.send(key, gathering, Trigger::Timeout);
        }
    }

    /// Sends a gathering in batches of at most the largest size. After a trigger by size, what is left of it
    /// and too small for the next comes back.
    fn send(&self, key: &Key, mut gathering: Gathering<S>, trigger: Trigger) -> Option<Gathering<S>> {
        if let Some(timer) = gathering.timer.take() {
            timer.abort();
        }
        let limits = &self.0.limits;
        let client = limits.client(key);
        let mut large = gathering.bytes >= BATCH_BYTES;
        while gathering.items > 0 {
            if trigger == Trigger::Size && gathering.items < limits.size && !large {
                return Some(gathering);
            }
            let parts = gathering.take(limits.max_size);
            large &= gathering.bytes >= BATCH_BYTES;
            let counters = &self.0.counters;
            if trigger == Trigger::Size { &counters.by_size } else { &counters.by_timeout }.inc();
            counters.items.observe(parts.iter().map(|p| p.request.items()).sum::<usize>() as f64);
            counters.bytes.observe(parts.iter().map(|p| p.request.wire().len()).sum::<usize>() as f64);
            let (batcher, client) = (self.clone(), client.clone());
            self.0.spawner.spawn(async move { batcher.deliver(parts, client).await });
        }
        None
    }

    async fn deliver(&self, parts: Vec<Part<S>>, client: Option<Arc<ClientMetadata>>) {
        let batch = join(&parts, client.clone());
        self.0.cx.live_debug(|| format!("{} {} in {} requests", batch.items(), S::ITEMS, parts.len()));
        let answer = self.0.next.send(batch).await;
        let senders = parts.chunk_by(|a, b| a.claim.is_of(&b.claim)).count();
        if !matches!(answer, Err(Rejected::Permanent(_))) || senders == 1 {
            parts.into_iter().for_each(|part| part.claim.answer(answer.clone()));
            return;
        }
        // One sender's bad data must not be the others' loss: each is tried by itself.
        let mut parts = parts.into_iter().peekable();
        while let Some(first) = parts.next() {
            let mut of_one = vec![first];
            while let Some(part) = parts.next_if(|part| part.claim.is_of(&of_one[0].claim)) {
                of_one.push(part);
            }
            let answer = self.0.next.send(join(&of_one, client.clone())).await;
            of_one.into_iter().for_each(|part| part.claim.answer(answer.clone()));
        }
    }
}

fn join<S: OtlpSignal>(parts: &[Part<S>], client: Option<Arc<ClientMetadata>>) -> Otlp<S> {
    // The oldest speaks for the batch: how long data has been here must not look shorter.
    let received_ms = parts.iter().map(|p| p.received_ms).filter(|ms| *ms > 0).min().unwrap_or_default();
    let requests = parts.iter().map(|part| part.request.clone()).collect();
    Otlp::new(OtlpBatch { requests, client, received_ms })
}

impl<S: OtlpSignal + Schematic> Gathering<S> {
    /// Takes the oldest parts, at most `max` items; a request that crosses the limit is cut.
    fn take(&mut self, max: usize) -> Vec<Part<S>> {
        if self.items <= max {
            (self.items, self.bytes) = (0, 0);
            return std::mem::take(&mut self.parts);
        }
        let (mut taken, mut items) = (0, 0);
        while let Some(more) = self.parts.get(taken).map(|part| part.request.items())
            && items + more <= max
        {
            items += more;
            taken += 1;
        }
        if taken == self.parts.len() {
            (self.items, self.bytes) = (0, 0);
            return std::mem::take(&mut self.parts);
        }
        if items < max && self.cut(taken, max - items, max) {
            taken += 1;
        }
        // A request that cannot be cut goes as it is rather than not at all.
        let rest = self.parts.split_off(taken.max(1));
        let parts = std::mem::replace(&mut self.parts, rest);
        self.items = self.parts.iter().map(|part| part.request.items()).sum();
        self.bytes = self.parts.iter().map(|part| part.request.wire().len()).sum();
        parts
    }

    /// Puts pieces of the part at `at` in its place, the first with `first` items, the others with `most`.
    fn cut(&mut self, at: usize, first: usize, most: usize) -> bool {
        let limit = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let part = &self.parts[at];
        let pieces = match wire::otlp::split::<S>(part.request.wire(), limit(first), limit(most)) {
            Ok(pieces) if pieces.first().is_some_and(|piece| piece.items as usize == first) => pieces,
            _ => return false,
        };
        let requests = pieces
            .into_iter()
            .map(|piece| OtlpRequest::from_wire(piece.bytes.into(), piece.items, None))
            .map(|request| Part { request, received_ms: part.received_ms, claim: part.claim.share() })
            .collect::<Vec<_>>();
        let old = self.parts.splice(at..=at, requests);
        // Its pieces answer for it.
        old.for_each(|part| part.claim.answer(Ok(())));
        true
    }
}

impl<S: OtlpSignal + Schematic> Consumer<Otlp<S>> for Batcher<S>
where
    Otlp<S>: Signal,
{
    fn consume(&self, batch: Otlp<S>) -> BoxFuture<'_, Result<(), Rejected>> {
        Box::pin(self.take(batch))
    }
}

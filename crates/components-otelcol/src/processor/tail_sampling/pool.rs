//! Traces that wait for their decision, decisions that have been made, and sampled traces on their way out.
//!
//! Data path: a sender's requests are taken apart by trace ID; each part is appended to its trace, whose bytes
//! are one request. When a trace's time has come the policies look at those bytes; a sampled trace goes to the
//! outbox, from which `worker` sends. Spans of traces that have been decided about follow the decision at once:
//! sampled ones go on in their sender's task.
//! Invariants: bytes held, outbox included, never exceed [`HELD_BYTES`] (one larger batch goes alone), traces
//! waiting never exceed `num_traces`; a batch is taken whole or not at all; the lock is never held across an await.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use component::{Fanout, Rejected};
use hashbrown::{HashMap, HashSet};
use parking_lot::{Mutex, MutexGuard};
use signal::otlp::{Otlp, OtlpBatch, OtlpRequest, Traces, TracesSignal};
use tokio::sync::Notify;
use tokio::time::Instant;
use wire::otlp::view::Unclear;
use wire::otlp::{Piece, partition};

use super::metrics::Counters;
use super::policy::{Decision, Policies, Said};
use super::trace::{Trace, identify};
use super::{Args, TraceId};
use crate::processor::lru::Lru;

/// Serialised bytes of waiting and outgoing traces together.
pub(super) const HELD_BYTES: usize = 1 << 30;

/// Traces decided about under one lock.
const AT_ONCE: usize = 64;

/// A batch of sampled traces has at most so many bytes, or one trace.
const BATCH_BYTES: usize = 4 << 20;

/// Numbers of the arguments.
#[derive(Clone, Copy, Debug)]
struct Limits {
    wait: Duration,
    after_root: Option<Duration>,
    traces: usize,
    trace_bytes: usize,
    block: bool,
    drop_on_stop: bool,
}

impl Limits {
    fn new(args: &Args) -> Self {
        let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let root = args.decision_wait_after_root_received;
        Self {
            wait: args.decision_wait,
            after_root: (!root.is_zero()).then_some(root),
            traces: number(args.num_traces),
            trace_bytes: match args.maximum_trace_size_bytes {
                0 => usize::MAX,
                most => number(most),
            },
            block: args.block_on_overflow,
            drop_on_stop: args.drop_pending_traces_on_shutdown,
        }
    }
}

/// A trace that waits.
struct Waiting {
    arrived: Instant,
    due: Instant,
    /// A serialised request.
    bytes: Vec<u8>,
    spans: u32,
}

/// A sampled trace on its way out.
struct Ready {
    bytes: Vec<u8>,
    spans: u32,
}

/// A decision that has been made.
#[derive(Clone, Copy)]
struct Decided {
    sampled: bool,
    at: Instant,
}

/// Decisions that are remembered.
struct Memory {
    sampled: Option<Lru<TraceId, Decided>>,
    not_sampled: Option<Lru<TraceId, Decided>>,
    /// Where no cache is asked for: as long as waiting traces leave room.
    others: Lru<TraceId, Decided>,
}

impl Memory {
    fn new(args: &Args) -> Self {
        let cache = |size: u32| (size > 0).then(|| Lru::new(size as usize));
        Self {
            sampled: cache(args.decision_cache.sampled_cache_size),
            not_sampled: cache(args.decision_cache.non_sampled_cache_size),
            others: Lru::new(usize::try_from(args.num_traces).unwrap_or(usize::MAX)),
        }
    }

    /// The decision, and whether it comes from one of the caches.
    fn get(&mut self, id: &TraceId) -> Option<(Decided, bool)> {
        for cache in [&mut self.sampled, &mut self.not_sampled].into_iter().flatten() {
            if let Some(decided) = cache.get(id) {
                return Some((*decided, true));
            }
        }
        self.others.get(id).map(|decided| (*decided, false))
    }

    fn put(&mut self, id: TraceId, decided: Decided) {
        let cache = if decided.sampled { &mut self.sampled } else { &mut self.not_sampled };
        cache.as_mut().unwrap_or(&mut self.others).insert(id, decided);
    }

    /// Takes over what an older generation remembers.
    fn adopt(&mut self, mut old: Self, args: &Args) {
        let adopt = |new: &mut Option<Lru<_, _>>, old: Option<Lru<_, _>>, size: u32| {
            if let (Some(new), Some(mut old)) = (new, old) {
                old.resize(size as usize);
                *new = old;
            }
        };
        adopt(&mut self.sampled, old.sampled.take(), args.decision_cache.sampled_cache_size);
        adopt(&mut self.not_sampled, old.not_sampled.take(), args.decision_cache.non_sampled_cache_size);
        old.others.resize(usize::try_from(args.num_traces).unwrap_or(usize::MAX));
        self.others = old.others;
    }
}

struct State {
    policies: Policies,
    limits: Limits,
    next: Fanout<Traces>,
    waiting: HashMap<TraceId, Waiting, foldhash::fast::RandomState>,
    due: BTreeSet<(Instant, TraceId)>,
    memory: Memory,
    outbox: VecDeque<Ready>,
    /// Bytes of `waiting`, of `outbox` and of what is being sent.
    held: usize,
    stopped: bool,
    said: Vec<Said>,
}

/// What all parts of the component share.
pub(super) struct Pool {
    state: Mutex<State>,
    counters: Counters,
    /// Something for the worker to do.
    work: Notify,
    /// Room has become free.
    space: Notify,
}

/// The part of a batch that belongs to one trace.
struct Part {
    id: TraceId,
    piece: Piece,
    root: bool,
}

/// What the worker does next.
pub(super) enum Step {
    /// Send this; so many bytes are free after that.
    Send { batch: Traces, bytes: usize },
    /// More decisions are due.
    Again,
    /// Nothing until then.
    Wait(Option<Instant>),
    /// Nothing ever.
    End,
}

impl Pool {
    pub(super) fn new(args: &Args, policies: Policies, next: Fanout<Traces>, counters: Counters) -> Self {
        let limits = Limits::new(args);
        let expected = (args.expected_new_traces_per_sec as f64 * limits.wait.as_secs_f64()) as usize;
        let room = expected.min(limits.traces).min(1 << 20);
        Self {
            state: Mutex::new(State {
                policies,
                limits,
                next,
                waiting: HashMap::with_capacity_and_hasher(room, Default::default()),
                due: BTreeSet::new(),
                memory: Memory::new(args),
                outbox: VecDeque::new(),
                held: 0,
                stopped: false,
                said: Vec::new(),
            }),
            counters,
            work: Notify::new(),
            space: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// New arguments. What waits goes on waiting until its time, and is decided about by the new policies.
    pub(super) fn configure(&self, args: &Args, policies: Policies, next: Fanout<Traces>) {
        let mut state = self.state();
        (state.policies, state.limits, state.next) = (policies, Limits::new(args), next);
        let old = std::mem::replace(&mut state.memory, Memory::new(args));
        state.memory.adopt(old, args);
        drop(state);
        self.space.notify_waiters();
        self.work.notify_one();
    }

    /// Refuses from now on; the worker decides about what waits and ends when all is sent.
    pub(super) fn stop(&self) {
        let mut state = self.state();
        state.stopped = true;
        if state.limits.drop_on_stop {
            let spans: u64 = state.waiting.values().map(|trace| u64::from(trace.spans)).sum();
            self.counters.dropped.with_label_values(&["shutdown"]).inc_by(spans);
            let bytes: usize = state.waiting.values().map(|trace| trace.bytes.len()).sum();
            state.waiting.clear();
            state.due.clear();
            state.held -= bytes;
        }
        drop(state);
        self.space.notify_waiters();
        self.work.notify_one();
    }

    /// Takes a batch.
    pub(super) async fn take(&self, batch: Traces) -> Result<(), Rejected> {
        let mut parts = Vec::new();
        for request in &batch.requests {
            let mut roots = HashSet::new();
            let key = |span: &[u8]| {
                let (id, root) = identify(span)?;
                if root {
                    roots.insert(id);
                }
                Ok::<_, wire::proto::Error>(id)
            };
            let found = partition::<TracesSignal, _, _>(request.wire(), key)
                .map_err(|error| Rejected::Permanent(format!("not an OTLP traces request: {error}")))?;
            parts.extend(found.into_iter().map(|(id, piece)| Part { root: roots.contains(&id), id, piece }));
        }
        let late = self.late(&mut parts);
        if let Some((late, next)) = late {
            next.send(late).await?;
        }
        loop {
            let space = self.space.notified();
            tokio::pin!(space);
            // Registered before looking, so that no notice is missed.
            space.as_mut().enable();
            {
                let mut state = self.state();
                if state.stopped {
                    return Err(Rejected::Stopped);
                }
                if state.has_room(&parts, &self.counters) {
                    state.insert(parts, &self.counters);
                    break;
                }
            }
            self.work.notify_one();
            space.await;
        }
        self.work.notify_one();
        Ok(())
    }

    /// Takes parts of traces out that have been decided about: dropped, or to be sent at once.
    fn late(&self, parts: &mut Vec<Part>) -> Option<(Traces, Fanout<Traces>)> {
        let mut state = self.state();
        let now = Instant::now();
        let mut late = OtlpBatch::<TracesSignal>::default();
        parts.retain_mut(|part| {
            let Some((decided, cached)) = state.memory.get(&part.id) else { return true };
            if state.waiting.contains_key(&part.id) {
                return true;
            }
            if cached {
                let sampled = if decided.sampled { "true" } else { "false" };
                let spans = u64::from(part.piece.items);
                self.counters.from_cache.with_label_values(&[sampled]).inc_by(spans);
            } else {
                let age = now.saturating_duration_since(decided.at);
                self.counters.late_age.observe(age.as_secs() as f64);
            }
            if decided.sampled {
                let bytes = std::mem::take(&mut part.piece.bytes);
                late.requests.push(OtlpRequest::from_wire(bytes.into(), part.piece.items, None));
            }
            false
        });
        (!late.requests.is_empty()).then(|| (Otlp::new(late), state.next.clone()))
    }

    /// Decides about some of what is due, and says what the worker has to do.
    pub(super) fn step(&self) -> Step {
        let mut state = self.state();
        let now = Instant::now();
        let start = std::time::Instant::now();
        let mut decisions = 0;
        while let Some((due, id)) = state.due.first().copied()
            && (due <= now || state.stopped)
            && decisions < AT_ONCE
        {
            state.decide(id, now, &self.counters);
            decisions += 1;
        }
        if decisions > 0 {
            self.counters.timer.observe(start.elapsed().as_secs_f64() * 1000.0);
        }
        self.counters.in_memory.set(i64::try_from(state.waiting.len()).unwrap_or(i64::MAX));
        let step = match state.pack() {
            Some((batch, bytes)) => Step::Send { batch, bytes },
            None if decisions == AT_ONCE => Step::Again,
            None if state.stopped && state.waiting.is_empty() => Step::End,
            None => Step::Wait(state.due.first().map(|(due, _)| *due)),
        };
        drop(state);
        if decisions > 0 {
            self.space.notify_waiters();
        }
        step
    }

    /// Where sampled traces go, and whether the component has been told to stop.
    pub(super) fn next(&self) -> (Fanout<Traces>, bool) {
        let state = self.state();
        (state.next.clone(), state.stopped)
    }

    /// What was being sent is gone.
    pub(super) fn sent(&self, bytes: usize) {
        self.state().held -= bytes;
        self.space.notify_waiters();
    }

    /// Something for the worker to do.
    pub(super) async fn has_work(&self) {
        self.work.notified().await;
    }

    /// Whether the worker has to look before `due`: it is to end, something is to be sent, or a decision is due
    /// sooner.
    pub(super) fn is_urgent(&self, due: Instant) -> bool {
        let state = self.state();
        state.stopped || !state.outbox.is_empty() || state.due.first().is_none_or(|(first, _)| *first < due)
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl State {
    /// Whether the parts can be taken; traces are decided about before their time to make room, unless the
    /// senders are to wait, or what was sampled does not get out either.
    fn has_room(&mut self, parts: &[Part], counters: &Counters) -> bool {
        let bytes: usize = parts.iter().map(|part| part.piece.bytes.len()).sum();
        let ids: HashSet<TraceId> = parts.iter().map(|part| part.id).collect();
        let mut new = ids.iter().filter(|id| !self.waiting.contains_key(*id)).count();
        loop {
            let empty = self.waiting.is_empty() && self.outbox.is_empty() && self.held == 0;
            let bytes_fit = self.held + bytes <= HELD_BYTES;
            let traces_fit = self.waiting.len() + new <= self.limits.traces || self.waiting.is_empty();
            if empty || (bytes_fit && traces_fit) {
                return true;
            }
            let stalled = self.outbox.len() >= self.limits.traces;
            if self.limits.block || stalled || self.waiting.is_empty() {
                return false;
            }
            if let Some((_, id)) = self.due.first().copied() {
                counters.too_early.inc();
                self.decide(id, Instant::now(), counters);
                new += usize::from(ids.contains(&id));
            }
        }
    }

    fn insert(&mut self, parts: Vec<Part>, counters: &Counters) {
        let now = Instant::now();
        for Part { id, piece, root } in parts {
            // Between the look for late spans and now.
            if !self.waiting.contains_key(&id)
                && let Some((decided, _)) = self.memory.get(&id)
            {
                if decided.sampled {
                    self.held += piece.bytes.len();
                    self.outbox.push_back(Ready { bytes: piece.bytes, spans: piece.items });
                }
                continue;
            }
            self.held += piece.bytes.len();
            let due = now + self.limits.wait;
            let trace = self.waiting.entry(id).or_insert_with(|| {
                counters.new_traces.inc();
                self.due.insert((due, id));
                Waiting { arrived: now, due, bytes: Vec::new(), spans: 0 }
            });
            trace.bytes.extend_from_slice(&piece.bytes);
            trace.spans = trace.spans.saturating_add(piece.items);
            if let Some(after) = self.limits.after_root.filter(|_| root)
                && now + after < trace.due
            {
                self.due.remove(&(trace.due, id));
                trace.due = now + after;
                self.due.insert((trace.due, id));
            }
            if trace.bytes.len() > self.limits.trace_bytes {
                counters.too_large.inc();
                self.forget(&id, now, counters);
                self.memory.put(id, Decided { sampled: false, at: now });
            }
        }
        self.memory.others.trim(self.limits.traces.saturating_sub(self.waiting.len()));
    }

    /// Takes a trace out.
    fn forget(&mut self, id: &TraceId, now: Instant, counters: &Counters) -> Option<Waiting> {
        let trace = self.waiting.remove(id)?;
        self.due.remove(&(trace.due, *id));
        self.held -= trace.bytes.len();
        counters.removal_age.observe(now.saturating_duration_since(trace.arrived).as_secs() as f64);
        Some(trace)
    }

    fn decide(&mut self, id: TraceId, now: Instant, counters: &Counters) {
        let Some(mut trace) = self.forget(&id, now, counters) else { return };
        let mut said = std::mem::take(&mut self.said);
        let mut decide = |bytes: &[u8]| {
            let trace = Trace::new(&id, bytes, u64::from(trace.spans));
            self.policies.decide(&trace, now, &mut said)
        };
        let mut decision = decide(&trace.bytes);
        if decision == Err(Unclear::Repeated) {
            // Once more as an encoder writes it.
            let request =
                OtlpRequest::<TracesSignal>::from_wire(trace.bytes.clone().into(), trace.spans, None);
            if let Ok(message) = request.into_message() {
                let usual = OtlpRequest::<TracesSignal>::from_message(message);
                decision = decide(usual.wire());
                trace.bytes = usual.wire().to_vec();
            }
        }
        let decision = decision.unwrap_or(Decision::NotSampled);
        counters.decided(&self.policies, &said, decision);
        self.said = said;
        let sampled = decision.samples();
        self.memory.put(id, Decided { sampled, at: now });
        if sampled {
            self.held += trace.bytes.len();
            self.outbox.push_back(Ready { bytes: trace.bytes, spans: trace.spans });
        }
    }

    /// The next batch of sampled traces; its bytes stay held until they are [`Pool::sent`].
    fn pack(&mut self) -> Option<(Traces, usize)> {
        let mut batch = OtlpBatch::<TracesSignal>::default();
        let mut bytes = 0;
        while let Some(ready) = self.outbox.front()
            && (bytes == 0 || bytes + ready.bytes.len() <= BATCH_BYTES)
        {
            let Some(ready) = self.outbox.pop_front() else { break };
            bytes += ready.bytes.len();
            batch.requests.push(OtlpRequest::from_wire(ready.bytes.into(), ready.spans, None));
        }
        (!batch.requests.is_empty()).then(|| (Otlp::new(batch), bytes))
    }
}

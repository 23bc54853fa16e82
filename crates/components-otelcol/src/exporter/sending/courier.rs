//! One attempt at the back end: requests of one record, or of several that share it, and what the answer means.
//!
//! Invariants: data is given up only where the back end refuses it or `retry_on_failure` says so, and is counted
//! then; a request that is compressed as we would do it goes out as it came in.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use delivery::{Amount, BoxFuture, Handover, Outcome, Record, Transport};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::carrier::{Carrier, Verdict};
use super::metrics::Metrics;
use super::record::{Headers, Part, open};
use crate::signals::Kind;

/// Between log lines about items that the back end has refused.
const LOG_EVERY: Duration = Duration::from_secs(60);
/// Attempts that are remembered; there are as many as senders.
const MOST_REMEMBERED: usize = 8192;

/// What outlives a change of the transport.
#[derive(Default)]
pub(super) struct Kept {
    told_at: Mutex<Option<Instant>>,
    attempts: Mutex<HashMap<Identity, Progress>>,
    pub handover: Handover,
}

/// Tells records apart that are in attempts at the same time.
type Identity = (u64, i64);

/// What is known of records that have failed before.
#[derive(Clone)]
struct Progress {
    began: Instant,
    /// Requests that are tried one by one, and are done with.
    done: Vec<bool>,
    /// What is left of all of them, where a part has gone on already.
    rest: Option<Part>,
}

/// Makes attempts with requests of one signal.
pub(super) struct Courier {
    pub kind: Kind,
    pub carrier: Arc<dyn Carrier>,
    pub give_up_after: Option<Duration>,
    pub metrics: Arc<Metrics>,
    pub kept: Arc<Kept>,
}

impl Transport for Courier {
    fn send<'a>(&'a self, records: &'a [Record], _attempt: u32) -> BoxFuture<'a, Outcome> {
        Box::pin(self.kept.handover.or(records, self.attempt(records)))
    }

    fn dropped(&self, reason: &'static str, _group: u64, amount: Amount) {
        self.metrics.failed(self.kind, reason, amount.items);
    }
}

impl Courier {
    async fn attempt(&self, records: &[Record]) -> Outcome {
        let identity = (records[0].key, records[0].created_ms);
        let known = self.kept.attempts.lock().get(&identity).cloned();
        let mut progress =
            known.unwrap_or_else(|| Progress { began: Instant::now(), done: Vec::new(), rest: None });
        let outcome = self.deliver(records, identity, &mut progress).await;
        if let Outcome::Retry { reason, message, .. } = &outcome {
            if self.give_up_after.is_none_or(|limit| progress.began.elapsed() < limit) {
                self.remember(identity, &progress);
                return outcome;
            }
            self.kept.attempts.lock().remove(&identity);
            return self.give_up(records, &progress, reason, message);
        }
        self.kept.attempts.lock().remove(&identity);
        outcome
    }

    fn remember(&self, identity: Identity, progress: &Progress) {
        let mut attempts = self.kept.attempts.lock();
        if attempts.len() >= MOST_REMEMBERED {
            // Of records that the queue has dropped meanwhile. What is forgotten is tried for longer.
            attempts.clear();
        }
        attempts.insert(identity, progress.clone());
    }

    /// The time for repeating is over. Of requests that were tried one by one some may have been taken.
    fn give_up(
        &self,
        records: &[Record],
        progress: &Progress,
        reason: &'static str,
        message: &str,
    ) -> Outcome {
        let message = format!("given up after max_elapsed_time: {message}");
        if let Some(rest) = &progress.rest {
            self.refused(rest.items, reason, &message);
            return Outcome::Delivered;
        }
        if progress.done.contains(&true)
            && let Ok(opened) = open(&records[0])
        {
            let left = opened.parts.iter().zip(&progress.done).filter(|(_, done)| !**done);
            self.refused(left.map(|(part, _)| part.items).sum(), reason, &message);
            return Outcome::Delivered;
        }
        Outcome::Drop { reason, message }
    }

    async fn deliver(&self, records: &[Record], identity: Identity, progress: &mut Progress) -> Outcome {
        let damaged = |message| Outcome::Split { reason: "damaged", message };
        let first = match open(&records[0]) {
            Ok(opened) => opened,
            Err(message) => return damaged(message),
        };
        let headers = first.headers.clone();
        if let Some(rest) = progress.rest.clone() {
            let verdict = self.carrier.carry(&headers, rest.bytes).await;
            return self.settle(verdict, rest.items, false, progress);
        }
        let writing = self.carrier.writing();
        let passes = |word| writing.takes(word, &first.parts[0].bytes);
        if records.len() == 1 && first.packed.is_some_and(passes) {
            let part = first.parts[0].clone();
            let verdict = self.carrier.carry(&headers, part.bytes.clone()).await;
            return self.settle(verdict, part.items, false, progress);
        }
        let parts: Result<Vec<_>, String> =
            records.iter().map(|record| open(record).and_then(super::record::Opened::unpack)).collect();
        let parts: Vec<Part> = match parts {
            Ok(parts) => parts.into_iter().flatten().collect(),
            Err(message) => return damaged(message),
        };
        if !progress.done.is_empty() {
            return self.one_by_one(&headers, &parts, identity, progress).await;
        }
        let verdict = match writing.body(self.kind, &parts) {
            Ok(body) => self.carrier.carry(&headers, body).await,
            Err(message) => return damaged(message),
        };
        if matches!(verdict, Verdict::Refused { in_parts: true, .. }) && records.len() == 1 && parts.len() > 1
        {
            progress.done = vec![false; parts.len()];
            return self.one_by_one(&headers, &parts, identity, progress).await;
        }
        let items = parts.iter().map(|part| part.items).sum();
        self.settle(verdict, items, records.len() > 1, progress)
    }

    /// The back end has refused requests that were joined, and one of them may be to blame.
    async fn one_by_one(
        &self,
        headers: &Headers,
        parts: &[Part],
        identity: Identity,
        progress: &mut Progress,
    ) -> Outcome {
        for (at, part) in parts.iter().enumerate() {
            if progress.done.get(at).is_some_and(|done| *done) {
                continue;
            }
            let verdict = match self.carrier.writing().body(self.kind, std::slice::from_ref(part)) {
                Ok(body) => self.carrier.carry(headers, body).await,
                Err(message) => Verdict::Refused { message, in_parts: false },
            };
            match self.settle(verdict, part.items, false, progress) {
                Outcome::Delivered => {}
                Outcome::Drop { reason, message } | Outcome::Split { reason, message } => {
                    self.refused(part.items, reason, &message);
                }
                retry @ Outcome::Retry { .. } => return retry,
            }
            progress.done[at] = true;
            // Kept even if this attempt is abandoned: what was taken is not sent again.
            self.remember(identity, progress);
        }
        Outcome::Delivered
    }

    /// Counts what was taken; `several`: records share the request.
    fn settle(&self, verdict: Verdict, items: u64, several: bool, progress: &mut Progress) -> Outcome {
        match verdict {
            Verdict::Passed => Outcome::Delivered,
            Verdict::Rest { rest, items: left, reason, message } => {
                // Nothing has gone on: whatever joins them next time may be another.
                progress.rest = (left > 0).then_some(Part { items: left, bytes: rest });
                Outcome::Retry { reason, message, after: None, limited: false }
            }
            Verdict::Taken { rejected, message } => {
                let rejected = rejected.min(items);
                self.metrics.sent(self.kind, items - rejected);
                if rejected > 0 || !message.is_empty() {
                    self.refused(rejected, "partial_success", &message);
                }
                Outcome::Delivered
            }
            Verdict::Later { reason, message, after, limited } => {
                Outcome::Retry { reason, message, after, limited }
            }
            Verdict::Refused { message, in_parts } if in_parts && several => {
                Outcome::Split { reason: "refused", message }
            }
            Verdict::Refused { message, .. } => Outcome::Drop { reason: "refused", message },
        }
    }

    fn refused(&self, items: u64, reason: &'static str, message: &str) {
        self.metrics.failed(self.kind, reason, items);
        let mut told_at = self.kept.told_at.lock();
        if told_at.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
            *told_at = Some(Instant::now());
            let (url, signal) = (self.carrier.shown(), self.kind.name());
            tracing::warn!(
                url,
                signal,
                items,
                reason,
                error = message,
                "the back end has said something about a part of a request"
            );
        }
    }
}

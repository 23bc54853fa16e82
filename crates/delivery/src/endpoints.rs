//! The endpoints of an owner that has several, through their lives: opened, changed, replaced, drained.
//!
//! Invariants: an endpoint that stays the same one by its key keeps its queue whatever else changes; one whose
//! queue moves to disk hands over what it holds; one whose folder cannot be opened is tried again, and what it
//! takes the place of is kept until then.

use std::time::Duration;

use tokio::time::Instant;

use crate::Stats;

/// How long the records of a queue may take into its successor: a memory's worth, onto a disk.
const HANDOVER: Duration = Duration::from_secs(60);
/// Between attempts to open a queue.
const REOPEN: Duration = Duration::from_secs(1);

/// What an endpoint is made from.
pub trait Plan: Clone + Send + Sync + 'static {
    /// Tells endpoints apart across changes.
    fn key(&self) -> &str;
    /// For log lines; carries no credentials.
    fn name(&self) -> &str;
    /// Whether the queue is kept on disk.
    fn on_disk(&self) -> bool;
}

/// A queue with everything that belongs to it.
pub trait Endpoint: Send + Sync + Sized + 'static {
    /// What it is made from.
    type Plan: Plan;
    /// What all endpoints of an owner share (metrics).
    type Shared: Clone + Send + Sync + 'static;
    /// Why a queue cannot be opened.
    type Error: std::fmt::Display + Send;

    /// What it was made from, or changed into.
    fn plan(&self) -> &Self::Plan;
    /// Opens the queue and starts its senders.
    fn open(
        plan: Self::Plan,
        shared: &Self::Shared,
    ) -> impl Future<Output = Result<Self, Self::Error>> + Send;
    /// Takes a new plan for the same endpoint. `Err` gives the plan back when the queue cannot change into it
    /// because its folder comes or goes.
    fn change(&mut self, plan: Self::Plan, shared: &Self::Shared) -> Result<(), Box<Self::Plan>>;
    /// From now on what is queued, what is in flight included, goes to another endpoint's queue.
    fn hand_over(&self, to: &Self);
    /// Sends what is queued until `deadline`, or until its own where that is later; then closes the queue.
    fn drain(&self, shared: &Self::Shared, deadline: Duration) -> impl Future<Output = ()> + Send;
}

/// An endpoint that is to be opened, and the one in memory whose queue it takes over.
struct Waiting<E: Endpoint> {
    plan: E::Plan,
    before: Option<E>,
}

/// All endpoints of an owner.
pub struct Endpoints<E: Endpoint> {
    open: Vec<E>,
    /// Those whose queue could not be opened yet.
    waiting: Vec<Waiting<E>>,
    reopen_at: Option<Instant>,
    shared: E::Shared,
}

impl<E: Endpoint> Endpoints<E> {
    /// None yet.
    pub fn new(shared: E::Shared) -> Self {
        Self { open: Vec::new(), waiting: Vec::new(), reopen_at: None, shared }
    }

    /// Those that are open.
    pub fn iter(&self) -> std::slice::Iter<'_, E> {
        self.open.iter()
    }

    /// Those that are open.
    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, E> {
        self.open.iter_mut()
    }

    /// Those that are open, and those that are kept until their successor is.
    pub fn all(&self) -> impl Iterator<Item = &E> {
        self.open.iter().chain(self.waiting.iter().filter_map(|waiting| waiting.before.as_ref()))
    }

    /// As [`Endpoints::all`], to be drained.
    pub fn into_all(self) -> Vec<E> {
        self.open.into_iter().chain(self.waiting.into_iter().filter_map(|waiting| waiting.before)).collect()
    }

    /// Takes in endpoints that are open, of an owner before this one: they become what the plans of the next
    /// [`Endpoints::change`] say.
    pub fn take_in(&mut self, endpoints: Vec<E>) {
        self.open.extend(endpoints);
    }

    /// Whether every endpoint is open: only then may data be taken in.
    pub fn are_open(&self) -> bool {
        self.waiting.is_empty()
    }

    /// When [`Endpoints::reopen`] is due.
    pub fn reopen_at(&self) -> Option<Instant> {
        self.reopen_at
    }

    /// Tries those again that could not be opened. The answer, here and below, is what could not be opened now and
    /// why; it is tried again at [`Endpoints::reopen_at`].
    pub async fn reopen(&mut self) -> Vec<String> {
        let waiting = std::mem::take(&mut self.waiting);
        self.open_all(waiting).await
    }

    async fn open_all(&mut self, waiting: Vec<Waiting<E>>) -> Vec<String> {
        let mut errors = Vec::new();
        for Waiting { plan, before } in waiting {
            match E::open(plan.clone(), &self.shared).await {
                Ok(endpoint) => {
                    if let Some(before) = before {
                        before.hand_over(&endpoint);
                        before.drain(&self.shared, HANDOVER).await;
                    }
                    self.open.push(endpoint);
                }
                Err(error) => {
                    tracing::error!(%error, endpoint = %plan.name(), "the endpoint's queue cannot be opened; trying again");
                    errors.push(error.to_string());
                    self.waiting.push(Waiting { plan, before });
                }
            }
        }
        self.reopen_at = (!self.waiting.is_empty()).then(|| Instant::now() + REOPEN);
        errors
    }

    /// New plans: endpoints that stay are changed in place, new ones opened. Those that are gone are given back
    /// for draining, once the owner has made sure that nothing more goes into them. `settle` is awaited before a
    /// queue moves: after it, nothing may be on its way into a queue.
    pub async fn change(&mut self, plans: Vec<E::Plan>, settle: impl AsyncFnOnce()) -> (Vec<E>, Vec<String>) {
        let mut old = std::mem::take(&mut self.open);
        let mut held: Vec<E> =
            std::mem::take(&mut self.waiting).into_iter().filter_map(|w| w.before).collect();
        let (mut new, mut moving) = (Vec::new(), Vec::new());
        for plan in plans {
            if let Some(at) = held.iter().position(|e| e.plan().key() == plan.key()) {
                new.push(Waiting { plan, before: Some(held.swap_remove(at)) });
                continue;
            }
            let Some(at) = old.iter().position(|e| e.plan().key() == plan.key()) else {
                new.push(Waiting { plan, before: None });
                continue;
            };
            let mut endpoint = old.swap_remove(at);
            match endpoint.change(plan, &self.shared) {
                Ok(()) => self.open.push(endpoint),
                Err(plan) => moving.push((endpoint, *plan)),
            }
        }
        if !moving.is_empty() {
            settle().await;
        }
        for (endpoint, plan) in moving {
            if plan.on_disk() {
                new.push(Waiting { plan, before: Some(endpoint) });
            } else {
                // Memory may be too small for what is on disk: that is sent, or stays for the next time.
                endpoint.drain(&self.shared, Duration::ZERO).await;
                new.push(Waiting { plan, before: None });
            }
        }
        let errors = self.open_all(new).await;
        old.append(&mut held);
        (old, errors)
    }
}

impl Stats {
    /// Why an endpoint is unwell, if it is: the last success against what was offered since. One that has taken
    /// nothing for `patience`, while something waits, or that refuses what it is given, is. So is one whose disk
    /// takes nothing.
    pub fn trouble(&self, patience: Duration) -> Option<String> {
        if let Some(error) = &self.disk_refuses {
            return Some(format!("{} ({})", error.text, error.reason));
        }
        let error = self.last_error.as_ref()?;
        if self.last_success_ms.is_some_and(|ms| ms >= error.at_ms) {
            return None;
        }
        let waits = self.oldest_age.is_some_and(|age| age > patience) || self.waiting_appends > 0;
        // Nothing waits where everything is refused.
        let refused = self.dropped.contains_key(error.reason);
        (waits || refused).then(|| format!("{} ({})", error.text, error.reason))
    }

    /// The figures of interest to people, by name.
    pub fn figures(&self) -> [(&'static str, u64); 7] {
        [
            ("queued_items", self.queued.items),
            ("queued_bytes", self.queued.bytes),
            ("disk_bytes", self.disk_bytes),
            ("sent_items", self.sent.items),
            ("retried_items", self.retried.items),
            ("dropped_items", self.dropped_total().items),
            ("senders", self.senders as u64),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Amount, LastError};

    #[test]
    fn only_trouble_after_the_last_success_counts() {
        let error = |reason| Some(LastError { at_ms: 100, reason, text: "it failed".into() });
        let dropped = [("http_400", Amount { records: 1, items: 1, bytes: 1 })];
        let waits = |seconds| Some(Duration::from_secs(seconds));
        let cases = [
            (Stats::default(), false),
            (Stats { last_error: error("connect"), oldest_age: waits(61), ..Stats::default() }, true),
            (Stats { last_error: error("connect"), oldest_age: waits(59), ..Stats::default() }, false),
            (Stats { last_error: error("connect"), waiting_appends: 1, ..Stats::default() }, true),
            (
                Stats {
                    last_error: error("connect"),
                    disk_refuses: error("disk"),
                    last_success_ms: Some(101),
                    ..Stats::default()
                },
                true,
            ),
            (Stats { last_error: error("http_400"), dropped: dropped.into(), ..Stats::default() }, true),
            (Stats { last_error: error("connect"), dropped: dropped.into(), ..Stats::default() }, false),
            (
                Stats {
                    last_error: error("connect"),
                    oldest_age: waits(61),
                    last_success_ms: Some(101),
                    ..Stats::default()
                },
                false,
            ),
            (
                Stats {
                    last_error: error("connect"),
                    oldest_age: waits(61),
                    last_success_ms: Some(99),
                    ..Stats::default()
                },
                true,
            ),
        ];
        for (stats, unwell) in cases {
            assert_eq!(stats.trouble(Duration::from_secs(60)).is_some(), unwell, "{stats:?}");
        }
    }
}

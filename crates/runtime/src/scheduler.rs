//! The queue of nodes whose inputs have changed, and the workers that evaluate them.
//!
//! Invariants: a node waits at most once and is never evaluated twice at the same time; the queue cannot
//! hold more than there are nodes.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use syntax::Diagnostic;
use tokio::sync::Notify;

use crate::node::GraphNode;
use crate::shared::Shared;

/// Nodes that wait for evaluation.
#[derive(Default)]
pub(crate) struct Scheduler {
    queue: Mutex<Queue>,
    work: Notify,
    idle: Notify,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<(Arc<GraphNode>, Since)>,
    waiting_serials: HashSet<u64>,
    running: HashSet<u64>,
}

/// Real time: how long nodes wait is shown, nothing depends on it.
type Since = std::time::Instant;

impl Scheduler {
    /// Has a node evaluated; nothing happens if it waits already.
    pub(crate) fn enqueue(&self, node: Arc<GraphNode>) {
        let mut queue = self.queue.lock();
        if queue.waiting_serials.insert(node.serial) {
            queue.waiting.push_back((node, Since::now()));
            drop(queue);
            self.work.notify_one();
        }
    }

    /// How many nodes wait.
    pub(crate) fn len(&self) -> usize {
        self.queue.lock().waiting.len()
    }

    /// Returns when nothing waits and nothing is being evaluated.
    pub(crate) async fn settled(&self) {
        loop {
            let idle = self.idle.notified();
            tokio::pin!(idle);
            idle.as_mut().enable();
            {
                let queue = self.queue.lock();
                if queue.waiting.is_empty() && queue.running.is_empty() {
                    return;
                }
            }
            idle.await;
        }
    }

    /// The next node that is not being evaluated, and since when it waits.
    fn take(&self) -> Option<(Arc<GraphNode>, Duration)> {
        let mut queue = self.queue.lock();
        let position = queue.waiting.iter().position(|(n, _)| !queue.running.contains(&n.serial))?;
        let (node, since) = queue.waiting.remove(position)?;
        queue.waiting_serials.remove(&node.serial);
        queue.running.insert(node.serial);
        Some((node, since.elapsed()))
    }

    fn done(&self, node: &GraphNode) {
        let mut queue = self.queue.lock();
        queue.running.remove(&node.serial);
        let (more, idle) = (!queue.waiting.is_empty(), queue.waiting.is_empty() && queue.running.is_empty());
        drop(queue);
        if more {
            self.work.notify_one();
        }
        if idle {
            self.idle.notify_waiters();
        }
    }
}

/// Evaluations at a time. More than there are processors: one may have to wait for a component that is slow
/// to take its arguments, or for the end of an instance with the same ID, and must not hold up the rest.
const WORKERS: usize = 16;

/// Starts the workers; they end with the runtime.
pub(crate) fn spawn_workers(shared: &Arc<Shared>) {
    for _ in 0..WORKERS {
        let (shared, stop) = (shared.clone(), shared.stop.clone());
        tokio::spawn(async move { stop.run_until_cancelled(work(&shared)).await });
    }
}

async fn work(shared: &Shared) {
    loop {
        let Some((node, waited)) = shared.scheduler.take() else {
            shared.scheduler.work.notified().await;
            continue;
        };
        shared.metrics.waited(waited);
        // Another worker may find work as well: one notice stands for many nodes.
        if shared.scheduler.len() > 0 {
            shared.scheduler.work.notify_one();
        }
        let running = node.module.upgrade().is_some_and(|m| m.is_running());
        let diagnostics = node.clone().evaluate().await;
        if running {
            node.start(false);
        }
        report(&node, &diagnostics);
        shared.scheduler.done(&node);
    }
}

fn report(node: &GraphNode, diagnostics: &[Diagnostic]) {
    for diagnostic in diagnostics.iter().filter(|d| d.is_error()) {
        let place = diagnostic.location.as_ref().map(|l| {
            let at = l.line_column();
            format!("{}:{}:{}", l.source.name(), at.line, at.column)
        });
        tracing::error!(node = %node.global_id, place, "could not be evaluated again: {}", diagnostic.message);
    }
}

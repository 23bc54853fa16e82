//! Nodes on their way out: sources stop first, then what they sent to; nobody waits for them.
//!
//! Invariants: a node stops only after every leaving node that refers to it has ended, so what a source
//! still hands over finds its sinks; a new node with the same ID is not built before the old one is gone.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::graph::Graph;
use crate::node::GraphNode;

/// All nodes of the process that are on their way out.
#[derive(Default)]
pub(crate) struct Drains {
    tasks: TaskTracker,
    /// By global ID. There may be several of one: what waited for the first may be taken out itself.
    open: Mutex<HashMap<String, Vec<CancellationToken>>>,
}

/// Nodes that have been taken out of a graph.
pub(crate) struct Leaving {
    nodes: Vec<LeavingNode>,
}

struct LeavingNode {
    node: Arc<GraphNode>,
    /// Positions in the list of those that refer to it.
    dependants: Vec<usize>,
    gone: CancellationToken,
    guard: DropGuard,
}

impl Drains {
    /// Takes note that nodes of a graph are leaving; they go on until they are told to stop.
    pub(crate) fn announce(&self, graph: &Graph, nodes: Vec<Arc<GraphNode>>) -> Leaving {
        let place: HashMap<u64, usize> = nodes.iter().enumerate().map(|(i, n)| (n.serial, i)).collect();
        let leaving = nodes.into_iter().map(|node| {
            let position = graph.planned(&node).map(|(position, _)| position);
            let dependants = position.map(|p| &graph.dependants[p]).into_iter().flatten();
            let dependants = dependants.filter_map(|d| place.get(&graph.nodes[*d].serial).copied()).collect();
            let gone = self.register(&node.global_id);
            LeavingNode { node, dependants, guard: gone.clone().drop_guard(), gone }
        });
        Leaving { nodes: leaving.collect() }
    }

    fn register(&self, global_id: &str) -> CancellationToken {
        let gone = CancellationToken::new();
        let mut open = self.open.lock();
        open.retain(|_, tokens| {
            tokens.retain(|token| !token.is_cancelled());
            !tokens.is_empty()
        });
        open.entry(global_id.to_string()).or_default().push(gone.clone());
        gone
    }

    /// Stops nodes in the background.
    pub(crate) fn start(&self, leaving: Leaving, deadline: Duration) {
        self.tasks.spawn(leaving.stop(Instant::now() + deadline));
    }

    /// Runs something in the background that has to end before a node of that ID may be built.
    pub(crate) fn run(&self, global_id: String, end: impl Future<Output = ()> + Send + 'static) {
        let guard = self.register(&global_id).drop_guard();
        self.tasks.spawn(async move {
            let _guard = guard;
            end.await;
        });
    }

    /// Returns when no node of that ID is on its way out any more.
    pub(crate) async fn wait(&self, global_id: &str) {
        let leaving = self.open.lock().get(global_id).cloned().unwrap_or_default();
        for gone in leaving {
            gone.cancelled().await;
        }
    }

    /// Returns when nothing is on its way out.
    pub(crate) async fn finished(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.tasks.reopen();
    }
}

impl Leaving {
    /// Global IDs of the nodes.
    pub(crate) fn ids(&self) -> impl Iterator<Item = String> + '_ {
        self.nodes.iter().map(|n| n.node.global_id.clone())
    }

    /// Stops the nodes; returns when all have ended.
    pub(crate) async fn stop(self, deadline: Instant) {
        let tokens: Vec<CancellationToken> = self.nodes.iter().map(|n| n.gone.clone()).collect();
        let stops = self.nodes.into_iter().map(|leaving| {
            let before: Vec<_> = leaving.dependants.iter().map(|i| tokens[*i].clone()).collect();
            async move {
                let _gone = leaving.guard;
                for dependant in before {
                    dependant.cancelled().await;
                }
                leaving.node.stop(deadline).await;
            }
        });
        join_all(stops).await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_new_node_waits_for_all_that_had_its_id_and_not_for_the_last_alone() {
        let drains = Drains::default();
        let (first, second) = (drains.register("a"), drains.register("a"));
        let other = drains.register("b");
        // What waited for the first was never built, and is gone at once.
        second.cancel();
        assert!(drains.wait("a").now_or_never().is_none(), "the first still drains");
        first.cancel();
        assert!(drains.wait("a").now_or_never().is_some());
        assert!(drains.wait("b").now_or_never().is_none());
        other.cancel();
        drop(drains.register("c"));
        assert_eq!(drains.open.lock().len(), 1, "what is gone is forgotten");
    }
}

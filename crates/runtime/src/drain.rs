//! Nodes on their way out: sources stop first, then what they sent to; nobody waits for them.
//!
//! Invariants: a node stops only after every leaving node that refers to it has ended, so what a source
//! still hands over finds its sinks; a new node with the same ID is not built before the old one is gone, or
//! has made way for it and does only what can go on beside it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use component::Rest;
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
    open: Mutex<HashMap<String, Vec<Exit>>>,
}

/// One that is on its way out.
#[derive(Clone)]
struct Exit {
    /// Cancelled when another of its ID may be built.
    gone: CancellationToken,
    /// To be cancelled when another of its ID waits.
    successor: CancellationToken,
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
            let gone = self.register(&node.global_id, &node.successor);
            LeavingNode { node, dependants, guard: gone.clone().drop_guard(), gone }
        });
        Leaving { nodes: leaving.collect() }
    }

    fn register(&self, global_id: &str, successor: &CancellationToken) -> CancellationToken {
        let gone = CancellationToken::new();
        let mut open = self.open.lock();
        open.retain(|_, exits| {
            exits.retain(|exit| !exit.gone.is_cancelled());
            !exits.is_empty()
        });
        let exit = Exit { gone: gone.clone(), successor: successor.clone() };
        open.entry(global_id.to_string()).or_default().push(exit);
        gone
    }

    /// Stops nodes in the background.
    pub(crate) fn start(&self, leaving: Leaving, deadline: Duration) {
        self.tasks.spawn(leaving.stop(Instant::now() + deadline));
    }

    /// Runs something in the background that has to end before a node of that ID may be built; `successor` tells
    /// it that one waits.
    pub(crate) fn run(
        &self,
        global_id: &str,
        successor: &CancellationToken,
        end: impl Future<Output = ()> + Send + 'static,
    ) {
        let guard = self.register(global_id, successor).drop_guard();
        self.tasks.spawn(async move {
            let _guard = guard;
            end.await;
        });
    }

    /// What a node that has made way for another goes on with.
    pub(crate) fn go_on(&self, rest: Rest) {
        self.tasks.spawn(rest);
    }

    /// Returns when no node of that ID is on its way out any more, or all that are have made way.
    pub(crate) async fn wait(&self, global_id: &str) {
        let leaving = self.open.lock().get(global_id).cloned().unwrap_or_default();
        leaving.iter().for_each(|exit| exit.successor.cancel());
        for exit in leaving {
            exit.gone.cancelled().await;
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
        let token = CancellationToken::new();
        let (first, second) = (drains.register("a", &token), drains.register("a", &token));
        let other = drains.register("b", &CancellationToken::new());
        assert!(!token.is_cancelled());
        // What waited for the first was never built, and is gone at once.
        second.cancel();
        assert!(drains.wait("a").now_or_never().is_none(), "the first still drains");
        assert!(token.is_cancelled(), "it is told that another one waits");
        first.cancel();
        assert!(drains.wait("a").now_or_never().is_some());
        assert!(drains.wait("b").now_or_never().is_none());
        other.cancel();
        drop(drains.register("c", &token));
        assert_eq!(drains.open.lock().len(), 1, "what is gone is forgotten");
    }
}

//! A module: a running instance of a body. The configuration itself is one, and so is every custom
//! component and every item of a `foreach`.
//!
//! Data path of a change: [`Module::install`] (plan it, swap the graph in) → [`Module::walk`] (evaluate,
//! dependencies first) → [`Module::start`] (sinks first; then what was removed drains).
//! Invariant: a body that cannot be planned changes nothing.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use component::Health;
use eval::Value;
use parking_lot::Mutex;
use syntax::Diagnostic;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::arguments::Vars;
use crate::drain::Leaving;
use crate::graph::Graph;
use crate::loader::{BlockKind, Blueprint, Place, Plan};
use crate::node::{GraphNode, Kind};
use crate::scope::{ImportSlot, Scope};
use crate::shared::Shared;

/// A running instance of a body.
pub(crate) struct Module {
    /// `""` for the configuration itself.
    pub(crate) global_id: String,
    pub(crate) shared: Arc<Shared>,
    /// The node that it is the inside of.
    owner: Weak<GraphNode>,
    /// Around a template: the module whose names it sees.
    outer: Weak<Module>,
    /// Cancelled when another with the same ID waits for this one to be gone.
    pub(crate) successor: CancellationToken,
    graph: ArcSwap<Graph>,
    running: AtomicBool,
    /// Taken out of the graph, not yet told to stop.
    leaving: Mutex<Vec<Leaving>>,
    /// Serials of the nodes that a walk has still to come to.
    ahead: Mutex<HashSet<u64>>,
}

/// What a module is to become.
pub(crate) struct Body {
    pub(crate) blueprint: Arc<Blueprint>,
    /// The scope around it.
    pub(crate) around: Option<Arc<Scope>>,
    pub(crate) module_path: String,
    /// Variables besides `module_path`.
    pub(crate) vars: Vec<(String, Value)>,
    pub(crate) inputs: BTreeMap<String, Value>,
}

impl Module {
    pub(crate) fn new(
        global_id: String,
        shared: Arc<Shared>,
        owner: Weak<GraphNode>,
        outer: Weak<Module>,
    ) -> Arc<Self> {
        let successor = owner.upgrade().map(|owner| owner.successor.child_token());
        Arc::new(Self {
            global_id,
            successor: successor.unwrap_or_default(),
            graph: ArcSwap::new(Arc::new(empty_graph(&shared))),
            shared,
            owner,
            outer,
            running: AtomicBool::new(false),
            leaving: Mutex::default(),
            ahead: Mutex::default(),
        })
    }

    /// The present graph.
    pub(crate) fn graph(&self) -> Arc<Graph> {
        self.graph.load_full()
    }

    /// The graphs whose names a template sees, nearest first.
    pub(crate) fn outer_graphs(&self) -> Vec<Arc<Graph>> {
        let mut graphs = Vec::new();
        let mut at = self.outer.upgrade();
        while let Some(module) = at {
            graphs.push(module.graph());
            at = module.outer.upgrade();
        }
        graphs
    }

    /// Whether its nodes are to run.
    pub(crate) fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }

    /// Swaps a new body in. Nodes with the same identity stay.
    pub(crate) fn install(self: &Arc<Self>, body: Body) -> Result<(), Vec<Diagnostic>> {
        let present = self.graph();
        let vars = self.vars(&present, body.module_path.clone(), body.vars);
        let inputs =
            if *present.inputs == body.inputs { present.inputs.clone() } else { Arc::new(body.inputs) };
        let same_body = Arc::ptr_eq(&present.plan.blueprint, &body.blueprint)
            && same(present.plan.scope.parent.as_ref(), body.around.as_ref());
        if same_body {
            if !Arc::ptr_eq(&vars, &present.vars) || !Arc::ptr_eq(&inputs, &present.inputs) {
                let graph = Graph::new(present.plan.clone(), present.nodes.clone(), vars, inputs);
                self.graph.store(Arc::new(graph));
            }
            return Ok(());
        }
        let imports = slots(&body.blueprint, &present);
        let scope = Scope::new(&body.blueprint, imports, body.around, body.module_path);
        let mut diagnostics = Vec::new();
        let plan = Plan::new(&body.blueprint, &scope, &self.shared.definitions, &mut diagnostics);
        if diagnostics.iter().any(Diagnostic::is_error) {
            return Err(diagnostics);
        }
        self.swap(&present, plan, vars, inputs);
        Ok(())
    }

    fn vars(&self, present: &Graph, module_path: String, more: Vec<(String, Value)>) -> Vars {
        let mut vars = vec![("module_path".to_string(), Value::string(module_path))];
        vars.extend(more);
        if *present.vars == vars { present.vars.clone() } else { Arc::new(vars) }
    }

    fn swap(
        self: &Arc<Self>,
        present: &Arc<Graph>,
        plan: Plan,
        vars: Vars,
        inputs: Arc<BTreeMap<String, Value>>,
    ) {
        let mut kept = Vec::new();
        let nodes = plan.nodes.iter().map(|planned| {
            match present.node(&planned.block.id).filter(|n| n.fits(planned)) {
                Some(node) => {
                    kept.push(node.serial);
                    node.clone()
                }
                None => {
                    let slot = plan.scope.imports.get(planned.block.label().unwrap_or_default());
                    GraphNode::new(planned, self, slot.cloned())
                }
            }
        });
        let nodes: Vec<_> = nodes.collect();
        let removed = present.nodes.iter().filter(|n| !kept.contains(&n.serial));
        let removed: Vec<_> = removed.cloned().collect();
        if !removed.is_empty() {
            // Registered before the new nodes are evaluated: one with the same ID waits for the old one.
            self.leaving.lock().push(self.shared.drains.announce(present, removed));
        }
        self.graph.store(Arc::new(Graph::new(Arc::new(plan), nodes, vars, inputs)));
    }

    /// Evaluates every node, dependencies first; nodes for which nothing has changed are left alone.
    pub(crate) async fn walk(&self) -> Vec<Diagnostic> {
        let graph = self.graph();
        let mut diagnostics = Vec::new();
        let replaced: Vec<String> = self.leaving.lock().iter().flat_map(Leaving::ids).collect();
        let walk = Walk::new(self, &graph);
        for (node, _) in graph.ordered() {
            // Before it looks at its inputs: what changes from now on is a reason to evaluate it again.
            walk.reach(node);
            if !node.is_built() && replaced.contains(&node.global_id) {
                // The same ID for something else: the old one has to be gone first.
                self.release();
            }
            diagnostics.extend(node.clone().evaluate().await);
        }
        diagnostics
    }

    /// Starts what does not run, dependencies (sinks) first; then removed nodes are told to stop.
    pub(crate) fn start(&self, restart: bool) {
        self.running.store(true, Ordering::Release);
        for (node, _) in self.graph().ordered() {
            node.start(restart);
        }
        self.release();
    }

    /// Lets removed nodes stop; they drain in the background.
    fn release(&self) {
        let leaving = std::mem::take(&mut *self.leaving.lock());
        for nodes in leaving {
            self.shared.drains.start(nodes, self.shared.services.shutdown_deadline);
        }
    }

    /// Stops all nodes, sources first, and waits until they have ended.
    pub(crate) async fn stop(&self, deadline: Instant) {
        self.running.store(false, Ordering::Release);
        self.release();
        let graph = self.graph.swap(Arc::new(empty_graph(&self.shared)));
        let leaving = self.shared.drains.announce(&graph, graph.nodes.clone());
        leaving.stop(deadline).await;
    }

    /// What the exports of the body are at present; only those that could be evaluated.
    pub(crate) fn exports(&self) -> Value {
        let graph = self.graph();
        let exports = graph.nodes.iter().zip(&graph.plan.nodes);
        let exports = exports.filter(|(n, _)| matches!(n.kind, Kind::Export) && n.is_built());
        Value::object(
            exports.map(|(n, p)| (p.block.label().unwrap_or_default().to_string(), n.exports())).collect(),
        )
    }

    /// Whether others can build on this module.
    pub(crate) fn exports_built(&self) -> bool {
        self.graph().nodes.iter().all(|n| !matches!(n.kind, Kind::Export) || n.is_built())
    }

    /// An export has changed: tells the node around.
    pub(crate) fn export_changed(&self) {
        if let Some(owner) = self.owner.upgrade() {
            owner.publish(self.exports());
        }
    }

    /// Has the direct dependants of a node evaluated again.
    pub(crate) fn wake_dependants(&self, node: &GraphNode) {
        let graph = self.graph();
        let Some((position, _)) = graph.planned(node) else { return };
        for dependant in &graph.dependants[position] {
            self.wake(&graph.nodes[*dependant]);
        }
    }

    /// Has a node evaluated again, unless a walk comes to it anyway: a mistake would show twice.
    fn wake(&self, node: &Arc<GraphNode>) {
        if !self.is_ahead(node) {
            self.shared.scheduler.enqueue(node.clone());
        }
    }

    fn is_ahead(&self, node: &GraphNode) -> bool {
        self.ahead.lock().contains(&node.serial)
    }

    /// Has every instance of what an import holds evaluated again.
    pub(crate) fn wake_users(&self, slot: &Arc<ImportSlot>) {
        // The walk comes to what is inside of the others too.
        for node in self.graph().nodes.iter().filter(|n| !self.is_ahead(n)) {
            let inside = match &node.kind {
                Kind::Custom(custom) => {
                    if custom.uses(slot) {
                        self.wake(node);
                    }
                    custom.modules()
                }
                Kind::Foreach(foreach) => foreach.modules(),
                _ => continue,
            };
            inside.iter().for_each(|m| m.wake_users(slot));
        }
    }

    /// The worst of a health and that of every node inside.
    pub(crate) fn worst(&self, health: Health) -> Health {
        self.graph().nodes.iter().fold(health, |h, n| h.worst(n.health()))
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        self.shared.metrics.forget(&self.global_id);
    }
}

/// A walk under way. There is one at a time: of the configuration by its load, of any other module by the evaluation of
/// its node.
struct Walk<'m>(&'m Module);

impl<'m> Walk<'m> {
    fn new(module: &'m Module, graph: &Graph) -> Self {
        *module.ahead.lock() = graph.nodes.iter().map(|n| n.serial).collect();
        Self(module)
    }

    fn reach(&self, node: &GraphNode) {
        self.0.ahead.lock().remove(&node.serial);
    }
}

/// A walk that is given up leaves no node behind that nobody wakes.
impl Drop for Walk<'_> {
    fn drop(&mut self) {
        self.0.ahead.lock().clear();
    }
}

/// Import blocks that stay keep their place.
fn slots(blueprint: &Blueprint, present: &Graph) -> BTreeMap<String, Arc<ImportSlot>> {
    let imports = blueprint.nodes_of(BlockKind::Import).map(|block| {
        let running = present.node(&block.id).and_then(|n| match &n.kind {
            Kind::Import(import) => Some(import.slot.clone()),
            _ => None,
        });
        (block.label().unwrap_or_default().to_string(), running.unwrap_or_default())
    });
    imports.collect()
}

fn empty_graph(shared: &Arc<Shared>) -> Graph {
    let blueprint = Arc::new(Blueprint::new("", Place::Root, Vec::new(), &[]));
    let scope = Scope::new(&blueprint, BTreeMap::new(), None, String::new());
    let plan = Plan::new(&blueprint, &scope, &shared.definitions, &mut Vec::new());
    Graph::new(Arc::new(plan), Vec::new(), Arc::default(), Arc::default())
}

fn same(a: Option<&Arc<Scope>>, b: Option<&Arc<Scope>>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        _ => false,
    }
}

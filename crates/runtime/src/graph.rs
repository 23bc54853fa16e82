//! The running graph of one module: its plan with a node for each block.
//!
//! Invariant: a graph is immutable. A reload makes a new one and swaps it in; an evaluation reads the
//! module's graph once and works with that.

use eval::{Resolve, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::loader::{Definition, Plan, Planned};
use crate::modules::arguments::Vars;
use crate::node::GraphNode;

/// A module's nodes at a time.
pub(crate) struct Graph {
    pub(crate) plan: Arc<Plan>,
    /// In the order of the plan's nodes.
    pub(crate) nodes: Vec<Arc<GraphNode>>,
    /// Who refers to a node, by position.
    pub(crate) dependants: Vec<Vec<usize>>,
    /// Plain variables.
    pub(crate) vars: Vars,
    /// What the instance passes.
    pub(crate) inputs: Arc<BTreeMap<String, Value>>,
}

impl Graph {
    pub(crate) fn new(
        plan: Arc<Plan>,
        nodes: Vec<Arc<GraphNode>>,
        vars: Vars,
        inputs: Arc<BTreeMap<String, Value>>,
    ) -> Self {
        let mut dependants = vec![Vec::new(); nodes.len()];
        for (position, node) in plan.nodes.iter().enumerate() {
            for dependency in &node.dependencies {
                dependants[*dependency].push(position);
            }
        }
        Self { plan, nodes, dependants, vars, inputs }
    }

    /// A node with what the plan says about it; `None` if it is not part of the graph any more.
    pub(crate) fn planned(&self, node: &GraphNode) -> Option<(usize, &Planned)> {
        let position = self.plan.position(&node.id)?;
        let same = std::ptr::eq(Arc::as_ptr(&self.nodes[position]), node);
        same.then(|| (position, &self.plan.nodes[position]))
    }

    pub(crate) fn node(&self, id: &str) -> Option<&Arc<GraphNode>> {
        self.plan.position(id).map(|p| &self.nodes[p])
    }

    /// The nodes that data may pass through that is sent to receivers which a node refers to: components
    /// with receivers, and modules, for what is inside of them is not known here.
    pub(crate) fn carriers(&self, id: &str) -> Vec<String> {
        let mut carriers = Vec::new();
        let mut seen = vec![false; self.nodes.len()];
        let mut open: Vec<usize> = self.plan.position(id).into_iter().collect();
        while let Some(position) = open.pop() {
            for dependency in &self.plan.nodes[position].dependencies {
                if !seen[*dependency] && carries(&self.plan.nodes[*dependency].definition) {
                    seen[*dependency] = true;
                    open.push(*dependency);
                    carriers.push(self.nodes[*dependency].global_id.clone());
                }
            }
        }
        carriers
    }

    /// Nodes with their plans, dependencies first.
    pub(crate) fn ordered(&self) -> impl DoubleEndedIterator<Item = (&Arc<GraphNode>, &Planned)> {
        self.plan.order.iter().map(|i| (&self.nodes[*i], &self.plan.nodes[*i]))
    }
}

/// Whether data can be sent to it.
fn carries(definition: &Definition) -> bool {
    match definition {
        Definition::Component(component) => {
            let exports = (component.exports)();
            exports.iter().any(|e| e.code_type.contains("Receiver") || e.code_type.contains("Consumer"))
        }
        Definition::Custom | Definition::Foreach => true,
        _ => false,
    }
}

/// The names that a module's expressions see: variables, its nodes, and for a template what is around it.
pub(crate) struct Names<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) outer: &'a [Arc<Graph>],
}

impl Names<'_> {
    /// The node that a path names, here or around.
    pub(crate) fn node(&self, path: &[&str]) -> Option<&Arc<GraphNode>> {
        for graph in self.graphs() {
            if graph.vars.iter().any(|(n, _)| path.first().is_some_and(|p| p == n)) {
                return None;
            }
            if let Some((_, position)) = graph.plan.match_path(path) {
                return Some(&graph.nodes[position]);
            }
        }
        None
    }

    fn graphs(&self) -> impl Iterator<Item = &Graph> {
        std::iter::once(self.graph).chain(self.outer.iter().map(|g| &**g))
    }
}

impl Resolve for Names<'_> {
    fn resolve(&self, path: &[&str]) -> Option<(usize, Value)> {
        for graph in self.graphs() {
            if let Some((_, value)) =
                graph.vars.iter().rev().find(|(n, _)| path.first().is_some_and(|p| p == n))
            {
                return Some((1, value.clone()));
            }
            if let Some((used, position)) = graph.plan.match_path(path) {
                return Some((used, graph.nodes[position].exports()));
            }
        }
        None
    }

    fn names(&self) -> Vec<String> {
        self.graphs().flat_map(|g| g.plan.ids().map(str::to_string).collect::<Vec<_>>()).collect()
    }
}

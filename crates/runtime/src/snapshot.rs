//! What runs, as data for the HTTP API and the UI. Field names in JSON are the API's affair.

use std::collections::BTreeSet;
use std::sync::Arc;

use component::Health;
use eval::{Item, Value, names_secret};

use crate::graph::Graph;
use crate::loader::Definition;
use crate::modules::instance::Module;
use crate::node::{GraphNode, Kind};
use crate::secrets;

/// All modules with their components, the root first.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The modules; the root's ID is `""`.
    pub modules: Vec<ModuleSnapshot>,
}

/// A module.
#[derive(Clone, Debug)]
pub struct ModuleSnapshot {
    /// Its global ID.
    pub id: String,
    /// Its components in the order of the file.
    pub components: Vec<ComponentSnapshot>,
}

/// A component, custom component or `foreach`.
#[derive(Clone, Debug)]
pub struct ComponentSnapshot {
    /// Name in the configuration language.
    pub name: String,
    /// ID in its module.
    pub local_id: String,
    /// ID of its module.
    pub module_id: String,
    /// Label; empty where there is none.
    pub label: String,
    /// A number that no other instance has had: the same number is the same instance.
    pub instance: u64,
    /// Local IDs of the nodes that it refers to.
    pub references_to: Vec<String>,
    /// Local IDs of the nodes that refer to it.
    pub referenced_by: Vec<String>,
    /// Local IDs of the nodes that its data goes to.
    pub data_flow_edges_to: Vec<String>,
    /// Its health.
    pub health: Health,
    /// The arguments in force.
    pub arguments: Vec<Item>,
    /// The exports.
    pub exports: Vec<Item>,
    /// Details of the running component.
    pub debug_info: Vec<Item>,
    /// Global IDs of the modules inside.
    pub created_module_ids: Vec<String>,
    /// Whether what passes through it can be watched at present.
    pub live_debugging_enabled: bool,
}

impl ComponentSnapshot {
    /// Module path, `/`, local ID.
    pub fn global_id(&self) -> String {
        crate::loader::join(&self.module_id, &self.local_id)
    }
}

impl Snapshot {
    pub(crate) fn of(root: &Module) -> Self {
        let mut snapshot = Self::default();
        snapshot.add(root);
        snapshot
    }

    /// All components of all modules.
    pub fn components(&self) -> impl Iterator<Item = &ComponentSnapshot> {
        self.modules.iter().flat_map(|m| &m.components)
    }

    /// The module of an ID.
    pub fn module(&self, id: &str) -> Option<&ModuleSnapshot> {
        self.modules.iter().find(|m| m.id == id)
    }

    /// The component of a global ID.
    pub fn component(&self, global_id: &str) -> Option<&ComponentSnapshot> {
        self.components().find(|c| c.global_id() == global_id)
    }

    fn add(&mut self, module: &Module) {
        let graph = module.graph();
        let shown = (0..graph.nodes.len()).filter(|i| shown(&graph.nodes[*i]));
        let flows = flows(&graph);
        let components = shown.map(|i| component(&graph, i, &module.global_id, &flows)).collect();
        self.modules.push(ModuleSnapshot { id: module.global_id.clone(), components });
        for node in &graph.nodes {
            inside(node).iter().for_each(|m| self.add(m));
        }
    }
}

fn shown(node: &GraphNode) -> bool {
    matches!(node.kind, Kind::Component(..) | Kind::Custom(_) | Kind::Foreach(_))
}

fn inside(node: &GraphNode) -> Vec<Arc<Module>> {
    match &node.kind {
        Kind::Custom(custom) => custom.modules(),
        Kind::Foreach(foreach) => foreach.modules(),
        _ => Vec::new(),
    }
}

fn component(
    graph: &Graph,
    position: usize,
    module: &str,
    flows: &BTreeSet<(usize, usize)>,
) -> ComponentSnapshot {
    let (node, planned) = (&graph.nodes[position], &graph.plan.nodes[position]);
    let ids = |positions: &[usize]| positions.iter().map(|i| graph.nodes[*i].id.clone()).collect();
    let exports = || items(&node.exports());
    let (arguments, exports, debug_info) = match &node.kind {
        Kind::Component(_, component) => (component.arguments(), exports(), component.debug_info()),
        Kind::Custom(custom) => {
            let modules = custom.modules();
            let arguments = modules.iter().flat_map(|m| passed(m)).collect();
            (arguments, modules.iter().flat_map(|m| exported(m)).collect(), Vec::new())
        }
        _ => (Vec::new(), exports(), Vec::new()),
    };
    let to: Vec<usize> = flows.iter().filter(|(from, _)| *from == position).map(|(_, to)| *to).collect();
    let services = &node.shared.services;
    let builtin = matches!(planned.definition, Definition::Component(_));
    ComponentSnapshot {
        name: planned.block.name.clone(),
        local_id: node.id.clone(),
        module_id: module.to_string(),
        label: planned.block.label().unwrap_or_default().to_string(),
        instance: node.serial,
        references_to: ids(&planned.dependencies),
        referenced_by: ids(&graph.dependants[position]),
        data_flow_edges_to: ids(&to),
        health: node.health(),
        arguments,
        exports,
        debug_info,
        created_module_ids: inside(node).iter().map(|m| m.global_id.clone()).collect(),
        live_debugging_enabled: builtin && services.live_debug.enabled(),
    }
}

/// What an instance passes to its module; of what is a secret there, only that it is one.
fn passed(module: &Module) -> Vec<Item> {
    let (inputs, secret) = (module.graph().inputs.clone(), secrets::of_module(module));
    let shown = |name: &str, value: &Value| match secret.contains(name) || names_secret(name) {
        true => secrets::concealed(value),
        false => value.clone(),
    };
    inputs.iter().map(|(n, v)| Item::Attribute { name: n.clone().into(), value: shown(n, v) }).collect()
}

/// What a module exports, in the same way.
fn exported(module: &Module) -> Vec<Item> {
    let secret = secrets::exports_of(module);
    let mut items = items(&module.exports());
    for item in &mut items {
        if let Item::Attribute { name, value } = item
            && secret.contains(&**name)
        {
            *value = secrets::concealed(value);
        }
    }
    items
}

fn items(exports: &Value) -> Vec<Item> {
    let fields = exports.as_object().unwrap_or_default();
    fields
        .iter()
        .map(|(name, value)| Item::Attribute { name: name.clone().into(), value: value.clone() })
        .collect()
}

/// Where data goes, as positions: to whoever's receiver is referred to; otherwise to who refers.
fn flows(graph: &Graph) -> BTreeSet<(usize, usize)> {
    let mut edges = BTreeSet::new();
    for (from, planned) in graph.plan.nodes.iter().enumerate() {
        for (to, reference) in &planned.references {
            if !shown(&graph.nodes[from]) || !shown(&graph.nodes[*to]) {
                continue;
            }
            let path: Vec<&str> = reference.path.iter().map(|i| i.name.as_str()).collect();
            let used = graph.plan.match_path(&path).map_or(path.len(), |(used, _)| used);
            let value = path[used..].iter().try_fold(graph.nodes[*to].exports(), |value, name| {
                value.as_object().and_then(|fields| fields.get(*name).cloned())
            });
            let receiver = value
                .is_some_and(|v| matches!(&v, Value::Capsule(c) if is_receiver(c.content().type_name())));
            edges.insert(if receiver { (from, *to) } else { (*to, from) });
        }
    }
    edges
}

fn is_receiver(type_name: &str) -> bool {
    type_name.ends_with("Receiver") || type_name.ends_with("Consumer")
}

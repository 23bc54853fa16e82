//! A blueprint in its scope: what each node is, what it depends on, and in which order they are evaluated.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use component::{ComponentDef, Stability};
use syntax::{Diagnostic, Reference};

use super::blueprint::{BlockKind, Blueprint, NodeBlock};
use super::order::order;
use crate::block::ConfigBlockDef;
use crate::definitions::Definitions;
use crate::modules::import::ImportDef;
use crate::scope::{Found, Scope};

/// What a node is.
#[derive(Clone)]
pub enum Definition {
    /// A built-in component.
    Component(ComponentDef),
    /// An instance of a declare; which one is looked up at evaluation, for imports change.
    Custom,
    /// Nobody knows it; a diagnostic says so.
    Unknown,
    /// A block of the root.
    Config(Arc<ConfigBlockDef>),
    /// `argument`
    Argument,
    /// `export`
    Export,
    /// `import.…`
    Import(ImportDef),
    /// `foreach`
    Foreach,
}

/// A node of a plan.
#[derive(Clone)]
pub struct Planned {
    /// Its block.
    pub block: Arc<NodeBlock>,
    /// What it is.
    pub definition: Definition,
    /// Positions of the nodes that it depends on, each once, ascending.
    pub dependencies: Vec<usize>,
    /// Its references to nodes of the plan.
    pub references: Vec<(usize, Reference)>,
}

/// A module's nodes and their order.
pub struct Plan {
    /// The body.
    pub blueprint: Arc<Blueprint>,
    /// Its scope.
    pub scope: Arc<Scope>,
    /// The nodes in the order of the file.
    pub nodes: Vec<Planned>,
    /// Dependencies before dependants. Where there are cycles: the order of the file.
    pub order: Vec<usize>,
    index: HashMap<String, usize>,
}

impl Plan {
    /// Decides what every node of a body is. Problems are added to `diagnostics`.
    pub fn new(
        blueprint: &Arc<Blueprint>,
        scope: &Arc<Scope>,
        definitions: &Definitions,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Self {
        diagnostics.extend(blueprint.diagnostics.iter().cloned());
        let index: HashMap<_, _> =
            blueprint.nodes.iter().enumerate().map(|(i, n)| (n.id.clone(), i)).collect();
        let imports: HashMap<_, _> = blueprint
            .nodes_of(BlockKind::Import)
            .filter_map(|n| Some((n.label()?, *index.get(&n.id)?)))
            .collect();
        let nodes: Vec<_> = blueprint
            .nodes
            .iter()
            .map(|block| {
                let references = node_references(block, &index);
                let mut dependencies: BTreeSet<usize> = references.iter().map(|(i, _)| *i).collect();
                dependencies.extend(imports_used(block, blueprint, &imports));
                let definition = define(block, scope, definitions, diagnostics);
                Planned {
                    block: block.clone(),
                    definition,
                    dependencies: dependencies.into_iter().collect(),
                    references,
                }
            })
            .collect();
        let mut plan =
            Self { blueprint: blueprint.clone(), scope: scope.clone(), nodes, order: Vec::new(), index };
        plan.order = plan.ordered(diagnostics);
        plan
    }

    /// The position of a node.
    pub fn position(&self, id: &str) -> Option<usize> {
        self.index.get(id).copied()
    }

    /// The node that the front of a path names, and how long that front is.
    pub fn match_path(&self, path: &[&str]) -> Option<(usize, usize)> {
        match_path(&self.index, path)
    }

    /// IDs of all nodes, for suggestions.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().map(|n| n.block.id.as_str())
    }

    fn ordered(&self, diagnostics: &mut Vec<Diagnostic>) -> Vec<usize> {
        let dependencies: Vec<Vec<usize>> = self.nodes.iter().map(|n| n.dependencies.clone()).collect();
        match order(&dependencies) {
            Ok(order) => order,
            Err(cycles) => {
                diagnostics.extend(cycles.iter().map(|c| self.cycle(c)));
                (0..self.nodes.len()).collect()
            }
        }
    }

    fn cycle(&self, cycle: &[usize]) -> Diagnostic {
        let first = &self.nodes[cycle[0]];
        let ids: Vec<&str> =
            cycle.iter().chain(&cycle[..1]).map(|i| self.nodes[*i].block.id.as_str()).collect();
        let next = cycle.get(1).unwrap_or(&cycle[0]);
        let reference = first.references.iter().find(|(to, _)| to == next);
        let span = reference.map_or(first.block.header(), |(_, r)| r.span);
        let message = format!("components refer to each other in a circle: {}", ids.join(" -> "));
        Diagnostic::error("cycle", message, &first.block.source, span)
            .with_help("remove one of these references: data can only flow in one direction")
    }
}

/// The shortest front of a path that is a node's ID wins.
fn match_path(index: &HashMap<String, usize>, path: &[&str]) -> Option<(usize, usize)> {
    let mut id = String::new();
    for (i, part) in path.iter().enumerate() {
        if i > 0 {
            id.push('.');
        }
        id.push_str(part);
        if let Some(position) = index.get(&id) {
            return Some((i + 1, *position));
        }
    }
    None
}

fn node_references(block: &NodeBlock, index: &HashMap<String, usize>) -> Vec<(usize, Reference)> {
    let mut all: Vec<&Reference> = block.references.iter().collect();
    if let Some(template) = &block.template {
        outward(template, &mut all);
    }
    let to_node = |r: &&Reference| {
        let path: Vec<&str> = r.path.iter().map(|i| i.name.as_str()).collect();
        match_path(index, &path).map(|(_, position)| position)
    };
    all.iter().filter_map(|r| Some((to_node(r)?, (*r).clone()))).collect()
}

/// What a template's nodes refer to; what it has itself hides what is outside.
fn outward<'a>(template: &'a Blueprint, found: &mut Vec<&'a Reference>) {
    let own: HashMap<String, usize> =
        template.nodes.iter().enumerate().map(|(i, n)| (n.id.clone(), i)).collect();
    for node in &template.nodes {
        let outside = node.references.iter().filter(|r| {
            let path: Vec<&str> = r.path.iter().map(|i| i.name.as_str()).collect();
            match_path(&own, &path).is_none()
        });
        found.extend(outside);
        if let Some(inner) = &node.template {
            outward(inner, found);
        }
    }
}

/// Import blocks of the same body that a component needs, itself or through the declares that it uses.
fn imports_used(block: &NodeBlock, blueprint: &Blueprint, imports: &HashMap<&str, usize>) -> Vec<usize> {
    let mut open: Vec<String> = match (&block.template, block.kind) {
        (Some(template), _) => template.mentions.iter().cloned().collect(),
        (None, BlockKind::Component) => vec![block.name.split('.').next().unwrap_or_default().to_string()],
        _ => return Vec::new(),
    };
    let mut seen: BTreeSet<String> = open.iter().cloned().collect();
    while let Some(name) = open.pop() {
        if let Some(declare) = blueprint.declares.get(&name) {
            open.extend(declare.mentions.iter().filter(|m| seen.insert((*m).clone())).cloned());
        }
    }
    seen.iter().filter_map(|name| imports.get(name.as_str()).copied()).collect()
}

fn define(
    block: &Arc<NodeBlock>,
    scope: &Arc<Scope>,
    definitions: &Definitions,
    diagnostics: &mut Vec<Diagnostic>,
) -> Definition {
    match block.kind {
        BlockKind::Argument => Definition::Argument,
        BlockKind::Export => Definition::Export,
        BlockKind::Foreach => Definition::Foreach,
        BlockKind::Config => match definitions.config_block(&block.name) {
            Some(config) => {
                gate(block, config.stability(), definitions, diagnostics);
                Definition::Config(config.clone())
            }
            None => unknown(block, scope, definitions, diagnostics),
        },
        BlockKind::Import => match definitions.import(&block.name) {
            Some(import) => Definition::Import(import),
            None if matches!(&*block.name, "import.git" | "import.http") => {
                let help = "this program is built without it: fetch the module yourself and use import.file";
                diagnostics.push(unknown_component(block, &[]).with_help(help));
                Definition::Unknown
            }
            None => unknown(block, scope, definitions, diagnostics),
        },
        BlockKind::Component => define_component(block, scope, definitions, diagnostics),
    }
}

fn define_component(
    block: &Arc<NodeBlock>,
    scope: &Arc<Scope>,
    definitions: &Definitions,
    diagnostics: &mut Vec<Diagnostic>,
) -> Definition {
    match scope.find(&block.name) {
        Found::Declare(_) | Found::Pending(_) => {
            if definitions.labels_required && block.block.label.is_none() {
                diagnostics.push(missing_label(block));
            }
            return Definition::Custom;
        }
        Found::Missing(names) => {
            let candidates: Vec<&str> = names.iter().map(String::as_str).collect();
            diagnostics.push(unknown_component(block, &candidates));
            return Definition::Unknown;
        }
        Found::NotHere => {}
    }
    let Some(component) = definitions.registry.get(&block.name) else {
        return unknown(block, scope, definitions, diagnostics);
    };
    if block.block.label.is_none() {
        diagnostics.push(missing_label(block));
    }
    gate(block, component.stability, definitions, diagnostics);
    Definition::Component(*component)
}

fn missing_label(block: &NodeBlock) -> Diagnostic {
    block
        .error("missing_label", format!("component {:?} needs a label", block.name))
        .with_help(format!("write {} \"a_name\" {{ … }}", block.name))
}

fn unknown(
    block: &NodeBlock,
    scope: &Scope,
    definitions: &Definitions,
    diagnostics: &mut Vec<Diagnostic>,
) -> Definition {
    let custom = scope.custom_names();
    let candidates: Vec<&str> =
        definitions.names().into_iter().chain(custom.iter().map(String::as_str)).collect();
    let diagnostic = match definitions.registry.instead_of(&block.name) {
        Some(instead) => unknown_component(block, &[]).with_help(instead),
        None => unknown_component(block, &candidates),
    };
    diagnostics.push(diagnostic);
    Definition::Unknown
}

/// The message has a fixed form: programs read it.
pub(crate) fn unknown_component(block: &NodeBlock, candidates: &[&str]) -> Diagnostic {
    let message = format!("cannot find the definition of component name {:?}", block.name);
    let diagnostic = Diagnostic::error("unknown_component", message, &block.source, block.block.name_span());
    match eval::closest(&block.name, candidates.iter().copied()) {
        Some(near) => diagnostic.with_help(format!("did you mean {near:?}?")),
        None => diagnostic,
    }
}

fn gate(
    block: &NodeBlock,
    stability: Stability,
    definitions: &Definitions,
    diagnostics: &mut Vec<Diagnostic>,
) {
    if stability >= definitions.stability {
        return;
    }
    let (is, may) = (stability.as_str(), definitions.stability.as_str());
    let message = format!("{:?} is {is}, the configuration may use what is {may}", block.name);
    let diagnostic = Diagnostic::error("stability", message, &block.source, block.block.name_span());
    diagnostics.push(diagnostic.with_help(format!("start with --stability.level={is} to use it")));
}

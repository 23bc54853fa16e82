//! A node of a running graph: a block's identity, whatever it is.
//!
//! Data path of an evaluation: the module's present graph → names → decode → apply. Invariants: one
//! evaluation of a node at a time; what fails keeps what was in force and becomes the node's health; a node
//! is not evaluated before everything it refers to has been built.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use component::{BoxFuture, ComponentDef, Error, Health, HealthState, Node, NodeCx};
use eval::{Scope as EvalScope, Value};
use futures_util::FutureExt;
use parking_lot::Mutex;
use syntax::Diagnostic;
use syntax::ast::Statement;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use tracing::field::Empty;

use crate::block::{ConfigBlockDef, Refused};
use crate::graph::{Graph, Names};
use crate::loader::{Definition, NodeBlock, Planned};
use crate::modules::arguments::{ExportArgs, Vars, spec};
use crate::modules::custom::CustomNode;
use crate::modules::foreach::ForeachNode;
use crate::modules::instance::Module;
use crate::modules::tree_node::ImportNode;
use crate::scope::ImportSlot;
use crate::shared::Shared;

/// What a node does.
pub(crate) enum Kind {
    Component(ComponentDef, Arc<dyn Node>),
    Custom(CustomNode),
    Foreach(ForeachNode),
    Import(ImportNode),
    Config(Arc<ConfigBlockDef>),
    Argument,
    Export,
}

/// A node.
pub(crate) struct GraphNode {
    /// Unique in the process, never used again.
    pub(crate) serial: u64,
    pub(crate) id: String,
    pub(crate) global_id: String,
    pub(crate) kind: Kind,
    pub(crate) module: Weak<Module>,
    pub(crate) shared: Arc<Shared>,
    /// Counts changes of the exports.
    version: AtomicU64,
    built: AtomicBool,
    started: AtomicBool,
    pub(crate) stopping: CancellationToken,
    /// Cancelled when another with the same ID waits for this one to be gone; it tells what is inside too.
    pub(crate) successor: CancellationToken,
    seen: tokio::sync::Mutex<Option<Seen>>,
    own: Mutex<Own>,
}

/// Exports and health of nodes that are no built-in components.
struct Own {
    exports: Value,
    health: Health,
}

/// What the last successful evaluation was made from; the same again would do nothing.
struct Seen {
    block: Arc<NodeBlock>,
    vars: Vars,
    versions: Vec<(u64, u64)>,
}

impl PartialEq for Seen {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.block, &other.block)
            && Arc::ptr_eq(&self.vars, &other.vars)
            && self.versions == other.versions
    }
}

/// How an evaluation went.
pub(crate) struct Outcome {
    /// Others may be built on this node.
    pub(crate) built: bool,
    pub(crate) diagnostics: Vec<Diagnostic>,
}

impl Outcome {
    pub(crate) fn built() -> Self {
        Self { built: true, diagnostics: Vec::new() }
    }

    pub(crate) fn failed(diagnostics: Vec<Diagnostic>) -> Self {
        Self { built: false, diagnostics }
    }
}

/// Everything that an evaluation works with.
#[derive(Clone, Copy)]
pub(crate) struct Around<'a> {
    pub(crate) module: &'a Arc<Module>,
    pub(crate) graph: &'a Graph,
    pub(crate) outer: &'a [Arc<Graph>],
    pub(crate) planned: &'a Planned,
}

impl<'a> Around<'a> {
    pub(crate) fn names(&self) -> Names<'a> {
        Names { graph: self.graph, outer: self.outer }
    }

    pub(crate) fn block(&self) -> &'a Arc<NodeBlock> {
        &self.planned.block
    }

    /// Runs something with the scope of the node's expressions.
    pub(crate) fn scoped<R>(&self, run: impl FnOnce(&EvalScope<'_>) -> R) -> R {
        let names = self.names();
        run(&EvalScope::new(&names).with_stability(self.module.shared.definitions.stability))
    }
}

impl GraphNode {
    /// A node for a block of a plan that has no errors. `slot` is the place of an import's content.
    pub(crate) fn new(planned: &Planned, module: &Arc<Module>, slot: Option<Arc<ImportSlot>>) -> Arc<Self> {
        let block = &planned.block;
        let global_id = crate::loader::join(&module.global_id, &block.id);
        let shared = module.shared.clone();
        Arc::new_cyclic(|this: &Weak<Self>| {
            let kind = match &planned.definition {
                Definition::Component(definition) => {
                    let this = this.clone();
                    let on_exports = Arc::new(move || {
                        if let Some(node) = this.upgrade() {
                            node.exports_changed();
                        }
                    });
                    let cx = NodeCx {
                        global_id: global_id.clone(),
                        services: shared.services.clone(),
                        on_exports,
                    };
                    Kind::Component(*definition, shared.definitions.registry.node(definition, cx))
                }
                Definition::Custom => Kind::Custom(CustomNode::default()),
                Definition::Foreach => Kind::Foreach(ForeachNode::default()),
                Definition::Import(definition) => {
                    Kind::Import(ImportNode::new(*definition, slot.unwrap_or_default()))
                }
                Definition::Config(definition) => Kind::Config(definition.clone()),
                Definition::Argument => Kind::Argument,
                Definition::Export => Kind::Export,
                Definition::Unknown => unreachable!("a plan with an unknown component is not installed"),
            };
            Self {
                serial: shared.next_serial(),
                id: block.id.clone(),
                global_id,
                kind,
                module: Arc::downgrade(module),
                version: AtomicU64::new(0),
                built: AtomicBool::new(false),
                started: AtomicBool::new(false),
                stopping: shared.stop.child_token(),
                successor: module.successor.child_token(),
                shared,
                seen: tokio::sync::Mutex::new(None),
                own: Mutex::new(Own {
                    exports: Value::Null,
                    health: Health::now(HealthState::Unknown, "not evaluated yet"),
                }),
            }
        })
    }

    /// Whether the node can stand for a block after a reload.
    pub(crate) fn fits(&self, planned: &Planned) -> bool {
        match (&self.kind, &planned.definition) {
            (Kind::Component(a, _), Definition::Component(b)) => a.name == b.name,
            (Kind::Import(a), Definition::Import(b)) => a.definition.name == b.name,
            (Kind::Config(a), Definition::Config(b)) => Arc::ptr_eq(a, b),
            (Kind::Custom(_), Definition::Custom)
            | (Kind::Foreach(_), Definition::Foreach)
            | (Kind::Argument, Definition::Argument)
            | (Kind::Export, Definition::Export) => true,
            _ => false,
        }
    }

    pub(crate) fn is_built(&self) -> bool {
        self.built.load(Ordering::Acquire)
    }

    /// The present exports.
    pub(crate) fn exports(&self) -> Value {
        match &self.kind {
            Kind::Component(_, node) => node.exports(),
            _ => self.own.lock().exports.clone(),
        }
    }

    /// Replaces the exports of a node that is no built-in component.
    pub(crate) fn publish(&self, exports: Value) {
        {
            let mut own = self.own.lock();
            if own.exports == exports {
                return;
            }
            own.exports = exports;
        }
        self.exports_changed();
    }

    fn exports_changed(&self) {
        self.version.fetch_add(1, Ordering::AcqRel);
        let Some(module) = self.module.upgrade() else { return };
        if matches!(self.kind, Kind::Export) {
            module.export_changed();
        }
        module.wake_dependants(self);
    }

    /// The present health.
    pub(crate) fn health(&self) -> Health {
        let own = || self.own.lock().health.clone();
        match &self.kind {
            Kind::Component(_, node) => node.health(),
            Kind::Custom(custom) => custom.modules().iter().fold(own(), |h, m| m.worst(h)),
            Kind::Foreach(foreach) => foreach.modules().iter().fold(own(), |h, m| m.worst(h)),
            _ => own(),
        }
    }

    pub(crate) fn set_health(&self, health: Health) {
        let mut own = self.own.lock();
        if own.health.state != health.state || own.health.message != health.message {
            own.health = health;
        }
    }

    fn evaluation_failed(&self, message: String) {
        match &self.kind {
            Kind::Component(_, node) => node.evaluation_failed(message),
            _ => self.set_health(Health::unhealthy(message)),
        }
    }

    /// Evaluates the node against its module's present graph. Answers what is wrong; the node's health says
    /// so too.
    pub(crate) fn evaluate(self: Arc<Self>) -> BoxFuture<'static, Vec<Diagnostic>> {
        Box::pin(async move {
            let mut seen = self.seen.lock().await;
            let Some(module) = self.module.upgrade() else { return Vec::new() };
            let (graph, outer) = (module.graph(), module.outer_graphs());
            let Some((_, planned)) = graph.planned(&self) else { return Vec::new() };
            if self.stopping.is_cancelled() {
                return Vec::new();
            }
            let around = Around { module: &module, graph: &graph, outer: &outer, planned };
            if let Some(missing) = unbuilt(&around) {
                // That node's own diagnostic says why.
                self.evaluation_failed(format!("waits for {missing}, which could not be built"));
                *seen = None;
                return Vec::new();
            }
            let now = self.look(&around);
            let skips = !matches!(self.kind, Kind::Custom(_) | Kind::Foreach(_) | Kind::Argument);
            if skips && seen.as_ref() == Some(&now) {
                return Vec::new();
            }
            if !self.is_built() {
                let gone = self.shared.drains.wait(&self.global_id);
                let Some(()) = self.stopping.run_until_cancelled(gone).await else { return Vec::new() };
            }
            let timer = self.shared.metrics.evaluation(&module.global_id);
            let span = component::span!("EvaluateNode", "internal", node_id = self.global_id, error = Empty);
            let performed = AssertUnwindSafe(self.perform(around)).catch_unwind().instrument(span.clone());
            let Some(performed) = self.stopping.run_until_cancelled(performed).await else {
                return Vec::new();
            };
            drop(timer);
            let outcome = performed.unwrap_or_else(|panic| Outcome::failed(vec![panicked(planned, &*panic)]));
            if let Some(first) = outcome.diagnostics.iter().find(|d| d.is_error()) {
                span.record("error", first.message.as_str());
            }
            *seen = (outcome.diagnostics.iter().all(|d| !d.is_error())).then_some(now);
            if outcome.built {
                self.built.store(true, Ordering::Release);
            }
            self.note(&outcome);
            outcome.diagnostics
        })
    }

    /// Turns an evaluation's outcome into health, where the component has not done so itself.
    fn note(&self, outcome: &Outcome) {
        let first = outcome.diagnostics.iter().find(|d| d.is_error());
        match (first, &self.kind) {
            (None, Kind::Component(..)) => {}
            (None, _) => self.set_health(Health::healthy("evaluated")),
            // What is wrong inside a module is the health of the node at fault.
            (Some(_), Kind::Custom(_) | Kind::Foreach(_)) if outcome.built => {
                self.set_health(Health::healthy("evaluated"));
            }
            (Some(first), _) => self.evaluation_failed(first.message.clone()),
        }
    }

    fn look(&self, around: &Around<'_>) -> Seen {
        let names = around.names();
        let references = around.block().references.iter();
        let nodes = references.filter_map(|r| {
            let path: Vec<&str> = r.path.iter().map(|i| i.name.as_str()).collect();
            names.node(&path)
        });
        Seen {
            block: around.block().clone(),
            vars: around.graph.vars.clone(),
            versions: nodes.map(|n| (n.serial, n.version.load(Ordering::Acquire))).collect(),
        }
    }

    async fn perform(self: &Arc<Self>, around: Around<'_>) -> Outcome {
        let block = around.block();
        match &self.kind {
            Kind::Component(_, node) => {
                let label = block.block.label.as_ref();
                let prepared = around.scoped(|s| node.prepare(&block.source, &block.block.body, label, s));
                match prepared {
                    Err(diagnostics) => Outcome::failed(diagnostics),
                    Ok(prepared) => {
                        let mut diagnostics = prepared.warnings().to_vec();
                        let applied = node.apply(prepared).await;
                        let built = applied.is_ok();
                        diagnostics.extend(applied.err().map(|error| build_error(block, &error)));
                        Outcome { built, diagnostics }
                    }
                }
            }
            Kind::Custom(custom) => custom.evaluate(self, around).await,
            Kind::Foreach(foreach) => foreach.evaluate(self, around).await,
            Kind::Import(import) => import.evaluate(self, around).await,
            Kind::Config(config) => {
                match around.scoped(|s| config.set(&block.source, &block.block.body, s)) {
                    Ok(()) => Outcome::built(),
                    Err(Refused::Diagnostics(found)) => Outcome::failed(found),
                    Err(Refused::Error(error)) => Outcome::failed(vec![build_error(block, &error)]),
                }
            }
            Kind::Argument => {
                let label = block.label().unwrap_or_default();
                let passed = around.graph.inputs.get(label).cloned();
                let value = passed.or_else(|| around.scoped(|s| spec(block, s)).and_then(|s| s.default));
                self.publish(crate::loader::argument_value(value.unwrap_or(Value::Null)));
                Outcome::built()
            }
            Kind::Export => {
                let label = block.block.label.as_ref();
                let decoded =
                    around.scoped(|s| eval::decode::<ExportArgs>(&block.source, &block.block.body, label, s));
                match decoded {
                    (Some(args), _) => {
                        // The module's exports hold only what is built.
                        self.built.store(true, Ordering::Release);
                        self.publish(args.value);
                        Outcome::built()
                    }
                    (None, diagnostics) => Outcome::failed(diagnostics),
                }
            }
        }
    }

    /// Starts what is built and not running. `restart`: also what has ended by itself.
    pub(crate) fn start(self: &Arc<Self>, restart: bool) {
        match &self.kind {
            Kind::Component(_, node) => {
                if self.is_built() && (restart || !self.started.load(Ordering::Acquire)) {
                    self.started.store(true, Ordering::Release);
                    node.start();
                }
            }
            Kind::Custom(custom) => custom.start(self, restart),
            Kind::Foreach(foreach) => foreach.start(self, restart),
            Kind::Import(import) => {
                if !self.started.swap(true, Ordering::AcqRel) {
                    import.start(self);
                }
            }
            Kind::Config(_) | Kind::Argument | Kind::Export => {}
        }
    }

    /// Stops the node and everything in it.
    pub(crate) fn stop(self: Arc<Self>, deadline: Instant) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            self.stopping.cancel();
            // An evaluation under way ends at once, for it watches `stopping`.
            let _evaluation = self.seen.lock().await;
            match &self.kind {
                Kind::Component(_, node) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    let retired = node.retire(left.max(Duration::from_millis(1)), self.successor.clone());
                    match AssertUnwindSafe(retired).catch_unwind().await {
                        Ok(rest) => rest.into_iter().for_each(|rest| self.shared.drains.go_on(rest)),
                        Err(_) => tracing::error!(node = %self.global_id, "panicked while it stopped"),
                    }
                }
                Kind::Custom(custom) => stop_modules(custom.take(), deadline).await,
                Kind::Foreach(foreach) => stop_modules(foreach.take(), deadline).await,
                Kind::Config(_) | Kind::Import(_) | Kind::Argument | Kind::Export => {}
            }
            self.set_health(Health::now(HealthState::Exited, "stopped"));
        })
    }
}

async fn stop_modules(modules: Vec<Arc<Module>>, deadline: Instant) {
    futures_util::future::join_all(modules.iter().map(|m| m.stop(deadline))).await;
}

/// The first node that this one refers to and that has not been built.
fn unbuilt(around: &Around<'_>) -> Option<String> {
    // Arguments too: the first of them wakes its dependants while the walk has not come to the others yet.
    let mut needed = around.planned.dependencies.iter().map(|i| &around.graph.nodes[*i]);
    needed.find(|n| !n.is_built()).map(|n| n.id.clone())
}

fn panicked(planned: &Planned, panic: &(dyn std::any::Any + Send)) -> Diagnostic {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_string());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    planned.block.error("build_failed", format!("{} panicked: {text}", planned.block.id))
}

/// What a component says about its arguments, at the place of the argument that it names.
pub(crate) fn build_error(block: &NodeBlock, error: &Error) -> Diagnostic {
    let span = match error {
        Error::Argument { argument, .. } => argument_span(block, argument),
        _ => None,
    };
    let code = if span.is_some() { "invalid_value" } else { "build_failed" };
    Diagnostic::error(code, error.to_string(), &block.source, span.unwrap_or(block.header()))
}

/// Where a dotted argument is written; as far as it is.
fn argument_span(block: &NodeBlock, argument: &str) -> Option<syntax::Span> {
    let mut body = &block.block.body;
    let mut found = None;
    let mut rest = argument;
    while !rest.is_empty() {
        let mut matched = None;
        for statement in &body.statements {
            let (name, span) = match statement {
                Statement::Attribute(a) => (a.name.name.clone(), a.span()),
                Statement::Block(b) => (b.full_name(), b.header_span()),
            };
            if let Some(after) = rest.strip_prefix(&name)
                && (after.is_empty() || after.starts_with('.'))
            {
                matched = Some((statement, span, after.strip_prefix('.').unwrap_or(after)));
                break;
            }
        }
        let Some((statement, span, after)) = matched else { break };
        found = Some(span);
        rest = after;
        match statement {
            Statement::Block(inner) => body = &inner.body,
            Statement::Attribute(_) => break,
        }
    }
    found
}

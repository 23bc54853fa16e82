//! The static pass: every body against its schema, modules recursively, with what is not known yet
//! standing as `Value::Unknown`.
//!
//! Invariant: nothing runs and nothing is changed; only local files that import blocks name are read.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use component::{NodeCx, Services};
use eval::{Resolve, Scope as EvalScope, Value};
use futures_util::FutureExt;
use syntax::Diagnostic;

use super::blueprint::{BlockKind, Blueprint, NodeBlock};
use super::plan::{Definition, Plan, Planned, unknown_component};
use crate::definitions::Definitions;
use crate::modules::arguments::{ExportArgs, ForeachArgs, Passed, spec};
use crate::modules::import::{FetchCx, Import, ImportDef};
use crate::modules::tree::{Failed, Fetching, Grower};
use crate::scope::{Content, Custom, Found, ImportSlot, Scope};

/// How strict the pass is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Before a load: what an import cannot read is an error; declares that nobody uses are left alone.
    Load,
    /// `validate`: the files of another machine may be missing here; every declare is looked at.
    Validate,
}

/// What a module is given.
enum Inputs<'a> {
    /// By this instance.
    Passed(&'a BTreeMap<String, Value>),
    /// By nobody in particular.
    Any,
}

/// What imports hold that run at present, by global ID.
pub(crate) type RunningImports<'a> = &'a dyn Fn(&str) -> Option<Content>;

/// One static pass.
pub(crate) struct Checker<'a> {
    pub(crate) definitions: &'a Definitions,
    pub(crate) services: &'a Arc<Services>,
    pub(crate) mode: Mode,
    pub(crate) running: RunningImports<'a>,
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// Of every body that was looked at.
    pub(crate) scopes: Vec<Arc<Scope>>,
    open: Vec<Arc<Blueprint>>,
    used: HashSet<*const Blueprint>,
}

/// A body on its way through the pass.
struct Body<'a> {
    plan: &'a Plan,
    values: Vec<Value>,
    vars: Vec<(String, Value)>,
    outside: &'a dyn Resolve,
    path: &'a str,
}

impl Resolve for Body<'_> {
    fn resolve(&self, path: &[&str]) -> Option<(usize, Value)> {
        if let Some((_, value)) = self.vars.iter().rev().find(|(n, _)| path.first().is_some_and(|p| p == n)) {
            return Some((1, value.clone()));
        }
        match self.plan.match_path(path) {
            Some((used, position)) => Some((used, self.values[position].clone())),
            None => self.outside.resolve(path),
        }
    }

    fn names(&self) -> Vec<String> {
        let vars = self.vars.iter().map(|(n, _)| n.clone());
        vars.chain(self.plan.ids().map(str::to_string)).chain(self.outside.names()).collect()
    }
}

impl<'a> Checker<'a> {
    pub(crate) fn new(
        definitions: &'a Definitions,
        services: &'a Arc<Services>,
        mode: Mode,
        running: RunningImports<'a>,
    ) -> Self {
        Self {
            definitions,
            services,
            mode,
            running,
            diagnostics: Vec::new(),
            scopes: Vec::new(),
            open: Vec::new(),
            used: HashSet::new(),
        }
    }

    /// The pass over a whole configuration.
    pub(crate) fn root(&mut self, blueprint: &Arc<Blueprint>, module_path: &str, path: &str) {
        self.module(blueprint, None, module_path, Inputs::Any, &[], &(), path);
        self.tidy();
    }

    /// The same mistake in a declare shows in each instance of it: once is enough. What could not be read
    /// is not missing. In the order of the text.
    fn tidy(&mut self) {
        let mut kept: Vec<Diagnostic> = Vec::new();
        let unreadable = self.diagnostics.iter().any(|d| d.is_error() && d.code == "syntax");
        for diagnostic in std::mem::take(&mut self.diagnostics) {
            let follows = unreadable && matches!(diagnostic.code, "missing_argument" | "missing_block");
            if !follows && !kept.contains(&diagnostic) {
                kept.push(diagnostic);
            }
        }
        kept.sort_by(|a, b| place(a).cmp(&place(b)));
        self.diagnostics = kept;
    }

    fn module(
        &mut self,
        blueprint: &Arc<Blueprint>,
        parent: Option<Arc<Scope>>,
        module_path: &str,
        inputs: Inputs<'_>,
        vars: &[(String, Value)],
        outside: &dyn Resolve,
        path: &str,
    ) -> BTreeMap<String, Value> {
        if let Some(from) = self.open.iter().position(|b| Arc::ptr_eq(b, blueprint)) {
            self.recursion(from);
            return BTreeMap::new();
        }
        self.used.insert(Arc::as_ptr(blueprint));
        self.open.push(blueprint.clone());
        let imports = blueprint.nodes_of(BlockKind::Import);
        let imports = imports.map(|n| (n.label().unwrap_or_default().to_string(), Arc::default())).collect();
        let scope = Scope::new(blueprint, imports, parent, module_path.to_string());
        self.scopes.push(scope.clone());
        let plan = Plan::new(blueprint, &scope, self.definitions, &mut self.diagnostics);
        let mut all_vars = vec![("module_path".to_string(), Value::string(module_path))];
        all_vars.extend(vars.iter().cloned());
        let values = plan.nodes.iter().map(initial).collect();
        let mut body = Body { plan: &plan, values, vars: all_vars, outside, path };
        let mut exports = BTreeMap::new();
        for &position in &plan.order {
            let node = &plan.nodes[position];
            match node.definition {
                Definition::Argument => body.values[position] = self.argument(node, &body, &inputs),
                Definition::Export => {
                    let value = self.export(node, &body);
                    exports.insert(node.block.label().unwrap_or_default().to_string(), value);
                }
                _ => {
                    if let Some(value) = self.node(node, &body) {
                        body.values[position] = value;
                    }
                }
            }
        }
        if self.mode == Mode::Validate {
            self.unused(&scope, module_path, path);
        }
        self.open.pop();
        exports
    }

    fn recursion(&mut self, from: usize) {
        let names: Vec<&str> =
            self.open[from..].iter().chain(&self.open[from..=from]).map(|b| b.name.as_str()).collect();
        let message = format!("declares use each other in a circle: {}", names.join(" -> "));
        let diagnostic = match &self.open[from].header {
            Some((source, span)) => Diagnostic::error("cycle", message, source, *span),
            None => Diagnostic::plain("cycle", message),
        };
        self.diagnostics.push(diagnostic.with_help("a module cannot contain itself: break the circle"));
    }

    fn unused(&mut self, scope: &Arc<Scope>, module_path: &str, path: &str) {
        let imported = scope.imports.values().filter_map(|slot| match slot.get() {
            Content::Loaded(inner) => Some(inner),
            Content::Unknown => None,
        });
        for scope in std::iter::once(scope.clone()).chain(imported) {
            let module_path = if scope.module_path.is_empty() { module_path } else { &scope.module_path };
            for declare in scope.declares.values() {
                if !self.used.contains(&Arc::as_ptr(declare)) {
                    self.module(declare, Some(scope.clone()), module_path, Inputs::Any, &[], &(), path);
                }
            }
        }
    }

    /// Checks a node; the value that stands for it from now on, where that is known better now.
    fn node(&mut self, node: &Planned, body: &Body<'_>) -> Option<Value> {
        let block = &node.block;
        let scope = EvalScope::new(body).with_stability(self.definitions.stability);
        let label = block.block.label.as_ref();
        match &node.definition {
            Definition::Component(component) => {
                let found = (component.check)(&block.source, &block.block.body, label, &scope);
                let clean = !found.iter().any(Diagnostic::is_error);
                self.diagnostics.extend(found);
                if clean && self.mode == Mode::Validate {
                    return self.trial(component, block, body, &scope);
                }
            }
            Definition::Config(config) => {
                self.diagnostics.extend((config.check())(&block.source, &block.block.body, label, &scope));
            }
            Definition::Import(import) => self.import(*import, block, body, &scope),
            Definition::Foreach => self.foreach(block, body, &scope),
            Definition::Custom => return Some(self.custom(block, body, &scope)),
            Definition::Unknown | Definition::Argument | Definition::Export => {}
        }
        None
    }

    /// Builds a component whose arguments are known in a world of its own: `build` has no effects. What it
    /// answers are addresses that others can be built with; other exports are not what they will be.
    fn trial(
        &mut self,
        component: &component::ComponentDef,
        block: &NodeBlock,
        body: &Body<'_>,
        scope: &EvalScope<'_>,
    ) -> Option<Value> {
        let cx = NodeCx {
            global_id: join(body.path, &block.id),
            services: self.services.clone(),
            on_exports: Arc::new(|| {}),
        };
        let node = (component.node)(cx);
        let label = block.block.label.as_ref();
        // A refusal means that something is not known yet: the check above has found no mistake.
        let prepared = node.prepare(&block.source, &block.block.body, label, scope).ok()?;
        match node.apply(prepared).now_or_never()? {
            Ok(_) => Some(addresses(node.exports(), component)),
            Err(error) => {
                self.diagnostics.push(crate::node::build_error(block, &error));
                None
            }
        }
    }

    fn argument(&mut self, node: &Planned, body: &Body<'_>, inputs: &Inputs<'_>) -> Value {
        let block = &node.block;
        let scope = EvalScope::new(body).with_stability(self.definitions.stability);
        let check = eval::check::<crate::modules::arguments::ArgumentArgs>;
        let label = block.block.label.as_ref();
        self.diagnostics.extend(check(&block.source, &block.block.body, label, &scope));
        let value = match inputs {
            Inputs::Passed(values) => match values.get(block.label().unwrap_or_default()) {
                Some(value) => value.clone(),
                None => spec(block, &scope).and_then(|s| s.default).unwrap_or(Value::Null),
            },
            Inputs::Any => Value::Unknown(""),
        };
        argument_value(value)
    }

    fn export(&mut self, node: &Planned, body: &Body<'_>) -> Value {
        let block = &node.block;
        let scope = EvalScope::new(body).with_stability(self.definitions.stability);
        let label = block.block.label.as_ref();
        let found = eval::check::<ExportArgs>(&block.source, &block.block.body, label, &scope);
        let clean = !found.iter().any(Diagnostic::is_error);
        self.diagnostics.extend(found);
        let written = block.block.body.attributes().find(|a| a.name.name == "value").filter(|_| clean);
        let value = written.and_then(|a| eval::evaluate(&a.value, &block.source, &scope).ok());
        value.unwrap_or(Value::Unknown(""))
    }

    fn foreach(&mut self, block: &NodeBlock, body: &Body<'_>, scope: &EvalScope<'_>) {
        let label = block.block.label.as_ref();
        let found = eval::check::<ForeachArgs>(&block.source, &block.block.body, label, scope);
        self.diagnostics.extend(found);
        let Some(template) = &block.template else { return };
        let var = block.block.body.attributes().find(|a| a.name.name == "var");
        let var = var.and_then(|a| eval::evaluate(&a.value, &block.source, scope).ok());
        let var = var.as_ref().and_then(Value::as_str).unwrap_or("item");
        let vars = [(var.to_string(), Value::Unknown(""))];
        let around = Some(body.plan.scope.clone());
        let path = join(body.path, &block.id);
        self.module(template, around, &body.plan.scope.module_path, Inputs::Any, &vars, body, &path);
    }

    fn import(&mut self, import: ImportDef, block: &NodeBlock, body: &Body<'_>, scope: &EvalScope<'_>) {
        let Some(slot) = body.plan.scope.imports.get(block.label().unwrap_or_default()) else { return };
        let label = block.block.label.as_ref();
        let found = (import.check)(&block.source, &block.block.body, label, scope);
        let clean = !found.iter().any(Diagnostic::is_error);
        self.diagnostics.extend(found);
        let global_id = join(body.path, &block.id);
        if let Some(content) = (self.running)(&global_id) {
            slot.set(content);
        }
        if !clean {
            return;
        }
        // What is refused now depends on values that are not known yet.
        let Ok(import) = (import.decode)(&block.source, &block.block.body, label, scope) else { return };
        self.grow(&*import, block, slot, body, global_id);
    }

    fn grow(
        &mut self,
        import: &dyn Import,
        block: &NodeBlock,
        slot: &ImportSlot,
        body: &Body<'_>,
        global_id: String,
    ) {
        let cx = FetchCx { data_path: PathBuf::from(global_id), services: self.services.clone() };
        let grower = Grower { definitions: self.definitions, cx, fetching: Fetching::Now };
        let grown = grower.grow(import, &body.plan.scope.module_path, 0).now_or_never();
        match grown {
            Some(Ok(tree)) => slot.set(Content::Loaded(tree.scope)),
            None | Some(Err(Failed::NotNow)) => {}
            Some(Err(Failed::Content(found))) => self.diagnostics.extend(found),
            Some(Err(Failed::Fetch(message))) => {
                let message = format!("the module could not be read: {message}");
                let usable = matches!(slot.get(), Content::Loaded(_));
                let diagnostic = if self.mode == Mode::Validate || usable {
                    Diagnostic::warning("import_failed", message, &block.source, block.header())
                } else {
                    block.error("import_failed", message)
                };
                self.diagnostics.push(diagnostic.with_help("what it declares could not be checked"));
            }
        }
    }

    fn custom(&mut self, block: &NodeBlock, body: &Body<'_>, scope: &EvalScope<'_>) -> Value {
        let passed = Passed::of(block, scope);
        self.diagnostics.extend(passed.diagnostics.iter().cloned());
        let Custom { blueprint, scope: around, .. } = match body.plan.scope.find(&block.name) {
            Found::Declare(custom) => custom,
            Found::Missing(names) => {
                let candidates: Vec<&str> = names.iter().map(String::as_str).collect();
                self.diagnostics.push(unknown_component(block, &candidates));
                return Value::Unknown("");
            }
            Found::Pending(_) | Found::NotHere => return Value::Unknown(""),
        };
        self.diagnostics.extend(passed.check(block, &blueprint, scope));
        let path = join(body.path, &block.id);
        let module_path = around.module_path.clone();
        let mut values = passed.values;
        for argument in blueprint.nodes_of(BlockKind::Argument) {
            // What did not evaluate has been reported and is not to be reported as missing too.
            let label = argument.label().unwrap_or_default();
            if !values.contains_key(label) && passed.diagnostics.iter().any(Diagnostic::is_error) {
                values.insert(label.to_string(), Value::Unknown(""));
            }
        }
        let inputs = Inputs::Passed(&values);
        let exports = self.module(&blueprint, Some(around), &module_path, inputs, &[], &(), &path);
        Value::object(exports)
    }
}

fn place(diagnostic: &Diagnostic) -> Option<(&str, syntax::Span)> {
    diagnostic.location.as_ref().map(|l| (l.source.name(), l.span))
}

/// What stands for a node before anything else is known of it.
fn initial(node: &Planned) -> Value {
    match &node.definition {
        Definition::Component(component) => {
            let exports = (component.exports)().iter();
            Value::object(exports.map(|e| (e.name.to_string(), Value::Unknown(&e.code_type))).collect())
        }
        Definition::Argument => argument_value(Value::Unknown("")),
        _ => Value::Unknown(""),
    }
}

/// What `argument.x` is.
pub(crate) fn argument_value(value: Value) -> Value {
    Value::object(BTreeMap::from([("value".to_string(), value)]))
}

/// Exports of a component that was built for a trial: only opaque values are what they will be.
fn addresses(exports: Value, component: &component::ComponentDef) -> Value {
    let built = exports.as_object().unwrap_or_default();
    let export = |schema: &'static eval::ExportSchema| {
        let value = match built.get(schema.name) {
            Some(Value::Capsule(c)) if c.content().as_object().is_none() => Value::Capsule(c.clone()),
            _ => Value::Unknown(&schema.code_type),
        };
        (schema.name.to_string(), value)
    };
    Value::object((component.exports)().iter().map(export).collect())
}

/// The global ID of something in a module.
pub(crate) fn join(path: &str, id: &str) -> String {
    if path.is_empty() { id.to_string() } else { format!("{path}/{id}") }
}

//! An instance of a declare: a node with a module inside.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use syntax::Diagnostic;

use super::arguments::Passed;
use super::instance::{Body, Module};
use crate::loader::unknown_component;
use crate::node::{Around, GraphNode, Outcome};
use crate::scope::{Custom, Found, ImportSlot};

/// The inside of a custom component.
#[derive(Default)]
pub(crate) struct CustomNode(Mutex<State>);

#[derive(Default)]
struct State {
    module: Option<Arc<Module>>,
    import: Option<Arc<ImportSlot>>,
}

impl CustomNode {
    /// The module inside, once there is one.
    pub(crate) fn modules(&self) -> Vec<Arc<Module>> {
        self.0.lock().module.iter().cloned().collect()
    }

    /// Takes the module out, to stop it.
    pub(crate) fn take(&self) -> Vec<Arc<Module>> {
        self.0.lock().module.take().into_iter().collect()
    }

    /// Whether the declare comes from that import.
    pub(crate) fn uses(&self, slot: &Arc<ImportSlot>) -> bool {
        self.0.lock().import.as_ref().is_some_and(|s| Arc::ptr_eq(s, slot))
    }

    pub(crate) async fn evaluate(&self, node: &Arc<GraphNode>, around: Around<'_>) -> Outcome {
        let (custom, passed) = match self.decode(around) {
            Ok(decoded) => decoded,
            Err(diagnostics) => return Outcome::failed(diagnostics),
        };
        let module = {
            let mut state = self.0.lock();
            state.import = custom.import;
            let new = || {
                Module::new(node.global_id.clone(), node.shared.clone(), Arc::downgrade(node), Weak::new())
            };
            state.module.get_or_insert_with(new).clone()
        };
        let body = Body {
            blueprint: custom.blueprint,
            module_path: custom.scope.module_path.clone(),
            around: Some(custom.scope),
            vars: Vec::new(),
            inputs: passed.values,
        };
        if let Err(diagnostics) = module.install(body) {
            return Outcome::failed(diagnostics);
        }
        let diagnostics = module.walk().await;
        node.publish(module.exports());
        Outcome { built: module.exports_built(), diagnostics }
    }

    fn decode(&self, around: Around<'_>) -> Result<(Custom, Passed), Vec<Diagnostic>> {
        let block = around.block();
        let custom = match around.graph.plan.scope.find(&block.name) {
            Found::Declare(custom) => custom,
            Found::Missing(names) => {
                let candidates: Vec<&str> = names.iter().map(String::as_str).collect();
                return Err(vec![unknown_component(block, &candidates)]);
            }
            Found::Pending(slot) => {
                self.0.lock().import = Some(slot);
                let message = format!("{:?} comes from an import that has no content yet", block.name);
                return Err(vec![block.error("import_failed", message)]);
            }
            Found::NotHere => return Err(vec![unknown_component(block, &[])]),
        };
        let (passed, problems) = around.scoped(|scope| {
            let passed = Passed::of(block, scope);
            let mut problems: Vec<_> = passed.diagnostics.iter().filter(|d| d.is_error()).cloned().collect();
            problems.extend(passed.check(block, &custom.blueprint, scope));
            (passed, problems)
        });
        if problems.is_empty() { Ok((custom, passed)) } else { Err(problems) }
    }

    pub(crate) fn start(&self, node: &Arc<GraphNode>, restart: bool) {
        if !node.stopping.is_cancelled() {
            self.modules().iter().for_each(|m| m.start(restart));
        }
    }
}

//! `foreach`: an instance of its template for each item of a collection.
//!
//! An item's identity is made from the item, or from one of its fields; an instance lives as long as its
//! identity is in the collection, whatever the order.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use eval::Value;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::arguments::ForeachArgs;
use super::instance::{Body, Module};
use crate::node::{Around, GraphNode, Outcome};

/// The instances of a template.
#[derive(Default)]
pub(crate) struct ForeachNode {
    instances: Mutex<BTreeMap<String, Arc<Module>>>,
    /// Without an item, not yet told to stop.
    leaving: Mutex<Vec<Arc<Module>>>,
}

impl ForeachNode {
    /// The instances.
    pub(crate) fn modules(&self) -> Vec<Arc<Module>> {
        self.instances.lock().values().cloned().collect()
    }

    /// Takes the instances out, to stop them.
    pub(crate) fn take(&self) -> Vec<Arc<Module>> {
        let instances = std::mem::take(&mut *self.instances.lock()).into_values();
        instances.chain(std::mem::take(&mut *self.leaving.lock())).collect()
    }

    pub(crate) async fn evaluate(&self, node: &Arc<GraphNode>, around: Around<'_>) -> Outcome {
        let block = around.block();
        let label = block.block.label.as_ref();
        let decoded =
            around.scoped(|s| eval::decode::<ForeachArgs>(&block.source, &block.block.body, label, s));
        let args = match decoded {
            (Some(args), _) => args,
            (None, diagnostics) => return Outcome::failed(diagnostics),
        };
        let Some(template) = &block.template else {
            return Outcome::failed(vec![block.error("missing_block", "block \"template\" is required")]);
        };
        node.shared.services.metrics.hide(&node.global_id, !args.enable_metrics);
        let items = keyed(&args);
        self.retire(&items);
        let mut diagnostics = Vec::new();
        let mut installed = true;
        for (key, item) in items {
            let global_id = crate::loader::join(&node.global_id, &key);
            // The same item may have come back while its last instance still drains.
            node.shared.drains.wait(&global_id).await;
            let module = self.instance(node, around, key, global_id);
            let body = Body {
                blueprint: template.clone(),
                around: Some(around.graph.plan.scope.clone()),
                module_path: around.graph.plan.scope.module_path.clone(),
                vars: vec![(args.var.clone(), item)],
                inputs: BTreeMap::new(),
            };
            match module.install(body) {
                Ok(()) => diagnostics.extend(module.walk().await),
                Err(found) => {
                    installed = false;
                    diagnostics.extend(found);
                }
            }
        }
        Outcome { built: installed, diagnostics }
    }

    fn instance(
        &self,
        node: &Arc<GraphNode>,
        around: Around<'_>,
        key: String,
        global_id: String,
    ) -> Arc<Module> {
        let mut instances = self.instances.lock();
        let new = || {
            let (owner, outer) = (Arc::downgrade(node), Arc::downgrade(around.module));
            Module::new(global_id, node.shared.clone(), owner, outer)
        };
        instances.entry(key).or_insert_with(new).clone()
    }

    fn retire(&self, items: &[(String, Value)]) {
        let mut instances = self.instances.lock();
        let gone: Vec<String> =
            instances.keys().filter(|k| !items.iter().any(|(key, _)| key == *k)).cloned().collect();
        let gone = gone.iter().filter_map(|k| instances.remove(k));
        self.leaving.lock().extend(gone);
    }

    pub(crate) fn start(&self, node: &Arc<GraphNode>, restart: bool) {
        if node.stopping.is_cancelled() {
            return;
        }
        self.modules().iter().for_each(|m| m.start(restart));
        let deadline = node.shared.services.shutdown_deadline;
        for module in std::mem::take(&mut *self.leaving.lock()) {
            let (id, successor) = (module.global_id.clone(), module.successor.clone());
            let end = async move { module.stop(Instant::now() + deadline).await };
            node.shared.drains.run(&id, &successor, end);
        }
    }
}

/// Items with the names of their instances: `foreach_<identity>_<n>`, n counting equal identities from 1.
fn keyed(args: &ForeachArgs) -> Vec<(String, Value)> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    let key = |item: &Value| {
        let field = item.as_object().and_then(|o| o.get(&args.id).cloned());
        let identity = identity(field.as_ref().unwrap_or(item), args.hash_string_id);
        let count = counts.entry(identity.clone()).or_default();
        *count += 1;
        format!("foreach_{identity}_{count}")
    };
    let mut key = key;
    args.collection.iter().map(|item| (key(item), item.clone())).collect()
}

fn identity(value: &Value, hash_strings: bool) -> String {
    match value {
        Value::String(text) if !hash_strings => {
            text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect()
        }
        Value::String(text) => hash(text),
        Value::Number(number) => {
            number.to_text().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
        }
        other => hash(&other.to_source()),
    }
}

fn hash(text: &str) -> String {
    const_hex::encode(Sha256::digest(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_items_are_counted_and_a_field_can_be_the_identity() {
        let mut args = ForeachArgs {
            collection: vec!["a.b".into(), 3i64.into(), "a.b".into()],
            var: "item".into(),
            id: String::new(),
            hash_string_id: false,
            enable_metrics: false,
        };
        let keys = |args: &ForeachArgs| keyed(args).into_iter().map(|(k, _)| k).collect::<Vec<_>>();
        assert_eq!(keys(&args), ["foreach_a_b_1", "foreach_3_1", "foreach_a_b_2"]);
        let object = |id: &str| Value::object(BTreeMap::from([("id".to_string(), id.into())]));
        args.collection = vec![object("x"), object("y")];
        args.id = "id".into();
        assert_eq!(keys(&args), ["foreach_x_1", "foreach_y_1"]);
    }
}

//! An import block's node: fetches, looks again, and keeps what it has when that fails.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use component::{Health, Services};
use parking_lot::Mutex;
use syntax::Diagnostic;
use tokio::sync::Notify;

use super::import::{FetchCx, Import, ImportDef};
use super::tree::{Failed, Fetching, Grower, Tree};
use crate::node::{Around, GraphNode, Kind, Outcome};
use crate::scope::{Content, ImportSlot};
use crate::watch::Watch;

/// The state of an import block.
pub(crate) struct ImportNode {
    pub(crate) definition: ImportDef,
    pub(crate) slot: Arc<ImportSlot>,
    present: Mutex<Option<Present>>,
    /// The arguments have changed: look at `present` again.
    changed: Notify,
}

#[derive(Clone)]
struct Present {
    import: Arc<dyn Import>,
    inherited: String,
    hash: u64,
    poll: Option<Duration>,
    watch: Vec<PathBuf>,
}

impl ImportNode {
    pub(crate) fn new(definition: ImportDef, slot: Arc<ImportSlot>) -> Self {
        Self { definition, slot, present: Mutex::default(), changed: Notify::new() }
    }

    pub(crate) async fn evaluate(&self, node: &Arc<GraphNode>, around: Around<'_>) -> Outcome {
        let block = around.block();
        let label = block.block.label.as_ref();
        let decoded = around.scoped(|s| (self.definition.decode)(&block.source, &block.block.body, label, s));
        let import = match decoded {
            Ok(import) => import,
            Err(diagnostics) => return self.outcome(diagnostics),
        };
        let inherited = around.graph.plan.scope.module_path.clone();
        let same = |p: &Present| p.import.same(&*import) && p.inherited == inherited;
        if self.present.lock().as_ref().is_some_and(same) {
            return Outcome::built();
        }
        match self.get(node, &import, &inherited).await {
            Ok(tree) => {
                self.put(node, import, inherited, tree);
                self.changed.notify_one();
                Outcome::built()
            }
            Err(failed) => self.outcome(diagnostics(block, failed)),
        }
    }

    /// What was there before goes on.
    fn outcome(&self, diagnostics: Vec<Diagnostic>) -> Outcome {
        Outcome { built: matches!(self.slot.get(), Content::Loaded(_)), diagnostics }
    }

    async fn get(&self, node: &GraphNode, import: &Arc<dyn Import>, inherited: &str) -> Result<Tree, Failed> {
        let services: Arc<Services> = node.shared.services.clone();
        let cx = FetchCx { data_path: services.storage.join(&node.global_id), services };
        let grower = Grower { definitions: &node.shared.definitions, cx, fetching: Fetching::Full };
        grower.grow(&**import, inherited, 0).await
    }

    fn put(&self, node: &GraphNode, import: Arc<dyn Import>, inherited: String, tree: Tree) {
        let mut present = self.present.lock();
        let same = present.as_ref().is_some_and(|p| p.hash == tree.hash && p.inherited == inherited);
        *present = Some(Present { import, inherited, hash: tree.hash, poll: tree.poll, watch: tree.watch });
        drop(present);
        if !same {
            self.slot.set(Content::Loaded(tree.scope));
            if let Some(module) = node.module.upgrade() {
                module.wake_users(&self.slot);
            }
        }
    }

    /// Looks for new content from now on, until the node stops.
    pub(crate) fn start(&self, node: &Arc<GraphNode>) {
        let (node, stop) = (Arc::downgrade(node), node.stopping.clone());
        tokio::spawn(async move {
            let looking = async {
                let mut watch = None;
                while let Some(node) = node.upgrade() {
                    let Kind::Import(this) = &node.kind else { return };
                    watch = this.look(&node, watch.take()).await;
                }
            };
            stop.run_until_cancelled(looking).await;
        });
    }

    /// Waits until there is a reason to look again, and looks. The watch for the next time is set before
    /// that: what changes while we look is not missed.
    async fn look(&self, node: &Arc<GraphNode>, watch: Option<Watch>) -> Option<Watch> {
        let (poll, paths) = self.reasons();
        let mut watch = watch.unwrap_or_else(|| Watch::new(&paths));
        let poll = async {
            match poll {
                Some(time) => tokio::time::sleep(time).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = poll => {}
            () = watch.changed() => {}
            // New arguments, and with them new content: only the reasons have changed.
            () = self.changed.notified() => return None,
        }
        let next = watch.renew(&paths);
        self.refresh(node).await;
        (self.reasons().1 == paths).then_some(next)
    }

    fn reasons(&self) -> (Option<Duration>, Vec<PathBuf>) {
        self.present.lock().as_ref().map_or((None, Vec::new()), |p| (p.poll, p.watch.clone()))
    }

    async fn refresh(&self, node: &Arc<GraphNode>) {
        let Some(present) = self.present.lock().clone() else { return };
        match self.get(node, &present.import, &present.inherited).await {
            Ok(tree) => {
                let current = self.present.lock().clone();
                // New arguments have arrived in the meantime: this is an answer to the old ones.
                if !current.is_some_and(|c| c.import.same(&*present.import)) {
                    return;
                }
                self.put(node, present.import, present.inherited, tree);
                node.set_health(Health::healthy("module is up to date"));
            }
            Err(failed) => {
                let message = match failed {
                    Failed::Fetch(message) => message,
                    Failed::NotNow => "the module was not fetched".to_string(),
                    Failed::Content(found) => {
                        let first = found.iter().find(|d| d.is_error());
                        first.map(|d| d.message.clone()).unwrap_or_default()
                    }
                };
                tracing::error!(node = %node.global_id, "the module could not be refreshed, the old one stays: {message}");
                node.set_health(Health::unhealthy(format!("could not be refreshed: {message}")));
            }
        }
    }
}

fn diagnostics(block: &crate::loader::NodeBlock, failed: Failed) -> Vec<Diagnostic> {
    match failed {
        Failed::Content(found) => found,
        Failed::Fetch(message) => {
            vec![block.error("import_failed", format!("the module could not be read: {message}"))]
        }
        Failed::NotNow => vec![block.error("import_failed", "the module was not fetched")],
    }
}

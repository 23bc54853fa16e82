//! The runtime: loads configurations, keeps their graph running, and shuts it down.
//!
//! Data path of a load: sources → static pass → plan of the whole tree → evaluation, dependencies first →
//! start. Invariant: whatever the static pass refuses changes nothing that runs.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use component::{HealthState, Registry, Services};
use syntax::{Diagnostic, Source};
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::block::{ConfigBlockDef, Refused};
use crate::definitions::Definitions;
use crate::hide::hide_secrets;
use crate::loader::{BlockKind, Blueprint, Checker, Mode, join, read};
use crate::modules::file::directory;
use crate::modules::import::ImportDef;
use crate::modules::instance::{Body, Module};
use crate::node::Kind;
use crate::own_metrics::OwnMetrics;
use crate::scheduler::spawn_workers;
use crate::scope::{Content, Scope};
use crate::secrets::scopes_of;
use crate::shared::Shared;
use crate::snapshot::Snapshot;

/// What a runtime is made with.
pub struct Options {
    /// The components.
    pub registry: Registry,
    /// Blocks of the configuration's root.
    pub blocks: Vec<ConfigBlockDef>,
    /// Kinds of import blocks besides `import.file` and `import.string`.
    pub imports: Vec<ImportDef>,
    /// The process's services; their `stability` is the level from which on items may be used.
    pub services: Arc<Services>,
}

/// A configuration that is in force.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// What works, but maybe not as somebody thinks.
    pub warnings: Vec<Diagnostic>,
}

/// Why a configuration is not, or not wholly, in force.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", first_error(diagnostics))]
pub struct LoadError {
    /// All problems, warnings included.
    pub diagnostics: Vec<Diagnostic>,
    /// The configuration is in force, but some of its components are not: they keep what they had, or
    /// do not run.
    pub applied: bool,
}

fn first_error(diagnostics: &[Diagnostic]) -> String {
    let errors: Vec<_> = diagnostics.iter().filter(|d| d.is_error()).collect();
    match errors[..] {
        [] => "the configuration could not be loaded".to_string(),
        [only] => only.message.clone(),
        [first, ..] => format!("{} (and {} more)", first.message, errors.len() - 1),
    }
}

/// A component of the root that does not do what it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unhealthy {
    /// Its name in the configuration language.
    pub name: String,
    /// Name and label.
    pub id: String,
    /// Why.
    pub message: String,
}

/// Runs configurations. Cheap to clone. Dropping the last clone ends the runtime's own tasks; components
/// end with [`Runtime::shutdown`].
#[derive(Clone)]
pub struct Runtime(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    root: Arc<Module>,
    loading: tokio::sync::Mutex<()>,
    loaded: AtomicBool,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

impl Runtime {
    /// A runtime without a configuration. Has to be called within a tokio runtime.
    pub fn new(options: Options) -> Self {
        let stability = options.services.stability;
        let definitions = Definitions::new(options.registry, options.blocks, options.imports, stability);
        let metrics = OwnMetrics::new(&options.services);
        let shared = Shared::new(definitions, options.services, metrics);
        let root = Module::new(String::new(), shared.clone(), Default::default(), Default::default());
        shared.metrics.set_root(&root);
        spawn_workers(&shared);
        Self(Arc::new(Inner {
            shared,
            root,
            loading: tokio::sync::Mutex::new(()),
            loaded: AtomicBool::new(false),
        }))
    }

    /// Loads a configuration, in place of the one in force. A first load is in force wholly or not at all;
    /// later, a component that fails keeps what it had while the rest is applied.
    /// It goes on to its end even if the caller goes away. `module_path` is the folder of the first source, if that
    /// is a file.
    pub async fn load(&self, sources: Vec<Source>) -> Result<Loaded, LoadError> {
        let folder = module_path(&sources);
        self.load_in(sources, folder).await
    }

    /// As [`Runtime::load`], with `folder` as `module_path`.
    pub(crate) async fn load_in(&self, sources: Vec<Source>, folder: String) -> Result<Loaded, LoadError> {
        let this = self.clone();
        let load = tokio::spawn(async move {
            let _one_at_a_time = this.0.loading.lock().await;
            let span = component::span!("GraphEvaluate", "internal");
            let mut scopes = Vec::new();
            let mut result = this.load_locked(&sources, folder, &mut scopes).instrument(span).await;
            let found = match &mut result {
                Ok(loaded) => &mut loaded.warnings,
                Err(error) => &mut error.diagnostics,
            };
            // What was fetched is not known before it runs.
            scopes_of(&this.0.root, &mut scopes);
            hide_secrets(found, &this.0.shared.definitions, &scopes);
            let applied = result.as_ref().map_or_else(|error| error.applied, |_| true);
            this.0.shared.metrics.loaded(&sources, result.is_ok(), applied);
            result
        });
        load.await.unwrap_or_else(|error| {
            let diagnostic =
                Diagnostic::plain("load_failed", format!("the load ended without a result: {error}"));
            Err(LoadError { diagnostics: vec![diagnostic], applied: false })
        })
    }

    /// Takes note of a load that failed before there was anything to load.
    pub(crate) fn load_failed(&self) {
        self.0.shared.metrics.loaded(&[], false, false);
    }

    async fn load_locked(
        &self,
        sources: &[Source],
        module_path: String,
        scopes: &mut Vec<Arc<Scope>>,
    ) -> Result<Loaded, LoadError> {
        let shared = &self.0.shared;
        if shared.stop.is_cancelled() {
            let diagnostic = Diagnostic::plain("stopping", "the program is stopping and loads nothing more");
            return Err(LoadError { diagnostics: vec![diagnostic], applied: false });
        }
        let Checked { blueprint, mut diagnostics, scopes: seen } = self.static_pass(sources, &module_path);
        *scopes = seen;
        if diagnostics.iter().any(Diagnostic::is_error) {
            return Err(LoadError { diagnostics, applied: false });
        }
        let first = !self.0.loaded.load(Ordering::Acquire);
        diagnostics.extend(defaults(&shared.definitions, &blueprint));
        let body = Body { blueprint, around: None, module_path, vars: Vec::new(), inputs: BTreeMap::new() };
        if let Err(found) = self.0.root.install(body) {
            diagnostics.extend(found);
            return Err(LoadError { diagnostics, applied: false });
        }
        let graph = self.0.root.graph();
        for block in &shared.definitions.blocks {
            block.tell_carriers(|| graph.carriers(block.name()));
        }
        once(&mut diagnostics, self.0.root.walk().await);
        let failed = diagnostics.iter().any(Diagnostic::is_error);
        if first && failed {
            self.0.root.stop(Instant::now() + shared.services.shutdown_deadline).await;
            return Err(LoadError { diagnostics, applied: false });
        }
        self.0.root.start(true);
        self.0.loaded.store(true, Ordering::Release);
        if failed {
            return Err(LoadError { diagnostics, applied: true });
        }
        Ok(Loaded { warnings: diagnostics })
    }

    fn static_pass(&self, sources: &[Source], module_path: &str) -> Checked {
        let shared = &self.0.shared;
        let root = &self.0.root;
        let running = |global_id: &str| running_import(root, "", global_id);
        check(&shared.definitions, &shared.services, Mode::Load, &running, sources, module_path)
    }

    /// Whether a configuration has been in force.
    pub fn is_ready(&self) -> bool {
        self.0.loaded.load(Ordering::Acquire)
    }

    /// The components of the root that do not do what they should; empty: all is well.
    pub fn unhealthy(&self) -> Vec<Unhealthy> {
        let graph = self.0.root.graph();
        let nodes = graph.nodes.iter().zip(&graph.plan.nodes);
        let sick = nodes.filter_map(|(node, planned)| {
            let health = node.health();
            (health.state == HealthState::Unhealthy).then(|| Unhealthy {
                name: planned.block.name.clone(),
                id: node.id.clone(),
                message: health.message,
            })
        });
        sick.collect()
    }

    /// What runs, for people to look at.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(&self.0.root)
    }

    /// The process's services.
    pub fn services(&self) -> &Arc<Services> {
        &self.0.shared.services
    }

    /// Returns when no component waits for evaluation because another's exports have changed.
    pub async fn settled(&self) {
        self.0.shared.scheduler.settled().await;
    }

    /// Returns when nothing that a reload has removed is on its way out any more.
    pub async fn drained(&self) {
        self.0.shared.drains.finished().await;
    }

    /// Stops everything, sources first; whatever has not ended at the deadline is aborted. A load under way
    /// ends early, and nothing can be loaded afterwards.
    pub async fn shutdown(&self, deadline: Duration) {
        self.0.shared.stop.cancel();
        let _one_at_a_time = self.0.loading.lock().await;
        let at = Instant::now() + deadline;
        self.0.loaded.store(false, Ordering::Release);
        self.0.root.stop(at).await;
        // Of earlier reloads; their own deadlines may be later than ours.
        if tokio::time::timeout_at(at, self.drained()).await.is_err() {
            tracing::warn!("components that were removed earlier have not ended in time");
        }
    }
}

/// The whole static pass, and beyond it a trial build of every component whose arguments are known.
/// Nothing runs and nothing is changed. `converted` is the file that the sources were made of, if they were.
pub fn validate(options: Options, sources: &[Source], converted: Option<&Path>) -> Vec<Diagnostic> {
    let stability = options.services.stability;
    let mut definitions = Definitions::new(options.registry, options.blocks, options.imports, stability);
    definitions.labels_required = true;
    let scratch = scratch(&options.services);
    let folder = converted.map_or_else(|| module_path(sources), directory);
    let checked = check(&definitions, &scratch, Mode::Validate, &|_| None, sources, &folder);
    let mut found = checked.diagnostics;
    hide_secrets(&mut found, &definitions, &checked.scopes);
    found
}

/// What a static pass has found.
struct Checked {
    blueprint: Arc<Blueprint>,
    diagnostics: Vec<Diagnostic>,
    scopes: Vec<Arc<Scope>>,
}

fn check(
    definitions: &Definitions,
    services: &Arc<Services>,
    mode: Mode,
    running: &dyn Fn(&str) -> Option<Content>,
    sources: &[Source],
    module_path: &str,
) -> Checked {
    let mut diagnostics = Vec::new();
    let blueprint = Arc::new(read(sources, definitions, &mut diagnostics));
    let mut checker = Checker::new(definitions, services, mode, running);
    checker.diagnostics = diagnostics;
    checker.root(&blueprint, module_path, "");
    Checked { blueprint, diagnostics: checker.diagnostics, scopes: checker.scopes }
}

/// Services that nobody else sees: what a trial build registers is gone with it.
fn scratch(services: &Services) -> Arc<Services> {
    Arc::new(Services {
        metrics: Default::default(),
        handlers: Default::default(),
        live_debug: Default::default(),
        legacies: Default::default(),
        storage: services.storage.clone(),
        memory_address: services.memory_address.clone(),
        stability: services.stability,
        shutdown_deadline: services.shutdown_deadline,
        hostname: services.hostname.clone(),
        version: services.version,
        instance_id: services.instance_id.clone(),
        trial: true,
    })
}

/// What an evaluation finds may be known from the static pass, and shows in each instance of a module.
fn once(known: &mut Vec<Diagnostic>, found: Vec<Diagnostic>) {
    for diagnostic in found {
        if !known.contains(&diagnostic) {
            known.push(diagnostic);
        }
    }
}

/// Root blocks that are not written have the arguments of empty ones.
fn defaults(definitions: &Definitions, blueprint: &Blueprint) -> Vec<Diagnostic> {
    let written: Vec<&str> = blueprint.nodes_of(BlockKind::Config).map(|n| n.name.as_str()).collect();
    let absent = definitions.blocks.iter().filter(|b| !written.contains(&b.name()));
    let mut diagnostics = Vec::new();
    for block in absent {
        match block.set_defaults() {
            Ok(()) => {}
            Err(Refused::Diagnostics(found)) => diagnostics.extend(found),
            Err(Refused::Error(error)) => {
                let message = format!("the defaults of {:?} could not be applied: {error}", block.name());
                diagnostics.push(Diagnostic::plain("build_failed", message));
            }
        }
    }
    diagnostics
}

/// The directory of the configuration; empty for a text that is no file.
fn module_path(sources: &[Source]) -> String {
    let file = sources.first().map(|s| Path::new(s.name()));
    file.filter(|f| f.exists()).map(directory).unwrap_or_default()
}

/// The content that an import block has at present.
fn running_import(module: &Module, path: &str, global_id: &str) -> Option<Content> {
    module.graph().nodes.iter().find_map(|node| {
        let inside = match &node.kind {
            Kind::Import(import) if node.global_id == global_id => return Some(import.slot.get()),
            Kind::Custom(custom) => custom.modules(),
            Kind::Foreach(foreach) => foreach.modules(),
            _ => return None,
        };
        let prefix = join(path, &node.id);
        if !global_id.starts_with(&prefix) {
            return None;
        }
        inside.iter().find_map(|m| running_import(m, &prefix, global_id))
    })
}

//! An import with the imports inside it: fetched, read and checked as one.
//!
//! Invariant: a tree comes out whole or not at all, so that what an import held before can stay.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use component::BoxFuture;
use eval::{Scope as EvalScope, Value};
use syntax::ast::Statement;
use syntax::{Diagnostic, Source};

use super::arguments::VarNames;
use super::import::{FetchCx, Import, ModuleText};
use crate::definitions::Definitions;
use crate::loader::{BlockKind, Blueprint, NodeBlock, Place, unknown_component};
use crate::scope::{Content, ImportSlot, Scope};

/// Deeper nesting means that a module imports itself.
const MAX_DEPTH: usize = 16;

/// What an import block stands for.
pub(crate) struct Tree {
    /// The scope of the imported module.
    pub(crate) scope: Arc<Scope>,
    /// Of all texts.
    pub(crate) hash: u64,
    /// How often to look again.
    pub(crate) poll: Option<Duration>,
    /// Files and directories to watch.
    pub(crate) watch: Vec<PathBuf>,
}

/// Why there is no tree.
pub(crate) enum Failed {
    /// It could not be fetched.
    Fetch(String),
    /// Fetching needs the network, and this is the static pass.
    NotNow,
    /// What was fetched is wrong.
    Content(Vec<Diagnostic>),
}

/// How texts are got.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Fetching {
    /// Over the network too.
    Full,
    /// Only what needs neither network nor time: then the future is ready at once.
    Now,
}

/// Gets trees.
#[derive(Clone)]
pub(crate) struct Grower<'a> {
    pub(crate) definitions: &'a Definitions,
    pub(crate) cx: FetchCx,
    pub(crate) fetching: Fetching,
}

impl Grower<'_> {
    /// Gets an import and everything inside. `inherited` is the importing module's `module_path`.
    pub(crate) fn grow<'a>(
        &'a self,
        import: &'a dyn Import,
        inherited: &'a str,
        depth: usize,
    ) -> BoxFuture<'a, Result<Tree, Failed>> {
        Box::pin(async move {
            let texts = match self.fetching {
                Fetching::Full => import.fetch(&self.cx).await,
                Fetching::Now => import.read_now().ok_or(Failed::NotNow)?,
            };
            let texts = texts.map_err(Failed::Fetch)?;
            let mut hasher = DefaultHasher::new();
            texts.hash(&mut hasher);
            let blueprint = read(&texts, self.definitions).map_err(Failed::Content)?;
            let module_path = import.module_path(inherited, &self.cx);
            let mut tree = Tree {
                scope: Scope::new(&blueprint, BTreeMap::new(), None, module_path.clone()),
                hash: 0,
                poll: import.poll(),
                watch: import.watch().into_iter().collect(),
            };
            let mut imports = BTreeMap::new();
            for node in blueprint.nodes_of(BlockKind::Import) {
                let slot = Arc::new(ImportSlot::default());
                match self.inner(import, node, &module_path, depth).await {
                    Ok(inner) => {
                        inner.hash.hash(&mut hasher);
                        tree.poll = tree.poll.into_iter().chain(inner.poll).min();
                        tree.watch.extend(inner.watch);
                        slot.set(Content::Loaded(inner.scope));
                    }
                    Err(Failed::NotNow) => {}
                    Err(failed) => return Err(failed),
                }
                imports.insert(node.label().unwrap_or_default().to_string(), slot);
            }
            tree.scope = Scope::new(&blueprint, imports, None, module_path);
            tree.hash = hasher.finish();
            Ok(tree)
        })
    }

    async fn inner(
        &self,
        outer: &dyn Import,
        node: &NodeBlock,
        module_path: &str,
        depth: usize,
    ) -> Result<Tree, Failed> {
        let refused = |d| Failed::Content(vec![d]);
        if depth == MAX_DEPTH {
            // Wrong at any time, and not for want of a server or a file: no module can be meant so.
            let message =
                format!("imports nest deeper than {MAX_DEPTH} levels: does a module import itself?");
            let help = "take this import away, or what leads to it";
            return Err(refused(node.error("import_failed", message).with_help(help)));
        }
        let definition = self.definitions.import(&node.name);
        let definition = definition.ok_or_else(|| refused(unknown_component(node, &[])))?;
        if !outer.trusted() && node.name == "import.file" {
            let message = "a module that comes over the network may not import files of this machine";
            return Err(refused(node.error("misplaced_block", message)));
        }
        let import = {
            let vars = [("module_path".to_string(), Value::string(module_path))];
            let names = VarNames(&vars);
            let scope = EvalScope::new(&names).with_stability(self.definitions.stability);
            let label = node.block.label.as_ref();
            (definition.decode)(&node.source, &node.block.body, label, &scope).map_err(Failed::Content)?
        };
        // A folder of its own: two imports that keep data must not share one.
        let folder = self.cx.data_path.join(node.block.id());
        let inner = Grower { cx: FetchCx { data_path: folder, ..self.cx.clone() }, ..self.clone() };
        inner.grow(&*import, module_path, depth + 1).await
    }
}

/// Reads the texts of one import. Of declares with the same label in several texts the first wins, as in
/// Alloy; everything else that stands twice is an error.
fn read(texts: &[ModuleText], definitions: &Definitions) -> Result<Blueprint, Vec<Diagnostic>> {
    let mut statements: Vec<(Source, Statement)> = Vec::new();
    let mut problems = Vec::new();
    let mut declared = std::collections::HashSet::new();
    for text in texts {
        let source = Source::new(&*text.name, &*text.text);
        let source = if text.is_secret { source.concealed() } else { source };
        let (file, found) = syntax::parse(&source);
        problems.extend(found.into_iter().filter(Diagnostic::is_error));
        for statement in file.body.statements {
            let declare = match &statement {
                Statement::Block(b) if b.full_name() == "declare" => b.label.as_ref().map(|l| l.name.clone()),
                _ => None,
            };
            if let Some(label) = declare
                && !declared.insert(label.clone())
            {
                tracing::warn!(
                    label,
                    file = source.name(),
                    "declared already in another file of the import: left out"
                );
                continue;
            }
            statements.push((source.clone(), statement));
        }
    }
    let blueprint = Blueprint::new("import", Place::Imported, statements, &definitions.config_names());
    problems.extend(blueprint.diagnostics.iter().filter(|d| d.is_error()).cloned());
    if problems.is_empty() { Ok(blueprint) } else { Err(problems) }
}

//! What a configuration may consist of: components, root blocks, imports, and from which level on.

use std::sync::Arc;

use component::{Registry, Stability};

use crate::block::ConfigBlockDef;
use crate::modules::file::FileArgs;
use crate::modules::import::{ImportDef, StringArgs};

/// All that a name in a configuration can mean before anything is declared.
#[derive(Clone)]
pub struct Definitions {
    pub(crate) registry: Registry,
    pub(crate) blocks: Vec<Arc<ConfigBlockDef>>,
    pub(crate) imports: Vec<ImportDef>,
    pub(crate) stability: Stability,
    /// Custom components need labels too (`validate`).
    pub(crate) labels_required: bool,
}

impl Definitions {
    /// `imports` are added to `import.file` and `import.string`.
    pub fn new(
        registry: Registry,
        blocks: Vec<ConfigBlockDef>,
        imports: Vec<ImportDef>,
        stability: Stability,
    ) -> Self {
        let mut all = vec![ImportDef::of::<FileArgs>(), ImportDef::of::<StringArgs>()];
        all.extend(imports);
        let blocks = blocks.into_iter().map(Arc::new).collect();
        Self { registry, blocks, imports: all, stability, labels_required: false }
    }

    pub(crate) fn config_block(&self, name: &str) -> Option<&Arc<ConfigBlockDef>> {
        self.blocks.iter().find(|b| b.name() == name)
    }

    pub(crate) fn import(&self, name: &str) -> Option<ImportDef> {
        self.imports.iter().find(|i| i.name == name).copied()
    }

    pub(crate) fn config_names(&self) -> Vec<&'static str> {
        self.blocks.iter().map(|b| b.name()).collect()
    }

    /// All names of blocks, for suggestions.
    pub(crate) fn names(&self) -> Vec<&str> {
        let language = ["declare", "argument", "export", "foreach"];
        let blocks = self.blocks.iter().map(|b| b.name());
        let imports = self.imports.iter().map(|i| i.name);
        self.registry.iter().map(|c| c.name).chain(blocks).chain(imports).chain(language).collect()
    }
}

//! Lexical scopes: which custom components a body can name.
//!
//! A scope holds the declares and imports of one body and knows the one around it. What an import holds
//! may change while the program runs, so it is looked up at evaluation.
//! Invariant: a declare's body sees its own scope and those around it, never the place where it is used.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::loader::Blueprint;

/// The declares and imports of one body.
pub struct Scope {
    /// Declares by label.
    pub declares: BTreeMap<String, Arc<Blueprint>>,
    /// Imports by label.
    pub imports: BTreeMap<String, Arc<ImportSlot>>,
    /// The scope around it.
    pub parent: Option<Arc<Scope>>,
    /// What `module_path` is in this body.
    pub module_path: String,
}

/// What an import block stands for at present.
#[derive(Clone)]
pub enum Content {
    /// Nobody knows before the program runs, or it could not be fetched.
    Unknown,
    /// The scope of the imported module.
    Loaded(Arc<Scope>),
}

/// The place of an import's content; lives as long as the import block's node.
pub struct ImportSlot(RwLock<Content>);

impl Default for ImportSlot {
    fn default() -> Self {
        Self(RwLock::new(Content::Unknown))
    }
}

impl ImportSlot {
    /// What it holds.
    pub fn get(&self) -> Content {
        self.0.read().clone()
    }

    /// Replaces what it holds.
    pub fn set(&self, content: Content) {
        *self.0.write() = content;
    }
}

/// What the name of a component block means by lexical scope.
pub enum Found {
    /// No declare and no import has that first segment: it is a built-in, or unknown.
    NotHere,
    /// A custom component.
    Declare(Custom),
    /// From an import whose content is not known.
    Pending(Arc<ImportSlot>),
    /// The namespace is there, the component in it is not; with the names that are.
    Missing(Vec<String>),
}

/// A declare that was found.
#[derive(Clone)]
pub struct Custom {
    /// Its body.
    pub blueprint: Arc<Blueprint>,
    /// The scope it stands in.
    pub scope: Arc<Scope>,
    /// The import it comes from.
    pub import: Option<Arc<ImportSlot>>,
}

impl Scope {
    /// A scope around a body.
    pub fn new(
        blueprint: &Blueprint,
        imports: BTreeMap<String, Arc<ImportSlot>>,
        parent: Option<Arc<Scope>>,
        module_path: String,
    ) -> Arc<Self> {
        Arc::new(Self { declares: blueprint.declares.clone(), imports, parent, module_path })
    }

    /// Looks a component's name up, nearest scope first.
    pub fn find(self: &Arc<Self>, name: &str) -> Found {
        let (first, rest) = name.split_once('.').map_or((name, None), |(f, r)| (f, Some(r)));
        let mut scope = self;
        loop {
            if let Some(blueprint) = scope.declares.get(first) {
                return match rest {
                    None => Found::Declare(Custom {
                        blueprint: blueprint.clone(),
                        scope: scope.clone(),
                        import: None,
                    }),
                    Some(_) => Found::Missing(vec![first.to_string()]),
                };
            }
            if let Some(slot) = scope.imports.get(first) {
                return find_imported(slot, first, rest);
            }
            match &scope.parent {
                Some(parent) => scope = parent,
                None => return Found::NotHere,
            }
        }
    }

    /// Names of all custom components that can be seen, for suggestions.
    pub fn custom_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.declares.keys().cloned().collect();
        for (namespace, slot) in &self.imports {
            if let Content::Loaded(scope) = slot.get() {
                names.extend(scope.declares.keys().map(|n| format!("{namespace}.{n}")));
            }
        }
        if let Some(parent) = &self.parent {
            names.extend(parent.custom_names());
        }
        names
    }
}

fn find_imported(slot: &Arc<ImportSlot>, namespace: &str, rest: Option<&str>) -> Found {
    let Content::Loaded(scope) = slot.get() else { return Found::Pending(slot.clone()) };
    match rest.and_then(|name| scope.declares.get(name)) {
        Some(blueprint) => {
            Found::Declare(Custom { blueprint: blueprint.clone(), scope, import: Some(slot.clone()) })
        }
        None => Found::Missing(scope.declares.keys().map(|n| format!("{namespace}.{n}")).collect()),
    }
}

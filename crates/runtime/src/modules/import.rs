//! Import blocks: where modules come from.
//!
//! What `import.file` and `import.string` need lives here; fetching over the network is given to the
//! runtime by the program as further [`ImportDef`]s.

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use component::{Arguments, BoxFuture, Services, Stability};
use eval::{Arguments, BodySchema, OptionalSecret, Scope};
use syntax::ast::{Body, Ident};
use syntax::{Diagnostic, Source};

use crate::block::Check;

/// What a fetch may use.
#[derive(Clone)]
pub struct FetchCx {
    /// A folder that belongs to the import block; it may not exist yet.
    pub data_path: PathBuf,
    /// The process's services.
    pub services: Arc<Services>,
}

/// A text that holds a part of a module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ModuleText {
    /// What diagnostics call it: a path, an address.
    pub name: String,
    /// The text.
    pub text: String,
    /// Diagnostics show none of its lines.
    pub is_secret: bool,
}

/// The arguments of one kind of import block, with what it does.
pub trait ImportSource: Arguments + Clone + PartialEq + Sync {
    /// The block's name.
    const NAME: &'static str;
    /// What is fetched may name files of this machine: false for what comes over the network.
    const TRUSTED: bool;

    /// Reads what can be read without the network and without effects; `None` where that is impossible.
    /// Used by the static pass.
    fn read_now(&self) -> Option<Result<Vec<ModuleText>, String>> {
        None
    }

    /// Gets the texts.
    fn fetch<'a>(&'a self, cx: &'a FetchCx) -> BoxFuture<'a, Result<Vec<ModuleText>, String>>;

    /// How often to look again.
    fn poll(&self) -> Option<Duration> {
        None
    }

    /// A file or directory whose change is a reason to look again at once.
    fn watch(&self) -> Option<PathBuf> {
        None
    }

    /// What `module_path` is inside; `inherited` is that of the importing module.
    fn module_path(&self, inherited: &str, cx: &FetchCx) -> String;
}

/// An [`ImportSource`] with its type erased.
pub(crate) trait Import: Send + Sync {
    fn trusted(&self) -> bool;
    fn read_now(&self) -> Option<Result<Vec<ModuleText>, String>>;
    fn fetch<'a>(&'a self, cx: &'a FetchCx) -> BoxFuture<'a, Result<Vec<ModuleText>, String>>;
    fn poll(&self) -> Option<Duration>;
    fn watch(&self) -> Option<PathBuf>;
    fn module_path(&self, inherited: &str, cx: &FetchCx) -> String;
    fn same(&self, other: &dyn Import) -> bool;
    fn as_any(&self) -> &dyn Any;
}

impl<A: ImportSource> Import for A {
    fn trusted(&self) -> bool {
        A::TRUSTED
    }
    fn read_now(&self) -> Option<Result<Vec<ModuleText>, String>> {
        ImportSource::read_now(self)
    }
    fn fetch<'a>(&'a self, cx: &'a FetchCx) -> BoxFuture<'a, Result<Vec<ModuleText>, String>> {
        ImportSource::fetch(self, cx)
    }
    fn poll(&self) -> Option<Duration> {
        ImportSource::poll(self)
    }
    fn watch(&self) -> Option<PathBuf> {
        ImportSource::watch(self)
    }
    fn module_path(&self, inherited: &str, cx: &FetchCx) -> String {
        ImportSource::module_path(self, inherited, cx)
    }
    fn same(&self, other: &dyn Import) -> bool {
        other.as_any().downcast_ref::<A>() == Some(self)
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

type Decode = fn(&Source, &Body, Option<&Ident>, &Scope<'_>) -> Result<Arc<dyn Import>, Vec<Diagnostic>>;

/// One kind of import block as the loader knows it.
#[derive(Clone, Copy)]
pub struct ImportDef {
    /// The block's name.
    pub name: &'static str,
    /// How settled it is.
    pub stability: Stability,
    /// What may stand in it.
    pub schema: fn() -> &'static BodySchema,
    pub(crate) check: Check,
    pub(crate) decode: Decode,
}

impl ImportDef {
    /// Describes a kind of import block.
    pub const fn of<A: ImportSource>() -> Self {
        Self {
            name: A::NAME,
            stability: Stability::GenerallyAvailable,
            schema: A::schema,
            check: eval::check::<A>,
            decode: |source, body, label, scope| match eval::decode::<A>(source, body, label, scope) {
                (Some(args), _) => Ok(Arc::new(args)),
                (None, diagnostics) => Err(diagnostics),
            },
        }
    }
}

/// `import.string "x" { … }`
#[derive(Clone, Debug, PartialEq, Arguments)]
pub(crate) struct StringArgs {
    /// The module itself.
    pub(crate) content: OptionalSecret,
}

impl ImportSource for StringArgs {
    const NAME: &'static str = "import.string";
    const TRUSTED: bool = true;

    fn read_now(&self) -> Option<Result<Vec<ModuleText>, String>> {
        let text = self.content.reveal().to_string();
        let (name, is_secret) = ("import.string".to_string(), self.content.is_secret());
        Some(Ok(vec![ModuleText { name, text, is_secret }]))
    }

    fn fetch<'a>(&'a self, _cx: &'a FetchCx) -> BoxFuture<'a, Result<Vec<ModuleText>, String>> {
        let texts = ImportSource::read_now(self).unwrap_or_else(|| Ok(Vec::new()));
        Box::pin(std::future::ready(texts))
    }

    fn module_path(&self, inherited: &str, _cx: &FetchCx) -> String {
        inherited.to_string()
    }
}

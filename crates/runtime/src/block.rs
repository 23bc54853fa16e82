//! Blocks of the configuration's root that are no components: `logging`, `tracing`, `http`, …
//!
//! The program registers them with a function that takes the arguments. Each is a node of the graph while
//! it is written; a block that is not, or no longer, written counts as written with nothing in it.

use component::{Error, Stability};
use eval::{Arguments, BodySchema, Item, Scope};
use parking_lot::Mutex;
use syntax::ast::{Body, Ident};
use syntax::{Diagnostic, Source};

/// The static pass over a body, as in `ComponentDef`.
pub(crate) type Check = fn(&Source, &Body, Option<&Ident>, &Scope<'_>) -> Vec<Diagnostic>;

/// A root block, its arguments' type erased.
pub struct ConfigBlockDef {
    name: &'static str,
    stability: Stability,
    schema: fn() -> &'static BodySchema,
    check: Check,
    setting: Box<dyn Setting>,
    carriers: Option<Box<dyn Fn(Vec<String>) + Send + Sync>>,
}

/// Why arguments did not come into force; the ones before stay.
pub(crate) enum Refused {
    Diagnostics(Vec<Diagnostic>),
    Error(Error),
}

trait Setting: Send + Sync {
    fn set(&self, source: &Source, body: &Body, scope: &Scope<'_>) -> Result<(), Refused>;
    fn arguments(&self) -> Vec<Item>;
}

struct Typed<A, F> {
    present: Mutex<Option<A>>,
    apply: F,
}

impl<A, F> Setting for Typed<A, F>
where
    A: Arguments + Clone + PartialEq + Sync,
    F: Fn(&A) -> Result<(), Error> + Send + Sync,
{
    fn set(&self, source: &Source, body: &Body, scope: &Scope<'_>) -> Result<(), Refused> {
        let (decoded, diagnostics) = eval::decode::<A>(source, body, None, scope);
        let args = decoded.ok_or(Refused::Diagnostics(diagnostics))?;
        let mut present = self.present.lock();
        if present.as_ref() != Some(&args) {
            (self.apply)(&args).map_err(Refused::Error)?;
            *present = Some(args);
        }
        Ok(())
    }

    fn arguments(&self) -> Vec<Item> {
        let mut items = Vec::new();
        if let Some(args) = &*self.present.lock() {
            args.encode(&mut items);
        }
        items
    }
}

impl ConfigBlockDef {
    /// A block whose arguments are an `A`. `apply` is called when they differ from those in force; it must
    /// not wait, and on an error the old ones stay.
    pub fn new<A: Arguments + Clone + PartialEq + Sync>(
        name: &'static str,
        stability: Stability,
        apply: impl Fn(&A) -> Result<(), Error> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            stability,
            schema: A::schema,
            check: eval::check::<A>,
            setting: Box::new(Typed::<A, _> { present: Mutex::new(None), apply }),
            carriers: None,
        }
    }

    /// Has `tell` told at every load, before anything new runs, which components data passes through that
    /// is sent to receivers in this block: their global IDs, and those of modules as wholes.
    #[must_use]
    pub fn with_carriers(mut self, tell: impl Fn(Vec<String>) + Send + Sync + 'static) -> Self {
        self.carriers = Some(Box::new(tell));
        self
    }

    pub(crate) fn tell_carriers(&self, carriers: impl FnOnce() -> Vec<String>) {
        if let Some(tell) = &self.carriers {
            tell(carriers());
        }
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// How settled it is.
    pub fn stability(&self) -> Stability {
        self.stability
    }

    /// What may stand in it.
    pub fn schema(&self) -> &'static BodySchema {
        (self.schema)()
    }

    /// The arguments in force.
    pub fn arguments(&self) -> Vec<Item> {
        self.setting.arguments()
    }

    pub(crate) fn check(&self) -> Check {
        self.check
    }

    pub(crate) fn set(&self, source: &Source, body: &Body, scope: &Scope<'_>) -> Result<(), Refused> {
        self.setting.set(source, body, scope)
    }

    /// Puts the arguments of an empty block into force.
    pub(crate) fn set_defaults(&self) -> Result<(), Refused> {
        self.set(&Source::new(self.name, ""), &Body::default(), &Scope::new(&()))
    }
}

//! What authors implement, and its type-erased description for the runtime.

use std::marker::PhantomData;
use std::sync::Arc;

use eval::syntax::{Diagnostic, Source, ast};
use eval::{Arguments, BodySchema, ExportSchema, Exports, Scope, Stability};

use crate::context::{BuildCx, RunCx};
use crate::error::Error;
use crate::kind::Of;
use crate::node::{ComponentNode, Node, NodeCx, PureNode};

/// A component with a task: it owns time, I/O or a place in the data path.
pub trait Component: Sized + Send + 'static {
    /// Its name in the configuration language; also the path of its folder.
    const NAME: &'static str;
    /// How settled it is.
    const STABILITY: Stability;
    /// Its page in the reference: Markdown, without the generated tables.
    const DOCS: &'static str;
    /// What its block may say.
    type Args: Arguments + Clone + PartialEq + Sync;
    /// What others may refer to.
    type Exports: Exports + Clone + PartialEq;

    /// Checks the arguments as far as possible without I/O, makes ports and first exports. Nothing is
    /// spawned or opened here.
    fn build(args: Self::Args, cx: &BuildCx) -> Result<(Self, Self::Exports), Error>;

    /// Runs until [`crate::Event::Stop`] and takes updates as they come. An error or a return without
    /// being asked leaves the node *exited* until the next reload.
    fn run(self, cx: RunCx<Self>) -> impl Future<Output = Result<(), Error>> + Send;
}

/// A component that is a function of its arguments: no task, no state.
pub trait Pure: 'static {
    /// Its name in the configuration language; also the path of its folder.
    const NAME: &'static str;
    /// How settled it is.
    const STABILITY: Stability;
    /// Its page in the reference: Markdown, without the generated tables.
    const DOCS: &'static str;
    /// What its block may say.
    type Args: Arguments + Clone + PartialEq + Sync;
    /// What others may refer to.
    type Exports: Exports + Clone + PartialEq;

    /// The function.
    fn evaluate(args: &Self::Args, cx: &BuildCx) -> Result<Self::Exports, Error>;
}

/// A component as the runtime, the reference and `validate` see it.
///
/// Lists of them are `static`s. A `const` is made anew where it is named, and with it all generic code behind these
/// pointers: the crate that joins the families would compile every component once more, one after the other.
#[derive(Clone, Copy)]
pub struct ComponentDef {
    /// Name in the configuration language.
    pub name: &'static str,
    /// How settled it is.
    pub stability: Stability,
    /// Reference page without the generated tables.
    pub docs: &'static str,
    /// Arguments and blocks.
    pub arguments: fn() -> &'static BodySchema,
    /// Exports.
    pub exports: fn() -> &'static [ExportSchema],
    /// The static pass over one body: no side effects.
    pub check: fn(&Source, &ast::Body, Option<&ast::Ident>, &Scope<'_>) -> Vec<Diagnostic>,
    /// A node that has not been evaluated yet.
    pub node: fn(NodeCx) -> Arc<dyn Node>,
}

impl ComponentDef {
    /// Describes a component with a task.
    pub const fn of<C: Component>() -> Self {
        Self {
            name: C::NAME,
            stability: C::STABILITY,
            docs: C::DOCS,
            arguments: <C::Args as Arguments>::schema,
            exports: <C::Exports as Exports>::schema,
            check: eval::check::<C::Args>,
            node: |cx| Arc::new(ComponentNode::new(&Of::<C>(PhantomData), cx)),
        }
    }

    /// Describes a pure component.
    pub const fn pure<P: Pure>() -> Self {
        Self {
            name: P::NAME,
            stability: P::STABILITY,
            docs: P::DOCS,
            arguments: <P::Args as Arguments>::schema,
            exports: <P::Exports as Exports>::schema,
            check: eval::check::<P::Args>,
            node: |cx| Arc::new(PureNode::<P>::new(cx)),
        }
    }
}

/// A component of Alloy that this program does not have, and what to do instead: who asks for it is told more than
/// that the name is unknown.
#[derive(Clone, Copy, Debug)]
pub struct Absent {
    /// `pyroscope.java`
    pub name: &'static str,
    /// What is not there, and what to use instead.
    pub instead: &'static str,
}

/// Makes the node of a component; by default what the definition itself makes.
pub type MakeNode = Arc<dyn Fn(&ComponentDef, NodeCx) -> Arc<dyn Node> + Send + Sync>;

/// All components of a program, sorted by name.
#[derive(Clone, Default)]
pub struct Registry {
    all: Arc<Vec<ComponentDef>>,
    make: Option<MakeNode>,
    absent: Arc<Vec<Absent>>,
}

impl Registry {
    /// Collects the lists of the families.
    ///
    /// # Panics
    /// If two components have the same name: that is a mistake in this program.
    pub fn new(families: &[&[ComponentDef]]) -> Self {
        let mut all: Vec<_> = families.concat();
        all.sort_by_key(|d| d.name);
        assert!(all.windows(2).all(|w| w[0].name != w[1].name), "two components share a name");
        Self { all: Arc::new(all), absent: Arc::default(), make: None }
    }

    /// Adds components of nobody's family.
    ///
    /// # Panics
    /// As [`Registry::new`].
    #[must_use]
    pub fn with(self, more: &[ComponentDef]) -> Self {
        Self { all: Self::new(&[&self.all, more]).all, ..self }
    }

    /// Has running graphs made of other nodes: tests of pipelines stand them before the true ones. Names, schemas
    /// and the static pass stay those of the true components.
    #[must_use]
    pub fn with_nodes(mut self, make: MakeNode) -> Self {
        self.make = Some(make);
        self
    }

    /// A node of a component for a running graph.
    pub fn node(&self, definition: &ComponentDef, cx: NodeCx) -> Arc<dyn Node> {
        match &self.make {
            Some(make) => make(definition, cx),
            None => (definition.node)(cx),
        }
    }

    /// Adds what is known not to be there.
    #[must_use]
    pub fn without(mut self, absent: &[Absent]) -> Self {
        assert!(absent.iter().all(|a| self.get(a.name).is_none()), "a component is there and is not");
        Arc::make_mut(&mut self.absent).extend_from_slice(absent);
        self
    }

    /// What to use instead of a component that is known not to be there.
    pub fn instead_of(&self, name: &str) -> Option<&'static str> {
        self.absent.iter().find(|a| a.name == name).map(|a| a.instead)
    }

    /// The component of a name.
    pub fn get(&self, name: &str) -> Option<&ComponentDef> {
        self.all.binary_search_by(|d| d.name.cmp(name)).ok().map(|i| &self.all[i])
    }

    /// All of them, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = &ComponentDef> {
        self.all.iter()
    }
}

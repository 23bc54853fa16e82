//! Where names in an expression are looked up: local variables, then what the host knows, then the
//! standard library.

use std::borrow::Cow;
use std::cell::RefCell;

use syntax::Diagnostic;

use crate::value::Value;

/// How settled a thing is. A configuration may use what is at least as settled as its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Stability {
    /// May change or go.
    Experimental,
    /// May still change.
    PublicPreview,
    /// Stays.
    #[default]
    GenerallyAvailable,
}

impl Stability {
    /// As flags and reference write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Experimental => "experimental",
            Self::PublicPreview => "public-preview",
            Self::GenerallyAvailable => "generally-available",
        }
    }
}

/// What the host puts behind names: exports of components, arguments of a module.
pub trait Resolve {
    /// `path` holds the identifiers of an access chain (`["loki", "write", "x", "receiver"]`). Answers how
    /// many of them it stands for and the value; `None` for a name it does not know. In a static pass the
    /// value of a component is an object that has each export as [`Value::Unknown`] with its `code_type`,
    /// so that a misspelt export is found.
    fn resolve(&self, path: &[&str]) -> Option<(usize, Value)>;

    /// Names that could have been meant, dotted, for suggestions.
    fn names(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Knows no name.
impl Resolve for () {
    fn resolve(&self, _path: &[&str]) -> Option<(usize, Value)> {
        None
    }
}

/// The names visible to an expression, and the level of stability allowed.
pub struct Scope<'a> {
    resolver: &'a dyn Resolve,
    variables: Vec<(Cow<'a, str>, Value)>,
    stability: Stability,
    warnings: RefCell<Vec<Diagnostic>>,
}

impl<'a> Scope<'a> {
    /// A scope over what the host knows, at the level `generally-available`.
    pub fn new(resolver: &'a dyn Resolve) -> Self {
        Self {
            resolver,
            variables: Vec::new(),
            stability: Stability::GenerallyAvailable,
            warnings: RefCell::default(),
        }
    }

    /// Adds a local variable, which shadows everything of its name.
    #[must_use]
    pub fn with_variable(mut self, name: impl Into<Cow<'a, str>>, value: Value) -> Self {
        self.variables.push((name.into(), value));
        self
    }

    /// Sets the least settled level that may be used.
    #[must_use]
    pub fn with_stability(mut self, stability: Stability) -> Self {
        self.stability = stability;
        self
    }

    /// The least settled level that may be used.
    pub fn stability(&self) -> Stability {
        self.stability
    }

    /// The warnings of the evaluations since the last call. [`crate::decode`] and [`crate::check`] return
    /// them among their diagnostics.
    pub fn take_warnings(&self) -> Vec<Diagnostic> {
        std::mem::take(&mut self.warnings.borrow_mut())
    }

    pub(crate) fn warn(&self, warning: Diagnostic) {
        self.warnings.borrow_mut().push(warning);
    }

    /// Variables and host; the standard library comes after.
    pub(crate) fn resolve(&self, path: &[&str]) -> Option<(usize, Value)> {
        let variable = self.variables.iter().rev().find(|(name, _)| path.first().is_some_and(|p| name == p));
        match variable {
            Some((_, value)) => Some((1, value.clone())),
            None => self.resolver.resolve(path),
        }
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let variables = self.variables.iter().map(|(n, _)| n.clone().into_owned());
        variables.chain(self.resolver.names()).collect()
    }
}

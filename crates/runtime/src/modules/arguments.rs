//! The blocks `argument`, `export` and `foreach`, and what an instance passes to a module.

use std::collections::BTreeMap;
use std::sync::Arc;

use component::Arguments;
use eval::{Invalid, Resolve, Scope, Value};
use syntax::ast::Statement;
use syntax::{Diagnostic, Span};

use crate::loader::{BlockKind, Blueprint, NodeBlock};

/// `argument "x" { … }`
#[derive(Clone, Debug, PartialEq, Arguments)]
pub(crate) struct ArgumentArgs {
    /// An instance may leave it out.
    #[arg(default)]
    pub(crate) optional: bool,
    /// Its value where an instance leaves it out.
    pub(crate) default: Option<Value>,
    /// For readers.
    #[arg(default)]
    pub(crate) comment: String,
}

/// `export "x" { … }`
#[derive(Clone, Debug, PartialEq, Arguments)]
pub(crate) struct ExportArgs {
    /// What is visible outside.
    pub(crate) value: Value,
}

/// `foreach "x" { … }` without its template.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = ForeachArgs::validate)]
pub(crate) struct ForeachArgs {
    /// One instance of the template for each item.
    pub(crate) collection: Vec<Value>,
    /// Name of the item in the template.
    pub(crate) var: String,
    /// Field of the item that is its identity; the whole item where it is empty.
    #[arg(default)]
    pub(crate) id: String,
    /// Identities that are strings are hashed too.
    #[arg(default)]
    pub(crate) hash_string_id: bool,
    /// The metrics of the components inside appear on `/metrics`.
    #[arg(default)]
    pub(crate) enable_metrics: bool,
}

impl ForeachArgs {
    fn validate(&self) -> Result<(), Invalid> {
        if syntax::is_identifier(&self.var) {
            return Ok(());
        }
        let message = format!("{:?} cannot be the name of a variable", self.var);
        Err(Invalid::field("var", message)
            .with_help("use letters, digits and `_`, and no digit at its start"))
    }
}

/// The names that are plain variables: `module_path`, the item of a `foreach`.
pub(crate) type Vars = Arc<Vec<(String, Value)>>;

/// Knows variables only.
pub(crate) struct VarNames<'a>(pub(crate) &'a [(String, Value)]);

impl Resolve for VarNames<'_> {
    fn resolve(&self, path: &[&str]) -> Option<(usize, Value)> {
        let (_, value) = self.0.iter().find(|(name, _)| path.first().is_some_and(|p| p == name))?;
        Some((1, value.clone()))
    }

    fn names(&self) -> Vec<String> {
        self.0.iter().map(|(n, _)| n.clone()).collect()
    }
}

/// What an instance passes: each value with the place of its name.
#[derive(Default)]
pub(crate) struct Passed {
    pub(crate) values: BTreeMap<String, Value>,
    names: BTreeMap<String, Span>,
    /// What did not evaluate; such a name counts as passed.
    pub(crate) diagnostics: Vec<Diagnostic>,
}

impl Passed {
    /// Evaluates the body of an instance. It may hold nothing but attributes.
    pub(crate) fn of(block: &NodeBlock, scope: &Scope<'_>) -> Self {
        let mut passed = Self::default();
        for statement in &block.block.body.statements {
            match statement {
                Statement::Block(inner) => {
                    let message =
                        format!("a custom component takes no blocks, but there is {:?}", inner.full_name());
                    let span = inner.header_span();
                    let diagnostic = Diagnostic::error("unknown_block", message, &block.source, span);
                    passed.diagnostics.push(diagnostic.with_help("pass it as an argument: name = value"));
                }
                Statement::Attribute(attribute) => {
                    let name = &attribute.name;
                    if passed.names.insert(name.name.clone(), name.span).is_some() {
                        let message = format!("argument {:?} is set twice", name.name);
                        let diagnostic =
                            Diagnostic::error("duplicate_argument", message, &block.source, name.span);
                        passed.diagnostics.push(diagnostic.with_help("keep one of them"));
                        continue;
                    }
                    match eval::evaluate(&attribute.value, &block.source, scope) {
                        Ok(value) => {
                            passed.values.insert(name.name.clone(), value);
                        }
                        Err(diagnostic) => passed.diagnostics.push(diagnostic),
                    }
                }
            }
        }
        passed.diagnostics.extend(scope.take_warnings());
        passed
    }

    /// Compares with what the module declares.
    pub(crate) fn check(
        &self,
        block: &NodeBlock,
        blueprint: &Blueprint,
        scope: &Scope<'_>,
    ) -> Vec<Diagnostic> {
        let mut problems = Vec::new();
        let mut known = Vec::new();
        for argument in blueprint.nodes_of(BlockKind::Argument) {
            let Some(label) = argument.label() else { continue };
            known.push(label);
            let optional = spec(argument, scope).is_none_or(|s| s.optional);
            if !optional && !self.names.contains_key(label) {
                let message = format!("argument {label:?} is required");
                let diagnostic = block.error("missing_argument", message);
                problems.push(diagnostic.with_help(format!("add {label} = …")));
            }
        }
        for (name, span) in &self.names {
            if known.contains(&name.as_str()) {
                continue;
            }
            let message = format!("there is no argument {name:?} here");
            let diagnostic = Diagnostic::error("unknown_argument", message, &block.source, *span);
            problems.push(match eval::closest(name, known.iter().copied()) {
                Some(near) => diagnostic.with_help(format!("did you mean {near:?}?")),
                None => diagnostic.with_help(format!("the module has no argument block {name:?}")),
            });
        }
        problems
    }
}

/// What an argument block says; `None` if it cannot be read.
pub(crate) fn spec(argument: &NodeBlock, scope: &Scope<'_>) -> Option<ArgumentArgs> {
    let label = argument.block.label.as_ref();
    eval::decode::<ArgumentArgs>(&argument.source, &argument.block.body, label, scope).0
}

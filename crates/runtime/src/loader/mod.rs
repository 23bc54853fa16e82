//! The loader: texts → blueprint → plan, and the static pass over it. Nothing here has side effects.

mod blueprint;
mod check;
mod order;
mod plan;

use syntax::{Diagnostic, Source};

pub use blueprint::{BlockKind, Blueprint, NodeBlock, Place};
pub(crate) use check::{Checker, Mode, argument_value, join};
pub(crate) use plan::{Definition, Plan, Planned, unknown_component};

use crate::definitions::Definitions;

/// Reads the files of a configuration as one body. Problems are added to `diagnostics`.
pub(crate) fn read(
    sources: &[Source],
    definitions: &Definitions,
    diagnostics: &mut Vec<Diagnostic>,
) -> Blueprint {
    let mut statements = Vec::new();
    for source in sources {
        let (file, found) = syntax::parse(source);
        diagnostics.extend(found);
        statements.extend(file.body.statements.into_iter().map(|s| (source.clone(), s)));
    }
    Blueprint::new("", Place::Root, statements, &definitions.config_names())
}

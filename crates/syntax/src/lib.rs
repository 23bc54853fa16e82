//! The Alloy configuration language: lexer, parser, tree, formatter and diagnostics.
//!
//! Data path: text → [`Source`] → [`parse`] → [`ast::File`] and all diagnostics → `eval`, or [`format`].
//! Invariants: parsing never fails and never stops at the first mistake; nothing here does I/O, knows a
//! component or evaluates an expression.

pub mod ast;
mod diagnostic;
mod span;

pub use diagnostic::{Diagnostic, Location, Severity};
pub use span::{LineColumn, Source, Span};

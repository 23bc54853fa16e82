//! The Alloy configuration language: lexer, parser, tree, formatter and diagnostics.
//!
//! Data path: bytes → [`decode`] → [`Source`] → [`parse`] → [`ast::File`] and all diagnostics → `eval`, or
//! [`format`](format()).
//! Invariants: parsing never fails and never stops at the first mistake; nothing here does I/O, knows a
//! component or evaluates an expression.

pub mod ast;
mod context;
mod decode;
mod diagnostic;
mod expression;
mod format;
mod layout;
mod lexer;
mod literal;
mod parser;
mod references;
mod render;
mod span;

pub use decode::decode;
pub use diagnostic::{Diagnostic, Location, Severity};
pub use format::format;
pub use lexer::{assigned_strings, is_identifier};
pub use literal::quote;
pub use parser::{parse, parse_expression};
pub use references::{Reference, expr_references, references};
pub use render::render;
pub use span::{LineColumn, Source, Span};

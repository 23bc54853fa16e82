//! Problems in a configuration, and how they are shown: `file:line:column`, the source line with a
//! marker, and what to do.

use crate::span::{LineColumn, Source, Span};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Works, but not as somebody may think.
    Warning,
    /// The configuration is refused.
    Error,
}

/// One problem, with its place and a way out.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// A stable name for the kind of problem (`unknown_component`, `syntax`, `missing_argument`, …).
    pub code: &'static str,
    /// What is wrong, in one sentence without a place.
    pub message: String,
    /// Where.
    pub location: Option<Location>,
    /// What to do about it.
    pub help: Option<String>,
}

/// A span in a source.
#[derive(Debug, Clone, PartialEq)]
pub struct Location {
    /// The text.
    pub source: Source,
    /// The place in it.
    pub span: Span,
}

impl Location {
    /// Line and column of the first byte.
    pub fn line_column(&self) -> LineColumn {
        self.source.line_column(self.span.start)
    }
}

impl Diagnostic {
    /// An error at a place.
    pub fn error(code: &'static str, message: impl Into<String>, source: &Source, span: Span) -> Self {
        Self {
            severity: Severity::Error,
            code,
            message: message.into(),
            location: Some(Location { source: source.clone(), span }),
            help: None,
        }
    }

    /// A warning at a place.
    pub fn warning(code: &'static str, message: impl Into<String>, source: &Source, span: Span) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message, source, span) }
    }

    /// An error that has no place in a text (a file that cannot be read).
    pub fn plain(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, code, message: message.into(), location: None, help: None }
    }

    /// Adds what to do.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Whether the configuration is refused because of it.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

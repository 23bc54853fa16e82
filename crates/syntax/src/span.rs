//! Byte positions in a source text and the text itself.

use std::fmt;
use std::sync::Arc;

/// A half-open range of byte offsets into one [`Source`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Offset behind the last byte.
    pub end: u32,
}

impl Span {
    /// A span from `start` up to, not including, `end`.
    pub const fn new(start: u32, end: u32) -> Self {
        Self { start, end }
    }

    /// The smallest span that covers both.
    pub fn to(self, other: Span) -> Span {
        Span::new(self.start.min(other.start), self.end.max(other.end))
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

/// A named text with the start of each of its lines. Cheap to clone.
#[derive(Clone)]
pub struct Source(Arc<SourceInner>);

struct SourceInner {
    name: String,
    text: String,
    line_starts: Vec<u32>,
    concealed: bool,
}

/// A place for people: line and column count from 1, the column in characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LineColumn {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl Source {
    /// Takes a text under the name it is reported by (a path, or what made it).
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        let mut line_starts = vec![0];
        line_starts.extend(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i as u32 + 1));
        Self(Arc::new(SourceInner { name: name.into(), text, line_starts, concealed: false }))
    }

    /// The same text, of which nobody is to be shown a line.
    pub fn concealed(&self) -> Self {
        let SourceInner { name, text, line_starts, .. } = &*self.0;
        let (name, text, line_starts) = (name.clone(), text.clone(), line_starts.clone());
        Self(Arc::new(SourceInner { name, text, line_starts, concealed: true }))
    }

    /// Whether nobody is to be shown a line of it.
    pub fn is_concealed(&self) -> bool {
        self.0.concealed
    }

    /// The name it is reported by.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// The text of a span; empty where the span lies outside or splits a character.
    pub fn slice(&self, span: Span) -> &str {
        self.0.text.get(span.start as usize..span.end as usize).unwrap_or("")
    }

    /// The line of a byte offset, from 1.
    pub fn line(&self, offset: u32) -> u32 {
        self.0.line_starts.partition_point(|s| *s <= offset) as u32
    }

    /// The line and column of a byte offset.
    pub fn line_column(&self, offset: u32) -> LineColumn {
        let line = self.0.line_starts.partition_point(|s| *s <= offset) - 1;
        let start = self.0.line_starts[line] as usize;
        let before = self.0.text.get(start..(offset as usize).min(self.0.text.len())).unwrap_or("");
        LineColumn { line: line as u32 + 1, column: before.chars().count() as u32 + 1 }
    }
}

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || (self.0.name == other.0.name && self.0.text == other.0.text)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({:?}, {} bytes)", self.0.name, self.0.text.len())
    }
}

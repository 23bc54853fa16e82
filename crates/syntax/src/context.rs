//! What the parts of the parser share: the token cursor, the collected problems, the bounds.
//!
//! Invariant: a problem is recorded where it is found; the error that travels up says only where to go on.

use std::cell::{Cell, RefCell};

use nom::error::{ErrorKind, ParseError};
use nom::{Err, IResult};

use crate::diagnostic::Diagnostic;
use crate::lexer::{Kind, Lexed, Token};
use crate::span::{Source, Span};

/// Levels of nesting (blocks, brackets, unary operators) that are read; bounds the parser's own stack.
pub(crate) const MAX_DEPTH: u32 = 128;
/// Height of an expression tree, chains of operators included; bounds the stack of whoever walks it.
pub(crate) const MAX_HEIGHT: u32 = 500;

pub(crate) struct Context<'s> {
    pub(crate) source: &'s Source,
    diagnostics: RefCell<Vec<Diagnostic>>,
    depth: Cell<u32>,
    /// More openers than closers in the whole file, for `{`, `[`, `(`.
    unbalanced: [bool; 3],
    truncated: bool,
}

impl<'s> Context<'s> {
    pub(crate) fn new(source: &'s Source, lexed: &mut Lexed) -> Self {
        let mut open = [0i64; 3];
        for token in &lexed.tokens {
            match token.kind {
                Kind::LCurly => open[0] += 1,
                Kind::RCurly => open[0] -= 1,
                Kind::LBrack => open[1] += 1,
                Kind::RBrack => open[1] -= 1,
                Kind::LParen => open[2] += 1,
                Kind::RParen => open[2] -= 1,
                _ => {}
            }
        }
        Self {
            source,
            diagnostics: RefCell::new(std::mem::take(&mut lexed.diagnostics)),
            depth: Cell::new(0),
            unbalanced: open.map(|n| n > 0),
            truncated: lexed.truncated,
        }
    }

    /// All problems by position, at most one a line: the first that was found on it.
    pub(crate) fn finish(self) -> Vec<Diagnostic> {
        let mut lines = std::collections::HashSet::new();
        let mut all = self.diagnostics.into_inner();
        all.retain(|d| d.location.as_ref().is_none_or(|l| lines.insert(l.source.line(l.span.start))));
        all.sort_by_key(|d| d.location.as_ref().map(|l| l.span));
        all
    }

    pub(crate) fn report(&self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        let lost = self.truncated && span.end as usize >= self.source.text().len();
        if !lost {
            let diagnostic = Diagnostic::error("syntax", message, self.source, span).with_help(help);
            self.diagnostics.borrow_mut().push(diagnostic);
        }
    }

    pub(crate) fn unclosed(&self, opener: Token) {
        if self.truncated {
            return;
        }
        let (open, close) = match opener.kind {
            Kind::LBrack => ('[', ']'),
            Kind::LParen => ('(', ')'),
            _ => ('{', '}'),
        };
        self.report(
            opener.span,
            format!("this `{open}` is not closed"),
            format!("add the `{close}` that belongs to it"),
        );
    }

    /// Goes one level down, or says that it is too deep.
    pub(crate) fn descend(&self, at: Span) -> bool {
        if self.depth.get() >= MAX_DEPTH {
            self.report(
                at,
                format!("nested more than {MAX_DEPTH} levels deep"),
                "split it: give a part a name of its own and refer to it",
            );
            return false;
        }
        self.depth.set(self.depth.get() + 1);
        true
    }

    pub(crate) fn ascend(&self) {
        self.depth.set(self.depth.get() - 1);
    }

    /// Whether any kind of bracket is opened more often than closed.
    pub(crate) fn any_unbalanced(&self) -> bool {
        self.unbalanced.iter().any(|u| *u)
    }

    /// Columns of white space before the first token of the line that holds `offset`; a tab counts four,
    /// so that lines which mix tabs and spaces compare as they look in most editors.
    pub(crate) fn indent(&self, offset: u32) -> usize {
        let text = self.source.text();
        let before = text.get(..offset as usize).unwrap_or(text);
        let line = &before[before.rfind('\n').map_or(0, |n| n + 1)..];
        line.bytes()
            .map_while(|b| match b {
                b' ' => Some(1),
                b'\t' => Some(4),
                _ => None,
            })
            .sum()
    }
}

/// The tokens that are left, never empty: the last one is [`Kind::Eof`].
#[derive(Clone, Copy)]
pub(crate) struct Tokens<'t> {
    rest: &'t [Token],
    pub(crate) cx: &'t Context<'t>,
}

/// Where to go on after a problem that was recorded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stop {
    /// How many tokens are left there.
    pub(crate) left: usize,
    /// A statement starts there, so nothing is to be skipped.
    pub(crate) resume: bool,
}

pub(crate) type Parsed<'t, T> = IResult<Tokens<'t>, T, Stop>;

impl<'t> ParseError<Tokens<'t>> for Stop {
    fn from_error_kind(input: Tokens<'t>, _: ErrorKind) -> Self {
        input.here()
    }

    fn append(_: Tokens<'t>, _: ErrorKind, other: Self) -> Self {
        other
    }
}

impl<'t> Tokens<'t> {
    pub(crate) fn new(tokens: &'t [Token], cx: &'t Context<'t>) -> Self {
        Self { rest: tokens, cx }
    }

    pub(crate) fn first(self) -> Token {
        self.rest[0]
    }

    pub(crate) fn kind(self) -> Kind {
        self.rest[0].kind
    }

    /// The kind of a later token.
    pub(crate) fn ahead(self, n: usize) -> Kind {
        self.rest.get(n).map_or(Kind::Eof, |t| t.kind)
    }

    /// Behind the first token; stays at the end of the file.
    pub(crate) fn next(self) -> Self {
        Self { rest: if self.rest.len() > 1 { &self.rest[1..] } else { self.rest }, ..self }
    }

    /// The position at which `stop` was raised, which lies ahead.
    pub(crate) fn at(self, stop: Stop) -> Self {
        Self { rest: &self.rest[self.rest.len() - stop.left..], ..self }
    }

    pub(crate) fn text(self) -> &'t str {
        self.cx.source.slice(self.first().span)
    }

    fn here(self) -> Stop {
        Stop { left: self.rest.len(), resume: false }
    }

    /// Does not match here; another alternative may.
    pub(crate) fn mismatch<T>(self) -> Parsed<'t, T> {
        Err(Err::Error(self.here()))
    }

    /// Cannot be read; the problem is recorded.
    pub(crate) fn fail<T>(self) -> Parsed<'t, T> {
        Err(Err::Failure(self.here()))
    }

    /// Like [`Self::fail`], but a new statement starts here.
    pub(crate) fn fail_before_statement<T>(self) -> Parsed<'t, T> {
        Err(Err::Failure(Stop { resume: self.first().line_start, ..self.here() }))
    }

    pub(crate) fn found(self, message: &str, help: impl Into<String>) {
        let token = self.first();
        self.cx.report(token.span, format!("{message}, found {}", token.kind.describe()), help);
    }

    /// Whether `name =` or `name.more "label" {` stands here.
    pub(crate) fn at_statement(self) -> bool {
        if self.kind() != Kind::Ident {
            return false;
        }
        if self.ahead(1) == Kind::Assign {
            return true;
        }
        let mut n = 1;
        while self.ahead(n) == Kind::Dot && self.ahead(n + 1) == Kind::Ident {
            n += 2;
        }
        self.ahead(n) == Kind::LCurly || (self.ahead(n) == Kind::String && self.ahead(n + 1) == Kind::LCurly)
    }

    /// Whether the bracket was forgotten to be closed before this line. Looked for only where brackets do
    /// not match in number; then a line that is indented no deeper than the opener's line tells.
    pub(crate) fn behind_unclosed(self, opener: Token) -> bool {
        let token = self.first();
        let (index, list) = match opener.kind {
            Kind::LBrack => (1, true),
            Kind::LParen => (2, true),
            _ => (0, false),
        };
        token.line_start
            && self.cx.unbalanced[index]
            && ((list && token.kind == Kind::Ident && self.ahead(1) == Kind::Assign)
                || (token.kind == Kind::Ident
                    && self.cx.indent(token.span.start) <= self.cx.indent(opener.span.start)))
    }

    /// Behind the closer of the bracket that opens here.
    pub(crate) fn skip_bracket(mut self) -> Self {
        let mut depth = 0;
        loop {
            match self.kind() {
                Kind::LCurly | Kind::LParen | Kind::LBrack => depth += 1,
                Kind::RCurly | Kind::RParen | Kind::RBrack => depth -= 1,
                Kind::Eof => return self,
                _ => {}
            }
            self = self.next();
            if depth <= 0 {
                return self;
            }
        }
    }
}

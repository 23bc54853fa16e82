//! Tree → text in Alloy's style: tabs, aligned `=`, comments where they were.
//!
//! Tokens are written in the order of the source; before each one, the comments that stand in front of it
//! are. Line breaks are those of the source where the style leaves a choice. Invariants: the result parses
//! to the same tree, and formatting it again changes nothing. The style is that of Alloy's syntax/printer.

use crate::ast::{Attribute, Block, Body, Comment, Expr, ExprKind, Field, File, Statement, UnaryOp};
use crate::layout::Layout;

/// Prints a file. Meant for files without syntax errors: what the parser left out is not printed.
pub fn format(file: &File) -> String {
    let mut printer = Printer {
        file,
        comments: &file.comments,
        layout: Layout::default(),
        cursor: 0,
        indent: 0,
        comment_indent: 0,
        gap: Gap::default(),
        after_digits: false,
    };
    printer.statements(&file.body);
    printer.finish()
}

/// What goes between the last token and the next.
#[derive(Clone, Copy, Default)]
struct Gap {
    between: Between,
    /// A line break here ends the run of aligned lines.
    breaks: bool,
    /// A blank line next to a comment is kept.
    keeps_blank: bool,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Between {
    #[default]
    Nothing,
    Space,
    /// The end of an aligned cell.
    Cell,
    Lines(usize),
}

impl Gap {
    const SPACE: Self = Self { between: Between::Space, breaks: false, keeps_blank: false };
    const CELL: Self = Self { between: Between::Cell, breaks: false, keeps_blank: false };

    const fn lines(count: usize, breaks: bool) -> Self {
        Self { between: Between::Lines(count), breaks, keeps_blank: true }
    }
}

struct Printer<'f> {
    file: &'f File,
    /// Those not yet printed.
    comments: &'f [Comment],
    layout: Layout,
    /// Source offset behind the last token that was printed.
    cursor: u32,
    indent: usize,
    /// The deepest indentation since the last token: that of comments on lines of their own.
    comment_indent: usize,
    gap: Gap,
    /// The last token was a whole number, which a dot must not touch.
    after_digits: bool,
}

impl<'f> Printer<'f> {
    fn line(&self, offset: u32) -> u32 {
        self.file.source.line(offset)
    }

    fn indent(&mut self) {
        self.indent += 1;
        self.comment_indent = self.comment_indent.max(self.indent);
    }

    fn dedent(&mut self) {
        self.indent -= 1;
    }

    /// Prints a token that stands at `at` in the source.
    fn token(&mut self, text: &str, at: u32) {
        self.close_gap(at);
        if text == "." && self.after_digits {
            self.layout.text(" ", self.indent);
        }
        self.layout.text(text, self.indent);
        self.cursor = at + text.len() as u32;
        self.comment_indent = self.indent;
        self.after_digits = false;
    }

    /// Prints a token that is the next one in the source.
    fn next_token(&mut self, text: &str) {
        let source = self.file.source.text().as_bytes();
        let mut at = self.cursor;
        let mut comments = self.comments.iter();
        loop {
            while source.get(at as usize).is_some_and(|b| b.is_ascii_whitespace() || *b == b',') {
                at += 1;
            }
            match comments.as_slice().first() {
                Some(comment) if comment.span.start <= at => {
                    at = at.max(comment.span.end);
                    comments.next();
                }
                _ => break,
            }
        }
        self.token(text, at);
    }

    /// A comma right behind the last token.
    fn comma(&mut self) {
        self.layout.text(",", self.indent);
    }

    /// Prints the comments before `at` and the white space around them.
    fn close_gap(&mut self, at: u32) {
        let gap = std::mem::take(&mut self.gap);
        let count = self.comments.iter().take_while(|c| c.span.start < at).count();
        if count > 0 {
            let before = self.layout.line_ends();
            let broken = self.print_comments(count, gap, self.line(at));
            // Lines further apart than one are no neighbours, be it because of a comment between them.
            let breaks = gap.breaks || self.layout.line_ends() > before;
            self.after_comments(Gap { breaks, ..gap }, broken, at);
            return;
        }
        if self.layout.is_empty() {
            return;
        }
        match gap.between {
            Between::Nothing => {}
            Between::Space => self.layout.text(" ", self.indent),
            Between::Cell => self.layout.cell(),
            Between::Lines(count) => self.layout.newline(count, gap.breaks),
        }
    }

    /// Prints the next `count` comments, and says whether a line break went before one of them.
    fn print_comments(&mut self, count: usize, gap: Gap, next_line: u32) -> bool {
        let (comments, rest) = self.comments.split_at(count);
        self.comments = rest;
        let most = if gap.keeps_blank || self.layout.is_empty() { 2 } else { 1 };
        let mut broken = false;
        for (index, comment) in comments.iter().enumerate() {
            let lines = (self.line(comment.span.start) - self.line(self.cursor)) as usize;
            let follower = comments.get(index + 1).map_or(next_line, |c| self.line(c.span.start));
            let ends_line =
                matches!(gap.between, Between::Lines(_)) || follower > self.line(comment.span.end);
            if self.layout.is_empty() {
                // The first thing in the file.
            } else if lines > 0 {
                self.layout.newline(lines.min(most), true);
                broken = true;
            } else if index == 0 && ends_line {
                self.layout.cell();
            } else {
                self.layout.text(" ", self.indent);
            }
            let text = without_carriage_returns(self.file.source.slice(comment.span));
            self.layout.text(&text, self.comment_indent);
            self.cursor = comment.span.end;
        }
        broken
    }

    fn after_comments(&mut self, gap: Gap, broken: bool, at: u32) {
        let most = if gap.keeps_blank { 2 } else { 1 };
        let lines = (self.line(at) - self.line(self.cursor)) as usize;
        match gap.between {
            _ if lines > 0 => self.layout.newline(lines.min(most), gap.breaks),
            Between::Lines(count) if !broken => self.layout.newline(count, gap.breaks),
            Between::Cell => self.layout.cell(),
            _ => self.layout.text(" ", self.indent),
        }
    }

    fn finish(mut self) -> String {
        let gap = Gap::lines(1, true);
        self.print_comments(self.comments.len(), gap, u32::MAX);
        self.layout.finish()
    }

    /// Prints the statements, and says whether the last one takes several lines.
    fn statements(&mut self, body: &'f Body) -> bool {
        let mut several = false;
        for (index, statement) in body.statements.iter().enumerate() {
            let start = match statement {
                Statement::Attribute(a) => a.name.span.start,
                Statement::Block(b) => b.span.start,
            };
            if let Some(before) = index.checked_sub(1).and_then(|i| body.statements.get(i)) {
                let end = match before {
                    Statement::Attribute(a) => a.value.span.end,
                    Statement::Block(b) => b.span.end,
                };
                let blank = matches!(statement, Statement::Block(_))
                    || self.line(start).saturating_sub(self.line(end)) > 1;
                self.gap = Gap::lines(1 + usize::from(blank), several || blank);
            } else if index == 0 && self.layout.is_empty() {
                self.gap = Gap::lines(1, false);
            }
            several = match statement {
                Statement::Attribute(attribute) => self.attribute(attribute),
                Statement::Block(block) => self.block(block),
            };
        }
        several
    }

    fn attribute(&mut self, attribute: &'f Attribute) -> bool {
        self.token(&attribute.name.name, attribute.name.span.start);
        let line_ends = self.layout.line_ends();
        self.assignment(&attribute.value);
        self.layout.line_ends() > line_ends
    }

    fn assignment(&mut self, value: &'f Expr) {
        self.gap = Gap::CELL;
        self.next_token("=");
        self.gap = Gap::SPACE;
        self.expr(value);
    }

    fn block(&mut self, block: &'f Block) -> bool {
        let mut line_ends = None;
        for name in &block.name {
            if line_ends.is_some() {
                self.next_token(".");
            }
            self.token(&name.name, name.span.start);
            line_ends.get_or_insert(self.layout.line_ends());
        }
        if let Some(label) = &block.label {
            self.gap = Gap::SPACE;
            self.token(self.file.source.slice(label.span), label.span.start);
        }
        self.gap = Gap::SPACE;
        self.token("{", block.body.span.start - 1);
        self.indent();
        if block.body.statements.is_empty() {
            self.gap = Gap { keeps_blank: true, ..Gap::SPACE };
        } else {
            self.gap = Gap::lines(1, true);
            let several = self.statements(&block.body);
            self.gap = Gap::lines(1, several);
        }
        self.dedent();
        self.token("}", block.body.span.end);
        line_ends.is_some_and(|n| self.layout.line_ends() > n)
    }

    fn expr(&mut self, expr: &'f Expr) {
        let start = expr.span.start;
        let last = expr.span.end - 1;
        match &expr.kind {
            ExprKind::Literal(_) => {
                let text = self.file.source.slice(expr.span);
                self.token(text, start);
                self.after_digits = text.bytes().all(|b| b.is_ascii_digit());
            }
            ExprKind::Ident(name) => self.token(name, start),
            ExprKind::Array(items) => self.array(items, start, last),
            ExprKind::Object(fields) => self.object(fields, start, last),
            ExprKind::Paren(inner) => {
                self.token("(", start);
                self.expr(inner);
                self.token(")", last);
            }
            ExprKind::Access(inner, name) => {
                self.expr(inner);
                self.next_token(".");
                self.token(&name.name, name.span.start);
            }
            ExprKind::Index(inner, index) => {
                self.expr(inner);
                self.next_token("[");
                self.expr(index);
                self.token("]", last);
            }
            ExprKind::Call(callee, arguments) => {
                self.expr(callee);
                self.call(arguments, last);
            }
            ExprKind::Unary(op, inner) => {
                let symbol = match op {
                    UnaryOp::Not => "!",
                    UnaryOp::Negate => "-",
                };
                self.token(symbol, start);
                self.expr(inner);
            }
            ExprKind::Binary(left, op, right) => {
                self.expr(left);
                self.gap = Gap::SPACE;
                self.next_token(op.symbol());
                self.gap = Gap::SPACE;
                self.expr(right);
            }
        }
    }

    fn array(&mut self, items: &'f [Expr], start: u32, last: u32) {
        self.token("[", start);
        self.elements(items, start, last);
        self.token("]", last);
    }

    fn call(&mut self, arguments: &'f [Expr], last: u32) {
        self.next_token("(");
        self.elements(arguments, self.cursor - 1, last);
        self.token(")", last);
    }

    /// Elements between brackets: each on a line of its own where it starts one in the source.
    fn elements(&mut self, items: &'f [Expr], open: u32, close: u32) {
        let mut end = open;
        for (index, item) in items.iter().enumerate() {
            let on_new_line = self.line(end) != self.line(item.span.start);
            if on_new_line {
                self.indent();
                self.gap = Gap::lines(1, true);
            } else if index > 0 {
                self.gap = Gap::SPACE;
            }
            self.expr(item);
            end = item.span.end;
            if index + 1 < items.len() {
                self.comma();
            }
            if on_new_line {
                self.dedent();
            }
        }
        self.indent();
        if items.is_empty() {
            self.gap = Gap { keeps_blank: true, ..Gap::default() };
        } else if self.line(end) != self.line(close) {
            self.comma();
            self.gap = Gap::lines(1, true);
        }
        self.dedent();
    }

    fn object(&mut self, fields: &'f [Field], start: u32, last: u32) {
        self.token("{", start);
        self.indent();
        self.gap = Gap { keeps_blank: true, ..Gap::default() };
        let mut end = start;
        let mut breaks = true;
        for (index, field) in fields.iter().enumerate() {
            if self.line(end) != self.line(field.key.span.start) {
                self.gap = Gap::lines(1, breaks);
            } else if index > 0 {
                self.gap = Gap::SPACE;
            }
            // As Alloy's printer: the name counts, so that a field behind a value of several lines starts a
            // line, and such a value moves the closing brace to one.
            end = field.key.span.end;
            self.token(self.file.source.slice(field.key.span), field.key.span.start);
            let line_ends = self.layout.line_ends();
            self.assignment(&field.value);
            breaks = self.layout.line_ends() > line_ends;
            if index + 1 < fields.len() {
                self.comma();
            }
        }
        if !fields.is_empty() && self.line(end) != self.line(last) {
            self.comma();
            self.gap = Gap::lines(1, true);
        }
        self.dedent();
        self.token("}", last);
    }
}

/// Lines end with a newline alone. A carriage return that keeps `*` and `/` apart stays.
fn without_carriage_returns(comment: &str) -> std::borrow::Cow<'_, str> {
    if !comment.contains('\r') {
        return comment.into();
    }
    let mut out = String::with_capacity(comment.len());
    let mut rest = comment.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '\r' || (out.ends_with('*') && rest.peek() == Some(&'/')) {
            out.push(c);
        }
    }
    out.into()
}

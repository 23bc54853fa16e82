//! Statements and blocks by recursive descent, and the entry points of the parser.
//!
//! Invariant: every loop consumes a token or ends, so any input is read in linear time; a statement that
//! cannot be read is recorded, skipped to the end of its line, and the next one is read.

use nom::Err;

use crate::ast::{Attribute, Block, Body, Expr, File, Ident, Statement};
use crate::context::{Context, Tokens};
use crate::diagnostic::Diagnostic;
use crate::expression::{expression, ident};
use crate::lexer::{Kind, Lexed, Token, is_identifier, lex};
use crate::literal::quote;
use crate::span::{Source, Span};

/// Reads a configuration. The tree holds what could be read; the list says what could not, at most one
/// problem a line, in order of position.
pub fn parse(source: &Source) -> (File, Vec<Diagnostic>) {
    let mut lexed = lex(source);
    let cx = Context::new(source, &mut lexed);
    let Lexed { tokens, comments, .. } = lexed;
    let mut body = Parser { input: Tokens::new(&tokens, &cx) }.body(None);
    body.span = Span::new(0, source.text().len() as u32);
    (File { source: source.clone(), body, comments }, cx.finish())
}

/// Reads a single expression that makes up the whole text.
pub fn parse_expression(source: &Source) -> (Option<Expr>, Vec<Diagnostic>) {
    let mut lexed = lex(source);
    let cx = Context::new(source, &mut lexed);
    let read = match expression(Tokens::new(&lexed.tokens, &cx)) {
        Ok((mut rest, value)) => {
            if rest.kind() == Kind::Term {
                rest = rest.next();
            }
            if rest.kind() != Kind::Eof {
                rest.found("expected the end of the expression", "put an operator between the values");
            }
            Some(value.expr)
        }
        Err(_) => None,
    };
    (read, cx.finish())
}

struct Parser<'t> {
    input: Tokens<'t>,
}

/// A block's or attribute's name and label.
struct Header {
    names: Vec<Ident>,
    label: Option<Ident>,
    /// Where a label stands, be it empty.
    label_span: Option<Span>,
}

impl<'t> Parser<'t> {
    fn kind(&self) -> Kind {
        self.input.kind()
    }

    fn first(&self) -> Token {
        self.input.first()
    }

    fn bump(&mut self) -> Token {
        let token = self.first();
        self.input = self.input.next();
        token
    }

    /// Statements up to the closing brace (which is left) or the end of the file.
    fn body(&mut self, open: Option<Token>) -> Body {
        let mut statements = Vec::new();
        loop {
            match self.kind() {
                Kind::Eof => break,
                Kind::Term => {
                    self.bump();
                    continue;
                }
                Kind::RCurly if open.is_some() => break,
                Kind::RCurly => {
                    let span = self.bump().span;
                    let help = "remove it, or open the block that it closes";
                    self.input.cx.report(span, "no block is open that this `}` could close", help);
                    continue;
                }
                _ => {}
            }
            if open.is_some_and(|o| self.input.behind_unclosed(o)) {
                break;
            }
            statements.extend(self.statement());
            self.end_statement();
        }
        let start = open.map_or(0, |o| o.span.end);
        Body { statements, span: Span::new(start, self.first().span.start.max(start)) }
    }

    fn end_statement(&mut self) {
        match self.kind() {
            Kind::Term => {
                self.bump();
            }
            Kind::RCurly | Kind::Eof => {}
            _ if self.first().line_start => {}
            kind => {
                let help = match kind {
                    Kind::Comma => "remove the comma; the end of the line ends a statement",
                    Kind::Ident => {
                        "start a new line, or put an operator between the values; numbers are decimal"
                    }
                    _ => "start a new line",
                };
                self.input.found("expected the end of the line", help);
                self.skip_statement();
            }
        }
    }

    /// To the end of the line that ends the statement, or to the brace that ends its block.
    fn skip_statement(&mut self) {
        let cx = self.input.cx;
        let indent = cx.indent(self.first().span.start);
        let mut depth = 0u32;
        let mut moved = false;
        loop {
            let token = self.first();
            match token.kind {
                Kind::Eof => return,
                Kind::Term if depth == 0 => return,
                Kind::RCurly if depth == 0 => return,
                Kind::LCurly | Kind::LBrack | Kind::LParen => depth += 1,
                Kind::RCurly | Kind::RBrack | Kind::RParen => depth = depth.saturating_sub(1),
                Kind::Ident if moved && token.line_start => {
                    // An operator or comma at its end carries a bad line on into the next statement.
                    let carried = depth == 0 && self.input.at_statement();
                    if carried || (cx.any_unbalanced() && cx.indent(token.span.start) <= indent) {
                        return;
                    }
                }
                _ => {}
            }
            moved = true;
            self.bump();
        }
    }

    fn statement(&mut self) -> Option<Statement> {
        let header = self.header()?;
        if self.kind() == Kind::Term && self.input.ahead(1) == Kind::LCurly {
            self.bump();
            let help = "move it to the end of the line before";
            self.input.cx.report(self.first().span, "the `{` of a block must stand behind its name", help);
        }
        let cx = self.input.cx;
        match self.kind() {
            Kind::LCurly => Some(Statement::Block(self.block(header))),
            Kind::Assign => self.attribute(header),
            Kind::Colon | Kind::Eq => {
                cx.report(self.first().span, "an attribute is set with `=`", "write `=` instead");
                self.attribute(header)
            }
            _ => {
                let name = name_text(&header.names);
                if header.names.len() == 1 && header.label_span.is_none() {
                    let help = format!("write `{name} = value` or `{name} {{ … }}`");
                    self.input.found(&format!("expected `=` or `{{` behind `{name}`"), help);
                } else {
                    let text = header.label_span.map_or("\"label\"", |s| cx.source.slice(s));
                    let help = if header.names.len() == 1 {
                        format!("write `{name} = {text}`, or a block `{name} {text} {{ … }}`")
                    } else {
                        format!("a block is `{name} {text} {{ … }}`, with `{{` on the same line")
                    };
                    self.input.found("expected `{`", help);
                }
                self.skip_statement();
                None
            }
        }
    }

    fn header(&mut self) -> Option<Header> {
        if self.kind() != Kind::Ident {
            let help = match self.kind() {
                Kind::Null | Kind::Bool => "this word is a literal and cannot be a name",
                Kind::String => "names are not quoted",
                Kind::RBrack | Kind::RParen => "remove it, or open the bracket that it closes",
                Kind::Dot
                | Kind::Or
                | Kind::And
                | Kind::Add
                | Kind::Sub
                | Kind::Mul
                | Kind::Div
                | Kind::Mod
                | Kind::Pow
                | Kind::Eq
                | Kind::Ne
                | Kind::Lt
                | Kind::Le
                | Kind::Gt
                | Kind::Ge => {
                    "an expression goes on in the next line only if its line ends with the operator"
                }
                _ => "a statement is `name = value` or `name \"label\" { … }`",
            };
            self.input.found("expected an attribute or a block", help);
            self.bump();
            self.skip_statement();
            return None;
        }
        let mut names = vec![ident(self.input)];
        self.bump();
        while self.kind() == Kind::Dot {
            self.bump();
            if self.kind() != Kind::Ident {
                self.input.found("expected a name behind `.`", "block names are names joined by dots");
                self.skip_statement();
                return None;
            }
            names.push(ident(self.input));
            self.bump();
        }
        let (label, label_span) = self.label();
        Some(Header { names, label, label_span })
    }

    fn label(&mut self) -> (Option<Ident>, Option<Span>) {
        let (token, text, cx) = (self.first(), self.input.text(), self.input.cx);
        let name = match token.kind {
            Kind::String if text.starts_with('`') => {
                cx.report(token.span, "a label cannot stand in backquotes", "write it in double quotes");
                &text[1..text.len() - 1]
            }
            Kind::String => &text[1..text.len() - 1],
            // A number, keyword or bare name before the brace is meant as a label.
            Kind::Ident | Kind::Number | Kind::Bool | Kind::Null if self.input.ahead(1) == Kind::LCurly => {
                cx.report(token.span, "a label must be quoted", format!("write {}", quote(text)));
                text
            }
            Kind::Broken => "",
            _ => return (None, None),
        };
        self.bump();
        if name.is_empty() {
            return (None, Some(token.span));
        }
        if !is_identifier(name) {
            cx.report(
                token.span,
                format!("the label {} is no identifier", quote(name)),
                format!("use letters, digits and `_`, for example \"{}\"", as_identifier(name)),
            );
        }
        (Some(Ident { name: name.to_owned(), span: token.span }), Some(token.span))
    }

    fn attribute(&mut self, header: Header) -> Option<Statement> {
        let cx = self.input.cx;
        let Header { mut names, label_span, .. } = header;
        let whole = names[0].span.to(names[names.len() - 1].span);
        let sound = names.len() == 1 && label_span.is_none();
        if names.len() > 1 {
            cx.report(whole, "an attribute name has no dots", "use a single name, or a block `a.b { … }`");
        } else if let Some(span) = label_span {
            cx.report(
                span,
                "an attribute has no label",
                "remove it, or write a block `name \"label\" { … }`",
            );
        }
        let assign = self.bump();
        let name = names.swap_remove(0);
        if self.first().line_start && self.input.at_statement() {
            cx.report(
                name.span.to(assign.span),
                format!("`{}` has no value", name.name),
                "write a value behind `=`, or remove the line",
            );
            return None;
        }
        match expression(self.input) {
            Ok((rest, value)) => {
                self.input = rest;
                sound.then_some(Statement::Attribute(Attribute { name, value: value.expr }))
            }
            Err(Err::Failure(stop) | Err::Error(stop)) => {
                self.input = self.input.at(stop);
                if !stop.resume {
                    self.skip_statement();
                }
                None
            }
            Err(Err::Incomplete(_)) => None,
        }
    }

    fn block(&mut self, header: Header) -> Block {
        let cx = self.input.cx;
        let start = header.names[0].span;
        let open = self.first();
        if !cx.descend(open.span) {
            self.input = self.input.skip_bracket();
            let body = Body { statements: Vec::new(), span: Span::new(open.span.end, open.span.end) };
            return Block { name: header.names, label: header.label, body, span: start.to(open.span) };
        }
        self.bump();
        let body = self.body(Some(open));
        cx.ascend();
        let mut span = start.to(body.span);
        if self.kind() == Kind::RCurly {
            span = span.to(self.bump().span);
        } else {
            cx.unclosed(open);
        }
        Block { name: header.names, label: header.label, body, span }
    }
}

fn name_text(names: &[Ident]) -> String {
    names.iter().map(|n| n.name.as_str()).collect::<Vec<_>>().join(".")
}

/// The nearest label to a text that is none.
fn as_identifier(text: &str) -> String {
    let mut name: String = text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if !is_identifier(&name) {
        name.insert(0, '_');
    }
    name
}

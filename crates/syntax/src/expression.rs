//! Expressions, as `nom` parsers over the token list.
//!
//! Precedence from low to high: `||`, `&&`, comparisons, `+ -`, `* / %`, `^` (to the right), unary. A list
//! recovers element by element: a bad element is recorded and left out, the rest is read.

use nom::branch::alt;
use nom::combinator::map;
use nom::sequence::preceded;
use nom::{Err, Parser};

use crate::ast::{BinaryOp, Expr, ExprKind, Field, Ident, Literal, UnaryOp};
use crate::context::{MAX_HEIGHT, Parsed, Tokens};
use crate::lexer::{Kind, Token};
use crate::literal;
use crate::span::Span;

/// An expression and the height of its tree.
pub(crate) struct Tall {
    pub(crate) expr: Expr,
    height: u32,
}

impl Tall {
    fn leaf(kind: ExprKind, span: Span) -> Self {
        Self { expr: Expr { kind, span }, height: 1 }
    }
}

/// Builds a node on top of something `below` high, within the bound.
fn node<'t>(input: Tokens<'t>, kind: ExprKind, span: Span, below: u32) -> Parsed<'t, Tall> {
    if below >= MAX_HEIGHT {
        input.cx.report(
            span,
            format!("the expression chains more than {MAX_HEIGHT} operations"),
            "split it: give a part a name of its own and refer to it",
        );
        return input.fail();
    }
    Ok((input, Tall { expr: Expr { kind, span }, height: below + 1 }))
}

/// Reads one expression.
pub(crate) fn expression(input: Tokens<'_>) -> Parsed<'_, Tall> {
    binary(input, 0)
}

fn token<'t>(kind: Kind) -> impl Fn(Tokens<'t>) -> Parsed<'t, Token> {
    move |input| if input.kind() == kind { Ok((input.next(), input.first())) } else { input.mismatch() }
}

fn binary(input: Tokens<'_>, lowest: u8) -> Parsed<'_, Tall> {
    let (mut input, mut left) = power(input)?;
    while let Some((op, level)) = binary_operator(input.kind()).filter(|(_, level)| *level >= lowest) {
        let (rest, right) = binary(input.next(), level + 1)?;
        (input, left) = join(rest, left, op, right)?;
    }
    Ok((input, left))
}

fn join<'t>(input: Tokens<'t>, left: Tall, op: BinaryOp, right: Tall) -> Parsed<'t, Tall> {
    let span = left.expr.span.to(right.expr.span);
    let below = left.height.max(right.height);
    node(input, ExprKind::Binary(Box::new(left.expr), op, Box::new(right.expr)), span, below)
}

const fn binary_operator(kind: Kind) -> Option<(BinaryOp, u8)> {
    Some(match kind {
        Kind::Or => (BinaryOp::Or, 0),
        Kind::And => (BinaryOp::And, 1),
        Kind::Eq => (BinaryOp::Eq, 2),
        Kind::Ne => (BinaryOp::Ne, 2),
        Kind::Lt => (BinaryOp::Lt, 2),
        Kind::Le => (BinaryOp::Le, 2),
        Kind::Gt => (BinaryOp::Gt, 2),
        Kind::Ge => (BinaryOp::Ge, 2),
        Kind::Add => (BinaryOp::Add, 3),
        Kind::Sub => (BinaryOp::Sub, 3),
        Kind::Mul => (BinaryOp::Mul, 4),
        Kind::Div => (BinaryOp::Div, 4),
        Kind::Mod => (BinaryOp::Mod, 4),
        _ => return None,
    })
}

fn power(input: Tokens<'_>) -> Parsed<'_, Tall> {
    let cx = input.cx;
    if !cx.descend(input.first().span) {
        return input.fail();
    }
    let result = unary(input).and_then(|(input, left)| match input.kind() {
        Kind::Pow => {
            let (input, right) = power(input.next())?;
            join(input, left, BinaryOp::Pow, right)
        }
        _ => Ok((input, left)),
    });
    cx.ascend();
    result
}

fn unary(input: Tokens<'_>) -> Parsed<'_, Tall> {
    let op = match input.kind() {
        Kind::Not => UnaryOp::Not,
        Kind::Sub => UnaryOp::Negate,
        _ => return postfix(input),
    };
    let start = input.first().span;
    if !input.cx.descend(start) {
        return input.fail();
    }
    let result = unary(input.next());
    input.cx.ascend();
    let (input, inner) = result?;
    let span = start.to(inner.expr.span);
    node(input, ExprKind::Unary(op, Box::new(inner.expr)), span, inner.height)
}

/// What may follow a value.
enum Suffix {
    Access(Ident),
    Index(Tall, Token),
    Call(Vec<Expr>, u32, Token),
}

fn postfix(input: Tokens<'_>) -> Parsed<'_, Tall> {
    let (mut input, mut value) = primary(input)?;
    loop {
        match suffix(input) {
            Ok((rest, suffix)) => {
                let (start, below) = (value.expr.span, value.height);
                let inner = Box::new(value.expr);
                let (kind, end, below) = match suffix {
                    Suffix::Access(name) => {
                        let end = name.span;
                        (ExprKind::Access(inner, name), end, below)
                    }
                    Suffix::Index(index, close) => {
                        let below = below.max(index.height);
                        (ExprKind::Index(inner, Box::new(index.expr)), close.span, below)
                    }
                    Suffix::Call(args, height, close) => {
                        (ExprKind::Call(inner, args), close.span, below.max(height))
                    }
                };
                (input, value) = node(rest, kind, start.to(end), below)?;
            }
            Err(Err::Error(_)) => break,
            Err(stop) => return Err(stop),
        }
    }
    Ok((block_as_value(input, &value.expr), value))
}

fn suffix(input: Tokens<'_>) -> Parsed<'_, Suffix> {
    alt((map(preceded(token(Kind::Dot), member), Suffix::Access), index, call)).parse(input)
}

fn member(input: Tokens<'_>) -> Parsed<'_, Ident> {
    if input.kind() == Kind::Ident {
        return Ok((input.next(), ident(input)));
    }
    let help = "write a name, or `[\"…\"]` for a key that is no name";
    input.found("expected a name behind `.`", help);
    input.fail()
}

/// The identifier at the cursor.
pub(crate) fn ident(input: Tokens<'_>) -> Ident {
    Ident { name: input.text().to_owned(), span: input.first().span }
}

fn index(input: Tokens<'_>) -> Parsed<'_, Suffix> {
    let (input, open) = token(Kind::LBrack)(input)?;
    let (input, inner) = expression(input)?;
    let (input, close) = closer(input, open, Kind::RBrack)?;
    Ok((input, Suffix::Index(inner, close)))
}

fn call(input: Tokens<'_>) -> Parsed<'_, Suffix> {
    let (input, open) = token(Kind::LParen)(input)?;
    let (input, list) =
        list(input, open, Kind::RParen, |i| expression(i).map(|(i, t)| (i, (t.expr, t.height))))?;
    Ok((input, Suffix::Call(list.items, list.height, list.close)))
}

/// The closer of a bracket around one expression.
fn closer(input: Tokens<'_>, open: Token, kind: Kind) -> Parsed<'_, Token> {
    if input.kind() == kind {
        return Ok((input.next(), input.first()));
    }
    if input.kind() == Kind::Term && input.ahead(1) == kind {
        input.cx.report(
            input.next().first().span,
            format!("{} cannot start a line", kind.describe()),
            "put it at the end of the line before",
        );
        let input = input.next();
        return Ok((input.next(), input.first()));
    }
    if matches!(input.kind(), Kind::Term | Kind::Eof | Kind::RCurly) {
        input.cx.unclosed(open);
    } else {
        let message = format!("expected {}", kind.describe());
        input.found(&message, "close the bracket, or put an operator between the values");
    }
    input.fail()
}

fn primary(input: Tokens<'_>) -> Parsed<'_, Tall> {
    // Brackets are told by their first token, which keeps the stack of nested ones small.
    match input.kind() {
        Kind::LParen => return group(input),
        Kind::LBrack => return array(input),
        Kind::LCurly => return object(input),
        _ => {}
    }
    match alt((literal, name)).parse(input) {
        Err(Err::Error(_)) => {
            let help = match input.kind() {
                Kind::Add => "a sign `+` is not needed",
                Kind::Colon => "write `=` between a name and its value",
                _ => "write a string, number, list, object, name or call",
            };
            input.found("expected a value", help);
            input.fail()
        }
        result => result,
    }
}

fn literal(input: Tokens<'_>) -> Parsed<'_, Tall> {
    let token = input.first();
    let text = input.text();
    let decoded = match token.kind {
        Kind::Null | Kind::Broken => Ok(Literal::Null),
        Kind::Bool => Ok(Literal::Bool(text == "true")),
        Kind::Number => literal::number(text, false),
        Kind::Float => literal::number(text, true),
        Kind::String => literal::string(text).map(Literal::String),
        _ => return input.mismatch(),
    };
    let value = decoded.unwrap_or_else(|flaw| {
        report_flaw(input, flaw);
        Literal::Null
    });
    Ok((input.next(), Tall::leaf(ExprKind::Literal(value), token.span)))
}

fn report_flaw(input: Tokens<'_>, flaw: literal::Flaw) {
    let start = input.first().span.start;
    let span = Span::new(start + flaw.span.start, start + flaw.span.end);
    input.cx.report(span, flaw.message, flaw.help);
}

fn name(input: Tokens<'_>) -> Parsed<'_, Tall> {
    map(token(Kind::Ident), |t| Tall::leaf(ExprKind::Ident(input.text().to_owned()), t.span)).parse(input)
}

fn group(input: Tokens<'_>) -> Parsed<'_, Tall> {
    let (input, open) = token(Kind::LParen)(input)?;
    let (input, inner) = expression(input)?;
    let (input, close) = closer(input, open, Kind::RParen)?;
    node(input, ExprKind::Paren(Box::new(inner.expr)), open.span.to(close.span), inner.height)
}

fn array(input: Tokens<'_>) -> Parsed<'_, Tall> {
    let (input, open) = token(Kind::LBrack)(input)?;
    let (input, list) =
        list(input, open, Kind::RBrack, |i| expression(i).map(|(i, t)| (i, (t.expr, t.height))))?;
    node(input, ExprKind::Array(list.items), open.span.to(list.close.span), list.height)
}

fn object(input: Tokens<'_>) -> Parsed<'_, Tall> {
    let (input, open) = token(Kind::LCurly)(input)?;
    let (input, list) = list(input, open, Kind::RCurly, field)?;
    node(input, ExprKind::Object(list.items), open.span.to(list.close.span), list.height)
}

fn field(input: Tokens<'_>) -> Parsed<'_, (Field, u32)> {
    let token = input.first();
    let text = input.text();
    let quoted = match token.kind {
        Kind::Ident | Kind::Broken => false,
        Kind::String => true,
        _ => {
            input.found("expected a field name", "a field is `name = value` or `\"name\" = value`");
            return input.fail();
        }
    };
    if quoted && let Err(flaw) = literal::string(text) {
        report_flaw(input, flaw);
    }
    // As parser.parseField of Alloy: the quotes go only where something stands between them, and escape
    // sequences stay as they are.
    let name = if quoted && text.len() > 2 { &text[1..text.len() - 1] } else { text };
    let key = Ident { name: name.to_owned(), span: token.span };
    let input = input.next();
    let input = match input.kind() {
        Kind::Assign => input.next(),
        Kind::Colon | Kind::Eq => {
            let span = input.first().span;
            input.cx.report(span, "a field is set with `=`", "write `=` instead");
            input.next()
        }
        Kind::LCurly | Kind::String | Kind::Dot => {
            input.found(
                "expected `=` behind the field name",
                "an object holds fields `name = value`; blocks cannot stand in it",
            );
            return input.fail();
        }
        _ => {
            input.found("expected `=` behind the field name", "a field is `name = value`");
            return input.fail();
        }
    };
    let (input, value) = expression(input)?;
    Ok((input, (Field { key, quoted, value: value.expr }, value.height)))
}

struct List<T> {
    items: Vec<T>,
    height: u32,
    close: Token,
}

/// Elements up to the closer, separated by commas; the last comma may be left out on the closer's line.
fn list<'t, T>(
    mut input: Tokens<'t>,
    open: Token,
    close: Kind,
    item: impl Fn(Tokens<'t>) -> Parsed<'t, (T, u32)>,
) -> Parsed<'t, List<T>> {
    let mut items = Vec::new();
    let mut height = 0;
    loop {
        if input.kind() == close {
            return Ok((input.next(), List { items, height, close: input.first() }));
        }
        if ends_list(input, open) {
            input.cx.unclosed(open);
            return input.fail_before_statement();
        }
        match item(input) {
            Ok((rest, (value, below))) => {
                items.push(value);
                height = height.max(below);
                input = rest;
            }
            Err(Err::Failure(stop)) if !stop.resume => input = skip_element(input.at(stop)),
            Err(stop) => return Err(stop),
        }
        input = separator(input, open, close);
    }
}

/// Whether the list can only have been left open: something that closes another bracket, the end of the
/// file, or a line that belongs to the block around it.
fn ends_list(input: Tokens<'_>, open: Token) -> bool {
    matches!(input.kind(), Kind::Eof | Kind::RCurly | Kind::RBrack | Kind::RParen)
        || (input.behind_unclosed(open) && !is_block_element(input, open))
}

/// A block where an element should be, closed and followed by a comma: that mistake has its own message.
fn is_block_element(input: Tokens<'_>, open: Token) -> bool {
    let mut at = input;
    if open.kind == Kind::LCurly || !at.at_statement() || at.ahead(1) == Kind::Assign {
        return false;
    }
    while at.kind() != Kind::LCurly {
        at = at.next();
    }
    at.skip_bracket().kind() == Kind::Comma
}

/// Steps over what stands between two elements.
fn separator<'t>(input: Tokens<'t>, open: Token, close: Kind) -> Tokens<'t> {
    match input.kind() {
        Kind::Comma => input.next(),
        Kind::Term => {
            let next = input.next();
            if next.kind() == close || !ends_list(next, open) {
                input.cx.report(
                    input.first().span,
                    "a comma is missing behind this element",
                    "in a list over several lines every element ends with `,`, the last one too",
                );
            }
            next
        }
        kind if kind == close || ends_list(input, open) => input,
        Kind::Ident
        | Kind::String
        | Kind::Number
        | Kind::Float
        | Kind::Bool
        | Kind::Null
        | Kind::Broken
        | Kind::LCurly => {
            let span = input.first().span;
            input.cx.report(span, "a comma is missing before this element", "write `,` between two elements");
            input
        }
        _ => {
            let message = format!("expected `,` or {}", close.describe());
            input.found(&message, "write `,` between two elements");
            let rest = skip_element(input);
            if rest.kind() == Kind::Comma { rest.next() } else { rest }
        }
    }
}

/// To the comma, line end or closer that ends a bad element.
fn skip_element(mut input: Tokens<'_>) -> Tokens<'_> {
    loop {
        match input.kind() {
            Kind::LCurly | Kind::LParen | Kind::LBrack => input = input.skip_bracket(),
            Kind::RCurly | Kind::RParen | Kind::RBrack | Kind::Comma | Kind::Term | Kind::Eof => {
                return input;
            }
            _ => input = input.next(),
        }
    }
}

/// A `{` or `"label" {` behind a value is a block where a value should be: says so, and steps over it.
fn block_as_value<'t>(input: Tokens<'t>, value: &Expr) -> Tokens<'t> {
    let brace = match (input.kind(), input.ahead(1)) {
        (Kind::LCurly, _) => input,
        (Kind::String, Kind::LCurly) => input.next(),
        _ => return input,
    };
    if !matches!(value.kind, ExprKind::Ident(_) | ExprKind::Access(..)) {
        return input;
    }
    input.cx.report(
        value.span.to(brace.first().span),
        "a block cannot be used as a value",
        "write the block without `=`, or an object `{ name = value }` without a name before it",
    );
    brace.skip_bracket()
}

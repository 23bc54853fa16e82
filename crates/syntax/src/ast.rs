//! The tree that the parser returns. Every node carries its span; comments are kept beside the tree
//! so that the formatter can put them back.
//!
//! Invariant: a tree is returned for every input; what could not be read is absent from it and
//! reported as a diagnostic.

use crate::span::{Source, Span};

/// One parsed file.
#[derive(Debug, Clone)]
pub struct File {
    /// The text that the spans point into.
    pub source: Source,
    /// The statements at top level.
    pub body: Body,
    /// All comments in order of position.
    pub comments: Vec<Comment>,
}

/// A comment, with its markers (`//…` without the newline, `/*…*/`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Comment {
    /// Where it stands.
    pub span: Span,
    /// `/* */` rather than `//`.
    pub block: bool,
}

/// A list of statements: a file or the inside of a block.
#[derive(Debug, Clone, Default)]
pub struct Body {
    /// Statements in order.
    pub statements: Vec<Statement>,
    /// From behind the opening brace to the closing one (whole file at top level).
    pub span: Span,
}

impl Body {
    /// The attributes in order.
    pub fn attributes(&self) -> impl Iterator<Item = &Attribute> {
        self.statements.iter().filter_map(|s| match s {
            Statement::Attribute(a) => Some(a),
            Statement::Block(_) => None,
        })
    }

    /// The blocks in order.
    pub fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.statements.iter().filter_map(|s| match s {
            Statement::Block(b) => Some(b),
            Statement::Attribute(_) => None,
        })
    }
}

/// `name = value` or `name "label" { … }`.
#[derive(Debug, Clone)]
pub enum Statement {
    /// `name = value`
    Attribute(Attribute),
    /// `name.more "label" { … }`
    Block(Block),
}

/// A name with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ident {
    /// The name.
    pub name: String,
    /// Where it stands.
    pub span: Span,
}

/// `name = value`
#[derive(Debug, Clone)]
pub struct Attribute {
    /// What is set.
    pub name: Ident,
    /// To what.
    pub value: Expr,
}

impl Attribute {
    /// From the name to the end of the value.
    pub fn span(&self) -> Span {
        self.name.span.to(self.value.span)
    }
}

/// `name.more "label" { … }`
#[derive(Debug, Clone)]
pub struct Block {
    /// The dotted name, one part an identifier.
    pub name: Vec<Ident>,
    /// The label between the quotes; `""` in the text means none.
    pub label: Option<Ident>,
    /// What is between the braces.
    pub body: Body,
    /// From the first name part to the closing brace.
    pub span: Span,
}

impl Block {
    /// The name with its dots.
    pub fn full_name(&self) -> String {
        self.name.iter().map(|i| i.name.as_str()).collect::<Vec<_>>().join(".")
    }

    /// `name.label`, or the name where there is no label: the identity of a node.
    pub fn id(&self) -> String {
        match &self.label {
            Some(l) => format!("{}.{}", self.full_name(), l.name),
            None => self.full_name(),
        }
    }

    /// The span of the dotted name.
    pub fn name_span(&self) -> Span {
        match (self.name.first(), self.name.last()) {
            (Some(a), Some(b)) => a.span.to(b.span),
            _ => self.span,
        }
    }

    /// The span of name and label, to point at a block as a whole.
    pub fn header_span(&self) -> Span {
        self.label.as_ref().map_or(self.name_span(), |l| self.name_span().to(l.span))
    }
}

/// An expression with its place.
#[derive(Debug, Clone)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it stands.
    pub span: Span,
}

/// The forms of an expression.
#[derive(Debug, Clone)]
pub enum ExprKind {
    /// A literal.
    Literal(Literal),
    /// A name looked up in scope.
    Ident(String),
    /// `[a, b]`
    Array(Vec<Expr>),
    /// `{ a = b }`
    Object(Vec<Field>),
    /// `(inner)`, kept for the formatter.
    Paren(Box<Expr>),
    /// `inner.name`
    Access(Box<Expr>, Ident),
    /// `inner[index]`
    Index(Box<Expr>, Box<Expr>),
    /// `function(arguments)`
    Call(Box<Expr>, Vec<Expr>),
    /// `-x`, `!x`
    Unary(UnaryOp, Box<Expr>),
    /// `a op b`
    Binary(Box<Expr>, BinaryOp, Box<Expr>),
}

/// A field of an object literal.
#[derive(Debug, Clone)]
pub struct Field {
    /// The key as it counts: an identifier, or verbatim what is between the quotes (escape sequences
    /// are not decoded; the empty string key keeps its two quote characters).
    pub key: Ident,
    /// Written with quotes.
    pub quoted: bool,
    /// The value.
    pub value: Expr,
}

/// A literal, decoded.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A number that fits.
    Int(i64),
    /// A number above `i64::MAX` that fits.
    Uint(u64),
    /// Any other number.
    Float(f64),
    /// A string, decoded; raw strings too.
    String(String),
}

/// Operators with one operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnaryOp {
    /// `!`
    Not,
    /// `-`
    Negate,
}

/// Operators with two operands, in ascending order of precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryOp {
    /// `||`
    Or,
    /// `&&`
    And,
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Mod,
    /// `^`
    Pow,
}

impl BinaryOp {
    /// How it is written.
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Or => "||",
            Self::And => "&&",
            Self::Eq => "==",
            Self::Ne => "!=",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
        }
    }
}

/// Visits an expression and what is in it, parents first, left to right. `visit` says whether to go into
/// the expression that it was given.
pub fn walk_expr<'e>(expr: &'e Expr, visit: &mut dyn FnMut(&'e Expr) -> bool) {
    if !visit(expr) {
        return;
    }
    match &expr.kind {
        ExprKind::Literal(_) | ExprKind::Ident(_) => {}
        ExprKind::Array(items) => items.iter().for_each(|e| walk_expr(e, visit)),
        ExprKind::Object(fields) => fields.iter().for_each(|f| walk_expr(&f.value, visit)),
        ExprKind::Paren(inner) | ExprKind::Access(inner, _) | ExprKind::Unary(_, inner) => {
            walk_expr(inner, visit);
        }
        ExprKind::Index(inner, index) => {
            walk_expr(inner, visit);
            walk_expr(index, visit);
        }
        ExprKind::Call(callee, arguments) => {
            walk_expr(callee, visit);
            arguments.iter().for_each(|e| walk_expr(e, visit));
        }
        ExprKind::Binary(left, _, right) => {
            walk_expr(left, visit);
            walk_expr(right, visit);
        }
    }
}

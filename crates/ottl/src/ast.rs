//! A statement as it is written, before names are looked up.

use std::ops::Range;

pub(crate) type Span = Range<usize>;

/// `editor(arguments) where condition`
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) editor: Call,
    pub(crate) condition: Option<Node>,
}

/// A value or a condition.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) span: Span,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    Enum(String),
    Path(Path),
    Call(Call),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
    Math(MathOp, Box<Node>, Box<Node>),
    Lambda(Vec<String>, Box<Node>),
    /// A function as an argument: its name without parentheses.
    Function(String),
    Compare(CompareOp, Box<Node>, Box<Node>),
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
}

/// `resource.attributes["key"]`
#[derive(Debug)]
pub(crate) struct Path {
    pub(crate) fields: Vec<Field>,
}

#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) span: Span,
    pub(crate) keys: Vec<Node>,
}

/// `Split(x, ",")[0]`
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) name_span: Span,
    /// From the name to the closing parenthesis.
    pub(crate) span: Span,
    pub(crate) arguments: Vec<Argument>,
    pub(crate) keys: Vec<Node>,
}

#[derive(Debug)]
pub(crate) struct Argument {
    pub(crate) name: Option<(String, Span)>,
    pub(crate) value: Node,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MathOp {
    Add,
    Subtract,
    Multiply,
    Divide,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CompareOp {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Node {
    /// Calls `visit` for this node and all below it, dynamic keys included.
    pub(crate) fn walk<'n>(&'n self, visit: &mut dyn FnMut(&'n Node)) {
        visit(self);
        match &self.kind {
            Kind::Path(path) => path.fields.iter().flat_map(|f| &f.keys).for_each(|key| key.walk(visit)),
            Kind::Call(call) => call.walk(visit),
            Kind::List(items) | Kind::And(items) | Kind::Or(items) => {
                items.iter().for_each(|item| item.walk(visit));
            }
            Kind::Map(entries) => entries.iter().for_each(|(_, value)| value.walk(visit)),
            Kind::Math(_, left, right) | Kind::Compare(_, left, right) => {
                left.walk(visit);
                right.walk(visit);
            }
            Kind::Lambda(_, body) | Kind::Not(body) => body.walk(visit),
            Kind::Nil
            | Kind::Bool(_)
            | Kind::Int(_)
            | Kind::Float(_)
            | Kind::Text(_)
            | Kind::Bytes(_)
            | Kind::Enum(_)
            | Kind::Function(_) => {}
        }
    }
}

impl Call {
    pub(crate) fn walk<'n>(&'n self, visit: &mut dyn FnMut(&'n Node)) {
        self.arguments.iter().for_each(|argument| argument.value.walk(visit));
        self.keys.iter().for_each(|key| key.walk(visit));
    }
}

impl Statement {
    pub(crate) fn walk<'n>(&'n self, visit: &mut dyn FnMut(&'n Node)) {
        self.editor.walk(visit);
        if let Some(condition) = &self.condition {
            condition.walk(visit);
        }
    }
}

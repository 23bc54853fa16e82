//! Evaluates expressions.
//!
//! Invariants: both sides of `&&` and `||` are evaluated; an operand not known yet makes the result not
//! known yet; depth is bounded, so no expression exhausts the stack.

use std::collections::BTreeMap;
use std::sync::Arc;

use syntax::ast::{BinaryOp, Expr, ExprKind, Field, Ident, Literal};
use syntax::{Diagnostic, Source, Span};

use crate::arg::{ErrorKind, ValueError};
use crate::decode::locate;
use crate::operators::{self, Side};
use crate::scope::Scope;
use crate::stdlib::{self, Builtin};
use crate::value::{Function, Number, Value};
use crate::{suggest, types};

/// Expressions nest no deeper than this; what a chain of operators adds does not count.
const MAX_DEPTH: u32 = 200;

/// Evaluates an expression. Codes of the diagnostics: `unknown_reference`, `wrong_type`, `stability`,
/// `evaluation`. Warnings wait in [`Scope::take_warnings`].
pub fn evaluate(expr: &Expr, source: &Source, scope: &Scope<'_>) -> Result<Value, Diagnostic> {
    Evaluator { source, scope }.expr(expr, 0)
}

struct Evaluator<'a> {
    source: &'a Source,
    scope: &'a Scope<'a>,
}

type Evaluated = Result<Value, Diagnostic>;

impl Evaluator<'_> {
    fn error(&self, code: &'static str, message: impl Into<String>, span: Span) -> Diagnostic {
        Diagnostic::error(code, message, self.source, span)
    }

    fn expr(&self, expr: &Expr, depth: u32) -> Evaluated {
        if depth > MAX_DEPTH {
            return Err(self
                .error(
                    "evaluation",
                    format!("the expression nests deeper than {MAX_DEPTH} levels"),
                    expr.span,
                )
                .with_help("build it in steps"));
        }
        let depth = depth + 1;
        match &expr.kind {
            ExprKind::Literal(literal) => Ok(value_of(literal)),
            ExprKind::Paren(inner) => self.expr(inner, depth),
            ExprKind::Array(items) => {
                items.iter().map(|e| self.expr(e, depth)).collect::<Result<Vec<_>, _>>().map(Value::array)
            }
            ExprKind::Object(fields) => self.object(fields, depth),
            ExprKind::Ident(_) | ExprKind::Access(..) => self.access(expr, depth),
            ExprKind::Index(inner, index) => self.index(inner, index, depth),
            ExprKind::Call(function, arguments) => self.call(expr, function, arguments, depth),
            ExprKind::Unary(op, inner) => operators::unary(*op, &self.expr(inner, depth)?)
                .map_err(|message| self.error("wrong_type", message, inner.span)),
            ExprKind::Binary(..) => self.binary(expr, depth),
        }
    }

    fn object(&self, fields: &[Field], depth: u32) -> Evaluated {
        let mut out = BTreeMap::new();
        for field in fields {
            out.insert(field.key.name.clone(), self.expr(&field.value, depth)?);
        }
        Ok(Value::object(out))
    }

    /// A chain of operators of one level is a deep tree on its left side, so that side is walked.
    fn binary(&self, expr: &Expr, depth: u32) -> Evaluated {
        let mut chain: Vec<(&Expr, BinaryOp, &Expr)> = Vec::new();
        let mut first = expr;
        while let ExprKind::Binary(left, op, right) = &first.kind {
            chain.push((left, *op, right));
            first = left;
        }
        let mut value = self.expr(first, depth)?;
        for (left, op, right) in chain.into_iter().rev() {
            let other = self.expr(right, depth)?;
            value = operators::binary(&value, op, &other).map_err(|e| {
                let span = if e.side == Side::Left { left.span } else { right.span };
                let code = if e.message.starts_with("division") { "evaluation" } else { "wrong_type" };
                self.error(code, e.message, span)
            })?;
        }
        Ok(value)
    }

    /// An identifier with the names after it: as much of it as a variable, the host or the standard
    /// library stands for, then field by field.
    fn access(&self, expr: &Expr, depth: u32) -> Evaluated {
        let mut names: Vec<&Ident> = Vec::new();
        let mut inner = expr;
        while let ExprKind::Access(object, name) = &inner.kind {
            names.push(name);
            inner = object;
        }
        names.reverse();
        let (mut value, mut span, used) = match &inner.kind {
            ExprKind::Ident(first) => {
                let path: Vec<&str> =
                    std::iter::once(first.as_str()).chain(names.iter().map(|n| n.name.as_str())).collect();
                let (used, value) = self.lookup(&path, expr, inner.span)?;
                let last = used.checked_sub(2).and_then(|i| names.get(i)).map_or(inner.span, |n| n.span);
                (value, inner.span.to(last), used.saturating_sub(1))
            }
            _ => (self.expr(inner, depth)?, inner.span, 0),
        };
        for name in names.into_iter().skip(used) {
            value = self.field(&value, name, span)?;
            span = span.to(name.span);
        }
        Ok(value)
    }

    fn lookup(&self, path: &[&str], expr: &Expr, first: Span) -> Result<(usize, Value), Diagnostic> {
        if let Some(found) = self.scope.resolve(path) {
            return Ok(found);
        }
        if let Some(found) = stdlib::lookup(path) {
            return self.library(found, expr.span);
        }
        let dotted = path.join(".");
        let names = self.scope.names();
        let candidates: Vec<&str> = stdlib::names().chain(names.iter().map(String::as_str)).collect();
        let mut error = self.error(
            "unknown_reference",
            format!("{dotted:?} does not exist or is out of scope"),
            first.to(expr.span),
        );
        // The name of a component is the front of the path; how long depends on the component.
        let near = (1..=path.len())
            .rev()
            .find_map(|n| suggest::closest(&path[..n].join("."), candidates.iter().copied()));
        error.help = near.map(|n| format!("did you mean {n:?}?"));
        Err(error)
    }

    fn library(&self, found: stdlib::Found, span: Span) -> Result<(usize, Value), Diagnostic> {
        if let Some(instead) = found.deprecated {
            let message = format!("the name {:?} is deprecated", found.name);
            self.scope.warn(
                Diagnostic::warning("deprecated", message, self.source, span)
                    .with_help(format!("write {instead} instead")),
            );
        }
        if let Value::Function(Function(builtin)) = found.value
            && builtin.stability < self.scope.stability()
        {
            let level = builtin.stability.as_str();
            return Err(self
                .error("stability", format!("the function {} is {level}", builtin.name), span)
                .with_help(format!("start with --stability.level={level} to use it")));
        }
        Ok((found.used, found.value))
    }

    fn field(&self, value: &Value, name: &Ident, span: Span) -> Evaluated {
        let missing = |candidates: Vec<&str>| {
            let mut error = self.error("evaluation", format!("there is no field {:?}", name.name), name.span);
            error.help = suggest::help(&name.name, &candidates);
            error
        };
        match value {
            Value::Object(fields) => fields
                .get(&name.name)
                .cloned()
                .ok_or_else(|| missing(fields.keys().map(String::as_str).collect())),
            Value::Capsule(c) => match c.content().field(&name.name) {
                Some(v) => Ok(v),
                None => match c.content().as_object() {
                    Some(fields) => Err(missing(fields.keys().map(String::as_str).collect())),
                    None => Err(self.no_fields(value, &name.name, span)),
                },
            },
            Value::Unknown(t) => Ok(Value::Unknown(field_type(t))),
            other => Err(self.no_fields(other, &name.name, span)),
        }
    }

    fn no_fields(&self, value: &Value, name: &str, span: Span) -> Diagnostic {
        let message = format!("a value of type {} has no field {name:?}", value.describe());
        self.error("wrong_type", message, span)
    }

    fn index(&self, inner: &Expr, index: &Expr, depth: u32) -> Evaluated {
        let value = self.expr(inner, depth)?;
        let at = self.expr(index, depth)?;
        let wrong_key = |wanted: &str| {
            self.error(
                "wrong_type",
                format!("the index must be a {wanted}, got {}", at.describe()),
                index.span,
            )
        };
        match (&value, &at) {
            (Value::Unknown(t), _) => Ok(Value::Unknown(types::element(t))),
            (_, Value::Unknown(_)) => Ok(Value::Unknown("")),
            (Value::Array(items), Value::Number(n)) => {
                let i = n.as_i64();
                usize::try_from(i).ok().and_then(|i| items.get(i)).cloned().ok_or_else(|| {
                    let message =
                        format!("index {i} is out of range of a list with {} elements", items.len());
                    self.error("evaluation", message, index.span)
                })
            }
            (Value::Array(_), _) => Err(wrong_key("number")),
            (Value::Object(fields), Value::String(key)) => {
                Ok(fields.get(&**key).cloned().unwrap_or(Value::Null))
            }
            (Value::Object(_), _) => Err(wrong_key("string")),
            (Value::Capsule(c), key) => match (c.content().as_object().is_some(), key) {
                (true, Value::String(key)) => Ok(c.content().field(key).unwrap_or(Value::Null)),
                (true, _) => Err(wrong_key("string")),
                (false, _) => Err(self.no_elements(&value, inner.span)),
            },
            _ => Err(self.no_elements(&value, inner.span)),
        }
    }

    fn no_elements(&self, value: &Value, span: Span) -> Diagnostic {
        self.error("wrong_type", format!("a value of type {} has no elements", value.describe()), span)
    }

    fn call(&self, call: &Expr, function: &Expr, arguments: &[Expr], depth: u32) -> Evaluated {
        let callee = self.expr(function, depth)?;
        let values = arguments.iter().map(|a| self.expr(a, depth)).collect::<Result<Vec<_>, _>>()?;
        let builtin = match callee {
            Value::Function(Function(builtin)) => builtin,
            Value::Unknown(_) => return Ok(Value::Unknown("")),
            other => {
                let message = format!("a value of type {} cannot be called", other.describe());
                return Err(self.error("wrong_type", message, function.span));
            }
        };
        if let Some(problem) = builtin.arity_problem(values.len()) {
            return Err(self.error("evaluation", problem, call.span).with_help(builtin.signature()));
        }
        if let Some(unknown) = unknown_result(builtin, &values) {
            return Ok(unknown);
        }
        (builtin.run)(&values).map_err(|e| {
            let Some(argument) = e.argument.and_then(|i| arguments.get(i)) else {
                return self.call_error(builtin, &e.error, call.span);
            };
            let (span, rest) = locate(argument, &e.error.path);
            let inner = ValueError { path: rest.to_vec(), ..e.error };
            self.call_error(builtin, &inner, span)
        })
    }

    fn call_error(&self, builtin: &Builtin, error: &ValueError, span: Span) -> Diagnostic {
        let code = match error.kind {
            ErrorKind::WrongType => "wrong_type",
            ErrorKind::Invalid => "evaluation",
        };
        let mut diagnostic = self.error(code, format!("{}: {error}", builtin.name), span);
        diagnostic.help = error.help.clone();
        diagnostic
    }
}

/// What a call answers when an argument is not known yet. Functions that only pass elements on are not
/// searched for unknown ones, for their lists are long.
fn unknown_result(builtin: &Builtin, values: &[Value]) -> Option<Value> {
    if !builtin.passes_on {
        return values.iter().any(Value::contains_unknown).then_some(Value::Unknown(builtin.returns));
    }
    let mut kinds = values.iter().filter_map(|v| match v {
        Value::Unknown(t) => Some(*t),
        _ => None,
    });
    let first = kinds.next()?;
    let same = values.len() == 1 || (builtin.returns != "any" && kinds.all(|t| t == first));
    Some(Value::Unknown(if same && first.starts_with("list(") { first } else { builtin.returns }))
}

fn field_type(object: &'static str) -> &'static str {
    match types::element(object) {
        inner if object.starts_with("map(") || object == "target" => inner,
        _ => "",
    }
}

fn value_of(literal: &Literal) -> Value {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(b) => Value::Bool(*b),
        Literal::Int(v) => Value::Number(Number::Int(*v)),
        Literal::Uint(v) => Value::Number(Number::Uint(*v)),
        Literal::Float(v) => Value::Number(Number::Float(*v)),
        Literal::String(s) => Value::String(Arc::from(s.as_str())),
    }
}

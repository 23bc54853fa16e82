//! Functions: one row a function in a table, a plain `fn` for its body.
//!
//! Arguments are looked up and compiled before; a body reads them by position. Names, parameters and
//! behaviour are those of pkg/ottl/ottlfuncs and of the transform and filter processors.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;

use parking_lot::Mutex;
use signal::re2::{self, Regex};
use smallvec::SmallVec;

use crate::context::{Context, Item};
use crate::error::EvalError;
use crate::expr::{Env, Expr, Lambda};
use crate::path::Path;
use crate::value::Value;

mod aggregate;
mod collections;
mod distribution;
mod editors;
mod filter;
mod format;
mod grok;
mod hash;
mod logs;
mod metrics;
mod parse;
mod replace;
mod signaltometrics;
mod span_name;
mod text;
mod time;
mod types;
mod user_agent;
mod xml;

/// Which functions there are beside those that are everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// Those of every component.
    Standard,
    /// Those of `otelcol.processor.transform`.
    Transform,
    /// Those of `otelcol.processor.filter`.
    Filter,
    /// Those of `otelcol.connector.signaltometrics`.
    SignalToMetrics,
}

/// A row of the table.
pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) params: &'static [Param],
    pub(crate) body: Body,
    /// Where it can be used; empty: everywhere.
    pub(crate) contexts: &'static [Context],
    /// Checks arguments that are written out, and compiles what can be.
    pub(crate) prepare: Option<Prepare>,
}

pub(crate) type Convert = for<'a> fn(&'a Args, &Env<'a>) -> Result<Value<'a>, EvalError>;
pub(crate) type Prepare = fn(&mut Args) -> Result<(), String>;
pub(crate) type Edit = fn(&Args, &mut Item<'_>) -> Result<(), EvalError>;

#[derive(Clone, Copy)]
pub(crate) enum Body {
    Convert(Convert),
    Edit(Edit),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Param {
    pub(crate) name: &'static str,
    pub(crate) takes: Takes,
    pub(crate) optional: bool,
}

/// What an argument can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    Value,
    Str,
    Int,
    Double,
    Bool,
    /// A list whose elements are evaluated one by one.
    Values,
    /// Text that is written out.
    Fixed,
    Regex,
    /// A path that is changed.
    Target,
    Lambda(usize),
    /// The name of a converter.
    Function,
}

impl Takes {
    /// What is expected, if it is not this literal.
    pub(crate) fn refuses(self, value: &Value<'_>) -> Option<&'static str> {
        match (self, value) {
            (Self::Str, Value::Str(_)) | (Self::Int, Value::Int(_)) | (Self::Bool, Value::Bool(_)) => None,
            (Self::Double, Value::Int(_) | Value::Double(_)) => None,
            (Self::Str, _) => Some("a string"),
            (Self::Int, _) => Some("an int"),
            (Self::Double, _) => Some("a number"),
            (Self::Bool, _) => Some("a bool"),
            _ => None,
        }
    }
}

pub(crate) const fn param(name: &'static str, takes: Takes) -> Param {
    Param { name, takes, optional: false }
}

pub(crate) const fn optional(name: &'static str, takes: Takes) -> Param {
    Param { name, takes, optional: true }
}

impl Function {
    pub(crate) const fn convert(name: &'static str, params: &'static [Param], body: Convert) -> Self {
        Self { name, params, body: Body::Convert(body), contexts: &[], prepare: None }
    }

    pub(crate) const fn edit(name: &'static str, params: &'static [Param], body: Edit) -> Self {
        Self { name, params, body: Body::Edit(body), contexts: &[], prepare: None }
    }

    pub(crate) const fn only(mut self, contexts: &'static [Context]) -> Self {
        self.contexts = contexts;
        self
    }

    pub(crate) const fn prepared(mut self, prepare: Prepare) -> Self {
        self.prepare = Some(prepare);
        self
    }

    pub(crate) fn is_editor(&self) -> bool {
        self.name.starts_with(|c: char| c.is_ascii_lowercase())
    }

    /// `name(a, b, [c])`
    pub(crate) fn usage(&self) -> String {
        let show = |p: &Param| if p.optional { format!("[{}]", p.name) } else { p.name.to_owned() };
        let params: Vec<String> = self.params.iter().map(show).collect();
        format!("its arguments are {}({})", self.name, params.join(", "))
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The functions of some groups.
pub(crate) fn all(groups: &[Group]) -> impl Iterator<Item = &'static Function> {
    let tables = groups.iter().flat_map(|group| match group {
        Group::Standard => STANDARD,
        Group::Transform => TRANSFORM,
        Group::Filter => FILTER,
        Group::SignalToMetrics => SIGNAL_TO_METRICS,
    });
    tables.flat_map(|table| table.iter())
}

pub(crate) fn find(name: &str, groups: &[Group]) -> Option<&'static Function> {
    all(groups).find(|function| function.name == name)
}

const STANDARD: &[&[Function]] = &[
    editors::TABLE,
    replace::TABLE,
    types::TABLE,
    text::TABLE,
    collections::TABLE,
    hash::TABLE,
    time::TABLE,
    parse::TABLE,
    grok::TABLE,
    xml::TABLE,
    user_agent::TABLE,
];
const TRANSFORM: &[&[Function]] =
    &[metrics::TABLE, aggregate::TABLE, distribution::TABLE, logs::TABLE, span_name::TABLE];
const FILTER: &[&[Function]] = &[filter::TABLE];
const SIGNAL_TO_METRICS: &[&[Function]] = &[signaltometrics::TABLE];

/// An argument in its place.
#[derive(Debug)]
pub(crate) enum Arg {
    Absent,
    Value(Expr),
    Values(Vec<Expr>),
    Target(Path),
    Regex(Pattern),
    Lambda(Lambda),
    Function(&'static Function),
}

/// A regular expression: compiled once if it is written out, else kept as long as it stays the same.
#[derive(Debug)]
pub(crate) enum Pattern {
    Fixed(Regex),
    Dynamic { expr: Expr, last: Mutex<Option<Regex>> },
}

impl Pattern {
    pub(crate) fn fixed(pattern: &str) -> Result<Self, re2::SyntaxError> {
        Regex::new(pattern).map(Self::Fixed)
    }

    pub(crate) fn dynamic(expr: Expr) -> Self {
        Self::Dynamic { expr, last: Mutex::new(None) }
    }

    fn get(&self, env: &Env<'_>) -> Result<Cow<'_, Regex>, EvalError> {
        match self {
            Self::Fixed(regex) => Ok(Cow::Borrowed(regex)),
            Self::Dynamic { expr, last } => {
                let pattern = strict_str(expr.eval(env)?)?;
                if let Some(known) = last.lock().as_ref().filter(|known| known.as_str() == pattern) {
                    return Ok(Cow::Owned(known.clone()));
                }
                let regex = Regex::new(&pattern).map_err(|error| EvalError::new(error.to_string()))?;
                *last.lock() = Some(regex.clone());
                Ok(Cow::Owned(regex))
            }
        }
    }
}

/// The arguments of a call, by position.
pub(crate) struct Args {
    args: Vec<Arg>,
    ready: Option<Box<dyn Any + Send + Sync>>,
}

impl fmt::Debug for Args {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.args).finish()
    }
}

fn wrong(expected: &str, value: &Value<'_>) -> EvalError {
    EvalError::new(format!("expected {expected}, but got {}", value.type_name()))
}

fn strict_str(value: Value<'_>) -> Result<Cow<'_, str>, EvalError> {
    match value {
        Value::Str(text) => Ok(text),
        other => Err(wrong("a string", &other)),
    }
}

impl Args {
    pub(crate) fn new(args: Vec<Arg>) -> Self {
        Self { args, ready: None }
    }

    /// What was made of arguments that are written out.
    pub(crate) fn keep<T: Send + Sync + 'static>(&mut self, ready: T) {
        self.ready = Some(Box::new(ready));
    }

    pub(crate) fn ready<T: 'static>(&self) -> Option<&T> {
        self.ready.as_ref()?.downcast_ref()
    }

    pub(crate) fn is_absent(&self, at: usize) -> bool {
        matches!(self.args.get(at), None | Some(Arg::Absent))
    }

    /// An argument that is text and written out.
    pub(crate) fn fixed(&self, at: usize) -> Option<&str> {
        match self.literal(at) {
            Some(Value::Str(text)) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn literal(&self, at: usize) -> Option<&Value<'static>> {
        match self.args.get(at) {
            Some(Arg::Value(expr)) => expr.literal(),
            _ => None,
        }
    }

    /// An absent argument is nothing.
    pub(crate) fn value<'a>(&'a self, at: usize, env: &Env<'a>) -> Result<Value<'a>, EvalError> {
        match self.args.get(at) {
            Some(Arg::Value(expr)) => expr.eval(env),
            Some(Arg::Target(path)) => path.get(env),
            Some(Arg::Values(_)) => Ok(Value::List(Cow::Owned(
                self.values(at, env)?.into_iter().map(|v| v.into_any().unwrap_or_default()).collect(),
            ))),
            _ => Ok(Value::Nil),
        }
    }

    /// The elements of a list; none where it is absent.
    pub(crate) fn values<'a>(
        &'a self,
        at: usize,
        env: &Env<'a>,
    ) -> Result<SmallVec<[Value<'a>; 4]>, EvalError> {
        match self.args.get(at) {
            Some(Arg::Values(items)) => items.iter().map(|item| item.eval(env)).collect(),
            Some(Arg::Value(expr)) => match expr.eval(env)? {
                Value::List(Cow::Borrowed(list)) => {
                    Ok(list.iter().map(|item| Value::of(Some(item))).collect())
                }
                Value::List(Cow::Owned(list)) => {
                    Ok(list.into_iter().map(|item| Value::from_any(Some(item))).collect())
                }
                other => Err(wrong("a list", &other)),
            },
            _ => Ok(SmallVec::new()),
        }
    }

    /// The elements of a value that is a list.
    pub(crate) fn elements<'a>(&'a self, at: usize, env: &Env<'a>) -> Result<Vec<Value<'a>>, EvalError> {
        match self.value(at, env)? {
            Value::List(Cow::Borrowed(list)) => Ok(list.iter().map(|item| Value::of(Some(item))).collect()),
            Value::List(Cow::Owned(list)) => {
                Ok(list.into_iter().map(|item| Value::from_any(Some(item))).collect())
            }
            other => Err(wrong("a list", &other)),
        }
    }

    /// Whether a list that is written out has no elements.
    pub(crate) fn is_empty_list(&self, at: usize) -> bool {
        matches!(self.args.get(at), Some(Arg::Values(items)) if items.is_empty())
    }

    /// A list of texts that is written out; empty where it is absent.
    pub(crate) fn fixed_list(&self, at: usize) -> Option<Vec<&str>> {
        match self.args.get(at) {
            None | Some(Arg::Absent) => Some(Vec::new()),
            Some(Arg::Values(items)) => items
                .iter()
                .map(|item| match item.literal() {
                    Some(Value::Str(text)) => Some(text.as_ref()),
                    _ => None,
                })
                .collect(),
            Some(_) => None,
        }
    }

    /// The elements of a list of strings.
    pub(crate) fn strings<'a>(&'a self, at: usize, env: &Env<'a>) -> Result<Vec<Cow<'a, str>>, EvalError> {
        self.values(at, env)?.into_iter().map(strict_str).collect()
    }

    pub(crate) fn str<'a>(&'a self, at: usize, env: &Env<'a>) -> Result<Cow<'a, str>, EvalError> {
        strict_str(self.value(at, env)?)
    }

    /// The default where it is absent.
    pub(crate) fn str_or<'a>(
        &'a self,
        at: usize,
        env: &Env<'a>,
        default: &'a str,
    ) -> Result<Cow<'a, str>, EvalError> {
        if self.is_absent(at) { Ok(Cow::Borrowed(default)) } else { self.str(at, env) }
    }

    /// Its text, whatever it is; `None` for nothing.
    pub(crate) fn text<'a>(&'a self, at: usize, env: &Env<'a>) -> Result<Option<Cow<'a, str>>, EvalError> {
        self.value(at, env)?.to_text()
    }

    pub(crate) fn int(&self, at: usize, env: &Env<'_>) -> Result<i64, EvalError> {
        match self.value(at, env)? {
            Value::Int(v) => Ok(v),
            other => Err(wrong("an int", &other)),
        }
    }

    pub(crate) fn int_or(&self, at: usize, env: &Env<'_>, default: i64) -> Result<i64, EvalError> {
        if self.is_absent(at) { Ok(default) } else { self.int(at, env) }
    }

    pub(crate) fn double(&self, at: usize, env: &Env<'_>) -> Result<f64, EvalError> {
        match self.value(at, env)? {
            Value::Double(v) => Ok(v),
            Value::Int(v) => Ok(v as f64),
            other => Err(wrong("a double", &other)),
        }
    }

    pub(crate) fn bool_or(&self, at: usize, env: &Env<'_>, default: bool) -> Result<bool, EvalError> {
        if self.is_absent(at) {
            return Ok(default);
        }
        match self.value(at, env)? {
            Value::Bool(v) => Ok(v),
            other => Err(wrong("a bool", &other)),
        }
    }

    pub(crate) fn map<'a>(
        &'a self,
        at: usize,
        env: &Env<'a>,
    ) -> Result<Cow<'a, [signal::otlp::proto::common::v1::KeyValue]>, EvalError> {
        match self.value(at, env)? {
            Value::Map(map) => Ok(map),
            other => Err(wrong("a map", &other)),
        }
    }

    pub(crate) fn time(&self, at: usize, env: &Env<'_>) -> Result<crate::value::Time, EvalError> {
        match self.value(at, env)? {
            Value::Time(time) => Ok(time),
            other => Err(wrong("a time", &other)),
        }
    }

    pub(crate) fn duration(&self, at: usize, env: &Env<'_>) -> Result<i64, EvalError> {
        match self.value(at, env)? {
            Value::Duration(nanos) => Ok(nanos),
            other => Err(wrong("a duration", &other)),
        }
    }

    pub(crate) fn regex(&self, at: usize, env: &Env<'_>) -> Result<Cow<'_, Regex>, EvalError> {
        match &self.args[at] {
            Arg::Regex(pattern) => pattern.get(env),
            _ => Err(EvalError::new("there is no pattern")),
        }
    }

    /// A pattern that is written out.
    pub(crate) fn fixed_regex(&self, at: usize) -> Option<&Regex> {
        match self.args.get(at) {
            Some(Arg::Regex(Pattern::Fixed(regex))) => Some(regex),
            _ => None,
        }
    }

    pub(crate) fn target(&self, at: usize) -> &Path {
        match &self.args[at] {
            Arg::Target(path) => path,
            _ => unreachable!("the table says that this argument is a target"),
        }
    }

    pub(crate) fn lambda(&self, at: usize) -> Option<&Lambda> {
        match self.args.get(at) {
            Some(Arg::Lambda(lambda)) => Some(lambda),
            _ => None,
        }
    }

    pub(crate) fn function(&self, at: usize) -> Option<&'static Function> {
        match self.args.get(at) {
            Some(Arg::Function(function)) => Some(function),
            _ => None,
        }
    }
}

/// Calls a converter for a text that was made, as the argument `function` of the editors does.
pub(crate) fn call_with_text(
    function: &'static Function,
    text: String,
    env: &Env<'_>,
) -> Result<String, EvalError> {
    let Body::Convert(convert) = function.body else {
        return Err(EvalError::new(format!("{} is no converter", function.name)));
    };
    let mut args = vec![Arg::Value(Expr::Literal(Value::string(text)))];
    args.extend(function.params.iter().skip(1).map(|_| Arg::Absent));
    let args = Args::new(args);
    let value = convert(&args, env)?;
    Ok(strict_str(value)?.into_owned())
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod transform_tests;

//! Arguments of a function: counted and typed as Go's reflection does it.

use std::collections::BTreeMap;
use std::sync::Arc;

use gotmpl::{TemplateError, Value};

use super::budget::{self, MAX_DEPTH, Result, STEP};

pub(super) type Map = BTreeMap<Arc<str>, Value>;

/// The arguments of one call.
pub(super) struct Args<'a> {
    pub(super) name: &'static str,
    pub(super) values: &'a [Value],
}

/// An execution error in Go's words.
pub(super) fn error<T>(message: impl Into<String>) -> Result<T> {
    Err(TemplateError::Exec(message.into()))
}

impl<'a> Args<'a> {
    /// Refuses any other number of arguments.
    pub(super) fn exactly(&self, count: usize) -> Result<()> {
        self.between(count, count)
    }

    /// Refuses a number of arguments outside of a range.
    pub(super) fn between(&self, least: usize, most: usize) -> Result<()> {
        let got = self.values.len();
        if (least..=most).contains(&got) {
            return Ok(());
        }
        error(format!("wrong number of args for {}: want {least} got {got}", self.name))
    }

    /// Refuses fewer arguments.
    pub(super) fn at_least(&self, least: usize) -> Result<()> {
        self.between(least, usize::MAX)
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    pub(super) fn get(&self, at: usize) -> &'a Value {
        &self.values[at]
    }

    fn wrong<T>(&self, at: usize, expected: &str) -> Result<T> {
        match self.get(at) {
            Value::Nil => error(format!("{}: invalid value; expected {expected}", self.name)),
            other => error(format!(
                "{}: wrong type for value; expected {expected}; got {}",
                self.name,
                other.type_name()
            )),
        }
    }

    /// A text; nothing else will do, as in Go.
    pub(super) fn text(&self, at: usize) -> Result<&'a str> {
        match self.get(at) {
            Value::String(text) => {
                budget::spend(text.len())?;
                Ok(text)
            }
            _ => self.wrong(at, "string"),
        }
    }

    /// A whole number.
    pub(super) fn int(&self, at: usize) -> Result<i64> {
        match self.get(at) {
            Value::Int(n) => Ok(*n),
            Value::Uint(n) => i64::try_from(*n).or_else(|_| self.wrong(at, "int")),
            // A constant such as 2.0 is a whole number in Go.
            Value::Float(n) if n.fract() == 0.0 && n.abs() < 9e15 => Ok(*n as i64),
            _ => self.wrong(at, "int"),
        }
    }

    /// A yes or no.
    pub(super) fn truth(&self, at: usize) -> Result<bool> {
        match self.get(at) {
            Value::Bool(yes) => Ok(*yes),
            _ => self.wrong(at, "bool"),
        }
    }

    /// A dictionary; one that is missing is empty.
    pub(super) fn map(&self, at: usize) -> Result<Arc<Map>> {
        match self.get(at) {
            Value::Map(map) => {
                budget::spend(map.len() * STEP)?;
                Ok(map.clone())
            }
            Value::Nil => Ok(Arc::default()),
            _ => self.wrong(at, "map[string]interface {}"),
        }
    }

    /// A list.
    pub(super) fn list(&self, at: usize) -> Result<&'a [Value]> {
        match self.get(at) {
            Value::List(items) => {
                budget::spend(items.len() * STEP)?;
                Ok(items)
            }
            other => error(format!("Cannot find {} on type {}", self.name, kind(other))),
        }
    }
}

/// A text as a value, paid for.
pub(super) fn text(text: impl Into<Arc<str>>) -> Result<Value> {
    let text = text.into();
    budget::spend_text(text.len())?;
    Ok(Value::String(text))
}

/// A list as a value, paid for.
pub(super) fn list(items: Vec<Value>) -> Result<Value> {
    budget::spend(items.len() * STEP)?;
    items.iter().try_for_each(|item| budget::shallow(item, MAX_DEPTH))?;
    Ok(Value::List(items.into()))
}

/// A list of texts.
pub(super) fn texts<'t>(items: impl Iterator<Item = &'t str>) -> Result<Value> {
    let mut out = Vec::new();
    for item in items {
        budget::spend(STEP)?;
        out.push(text(item)?);
    }
    Ok(Value::List(out.into()))
}

/// A dictionary as a value, paid for.
pub(super) fn map(map: Map) -> Result<Value> {
    budget::spend(map.len() * STEP)?;
    map.values().try_for_each(|item| budget::shallow(item, MAX_DEPTH))?;
    Ok(Value::Map(Arc::new(map)))
}

/// The name of a value's kind as Go's `reflect` has it.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Nil => "invalid",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int",
        Value::Uint(_) => "uint",
        Value::Float(_) => "float64",
        Value::String(_) => "string",
        Value::List(_) => "slice",
        Value::Map(map) if super::dates::is_time(map) => "struct",
        Value::Map(_) => "map",
        Value::Function(_) => "func",
    }
}

/// Whether a value is its type's zero. As Sprig's `empty`.
pub(super) fn is_empty(value: &Value) -> bool {
    !value.is_truthy()
}

//! Converters of lists and maps, and those that take lambdas.

use std::borrow::Cow;
use std::cmp::Ordering;

use signal::otlp::proto::common::v1::any_value::Value as Proto;
use signal::otlp::proto::common::v1::{AnyValue, KeyValue};

use super::Takes::{Fixed, Lambda, Value as Any, Values};
use super::editors::one_of;
use super::types::text_of;
use super::{Args, Function, optional, param, wrong};
use crate::ast::CompareOp;
use crate::compare::compare;
use crate::error::EvalError;
use crate::expr::{self, Env};
use crate::value::{MapBuilder, Value, any_str, as_string, entry, find};

pub(super) const TABLE: &[Function] = &[
    Function::convert("All", &[param("source", Any), param("predicate", Lambda(2))], |args, env| {
        Ok(Value::Bool(position(args, env, false)?.is_none()))
    }),
    Function::convert("Any", &[param("source", Any), param("predicate", Lambda(2))], |args, env| {
        Ok(Value::Bool(position(args, env, true)?.is_some()))
    }),
    Function::convert("Coalesce", &[param("values", Values)], |args, env| {
        let mut values = args.values(0, env)?.into_iter();
        Ok(values.find(|value| !value.is_nil()).unwrap_or(Value::Nil))
    })
    .prepared(|args| match args.is_empty_list(0) {
        true => Err("at least one value is needed".into()),
        false => Ok(()),
    }),
    Function::convert("ContainsValue", &[param("target", Any), param("item", Any)], |args, env| {
        let item = args.value(1, env)?;
        let mut values = args.elements(0, env)?.into_iter();
        Ok(Value::Bool(values.any(|value| compare(CompareOp::Equal, &value, &item))))
    }),
    Function::convert("Filter", &[param("source", Any), param("predicate", Lambda(2))], filter),
    Function::convert(
        "Find",
        &[param("source", Any), param("predicate", Lambda(2)), optional("mapper", Lambda(2))],
        find_first,
    ),
    Function::convert("Keys", &[param("target", Any)], |args, env| {
        let keys = args.map(0, env)?.iter().map(|e| any_str(e.key.as_str())).collect();
        Ok(Value::List(Cow::Owned(keys)))
    }),
    Function::convert("MapEach", &[param("source", Any), param("mapper", Lambda(2))], map_each),
    Function::convert("MapKeys", &[param("source", Any), param("key_mapper", Lambda(2))], map_keys),
    Function::convert(
        "Reduce",
        &[param("source", Any), param("seed", Any), param("accumulator", Lambda(3))],
        reduce,
    ),
    Function::convert(
        "SliceToMap",
        &[param("target", Any), optional("key_path", Values), optional("value_path", Values)],
        slice_to_map,
    ),
    Function::convert("Sort", &[param("target", Any), optional("order", Fixed)], sort)
        .prepared(|args| one_of(args, 1, &["asc", "desc"])),
    Function::convert("Values", &[param("target", Any)], |args, env| {
        let values = args.map(0, env)?.iter().map(|e| e.value.clone().unwrap_or_default()).collect();
        Ok(Value::List(Cow::Owned(values)))
    }),
    Function::convert(
        "When",
        &[param("condition", Lambda(0)), param("true_value", Any), param("false_value", Any)],
        |args, env| {
            let holds = lambda(args, 0)?.test(env, &[])?;
            args.value(if holds { 1 } else { 2 }, env)
        },
    ),
];

fn lambda(args: &Args, at: usize) -> Result<&expr::Lambda, EvalError> {
    args.lambda(at).ok_or_else(|| EvalError::new("there is no lambda"))
}

/// A list or a map, as its elements with their keys.
enum Source<'a> {
    List(Cow<'a, [AnyValue]>),
    Map(Cow<'a, [KeyValue]>),
}

impl<'a> Source<'a> {
    fn of(args: &'a Args, env: &Env<'a>) -> Result<Self, EvalError> {
        match args.value(0, env)? {
            Value::List(list) => Ok(Self::List(list)),
            Value::Map(map) => Ok(Self::Map(map)),
            other => Err(wrong("a list or a map", &other)),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::List(list) => list.len(),
            Self::Map(map) => map.len(),
        }
    }

    /// Key or index, and value.
    fn at(&self, at: usize) -> [Value<'_>; 2] {
        match self {
            Self::List(list) => [Value::Int(at as i64), Value::of(Some(&list[at]))],
            Self::Map(map) => [Value::str(&map[at].key), Value::of(map[at].value.as_ref())],
        }
    }
}

/// The first element for which the predicate is so.
fn position<'a>(args: &'a Args, env: &Env<'a>, wanted: bool) -> Result<Option<usize>, EvalError> {
    let (source, predicate) = (Source::of(args, env)?, lambda(args, 1)?);
    for at in 0..source.len() {
        if predicate.test(env, &source.at(at))? == wanted {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

fn filter<'a>(args: &'a Args, env: &Env<'a>) -> Result<Value<'a>, EvalError> {
    let (source, predicate) = (Source::of(args, env)?, lambda(args, 1)?);
    let mut kept = Vec::new();
    for at in 0..source.len() {
        if predicate.test(env, &source.at(at))? {
            kept.push(at);
        }
    }
    Ok(match source {
        Source::List(list) => Value::List(kept.into_iter().map(|at| list[at].clone()).collect()),
        Source::Map(map) => Value::Map(kept.into_iter().map(|at| map[at].clone()).collect()),
    })
}

fn find_first<'a>(args: &'a Args, env: &Env<'a>) -> Result<Value<'a>, EvalError> {
    let Some(at) = position(args, env, true)? else { return Ok(Value::Nil) };
    let source = Source::of(args, env)?;
    let [key, value] = source.at(at);
    match args.lambda(2) {
        Some(mapper) => mapper.call(env, &[key, value]),
        None => Ok(value.into_owned()),
    }
}

fn to_any(value: Value<'_>) -> Result<AnyValue, EvalError> {
    let name = value.type_name();
    value.into_any().ok_or_else(|| EvalError::new(format!("{name} is no element of a list or a map")))
}

fn map_each<'a>(args: &'a Args, env: &Env<'a>) -> Result<Value<'a>, EvalError> {
    let (source, mapper) = (Source::of(args, env)?, lambda(args, 1)?);
    let each = (0..source.len()).map(|at| to_any(mapper.call(env, &source.at(at))?));
    let values: Vec<AnyValue> = each.collect::<Result<_, _>>()?;
    Ok(match &source {
        Source::List(_) => Value::List(Cow::Owned(values)),
        Source::Map(map) => {
            Value::Map(map.iter().zip(values).map(|(e, value)| entry(e.key.as_str(), value)).collect())
        }
    })
}

fn map_keys<'a>(args: &'a Args, env: &Env<'a>) -> Result<Value<'a>, EvalError> {
    let source = Source::of(args, env)?;
    let Source::Map(map) = &source else { return Err(EvalError::new("expected a map, but got a list")) };
    let mut out = MapBuilder::default();
    for (at, old) in map.iter().enumerate() {
        match lambda(args, 1)?.call(env, &source.at(at))? {
            Value::Str(key) => out.put(&key, old.value.clone().unwrap_or_default()),
            other => return Err(wrong("a string for a key", &other)),
        }
    }
    Ok(Value::Map(Cow::Owned(out.finish())))
}

fn reduce<'a>(args: &'a Args, env: &Env<'a>) -> Result<Value<'a>, EvalError> {
    let (source, accumulator) = (Source::of(args, env)?, lambda(args, 2)?);
    let mut result = args.value(1, env)?.into_owned();
    for at in 0..source.len() {
        let [key, value] = source.at(at);
        result = accumulator.call(env, &[result, key, value])?;
    }
    Ok(result)
}

fn slice_to_map<'a>(args: &'a Args, env: &Env<'a>) -> Result<Value<'a>, EvalError> {
    let list = match args.value(0, env)? {
        Value::List(list) => list,
        other => return Err(wrong("a list", &other)),
    };
    let (keys, values) = (args.strings(1, env)?, args.strings(2, env)?);
    let mut out = MapBuilder::default();
    for (at, item) in list.iter().enumerate() {
        let by_path = !keys.is_empty() || !values.is_empty();
        if by_path && !matches!(item.value, Some(Proto::KvlistValue(_))) {
            return Err(EvalError::new(format!("element {at} is no map")));
        }
        let key = match keys.is_empty() {
            true => at.to_string(),
            false => text_of(below(item, &keys)?.value.as_ref())
                .ok_or_else(|| EvalError::new(format!("the key of element {at} is no string")))?
                .to_owned(),
        };
        out.put(&key, below(item, &values)?.clone());
    }
    Ok(Value::Map(Cow::Owned(out.finish())))
}

fn below<'v>(mut value: &'v AnyValue, path: &[Cow<'_, str>]) -> Result<&'v AnyValue, EvalError> {
    for key in path {
        let Some(Proto::KvlistValue(map)) = &value.value else {
            return Err(EvalError::new(format!("there is no map to look `{key}` up in")));
        };
        value = find(&map.values, key).ok_or_else(|| EvalError::new(format!("there is no key `{key}`")))?;
    }
    Ok(value)
}

/// Numbers among each other by value, all else by its text.
fn sort<'a>(args: &'a Args, env: &Env<'a>) -> Result<Value<'a>, EvalError> {
    let mut list = match args.value(0, env)? {
        Value::List(list) => list.into_owned(),
        other => return Err(wrong("a list", &other)),
    };
    let number = |value: &AnyValue| match value.value {
        Some(Proto::IntValue(v)) => Some(v as f64),
        Some(Proto::DoubleValue(v)) => Some(v),
        _ => None,
    };
    let sortable = |value: &AnyValue| {
        number(value).is_some() || matches!(value.value, Some(Proto::StringValue(_) | Proto::BoolValue(_)))
    };
    if let Some(other) = list.iter().find(|value| !sortable(value)) {
        return Err(wrong("numbers, strings and bools", &Value::of(Some(other))));
    }
    let order: fn(&AnyValue, &AnyValue) -> Ordering =
        if list.iter().all(|v| matches!(v.value, Some(Proto::IntValue(_)))) {
            |a, b| match (&a.value, &b.value) {
                (Some(Proto::IntValue(a)), Some(Proto::IntValue(b))) => a.cmp(b),
                _ => Ordering::Equal,
            }
        } else if list.iter().all(|v| number(v).is_some()) {
            |a, b| {
                let number = |value: &AnyValue| match value.value {
                    Some(Proto::IntValue(v)) => v as f64,
                    Some(Proto::DoubleValue(v)) => v,
                    _ => 0.0,
                };
                number(a).total_cmp(&number(b))
            }
        } else {
            |a, b| as_string(Some(a)).cmp(&as_string(Some(b)))
        };
    list.sort_by(order);
    if args.fixed(1) == Some("desc") {
        list.reverse();
    }
    Ok(Value::List(Cow::Owned(list)))
}

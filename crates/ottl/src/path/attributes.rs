//! Keys into attributes and bodies.

use signal::otlp::proto::common::v1::any_value::Value as Any;
use signal::otlp::proto::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};

use super::{Key, KeyAt, wrong};
use crate::error::EvalError;
use crate::expr::Env;
use crate::value::{Value, entry};
use std::borrow::Cow;

/// Lists are not filled up further than this by a key of an empty value.
const MAX_FILL: i64 = 10_000;

/// What the keys lead to; nothing where a key of a map is not there.
pub(crate) fn index<'a>(
    mut value: Value<'a>,
    keys: &'a [Key],
    env: &Env<'a>,
) -> Result<Value<'a>, EvalError> {
    for key in keys {
        value = match (value, key.at(env)?) {
            (Value::Nil, _) => return Ok(Value::Nil),
            (Value::Map(map), KeyAt::Text(key)) => match map {
                Cow::Borrowed(map) => {
                    Value::of(map.iter().find(|e| e.key == key).and_then(|e| e.value.as_ref()))
                }
                Cow::Owned(map) => {
                    Value::from_any(map.into_iter().find(|e| e.key == key).and_then(|e| e.value))
                }
            },
            (Value::List(list), KeyAt::Int(at)) => {
                let found = usize::try_from(at).ok().filter(|at| *at < list.len());
                let at = found.ok_or_else(|| out_of_bounds(at))?;
                match list {
                    Cow::Borrowed(list) => Value::of(Some(&list[at])),
                    Cow::Owned(mut list) => Value::from_any(Some(list.swap_remove(at))),
                }
            }
            (Value::Map(_), KeyAt::Int(_)) => {
                return Err(EvalError::new("the key of a map has to be a string"));
            }
            (Value::List(_), KeyAt::Text(_)) => {
                return Err(EvalError::new("the key of a list has to be an int"));
            }
            (other, _) => return Err(EvalError::new(format!("{} cannot be indexed", other.type_name()))),
        };
    }
    Ok(value)
}

fn out_of_bounds(at: i64) -> EvalError {
    EvalError::new(format!("index {at} is out of bounds"))
}

/// All attributes at once.
pub(super) fn set_map(map: &mut Vec<KeyValue>, value: Value<'static>) -> Result<(), EvalError> {
    match value {
        Value::Map(new) => {
            *map = new.into_owned();
            Ok(())
        }
        other => Err(wrong("a map", &other)),
    }
}

pub(super) fn any_of(value: Value<'static>) -> Result<AnyValue, EvalError> {
    let name = value.type_name();
    value.into_any().ok_or_else(|| EvalError::new(format!("{name} is no value of an attribute")))
}

pub(super) fn set_in_map(
    map: &mut Vec<KeyValue>,
    keys: &[KeyAt<'_>],
    value: Value<'static>,
) -> Result<(), EvalError> {
    let value = any_of(value)?;
    let KeyAt::Text(key) = &keys[0] else {
        return Err(EvalError::new("the key of a map has to be a string"));
    };
    *at(slot(map, key), &keys[1..])? = value;
    Ok(())
}

pub(super) fn set_in_body(
    body: &mut Option<AnyValue>,
    keys: &[KeyAt<'_>],
    value: Value<'static>,
) -> Result<(), EvalError> {
    let value = any_of(value)?;
    match body.as_mut().and_then(|b| b.value.as_ref()) {
        Some(Any::KvlistValue(_) | Any::ArrayValue(_)) => {}
        _ => return Err(EvalError::new("only a body that is a map or a list can be indexed")),
    }
    *at(body.get_or_insert_default(), keys)? = value;
    Ok(())
}

fn slot<'m>(map: &'m mut Vec<KeyValue>, key: &str) -> &'m mut AnyValue {
    let found = map.iter().position(|e| e.key == key);
    let at = found.unwrap_or_else(|| {
        map.push(entry(key, AnyValue::default()));
        map.len() - 1
    });
    map[at].value.get_or_insert_default()
}

/// What the keys lead to, made where it is missing. As contexts/internal/ctxutil: `SetIndexableValue`.
fn at<'m>(mut current: &'m mut AnyValue, keys: &[KeyAt<'_>]) -> Result<&'m mut AnyValue, EvalError> {
    for key in keys {
        if current.value.is_none() {
            current.value = Some(match key {
                KeyAt::Text(_) => Any::KvlistValue(KeyValueList::default()),
                KeyAt::Int(at) if (0..MAX_FILL).contains(at) => {
                    let length = usize::try_from(*at).unwrap_or_default() + 1;
                    Any::ArrayValue(ArrayValue { values: vec![AnyValue::default(); length] })
                }
                KeyAt::Int(at) => return Err(out_of_bounds(*at)),
            });
        }
        current = match (current.value.as_mut().expect("made above"), key) {
            (Any::KvlistValue(map), KeyAt::Text(key)) => slot(&mut map.values, key),
            (Any::ArrayValue(list), KeyAt::Int(at)) => usize::try_from(*at)
                .ok()
                .and_then(|at| list.values.get_mut(at))
                .ok_or_else(|| out_of_bounds(*at))?,
            (Any::KvlistValue(_), KeyAt::Int(_)) => {
                return Err(EvalError::new("the key of a map has to be a string"));
            }
            (Any::ArrayValue(_), KeyAt::Text(_)) => {
                return Err(EvalError::new("the key of a list has to be an int"));
            }
            (other, _) => {
                let name = Value::from_any(Some(AnyValue { value: Some(other.clone()) })).type_name();
                return Err(EvalError::new(format!("{name} cannot be indexed")));
            }
        };
    }
    Ok(current)
}

/// The map that the keys lead to, if it is there; else what is there instead.
pub(super) fn map_at<'m>(
    map: &'m mut Vec<KeyValue>,
    keys: &[KeyAt<'_>],
) -> Result<&'m mut Vec<KeyValue>, &'static str> {
    let Some((first, rest)) = keys.split_first() else { return Ok(map) };
    let KeyAt::Text(key) = first else { return Err("a map, and its key an int") };
    let found = map.iter_mut().find(|e| e.key == *key).and_then(|e| e.value.as_mut());
    found.map_or(Err("nil"), |any| any_map_at(any, rest))
}

pub(super) fn body_map_at<'m>(
    body: &'m mut Option<AnyValue>,
    keys: &[KeyAt<'_>],
) -> Result<&'m mut Vec<KeyValue>, &'static str> {
    body.as_mut().map_or(Err("nil"), |any| any_map_at(any, keys))
}

fn any_map_at<'m>(any: &'m mut AnyValue, keys: &[KeyAt<'_>]) -> Result<&'m mut Vec<KeyValue>, &'static str> {
    match (any.value.as_mut(), keys.split_first()) {
        (Some(Any::KvlistValue(map)), _) => map_at(&mut map.values, keys),
        (Some(Any::ArrayValue(list)), Some((KeyAt::Int(at), rest))) => {
            let found = usize::try_from(*at).ok().and_then(|at| list.values.get_mut(at));
            found.map_or(Err("nil"), |any| any_map_at(any, rest))
        }
        (Some(Any::ArrayValue(_)), _) => Err("a list"),
        (Some(Any::StringValue(_)), _) => Err("a string"),
        (Some(Any::BytesValue(_)), _) => Err("bytes"),
        (Some(Any::BoolValue(_)), _) => Err("a bool"),
        (Some(Any::IntValue(_)), _) => Err("an int"),
        (Some(Any::DoubleValue(_)), _) => Err("a double"),
        (None | Some(Any::StringValueStrindex(_)), _) => Err("nil"),
    }
}

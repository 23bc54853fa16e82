//! `array.*` and `coalesce`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{CallError, take};
use crate::arg::ValueError;
use crate::value::{Number, Value};

type Answer = Result<Value, CallError>;
type Fields = Arc<BTreeMap<String, Value>>;

fn list(arguments: &[Value], index: usize) -> Result<&[Value], CallError> {
    let value = &arguments[index];
    value.as_array().ok_or_else(|| CallError::argument(index, ValueError::wrong_type("list(any)", value)))
}

pub(super) fn concat(arguments: &[Value]) -> Answer {
    let lists = (0..arguments.len()).map(|i| list(arguments, i)).collect::<Result<Vec<_>, _>>()?;
    match arguments {
        [only] => Ok(only.clone()),
        _ => Ok(Value::array(lists.concat())),
    }
}

/// The first argument that says something, else the last.
pub(super) fn coalesce(arguments: &[Value]) -> Answer {
    let says_nothing = |v: &Value| match v {
        Value::Null => true,
        Value::Bool(b) => !b,
        Value::Number(Number::Float(v)) => *v == 0.0,
        Value::Number(n) => n.as_u64() == 0,
        Value::String(s) => s.is_empty(),
        Value::Secret(s) => s.is_empty(),
        Value::OptionalSecret(s) => s.reveal().is_empty() && !s.is_secret(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Function(_) | Value::Capsule(_) | Value::Unknown(_) => false,
    };
    let found = arguments.iter().find(|v| !says_nothing(v)).or(arguments.last());
    Ok(found.cloned().unwrap_or(Value::Null))
}

fn maps(arguments: &[Value], index: usize) -> Result<Vec<Fields>, CallError> {
    list(arguments, index)?
        .iter()
        .enumerate()
        .map(|(i, v)| {
            v.as_object()
                .ok_or_else(|| CallError::argument(index, ValueError::wrong_type("map(any)", v).at_index(i)))
        })
        .collect()
}

/// An inner join over all keys; the right side's values win. With pass-through, a left item is also kept
/// once for each right item it does not match.
pub(super) fn combine_maps(arguments: &[Value]) -> Answer {
    let left = maps(arguments, 0)?;
    let right = maps(arguments, 1)?;
    let keys: Vec<String> = take(arguments, 2)?;
    let pass_through: bool = take(arguments, 3)?;
    if keys.is_empty() {
        return Err(CallError::argument(2, ValueError::invalid("there must be a key to join by")));
    }
    let mut out = Vec::new();
    for (index, l) in left.iter().enumerate() {
        for r in &right {
            let matches = keys.iter().all(|k| matches!((l.get(k), r.get(k)), (Some(a), Some(b)) if a == b));
            if matches {
                let mut both = BTreeMap::clone(l);
                both.extend(r.iter().map(|(k, v)| (k.clone(), v.clone())));
                out.push(Value::object(both));
            } else if pass_through {
                out.extend(arguments[0].as_array().and_then(|a| a.get(index)).cloned());
            }
        }
    }
    Ok(Value::array(out))
}

/// Groups maps by the text under a key, in the order in which the texts first occur.
pub(super) fn group_by(arguments: &[Value]) -> Answer {
    let items = maps(arguments, 0)?;
    let key: String = take(arguments, 1)?;
    let drop_missing: bool = take(arguments, 2)?;
    let mut groups: indexmap::IndexMap<Arc<str>, Vec<Value>> = indexmap::IndexMap::new();
    for (i, item) in items.iter().enumerate() {
        let name: Arc<str> = match item.get(&key) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => {
                let error = ValueError::wrong_type("string", other).at_key(key.clone()).at_index(i);
                return Err(CallError::argument(0, error));
            }
            None if drop_missing => continue,
            None => "".into(),
        };
        groups.entry(name).or_default().extend(arguments[0].as_array().and_then(|a| a.get(i)).cloned());
    }
    let object = |(name, items): (Arc<str>, Vec<Value>)| {
        Value::object(BTreeMap::from([
            (key.clone(), Value::String(name)),
            ("items".to_owned(), Value::array(items)),
        ]))
    };
    Ok(Value::array(groups.into_iter().map(object).collect()))
}

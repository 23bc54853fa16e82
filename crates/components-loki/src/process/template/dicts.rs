//! Sprig's functions on dictionaries. Those that Go's change in place give the changed one here; that a
//! variable has it afterwards is the rewriting of the template (`check`).

use std::sync::Arc;

use gotmpl::Value;

use super::args::{Args, Map, error, is_empty, list, map, texts};
use super::budget::{self, MAX_DEPTH, Result, STEP};
use super::show::shown;

pub(super) fn new(args: &Args<'_>) -> Result<Value> {
    let mut out = Map::new();
    for pair in args.values.chunks(2) {
        let value = pair.get(1).cloned().unwrap_or_else(|| Value::String("".into()));
        out.insert(shown(&pair[0])?.into(), value);
    }
    map(out)
}

pub(super) fn get(args: &Args<'_>) -> Result<Value> {
    args.exactly(2)?;
    let key = args.text(1)?;
    Ok(args.map(0)?.get(key).cloned().unwrap_or_else(|| Value::String("".into())))
}

pub(super) fn set(args: &Args<'_>) -> Result<Value> {
    args.exactly(3)?;
    if matches!(args.get(0), Value::Nil) {
        return error("assignment to entry in nil map");
    }
    let mut changed = args.map(0)?;
    let key = args.text(1)?;
    budget::shallow(args.get(2), MAX_DEPTH)?;
    Arc::make_mut(&mut changed).insert(key.into(), args.get(2).clone());
    Ok(Value::Map(changed))
}

pub(super) fn unset(args: &Args<'_>) -> Result<Value> {
    args.exactly(2)?;
    let mut changed = args.map(0)?;
    Arc::make_mut(&mut changed).remove(args.text(1)?);
    Ok(Value::Map(changed))
}

/// `__put map key … value`: the map with a value deep inside replaced.
pub(super) fn put(args: &Args<'_>) -> Result<Value> {
    let [outer, keys @ .., value] = args.values else { return error("put: too few arguments") };
    budget::shallow(value, MAX_DEPTH.saturating_sub(keys.len()))?;
    put_at(outer, keys, value)
}

fn put_at(outer: &Value, keys: &[Value], value: &Value) -> Result<Value> {
    let Some((key, keys)) = keys.split_first() else { return Ok(value.clone()) };
    let (Value::Map(outer), Value::String(key)) = (outer, key) else {
        return error("can't evaluate a field of what is no dictionary");
    };
    budget::spend(outer.len() * STEP)?;
    let inner = put_at(outer.get(key).unwrap_or(&Value::Nil), keys, value)?;
    let mut changed = outer.clone();
    Arc::make_mut(&mut changed).insert(key.clone(), inner);
    Ok(Value::Map(changed))
}

pub(super) fn has_key(args: &Args<'_>) -> Result<Value> {
    args.exactly(2)?;
    let key = args.text(1)?;
    Ok(Value::Bool(args.map(0)?.contains_key(key)))
}

pub(super) fn pluck(args: &Args<'_>) -> Result<Value> {
    args.at_least(1)?;
    let key = args.text(0)?;
    let mut out = Vec::new();
    for at in 1..args.len() {
        out.extend(args.map(at)?.get(key).cloned());
    }
    list(out)
}

/// Keys in their order; Go gives them in any.
pub(super) fn keys(args: &Args<'_>) -> Result<Value> {
    let mut out = Vec::new();
    for at in 0..args.len() {
        out.extend(args.map(at)?.keys().cloned());
    }
    texts(out.iter().map(|key| &**key))
}

pub(super) fn values(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    list(args.map(0)?.values().cloned().collect())
}

fn named(args: &Args<'_>) -> Result<Vec<Arc<str>>> {
    args.at_least(1)?;
    (1..args.len()).map(|at| args.text(at).map(Arc::from)).collect()
}

pub(super) fn pick(args: &Args<'_>) -> Result<Value> {
    let wanted = named(args)?;
    let from = args.map(0)?;
    map(wanted.into_iter().filter_map(|key| from.get(&key).cloned().map(|value| (key, value))).collect())
}

pub(super) fn omit(args: &Args<'_>) -> Result<Value> {
    let gone = named(args)?;
    let mut kept = args.map(0)?;
    for key in gone {
        Arc::make_mut(&mut kept).remove(&key);
    }
    Ok(Value::Map(kept))
}

/// `merge`: what is missing or empty is taken from the others; `overwrite`: what is in them wins.
pub(super) fn merge(args: &Args<'_>, overwrite: bool) -> Result<Value> {
    args.at_least(1)?;
    let mut merged = args.map(0)?;
    for at in 1..args.len() {
        merged = Arc::new(merged_with(&merged, &*args.map(at)?, overwrite)?);
    }
    Ok(Value::Map(merged))
}

fn merged_with(into: &Map, from: &Map, overwrite: bool) -> Result<Map> {
    let mut out = into.clone();
    for (key, value) in from {
        budget::spend(STEP)?;
        let merged = match (out.get(key), value) {
            (Some(Value::Map(inner)), Value::Map(other)) => {
                Value::Map(Arc::new(merged_with(inner, other, overwrite)?))
            }
            (Some(known), _) if !is_empty(known) && !overwrite => known.clone(),
            (_, value) => value.clone(),
        };
        out.insert(key.clone(), merged);
    }
    Ok(out)
}

/// `dig key … default map`.
pub(super) fn dig(args: &Args<'_>) -> Result<Value> {
    args.at_least(3)?;
    let (keys, default) = (args.len() - 2, args.len() - 2);
    let mut at = Value::Map(args.map(args.len() - 1)?);
    for key in 0..keys {
        let Value::Map(inner) = &at else { return error("dig: a value on the way is no dictionary") };
        let Some(next) = inner.get(args.text(key)?) else { return Ok(args.get(default).clone()) };
        at = next.clone();
    }
    Ok(at)
}

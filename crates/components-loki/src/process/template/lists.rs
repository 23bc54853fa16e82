//! Sprig's functions on lists, defaults and kinds.

use gotmpl::Value;

use super::args::{Args, error, is_empty, kind, list, text};
use super::budget::{self, Result, STEP};
use super::dates;
use super::numbers::int_of;

/// Whether two values are the same through and through. As `reflect.DeepEqual`.
pub(super) fn same(a: &Value, b: &Value) -> Result<bool> {
    budget::spend(STEP)?;
    Ok(match (a, b) {
        (Value::List(a), Value::List(b)) => {
            if a.len() != b.len() {
                return Ok(false);
            }
            for (a, b) in a.iter().zip(b.iter()) {
                if !same(a, b)? {
                    return Ok(false);
                }
            }
            true
        }
        (Value::Map(a), Value::Map(b)) => {
            if a.len() != b.len() {
                return Ok(false);
            }
            for ((key, a), (other, b)) in a.iter().zip(b.iter()) {
                if key != other || !same(a, b)? {
                    return Ok(false);
                }
            }
            true
        }
        (Value::String(a), Value::String(b)) => {
            budget::spend(a.len().min(b.len()))?;
            a == b
        }
        (a, b) => a == b,
    })
}

fn one_of(items: &[Value], value: &Value) -> Result<bool> {
    for item in items {
        if same(item, value)? {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) fn new(args: &Args<'_>) -> Result<Value> {
    list(args.values.to_vec())
}

pub(super) fn push(args: &Args<'_>) -> Result<Value> {
    args.exactly(2)?;
    let mut items = args.list(0)?.to_vec();
    items.push(args.get(1).clone());
    list(items)
}

pub(super) fn prepend(args: &Args<'_>) -> Result<Value> {
    args.exactly(2)?;
    let mut items = args.list(0)?.to_vec();
    items.insert(0, args.get(1).clone());
    list(items)
}

pub(super) fn chunk(args: &Args<'_>) -> Result<Value> {
    args.exactly(2)?;
    let Some(size) = usize::try_from(args.int(0)?).ok().filter(|size| *size > 0) else {
        return error("chunk: the size has to be above 0");
    };
    let mut chunks = Vec::new();
    for items in args.list(1)?.chunks(size) {
        chunks.push(list(items.to_vec())?);
    }
    list(chunks)
}

pub(super) fn first(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    Ok(args.list(0)?.first().cloned().unwrap_or(Value::Nil))
}

pub(super) fn last(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    Ok(args.list(0)?.last().cloned().unwrap_or(Value::Nil))
}

pub(super) fn rest(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    list(args.list(0)?.get(1..).unwrap_or_default().to_vec())
}

pub(super) fn initial(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    let items = args.list(0)?;
    list(items[..items.len().saturating_sub(1)].to_vec())
}

pub(super) fn reverse(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    list(args.list(0)?.iter().rev().cloned().collect())
}

pub(super) fn compact(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    list(args.list(0)?.iter().filter(|item| !is_empty(item)).cloned().collect())
}

pub(super) fn uniq(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    let mut out: Vec<Value> = Vec::new();
    for item in args.list(0)? {
        if !one_of(&out, item)? {
            out.push(item.clone());
        }
    }
    list(out)
}

pub(super) fn without(args: &Args<'_>) -> Result<Value> {
    args.at_least(1)?;
    let mut out = Vec::new();
    for item in args.list(0)? {
        if !one_of(&args.values[1..], item)? {
            out.push(item.clone());
        }
    }
    list(out)
}

pub(super) fn has(args: &Args<'_>) -> Result<Value> {
    args.exactly(2)?;
    if matches!(args.get(1), Value::Nil) {
        return Ok(Value::Bool(false));
    }
    Ok(Value::Bool(one_of(args.list(1)?, args.get(0))?))
}

/// `slice list [from [to]]`.
pub(super) fn slice(args: &Args<'_>) -> Result<Value> {
    args.at_least(1)?;
    let items = args.list(0)?;
    if items.is_empty() {
        return Ok(Value::Nil);
    }
    let at = |i: usize, otherwise: i64| args.values.get(i).map_or(otherwise, int_of);
    let (from, to) = (at(1, 0), at(2, items.len() as i64));
    if !(0 <= from && from <= to && to <= items.len() as i64) {
        return error("reflect.Value.Slice: slice index out of bounds");
    }
    list(items[from as usize..to as usize].to_vec())
}

pub(super) fn concat(args: &Args<'_>) -> Result<Value> {
    let mut out = Vec::new();
    for at in 0..args.len() {
        out.extend_from_slice(args.list(at)?);
    }
    list(out)
}

pub(super) fn default(args: &Args<'_>) -> Result<Value> {
    args.at_least(1)?;
    match args.values.get(1) {
        Some(given) if !is_empty(given) => Ok(given.clone()),
        _ => Ok(args.get(0).clone()),
    }
}

pub(super) fn empty(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    Ok(Value::Bool(is_empty(args.get(0))))
}

pub(super) fn coalesce(args: &Args<'_>) -> Result<Value> {
    Ok(args.values.iter().find(|value| !is_empty(value)).cloned().unwrap_or(Value::Nil))
}

pub(super) fn all(args: &Args<'_>) -> Result<Value> {
    Ok(Value::Bool(!args.values.iter().any(is_empty)))
}

pub(super) fn any(args: &Args<'_>) -> Result<Value> {
    Ok(Value::Bool(args.values.iter().any(|value| !is_empty(value))))
}

pub(super) fn ternary(args: &Args<'_>) -> Result<Value> {
    args.exactly(3)?;
    Ok(args.get(if args.truth(2)? { 0 } else { 1 }).clone())
}

/// The value itself: values are never changed in place here.
pub(super) fn deep_copy(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    Ok(args.get(0).clone())
}

pub(super) fn deep_equal(args: &Args<'_>) -> Result<Value> {
    args.exactly(2)?;
    Ok(Value::Bool(same(args.get(0), args.get(1))?))
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Nil => "<nil>",
        Value::List(_) => "[]interface {}",
        Value::Map(map) if dates::is_time(map) => "time.Time",
        Value::Map(_) => "map[string]interface {}",
        other => kind(other),
    }
}

pub(super) fn type_of(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    text(type_name(args.get(0)))
}

pub(super) fn type_is(args: &Args<'_>) -> Result<Value> {
    args.exactly(2)?;
    Ok(Value::Bool(args.text(0)? == type_name(args.get(1))))
}

pub(super) fn kind_of(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    text(kind(args.get(0)))
}

pub(super) fn kind_is(args: &Args<'_>) -> Result<Value> {
    args.exactly(2)?;
    Ok(Value::Bool(args.text(0)? == kind(args.get(1))))
}

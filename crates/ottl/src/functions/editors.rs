//! Editors: what changes telemetry.

use std::borrow::Cow;
use std::collections::HashMap;

use signal::otlp::proto::common::v1::any_value::Value as Proto;
use signal::otlp::proto::common::v1::{AnyValue, KeyValue};

use super::Takes::{Bool, Fixed, Int, Regex as Pattern, Str, Target, Value as Any, Values};
use super::{Args, Function, optional, param, wrong};
use crate::context::Item;
use crate::error::EvalError;
use crate::expr::Env;
use crate::value::{Id, MapBuilder, Time, Value, any_str, as_string, find, put};

pub(super) const TABLE: &[Function] = &[
    Function::edit(
        "append",
        &[param("target", Target), optional("value", Any), optional("values", Values)],
        append,
    )
    .prepared(|args| match args.is_absent(1) && args.is_absent(2) {
        true => Err("at least one of the arguments `value` and `values` is needed".into()),
        false => Ok(()),
    }),
    Function::edit("clear", &[param("target", Target)], clear),
    Function::edit(
        "delete_index",
        &[param("target", Target), param("start_index", Int), optional("end_index", Int)],
        delete_index,
    ),
    Function::edit("delete_key", &[param("target", Target), param("key", Str)], delete_key),
    Function::edit(
        "delete_matching_keys",
        &[param("target", Target), param("pattern", Pattern)],
        |args, item| matching_keys(args, item, false),
    ),
    Function::edit(
        "flatten",
        &[
            param("target", Target),
            optional("prefix", Str),
            optional("depth", Int),
            optional("resolve_conflicts", Bool),
        ],
        flatten,
    )
    .prepared(|args| not_negative(args, 2)),
    Function::edit("keep_keys", &[param("target", Target), param("keys", Values)], keep_keys),
    Function::edit(
        "keep_matching_keys",
        &[param("target", Target), param("pattern", Pattern)],
        |args, item| matching_keys(args, item, true),
    ),
    Function::edit(
        "limit",
        &[param("target", Target), param("limit", Int), param("priority_keys", Values)],
        limit,
    )
    .prepared(|args| {
        not_negative(args, 1)?;
        match (args.literal(1), args.fixed_list(2)) {
            (Some(Value::Int(limit)), Some(keys)) if keys.len() as i64 > *limit => {
                Err(format!("{} priority keys are more than the limit {limit}", keys.len()))
            }
            _ => Ok(()),
        }
    }),
    Function::edit(
        "merge_maps",
        &[param("target", Target), param("source", Any), param("strategy", Fixed)],
        merge_maps,
    )
    .prepared(|args| one_of(args, 2, &["insert", "update", "upsert"])),
    Function::edit("set", &[param("target", Target), param("value", Any)], set),
    Function::edit("stringify_all", &[param("target", Target)], stringify_all),
    Function::edit(
        "truncate_all",
        &[
            param("target", Target),
            param("limit", Int),
            optional("utf8_safe", Bool),
            optional("truncation_marker", Str),
        ],
        truncate_all,
    )
    .prepared(|args| {
        not_negative(args, 1)?;
        match (args.literal(1), args.fixed(3)) {
            (Some(Value::Int(limit)), Some(marker)) if marker.len() as i64 > *limit => {
                Err("the marker is longer than the limit".into())
            }
            _ => Ok(()),
        }
    }),
];

fn not_negative(args: &Args, at: usize) -> Result<(), String> {
    match args.literal(at) {
        Some(Value::Int(v)) if *v < 0 => Err(format!("{v} is negative")),
        _ => Ok(()),
    }
}

pub(super) fn one_of(args: &Args, at: usize, names: &[&str]) -> Result<(), String> {
    match args.fixed(at) {
        Some(name) if !names.contains(&name) => Err(format!("`{name}` is not one of {}", names.join(", "))),
        _ => Ok(()),
    }
}

/// What an editor reads before it writes.
pub(super) fn env<'i>(item: &'i Item<'_>) -> Env<'i> {
    Env::of(item.view())
}

/// Nothing sets nothing.
fn set(args: &Args, item: &mut Item<'_>) -> Result<(), EvalError> {
    let value = args.value(1, &env(item))?.into_owned();
    if value.is_nil() { Ok(()) } else { args.target(0).set(item, value) }
}

/// The value becomes what is nothing of its type; what is not there is not made.
fn clear(args: &Args, item: &mut Item<'_>) -> Result<(), EvalError> {
    let empty = match args.value(0, &env(item))? {
        Value::Nil => return Ok(()),
        Value::Str(_) => Value::str(""),
        Value::Bool(_) => Value::Bool(false),
        Value::Int(_) => Value::Int(0),
        Value::Double(_) => Value::Double(0.0),
        Value::Bytes(_) => Value::Bytes(Cow::Borrowed(&[])),
        Value::List(_) => Value::List(Cow::Borrowed(&[])),
        Value::Map(_) => Value::Map(Cow::Borrowed(&[])),
        Value::Time(_) => Value::Time(Time::from_nanos(0)),
        Value::Duration(_) => Value::Duration(0),
        Value::Id(id) if id.bytes().len() == 8 => Value::Id(Id::span(&[])),
        Value::Id(_) => Value::Id(Id::trace(&[])),
        Value::Part(part) => Value::Part(part.emptied()),
    };
    args.target(0).set(item, empty)
}

fn append(args: &Args, item: &mut Item<'_>) -> Result<(), EvalError> {
    let list = {
        let env = env(item);
        let mut list = match args.value(0, &env)? {
            Value::Nil => Vec::new(),
            Value::List(list) => list.into_owned(),
            other => vec![element(other)?],
        };
        match args.value(1, &env)? {
            Value::Nil => {}
            Value::List(more) => list.extend(more.into_owned()),
            other => list.push(element(other)?),
        }
        for value in args.values(2, &env)? {
            list.push(element(value)?);
        }
        list
    };
    args.target(0).set(item, Value::List(Cow::Owned(list)))
}

fn element(value: Value<'_>) -> Result<AnyValue, EvalError> {
    let name = value.type_name();
    value.into_any().ok_or_else(|| EvalError::new(format!("{name} is no element of a list")))
}

fn delete_index(args: &Args, item: &mut Item<'_>) -> Result<(), EvalError> {
    let list = {
        let env = env(item);
        let mut list = match args.value(0, &env)? {
            Value::List(list) => list.into_owned(),
            other => return Err(wrong("a list", &other)),
        };
        let start = args.int(1, &env)?;
        let end = args.int_or(2, &env, start.saturating_add(1))?;
        let bounds = usize::try_from(start).ok().zip(usize::try_from(end).ok());
        match bounds.filter(|(start, end)| start <= end && *end <= list.len()) {
            Some((start, end)) => drop(list.drain(start..end)),
            None => {
                let message = format!("{start} to {end} is out of bounds of a list of {}", list.len());
                return Err(EvalError::new(message));
            }
        }
        list
    };
    args.target(0).set(item, Value::List(Cow::Owned(list)))
}

fn delete_key(args: &Args, item: &mut Item<'_>) -> Result<(), EvalError> {
    let key = match args.fixed(1) {
        Some(key) => Cow::Borrowed(key),
        None => Cow::Owned(args.str(1, &env(item))?.into_owned()),
    };
    args.target(0).map(item)?.retain(|e| e.key != key);
    Ok(())
}

fn matching_keys(args: &Args, item: &mut Item<'_>, keep: bool) -> Result<(), EvalError> {
    let regex = args.regex(1, &env(item))?;
    args.target(0).map(item)?.retain(|e| regex.is_match(&e.key) == keep);
    Ok(())
}

fn keep_keys(args: &Args, item: &mut Item<'_>) -> Result<(), EvalError> {
    let keys = owned_strings(args, 1, item)?;
    args.target(0).map(item)?.retain(|e| keys.contains(&e.key));
    Ok(())
}

fn owned_strings(args: &Args, at: usize, item: &Item<'_>) -> Result<Vec<String>, EvalError> {
    Ok(args.strings(at, &env(item))?.into_iter().map(Cow::into_owned).collect())
}

fn limit(args: &Args, item: &mut Item<'_>) -> Result<(), EvalError> {
    let limit = args.int(1, &env(item))?;
    let keys = owned_strings(args, 2, item)?;
    let limit =
        usize::try_from(limit).map_err(|_| EvalError::new(format!("the limit {limit} is negative")))?;
    if keys.len() > limit {
        return Err(EvalError::new(format!("{} priority keys are more than the limit {limit}", keys.len())));
    }
    let map = args.target(0).map(item)?;
    if map.len() <= limit {
        return Ok(());
    }
    let mut free = limit - map.iter().filter(|e| keys.contains(&e.key)).count();
    map.retain(|e| {
        if keys.contains(&e.key) {
            return true;
        }
        let kept = free > 0;
        free -= usize::from(kept);
        kept
    });
    Ok(())
}

fn merge_maps(args: &Args, item: &mut Item<'_>) -> Result<(), EvalError> {
    let source = args.map(1, &env(item))?.into_owned();
    let strategy = args.fixed(2).unwrap_or_default();
    let map = args.target(0).map(item)?;
    for entry in source {
        let there = find(map, &entry.key).is_some();
        if (there && strategy != "insert") || (!there && strategy != "update") {
            put(map, &entry.key, entry.value.unwrap_or_default());
        }
    }
    Ok(())
}

pub(super) fn text_mut(entry: &mut KeyValue) -> Option<&mut String> {
    match entry.value.as_mut()?.value.as_mut()? {
        Proto::StringValue(text) => Some(text),
        _ => None,
    }
}

fn stringify_all(args: &Args, item: &mut Item<'_>) -> Result<(), EvalError> {
    for entry in args.target(0).map(item)? {
        if text_mut(entry).is_none() {
            entry.value = Some(any_str(as_string(entry.value.as_ref())));
        }
    }
    Ok(())
}

fn truncate_all(args: &Args, item: &mut Item<'_>) -> Result<(), EvalError> {
    let (limit, safe, marker) = {
        let env = env(item);
        let limit = args.int(1, &env)?;
        (limit, args.bool_or(2, &env, true)?, args.str_or(3, &env, "")?.into_owned())
    };
    let limit =
        usize::try_from(limit).map_err(|_| EvalError::new(format!("the limit {limit} is negative")))?;
    if marker.len() > limit {
        return Err(EvalError::new("the marker is longer than the limit"));
    }
    for entry in args.target(0).map(item)? {
        let Some(text) = text_mut(entry).filter(|text| text.len() > limit) else { continue };
        let end = limit - marker.len();
        if safe || text.is_char_boundary(end) {
            text.truncate(text.floor_char_boundary(end));
        } else {
            // Half a character is no text; what replaces it may not be longer.
            let cut = String::from_utf8_lossy(&text.as_bytes()[..end]).replace('\u{fffd}', "?");
            *text = cut;
            text.truncate(text.floor_char_boundary(end));
        }
        text.push_str(&marker);
    }
    Ok(())
}

fn flatten(args: &Args, item: &mut Item<'_>) -> Result<(), EvalError> {
    let (prefix, depth, resolve) = {
        let env = env(item);
        let depth = args.int_or(2, &env, i64::MAX)?;
        (args.str_or(1, &env, "")?.into_owned(), depth, args.bool_or(3, &env, false)?)
    };
    if depth < 0 {
        return Err(EvalError::new(format!("the depth {depth} is negative")));
    }
    let map = args.target(0).map(item)?;
    let mut flat = Flat { out: MapBuilder::default(), most: depth, resolve, next: HashMap::new() };
    flat.map(std::mem::take(map), &prefix, 0);
    *map = flat.out.finish();
    Ok(())
}

struct Flat {
    out: MapBuilder,
    most: i64,
    resolve: bool,
    /// The number to be tried next behind a key that was there already.
    next: HashMap<String, u64>,
}

impl Flat {
    fn map(&mut self, map: Vec<KeyValue>, prefix: &str, depth: i64) {
        for entry in map {
            let key = if prefix.is_empty() { entry.key } else { format!("{prefix}.{}", entry.key) };
            self.value(key, entry.value.unwrap_or_default(), depth);
        }
    }

    fn value(&mut self, key: String, value: AnyValue, depth: i64) {
        match value.value {
            Some(Proto::KvlistValue(inner)) if depth < self.most => self.map(inner.values, &key, depth + 1),
            Some(Proto::ArrayValue(list)) if depth < self.most => {
                for (at, item) in list.values.into_iter().enumerate() {
                    let key = if self.resolve { key.clone() } else { format!("{key}.{at}") };
                    self.value(key, item, depth + 1);
                }
            }
            value => self.put(key, AnyValue { value }),
        }
    }

    fn put(&mut self, key: String, value: AnyValue) {
        if !self.resolve || !self.out.contains(&key) {
            self.out.put(&key, value);
            return;
        }
        let next = self.next.entry(key.clone()).or_default();
        loop {
            let candidate = format!("{key}.{next}");
            *next += 1;
            if !self.out.contains(&candidate) {
                self.out.put(&candidate, value);
                return;
            }
        }
    }
}

//! Editors: what changes telemetry.

use std::borrow::Cow;

use signal::otlp::proto::common::v1::any_value::Value as Proto;
use signal::otlp::proto::common::v1::{AnyValue, KeyValue};
use signal::re2::Regex;

use super::Takes::{Bool, Fixed, Function as Name, Int, Regex as Pattern, Str, Target, Value as Any, Values};
use super::{Args, Function, call_with_text, optional, param, wrong};
use crate::context::Item;
use crate::error::EvalError;
use crate::expr::Env;
use crate::value::{Value, any_str, as_string, find, put};

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
    .prepared(|args| not_negative(args, 1)),
    Function::edit(
        "merge_maps",
        &[param("target", Target), param("source", Any), param("strategy", Fixed)],
        merge_maps,
    )
    .prepared(|args| one_of(args, 2, &["insert", "update", "upsert"])),
    Function::edit("replace_all_matches", REPLACE, replace_all_matches).prepared(prepare_glob),
    Function::edit(
        "replace_all_patterns",
        &[
            param("target", Target),
            param("mode", Fixed),
            param("regex", Pattern),
            param("replacement", Str),
            optional("function", Name),
            optional("replacement_format", Fixed),
        ],
        replace_all_patterns,
    )
    .prepared(|args| {
        one_of(args, 1, &["key", "value"])?;
        check_format(args, 5)
    }),
    Function::edit("replace_match", REPLACE, replace_match).prepared(prepare_glob),
    Function::edit(
        "replace_pattern",
        &[
            param("target", Target),
            param("regex", Pattern),
            param("replacement", Str),
            optional("function", Name),
            optional("replacement_format", Fixed),
        ],
        replace_pattern,
    )
    .prepared(|args| check_format(args, 4)),
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

const REPLACE: &[super::Param] = &[
    param("target", Target),
    param("pattern", Fixed),
    param("replacement", Str),
    optional("function", Name),
    optional("replacement_format", Fixed),
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

/// A format has exactly one place for the text.
fn check_format(args: &mut Args, at: usize) -> Result<(), String> {
    match args.fixed(at) {
        Some(format) if format.matches("%s").count() != 1 || format.matches('%').count() != 1 => {
            Err(format!("the format `{format}` has to have exactly one `%s`"))
        }
        _ => Ok(()),
    }
}

/// What an editor reads before it writes.
fn env<'i>(item: &'i Item<'_>) -> Env<'i> {
    Env::of(item.view())
}

/// Nothing sets nothing.
fn set(args: &Args, item: &mut Item<'_>) -> Result<(), EvalError> {
    let value = args.value(1, &env(item))?.into_owned();
    if value.is_nil() { Ok(()) } else { args.target(0).set(item, value) }
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

/// A glob as upstream's: `*` and `?` match anything, `[…]` one of, `{a,b}` either.
pub(super) fn glob(pattern: &str) -> Result<Regex, String> {
    let mut regex = String::from("^(?s:");
    let mut chars = pattern.chars().peekable();
    let (mut alternatives, mut class) = (0, false);
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(escaped) => push_literal(&mut regex, escaped),
                None => return Err(format!("the pattern `{pattern}` ends with a backslash")),
            },
            ']' if class => {
                class = false;
                regex.push(']');
            }
            '-' if class => regex.push('-'),
            _ if class => push_literal(&mut regex, c),
            '*' => {
                while chars.next_if_eq(&'*').is_some() {}
                regex.push_str(".*");
            }
            '?' => regex.push('.'),
            '[' => {
                class = true;
                regex.push('[');
                if chars.next_if(|c| matches!(c, '!' | '^')).is_some() {
                    regex.push('^');
                }
            }
            '{' => {
                alternatives += 1;
                regex.push_str("(?:");
            }
            '}' if alternatives > 0 => {
                alternatives -= 1;
                regex.push(')');
            }
            ',' if alternatives > 0 => regex.push('|'),
            _ => push_literal(&mut regex, c),
        }
    }
    regex.push_str(")$");
    if class || alternatives > 0 {
        return Err(format!("a bracket of the pattern `{pattern}` is not closed"));
    }
    Regex::new(&regex).map_err(|_| format!("`{pattern}` is no pattern"))
}

fn push_literal(regex: &mut String, c: char) {
    if c.is_ascii_punctuation() {
        regex.push('\\');
    }
    regex.push(c);
}

fn prepare_glob(args: &mut Args) -> Result<(), String> {
    check_format(args, 4)?;
    let compiled = glob(args.fixed(1).unwrap_or_default())?;
    args.keep(compiled);
    Ok(())
}

/// The replacement after the optional function and format.
fn replaced(args: &Args, at: usize, text: String, env: &Env<'_>) -> Result<String, EvalError> {
    let Some(function) = args.function(at) else { return Ok(text) };
    let text = call_with_text(function, text, env)?;
    Ok(match args.fixed(at + 1) {
        Some(format) => format.replacen("%s", &text, 1),
        None => text,
    })
}

fn replace_match(args: &Args, item: &mut Item<'_>) -> Result<(), EvalError> {
    let new = {
        let env = env(item);
        let Value::Str(text) = args.value(0, &env)? else { return Ok(()) };
        if !args.ready::<Regex>().is_some_and(|glob| glob.is_match(&text)) {
            return Ok(());
        }
        replaced(args, 3, args.str(2, &env)?.into_owned(), &env)?
    };
    args.target(0).set(item, Value::string(new))
}

fn replace_all_matches(args: &Args, item: &mut Item<'_>) -> Result<(), EvalError> {
    let new = {
        let env = env(item);
        replaced(args, 3, args.str(2, &env)?.into_owned(), &env)?
    };
    let glob = args.ready::<Regex>().ok_or_else(|| EvalError::new("there is no pattern"))?;
    for entry in args.target(0).map(item)? {
        if let Some(text) = text_mut(entry)
            && glob.is_match(text)
        {
            text.clone_from(&new);
        }
    }
    Ok(())
}

fn text_mut(entry: &mut KeyValue) -> Option<&mut String> {
    match entry.value.as_mut()?.value.as_mut()? {
        Proto::StringValue(text) => Some(text),
        _ => None,
    }
}

/// Every match of a pattern replaced; `None` where there is none.
fn replace_pattern_in(
    args: &Args,
    function: usize,
    regex: &Regex,
    text: &str,
    replacement: &str,
    env: &Env<'_>,
) -> Result<Option<String>, EvalError> {
    if !regex.is_match(text) {
        return Ok(None);
    }
    let template = regex.template(replacement);
    if args.function(function).is_none() {
        return Ok(Some(regex.replace_all(text, &template)));
    }
    let (mut out, mut from, mut at) = (String::with_capacity(text.len()), 0, 0);
    let mut locations = regex.locations();
    while at <= text.len() && regex.read_captures(&mut locations, text, at) {
        let (start, end) = locations.get(0).expect("the whole match");
        out.push_str(&text[from..start]);
        let mut expanded = String::new();
        // The groups of this match: the text from here on matches in the same way.
        template.expand(&signal::re2::Captures::Read { text, locations: locations.clone() }, &mut expanded);
        out.push_str(&replaced(args, function, expanded, env)?);
        from = end;
        let step = text[end..].chars().next().map_or(1, char::len_utf8);
        at = if end > start { end } else { end + step };
        if end == start && end < text.len() {
            out.push_str(&text[end..end + step]);
            from = end + step;
        }
    }
    out.push_str(text.get(from..).unwrap_or_default());
    Ok(Some(out))
}

fn replace_pattern(args: &Args, item: &mut Item<'_>) -> Result<(), EvalError> {
    let new = {
        let env = env(item);
        let Value::Str(text) = args.value(0, &env)? else { return Ok(()) };
        let regex = args.regex(1, &env)?;
        match replace_pattern_in(args, 3, &regex, &text, &args.str(2, &env)?, &env)? {
            Some(new) => new,
            None => return Ok(()),
        }
    };
    args.target(0).set(item, Value::string(new))
}

fn replace_all_patterns(args: &Args, item: &mut Item<'_>) -> Result<(), EvalError> {
    let keys = args.fixed(1) == Some("key");
    let changes = {
        let env = env(item);
        let map = args.map(0, &env)?;
        let regex = args.regex(2, &env)?;
        let replacement = args.str(3, &env)?;
        let mut changes = Vec::new();
        for (at, entry) in map.iter().enumerate() {
            let text = match entry.value.as_ref().and_then(|v| v.value.as_ref()) {
                _ if keys => &entry.key,
                Some(Proto::StringValue(text)) => text,
                _ => continue,
            };
            if let Some(new) = replace_pattern_in(args, 4, &regex, text, &replacement, &env)? {
                changes.push((at, new));
            }
        }
        changes
    };
    if changes.is_empty() {
        return Ok(());
    }
    let map = args.target(0).map(item)?;
    for (at, new) in changes {
        match keys {
            true => map[at].key = new,
            false => map[at].value = Some(any_str(new)),
        }
    }
    if keys {
        // As in a map: of two keys that have become the same, the later value stays.
        let old = std::mem::take(map);
        for entry in old {
            put(map, &entry.key, entry.value.unwrap_or_default());
        }
    }
    Ok(())
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
    let mut flat = Flat { out: Vec::with_capacity(map.len()), most: depth, resolve };
    flat.map(std::mem::take(map), &prefix, 0);
    *map = flat.out;
    Ok(())
}

struct Flat {
    out: Vec<KeyValue>,
    most: i64,
    resolve: bool,
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
        if !self.resolve || find(&self.out, &key).is_none() {
            put(&mut self.out, &key, value);
            return;
        }
        let free = (0..).map(|n| format!("{key}.{n}")).find(|key| find(&self.out, key).is_none());
        put(&mut self.out, &free.expect("numbers do not end"), value);
    }
}

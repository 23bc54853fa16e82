//! Functions with regular expressions. As Go's `regexp`; compiled ones are remembered for each thread.

use std::cell::RefCell;
use std::ops::Range;

use gotmpl::Value;
use hashbrown::HashMap;
use signal::Regex;

use super::args::{Args, error, list, text, texts};
use super::budget::{self, Result, STEP, spend_text};

/// How many compiled expressions a thread remembers; then all are forgotten.
const REMEMBERED: usize = 16;
/// What compiling costs.
const COMPILE: usize = 1 << 20;
/// Bytes of the longest expression.
const LONGEST: usize = 1024;

thread_local! {
    static COMPILED: RefCell<HashMap<String, Regex>> = RefCell::default();
}

fn compiled(pattern: &str) -> Result<Regex> {
    COMPILED.with_borrow_mut(|known| {
        if let Some(regex) = known.get(pattern) {
            return Ok(regex.clone());
        }
        budget::spend(COMPILE)?;
        if pattern.len() > LONGEST {
            return error(format!("a regular expression longer than {LONGEST} bytes"));
        }
        let regex = match Regex::new(pattern) {
            Ok(regex) => regex,
            Err(problem) => return error(problem.to_string()),
        };
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(pattern.to_owned(), regex.clone());
        Ok(regex)
    })
}

/// At most `limit` matches, all where it is negative; an empty match right behind another does not count.
fn matches(regex: &Regex, value: &str, limit: i64) -> Result<Vec<Range<usize>>> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut found = Vec::new();
    let (mut at, mut last_end) = (0, None);
    while found.len() < limit
        && at <= value.len()
        && let Some(range) = regex.find_at(value, at)
    {
        budget::spend(STEP)?;
        let step = value[range.end..].chars().next().map_or(1, char::len_utf8);
        at = if range.is_empty() { range.end + step } else { range.end };
        if !(range.is_empty() && last_end == Some(range.start)) {
            last_end = Some(range.end);
            found.push(range);
        }
    }
    Ok(found)
}

/// Pattern and text of a call.
fn both<'a>(args: &Args<'a>, count: usize) -> Result<(Regex, &'a str)> {
    args.exactly(count)?;
    let regex = compiled(args.text(0)?)?;
    let value = args.text(1)?;
    budget::spend(value.len().saturating_mul(4))?;
    Ok((regex, value))
}

/// `regexMatch`; a pattern that is none does not match, unless it `must` be one.
pub(super) fn is_match(args: &Args<'_>, must: bool) -> Result<Value> {
    args.exactly(2)?;
    match both(args, 2) {
        Ok((regex, value)) => Ok(Value::Bool(regex.is_match(value))),
        Err(problem) if must => Err(problem),
        Err(problem) => {
            let pattern = args.text(0)?;
            if Regex::new(pattern).is_err() { Ok(Value::Bool(false)) } else { Err(problem) }
        }
    }
}

pub(super) fn find(args: &Args<'_>) -> Result<Value> {
    let (regex, value) = both(args, 2)?;
    text(regex.find_at(value, 0).map_or("", |range| &value[range]))
}

pub(super) fn find_all(args: &Args<'_>) -> Result<Value> {
    let (regex, value) = both(args, 3)?;
    let found = matches(&regex, value, args.int(2)?)?;
    texts(found.into_iter().map(|range| &value[range]))
}

pub(super) fn replace_all(args: &Args<'_>, literal: bool) -> Result<Value> {
    let (regex, value) = both(args, 3)?;
    let with = args.text(2)?;
    let count = matches(&regex, value, -1)?.len();
    // A group is part of its match, and matches do not overlap.
    let groups = if literal { 0 } else { with.matches('$').count() };
    let most = value.len().saturating_mul(1 + groups).saturating_add(count.saturating_mul(with.len()));
    spend_text(most)?;
    let template = if literal { regex.template(&with.replace('$', "$$")) } else { regex.template(with) };
    text(regex.replace_all(value, &template))
}

/// As Go's `Regexp.Split`.
pub(super) fn split(args: &Args<'_>) -> Result<Value> {
    let (regex, value) = both(args, 3)?;
    let limit = args.int(2)?;
    if limit == 0 {
        return list(Vec::new());
    }
    if !regex.as_str().is_empty() && value.is_empty() {
        return texts([""].into_iter());
    }
    let limit_parts = usize::try_from(limit).unwrap_or(usize::MAX);
    let (mut parts, mut begin, mut end) = (Vec::new(), 0, 0);
    for range in matches(&regex, value, limit)? {
        if parts.len() + 1 == limit_parts {
            break;
        }
        end = range.start;
        if range.end != 0 {
            parts.push(&value[begin..end]);
        }
        begin = range.end;
    }
    if end != value.len() {
        parts.push(&value[begin..]);
    }
    texts(parts.into_iter())
}

pub(super) fn quote_meta(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    let value = args.text(0)?;
    spend_text(value.len() * 2)?;
    let mut out = String::with_capacity(value.len() + 8);
    for c in value.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    text(out)
}

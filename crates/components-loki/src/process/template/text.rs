//! Functions on text: Alloy's own and Sprig's.
//!
//! Go cuts texts at bytes; here a cut in the middle of a character moves to its start.

pub(super) mod path;
pub(super) mod words;

use component::eval::stdlib::environment::variable;
use gotmpl::Value;

use super::args::{Args, error, kind, text, texts};
use super::budget::{self, Result, STEP, spend_text};
use super::show::{printf, shown};

/// A byte position of a text as Go slices it, moved to the start of its character.
fn cut(value: &str, at: usize) -> usize {
    value.floor_char_boundary(at)
}

pub(super) fn lower(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    let value = args.text(0)?;
    // Go maps rune by rune: no final sigma, one rune for one.
    text(value.chars().map(to_lower).collect::<String>())
}

pub(super) fn upper(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    text(args.text(0)?.chars().map(to_upper).collect::<String>())
}

/// The lower-case form where it is one character, as `unicode.ToLower`.
fn to_lower(c: char) -> char {
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(first), None) => first,
        // İ is the only one: Go gives its first.
        (Some(first), Some(_)) => first,
        _ => c,
    }
}

/// The upper-case form where it is one character, as `unicode.ToUpper`.
fn to_upper(c: char) -> char {
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(first), None) => first,
        _ => c,
    }
}

/// Go's `strings.Replace`: at most `limit` times, all where it is negative.
fn replaced(value: &str, old: &str, new: &str, limit: i64) -> Result<Value> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let count = value.matches(old).take(limit).count();
    spend_text(value.len().saturating_add(count.saturating_mul(new.len())))?;
    text(value.replacen(old, new, limit))
}

/// Alloy's `Replace text old new n`.
pub(super) fn go_replace(args: &Args<'_>) -> Result<Value> {
    args.exactly(4)?;
    replaced(args.text(0)?, args.text(1)?, args.text(2)?, args.int(3)?)
}

/// Sprig's `replace old new text`.
pub(super) fn replace(args: &Args<'_>) -> Result<Value> {
    args.exactly(3)?;
    replaced(args.text(2)?, args.text(0)?, args.text(1)?, -1)
}

/// Which ends of a text are trimmed.
#[derive(Clone, Copy)]
pub(super) enum Ends {
    Both,
    Left,
    Right,
}

fn trimmed<'t>(value: &'t str, set: &str, ends: Ends) -> &'t str {
    let inside = |c: char| set.contains(c);
    match ends {
        Ends::Both => value.trim_matches(inside),
        Ends::Left => value.trim_start_matches(inside),
        Ends::Right => value.trim_end_matches(inside),
    }
}

/// Alloy's `Trim text set` and its halves.
pub(super) fn go_trim(args: &Args<'_>, ends: Ends) -> Result<Value> {
    args.exactly(2)?;
    let (value, set) = (args.text(0)?, args.text(1)?);
    budget::spend(value.len().saturating_mul(set.len().min(64)))?;
    text(trimmed(value, set, ends))
}

/// Sprig's `trimAll set text`.
pub(super) fn trim_all(args: &Args<'_>) -> Result<Value> {
    args.exactly(2)?;
    let (set, value) = (args.text(0)?, args.text(1)?);
    budget::spend(value.len().saturating_mul(set.len().min(64)))?;
    text(trimmed(value, set, Ends::Both))
}

pub(super) fn trim_space(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    text(args.text(0)?.trim())
}

/// `TrimPrefix text prefix`; Sprig's has its arguments the other way round.
pub(super) fn trim_prefix(args: &Args<'_>, sprig: bool) -> Result<Value> {
    args.exactly(2)?;
    let (value, affix) = affix(args, sprig)?;
    text(value.strip_prefix(affix).unwrap_or(value))
}

pub(super) fn trim_suffix(args: &Args<'_>, sprig: bool) -> Result<Value> {
    args.exactly(2)?;
    let (value, affix) = affix(args, sprig)?;
    text(value.strip_suffix(affix).unwrap_or(value))
}

fn affix<'a>(args: &Args<'a>, sprig: bool) -> Result<(&'a str, &'a str)> {
    let (first, second) = (args.text(0)?, args.text(1)?);
    Ok(if sprig { (second, first) } else { (first, second) })
}

pub(super) fn contains(args: &Args<'_>, test: fn(&str, &str) -> bool) -> Result<Value> {
    args.exactly(2)?;
    Ok(Value::Bool(test(args.text(1)?, args.text(0)?)))
}

/// Whether a path begins at the root.
pub(super) fn is_abs(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    Ok(Value::Bool(args.text(0)?.starts_with('/')))
}

pub(super) fn trunc(args: &Args<'_>) -> Result<Value> {
    args.exactly(2)?;
    let (count, value) = (args.int(0)?, args.text(1)?);
    let length = value.len() as i64;
    if count < 0 && length.saturating_add(count) > 0 {
        return text(&value[cut(value, (length + count) as usize)..]);
    }
    if count >= 0 && length > count {
        return text(&value[..cut(value, count as usize)]);
    }
    text(value)
}

pub(super) fn substr(args: &Args<'_>) -> Result<Value> {
    args.exactly(3)?;
    let (start, end, value) = (args.int(0)?, args.int(1)?, args.text(2)?);
    let length = value.len() as i64;
    let (from, to) = match (start, end) {
        (..0, end) => (0, end),
        (start, end) if end < 0 || end > length => (start, length),
        (start, end) => (start, end),
    };
    if !(0 <= from && from <= to && to <= length) {
        return error(format!("substr: slice bounds out of range [{from}:{to}] with length {length}"));
    }
    text(&value[cut(value, from as usize)..cut(value, to as usize)])
}

pub(super) fn abbrev(args: &Args<'_>) -> Result<Value> {
    args.exactly(2)?;
    let (width, value) = (args.int(0)?, args.text(1)?);
    text(if width < 4 { value.to_owned() } else { abbreviated(value, 0, width) })
}

pub(super) fn abbrevboth(args: &Args<'_>) -> Result<Value> {
    args.exactly(3)?;
    let (left, right, value) = (args.int(0)?, args.int(1)?, args.text(2)?);
    let kept = right < 4 || left > 0 && right < 7;
    text(if kept { value.to_owned() } else { abbreviated(value, left, right) })
}

/// Cuts a text to `width` bytes, dots included, so that what is at `offset` can be seen. As goutils:
/// `AbbreviateFull`.
fn abbreviated(value: &str, offset: i64, width: i64) -> String {
    let length = value.len() as i64;
    if length <= width {
        return value.to_owned();
    }
    let offset = offset.min(length).min(length - (width - 3)).max(0);
    let part = |from: i64, to: i64| &value[cut(value, from as usize)..cut(value, to as usize)];
    if offset <= 4 {
        return format!("{}...", part(0, width - 3));
    }
    if width < 7 {
        return String::new();
    }
    if offset + width - 3 < length {
        // The rest is cut again, within what the dots in front have left.
        return format!("...{}", abbreviated(part(offset, length), 0, width - 3));
    }
    format!("...{}", part(length - (width - 3), length))
}

pub(super) fn repeat(args: &Args<'_>) -> Result<Value> {
    args.exactly(2)?;
    let (count, value) = (args.int(0)?, args.text(1)?);
    let Ok(count) = usize::try_from(count) else { return error("strings: negative Repeat count") };
    spend_text(value.len().saturating_mul(count))?;
    text(value.repeat(count))
}

pub(super) fn title(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    let mut out = String::new();
    let mut before = ' ';
    for c in args.text(0)?.chars() {
        out.push(if separates(before) { to_upper(c) } else { c });
        before = c;
    }
    text(out)
}

/// As strings: `isSeparator`.
fn separates(c: char) -> bool {
    if c.is_ascii() { !(c.is_ascii_alphanumeric() || c == '_') } else { c.is_whitespace() }
}

pub(super) fn untitle(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    let mut next = true;
    let lowered = args.text(0)?.chars().map(|c| {
        let lower = next && !c.is_whitespace();
        next = c.is_whitespace();
        if lower { to_lower(c) } else { c }
    });
    text(lowered.collect::<String>())
}

pub(super) fn nospace(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    text(args.text(0)?.chars().filter(|c| !c.is_whitespace()).collect::<String>())
}

pub(super) fn initials(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    text(args.text(0)?.split_whitespace().filter_map(|word| word.chars().next()).collect::<String>())
}

pub(super) fn swapcase(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    let swapped = args.text(0)?.chars().map(|c| match c {
        c if c.is_uppercase() => to_lower(c),
        c if c.is_lowercase() => to_upper(c),
        c => c,
    });
    text(swapped.collect::<String>())
}

/// A text wrapped at spaces to lines of `width` bytes. As goutils: `WrapCustom`.
fn wrapped(value: &str, width: i64, newline: &str, break_words: bool) -> Result<Value> {
    let newline = if newline.is_empty() { "\n" } else { newline };
    let width = usize::try_from(width).unwrap_or(1).max(1);
    let lines = value.len() / width + 1;
    spend_text(value.len().saturating_add(lines.saturating_mul(newline.len())))?;
    let mut out = String::new();
    let mut rest = value;
    while rest.len() > width {
        if let Some(trimmed) = rest.strip_prefix(' ') {
            rest = trimmed;
            continue;
        }
        let window = cut(rest, width + 1);
        let (line, skip) = match rest[..window].rfind(' ') {
            Some(space) => (space, 1),
            None if break_words => {
                let end = cut(rest, width);
                let first = rest.chars().next().map_or(1, char::len_utf8);
                (end.max(first), 0)
            }
            None => match rest[cut(rest, width)..].find(' ') {
                Some(space) => (cut(rest, width) + space, 1),
                None => break,
            },
        };
        out.push_str(&rest[..line]);
        out.push_str(newline);
        rest = &rest[line + skip..];
    }
    out.push_str(rest);
    text(out)
}

pub(super) fn wrap(args: &Args<'_>) -> Result<Value> {
    args.exactly(2)?;
    wrapped(args.text(1)?, args.int(0)?, "", false)
}

pub(super) fn wrap_with(args: &Args<'_>) -> Result<Value> {
    args.exactly(3)?;
    wrapped(args.text(2)?, args.int(0)?, args.text(1)?, true)
}

pub(super) fn quote(args: &Args<'_>) -> Result<Value> {
    let mut parts = Vec::new();
    for value in args.values.iter().filter(|v| !matches!(v, Value::Nil)) {
        let operands = [Value::String("%q".into()), text(shown(value)?)?];
        let Value::String(quoted) = printf(&Args { name: "quote", values: &operands })? else {
            return error("quote: no text");
        };
        parts.push(quoted.to_string());
    }
    text(parts.join(" "))
}

pub(super) fn squote(args: &Args<'_>) -> Result<Value> {
    let mut parts = Vec::new();
    for value in args.values.iter().filter(|v| !matches!(v, Value::Nil)) {
        parts.push(format!("'{}'", shown(value)?));
    }
    text(parts.join(" "))
}

pub(super) fn cat(args: &Args<'_>) -> Result<Value> {
    let mut parts = Vec::new();
    for value in args.values.iter().filter(|v| !matches!(v, Value::Nil)) {
        parts.push(shown(value)?);
    }
    text(parts.join(" "))
}

pub(super) fn indent(args: &Args<'_>, newline: bool) -> Result<Value> {
    args.exactly(2)?;
    let (spaces, value) = (args.int(0)?, args.text(1)?);
    let Ok(spaces) = usize::try_from(spaces) else { return error("strings: negative Repeat count") };
    let lines = value.matches('\n').count() + 1;
    spend_text(value.len().saturating_add(lines.saturating_mul(spaces)))?;
    let pad = " ".repeat(spaces);
    let start = if newline { "\n" } else { "" };
    text(format!("{start}{pad}{}", value.replace('\n', &format!("\n{pad}"))))
}

pub(super) fn plural(args: &Args<'_>) -> Result<Value> {
    args.exactly(3)?;
    let (one, many) = (args.text(0)?, args.text(1)?);
    text(if args.int(2)? == 1 { one } else { many })
}

pub(super) fn to_string(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    text(shown(args.get(0))?)
}

/// A value as a list of texts. As Sprig's `strslice`.
pub(super) fn strings(value: &Value) -> Result<Vec<String>> {
    match value {
        Value::Nil => Ok(Vec::new()),
        Value::List(items) => {
            budget::spend(items.len() * STEP)?;
            items.iter().filter(|item| !matches!(item, Value::Nil)).map(shown).collect()
        }
        other => Ok(vec![shown(other)?]),
    }
}

pub(super) fn to_strings(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    texts(strings(args.get(0))?.iter().map(String::as_str))
}

pub(super) fn join(args: &Args<'_>) -> Result<Value> {
    args.exactly(2)?;
    let separator = args.text(0)?;
    let parts = strings(args.get(1))?;
    let bytes: usize = parts.iter().map(String::len).sum();
    spend_text(bytes.saturating_add(parts.len().saturating_mul(separator.len())))?;
    text(parts.join(separator))
}

pub(super) fn sort_alpha(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    let mut parts = strings(args.get(0))?;
    parts.sort_unstable();
    texts(parts.iter().map(String::as_str))
}

/// The parts of a text as Go's `strings.SplitN` has them; all where `limit` is negative.
fn split_up<'t>(value: &'t str, separator: &str, limit: i64) -> Vec<&'t str> {
    let limit = match limit {
        0 => return Vec::new(),
        limit => usize::try_from(limit).unwrap_or(usize::MAX),
    };
    if separator.is_empty() {
        // Character by character.
        let mut parts: Vec<&str> = Vec::new();
        let mut rest = value;
        while let Some(c) = rest.chars().next() {
            if parts.len() + 1 == limit {
                break;
            }
            parts.push(&rest[..c.len_utf8()]);
            rest = &rest[c.len_utf8()..];
        }
        if !rest.is_empty() {
            parts.push(rest);
        }
        return parts;
    }
    value.splitn(limit, separator).collect()
}

pub(super) fn split_list(args: &Args<'_>) -> Result<Value> {
    args.exactly(2)?;
    let parts = split_up(args.text(1)?, args.text(0)?, -1);
    budget::spend(parts.len() * STEP)?;
    texts(parts.into_iter())
}

fn numbered(parts: &[&str]) -> Result<Value> {
    let mut out = super::args::Map::new();
    for (i, part) in parts.iter().enumerate() {
        budget::spend(STEP)?;
        out.insert(format!("_{i}").into(), text(*part)?);
    }
    super::args::map(out)
}

pub(super) fn split(args: &Args<'_>) -> Result<Value> {
    args.exactly(2)?;
    numbered(&split_up(args.text(1)?, args.text(0)?, -1))
}

pub(super) fn splitn(args: &Args<'_>) -> Result<Value> {
    args.exactly(3)?;
    numbered(&split_up(args.text(2)?, args.text(0)?, args.int(1)?))
}

/// A text of random characters. Good for sampling and names, not for secrets.
pub(super) fn random(args: &Args<'_>, alphabet: &[u8]) -> Result<Value> {
    args.exactly(1)?;
    let Ok(count) = usize::try_from(args.int(0)?) else { return error("a negative count of characters") };
    spend_text(count)?;
    text((0..count).map(|_| char::from(alphabet[fastrand::usize(..alphabet.len())])).collect::<String>())
}

pub(super) fn shuffle(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    let mut chars: Vec<char> = args.text(0)?.chars().collect();
    fastrand::shuffle(&mut chars);
    text(chars.into_iter().collect::<String>())
}

/// Go's `len`.
pub(super) fn len(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    match args.get(0).len() {
        Some(length) => Ok(Value::Int(length as i64)),
        None => error(format!("len of type {}", kind(args.get(0)))),
    }
}

/// Sprig's `hello`.
pub(super) fn hello(args: &Args<'_>) -> Result<Value> {
    args.exactly(0)?;
    text("Hello!")
}

pub(super) fn fail(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    error(args.text(0)?)
}

pub(super) fn env(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    text(variable(args.text(0)?).unwrap_or_default())
}

/// `$name` and `${name}` replaced by the environment. As Go's `os.ExpandEnv`.
pub(super) fn expandenv(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    let mut out = String::new();
    let mut rest = args.text(0)?;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let (name, after) = match rest.strip_prefix('{') {
            Some(inner) => match inner.split_once('}') {
                Some(found) => found,
                // Bad syntax is eaten.
                None => ("", inner),
            },
            None => {
                let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
                rest.split_at(end.unwrap_or(rest.len()))
            }
        };
        if name.is_empty() && !rest.starts_with('{') {
            out.push('$');
        }
        out.push_str(&variable(name).unwrap_or_default());
        spend_text(out.len())?;
        rest = after;
    }
    out.push_str(rest);
    text(out)
}

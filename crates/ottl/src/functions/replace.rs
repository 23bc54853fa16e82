//! Editors that replace text: whole values by globs, parts of them by expressions.

use signal::otlp::proto::common::v1::any_value::Value as Proto;
use signal::re2::Regex;

use super::Takes::{Fixed, Function as Name, Regex as Pattern, Str, Target};
use super::editors::{env, one_of, text_mut};
use super::{Args, Function, Param, call_with_text, optional, param};
use crate::context::Item;
use crate::error::EvalError;
use crate::expr::Env;
use crate::value::{Value, any_str, put};

pub(super) const TABLE: &[Function] = &[
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
];

const REPLACE: &[Param] = &[
    param("target", Target),
    param("pattern", Fixed),
    param("replacement", Str),
    optional("function", Name),
    optional("replacement_format", Fixed),
];

/// A format has exactly one place for the text.
fn check_format(args: &mut Args, at: usize) -> Result<(), String> {
    match args.fixed(at) {
        Some(format) if format.matches("%s").count() != 1 || format.matches('%').count() != 1 => {
            Err(format!("the format `{format}` has to have exactly one `%s`"))
        }
        _ => Ok(()),
    }
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

//! Converters of text.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use signal::re2::Regex;

use super::Takes::{Bool, Fixed, Int, Regex as Pattern, Str, Value as Any, Values};
use super::editors::one_of;
use super::{Args, Function, Param, optional, param, wrong};
use crate::ast::CompareOp;
use crate::compare::compare;
use crate::error::EvalError;
use crate::expr::Env;
use crate::value::{Value, any_str};

const TARGET: &[Param] = &[param("target", Str)];
const CASES: [&str; 4] = ["lower", "upper", "snake", "camel"];
const BASE64: [&str; 4] = ["base64", "base64-raw", "base64-url", "base64-raw-url"];

pub(super) const TABLE: &[Function] = &[
    Function::convert("Base64Decode", TARGET, |args, env| decoded(&args.str(0, env)?, "base64")),
    Function::convert("Base64Encode", &[param("value", Str), optional("variant", Fixed)], |args, env| {
        let text = args.str(0, env)?;
        Ok(Value::string(match args.fixed(1).unwrap_or(BASE64[0]) {
            "base64-raw" => STANDARD_NO_PAD.encode(text.as_bytes()),
            "base64-url" => URL_SAFE.encode(text.as_bytes()),
            "base64-raw-url" => URL_SAFE_NO_PAD.encode(text.as_bytes()),
            _ => STANDARD.encode(text.as_bytes()),
        }))
    })
    .prepared(|args| one_of(args, 1, &BASE64)),
    Function::convert("Concat", &[param("values", Values), param("delimiter", Str)], concat),
    Function::convert("ConvertCase", &[param("target", Str), param("to_case", Fixed)], |args, env| {
        convert_case(args, env, args.fixed(1).unwrap_or_default())
    })
    .prepared(|args| one_of(args, 1, &CASES)),
    Function::convert("Decode", &[param("value", Any), param("encoding", Str)], |args, env| {
        let encoding = args.str(1, env)?;
        match args.value(0, env)? {
            Value::Str(text) => decoded(&text, &encoding),
            Value::Bytes(bytes) => match BASE64.contains(&encoding.as_ref()) {
                true => decoded(&String::from_utf8_lossy(&bytes), &encoding),
                false => charset(&bytes, &encoding),
            },
            other => Err(wrong("a string or bytes", &other)),
        }
    }),
    Function::convert("ExtractPatterns", &[param("target", Str), param("pattern", Pattern)], extract)
        .prepared(|args| match args.fixed_regex(1) {
            Some(regex) if !regex.group_names().any(|name| name.is_some()) => {
                Err("the pattern has no group with a name".into())
            }
            _ => Ok(()),
        }),
    Function::convert("HasPrefix", &[param("value", Str), param("prefix", Str)], |args, env| {
        Ok(Value::Bool(args.str(0, env)?.starts_with(args.str(1, env)?.as_ref())))
    }),
    Function::convert("HasSuffix", &[param("value", Str), param("suffix", Str)], |args, env| {
        Ok(Value::Bool(args.str(0, env)?.ends_with(args.str(1, env)?.as_ref())))
    }),
    Function::convert("Index", &[param("target", Any), param("value", Any)], index),
    Function::convert("IsMatch", &[param("target", Any), param("pattern", Pattern)], |args, env| {
        let regex = args.regex(1, env)?;
        Ok(Value::Bool(args.text(0, env)?.is_some_and(|text| regex.is_match(&text))))
    }),
    Function::convert("IsValidLuhn", &[param("value", Any)], luhn),
    Function::convert("Log", &[param("target", Any)], log),
    Function::convert("ParseInt", &[param("target", Str), param("base", Int)], parse_int),
    Function::convert("Split", &[param("target", Str), param("delimiter", Str)], split),
    Function::convert(
        "Substring",
        &[param("target", Str), param("start", Int), param("length", Int), optional("utf8_safe", Bool)],
        substring,
    ),
    Function::convert("ToCamelCase", TARGET, |args, env| convert_case(args, env, "camel")),
    Function::convert("ToLowerCase", TARGET, |args, env| convert_case(args, env, "lower")),
    Function::convert("ToSnakeCase", TARGET, |args, env| convert_case(args, env, "snake")),
    Function::convert("ToUpperCase", TARGET, |args, env| convert_case(args, env, "upper")),
    Function::convert("Trim", &[param("target", Str), optional("replacement", Str)], |args, env| {
        let set = args.str_or(1, env, " ")?;
        let text = args.str(0, env)?;
        Ok(Value::string(text.trim_matches(|c| set.contains(c)).to_owned()))
    }),
    Function::convert("TrimPrefix", &[param("value", Str), param("prefix", Str)], |args, env| {
        let (text, prefix) = (args.str(0, env)?, args.str(1, env)?);
        Ok(Value::string(text.strip_prefix(prefix.as_ref()).unwrap_or(&text).to_owned()))
    }),
    Function::convert("TrimSuffix", &[param("value", Str), param("suffix", Str)], |args, env| {
        let (text, suffix) = (args.str(0, env)?, args.str(1, env)?);
        Ok(Value::string(text.strip_suffix(suffix.as_ref()).unwrap_or(&text).to_owned()))
    }),
    Function::convert(
        "Format",
        &[param("format_string", Str), param("format_arguments", Values)],
        |args, env| Ok(Value::string(super::format::sprintf(&args.str(0, env)?, &args.values(1, env)?))),
    ),
];

/// Lists and maps are left out, as upstream: they could make the text very large. Nothing is `<nil>`.
fn concat<'a>(args: &'a Args, env: &Env<'a>) -> Result<Value<'a>, EvalError> {
    let delimiter = args.str(1, env)?;
    let mut out = String::new();
    for (at, value) in args.values(0, env)?.into_iter().enumerate() {
        if at > 0 {
            out.push_str(&delimiter);
        }
        match value {
            Value::Nil => out.push_str("<nil>"),
            Value::Map(_) | Value::List(_) | Value::Part(_) => {}
            value => out.push_str(&value.to_text()?.unwrap_or_default()),
        }
    }
    Ok(Value::string(out))
}

fn convert_case<'a>(args: &'a Args, env: &Env<'a>, case: &str) -> Result<Value<'a>, EvalError> {
    let text = args.str(0, env)?;
    Ok(Value::string(match case {
        "lower" => text.to_lowercase(),
        "upper" => text.to_uppercase(),
        "snake" => snake(&text),
        _ => camel(&text),
    }))
}

/// `myMetric` → `my_metric`, `HTTPCode` → `http_code`.
fn snake(text: &str) -> String {
    let chars: Vec<char> = text.trim().chars().collect();
    let mut out = String::with_capacity(text.len() + 4);
    for (at, c) in chars.iter().enumerate() {
        if matches!(c, ' ' | '-' | '.' | '_') {
            out.push('_');
            continue;
        }
        let before = at.checked_sub(1).map(|before| chars[before]);
        let after = chars.get(at + 1);
        let begins = c.is_uppercase()
            && before.is_some_and(|b| {
                b.is_lowercase()
                    || b.is_numeric()
                    || (b.is_uppercase() && after.is_some_and(|a| a.is_lowercase()))
            });
        if begins {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    out
}

/// `my_metric` → `MyMetric`.
fn camel(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut begin = true;
    for c in text.trim().chars() {
        if matches!(c, '_' | ' ' | '-' | '.') {
            begin = true;
        } else if std::mem::take(&mut begin) {
            out.extend(c.to_uppercase());
        } else {
            out.push(c);
        }
    }
    out
}

fn decoded(text: &str, encoding: &str) -> Result<Value<'static>, EvalError> {
    let engine = match encoding {
        "base64" => &STANDARD,
        "base64-raw" => &STANDARD_NO_PAD,
        "base64-url" => &URL_SAFE,
        "base64-raw-url" => &URL_SAFE_NO_PAD,
        _ => return charset(text.as_bytes(), encoding),
    };
    let bytes = engine.decode(text).map_err(|error| EvalError::new(format!("not {encoding}: {error}")))?;
    Ok(Value::string(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    }))
}

fn charset(bytes: &[u8], encoding: &str) -> Result<Value<'static>, EvalError> {
    if encoding.eq_ignore_ascii_case("us-ascii") || encoding.eq_ignore_ascii_case("ascii") {
        let char = |b: &u8| if b.is_ascii() { char::from(*b) } else { '\u{fffd}' };
        return Ok(Value::string(bytes.iter().map(char).collect()));
    }
    let known = encoding_rs::Encoding::for_label(encoding.as_bytes())
        .ok_or_else(|| EvalError::new(format!("the encoding `{encoding}` is not known")))?;
    Ok(Value::string(known.decode(bytes).0.into_owned()))
}

fn extract<'a>(args: &'a Args, env: &Env<'a>) -> Result<Value<'a>, EvalError> {
    let (text, regex) = (args.str(0, env)?, args.regex(1, env)?);
    Ok(Value::Map(Cow::Owned(groups(&regex, &text))))
}

/// The groups with names of the first match.
pub(super) fn groups(regex: &Regex, text: &str) -> Vec<signal::otlp::proto::common::v1::KeyValue> {
    let Some(captures) = regex.captures(text) else { return Vec::new() };
    let mut out = Vec::new();
    for (at, name) in regex.group_names().enumerate().skip(1) {
        if let Some(name) = name {
            crate::value::put(&mut out, name, any_str(captures.get(at).unwrap_or_default()));
        }
    }
    out
}

fn index<'a>(args: &'a Args, env: &Env<'a>) -> Result<Value<'a>, EvalError> {
    let wanted = args.value(1, env)?;
    let found = match args.value(0, env)? {
        Value::Str(text) => match &wanted {
            Value::Str(part) => text.find(part.as_ref()),
            other => return Err(wrong("a string", other)),
        },
        Value::List(list) => {
            list.iter().position(|item| compare(CompareOp::Equal, &Value::of(Some(item)), &wanted))
        }
        other => return Err(wrong("a string or a list", &other)),
    };
    Ok(Value::Int(found.map_or(-1, |at| at as i64)))
}

fn luhn<'a>(args: &'a Args, env: &Env<'a>) -> Result<Value<'a>, EvalError> {
    let text = match args.value(0, env)? {
        Value::Str(text) => text,
        Value::Int(v) => Cow::Owned(v.to_string()),
        other => return Err(wrong("a string or an int", &other)),
    };
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(EvalError::new(format!("`{text}` has other characters than digits")));
    }
    let digits = text.bytes().rev().map(|b| u32::from(b - b'0')).enumerate();
    let sum: u32 = digits.map(|(at, d)| if at % 2 == 0 { d } else { d * 2 / 10 + d * 2 % 10 }).sum();
    Ok(Value::Bool(sum.is_multiple_of(10)))
}

fn log<'a>(args: &'a Args, env: &Env<'a>) -> Result<Value<'a>, EvalError> {
    let number = match args.value(0, env)? {
        Value::Double(v) => v,
        Value::Int(v) => v as f64,
        Value::Bool(v) => f64::from(u8::from(v)),
        Value::Str(text) => text.parse().map_err(|_| EvalError::new(format!("`{text}` is no number")))?,
        other => return Err(wrong("a number", &other)),
    };
    if number <= 0.0 {
        return Err(EvalError::new(format!("there is no logarithm of {number}")));
    }
    Ok(Value::Double(number.ln()))
}

/// As Go's `strconv.ParseInt`.
fn parse_int<'a>(args: &'a Args, env: &Env<'a>) -> Result<Value<'a>, EvalError> {
    let (text, base) = (args.str(0, env)?, args.int(1, env)?);
    let wrong = || EvalError::new(format!("`{text}` is no integer to the base {base}"));
    let (negative, digits) = match text.strip_prefix(['+', '-']) {
        Some(digits) => (text.starts_with('-'), digits),
        None => (false, text.as_ref()),
    };
    let (base, digits) = match base {
        0 => {
            let lower = digits.to_ascii_lowercase();
            let (base, skip) = match lower.as_bytes() {
                [b'0', b'x', ..] => (16, 2),
                [b'0', b'b', ..] => (2, 2),
                [b'0', b'o', ..] => (8, 2),
                [b'0', _, ..] => (8, 1),
                _ => (10, 0),
            };
            let misplaced =
                lower.contains("__") || lower.ends_with('_') || (skip == 0 && lower.starts_with('_'));
            if misplaced {
                return Err(wrong());
            }
            (base, lower[skip..].replace('_', ""))
        }
        2..=36 => (u32::try_from(base).expect("at most 36"), digits.to_owned()),
        _ => return Err(EvalError::new(format!("the base {base} is neither 0 nor 2 to 36"))),
    };
    if digits.starts_with(['+', '-']) {
        return Err(wrong());
    }
    let signed = if negative { format!("-{digits}") } else { digits };
    i64::from_str_radix(&signed, base).map(Value::Int).map_err(|_| wrong())
}

fn split<'a>(args: &'a Args, env: &Env<'a>) -> Result<Value<'a>, EvalError> {
    let (text, delimiter) = (args.str(0, env)?, args.str(1, env)?);
    let parts = match delimiter.is_empty() {
        // Go splits into characters.
        true => text.chars().map(|c| any_str(c.to_string())).collect(),
        false => text.split(delimiter.as_ref()).map(any_str).collect(),
    };
    Ok(Value::List(Cow::Owned(parts)))
}

fn substring<'a>(args: &'a Args, env: &Env<'a>) -> Result<Value<'a>, EvalError> {
    let text = args.str(0, env)?;
    let (start, length) = (args.int(1, env)?, args.int(2, env)?);
    let safe = args.bool_or(3, env, false)?;
    let range = usize::try_from(start).ok().zip(usize::try_from(length).ok());
    let range = range.and_then(|(start, length)| Some((start, start.checked_add(length)?)));
    let Some((start, end)) = range.filter(|(_, end)| *end <= text.len()) else {
        let message = format!("{length} bytes from {start} are not in a text of {} bytes", text.len());
        return Err(EvalError::new(message));
    };
    if safe {
        let start = text.ceil_char_boundary(start);
        let end = text.floor_char_boundary(end).max(start);
        return Ok(Value::string(text[start..end].to_owned()));
    }
    Ok(Value::string(String::from_utf8_lossy(&text.as_bytes()[start..end]).into_owned()))
}

//! JSON in and out, and JSONPath.

use std::fmt::Write;
use std::sync::Arc;

use jsonpath_rust::JsonPath;
use serde_json::Value as Json;

use super::{CallError, take};
use crate::arg::{Step, ValueError};
use crate::value::{Number, Value};

type Answer = Result<Value, CallError>;

/// Lists and objects nest no deeper than this in what is written.
const MAX_DEPTH: usize = 1000;

fn refuse(index: usize, message: String) -> CallError {
    CallError::argument(index, ValueError::invalid(message))
}

fn parse(text: &str) -> Result<Json, CallError> {
    serde_json::from_str(text).map_err(|e| refuse(0, format!("this is not JSON: {e}")))
}

/// All numbers become floats, as with Go's encoding/json.
pub(super) fn from_json(arguments: &[Value]) -> Answer {
    let text: String = take(arguments, 0)?;
    Ok(value_of(&parse(&text)?, true))
}

fn value_of(json: &Json, floats: bool) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(n) => Value::Number(match (n.as_i64(), n.as_u64()) {
            (Some(v), _) if !floats => Number::Int(v),
            (None, Some(v)) if !floats => Number::Uint(v),
            _ => Number::Float(n.as_f64().unwrap_or(f64::NAN)),
        }),
        Json::String(s) => Value::String(Arc::from(s.as_str())),
        Json::Array(items) => Value::array(items.iter().map(|v| value_of(v, floats)).collect()),
        Json::Object(fields) => {
            Value::object(fields.iter().map(|(k, v)| (k.clone(), value_of(v, floats))).collect())
        }
    }
}

/// Always a list. The path may leave the leading `$` out.
pub(super) fn json_path(arguments: &[Value]) -> Answer {
    let (text, path): (String, String) = (take(arguments, 0)?, take(arguments, 1)?);
    let json = parse(&text)?;
    let rooted = match path.chars().next() {
        Some('$') => path.clone(),
        Some('@') => format!("${}", &path[1..]),
        Some('.' | '[') => format!("${path}"),
        Some(_) => format!("$.{path}"),
        None => return Ok(Value::array(Vec::new())),
    };
    let found = json.query(&rooted).map_err(|e| refuse(1, format!("{path:?} is not a JSONPath: {e}")))?;
    Ok(Value::array(found.into_iter().map(|v| value_of(v, false)).collect()))
}

pub(super) fn to_json(arguments: &[Value]) -> Answer {
    match arguments[0].as_object() {
        Some(fields) => {
            to_go_json(&Value::Object(fields)).map(Value::from).map_err(|error| CallError::argument(0, error))
        }
        None => Err(CallError::argument(0, ValueError::wrong_type("map(any)", &arguments[0]))),
    }
}

/// JSON as Go's encoding/json writes it: keys sorted, `<`, `>` and `&` escaped, floats in its notation.
/// Secrets, functions, capsules without fields, NaN and infinities are errors.
pub fn to_go_json(value: &Value) -> Result<String, ValueError> {
    let mut out = String::new();
    write(value, &mut out, 0)?;
    Ok(out)
}

fn write(value: &Value, out: &mut String, depth: usize) -> Result<(), ValueError> {
    if depth > MAX_DEPTH {
        return Err(ValueError::invalid(format!("it nests deeper than {MAX_DEPTH} levels")));
    }
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Number(n) => number(*n, out)?,
        Value::String(s) => string(s, out),
        Value::OptionalSecret(s) if !s.is_secret() => string(s.reveal(), out),
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write(item, out, depth + 1).map_err(|e| e.at_index(i))?;
            }
            out.push(']');
        }
        other => match other.as_object() {
            Some(fields) => {
                out.push('{');
                for (i, (key, item)) in fields.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    string(key, out);
                    out.push(':');
                    write(item, out, depth + 1).map_err(|mut e| {
                        e.path.insert(0, Step::Key(key.clone()));
                        e
                    })?;
                }
                out.push('}');
            }
            None => return Err(ValueError::wrong_type("a value that JSON has", other)),
        },
    }
    Ok(())
}

fn number(n: Number, out: &mut String) -> Result<(), ValueError> {
    let v = match n {
        Number::Float(v) => v,
        n => {
            out.push_str(&n.to_text());
            return Ok(());
        }
    };
    if !v.is_finite() {
        return Err(ValueError::invalid(format!("{} has no form in JSON", n.to_text())));
    }
    let size = v.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        // `1e+21`, `1e-7`: Rust leaves the plus out.
        let text = format!("{v:e}");
        out.push_str(&if text.contains("e-") { text } else { text.replace('e', "e+") });
    } else {
        out.push_str(&v.to_string());
    }
    Ok(())
}

fn string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                write!(out, "\\u{:04x}", c as u32).expect("writing to a String cannot fail");
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

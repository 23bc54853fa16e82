//! Values as people and the API see them.
//!
//! Invariant: no rendering contains a secret's text.

use serde_json::{Value as Json, json};

use crate::body::Item;
use crate::conceal::{names_secret, without_passwords};
use crate::value::{Number, Secret, Value};

impl Value {
    /// As it would be written in a file; a secret as `(secret)`, a capsule as `capsule(…)`.
    pub fn to_source(&self) -> String {
        let mut out = String::new();
        write_source(self, &mut out);
        out
    }

    /// `{"type": …, "value": …}`, the form of Alloy's API: lists and objects hold such values again, an
    /// object as a list of `{"key", "value"}`.
    pub fn to_api_json(&self) -> Json {
        let value = match self {
            Self::Null => Json::Null,
            Self::Bool(v) => json!(v),
            Self::Number(n) => number_json(*n),
            Self::String(s) => json!(without_passwords(s)),
            Self::Secret(s) => json!(s.to_string()),
            Self::OptionalSecret(s) => json!(s.to_string()),
            Self::Array(items) => items.iter().map(Self::to_api_json).collect(),
            Self::Object(fields) => {
                fields.iter().map(|(k, v)| json!({ "key": k, "value": v.to_api_json() })).collect()
            }
            Self::Function(f) => json!(f.0.name),
            Self::Capsule(c) => match c.content().as_object() {
                Some(fields) => return Self::object(fields).to_api_json(),
                None => json!(c.content().text()),
            },
            Self::Unknown(_) => Json::Null,
        };
        json!({ "type": self.type_name(), "value": value })
    }
}

fn number_json(n: Number) -> Json {
    match n {
        Number::Int(v) => json!(v),
        Number::Uint(v) => json!(v),
        // Infinities and NaN have no JSON form.
        Number::Float(v) if !v.is_finite() => json!(n.to_text()),
        Number::Float(v) => json!(v),
    }
}

/// A body in the form of Alloy's API.
pub fn items_to_json(items: &[Item]) -> Json {
    items
        .iter()
        .map(|item| match item {
            Item::Attribute { name, value } if name.contains("headers") => {
                json!({ "name": name, "type": "attr", "value": headers(value).to_api_json() })
            }
            Item::Attribute { name, value } => {
                json!({ "name": name, "type": "attr", "value": value.to_api_json() })
            }
            Item::Block { name, label: Some(label), body } => {
                json!({ "name": name, "type": "block", "label": label, "body": items_to_json(body) })
            }
            Item::Block { name, label: None, body } => {
                json!({ "name": name, "type": "block", "body": items_to_json(body) })
            }
        })
        .collect()
}

/// Headers without the values of those that carry credentials.
fn headers(value: &Value) -> Value {
    let Value::Object(fields) = value else { return value.clone() };
    let shown = fields.iter().map(|(name, value)| match value {
        Value::String(text) if names_secret(name) => (name.clone(), Value::Secret(Secret::new(&**text))),
        _ => (name.clone(), value.clone()),
    });
    Value::object(shown.collect())
}

fn write_source(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(v) => out.push_str(if *v { "true" } else { "false" }),
        Value::Number(n) => out.push_str(&n.to_text()),
        Value::String(s) => quote(s, out),
        Value::Secret(_) => out.push_str("(secret)"),
        Value::OptionalSecret(s) => match s.shown() {
            Some(text) => quote(text, out),
            None => out.push_str("(secret)"),
        },
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                write_source(item, out);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            out.push('{');
            for (i, (key, item)) in fields.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                if is_identifier(key) {
                    out.push_str(key);
                } else {
                    quote(key, out);
                }
                out.push_str(" = ");
                write_source(item, out);
            }
            out.push('}');
        }
        Value::Function(f) => out.push_str(f.0.name),
        Value::Capsule(c) => match c.content().as_object() {
            Some(fields) => write_source(&Value::object(fields), out),
            None => out.push_str(&format!("capsule({:?})", c.content().text())),
        },
        Value::Unknown(_) => out.push_str("(not known yet)"),
    }
}

fn is_identifier(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && chars.all(|c| c.is_alphanumeric() || c == '_')
        && !matches!(text, "true" | "false" | "null")
}

fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
}

//! OTLP values as text, as the collector's `AsString`.

use std::borrow::Cow;

use base64::Engine as _;
use prost::Message as _;
use signal::otlp::proto::common::v1::any_value::Value;
use signal::otlp::proto::common::v1::{AnyValue, KeyValue};
use wire::otlp::view::{self, Any, Unclear};

/// The text of a value: scalars as they are, lists and maps as JSON, bytes as Base64, nothing as nothing.
pub fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|v| v.value.as_ref()) {
        None | Some(Value::StringValueStrindex(_)) => String::new(),
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::BoolValue(v)) => v.to_string(),
        Some(Value::IntValue(v)) => v.to_string(),
        Some(Value::DoubleValue(v)) => double(*v),
        Some(Value::BytesValue(bytes)) => base64::engine::general_purpose::STANDARD.encode(bytes),
        Some(Value::ArrayValue(_) | Value::KvlistValue(_)) => json(value).to_string(),
    }
}

/// As [`text`], of a serialised `AnyValue`; only lists and maps are decoded for it.
///
/// # Errors
/// If it is none.
pub fn text_of(value: Option<&[u8]>) -> Result<Cow<'_, str>, Unclear> {
    Ok(match view::any_or_empty(value)? {
        Any::Text(text) => Cow::Borrowed(view::text(text)?),
        Any::Empty | Any::Index => Cow::Borrowed(""),
        Any::Bool(v) => Cow::Borrowed(if v { "true" } else { "false" }),
        Any::Int(v) => Cow::Owned(v.to_string()),
        Any::Double(v) => Cow::Owned(double(v)),
        Any::Bytes(bytes) => Cow::Owned(base64::engine::general_purpose::STANDARD.encode(bytes)),
        Any::Array(_) | Any::Map(_) => Cow::Owned(text(decoded(value).as_ref())),
    })
}

/// A serialised `AnyValue` as a message; nothing for what cannot be decoded, which checked values can.
pub fn decoded(value: Option<&[u8]>) -> Option<AnyValue> {
    value.and_then(|value| AnyValue::decode(value).ok())
}

/// An attribute with a text.
pub fn attribute(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.to_string())) });
    KeyValue { key: key.to_string(), value, ..KeyValue::default() }
}

/// The name of a value's type.
pub fn type_name(value: Option<&AnyValue>) -> &'static str {
    match value.and_then(|v| v.value.as_ref()) {
        None | Some(Value::StringValueStrindex(_)) => "Empty",
        Some(Value::StringValue(_)) => "Str",
        Some(Value::BoolValue(_)) => "Bool",
        Some(Value::IntValue(_)) => "Int",
        Some(Value::DoubleValue(_)) => "Double",
        Some(Value::ArrayValue(_)) => "Slice",
        Some(Value::KvlistValue(_)) => "Map",
        Some(Value::BytesValue(_)) => "Bytes",
    }
}

/// A value as JSON; names of maps in order.
fn json(value: Option<&AnyValue>) -> serde_json::Value {
    use serde_json::Value as Json;
    match value.and_then(|v| v.value.as_ref()) {
        None | Some(Value::StringValueStrindex(_)) => Json::Null,
        Some(Value::BoolValue(v)) => Json::Bool(*v),
        Some(Value::IntValue(v)) => Json::from(*v),
        // JSON has neither NaN nor infinities.
        Some(Value::DoubleValue(v)) if v.is_finite() => {
            serde_json::from_str(&double(*v)).unwrap_or_else(|_| Json::from(*v))
        }
        Some(Value::ArrayValue(list)) => list.values.iter().map(|v| json(Some(v))).collect(),
        Some(Value::KvlistValue(map)) => {
            let mut entries: Vec<&KeyValue> = map.values.iter().collect();
            entries.sort_by(|a, b| a.key.cmp(&b.key));
            Json::Object(entries.into_iter().map(|e| (e.key.clone(), json(e.value.as_ref()))).collect())
        }
        Some(Value::StringValue(_) | Value::BytesValue(_) | Value::DoubleValue(_)) => Json::from(text(value)),
    }
}

/// As Go writes floats into JSON: an exponent only below 1e-6 and from 1e21.
fn double(value: f64) -> String {
    let size = value.abs();
    if value.is_nan() {
        "NaN".to_string()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf".to_string() } else { "-Inf".to_string() }
    } else if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{value:e}");
        // Go puts a sign before every exponent.
        if text.contains("e-") { text } else { text.replace('e', "e+") }
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use signal::otlp::proto::common::v1::{ArrayValue, KeyValueList};

    use super::*;

    fn any(value: Value) -> AnyValue {
        AnyValue { value: Some(value) }
    }

    #[test]
    fn values_are_written_as_the_collector_does() {
        let list = Value::ArrayValue(ArrayValue {
            values: vec![any(Value::IntValue(1)), any(Value::StringValue("\"".into())), AnyValue::default()],
        });
        let entry =
            |key: &str, value| KeyValue { key: key.into(), value: Some(any(value)), ..Default::default() };
        let map = Value::KvlistValue(KeyValueList {
            values: vec![entry("b", Value::DoubleValue(2.0)), entry("a", list.clone())],
        });
        let cases = [
            (Value::StringValue("x".into()), "x"),
            (Value::BoolValue(true), "true"),
            (Value::IntValue(-3), "-3"),
            (Value::DoubleValue(1.0), "1"),
            (Value::DoubleValue(0.25), "0.25"),
            (Value::DoubleValue(1e21), "1e+21"),
            (Value::DoubleValue(1.5e-7), "1.5e-7"),
            (Value::DoubleValue(f64::NEG_INFINITY), "-Inf"),
            (Value::BytesValue(vec![1, 2]), "AQI="),
            (list, r#"[1,"\"",null]"#),
            (map, r#"{"a":[1,"\"",null],"b":2}"#),
        ];
        for (value, expected) in cases {
            let value = any(value);
            assert_eq!(text(Some(&value)), expected);
            assert_eq!(text_of(Some(&value.encode_to_vec())).expect("a value"), expected);
        }
        assert_eq!(text(None), "");
    }
}

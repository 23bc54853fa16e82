//! Values of entries, and how they become those of the configuration, of JSON and of OTLP.

use base64::Engine as _;
use component::eval;
use indexmap::IndexMap;
use jiff::Timestamp;
use signal::otlp::proto::common::v1::any_value::Value as Any;
use signal::otlp::proto::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};

/// Names and values in the order in which they came.
pub type Map = IndexMap<String, Value>;

/// So deep may values lie in each other; what is deeper is refused.
pub const MAX_DEPTH: usize = 64;

/// A value.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// Nothing.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// Text.
    Text(String),
    /// Bytes that need not be text.
    Bytes(Vec<u8>),
    /// Nanoseconds since the Unix epoch.
    Time(i64),
    /// A list.
    List(Vec<Value>),
    /// Names and values.
    Map(Map),
}

impl Value {
    /// The name of its kind, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nil",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Text(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::Time(_) => "time",
            Self::List(_) => "array",
            Self::Map(_) => "map",
        }
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The map, if it is one.
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Self::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The map, if it is one.
    pub fn as_map_mut(&mut self) -> Option<&mut Map> {
        match self {
            Self::Map(map) => Some(map),
            _ => None,
        }
    }

    /// As text: scalars as they are, everything else as JSON.
    pub fn text(&self) -> String {
        match self {
            Self::Null => String::new(),
            Self::Text(text) => text.clone(),
            Self::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Self::Bool(v) => v.to_string(),
            Self::Int(v) => v.to_string(),
            Self::Float(v) => v.to_string(),
            Self::Time(ns) => time_text(*ns),
            Self::List(_) | Self::Map(_) => self.to_json().to_string(),
        }
    }

    /// Of the configuration.
    ///
    /// # Errors
    /// If it is of a kind that data is not.
    pub fn of_config(value: &eval::Value) -> Result<Self, String> {
        use eval::Number;
        Ok(match value {
            eval::Value::Null => Self::Null,
            eval::Value::Bool(v) => Self::Bool(*v),
            eval::Value::Number(Number::Float(v)) => Self::Float(*v),
            eval::Value::Number(number) => Self::Int(number.as_i64()),
            eval::Value::String(text) => Self::Text(text.to_string()),
            eval::Value::Array(list) => {
                Self::List(list.iter().map(Self::of_config).collect::<Result<_, _>>()?)
            }
            eval::Value::Object(map) => {
                let pairs = map.iter().map(|(name, v)| Ok((name.clone(), Self::of_config(v)?)));
                Self::Map(pairs.collect::<Result<_, String>>()?)
            }
            _ => return Err("it must be text, a number, a boolean, a list or an object".into()),
        })
    }

    /// Of JSON. `ints`: whole numbers become whole numbers; otherwise every number is a float.
    pub fn of_json(json: serde_json::Value, ints: bool) -> Self {
        use serde_json::Value as Json;
        match json {
            Json::Null => Self::Null,
            Json::Bool(v) => Self::Bool(v),
            Json::Number(n) => match n.as_i64().filter(|_| ints) {
                Some(v) => Self::Int(v),
                None => Self::Float(n.as_f64().unwrap_or_default()),
            },
            Json::String(text) => Self::Text(text),
            Json::Array(list) => Self::List(list.into_iter().map(|v| Self::of_json(v, ints)).collect()),
            Json::Object(map) => {
                Self::Map(map.into_iter().map(|(name, v)| (name, Self::of_json(v, ints))).collect())
            }
        }
    }

    /// As JSON.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match self {
            Self::Null => Json::Null,
            Self::Bool(v) => Json::from(*v),
            Self::Int(v) => Json::from(*v),
            Self::Float(v) => Json::from(*v),
            Self::Text(text) => Json::from(text.as_str()),
            Self::Bytes(bytes) => Json::from(base64::engine::general_purpose::STANDARD.encode(bytes)),
            Self::Time(ns) => Json::from(time_text(*ns)),
            Self::List(list) => list.iter().map(Self::to_json).collect(),
            Self::Map(map) => Json::Object(map.iter().map(|(k, v)| (k.clone(), v.to_json())).collect()),
        }
    }

    /// As OTLP has it.
    pub fn into_any(self) -> AnyValue {
        let value = match self {
            Self::Null => None,
            Self::Bool(v) => Some(Any::BoolValue(v)),
            Self::Int(v) => Some(Any::IntValue(v)),
            Self::Float(v) => Some(Any::DoubleValue(v)),
            Self::Text(text) => Some(Any::StringValue(text)),
            Self::Bytes(bytes) => Some(Any::BytesValue(bytes)),
            Self::Time(ns) => Some(Any::StringValue(time_text(ns))),
            Self::List(list) => {
                let values = list.into_iter().map(Self::into_any).collect();
                Some(Any::ArrayValue(ArrayValue { values }))
            }
            Self::Map(map) => Some(Any::KvlistValue(KeyValueList { values: key_values(map) })),
        };
        AnyValue { value }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_string())
    }
}

/// A map as OTLP has attributes.
pub fn key_values(map: Map) -> Vec<KeyValue> {
    map.into_iter()
        .map(|(key, value)| KeyValue { key, value: Some(value.into_any()), ..KeyValue::default() })
        .collect()
}

/// As RFC 3339 writes a time.
pub fn time_text(ns: i64) -> String {
    Timestamp::from_nanosecond(ns.into()).map(|t| t.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_json_become_those_of_otlp() {
        let json = serde_json::json!({"a": [1, 2.5, null, true], "b": {"c": "x"}});
        let value = Value::of_json(json.clone(), true);
        assert_eq!(value.to_json(), json);
        let Some(Any::KvlistValue(map)) = value.into_any().value else { panic!("no map") };
        assert_eq!(map.values.iter().map(|kv| kv.key.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(Value::of_json(serde_json::json!(1), false), Value::Float(1.0));
    }

    #[test]
    fn values_are_text_as_people_write_them() {
        for (value, text) in [
            (Value::Null, ""),
            (Value::Int(-1), "-1"),
            (Value::Float(1.5), "1.5"),
            (Value::Time(1_500_000_000), "1970-01-01T00:00:01.5Z"),
            (Value::List(vec![Value::from("a"), Value::Int(1)]), r#"["a",1]"#),
        ] {
            assert_eq!(value.text(), text);
        }
    }
}

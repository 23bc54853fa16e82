//! What operators work on: one log record on its way, and places in it.

use std::fmt;

use signal::logs::Hold;
use signal::otlp::proto::logs::v1::LogRecord;

use super::value::{Map, Value, key_values};

/// One record.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When it happened, where that is known.
    pub timestamp_ns: Option<i64>,
    /// When it was read.
    pub observed_ns: i64,
    /// As OTLP numbers severities; 0 is none.
    pub severity: i32,
    /// As the source wrote it.
    pub severity_text: String,
    /// What it says.
    pub body: Value,
    /// Its attributes: always a map.
    pub attributes: Value,
    /// Attributes of where it is from: always a map.
    pub resource: Value,
    /// Its trace, 16 bytes or none.
    pub trace_id: Vec<u8>,
    /// Its span, 8 bytes or none.
    pub span_id: Vec<u8>,
    /// Flags of the trace.
    pub trace_flags: u8,
    /// Name of the scope.
    pub scope: String,
    /// What must stay until it has been taken.
    pub hold: Vec<Hold>,
}

impl Entry {
    /// With a body.
    pub fn new(body: Value, observed_ns: i64) -> Self {
        Self {
            timestamp_ns: None,
            observed_ns,
            severity: 0,
            severity_text: String::new(),
            body,
            attributes: Value::Map(Map::new()),
            resource: Value::Map(Map::new()),
            trace_id: Vec::new(),
            span_id: Vec::new(),
            trace_flags: 0,
            scope: String::new(),
            hold: Vec::new(),
        }
    }

    fn root(&self, root: Root) -> &Value {
        match root {
            Root::Body => &self.body,
            Root::Attributes => &self.attributes,
            Root::Resource => &self.resource,
        }
    }

    fn root_mut(&mut self, root: Root) -> &mut Value {
        match root {
            Root::Body => &mut self.body,
            Root::Attributes => &mut self.attributes,
            Root::Resource => &mut self.resource,
        }
    }

    /// What is at a place.
    pub fn get(&self, field: &Field) -> Option<&Value> {
        let mut at = self.root(field.root);
        for key in &field.keys {
            at = at.as_map()?.get(key)?;
        }
        let is_nothing = field.keys.is_empty() && field.root == Root::Body && *at == Value::Null;
        (!is_nothing).then_some(at)
    }

    /// Takes out what is at a place.
    pub fn take(&mut self, field: &Field) -> Option<Value> {
        let Some((last, before)) = field.keys.split_last() else {
            let root = self.root_mut(field.root);
            let empty = if field.root == Root::Body { Value::Null } else { Value::Map(Map::new()) };
            return Some(std::mem::replace(root, empty)).filter(|v| *v != Value::Null);
        };
        let mut at = self.root_mut(field.root);
        for key in before {
            at = at.as_map_mut()?.get_mut(key)?;
        }
        at.as_map_mut()?.shift_remove(last)
    }

    /// Puts a value at a place; what is on the way there and is no map is replaced by one. A map is put into the
    /// map that is there.
    ///
    /// # Errors
    /// If attributes would be no map.
    pub fn set(&mut self, field: &Field, value: Value) -> Result<(), Failure> {
        if let Value::Map(map) = value {
            let at = self.map_at(field);
            at.extend(map);
            return Ok(());
        }
        self.put(field, value)
    }

    /// As [`Entry::set`], but a map takes the place of what is there.
    ///
    /// # Errors
    /// If attributes would be no map.
    pub fn put(&mut self, field: &Field, value: Value) -> Result<(), Failure> {
        let Some((last, before)) = field.keys.split_last() else {
            if field.root != Root::Body && value.as_map().is_none() {
                return Err(Failure::new(format!("{field} cannot be a {}", value.kind())));
            }
            *self.root_mut(field.root) = value;
            return Ok(());
        };
        let parent = Field { root: field.root, keys: before.to_vec() };
        self.map_at(&parent).insert(last.clone(), value);
        Ok(())
    }

    fn map_at(&mut self, field: &Field) -> &mut Map {
        fn as_map(value: &mut Value) -> &mut Map {
            if value.as_map().is_none() {
                *value = Value::Map(Map::new());
            }
            value.as_map_mut().expect("it was made one")
        }
        let mut at = as_map(self.root_mut(field.root));
        for key in &field.keys {
            at = as_map(at.entry(key.clone()).or_default());
        }
        at
    }

    /// The attributes.
    pub fn attributes_mut(&mut self) -> &mut Map {
        self.map_at(&Field { root: Root::Attributes, keys: Vec::new() })
    }

    /// The resource.
    pub fn resource_mut(&mut self) -> &mut Map {
        self.map_at(&Field { root: Root::Resource, keys: Vec::new() })
    }

    /// As OTLP has it; the resource and the scope's name stand apart.
    pub fn into_record(self) -> (Map, String, LogRecord) {
        let map = |value| match value {
            Value::Map(map) => map,
            _ => Map::new(),
        };
        let record = LogRecord {
            time_unix_nano: self.timestamp_ns.and_then(|ns| u64::try_from(ns).ok()).unwrap_or(0),
            observed_time_unix_nano: u64::try_from(self.observed_ns).unwrap_or(0),
            severity_number: self.severity,
            severity_text: self.severity_text,
            body: (self.body != Value::Null).then(|| self.body.into_any()),
            attributes: key_values(map(self.attributes)),
            trace_id: self.trace_id,
            span_id: self.span_id,
            flags: self.trace_flags.into(),
            ..LogRecord::default()
        };
        (map(self.resource), self.scope, record)
    }
}

/// Why an operator could not do its work on an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure(pub String);

impl Failure {
    /// With a message.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The three maps of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Root {
    /// `body`
    Body,
    /// `attributes`
    Attributes,
    /// `resource`
    Resource,
}

/// A place in an entry: `body`, `attributes.a.b`, `resource["a.b"]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Field {
    /// Where it starts.
    pub root: Root,
    /// Names on the way.
    pub keys: Vec<String>,
}

impl Field {
    /// Below the attributes.
    pub fn attribute(name: &str) -> Self {
        Self { root: Root::Attributes, keys: vec![name.to_string()] }
    }

    /// The body as a whole.
    pub fn body() -> Self {
        Self { root: Root::Body, keys: Vec::new() }
    }

    /// The attributes as a whole.
    pub fn attributes() -> Self {
        Self { root: Root::Attributes, keys: Vec::new() }
    }

    /// Reads a place.
    ///
    /// # Errors
    /// If it starts with none of the three names, or a bracket or quote is missing.
    pub fn parse(text: &str) -> Result<Self, String> {
        let keys = split(text).ok_or_else(|| format!("{text:?} is no field: {HOW}"))?;
        let mut keys = keys.into_iter();
        let root = match keys.next().as_deref() {
            Some("body" | "$body") => Root::Body,
            Some("attributes" | "$attributes") => Root::Attributes,
            Some("resource" | "$resource") => Root::Resource,
            _ => return Err(format!("{text:?} is no field: {HOW}")),
        };
        Ok(Self { root, keys: keys.collect() })
    }
}

const HOW: &str = "write body, attributes.name, resource[\"a.b\"]";

fn split(text: &str) -> Option<Vec<String>> {
    let mut keys = Vec::new();
    let mut rest = text;
    loop {
        if let Some(inner) = rest.strip_prefix('[') {
            let quote = inner.chars().next().filter(|c| matches!(c, '"' | '\''))?;
            let end = inner[1..].find(quote)? + 1;
            keys.push(inner[1..end].to_string());
            rest = inner[end + 1..].strip_prefix(']')?;
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            if end == 0 || rest[..end].contains([']', '"', '\'']) {
                return None;
            }
            keys.push(rest[..end].to_string());
            rest = &rest[end..];
        }
        if rest.is_empty() {
            return Some(keys);
        }
        if let Some(next) = rest.strip_prefix('.') {
            rest = next;
        } else if !rest.starts_with('[') {
            return None;
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.root {
            Root::Body => "body",
            Root::Attributes => "attributes",
            Root::Resource => "resource",
        })?;
        // As it would be read: between quotes nothing is escaped.
        self.keys.iter().try_for_each(|key| match key.contains('"') {
            true => write!(f, "['{key}']"),
            false if key.is_empty() || key.contains(['.', '[', ']', '\'', ' ']) => write!(f, "[\"{key}\"]"),
            false => write!(f, ".{key}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_with_dots_and_brackets() {
        for (text, shown) in [
            ("body", "body"),
            ("attributes.a.b", "attributes.a.b"),
            ("resource[\"a.b\"].c", "resource[\"a.b\"].c"),
            ("attributes['a']['b']", "attributes.a.b"),
            ("body.a[\"b c\"]", "body.a[\"b c\"]"),
            ("body['it\"s']['a\\b.c']", "body['it\"s'][\"a\\b.c\"]"),
            ("body[\"it's\"][\"a\u{1}.\"][\"\"]", "body[\"it's\"][\"a\u{1}.\"][\"\"]"),
        ] {
            let field = Field::parse(text).unwrap();
            assert_eq!(field.to_string(), shown, "{text}");
            assert_eq!(Field::parse(shown), Ok(field), "{text}");
        }
        for text in ["", "a", "body.", "body[", "body[a]", "body[\"a\"", "body..a", "attributes]x", ".body"] {
            assert!(Field::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn values_are_put_where_they_belong_and_maps_are_joined() {
        let mut entry = Entry::new(Value::from("text"), 0);
        let field = |text: &str| Field::parse(text).unwrap();
        entry.set(&field("attributes.a.b"), Value::Int(1)).unwrap();
        entry.set(&field("attributes.a"), Value::Map(Map::from([("c".to_string(), Value::Int(2))]))).unwrap();
        assert_eq!(entry.attributes.to_json(), serde_json::json!({"a": {"b": 1, "c": 2}}));
        assert_eq!(entry.get(&field("attributes.a.c")), Some(&Value::Int(2)));
        assert_eq!(entry.get(&field("attributes.a.c.d")), None);
        assert!(entry.set(&field("attributes"), Value::Int(1)).is_err());
        entry.set(&field("body.x"), Value::Int(3)).unwrap();
        assert_eq!(entry.body.to_json(), serde_json::json!({"x": 3}), "text gives way to a map");
        assert_eq!(entry.take(&field("attributes.a.b")), Some(Value::Int(1)));
        assert_eq!(entry.take(&field("attributes.a.b")), None);
        assert!(entry.take(&field("body")).is_some() && entry.get(&field("body")).is_none());
    }
}

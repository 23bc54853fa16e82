//! The `action` blocks: what is done to a list of attributes.
//!
//! As the collector's `attraction` package, with SHA-256 for `hash`.

use component::eval::{Number, Value};
use component::{ArgEnum, Arguments, Error};
use sha2::{Digest as _, Sha256};
use signal::Regex;
use signal::otlp::ClientMetadata;
use signal::otlp::proto::common::v1::any_value::Value as Kind;
use signal::otlp::proto::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};

use crate::value;

/// One thing to do to the attributes of each item.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct ActionArgs {
    /// The attribute.
    #[arg(default)]
    pub key: String,
    /// A value to set.
    #[arg(default)]
    pub value: Value,
    /// An RE2 expression: keys to delete or hash, or what to extract from the value.
    #[arg(default)]
    pub pattern: String,
    /// The attribute whose value is set.
    #[arg(default)]
    pub from_attribute: String,
    /// What of the client is set: `metadata.<name>` or `client.address`.
    #[arg(default)]
    pub from_context: String,
    /// `string`, `int` or `double`.
    #[arg(default)]
    pub converted_type: String,
    /// What to do.
    #[arg(code_type = "string")]
    pub action: Verb,
}

/// What to do to an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ArgEnum)]
#[arg(ignore_case)]
pub enum Verb {
    /// Set it where it is not there.
    Insert,
    /// Set it where it is there.
    Update,
    /// Set it.
    Upsert,
    /// Take it away.
    Delete,
    /// Put the SHA-256 hash of its value in its place.
    Hash,
    /// Make attributes of the named groups of a pattern.
    Extract,
    /// Give its value another type.
    Convert,
}

/// A checked action.
#[derive(Debug)]
pub(super) struct Action {
    key: String,
    kind: What,
}

#[derive(Debug)]
enum What {
    Set { if_absent: bool, if_present: bool, source: Source },
    Delete(Option<Regex>),
    Hash(Option<Regex>),
    Extract { pattern: Regex, names: Vec<String> },
    Convert(Target),
}

#[derive(Debug)]
enum Source {
    Value(AnyValue),
    Attribute(String),
    /// All values of a header, in lower case.
    Metadata(String),
    Address,
}

#[derive(Clone, Copy, Debug)]
enum Target {
    Text,
    Int,
    Double,
}

fn wrong(verb: Verb, message: impl std::fmt::Display) -> Error {
    Error::argument("action", format!("{}: {message}", verb.as_str()))
}

impl Action {
    pub(super) fn new(args: &ActionArgs) -> Result<Self, Error> {
        let verb = args.action;
        let by_pattern = matches!(verb, Verb::Delete | Verb::Hash);
        if args.key.is_empty() && (!by_pattern || args.pattern.is_empty()) {
            return Err(wrong(verb, if by_pattern { "needs key or pattern" } else { "needs key" }));
        }
        let sources =
            [args.value != Value::Null, !args.from_attribute.is_empty(), !args.from_context.is_empty()];
        let sources = sources.into_iter().filter(|set| *set).count();
        let sets = matches!(verb, Verb::Insert | Verb::Update | Verb::Upsert);
        if sets && sources != 1 {
            return Err(wrong(verb, "needs exactly one of value, from_attribute and from_context"));
        }
        if !sets && sources > 0 {
            return Err(wrong(verb, "does not use value, from_attribute or from_context"));
        }
        if !args.pattern.is_empty() && !by_pattern && verb != Verb::Extract {
            return Err(wrong(verb, "does not use pattern"));
        }
        if !args.converted_type.is_empty() && verb != Verb::Convert {
            return Err(wrong(verb, "does not use converted_type"));
        }
        let regex = |pattern: &str| Regex::new(pattern).map_err(|error| wrong(verb, error));
        let pattern = |pattern: &str| if pattern.is_empty() { Ok(None) } else { regex(pattern).map(Some) };
        let kind = match verb {
            Verb::Insert | Verb::Update | Verb::Upsert => What::Set {
                if_absent: verb != Verb::Update,
                if_present: verb != Verb::Insert,
                source: source(args)?,
            },
            Verb::Delete => What::Delete(pattern(&args.pattern)?),
            Verb::Hash => What::Hash(pattern(&args.pattern)?),
            Verb::Extract => extract(args, regex(&args.pattern)?)?,
            Verb::Convert => What::Convert(match args.converted_type.as_str() {
                "string" => Target::Text,
                "int" => Target::Int,
                "double" => Target::Double,
                _ => return Err(wrong(verb, "converted_type must be string, int or double")),
            }),
        };
        Ok(Self { key: args.key.clone(), kind })
    }

    /// Does it; whether anything has changed.
    pub(super) fn apply(&self, attributes: &mut Vec<KeyValue>, client: Option<&ClientMetadata>) -> bool {
        match &self.kind {
            What::Set { if_absent, if_present, source } => {
                let present = attributes.iter().position(|a| a.key == self.key);
                if !(if present.is_some() { *if_present } else { *if_absent }) {
                    return false;
                }
                let Some(value) = source.value(attributes, client) else { return false };
                put(attributes, present, &self.key, value)
            }
            What::Delete(pattern) => {
                let before = attributes.len();
                attributes.retain(|a| !self.names(&a.key, pattern.as_ref()));
                attributes.len() != before
            }
            What::Hash(pattern) => {
                let mut changed = false;
                for a in attributes.iter_mut().filter(|a| self.names(&a.key, pattern.as_ref())) {
                    a.value = Some(text(hash(a.value.as_ref())));
                    changed = true;
                }
                changed
            }
            What::Extract { pattern, names } => self.extract(pattern, names, attributes),
            What::Convert(target) => {
                let found = attributes.iter_mut().find(|a| a.key == self.key);
                let converted = found.and_then(|a| Some((converted(a.value.as_ref(), *target)?, a)));
                converted.is_some_and(|(value, a)| {
                    a.value = Some(value);
                    true
                })
            }
        }
    }

    fn names(&self, key: &str, pattern: Option<&Regex>) -> bool {
        (!self.key.is_empty() && key == self.key) || pattern.is_some_and(|p| p.is_match(key))
    }

    fn extract(&self, pattern: &Regex, names: &[String], attributes: &mut Vec<KeyValue>) -> bool {
        let found = attributes.iter().find(|a| a.key == self.key).and_then(|a| a.value.as_ref());
        let Some(Kind::StringValue(from)) = found.and_then(|v| v.value.as_ref()) else { return false };
        let Some(groups) = pattern.captures(from) else { return false };
        let values: Vec<_> =
            (1..=names.len()).map(|group| groups.get(group).unwrap_or_default().to_string()).collect();
        for (name, value) in names.iter().zip(values) {
            let present = attributes.iter().position(|a| a.key == *name);
            put(attributes, present, name, text(value));
        }
        true
    }
}

fn source(args: &ActionArgs) -> Result<Source, Error> {
    if args.value != Value::Null {
        return Ok(Source::Value(any(&args.value).ok_or_else(|| {
            wrong(args.action, "value must be a string, a number, a bool, or a list or object of those")
        })?));
    }
    if !args.from_attribute.is_empty() {
        return Ok(Source::Attribute(args.from_attribute.clone()));
    }
    match args.from_context.as_str() {
        "client.address" => Ok(Source::Address),
        context if context.starts_with("auth.") => Err(wrong(
            args.action,
            "from_context: what a receiver's authentication says of a client is not kept",
        )),
        context => Ok(Source::Metadata(context.strip_prefix("metadata.").unwrap_or(context).to_lowercase())),
    }
}

fn extract(args: &ActionArgs, pattern: Regex) -> Result<What, Error> {
    if args.pattern.is_empty() {
        return Err(wrong(args.action, "needs pattern"));
    }
    let names: Option<Vec<_>> = pattern.group_names().skip(1).map(|n| n.map(str::to_string)).collect();
    match names {
        Some(names) if !names.is_empty() => Ok(What::Extract { pattern, names }),
        Some(_) => Err(wrong(args.action, "pattern has no named groups")),
        None => Err(wrong(args.action, "all groups of pattern must have a name")),
    }
}

impl Source {
    fn value(&self, attributes: &[KeyValue], client: Option<&ClientMetadata>) -> Option<AnyValue> {
        match self {
            Self::Value(value) => Some(value.clone()),
            Self::Attribute(key) => {
                attributes.iter().find(|a| a.key == *key).map(|a| a.value.clone().unwrap_or_default())
            }
            Self::Metadata(name) => {
                let values: Vec<_> = client?.values(name).collect();
                (!values.is_empty()).then(|| text(values.join(";")))
            }
            Self::Address => {
                let peer = &client?.peer;
                let address = peer.parse::<std::net::SocketAddr>().map(|a| a.ip().to_string());
                (!peer.is_empty()).then(|| text(address.unwrap_or_else(|_| peer.clone())))
            }
        }
    }
}

fn put(attributes: &mut Vec<KeyValue>, present: Option<usize>, key: &str, value: AnyValue) -> bool {
    let value = Some(value);
    match present {
        Some(at) if attributes[at].value == value => return false,
        Some(at) => attributes[at].value = value,
        None => attributes.push(KeyValue { key: key.to_string(), value, ..KeyValue::default() }),
    }
    true
}

fn text(text: String) -> AnyValue {
    AnyValue { value: Some(Kind::StringValue(text)) }
}

/// In hexadecimal; nothing for what has no bytes of its own.
fn hash(value: Option<&AnyValue>) -> String {
    let bytes = match value.and_then(|v| v.value.as_ref()) {
        Some(Kind::StringValue(text)) => text.as_bytes().to_vec(),
        Some(Kind::BoolValue(v)) => vec![u8::from(*v)],
        Some(Kind::IntValue(v)) => v.to_le_bytes().to_vec(),
        Some(Kind::DoubleValue(v)) => v.to_bits().to_le_bytes().to_vec(),
        _ => Vec::new(),
    };
    if bytes.is_empty() { String::new() } else { const_hex::encode(Sha256::digest(&bytes)) }
}

/// The value with another type; `None` where it has that type or cannot have it.
fn converted(value: Option<&AnyValue>, target: Target) -> Option<AnyValue> {
    let kind = value.and_then(|v| v.value.as_ref());
    let new = match (target, kind) {
        (Target::Text, Some(Kind::StringValue(_))) => return None,
        (Target::Text, _) => Kind::StringValue(value::text(value)),
        (Target::Int, Some(Kind::DoubleValue(v))) => Kind::IntValue(*v as i64),
        (Target::Int, Some(Kind::BoolValue(v))) => Kind::IntValue(i64::from(*v)),
        (Target::Int, Some(Kind::StringValue(text))) => Kind::IntValue(text.parse().ok()?),
        (Target::Double, Some(Kind::IntValue(v))) => Kind::DoubleValue(*v as f64),
        (Target::Double, Some(Kind::BoolValue(v))) => Kind::DoubleValue(f64::from(u8::from(*v))),
        (Target::Double, Some(Kind::StringValue(text))) => Kind::DoubleValue(text.parse().ok()?),
        _ => return None,
    };
    Some(AnyValue { value: Some(new) })
}

/// A value of the configuration as an attribute's; `None` for what attributes cannot hold.
pub(super) fn any(value: &Value) -> Option<AnyValue> {
    let kind = match value {
        Value::Null => return Some(AnyValue::default()),
        Value::Bool(v) => Kind::BoolValue(*v),
        Value::Number(Number::Float(v)) => Kind::DoubleValue(*v),
        Value::Number(v) => Kind::IntValue(v.as_i64()),
        Value::String(text) => Kind::StringValue(text.to_string()),
        Value::Array(list) => {
            Kind::ArrayValue(ArrayValue { values: list.iter().map(any).collect::<Option<_>>()? })
        }
        Value::Object(map) => {
            let entry = |(key, value): (&String, &Value)| {
                Some(KeyValue { key: key.clone(), value: Some(any(value)?), ..KeyValue::default() })
            };
            Kind::KvlistValue(KeyValueList { values: map.iter().map(entry).collect::<Option<_>>()? })
        }
        _ => return None,
    };
    Some(AnyValue { value: Some(kind) })
}

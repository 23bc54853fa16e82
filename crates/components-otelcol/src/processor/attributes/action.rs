//! The `action` blocks: what is done to a list of attributes.
//!
//! As the collector's `attraction` package, with SHA-256 for `hash`.

#[cfg(test)]
mod decoded;

use std::borrow::Cow;

use component::eval::{Number, Value};
use component::{ArgEnum, Arguments, Error};
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use signal::Regex;
use signal::otlp::ClientMetadata;
use signal::otlp::proto::common::v1::any_value::Value as Kind;
use signal::otlp::proto::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use wire::otlp::view::{self, Any, Unclear};
use wire::otlp::{AttributeList, text_value};

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
    /// Serialised.
    Value(Vec<u8>),
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

    /// Whether it has to do with an attribute of a key.
    pub(super) fn concerns(&self, key: &[u8]) -> bool {
        self.key.as_bytes() == key
            || match &self.kind {
                What::Set { source: Source::Attribute(from), .. } => from.as_bytes() == key,
                What::Delete(pattern) | What::Hash(pattern) => pattern.is_some(),
                What::Extract { names, .. } => names.iter().any(|name| name.as_bytes() == key),
                _ => false,
            }
    }

    /// Does it to the attributes that it [concerns](Self::concerns).
    pub(super) fn apply<'a>(
        &'a self,
        list: &mut AttributeList<'a>,
        client: Option<&ClientMetadata>,
    ) -> Result<(), Unclear> {
        let key = self.key.as_bytes();
        match &self.kind {
            What::Set { if_absent, if_present, source } => {
                let present = list.find(key);
                if if present.is_some() { *if_present } else { *if_absent }
                    && let Some(value) = source.value(list, client)
                {
                    put(list, present, key, value);
                }
            }
            What::Delete(pattern) => {
                for at in list.places() {
                    if self.names(list.key(at), pattern.as_ref())? {
                        list.remove(at);
                    }
                }
            }
            What::Hash(pattern) => {
                for at in list.places() {
                    if self.names(list.key(at), pattern.as_ref())? {
                        let hash = hash(view::any_or_empty(list.value(at))?);
                        list.set(at, Cow::Owned(text_value(hash.as_bytes())));
                    }
                }
            }
            What::Extract { pattern, names } => {
                let Some(at) = list.find(key) else { return Ok(()) };
                let Any::Text(from) = view::any_or_empty(list.value(at))? else { return Ok(()) };
                let Some(groups) = pattern.captures(view::text(from)?) else { return Ok(()) };
                let value = |group| text_value(groups.get(group).unwrap_or_default().as_bytes());
                let values: Vec<_> = (1..=names.len()).map(value).collect();
                for (name, value) in names.iter().zip(values) {
                    let present = list.find(name.as_bytes());
                    put(list, present, name.as_bytes(), Cow::Owned(value));
                }
            }
            What::Convert(target) => {
                let Some(at) = list.find(key) else { return Ok(()) };
                if let Some(value) = converted(list.value(at), *target)? {
                    list.set(at, Cow::Owned(value));
                }
            }
        }
        Ok(())
    }

    fn names(&self, key: Option<&[u8]>, pattern: Option<&Regex>) -> Result<bool, Unclear> {
        let Some(key) = key else { return Ok(false) };
        if !self.key.is_empty() && key == self.key.as_bytes() {
            return Ok(true);
        }
        Ok(match pattern {
            Some(pattern) => pattern.is_match(view::text(key)?),
            None => false,
        })
    }
}

fn source(args: &ActionArgs) -> Result<Source, Error> {
    if args.value != Value::Null {
        let value = any(&args.value).ok_or_else(|| {
            wrong(args.action, "value must be a string, a number, a bool, or a list or object of those")
        })?;
        return Ok(Source::Value(value.encode_to_vec()));
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
    fn value<'a>(
        &'a self,
        list: &AttributeList<'a>,
        client: Option<&ClientMetadata>,
    ) -> Option<Cow<'a, [u8]>> {
        let text = |text: &str| Cow::Owned(text_value(text.as_bytes()));
        match self {
            Self::Value(value) => Some(Cow::Borrowed(value)),
            // An attribute without a value is one with an empty one.
            Self::Attribute(key) => {
                let at = list.find(key.as_bytes())?;
                Some(list.value_to_keep(at).unwrap_or_default())
            }
            Self::Metadata(name) => {
                let values: Vec<_> = client?.values(name).collect();
                (!values.is_empty()).then(|| text(&values.join(";")))
            }
            Self::Address => {
                let peer = &client?.peer;
                let address = peer.parse::<std::net::SocketAddr>().map(|a| a.ip().to_string());
                (!peer.is_empty()).then(|| text(address.as_deref().unwrap_or(peer)))
            }
        }
    }
}

/// Nothing is done where the value is there already.
fn put<'a>(list: &mut AttributeList<'a>, present: Option<usize>, key: &'a [u8], value: Cow<'a, [u8]>) {
    match present {
        Some(at) if list.value(at) == Some(&*value) => {}
        Some(at) => list.set(at, value),
        None => list.push(Cow::Borrowed(key), Some(value)),
    }
}

/// In hexadecimal; nothing for what has no bytes of its own.
fn hash(value: Any<'_>) -> String {
    let hash = |bytes: &[u8]| match bytes {
        [] => String::new(),
        bytes => const_hex::encode(Sha256::digest(bytes)),
    };
    match value {
        Any::Text(text) => hash(text),
        Any::Bool(v) => hash(&[u8::from(v)]),
        Any::Int(v) => hash(&v.to_le_bytes()),
        Any::Double(v) => hash(&v.to_bits().to_le_bytes()),
        _ => String::new(),
    }
}

/// The serialised value with another type; `None` where it has that type or cannot have it.
fn converted(value: Option<&[u8]>, target: Target) -> Result<Option<Vec<u8>>, Unclear> {
    let any = view::any_or_empty(value)?;
    let text = |bytes| view::text(bytes);
    let new = match (target, any) {
        (Target::Text, Any::Text(_)) => return Ok(None),
        (Target::Text, _) => return Ok(Some(text_value(value::text_of(value)?.as_bytes()))),
        (Target::Int, Any::Double(v)) => Some(Kind::IntValue(v as i64)),
        (Target::Int, Any::Bool(v)) => Some(Kind::IntValue(i64::from(v))),
        (Target::Int, Any::Text(bytes)) => text(bytes)?.parse().ok().map(Kind::IntValue),
        (Target::Double, Any::Int(v)) => Some(Kind::DoubleValue(v as f64)),
        (Target::Double, Any::Bool(v)) => Some(Kind::DoubleValue(f64::from(u8::from(v)))),
        (Target::Double, Any::Text(bytes)) => text(bytes)?.parse().ok().map(Kind::DoubleValue),
        _ => None,
    };
    Ok(new.map(|value| AnyValue { value: Some(value) }.encode_to_vec()))
}

/// A value of the configuration as an attribute's; `None` for what attributes cannot hold.
pub(crate) fn any(value: &Value) -> Option<AnyValue> {
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

//! Paths: looked up once in the tables of the contexts, then a field and its keys.
//!
//! Reading borrows from the message. Writing into what is not there makes it, as upstream: a missing key, a
//! map or list below an empty value.

mod attributes;
mod client;
mod log;
mod metric;
mod resource;
mod span;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use signal::otlp::proto::common::v1::{AnyValue, KeyValue};
use smallvec::SmallVec;

use crate::ast;
use crate::context::{Context, Item, RecordMut, View};
use crate::error::{EvalError, Mistake};
use crate::expr::{Env, Expr};
use crate::value::Value;

pub(crate) use attributes::index;
pub(crate) use client::PREFIX;

/// A field of an item or of what surrounds it, and the keys into it.
#[derive(Debug)]
pub(crate) struct Path {
    field: Field,
    keys: Vec<Key>,
    /// As it was written.
    pub(crate) text: String,
}

#[derive(Debug)]
pub(crate) enum Key {
    Text(String),
    Int(i64),
    Dynamic(Expr),
}

/// A key whose value is known.
#[derive(Debug)]
pub(crate) enum KeyAt<'k> {
    Text(Cow<'k, str>),
    Int(i64),
}

type Keys<'k> = SmallVec<[KeyAt<'k>; 2]>;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Field {
    Cache,
    Client(client::ClientField),
    Resource(resource::ResourceField),
    Scope(resource::ScopeField),
    Span(span::SpanField),
    Event(span::EventField),
    Metric(metric::MetricField),
    Point(metric::PointField),
    Log(log::LogField),
}

/// Where keys lead into.
enum Place<'m> {
    Map(&'m mut Vec<KeyValue>),
    Any(&'m mut Option<AnyValue>),
    TraceState(&'m mut String),
    /// The message has no such thing, for example a data point that was removed.
    Nowhere,
}

impl Key {
    pub(crate) fn at<'k>(&'k self, env: &Env<'_>) -> Result<KeyAt<'k>, EvalError> {
        Ok(match self {
            Self::Text(text) => KeyAt::Text(Cow::Borrowed(text)),
            Self::Int(at) => KeyAt::Int(*at),
            Self::Dynamic(expr) => match expr.eval(env)? {
                Value::Str(text) => KeyAt::Text(Cow::Owned(text.into_owned())),
                Value::Int(at) => KeyAt::Int(at),
                other => {
                    let message = format!("a key has to be a string or an int, but is {}", other.type_name());
                    return Err(EvalError::new(message));
                }
            },
        })
    }
}

impl Path {
    /// Looks a path up; `keys` are those of its last field.
    pub(crate) fn resolve(
        context: Context,
        path: &ast::Path,
        text: &str,
        keys: Vec<Key>,
    ) -> Result<Self, Mistake> {
        let names: Vec<&str> = path.fields.iter().map(|f| f.name.as_str()).collect();
        let whole =
            path.fields.first().map_or(0, |f| f.span.start)..path.fields.last().map_or(0, |f| f.span.end);
        if let Some(field) = path.fields.iter().rev().skip(1).find(|f| !f.keys.is_empty()) {
            let message = format!("`{}` is not the last field of the path and cannot have a key", field.name);
            return Err(Mistake::new(field.span.clone(), message));
        }
        if names[0] == client::PREFIX && names.len() > 1 {
            let field = client::field(&names[1..].join("."), !keys.is_empty())
                .map_err(|(message, help)| Mistake::new(whole, message).with_help(help))?;
            return Ok(Self { field: Field::Client(field), keys, text: text.to_owned() });
        }
        let (about, rest) = match Context::from_name(names[0]) {
            Some(prefix) if names.len() > 1 => (prefix, &names[1..]),
            _ => (context, &names[..]),
        };
        if !context.around().contains(&about) {
            let message = format!("`{}` cannot be reached from the context {}", about.name(), context.name());
            let around: Vec<&str> = context.around().iter().map(|c| c.name()).collect();
            return Err(Mistake::new(path.fields[0].span.clone(), message)
                .with_help(format!("paths may begin with {}", around.join(", "))));
        }
        let name = rest.join(".");
        let known = fields(about);
        let found = known.iter().find(|(known, _)| *known == name);
        let Some((_, field)) = found.filter(|(_, field)| *field != Field::Cache || about == context) else {
            let message = format!("`{name}` is no field of the context {}", about.name());
            let mistake = Mistake::new(whole, message);
            return Err(mistake.did_you_mean(&name, known.iter().map(|(name, _)| *name)));
        };
        if !keys.is_empty() && !field.takes_keys() {
            return Err(Mistake::new(whole, format!("`{name}` cannot be indexed")));
        }
        if keys.len() > 1 && *field == Field::Span(span::SpanField::TraceState) {
            return Err(Mistake::new(whole, "`trace_state` takes exactly one key"));
        }
        Ok(Self { field: *field, keys, text: text.to_owned() })
    }

    /// Whether it leads to what is known of the client, which nothing can change.
    pub(crate) fn is_of_client(&self) -> bool {
        matches!(self.field, Field::Client(_))
    }

    /// Reads.
    pub(crate) fn get<'a>(&'a self, env: &Env<'a>) -> Result<Value<'a>, EvalError> {
        if let Field::Client(field) = self.field {
            return field
                .get(env, &self.keys)
                .map_err(|error| EvalError::new(format!("{}: {error}", self.text)));
        }
        if self.keys.is_empty() {
            return Ok(self.field.get(&env.view));
        }
        if self.field == Field::Span(span::SpanField::TraceState) {
            return span::trace_state(&env.view, &self.keys[0].at(env)?);
        }
        index(self.field.get(&env.view), &self.keys, env)
            .map_err(|error| EvalError::new(format!("{}: {error}", self.text)))
    }

    /// Writes.
    pub(crate) fn set(&self, item: &mut Item<'_>, value: Value<'static>) -> Result<(), EvalError> {
        let named = |error: EvalError| EvalError::new(format!("{}: {error}", self.text));
        if self.keys.is_empty() {
            return self.field.set(item, value).map_err(named);
        }
        let keys = self.keys(item)?;
        match self.field.place(item) {
            Place::Map(map) => attributes::set_in_map(map, &keys, value),
            Place::Any(any) => attributes::set_in_body(any, &keys, value),
            Place::TraceState(state) => span::set_trace_state(state, &keys[0], value),
            Place::Nowhere => Ok(()),
        }
        .map_err(named)
    }

    /// The map that the path leads to, for changing it in place.
    pub(crate) fn map<'i>(&self, item: &'i mut Item<'_>) -> Result<&'i mut Vec<KeyValue>, EvalError> {
        let keys = self.keys(item)?;
        let found = match self.field.place(item) {
            Place::Map(map) => attributes::map_at(map, &keys),
            Place::Any(any) => attributes::body_map_at(any, &keys),
            Place::TraceState(_) | Place::Nowhere => Err("nil"),
        };
        found.map_err(|other| EvalError::new(format!("{}: expected a map, but it is {other}", self.text)))
    }

    fn keys(&self, item: &Item<'_>) -> Result<Keys<'_>, EvalError> {
        let dynamic = self.keys.iter().any(|key| matches!(key, Key::Dynamic(_)));
        if !dynamic {
            return Ok(self
                .keys
                .iter()
                .filter_map(|key| match key {
                    Key::Text(text) => Some(KeyAt::Text(Cow::Borrowed(text.as_str()))),
                    Key::Int(at) => Some(KeyAt::Int(*at)),
                    Key::Dynamic(_) => None,
                })
                .collect());
        }
        let env = Env::of(item.view());
        self.keys.iter().map(|key| key.at(&env)).collect()
    }
}

/// The fields of a context.
fn fields(context: Context) -> Vec<(&'static str, Field)> {
    let mut fields: Vec<(&'static str, Field)> = match context {
        Context::Resource => resource::RESOURCE.iter().map(|(n, f)| (*n, Field::Resource(*f))).collect(),
        Context::Scope => resource::SCOPE.iter().map(|(n, f)| (*n, Field::Scope(*f))).collect(),
        Context::Span => span::SPAN.iter().map(|(n, f)| (*n, Field::Span(*f))).collect(),
        Context::SpanEvent => span::EVENT.iter().map(|(n, f)| (*n, Field::Event(*f))).collect(),
        Context::Metric => metric::METRIC.iter().map(|(n, f)| (*n, Field::Metric(*f))).collect(),
        Context::DataPoint => metric::POINT.iter().map(|(n, f)| (*n, Field::Point(*f))).collect(),
        Context::Log => log::LOG.iter().map(|(n, f)| (*n, Field::Log(*f))).collect(),
    };
    fields.push(("cache", Field::Cache));
    fields
}

impl Field {
    fn takes_keys(self) -> bool {
        match self {
            Self::Cache => true,
            Self::Client(field) => field.takes_keys(),
            Self::Resource(field) => field == resource::ResourceField::Attributes,
            Self::Scope(field) => field == resource::ScopeField::Attributes,
            Self::Span(field) => matches!(field, span::SpanField::Attributes | span::SpanField::TraceState),
            Self::Event(field) => field == span::EventField::Attributes,
            Self::Metric(field) => field == metric::MetricField::Metadata,
            Self::Point(field) => field == metric::PointField::Attributes,
            Self::Log(field) => matches!(field, log::LogField::Attributes | log::LogField::Body),
        }
    }

    fn get<'a>(self, view: &View<'a>) -> Value<'a> {
        match self {
            Self::Cache => Value::Map(Cow::Borrowed(view.cache)),
            Self::Client(field) => field.whole(view),
            Self::Resource(field) => field.get(view),
            Self::Scope(field) => field.get(view),
            Self::Span(field) => view.span_of().map_or(Value::Nil, |span| field.get(span)),
            Self::Event(field) => field.get(view),
            Self::Metric(field) => view.metric_of().map_or(Value::Nil, |metric| field.get(metric)),
            Self::Point(field) => field.get(view),
            Self::Log(field) => field.get(view),
        }
    }

    fn set(self, item: &mut Item<'_>, value: Value<'static>) -> Result<(), EvalError> {
        match self {
            Self::Cache => attributes::set_map(item.cache, value),
            Self::Client(_) => Err(EvalError::new("what is known of the client can only be read")),
            Self::Resource(field) => field.set(item, value),
            Self::Scope(field) => field.set(item, value),
            Self::Span(field) => match &mut item.record {
                RecordMut::Span(span) | RecordMut::Event(span, _) => field.set(span, value),
                _ => Ok(()),
            },
            Self::Event(field) => field.set(item, value),
            Self::Metric(field) => match &mut item.record {
                RecordMut::Metric(metric, _) | RecordMut::Point(metric, ..) => field.set(metric, value),
                _ => Ok(()),
            },
            Self::Point(field) => field.set(item, value),
            Self::Log(field) => match &mut item.record {
                RecordMut::Log(record) => field.set(record, value),
                _ => Ok(()),
            },
        }
    }

    fn place<'i>(self, item: &'i mut Item<'_>) -> Place<'i> {
        match (self, &mut item.record) {
            (Self::Cache, _) => Place::Map(item.cache),
            (Self::Resource(_), _) => Place::Map(&mut item.resource.get_or_insert_default().attributes),
            (Self::Scope(_), _) => Place::Map(&mut item.scope.get_or_insert_default().attributes),
            (Self::Span(field), RecordMut::Span(span) | RecordMut::Event(span, _)) => match field {
                span::SpanField::TraceState => Place::TraceState(&mut span.trace_state),
                _ => Place::Map(&mut span.attributes),
            },
            (Self::Event(_), RecordMut::Event(span, at)) => match span.events.get_mut(*at) {
                Some(event) => Place::Map(&mut event.attributes),
                None => Place::Nowhere,
            },
            (Self::Metric(_), RecordMut::Metric(metric, _) | RecordMut::Point(metric, ..)) => {
                Place::Map(&mut metric.metadata)
            }
            (Self::Point(_), RecordMut::Point(metric, at, _)) => match metric::attributes(metric, *at) {
                Some(map) => Place::Map(map),
                None => Place::Nowhere,
            },
            (Self::Log(field), RecordMut::Log(record)) => match field {
                log::LogField::Body => Place::Any(&mut record.body),
                _ => Place::Map(&mut record.attributes),
            },
            _ => Place::Nowhere,
        }
    }
}

/// A value of the wrong kind for a field.
fn wrong(expected: &str, value: &Value<'_>) -> EvalError {
    EvalError::new(format!("expected {expected}, but got {}", value.type_name()))
}

fn as_int(value: &Value<'_>) -> Result<i64, EvalError> {
    if let Value::Int(v) = value { Ok(*v) } else { Err(wrong("an int", value)) }
}

fn as_double(value: &Value<'_>) -> Result<f64, EvalError> {
    if let Value::Double(v) = value { Ok(*v) } else { Err(wrong("a double", value)) }
}

fn as_bool(value: &Value<'_>) -> Result<bool, EvalError> {
    if let Value::Bool(v) = value { Ok(*v) } else { Err(wrong("a bool", value)) }
}

fn as_str(value: Value<'static>) -> Result<String, EvalError> {
    if let Value::Str(v) = value { Ok(v.into_owned()) } else { Err(wrong("a string", &value)) }
}

/// Unix nanoseconds of a field, as an int.
fn nanos(field: u64) -> Value<'static> {
    Value::Int(field as i64)
}

/// Unix nanoseconds of a field, as a time.
fn time(field: u64) -> Value<'static> {
    Value::Time(crate::value::Time::from_nanos(field as i64))
}

fn as_time(value: &Value<'_>) -> Result<u64, EvalError> {
    if let Value::Time(v) = value { Ok(v.nanos() as u64) } else { Err(wrong("a time", value)) }
}

/// An identity in hexadecimal, of so many bytes.
fn as_hex(value: Value<'static>, bytes: usize) -> Result<Vec<u8>, EvalError> {
    let text = as_str(value)?;
    let decoded = const_hex::decode(&text).ok().filter(|d| d.len() == bytes && !text.starts_with("0x"));
    let id =
        decoded.ok_or_else(|| EvalError::new(format!("`{text}` is not {} hexadecimal digits", bytes * 2)))?;
    Ok(if id.iter().all(|b| *b == 0) { Vec::new() } else { id })
}

fn as_id(value: &Value<'_>, bytes: usize) -> Result<Vec<u8>, EvalError> {
    match value {
        Value::Id(id) if id.bytes().len() == bytes => Ok(id.to_field()),
        _ => Err(wrong(if bytes == 8 { "a SpanID" } else { "a TraceID" }, value)),
    }
}

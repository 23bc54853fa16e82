//! Fields of spans and their events.

use std::borrow::Cow;

use signal::otlp::proto::trace::v1::span::SpanKind;
use signal::otlp::proto::trace::v1::{Span, Status};

use super::{KeyAt, as_hex, as_id, as_int, as_str, as_time, attributes::set_map, nanos, time, wrong};
use crate::context::{Item, Record, RecordMut, View};
use crate::error::EvalError;
use crate::value::{Id, Part, Value};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SpanField {
    TraceId,
    TraceIdText,
    SpanId,
    SpanIdText,
    TraceState,
    ParentId,
    ParentIdText,
    Name,
    Kind,
    KindText,
    KindSymbol,
    Start,
    StartTime,
    End,
    EndTime,
    Attributes,
    DroppedAttributes,
    Events,
    DroppedEvents,
    Links,
    DroppedLinks,
    Status,
    StatusCode,
    StatusMessage,
    Flags,
}

pub(super) const SPAN: &[(&str, SpanField)] = &[
    ("trace_id", SpanField::TraceId),
    ("trace_id.string", SpanField::TraceIdText),
    ("span_id", SpanField::SpanId),
    ("span_id.string", SpanField::SpanIdText),
    ("trace_state", SpanField::TraceState),
    ("parent_span_id", SpanField::ParentId),
    ("parent_span_id.string", SpanField::ParentIdText),
    ("name", SpanField::Name),
    ("kind", SpanField::Kind),
    ("kind.string", SpanField::KindText),
    ("kind.deprecated_string", SpanField::KindSymbol),
    ("start_time_unix_nano", SpanField::Start),
    ("start_time", SpanField::StartTime),
    ("end_time_unix_nano", SpanField::End),
    ("end_time", SpanField::EndTime),
    ("attributes", SpanField::Attributes),
    ("dropped_attributes_count", SpanField::DroppedAttributes),
    ("events", SpanField::Events),
    ("dropped_events_count", SpanField::DroppedEvents),
    ("links", SpanField::Links),
    ("dropped_links_count", SpanField::DroppedLinks),
    ("status", SpanField::Status),
    ("status.code", SpanField::StatusCode),
    ("status.message", SpanField::StatusMessage),
    ("flags", SpanField::Flags),
];

const KINDS: [(SpanKind, &str); 6] = [
    (SpanKind::Unspecified, "Unspecified"),
    (SpanKind::Internal, "Internal"),
    (SpanKind::Server, "Server"),
    (SpanKind::Client, "Client"),
    (SpanKind::Producer, "Producer"),
    (SpanKind::Consumer, "Consumer"),
];

impl SpanField {
    pub(super) fn get(self, span: &Span) -> Value<'_> {
        match self {
            Self::TraceId => Value::Id(Id::trace(&span.trace_id)),
            Self::TraceIdText => Value::string(Id::trace(&span.trace_id).hex()),
            Self::SpanId => Value::Id(Id::span(&span.span_id)),
            Self::SpanIdText => Value::string(Id::span(&span.span_id).hex()),
            Self::TraceState => Value::str(&span.trace_state),
            Self::ParentId => Value::Id(Id::span(&span.parent_span_id)),
            Self::ParentIdText => Value::string(Id::span(&span.parent_span_id).hex()),
            Self::Name => Value::str(&span.name),
            Self::Kind => Value::Int(i64::from(span.kind)),
            Self::KindText => {
                Value::str(KINDS.iter().find(|(k, _)| *k as i32 == span.kind).map_or("", |(_, name)| name))
            }
            Self::KindSymbol => {
                Value::str(SpanKind::try_from(span.kind).map_or("", |kind| kind.as_str_name()))
            }
            Self::Start => nanos(span.start_time_unix_nano),
            Self::StartTime => time(span.start_time_unix_nano),
            Self::End => nanos(span.end_time_unix_nano),
            Self::EndTime => time(span.end_time_unix_nano),
            Self::Attributes => Value::Map(Cow::Borrowed(&span.attributes)),
            Self::DroppedAttributes => Value::Int(i64::from(span.dropped_attributes_count)),
            Self::Events => Value::Part(Part::Events(Cow::Borrowed(&span.events))),
            Self::DroppedEvents => Value::Int(i64::from(span.dropped_events_count)),
            Self::Links => Value::Part(Part::Links(Cow::Borrowed(&span.links))),
            Self::DroppedLinks => Value::Int(i64::from(span.dropped_links_count)),
            Self::Status => Value::Part(Part::Status(match &span.status {
                Some(status) => Cow::Borrowed(status),
                None => Cow::Owned(Status::default()),
            })),
            Self::StatusCode => Value::Int(span.status.as_ref().map_or(0, |s| i64::from(s.code))),
            Self::StatusMessage => Value::str(span.status.as_ref().map_or("", |s| s.message.as_str())),
            Self::Flags => Value::Int(i64::from(span.flags)),
        }
    }

    pub(super) fn set(self, span: &mut Span, value: Value<'static>) -> Result<(), EvalError> {
        match self {
            Self::TraceId => span.trace_id = as_id(&value, 16)?,
            Self::TraceIdText => span.trace_id = as_hex(value, 16)?,
            Self::SpanId => span.span_id = as_id(&value, 8)?,
            Self::SpanIdText => span.span_id = as_hex(value, 8)?,
            Self::TraceState => span.trace_state = as_str(value)?,
            Self::ParentId => span.parent_span_id = as_id(&value, 8)?,
            Self::ParentIdText => span.parent_span_id = as_hex(value, 8)?,
            Self::Name => span.name = as_str(value)?,
            Self::Kind => span.kind = as_int(&value)? as i32,
            Self::KindText => {
                let text = as_str(value)?;
                let kind = KINDS.iter().find(|(_, name)| *name == text);
                span.kind = kind.ok_or_else(|| unknown_kind(&text))?.0 as i32;
            }
            Self::KindSymbol => {
                let text = as_str(value)?;
                span.kind = SpanKind::from_str_name(&text).ok_or_else(|| unknown_kind(&text))? as i32;
            }
            Self::Start => span.start_time_unix_nano = as_int(&value)? as u64,
            Self::StartTime => span.start_time_unix_nano = as_time(&value)?,
            Self::End => span.end_time_unix_nano = as_int(&value)? as u64,
            Self::EndTime => span.end_time_unix_nano = as_time(&value)?,
            Self::Attributes => set_map(&mut span.attributes, value)?,
            Self::DroppedAttributes => span.dropped_attributes_count = as_int(&value)? as u32,
            Self::Events => match value {
                Value::Part(Part::Events(events)) => span.events = events.into_owned(),
                other => return Err(wrong("the events of a span", &other)),
            },
            Self::DroppedEvents => span.dropped_events_count = as_int(&value)? as u32,
            Self::Links => match value {
                Value::Part(Part::Links(links)) => span.links = links.into_owned(),
                other => return Err(wrong("the links of a span", &other)),
            },
            Self::DroppedLinks => span.dropped_links_count = as_int(&value)? as u32,
            Self::Status => match value {
                Value::Part(Part::Status(status)) => span.status = Some(status.into_owned()),
                other => return Err(wrong("the status of a span", &other)),
            },
            Self::StatusCode => span.status.get_or_insert_default().code = as_int(&value)? as i32,
            Self::StatusMessage => span.status.get_or_insert_default().message = as_str(value)?,
            Self::Flags => span.flags = as_int(&value)? as u32,
        }
        Ok(())
    }
}

fn unknown_kind(text: &str) -> EvalError {
    EvalError::new(format!("`{text}` is no kind of span"))
}

fn trace_state_key<'k>(key: &'k KeyAt<'_>) -> Result<&'k str, EvalError> {
    match key {
        KeyAt::Text(key) => Ok(key),
        KeyAt::Int(_) => Err(EvalError::new("the key of trace_state has to be a string")),
    }
}

/// The members of a W3C trace state.
fn members(state: &str) -> impl Iterator<Item = (&str, &str)> {
    state.split(',').filter_map(|member| member.trim().split_once('='))
}

/// A member of the trace state; empty where it is not there.
pub(super) fn trace_state<'a>(view: &View<'a>, key: &KeyAt<'_>) -> Result<Value<'a>, EvalError> {
    let key = trace_state_key(key)?;
    let Some(span) = view.span_of() else { return Ok(Value::Nil) };
    Ok(Value::str(members(&span.trace_state).find(|(name, _)| *name == key).map_or("", |(_, value)| value)))
}

/// Sets a member; as the specification asks for, what was changed last comes first.
pub(super) fn set_trace_state(
    state: &mut String,
    key: &KeyAt<'_>,
    value: Value<'static>,
) -> Result<(), EvalError> {
    let (key, value) = (trace_state_key(key)?, as_str(value)?);
    if key.is_empty() || key.contains([',', '=', ' ']) || value.contains([',', '=']) {
        return Err(EvalError::new(format!("`{key}={value}` is no member of a trace state")));
    }
    let others = members(state).filter(|(name, _)| *name != key).take(31);
    let all = std::iter::once((key, value.as_str())).chain(others);
    *state = all.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",");
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventField {
    Time,
    TimeNanos,
    Name,
    Attributes,
    DroppedAttributes,
    Index,
}

pub(super) const EVENT: &[(&str, EventField)] = &[
    ("time_unix_nano", EventField::TimeNanos),
    ("time", EventField::Time),
    ("name", EventField::Name),
    ("attributes", EventField::Attributes),
    ("dropped_attributes_count", EventField::DroppedAttributes),
    ("event_index", EventField::Index),
];

impl EventField {
    pub(super) fn get<'a>(self, view: &View<'a>) -> Value<'a> {
        let Record::Event(_, Some(event), at) = view.record else { return Value::Nil };
        match self {
            Self::TimeNanos => nanos(event.time_unix_nano),
            Self::Time => time(event.time_unix_nano),
            Self::Name => Value::str(&event.name),
            Self::Attributes => Value::Map(Cow::Borrowed(&event.attributes)),
            Self::DroppedAttributes => Value::Int(i64::from(event.dropped_attributes_count)),
            Self::Index => Value::Int(at as i64),
        }
    }

    pub(super) fn set(self, item: &mut Item<'_>, value: Value<'static>) -> Result<(), EvalError> {
        let RecordMut::Event(span, at) = &mut item.record else { return Ok(()) };
        let Some(event) = span.events.get_mut(*at) else { return Ok(()) };
        match self {
            Self::TimeNanos => event.time_unix_nano = as_int(&value)? as u64,
            Self::Time => event.time_unix_nano = as_time(&value)?,
            Self::Name => event.name = as_str(value)?,
            Self::Attributes => set_map(&mut event.attributes, value)?,
            Self::DroppedAttributes => event.dropped_attributes_count = as_int(&value)? as u32,
            Self::Index => return Err(EvalError::new("the index of an event cannot be set")),
        }
        Ok(())
    }
}

//! Fields of log records.

use std::borrow::Cow;

use signal::otlp::proto::logs::v1::LogRecord;

use super::attributes::{any_of, set_map};
use super::{as_hex, as_id, as_int, as_str, as_time, nanos, time};
use crate::context::{Record, View};
use crate::error::EvalError;
use crate::value::{Id, Value, any_str, as_string};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogField {
    TimeNanos,
    Time,
    ObservedNanos,
    Observed,
    SeverityNumber,
    SeverityText,
    Body,
    BodyText,
    Attributes,
    DroppedAttributes,
    Flags,
    TraceId,
    TraceIdText,
    SpanId,
    SpanIdText,
    EventName,
}

pub(super) const LOG: &[(&str, LogField)] = &[
    ("time_unix_nano", LogField::TimeNanos),
    ("time", LogField::Time),
    ("observed_time_unix_nano", LogField::ObservedNanos),
    ("observed_time", LogField::Observed),
    ("severity_number", LogField::SeverityNumber),
    ("severity_text", LogField::SeverityText),
    ("body", LogField::Body),
    ("body.string", LogField::BodyText),
    ("attributes", LogField::Attributes),
    ("dropped_attributes_count", LogField::DroppedAttributes),
    ("flags", LogField::Flags),
    ("trace_id", LogField::TraceId),
    ("trace_id.string", LogField::TraceIdText),
    ("span_id", LogField::SpanId),
    ("span_id.string", LogField::SpanIdText),
    ("event_name", LogField::EventName),
];

impl LogField {
    pub(super) fn get<'a>(self, view: &View<'a>) -> Value<'a> {
        let Record::Log(record) = view.record else { return Value::Nil };
        match self {
            Self::TimeNanos => nanos(record.time_unix_nano),
            Self::Time => time(record.time_unix_nano),
            Self::ObservedNanos => nanos(record.observed_time_unix_nano),
            Self::Observed => time(record.observed_time_unix_nano),
            Self::SeverityNumber => Value::Int(i64::from(record.severity_number)),
            Self::SeverityText => Value::str(&record.severity_text),
            Self::Body => Value::of(record.body.as_ref()),
            Self::BodyText => Value::Str(as_string(record.body.as_ref())),
            Self::Attributes => Value::Map(Cow::Borrowed(&record.attributes)),
            Self::DroppedAttributes => Value::Int(i64::from(record.dropped_attributes_count)),
            Self::Flags => Value::Int(i64::from(record.flags)),
            Self::TraceId => Value::Id(Id::trace(&record.trace_id)),
            Self::TraceIdText => Value::string(Id::trace(&record.trace_id).hex()),
            Self::SpanId => Value::Id(Id::span(&record.span_id)),
            Self::SpanIdText => Value::string(Id::span(&record.span_id).hex()),
            Self::EventName => Value::str(&record.event_name),
        }
    }

    pub(super) fn set(self, record: &mut LogRecord, value: Value<'static>) -> Result<(), EvalError> {
        match self {
            Self::TimeNanos => record.time_unix_nano = as_int(&value)? as u64,
            Self::Time => record.time_unix_nano = as_time(&value)?,
            Self::ObservedNanos => record.observed_time_unix_nano = as_int(&value)? as u64,
            Self::Observed => record.observed_time_unix_nano = as_time(&value)?,
            Self::SeverityNumber => record.severity_number = as_int(&value)? as i32,
            Self::SeverityText => record.severity_text = as_str(value)?,
            Self::Body => record.body = Some(any_of(value)?),
            Self::BodyText => record.body = Some(any_str(as_str(value)?)),
            Self::Attributes => set_map(&mut record.attributes, value)?,
            Self::DroppedAttributes => record.dropped_attributes_count = as_int(&value)? as u32,
            Self::Flags => record.flags = as_int(&value)? as u32,
            Self::TraceId => record.trace_id = as_id(&value, 16)?,
            Self::TraceIdText => record.trace_id = as_hex(value, 16)?,
            Self::SpanId => record.span_id = as_id(&value, 8)?,
            Self::SpanIdText => record.span_id = as_hex(value, 8)?,
            Self::EventName => record.event_name = as_str(value)?,
        }
        Ok(())
    }
}

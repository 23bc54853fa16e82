//! What expressions yield: a value that borrows from the item or the statement wherever it can.

use std::borrow::Cow;
use std::collections::HashMap;

use base64::Engine as _;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use signal::otlp::proto::common::v1::any_value::Value as Any;
use signal::otlp::proto::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use signal::otlp::proto::metrics::v1::exponential_histogram_data_point::Buckets;
use signal::otlp::proto::metrics::v1::summary_data_point::ValueAtQuantile;
use signal::otlp::proto::metrics::v1::{
    Exemplar, ExponentialHistogramDataPoint, HistogramDataPoint, NumberDataPoint, SummaryDataPoint,
};
use signal::otlp::proto::trace::v1::Status;
use signal::otlp::proto::trace::v1::span::{Event, Link};

use crate::error::EvalError;

/// A value of OTTL.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// Nothing: a literal `nil`, a key that is not there, an empty value.
    Nil,
    /// Truth.
    Bool(bool),
    /// A 64-bit integer.
    Int(i64),
    /// A 64-bit float.
    Double(f64),
    /// Text.
    Str(Cow<'a, str>),
    /// Bytes.
    Bytes(Cow<'a, [u8]>),
    /// A point in time.
    Time(Time),
    /// A span of time in nanoseconds.
    Duration(i64),
    /// Attributes.
    Map(Cow<'a, [KeyValue]>),
    /// A list.
    List(Cow<'a, [AnyValue]>),
    /// The identity of a trace, a span or a profile.
    Id(Id),
    /// A part of a message that can only be handed on.
    Part(Part<'a>),
}

/// A point in time, with the zone that its clock shows.
#[derive(Clone, Debug)]
pub struct Time {
    /// When.
    pub at: Timestamp,
    /// Where the clock hangs.
    pub zone: TimeZone,
}

impl PartialEq for Time {
    /// As Go's `time.Equal`: the zone makes no difference.
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Time {
    /// From Unix nanoseconds.
    pub fn from_nanos(nanos: i64) -> Self {
        let at = Timestamp::from_nanosecond(i128::from(nanos)).expect("64 bits of nanoseconds end in 2262");
        Self { at, zone: TimeZone::UTC }
    }

    /// Unix nanoseconds, as Go's `UnixNano`: what does not fit wraps.
    pub fn nanos(&self) -> i64 {
        self.at.as_nanosecond() as i64
    }
}

/// An identity: 16 bytes of a trace or a profile, 8 of a span; in the message it may be missing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Id {
    bytes: [u8; 16],
    short: bool,
}

impl std::fmt::Debug for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Id({})", self.hex())
    }
}

impl Id {
    /// Of a trace: what has not 16 bytes counts as unset.
    pub fn trace(bytes: &[u8]) -> Self {
        Self { bytes: bytes.try_into().unwrap_or_default(), short: false }
    }

    /// Of a span: what has not 8 bytes counts as unset.
    pub fn span(bytes: &[u8]) -> Self {
        let mut id = Self { bytes: [0; 16], short: true };
        if bytes.len() == 8 {
            id.bytes[..8].copy_from_slice(bytes);
        }
        id
    }

    /// 8 or 16 bytes.
    pub fn bytes(&self) -> &[u8] {
        if self.short { &self.bytes[..8] } else { &self.bytes }
    }

    /// Whether all of it is zero.
    pub fn is_unset(&self) -> bool {
        self.bytes == [0; 16]
    }

    /// As in URLs.
    pub fn hex(&self) -> String {
        const_hex::encode(self.bytes())
    }

    /// As messages hold it: unset is empty.
    pub(crate) fn to_field(self) -> Vec<u8> {
        if self.is_unset() { Vec::new() } else { self.bytes().to_vec() }
    }
}

/// A part of a message that statements can compare, count and set as a whole.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each is a field of OTLP of that name")]
pub enum Part<'a> {
    Events(Cow<'a, [Event]>),
    Links(Cow<'a, [Link]>),
    Status(Cow<'a, Status>),
    NumberPoints(Cow<'a, [NumberDataPoint]>),
    HistogramPoints(Cow<'a, [HistogramDataPoint]>),
    ExponentialPoints(Cow<'a, [ExponentialHistogramDataPoint]>),
    SummaryPoints(Cow<'a, [SummaryDataPoint]>),
    Exemplars(Cow<'a, [Exemplar]>),
    Buckets(Cow<'a, Buckets>),
    Quantiles(Cow<'a, [ValueAtQuantile]>),
}

impl Part<'_> {
    fn into_owned(self) -> Part<'static> {
        match self {
            Self::Events(v) => Part::Events(Cow::Owned(v.into_owned())),
            Self::Links(v) => Part::Links(Cow::Owned(v.into_owned())),
            Self::Status(v) => Part::Status(Cow::Owned(v.into_owned())),
            Self::NumberPoints(v) => Part::NumberPoints(Cow::Owned(v.into_owned())),
            Self::HistogramPoints(v) => Part::HistogramPoints(Cow::Owned(v.into_owned())),
            Self::ExponentialPoints(v) => Part::ExponentialPoints(Cow::Owned(v.into_owned())),
            Self::SummaryPoints(v) => Part::SummaryPoints(Cow::Owned(v.into_owned())),
            Self::Exemplars(v) => Part::Exemplars(Cow::Owned(v.into_owned())),
            Self::Buckets(v) => Part::Buckets(Cow::Owned(v.into_owned())),
            Self::Quantiles(v) => Part::Quantiles(Cow::Owned(v.into_owned())),
        }
    }

    /// Nothing of the same kind.
    pub(crate) fn emptied(&self) -> Part<'static> {
        match self {
            Self::Events(_) => Part::Events(Cow::Borrowed(&[])),
            Self::Links(_) => Part::Links(Cow::Borrowed(&[])),
            Self::Status(_) => Part::Status(Cow::Owned(Status::default())),
            Self::NumberPoints(_) => Part::NumberPoints(Cow::Borrowed(&[])),
            Self::HistogramPoints(_) => Part::HistogramPoints(Cow::Borrowed(&[])),
            Self::ExponentialPoints(_) => Part::ExponentialPoints(Cow::Borrowed(&[])),
            Self::SummaryPoints(_) => Part::SummaryPoints(Cow::Borrowed(&[])),
            Self::Exemplars(_) => Part::Exemplars(Cow::Borrowed(&[])),
            Self::Buckets(_) => Part::Buckets(Cow::Owned(Buckets::default())),
            Self::Quantiles(_) => Part::Quantiles(Cow::Borrowed(&[])),
        }
    }

    /// Elements, where it is a list.
    pub(crate) fn len(&self) -> Option<usize> {
        Some(match self {
            Self::Events(v) => v.len(),
            Self::Links(v) => v.len(),
            Self::NumberPoints(v) => v.len(),
            Self::HistogramPoints(v) => v.len(),
            Self::ExponentialPoints(v) => v.len(),
            Self::SummaryPoints(v) => v.len(),
            Self::Exemplars(v) => v.len(),
            Self::Quantiles(v) => v.len(),
            Self::Status(_) | Self::Buckets(_) => return None,
        })
    }
}

impl<'a> Value<'a> {
    /// Text that is at hand.
    pub fn str(text: &'a str) -> Self {
        Self::Str(Cow::Borrowed(text))
    }

    /// Text that was made.
    pub fn string(text: String) -> Self {
        Self::Str(Cow::Owned(text))
    }

    /// What a message holds; an empty value is nothing.
    pub fn of(value: Option<&'a AnyValue>) -> Self {
        match value.and_then(|v| v.value.as_ref()) {
            None | Some(Any::StringValueStrindex(_)) => Self::Nil,
            Some(Any::StringValue(text)) => Self::str(text),
            Some(Any::BoolValue(v)) => Self::Bool(*v),
            Some(Any::IntValue(v)) => Self::Int(*v),
            Some(Any::DoubleValue(v)) => Self::Double(*v),
            Some(Any::BytesValue(v)) => Self::Bytes(Cow::Borrowed(v)),
            Some(Any::ArrayValue(list)) => Self::List(Cow::Borrowed(&list.values)),
            Some(Any::KvlistValue(map)) => Self::Map(Cow::Borrowed(&map.values)),
        }
    }

    /// As [`Value::of`], taking the content.
    pub fn from_any(value: Option<AnyValue>) -> Self {
        match value.and_then(|v| v.value) {
            None | Some(Any::StringValueStrindex(_)) => Self::Nil,
            Some(Any::StringValue(text)) => Self::string(text),
            Some(Any::BoolValue(v)) => Self::Bool(v),
            Some(Any::IntValue(v)) => Self::Int(v),
            Some(Any::DoubleValue(v)) => Self::Double(v),
            Some(Any::BytesValue(v)) => Self::Bytes(Cow::Owned(v)),
            Some(Any::ArrayValue(list)) => Self::List(Cow::Owned(list.values)),
            Some(Any::KvlistValue(map)) => Self::Map(Cow::Owned(map.values)),
        }
    }

    /// The same value, borrowed from this one.
    pub fn borrow(&self) -> Value<'_> {
        match self {
            Self::Nil => Value::Nil,
            Self::Bool(v) => Value::Bool(*v),
            Self::Int(v) => Value::Int(*v),
            Self::Double(v) => Value::Double(*v),
            Self::Str(v) => Value::Str(Cow::Borrowed(v)),
            Self::Bytes(v) => Value::Bytes(Cow::Borrowed(v)),
            Self::Time(v) => Value::Time(v.clone()),
            Self::Duration(v) => Value::Duration(*v),
            Self::Map(v) => Value::Map(Cow::Borrowed(v)),
            Self::List(v) => Value::List(Cow::Borrowed(v)),
            Self::Id(v) => Value::Id(*v),
            Self::Part(v) => Value::Part(v.clone()),
        }
    }

    /// The same value, borrowing nothing.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Self::Nil => Value::Nil,
            Self::Bool(v) => Value::Bool(v),
            Self::Int(v) => Value::Int(v),
            Self::Double(v) => Value::Double(v),
            Self::Str(v) => Value::Str(Cow::Owned(v.into_owned())),
            Self::Bytes(v) => Value::Bytes(Cow::Owned(v.into_owned())),
            Self::Time(v) => Value::Time(v),
            Self::Duration(v) => Value::Duration(v),
            Self::Map(v) => Value::Map(Cow::Owned(v.into_owned())),
            Self::List(v) => Value::List(Cow::Owned(v.into_owned())),
            Self::Id(v) => Value::Id(v),
            Self::Part(v) => Value::Part(v.into_owned()),
        }
    }

    /// As a message holds it; `None` where a message cannot (times, parts, identities).
    pub fn into_any(self) -> Option<AnyValue> {
        let value = match self {
            Self::Nil => return Some(AnyValue::default()),
            Self::Bool(v) => Any::BoolValue(v),
            Self::Int(v) => Any::IntValue(v),
            Self::Double(v) => Any::DoubleValue(v),
            Self::Str(v) => Any::StringValue(v.into_owned()),
            Self::Bytes(v) => Any::BytesValue(v.into_owned()),
            Self::Map(v) => Any::KvlistValue(KeyValueList { values: v.into_owned() }),
            Self::List(v) => Any::ArrayValue(ArrayValue { values: v.into_owned() }),
            Self::Time(_) | Self::Duration(_) | Self::Id(_) | Self::Part(_) => return None,
        };
        Some(AnyValue { value: Some(value) })
    }

    /// Whether it is nothing.
    pub fn is_nil(&self) -> bool {
        matches!(self, Self::Nil)
    }

    /// What it is, for messages.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Double(_) => "double",
            Self::Str(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::Time(_) => "time",
            Self::Duration(_) => "duration",
            Self::Map(_) => "map",
            Self::List(_) => "list",
            Self::Id(_) => "identity",
            Self::Part(_) => "part of a message",
        }
    }

    /// Its text, as functions read what is "like a string": bytes and identities in hexadecimal, lists and maps
    /// as JSON. `None` for nothing.
    ///
    /// # Errors
    /// For what has no text.
    pub fn to_text(self) -> Result<Option<Cow<'a, str>>, EvalError> {
        Ok(Some(match self {
            Self::Nil => return Ok(None),
            Self::Str(text) => text,
            Self::Bool(v) => Cow::Borrowed(if v { "true" } else { "false" }),
            Self::Int(v) => Cow::Owned(v.to_string()),
            Self::Double(v) => Cow::Owned(double(v)),
            Self::Bytes(v) => Cow::Owned(const_hex::encode(&v)),
            Self::Id(id) => Cow::Owned(id.hex()),
            Self::Map(map) => Cow::Owned(map_json(&map).to_string()),
            Self::List(list) => Cow::Owned(list.iter().map(json).collect::<serde_json::Value>().to_string()),
            Self::Duration(nanos) => Cow::Owned(nanos.to_string()),
            Self::Time(time) => Cow::Owned(crate::time::rfc3339(&time)),
            Self::Part(_) => return Err(EvalError::new("a part of a message has no text")),
        }))
    }
}

/// As Go's `strconv.FormatFloat(value, 'f', -1, 64)`.
pub(crate) fn double(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() };
    }
    value.to_string()
}

/// As Go writes floats into JSON and `AsString`: an exponent below 1e-6 and from 1e21.
fn json_double(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 || !size.is_finite() || (1e-6..1e21).contains(&size) {
        return double(value);
    }
    let text = format!("{value:e}");
    if text.contains("e-") { text } else { text.replace('e', "e+") }
}

/// A value of a message as JSON.
pub(crate) fn json(value: &AnyValue) -> serde_json::Value {
    use serde_json::Value as Json;
    match value.value.as_ref() {
        None | Some(Any::StringValueStrindex(_)) => Json::Null,
        Some(Any::BoolValue(v)) => Json::Bool(*v),
        Some(Any::IntValue(v)) => Json::from(*v),
        Some(Any::StringValue(v)) => Json::from(v.as_str()),
        Some(Any::BytesValue(v)) => Json::from(base64::engine::general_purpose::STANDARD.encode(v)),
        // JSON has neither NaN nor infinities.
        Some(Any::DoubleValue(v)) => {
            serde_json::from_str(&json_double(*v)).unwrap_or_else(|_| Json::from(double(*v)))
        }
        Some(Any::ArrayValue(list)) => list.values.iter().map(json).collect(),
        Some(Any::KvlistValue(map)) => map_json(&map.values),
    }
}

/// A map as JSON; keys in order.
pub(crate) fn map_json(map: &[KeyValue]) -> serde_json::Value {
    let mut entries: Vec<&KeyValue> = map.iter().collect();
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    let empty = AnyValue::default();
    let entries = entries.into_iter().map(|e| (e.key.clone(), json(e.value.as_ref().unwrap_or(&empty))));
    serde_json::Value::Object(entries.collect())
}

/// The text of a message's value as the collector's `AsString`: bytes as Base64, nothing as nothing.
pub(crate) fn as_string(value: Option<&AnyValue>) -> Cow<'_, str> {
    match value.and_then(|v| v.value.as_ref()) {
        None | Some(Any::StringValueStrindex(_)) => Cow::Borrowed(""),
        Some(Any::StringValue(text)) => Cow::Borrowed(text),
        Some(Any::BoolValue(v)) => Cow::Borrowed(if *v { "true" } else { "false" }),
        Some(Any::IntValue(v)) => Cow::Owned(v.to_string()),
        Some(Any::DoubleValue(v)) => Cow::Owned(json_double(*v)),
        Some(Any::BytesValue(bytes)) => Cow::Owned(base64::engine::general_purpose::STANDARD.encode(bytes)),
        Some(Any::ArrayValue(_) | Any::KvlistValue(_)) => {
            Cow::Owned(value.map(|v| json(v).to_string()).unwrap_or_default())
        }
    }
}

/// An entry of a map.
pub(crate) fn entry(key: impl Into<String>, value: AnyValue) -> KeyValue {
    KeyValue { key: key.into(), value: Some(value), ..KeyValue::default() }
}

/// A value for a message.
pub(crate) fn any(value: Any) -> AnyValue {
    AnyValue { value: Some(value) }
}

/// Text for a message.
pub(crate) fn any_str(text: impl Into<String>) -> AnyValue {
    any(Any::StringValue(text.into()))
}

/// Sets a key of a map; a key that is new comes last.
pub(crate) fn put(map: &mut Vec<KeyValue>, key: &str, value: AnyValue) {
    match map.iter_mut().find(|e| e.key == key) {
        Some(found) => found.value = Some(value),
        None => map.push(entry(key, value)),
    }
}

/// A map that is filled key by key, however many there are.
#[derive(Default)]
pub(crate) struct MapBuilder {
    entries: Vec<KeyValue>,
    places: HashMap<String, usize>,
}

impl MapBuilder {
    /// Sets a key; of two values the later stays.
    pub(crate) fn put(&mut self, key: &str, value: AnyValue) {
        match self.places.get(key) {
            Some(at) => self.entries[*at].value = Some(value),
            None => {
                self.places.insert(key.to_owned(), self.entries.len());
                self.entries.push(entry(key, value));
            }
        }
    }

    pub(crate) fn contains(&self, key: &str) -> bool {
        self.places.contains_key(key)
    }

    pub(crate) fn finish(self) -> Vec<KeyValue> {
        self.entries
    }
}

/// The value of a key.
pub(crate) fn find<'m>(map: &'m [KeyValue], key: &str) -> Option<&'m AnyValue> {
    map.iter().find(|e| e.key == key).map(|e| e.value.as_ref().unwrap_or(EMPTY))
}

/// A value that is nothing, to be pointed at.
pub(crate) const EMPTY: &AnyValue = &AnyValue { value: None };

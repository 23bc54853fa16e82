//! Spans of version 1 as OTLP, as the collector's translator has them: `cs`, `sr` and their like tell kind, times and
//! service; other annotations are events, binary annotations are attributes.

use std::borrow::Cow;

use signal::otlp::proto::common::v1::KeyValue;
use signal::otlp::proto::common::v1::any_value::Value;
use signal::otlp::proto::trace::v1::span::{Event, SpanKind};
use signal::otlp::proto::trace::v1::status::StatusCode;
use signal::otlp::proto::trace::v1::{Span as OtlpSpan, Status};

use super::json::{Scalar, V1Span};
use super::tags::{self, NO_START};
use super::{Endpoint, Error, Options, hex};
use crate::spans::{
    ATTRIBUTE, Converted, Dropped, Groups, Meter, SPAN, as_text, attribute, find, micros, take, text, unique,
};

/// The service of spans that tell none.
const UNKNOWN: &str = "unknown-service";

/// A span; times are microseconds, 0 where they are not told.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Span<'a> {
    pub(super) trace: u128,
    pub(super) id: u64,
    pub(super) parent: u64,
    pub(super) name: Cow<'a, str>,
    pub(super) timestamp: i64,
    pub(super) duration: i64,
    pub(super) annotations: Vec<Annotation<'a>>,
    pub(super) binary: Vec<Binary<'a>>,
    pub(super) debug: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Annotation<'a> {
    pub(super) timestamp: i64,
    pub(super) value: Cow<'a, str>,
    pub(super) endpoint: Option<Endpoint<'a>>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Binary<'a> {
    pub(super) key: Cow<'a, str>,
    pub(super) value: Scalar<'a>,
    pub(super) endpoint: Option<Endpoint<'a>>,
}

pub(super) struct Translation {
    options: Options,
    groups: Groups<[String; 4]>,
    dropped: Dropped,
    spans: usize,
}

impl Translation {
    pub(super) fn new(options: Options) -> Self {
        Self { options, groups: Groups::new(), dropped: Dropped::default(), spans: 0 }
    }

    pub(super) fn finish(self, meter: &Meter) -> Converted {
        self.groups.finish(self.dropped, meter)
    }

    pub(super) fn json(&mut self, json: V1Span<'_>, meter: &mut Meter) -> Result<(), Error> {
        let place = self.spans + 1;
        let id =
            |what, text: &str, most| hex(text, most).map_err(|found| Error::Id { span: place, what, found });
        let parent = &*json.parent_id.0;
        let span = Span {
            trace: id("the trace ID", &json.trace_id.0, 32)?,
            id: id("the span ID", &json.id.0, 16)? as u64,
            parent: match parent.bytes().all(|b| b == b'0') {
                true => 0,
                false => id("the parent's ID", parent, 16)? as u64,
            },
            name: json.name.0,
            timestamp: json.timestamp.0.unwrap_or(0),
            duration: json.duration.0.unwrap_or(0),
            annotations: json
                .annotations
                .unwrap_or_default()
                .into_iter()
                .map(|a| Annotation {
                    timestamp: a.timestamp.0.unwrap_or(0),
                    value: a.value.0,
                    endpoint: a.endpoint.map(Endpoint::from),
                })
                .collect(),
            binary: json
                .binary_annotations
                .unwrap_or_default()
                .into_iter()
                .map(|b| Binary { key: b.key.0, value: b.value, endpoint: b.endpoint.map(Endpoint::from) })
                .collect(),
            debug: json.debug == Some(true),
        };
        self.span(span, meter)
    }

    pub(super) fn span(&mut self, span: Span<'_>, meter: &mut Meter) -> Result<(), Error> {
        self.spans += 1;
        let missing = |what| Error::Id { span: self.spans, what, found: "missing" };
        if span.trace == 0 {
            return Err(missing("the trace ID"));
        }
        if span.id == 0 {
            return Err(missing("the span ID"));
        }
        let annotations: usize = span.annotations.iter().map(|a| size_of::<Event>() + a.value.len()).sum();
        let binary: usize = span.binary.iter().map(cost).sum();
        meter.spend(SPAN + span.name.len() + annotations + binary + 4 * ATTRIBUTE)?;
        let endpoint = endpoint(&span);
        let place = self.groups.resource(endpoint, |[service, ipv4, ipv6, port]| {
            let others = [("ipv4", ipv4), ("ipv6", ipv6), ("port", port)];
            let others = others.into_iter().filter(|(_, value)| !value.is_empty());
            let all = std::iter::once(("service.name", service)).chain(others);
            all.map(|(key, value)| text(key, value.clone())).collect()
        });
        let span = self.otlp(span);
        self.groups.push(place, Default::default(), span);
        Ok(())
    }

    fn otlp(&mut self, span: Span<'_>) -> OtlpSpan {
        let mut attributes: Vec<KeyValue> =
            span.binary.into_iter().map(|b| from_binary(b, self.options.parse_string_tags)).collect();
        self.dropped.add("binary annotation", "repeated", unique(&mut attributes));
        self.dropped.add("debug flag", "no place in OTLP", span.debug.into());
        let status = status(&mut attributes);
        let told = span.annotations.iter().map(|a| a.timestamp).filter(|t| *t > 0);
        let (start, end) = if span.timestamp > 0 {
            (micros(span.timestamp), micros(span.timestamp.saturating_add(span.duration.max(0))))
        } else if let Some(first) = told.clone().min() {
            (micros(first), micros(told.max().unwrap_or(first)))
        } else {
            attributes.push(attribute(NO_START, Value::BoolValue(true)));
            (self.options.now_ns, self.options.now_ns)
        };
        let kind = span.annotations.iter().find_map(|a| core(&a.value)).unwrap_or(SpanKind::Unspecified);
        let events = span.annotations.into_iter().filter(|a| !a.value.is_empty() && core(&a.value).is_none());
        OtlpSpan {
            trace_id: span.trace.to_be_bytes().to_vec(),
            span_id: span.id.to_be_bytes().to_vec(),
            parent_span_id: match span.parent {
                0 => Vec::new(),
                parent => parent.to_be_bytes().to_vec(),
            },
            name: span.name.into_owned(),
            kind: kind.into(),
            start_time_unix_nano: start,
            end_time_unix_nano: end,
            attributes,
            events: events
                .map(|a| Event {
                    time_unix_nano: micros(a.timestamp),
                    name: a.value.into_owned(),
                    ..Event::default()
                })
                .collect(),
            status,
            ..OtlpSpan::default()
        }
    }
}

/// What the annotations of Zipkin's core say of a span's kind.
fn core(annotation: &str) -> Option<SpanKind> {
    match annotation {
        "cs" | "cr" => Some(SpanKind::Client),
        "ss" | "sr" => Some(SpanKind::Server),
        "ms" => Some(SpanKind::Producer),
        "mr" => Some(SpanKind::Consumer),
        _ => None,
    }
}

/// Service, addresses and port of who made a span: as a core annotation says, else the service that a binary
/// annotation names, else the local component.
fn endpoint(span: &Span<'_>) -> [String; 4] {
    let named = |a: &&Annotation<'_>| core(&a.value).is_some();
    let known = span.annotations.iter().filter(named).filter_map(|a| a.endpoint.as_ref());
    if let Some(found) = known.clone().find(|e| !e.service.is_empty()) {
        let port = if found.port == 0 { String::new() } else { found.port.to_string() };
        return [&*found.service, &*found.ipv4, &*found.ipv6, &port].map(str::to_owned);
    }
    // `sa` and `ca` tell of the other side.
    let own = span.binary.iter().filter(|b| !matches!(&*b.key, "sa" | "ca" | "ma"));
    let mut services = own.filter_map(|b| b.endpoint.as_ref()).map(|e| &*e.service).filter(|s| !s.is_empty());
    let mut local = span.binary.iter().filter(|b| b.key == "lc").filter_map(|b| match &b.value {
        Scalar::Text(text) if !text.is_empty() => Some(&**text),
        _ => None,
    });
    let service = services.next_back().or_else(|| local.next_back()).unwrap_or(UNKNOWN);
    [service.to_owned(), String::new(), String::new(), String::new()]
}

fn cost(binary: &Binary<'_>) -> usize {
    let value = if let Scalar::Text(text) = &binary.value { text.len() } else { 0 };
    ATTRIBUTE + binary.key.len() + value
}

fn from_binary(binary: Binary<'_>, parse: bool) -> KeyValue {
    let key = if binary.key == "lc" { Cow::Borrowed("component") } else { binary.key };
    let value = match binary.value {
        Scalar::Text(text) => tags::value(text.into_owned(), parse),
        Scalar::Bool(flag) => Value::BoolValue(flag),
        Scalar::Int(int) => Value::IntValue(int),
        Scalar::Double(double) => Value::DoubleValue(double),
    };
    attribute(key, value)
}

/// What was said as a status (OpenTracing's, OpenCensus'), then `error`, then the status of HTTP.
fn status(attributes: &mut Vec<KeyValue>) -> Option<Status> {
    let said = [("status.code", "status.message"), ("census.status_code", "census.status_description")];
    let mut found: Option<Status> = None;
    for (code, message) in said {
        let code = take(attributes, code).as_ref().and_then(number);
        let message = take(attributes, message);
        if let (None, Some(code)) = (&found, code) {
            let kind = if code == 0 { StatusCode::Ok } else { StatusCode::Error };
            let message = message.as_ref().and_then(as_text).unwrap_or_default().to_owned();
            found = Some(Status { code: kind.into(), message });
        }
    }
    let error = tags::error(attributes);
    if found.is_none()
        && let Some(message) = error
    {
        found = Some(Status { code: StatusCode::Error.into(), message });
    }
    found.or_else(|| {
        let code = find(attributes, "http.status_code").and_then(number)?;
        let message = find(attributes, "http.status_message").and_then(as_text).unwrap_or_default();
        (!(100..400).contains(&code))
            .then(|| Status { code: StatusCode::Error.into(), message: message.to_owned() })
    })
}

fn number(attribute: &KeyValue) -> Option<i64> {
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::IntValue(int) => Some(*int),
        Value::StringValue(text) => text.parse().ok(),
        _ => None,
    }
}

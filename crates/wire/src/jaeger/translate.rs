//! A batch as OTLP, as the collector's translator has it: references → parent and links, tags → attributes, kind and
//! status, process → resource, logs → events.

use std::borrow::Cow;

use signal::otlp::proto::common::v1::any_value::Value;
use signal::otlp::proto::common::v1::{AnyValue, ArrayValue, KeyValue};
use signal::otlp::proto::trace::v1::span::{Event, Link, SpanKind};
use signal::otlp::proto::trace::v1::status::StatusCode;
use signal::otlp::proto::trace::v1::{Span as OtlpSpan, Status};

use super::model::{Batch, Log, Process, Reference, ReferenceKind, Span, Tag, TagValue};
use crate::spans::{
    ATTRIBUTE, Converted, Dropped, Groups, Meter, SPAN, TooMuch, as_text, attribute, find, take, take_text,
    text, unique,
};

/// What a process without a name is called by Jaeger's own translators.
const NO_SERVICE: &str = "OTLPResourceNoServiceName";
/// Where Jaeger itself keeps warnings in OTLP.
const WARNINGS: &str = "jaeger.internal.warnings";
/// The bits of a Jaeger span's flags.
const SAMPLED: u32 = 1;
const DEBUG: u32 = 2;

pub(super) fn batch(batch: Batch<'_>, mut meter: Meter) -> Result<Converted, TooMuch> {
    let mut groups = Groups::new();
    let mut dropped = Dropped::default();
    let (mut blank, mut common) = (0, None);
    for mut span in batch.spans {
        if span == Span::default() {
            blank += 1;
            continue;
        }
        // A span's own process goes before that of the batch.
        let place = match (span.process.take(), common) {
            (None, Some(place)) => place,
            (None, None) => {
                let place = place(&mut groups, batch.process.clone(), &mut meter, &mut dropped)?;
                common = Some(place);
                place
            }
            (own, _) => place(&mut groups, own, &mut meter, &mut dropped)?,
        };
        let mut attributes = attributes(&span.tags, &mut meter)?;
        dropped.add("tag", "repeated", unique(&mut attributes));
        let scope = scope(&mut attributes);
        groups.push(place, scope, otlp(span, attributes, &mut meter, &mut dropped)?);
    }
    dropped.add("span", "blank", blank);
    Ok(groups.finish(dropped, &meter))
}

fn place<'a>(
    groups: &mut Groups<Option<Process<'a>>>,
    process: Option<Process<'a>>,
    meter: &mut Meter,
    dropped: &mut Dropped,
) -> Result<usize, TooMuch> {
    meter.spend(process.iter().flat_map(|p| &p.tags).map(cost).sum())?;
    Ok(groups.resource(process, |process| {
        process.as_ref().map(|process| resource(process, dropped)).unwrap_or_default()
    }))
}

fn cost(tag: &Tag<'_>) -> usize {
    let value = match &tag.value {
        TagValue::Text(text) => text.len(),
        TagValue::Bytes(bytes) => bytes.len(),
        _ => 0,
    };
    ATTRIBUTE + tag.key.len() + value
}

fn attributes(tags: &[Tag<'_>], meter: &mut Meter) -> Result<Vec<KeyValue>, TooMuch> {
    meter.spend(tags.iter().map(cost).sum())?;
    Ok(tags.iter().map(from_tag).collect())
}

fn from_tag(tag: &Tag<'_>) -> KeyValue {
    let value = match &tag.value {
        TagValue::Text(text) => Value::StringValue(text.clone().into_owned()),
        TagValue::Bool(flag) => Value::BoolValue(*flag),
        TagValue::Int(int) => Value::IntValue(*int),
        TagValue::Double(bits) => Value::DoubleValue(f64::from_bits(*bits)),
        TagValue::Bytes(bytes) => Value::BytesValue(bytes.to_vec()),
        TagValue::Other(kind) => Value::StringValue(format!("<Unknown Jaeger TagType {kind}>")),
    };
    attribute(tag.key.clone(), value)
}

fn resource(process: &Process<'_>, dropped: &mut Dropped) -> Vec<KeyValue> {
    let mut attributes: Vec<KeyValue> = Vec::with_capacity(process.tags.len() + 1);
    if !process.service.is_empty() && process.service != NO_SERVICE {
        attributes.push(text("service.name", process.service.clone()));
    }
    attributes.extend(process.tags.iter().map(from_tag));
    dropped.add("tag", "repeated", unique(&mut attributes));
    if find(&attributes, "host.name").is_none()
        && let Some(host) = attributes.iter_mut().find(|a| a.key == "hostname")
    {
        host.key = "host.name".to_owned();
    }
    if find(&attributes, "opencensus.exporterversion").is_none()
        && let Some(version) = take_text(&mut attributes, "jaeger.version")
    {
        attributes.push(text("opencensus.exporterversion", format!("Jaeger-{version}")));
    }
    attributes
}

/// The instrumentation that made a span, where an OpenTelemetry SDK has noted it; under its old name too.
fn scope(attributes: &mut Vec<KeyValue>) -> (String, String) {
    let mut either = |new: &str, old: &str| {
        let old = take_text(attributes, old);
        take_text(attributes, new).or(old).unwrap_or_default()
    };
    let name = either("otel.scope.name", "otel.library.name");
    (name, either("otel.scope.version", "otel.library.version"))
}

/// The parent that a span names; otherwise the first reference within its trace, a `CHILD_OF` before others.
fn parent(span: &Span<'_>) -> u64 {
    if span.parent != 0 {
        return span.parent;
    }
    let own = || span.references.iter().filter(|r| r.trace == span.trace);
    let child_of = own().find(|r| r.kind == ReferenceKind::ChildOf);
    child_of.or_else(|| own().next()).map_or(0, |r| r.span)
}

fn otlp(
    span: Span<'_>,
    mut attributes: Vec<KeyValue>,
    meter: &mut Meter,
    dropped: &mut Dropped,
) -> Result<OtlpSpan, TooMuch> {
    meter.spend(SPAN + span.name.len())?;
    meter.spend(span.references.len() * (size_of::<Link>() + 24 + ATTRIBUTE))?;
    let parent = parent(&span);
    let kind = take(&mut attributes, "span.kind").map_or(SpanKind::Unspecified, |kind| span_kind(&kind));
    let status = status(&mut attributes, kind);
    if !span.warnings.is_empty() {
        attributes.push(attribute(WARNINGS, warnings(&span.warnings, meter)?));
    }
    if span.flags & DEBUG != 0 {
        dropped.add("debug flag", "no place in OTLP", 1);
    }
    let mut events = Vec::with_capacity(span.logs.len());
    for log in &span.logs {
        events.push(event(log, meter, dropped)?);
    }
    Ok(OtlpSpan {
        trace_id: span.trace.to_be_bytes().to_vec(),
        span_id: span.id.to_be_bytes().to_vec(),
        trace_state: take_text(&mut attributes, "w3c.tracestate").unwrap_or_default(),
        parent_span_id: if parent == 0 { Vec::new() } else { parent.to_be_bytes().to_vec() },
        flags: span.flags & SAMPLED,
        links: links(&span, parent),
        name: span.name.into_owned(),
        kind: kind.into(),
        start_time_unix_nano: span.start_ns,
        end_time_unix_nano: span.start_ns.saturating_add(span.duration_ns),
        attributes,
        events,
        status,
        ..OtlpSpan::default()
    })
}

fn warnings(all: &[Cow<'_, str>], meter: &mut Meter) -> Result<Value, TooMuch> {
    meter.spend(all.iter().map(|w| size_of::<AnyValue>() + w.len()).sum())?;
    let any =
        |warning: &Cow<'_, str>| AnyValue { value: Some(Value::StringValue(warning.clone().into_owned())) };
    Ok(Value::ArrayValue(ArrayValue { values: all.iter().map(any).collect() }))
}

fn span_kind(tag: &KeyValue) -> SpanKind {
    match as_text(tag) {
        Some("client") => SpanKind::Client,
        Some("server") => SpanKind::Server,
        Some("producer") => SpanKind::Producer,
        Some("consumer") => SpanKind::Consumer,
        Some("internal") => SpanKind::Internal,
        _ => SpanKind::Unspecified,
    }
}

/// `error` decides; then what an OpenTelemetry SDK has said; then the status of HTTP. Tags that became the status are
/// taken out, those that only hint at it stay.
fn status(attributes: &mut Vec<KeyValue>, kind: SpanKind) -> Option<Status> {
    let status = |code: StatusCode, message: String| Some(Status { code: code.into(), message });
    let http_message = |attributes: &[KeyValue]| {
        find(attributes, "http.status_message").and_then(as_text).unwrap_or_default().to_owned()
    };
    let failed =
        find(attributes, "error").and_then(|a| a.value.as_ref()).is_some_and(|value| match &value.value {
            Some(Value::BoolValue(failed)) => *failed,
            // Clients without typed tags.
            Some(Value::StringValue(text)) => text == "true",
            _ => false,
        });
    let said = take(attributes, "otel.status_code");
    if failed {
        take(attributes, "error");
        let message =
            take_text(attributes, "otel.status_description").unwrap_or_else(|| http_message(attributes));
        return status(StatusCode::Error, message);
    }
    if let Some(said) = said {
        let code = match as_text(&said).unwrap_or_default().to_ascii_uppercase().as_str() {
            "OK" => StatusCode::Ok,
            "ERROR" => StatusCode::Error,
            _ => StatusCode::Unset,
        };
        let message = take_text(attributes, "otel.status_description").unwrap_or_default();
        return status(code, message);
    }
    let code = match &find(attributes, "http.status_code")?.value.as_ref()?.value {
        Some(Value::IntValue(code)) => *code,
        Some(Value::StringValue(code)) => code.parse().ok()?,
        _ => return None,
    };
    let fine = (100..400).contains(&code) || ((400..500).contains(&code) && kind == SpanKind::Server);
    if fine { None } else { status(StatusCode::Error, http_message(attributes)) }
}

fn event(log: &Log<'_>, meter: &mut Meter, dropped: &mut Dropped) -> Result<Event, TooMuch> {
    meter.item::<Event>(0)?;
    let mut attributes = attributes(&log.fields, meter)?;
    dropped.add("log field", "repeated", unique(&mut attributes));
    Ok(Event {
        time_unix_nano: log.time_ns,
        name: take_text(&mut attributes, "event").unwrap_or_default(),
        attributes,
        ..Event::default()
    })
}

/// All references but the one that became the parent.
fn links(span: &Span<'_>, parent: u64) -> Vec<Link> {
    let is_parent =
        |r: &Reference| r.span == parent && r.kind == ReferenceKind::ChildOf && r.trace == span.trace;
    let link = |r: &Reference| {
        let kind = match r.kind {
            ReferenceKind::ChildOf => "child_of",
            ReferenceKind::FollowsFrom => "follows_from",
        };
        Link {
            trace_id: r.trace.to_be_bytes().to_vec(),
            span_id: r.span.to_be_bytes().to_vec(),
            attributes: vec![text("opentracing.ref_type", kind)],
            ..Link::default()
        }
    };
    span.references.iter().filter(|r| !is_parent(r)).map(link).collect()
}

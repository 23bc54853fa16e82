//! A trace as policies see it: one serialised request with all its spans.

use std::cell::OnceCell;

use prost::Message as _;
use signal::otlp::proto::collector::trace::v1::ExportTraceServiceRequest;
use wire::otlp::view::{Any, Unclear, any_or_empty, fields, find, once, payload};

use super::TraceId;

/// A trace that is being decided about.
#[derive(Debug)]
pub(super) struct Trace<'a> {
    pub(super) id: &'a TraceId,
    /// A serialised request.
    pub(super) bytes: &'a [u8],
    pub(super) spans: u64,
    decoded: OnceCell<Option<ExportTraceServiceRequest>>,
}

/// Numbers of the fields with attributes.
const OF_RESOURCE: u32 = 1;
const OF_SPAN: u32 = 9;

impl<'a> Trace<'a> {
    pub(super) fn new(id: &'a TraceId, bytes: &'a [u8], spans: u64) -> Self {
        Self { id, bytes, spans, decoded: OnceCell::new() }
    }

    /// Its messages, decoded once for all policies that need them; nothing for bytes that are no request.
    pub(super) fn decoded(&self) -> Option<&ExportTraceServiceRequest> {
        self.decoded.get_or_init(|| ExportTraceServiceRequest::decode(self.bytes).ok()).as_ref()
    }

    /// Whether one of the resources or spans is like this.
    pub(super) fn any(
        &self,
        mut resource: impl FnMut(&'a [u8]) -> Result<bool, Unclear>,
        mut span: impl FnMut(&'a [u8]) -> Result<bool, Unclear>,
    ) -> Result<bool, Unclear> {
        let mut groups = fields(self.bytes);
        while let Some((_, group)) = groups.next_field()? {
            if group.number != 1 {
                continue;
            }
            let mut parts = fields(payload(&group)?);
            while let Some((_, part)) = parts.next_field()? {
                match part.number {
                    1 if resource(payload(&part)?)? => return Ok(true),
                    2 if any_span(payload(&part)?, &mut span)? => return Ok(true),
                    _ => {}
                }
            }
        }
        Ok(false)
    }

    /// Whether one of the spans is like this.
    pub(super) fn any_span(
        &self,
        span: impl FnMut(&'a [u8]) -> Result<bool, Unclear>,
    ) -> Result<bool, Unclear> {
        self.any(|_| Ok(false), span)
    }

    /// Whether an attribute of a resource or a span has such a value.
    pub(super) fn has_attribute(
        &self,
        key: &str,
        mut like: impl FnMut(Any<'a>) -> Result<bool, Unclear>,
    ) -> Result<bool, Unclear> {
        let like = std::cell::RefCell::new(&mut like);
        let of = |number: u32| {
            let like = &like;
            move |message: &'a [u8]| match find(message, number, key.as_bytes())? {
                Some(found) => (like.borrow_mut())(any_or_empty(found.value)?),
                None => Ok(false),
            }
        };
        self.any(of(OF_RESOURCE), of(OF_SPAN))
    }

    /// Milliseconds from the start of the first span to the end of the last.
    pub(super) fn millis(&self) -> Result<i64, Unclear> {
        let (mut start, mut end) = (u64::MAX, 0);
        self.any_span(|span| {
            let mut fields = fields(span);
            while let Some((_, field)) = fields.next_field()? {
                match (field.number, field.value) {
                    (7, wire::proto::Value::Fixed64(at)) => start = start.min(at),
                    (8, wire::proto::Value::Fixed64(at)) => end = end.max(at),
                    _ => {}
                }
            }
            Ok(false)
        })?;
        let nanos = end.saturating_sub(start);
        Ok(i64::try_from(nanos / 1_000_000).unwrap_or(i64::MAX))
    }
}

fn any_span<'a>(
    scope: &'a [u8],
    span: &mut impl FnMut(&'a [u8]) -> Result<bool, Unclear>,
) -> Result<bool, Unclear> {
    let mut fields = fields(scope);
    while let Some((_, field)) = fields.next_field()? {
        if field.number == 2 && span(payload(&field)?)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The status code of a serialised span.
pub(super) fn status(span: &[u8]) -> Result<i32, Unclear> {
    let (mut status, mut code) = (None, None);
    let mut all = fields(span);
    while let Some((_, field)) = all.next_field()? {
        if field.number == 15 {
            once(&mut status, payload(&field)?)?;
        }
    }
    let mut all = fields(status.unwrap_or_default());
    while let Some((_, field)) = all.next_field()? {
        if field.number == 3 {
            once(&mut code, field.u64()? as i32)?;
        }
    }
    Ok(code.unwrap_or_default())
}

/// A text, such as the trace state, of a serialised span.
pub(super) fn text_of(span: &[u8], number: u32) -> Result<&[u8], Unclear> {
    let mut found = None;
    let mut all = fields(span);
    while let Some((_, field)) = all.next_field()? {
        if field.number == number {
            once(&mut found, payload(&field)?)?;
        }
    }
    Ok(found.unwrap_or_default())
}

/// The trace ID of a serialised span and whether it has no parent. IDs of another length are cut or filled up
/// with zeros: they are nobody's, and stay apart.
pub(super) fn identify(span: &[u8]) -> Result<(TraceId, bool), wire::proto::Error> {
    let (mut id, mut root) = (TraceId::default(), true);
    let mut all = fields(span);
    while let Some((_, field)) = all.next_field()? {
        match field.number {
            1 => {
                let bytes = field.bytes()?;
                let len = bytes.len().min(id.len());
                id = TraceId::default();
                id[..len].copy_from_slice(&bytes[..len]);
            }
            4 => root = field.bytes()?.iter().all(|b| *b == 0),
            _ => {}
        }
    }
    Ok((id, root))
}

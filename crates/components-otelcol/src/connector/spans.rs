//! Spans as views on the bytes of a request: what connectors look at costs no decoding.
//!
//! Invariant: requests were checked when they came in, so that a malformed one is damage and refused for good.

use std::sync::Arc;

use prost::Message;
use signal::otlp::proto::common::v1::AnyValue;
use signal::otlp::proto::resource::v1::Resource;
use smallvec::SmallVec;
use wire::proto::{Error, Reader, Value};

use crate::streams::Identity;
use crate::streams::map::ByIdentity;
use crate::value;

/// An attribute on the wire.
#[derive(Clone, Copy, Debug)]
pub struct Attribute<'a> {
    /// Its key, UTF-8.
    pub key: &'a [u8],
    /// Its value: a serialised `AnyValue`.
    pub value: &'a [u8],
}

/// Attributes on the wire.
pub type Attributes<'a> = SmallVec<[Attribute<'a>; 24]>;

/// A span on the wire.
#[derive(Clone, Debug, Default)]
pub struct Span<'a> {
    /// Its trace; empty if it has none.
    pub trace_id: &'a [u8],
    /// Its own ID.
    pub span_id: &'a [u8],
    /// That of its parent; empty for a root.
    pub parent_id: &'a [u8],
    /// W3C trace state.
    pub trace_state: &'a [u8],
    /// Its name, UTF-8.
    pub name: &'a [u8],
    /// Its kind, by number.
    pub kind: i32,
    /// Start, Unix nanoseconds.
    pub start: u64,
    /// End, Unix nanoseconds.
    pub end: u64,
    /// Its status, by number.
    pub status: i32,
    /// Its attributes.
    pub attributes: Attributes<'a>,
    /// Its events, serialised.
    pub events: SmallVec<[&'a [u8]; 4]>,
}

impl<'a> Span<'a> {
    /// Reads a span.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut span = Self::default();
        let mut reader = Reader::new(bytes);
        while let Some(field) = reader.next_field()? {
            match (field.number, field.value) {
                (1, Value::Bytes(id)) => span.trace_id = id,
                (2, Value::Bytes(id)) => span.span_id = id,
                (3, Value::Bytes(state)) => span.trace_state = state,
                (4, Value::Bytes(id)) => span.parent_id = id,
                (5, Value::Bytes(name)) => span.name = name,
                (6, Value::Varint(kind)) => span.kind = kind as i32,
                (7, Value::Fixed64(nanos)) => span.start = nanos,
                (8, Value::Fixed64(nanos)) => span.end = nanos,
                (9, Value::Bytes(attribute)) => span.attributes.push(Attribute::read(attribute)?),
                (11, Value::Bytes(event)) => span.events.push(event),
                (15, Value::Bytes(status)) => span.status = code(status)?,
                _ => {}
            }
        }
        Ok(span)
    }

    /// From start to end in nanoseconds; 0 if the end is before the start.
    pub fn nanos(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }
}

fn code(status: &[u8]) -> Result<i32, Error> {
    let mut code = 0;
    let mut reader = Reader::new(status);
    while let Some(field) = reader.next_field()? {
        if let (3, Value::Varint(v)) = (field.number, field.value) {
            code = v as i32;
        }
    }
    Ok(code)
}

impl<'a> Attribute<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut attribute = Self { key: &[], value: &[] };
        let mut reader = Reader::new(bytes);
        while let Some(field) = reader.next_field()? {
            match (field.number, field.value) {
                (1, Value::Bytes(key)) => attribute.key = key,
                (2, Value::Bytes(value)) => attribute.value = value,
                _ => {}
            }
        }
        Ok(attribute)
    }

    /// Its value as text, as the collector writes it.
    pub fn text(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        let mut reader = Reader::new(self.value);
        // Nearly all are a string and nothing else.
        if let Some(field) = reader.next_field()?
            && let (1, Value::Bytes(text), true) = (field.number, field.value, reader.is_empty())
        {
            out.extend_from_slice(text);
            return Ok(());
        }
        out.extend_from_slice(value::text(Some(&self.any())).as_bytes());
        Ok(())
    }

    /// Its value, decoded.
    pub fn any(&self) -> AnyValue {
        AnyValue::decode(self.value).unwrap_or_default()
    }
}

/// The value of a key.
pub fn find<'a>(attributes: &[Attribute<'a>], key: &str) -> Option<Attribute<'a>> {
    attributes.iter().find(|attribute| attribute.key == key.as_bytes()).copied()
}

/// The attributes of an event.
pub fn event_attributes(event: &[u8]) -> Result<Attributes<'_>, Error> {
    let mut attributes = Attributes::new();
    let mut reader = Reader::new(event);
    while let Some(field) = reader.next_field()? {
        if let (3, Value::Bytes(attribute)) = (field.number, field.value) {
            attributes.push(Attribute::read(attribute)?);
        }
    }
    Ok(attributes)
}

/// Text that was checked to be UTF-8.
pub fn utf8(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Spans of one resource.
pub struct ResourceSpans<'a> {
    /// The serialised resource; empty if there is none.
    pub resource: &'a [u8],
    scopes: SmallVec<[&'a [u8]; 4]>,
}

/// The resources of a serialised request.
pub fn resources(request: &[u8]) -> impl Iterator<Item = Result<ResourceSpans<'_>, Error>> {
    fields(request, 1).map(|bytes| {
        let bytes = bytes?;
        let mut spans = ResourceSpans { resource: &[], scopes: SmallVec::new() };
        let mut reader = Reader::new(bytes);
        while let Some(field) = reader.next_field()? {
            match (field.number, field.value) {
                (1, Value::Bytes(resource)) => spans.resource = resource,
                (2, Value::Bytes(scope)) => spans.scopes.push(scope),
                _ => {}
            }
        }
        Ok(spans)
    })
}

impl<'a> ResourceSpans<'a> {
    /// Serialised scopes (empty if there is none), each with its serialised spans.
    pub fn scopes(&self) -> impl Iterator<Item = (Result<&'a [u8], Error>, &'a [u8])> + '_ {
        self.scopes.iter().map(|scope| {
            let of = fields(scope, 1).last().unwrap_or(Ok(&[]));
            (of, *scope)
        })
    }
}

/// The serialised spans of what [`ResourceSpans::scopes`] gives.
pub fn spans(scope_spans: &[u8]) -> impl Iterator<Item = Result<&[u8], Error>> {
    fields(scope_spans, 2)
}

/// The embedded messages of a field.
fn fields(message: &[u8], number: u32) -> impl Iterator<Item = Result<&[u8], Error>> {
    let mut reader = Reader::new(message);
    std::iter::from_fn(move || {
        loop {
            match reader.next_field() {
                Ok(Some(field)) if field.number == number => return Some(field.bytes()),
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(error) => {
                    reader = Reader::new(&[]);
                    return Some(Err(error));
                }
            }
        }
    })
}

/// What is made of each serialised resource, made once while it keeps coming.
pub struct Memo<T>(ByIdentity<Arc<T>>);

impl<T> Default for Memo<T> {
    fn default() -> Self {
        Self(ByIdentity::default())
    }
}

impl<T> Memo<T> {
    /// Resources that are remembered at most.
    const MOST: usize = 4096;

    /// What is made of a resource.
    pub fn get(&mut self, resource: &[u8], make: impl FnOnce(Resource) -> T) -> Result<Arc<T>, Error> {
        let key = Identity::of_bytes(resource);
        if let Some(known) = self.0.get(&key) {
            return Ok(known.clone());
        }
        // What does not decode has passed no check.
        let made = Arc::new(make(Resource::decode(resource).map_err(|_| Error::Truncated)?));
        if self.0.len() >= Self::MOST {
            self.0.clear();
        }
        self.0.insert(key, made.clone());
        Ok(made)
    }
}

/// How many spans the sampled one stands for, if its trace state tells, rounded by chance so that the mean is right.
pub fn adjusted_count(trace_state: &[u8]) -> u64 {
    if trace_state.is_empty() {
        return 1;
    }
    let trace_state = std::str::from_utf8(trace_state).unwrap_or_default();
    let Some(count) = signal::tracestate::adjusted_count(trace_state) else { return 1 };
    count as u64 + u64::from(fastrand::f64() < count.fract())
}

#[cfg(test)]
mod tests {
    use signal::otlp::proto::common::v1::any_value::Value as Any;
    use signal::otlp::proto::common::v1::{KeyValue, KeyValueList};
    use signal::otlp::proto::trace::v1::span::Event;
    use signal::otlp::proto::trace::v1::{Span as Decoded, Status};

    use super::*;

    #[test]
    fn a_view_shows_what_decoding_would() {
        let attribute = |key: &str, value| KeyValue {
            key: key.into(),
            value: Some(AnyValue { value }),
            ..Default::default()
        };
        let map = Any::KvlistValue(KeyValueList { values: vec![attribute("x", Some(Any::IntValue(1)))] });
        let attributes = vec![
            attribute("s", Some(Any::StringValue("text".into()))),
            attribute("i", Some(Any::IntValue(-5))),
            attribute("b", Some(Any::BoolValue(false))),
            attribute("d", Some(Any::DoubleValue(0.25))),
            attribute("m", Some(map)),
            attribute("none", None),
        ];
        let message = Decoded {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            parent_span_id: vec![3; 8],
            trace_state: "a=b".into(),
            name: "GET /".into(),
            kind: 3,
            start_time_unix_nano: 10,
            end_time_unix_nano: 25,
            attributes: attributes.clone(),
            events: vec![Event { attributes: attributes.clone(), ..Default::default() }],
            status: Some(Status { code: 2, message: "m".into() }),
            ..Default::default()
        };
        let bytes = message.encode_to_vec();
        let span = Span::read(&bytes).expect("a span");
        assert_eq!((span.trace_id, span.span_id, span.parent_id), (&[1; 16][..], &[2; 8][..], &[3; 8][..]));
        assert_eq!((span.name, span.trace_state, span.kind, span.status), (&b"GET /"[..], &b"a=b"[..], 3, 2));
        assert_eq!((span.start, span.end, span.nanos()), (10, 25, 15));
        let events = event_attributes(span.events[0]).expect("an event");
        for seen in [&span.attributes, &events] {
            assert_eq!(seen.len(), attributes.len());
            for (seen, expected) in seen.iter().zip(&attributes) {
                assert_eq!((seen.key, Some(seen.any())), (expected.key.as_bytes(), expected.value.clone()));
                let mut text = Vec::new();
                seen.text(&mut text).expect("a value");
                assert_eq!(utf8(&text), value::text(expected.value.as_ref()));
            }
        }
        assert!(Span::read(&bytes[..bytes.len() - 1]).is_err());
        assert_eq!(Span { start: 9, end: 3, ..Default::default() }.nanos(), 0);
    }

    #[test]
    fn a_count_that_is_not_whole_is_right_on_average() {
        assert_eq!([&b""[..], b"ot=th:8", b"a=b", b"ot=th:c"].map(adjusted_count), [1, 2, 1, 4]);
        let sum: u64 = (0..3000).map(|_| adjusted_count(b"ot=th:55555555555555")).sum();
        assert!((4000..5000).contains(&sum), "1.5 on average: {sum}");
    }
}

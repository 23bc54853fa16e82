//! One batch in both formats becomes the same OTLP; what OTLP says of each part; hostile input.

use proptest::prelude::*;
use signal::otlp::proto::collector::trace::v1::ExportTraceServiceRequest;
use signal::otlp::proto::trace::v1::Span as OtlpSpan;

use super::*;
use crate::spans::{TooMuch, as_text, find, memory};
use crate::thrift::testkit::{Value, call, structs, text, write};

const BOTH: [Protocol; 2] = [Protocol::Binary, Protocol::Compact];
const HIGH: i64 = 0x0102_0304_0506_0708;
const LOW: i64 = -1;
const START_US: i64 = 1_700_000_000_000_001;

fn tag(key: &str, kind: i32, value: Value) -> Value {
    let id = [3, 5, 6, 4, 7][[0, 2, 3, 1, 4].iter().position(|k| *k == kind).expect("a type")];
    Value::Struct(vec![(1, text(key)), (2, Value::I32(kind)), (id, value)])
}

fn reference(kind: i32, high: i64, low: i64, span: i64) -> Value {
    Value::Struct(vec![
        (1, Value::I32(kind)),
        (2, Value::I64(low)),
        (3, Value::I64(high)),
        (4, Value::I64(span)),
    ])
}

fn span(tags: Vec<Value>, references: Vec<Value>) -> Value {
    let log = Value::Struct(vec![
        (1, Value::I64(START_US + 1)),
        (2, structs(vec![tag("event", 0, text("retry")), tag("n", 3, Value::I64(2))])),
    ]);
    Value::Struct(vec![
        (1, Value::I64(LOW)),
        (2, Value::I64(HIGH)),
        (3, Value::I64(7)),
        (4, Value::I64(0)),
        (5, text("GET /")),
        (6, structs(references)),
        (7, Value::I32(3)),
        (8, Value::I64(START_US)),
        (9, Value::I64(250)),
        (10, structs(tags)),
        (11, structs(vec![log])),
    ])
}

fn process() -> Value {
    let tags = vec![
        tag("hostname", 0, text("h")),
        tag("jaeger.version", 0, text("Go-2.30")),
        tag("ip", 0, text("::1")),
    ];
    Value::Struct(vec![(1, text("shop")), (2, structs(tags))])
}

fn tags() -> Vec<Value> {
    vec![
        tag("span.kind", 0, text("client")),
        tag("http.status_code", 3, Value::I64(404)),
        tag("flag", 2, Value::Bool(true)),
        tag("share", 1, Value::Double(0.5)),
        tag("raw", 4, Value::Bytes(vec![0, 255])),
        tag("w3c.tracestate", 0, text("a=b")),
        tag("otel.scope.name", 0, text("lib")),
        tag("otel.scope.version", 0, text("1")),
        tag("twice", 0, text("old")),
        tag("twice", 0, text("new")),
    ]
}

fn batch(spans: Vec<Value>) -> Value {
    Value::Struct(vec![(1, process()), (2, structs(spans))])
}

fn spans(request: &ExportTraceServiceRequest) -> Vec<&OtlpSpan> {
    request.resource_spans.iter().flat_map(|r| &r.scope_spans).flat_map(|s| &s.spans).collect()
}

fn one(tags: Vec<Value>, references: Vec<Value>) -> OtlpSpan {
    let bytes = write(&batch(vec![span(tags, references)]), Protocol::Binary);
    let converted = from_batch(&bytes, Protocol::Binary).expect("a batch");
    spans(&converted.request)[0].clone()
}

fn keys(span: &OtlpSpan) -> Vec<&str> {
    span.attributes.iter().map(|a| a.key.as_str()).collect()
}

/// A field of protobuf.
fn field(number: u32, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    proto::push_varint(&mut out, u64::from(number) << 3 | 2);
    proto::push_varint(&mut out, bytes.len() as u64);
    out.extend_from_slice(bytes);
    out
}

fn number(number: u32, value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    proto::push_varint_field(&mut out, number, value);
    out
}

fn proto_tag(key: &str, kind: u64, value: Vec<u8>) -> Vec<u8> {
    [field(1, key.as_bytes()), number(2, kind), value].concat()
}

fn trace_id() -> Vec<u8> {
    [HIGH.to_be_bytes(), LOW.to_be_bytes()].concat()
}

/// As [`process`], [`tags`] and [`span`], in protobuf.
fn request(extra: &[u8]) -> Vec<u8> {
    let process = [
        field(1, b"shop"),
        field(2, &proto_tag("hostname", 0, field(3, b"h"))),
        field(2, &proto_tag("jaeger.version", 0, field(3, b"Go-2.30"))),
        field(2, &proto_tag("ip", 0, field(3, b"::1"))),
    ];
    let double = [vec![6 << 3 | 1], 0.5f64.to_le_bytes().to_vec()].concat();
    let tags = [
        proto_tag("span.kind", 0, field(3, b"client")),
        proto_tag("http.status_code", 2, number(5, 404)),
        proto_tag("flag", 1, number(4, 1)),
        proto_tag("share", 3, double),
        proto_tag("raw", 4, field(7, &[0, 255])),
        proto_tag("w3c.tracestate", 0, field(3, b"a=b")),
        proto_tag("otel.scope.name", 0, field(3, b"lib")),
        proto_tag("otel.scope.version", 0, field(3, b"1")),
        proto_tag("twice", 0, field(3, b"old")),
        proto_tag("twice", 0, field(3, b"new")),
    ];
    let time = |us: i64| [number(1, us as u64 / 1_000_000), number(2, us as u64 % 1_000_000 * 1000)].concat();
    let log = [
        field(1, &time(START_US + 1)),
        field(2, &proto_tag("event", 0, field(3, b"retry"))),
        field(2, &proto_tag("n", 2, number(5, 2))),
    ];
    let parent = [field(1, &trace_id()), field(2, &6u64.to_be_bytes())].concat();
    let span = [
        field(1, &trace_id()),
        field(2, &7u64.to_be_bytes()),
        field(3, b"GET /"),
        field(4, &parent),
        number(5, 3),
        field(6, &time(START_US)),
        field(7, &time(250)),
        tags.iter().flat_map(|tag| field(8, tag)).collect(),
        field(9, &log.concat()),
        extra.to_vec(),
    ];
    field(1, &[field(1, &span.concat()), field(2, &process.concat())].concat())
}

#[test]
fn one_batch_is_the_same_in_every_format() {
    let thrift = batch(vec![span(tags(), vec![reference(0, HIGH, LOW, 6)])]);
    let proto = from_request(&request(&[])).expect("a request");
    for protocol in BOTH {
        let posted = from_batch(&write(&thrift, protocol), protocol).expect("a batch");
        let emitted = from_agent(&call("emitBatch", thrift.clone(), protocol), protocol).expect("a call");
        assert_eq!(posted.request, emitted.request);
        assert_eq!((&posted.request, &posted.dropped), (&proto.request, &proto.dropped), "{protocol:?}");
    }
    let resource = &proto.request.resource_spans[0];
    let attributes = &resource.resource.as_ref().expect("there").attributes;
    let found: Vec<_> = attributes.iter().map(|a| (a.key.as_str(), as_text(a).unwrap_or_default())).collect();
    assert_eq!(
        found,
        [
            ("service.name", "shop"),
            ("host.name", "h"),
            ("ip", "::1"),
            ("opencensus.exporterversion", "Jaeger-Go-2.30")
        ]
    );
    let scope = resource.scope_spans[0].scope.as_ref().expect("there");
    assert_eq!((scope.name.as_str(), scope.version.as_str()), ("lib", "1"));
    let span = spans(&proto.request)[0];
    assert_eq!(span.trace_id, trace_id());
    assert_eq!(
        (&span.span_id[..], &span.parent_span_id[..]),
        (&7u64.to_be_bytes()[..], &6u64.to_be_bytes()[..])
    );
    assert_eq!((span.kind, span.trace_state.as_str(), span.flags), (3, "a=b", 1));
    assert_eq!(span.start_time_unix_nano, 1_700_000_000_000_001_000);
    assert_eq!(span.end_time_unix_nano - span.start_time_unix_nano, 250_000);
    assert_eq!(keys(span), ["http.status_code", "flag", "share", "raw", "twice"]);
    assert_eq!(as_text(&span.attributes[4]), Some("new"));
    assert_eq!(span.status.as_ref().map(|s| s.code), Some(2), "404 of a client");
    assert_eq!((span.events[0].name.as_str(), span.events[0].attributes.len()), ("retry", 1));
    assert_eq!(span.links, []);
    let dropped: Vec<_> = proto.dropped.iter().collect();
    assert_eq!(dropped, [("tag", "repeated", 1), ("debug flag", "no place in OTLP", 1)]);
}

#[test]
fn the_first_fitting_reference_is_the_parent_and_the_others_are_links() {
    let cases = [
        (vec![], 0, vec![]),
        (vec![reference(0, HIGH, LOW, 5)], 5, vec![]),
        (vec![reference(0, 9, 9, 5)], 0, vec![(5, "child_of")]),
        (vec![reference(1, HIGH, LOW, 5)], 5, vec![(5, "follows_from")]),
        (
            vec![reference(1, HIGH, LOW, 4), reference(0, HIGH, LOW, 5), reference(0, HIGH, LOW, 6)],
            5,
            vec![(4, "follows_from"), (6, "child_of")],
        ),
    ];
    for (references, parent, links) in cases {
        let span = one(vec![], references.clone());
        let expected = if parent == 0 { vec![] } else { u64::to_be_bytes(parent).to_vec() };
        assert_eq!(span.parent_span_id, expected, "{references:?}");
        let found: Vec<_> = span
            .links
            .iter()
            .map(|l| (u64::from_be_bytes(l.span_id[..].try_into().expect("8")), as_text(&l.attributes[0])))
            .collect();
        assert_eq!(found, links.iter().map(|(id, kind)| (*id, Some(*kind))).collect::<Vec<_>>());
    }
}

#[test]
fn a_status_is_what_error_says_then_opentelemetry_then_http() {
    let error = |value| tag("error", 2, Value::Bool(value));
    let said = |code: &str| tag("otel.status_code", 0, text(code));
    let why = |why: &str| tag("otel.status_description", 0, text(why));
    let http = |code| tag("http.status_code", 3, Value::I64(code));
    let kind = |kind: &str| tag("span.kind", 0, text(kind));
    let message = tag("http.status_message", 0, text("gone"));
    type Case = (Vec<Value>, Option<(i32, &'static str)>, &'static [&'static str]);
    let cases: [Case; 12] = [
        (vec![], None, &[]),
        (vec![error(true)], Some((2, "")), &[]),
        (vec![tag("error", 0, text("true"))], Some((2, "")), &[]),
        (vec![error(false)], None, &["error"]),
        (vec![error(true), said("OK"), why("x")], Some((2, "x")), &[]),
        (vec![error(true), message.clone()], Some((2, "gone")), &["http.status_message"]),
        (vec![said("ok")], Some((1, "")), &[]),
        (vec![said("ERROR"), why("x"), http(200)], Some((2, "x")), &["http.status_code"]),
        (vec![http(200)], None, &["http.status_code"]),
        (vec![http(404), kind("server")], None, &["http.status_code"]),
        (
            vec![http(500), kind("server"), message],
            Some((2, "gone")),
            &["http.status_code", "http.status_message"],
        ),
        (vec![tag("http.status_code", 0, text("503"))], Some((2, "")), &["http.status_code"]),
    ];
    for (tags, expected, left) in cases {
        let span = one(tags.clone(), vec![]);
        let status = span.status.as_ref().map(|s| (s.code, s.message.as_str()));
        assert_eq!((status, &keys(&span)[..]), (expected, left), "{tags:?}");
    }
}

#[test]
fn a_span_with_its_own_process_gets_its_own_resource_and_warnings_stay() {
    let extra = [field(10, &field(1, b"other")), field(12, b"clock skew")].concat();
    let converted = from_request(&request(&extra)).expect("a request");
    let resource = converted.request.resource_spans[0].resource.as_ref().expect("there");
    assert_eq!(find(&resource.attributes, "service.name").and_then(as_text), Some("other"));
    let span = spans(&converted.request)[0];
    assert!(format!("{:?}", find(&span.attributes, "jaeger.internal.warnings")).contains("clock skew"));
}

#[test]
fn spans_of_processes_and_scopes_are_grouped() {
    let scoped = |name: &str| span(vec![tag("otel.library.name", 0, text(name))], vec![]);
    let bytes =
        write(&batch(vec![scoped("a"), scoped("b"), scoped("a"), Value::Struct(vec![])]), Protocol::Compact);
    let converted = from_batch(&bytes, Protocol::Compact).expect("a batch");
    let counts: Vec<_> =
        converted.request.resource_spans[0].scope_spans.iter().map(|s| s.spans.len()).collect();
    assert_eq!((converted.request.resource_spans.len(), counts), (1, vec![2, 1]));
    assert!(converted.dropped.iter().any(|d| d == ("span", "blank", 1)));
}

#[test]
fn a_batch_that_is_cut_off_anywhere_is_refused() {
    let thrift = batch(vec![span(tags(), vec![reference(0, HIGH, LOW, 6)])]);
    for protocol in BOTH {
        let posted = write(&thrift, protocol);
        assert!((0..posted.len()).all(|end| from_batch(&posted[..end], protocol).is_err()), "{protocol:?}");
        let emitted = call("emitBatch", thrift.clone(), protocol);
        assert!((0..emitted.len()).all(|end| from_agent(&emitted[..end], protocol).is_err()), "{protocol:?}");
    }
    // A request is one field: nothing of it is a request too, an empty one.
    let request = request(&[]);
    assert!((1..request.len()).all(|end| from_request(&request[..end]).is_err()));
}

#[test]
fn text_that_is_not_utf8_is_repaired_and_bad_ids_are_refused() {
    let bad = tag("k", 0, Value::Bytes(vec![b'a', 0xff]));
    assert_eq!(as_text(&one(vec![bad], vec![]).attributes[0]), Some("a\u{fffd}"));
    let span = |id: &[u8]| field(1, &field(1, &field(1, id)));
    assert_eq!(from_request(&span(&[1; 15])), Err(Error::Id { what: "trace", length: 15 }));
    assert!(from_request(&span(&[1; 8])).is_ok());
    let unknown = call("submit", Value::Struct(vec![]), Protocol::Compact);
    assert_eq!(from_agent(&unknown, Protocol::Compact), Err(Error::Method("submit".into())));
}

#[test]
fn a_list_of_nothings_is_refused_before_it_takes_memory() {
    let nothings = |count: usize| batch(vec![Value::Struct(vec![]); count]);
    let few = write(&nothings(100), Protocol::Compact);
    assert!(from_batch(&few, Protocol::Compact).expect("few").request.resource_spans.is_empty());
    let many = write(&nothings(1 << 20), Protocol::Compact);
    assert_eq!(from_batch(&many, Protocol::Compact), Err(Error::TooMuch(TooMuch)));
    // One process for all: what it takes is counted once.
    let many = write(&batch(vec![span(tags(), vec![]); 2000]), Protocol::Compact);
    let converted = from_batch(&many, Protocol::Compact).expect("real spans");
    assert!(converted.memory <= memory(many.len()));
    assert_eq!(converted.request.resource_spans.len(), 1);
}

#[test]
fn a_zipkin_batch_that_an_agent_is_sent_is_taken() {
    let span =
        Value::Struct(vec![(1, Value::I64(1)), (3, text("old")), (4, Value::I64(2)), (10, Value::I64(5))]);
    for protocol in BOTH {
        let bytes = call("emitZipkinBatch", structs(vec![span.clone()]), protocol);
        let converted = from_agent(&bytes, protocol).expect("spans");
        assert_eq!(spans(&converted.request)[0].name, "old");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoders_panic_or_take_more_than_they_may(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        cut in 0usize..400,
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let thrift = batch(vec![span(tags(), vec![reference(0, HIGH, LOW, 6)])]);
        for protocol in BOTH {
            let _ = from_batch(&bytes, protocol);
            let _ = from_agent(&bytes, protocol);
            let mut real = call("emitBatch", thrift.clone(), protocol);
            for (at, with) in &flips {
                let at = at.index(real.len());
                real[at] = *with;
            }
            real.truncate(real.len().saturating_sub(cut / 4));
            if let Ok(converted) = from_agent(&real, protocol) {
                prop_assert!(converted.memory <= memory(real.len()));
            }
        }
        let _ = from_request(&bytes);
    }
}

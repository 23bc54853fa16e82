//! Each form as OTLP; what is odd but real; hostile input.

use proptest::prelude::*;
use signal::otlp::proto::collector::trace::v1::ExportTraceServiceRequest;
use signal::otlp::proto::common::v1::KeyValue;
use signal::otlp::proto::common::v1::any_value::Value as Any;
use signal::otlp::proto::trace::v1::Span as OtlpSpan;

use super::*;
use crate::spans::{as_text, find, memory};
use crate::thrift::testkit::{Value, structs, text, write};

const FORMATS: [Format; 4] = [Format::V1Json, Format::V1Thrift, Format::V2Json, Format::V2Proto];
const TRACE: &str = "0102030405060708090a0b0c0d0e0f10";

const V2: &str = r#"[{
    "traceId": "0102030405060708090a0b0c0d0e0f10", "id": "00000000000000a1", "parentId": "00000000000000a0",
    "kind": "SERVER", "name": "get /", "timestamp": 1700000000000001, "duration": 250, "shared": true,
    "localEndpoint": {"serviceName": "shop", "ipv4": "10.0.0.1", "port": 80},
    "remoteEndpoint": {"serviceName": "browser", "ipv6": "2001:DB8::1", "port": 4000},
    "annotations": [{"timestamp": 1700000000000002, "value": "retry|{\"n\":2}|1"}],
    "tags": {"http.status_code": "500", "share": "0.5", "cached": "false", "k8s.pod.name": "p",
             "otel.library.name": "lib", "otel.library.version": "1"}
}]"#;

fn read(body: &[u8], format: Format) -> Result<Converted, Error> {
    decode(body, format, Options { parse_string_tags: false, now_ns: 77 })
}

fn spans(request: &ExportTraceServiceRequest) -> Vec<&OtlpSpan> {
    request.resource_spans.iter().flat_map(|r| &r.scope_spans).flat_map(|s| &s.spans).collect()
}

fn resource(converted: &Converted, at: usize) -> Vec<(&str, &str)> {
    let resource = converted.request.resource_spans[at].resource.as_ref().expect("there");
    texts(&resource.attributes)
}

fn texts(attributes: &[KeyValue]) -> Vec<(&str, &str)> {
    attributes.iter().map(|a| (a.key.as_str(), as_text(a).unwrap_or("?"))).collect()
}

fn value<'a>(span: &'a OtlpSpan, key: &str) -> Option<&'a Any> {
    find(&span.attributes, key)?.value.as_ref()?.value.as_ref()
}

/// A span of version 2 with the IDs and some JSON more.
fn v2(more: &str) -> OtlpSpan {
    let body = format!(r#"[{{"traceId":"1","id":"2","timestamp":5{more}}}]"#);
    spans(&read(body.as_bytes(), Format::V2Json).expect("a span").request)[0].clone()
}

#[test]
fn a_span_of_version_2_is_carried_whole() {
    let converted = read(V2.as_bytes(), Format::V2Json).expect("spans");
    assert_eq!(resource(&converted, 0), [("k8s.pod.name", "p"), ("service.name", "shop")]);
    let scope = converted.request.resource_spans[0].scope_spans[0].scope.as_ref().expect("there");
    assert_eq!((scope.name.as_str(), scope.version.as_str()), ("lib", "1"));
    let span = spans(&converted.request)[0];
    assert_eq!(span.trace_id, (1..=16).collect::<Vec<u8>>());
    assert_eq!((span.span_id[7], span.parent_span_id[7], span.kind), (0xa1, 0xa0, 2));
    assert_eq!(
        (span.start_time_unix_nano, span.end_time_unix_nano),
        (1_700_000_000_000_001_000, 1_700_000_000_000_251_000)
    );
    assert_eq!(
        texts(&span.attributes),
        [
            ("http.status_code", "500"),
            ("share", "0.5"),
            ("cached", "false"),
            ("peer.service", "browser"),
            ("net.host.ip", "10.0.0.1"),
            ("net.host.port", "?"),
            ("net.peer.ip", "2001:db8::1"),
            ("net.peer.port", "?"),
        ]
    );
    assert_eq!(value(span, "net.peer.port"), Some(&Any::IntValue(4000)));
    let event = &span.events[0];
    assert_eq!(
        (event.name.as_str(), event.dropped_attributes_count, event.attributes.len()),
        ("retry", 1, 1)
    );
    assert_eq!(converted.dropped.iter().collect::<Vec<_>>(), [("shared flag", "no place in OTLP", 1)]);
}

#[test]
fn protobuf_and_json_of_version_2_are_the_same() {
    let field = |number: u32, bytes: &[u8]| {
        let mut out = Vec::new();
        proto::push_varint(&mut out, u64::from(number) << 3 | 2);
        proto::push_varint(&mut out, bytes.len() as u64);
        out.extend_from_slice(bytes);
        out
    };
    let number = |number: u32, value: u64| {
        let mut out = Vec::new();
        proto::push_varint_field(&mut out, number, value);
        out
    };
    let fixed = |number: u8, value: u64| [vec![number << 3 | 1], value.to_le_bytes().to_vec()].concat();
    let tag =
        |key: &str, value: &str| field(11, &[field(1, key.as_bytes()), field(2, value.as_bytes())].concat());
    let remote: Vec<u8> =
        std::net::Ipv6Addr::from(0x2001_0db8_0000_0000_0000_0000_0000_0001).octets().to_vec();
    let span = [
        field(1, &(1..=16).collect::<Vec<u8>>()),
        field(2, &0xa0u64.to_be_bytes()),
        field(3, &0xa1u64.to_be_bytes()),
        number(4, 2),
        field(5, b"get /"),
        fixed(6, 1_700_000_000_000_001),
        number(7, 250),
        field(8, &[field(1, b"shop"), field(2, &[10, 0, 0, 1]), number(4, 80)].concat()),
        field(9, &[field(1, b"browser"), field(3, &remote), number(4, 4000)].concat()),
        field(10, &[fixed(1, 1_700_000_000_000_002), field(2, br#"retry|{"n":2}|1"#)].concat()),
        tag("http.status_code", "500"),
        tag("share", "0.5"),
        tag("cached", "false"),
        tag("k8s.pod.name", "p"),
        tag("otel.library.name", "lib"),
        tag("otel.library.version", "1"),
        number(13, 1),
    ];
    let body = field(1, &span.concat());
    let proto = read(&body, Format::V2Proto).expect("spans");
    let json = read(V2.as_bytes(), Format::V2Json).expect("spans");
    assert_eq!((&proto.request, &proto.dropped), (&json.request, &json.dropped));
    assert!((1..body.len()).all(|end| read(&body[..end], Format::V2Proto).is_err()));
}

#[test]
fn tags_become_numbers_and_booleans_only_where_that_is_asked_for() {
    let cases = [
        ("1", Any::IntValue(1)),
        ("-12", Any::IntValue(-12)),
        ("99999999999999999999", Any::StringValue("99999999999999999999".into())),
        ("0.5", Any::DoubleValue(0.5)),
        ("-1.25", Any::DoubleValue(-1.25)),
        ("1.", Any::StringValue("1.".into())),
        ("1e5", Any::StringValue("1e5".into())),
        ("+1", Any::StringValue("+1".into())),
        ("true", Any::BoolValue(true)),
        ("True", Any::StringValue("True".into())),
        ("", Any::StringValue(String::new())),
    ];
    for (given, expected) in cases {
        for (parse, expected) in [(true, expected.clone()), (false, Any::StringValue(given.into()))] {
            let body = format!(r#"[{{"traceId":"1","id":"2","timestamp":5,"tags":{{"k":"{given}"}}}}]"#);
            let options = Options { parse_string_tags: parse, now_ns: 0 };
            let converted = decode(body.as_bytes(), Format::V2Json, options).expect("a span");
            assert_eq!(value(spans(&converted.request)[0], "k"), Some(&expected), "{given} {parse}");
        }
    }
}

#[test]
fn a_status_comes_from_opentelemetry_or_from_the_error_tag() {
    type Case = (&'static str, Option<(i32, &'static str)>, &'static [(&'static str, &'static str)]);
    let cases: [Case; 8] = [
        ("", None, &[]),
        (r#""error":"true""#, Some((2, "")), &[]),
        (r#""error":"false""#, None, &[("error", "false")]),
        (r#""error":"timeout""#, Some((2, "timeout")), &[("error", "timeout")]),
        (r#""otel.status_code":"STATUS_CODE_ERROR","otel.status_description":"x""#, Some((2, "x")), &[]),
        (r#""otel.status_code":"ERROR","error":"x""#, Some((2, "x")), &[("error", "x")]),
        (r#""otel.status_code":"OK""#, Some((1, "")), &[]),
        (r#""otel.status_code":"UNSET""#, Some((0, "")), &[]),
    ];
    for (tags, expected, left) in cases {
        let span = v2(&format!(r#","tags":{{{tags}}}"#));
        let status = span.status.as_ref().map(|s| (s.code, s.message.as_str()));
        assert_eq!((status, &texts(&span.attributes)[..]), (expected, left), "{tags}");
    }
}

#[test]
fn links_and_events_are_unfolded_and_what_only_looks_like_them_stays() {
    let link = format!("{TRACE}|00000000000000b1|a=b|{{\\\"k\\\":\\\"x|y\\\",\\\"n\\\":1.5}}|3");
    let span = v2(&format!(r#","tags":{{"otlp.link.0":"{link}","otlp.link.1":"odd","otlp.link.3":"far"}}"#));
    assert_eq!(span.links.len(), 1);
    let found = &span.links[0];
    assert_eq!(
        (found.span_id[7], found.trace_state.as_str(), found.dropped_attributes_count),
        (0xb1, "a=b", 3)
    );
    assert_eq!(texts(&found.attributes), [("k", "x|y"), ("n", "?")]);
    assert_eq!(texts(&span.attributes), [("otlp.link.1", "odd"), ("otlp.link.3", "far")]);
    for name in ["plain", "a|b", "a|b|c", "SELECT 1 | 2 | 3"] {
        let span = v2(&format!(r#","annotations":[{{"timestamp":6,"value":"{name}"}}]"#));
        assert_eq!((span.events[0].name.as_str(), span.events[0].time_unix_nano), (name, 6000));
    }
}

#[test]
fn a_span_without_a_time_says_so_and_kinds_come_from_tags_too() {
    let converted =
        read(br#"[{"traceId":"1","id":"2","duration":3}, null]"#, Format::V2Json).expect("a span");
    let span = spans(&converted.request)[0];
    assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (0, 3000));
    assert_eq!(value(span, "otel.zipkin.absentField.startTime"), Some(&Any::BoolValue(true)));
    for (kind, expected) in [("internal", 1), ("client", 3), ("odd", 0)] {
        assert_eq!(v2(&format!(r#","tags":{{"span.kind":"{kind}"}}"#)).kind, expected);
    }
    assert_eq!(v2(r#","kind":"CONSUMER","parentId":"0000000000000000""#).kind, 5);
    let own_parent = v2(r#","parentId":"2","name":null,"localEndpoint":{"serviceName":null}"#);
    assert_eq!(own_parent.parent_span_id, Vec::<u8>::new());
}

#[test]
fn spans_with_other_resource_tags_keep_them() {
    let span = |id: u8, service: &str, pod: &str| {
        format!(
            r#"{{"traceId":"1","id":"{id}","timestamp":5,"localEndpoint":{{"serviceName":"{service}"}},"tags":{{"k8s.pod.name":"{pod}","otlp.service.name.source":"faas.name"}}}}"#
        )
    };
    let body = format!("[{},{},{}]", span(1, "a", "x"), span(2, "a", "y"), span(3, "a", "x"));
    let converted = read(body.as_bytes(), Format::V2Json).expect("spans");
    assert_eq!(resource(&converted, 0), [("faas.name", "a"), ("k8s.pod.name", "x")]);
    assert_eq!(resource(&converted, 1), [("faas.name", "a"), ("k8s.pod.name", "y")]);
    assert_eq!(converted.request.resource_spans[0].scope_spans[0].spans.len(), 2);
}

const V1: &str = r#"[{
    "traceId": "090a0b0c0d0e0f10", "id": "00000000000000a1", "parentId": "00000000000000a0", "name": "get /",
    "annotations": [
        {"timestamp": 1000, "value": "sr", "endpoint": {"serviceName": "shop", "ipv4": "10.0.0.1", "port": 80}},
        {"timestamp": 1500, "value": "retry"},
        {"timestamp": 2000, "value": "ss", "endpoint": {"serviceName": "other"}}
    ],
    "binaryAnnotations": [
        {"key": "lc", "value": "grpc", "endpoint": {"serviceName": "shop"}},
        {"key": "sa", "value": true, "endpoint": {"serviceName": "db"}},
        {"key": "n", "value": "5"},
        {"key": "http.status_code", "value": "404"}
    ]
}]"#;

#[test]
fn a_span_of_version_1_is_carried_whole() {
    let converted = read(V1.as_bytes(), Format::V1Json).expect("spans");
    assert_eq!(resource(&converted, 0), [("service.name", "shop"), ("ipv4", "10.0.0.1"), ("port", "80")]);
    let span = spans(&converted.request)[0];
    assert_eq!((span.trace_id[7], span.trace_id[8], span.kind), (0, 9, 2));
    assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (1_000_000, 2_000_000));
    assert_eq!(span.events.iter().map(|e| e.name.as_str()).collect::<Vec<_>>(), ["retry"]);
    assert_eq!(
        texts(&span.attributes),
        [("component", "grpc"), ("sa", "?"), ("n", "5"), ("http.status_code", "404")]
    );
    assert_eq!(span.status.as_ref().map(|s| s.code), Some(2));
    let thrift =
        read(&write(&v1_thrift(), crate::thrift::Protocol::Binary), Format::V1Thrift).expect("spans");
    assert_eq!(thrift.request, converted.request);
}

/// As [`V1`].
fn v1_thrift() -> Value {
    let endpoint = |service: &str, ip: i32, port: i16| {
        Value::Struct(vec![(1, Value::I32(ip)), (2, Value::I16(port)), (3, text(service))])
    };
    let annotation = |time: i64, value: &str, from: Option<Value>| {
        let mut fields = vec![(1, Value::I64(time)), (2, text(value))];
        fields.extend(from.map(|from| (3, from)));
        Value::Struct(fields)
    };
    let binary = |key: &str, kind: i32, value: &[u8], from: Option<Value>| {
        let mut fields = vec![(1, text(key)), (2, Value::Bytes(value.to_vec())), (3, Value::I32(kind))];
        fields.extend(from.map(|from| (4, from)));
        Value::Struct(fields)
    };
    structs(vec![Value::Struct(vec![
        (1, Value::I64(0x090a_0b0c_0d0e_0f10)),
        (3, text("get /")),
        (4, Value::I64(0xa1)),
        (5, Value::I64(0xa0)),
        (
            6,
            structs(vec![
                annotation(1000, "sr", Some(endpoint("shop", 0x0a00_0001, 80))),
                annotation(1500, "retry", None),
                annotation(2000, "ss", Some(endpoint("other", 0, 0))),
            ]),
        ),
        (
            8,
            structs(vec![
                binary("lc", 6, b"grpc", Some(endpoint("shop", 0, 0))),
                binary("sa", 0, &[1], Some(endpoint("db", 0, 0))),
                binary("n", 6, b"5", None),
                binary("http.status_code", 6, b"404", None),
            ]),
        ),
    ])])
}

#[test]
fn typed_values_of_thrift_keep_their_types_and_their_signs() {
    let cases: [(i32, Vec<u8>, Any); 8] = [
        (0, vec![0], Any::BoolValue(false)),
        (1, vec![1, 2], Any::StringValue("AQI=".into())),
        (2, (-2i16).to_be_bytes().to_vec(), Any::IntValue(-2)),
        (3, (-3i32).to_be_bytes().to_vec(), Any::IntValue(-3)),
        (4, (-4i64).to_be_bytes().to_vec(), Any::IntValue(-4)),
        (5, (-0.5f64).to_be_bytes().to_vec(), Any::DoubleValue(-0.5)),
        (6, b"text".to_vec(), Any::StringValue("text".into())),
        (4, vec![b'7'], Any::StringValue("7".into())),
    ];
    for (kind, bytes, expected) in cases {
        let binary = Value::Struct(vec![(1, text("k")), (2, Value::Bytes(bytes)), (3, Value::I32(kind))]);
        let span = Value::Struct(vec![(1, Value::I64(1)), (4, Value::I64(2)), (8, structs(vec![binary]))]);
        let body = write(&structs(vec![span]), crate::thrift::Protocol::Binary);
        let converted = read(&body, Format::V1Thrift).expect("a span");
        let span = spans(&converted.request)[0];
        assert_eq!(value(span, "k"), Some(&expected), "{kind}");
        assert_eq!(span.start_time_unix_nano, 77, "no time is told");
    }
}

#[test]
fn what_is_no_list_of_spans_is_refused_with_the_place() {
    for (body, part) in [
        ("", "EOF"),
        ("null", "a list of spans"),
        ("{}", "a list of spans"),
        ("[{}]", "traceId"),
        ("[1]", "struct"),
        (r#"[{"traceId":"1"}]"#, "`id`"),
        (r#"[{"traceId":"1","id":"2"},{"traceId":"x","id":"1"}]"#, "span 2: the trace ID is not in base 16"),
        (r#"[{"traceId":"1","id":"00000000000000001"}]"#, "the span ID is not in base 16, or too long"),
        (r#"[{"traceId":"0","id":"1"}]"#, "the trace ID is zero"),
        (r#"[{"traceId":"1","id":"2","timestamp":-5}]"#, "not negative"),
        (r#"[{"traceId":"1","id":"2","tags":[]}]"#, "an object of texts"),
        (r#"[{"traceId":"1","id":"2"}]x"#, "trailing"),
    ] {
        for format in [Format::V1Json, Format::V2Json] {
            if format == Format::V1Json && body.contains("tags") {
                continue;
            }
            let error = read(body.as_bytes(), format).expect_err(body).to_string();
            assert!(error.contains(part), "{body}: {error}");
        }
    }
    assert!(matches!(read(&[12, 0, 0, 0, 1, 0], Format::V1Thrift), Err(Error::Id { .. })));
}

#[test]
fn hostile_bodies_are_refused_in_time() {
    let thrift = write(&v1_thrift(), crate::thrift::Protocol::Binary);
    for (body, format) in
        [(V2.as_bytes(), Format::V2Json), (V1.as_bytes(), Format::V1Json), (&thrift, Format::V1Thrift)]
    {
        assert!((0..body.len()).all(|end| read(&body[..end], format).is_err()), "{format:?}");
    }
    let deep = "[".repeat(1 << 20);
    let nested = format!(r#"[{{"traceId":"1","id":"2","unknown":{deep}"#);
    for body in [&deep, &nested] {
        assert!(read(body.as_bytes(), Format::V2Json).is_err());
        assert!(read(body.as_bytes(), Format::V1Json).is_err());
    }
    // More items than bytes could mean.
    let spans = format!("[{}]", vec![r#"{"traceId":"1","id":"2","annotations":[{"value":""},{"value":""},{"value":""},{"value":""},{"value":""},{"value":""},{"value":""},{"value":""}]}"#; 20_000].join(","));
    let converted = read(spans.as_bytes(), Format::V2Json);
    assert!(converted.is_ok_and(|c| c.memory <= memory(spans.len())));
    let nothings = write(&structs(vec![Value::Struct(vec![]); 1 << 20]), crate::thrift::Protocol::Binary);
    assert!(read(&nothings, Format::V1Thrift).is_err());
}

#[test]
fn bytes_that_are_not_utf8_are_repaired() {
    let body = [br#"[{"traceId":"1","id":"2","name":"a"#, &[0xff][..], br#""}]"#].concat();
    let converted = read(&body, Format::V2Json).expect("a span");
    assert_eq!(spans(&converted.request)[0].name, "a\u{fffd}");
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoders_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let thrift = write(&v1_thrift(), crate::thrift::Protocol::Binary);
        for (format, real) in FORMATS.into_iter().zip([V1.as_bytes(), &thrift, V2.as_bytes(), &bytes]) {
            let _ = read(&bytes, format);
            let mut real = real.to_vec();
            for (at, with) in &flips {
                if !real.is_empty() {
                    let at = at.index(real.len());
                    real[at] = *with;
                }
            }
            if let Ok(converted) = read(&real, format) {
                prop_assert!(converted.memory <= memory(real.len().saturating_mul(3)));
            }
        }
    }
}

//! Associations and operations by tables, with the component as its neighbours see it.

use component::testkit::{Harness, Names, Sink, surface};
use component::{ArgValue, ComponentDef};
use signal::otlp::proto::collector::trace::v1::ExportTraceServiceRequest;
use signal::otlp::proto::common::v1::any_value::Value;
use signal::otlp::proto::common::v1::{AnyValue, KeyValue};
use signal::otlp::proto::resource::v1::Resource;
use signal::otlp::proto::trace::v1::{ResourceSpans, ScopeSpans, Span};
use signal::otlp::{Otlp, OtlpRequest};

use super::*;

fn text_attribute(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.into())) });
    KeyValue { key: key.into(), value, ..KeyValue::default() }
}

const TARGETS: &str = r#"targets = [
    { "__address__" = "10.0.0.1:80", "pod" = "a", "env" = "prod", "__meta_x" = "y" },
    { "__address__" = "shop", "pod" = "s" },
    { "__address__" = "[::1]:80", "pod" = "six" },
    { "__address__" = ":80", "pod" = "none" },
]
"#;

fn body(lines: &str) -> String {
    format!("{TARGETS}{lines}\noutput {{ traces = [next] }}")
}

#[tokio::test]
async fn resources_get_the_labels_of_the_target_that_an_association_finds() {
    let sink = Sink::<Traces>::new();
    let next = OtelInput { traces: Some(sink.receiver()), ..OtelInput::default() };
    let names = Names::default().with("next", next.to_value());
    let harness = Harness::start(ComponentDef::of::<Discovery>(), &body(""), names).await;
    let component::eval::Value::Object(exports) = harness.node.exports() else { panic!("an object") };
    let input = OtelInput::from_value(&exports["input"]).expect("an input").traces.expect("takes traces");
    let found = [("pod", "a"), ("env", "prod")];
    for (lines, attributes, peer, added) in [
        ("", vec![("ip", "10.0.0.1")], "", found.to_vec()),
        ("", vec![("net.host.ip", "10.0.0.1")], "", found.to_vec()),
        ("", vec![("k8s.pod.ip", "10.0.0.1")], "", found.to_vec()),
        ("", vec![("host.name", "10.0.0.1")], "", found.to_vec()),
        ("", vec![("host.name", "shop")], "", vec![]),
        ("", vec![("ip", "shop")], "", vec![("pod", "s")]),
        ("", vec![("other", "10.0.0.1")], "", vec![]),
        ("", vec![], "10.0.0.1:4711", found.to_vec()),
        ("", vec![], "[::ffff:10.0.0.1]:4711", found.to_vec()),
        ("", vec![], "[::1]:4711", vec![("pod", "six")]),
        ("", vec![("ip", "10.9.9.9")], "10.0.0.1:4711", vec![]),
        ("pod_associations = [\"hostname\"]", vec![("ip", "10.0.0.1")], "10.0.0.1:1", vec![]),
        ("operation_type = \"update\"", vec![("ip", "10.0.0.1"), ("pod", "old")], "", vec![("pod", "a")]),
        ("operation_type = \"insert\"", vec![("ip", "10.0.0.1"), ("pod", "old")], "", vec![("env", "prod")]),
    ] {
        harness.update(&body(lines)).await.expect(lines);
        let before: Vec<_> = attributes.iter().map(|(k, v)| text_attribute(k, v)).collect();
        let resource = Resource { attributes: before.clone(), ..Resource::default() };
        let scope_spans = vec![ScopeSpans { spans: vec![Span::default()], ..ScopeSpans::default() }];
        let resource = (!before.is_empty()).then_some(resource);
        let spans = ResourceSpans { resource, scope_spans, ..ResourceSpans::default() };
        let request = ExportTraceServiceRequest { resource_spans: vec![spans] };
        let mut batch = Otlp::of(OtlpRequest::from_message(request));
        if !peer.is_empty() {
            let client = ClientMetadata { peer: peer.into(), ..ClientMetadata::default() };
            batch.make_mut().client = Some(Arc::new(client));
        }
        input.send(batch).await.expect("passed on");
        let out = sink.take().remove(0);
        let out = out.requests[0].message().expect("decodes").resource_spans[0].clone();
        let mut expected = before;
        for (key, value) in added {
            match expected.iter_mut().find(|a| a.key == key) {
                Some(attribute) => *attribute = text_attribute(key, value),
                None => expected.push(text_attribute(key, value)),
            }
        }
        let mut out = out.resource.unwrap_or_default().attributes;
        out.sort_by(|a, b| a.key.cmp(&b.key));
        expected.sort_by(|a, b| a.key.cmp(&b.key));
        assert_eq!(out, expected, "{lines} {attributes:?} {peer}");
    }
    for (lines, why) in
        [("pod_associations = [\"pod\"]", "none of ip"), ("operation_type = \"set\"", "upsert")]
    {
        let refused = harness.update(&body(lines)).await.expect_err(lines);
        assert!(format!("{refused:?}").contains(why), "{lines}: {refused:?}");
    }
}

#[test]
fn the_host_of_an_address_is_what_stands_before_its_port() {
    for (address, expected) in [
        ("a:1", Some("a")),
        ("a", Some("a")),
        ("[::1]:80", Some("::1")),
        ("::1", Some("::1")),
        ("", None),
        (":80", None),
        ("a:b:c", None),
        ("[::1", None),
    ] {
        assert_eq!(host(address), expected, "{address}");
    }
}

#[test]
fn the_surface_is_alloys() {
    let ours = surface(<Args as component::eval::Arguments>::schema());
    let own: Vec<_> = ours.iter().filter(|line| !line.starts_with("output")).map(String::as_str).collect();
    assert_eq!(
        own,
        [
            "operation_type string = \"upsert\"",
            "pod_associations list(string) = [\"ip\", \"net.host.ip\", \"k8s.pod.ip\", \"hostname\", \"connection\"]",
            "targets list(target) required",
        ]
    );
}

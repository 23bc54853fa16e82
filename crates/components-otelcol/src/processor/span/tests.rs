//! The component as its neighbours see it, by tables.

use component::testkit::{Harness, Names, Sink, surface};
use component::{ArgValue, ComponentDef};
use signal::otlp::proto::collector::trace::v1::ExportTraceServiceRequest;
use signal::otlp::proto::common::v1::any_value::Value;
use signal::otlp::proto::common::v1::{AnyValue, KeyValue};
use signal::otlp::proto::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use signal::otlp::{Otlp, OtlpRequest};

use super::*;

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

fn body(lines: &str) -> String {
    format!("{lines}\noutput {{ traces = [next] }}")
}

struct Bench {
    harness: Harness,
    sink: Sink<Traces>,
    input: component::Receiver<Traces>,
}

impl Bench {
    async fn new() -> Self {
        let sink = Sink::<Traces>::new();
        let next = OtelInput { traces: Some(sink.receiver()), ..OtelInput::default() };
        let names = Names::default().with("next", next.to_value());
        let first = body("status { code = \"Ok\" }");
        let harness = Harness::start(ComponentDef::of::<SpanProcessor>(), &first, names).await;
        let component::eval::Value::Object(exports) = harness.node.exports() else { panic!("an object") };
        let input = OtelInput::from_value(&exports["input"]).expect("an input").traces.expect("takes traces");
        Self { harness, sink, input }
    }

    async fn changed(&self, lines: &str, span: Span) -> Span {
        self.harness.update(&body(lines)).await.expect(lines);
        let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        let batch = Otlp::of(OtlpRequest::from_message(ExportTraceServiceRequest { resource_spans }));
        self.input.send(batch).await.expect("passed on");
        let out = self.sink.take().remove(0);
        out.requests[0].message().expect("decodes").resource_spans[0].scope_spans[0].spans[0].clone()
    }
}

fn from(keys: &str, more: &str) -> String {
    format!("name {{\n from_attributes = {keys}\n {more}\n}}")
}

fn to(rules: &str, more: &str) -> String {
    format!("name {{\n to_attributes {{\n rules = {rules}\n {more}\n}}\n}}")
}

#[tokio::test]
async fn names_are_made_of_attributes_and_taken_apart_into_them() {
    let bench = Bench::new().await;
    let before = || Span {
        name: "/api/v1/document/12/update".into(),
        attributes: vec![
            text("s", "x"),
            attribute("i", Value::IntValue(-3)),
            attribute("d", Value::DoubleValue(1e21)),
            attribute("b", Value::BoolValue(true)),
            attribute("y", Value::BytesValue(vec![1])),
        ],
        flags: 7,
        ..Span::default()
    };
    let same = before().name;
    for (lines, name, added) in [
        (
            from(r#"["s", "i", "d", "b", "y"]"#, r#"separator = "::""#),
            "x::-3::1000000000000000000000::true::<unknown-attribute-type>",
            vec![],
        ),
        (from(r#"["s", "i"]"#, ""), "x-3", vec![]),
        (from(r#"["s", "none"]"#, ""), same.as_str(), vec![]),
        (to(r#"["document/(?P<id>[^/]+)"]"#, ""), "/api/v1/document/{id}/update", vec![text("id", "12")]),
        (
            to(r#"["document/(?P<id>[^/]+)"]"#, "keep_original_name = true"),
            same.as_str(),
            vec![text("id", "12")],
        ),
        (to(r#"["^nothing(?P<id>.)"]"#, ""), same.as_str(), vec![]),
        (
            to(r#"["/(?P<a>\\w+)/v1", "v1/(?P<w>\\w+)"]"#, ""),
            "/{a}/v1/{w}/12/update",
            vec![text("a", "api"), text("w", "document")],
        ),
        (
            to(r#"["/(?P<a>\\w+)/v1", "v1/(?P<w>\\w+)"]"#, "break_after_match = true"),
            "/{a}/v1/document/12/update",
            vec![text("a", "api")],
        ),
        // A group that takes no part, and one inside of another.
        (
            to(r#"["(?P<no>nothing)?(?P<outer>document/(?P<inner>12))"]"#, ""),
            "/api/v1/{outer}/update",
            vec![text("no", ""), text("outer", "document/12"), text("inner", "12")],
        ),
    ] {
        let mut expected = before();
        expected.name = name.into();
        expected.attributes.extend(added);
        assert_eq!(bench.changed(&lines, before()).await, expected, "{lines}");
    }
    let lines = to(r#"["(?P<s>v.)"]"#, "");
    assert_eq!(bench.changed(&lines, before()).await.attributes[0], text("s", "v1"), "in its place");
    let both = "name {\n from_attributes = [\"s\"]\n to_attributes { rules = [\"(?P<n>.)\"] }\n}";
    assert_eq!(bench.changed(both, before()).await.name, "{n}");
    assert_eq!(bench.changed(&lines, Span::default()).await, Span::default(), "a span without a name");
}

#[tokio::test]
async fn the_status_is_set_where_include_matches() {
    let bench = Bench::new().await;
    let failed = || Span { status: Some(Status { code: 2, message: "m".into() }), ..Span::default() };
    for (lines, code, message) in [
        ("status { code = \"Ok\" }", 1, ""),
        ("status { code = \"Unset\" }", 0, ""),
        ("status {\n code = \"Error\"\n description = \"broken\"\n}", 2, "broken"),
    ] {
        for span in [Span::default(), failed()] {
            let status = bench.changed(lines, span).await.status;
            assert_eq!(status, Some(Status { code, message: message.into() }), "{lines}");
        }
    }
    let lines = "include {\n match_type = \"regexp\"\n span_names = [\"^GET\"]\n}\nstatus { code = \"Ok\" }";
    assert_eq!(bench.changed(lines, failed()).await, failed());
    let named = Span { name: "GET /".into(), ..failed() };
    assert_eq!(bench.changed(lines, named).await.status, Some(Status { code: 1, message: String::new() }));
}

#[tokio::test]
async fn arguments_that_make_no_sense_are_refused() {
    let bench = Bench::new().await;
    for (lines, why) in [
        (String::new(), "needs from_attributes"),
        (to("[]", ""), "needs from_attributes"),
        (to("[\"(\"]", ""), "error parsing regexp"),
        (to("[\"(a)\"]", ""), "must have a name"),
        ("status { code = \"OK\" }".into(), "is not Ok, Error or Unset"),
        ("status {\n code = \"Ok\"\n description = \"d\"\n}".into(), "goes with the code Error"),
        ("include { match_type = \"strict\" }\nstatus { code = \"Ok\" }".into(), "needs a service"),
        (
            "exclude {\n match_type = \"strict\"\n log_bodies = [\"a\"]\n}\nstatus { code = \"Ok\" }".into(),
            "do not go with traces",
        ),
    ] {
        let refused = bench.harness.update(&body(&lines)).await.expect_err(&lines);
        assert!(format!("{refused:?}").contains(why), "{lines}: {refused:?}");
    }
}

#[test]
fn the_surface_is_alloys() {
    let ours = surface(<Args as component::eval::Arguments>::schema());
    let own = |line: &&String| line.starts_with("name") || line.starts_with("status");
    assert_eq!(
        ours.iter().filter(own).map(String::as_str).collect::<Vec<_>>(),
        [
            "name block defaults",
            "name.from_attributes list(string)",
            "name.separator string",
            "name.to_attributes block unset",
            "name.to_attributes.break_after_match bool",
            "name.to_attributes.keep_original_name bool",
            "name.to_attributes.rules list(string) required",
            "status block unset",
            "status.code string required",
            "status.description string",
        ]
    );
}

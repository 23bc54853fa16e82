//! What a statement costs an item: setting an attribute, a condition that does not hold, a pattern replaced.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use ottl::{Context, ErrorMode, Item, Parser, RecordMut, View};
use signal::otlp::proto::common::v1::any_value::Value;
use signal::otlp::proto::common::v1::{AnyValue, KeyValue};
use signal::otlp::proto::trace::v1::{ResourceSpans, ScopeSpans, Span};

fn span() -> Span {
    let text = |key: &str, value: &str| KeyValue {
        key: key.into(),
        value: Some(AnyValue { value: Some(Value::StringValue(value.into())) }),
        ..KeyValue::default()
    };
    let attributes = vec![
        text("http.request.method", "GET"),
        text("http.route", "/account/{id}"),
        text("url.path", "/account/12345/orders/67890"),
        text("server.address", "shop.example.com"),
        text("user_agent.original", "curl/7.81.0"),
    ];
    Span { name: "GET /account/12345".into(), kind: 2, attributes, ..Span::default() }
}

fn statements(c: &mut Criterion) {
    let cases = [
        ("set", r#"set(attributes["deployment.environment"], "demo")"#),
        (
            "where",
            r#"set(name, "x") where attributes["http.route"] == "/healthz" and kind == SPAN_KIND_SERVER"#,
        ),
        ("replace_pattern", r#"replace_pattern(attributes["url.path"], "/account/\\d+", "/account/{id}")"#),
    ];
    for (name, text) in cases {
        let statements = Parser::new(Context::Span).statements(&[text]).expect("statements");
        c.bench_function(name, |b| {
            b.iter_batched_ref(
                || (span(), None, None, String::new(), String::new(), Vec::new()),
                |(span, resource, scope, resource_schema, scope_schema, cache)| {
                    let mut item = Item {
                        resource,
                        resource_schema,
                        scope,
                        scope_schema,
                        record: RecordMut::Span(span),
                        cache,
                        client: None,
                    };
                    statements.run(&mut item, ErrorMode::Propagate, &mut |_| {}).expect("no error")
                },
                BatchSize::SmallInput,
            );
        });
    }
}

fn conditions(c: &mut Criterion) {
    let text = r#"IsMatch(attributes["url.path"], "^/account/\\d+") and resource.attributes["env"] == nil"#;
    let condition = Parser::new(Context::Span).condition(text).expect("a condition");
    let (resource, scope, span) = (ResourceSpans::default(), ScopeSpans::default(), span());
    c.bench_function("condition", |b| {
        b.iter(|| condition.matches(&View::span(&resource, &scope, black_box(&span))).expect("no error"));
    });
}

criterion_group!(benches, statements, conditions);
criterion_main!(benches);

//! `set_semconv_span_name`: a span's name as the semantic conventions derive it from its attributes.

use std::borrow::Cow;

use signal::otlp::proto::common::v1::KeyValue;
use signal::otlp::proto::common::v1::any_value::Value as Proto;
use signal::otlp::proto::trace::v1::Span;
use signal::otlp::proto::trace::v1::span::SpanKind;

use super::Takes::Fixed;
use super::{Args, Function, optional, param};
use crate::context::{Context, Item, RecordMut};
use crate::error::EvalError;
use crate::value::{any_str, as_string, find, put};

pub(super) const TABLE: &[Function] = &[Function::edit(
    "set_semconv_span_name",
    &[param("semconv_version", Fixed), optional("original_span_name_attribute", Fixed)],
    set_name,
)
.only(&[Context::Span])
.prepared(|args| {
    let version = args.fixed(0).unwrap_or_default();
    let parts: Vec<Option<u32>> =
        version.strip_prefix('v').unwrap_or(version).split('.').map(|part| part.parse().ok()).collect();
    match parts.as_slice() {
        [Some(1), Some(37..=43)] | [Some(1), Some(37..=43), Some(_)] => {}
        _ => return Err(format!("`{version}` is not a version from 1.37.0 to 1.43.0")),
    }
    match args.fixed(1) {
        Some("") => Err("the name of the attribute for the original name is empty".into()),
        _ => Ok(()),
    }
})];

fn set_name(args: &Args, item: &mut Item<'_>) -> Result<(), EvalError> {
    let RecordMut::Span(span) = &mut item.record else { return Ok(()) };
    let Some(name) = derived(span).filter(|name| *name != span.name) else { return Ok(()) };
    let original = std::mem::replace(&mut span.name, name);
    if let Some(key) = args.fixed(1) {
        put(&mut span.attributes, key, any_str(original));
    }
    Ok(())
}

/// The name by the first convention that the span has the attributes of.
fn derived(span: &Span) -> Option<String> {
    let of = Attributes(&span.attributes);
    match SpanKind::try_from(span.kind).ok()? {
        SpanKind::Server => of.http("http.route").or_else(|| of.rpc()).or_else(|| of.messaging()),
        SpanKind::Client => {
            of.http("url.template").or_else(|| of.rpc()).or_else(|| of.db()).or_else(|| of.messaging())
        }
        SpanKind::Producer | SpanKind::Consumer => of.messaging(),
        SpanKind::Internal | SpanKind::Unspecified => None,
    }
}

struct Attributes<'s>(&'s [KeyValue]);

impl<'s> Attributes<'s> {
    /// The first of the names that is there: that of today, then the older one.
    fn get(&self, names: &[&str]) -> Option<Cow<'s, str>> {
        names.iter().find_map(|name| find(self.0, name)).map(|value| as_string(Some(value)))
    }

    fn is_true(&self, name: &str) -> bool {
        find(self.0, name).is_some_and(|value| matches!(value.value, Some(Proto::BoolValue(true))))
    }

    fn http(&self, target: &str) -> Option<String> {
        let method = self.get(&["http.request.method", "http.method"])?;
        Some(match self.get(&[target]) {
            Some(target) => format!("{method} {target}"),
            None => method.into_owned(),
        })
    }

    fn rpc(&self) -> Option<String> {
        let system = self.get(&["rpc.system.name", "rpc.system"])?;
        let method = self.get(&["rpc.method", "rpc.grpc.method"]);
        Some(match (self.get(&["rpc.service", "rpc.grpc.service"]), method) {
            (Some(service), Some(method)) => format!("{service}/{method}"),
            (Some(service), None) => format!("{service}/*"),
            (None, Some(method)) => method.into_owned(),
            (None, None) => system.into_owned(),
        })
    }

    fn db(&self) -> Option<String> {
        let system = self.get(&["db.system.name", "db.system"])?;
        if let Some(summary) = self.get(&["db.query.summary"]) {
            return Some(summary.into_owned());
        }
        let not_empty = |text: &Cow<'_, str>| !text.is_empty();
        let operation = self.get(&["db.operation.name", "db.operation"]).filter(not_empty);
        Some(match (operation, self.db_target()) {
            (Some(operation), Some(target)) => format!("{operation} {target}"),
            (Some(operation), None) => operation.into_owned(),
            (None, Some(target)) => target,
            (None, None) => system.into_owned(),
        })
    }

    fn db_target(&self) -> Option<String> {
        let namespace = self.get(&["db.namespace", "db.name"]).filter(|text| !text.is_empty());
        match (namespace, self.get(&["db.collection.name", "db.stored_procedure.name"])) {
            (Some(namespace), Some(inner)) => Some(format!("{namespace}.{inner}")),
            (Some(namespace), None) => Some(namespace.into_owned()),
            (None, Some(inner)) => Some(inner.into_owned()),
            (None, None) => self.server(),
        }
    }

    fn server(&self) -> Option<String> {
        let address = self.get(&["server.address"])?;
        Some(match self.get(&["server.port"]) {
            Some(port) => format!("{address}:{port}"),
            None => address.into_owned(),
        })
    }

    fn messaging(&self) -> Option<String> {
        let system = self.get(&["messaging.system"])?;
        let operation = self.get(&["messaging.operation.name", "messaging.operation"]);
        let destination = if self.is_true("messaging.destination.temporary") {
            Some("(temporary)".to_owned())
        } else if self.is_true("messaging.destination.anonymous") {
            Some("(anonymous)".to_owned())
        } else {
            let names =
                ["messaging.destination.template", "messaging.destination.name", "messaging.destination"];
            self.get(&names).map(Cow::into_owned).or_else(|| self.server())
        };
        Some(match (operation, destination.filter(|text| !text.is_empty())) {
            (Some(operation), Some(destination)) => format!("{operation} {destination}"),
            (None, Some(destination)) => destination,
            (Some(operation), None) => operation.into_owned(),
            (None, None) => system.into_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use signal::otlp::proto::common::v1::AnyValue;

    use super::*;
    use crate::value::{any, entry};
    use crate::{Group, Parser};

    fn named(kind: SpanKind, attributes: &[(&str, AnyValue)]) -> Span {
        let attributes = attributes.iter().map(|(key, value)| entry(*key, value.clone())).collect();
        let mut span = Span { name: "old".into(), kind: kind as i32, attributes, ..Span::default() };
        let text = r#"set_semconv_span_name("1.37.0", "original")"#;
        let statement =
            Parser::new(Context::Span).with(Group::Transform).statement(text).expect("a statement");
        let (mut resource, mut scope) = (None, None);
        let mut item = Item {
            resource: &mut resource,
            resource_schema: &mut String::new(),
            scope: &mut scope,
            scope_schema: &mut String::new(),
            record: RecordMut::Span(&mut span),
            cache: &mut Vec::new(),
            client: None,
        };
        statement.run(&mut item).expect("no error");
        span
    }

    #[test]
    fn names_follow_the_conventions() {
        use SpanKind::{Client, Consumer, Internal, Producer, Server};
        let yes = || any(Proto::BoolValue(true));
        type Case = (SpanKind, &'static [(&'static str, &'static str)], &'static str);
        let cases: &[Case] = &[
            (Server, &[("http.request.method", "GET"), ("http.route", "/u/{id}")], "GET /u/{id}"),
            (Server, &[("http.method", "GET"), ("url.template", "/x")], "GET"),
            (Client, &[("http.request.method", "GET"), ("url.template", "/u/{id}")], "GET /u/{id}"),
            (Client, &[("rpc.system", "grpc"), ("rpc.service", "S"), ("rpc.method", "M")], "S/M"),
            (Server, &[("rpc.system", "grpc"), ("rpc.grpc.method", "M")], "M"),
            (Server, &[("rpc.system.name", "grpc"), ("rpc.service", "S")], "S/*"),
            (Server, &[("rpc.system", "grpc")], "grpc"),
            (Client, &[("db.system", "pg"), ("db.query.summary", "SELECT t"), ("db.name", "n")], "SELECT t"),
            (
                Client,
                &[
                    ("db.system", "pg"),
                    ("db.operation", "SELECT"),
                    ("db.namespace", "n"),
                    ("db.collection.name", "c"),
                ],
                "SELECT n.c",
            ),
            (Client, &[("db.system", "pg"), ("server.address", "h"), ("server.port", "5")], "h:5"),
            (Client, &[("db.system", "pg")], "pg"),
            (
                Producer,
                &[
                    ("messaging.system", "k"),
                    ("messaging.operation.name", "send"),
                    ("messaging.destination.name", "q"),
                ],
                "send q",
            ),
            (Consumer, &[("messaging.system", "k"), ("messaging.destination.template", "q-{n}")], "q-{n}"),
            (Consumer, &[("messaging.system", "k")], "k"),
            (Internal, &[("http.method", "GET")], "old"),
            (Producer, &[("http.method", "GET")], "old"),
        ];
        for (kind, attributes, expected) in cases {
            let attributes: Vec<_> = attributes.iter().map(|(k, v)| (*k, any_str(*v))).collect();
            let span = named(*kind, &attributes);
            assert_eq!(span.name, *expected, "{attributes:?}");
            let original = find(&span.attributes, "original").map(|v| as_string(Some(v)));
            assert_eq!(original.as_deref(), (*expected != "old").then_some("old"));
        }
        let span = named(
            Producer,
            &[("messaging.system", any_str("k")), ("messaging.destination.temporary", yes())],
        );
        assert_eq!(span.name, "(temporary)");
    }

    #[test]
    fn an_unknown_version_is_refused() {
        let parser = Parser::new(Context::Span).with(Group::Transform);
        for version in ["1.36.0", "1.44.0", "x", "2.0.0"] {
            let error =
                parser.statement(&format!("set_semconv_span_name(\"{version}\")")).expect_err(version);
            assert!(error.to_string().contains("1.37.0 to 1.43.0"), "{error}");
        }
        assert!(Parser::new(Context::Span).statement(r#"set_semconv_span_name("1.37.0")"#).is_err());
    }
}

//! Paths below `otelcol`: what is known of the client that has sent the data. They can only be read.
//!
//! As pkg/ottl/contexts/internal/ctxotelcol: every key of the metadata has a list of values.

use std::borrow::Cow;

use signal::otlp::ClientMetadata;
use signal::otlp::proto::common::v1::any_value::Value as Any;
use signal::otlp::proto::common::v1::{AnyValue, ArrayValue};

use super::{Key, KeyAt, index};
use crate::context::View;
use crate::error::EvalError;
use crate::expr::Env;
use crate::value::{MapBuilder, Value, any, any_str};

/// As the paths begin, in every context.
pub(crate) const PREFIX: &str = "otelcol";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientField {
    Address,
    Metadata,
    GrpcMetadata,
}

const FIELDS: &[(&str, ClientField)] = &[
    ("client.addr", ClientField::Address),
    ("client.metadata", ClientField::Metadata),
    ("grpc.metadata", ClientField::GrpcMetadata),
];

/// The field of a name; what is wrong with it, and what to do, where there is none.
pub(super) fn field(name: &str, has_keys: bool) -> Result<ClientField, (String, String)> {
    let Some((_, field)) = FIELDS.iter().find(|(known, _)| *known == name) else {
        let known: Vec<String> = FIELDS.iter().map(|(name, _)| format!("{PREFIX}.{name}")).collect();
        let message = match name.starts_with("client.auth") {
            true => "what authentication has found out about a client is not kept".to_owned(),
            false => format!("`{name}` is no field of {PREFIX}"),
        };
        return Err((message, format!("there are {}", known.join(", "))));
    };
    match has_keys && !field.takes_keys() {
        true => Err((format!("`{name}` cannot be indexed"), "leave the key out".to_owned())),
        false => Ok(*field),
    }
}

impl ClientField {
    pub(super) fn takes_keys(self) -> bool {
        self != Self::Address
    }

    /// The headers that it is about: gRPC's metadata are the headers of a call, and HTTP has none.
    fn headers<'a>(self, view: &View<'a>) -> Option<&'a ClientMetadata> {
        let is_grpc = |client: &&ClientMetadata| {
            client.values("content-type").any(|kind| kind.starts_with("application/grpc"))
        };
        match self {
            Self::GrpcMetadata => view.client.filter(is_grpc),
            Self::Address | Self::Metadata => view.client,
        }
    }

    /// Without keys.
    pub(super) fn whole<'a>(self, view: &View<'a>) -> Value<'a> {
        match (self, self.headers(view)) {
            (Self::Address, client) => {
                client.map(|c| c.peer.as_str()).filter(|peer| !peer.is_empty()).map_or(Value::Nil, Value::str)
            }
            (_, None) => Value::Map(Cow::Borrowed(&[])),
            (_, Some(client)) => {
                let mut map = MapBuilder::default();
                for (name, _) in &client.headers {
                    if !map.contains(name) {
                        map.put(name, any(Any::ArrayValue(values(client, name))));
                    }
                }
                Value::Map(Cow::Owned(map.finish()))
            }
        }
    }

    pub(super) fn get<'a>(self, env: &Env<'a>, keys: &'a [Key]) -> Result<Value<'a>, EvalError> {
        let Some((first, rest)) = keys.split_first() else { return Ok(self.whole(&env.view)) };
        let KeyAt::Text(name) = first.at(env)? else {
            return Err(EvalError::new("the key of a map has to be a string"));
        };
        let Some(client) = self.headers(&env.view) else { return Ok(Value::Nil) };
        let found = values(client, &name.to_lowercase()).values;
        if found.is_empty() {
            return Ok(Value::Nil);
        }
        index(Value::List(Cow::Owned(found)), rest, env)
    }
}

fn values(client: &ClientMetadata, name: &str) -> ArrayValue {
    let values: Vec<AnyValue> = client.values(name).map(any_str).collect();
    ArrayValue { values }
}

#[cfg(test)]
mod tests {
    use signal::otlp::proto::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};

    use super::*;
    use crate::{Context, Parser};

    fn client(grpc: bool) -> ClientMetadata {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let kind = if grpc { "application/grpc+proto" } else { "application/x-protobuf" };
        let headers = vec![
            header("x-tenant", "shop"),
            header("x-role", "a"),
            header("content-type", kind),
            header("x-role", "b"),
        ];
        ClientMetadata { headers, peer: "10.0.0.7:4711".into() }
    }

    fn read(text: &str, client: Option<&ClientMetadata>) -> Result<String, String> {
        let (resource, scope, record) = (ResourceLogs::default(), ScopeLogs::default(), LogRecord::default());
        let value = Parser::new(Context::Log).value(text).map_err(|error| error.to_string())?;
        let view = View::log(&resource, &scope, &record).sent_by(client);
        let value = value.eval(&view).map_err(|error| error.to_string())?;
        Ok(value.to_text().map_err(|error| error.to_string())?.map_or("nil".into(), Cow::into_owned))
    }

    #[test]
    fn what_is_known_of_the_client_can_be_read_in_every_context() {
        let (grpc, http) = (client(true), client(false));
        let cases: &[(&str, Option<&ClientMetadata>, &str)] = &[
            ("otelcol.client.addr", Some(&http), "10.0.0.7:4711"),
            ("otelcol.client.addr", None, "nil"),
            (r#"otelcol.client.metadata["x-tenant"]"#, Some(&http), r#"["shop"]"#),
            (r#"otelcol.client.metadata["X-Tenant"][0]"#, Some(&http), "shop"),
            (r#"otelcol.client.metadata["x-role"]"#, Some(&http), r#"["a","b"]"#),
            (r#"otelcol.client.metadata["x-role"][1]"#, Some(&http), "b"),
            (r#"otelcol.client.metadata["none"]"#, Some(&http), "nil"),
            (r#"otelcol.client.metadata["x-tenant"]"#, None, "nil"),
            (
                "otelcol.client.metadata",
                Some(&http),
                r#"{"content-type":["application/x-protobuf"],"x-role":["a","b"],"x-tenant":["shop"]}"#,
            ),
            (r#"otelcol.grpc.metadata["x-tenant"][0]"#, Some(&grpc), "shop"),
            (r#"otelcol.grpc.metadata["x-tenant"]"#, Some(&http), "nil"),
            ("Len(otelcol.grpc.metadata)", Some(&http), "0"),
        ];
        for (text, client, expected) in cases {
            assert_eq!(read(text, *client).as_deref(), Ok(*expected), "{text}");
        }
        let refused = read(r#"otelcol.client.metadata["x-role"][2]"#, Some(&http)).expect_err("two");
        assert!(refused.contains("index 2 is out of bounds"), "{refused}");
        for context in Context::ALL {
            Parser::new(context).condition("otelcol.client.addr == nil").expect("in every context");
        }
    }

    #[test]
    fn paths_that_are_not_known_and_statements_that_write_are_refused() {
        for (text, why) in [
            ("otelcol.client.auth.attributes[\"a\"]", "what authentication has found out"),
            ("otelcol.client.port", "there are otelcol.client.addr, otelcol.client.metadata"),
            ("otelcol.client.addr[\"a\"]", "cannot be indexed"),
        ] {
            let refused = read(text, None).expect_err(text);
            assert!(refused.contains(why), "{text}: {refused}");
        }
        let parser = Parser::new(Context::Log);
        let refused = parser.statement("set(otelcol.client.addr, \"x\")").expect_err("only read").to_string();
        assert!(refused.contains("`otelcol.client.addr` can only be read"), "{refused}");
    }
}

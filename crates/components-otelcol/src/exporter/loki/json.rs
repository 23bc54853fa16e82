//! A log record as JSON, byte for byte as the collector's Loki translator writes it with Go's encoder.

use std::collections::BTreeMap;

use signal::otlp::proto::common::v1::AnyValue;
use signal::otlp::proto::common::v1::any_value::Value;
use wire::json;

use super::record::{Attributes, Record};
use crate::value::text;

/// The line of a record.
pub(super) fn line(record: &Record<'_>) -> String {
    let mut out = Object::new();
    let log = record.log;
    if !log.event_name.is_empty() {
        out.text("name", &log.event_name);
    }
    if log.body.as_ref().is_some_and(|body| body.value.is_some()) {
        value(out.key("body"), log.body.as_ref());
    }
    for (name, id) in [("traceid", &log.trace_id), ("spanid", &log.span_id)] {
        if id.iter().any(|byte| *byte != 0) {
            out.text(name, &const_hex::encode(id));
        }
    }
    if !log.severity_text.is_empty() {
        out.text("severity", &log.severity_text);
    }
    if log.flags != 0 {
        out.key("flags").push_str(&log.flags.to_string());
    }
    for (name, list) in [("attributes", &record.attributes), ("resources", &record.resource)] {
        if !list.is_empty() {
            map(out.key(name), list);
        }
    }
    if let Some(scope) = record.scope.filter(|scope| !scope.name.is_empty()) {
        let mut inner = Object::new();
        inner.text("name", &scope.name);
        if !scope.version.is_empty() {
            inner.text("version", &scope.version);
        }
        out.key("instrumentation_scope").push_str(&inner.finish());
    }
    out.finish()
}

/// An object that is being written.
struct Object(String);

impl Object {
    fn new() -> Self {
        Self("{".to_string())
    }

    /// Where the value of the next key goes.
    fn key(&mut self, key: &str) -> &mut String {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        json::text(key, true, &mut self.0);
        self.0.push(':');
        &mut self.0
    }

    fn text(&mut self, key: &str, value: &str) {
        json::text(value, true, self.key(key));
    }

    fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

/// Names in order; of those that are there twice the last.
fn map(out: &mut String, list: &Attributes<'_>) {
    let sorted: BTreeMap<&str, Option<&AnyValue>> =
        list.iter().map(|(key, value)| (&**key, value.get())).collect();
    let mut inner = Object::new();
    for (key, own) in sorted {
        value(inner.key(key), own);
    }
    out.push_str(&inner.finish());
}

fn value(out: &mut String, any: Option<&AnyValue>) {
    match any.and_then(|any| any.value.as_ref()) {
        None | Some(Value::StringValueStrindex(_)) => out.push_str("null"),
        Some(Value::StringValue(value)) => json::text(value, true, out),
        Some(Value::BoolValue(_) | Value::IntValue(_)) => out.push_str(&text(any)),
        Some(Value::DoubleValue(number)) if number.is_finite() => out.push_str(&text(any)),
        // JSON has neither NaN nor infinities; the collector drops the record.
        Some(Value::DoubleValue(_) | Value::BytesValue(_)) => json::text(&text(any), true, out),
        Some(Value::ArrayValue(list)) => {
            out.push('[');
            for (at, any) in list.values.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                value(out, Some(any));
            }
            out.push(']');
        }
        Some(Value::KvlistValue(list)) => {
            let sorted: BTreeMap<&str, Option<&AnyValue>> =
                list.values.iter().map(|entry| (entry.key.as_str(), entry.value.as_ref())).collect();
            let mut inner = Object::new();
            for (key, own) in sorted {
                value(inner.key(key), own);
            }
            out.push_str(&inner.finish());
        }
    }
}

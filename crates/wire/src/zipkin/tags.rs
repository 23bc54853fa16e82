//! Tags as attributes: their types, and the status that some of them stand for.

use signal::otlp::proto::common::v1::KeyValue;
use signal::otlp::proto::common::v1::any_value::Value;
use signal::otlp::proto::trace::v1::Status;
use signal::otlp::proto::trace::v1::status::StatusCode;

use crate::spans::{as_text, find, take, take_text};

/// Marks spans that do not tell when they began.
pub(super) const NO_START: &str = "otel.zipkin.absentField.startTime";

/// A text as what it looks like: whole numbers, decimal fractions, `true` and `false`. A number that its type cannot
/// hold stays text.
pub(super) fn value(text: String, parse: bool) -> Value {
    let typed = parse.then(|| typed(&text)).flatten();
    typed.unwrap_or(Value::StringValue(text))
}

fn typed(text: &str) -> Option<Value> {
    match text {
        "true" => return Some(Value::BoolValue(true)),
        "false" => return Some(Value::BoolValue(false)),
        _ => {}
    }
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    match unsigned.split_once('.') {
        None => digits(unsigned).then(|| text.parse().ok().map(Value::IntValue)).flatten(),
        Some((whole, fraction)) => {
            let is = digits(whole) && digits(fraction);
            is.then(|| text.parse().ok().map(Value::DoubleValue)).flatten()
        }
    }
}

/// What an OpenTelemetry SDK or exporter has said, then `error`, whose presence is what makes a Zipkin span a failed
/// one. Tags that became the status are taken out; an `error` that says what went wrong stays.
pub(super) fn status(attributes: &mut Vec<KeyValue>) -> Option<Status> {
    let said = take(attributes, "otel.status_code");
    let code = said.as_ref().and_then(as_text).map(|said| {
        match said.trim_start_matches("STATUS_CODE_").to_ascii_uppercase().as_str() {
            "OK" => StatusCode::Ok,
            "ERROR" => StatusCode::Error,
            _ => StatusCode::Unset,
        }
    });
    let mut status = code.map(|code| {
        let message = take_text(attributes, "otel.status_description").unwrap_or_default();
        Status { code: code.into(), message }
    });
    if let Some(message) = error(attributes) {
        let status = status.get_or_insert_default();
        status.code = StatusCode::Error.into();
        if status.message.is_empty() {
            status.message = message;
        }
    }
    status
}

/// What `error` says where it says that there is one.
pub(super) fn error(attributes: &mut Vec<KeyValue>) -> Option<String> {
    let value = find(attributes, "error")?.value.as_ref()?.value.as_ref()?;
    match value {
        Value::BoolValue(false) => None,
        Value::BoolValue(true) => {
            take(attributes, "error");
            Some(String::new())
        }
        Value::StringValue(text) => match text.as_str() {
            "false" => None,
            "true" | "" => {
                take(attributes, "error");
                Some(String::new())
            }
            said => Some(said.to_owned()),
        },
        _ => Some(String::new()),
    }
}

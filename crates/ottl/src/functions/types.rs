//! Converters between types, and questions about them.

use std::borrow::Cow;

use signal::otlp::proto::common::v1::any_value::Value as Proto;

use super::Takes::Value as Any;
use super::{Args, Function, Param, param, wrong};
use crate::context::Context;
use crate::error::EvalError;
use crate::expr::Env;
use crate::value::{Id, Value};

const VALUE: &[Param] = &[param("value", Any)];

pub(super) const TABLE: &[Function] = &[
    Function::convert("Bool", VALUE, to_bool),
    Function::convert("Double", VALUE, to_double),
    Function::convert("Hex", VALUE, hex),
    Function::convert("Int", VALUE, to_int),
    Function::convert("IsBool", VALUE, |args, env| is(args, env, |v| matches!(v, Value::Bool(_)))),
    Function::convert("IsDouble", VALUE, |args, env| is(args, env, |v| matches!(v, Value::Double(_)))),
    Function::convert("IsEmpty", VALUE, |args, env| is(args, env, is_empty)),
    Function::convert("IsInt", VALUE, |args, env| is(args, env, |v| matches!(v, Value::Int(_)))),
    Function::convert("IsList", VALUE, |args, env| {
        is(args, env, |v| match v {
            Value::Part(part) => part.len().is_some(),
            v => matches!(v, Value::List(_)),
        })
    }),
    Function::convert("IsMap", VALUE, |args, env| is(args, env, |v| matches!(v, Value::Map(_)))),
    Function::convert("IsRootSpan", &[], is_root_span).only(&[Context::Span]),
    Function::convert("IsString", VALUE, |args, env| is(args, env, |v| matches!(v, Value::Str(_)))),
    Function::convert("Len", &[param("target", Any)], len),
    Function::convert("ProfileID", &[param("id", Any)], |args, env| id(args, env, 16)),
    Function::convert("SpanID", &[param("id", Any)], |args, env| id(args, env, 8)),
    Function::convert("String", VALUE, to_string),
    Function::convert("TraceID", &[param("id", Any)], |args, env| id(args, env, 16)),
];

fn is<'a>(args: &'a Args, env: &Env<'a>, test: fn(&Value<'_>) -> bool) -> Result<Value<'a>, EvalError> {
    Ok(Value::Bool(test(&args.value(0, env)?)))
}

fn is_empty(value: &Value<'_>) -> bool {
    match value {
        Value::Nil => true,
        Value::Bool(v) => !v,
        Value::Int(v) => *v == 0,
        Value::Double(v) => *v == 0.0,
        Value::Str(v) => v.is_empty(),
        Value::Bytes(v) => v.is_empty(),
        Value::Map(v) => v.is_empty(),
        Value::List(v) => v.is_empty(),
        Value::Id(v) => v.is_unset(),
        Value::Duration(v) => *v == 0,
        Value::Time(v) => v.at == jiff::Timestamp::UNIX_EPOCH,
        Value::Part(part) => part.len() == Some(0),
    }
}

/// What cannot be converted is nothing.
fn to_bool<'a>(args: &'a Args, env: &Env<'a>) -> Result<Value<'a>, EvalError> {
    Ok(match args.value(0, env)? {
        Value::Bool(v) => Value::Bool(v),
        Value::Int(v) => Value::Bool(v != 0),
        Value::Double(v) => Value::Bool(v != 0.0),
        Value::Str(text) => match text.as_ref() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Value::Bool(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Value::Bool(false),
            _ => Value::Nil,
        },
        _ => Value::Nil,
    })
}

fn to_double<'a>(args: &'a Args, env: &Env<'a>) -> Result<Value<'a>, EvalError> {
    Ok(match args.value(0, env)? {
        Value::Double(v) => Value::Double(v),
        Value::Int(v) => Value::Double(v as f64),
        Value::Bool(v) => Value::Double(f64::from(u8::from(v))),
        Value::Str(text) => text.parse().map_or(Value::Nil, Value::Double),
        _ => Value::Nil,
    })
}

fn to_int<'a>(args: &'a Args, env: &Env<'a>) -> Result<Value<'a>, EvalError> {
    Ok(match args.value(0, env)? {
        Value::Int(v) => Value::Int(v),
        Value::Double(v) => Value::Int(v as i64),
        Value::Bool(v) => Value::Int(i64::from(v)),
        Value::Str(text) => text.parse().map_or(Value::Nil, Value::Int),
        Value::Duration(nanos) => Value::Int(nanos),
        _ => Value::Nil,
    })
}

fn to_string<'a>(args: &'a Args, env: &Env<'a>) -> Result<Value<'a>, EvalError> {
    Ok(args.text(0, env)?.map_or(Value::Nil, Value::Str))
}

/// The bytes of a value, most significant first.
fn hex<'a>(args: &'a Args, env: &Env<'a>) -> Result<Value<'a>, EvalError> {
    Ok(Value::string(match args.value(0, env)? {
        Value::Str(text) => const_hex::encode(text.as_bytes()),
        Value::Bytes(bytes) => const_hex::encode(bytes.as_ref()),
        Value::Bool(v) => const_hex::encode([u8::from(v)]),
        Value::Int(v) => const_hex::encode(v.to_be_bytes()),
        Value::Double(v) => const_hex::encode(v.to_be_bytes()),
        Value::Id(id) => id.hex(),
        _ => return Ok(Value::Nil),
    }))
}

fn len<'a>(args: &'a Args, env: &Env<'a>) -> Result<Value<'a>, EvalError> {
    let value = args.value(0, env)?;
    let length = match &value {
        Value::Str(text) => text.len(),
        Value::Map(map) => map.len(),
        Value::List(list) => list.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Part(part) if part.len().is_some() => part.len().unwrap_or_default(),
        other => return Err(wrong("a string, a list or a map", other)),
    };
    Ok(Value::Int(length as i64))
}

fn id<'a>(args: &'a Args, env: &Env<'a>, length: usize) -> Result<Value<'a>, EvalError> {
    let bytes = match args.value(0, env)? {
        Value::Bytes(bytes) => bytes,
        Value::Str(text) if text.len() == length * 2 => {
            Cow::Owned(const_hex::decode(text.as_bytes()).map_err(|_| {
                EvalError::new(format!("`{text}` has other characters than hexadecimal digits"))
            })?)
        }
        Value::Str(text) => {
            return Err(EvalError::new(format!("`{text}` is not {} hexadecimal digits", length * 2)));
        }
        other => return Err(wrong("bytes or a string", &other)),
    };
    if bytes.len() != length {
        return Err(EvalError::new(format!("{} bytes are not {length}", bytes.len())));
    }
    Ok(Value::Id(if length == 8 { Id::span(&bytes) } else { Id::trace(&bytes) }))
}

fn is_root_span<'a>(_: &'a Args, env: &Env<'a>) -> Result<Value<'a>, EvalError> {
    Ok(Value::Bool(env.view.span_of().is_some_and(|span| Id::span(&span.parent_span_id).is_unset())))
}

/// Whether a value of a message is text.
pub(super) fn text_of(value: Option<&Proto>) -> Option<&str> {
    match value {
        Some(Proto::StringValue(text)) => Some(text),
        _ => None,
    }
}

//! Converters between text and structure.

use std::borrow::Cow;
use std::net::IpAddr;

use signal::otlp::proto::common::v1::any_value::Value as Proto;
use signal::otlp::proto::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};

use super::Takes::{Bool, Fixed, Str, Value as Any, Values};
use super::editors::one_of;
use super::{Args, Function, optional, param, wrong};
use crate::error::EvalError;
use crate::expr::Env;
use crate::value::{MapBuilder, Value, any, any_str, as_string, entry, find, put};

pub(super) const TABLE: &[Function] = &[
    Function::convert("IsInCIDR", &[param("target", Str), param("networks", Values)], is_in_cidr),
    Function::convert(
        "ParseCSV",
        &[
            param("target", Str),
            param("headers", Str),
            optional("delimiter", Str),
            optional("header_delimiter", Str),
            optional("mode", Fixed),
        ],
        parse_csv,
    )
    .prepared(|args| one_of(args, 4, &["strict", "lazyQuotes", "ignoreQuotes"])),
    Function::convert("ParseJSON", &[param("target", Str)], |args, env| {
        let text = args.str(0, env)?;
        let parsed: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| EvalError::new(format!("no JSON: {error}")))?;
        match from_json(parsed) {
            AnyValue { value: Some(Proto::KvlistValue(map)) } => Ok(Value::Map(Cow::Owned(map.values))),
            AnyValue { value: Some(Proto::ArrayValue(list)) } => Ok(Value::List(Cow::Owned(list.values))),
            _ => Err(EvalError::new("expected an object or an array")),
        }
    }),
    Function::convert(
        "ParseKeyValue",
        &[param("target", Str), optional("delimiter", Str), optional("pair_delimiter", Str)],
        parse_key_value,
    ),
    Function::convert(
        "ParseSeverity",
        &[param("target", Any), param("severity_mapping", Any)],
        parse_severity,
    ),
    Function::convert(
        "ToKeyValueString",
        &[
            param("target", Any),
            optional("delimiter", Str),
            optional("pair_delimiter", Str),
            optional("sort_output", Bool),
        ],
        to_key_value_string,
    ),
    Function::convert("URL", &[param("url_string", Str)], url),
];

/// Numbers become doubles, as upstream.
pub(super) fn from_json(json: serde_json::Value) -> AnyValue {
    use serde_json::Value as Json;
    any(match json {
        Json::Null => return AnyValue::default(),
        Json::Bool(v) => Proto::BoolValue(v),
        Json::Number(v) => Proto::DoubleValue(v.as_f64().unwrap_or_default()),
        Json::String(v) => Proto::StringValue(v),
        Json::Array(v) => Proto::ArrayValue(ArrayValue { values: v.into_iter().map(from_json).collect() }),
        Json::Object(v) => Proto::KvlistValue(KeyValueList {
            values: v.into_iter().map(|(key, value)| entry(key, from_json(value))).collect(),
        }),
    })
}

fn is_in_cidr<'a>(args: &'a Args, env: &Env<'a>) -> Result<Value<'a>, EvalError> {
    let text = args.str(0, env)?;
    let ip: IpAddr = text.parse().map_err(|_| EvalError::new(format!("`{text}` is no IP address")))?;
    for network in args.strings(1, env)? {
        if contains(&network, ip).ok_or_else(|| EvalError::new(format!("`{network}` is no CIDR address")))? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn contains(network: &str, ip: IpAddr) -> Option<bool> {
    let (address, length) = network.split_once('/')?;
    let (address, length): (IpAddr, u32) = (address.parse().ok()?, length.parse().ok()?);
    let bits = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    };
    let width = if address.is_ipv4() { 32 } else { 128 };
    if length > width {
        return None;
    }
    if address.is_ipv4() != ip.is_ipv4() {
        return Some(false);
    }
    Some((bits(address) ^ bits(ip)).checked_shr(width - length).unwrap_or(0) == 0)
}

fn parse_csv<'a>(args: &'a Args, env: &Env<'a>) -> Result<Value<'a>, EvalError> {
    let (text, headers) = (args.str(0, env)?, args.str(1, env)?);
    let delimiter = args.str_or(2, env, ",")?;
    let header_delimiter = args.str_or(3, env, &delimiter)?.into_owned();
    let one = |text: &str, what: &str| {
        let mut chars = text.chars();
        match (chars.next(), chars.next()) {
            (Some(c), None) => Ok(c),
            _ => Err(EvalError::new(format!("the {what} `{text}` is not one character"))),
        }
    };
    let delimiter = one(&delimiter, "delimiter")?;
    let headers: Vec<&str> = headers.split(one(&header_delimiter, "delimiter of headers")?).collect();
    let row = text.trim_matches(['\r', '\n']);
    let fields = match args.fixed(4).unwrap_or("strict") {
        "ignoreQuotes" => row.split(delimiter).map(str::to_owned).collect(),
        mode => csv_row(row, delimiter, mode == "lazyQuotes")?,
    };
    if fields.len() != headers.len() {
        let message = format!("{} fields, but {} headers", fields.len(), headers.len());
        return Err(EvalError::new(message));
    }
    let mut out = Vec::with_capacity(fields.len());
    for (header, field) in headers.into_iter().zip(fields) {
        put(&mut out, header, any_str(field));
    }
    Ok(Value::Map(Cow::Owned(out)))
}

/// The fields of a row; newlines belong to them. Lazily, a quote may stand anywhere.
fn csv_row(row: &str, delimiter: char, lazy: bool) -> Result<Vec<String>, EvalError> {
    let mut fields = Vec::new();
    let mut rest = row;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(inner) => quoted_field(inner, delimiter, lazy)?,
            None => {
                let end = rest.find(delimiter).unwrap_or(rest.len());
                let field = &rest[..end];
                if !lazy && field.contains('"') {
                    return Err(EvalError::new("a quote inside of a field that does not begin with one"));
                }
                (field.to_owned(), &rest[end..])
            }
        };
        fields.push(field);
        match after.strip_prefix(delimiter) {
            Some(more) => rest = more,
            None => return Ok(fields),
        }
    }
}

fn quoted_field(inner: &str, delimiter: char, lazy: bool) -> Result<(String, &str), EvalError> {
    let mut field = String::new();
    let mut chars = inner.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c != '"' {
            field.push(c);
            continue;
        }
        let after = &inner[at + 1..];
        if chars.next_if(|(_, c)| *c == '"').is_some() {
            field.push('"');
        } else if after.is_empty() || after.starts_with(delimiter) {
            return Ok((field, after));
        } else if lazy {
            field.push('"');
        } else {
            return Err(EvalError::new("text behind the closing quote of a field"));
        }
    }
    if lazy { Ok((field, "")) } else { Err(EvalError::new("a quote is not closed")) }
}

/// Splits at a delimiter outside of quotes, and drops what is empty.
fn split_quoted<'t>(text: &'t str, delimiter: &str) -> Result<Vec<&'t str>, EvalError> {
    let (mut parts, mut start, mut at) = (Vec::new(), 0, 0);
    let mut quote: Option<char> = None;
    while let Some(c) = text[at..].chars().next() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if text[at..].starts_with(delimiter) => {
                parts.push(&text[start..at]);
                at += delimiter.len();
                start = at;
                continue;
            }
            None if matches!(c, '"' | '\'') => quote = Some(c),
            None => {}
        }
        at += c.len_utf8();
    }
    if quote.is_some() {
        return Err(EvalError::new("a quote is not closed"));
    }
    parts.push(&text[start..]);
    parts.retain(|part| !part.trim().is_empty());
    Ok(parts)
}

fn unquoted(text: &str) -> &str {
    let text = text.trim();
    let inner = |quote: char| text.strip_prefix(quote).and_then(|t| t.strip_suffix(quote));
    inner('"').or_else(|| inner('\'')).unwrap_or(text)
}

fn parse_key_value<'a>(args: &'a Args, env: &Env<'a>) -> Result<Value<'a>, EvalError> {
    let text = args.str(0, env)?;
    let (delimiter, pair) = (args.str_or(1, env, "=")?, args.str_or(2, env, " ")?);
    if text.is_empty() {
        return Err(EvalError::new("an empty text has no pairs"));
    }
    if delimiter.is_empty() || pair.is_empty() || delimiter == pair {
        return Err(EvalError::new("the delimiters have to differ and cannot be empty"));
    }
    let mut out = MapBuilder::default();
    for part in split_quoted(&text, &pair)? {
        let (key, value) = part
            .split_once(delimiter.as_ref())
            .ok_or_else(|| EvalError::new(format!("`{part}` has no `{delimiter}`")))?;
        out.put(unquoted(key), any_str(unquoted(value)));
    }
    Ok(Value::Map(Cow::Owned(out.finish())))
}

fn to_key_value_string<'a>(args: &'a Args, env: &Env<'a>) -> Result<Value<'a>, EvalError> {
    let map = args.map(0, env)?;
    let (delimiter, pair) = (args.str_or(1, env, "=")?, args.str_or(2, env, " ")?);
    if delimiter.is_empty() || pair.is_empty() || delimiter == pair {
        return Err(EvalError::new("the delimiters have to differ and cannot be empty"));
    }
    let mut entries: Vec<&KeyValue> = map.iter().collect();
    if args.bool_or(3, env, false)? {
        entries.sort_by(|a, b| a.key.cmp(&b.key));
    }
    let quote = |text: &str| {
        let special = text.contains(delimiter.as_ref()) || text.contains(pair.as_ref());
        if !special {
            return text.to_owned();
        }
        format!("\"{}\"", text.replace('"', "\\\""))
    };
    let show = |e: &&KeyValue| format!("{}{delimiter}{}", quote(&e.key), quote(&as_string(e.value.as_ref())));
    Ok(Value::string(entries.iter().map(show).collect::<Vec<_>>().join(&pair)))
}

/// The first level of the mapping one of whose rules holds.
fn parse_severity<'a>(args: &'a Args, env: &Env<'a>) -> Result<Value<'a>, EvalError> {
    let value = args.value(0, env)?;
    if !matches!(value, Value::Int(_) | Value::Str(_)) {
        return Err(wrong("a string or an int", &value));
    }
    for level in args.map(1, env)?.iter() {
        let Some(Proto::ArrayValue(rules)) = level.value.as_ref().and_then(|v| v.value.as_ref()) else {
            return Err(EvalError::new(format!("the level `{}` has no list of rules", level.key)));
        };
        for rule in &rules.values {
            if severity_rule(rule, &value)
                .map_err(|e| EvalError::new(format!("level `{}`: {e}", level.key)))?
            {
                return Ok(Value::string(level.key.clone()));
            }
        }
    }
    Err(EvalError::new("no level of the mapping fits"))
}

fn severity_rule(rule: &AnyValue, value: &Value<'_>) -> Result<bool, EvalError> {
    let Some(Proto::KvlistValue(rule)) = &rule.value else {
        return Err(EvalError::new("a rule has to be a map with `equals` or `range`"));
    };
    if let Some(equals) = find(&rule.values, "equals") {
        let Some(Proto::ArrayValue(list)) = &equals.value else {
            return Err(EvalError::new("`equals` has to be a list"));
        };
        let same = |item: &AnyValue| match (&item.value, value) {
            (Some(Proto::StringValue(a)), Value::Str(b)) => a == b.as_ref(),
            (Some(Proto::IntValue(a)), Value::Int(b)) => a == b,
            _ => false,
        };
        if list.values.iter().any(same) {
            return Ok(true);
        }
    }
    let Some(range) = find(&rule.values, "range") else { return Ok(false) };
    let bounds = match &range.value {
        Some(Proto::StringValue(text)) => match text.as_str() {
            "2xx" => (200, 299),
            "3xx" => (300, 399),
            "4xx" => (400, 499),
            "5xx" => (500, 599),
            other => return Err(EvalError::new(format!("the range `{other}` is not known"))),
        },
        Some(Proto::KvlistValue(range)) => {
            let bound = |key| match find(&range.values, key).and_then(|v| v.value.as_ref()) {
                Some(Proto::IntValue(v)) => Ok(*v),
                _ => Err(EvalError::new(format!("a range needs an int as `{key}`"))),
            };
            (bound("min")?, bound("max")?)
        }
        _ => return Err(EvalError::new("`range` has to be a map or a text such as `4xx`")),
    };
    Ok(matches!(value, Value::Int(v) if (bounds.0..=bounds.1).contains(v)))
}

fn unescaped(text: &str) -> Result<String, EvalError> {
    let wrong = || EvalError::new(format!("`{text}` has a wrong escape"));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first != b'%' {
            bytes.push(*first);
            rest = after;
            continue;
        }
        let digits = after.get(..2).ok_or_else(wrong)?;
        bytes.extend(const_hex::decode(digits).map_err(|_| wrong())?);
        rest = &after[2..];
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The parts of a URL under the names of the semantic conventions.
fn url<'a>(args: &'a Args, env: &Env<'a>) -> Result<Value<'a>, EvalError> {
    let text = args.str(0, env)?;
    let wrong = |why: &str| EvalError::new(format!("`{text}` is no URL: {why}"));
    if text.chars().any(|c| c.is_control() || c == ' ') {
        return Err(wrong("it has spaces or control characters"));
    }
    let (rest, fragment) = text.split_once('#').map_or((text.as_ref(), None), |(r, f)| (r, Some(f)));
    let (rest, query) = rest.split_once('?').map_or((rest, None), |(r, q)| (r, Some(q)));
    let scheme = rest.split_once(':').filter(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    });
    let (scheme, rest) = scheme.map_or(("", rest), |(scheme, rest)| (scheme, rest));
    let (authority, path) = match rest.strip_prefix("//") {
        Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
        None => ("", rest),
    };
    let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(u, h)| (Some(u), h));
    let (domain, port) = match host.rsplit_once(':') {
        Some((domain, port)) if !port.ends_with(']') => (domain, port),
        _ => (host, ""),
    };
    let domain = domain.strip_prefix('[').and_then(|d| d.strip_suffix(']')).unwrap_or(domain);
    let path = unescaped(path)?;
    let mut out = vec![
        entry("url.original", any_str(text.as_ref())),
        entry("url.domain", any_str(domain)),
        entry("url.scheme", any_str(scheme.to_ascii_lowercase())),
        entry("url.path", any_str(path.as_str())),
    ];
    let mut add = |key: &str, value: &str| {
        if !value.is_empty() {
            out.push(entry(key, any_str(value)));
        }
    };
    add("url.fragment", fragment.unwrap_or_default());
    add("url.query", query.unwrap_or_default());
    if let Some(user) = user {
        add("url.user_info", user);
        let (name, password) = user.split_once(':').unwrap_or((user, ""));
        add("url.username", &unescaped(name)?);
        add("url.password", &unescaped(password)?);
    }
    let file = path.rsplit('/').next().unwrap_or_default();
    add("url.extension", file.rsplit_once('.').map_or("", |(_, extension)| extension));
    if !port.is_empty() {
        let port: u16 = port.parse().map_err(|_| wrong("its port is no number up to 65535"))?;
        out.push(entry("url.port", any(Proto::IntValue(port.into()))));
    }
    Ok(Value::Map(Cow::Owned(out)))
}

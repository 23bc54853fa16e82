//! The transform processor's parsers of security and access logs.

use std::borrow::Cow;

use signal::otlp::proto::common::v1::any_value::Value as Proto;
use signal::otlp::proto::common::v1::{ArrayValue, KeyValue, KeyValueList};

use super::Takes::{Fixed, Str};
use super::editors::one_of;
use super::{Args, Function, Param, optional, param};
use crate::context::Context;
use crate::error::EvalError;
use crate::expr::Env;
use crate::value::{MapBuilder, Value, any, any_str, entry, put};

const TARGET: &[Param] = &[param("target", Str)];
const LOG: &[Context] = &[Context::Log];

pub(super) const TABLE: &[Function] = &[
    Function::convert("ParseCEF", TARGET, |args, env| parsed(args, env, cef)).only(LOG),
    Function::convert("ParseCLF", &[param("target", Str), optional("format", Fixed)], |args, env| {
        let combined = args.fixed(1) == Some("combined");
        match combined {
            true => parsed(args, env, |text| clf(text, true)),
            false => parsed(args, env, |text| clf(text, false)),
        }
    })
    .only(LOG)
    .prepared(|args| one_of(args, 1, &["clf", "combined"])),
    Function::convert("ParseELF", TARGET, |args, env| parsed(args, env, elf)).only(LOG),
    Function::convert("ParseLEEF", TARGET, |args, env| parsed(args, env, leef)).only(LOG),
];

fn parsed<'a>(
    args: &'a Args,
    env: &Env<'a>,
    parse: fn(&str) -> Result<Vec<KeyValue>, String>,
) -> Result<Value<'a>, EvalError> {
    let text = args.str(0, env)?;
    if text.trim().is_empty() {
        return Err(EvalError::new("the text is empty"));
    }
    Ok(Value::Map(Cow::Owned(parse(&text).map_err(EvalError::new)?)))
}

fn map(entries: Vec<KeyValue>) -> signal::otlp::proto::common::v1::AnyValue {
    any(Proto::KvlistValue(KeyValueList { values: entries }))
}

/// Splits at `|` that are not escaped, into at most `most` parts; the last keeps its own.
fn header(text: &str, most: usize) -> Vec<&str> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        if parts.len() + 1 == most {
            break;
        }
        match c {
            '|' if !escaped => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        escaped = c == '\\' && !escaped;
    }
    parts.push(&text[start..]);
    parts
}

/// Undoes the escapes that `known` lists, as what stands behind the backslash and what it means.
fn unescape(text: &str, known: &[(char, char)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some(next) => match known.iter().find(|(escaped, _)| *escaped == next) {
                Some((_, meant)) => out.push(*meant),
                None => out.extend(['\\', next]),
            },
            None => out.push('\\'),
        }
    }
    out
}

fn cef(text: &str) -> Result<Vec<KeyValue>, String> {
    const NAMES: [&str; 7] = [
        "cef.version",
        "cef.device_vendor",
        "cef.device_product",
        "cef.device_version",
        "cef.device_event_class_id",
        "cef.name",
        "cef.severity",
    ];
    let start = text.find("CEF:").ok_or("there is no `CEF:`")?;
    let parts = header(&text[start + 4..], 8);
    if parts.len() < 7 {
        return Err(format!("the header has {} of 7 fields", parts.len()));
    }
    if parts[0].trim().parse::<u32>().is_err() {
        return Err(format!("the version `{}` is no number", parts[0]));
    }
    let field = |text: &str| any_str(unescape(text.trim(), &[('|', '|'), ('\\', '\\')]));
    let mut out: Vec<KeyValue> =
        NAMES.iter().zip(&parts).map(|(name, part)| entry(*name, field(part))).collect();
    out.push(entry("cef.extensions", map(extensions(parts.get(7).copied().unwrap_or_default()))));
    Ok(out)
}

/// `key=value key2=value with spaces`: a value ends where the next key begins.
fn extensions(text: &str) -> Vec<KeyValue> {
    let mut starts = Vec::new();
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if c == '=' && !escaped {
            let word = text[..at].rfind(char::is_whitespace).map_or(0, |space| space + 1);
            let key = &text[word..at];
            let is_key = !key.is_empty()
                && key.chars().all(|c| c.is_alphanumeric() || "_.-[]".contains(c))
                && starts.last().is_none_or(|(_, equals)| word > *equals);
            if is_key {
                starts.push((word, at));
            }
        }
        escaped = c == '\\' && !escaped;
    }
    let mut out = MapBuilder::default();
    for (number, (word, equals)) in starts.iter().enumerate() {
        let end = starts.get(number + 1).map_or(text.len(), |(next, _)| *next);
        let escapes = [('\\', '\\'), ('=', '='), ('n', '\n'), ('r', '\r')];
        let value = unescape(text[equals + 1..end].trim_end(), &escapes);
        out.put(&text[*word..*equals], any_str(value));
    }
    out.finish()
}

fn leef(text: &str) -> Result<Vec<KeyValue>, String> {
    let start = text.find("LEEF:").ok_or("there is no `LEEF:`")?;
    let rest = &text[start + 5..];
    let version = rest.split('|').next().unwrap_or_default();
    let fields = match version {
        "1.0" | "1" => 6,
        "2.0" | "2" => 7,
        other => return Err(format!("the version `{other}` is neither 1.0 nor 2.0")),
    };
    let mut parts: Vec<&str> = rest.splitn(fields, '|').collect();
    if parts.len() < 5 {
        return Err(format!("the header has {} of 5 fields", parts.len()));
    }
    let mut delimiter = '\t';
    let mut attributes = parts.get(5).copied().unwrap_or_default();
    if fields == 7 {
        let given = attributes;
        if given.contains('=') && given != "=" {
            // The delimiter may be left out: then the rest are attributes.
            parts = rest.splitn(6, '|').collect();
            attributes = parts.get(5).copied().unwrap_or_default();
        } else {
            attributes = parts.get(6).copied().unwrap_or_default();
            delimiter = leef_delimiter(given)?;
        }
    }
    let names = ["leef.version", "leef.vendor", "leef.product.name", "leef.product.version", "leef.event.id"];
    let mut out: Vec<KeyValue> =
        names.iter().zip(&parts).map(|(name, part)| entry(*name, any_str(*part))).collect();
    out[0].value = Some(any_str(if fields == 6 { "1.0" } else { "2.0" }));
    let mut pairs = MapBuilder::default();
    for (key, value) in attributes.split(delimiter).filter_map(|pair| pair.split_once('=')) {
        if !key.is_empty() {
            pairs.put(key, any_str(value));
        }
    }
    out.push(entry("leef.attributes", map(pairs.finish())));
    Ok(out)
}

fn leef_delimiter(given: &str) -> Result<char, String> {
    let wrong = || format!("the delimiter `{given}` is neither a character nor 0x and two digits");
    let mut chars = given.chars();
    match (chars.next(), chars.next()) {
        (None, _) => Ok('\t'),
        (Some(only), None) => Ok(only),
        _ => {
            let digits = given.strip_prefix("0x").or_else(|| given.strip_prefix("0X")).ok_or_else(wrong)?;
            u8::from_str_radix(digits, 16).map(char::from).map_err(|_| wrong())
        }
    }
}

/// Takes a field in quotes from the beginning; escapes of Apache and nginx are undone.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let inner = text.strip_prefix('"').ok_or_else(|| format!("a quote is missing at `{text}`"))?;
    let mut bytes = Vec::new();
    let mut chars = inner.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((String::from_utf8_lossy(&bytes).into_owned(), &inner[at + 1..])),
            '\\' => match chars.next() {
                Some((at, 'x')) => {
                    match inner.get(at + 1..at + 3).and_then(|d| u8::from_str_radix(d, 16).ok()) {
                        Some(byte) => {
                            bytes.push(byte);
                            chars.nth(1);
                        }
                        None => bytes.extend(b"\\x"),
                    }
                }
                Some((_, 'n')) => bytes.push(b'\n'),
                Some((_, 't')) => bytes.push(b'\t'),
                Some((_, 'r')) => bytes.push(b'\r'),
                Some((_, 'b')) => bytes.push(8),
                Some((_, 'v')) => bytes.push(11),
                Some((_, 'f')) => bytes.push(12),
                Some((_, other)) => {
                    if !matches!(other, '"' | '\\') {
                        bytes.push(b'\\');
                    }
                    bytes.extend(other.encode_utf8(&mut [0; 4]).as_bytes());
                }
                None => break,
            },
            other => bytes.extend(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Err("a quote is not closed".into())
}

fn clf(text: &str, combined: bool) -> Result<Vec<KeyValue>, String> {
    let wrong = |what: &str| format!("there is no {what}");
    let word = |text: &mut &str, what: &str| -> Result<String, String> {
        let (word, rest) = text.split_once(' ').ok_or_else(|| wrong(what))?;
        *text = rest;
        if word.is_empty() { Err(wrong(what)) } else { Ok(word.to_owned()) }
    };
    let mut rest = text.trim();
    let mut out = Vec::new();
    for (name, what) in
        [("clf.remote_host", "remote host"), ("clf.rfc931", "remote log name"), ("clf.auth_user", "user")]
    {
        out.push(entry(name, any_str(word(&mut rest, what)?)));
    }
    let (date, after) =
        rest.strip_prefix('[').and_then(|r| r.split_once(']')).ok_or_else(|| wrong("date in brackets"))?;
    out.push(entry("clf.timestamp", any_str(date)));
    let (request, after) = quoted(after.trim_start())?;
    out.push(entry("clf.request", any_str(request.as_str())));
    let parts: Vec<&str> = request.split(' ').collect();
    if let [method, uri, protocol] = parts.as_slice()
        && !method.is_empty()
        && protocol.starts_with("HTTP/")
    {
        out.push(entry("clf.method", any_str(*method)));
        out.push(entry("clf.request_uri", any_str(*uri)));
        out.push(entry("clf.protocol", any_str(*protocol)));
    }
    let mut numbers = after.trim_start().splitn(3, ' ');
    let number = |text: &str, what: &str| {
        text.parse::<i64>()
            .map(|v| any(Proto::IntValue(v)))
            .map_err(|_| format!("the {what} `{text}` is no number"))
    };
    let status = numbers.next().filter(|s| !s.is_empty()).ok_or_else(|| wrong("status"))?;
    out.push(entry("clf.status", number(status, "status")?));
    let bytes = numbers.next().ok_or_else(|| wrong("number of bytes"))?;
    if bytes != "-" {
        out.push(entry("clf.bytes", number(bytes, "number of bytes")?));
    }
    let mut rest = numbers.next().unwrap_or_default().trim_start();
    if combined {
        for name in ["clf.referer", "clf.user_agent"] {
            let (value, after) = quoted(rest)?;
            out.push(entry(name, any_str(value)));
            rest = after.trim_start();
        }
    }
    if !rest.is_empty() {
        return Err(format!("`{rest}` stands behind the last field"));
    }
    Ok(out)
}

fn elf(text: &str) -> Result<Vec<KeyValue>, String> {
    const DIRECTIVES: [(&str, &str); 6] = [
        ("Version", "elf.version"),
        ("Software", "elf.software"),
        ("Date", "elf.date"),
        ("Start-Date", "elf.start_date"),
        ("End-Date", "elf.end_date"),
        ("Remark", "elf.remark"),
    ];
    let mut out = Vec::new();
    let mut fields: Vec<String> = Vec::new();
    let mut entries = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(directive) = line.strip_prefix('#') {
            let (name, value) = directive.split_once(':').unwrap_or((directive, ""));
            if name.eq_ignore_ascii_case("Fields") {
                fields = value.split_whitespace().map(str::to_owned).collect();
            } else if let Some((_, key)) =
                DIRECTIVES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))
            {
                put(&mut out, key, any_str(value.trim()));
            }
            continue;
        }
        if fields.is_empty() {
            return Err("a line of data stands before `#Fields`".into());
        }
        let mut values = elf_values(line).into_iter();
        let row = fields
            .iter()
            .map(|field| entry(field.as_str(), any_str(values.next().unwrap_or_else(|| "-".into()))));
        entries.push(map(row.collect()));
    }
    if !out.iter().any(|e| e.key == "elf.version") {
        return Err("there is no `#Version`".into());
    }
    let fields = fields.into_iter().map(any_str).collect();
    out.push(entry("elf.fields", any(Proto::ArrayValue(ArrayValue { values: fields }))));
    out.push(entry("elf.entries", any(Proto::ArrayValue(ArrayValue { values: entries }))));
    Ok(out)
}

/// Words; one in quotes may have spaces, and a quote twice in it is one.
fn elf_values(line: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut chars = line.chars().peekable();
    while let Some(first) = chars.next() {
        if first.is_whitespace() {
            continue;
        }
        let mut value = String::new();
        if first == '"' {
            while let Some(c) = chars.next() {
                if c != '"' {
                    value.push(c);
                } else if chars.next_if_eq(&'"').is_some() {
                    value.push('"');
                } else {
                    break;
                }
            }
        } else {
            value.push(first);
            while let Some(c) = chars.next_if(|c| !c.is_whitespace()) {
                value.push(c);
            }
        }
        out.push(value);
    }
    out
}

//! From a value in a JSON text to an extracted value.

use std::borrow::Cow;

use bytestring::ByteString;
use jmespath::Variable;

use crate::process::extracted::Extracted;

/// Extracts a value that stands in `source`: texts without escapes and whole structures stay slices of it.
pub(in crate::process::stages) fn extract(
    extracted: &mut Extracted<'_>,
    name: &str,
    source: &ByteString,
    raw: &str,
) {
    match raw.as_bytes().first() {
        Some(b'"') => match unescape(raw) {
            Cow::Borrowed(text) => extracted.set_part(name, source, text),
            Cow::Owned(text) => extracted.set(name, &text),
        },
        Some(b'{' | b'[') => match compact(raw) {
            Cow::Borrowed(text) => extracted.set_part(name, source, text),
            Cow::Owned(text) => extracted.set(name, &text),
        },
        Some(b't') => extracted.set_bool(name, true),
        Some(b'f') => extracted.set_bool(name, false),
        Some(b'n') | None => extracted.set_null(name),
        Some(_) => extracted.set_number(name, raw),
    }
}

/// Extracts what an expression has found.
pub(super) fn extract_found(extracted: &mut Extracted<'_>, name: &str, value: &Variable) {
    match value {
        Variable::Null => extracted.set_null(name),
        Variable::String(text) => extracted.set(name, text),
        Variable::Bool(truth) => extracted.set_bool(name, *truth),
        Variable::Number(number) => extracted.set_number(name, &number.to_string()),
        Variable::Array(_) | Variable::Object(_) => extracted.set(name, &value.to_string()),
        // A reference to an expression is no data; only functions take it.
        Variable::Expref(_) => {}
    }
}

/// The text of a JSON string that a parser has let pass, with its quotation marks. Half of a surrogate pair
/// becomes U+FFFD, as in Go.
pub fn unescape(raw: &str) -> Cow<'_, str> {
    let inner = raw.strip_prefix('"').and_then(|r| r.strip_suffix('"')).unwrap_or(raw);
    let Some(first) = memchr::memchr(b'\\', inner.as_bytes()) else { return Cow::Borrowed(inner) };
    let mut out = String::with_capacity(inner.len());
    out.push_str(&inner[..first]);
    let mut rest = &inner[first..];
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        out.push_str(&rest[..at]);
        let (c, after) = escape(&rest[at + 1..]);
        out.push(c);
        rest = after;
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// What stands behind a backslash.
fn escape(text: &str) -> (char, &str) {
    let mut chars = text.chars();
    let Some(c) = chars.next() else { return ('\u{fffd}', text) };
    let rest = chars.as_str();
    match c {
        'b' => ('\u{8}', rest),
        'f' => ('\u{c}', rest),
        'n' => ('\n', rest),
        'r' => ('\r', rest),
        't' => ('\t', rest),
        'u' => unicode(rest),
        other => (other, rest),
    }
}

fn unicode(text: &str) -> (char, &str) {
    let Some((high, rest)) = four_digits(text) else { return ('\u{fffd}', text) };
    if (0xd800..0xdc00).contains(&high)
        && let Some((low, after)) = rest.strip_prefix("\\u").and_then(four_digits)
        && (0xdc00..0xe000).contains(&low)
    {
        let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
        return (char::from_u32(code).unwrap_or('\u{fffd}'), after);
    }
    (char::from_u32(high).unwrap_or('\u{fffd}'), rest)
}

fn four_digits(text: &str) -> Option<(u32, &str)> {
    let digits = text.get(..4).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
    Some((u32::from_str_radix(digits, 16).ok()?, &text[4..]))
}

/// A structure without the white space between its parts.
fn compact(raw: &str) -> Cow<'_, str> {
    let mut spans: Vec<&str> = Vec::new();
    let (mut start, mut in_string, mut escaped) = (0, false, false);
    for (i, byte) in raw.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b' ' | b'\t' | b'\r' | b'\n' if !in_string => {
                if start < i {
                    spans.push(&raw[start..i]);
                }
                start = i + 1;
            }
            _ => {}
        }
    }
    if start == 0 {
        return Cow::Borrowed(raw);
    }
    spans.push(&raw[start..]);
    Cow::Owned(spans.concat())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn halves_of_surrogate_pairs_are_replaced() {
        let cases = [
            (r#""plain""#, "plain"),
            (r#""a\"b\\c\/d\n\t\u00e9""#, "a\"b\\c/d\n\té"),
            (r#""\ud83d\ude00!""#, "😀!"),
            (r#""\ud83dx""#, "\u{fffd}x"),
            (r#""\ud83d\u0041""#, "\u{fffd}A"),
            (r#""\ude00""#, "\u{fffd}"),
        ];
        for (raw, text) in cases {
            assert_eq!(unescape(raw), text, "{raw}");
        }
    }

    #[test]
    fn white_space_inside_of_texts_stays() {
        assert_eq!(compact("{ \"a b\" : [1 ,\t\"\\\" \"] }"), r#"{"a b":[1,"\" "]}"#);
        assert!(matches!(compact(r#"{"a b":1}"#), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn texts_are_read_as_serde_reads_them(text in ".{0,40}") {
            let raw = serde_json::to_string(&text).expect("a text");
            prop_assert_eq!(unescape(&raw), text);
        }

        #[test]
        fn no_text_makes_it_panic(raw in ".{0,40}") {
            let _ = unescape(&raw);
            let _ = compact(&raw);
        }
    }
}

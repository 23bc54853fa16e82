//! Logfmt as go-logfmt writes it: what keys cannot have, and when and how values are quoted.

use std::fmt::Write as _;

/// Characters that are left out of keys and make a value one that is quoted.
pub fn is_odd(c: char) -> bool {
    c <= ' ' || matches!(c, '=' | '"' | char::REPLACEMENT_CHARACTER)
}

/// Writes a key without what it cannot have; answers whether something is left of it.
pub fn key(key: &str, out: &mut String) -> bool {
    let before = out.len();
    out.extend(key.chars().filter(|c| !is_odd(*c)));
    out.len() > before
}

/// Writes a value, in quotes where it would not be read back as it is.
pub fn value(value: &str, out: &mut String) {
    if value == "null" || value.contains(is_odd) { quote(value, out) } else { out.push_str(value) }
}

/// Writes a text in quotes, escaped as in JSON.
pub fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_where_they_would_be_read_otherwise() {
        for (text, expected) in [
            ("plain", "plain"),
            ("", ""),
            ("null", "\"null\""),
            ("two words", "\"two words\""),
            ("a=b", "\"a=b\""),
            ("say \"no\"\\\n\r\t\u{1}é", "\"say \\\"no\\\"\\\\\\n\\r\\t\\u0001é\""),
        ] {
            let mut out = String::new();
            value(text, &mut out);
            assert_eq!(out, expected, "{text:?}");
        }
    }

    #[test]
    fn keys_lose_what_they_cannot_have() {
        let mut out = String::new();
        assert!(key("a b=c\"", &mut out));
        assert_eq!(out, "abc");
        assert!(!key(" =", &mut out));
    }
}

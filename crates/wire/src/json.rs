//! Texts and numbers of JSON as Go's `encoding/json` writes them: what is compared with what Go programs have written, by
//! a back end or a person, has to be the same to the byte.

use std::fmt::Write as _;

/// Writes a text. The two line separators of Unicode are escaped, with `html` also `<`, `>` and `&`, as Go does it unless
/// told not to.
pub fn text(text: &str, html: bool, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' if !html => out.push(c),
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Writes a finite number: the shortest digits that give it back, with an exponent below 1e-6 and from 1e21 on.
pub fn float(number: f64, out: &mut String) {
    let size = number.abs();
    if size == 0.0 || (1e-6..1e21).contains(&size) {
        let _ = write!(out, "{number}");
        return;
    }
    let text = format!("{number:e}");
    let (digits, exponent) = text.split_once('e').expect("this format always has an exponent");
    let sign = if exponent.starts_with('-') { '-' } else { '+' };
    // Go pads exponents to two digits and its JSON takes the padding off for negative ones only.
    let exponent = exponent.trim_start_matches('-');
    let _ = write!(out, "{digits}e{sign}{exponent}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_look_as_go_writes_them_and_are_read_as_what_they_were() {
        for (given, html, plain) in [
            ("", r#""""#, r#""""#),
            ("a\"b\\c", r#""a\"b\\c""#, r#""a\"b\\c""#),
            (
                "\n\r\t\u{8}\u{c}\u{0}\u{1f}\u{7f}",
                "\"\\n\\r\\t\\b\\f\\u0000\\u001f\u{7f}\"",
                "\"\\n\\r\\t\\b\\f\\u0000\\u001f\u{7f}\"",
            ),
            ("<a&b>", r#""\u003ca\u0026b\u003e""#, r#""<a&b>""#),
            ("ä\u{2028}\u{2029}", "\"ä\\u2028\\u2029\"", "\"ä\\u2028\\u2029\""),
        ] {
            for (html, expected) in [(true, html), (false, plain)] {
                let mut out = String::new();
                text(given, html, &mut out);
                assert_eq!(out, expected);
                assert_eq!(serde_json::from_str::<String>(&out).ok().as_deref(), Some(given));
            }
        }
    }

    #[test]
    fn numbers_look_as_go_writes_them() {
        for (number, expected) in [
            (0.0, "0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (1_385_053_862.307_2, "1385053862.3072"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.25e-7, "1.25e-7"),
            (1e-6, "0.000001"),
        ] {
            let mut out = String::new();
            float(number, &mut out);
            assert_eq!(out, expected);
        }
    }
}

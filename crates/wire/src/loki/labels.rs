//! The label string of a stream: `{a="b", c="d"}`, quoted as Prometheus does.

use std::borrow::Cow;

use signal::names::is_legacy_label;
use signal::{Labels, LabelsError, METRIC_NAME};

use super::MAX_LABELS;

/// Why a text is no set of labels.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelStringError {
    /// Something else was expected.
    #[error("at byte {at} of the labels: expected {expected}")]
    Syntax {
        /// Offset in the text.
        at: usize,
        /// What should be there.
        expected: &'static str,
    },
    /// More labels than anything could want.
    #[error("there are more than {MAX_LABELS} labels")]
    TooMany,
    /// The labels are no label set.
    #[error("{0}")]
    Labels(#[from] LabelsError),
}

/// Appends `{a="b", c="d"}`.
pub fn write_label_string<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>, out: &mut String) {
    out.push('{');
    for (i, (name, value)) in labels.into_iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        if is_legacy_label(name) {
            out.push_str(name)
        } else {
            quote(name, out)
        }
        out.push('=');
        quote(value, out);
    }
    out.push('}');
}

/// As Go's `strconv.Quote`, but printable or not, what is no control character of ASCII stays as it is: every
/// reader of Go strings takes it.
fn quote(text: &str, out: &mut String) {
    out.push('"');
    let mut from = 0;
    for (i, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..=0x1f | 0x7f => "",
            _ => continue,
        };
        out.push_str(&text[from..i]);
        out.push_str(escape);
        if escape.is_empty() {
            let digit = |n: u8| char::from_digit(u32::from(n), 16).expect("a nibble is a digit");
            out.extend(['\\', 'x', digit(byte >> 4), digit(byte & 15)]);
        }
        from = i + 1;
    }
    out.push_str(&text[from..]);
    out.push('"');
}

/// Reads the labels of a stream. As prometheus/promql/parser: `ParseMetric`; a name before the braces becomes
/// `__name__`, labels with empty values are left out, a name given twice is an error.
pub fn parse_label_string(text: &str) -> Result<Labels, LabelStringError> {
    let mut parser = Parser { text, at: 0 };
    let mut pairs: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::with_capacity(8);
    parser.space();
    let metric = parser.identifier(true);
    if let Some(name) = metric {
        pairs.push((METRIC_NAME.into(), name.into()));
        parser.space();
    }
    if metric.is_none() || parser.peek().is_some() {
        parser.expect(b'{', "'{'")?;
        parser.list(&mut pairs)?;
        parser.space();
    }
    match parser.peek() {
        None => Ok(Labels::try_from_pairs(pairs)?),
        Some(_) => Err(parser.error("the end of the labels")),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn list(&mut self, pairs: &mut Vec<(Cow<'a, str>, Cow<'a, str>)>) -> Result<(), LabelStringError> {
        loop {
            self.space();
            if self.eat(b'}') {
                return Ok(());
            }
            if pairs.len() >= MAX_LABELS {
                return Err(LabelStringError::TooMany);
            }
            let (name, quoted) = match self.identifier(false) {
                Some(name) => (Cow::Borrowed(name), false),
                None => (self.string("a label name or '}'")?, true),
            };
            self.space();
            if self.eat(b'=') {
                self.space();
                pairs.push((name, self.string("a quoted value")?));
            } else if quoted {
                // A quoted name by itself is that of the metric.
                pairs.push((METRIC_NAME.into(), name));
            } else {
                return Err(self.error("'='"));
            }
            self.space();
            if !self.eat(b',') {
                return self.expect(b'}', "',' or '}'");
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), LabelStringError> {
        if self.eat(byte) { Ok(()) } else { Err(self.error(expected)) }
    }

    fn error(&self, expected: &'static str) -> LabelStringError {
        LabelStringError::Syntax { at: self.at, expected }
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn identifier(&mut self, metric: bool) -> Option<&'a str> {
        let rest = &self.text[self.at..];
        let fits = |(i, b): (usize, u8)| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => true,
            b'0'..=b'9' => i > 0,
            b':' => metric,
            _ => false,
        };
        let len = rest.bytes().enumerate().take_while(|c| fits(*c)).count();
        self.at += len;
        (len > 0).then(|| &rest[..len])
    }

    /// A string of Go in double quotes, single quotes (as PromQL has them) or backquotes.
    fn string(&mut self, expected: &'static str) -> Result<Cow<'a, str>, LabelStringError> {
        let Some(quote @ (b'"' | b'\'' | b'`')) = self.peek() else { return Err(self.error(expected)) };
        self.at += 1;
        let start = self.at;
        let mut bytes = Vec::new();
        let mut from = start;
        loop {
            match self.peek() {
                Some(byte) if byte == quote => break,
                Some(b'\\') if quote != b'`' => {
                    bytes.extend_from_slice(&self.text.as_bytes()[from..self.at]);
                    self.escape(quote, &mut bytes)?;
                    from = self.at;
                }
                None | Some(b'\n') if quote != b'`' => return Err(self.error("the end of the quoted text")),
                None => return Err(self.error("the end of the quoted text")),
                Some(_) => self.at += 1,
            }
        }
        let tail = &self.text[from..self.at];
        self.at += 1;
        if from == start {
            return Ok(Cow::Borrowed(tail));
        }
        bytes.extend_from_slice(tail.as_bytes());
        // Escapes can write bytes that are no UTF-8.
        Ok(Cow::Owned(match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        }))
    }

    /// One escape of a Go string.
    fn escape(&mut self, quote: u8, out: &mut Vec<u8>) -> Result<(), LabelStringError> {
        self.at += 1;
        let error = self.error("an escape sequence of Go");
        let letter = self.peek().ok_or(error.clone())?;
        self.at += 1;
        let (digits, radix, is_char) = match letter {
            b'x' => (2, 16, false),
            b'u' => (4, 16, true),
            b'U' => (8, 16, true),
            b'0'..=b'7' => {
                self.at -= 1;
                (3, 8, false)
            }
            _ => {
                out.push(simple_escape(letter, quote).ok_or(error)?);
                return Ok(());
            }
        };
        let code = self.text.get(self.at..self.at + digits).filter(|d| !d.starts_with('+'));
        let code = code.and_then(|d| u32::from_str_radix(d, radix).ok()).ok_or(error.clone())?;
        self.at += digits;
        if is_char {
            let c = char::from_u32(code).ok_or(error)?;
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            out.push(u8::try_from(code).map_err(|_| error)?);
        }
        Ok(())
    }
}

fn simple_escape(letter: u8, quote: u8) -> Option<u8> {
    Some(match letter {
        b'a' => 0x07,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        b'\\' => b'\\',
        _ if letter == quote => letter,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        Labels::from_pairs(pairs.iter().copied())
    }

    fn written(labels: &Labels) -> String {
        let mut out = String::new();
        write_label_string(labels, &mut out);
        out
    }

    #[test]
    fn labels_are_written_as_prometheus_writes_them() {
        let cases: [(&[(&str, &str)], &str); 5] = [
            (&[], "{}"),
            (&[("b", "2"), ("a", "1")], r#"{a="1", b="2"}"#),
            (&[("a", "q\"b\\s\nt\tr\r")], r#"{a="q\"b\\s\nt\tr\r"}"#),
            (&[("a", "\u{0}\u{7f}\u{301}é")], "{a=\"\\x00\\x7f\u{301}é\"}"),
            (&[("a.b", "1")], r#"{"a.b"="1"}"#),
        ];
        for (pairs, expected) in cases {
            assert_eq!(written(&labels(pairs)), expected);
        }
    }

    #[test]
    fn whatever_promql_takes_as_labels_of_a_stream_is_read() {
        let cases: [(&str, &[(&str, &str)]); 12] = [
            ("{}", &[]),
            (" { } ", &[]),
            (r#"{a="1",b="2"}"#, &[("a", "1"), ("b", "2")]),
            (r#"{ b = "2" , a="1" , }"#, &[("a", "1"), ("b", "2")]),
            ("{a='x\"y', b=`\\n`}", &[("a", "x\"y"), ("b", "\\n")]),
            (
                r#"{a="\a\b\f\n\r\t\v\\\"\x41\101\u00e9\U0001F600"}"#,
                &[("a", "\u{7}\u{8}\u{c}\n\r\t\u{b}\\\"AAé😀")],
            ),
            (r#"{a="\xff"}"#, &[("a", "\u{fffd}")]),
            (r#"{"a.b"="1"}"#, &[("a.b", "1")]),
            (r#"{"m", a="1"}"#, &[("__name__", "m"), ("a", "1")]),
            (r#"m:x{a="1"}"#, &[("__name__", "m:x"), ("a", "1")]),
            ("m", &[("__name__", "m")]),
            (r#"{a="",b="2"}"#, &[("b", "2")]),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_label_string(text), Ok(labels(expected)), "{text}");
        }
    }

    #[test]
    fn what_is_no_set_of_labels_is_refused_with_its_place() {
        let cases = [
            ("", "byte 0"),
            ("{", "byte 1"),
            (r#"{a}"#, "byte 2"),
            (r#"{a="1""#, "byte 6"),
            (r#"{a="1"} x"#, "byte 8"),
            (r#"{a=1}"#, "byte 3"),
            (r#"{1a="1"}"#, "byte 1"),
            (r#"{a="1}"#, "byte 6"),
            ("{a=\"1\n\"}", "byte 5"),
            (r#"{a="\q"}"#, "byte 5"),
            (r#"{a="\'"}"#, "byte 5"),
            (r#"{a="\ud800"}"#, "byte 5"),
            (r#"{a="\x4"}"#, "byte 5"),
            (r#"{a="\400"}"#, "byte 5"),
            (r#"{a="\x+1"}"#, "byte 5"),
            (r#"{a="\"#, "byte 5"),
            (r#"{a="1",a="2"}"#, "given twice"),
            (r#"{""="1"}"#, "empty name"),
            (r#"{,}"#, "byte 1"),
            (r#"{a="1",,}"#, "byte 7"),
        ];
        for (text, part) in cases {
            let error = parse_label_string(text).expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(pairs in proptest::collection::vec(("[a-z_.é]{1,4}", "\\PC*|[\\x00-\\x7f]{0,9}"), 0..6)) {
            let labels = Labels::from_pairs(pairs);
            prop_assert_eq!(parse_label_string(&written(&labels)), Ok(labels));
        }

        #[test]
        fn arbitrary_text_never_panics(text in "[{}=,\"'`\\\\a0nxuU é\\n]{0,24}") {
            let _ = parse_label_string(&text);
        }
    }
}

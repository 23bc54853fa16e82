//! Numbers and strings: from their spelling to their value and back.
//!
//! Input is the text of one token, as the lexer cut it. Values as syntax/internal/value and
//! `strconv.Unquote` of Go give them.

use nom::branch::alt;
use nom::bytes::complete::{is_not, tag, take_while_m_n};
use nom::character::complete::char;
use nom::combinator::{map, map_opt, value};
use nom::sequence::preceded;
use nom::{IResult, Parser};

use crate::ast::Literal;
use crate::span::Span;

/// Why a literal has no value: where in its text, what, and what to do.
#[derive(Debug, PartialEq)]
pub(crate) struct Flaw {
    /// Relative to the start of the literal.
    pub(crate) span: Span,
    pub(crate) message: &'static str,
    pub(crate) help: &'static str,
}

/// The value of a number. A leading zero makes an integer octal; what does not fit a kind goes to the
/// next: signed, unsigned, float (which is decimal again: `08` is 8).
pub(crate) fn number(text: &str, float: bool) -> Result<Literal, Flaw> {
    if !float {
        let (digits, radix) = match text.strip_prefix('0') {
            Some(rest) if !rest.is_empty() => (rest, 8),
            _ => (text, 10),
        };
        if let Ok(n) = i64::from_str_radix(digits, radix) {
            return Ok(Literal::Int(n));
        }
        if let Ok(n) = u64::from_str_radix(digits, radix) {
            return Ok(Literal::Uint(n));
        }
    }
    match text.parse::<f64>() {
        Ok(n) if n.is_finite() => Ok(Literal::Float(n)),
        _ => Err(Flaw {
            span: Span::new(0, text.len() as u32),
            message: "the number is too large",
            help: "the largest number is about 1.8e308",
        }),
    }
}

/// The value of a string with its quotes (`"` or backquote).
pub(crate) fn string(text: &str) -> Result<String, Flaw> {
    let inner = &text[1..text.len() - 1];
    if text.starts_with('`') {
        return Ok(inner.replace('\r', ""));
    }
    if !inner.contains('\\') {
        return Ok(inner.to_owned());
    }
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while !rest.is_empty() {
        match alt((plain, escape)).parse(rest) {
            Ok((next, piece)) => {
                piece.append_to(&mut bytes);
                rest = next;
            }
            Err(_) => return Err(escape_flaw(text, text.len() - 1 - rest.len())),
        }
    }
    String::from_utf8(bytes).map_err(|_| Flaw {
        span: Span::new(0, text.len() as u32),
        message: "the escape sequences do not make up valid UTF-8",
        help: "write characters as `\\uXXXX` rather than byte by byte",
    })
}

#[derive(Clone)]
enum Piece<'t> {
    Text(&'t str),
    Byte(u8),
    Char(char),
}

impl Piece<'_> {
    fn append_to(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Text(text) => bytes.extend_from_slice(text.as_bytes()),
            Self::Byte(byte) => bytes.push(*byte),
            Self::Char(c) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

fn plain(input: &str) -> IResult<&str, Piece<'_>> {
    map(is_not("\\"), Piece::Text).parse(input)
}

fn escape(input: &str) -> IResult<&str, Piece<'_>> {
    let simple = alt((
        value(Piece::Byte(0x07), char('a')),
        value(Piece::Byte(0x08), char('b')),
        value(Piece::Byte(0x0c), char('f')),
        value(Piece::Byte(b'\n'), char('n')),
        value(Piece::Byte(b'\r'), char('r')),
        value(Piece::Byte(b'\t'), char('t')),
        value(Piece::Byte(0x0b), char('v')),
        value(Piece::Byte(b'\\'), char('\\')),
        value(Piece::Byte(b'"'), char('"')),
    ));
    let byte = alt((digits(3, 8), preceded(tag("x"), digits(2, 16))));
    let code = alt((preceded(tag("u"), digits(4, 16)), preceded(tag("U"), digits(8, 16))));
    preceded(
        char('\\'),
        alt((
            simple,
            map_opt(byte, |n| u8::try_from(n).ok().map(Piece::Byte)),
            map_opt(code, |n| char::from_u32(n).map(Piece::Char)),
        )),
    )
    .parse(input)
}

/// Exactly `count` digits to the base `radix`.
fn digits<'t>(
    count: usize,
    radix: u32,
) -> impl Parser<&'t str, Output = u32, Error = nom::error::Error<&'t str>> {
    map_opt(take_while_m_n(count, count, move |c: char| c.is_digit(radix)), move |s: &str| {
        u32::from_str_radix(s, radix).ok()
    })
}

/// Says what is wrong with the escape sequence whose backslash stands at `start`.
fn escape_flaw(text: &str, start: usize) -> Flaw {
    let mut chars = text[start + 1..].chars();
    let kind = chars.next().unwrap_or('\\');
    let wanted = match kind {
        'x' => 2,
        'u' => 4,
        'U' => 8,
        '0'..='7' => 2,
        _ => 0,
    };
    let taken: usize = chars.take(wanted).take_while(char::is_ascii_hexdigit).map(char::len_utf8).sum();
    let span = Span::new(start as u32, (start + 1 + kind.len_utf8() + taken) as u32);
    let (message, help) = match kind {
        '\'' => ("`\\'` is no escape sequence", "write `'` without the backslash"),
        'u' | 'U' if taken == wanted => {
            ("the escape sequence is no Unicode character", "surrogates and values above 10FFFF are none")
        }
        'x' | 'u' | 'U' => ("the escape sequence is too short", "write `\\xHH`, `\\uHHHH` or `\\UHHHHHHHH`"),
        '0'..='7' => ("the escape sequence is no octal byte", "write three digits from `\\000` to `\\377`"),
        _ => (
            "this escape sequence does not exist",
            "write `\\\\` for a backslash, or put the text in backquotes",
        ),
    };
    Flaw { span, message, help }
}

/// Writes a text as a double-quoted literal that reads back as the same text.
pub fn quote(text: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{feff}' => out.push_str("\\ufeff"),
            c if c.is_ascii_control() => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_takes_the_first_kind_that_fits() {
        for (text, want) in [
            ("0", Literal::Int(0)),
            ("12", Literal::Int(12)),
            ("010", Literal::Int(8)),
            ("00", Literal::Int(0)),
            ("08", Literal::Float(8.0)),
            ("9223372036854775807", Literal::Int(i64::MAX)),
            ("9223372036854775808", Literal::Uint(1 << 63)),
            ("18446744073709551615", Literal::Uint(u64::MAX)),
            ("18446744073709551616", Literal::Float(18446744073709551616.0)),
            ("01777777777777777777777", Literal::Uint(u64::MAX)),
            ("02000000000000000000000", Literal::Float(2e21)),
        ] {
            assert_eq!(number(text, false), Ok(want), "{text}");
        }
        for (text, want) in [(".5", 0.5), ("1.", 1.0), ("1e3", 1000.0), ("1.5E-1", 0.15), ("010.0", 10.0)] {
            assert_eq!(number(text, true), Ok(Literal::Float(want)), "{text}");
        }
        assert!(number("1e999", true).is_err());
    }

    #[test]
    fn escape_sequences_are_decoded() {
        for (text, want) in [
            (r#""""#, ""),
            (r#""plain""#, "plain"),
            (r#""\a\b\f\n\r\t\v\\\"""#, "\x07\x08\x0c\n\r\t\x0b\\\""),
            (r#""\101\x42\u00e9\U0001F600""#, "AB\u{e9}\u{1f600}"),
            (r#""\xc3\xa9""#, "\u{e9}"),
            (r#""it's""#, "it's"),
            ("`raw \\n\r\nline`", "raw \\n\nline"),
        ] {
            assert_eq!(string(text).as_deref(), Ok(want), "{text}");
        }
    }

    #[test]
    fn a_flaw_points_at_its_escape_sequence() {
        for (text, start, end) in [
            (r#""a\'b""#, 2, 4),
            (r#""\q""#, 1, 3),
            (r#""\x4""#, 1, 4),
            (r#""\400""#, 1, 5),
            (r#""\ud800""#, 1, 7),
            (r#""\U00110000""#, 1, 11),
            (r#""\u12""#, 1, 5),
            (r#""\xff""#, 0, 6),
        ] {
            assert_eq!(string(text).expect_err(text).span, Span::new(start, end), "{text}");
        }
    }

    #[test]
    fn a_quoted_text_reads_back() {
        for text in ["", "a", "a\"b\\c", "\n\r\t\0\x07\x7f", "\u{85}\u{feff}\u{1f600}é", "`'"] {
            assert_eq!(string(&quote(text)).as_deref(), Ok(text), "{text:?}");
        }
    }
}

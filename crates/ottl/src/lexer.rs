//! Text to tokens, with nom.
//!
//! The rules are those of pkg/ottl's lexer. One thing is wider: a sign belongs to a number only where a value
//! may begin, so that `a-1` is a difference.

use std::ops::Range;

use nom::branch::alt;
use nom::bytes::complete::{tag, take_while, take_while1};
use nom::character::complete::{char, digit0, digit1, one_of};
use nom::combinator::{opt, recognize};
use nom::{IResult, Parser};

use crate::error::Mistake;

/// A token and where it is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) span: Range<usize>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// `[A-Za-z_][A-Za-z0-9_]*`, words with a meaning included.
    Name,
    Text(String),
    Int(i64),
    Float(f64),
    Bytes(Vec<u8>),
    /// `( ) [ ] { } , . : = + - * / == != < <= > >= =>`
    Sign(&'static str),
    End,
}

const SIGNS: [&str; 20] =
    ["==", "!=", ">=", "<=", "=>", ">", "<", "=", "+", "-", "*", "/", "(", ")", "[", "]", "{", "}", ",", "."];

/// All tokens of a text; the last is [`Kind::End`].
pub(crate) fn tokens(text: &str) -> Result<Vec<Token>, Mistake> {
    let mut out: Vec<Token> = Vec::new();
    let mut at = 0;
    loop {
        at += text[at..].len() - text[at..].trim_start().len();
        let rest = &text[at..];
        let Some(first) = rest.chars().next() else {
            out.push(Token { kind: Kind::End, span: at..at });
            return Ok(out);
        };
        let value_before = matches!(
            out.last().map(|t| &t.kind),
            Some(Kind::Name | Kind::Int(_) | Kind::Float(_) | Kind::Sign(")" | "]"))
        ) && !out.last().is_some_and(|t| is_operator(&text[t.span.clone()]));
        let (kind, length) = match first {
            '"' => quoted(rest, at)?,
            'A'..='Z' | 'a'..='z' | '_' => (Kind::Name, matched(name(rest))),
            _ => match number(rest, at, value_before)? {
                Some(found) => found,
                None => sign(rest).ok_or_else(|| {
                    Mistake::new(at..at + first.len_utf8(), format!("unexpected character `{first}`"))
                })?,
            },
        };
        out.push(Token { kind, span: at..at + length });
        at += length;
    }
}

/// Words behind which a value may begin.
fn is_operator(word: &str) -> bool {
    matches!(word, "and" | "or" | "not" | "where")
}

fn matched(result: IResult<&str, &str>) -> usize {
    result.map_or(0, |(_, found)| found.len())
}

fn name(text: &str) -> IResult<&str, &str> {
    take_while(|c: char| c.is_ascii_alphanumeric() || c == '_')(text)
}

fn sign(text: &str) -> Option<(Kind, usize)> {
    let sign = SIGNS
        .iter()
        .find(|sign| text.starts_with(**sign))
        .or_else(|| text.starts_with(':').then_some(&":"))?;
    Some((Kind::Sign(sign), sign.len()))
}

fn number(text: &str, at: usize, value_before: bool) -> Result<Option<(Kind, usize)>, Mistake> {
    if value_before && text.starts_with(['+', '-']) {
        return Ok(None);
    }
    let hex = matched(bytes(text));
    if hex > 0 {
        let decoded = const_hex::decode(&text[2..hex]).map_err(|_| {
            Mistake::new(at..at + hex, "a byte literal has an odd number of digits")
                .with_help("write two hexadecimal digits a byte")
        })?;
        return Ok(Some((Kind::Bytes(decoded), hex)));
    }
    let float = matched(float(text));
    if float > 0 {
        let value = text[..float].parse().expect("the digits and signs of a number");
        return Ok(Some((Kind::Float(value), float)));
    }
    let int = matched(int(text));
    if int == 0 {
        return Ok(None);
    }
    let value = text[..int]
        .parse()
        .map_err(|_| Mistake::new(at..at + int, format!("`{}` is no 64-bit integer", &text[..int])))?;
    Ok(Some((Kind::Int(value), int)))
}

fn bytes(text: &str) -> IResult<&str, &str> {
    recognize((tag("0x"), take_while1(|c: char| c.is_ascii_hexdigit()))).parse(text)
}

fn float(text: &str) -> IResult<&str, &str> {
    let exponent = (one_of("eE"), opt(one_of("+-")), digit1);
    recognize((opt(one_of("+-")), digit0, char('.'), digit1, opt(exponent))).parse(text)
}

fn int(text: &str) -> IResult<&str, &str> {
    recognize((opt(alt((char('+'), char('-')))), digit1)).parse(text)
}

/// A string with the escapes of Go; what Go does not know as an escape keeps its backslash, as in a pattern
/// that was written for a raw string.
fn quoted(text: &str, at: usize) -> Result<(Kind, usize), Mistake> {
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((offset, c)) = chars.next() {
        match c {
            '"' => return Ok((Kind::Text(value), offset + 1)),
            '\\' => {
                let Some((_, escaped)) = chars.next() else { break };
                match escaped {
                    'n' => value.push('\n'),
                    't' => value.push('\t'),
                    'r' => value.push('\r'),
                    'a' => value.push('\u{7}'),
                    'b' => value.push('\u{8}'),
                    'f' => value.push('\u{c}'),
                    'v' => value.push('\u{b}'),
                    '\\' | '"' | '\'' => value.push(escaped),
                    'x' | 'u' | 'U' => {
                        let digits = match escaped {
                            'x' => 2,
                            'u' => 4,
                            _ => 8,
                        };
                        let from = offset + 2;
                        match code_point(text, from, digits) {
                            Some(c) => {
                                value.push(c);
                                chars.nth(digits - 1);
                            }
                            None => value.extend(['\\', escaped]),
                        }
                    }
                    other => value.extend(['\\', other]),
                }
            }
            other => value.push(other),
        }
    }
    Err(Mistake::new(at..at + text.len(), "a string is not closed").with_help("add a `\"`"))
}

fn code_point(text: &str, from: usize, digits: usize) -> Option<char> {
    let hex = text.get(from..from + digits)?;
    if !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    char::from_u32(u32::from_str_radix(hex, 16).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_literal_is_one_token() {
        let cases = [
            ("12", Kind::Int(12)),
            ("-7", Kind::Int(-7)),
            ("+7", Kind::Int(7)),
            ("1.5", Kind::Float(1.5)),
            (".5", Kind::Float(0.5)),
            ("-1.5e-3", Kind::Float(-0.0015)),
            ("0x0aFF", Kind::Bytes(vec![10, 255])),
            (r#""a\"b\n""#, Kind::Text("a\"b\n".into())),
            (r#""\d\\d""#, Kind::Text("\\d\\d".into())),
            (r#""\x41\u00e4""#, Kind::Text("Aä".into())),
            ("http_x2", Kind::Name),
            (">=", Kind::Sign(">=")),
        ];
        for (text, kind) in cases {
            let tokens = tokens(text).expect(text);
            assert_eq!(tokens[0], Token { kind, span: 0..text.len() }, "{text}");
            assert_eq!(tokens[1].kind, Kind::End);
        }
    }

    #[test]
    fn a_sign_behind_a_value_is_an_operator() {
        let kinds = |text| tokens(text).expect("tokens").into_iter().map(|t| t.kind).collect::<Vec<_>>();
        assert_eq!(kinds("1-1"), [Kind::Int(1), Kind::Sign("-"), Kind::Int(1), Kind::End]);
        assert_eq!(kinds("a -1")[1], Kind::Sign("-"));
        assert_eq!(kinds("not -1"), [Kind::Name, Kind::Int(-1), Kind::End]);
        assert_eq!(kinds("(-1)")[1], Kind::Int(-1));
    }

    #[test]
    fn mistakes_say_where_they_are() {
        let cases = [
            ("a ; b", 2..3, "unexpected character `;`"),
            ("x \"abc", 2..6, "a string is not closed"),
            ("0xabc", 0..5, "odd number"),
            ("99999999999999999999", 0..20, "no 64-bit integer"),
        ];
        for (text, span, message) in cases {
            let mistake = tokens(text).expect_err(text);
            assert_eq!(mistake.span, span, "{text}");
            assert!(mistake.message.contains(message), "{}", mistake.message);
        }
    }
}

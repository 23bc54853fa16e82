//! The words of an expression.

use nom::branch::alt;
use nom::bytes::complete::{tag, take_while, take_while1};
use nom::character::complete::{anychar, char, digit1, one_of, satisfy};
use nom::combinator::{map, map_opt, not, opt, peek, recognize, value};
use nom::multi::{fold_many_m_n, many0_count};
use nom::sequence::{delimited, pair, preceded};
use nom::{IResult, Parser};

/// A word.
#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// Text in quotes.
    Text(String),
    /// A name or a word that is an operator.
    Name(String),
    /// Anything else.
    Sign(&'static str),
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Int(v) => write!(f, "{v}"),
            Self::Float(v) => write!(f, "{v}"),
            Self::Text(v) => write!(f, "{v:?}"),
            Self::Name(v) => f.write_str(v),
            Self::Sign(v) => f.write_str(v),
        }
    }
}

/// Longer ones first.
const SIGNS: [&str; 33] = [
    "**", "==", "!=", "<=", ">=", "&&", "||", "..", "?.", "??", "?[", "+", "-", "*", "/", "%", "^", "<", ">",
    "!", "?", ":", ".", ",", "(", ")", "[", "]", "{", "}", "#", "|", ";",
];

/// The words of a text.
///
/// # Errors
/// With the rest that is no word.
pub fn lex(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = skip(text);
    while !rest.is_empty() {
        match token(rest) {
            Ok((after, token)) => {
                tokens.push(token);
                rest = skip(after);
            }
            Err(_) => {
                let shown: String = rest.chars().take(20).collect();
                return Err(format!("the expression cannot be read at {shown:?}"));
            }
        }
    }
    Ok(tokens)
}

/// Without spaces and comments.
fn skip(text: &str) -> &str {
    fn comment(input: &str) -> IResult<&str, &str> {
        alt((
            recognize(pair(tag("//"), take_while(|c| c != '\n'))),
            recognize((tag("/*"), many0_count(pair(not(tag("*/")), anychar)), tag("*/"))),
            take_while1(char::is_whitespace),
        ))
        .parse(input)
    }
    let mut rest = text;
    while let Ok((after, _)) = comment(rest) {
        rest = after;
    }
    rest
}

fn token(input: &str) -> IResult<&str, Token> {
    alt((number, map(quoted, Token::Text), name, sign)).parse(input)
}

fn sign(input: &str) -> IResult<&str, Token> {
    let found = SIGNS.iter().find(|sign| input.starts_with(**sign));
    match found {
        Some(sign) => Ok((&input[sign.len()..], Token::Sign(sign))),
        None => Err(nom::Err::Error(nom::error::Error::new(input, nom::error::ErrorKind::Tag))),
    }
}

fn name(input: &str) -> IResult<&str, Token> {
    let first = satisfy(|c| c.is_alphabetic() || c == '_' || c == '$');
    let others = take_while(|c: char| c.is_alphanumeric() || c == '_' || c == '$');
    map(recognize(pair(first, others)), |text: &str| Token::Name(text.to_string())).parse(input)
}

fn number(input: &str) -> IResult<&str, Token> {
    let digits = || take_while1(|c: char| c.is_ascii_digit() || c == '_');
    let hex = preceded(
        alt((tag("0x"), tag("0X"))),
        map_opt(take_while1(|c: char| c.is_ascii_hexdigit()), |t: &str| i64::from_str_radix(t, 16).ok()),
    );
    // `1..3` is a range, not a fraction.
    let fraction = recognize((char('.'), not(char('.')), digit1));
    let exponent = recognize((one_of("eE"), opt(one_of("+-")), digit1));
    let decimal =
        map_opt((peek(digit1), digits(), opt(fraction), opt(exponent)), |(_, whole, part, power)| {
            let text = format!("{whole}{}{}", part.unwrap_or(""), power.unwrap_or("")).replace('_', "");
            match (part, power) {
                (None, None) => text.parse().ok().map(Token::Int),
                _ => text.parse().ok().map(Token::Float),
            }
        });
    alt((map(hex, Token::Int), decimal)).parse(input)
}

fn quoted(input: &str) -> IResult<&str, String> {
    let raw = delimited(char('`'), take_while(|c| c != '`'), char('`'));
    let with = |quote: char| {
        delimited(
            char(quote),
            fold_many_m_n(0, usize::MAX, piece(quote), String::new, |mut text, c| {
                text.push(c);
                text
            }),
            char(quote),
        )
    };
    alt((map(raw, str::to_string), with('"'), with('\''))).parse(input)
}

/// One character of a text in quotes.
fn piece<'a>(quote: char) -> impl Parser<&'a str, Output = char, Error = nom::error::Error<&'a str>> {
    let unicode = |digits: usize| {
        map_opt(recognize(nom::multi::count(satisfy(|c| c.is_ascii_hexdigit()), digits)), |text: &str| {
            char::from_u32(u32::from_str_radix(text, 16).ok()?)
        })
    };
    let escape = preceded(
        char('\\'),
        alt((
            value('\n', char('n')),
            value('\t', char('t')),
            value('\r', char('r')),
            preceded(char('u'), unicode(4)),
            preceded(char('x'), unicode(2)),
            one_of("\\\"'`/.+*?()[]{}|^$-dwsDWSbB"),
        )),
    );
    alt((escape, satisfy(move |c| c != quote && c != '\\')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_told_apart() {
        let words =
            |text: &str| lex(text).map(|t| t.iter().map(Token::to_string).collect::<Vec<_>>().join(" "));
        assert_eq!(words("a.b?.c>=1.5e3||!x"), Ok("a . b ?. c >= 1500 || ! x".into()));
        assert_eq!(words("1..3 /* c */ + 0x1F"), Ok("1 .. 3 + 31".into()));
        assert_eq!(words(r#"'it\'s' "a\"b""#), Ok(r#""it's" "a\"b""#.into()));
        assert!(words("a @ b").unwrap_err().contains('@'));
        assert!(words("'open").is_err());
    }
}

//! LogQL selectors with line filters: `{job="app", level!~"debug|info"} |= "error" != "timeout" |~ "5\\d\\d"`.
//!
//! What `stage.match` takes in Alloy, and of newer LogQL backquoted texts and `or` between the texts of a line
//! filter. Parsers such as `| json` and filters of labels behind them are no selectors: they are refused.

use std::fmt;

use memchr::memmem::Finder;
use nom::branch::alt;
use nom::bytes::complete::{tag, take_until, take_while1};
use nom::character::complete::{char, multispace1, not_line_ending};
use nom::combinator::{cut, opt, recognize, value};
use nom::error::{ErrorKind, ParseError};
use nom::multi::{many0, separated_list1};
use nom::sequence::{delimited, pair, preceded};
use nom::{IResult, Parser};
use signal::Regex;

/// A selector of streams with line filters.
#[derive(Clone, Debug)]
pub struct Selector {
    source: Box<str>,
    matchers: Vec<Matcher>,
    filters: Vec<LineFilter>,
}

/// What is wrong with the text of a selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct SyntaxError {
    /// From one.
    pub line: usize,
    /// From one, in characters.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

#[derive(Clone, Debug)]
struct Matcher {
    label: Box<str>,
    negated: bool,
    test: LabelTest,
}

#[derive(Clone, Debug)]
enum LabelTest {
    Equals(Box<str>),
    /// Anchored.
    Matches(Regex),
}

#[derive(Clone, Debug)]
struct LineFilter {
    negated: bool,
    /// One of them is enough.
    tests: Vec<LineTest>,
}

#[derive(Clone)]
enum LineTest {
    Contains(Box<Finder<'static>>),
    /// Anywhere in the line.
    Matches(Regex),
}

impl Selector {
    /// Parses a selector.
    ///
    /// # Errors
    /// Where the text is no selector, or a regular expression in it is none.
    pub fn parse(source: &str) -> Result<Self, SyntaxError> {
        let error = |at: &str, message: String| {
            let before = &source[..source.len() - at.len()];
            let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
            let column = before[line_start..].chars().count() + 1;
            SyntaxError { line: before.matches('\n').count() + 1, column, message }
        };
        let (raw_matchers, raw_filters) = match selector(source) {
            Ok(("", parsed)) => parsed,
            Ok((rest, _)) => return Err(error(rest, unexpected(rest))),
            Err(nom::Err::Error(problem) | nom::Err::Failure(problem)) => {
                return Err(error(problem.at, problem.to_string()));
            }
            Err(nom::Err::Incomplete(_)) => return Err(error("", "unexpected end".into())),
        };
        let mut matchers = Vec::with_capacity(raw_matchers.len());
        for raw in raw_matchers {
            let test = if raw.regex {
                let regex = Regex::anchored(&raw.text).map_err(|e| error(raw.at, e.to_string()))?;
                LabelTest::Matches(regex)
            } else {
                LabelTest::Equals(raw.text.into())
            };
            matchers.push(Matcher { label: raw.label.into(), negated: raw.negated, test });
        }
        let mut filters = Vec::with_capacity(raw_filters.len());
        for raw in raw_filters {
            let mut tests = Vec::with_capacity(raw.texts.len());
            for (at, text) in raw.texts {
                tests.push(if raw.regex {
                    LineTest::Matches(Regex::new(&text).map_err(|e| error(at, e.to_string()))?)
                } else {
                    LineTest::Contains(Box::new(Finder::new(text.as_bytes()).into_owned()))
                });
            }
            filters.push(LineFilter { negated: raw.negated, tests });
        }
        Ok(Self { source: source.into(), matchers, filters })
    }

    /// The text that it was parsed from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether an entry is selected; `label` gives the value of a label, `None` where there is none.
    pub fn matches<'l>(&self, label: impl Fn(&str) -> Option<&'l str>, line: &str) -> bool {
        let labels = |matcher: &Matcher| {
            let value = label(&matcher.label).unwrap_or_default();
            let found = match &matcher.test {
                LabelTest::Equals(text) => **text == *value,
                LabelTest::Matches(regex) => regex.is_match(value),
            };
            found != matcher.negated
        };
        let lines = |filter: &LineFilter| {
            let found = filter.tests.iter().any(|test| match test {
                LineTest::Contains(finder) => finder.find(line.as_bytes()).is_some(),
                LineTest::Matches(regex) => regex.is_match(line),
            });
            found != filter.negated
        };
        self.matchers.iter().all(labels) && self.filters.iter().all(lines)
    }
}

impl fmt::Debug for LineTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Contains(finder) => write!(f, "Contains({:?})", String::from_utf8_lossy(finder.needle())),
            Self::Matches(regex) => write!(f, "Matches({:?})", regex.as_str()),
        }
    }
}

struct RawMatcher<'i> {
    label: &'i str,
    negated: bool,
    regex: bool,
    at: &'i str,
    text: String,
}

struct RawFilter<'i> {
    negated: bool,
    regex: bool,
    texts: Vec<(&'i str, String)>,
}

/// What a parser did not find, and where.
#[derive(Debug)]
struct Problem<'i> {
    at: &'i str,
    expected: &'static str,
}

impl<'i> ParseError<&'i str> for Problem<'i> {
    fn from_error_kind(at: &'i str, _: ErrorKind) -> Self {
        Self { at, expected: "" }
    }

    /// Of several the one that got furthest tells most.
    fn append(_: &'i str, _: ErrorKind, other: Self) -> Self {
        other
    }
}

impl fmt::Display for Problem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = unexpected(self.at);
        if self.expected.is_empty() {
            f.write_str(&found)
        } else {
            write!(f, "{found}, expected {}", self.expected)
        }
    }
}

fn unexpected(at: &str) -> String {
    let word: String = at.chars().take_while(|c| !c.is_whitespace()).take(20).collect();
    match at.trim_start().chars().next() {
        None => "unexpected end".to_owned(),
        Some('|') => {
            format!("unexpected {word:?}: of a pipeline only line filters (|= |~ != !~) belong to a selector")
        }
        Some(_) => format!("unexpected {word:?}"),
    }
}

type Parsed<'i, T> = IResult<&'i str, T, Problem<'i>>;

/// Names what was expected where a parser fails at its start.
fn expect<'i, T>(
    expected: &'static str,
    mut parser: impl Parser<&'i str, Output = T, Error = Problem<'i>>,
) -> impl FnMut(&'i str) -> Parsed<'i, T> {
    move |input: &'i str| {
        parser.parse(input).map_err(|problem| {
            problem.map(|p| if p.expected.is_empty() { Problem { at: input, expected } } else { p })
        })
    }
}

/// White space and Go's comments.
fn blank(input: &str) -> Parsed<'_, ()> {
    let line = preceded(tag("//"), not_line_ending);
    let block = delimited(tag("/*"), take_until("*/"), tag("*/"));
    value((), many0(alt((multispace1, line, block)))).parse(input)
}

/// A token and the blank behind it.
fn token<'i, T>(
    parser: impl Parser<&'i str, Output = T, Error = Problem<'i>>,
) -> impl Parser<&'i str, Output = T, Error = Problem<'i>> {
    nom::sequence::terminated(parser, blank)
}

fn selector(input: &str) -> Parsed<'_, (Vec<RawMatcher<'_>>, Vec<RawFilter<'_>>)> {
    let (input, ()) = blank(input)?;
    let (input, _) = expect("{", token(char('{'))).parse(input)?;
    let (input, matchers) = separated_list1(token(char(',')), matcher).parse(input)?;
    let (input, _) = opt(token(char(','))).parse(input)?;
    let (input, _) = expect(", or }", token(char('}'))).parse(input)?;
    let (input, filters) = many0(line_filter).parse(input)?;
    Ok((input, (matchers, filters)))
}

fn label(input: &str) -> Parsed<'_, &str> {
    let first = |c: char| c.is_alphabetic() || c == '_';
    let rest = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.');
    recognize(pair(take_while1(first), opt(take_while1(rest)))).parse(input)
}

fn matcher(input: &str) -> Parsed<'_, RawMatcher<'_>> {
    let (input, label) = expect("a label", token(label)).parse(input)?;
    let operators = alt((
        value((false, true), tag("=~")),
        value((true, true), tag("!~")),
        value((true, false), tag("!=")),
        value((false, false), tag("=")),
    ));
    let (input, (negated, regex)) = cut(expect("=, !=, =~ or !~", token(operators))).parse(input)?;
    let at = input;
    let (input, text) = cut(expect("a text in quotes", token(text))).parse(input)?;
    Ok((input, RawMatcher { label, negated, regex, at, text }))
}

fn line_filter(input: &str) -> Parsed<'_, RawFilter<'_>> {
    let operators = alt((
        value((false, false), tag("|=")),
        value((false, true), tag("|~")),
        value((true, false), tag("!=")),
        value((true, true), tag("!~")),
    ));
    let (mut input, (negated, regex)) = token(operators).parse(input)?;
    let mut texts = Vec::new();
    loop {
        let at = input;
        let (rest, found) = cut(expect("a text in quotes", token(text))).parse(input)?;
        texts.push((at, found));
        input = rest;
        let Ok((rest, _)) = token(or).parse(input) else { break };
        input = rest;
    }
    Ok((input, RawFilter { negated, regex, texts }))
}

fn or(input: &str) -> Parsed<'_, &str> {
    nom::sequence::terminated(tag("or"), nom::combinator::not(take_while1(|c: char| c.is_alphanumeric())))
        .parse(input)
}

fn text(input: &str) -> Parsed<'_, String> {
    if let Some(rest) = input.strip_prefix('`') {
        let (rest, raw) = cut(expect("a closing backquote", take_until("`"))).parse(rest)?;
        // As in Go: carriage returns are no part of such a text.
        return Ok((&rest[1..], raw.replace('\r', "")));
    }
    let (rest, _) = char('"').parse(input)?;
    let (rest, bytes) = quoted(rest)?;
    Ok((rest, String::from_utf8_lossy(&bytes).into_owned()))
}

/// A text with Go's escapes up to its closing quote. What is no escape stands for itself, backslash included, and
/// lines may end in it: published configurations have regular expressions such as `"\s+"` there.
fn quoted(input: &str) -> Parsed<'_, Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = input;
    loop {
        let Some(c) = rest.chars().next() else {
            return Err(nom::Err::Failure(Problem { at: rest, expected: "a closing quote" }));
        };
        rest = &rest[c.len_utf8()..];
        match c {
            '"' => return Ok((rest, out)),
            '\\' => match escape(rest) {
                Some((bytes, used)) => {
                    out.extend_from_slice(&bytes);
                    rest = &rest[used..];
                }
                None => out.push(b'\\'),
            },
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// What stands behind a backslash: its bytes, and how many bytes of text it takes.
fn escape(text: &str) -> Option<(Vec<u8>, usize)> {
    let digits = |from: usize, count: usize, radix: u32| {
        let digits = text.get(from..from + count)?;
        if !digits.chars().all(|c| c.is_digit(radix)) {
            return None;
        }
        u32::from_str_radix(digits, radix).ok()
    };
    let character = |code: u32| char::from_u32(code).map(|c| c.to_string().into_bytes());
    let first = text.chars().next()?;
    let simple = match first {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        '\\' => b'\\',
        '"' => b'"',
        'x' => return Some((vec![u8::try_from(digits(1, 2, 16)?).ok()?], 3)),
        'u' => return Some((character(digits(1, 4, 16)?)?, 5)),
        'U' => return Some((character(digits(1, 8, 16)?)?, 9)),
        '0'..='7' => return Some((vec![u8::try_from(digits(0, 3, 8)?).ok()?], 3)),
        _ => return None,
    };
    Some((vec![simple], 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn selects(source: &str, labels: &[(&str, &str)], line: &str) -> bool {
        let selector = Selector::parse(source).unwrap_or_else(|error| panic!("{source}: {error}"));
        let get = |name: &str| labels.iter().find(|(n, _)| *n == name).map(|(_, value)| *value);
        selector.matches(get, line)
    }

    #[test]
    fn labels_and_lines_decide() {
        let labels = [("job", "app"), ("level", "warn"), ("app.kubernetes", "x")];
        for (source, selected) in [
            (r#"{job="app"}"#, true),
            (r#"{job="ap"}"#, false),
            (r#"{job!="app"}"#, false),
            (r#"{job=~"a.*"}"#, true),
            (r#"{job=~"a"}"#, false),
            (r#"{job!~"b.*"}"#, true),
            (r#"{job="app", level=~"warn|error"}"#, true),
            (r#"{job="app",level="error"}"#, false),
            (r#"{ job = "app" , }"#, true),
            (r#"{app.kubernetes="x"}"#, true),
            (r#"{missing=""}"#, true),
            (r#"{missing!=""}"#, false),
            (r#"{missing=~".*"}"#, true),
            (r#"{missing=~".+"}"#, false),
            (r#"{job="app"} |= "GET""#, true),
            (r#"{job="app"} |= "POST""#, false),
            (r#"{job="app"} != "POST""#, true),
            (r#"{job="app"} |~ "5\\d\\d""#, true),
            (r#"{job="app"} !~ "5\\d\\d""#, false),
            (r#"{job="app"} |~ `5\d\d` != "x" |= "GET""#, true),
            (r#"{job=`app`}|="GET"|="nothing""#, false),
            (r#"{job="app"} |= "POST" or "GET""#, true),
            (r#"{job="app"} |= "POST" or `PUT`"#, false),
            (r#"{job="app"} != "POST" or "GET""#, false),
            (r#"{job="app"} |~ "^POST" or "503$""#, true),
            ("{job=\"app\"} // a comment\n |= \"GET\" /* and */ != \"y\"", true),
            (r#"{job="\x61\160\u0070"}"#, true),
            (r#"{job="app"} |= """#, true),
            (r#"{job="app"} |~ "^\S+\s/a""#, true),
            (r#"{job="\q"}"#, false),
            ("{job=\"app\"} |~ \"GET(.|\n)+\"", true),
        ] {
            assert_eq!(selects(source, &labels, "GET /a 503"), selected, "{source}");
        }
    }

    #[test]
    fn mistakes_have_their_place() {
        for (source, place, message) in [
            ("", (1, 1), "unexpected end, expected {"),
            ("{}", (1, 2), "expected a label"),
            (r#"{job}"#, (1, 5), "expected =, !=, =~ or !~"),
            (r#"{job="app""#, (1, 11), "expected , or }"),
            (r#"{job=app}"#, (1, 6), "expected a text in quotes"),
            (r#"{job="app"} foo"#, (1, 13), "unexpected \"foo\""),
            ("{job=\"app\"}\n  | json", (2, 3), "only line filters"),
            (r#"{job="app"} |> "<_>""#, (1, 13), "only line filters"),
            (r#"{job="app"} |="#, (1, 15), "unexpected end, expected a text in quotes"),
            (r#"{job=~"("}"#, (1, 7), "missing closing )"),
            (r#"{job="app"} |~ "a" or "[""#, (1, 23), "missing closing ]"),
            (r#"{job="a"#, (1, 8), "expected a closing quote"),
            (r#"{job=`a"#, (1, 7), "expected a closing backquote"),
            (r#"{9a="x"}"#, (1, 2), "expected a label"),
        ] {
            let error = Selector::parse(source).expect_err(source);
            assert_eq!((error.line, error.column), place, "{source}: {error}");
            assert!(error.message.contains(message), "{source}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(source in ".{0,80}", line in ".{0,40}") {
            if let Ok(selector) = Selector::parse(&source) {
                selector.matches(|_| None, &line);
            }
        }

        #[test]
        fn what_looks_like_a_selector_is_parsed_or_refused(
            source in r#"\{[a-z]{1,2}(=|!=|=~|!~)["`][a-z\\(\[.*]{0,4}["`],?\}( ?(\|=|\|~|!=|!~) ?["`].{0,4}["`]( or "b")?){0,3}"#,
            line in ".{0,40}",
        ) {
            if let Ok(selector) = Selector::parse(&source) {
                selector.matches(|_| Some("a"), &line);
            }
        }

        #[test]
        fn a_quoted_text_is_itself(text in "\\PC{0,20}", around in "[a-z]{0,5}") {
            let quoted = format!("{{a=\"b\"}} |= {}", serde_json::to_string(&text).expect("a text"));
            let selector = Selector::parse(&quoted).expect("a selector");
            let line = format!("{around}{text}{around}");
            prop_assert!(selector.matches(|_| Some("b"), &line));
        }
    }
}

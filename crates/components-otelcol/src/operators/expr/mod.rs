//! Expressions over an entry: the part of github.com/expr-lang/expr that the documentation of the operators uses.
//!
//! Text → tokens (`lex`) → tree (`parse`) → value (`eval`). Invariants: text, depth and results are bounded;
//! what is not supported, or names nothing, is an error when the configuration is read, never one at run time.

mod builtin;
mod eval;
mod lex;
mod parse;

use regex::Regex;

use super::entry::{Entry, Failure};
use super::value::Value;
use builtin::{Builtin, Predicate};

/// An expression is not longer than this, in bytes.
const MAX_LENGTH: usize = 16 << 10;
/// Nor deeper.
const MAX_DEPTH: usize = 64;
/// Nor is what comes of one, in bytes of text or elements of a list.
const MAX_RESULT: usize = 4 << 20;

/// An expression that can be evaluated.
#[derive(Clone, Debug)]
pub struct Expr(Node);

/// Variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Body,
    Attributes,
    Resource,
    Timestamp,
    SeverityText,
    SeverityNumber,
    /// The element that a predicate is asked about.
    Item,
}

#[derive(Clone, Debug)]
enum Node {
    Literal(Value),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    Name(Name),
    /// `a.b`, `a[b]`; with `?` nothing has no members.
    Member {
        of: Box<Node>,
        key: Box<Node>,
        optional: bool,
    },
    Slice {
        of: Box<Node>,
        from: Option<Box<Node>>,
        to: Option<Box<Node>>,
    },
    Not(Box<Node>),
    Negate(Box<Node>),
    Binary(Binary, Box<Node>, Box<Node>),
    Matches(Box<Node>, Regex),
    Choice(Box<[Node; 3]>),
    Call(Builtin, Vec<Node>),
    Each(Predicate, Box<Node>, Box<Node>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Binary {
    Or,
    And,
    Default,
    Equal,
    Unequal,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    NotIn,
    Contains,
    StartsWith,
    EndsWith,
    Range,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Power,
}

impl Expr {
    /// Reads an expression.
    ///
    /// # Errors
    /// If it is none, or uses what is not supported; says where.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_LENGTH {
            return Err(format!("the expression is longer than {MAX_LENGTH} bytes"));
        }
        parse::parse(text).map(Self)
    }

    /// Its value for an entry.
    ///
    /// # Errors
    /// If values are of kinds that an operation is not for.
    pub fn value(&self, entry: &Entry) -> Result<Value, Failure> {
        eval::eval(&self.0, entry, None).map(std::borrow::Cow::into_owned)
    }

    /// Its value, which has to be true or false.
    ///
    /// # Errors
    /// As [`Expr::value`], and if it is anything else.
    pub fn is_true(&self, entry: &Entry) -> Result<bool, Failure> {
        match &*eval::eval(&self.0, entry, None)? {
            Value::Bool(v) => Ok(*v),
            other => Err(Failure::new(format!("an expression must be true or false, not {}", other.kind()))),
        }
    }
}

/// Text with `EXPR(…)` in it.
#[derive(Clone, Debug)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug)]
enum Part {
    Text(String),
    Expr(Expr),
}

impl Template {
    /// Reads it. A parenthesis is closed where it is in the expression, quotes included.
    ///
    /// # Errors
    /// If an expression in it is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find("EXPR(") {
            if start > 0 {
                parts.push(Part::Text(rest[..start].to_string()));
            }
            let inner = &rest[start + 5..];
            let end =
                closing(inner).ok_or_else(|| format!("the parenthesis of EXPR is not closed in {text:?}"))?;
            parts.push(Part::Expr(Expr::parse(&inner[..end])?));
            rest = &inner[end + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_string()));
        }
        Ok(Self(parts))
    }

    /// Whether it is text only.
    pub fn is_plain(&self) -> bool {
        self.0.iter().all(|p| matches!(p, Part::Text(_)))
    }

    /// The value of an expression that stands alone; text otherwise.
    ///
    /// # Errors
    /// If an expression has no value for the entry, or, within text, one that is no text.
    pub fn value(&self, entry: &Entry) -> Result<Value, Failure> {
        if let [Part::Expr(expr)] = self.0.as_slice() {
            return expr.value(entry);
        }
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Expr(expr) => match expr.value(entry)? {
                    Value::Text(text) => out.push_str(&text),
                    other => {
                        return Err(Failure::new(format!("EXPR in text must be text, not {}", other.kind())));
                    }
                },
            }
        }
        Ok(Value::Text(out))
    }
}

fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote, mut escaped) = (0, None, false);
    for (i, c) in text.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some(q), '\\') if q != '`' => escaped = true,
            (Some(q), c) if q == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'' | '`') => quote = Some(c),
            (None, '(') => depth += 1,
            (None, ')') if depth == 0 => return Some(i),
            (None, ')') => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        let json = serde_json::json!({
            "status": 503, "name": "web", "list": [1, 2, 3], "nothing": null, "inner": {"a.b": "c"}, "f": 1.5
        });
        let mut entry = Entry::new(Value::of_json(json, true), 0);
        entry.attributes_mut().insert("log.file.name".into(), "app.log".into());
        entry.attributes_mut().insert("n".into(), Value::Int(7));
        entry.resource_mut().insert("host".into(), "h1".into());
        entry.severity_text = "warn".into();
        entry.severity = 13;
        entry.timestamp_ns = Some(0);
        entry
    }

    #[test]
    fn expressions_have_the_values_that_the_documentation_says() {
        let entry = entry();
        for (text, expected) in [
            ("body.status == 503", "true"),
            ("body.status >= 500 && body.status < 600", "true"),
            ("body.status > 500 and not (body.name == 'db')", "true"),
            ("attributes[\"log.file.name\"] matches '^app\\\\.log$'", "true"),
            ("attributes['log.file.name'] contains 'app'", "true"),
            ("body.name startsWith \"w\" || body.name endsWith \"x\"", "true"),
            ("body.name in ['web', 'db']", "true"),
            ("body.name not in ['web', 'db']", "false"),
            ("'status' in body", "true"),
            ("body.missing == nil", "true"),
            ("body.missing != nil ? 1 : 2", "2"),
            ("body.missing?.x == nil", "true"),
            ("body.missing ?? 'none'", "none"),
            ("body.nothing == nil", "true"),
            ("body.inner[\"a.b\"]", "c"),
            ("resource.host + ':' + string(attributes.n)", "h1:7"),
            ("body.list[1]", "2"),
            ("body.list[-1]", "3"),
            ("body.list[1:]", "[2,3]"),
            ("body.name[0:2]", "we"),
            ("1 + 2 * 3 - 4 / 2", "5"),
            ("7 % 4", "3"),
            ("2 ** 3 ** 2", "512"),
            ("-attributes.n", "-7"),
            ("body.f * 2", "3"),
            ("1 == 1.0", "true"),
            ("2 in 1..3", "true"),
            ("len(body.list)", "3"),
            ("upper(body.name)", "WEB"),
            ("trim('  x ')", "x"),
            ("split('a,b', ',')", r#"["a","b"]"#),
            ("join(['a', 'b'], '-')", "a-b"),
            ("replace('aXbX', 'X', '-')", "a-b-"),
            ("indexOf('abc', 'c')", "2"),
            ("hasPrefix(body.name, 'we') and hasSuffix(body.name, 'eb')", "true"),
            ("int('12') + 1", "13"),
            ("float('1.5')", "1.5"),
            ("type(body)", "map"),
            ("any(body.list, # > 2)", "true"),
            ("all(body.list, {# > 0})", "true"),
            ("none(body.list, # > 5)", "true"),
            ("filter(body.list, # % 2 == 1)", "[1,3]"),
            ("map(body.list, # * 2)", "[2,4,6]"),
            ("count(body.list, # > 1)", "2"),
            ("keys({'a': 1, b: 2})", r#"["a","b"]"#),
            ("severity_text == 'warn' and severity_number == 13", "true"),
            ("timestamp != nil", "true"),
            ("max(1, 3, 2) - min(4, 2)", "1"),
            ("not true or true", "true"),
            ("body.status != 200 and !(body.name matches 'd.')", "true"),
            ("`raw\\n`", "raw\\n"),
            ("\"\\u0041\\n\"", "A\n"),
            ("0x10 + 1_000", "1016"),
            ("get(body, 'name')", "web"),
            ("body.status == 503 // a comment", "true"),
            ("body['name'] | upper()", "WEB"),
        ] {
            let value = Expr::parse(text).unwrap_or_else(|e| panic!("{text}: {e}")).value(&entry);
            assert_eq!(value.map(|v| v.text()), Ok(expected.to_string()), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_or_not_supported_is_told_when_it_is_read() {
        for (text, says) in [
            ("", "ends"),
            ("body.", "name"),
            ("boby.x", "boby"),
            ("body == ", "ends"),
            ("(body", ")"),
            ("body matches '('", "regular expression"),
            ("body matches attributes.x", "regular expression"),
            ("frobnicate(1)", "frobnicate"),
            ("len()", "arguments"),
            ("'open", "'"),
            ("1 2", "2"),
            ("let x = 1; x", "= 1"),
            ("body; body", ";"),
            ("# > 1", "#"),
        ] {
            let error = Expr::parse(text).map(|_| ()).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
        let deep = format!("{}1{}", "(".repeat(200), ")".repeat(200));
        assert!(Expr::parse(&deep).map(|_| ()).unwrap_err().contains("deep"));
        assert!(Expr::parse(&"!".repeat(200)).map(|_| ()).unwrap_err().contains("deep"));
        assert!(Expr::parse(&"1+".repeat(20_000)).map(|_| ()).unwrap_err().contains("longer"));
    }

    #[test]
    fn values_of_the_wrong_kind_are_a_failure_and_results_are_bounded() {
        let entry = entry();
        for text in [
            "body.name > 1",
            "body.name.x",
            "body.missing.x",
            "1 / 'a'",
            "1 % 0",
            "int('x')",
            "body.list[9]",
            "len(1)",
            "1..100000000",
            "body.list matches 'x'",
            "-'a'",
        ] {
            assert!(Expr::parse(text).unwrap().value(&entry).is_err(), "{text}");
        }
        assert!(Expr::parse("body.name").unwrap().is_true(&entry).is_err());
    }

    #[test]
    fn templates_hold_expressions_in_text() {
        let entry = entry();
        for (text, expected) in [
            ("plain", Value::from("plain")),
            ("EXPR(body.status)", Value::Int(503)),
            ("a-EXPR(body.name)-b-EXPR(resource['host'])", Value::from("a-web-b-h1")),
            ("EXPR(upper(')' + body.name))", Value::from(")WEB")),
        ] {
            assert_eq!(Template::parse(text).unwrap().value(&entry), Ok(expected), "{text}");
        }
        assert!(Template::parse("EXPR(body").is_err());
        assert!(Template::parse("x EXPR(body.status)").unwrap().value(&entry).is_err());
    }
}

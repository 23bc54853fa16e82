//! `stage.logfmt` extracts values of a logfmt line.

use std::borrow::Cow;
use std::collections::BTreeMap;

use component::eval::Invalid;
use component::{Arguments, Error};
use signal::re2::Regex;

use super::json::unescape;
use crate::process::expression::{Expression, given};
use crate::process::pipeline::{Cx, Flow, MapStage, Node, StageCx};
use crate::process::record::Record;

/// `stage.logfmt`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// Names of extracted values and the keys that they come from; empty: the same name.
    #[arg(default)]
    pub mapping: BTreeMap<String, String>,
    /// Extracted value that is read; the line where it is absent.
    #[arg(default)]
    pub source: String,
    /// Keys that this RE2 expression matches somewhere are extracted under their name.
    pub regex: Option<Expression>,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if self.mapping.is_empty() && given(self.regex.as_ref()).is_none() {
            return Err(Invalid::body("extracts nothing").with_help("give mapping or regex"));
        }
        Ok(())
    }

    pub(super) fn build(&self, _cx: &StageCx<'_>) -> Result<Node, Error> {
        let pair =
            |(name, key): (&String, &String)| (if key.is_empty() { name } else { key }.clone(), name.clone());
        Ok(Node::map(Logfmt {
            mapping: self.mapping.iter().map(pair).collect(),
            source: Some(self.source.clone()).filter(|s| !s.is_empty()),
            regex: given(self.regex.as_ref()).cloned(),
        }))
    }
}

struct Logfmt {
    /// Key in the line, name of the extracted value.
    mapping: Vec<(String, String)>,
    source: Option<String>,
    regex: Option<Regex>,
}

impl MapStage for Logfmt {
    fn process(&mut self, record: &mut Record<'_>, _cx: &Cx) -> Flow {
        let Some(input) = record.source(self.source.as_deref()) else { return Flow::Next };
        for (key, value) in Pairs::new(&input) {
            let mapped = self.mapping.iter().filter(|(k, _)| k == key).map(|(_, name)| name.as_str());
            let matched = self.regex.as_ref().filter(|regex| regex.is_match(key)).map(|_| key);
            for name in mapped.chain(matched) {
                match &value {
                    Cow::Borrowed(text) => record.extracted.set_part(name, &input, text),
                    Cow::Owned(text) => record.extracted.set(name, text),
                }
            }
        }
        Flow::Next
    }
}

/// Keys and values of a text, up to the first mistake. As go-logfmt's decoder: what stands before a mistake
/// counts, a key without `=` has an empty value, `=` and `"` inside of a bare value are mistakes.
pub struct Pairs<'a>(&'a str);

impl<'a> Pairs<'a> {
    /// Over all lines of a text.
    pub fn new(text: &'a str) -> Self {
        Self(text)
    }

    fn mistake(&mut self) -> Option<(&'a str, Cow<'a, str>)> {
        self.0 = "";
        None
    }

    /// A quoted value; the text begins with the quotation mark.
    fn quoted(&mut self) -> Option<Cow<'a, str>> {
        let bytes = self.0.as_bytes();
        let mut at = 1;
        loop {
            at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
            if bytes[at] == b'"' {
                break;
            }
            at += 2;
        }
        let (raw, rest) = self.0.split_at(at + 1);
        self.0 = rest;
        // Escapes are those of JSON; others, and bare control characters beside escapes, are mistakes.
        let value = unescape(raw);
        let valid =
            matches!(value, Cow::Borrowed(_)) || serde_json::from_str::<serde::de::IgnoredAny>(raw).is_ok();
        valid.then_some(value)
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a str, Cow<'a, str>);

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.0.bytes().position(|b| b > b' ')?;
        let text = &self.0[start..];
        let end = text.bytes().position(|b| b <= b' ' || b == b'=' || b == b'"').unwrap_or(text.len());
        let (key, rest) = text.split_at(end);
        self.0 = rest;
        let Some(value) = rest.strip_prefix('=') else {
            if rest.starts_with('"') {
                return self.mistake();
            }
            return Some((key, Cow::Borrowed("")));
        };
        if key.is_empty() || key.contains('\u{fffd}') {
            return self.mistake();
        }
        self.0 = value;
        if value.starts_with('"') {
            return match self.quoted() {
                Some(value) => Some((key, value)),
                None => self.mistake(),
            };
        }
        let end = value.bytes().position(|b| b <= b' ' || b == b'=' || b == b'"').unwrap_or(value.len());
        let (value, rest) = value.split_at(end);
        self.0 = rest;
        if rest.starts_with(['=', '"']) {
            return self.mistake();
        }
        Some((key, Cow::Borrowed(value)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::process::testkit::{Case, check, fuzz, refused};

    #[test]
    fn pairs_are_those_of_go_logfmt() {
        let cases: [(&str, &[(&str, &str)]); 14] = [
            (
                "a=1 b=\"bar\" ƒ=2h3s r=\"esc\\tmore stuff\" d x=sf   ",
                &[("a", "1"), ("b", "bar"), ("ƒ", "2h3s"), ("r", "esc\tmore stuff"), ("d", ""), ("x", "sf")],
            ),
            ("", &[]),
            ("   ", &[]),
            ("x=", &[("x", "")]),
            ("x=\"\" y", &[("x", ""), ("y", "")]),
            ("a=1\nb=2\r\nc=3", &[("a", "1"), ("b", "2"), ("c", "3")]),
            ("a=1 url=http://x?y=z b=2", &[("a", "1")]),
            ("a=1 =2 b=3", &[("a", "1")]),
            ("a=1 b\"c=2", &[("a", "1")]),
            ("a=1 b=\"open", &[("a", "1")]),
            ("a=1 b=\"open\\", &[("a", "1")]),
            ("a=1 b=\"bad \\x escape\" c=2", &[("a", "1")]),
            ("a=\"x\"b=2", &[("a", "x"), ("b", "2")]),
            ("a=\"\\ud83d\\ude00\"", &[("a", "😀")]),
        ];
        for (text, expected) in cases {
            let got: Vec<_> = Pairs::new(text).map(|(k, v)| (k, v.into_owned())).collect();
            let got: Vec<_> = got.iter().map(|(k, v)| (*k, v.as_str())).collect();
            assert_eq!(got, expected, "{text}");
        }
    }

    #[test]
    fn keys_are_mapped_and_matched() {
        let line = r#"time=2012-11-01T22:08:41+00:00 app=loki level=WARN duration=125 message="this is a log line" extra="user=foo""#;
        check(
            r#"
            stage.logfmt { mapping = { extra = "", lvl = "level", ms = "duration" } }
            stage.logfmt {
                mapping = { user = "" }
                source  = "extra"
            }
            stage.labels { values = { lvl = "", ms = "", user = "" } }"#,
            &[
                Case::new(line).gives(Case::new(line).labels([
                    ("lvl", "WARN"),
                    ("ms", "125"),
                    ("user", "foo"),
                ])),
                Case::new("other line").same(),
            ],
        );
        check(
            r#"
            stage.logfmt { regex = "^(app|level)$" }
            stage.labels { values = { app = "", level = "", duration = "" } }"#,
            &[Case::new(line).gives(Case::new(line).labels([("app", "loki"), ("level", "WARN")]))],
        );
    }

    #[test]
    fn a_mapping_or_an_expression_is_needed() {
        refused("stage.logfmt { }", "mapping or regex");
        refused(r#"stage.logfmt { regex = "[" }"#, "missing closing ]");
    }

    #[test]
    fn any_bytes_go_through() {
        fuzz(
            r#"stage.logfmt { mapping = { a = "" }
            regex = "." }"#,
        );
    }

    proptest! {
        #[test]
        fn keys_and_quoted_values_come_back(pairs in proptest::collection::vec(("[a-z]{1,5}", ".{0,12}"), 0..6)) {
            let quoted = |text: &str| serde_json::to_string(text).expect("a text");
            let line: Vec<String> = pairs.iter().map(|(k, v)| format!("{k}={}", quoted(v))).collect();
            let line = line.join(" ");
            let got: Vec<_> = Pairs::new(&line).map(|(k, v)| (k.to_owned(), v.into_owned())).collect();
            prop_assert_eq!(got, pairs);
        }
    }
}

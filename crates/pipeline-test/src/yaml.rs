//! YAML as a tree whose every value and key knows its place in the text.
//!
//! Invariant: a scalar without quotes keeps the text that was written, whatever type YAML gives it: a label's value
//! `017` is `017`.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};
use syntax::{Diagnostic, Source, Span};

/// A value with its place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) span: Span,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    /// With the text as it was written.
    Number(f64, String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One pair of a map.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) name_span: Span,
    pub(crate) value: Node,
}

impl Kind {
    /// For messages.
    pub(crate) fn what(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Number(..) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

/// The tree of a text.
pub(crate) fn parse(source: &Source) -> Result<Node, Diagnostic> {
    let options = serde_saphyr::options! {
        strict_booleans: true,
        legacy_octal_numbers: true,
        with_snippet: false,
    };
    match serde_saphyr::from_str_with_options::<Spanned<Raw>>(source.text(), options) {
        Ok(raw) => Ok(located(raw, source)),
        Err(error) => {
            let span = error.location().map_or(Span::new(0, 0), |l| place(l, source));
            let message = error.without_snippet().to_string();
            // The place is shown by the diagnostic.
            let message = message.split(" at line ").next().unwrap_or(&message).to_string();
            Err(Diagnostic::error("yaml", message, source, span))
        }
    }
}

fn place(location: Location, source: &Source) -> Span {
    let span = location.span();
    match (span.byte_offset(), span.byte_len()) {
        (Some(start), Some(len)) => {
            let limit = source.text().len() as u64;
            let start = start.min(limit);
            Span::new(start as u32, (start + len).min(limit) as u32)
        }
        // Errors of the scanner tell line and column only.
        _ => {
            let lines = source.text().split_inclusive('\n');
            let before: usize = lines.take((location.line() as usize).saturating_sub(1)).map(str::len).sum();
            let line = source.text().get(before..).unwrap_or_default();
            let column: usize =
                line.chars().take((location.column() as usize).saturating_sub(1)).map(char::len_utf8).sum();
            let start = (before + column).min(source.text().len()) as u32;
            Span::new(start, start + u32::from(!line.is_empty()))
        }
    }
}

fn located(raw: Spanned<Raw>, source: &Source) -> Node {
    let span = place(raw.referenced, source);
    let kind = match raw.value {
        Raw::Null => Kind::Null,
        Raw::Bool(v) => Kind::Bool(v),
        Raw::Number(v) => {
            let written = source.slice(place(raw.defined, source)).trim();
            let text = if written.is_empty() { v.to_string() } else { written.to_string() };
            Kind::Number(v, text)
        }
        Raw::Text(v) => Kind::Text(v),
        Raw::List(items) => Kind::List(items.into_iter().map(|i| located(i, source)).collect()),
        Raw::Map(pairs) => Kind::Map(
            pairs
                .into_iter()
                .map(|(name, value)| Entry {
                    name_span: place(name.referenced, source),
                    name: name.value.0,
                    value: located(value, source),
                })
                .collect(),
        ),
    };
    Node { kind, span }
}

enum Raw {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<Name>, Spanned<Raw>)>),
}

/// A key: text, or what reads like a number or boolean.
struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }
    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        deserializer.deserialize_any(self)
    }
    fn visit_bool<E>(self, v: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(v))
    }
    fn visit_i64<E>(self, v: i64) -> Result<Raw, E> {
        Ok(Raw::Number(v as f64))
    }
    fn visit_u64<E>(self, v: u64) -> Result<Raw, E> {
        Ok(Raw::Number(v as f64))
    }
    fn visit_f64<E>(self, v: f64) -> Result<Raw, E> {
        Ok(Raw::Number(v))
    }
    fn visit_str<E>(self, v: &str) -> Result<Raw, E> {
        Ok(Raw::Text(v.to_string()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Raw::Map(pairs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at<'a>(node: &'a Node, name: &str) -> &'a Entry {
        let Kind::Map(entries) = &node.kind else { panic!("a map") };
        entries.iter().find(|e| e.name == name).expect("it is there")
    }

    #[test]
    fn values_and_keys_know_their_places_and_numbers_their_text() {
        let source = Source::new("a.yaml", "a: 1.10\nb:\n  - x: \"q\"\n    y: 017\nc: |\n\n  text\n");
        let tree = parse(&source).expect("YAML");
        let a = at(&tree, "a");
        assert_eq!(source.slice(a.value.span), "1.10");
        assert_eq!(a.value.kind, Kind::Number(1.1, "1.10".into()));
        let Kind::List(items) = &at(&tree, "b").value.kind else { panic!("a list") };
        let (x, y) = (at(&items[0], "x"), at(&items[0], "y"));
        assert_eq!(source.slice(x.name_span), "x");
        assert_eq!(source.line_column(x.value.span.start).line, 3);
        assert_eq!(x.value.kind, Kind::Text("q".into()));
        assert!(matches!(&y.value.kind, Kind::Number(_, text) if text == "017"));
        let c = at(&tree, "c").value.span;
        assert_eq!((source.line(c.start), source.slice(c)), (7, "text\n"));
    }

    #[test]
    fn what_is_no_yaml_is_an_error_at_its_place() {
        let source = Source::new("a.yaml", "a: 1\nb: [1, 2\n");
        let error = parse(&source).expect_err("no YAML");
        let at = error.location.expect("a place").line_column();
        assert_eq!((at.line, at.column), (2, 4), "{}", error.message);
        let twice = parse(&Source::new("a.yaml", "a: 1\na: 2\n")).expect_err("given twice");
        assert!(twice.message.contains("duplicate"), "{}", twice.message);
    }
}

//! YAML as a tree in which everything knows its place in the text.
//!
//! Scalars keep their text: `1.10` stays `1.10` where a string is wanted. Anchors, aliases and merge keys are
//! resolved as Go's YAML libraries do.
//! Invariant: the tree is finite and shallow however it is reached (aliases count as what they stand for), so that
//! whoever walks it may recurse.

use std::collections::HashMap;
use std::sync::Arc;

use serde_saphyr::granit_parser::{self, Event, Parser, ScalarStyle};
use syntax::{Diagnostic, Source, Span};

/// Nesting that no configuration of a person has.
const MAX_DEPTH: usize = 100;
/// Values of a file with all its aliases written out.
const MAX_NODES: usize = 500_000;

/// A value and its place.
#[derive(Debug)]
pub struct Node {
    /// Where it stands.
    pub span: Span,
    /// What it is.
    pub kind: Kind,
    weight: usize,
    depth: usize,
}

/// What a value is.
#[derive(Debug)]
pub enum Kind {
    /// Nothing, `~` or `null`.
    Null,
    /// A scalar; `plain` if it stands without quotes.
    Scalar {
        /// Its text, without quotes.
        text: String,
        /// It may be a number or a boolean.
        plain: bool,
    },
    /// A list.
    List(Vec<Arc<Node>>),
    /// Keys in the order of the file, each once.
    Map(Entries),
}

/// Keys and values in the order of the file.
pub type Entries = Vec<(Key, Arc<Node>)>;

/// A key and its place.
#[derive(Debug, Clone)]
pub struct Key {
    /// The key.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

impl Node {
    /// As a diagnostic names it.
    pub fn describe(&self) -> &'static str {
        match &self.kind {
            Kind::Null => "nothing",
            Kind::Scalar { .. } => "a single value",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a mapping",
        }
    }

    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The value of a key of a mapping.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.kind {
            Kind::Map(entries) => entries.iter().find(|(k, _)| k.text == key).map(|(_, v)| &**v),
            _ => None,
        }
    }

    /// Whether nothing is written here.
    pub fn is_empty(&self) -> bool {
        match &self.kind {
            Kind::Null => true,
            Kind::Scalar { text, .. } => text.is_empty(),
            Kind::List(items) => items.is_empty(),
            Kind::Map(entries) => entries.is_empty(),
        }
    }
}

/// Reads the one document of a text. An empty text is an empty mapping.
pub fn parse(source: &Source) -> Result<Arc<Node>, Diagnostic> {
    let options = granit_parser::options! { block_nesting_limit: MAX_DEPTH, flow_nesting_limit: MAX_DEPTH };
    let mut reader = Reader {
        source,
        events: Parser::new_from_str_with_options(source.text(), options),
        anchors: HashMap::new(),
    };
    reader.document()
}

struct Reader<'s> {
    source: &'s Source,
    events: Parser<'s, granit_parser::StrInput<'s>>,
    anchors: HashMap<usize, Arc<Node>>,
}

impl<'s> Reader<'s> {
    fn document(&mut self) -> Result<Arc<Node>, Diagnostic> {
        let mut root = None;
        while let Some((event, span)) = self.next()? {
            match event {
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                Event::StreamEnd => break,
                event if root.is_none() => root = Some(self.node(event, span)?),
                _ => {
                    let help = "keep one configuration in a file and convert each on its own";
                    return Err(self.error("this is a second document", span).with_help(help));
                }
            }
        }
        let nothing = || Node { span: Span::new(0, 0), kind: Kind::Map(Vec::new()), weight: 1, depth: 1 };
        match root {
            Some(node) if matches!(node.kind, Kind::Null) => Ok(Arc::new(nothing())),
            Some(node) => Ok(node),
            None => Ok(Arc::new(nothing())),
        }
    }

    fn next(&mut self) -> Result<Option<(Event<'s>, Span)>, Diagnostic> {
        match self.events.next_event() {
            None => Ok(None),
            Some(Ok((event, span))) => Ok(Some((event, self.span(span)))),
            Some(Err(error)) => {
                let start = self.offset(*error.marker());
                let at = Span::new(start, start + 1);
                Err(self.error(format!("this is not YAML: {}", error.info()), at))
            }
        }
    }

    fn expect(&mut self) -> Result<(Event<'s>, Span), Diagnostic> {
        let end = self.source.text().len() as u32;
        self.next()?.ok_or_else(|| self.error("the document ends in the middle", Span::new(end, end)))
    }

    fn node(&mut self, event: Event<'s>, span: Span) -> Result<Arc<Node>, Diagnostic> {
        let (kind, anchor, end) = match event {
            Event::Alias(id) => {
                return match self.anchors.get(&id) {
                    Some(node) => Ok(node.clone()),
                    None => Err(self.error("this alias is part of what it stands for", span)),
                };
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none_or(|t| t.core_suffix() != Some("str"));
                let null = plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let kind = if null { Kind::Null } else { Kind::Scalar { text: text.into_owned(), plain } };
                (kind, anchor, span)
            }
            Event::SequenceStart(_, anchor, _) => {
                let (items, end) = self.list()?;
                (Kind::List(items), anchor, end)
            }
            Event::MappingStart(_, anchor, _) => {
                let (entries, end) = self.map()?;
                (Kind::Map(entries), anchor, end)
            }
            _ => return Err(self.error("this is not YAML", span)),
        };
        let node = Arc::new(self.measured(kind, span.to(end))?);
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self) -> Result<(Vec<Arc<Node>>, Span), Diagnostic> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.expect()?;
            if event == Event::SequenceEnd {
                return Ok((items, span));
            }
            items.push(self.node(event, span)?);
        }
    }

    fn map(&mut self) -> Result<(Entries, Span), Diagnostic> {
        let mut entries: Entries = Vec::new();
        let mut places: HashMap<String, Span> = HashMap::new();
        let mut merged: Entries = Vec::new();
        loop {
            let (event, span) = self.expect()?;
            if event == Event::MappingEnd {
                for (key, value) in merged {
                    if places.insert(key.text.clone(), key.span).is_none() {
                        entries.push((key, value));
                    }
                }
                return Ok((entries, span));
            }
            let merge = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<");
            let key = self.node(event, span)?;
            let text = match &key.kind {
                Kind::Scalar { text, .. } => text.clone(),
                Kind::Null => "null".to_string(),
                _ => return Err(self.error("a list or a mapping cannot be a key here", span)),
            };
            let (event, at) = self.expect()?;
            let value = self.node(event, at)?;
            if merge {
                self.merge(&value, at, &mut merged)?;
                continue;
            }
            if let Some(first) = places.insert(text.clone(), span) {
                let line = self.source.line(first.start);
                let message = format!("{text} is written twice in this mapping");
                let help = format!("the first is on line {line}: keep one of them");
                return Err(self.error(message, span).with_help(help));
            }
            entries.push((Key { text, span }, value));
        }
    }

    /// `<<: *base` or `<<: [*a, *b]`: what is not written here itself; the first of a list wins.
    fn merge(&self, value: &Node, at: Span, into: &mut Entries) -> Result<(), Diagnostic> {
        match &value.kind {
            Kind::Map(entries) if into.len() + entries.len() > MAX_NODES => {
                Err(self.error(format!("this merges more than {MAX_NODES} values"), at))
            }
            Kind::Map(entries) => {
                into.extend(entries.iter().cloned());
                Ok(())
            }
            Kind::List(items) => items.iter().try_for_each(|item| match &item.kind {
                Kind::Map(_) => self.merge(item, at, into),
                _ => Err(self.error("<< merges mappings only", at)),
            }),
            _ => Err(self.error("<< merges mappings only", at)),
        }
    }

    fn measured(&self, kind: Kind, span: Span) -> Result<Node, Diagnostic> {
        let (mut weight, mut depth) = (1, 1);
        let mut count = |node: &Node| {
            weight += node.weight;
            depth = depth.max(node.depth + 1);
        };
        match &kind {
            Kind::List(items) => items.iter().for_each(|i| count(i)),
            Kind::Map(entries) => entries.iter().for_each(|(_, v)| count(v)),
            Kind::Null | Kind::Scalar { .. } => {}
        }
        if depth > MAX_DEPTH {
            return Err(self.error(format!("this is nested deeper than {MAX_DEPTH} levels"), span));
        }
        if weight > MAX_NODES {
            let message = format!("with its aliases written out this has more than {MAX_NODES} values");
            return Err(self.error(message, span));
        }
        Ok(Node { span, kind, weight, depth })
    }

    fn span(&self, span: granit_parser::Span) -> Span {
        let start = self.offset(span.start);
        Span::new(start, self.offset(span.end).max(start))
    }

    fn offset(&self, marker: granit_parser::Marker) -> u32 {
        marker.byte_offset().unwrap_or(0).min(self.source.text().len()) as u32
    }

    fn error(&self, message: impl Into<String>, span: Span) -> Diagnostic {
        let help = "correct the file at this place";
        Diagnostic::error("yaml", message, self.source, span).with_help(help)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(node: &Node) -> String {
        match &node.kind {
            Kind::Null => "null".into(),
            Kind::Scalar { text, plain: true } => text.clone(),
            Kind::Scalar { text, plain: false } => format!("{text:?}"),
            Kind::List(items) => format!("[{}]", items.iter().map(|i| show(i)).collect::<Vec<_>>().join(" ")),
            Kind::Map(entries) => {
                let entries: Vec<_> =
                    entries.iter().map(|(k, v)| format!("{}={}", k.text, show(v))).collect();
                format!("{{{}}}", entries.join(" "))
            }
        }
    }

    fn read(text: &str) -> String {
        match parse(&Source::new("f.yml", text)) {
            Ok(node) => show(&node),
            Err(d) => {
                let at = d.location.as_ref().expect("a place").line_column();
                format!("{}:{} {}", at.line, at.column, d.message)
            }
        }
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        for (text, want) in [
            ("", "{}"),
            ("# nothing\n", "{}"),
            ("a: 1.10\nb: 'yes'\nc:\nd: [x, ~]\n", "{a=1.10 b=\"yes\" c=null d=[x null]}"),
            ("a: &x {k: 1}\nb: *x\n", "{a={k=1} b={k=1}}"),
            ("base: &b {k: 1, l: 2}\nc:\n  <<: *b\n  k: 3\n", "{base={k=1 l=2} c={k=3 l=2}}"),
            ("a: &a {k: 1}\nb: &b {k: 2, l: 2}\nc: {<<: [*a, *b]}\n", "{a={k=1} b={k=2 l=2} c={k=1 l=2}}"),
            ("a: |\n  x\n  y\n", "{a=\"x\\ny\\n\"}"),
            ("a: !!str 1\n", "{a=\"1\"}"),
        ] {
            assert_eq!(read(text), want, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_at_its_place() {
        for (text, want) in [
            ("a: 1\nb: [\n", "not YAML"),
            ("a: 1\na: 2\n", "2:1 a is written twice in this mapping"),
            ("a: 1\n---\nb: 2\n", "3:1 this is a second document"),
            ("[a]: 1\n", "1:1 a list or a mapping cannot be a key here"),
            ("a: &a [*a]\n", "1:8 this alias is part of what it stands for"),
            ("a: *missing\n", "not YAML"),
            ("a: {<<: 1}\n", "1:9 << merges mappings only"),
        ] {
            assert!(read(text).contains(want), "{text}: {}", read(text));
        }
    }

    #[test]
    fn what_grows_by_aliases_and_what_nests_without_end_is_refused() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for n in 1..9 {
            let before = format!("*a{}", n - 1);
            text += &format!("a{n}: &a{n} [{}]\n", vec![before; 10].join(", "));
        }
        assert!(read(&text).contains("more than 500000 values"), "{}", read(&text));
        let mut text = String::from("a0: &a0 [x]\n");
        for n in 1..200 {
            text += &format!("a{n}: &a{n} [*a{}]\n", n - 1);
        }
        assert!(read(&text).contains("nested deeper"), "{}", read(&text));
        assert!(!read(&"[".repeat(100_000)).starts_with('['));
        assert!(!read(&"- ".repeat(100_000)).starts_with('['));
    }
}

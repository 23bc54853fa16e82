//! Takes a tree of YAML apart: every problem becomes a diagnostic at its place, with a suggestion.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use syntax::{Diagnostic, Source, Span};

use crate::yaml::{Entry, Kind, Node};

/// The text that is read, and what is wrong with it so far.
pub(crate) struct Reader {
    pub(crate) source: Source,
    problems: RefCell<Vec<Diagnostic>>,
    /// Paths that tests give contents of.
    pub(crate) files: RefCell<Vec<(String, Span)>>,
}

/// A map whose entries are asked for by name; what nobody asked for is a problem.
pub(crate) struct Fields<'a> {
    reader: &'a Reader,
    entries: &'a [Entry],
    pub(crate) span: Span,
    known: RefCell<BTreeSet<&'static str>>,
}

impl Reader {
    pub(crate) fn new(source: Source) -> Self {
        Self { source, problems: RefCell::default(), files: RefCell::default() }
    }

    pub(crate) fn problem(&self, span: Span, message: impl Into<String>) {
        self.problems.borrow_mut().push(Diagnostic::error("test_file", message, &self.source, span));
    }

    pub(crate) fn problem_with_help(&self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        let diagnostic = Diagnostic::error("test_file", message, &self.source, span).with_help(help);
        self.problems.borrow_mut().push(diagnostic);
    }

    pub(crate) fn into_problems(self) -> Vec<Diagnostic> {
        self.problems.into_inner()
    }

    fn wrong(&self, node: &Node, wanted: &str) {
        self.problem(node.span, format!("{wanted} is wanted here, this is {}", node.kind.what()));
    }

    /// A map.
    pub(crate) fn fields<'a>(&'a self, node: &'a Node) -> Option<Fields<'a>> {
        match &node.kind {
            Kind::Map(entries) => Some(Fields {
                reader: self,
                entries,
                span: entries.first().map_or(node.span, |e| e.name_span),
                known: RefCell::default(),
            }),
            _ => {
                self.wrong(node, "a map");
                None
            }
        }
    }

    /// A list.
    pub(crate) fn list<'a>(&self, node: &'a Node) -> &'a [Node] {
        match &node.kind {
            Kind::List(items) => items,
            Kind::Null => &[],
            _ => {
                self.wrong(node, "a list");
                &[]
            }
        }
    }

    /// A text; numbers and booleans are taken as they are written.
    pub(crate) fn text(&self, node: &Node) -> Option<String> {
        match &node.kind {
            Kind::Text(text) | Kind::Number(_, text) => Some(text.clone()),
            Kind::Bool(v) => Some(v.to_string()),
            Kind::Null => Some(String::new()),
            _ => {
                self.wrong(node, "a text");
                None
            }
        }
    }

    /// A number; `NaN` and infinities may be written as text.
    pub(crate) fn number(&self, node: &Node) -> Option<f64> {
        let number = match &node.kind {
            Kind::Number(v, _) => Some(*v),
            Kind::Text(text) => match text.trim_start_matches('+').to_lowercase().as_str() {
                "nan" | ".nan" => Some(f64::NAN),
                "inf" | ".inf" => Some(f64::INFINITY),
                "-inf" | "-.inf" => Some(f64::NEG_INFINITY),
                "stale" => Some(signal::samples::STALE_NAN),
                _ => None,
            },
            _ => None,
        };
        if number.is_none() {
            self.wrong(node, "a number");
        }
        number
    }

    /// A whole number that is not negative.
    pub(crate) fn count(&self, node: &Node) -> Option<usize> {
        match &node.kind {
            Kind::Number(v, _) if *v >= 0.0 && v.fract() == 0.0 => Some(*v as usize),
            _ => {
                self.wrong(node, "a whole number from 0");
                None
            }
        }
    }

    pub(crate) fn boolean(&self, node: &Node) -> Option<bool> {
        match &node.kind {
            Kind::Bool(v) => Some(*v),
            _ => {
                self.wrong(node, "true or false");
                None
            }
        }
    }

    /// A duration as the configuration language writes it.
    pub(crate) fn duration(&self, node: &Node) -> Option<std::time::Duration> {
        let text = self.text(node)?;
        match eval::parse_duration(&text).map(u64::try_from) {
            Ok(Ok(nanoseconds)) => Some(std::time::Duration::from_nanos(nanoseconds)),
            _ => {
                self.problem_with_help(
                    node.span,
                    format!("{text:?} is no duration"),
                    "write it as 15s, 1m30s or 500ms",
                );
                None
            }
        }
    }

    /// A time as RFC 3339 writes it, in nanoseconds since the Unix epoch.
    pub(crate) fn time(&self, node: &Node) -> Option<i64> {
        let text = self.text(node)?;
        let parsed = text.parse::<jiff::Timestamp>().ok();
        let nanoseconds = parsed.and_then(|t| i64::try_from(t.as_nanosecond()).ok());
        if nanoseconds.is_none() {
            let help =
                "write it as 2026-04-22T12:00:00Z, with an offset and fractions of a second where needed";
            self.problem_with_help(node.span, format!("{text:?} is no time"), help);
        }
        nanoseconds
    }

    /// A map of texts.
    pub(crate) fn texts(&self, node: &Node) -> BTreeMap<String, String> {
        let Some(fields) = self.fields(node) else { return BTreeMap::new() };
        let pairs = fields.entries.iter().filter_map(|e| Some((e.name.clone(), self.text(&e.value)?)));
        pairs.collect()
    }
}

impl<'a> Fields<'a> {
    /// The entry of a name.
    pub(crate) fn get(&self, name: &'static str) -> Option<&'a Node> {
        self.known.borrow_mut().insert(name);
        self.entries.iter().find(|e| e.name == name).map(|e| &e.value)
    }

    /// The entry of a name, or a problem.
    pub(crate) fn need(&self, name: &'static str) -> Option<&'a Node> {
        let found = self.get(name);
        if found.is_none() {
            self.reader.problem(self.span, format!("{name} is missing here"));
        }
        found
    }

    /// All entries.
    pub(crate) fn entries(&self) -> &'a [Entry] {
        self.entries
    }

    /// Whether nothing stands there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|e| e.name == name)
    }

    /// Tells of every entry that nobody has asked for.
    pub(crate) fn finish(self) {
        let known = self.known.into_inner();
        for entry in self.entries.iter().filter(|e| !known.contains(e.name.as_str())) {
            let names: Vec<&str> = known.iter().copied().collect();
            let help = match eval::closest(&entry.name, names.iter().copied()) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("there is {}", names.join(", ")),
            };
            let message = format!("{:?} is not known here", entry.name);
            self.reader.problem_with_help(entry.name_span, message, help);
        }
    }
}

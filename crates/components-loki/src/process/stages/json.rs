//! `stage.json` extracts values of a JSON object.
//!
//! The text is walked once and nothing is built: plain paths (`a.b.c`) are followed while it is read, what they
//! name is taken as a slice of the text, all else is skipped. Only expressions that are more than a path have
//! the whole text parsed. Nothing is extracted of a text that is not JSON to its end.

mod text;
mod walk;

use std::collections::BTreeMap;

use component::eval::Invalid;
use component::metrics::IntCounter;
use component::{Arguments, Error};
use signal::re2::Regex;

use crate::process::expression::{Expression, given};
use crate::process::pipeline::{Cx, Flow, MapStage, Node, StageCx};
use crate::process::record::Record;

pub(super) use text::{extract, unescape};
use walk::{Found, Paths};
pub(super) use walk::{elements, fields};

/// `stage.json`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// Names of extracted values and the JMESPath expressions that find them; empty: the name is the expression.
    #[arg(default)]
    pub expressions: BTreeMap<String, String>,
    /// Fields of the object whose name this RE2 expression matches somewhere are extracted under their name.
    pub regex: Option<Expression>,
    /// Extracted value that is read; the line where it is absent.
    pub source: Option<String>,
    /// Drop entries that are not a JSON object.
    #[arg(default)]
    pub drop_malformed: bool,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if self.expressions.is_empty() && given(self.regex.as_ref()).is_none() {
            return Err(Invalid::body("extracts nothing").with_help("give expressions or regex"));
        }
        for (name, expression) in self.expressions() {
            if walk::plain_path(expression).is_none() {
                compile(name, expression)?;
            }
        }
        super::source(self.source.as_ref())
    }

    fn expressions(&self) -> impl Iterator<Item = (&String, &String)> {
        self.expressions.iter().map(|(name, e)| (name, if e.is_empty() { name } else { e }))
    }

    pub(super) fn build(&self, cx: &StageCx<'_>) -> Result<Node, Error> {
        let mut json = Json {
            paths: Paths::default(),
            names: Vec::new(),
            searches: Vec::new(),
            regex: given(self.regex.as_ref()).cloned(),
            source: self.source.clone(),
            malformed: self.drop_malformed.then(|| cx.counters.dropped("malformed_json")),
        };
        for (name, expression) in self.expressions() {
            match walk::plain_path(expression) {
                Some(path) => {
                    json.paths.add(&path, json.names.len());
                    json.names.push(name.clone());
                }
                None => {
                    let search =
                        compile(name, expression).map_err(|e| Error::argument("expressions", e.message))?;
                    json.searches.push((name.clone(), search));
                }
            }
        }
        Ok(Node::map(json))
    }
}

type Search = jmespath::Expression<'static>;

fn compile(name: &str, expression: &str) -> Result<Search, Invalid> {
    jmespath::compile(expression).map_err(|error| {
        // The library's text has several lines, with a marker below the expression.
        let reason = error.to_string();
        let reason = reason.lines().next().unwrap_or_default();
        Invalid::field(
            "expressions",
            format!("{name}: {expression:?} is not a JMESPath expression: {reason}"),
        )
    })
}

struct Json {
    paths: Paths,
    /// Names of what the paths find.
    names: Vec<String>,
    searches: Vec<(String, Search)>,
    regex: Option<Regex>,
    source: Option<String>,
    malformed: Option<IntCounter>,
}

impl MapStage for Json {
    fn process(&mut self, record: &mut Record<'_>, _cx: &Cx) -> Flow {
        let Some(input) = record.source(self.source.as_deref()) else { return Flow::Next };
        let Some(found) = walk::walk(&input, &self.paths, self.names.len(), self.regex.as_ref()) else {
            return self.not_json();
        };
        let document =
            if self.searches.is_empty() { None } else { jmespath::Variable::from_json(&input).ok() };
        if document.is_none() && !self.searches.is_empty() {
            // Deeper than the parser goes.
            return self.not_json();
        }
        let Found { values, matched } = found;
        for (name, raw) in self.names.iter().zip(values) {
            match raw {
                Some(raw) => text::extract(&mut record.extracted, name, &input, raw),
                // As Alloy: what is not there is null.
                None => record.extracted.set_null(name),
            }
        }
        for (name, raw) in matched {
            text::extract(&mut record.extracted, &name, &input, raw);
        }
        if let Some(document) = document {
            let document = std::sync::Arc::new(document);
            for (name, search) in &self.searches {
                // An expression that fails on this document leaves the value as it is.
                if let Ok(value) = search.search(&document) {
                    text::extract_found(&mut record.extracted, name, &value);
                }
            }
        }
        Flow::Next
    }
}

impl Json {
    fn not_json(&self) -> Flow {
        match &self.malformed {
            Some(dropped) => {
                dropped.inc();
                Flow::Drop
            }
            None => Flow::Next,
        }
    }
}

#[cfg(test)]
mod tests;

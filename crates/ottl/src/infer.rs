//! The context of statements and conditions that do not name it: that of the lowest path.
//!
//! As pkg/ottl's inferrer: paths name their contexts; the lowest of them is taken, or one below it if that one
//! lacks a function or a constant. Here a path without its context is an error that says how to write it.

use std::collections::BTreeSet;

use crate::ast::{Kind, Node};
use crate::context::Context;
use crate::enums;
use crate::error::{Mistake, ParseError};
use crate::functions::{self, Group};
use crate::parser;
use crate::path::PREFIX;

/// What the texts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Statements.
    Statements,
    /// Conditions.
    Conditions,
}

/// From low to high.
const PRIORITY: [Context; 7] = [
    Context::Log,
    Context::DataPoint,
    Context::Metric,
    Context::SpanEvent,
    Context::Span,
    Context::Scope,
    Context::Resource,
];

#[derive(Default)]
struct Hints {
    contexts: BTreeSet<Context>,
    functions: BTreeSet<String>,
    enums: BTreeSet<String>,
}

/// The one of `candidates` that all texts can be parsed for, as far as names say.
///
/// # Errors
/// If a text is none, a path does not begin with a context, or no context has all paths, functions and constants.
pub fn infer<S: AsRef<str>>(
    texts: &[S],
    source: Source,
    candidates: &[Context],
    groups: &[Group],
) -> Result<Context, ParseError> {
    let mut hints = Hints::default();
    for text in texts {
        let text = text.as_ref();
        let mut nodes = Vec::new();
        let mut collect = |root: &Root| root.walk(&mut |node| note(node, &mut nodes));
        let root = match source {
            Source::Statements => {
                let statement = parser::statement(text)?;
                hints.functions.insert(statement.editor.name.clone());
                Root::Statement(statement)
            }
            Source::Conditions => Root::Condition(parser::condition(text)?),
        };
        collect(&root);
        for note in nodes {
            hints.add(note, candidates).map_err(|mistake| mistake.of(text))?;
        }
    }
    let mut groups = groups.to_vec();
    groups.push(Group::Standard);
    let fits = |context: &&Context| {
        let context = **context;
        hints.contexts.iter().all(|c| context.around().contains(c))
            && hints.enums.iter().all(|symbol| enums::value(context, symbol).is_some())
            && hints.functions.iter().all(|name| {
                // A function that nobody knows is told when the text is parsed.
                functions::find(name, &groups)
                    .is_none_or(|f| f.contexts.is_empty() || f.contexts.contains(&context))
            })
    };
    let lowest_first = PRIORITY.iter().filter(|c| candidates.contains(c));
    let wanted = hints.contexts.iter().min_by_key(|c| PRIORITY.iter().position(|p| p == *c));
    // The nearest to what the paths say: fewer items than below it.
    let nearest = || lowest_first.clone().rev().find(|context| fits(context));
    let found = wanted.filter(|context| fits(context)).or_else(nearest);
    found.copied().ok_or_else(|| {
        let text = texts.iter().map(AsRef::as_ref).collect::<Vec<_>>().join("; ");
        Mistake::new(0..0, "no context has all paths, functions and constants of these")
            .with_help("put those of different contexts into blocks of their own")
            .of(&text)
    })
}

enum Root {
    Statement(crate::ast::Statement),
    Condition(Node),
}

impl Root {
    fn walk<'n>(&'n self, visit: &mut dyn FnMut(&'n Node)) {
        match self {
            Self::Statement(statement) => statement.walk(visit),
            Self::Condition(node) => node.walk(visit),
        }
    }
}

enum Note {
    Path { first: String, more: bool, span: std::ops::Range<usize> },
    Function(String),
    Enum(String),
    Parameters(Vec<String>),
}

fn note(node: &Node, notes: &mut Vec<Note>) {
    notes.push(match &node.kind {
        Kind::Path(path) => {
            let first = &path.fields[0];
            Note::Path { first: first.name.clone(), more: path.fields.len() > 1, span: first.span.clone() }
        }
        Kind::Call(call) => Note::Function(call.name.clone()),
        Kind::Function(name) => Note::Function(name.clone()),
        Kind::Enum(symbol) => Note::Enum(symbol.clone()),
        Kind::Lambda(names, _) => Note::Parameters(names.clone()),
        _ => return,
    });
}

impl Hints {
    fn add(&mut self, note: Note, candidates: &[Context]) -> Result<(), Mistake> {
        match note {
            Note::Function(name) => drop(self.functions.insert(name)),
            // SHA256 as an argument reads like a constant.
            Note::Enum(symbol) if functions::find(&symbol, &[Group::Standard]).is_some() => {}
            Note::Enum(symbol) => drop(self.enums.insert(symbol)),
            Note::Parameters(names) => self.functions.extend(names.into_iter().map(|n| format!("({n}"))),
            Note::Path { first, more: true, .. } if first == PREFIX => {}
            Note::Path { first, more, span } => match Context::from_name(&first).filter(|_| more) {
                Some(context) if candidates.contains(&context) => drop(self.contexts.insert(context)),
                _ if self.functions.contains(&format!("({first}")) => {}
                _ => {
                    let names: Vec<&str> = candidates.iter().map(|c| c.name()).collect();
                    let example = names.last().copied().unwrap_or("resource");
                    return Err(Mistake::new(
                        span,
                        format!("the path `{first}` does not begin with its context"),
                    )
                    .with_help(format!(
                        "write for example `{example}.{first}`; contexts here are {}",
                        names.join(", ")
                    )));
                }
            },
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_context_that_has_everything_is_taken() {
        let all = &[Group::Transform];
        let cases: &[(&[&str], &[Context], Context)] = &[
            (&[r#"set(span.name, "a")"#], Context::TRACES, Context::Span),
            (&[r#"set(resource.attributes["a"], 1)"#], Context::TRACES, Context::Resource),
            (
                &[r#"set(scope.name, "a") where resource.attributes["b"] != nil"#],
                Context::LOGS,
                Context::Scope,
            ),
            (&[r#"set(instrumentation_scope.name, "a")"#], Context::LOGS, Context::Scope),
            (&[r#"set(span.name, spanevent.name)"#], Context::TRACES, Context::SpanEvent),
            (
                &[r#"set(metric.description, "a") where datapoint.attributes["b"] == 1"#],
                Context::METRICS,
                Context::DataPoint,
            ),
            (
                &[r#"set(resource.attributes["a"], 1)"#, r#"set(metric.name, "b")"#],
                Context::METRICS,
                Context::Metric,
            ),
            (&[r#"set(resource.attributes["k"], STATUS_CODE_ERROR)"#], Context::TRACES, Context::Span),
            (&[r#"set(log.body, log.attributes[resource.attributes["k"]])"#], Context::LOGS, Context::Log),
            // What is known of the client is the same in every context.
            (
                &[r#"set(resource.attributes["a"], 1) where otelcol.client.addr != nil"#],
                Context::LOGS,
                Context::Resource,
            ),
        ];
        for (texts, candidates, expected) in cases {
            assert_eq!(infer(texts, Source::Statements, candidates, all), Ok(*expected), "{texts:?}");
        }
    }

    #[test]
    fn a_path_without_its_context_is_told() {
        let error = infer(&[r#"attributes["a"] == 1"#], Source::Conditions, Context::LOGS, &[]);
        let text = error.expect_err("no context").to_string();
        assert!(text.contains("write for example `log.attributes`"), "{text}");
        let error = infer(&[r#"span.name == "a""#], Source::Conditions, Context::LOGS, &[]);
        assert!(
            error.expect_err("not a log's").to_string().contains("contexts here are resource, scope, log")
        );
    }

    #[test]
    fn parameters_of_lambdas_are_no_paths() {
        let text = r#"Any(log.attributes, (k, v) => k == "a" and v != nil)"#;
        assert_eq!(infer(&[text], Source::Conditions, Context::LOGS, &[]), Ok(Context::Log));
    }
}

//! Go templates with the functions that Alloy gives them.
//!
//! A template is parsed once; a mistake has its place. An execution is bounded in output, work and memory
//! (`budget`), so that neither a template nor a line can hold up the pipeline. The engine is `gotmpl`; what it
//! does otherwise than Go is mended in `check` and by functions of our own.

mod args;
mod budget;
mod check;
mod dates;
mod dicts;
mod encode;
mod functions;
mod lists;
mod numbers;
mod regexes;
pub(in crate::process) mod show;
mod text;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, LazyLock};

use gotmpl::parse::{Parser, Pos};
use gotmpl::{TemplateError, Value};

use args::Map;
use check::Check;

/// A parsed template.
#[derive(Clone)]
pub struct Template {
    engine: gotmpl::Template,
    source: Arc<str>,
    /// `None` where it reads the data as a whole.
    fields: Option<BTreeSet<String>>,
}

/// What is wrong with the text of a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct SyntaxError {
    /// From one.
    pub line: usize,
    /// From one, in characters.
    pub column: usize,
    /// What is wrong, in Go's words where Go has some.
    pub message: String,
}

/// Why an execution has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RenderError(String);

/// Bytes of the longest template.
const LONGEST: usize = 1 << 20;
/// How deep blocks may be. A chain of `{{else if}}` is as deep as it is long to the engine, which looks at depth
/// when it executes but not when it parses.
const DEEPEST: usize = 190;
/// Turns of all loops of one execution.
const TURNS: u64 = 1_000_000;
/// Stands at the end of a template that is parsed to its end.
const END: &str = "__end";
/// The template itself, beside those that it defines.
const MAIN: &str = "\0main";

static ENGINE: LazyLock<gotmpl::Template> =
    LazyLock::new(|| gotmpl::Template::new("").funcs(functions::ALL.clone()).max_range_iters(TURNS));

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// Where the text is no template, or uses a function, a variable or a template that there is not.
    pub fn parse(source: &str) -> Result<Self, SyntaxError> {
        let error = |problem| syntax_error(source, problem);
        if source.len() > LONGEST {
            let message = format!("a template longer than {LONGEST} bytes");
            return Err(SyntaxError { line: 1, column: 1, message });
        }
        if deepest(source) > DEEPEST {
            let message = format!("blocks and {{{{else if}}}} more than {DEEPEST} deep");
            return Err(SyntaxError { line: 1, column: 1, message });
        }
        // Once as Go does, for its rules about templates of the same name.
        gotmpl::Template::new("").parse(source).map_err(error)?;
        // The engine takes an `{{end}}` that ends nothing for the end of the template: then the mark is not seen.
        let marked = format!("{source}{{{{{END}}}}}");
        let (mut main, defines) = Parser::new(&marked, "{{", "}}").and_then(Parser::parse).map_err(error)?;
        if !check::take_mark(&mut main, END) {
            let last = main.nodes.last().map_or(0, |node| check::place(node).offset);
            return Err(unexpected_end(source, last));
        }
        let names: BTreeSet<String> = defines.iter().map(|define| define.name.to_string()).collect();
        let mut check = Check::new(&names);
        let place = |mistake: check::Mistake| at(source, mistake.at, mistake.message);
        let mut engine = ENGINE.clone();
        for define in &defines {
            let empty = define.body.is_empty_tree() && engine.lookup(&define.name).is_some();
            let body = check.body(&define.body, true).map_err(place)?;
            // An empty definition does not replace one that is not.
            if !empty {
                engine = engine.add_parse_tree(&define.name, body);
            }
        }
        let main = check.body(&main, false).map_err(place)?;
        let fields = if check.whole { None } else { Some(check.fields) };
        Ok(Self { engine: engine.add_parse_tree(MAIN, main), source: source.into(), fields })
    }

    /// The text that it was parsed from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether it may look at this key of its data. What it does not look at need not be put there.
    pub fn reads(&self, key: &str) -> bool {
        self.fields.as_ref().is_none_or(|fields| fields.contains(key))
    }

    /// The keys of its data that it may look at; `None` where it may look at all.
    pub fn fields(&self) -> Option<impl Iterator<Item = &str>> {
        self.fields.as_ref().map(|fields| fields.iter().map(String::as_str))
    }

    /// Executes the template, and appends what it makes. After an error nothing has been appended.
    ///
    /// # Errors
    /// Where a function is given what it does not take, as in Go, and where the bounds are reached.
    pub fn render(&self, data: &Data, out: &mut String) -> Result<(), RenderError> {
        budget::refill();
        let start = out.len();
        let data = Value::Map(data.0.clone());
        let mut bounded = Bounded { out, left: budget::MAX_TEXT };
        let result = self.engine.execute_template_fmt(&mut bounded, MAIN, &data);
        result.map_err(|problem| {
            out.truncate(start);
            match problem {
                TemplateError::Write => RenderError(format!("more than {} bytes", budget::MAX_TEXT)),
                other => RenderError(other.to_string()),
            }
        })
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Template").field(&self.source).finish()
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

/// What a template is executed on: texts by their names.
#[derive(Clone, Debug, Default)]
pub struct Data(Arc<Map>);

impl Data {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a text under a name.
    pub fn set(&mut self, name: &str, value: &str) {
        let map = Arc::make_mut(&mut self.0);
        match map.get_mut(name) {
            Some(known) => *known = Value::String(value.into()),
            None => drop(map.insert(name.into(), Value::String(value.into()))),
        }
    }

    /// Takes a text away.
    pub fn remove(&mut self, name: &str) {
        Arc::make_mut(&mut self.0).remove(name);
    }

    /// Takes everything away.
    pub fn clear(&mut self) {
        Arc::make_mut(&mut self.0).clear();
    }
}

/// Output with a limit.
struct Bounded<'o> {
    out: &'o mut String,
    left: usize,
}

impl fmt::Write for Bounded<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.left = self.left.checked_sub(text.len()).ok_or(fmt::Error)?;
        self.out.push_str(text);
        Ok(())
    }
}

/// How deep the engine's parser goes into blocks.
fn deepest(source: &str) -> usize {
    let mut open: Vec<usize> = Vec::new();
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut rest = source;
    while let Some(at) = rest.find("{{") {
        let behind = &rest[at + 2..];
        let (action, after) = behind.split_at(action_length(behind));
        rest = after;
        let (keyword, more) = word(action.strip_prefix('-').unwrap_or(action));
        match keyword {
            "if" | "with" | "range" | "block" | "define" => {
                open.push(1);
                depth += 1;
            }
            "else" if matches!(word(more).0, "if" | "with") => {
                if let Some(last) = open.last_mut() {
                    *last += 1;
                    depth += 1;
                }
            }
            "end" => depth -= open.pop().unwrap_or(0),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// The word at the start of a text, and what is behind it.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_at(text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len()))
}

/// Length of an action up to its closing braces, which do not count in texts and comments.
fn action_length(action: &str) -> usize {
    let bytes = action.as_bytes();
    if action.trim_start_matches('-').trim_start().starts_with("/*") {
        return action.find("*/").map_or(action.len(), |at| at + 2);
    }
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            quote @ (b'"' | b'\'' | b'`') => {
                at += 1;
                while at < bytes.len() && bytes[at] != quote {
                    at += if bytes[at] == b'\\' && quote != b'`' { 2 } else { 1 };
                }
            }
            b'}' if bytes[at..].starts_with(b"}}") => return at,
            _ => {}
        }
        at += 1;
    }
    action.len()
}

fn syntax_error(source: &str, problem: TemplateError) -> SyntaxError {
    match problem {
        TemplateError::Parse { line, col, message, .. } | TemplateError::Lex { line, col, message, .. } => {
            SyntaxError { line: line.max(1), column: col.max(1), message }
        }
        other => at(source, Pos::new(0, 1), other.to_string()),
    }
}

/// The first `{{end}}` or `{{else}}` behind a place.
fn unexpected_end(source: &str, behind: usize) -> SyntaxError {
    let word = |at: usize| source[at + 2..].trim_start_matches('-').trim_start();
    let stray =
        |(at, _): &(usize, &str)| *at >= behind && ["end", "else"].iter().any(|w| word(*at).starts_with(w));
    let place = source.match_indices("{{").find(stray).map_or(source.len(), |(at, _)| at);
    at(source, Pos::new(place, 1), "unexpected {{end}} or {{else}}".into())
}

fn at(source: &str, at: Pos, message: String) -> SyntaxError {
    let before = &source[..source.floor_char_boundary(at.offset)];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.matches('\n').count() + 1;
    SyntaxError { line, column: before[line_start..].chars().count() + 1, message }
}

#[cfg(test)]
mod tests;

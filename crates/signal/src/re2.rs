//! Regular expressions as RE2 (Go's `regexp`) understands them, on the `regex` crate.
//!
//! A pattern is parsed by RE2's rules (`translate`), which also find its errors in Go's words, and written
//! out again in a form that means the same to the `regex` crate whatever its own syntax would have made of
//! it. Patterns that are plain text, alternatives of plain text or text with `.*` around it never reach an
//! automaton (`Shape`).

mod escape;
mod shape;
mod translate;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use shape::Shape;

/// A compiled RE2 pattern. A clone is a reference count; equality is that of the text and the anchoring.
#[derive(Clone)]
pub struct Regex(Arc<Inner>);

struct Inner {
    /// As the user wrote it.
    text: String,
    anchored: bool,
    shape: Shape,
    compiled: regex::Regex,
    /// Names of the groups, `""` where there is none; the first is the whole match.
    names: Vec<String>,
}

/// Why a pattern is not an RE2 expression; reads as Go's error does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("error parsing regexp: {reason}: `{excerpt}`")]
pub struct SyntaxError {
    /// What is wrong.
    pub reason: &'static str,
    /// The part of the pattern that is.
    pub excerpt: String,
}

/// The largest automaton program accepted, in bytes; RE2 in Go limits itself to 128 MB.
const SIZE_LIMIT: usize = 128 << 20;

impl Regex {
    /// A pattern that may match anywhere, as Go's `regexp.Compile`.
    pub fn new(pattern: &str) -> Result<Self, SyntaxError> {
        Self::compile(pattern, pattern, false)
    }

    /// A pattern that must match the whole text, newlines included.
    /// As prometheus/model/relabel: `NewRegexp`.
    pub fn anchored(pattern: &str) -> Result<Self, SyntaxError> {
        Self::compile(pattern, &format!("^(?s:{pattern})$"), true)
    }

    fn compile(text: &str, full: &str, anchored: bool) -> Result<Self, SyntaxError> {
        let translated = translate::translate(full)?;
        let compiled = regex::RegexBuilder::new(&translated.pattern)
            .size_limit(SIZE_LIMIT)
            .nest_limit(translate::MAX_DEPTH * 4 + 8)
            .build()
            .map_err(|error| {
                let large = matches!(error, regex::Error::CompiledTooBig(_));
                let reason = if large { "expression too large" } else { "unsupported expression" };
                SyntaxError { reason, excerpt: text.to_owned() }
            })?;
        let shape = if anchored { Shape::of(text) } else { Shape::Other };
        let text = text.to_owned();
        Ok(Self(Arc::new(Inner { text, anchored, shape, compiled, names: translated.names })))
    }

    /// The pattern as the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// Whether it must match the whole text.
    pub fn is_anchored(&self) -> bool {
        self.0.anchored
    }

    /// Whether the text matches.
    pub fn is_match(&self, text: &str) -> bool {
        self.0.shape.is_match(text).unwrap_or_else(|| self.0.compiled.is_match(text))
    }

    /// Number of groups, the whole match included.
    pub fn group_count(&self) -> usize {
        self.0.names.len()
    }

    /// Names of the groups, the whole match first; `None` for groups without a name.
    pub fn group_names(&self) -> impl Iterator<Item = Option<&str>> {
        self.0.names.iter().map(|name| Some(name.as_str()).filter(|name| !name.is_empty()))
    }

    /// The groups of the first match.
    pub fn captures<'t>(&self, text: &'t str) -> Option<Captures<'t>> {
        if let Some(known) = self.0.shape.captures(text) {
            return known.map(Captures::Known);
        }
        let mut locations = self.0.compiled.capture_locations();
        self.0.compiled.captures_read(&mut locations, text)?;
        Some(Captures::Read { text, locations })
    }

    /// Room for the groups of a match, to be used again and again with [`Regex::read_captures`].
    pub fn locations(&self) -> regex::CaptureLocations {
        self.0.compiled.capture_locations()
    }

    /// As [`Regex::captures`] without allocating: the groups' byte ranges of the first match at or after
    /// `start`, a character boundary; `false` where nothing matches.
    pub fn read_captures(&self, into: &mut regex::CaptureLocations, text: &str, start: usize) -> bool {
        self.0.compiled.captures_read_at(into, text, start).is_some()
    }

    /// The byte range of the first match at or after `start`, a character boundary.
    pub fn find_at(&self, text: &str, start: usize) -> Option<std::ops::Range<usize>> {
        self.0.compiled.find_at(text, start).map(|found| found.range())
    }

    /// The text with every match replaced. As Go's `ReplaceAllString`.
    pub fn replace_all(&self, text: &str, template: &Template) -> String {
        let mut out = String::with_capacity(text.len());
        let mut locations = self.0.compiled.capture_locations();
        let (mut at, mut last_end) = (0, 0);
        while at <= text.len()
            && let Some(found) = self.0.compiled.captures_read_at(&mut locations, text, at)
        {
            out.push_str(&text[last_end..found.start()]);
            // No second replacement for an empty match right after a match.
            if found.end() > last_end || found.start() == 0 {
                template.write(&mut out, |group| locations.get(group).map(|(s, e)| &text[s..e]));
            }
            last_end = found.end();
            let step = text[at..].chars().next().map_or(1, char::len_utf8);
            at = found.end().max(at + step);
        }
        out.push_str(&text[last_end..]);
        out
    }

    /// Compiles a replacement with `$1`, `${1}`, `$name`, `${name}` and `$$` for this pattern.
    /// As Go's `Regexp.Expand`: unknown groups are empty, a `$` that begins nothing stays.
    pub fn template(&self, text: &str) -> Template {
        Template::new(text, &self.0.names)
    }
}

/// The groups of a match.
#[derive(Debug)]
pub enum Captures<'t> {
    /// Found without the automaton: the whole match and perhaps one group.
    Known([Option<&'t str>; 2]),
    /// Found by the automaton.
    Read {
        /// What was searched.
        text: &'t str,
        /// Byte ranges in it.
        locations: regex::CaptureLocations,
    },
}

impl<'t> Captures<'t> {
    /// The text of a group; 0 is the whole match. `None` where the group took no part.
    pub fn get(&self, group: usize) -> Option<&'t str> {
        match self {
            Self::Known(groups) => groups.get(group).copied().flatten(),
            Self::Read { text, locations } => locations.get(group).map(|(start, end)| &text[start..end]),
        }
    }
}

/// A replacement, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Group(usize),
    /// The first of the groups with one name that took part.
    FirstOf(Vec<usize>),
}

impl Template {
    fn new(text: &str, names: &[String]) -> Self {
        let mut pieces: Vec<Piece> = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            plain.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                plain.push('$');
                rest = after;
                continue;
            }
            let Some((name, after)) = variable(rest) else {
                plain.push('$');
                continue;
            };
            rest = after;
            if let Some(group) = group_piece(name, names) {
                if !plain.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                }
                pieces.push(group);
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Self { pieces }
    }

    /// The text, where no group appears in it.
    pub fn as_constant(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Appends the replacement for a match.
    pub fn expand(&self, captures: &Captures<'_>, out: &mut String) {
        self.write(out, |group| captures.get(group));
    }

    fn write<'t>(&self, out: &mut String, get: impl Fn(usize) -> Option<&'t str>) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Group(group) => out.push_str(get(*group).unwrap_or_default()),
                Piece::FirstOf(groups) => {
                    out.push_str(groups.iter().find_map(|group| get(*group)).unwrap_or_default());
                }
            }
        }
    }
}

/// Splits `name rest` or `{name} rest` behind a `$`. As Go's regexp: `extract`.
fn variable(text: &str) -> Option<(&str, &str)> {
    let (braced, inner) = match text.strip_prefix('{') {
        Some(inner) => (true, inner),
        None => (false, text),
    };
    let end = inner.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(inner.len());
    let (name, rest) = inner.split_at(end);
    if name.is_empty() {
        return None;
    }
    if braced { rest.strip_prefix('}').map(|rest| (name, rest)) } else { Some((name, rest)) }
}

/// `None` where the pattern has no such group.
fn group_piece(name: &str, names: &[String]) -> Option<Piece> {
    let numeric = name.bytes().all(|b| b.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
    if numeric && name.len() <= 8 {
        return name.parse().ok().filter(|group| *group < names.len()).map(Piece::Group);
    }
    let mut groups: Vec<usize> = (0..names.len()).filter(|i| names[*i] == name).collect();
    match groups.len() {
        0 => None,
        1 => groups.pop().map(Piece::Group),
        _ => Some(Piece::FirstOf(groups)),
    }
}

/// Whether a template names a group. As prometheus/model/relabel: `varInRegexTemplate`.
pub fn has_variable(template: &str) -> bool {
    template.contains('$')
}

impl PartialEq for Regex {
    fn eq(&self, other: &Self) -> bool {
        self.0.anchored == other.0.anchored && self.0.text == other.0.text
    }
}
impl Eq for Regex {}
impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Regex({:?})", self.0.text)
    }
}
impl fmt::Display for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}
impl FromStr for Regex {
    type Err = SyntaxError;
    fn from_str(pattern: &str) -> Result<Self, SyntaxError> {
        Self::new(pattern)
    }
}

#[cfg(test)]
mod tests;

//! What can be wrong with a statement: where it is written, and when it meets data.

use std::fmt;
use std::ops::Range;

/// Why a text is no statement, condition or value; shows the text and points into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The whole text.
    pub text: String,
    /// The bytes of it that are wrong; empty at its end.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
}

impl ParseError {
    /// The first wrong character, counted from 1.
    pub fn column(&self) -> usize {
        let start = self.span.start.min(self.text.len());
        self.text.get(..start).unwrap_or(&self.text).chars().count() + 1
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at column {} of `{}`", self.message, self.column(), self.text)?;
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ParseError {}

/// A mistake before its text is known.
#[derive(Debug)]
pub(crate) struct Mistake {
    pub(crate) span: Range<usize>,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl Mistake {
    pub(crate) fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), help: None }
    }

    pub(crate) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds the name in `names` that is nearest to `given`, if one is near.
    pub(crate) fn did_you_mean<'n>(self, given: &str, names: impl Iterator<Item = &'n str>) -> Self {
        match nearest(given, names) {
            Some(name) => self.with_help(format!("did you mean `{name}`?")),
            None => self,
        }
    }

    pub(crate) fn of(self, text: &str) -> ParseError {
        ParseError { text: text.to_owned(), span: self.span, message: self.message, help: self.help }
    }
}

/// Why a statement could not be applied to an item.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EvalError(pub(crate) String);

impl EvalError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// The name with the fewest edits to `given`: at most a third of its length.
pub(crate) fn nearest<'n>(given: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let given = given.to_lowercase();
    let limit = (given.chars().count() / 3).max(1);
    let near = names.map(|name| (distance(&given, &name.to_lowercase()), name));
    near.filter(|(edits, _)| *edits <= limit).min_by_key(|(edits, _)| *edits).map(|(_, name)| name)
}

/// Levenshtein's distance, in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered_and_a_far_one_is_not() {
        let names = ["replace_pattern", "replace_match", "set"];
        assert_eq!(nearest("replace_patern", names.into_iter()), Some("replace_pattern"));
        assert_eq!(nearest("SET", names.into_iter()), Some("set"));
        assert_eq!(nearest("delete", names.into_iter()), None);
    }

    #[test]
    fn a_column_counts_characters() {
        let error = Mistake::new(3..4, "unexpected `x`").of("ää x");
        assert_eq!(error.span, 3..4);
        assert_eq!(
            Mistake::new(5..6, "unexpected `x`").of("ää x").to_string(),
            "unexpected `x` at column 4 of `ää x`"
        );
    }
}

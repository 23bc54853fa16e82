//! Anchored patterns that need no automaton.
//!
//! Only what is certain is recognised; everything else is [`Shape::Other`].

/// What an anchored pattern comes down to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// `text`, `one|two|three`: no groups.
    OneOf(Vec<String>),
    /// Text before, `.*` or `.+` (perhaps in a group), text after.
    Wild {
        prefix: String,
        suffix: String,
        /// `.+`
        some: bool,
        /// `(.*)`
        group: bool,
    },
    /// Ask the automaton.
    Other,
}

const WILD: [(&str, bool, bool); 4] =
    [("(.*)", false, true), (".*", false, false), ("(.+)", true, true), (".+", true, false)];

/// Comparing with more alternatives one after the other is no faster than the automaton.
const MAX_ALTERNATIVES: usize = 24;

impl Shape {
    pub(super) fn of(pattern: &str) -> Self {
        if let Some((prefix, rest)) = literal(pattern) {
            if rest.is_empty() {
                return Self::OneOf(vec![prefix]);
            }
            for (wild, some, group) in WILD {
                if let Some(after) = rest.strip_prefix(wild)
                    && let Some((suffix, "")) = literal(after)
                {
                    return Self::Wild { prefix, suffix, some, group };
                }
            }
        }
        // A `|` that is escaped or in a group leaves a piece that is no literal.
        let pieces: Option<Vec<String>> = pattern
            .split('|')
            .take(MAX_ALTERNATIVES + 1)
            .map(|piece| literal(piece).filter(|(_, rest)| rest.is_empty()).map(|(text, _)| text))
            .collect();
        match pieces {
            Some(pieces) if pieces.len() <= MAX_ALTERNATIVES => Self::OneOf(pieces),
            _ => Self::Other,
        }
    }

    /// `None` where the automaton must say.
    pub(super) fn is_match(&self, text: &str) -> Option<bool> {
        match self {
            Self::OneOf(all) => Some(all.iter().any(|one| one == text)),
            Self::Wild { .. } => self.captures(text).map(|found| found.is_some()),
            Self::Other => None,
        }
    }

    /// Whole match and first group; the outer `None` where the automaton must say.
    pub(super) fn captures<'t>(&self, text: &'t str) -> Option<Option<[Option<&'t str>; 2]>> {
        match self {
            Self::OneOf(all) => Some(all.iter().any(|one| one == text).then_some([Some(text), None])),
            Self::Wild { prefix, suffix, some, group } => {
                let middle = text.strip_prefix(prefix.as_str()).and_then(|t| t.strip_suffix(suffix.as_str()));
                let middle = middle.filter(|middle| !*some || !middle.is_empty());
                Some(middle.map(|middle| [Some(text), group.then_some(middle)]))
            }
            Self::Other => None,
        }
    }
}

/// The plain text at the start of a pattern and what follows it. A character that is repeated is not plain.
fn literal(pattern: &str) -> Option<(String, &str)> {
    let mut text = String::new();
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let (c, len) = match c {
            '\\' => match rest[1..].chars().next() {
                Some(c) if c.is_ascii_punctuation() => (c, 2),
                _ => return None,
            },
            '(' | '.' => break,
            ')' | '[' | '{' | '*' | '+' | '?' | '|' | '^' | '$' => return None,
            c => (c, c.len_utf8()),
        };
        rest = &rest[len..];
        text.push(c);
        if rest.starts_with(['*', '+', '?', '{']) {
            return None;
        }
    }
    Some((text, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_patterns_are_recognised() {
        let one = |all: &[&str]| Shape::OneOf(all.iter().map(|s| (*s).to_owned()).collect());
        let wild = |prefix: &str, suffix: &str, some, group| Shape::Wild {
            prefix: prefix.to_owned(),
            suffix: suffix.to_owned(),
            some,
            group,
        };
        assert_eq!(Shape::of(""), one(&[""]));
        assert_eq!(Shape::of("a-b"), one(&["a-b"]));
        assert_eq!(Shape::of("a|b\\.c|"), one(&["a", "b.c", ""]));
        assert_eq!(Shape::of("(.*)"), wild("", "", false, true));
        assert_eq!(Shape::of("node_.+"), wild("node_", "", true, false));
        assert_eq!(Shape::of("a\\.(.*)z"), wild("a.", "z", false, true));
    }

    #[test]
    fn whatever_else_is_left_to_the_automaton() {
        let patterns = [
            "a*",
            "a.b",
            "a|.*",
            "(a|b)",
            "a\\d",
            "a\\|b|c",
            "(.*)?",
            ".*?",
            ".**",
            "(.*)a+",
            "^a",
            "a$",
            "a{2}",
            "(.*)b(.*)",
            "\\Qa\\E",
            "[a]",
            "(?i)a",
            ".*{2}",
        ];
        for pattern in patterns {
            let shape = Shape::of(pattern);
            // An escaped bar splits into a piece that ends in a backslash.
            assert_eq!(shape, Shape::Other, "{pattern}");
        }
    }

    #[test]
    fn prefix_and_suffix_may_not_overlap() {
        assert_eq!(Shape::of("ab(.*)ba").captures("aba"), Some(None));
        assert_eq!(Shape::of("ab(.*)ba").captures("abba"), Some(Some([Some("abba"), Some("")])));
        assert_eq!(Shape::of("a.+").is_match("a"), Some(false));
    }
}

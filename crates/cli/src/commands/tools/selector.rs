//! Series selectors: `{job="a",instance=~"b.*"}`, as PromQL writes them, without a metric name in front.

use anyhow::{Context, bail};
use signal::Labels;
use signal::re2::Regex;

/// Matchers that must all hold.
pub struct Selector(Vec<Matcher>);

struct Matcher {
    label: String,
    wanted: Wanted,
}

enum Wanted {
    Equal(String),
    NotEqual(String),
    Like(Regex),
    NotLike(Regex),
}

impl Selector {
    /// Reads a selector.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let inner = text.trim().strip_prefix('{').and_then(|t| t.strip_suffix('}'));
        let mut rest = inner.context("a selector is written as {label=\"value\", …}")?.trim();
        let mut matchers = Vec::new();
        while !rest.is_empty() {
            let end = rest.find(['=', '!']).context("a matcher is written as label=\"value\"")?;
            let (label, tail) = rest.split_at(end);
            let (operator, tail) = ["=~", "!~", "!=", "="]
                .iter()
                .find_map(|o| Some((*o, tail.strip_prefix(o)?)))
                .context("use one of =, !=, =~, !~")?;
            let (value, tail) = string(tail.trim_start())?;
            let wanted = match operator {
                "=" => Wanted::Equal(value),
                "!=" => Wanted::NotEqual(value),
                "=~" => Wanted::Like(Regex::anchored(&value)?),
                _ => Wanted::NotLike(Regex::anchored(&value)?),
            };
            matchers.push(Matcher { label: label.trim().to_string(), wanted });
            rest = match tail.trim_start() {
                "" => "",
                more => more.strip_prefix(',').context("matchers are separated by commas")?.trim_start(),
            };
        }
        Ok(Self(matchers))
    }

    /// Whether a series is meant; an absent label counts as empty.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|matcher| {
            let value = labels.get(&matcher.label).unwrap_or_default();
            match &matcher.wanted {
                Wanted::Equal(wanted) => value == wanted,
                Wanted::NotEqual(unwanted) => value != unwanted,
                Wanted::Like(regex) => regex.is_match(value),
                Wanted::NotLike(regex) => !regex.is_match(value),
            }
        })
    }
}

/// A quoted string at the start of a text, and what follows it.
fn string(text: &str) -> anyhow::Result<(String, &str)> {
    let Some(body) = text.strip_prefix('"') else { bail!("a value stands between double quotes") };
    let mut value = String::new();
    let mut chars = body.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &body[at + 1..])),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, c)) => value.push(c),
                None => break,
            },
            c => value.push(c),
        }
    }
    bail!("a value is not closed with a double quote")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matchers_are_read_and_all_must_hold() {
        let labels = Labels::from_pairs([("job", "a"), ("instance", "b:1"), ("q", "x\"y")]);
        let cases = [
            ("{}", true),
            (r#"{job="a"}"#, true),
            (r#"{ job = "a" , instance=~"b.*" }"#, true),
            (r#"{job!="a"}"#, false),
            (r#"{instance!~"b"}"#, true),
            (r#"{none=""}"#, true),
            (r#"{q="x\"y"}"#, true),
        ];
        for (text, expected) in cases {
            assert_eq!(Selector::parse(text).expect(text).matches(&labels), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for text in ["", "job", "{job}", "{job=a}", "{job=\"a}", "{job=\"a\" x}", "{job=~\"(\"}"] {
            assert!(Selector::parse(text).is_err(), "{text}");
        }
    }
}

//! `regex_parser`: the named groups of a regular expression.

use regex::Regex;

use super::Transform;
use super::entry::{Entry, Failure};
use super::options::Options;
use super::parser::{Parser, text};
use super::value::{Map, Value};

/// The operator.
pub struct RegexParser {
    parser: Parser,
    regex: Regex,
}

impl RegexParser {
    /// Reads its options. `cache` is not needed: it is checked and has no effect on what comes out.
    ///
    /// # Errors
    /// If one is wrong, or no group of the expression has a name.
    pub fn new(options: &mut Options) -> Result<Self, String> {
        let parser = Parser::new(options)?;
        let pattern = options.required("regex")?;
        let regex = Regex::new(&pattern).map_err(|e| options.error(format!("regex: {e}")))?;
        if regex.capture_names().flatten().next().is_none() {
            return Err(options.error("regex: no group has a name; write (?P<name>…)"));
        }
        if let Some(mut cache) = options.nested("cache")? {
            cache.count("size", 0)?;
            cache.finish()?;
        }
        Ok(Self { parser, regex })
    }
}

impl Transform for RegexParser {
    fn transform(&self, entry: &mut Entry) -> Result<(), Failure> {
        self.parser.apply(entry, |value| groups(&self.regex, text(value, "a regular expression says")?))
    }
}

/// The named groups of a match; one that did not take part is empty text.
///
/// # Errors
/// If there is no match.
pub fn groups(regex: &Regex, text: &str) -> Result<Value, Failure> {
    let captures =
        regex.captures(text).ok_or_else(|| Failure::new("the regular expression does not match"))?;
    let names = regex.capture_names().enumerate().filter_map(|(i, name)| Some((i, name?)));
    let map: Map = names
        .map(|(i, name)| (name.to_string(), Value::from(captures.get(i).map_or("", |m| m.as_str()))))
        .collect();
    Ok(Value::Map(map))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{refused, run_text, shown};

    #[test]
    fn named_groups_become_attributes() {
        for (regex, body, expected) in [
            (r"^(?P<a>\\w+) (?P<b>\\d+)$", "x 7", r#"{"a":"x","b":"7"} "x 7""#),
            (r"^(?<a>\\w+)( (?<b>\\d+))?$", "x", r#"{"a":"x","b":""} "x""#),
            (r"^(?P<a>\\d+)$", "x", r#"{} "x""#),
        ] {
            let out = run_text(&format!(r#"{{type = "regex_parser", regex = "{regex}"}}"#), body);
            assert_eq!(shown(&out), expected, "{regex}");
        }
        for (options, says) in [
            (r#"regex = "(""#, "regex"),
            (r#"regex = "(a)""#, "name"),
            ("", "regex is missing"),
            (r#"regex = "(?P<a>x)", cache = {sise = 1}"#, "sise"),
        ] {
            assert!(refused(&format!(r#"{{type = "regex_parser", {options}}}"#)).contains(says), "{options}");
        }
    }
}

//! `regex_parser`: the named groups of a regular expression; with `cache` those of so many texts are remembered.

use parking_lot::Mutex;
use regex::Regex;

use super::Transform;
use super::entry::{Entry, Failure};
use super::options::Options;
use super::parser::{Parser, text};
use super::value::{Map, Value};
use crate::processor::lru::Lru;

/// Texts of which the groups are remembered, at most: as upstream, whose size has 16 bits.
const MOST_CACHED: u64 = 65_535;
/// Longer texts hardly come twice.
const LONGEST_CACHED: usize = 4096;

/// The operator.
pub struct RegexParser {
    parser: Parser,
    regex: Regex,
    cache: Option<Cache>,
}

/// The groups of texts.
type Cache = Mutex<Lru<String, Value>>;

impl RegexParser {
    /// Reads its options.
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
        let mut size = 0;
        if let Some(mut cache) = options.nested("cache")? {
            size = cache.count("size", 0)?;
            if size > MOST_CACHED {
                return Err(cache.error(format!("size must be at most {MOST_CACHED}")));
            }
            cache.finish()?;
        }
        let size = usize::try_from(size).unwrap_or_default();
        Ok(Self { parser, regex, cache: (size > 0).then(|| Mutex::new(Lru::new(size))) })
    }
}

impl Transform for RegexParser {
    fn transform(&self, entry: &mut Entry) -> Result<(), Failure> {
        self.parser.apply(entry, |value| {
            let text = text(value, "a regular expression says")?;
            match &self.cache {
                Some(cache) => remembered(cache, &self.regex, text),
                None => groups(&self.regex, text),
            }
        })
    }
}

/// The groups of a text, remembered where there are any.
fn remembered(cache: &Cache, regex: &Regex, text: &str) -> Result<Value, Failure> {
    if let Some(known) = cache.lock().get(text) {
        return Ok(known.clone());
    }
    let found = groups(regex, text)?;
    if text.len() <= LONGEST_CACHED {
        cache.lock().insert(text.to_owned(), found.clone());
    }
    Ok(found)
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
    use super::*;

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
            (r#"regex = "(?P<a>x)", cache = {size = 65536}"#, "at most 65535"),
        ] {
            assert!(refused(&format!(r#"{{type = "regex_parser", {options}}}"#)).contains(says), "{options}");
        }
    }

    #[test]
    fn groups_of_so_many_texts_are_remembered() {
        let out = run_text(r#"{type = "regex_parser", regex = "^(?P<a>.*)$", cache = {size = 2}}"#, "x");
        assert_eq!(shown(&out), r#"{"a":"x"} "x""#);
        let (first, other) = (Regex::new("(?P<a>.)").expect("sound"), Regex::new("(?P<b>.)").expect("sound"));
        let cache = Mutex::new(Lru::new(2));
        let known = |regex: &Regex, text: &str| remembered(&cache, regex, text).expect("matches");
        let a = known(&first, "x");
        // Another expression would find another group: what comes is what was found first.
        assert_eq!(known(&other, "x"), a);
        known(&first, "y");
        known(&first, "z");
        assert_ne!(known(&other, "x"), a, "two are remembered, and it was used the longest ago");
        let long = "x".repeat(LONGEST_CACHED + 1);
        known(&first, &long);
        assert!(cache.lock().get(long.as_str()).is_none());
        assert!(remembered(&cache, &first, "").is_err());
    }
}

//! `key_value_parser`: pairs of names and values, as `a=1 b="x y"`.

use super::Transform;
use super::entry::{Entry, Failure};
use super::options::Options;
use super::parser::{Parser, text};
use super::value::{Map, Value};

/// The operator.
pub struct KeyValueParser {
    parser: Parser,
    delimiter: String,
    /// Nothing: any space.
    pair_delimiter: Option<String>,
}

impl KeyValueParser {
    /// Reads its options.
    ///
    /// # Errors
    /// If one is wrong.
    pub fn new(options: &mut Options) -> Result<Self, String> {
        let parser = Parser::new(options)?;
        let delimiter = options.text("delimiter")?.filter(|d| !d.is_empty()).unwrap_or("=".into());
        let pair_delimiter = options.text("pair_delimiter")?.filter(|d| !d.is_empty());
        let spaces = |text: &str| text.trim().is_empty();
        if pair_delimiter.as_ref().is_some_and(|p| *p == delimiter)
            || pair_delimiter.is_none() && spaces(&delimiter)
        {
            return Err(options.error("delimiter and pair_delimiter must differ"));
        }
        Ok(Self { parser, delimiter, pair_delimiter })
    }
}

impl Transform for KeyValueParser {
    fn transform(&self, entry: &mut Entry) -> Result<(), Failure> {
        self.parser.apply(entry, |value| {
            let text = text(value, "pairs")?;
            if text.is_empty() {
                return Err(Failure::new("there is nothing to parse"));
            }
            let mut map = Map::new();
            for pair in pairs(text, self.pair_delimiter.as_deref())? {
                let (name, value) = pair
                    .split_once(&self.delimiter)
                    .ok_or_else(|| Failure::new(format!("{pair:?} is no pair of a name and a value")))?;
                map.insert(bare(name).to_string(), Value::from(bare(value)));
            }
            Ok(Value::Map(map))
        })
    }
}

/// Splits at delimiters, or at spaces, that are not in quotes.
fn pairs<'a>(text: &'a str, delimiter: Option<&str>) -> Result<Vec<&'a str>, Failure> {
    let (mut out, mut start, mut quote, mut at) = (Vec::new(), 0, None, 0);
    while let Some(c) = text[at..].chars().next() {
        let ends = match delimiter {
            Some(delimiter) => text[at..].starts_with(delimiter).then_some(delimiter.len()),
            None => c.is_whitespace().then_some(c.len_utf8()),
        };
        match (quote, ends) {
            (Some(q), _) if q == c => quote = None,
            (Some(_), _) => {}
            (None, Some(length)) => {
                out.push(&text[start..at]);
                at += length;
                start = at;
                continue;
            }
            (None, None) if matches!(c, '"' | '\'') => quote = Some(c),
            (None, None) => {}
        }
        at += c.len_utf8();
    }
    if quote.is_some() {
        return Err(Failure::new("a quote is not closed"));
    }
    out.push(&text[start..]);
    Ok(out.into_iter().map(str::trim).filter(|pair| !pair.is_empty()).collect())
}

fn bare(text: &str) -> &str {
    let text = text.trim();
    ['"', '\''].into_iter().find_map(|q| text.strip_prefix(q)?.strip_suffix(q)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{refused, run_text, shown};

    #[test]
    fn pairs_become_attributes() {
        for (options, body, expected) in [
            ("", "a=1 b=x", r#"{"a":"1","b":"x"}"#),
            ("", "a=\"x y\"   b='z=1'", r#"{"a":"x y","b":"z=1"}"#),
            (r#", delimiter = ":", pair_delimiter = "|""#, "a:1|b: 2 ", r#"{"a":"1","b":"2"}"#),
            (r#", pair_delimiter = "!!""#, "a=1!!b=2", r#"{"a":"1","b":"2"}"#),
            ("", "a=1 b", "{}"),
            ("", "a=\"1", "{}"),
            ("", "url=x?y=z", r#"{"url":"x?y=z"}"#),
        ] {
            let out = run_text(&format!(r#"{{type = "key_value_parser"{options}}}"#), body);
            assert_eq!(shown(&out), format!("{expected} {}", serde_json::json!(body)), "{options} {body}");
        }
        let same = r#"{type = "key_value_parser", delimiter = "|", pair_delimiter = "|"}"#;
        assert!(refused(same).contains("differ"));
    }
}

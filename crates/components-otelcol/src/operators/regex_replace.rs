//! `regex_replace`: replaces what a regular expression matches in a text.

use regex::Regex;

use super::Transform;
use super::entry::{Entry, Failure, Field};
use super::options::Options;
use super::value::Value;

/// Colours and other sequences of terminals.
const ANSI: &str = r"[\x1b\x9b][\[()#;?]*(?:[0-9]{1,4}(?:;[0-9]{0,4})*)?[0-9A-ORZcf-nqry=><]";

/// The operator.
pub struct RegexReplace {
    field: Field,
    regex: Regex,
    with: String,
}

impl RegexReplace {
    /// Reads its options.
    ///
    /// # Errors
    /// If one is wrong.
    pub fn new(options: &mut Options) -> Result<Self, String> {
        let field = options.field("field")?.unwrap_or_else(Field::body);
        let name = options.choice("regex_name", &["ansi_control_sequences"], "")?;
        let regex = match (options.text("regex")?.filter(|r| !r.is_empty()), name) {
            (Some(regex), "") => regex,
            (None, "ansi_control_sequences") => ANSI.to_string(),
            _ => return Err(options.error("either regex or regex_name is needed")),
        };
        let regex = Regex::new(&regex).map_err(|e| options.error(format!("regex: {e}")))?;
        Ok(Self { field, regex, with: options.text("replace_with")?.unwrap_or_default() })
    }
}

impl Transform for RegexReplace {
    fn transform(&self, entry: &mut Entry) -> Result<(), Failure> {
        let text = entry.get(&self.field).and_then(Value::as_text);
        let text = text.ok_or_else(|| Failure::new(format!("{} is no text", self.field)))?;
        let replaced = self.regex.replace_all(text, self.with.as_str()).into_owned();
        entry.put(&self.field, Value::Text(replaced))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{refused, run_text};

    #[test]
    fn matches_are_replaced() {
        for (options, body, expected) in [
            (r#"regex = "\\d+", replace_with = "N""#, "a1b22", "aNbN"),
            (r#"regex = "(\\w)=(\\w)", replace_with = "${2}=${1}""#, "a=b", "b=a"),
            (r#"regex = "x""#, "axb", "ab"),
            (r#"regex_name = "ansi_control_sequences""#, "\u{1b}[31mred\u{1b}[0m", "red"),
        ] {
            let out = run_text(&format!(r#"{{type = "regex_replace", field = "body", {options}}}"#), body);
            assert_eq!(out[0].body.text(), expected, "{options}");
        }
        assert!(refused(r#"{type = "regex_replace"}"#).contains("either"));
        assert!(refused(r#"{type = "regex_replace", regex = "("}"#).contains("regex"));
    }
}

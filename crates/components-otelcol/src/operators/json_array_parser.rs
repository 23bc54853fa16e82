//! `json_array_parser`: an array of JSON.

use super::Transform;
use super::entry::{Entry, Failure, Field};
use super::options::Options;
use super::parser::{Parser, text};
use super::value::Value;

/// The operator.
pub struct JsonArrayParser {
    parser: Parser,
}

impl JsonArrayParser {
    /// Reads its options.
    ///
    /// # Errors
    /// If one is wrong.
    pub fn new(options: &mut Options) -> Result<Self, String> {
        Ok(Self { parser: Parser::with_target(options, Field::body())? })
    }
}

impl Transform for JsonArrayParser {
    fn transform(&self, entry: &mut Entry) -> Result<(), Failure> {
        self.parser.apply(entry, |value| {
            let json: Vec<serde_json::Value> = serde_json::from_str(text(value, "JSON")?)
                .map_err(|e| Failure::new(format!("it is no array of JSON: {e}")))?;
            Ok(Value::of_json(serde_json::Value::Array(json), true))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{run_text, shown};

    #[test]
    fn arrays_become_lists() {
        for (options, body, expected) in [
            ("", r#"[1, "a", null, {"b": 2.5}]"#, r#"{} [1,"a",null,{"b":2.5}]"#),
            (r#", parse_to = "attributes.l""#, "[true]", r#"{"l":[true]} "[true]""#),
            ("", r#"{"a": 1}"#, r#"{} "{\"a\": 1}""#),
        ] {
            let out = run_text(&format!(r#"{{type = "json_array_parser"{options}}}"#), body);
            assert_eq!(shown(&out), expected, "{options} {body}");
        }
    }
}

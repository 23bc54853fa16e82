//! `json_parser`: an object of JSON.

use super::Transform;
use super::entry::{Entry, Failure};
use super::options::Options;
use super::parser::{Parser, text};
use super::value::Value;

/// The operator.
pub struct JsonParser {
    parser: Parser,
    ints: bool,
}

impl JsonParser {
    /// Reads its options.
    ///
    /// # Errors
    /// If one is wrong.
    pub fn new(options: &mut Options) -> Result<Self, String> {
        Ok(Self { parser: Parser::new(options)?, ints: options.flag("parse_ints")? })
    }
}

impl Transform for JsonParser {
    fn transform(&self, entry: &mut Entry) -> Result<(), Failure> {
        self.parser.apply(entry, |value| {
            let json: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text(value, "JSON")?)
                .map_err(|e| Failure::new(format!("it is no object of JSON: {e}")))?;
            Ok(Value::of_json(serde_json::Value::Object(json), self.ints))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{run_text, shown};

    #[test]
    fn objects_become_attributes_or_what_is_asked_for() {
        for (options, body, expected) in [
            ("", r#"{"a": 1, "b": "x"}"#, r#"{"a":1.0,"b":"x"}"#),
            (", parse_ints = true", r#"{"a": 1, "b": 1.5}"#, r#"{"a":1,"b":1.5}"#),
            (r#", parse_to = "attributes.p""#, r#"{"a": true}"#, r#"{"p":{"a":true}}"#),
            (r#", parse_to = "body""#, r#"{"a": null}"#, r#"{} {"a":null}"#),
            (r#", body = "attributes.m""#, r#"{"m": "text"}"#, r#"{"m":"text"} "text""#),
            ("", "[1]", "{} \"[1]\""),
            ("", "no JSON", "{} \"no JSON\""),
            (r#", on_error = "drop""#, "no JSON", ""),
            (r#", severity = {parse_from = "attributes.s"}"#, r#"{"s": "warn"}"#, r#"{"s":"warn"} 13"#),
            (
                r#", timestamp = {parse_from = "attributes.t", layout_type = "epoch", layout = "s"}"#,
                r#"{"t": 5}"#,
                r#"{"t":5.0} 1970-01-01T00:00:05Z"#,
            ),
            (r#", scope_name = {parse_from = "attributes.l"}"#, r#"{"l": "x"}"#, r#"{"l":"x"} scope x"#),
        ] {
            let out = run_text(&format!(r#"{{type = "json_parser"{options}}}"#), body);
            let unchanged = format!(" {}", serde_json::json!(body));
            assert_eq!(
                shown(&out).replace(&unchanged, ""),
                expected.replace(&unchanged, ""),
                "{options} {body}"
            );
        }
    }
}

//! `scope_name_parser`: the name of the scope from a field.

use super::entry::{Entry, Failure, Field};
use super::options::Options;

/// Where the name is.
#[derive(Clone, Debug)]
pub struct ScopeName {
    from: Field,
}

impl ScopeName {
    /// Reads its options.
    ///
    /// # Errors
    /// If one is wrong.
    pub fn new(options: &mut Options) -> Result<Self, String> {
        Ok(Self { from: options.field("parse_from")?.unwrap_or_else(Field::body) })
    }

    /// Takes it.
    ///
    /// # Errors
    /// If the field is not there or no text.
    pub fn apply(&self, entry: &mut Entry) -> Result<(), Failure> {
        let text = entry.get(&self.from).and_then(|v| v.as_text());
        let text = text.ok_or_else(|| Failure::new(format!("{} holds no name of a scope", self.from)))?;
        entry.scope = text.to_string();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{run, shown};

    #[test]
    fn the_scope_is_named_by_a_field() {
        for (config, body, expected) in [
            (r#"{type = "scope_name_parser", parse_from = "body.logger"}"#, r#"{"logger": "a.b"}"#, "a.b"),
            (r#"{type = "scope_name_parser", parse_from = "body.logger"}"#, r#"{"other": "a.b"}"#, ""),
            (r#"{type = "scope_name_parser", parse_from = "body.logger"}"#, r#"{"logger": 7}"#, ""),
        ] {
            let out = run(config, body);
            assert_eq!(out[0].scope, expected, "{body}: {}", shown(&out));
        }
    }
}

//! `sanitize_utf8`: makes bytes text, with U+FFFD for what is none. Text is UTF-8 already.

use super::Transform;
use super::entry::{Entry, Failure, Field};
use super::options::Options;
use super::value::Value;

/// The operator.
pub struct SanitizeUtf8 {
    field: Field,
}

impl SanitizeUtf8 {
    /// Reads its options.
    ///
    /// # Errors
    /// If one is wrong.
    pub fn new(options: &mut Options) -> Result<Self, String> {
        Ok(Self { field: options.field("field")?.unwrap_or_else(Field::body) })
    }
}

impl Transform for SanitizeUtf8 {
    fn transform(&self, entry: &mut Entry) -> Result<(), Failure> {
        let text = match entry.get(&self.field) {
            Some(Value::Text(_)) => return Ok(()),
            Some(Value::Bytes(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
            _ => return Err(Failure::new(format!("{} is neither text nor bytes", self.field))),
        };
        entry.put(&self.field, Value::Text(text))
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::Entry;
    use super::super::tests::run_entries;
    use super::super::value::Value;

    #[test]
    fn bytes_become_text() {
        for (body, expected) in [
            (Value::Bytes(b"a\xFFb".to_vec()), Value::from("a\u{FFFD}b")),
            (Value::from("text"), Value::from("text")),
            (Value::Int(1), Value::Int(1)),
        ] {
            let out = run_entries(r#"{type = "sanitize_utf8"}"#, vec![Entry::new(body, 0)]);
            assert_eq!(out[0].body, expected);
        }
    }
}

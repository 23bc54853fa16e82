//! `remove`: takes a field out.

use super::Transform;
use super::entry::{Entry, Failure, Field};
use super::options::Options;

/// The operator.
pub struct Remove {
    field: Field,
}

impl Remove {
    /// Reads its options.
    ///
    /// # Errors
    /// If one is wrong.
    pub fn new(options: &mut Options) -> Result<Self, String> {
        Ok(Self { field: options.required_field("field")? })
    }
}

impl Transform for Remove {
    fn transform(&self, entry: &mut Entry) -> Result<(), Failure> {
        match entry.take(&self.field) {
            Some(_) => Ok(()),
            None => Err(Failure::new(format!("the entry has no {} to remove", self.field))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{run, shown};

    #[test]
    fn fields_are_removed() {
        for (field, expected) in [
            ("body.a", r#"{} {"b":{"c":2}}"#),
            ("body.b.c", r#"{} {"a":1,"b":{}}"#),
            ("body", "{}"),
            ("attributes", r#"{} {"a":1,"b":{"c":2}}"#),
            ("body.none", r#"{} {"a":1,"b":{"c":2}}"#),
        ] {
            let config = format!(r#"{{type = "remove", field = "{field}"}}"#);
            assert_eq!(shown(&run(&config, r#"{"a": 1, "b": {"c": 2}}"#)), expected, "{field}");
        }
    }
}

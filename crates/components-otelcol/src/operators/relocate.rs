//! `move`: takes the value of a field into another.

use super::Transform;
use super::entry::{Entry, Failure, Field};
use super::options::Options;

/// The operator.
pub struct Relocate {
    from: Field,
    to: Field,
}

impl Relocate {
    /// Reads its options.
    ///
    /// # Errors
    /// If one is wrong.
    pub fn new(options: &mut Options) -> Result<Self, String> {
        Ok(Self { from: options.required_field("from")?, to: options.required_field("to")? })
    }
}

impl Transform for Relocate {
    fn transform(&self, entry: &mut Entry) -> Result<(), Failure> {
        let value = entry.take(&self.from);
        let value = value.ok_or_else(|| Failure::new(format!("the entry has no {} to move", self.from)))?;
        entry.set(&self.to, value)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{run, shown};

    #[test]
    fn values_are_moved() {
        for (from, to, expected) in [
            ("body.a", "attributes.b", r#"{"b":1} {"c":{"d":2}}"#),
            ("body.c", "attributes", r#"{"d":2} {"a":1}"#),
            ("body.c", "body", r#"{} {"a":1,"d":2}"#),
            ("body.a", "body", "{} 1"),
            ("body", "attributes.all", r#"{"all":{"a":1,"c":{"d":2}}}"#),
            ("body.none", "attributes.b", r#"{} {"a":1,"c":{"d":2}}"#),
        ] {
            let config = format!(r#"{{type = "move", from = "{from}", to = "{to}"}}"#);
            assert_eq!(shown(&run(&config, r#"{"a": 1, "c": {"d": 2}}"#)), expected, "{from} {to}");
        }
    }
}

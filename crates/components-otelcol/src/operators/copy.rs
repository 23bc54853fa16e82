//! `copy`: puts the value of a field into another too.

use super::Transform;
use super::entry::{Entry, Failure, Field};
use super::options::Options;

/// The operator.
pub struct Copy {
    from: Field,
    to: Field,
}

impl Copy {
    /// Reads its options.
    ///
    /// # Errors
    /// If one is wrong.
    pub fn new(options: &mut Options) -> Result<Self, String> {
        Ok(Self { from: options.required_field("from")?, to: options.required_field("to")? })
    }
}

impl Transform for Copy {
    fn transform(&self, entry: &mut Entry) -> Result<(), Failure> {
        let value = entry.get(&self.from).cloned();
        let value = value.ok_or_else(|| Failure::new(format!("the entry has no {} to copy", self.from)))?;
        entry.set(&self.to, value)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{run, shown};

    #[test]
    fn values_are_copied() {
        for (from, to, expected) in [
            ("body.a", "attributes.b", r#"{"b":1} {"a":1}"#),
            ("body", "attributes.b", r#"{"b":{"a":1}} {"a":1}"#),
            ("body.a", "body", "{} 1"),
            ("body.none", "attributes.b", r#"{} {"a":1}"#),
        ] {
            let config = format!(r#"{{type = "copy", from = "{from}", to = "{to}"}}"#);
            assert_eq!(shown(&run(&config, r#"{"a": 1}"#)), expected, "{from} {to}");
        }
    }
}

//! `retain`: takes out everything but some fields. A map that none of them is of stays as it is.

use super::Transform;
use super::entry::{Entry, Failure, Field, Root};
use super::options::Options;

/// The operator.
pub struct Retain {
    fields: Vec<Field>,
}

impl Retain {
    /// Reads its options.
    ///
    /// # Errors
    /// If one is wrong.
    pub fn new(options: &mut Options) -> Result<Self, String> {
        let fields = options.texts("fields")?;
        if fields.is_empty() {
            return Err(options.error("fields is missing"));
        }
        let fields = fields.iter().map(|f| Field::parse(f).map_err(|e| options.error(e)));
        Ok(Self { fields: fields.collect::<Result<_, _>>()? })
    }
}

impl Transform for Retain {
    fn transform(&self, entry: &mut Entry) -> Result<(), Failure> {
        let mut out = Entry::new(super::value::Value::Null, entry.observed_ns);
        for field in &self.fields {
            if let Some(value) = entry.get(field) {
                out.put(field, value.clone())?;
            }
        }
        let touches = |root: Root| self.fields.iter().any(|f| f.root == root);
        if touches(Root::Body) {
            entry.body = out.body;
        }
        if touches(Root::Attributes) {
            entry.attributes = out.attributes;
        }
        if touches(Root::Resource) {
            entry.resource = out.resource;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{refused, run, shown};

    #[test]
    fn only_what_is_named_stays() {
        for (fields, expected) in [
            (r#"["body.a"]"#, r#"{} {"a":1}"#),
            (r#"["body.b.c", "body.none"]"#, r#"{} {"b":{"c":2}}"#),
            (r#"["body.none"]"#, "{}"),
            (r#"["attributes.x"]"#, r#"{} {"a":1,"b":{"c":2,"d":3}}"#),
        ] {
            let config = format!(r#"{{type = "retain", fields = {fields}}}"#);
            assert_eq!(shown(&run(&config, r#"{"a": 1, "b": {"c": 2, "d": 3}}"#)), expected, "{fields}");
        }
        assert!(refused(r#"{type = "retain"}"#).contains("fields"));
    }
}

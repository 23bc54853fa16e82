//! `flatten`: puts the members of a map where the map is.

use super::Transform;
use super::entry::{Entry, Failure, Field};
use super::options::Options;
use super::value::Value;

/// The operator.
pub struct Flatten {
    field: Field,
}

impl Flatten {
    /// Reads its options.
    ///
    /// # Errors
    /// If one is wrong.
    pub fn new(options: &mut Options) -> Result<Self, String> {
        let field = options.required_field("field")?;
        if field.keys.is_empty() {
            return Err(
                options.error(format!("field: there is nothing around {field} to put its members into"))
            );
        }
        Ok(Self { field })
    }
}

impl Transform for Flatten {
    fn transform(&self, entry: &mut Entry) -> Result<(), Failure> {
        if entry.get(&self.field).and_then(Value::as_map).is_none() {
            return Err(Failure::new(format!("{} is no map", self.field)));
        }
        let members = entry.take(&self.field).unwrap_or_default();
        let mut parent = self.field.clone();
        parent.keys.pop();
        entry.set(&parent, members)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{refused, run, shown, sorted};

    #[test]
    fn members_take_the_place_of_their_map() {
        for (field, expected) in [
            ("body.a", r#"{} {"x":1,"b":{"c":2}}"#),
            ("body.b", r#"{} {"a":{"b":1},"x":1,"c":2}"#),
            ("body.x", r#"{} {"a":{"b":1},"x":1,"b":{"c":2}}"#),
            ("body.none", r#"{} {"a":{"b":1},"x":1,"b":{"c":2}}"#),
        ] {
            let body = match field {
                "body.a" => r#"{"a": {"b": {"c": 2}}, "x": 1}"#,
                _ => r#"{"a": {"b": 1}, "x": 1, "b": {"c": 2}}"#,
            };
            let config = format!(r#"{{type = "flatten", field = "{field}"}}"#);
            assert_eq!(shown(&run(&config, body)), sorted(expected), "{field}");
        }
        assert!(refused(r#"{type = "flatten", field = "body"}"#).contains("around"));
    }
}

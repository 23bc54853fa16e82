//! `assign_keys`: gives the elements of a list names.

use super::Transform;
use super::entry::{Entry, Failure, Field};
use super::options::Options;
use super::value::{Map, Value};

/// The operator.
pub struct AssignKeys {
    field: Field,
    keys: Vec<String>,
}

impl AssignKeys {
    /// Reads its options.
    ///
    /// # Errors
    /// If one is wrong.
    pub fn new(options: &mut Options) -> Result<Self, String> {
        let field = options.field("field")?.unwrap_or_else(Field::body);
        let keys = options.texts("keys")?;
        if keys.is_empty() {
            return Err(options.error("keys is missing"));
        }
        Ok(Self { field, keys })
    }
}

impl Transform for AssignKeys {
    fn transform(&self, entry: &mut Entry) -> Result<(), Failure> {
        let Some(Value::List(list)) = entry.get(&self.field) else {
            return Err(Failure::new(format!("{} is no list", self.field)));
        };
        if list.len() != self.keys.len() {
            let (values, keys) = (list.len(), self.keys.len());
            return Err(Failure::new(format!("there are {values} values for {keys} keys")));
        }
        let map: Map = self.keys.iter().cloned().zip(list.iter().cloned()).collect();
        entry.put(&self.field, Value::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{refused, run, shown};

    #[test]
    fn elements_get_names() {
        for (options, body, expected) in [
            (r#"keys = ["a", "b"], field = "body.l""#, r#"{"l": [1, "x"]}"#, r#"{} {"l":{"a":1,"b":"x"}}"#),
            (r#"keys = ["a"], field = "body.l""#, r#"{"l": [1, 2]}"#, r#"{} {"l":[1,2]}"#),
            (r#"keys = ["a"], field = "body.l""#, r#"{"l": 1}"#, r#"{} {"l":1}"#),
        ] {
            assert_eq!(
                shown(&run(&format!(r#"{{type = "assign_keys", {options}}}"#), body)),
                expected,
                "{options}"
            );
        }
        assert!(refused(r#"{type = "assign_keys"}"#).contains("keys"));
    }
}

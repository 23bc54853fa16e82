//! `add`: puts a value into a field; text may hold `EXPR(…)`.

use component::eval::Value as ConfigValue;

use super::Transform;
use super::entry::{Entry, Failure, Field};
use super::expr::Template;
use super::options::Options;
use super::value::Value;

/// The operator.
pub struct Add {
    field: Field,
    value: What,
}

enum What {
    Fixed(Value),
    Made(Template),
}

impl Add {
    /// Reads its options.
    ///
    /// # Errors
    /// If one is wrong.
    pub fn new(options: &mut Options) -> Result<Self, String> {
        let field = options.required_field("field")?;
        let value = match options.raw("value") {
            Some(ConfigValue::String(text)) => {
                What::Made(Template::parse(&text).map_err(|e| options.error(format!("value: {e}")))?)
            }
            Some(value) => {
                What::Fixed(Value::of_config(&value).map_err(|e| options.error(format!("value: {e}")))?)
            }
            None => return Err(options.error("value is missing")),
        };
        Ok(Self { field, value })
    }
}

impl Transform for Add {
    fn transform(&self, entry: &mut Entry) -> Result<(), Failure> {
        let value = match &self.value {
            What::Fixed(value) => value.clone(),
            What::Made(template) => template.value(entry)?,
        };
        entry.set(&self.field, value)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{refused, run, shown};

    #[test]
    fn values_are_added() {
        for (options, expected) in [
            (r#"field = "attributes.k", value = "v""#, r#"{"k":"v"} {"a":1}"#),
            (r#"field = "body.b", value = 2"#, r#"{} {"a":1,"b":2}"#),
            (r#"field = "attributes.k", value = {x = [true]}"#, r#"{"k":{"x":[true]}} {"a":1}"#),
            (r#"field = "attributes.k", value = "EXPR(body.a + 1)""#, r#"{"k":2} {"a":1}"#),
            (r#"field = "attributes.k", value = "n-EXPR(string(body.a))""#, r#"{"k":"n-1"} {"a":1}"#),
            (r#"field = "attributes.k", value = "EXPR(body.x.y)""#, r#"{} {"a":1}"#),
        ] {
            assert_eq!(
                shown(&run(&format!(r#"{{type = "add", {options}}}"#), r#"{"a": 1}"#)),
                expected,
                "{options}"
            );
        }
        for (options, says) in [
            (r#"field = "attributes.k""#, "value"),
            (r#"value = "x""#, "field"),
            (r#"field = "x", value = 1"#, "no field"),
            (r#"field = "body", value = "EXPR(nothing)""#, "nothing"),
        ] {
            assert!(refused(&format!(r#"{{type = "add", {options}}}"#)).contains(says), "{options}");
        }
    }
}

//! Any text as an expression, a template and a field of operators, on any data: no panic, it ends, and the same data gives
//! the same value.
#![cfg_attr(feature = "libfuzzer", no_main)]

use components_otelcol::operators::entry::{Entry, Field};
use components_otelcol::operators::expr::{Expr, Template};
use components_otelcol::operators::value::Value;

/// What a value is compared as: no float differs from itself here.
fn shown<E>(value: Result<Value, E>) -> Option<String> {
    value.ok().map(|value| format!("{value:?}"))
}

fuzz::target!(|input: (&str, &str)| {
    let (text, data) = input;
    let body =
        serde_json::from_str(data).map_or_else(|_| Value::from(data), |json| Value::of_json(json, true));
    let mut entry = Entry::new(body, 1_000);
    let _ = entry.put(&Field::attribute("a"), Value::from(data));
    if let Ok(expr) = Expr::parse(text) {
        let first = shown(expr.value(&entry));
        // What asks for the time has another answer each time.
        if !text.contains("now") {
            assert_eq!(first, shown(expr.value(&entry)));
        }
        let _ = expr.is_true(&entry);
    }
    if let Ok(template) = Template::parse(text) {
        let _ = template.value(&entry);
    }
    if let Ok(field) = Field::parse(text) {
        assert_eq!(
            Field::parse(&field.to_string()).as_ref(),
            Ok(&field),
            "what is shown is read as the same"
        );
        if entry.put(&field, Value::from("put")).is_ok() {
            assert!(entry.get(&field).is_some());
            assert!(entry.take(&field).is_some());
        }
    }
});

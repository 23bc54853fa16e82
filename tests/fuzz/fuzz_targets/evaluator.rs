//! Any text as an expression: evaluation never panics, ends, and its values can be shown.
#![cfg_attr(feature = "libfuzzer", no_main)]

use eval::{Scope, evaluate};
use syntax::Source;

fuzz::target!(|text: &str| {
    let source = Source::new("fuzz", text);
    let (Some(expression), _) = syntax::parse_expression(&source) else { return };
    let scope = Scope::new(&());
    if let Ok(value) = evaluate(&expression, &source, &scope) {
        let _ = value.to_source();
    }
});

//! Any text as an expression: evaluation never panics, ends, and its values can be shown.
#![no_main]

use eval::{Scope, evaluate};
use libfuzzer_sys::fuzz_target;
use syntax::Source;

fuzz_target!(|text: &str| {
    let source = Source::new("fuzz", text);
    let (Some(expression), _) = syntax::parse_expression(&source) else { return };
    let scope = Scope::new(&());
    if let Ok(value) = evaluate(&expression, &source, &scope) {
        let _ = value.to_source();
    }
});

//! Any text as logfmt: no panic, and what is written of its pairs is read and written as the same.
#![cfg_attr(feature = "libfuzzer", no_main)]

use components_otelcol::logfmt::{Line, parse};

fn written(pairs: Vec<(String, String)>) -> String {
    let mut out = Line::default();
    pairs.into_iter().for_each(|(key, value)| out.push(key, value));
    out.finish()
}

fuzz::target!(|text: &str| {
    let Some(pairs) = parse(text) else { return };
    let line = written(pairs);
    let again = parse(&line).unwrap_or_else(|| panic!("{line:?} is not read"));
    assert_eq!(written(again), line);
});

//! Any text as a selector of entries: no panic, a mistake lies inside of the text, and what is parsed decides.
#![cfg_attr(feature = "libfuzzer", no_main)]

use components_loki::process::logql::Selector;

fuzz::target!(|input: (&str, &str, &str)| {
    let (source, value, line) = input;
    match Selector::parse(source) {
        Ok(selector) => {
            let first = selector.matches(|_| Some(value), line);
            assert_eq!(first, selector.matches(|_| Some(value), line));
        }
        Err(error) => {
            let lines: Vec<&str> = source.split('\n').collect();
            let width = lines[error.line - 1].chars().count();
            assert!((1..=width + 1).contains(&error.column), "{error}");
        }
    }
});

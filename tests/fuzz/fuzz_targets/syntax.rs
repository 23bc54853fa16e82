//! Any bytes: decoding, lexing, parsing, printing diagnostics and formatting never panic; what parses
//! without a problem is formatted to a text that parses too and does not change when formatted again.
#![cfg_attr(feature = "libfuzzer", no_main)]

use syntax::{Source, decode, format, parse, parse_expression, references, render};

fuzz::target!(|bytes: &[u8]| {
    let Ok(source) = decode(bytes, "fuzz") else { return };
    let (file, problems) = parse(&source);
    render(&problems, false);
    references(&file.body);
    parse_expression(&source);
    let formatted = format(&file);
    if problems.is_empty() {
        let (again, problems) = parse(&Source::new("formatted", formatted.as_str()));
        assert_eq!(problems, []);
        assert_eq!(file.comments.len(), again.comments.len());
        assert_eq!(format(&again), formatted);
    }
});

//! Any text as a positions file: no panic, and what was read of it is written so that it is read again.
#![cfg_attr(feature = "libfuzzer", no_main)]

use tail::positions::{parse, render};

fuzz::target!(|text: &str| {
    let first = parse(text);
    let again = parse(&render(&first.records));
    assert_eq!(again.damage, None);
    assert_eq!(again.records, first.records);
});

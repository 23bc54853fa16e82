//! Any text as a positions file: no panic, and what was read of it is written so that it is read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tail::positions::{parse, render};

fuzz_target!(|text: &str| {
    let first = parse(text);
    let again = parse(&render(&first.records));
    assert_eq!(again.damage, None);
    assert_eq!(again.records, first.records);
});

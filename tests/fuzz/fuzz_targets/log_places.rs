//! Any text as a place in a journal and in a container's log, as positions files have them: no panic, what is written of
//! a place is the same place, and reading goes on from it. And as the head of a journal's file and a filter of its fields.
#![cfg_attr(feature = "libfuzzer", no_main)]

use components_loki::source::{docker, journal};

fuzz::target!(|input: (&str, Vec<i64>)| {
    let (text, times) = input;
    journal::read_arbitrary(text, times.first().map_or(0, |time| time.cast_unsigned()));
    docker::read_arbitrary(text, &times);
});

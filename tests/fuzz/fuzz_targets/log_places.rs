//! Any text as a place in a journal and in a container's log, as positions files have them: no panic, what is written of
//! a place is the same place, and reading goes on from it.
#![cfg_attr(feature = "libfuzzer", no_main)]

use components_loki::source::{docker, journal};

fuzz::target!(|input: (&str, Vec<i64>)| {
    let (text, times) = input;
    journal::read_arbitrary(text);
    docker::read_arbitrary(text, &times);
});

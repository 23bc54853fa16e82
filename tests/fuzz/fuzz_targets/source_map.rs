//! Any bytes as a source map that a web server gave: no panic, and places are looked up in it without one.
#![cfg_attr(feature = "libfuzzer", no_main)]

use components_otelcol::faro::receiver::read_arbitrary;

fuzz::target!(|input: (u32, u32, &[u8])| {
    let (line, column, map) = input;
    read_arbitrary(map, line, column);
});

//! Any bytes as Zipkin's spans, in all forms: no panic, and memory that follows from their length.
#![cfg_attr(feature = "libfuzzer", no_main)]

use wire::spans::memory;
use wire::zipkin::{Format, Options, decode};

fuzz::target!(|input: (u8, bool, Vec<u8>)| {
    let (format, parse_string_tags, body) = input;
    let formats = [Format::V1Json, Format::V1Thrift, Format::V2Json, Format::V2Proto];
    let options = Options { parse_string_tags, now_ns: 1 };
    if let Ok(converted) = decode(&body, formats[format as usize % 4], options) {
        // What is not UTF-8 becomes three bytes.
        assert!(converted.memory <= memory(body.len() * 3));
    }
});

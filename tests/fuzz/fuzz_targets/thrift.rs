//! Any bytes as both protocols of Thrift: no panic, no depth, no work beyond their length.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::thrift::{Error, Protocol, Reader};

fuzz_target!(|body: &[u8]| {
    for protocol in [Protocol::Binary, Protocol::Compact] {
        let mut reader = Reader::new(body, protocol);
        let _ = reader.clone().message();
        let _ = reader.clone().list();
        let _ = reader.structure::<Error>(Reader::skip);
    }
});

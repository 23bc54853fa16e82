//! Any bytes as both protocols of Thrift: no panic, no depth, no work beyond their length.
#![cfg_attr(feature = "libfuzzer", no_main)]

use wire::thrift::{Error, Protocol, Reader};

fuzz::target!(|body: &[u8]| {
    for protocol in [Protocol::Binary, Protocol::Compact] {
        let mut reader = Reader::new(body, protocol);
        let _ = reader.clone().message();
        let _ = reader.clone().list();
        let _ = reader.structure::<Error>(Reader::skip);
    }
});

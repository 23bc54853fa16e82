//! Any bytes as Jaeger's batches, in protobuf and both protocols of Thrift: no panic, and memory that follows from their
//! length.
#![cfg_attr(feature = "libfuzzer", no_main)]

use wire::jaeger::{from_agent, from_batch, from_request};
use wire::spans::memory;
use wire::thrift::Protocol;

fuzz::target!(|body: &[u8]| {
    let protocols = [Protocol::Binary, Protocol::Compact];
    let thrift = protocols.into_iter().flat_map(|p| [from_batch(body, p), from_agent(body, p)]);
    for converted in thrift.chain([from_request(body)]).flatten() {
        assert!(converted.memory <= memory(body.len()));
    }
});

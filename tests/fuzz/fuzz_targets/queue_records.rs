//! Any bytes as a record of each writer's queue, whatever is left of a file: no panic.
#![cfg_attr(feature = "libfuzzer", no_main)]

use bytes::Bytes;

fuzz::target!(|input: (u8, &[u8])| {
    let (kind, body) = (input.0, Bytes::copy_from_slice(input.1));
    components_prometheus::remote_write::read_arbitrary(kind, body.clone());
    components_loki::write::read_arbitrary(body.clone());
    components_otelcol::exporter::read_arbitrary(kind, body.clone());
    components_pyroscope::write::read_arbitrary(kind, body);
});

//! Any bytes as an OTLP request, protobuf or JSON: what passes the check is what a decoder takes, with as many items, and
//! what is written of JSON passes the check.
#![cfg_attr(feature = "libfuzzer", no_main)]

use signal::otlp::{LogsSignal, MetricsSignal, OtlpRequest, OtlpSignal, TracesSignal};
use wire::otlp::{Readable, Schematic, check, from_json};

fn one<S: OtlpSignal + Schematic + Readable>(bytes: &[u8]) {
    if let Ok(items) = check::<S>(bytes) {
        let request = OtlpRequest::<S>::from_wire(bytes.to_vec().into(), items, None);
        let message = request.message().expect("what passes can be decoded");
        assert_eq!(S::count(message), items as usize);
    }
    if let Ok(written) = from_json::<S>(bytes) {
        check::<S>(&written).expect("what is written is a request");
    }
}

fuzz::target!(|bytes: &[u8]| {
    one::<TracesSignal>(bytes);
    one::<MetricsSignal>(bytes);
    one::<LogsSignal>(bytes);
});

//! Any bytes as an OTLP request, protobuf or JSON: what passes the check is what a decoder takes, with as many items, and
//! what is written of JSON passes the check. What passes can be cut: its pieces are requests with all of its items.
#![cfg_attr(feature = "libfuzzer", no_main)]

use signal::otlp::{LogsSignal, MetricsSignal, OtlpRequest, OtlpSignal, TracesSignal};
use wire::otlp::{Readable, Schematic, Uncut, check, from_json, split};

fn one<S: OtlpSignal + Schematic + Readable>(bytes: &[u8]) {
    if let Ok(items) = check::<S>(bytes) {
        let request = OtlpRequest::<S>::from_wire(bytes.to_vec().into(), items, None);
        let message = request.message().expect("what passes can be decoded");
        assert_eq!(S::count(message), items as usize);
        for (first, most) in [(1, 1), (3, 2), (0, u32::MAX)] {
            pieces::<S>(bytes, items, first, most);
        }
    }
    if let Ok(written) = from_json::<S>(bytes) {
        check::<S>(&written).expect("what is written is a request");
    }
}

fn pieces<S: Schematic>(bytes: &[u8], items: u32, first: u32, most: u32) {
    let pieces = match split::<S>(bytes, first, most) {
        Ok(pieces) => pieces,
        Err(Uncut::Swells) => return,
        Err(error) => panic!("what passes can be cut: {error}"),
    };
    let mut limit = first.max(1);
    for piece in &pieces {
        assert!(piece.items <= limit, "{} items in a piece of at most {limit}", piece.items);
        assert_eq!(check::<S>(&piece.bytes), Ok(piece.items));
        limit = most.max(1);
    }
    assert_eq!(pieces.iter().map(|piece| piece.items).sum::<u32>(), items);
}

fuzz::target!(|bytes: &[u8]| {
    one::<TracesSignal>(bytes);
    one::<MetricsSignal>(bytes);
    one::<LogsSignal>(bytes);
});

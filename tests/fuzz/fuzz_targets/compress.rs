//! Any bytes as a compressed body: no panic, never more than the limit, and what is compressed comes out again.
#![cfg_attr(feature = "libfuzzer", no_main)]

use wire::compress::{Encoding, compress, decompress, most};

const ALL: [Encoding; 6] = [
    Encoding::Identity,
    Encoding::Gzip,
    Encoding::Deflate,
    Encoding::Zstd,
    Encoding::Snappy,
    Encoding::SnappyFramed,
];

fuzz::target!(|input: (u16, &[u8])| {
    let (limit, body) = (usize::from(input.0), input.1);
    for encoding in ALL {
        let mut out = b"before".to_vec();
        match decompress(encoding, body, limit, &mut out) {
            Ok(()) => assert!(out.len() - 6 <= most(encoding, body, limit), "{encoding:?}"),
            Err(_) => assert_eq!(out, b"before", "{encoding:?}"),
        }
        let (mut packed, mut again) = (Vec::new(), Vec::new());
        let (head, tail) = body.split_at(body.len() / 2);
        compress(encoding, None, &[head, tail], &mut packed).expect("it is small");
        decompress(encoding, &packed, body.len(), &mut again).expect("what we pack, we unpack");
        assert_eq!(again, body, "{encoding:?}");
    }
});

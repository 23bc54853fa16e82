//! Any bytes as what a gRPC peer answers: no panic, a message is as long as its frame says, and never larger than the
//! limit once it is unpacked.
#![cfg_attr(feature = "libfuzzer", no_main)]

use bytes::Bytes;
use net::grpc::{PREFIX, read_arbitrary};

fuzz::target!(|input: (&[u8], &str, &[u8])| {
    let (message, encoding, details) = input;
    const LIMIT: usize = 1 << 16;
    read_arbitrary(Bytes::copy_from_slice(message), encoding.as_bytes(), details, LIMIT);
    // As a frame whose length is right, which random bytes seldom are.
    let length = u32::try_from(message.len()).expect("inputs are small").to_be_bytes();
    for (flag, encoding) in
        [(0, encoding), (1, encoding), (1, "gzip"), (1, "zstd"), (1, "deflate"), (1, "snappy")]
    {
        let mut frame = Vec::with_capacity(PREFIX + message.len());
        frame.push(flag);
        frame.extend(length);
        frame.extend(message);
        read_arbitrary(Bytes::from(frame), encoding.as_bytes(), details, LIMIT);
    }
});

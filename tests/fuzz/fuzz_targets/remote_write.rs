//! Any body as a write request: no panic, bounded memory, and what is taken can be written and read again.
#![cfg_attr(feature = "libfuzzer", no_main)]

use wire::remote_write::{Message, Options, V2Encoder, decode, merge_v2};

fuzz::target!(|body: &[u8]| {
    let _ = decode(Message::V1, body, 1 << 20);
    let _ = merge_v2(&[body, body], &mut Vec::new());
    let Ok(received) = decode(Message::V2, body, 1 << 20) else { return };
    let mut out = Vec::new();
    let options = Options { max_samples: usize::MAX, ..Options::default() };
    if let Some(counts) = V2Encoder::new().requests(&received.batch, options).next(&mut out) {
        let again = decode(Message::V2, &out, 1 << 24).expect("what we write, we read");
        assert!(again.refused.is_empty(), "{}", again.refused);
        assert_eq!(again.counts, counts);
    }
});

//! Any body as a push request of either form: no panic, bounded memory, and what is taken can be written and
//! read again.
#![cfg_attr(feature = "libfuzzer", no_main)]

use wire::loki::{
    decode, decode_json, entry_len, merge, parse_label_string, push_stream, write_label_string,
};

fuzz::target!(|body: &[u8]| {
    let _ = merge([body, body], &mut Vec::new());
    if let Ok(text) = std::str::from_utf8(body) {
        let _ = parse_label_string(text);
    }
    let body = bytes::Bytes::copy_from_slice(body);
    for received in [decode(&body, 0, 1 << 20), decode_json(&body, 0, 1 << 20)].into_iter().flatten() {
        let (batch, mut out) = (received.batch, Vec::new());
        for (i, labels) in batch.streams.iter().enumerate() {
            let mut text = String::new();
            write_label_string(labels, &mut text);
            let entries = batch.entries.iter().filter(|e| e.stream as usize == i);
            push_stream(&mut out, &text, entries.clone().map(entry_len).sum(), entries);
        }
        let again = decode(&out.into(), 0, 1 << 24).expect("what we write, we read");
        assert!(again.refused.is_empty() && again.replaced == 0, "{}", again.refused);
        assert_eq!(again.batch.streams, batch.streams);
        assert_eq!(again.batch.entries.len(), batch.entries.len());
    }
});

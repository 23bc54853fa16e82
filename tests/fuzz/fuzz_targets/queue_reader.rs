//! Any bytes as a queue's cursor and segment: recovery never panics, and what it accepts can be read back.
#![cfg_attr(feature = "libfuzzer", no_main)]

fuzz::target!(|files: (&[u8], &[u8])| {
    let (cursor, segment) = files;
    delivery::read_arbitrary(cursor, segment);
});

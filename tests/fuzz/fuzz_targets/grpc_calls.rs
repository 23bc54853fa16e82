//! Any bytes, in any parts, as the body of a gRPC call: no panic, the message is what stands behind the prefix, whatever
//! the parts are, and is never larger than the limit.
#![cfg_attr(feature = "libfuzzer", no_main)]

use net::grpc::{PREFIX, read_arbitrary_call};

fuzz::target!(|input: (u8, &[u8])| {
    let (part, body) = input;
    const LIMIT: usize = 64;
    // As it is, and with a length that is right, which random bytes seldom have.
    let mut right = vec![part & 1];
    right.extend(u32::try_from(body.len()).expect("inputs are small").to_be_bytes());
    right.extend(body);
    for body in [body, &right] {
        let whole = read_arbitrary_call([body].into_iter(), LIMIT);
        assert_eq!(read_arbitrary_call(body.chunks(usize::from(part).max(1)), LIMIT), whole);
        if let Some((compressed, message)) = whole {
            assert_eq!((u8::from(compressed), &message[..]), (body[0], &body[PREFIX..]));
            assert!(message.len() <= LIMIT);
        }
    }
    let fits = right.len() <= PREFIX + LIMIT;
    assert_eq!(read_arbitrary_call([&right[..]].into_iter(), LIMIT).is_some(), fits);
});

//! Any stream as syslog in every framing and format: no panic, and the pieces in which it arrives make no
//! difference.
#![cfg_attr(feature = "libfuzzer", no_main)]

use bytes::BytesMut;
use wire::syslog::{Cisco, Frame, Framer, Framing, parse_raw, parse_rfc3164, parse_rfc5424};

const ALL: Cisco = Cisco { counter: true, sequence: true, hostname: true, fractions: true };

fn frames(framing: Framing, limit: usize, stream: &[u8], piece: usize) -> Vec<Frame> {
    let (mut framer, mut buffer, mut out) = (Framer::new(framing, limit), BytesMut::new(), Vec::new());
    for piece in stream.chunks(piece) {
        buffer.extend_from_slice(piece);
        loop {
            match framer.next(&mut buffer) {
                Ok(Some(frame)) => out.push(frame),
                Ok(None) => break,
                Err(_) => return out,
            }
        }
        assert!(buffer.len() <= limit + piece.len() + 16, "a message costs more than the limit");
    }
    while let Ok(Some(frame)) = framer.finish(&mut buffer) {
        out.push(frame);
    }
    out
}

fuzz::target!(|input: (u8, u8, &[u8])| {
    let (piece, limit, stream) = (usize::from(input.0).max(1), usize::from(input.1).max(1), input.2);
    for framing in [Framing::Messages, Framing::Lines { delimiter: b'\n' }, Framing::Lines { delimiter: 0 }] {
        let whole = frames(framing, limit, stream, stream.len().max(1));
        assert_eq!(frames(framing, limit, stream, piece), whole);
        for frame in whole {
            assert!(frame.bytes.len() <= limit);
            let text = String::from_utf8_lossy(&frame.bytes);
            let _ = parse_raw(&text);
            let _ = parse_rfc3164(&text, ALL);
            let _ = parse_rfc3164(&text, Cisco::default());
            if let Ok(message) = parse_rfc5424(&text)
                && let Some(elements) = message.structured
            {
                elements.each(|id, name, _| assert!(!id.is_empty() && !name.is_empty()));
            }
        }
    }
});

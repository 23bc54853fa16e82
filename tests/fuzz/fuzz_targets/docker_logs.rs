//! Any bytes as a container's log stream: no panic, bounded lines, and chunks make no difference.
#![cfg_attr(feature = "libfuzzer", no_main)]

use bytes::Bytes;
use wire::docker::{BrokenStream, Framing, Line, LineParser};

const MAX_LINE: usize = 40_000;

fn read(framing: Framing, body: &Bytes, step: usize) -> (Vec<Line>, Option<BrokenStream>) {
    let mut parser = LineParser::new(framing, MAX_LINE);
    let mut lines = Vec::new();
    let mut rest = body.clone();
    while !rest.is_empty() {
        let chunk = rest.split_to(rest.len().min(step));
        if let Err(broken) = parser.push(chunk, |l| lines.push(l)) {
            return (lines, Some(broken));
        }
    }
    parser.finish(|l| lines.push(l));
    (lines, None)
}

fuzz::target!(|input: (bool, u8, &[u8])| {
    let (raw, step, body) = input;
    let framing = if raw { Framing::Raw } else { Framing::Multiplexed };
    let body = Bytes::copy_from_slice(body);
    let whole = read(framing, &body, usize::MAX);
    assert!(whole.0.iter().all(|l| l.text.len() <= MAX_LINE));
    assert_eq!(whole, read(framing, &body, 1 + usize::from(step)));
});

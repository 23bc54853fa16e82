//! Frames and lines, in whatever chunks they come.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const TIME: &str = "2026-11-26T14:25:03.123456789Z";
const TIME_NS: i64 = 1_795_703_103_123_456_789;
const MAX: usize = 40_000;

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![kind, 0, 0, 0];
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// Lines, and whether the stream broke off, for chunks that end at `cuts`.
fn parse(framing: Framing, bytes: &[u8], cuts: &[usize]) -> (Vec<Line>, Option<BrokenStream>) {
    let mut parser = LineParser::new(framing, MAX);
    let mut lines = Vec::new();
    let bytes = Bytes::copy_from_slice(bytes);
    let mut from = 0;
    for to in cuts.iter().copied().filter(|c| *c < bytes.len()).chain([bytes.len()]) {
        if let Err(error) = parser.push(bytes.slice(from..to), |l| lines.push(l)) {
            return (lines, Some(error));
        }
        from = to;
    }
    parser.finish(|l| lines.push(l));
    (lines, None)
}

fn texts(framing: Framing, bytes: &[u8]) -> Vec<(Stream, String)> {
    let (lines, broken) = parse(framing, bytes, &[]);
    assert_eq!(broken, None);
    let text = |l: Line| (l.stream, String::from_utf8_lossy(&l.text).into_owned());
    lines.into_iter().map(text).collect()
}

#[test]
fn frames_become_lines_of_their_streams_with_the_engines_time() {
    let bytes = [
        frame(1, format!("{TIME} hello\n").as_bytes()),
        frame(2, format!("{TIME} oops\r\n").as_bytes()),
        frame(0, b"2026-11-26T16:25:03.5+02:00 local\n"),
        frame(1, format!("{TIME} \n").as_bytes()),
    ]
    .concat();
    let (lines, broken) = parse(Framing::Multiplexed, &bytes, &[]);
    assert_eq!(broken, None);
    let line = |stream, timestamp_ns, text: &'static str| Line {
        stream,
        timestamp_ns: Some(timestamp_ns),
        text: Bytes::from_static(text.as_bytes()),
        cut: false,
    };
    let half = TIME_NS - 123_456_789 + 500_000_000;
    assert_eq!(
        lines,
        [
            line(Stream::Stdout, TIME_NS, "hello"),
            line(Stream::Stderr, TIME_NS, "oops"),
            line(Stream::Stdout, half, "local"),
            line(Stream::Stdout, TIME_NS, ""),
        ]
    );
}

#[test]
fn pieces_of_a_long_line_are_joined_without_the_times_between_them() {
    let (a, b) = ("a".repeat(PIECE), "b".repeat(PIECE));
    // What the other stream says in between makes no difference.
    let frames = [
        frame(1, format!("{TIME} {a}").as_bytes()),
        frame(2, format!("{TIME} between\n").as_bytes()),
        frame(1, format!("{TIME} {b}").as_bytes()),
        frame(1, format!("{TIME} end\n").as_bytes()),
    ]
    .concat();
    let joined = format!("{a}{b}end");
    assert_eq!(
        texts(Framing::Multiplexed, &frames),
        [(Stream::Stderr, "between".into()), (Stream::Stdout, joined.clone())]
    );
    let terminal = format!("{TIME} {a}{TIME} {b}{TIME} end\r\n{TIME} next\r\n");
    assert_eq!(
        texts(Framing::Raw, terminal.as_bytes()),
        [(Stream::Stdout, joined), (Stream::Stdout, "next".into())]
    );
}

#[test]
fn text_that_looks_like_a_time_stays_text() {
    let short = format!("{TIME} {TIME} is now\n{TIME} 2026-11-26\n{TIME} no piece {TIME} here\n");
    let expected: Vec<_> = [&format!("{TIME} is now"), "2026-11-26", &format!("no piece {TIME} here")]
        .map(|t| (Stream::Stdout, t.to_owned()))
        .into();
    assert_eq!(texts(Framing::Raw, short.as_bytes()), expected);
    assert_eq!(texts(Framing::Multiplexed, &frame(1, short.as_bytes())), expected);
}

#[test]
fn a_line_without_a_time_has_that_of_the_line_before_it() {
    let bytes = format!("early\n{TIME} first\nsecond line of the same message\n");
    let (lines, _) = parse(Framing::Multiplexed, &frame(1, bytes.as_bytes()), &[]);
    let times: Vec<_> = lines.iter().map(|l| l.timestamp_ns).collect();
    assert_eq!(times, [None, Some(TIME_NS), Some(TIME_NS)]);
}

#[test]
fn a_line_beyond_the_limit_is_cut_and_the_next_one_is_whole() {
    let long = "x".repeat(MAX + 1);
    for framing in [Framing::Raw, Framing::Multiplexed] {
        let text = format!("{TIME} {long}\n{TIME} {}\n", &long[1..]);
        let bytes = if framing == Framing::Raw { text.into_bytes() } else { frame(1, text.as_bytes()) };
        let (lines, _) = parse(framing, &bytes, &[]);
        let shape: Vec<_> = lines.iter().map(|l| (l.text.len(), l.cut)).collect();
        assert_eq!(shape, [(MAX, true), (MAX, false)]);
    }
}

#[test]
fn bytes_that_are_no_frames_and_the_engines_own_errors_end_the_stream() {
    let good = frame(1, format!("{TIME} hello\n").as_bytes());
    for (bad, expected) in [
        (b"HTTP/1.1 500\r\n".to_vec(), BrokenStream::NoFrame(*b"HTTP/1.1")),
        (vec![1, 1, 0, 0, 0, 0, 0, 1], BrokenStream::NoFrame([1, 1, 0, 0, 0, 0, 0, 1])),
        (frame(3, b"error grabbing logs\n"), BrokenStream::Engine("error grabbing logs".into())),
        (frame(3, b""), BrokenStream::Engine("it does not say why".into())),
        (frame(3, &[b'e'; 5000]), BrokenStream::Engine("e".repeat(MAX_MESSAGE))),
    ] {
        let (lines, broken) = parse(Framing::Multiplexed, &[good.clone(), bad].concat(), &[]);
        assert_eq!((lines.len(), broken), (1, Some(expected)));
    }
}

#[test]
fn a_frame_of_four_gigabytes_is_read_as_it_comes() {
    let mut parser = LineParser::new(Framing::Multiplexed, MAX);
    let mut lines = 0;
    parser.push(Bytes::from_static(&[1, 0, 0, 0, 255, 255, 255, 255]), |_| lines += 1).expect("a frame");
    let text = Bytes::from(format!("{TIME} {}\n", "z".repeat(200)));
    for _ in 0..100 {
        parser.push(text.clone(), |_| lines += 1).expect("part of it");
    }
    assert_eq!(lines, 100);
}

/// A stream as an engine would write it, and the lines in it.
fn written() -> impl Strategy<Value = Vec<(bool, String)>> {
    let text = prop_oneof![
        4 => "[a-zA-Z0-9 :.Zé\r-]{0,40}",
        1 => (PIECE - 2..PIECE * 2 + 3, "[a-z ]").prop_map(|(n, c)| c.repeat(n)),
        1 => Just(format!("{TIME} inside")),
    ];
    vec((any::<bool>(), text), 0..8)
}

fn encode(lines: &[(bool, String)], framing: Framing) -> Vec<u8> {
    let mut out = Vec::new();
    for (stderr, text) in lines {
        let mut pieces: Vec<&[u8]> = text.as_bytes().chunks(PIECE).collect();
        if pieces.is_empty() {
            pieces.push(b"");
        }
        let last = pieces.len() - 1;
        for (i, piece) in pieces.into_iter().enumerate() {
            let mut payload = format!("{TIME} ").into_bytes();
            payload.extend_from_slice(piece);
            if i == last {
                payload.push(b'\n');
            }
            match framing {
                Framing::Raw => out.extend_from_slice(&payload),
                Framing::Multiplexed => out.extend(frame(1 + u8::from(*stderr), &payload)),
            }
        }
    }
    out
}

proptest! {
    #[test]
    fn what_an_engine_writes_comes_out_in_any_chunks(
        lines in written(),
        raw in any::<bool>(),
        mut cuts in vec(0usize..80_000, 0..12),
    ) {
        let framing = if raw { Framing::Raw } else { Framing::Multiplexed };
        let bytes = encode(&lines, framing);
        cuts.sort_unstable();
        let (found, broken) = parse(framing, &bytes, &cuts);
        prop_assert_eq!(broken, None);
        let found: Vec<_> = found
            .into_iter()
            .map(|l| (l.stream == Stream::Stderr, String::from_utf8_lossy(&l.text).into_owned()))
            .collect();
        let expected: Vec<_> = lines
            .into_iter()
            .map(|(stderr, text)| (stderr && !raw, text.strip_suffix('\r').unwrap_or(&text).to_owned()))
            .collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn any_bytes_give_the_same_in_any_chunks(
        pieces in vec(
            prop_oneof![
                vec(any::<u8>(), 0..30),
                (0u8..4, vec(prop_oneof![Just(b'\n'), Just(b' '), any::<u8>()], 0..60))
                    .prop_map(|(kind, payload)| frame(kind, &payload)),
                (0u8..3).prop_map(|kind| frame(kind, format!("{TIME} x\n{TIME}").as_bytes())),
            ],
            0..8,
        ),
        raw in any::<bool>(),
        mut cuts in vec(0usize..600, 0..40),
    ) {
        let framing = if raw { Framing::Raw } else { Framing::Multiplexed };
        let bytes = pieces.concat();
        cuts.sort_unstable();
        prop_assert_eq!(parse(framing, &bytes, &cuts), parse(framing, &bytes, &[]));
    }
}

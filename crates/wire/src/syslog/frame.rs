//! Messages in a stream of bytes (RFC 6587): with their length in front, or with a line end behind.
//!
//! Each message says for itself which of the two it is: a digit begins a length. Invariants: a message longer
//! than the limit costs no more memory than the limit, is cut there, and the stream goes on behind it; every
//! byte is looked at once, however it arrives.

use bytes::{Buf, Bytes, BytesMut};

/// The largest length that a message may claim to have; what claims more is not syslog.
pub const MAX_CLAIM: usize = 64 << 20;
/// Digits of [`MAX_CLAIM`].
const DIGITS: usize = 8;

/// How lines end and what belongs to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// A line end counts only where `<` follows, or nothing does: texts may have several lines.
    Messages,
    /// Every delimiter ends a line.
    Lines {
        /// `\n` or `\0`.
        delimiter: u8,
    },
}

/// A message as it was framed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its bytes, without length and line end.
    pub bytes: Bytes,
    /// Whether it was longer than the limit and was cut.
    pub cut: bool,
}

/// The stream is not syslog; nothing behind this place can be made sense of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the length of a message, of at most {MAX_CLAIM} bytes")]
pub struct FramingError;

/// Splits one stream.
#[derive(Debug)]
pub struct Framer {
    framing: Framing,
    limit: usize,
    /// Bytes of the buffer in which no line end is.
    searched: usize,
    /// What of a message that was cut is still to be thrown away.
    skip: Skip,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Skip {
    Nothing,
    Bytes(usize),
    Line,
}

/// How a message ends in the buffer.
enum End {
    /// At this byte, and the next begins at that one.
    At(usize, usize),
    /// Not yet.
    Later,
}

impl Framer {
    /// For a stream whose messages are cut at `limit` bytes.
    pub fn new(framing: Framing, limit: usize) -> Self {
        Self { framing, limit, searched: 0, skip: Skip::Nothing }
    }

    /// Goes on with other rules, from the next message on.
    pub fn change(&mut self, framing: Framing, limit: usize) {
        (self.framing, self.limit, self.searched) = (framing, limit, 0);
    }

    /// The next message that has arrived as a whole.
    ///
    /// # Errors
    /// If there cannot be a next one.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, FramingError> {
        self.step(buffer, false)
    }

    /// As [`Framer::next`], when nothing has come for a while: a line that has its end is not waited for any
    /// longer.
    ///
    /// # Errors
    /// If there cannot be a next one.
    pub fn quiet(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, FramingError> {
        self.step(buffer, true)
    }

    /// As [`Framer::next`], when the stream has ended: what is there is all there is.
    ///
    /// # Errors
    /// If that is not a message.
    pub fn finish(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, FramingError> {
        if let Some(frame) = self.step(buffer, true)? {
            return Ok(Some(frame));
        }
        if buffer.is_empty() || self.skip != Skip::Nothing {
            buffer.clear();
            return Ok(None);
        }
        if buffer[0].is_ascii_digit() {
            // A length without its message: the message is what has come of it, if there is any.
            let start = buffer.iter().position(|b| *b == b' ').map_or(buffer.len(), |space| space + 1);
            buffer.advance(start);
        }
        let end = buffer.len();
        let frame = self.take(buffer, end, end);
        Ok(Some(frame).filter(|frame| !frame.bytes.is_empty()))
    }

    /// Whether a line has its end already and is kept only because another may belong to it.
    pub fn is_pending(&self, buffer: &BytesMut) -> bool {
        self.framing == Framing::Messages
            && self.skip == Skip::Nothing
            && self.searched > 0
            && self.searched + 1 == buffer.len()
            && buffer.last() == Some(&b'\n')
    }

    fn step(&mut self, buffer: &mut BytesMut, quiet: bool) -> Result<Option<Frame>, FramingError> {
        loop {
            if !self.skipped(buffer) {
                return Ok(None);
            }
            self.between(buffer);
            let Some(first) = buffer.first() else { return Ok(None) };
            if first.is_ascii_digit() && self.searched == 0 {
                match self.counted(buffer)? {
                    Some(frame) if frame.bytes.is_empty() => continue,
                    done => return Ok(done),
                }
            }
            match self.line_end(buffer, quiet) {
                End::At(end, next) => {
                    let frame = self.take(buffer, end, next);
                    if !frame.bytes.is_empty() {
                        return Ok(Some(frame));
                    }
                }
                End::Later if buffer.len() > self.limit => {
                    let mut frame = self.take(buffer, self.limit, buffer.len());
                    frame.cut = true;
                    self.skip = Skip::Line;
                    return Ok(Some(frame));
                }
                End::Later => return Ok(None),
            }
        }
    }

    /// Throws away what is left of a message that was cut; `false` if more of it is to come.
    fn skipped(&mut self, buffer: &mut BytesMut) -> bool {
        match self.skip {
            Skip::Nothing => return true,
            Skip::Bytes(left) => {
                let now = left.min(buffer.len());
                buffer.advance(now);
                self.skip = if now == left { Skip::Nothing } else { Skip::Bytes(left - now) };
            }
            Skip::Line => match memchr::memchr(self.delimiter(), buffer) {
                Some(end) => {
                    buffer.advance(end + 1);
                    self.skip = Skip::Nothing;
                }
                None => buffer.clear(),
            },
        }
        self.skip == Skip::Nothing
    }

    /// Line ends between messages mean nothing.
    fn between(&mut self, buffer: &mut BytesMut) {
        if self.searched == 0 {
            let noise = buffer.iter().take_while(|b| matches!(b, b'\n' | b'\r' | 0)).count();
            buffer.advance(noise);
        }
    }

    /// `83 <34>1 …`
    fn counted(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, FramingError> {
        let digits = buffer.iter().take(DIGITS + 1).take_while(|b| b.is_ascii_digit()).count();
        if digits > DIGITS {
            return Err(FramingError);
        }
        let length = buffer[..digits].iter().fold(0usize, |n, b| n * 10 + usize::from(b - b'0'));
        match buffer.get(digits) {
            None => return Ok(None),
            Some(b' ') if (1..=MAX_CLAIM).contains(&length) => {}
            Some(_) => return Err(FramingError),
        }
        let start = digits + 1;
        let kept = length.min(self.limit);
        if buffer.len() < start + kept {
            return Ok(None);
        }
        buffer.advance(start);
        let bytes = trimmed(buffer.split_to(kept).freeze());
        if kept < length {
            self.skip = Skip::Bytes(length - kept);
        }
        Ok(Some(Frame { bytes, cut: kept < length }))
    }

    fn delimiter(&self) -> u8 {
        match self.framing {
            Framing::Messages => b'\n',
            Framing::Lines { delimiter } => delimiter,
        }
    }

    /// Where the line at the head of the buffer ends.
    fn line_end(&mut self, buffer: &BytesMut, quiet: bool) -> End {
        let delimiter = self.delimiter();
        loop {
            let Some(found) = memchr::memchr(delimiter, &buffer[self.searched..]) else {
                self.searched = buffer.len();
                return End::Later;
            };
            let at = self.searched + found;
            if at >= self.limit {
                // What belongs to a message that is cut does not depend on how it arrives.
                return End::At(at, at + 1);
            }
            match (self.framing, buffer.get(at + 1)) {
                (Framing::Lines { .. }, _) | (_, Some(b'<' | b'\n' | b'\r' | 0)) => {
                    return End::At(at, at + 1);
                }
                (Framing::Messages, None) if quiet => return End::At(at, at + 1),
                (Framing::Messages, None) => {
                    // Looked at again when it is known what follows.
                    self.searched = at;
                    return End::Later;
                }
                (Framing::Messages, _) => self.searched = at + 1,
            }
        }
    }

    /// Takes a line of the buffer; at most the limit of it.
    fn take(&mut self, buffer: &mut BytesMut, end: usize, next: usize) -> Frame {
        self.searched = 0;
        let mut line = buffer.split_to(next).freeze();
        let cut = end > self.limit;
        line.truncate(end.min(self.limit));
        Frame { bytes: trimmed(line), cut }
    }
}

/// Without the line ends that some senders count as a part of the message.
fn trimmed(mut line: Bytes) -> Bytes {
    let kept = line.iter().rposition(|b| !matches!(b, b'\n' | b'\r' | 0)).map_or(0, |last| last + 1);
    line.truncate(kept);
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RAW: Framing = Framing::Lines { delimiter: b'\n' };

    /// What comes out when the stream arrives in pieces of one size; `!` stands for a cut, `#` for the end.
    fn frames(framing: Framing, limit: usize, stream: &[u8], piece: usize) -> Vec<String> {
        let (mut framer, mut buffer, mut out) = (Framer::new(framing, limit), BytesMut::new(), Vec::new());
        let text = |frame: Frame| {
            format!("{}{}", String::from_utf8_lossy(&frame.bytes), if frame.cut { "!" } else { "" })
        };
        for piece in stream.chunks(piece) {
            buffer.extend_from_slice(piece);
            loop {
                match framer.next(&mut buffer) {
                    Ok(Some(frame)) => out.push(text(frame)),
                    Ok(None) => break,
                    Err(_) => {
                        out.push("#".into());
                        return out;
                    }
                }
                assert!(buffer.len() <= limit + piece.len() + DIGITS + 1);
            }
        }
        while let Ok(Some(frame)) = framer.finish(&mut buffer) {
            out.push(text(frame));
        }
        out
    }

    #[test]
    fn both_framings_are_told_apart_message_by_message() {
        for (framing, stream, expected) in [
            (Framing::Messages, "<1>a\n<2>b\n<3>c", &["<1>a", "<2>b", "<3>c"][..]),
            (Framing::Messages, "4 <1>a4 <2>b", &["<1>a", "<2>b"]),
            (Framing::Messages, "4 <1>a\n4 <2>b\n<3>c\n", &["<1>a", "<2>b", "<3>c"]),
            (Framing::Messages, "<1>a\r\n\r\n\0<2>b\r\n", &["<1>a", "<2>b"]),
            (Framing::Messages, "<1>a\n  more\n9 of it\n<2>b\n", &["<1>a\n  more\n9 of it", "<2>b"]),
            (Framing::Messages, "6 <1>a\nb<2>c\n", &["<1>a\nb", "<2>c"]),
            (Framing::Messages, "noise\n<2>b\n", &["noise", "<2>b"]),
            (Framing::Messages, "9 <1>a", &["<1>a"]),
            (RAW, "a\n b\n\nc", &["a", " b", "c"]),
            (RAW, "1 a2 bc\nd\n", &["a", "bc", "d"]),
            (Framing::Lines { delimiter: 0 }, "a\nb\0c\0", &["a\nb", "c"]),
            (Framing::Messages, "123456789 x", &["#"]),
            (Framing::Messages, "0 x", &["#"]),
            (Framing::Messages, "12x", &["#"]),
        ] {
            for piece in 1..=stream.len() {
                assert_eq!(frames(framing, 20, stream.as_bytes(), piece), expected, "{stream:?} by {piece}");
            }
        }
    }

    #[test]
    fn a_message_beyond_the_limit_is_cut_and_the_stream_goes_on() {
        for (framing, stream) in [
            (Framing::Messages, "<1>abcdefgh\n<2>b\n"),
            (Framing::Messages, "11 <1>abcdefgh4 <2>b"),
            (RAW, "<1>abcdefgh\n<2>b\n"),
        ] {
            for piece in 1..=stream.len() {
                assert_eq!(
                    frames(framing, 5, stream.as_bytes(), piece),
                    ["<1>ab!", "<2>b"],
                    "{stream:?} by {piece}"
                );
            }
        }
    }

    #[test]
    fn a_line_is_kept_back_until_it_is_known_that_it_is_whole_or_nothing_comes() {
        let (mut framer, mut buffer) = (Framer::new(Framing::Messages, 100), BytesMut::from("<1>a\n"));
        assert_eq!(framer.next(&mut buffer), Ok(None));
        assert!(framer.is_pending(&buffer));
        buffer.extend_from_slice(b"b\n");
        assert_eq!(framer.next(&mut buffer), Ok(None));
        let frame = framer.quiet(&mut buffer).expect("no error").expect("a line");
        assert_eq!(&frame.bytes[..], b"<1>a\nb");
        assert!(!framer.is_pending(&buffer) && buffer.is_empty());
        buffer.extend_from_slice(b"<2>half");
        assert_eq!((framer.quiet(&mut buffer), framer.is_pending(&buffer)), (Ok(None), false));
    }

    proptest! {
        /// However a stream arrives, the same comes out, and no byte is in it that was not sent.
        #[test]
        fn pieces_make_no_difference(
            stream in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'<'), Just(b' '), b'0'..=b'9', any::<u8>()], 0..120),
            piece in 1usize..20,
            limit in 1usize..30,
        ) {
            for framing in [Framing::Messages, RAW, Framing::Lines { delimiter: 0 }] {
                let whole = frames(framing, limit, &stream, stream.len().max(1));
                prop_assert_eq!(frames(framing, limit, &stream, piece), whole);
            }
        }

        #[test]
        fn counted_messages_come_back(messages in proptest::collection::vec("[ -~]{1,40}", 0..10), piece in 1usize..50) {
            let stream: String = messages.iter().map(|m| format!("{} {m}", m.len())).collect();
            prop_assert_eq!(frames(Framing::Messages, 40, stream.as_bytes(), piece), messages);
        }
    }
}

//! Logs as a Docker engine streams them: frames of two streams, or the raw bytes of a terminal.
//!
//! Data path: chunks of any size → frames (an 8-byte header: stream, three zeros, big-endian length) → lines,
//! each with the time that the engine puts before it (`timestamps=1`) → [`Line`].
//! The engine splits a line of more than 16 KiB into pieces, each with the time before it; they are joined.
//! Invariants: how the bytes are cut into chunks makes no difference; a line is kept up to the limit and no
//! further; a frame is never waited for as a whole, so its length, however large, costs nothing.

use bytes::{Buf, Bytes, BytesMut};
use jiff::Timestamp;

/// How long the pieces of a line are. As moby/daemon/logger: `defaultBufSize`.
const PIECE: usize = 16 << 10;
/// `2026-01-02T03:04:05.123456789+02:00`.
const LONGEST_TIME: usize = 35;
/// As much of the engine's own message is kept.
const MAX_MESSAGE: usize = 1024;

/// How the body of a log request is made up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Frames of standard output and standard error.
    Multiplexed,
    /// A terminal's bytes: the container has a TTY, and all is standard output.
    Raw,
}

/// What a line was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output, and all of a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// As in `__meta_docker_container_log_stream`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// One line of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What it was written to.
    pub stream: Stream,
    /// Nanoseconds since the Unix epoch; `None` where neither the line nor one before it in the stream has a
    /// time.
    pub timestamp_ns: Option<i64>,
    /// The text without time and line end.
    pub text: Bytes,
    /// The text was longer than the limit and is cut.
    pub cut: bool,
}

/// Why a stream cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokenStream {
    /// The bytes are no frames.
    #[error("the log stream is not made of frames (a header of {0:02x?})")]
    NoFrame([u8; 8]),
    /// The engine says so itself.
    #[error("the engine broke off the log stream: {0}")]
    Engine(String),
}

/// Cuts a log stream into lines.
#[derive(Debug)]
pub struct LineParser {
    framing: Framing,
    header: [u8; 8],
    /// Bytes of the header that are there.
    have: usize,
    /// Bytes of the frame that are still to come.
    left: usize,
    /// Whose they are; `None`: the engine's own message.
    current: Option<Stream>,
    message: Vec<u8>,
    stdout: Unfinished,
    stderr: Unfinished,
}

/// The line of one stream that has not ended yet.
#[derive(Debug)]
struct Unfinished {
    stream: Stream,
    max_line: usize,
    /// Where terminals are cut: they have no frames that would tell.
    pieces: bool,
    /// The time of the line, or of the one before where it has none of its own.
    timestamp_ns: Option<i64>,
    /// What may become a time: the start of a line or of a piece.
    prefix: Option<Vec<u8>>,
    text: BytesMut,
    /// Bytes since the last time, for [`PIECE`].
    in_piece: usize,
    /// A line has begun.
    begun: bool,
    cut: bool,
}

impl LineParser {
    /// Lines are kept up to `max_line` bytes.
    pub fn new(framing: Framing, max_line: usize) -> Self {
        let pieces = framing == Framing::Raw;
        Self {
            framing,
            header: [0; 8],
            have: 0,
            left: 0,
            current: None,
            message: Vec::new(),
            stdout: Unfinished::new(Stream::Stdout, max_line, pieces),
            stderr: Unfinished::new(Stream::Stderr, max_line, pieces),
        }
    }

    /// Takes the next bytes and gives the lines that end in them.
    ///
    /// # Errors
    /// If they cannot be part of a log stream; then nothing after them can be read either.
    pub fn push(&mut self, mut chunk: Bytes, mut line: impl FnMut(Line)) -> Result<(), BrokenStream> {
        if self.framing == Framing::Raw {
            self.stdout.push(chunk, &mut line);
            return Ok(());
        }
        while !chunk.is_empty() {
            if self.left == 0 {
                let taken = chunk.len().min(8 - self.have);
                self.header[self.have..self.have + taken].copy_from_slice(&chunk.split_to(taken));
                self.have += taken;
                if self.have == 8 {
                    self.have = 0;
                    self.begin_frame()?;
                }
                continue;
            }
            let part = chunk.split_to(chunk.len().min(self.left));
            self.left -= part.len();
            match self.current {
                Some(Stream::Stdout) => self.stdout.push(part, &mut line),
                Some(Stream::Stderr) => self.stderr.push(part, &mut line),
                None => {
                    let room = MAX_MESSAGE.saturating_sub(self.message.len());
                    self.message.extend_from_slice(&part[..part.len().min(room)]);
                    if self.left == 0 || self.message.len() == MAX_MESSAGE {
                        let message = String::from_utf8_lossy(&self.message).trim().to_owned();
                        return Err(BrokenStream::Engine(message));
                    }
                }
            }
        }
        Ok(())
    }

    /// The lines that had no end, for a stream that is known to be whole.
    pub fn finish(self, mut line: impl FnMut(Line)) {
        for mut unfinished in [self.stdout, self.stderr] {
            if unfinished.begun {
                unfinished.end(&mut line);
            }
        }
    }

    fn begin_frame(&mut self) -> Result<(), BrokenStream> {
        let [kind, z1, z2, z3, length @ ..] = self.header;
        // As moby/pkg/stdcopy: 0 is standard input and written to standard output.
        self.current = match (kind, z1, z2, z3) {
            (0 | 1, 0, 0, 0) => Some(Stream::Stdout),
            (2, 0, 0, 0) => Some(Stream::Stderr),
            (3, 0, 0, 0) => None,
            _ => return Err(BrokenStream::NoFrame(self.header)),
        };
        self.left = u32::from_be_bytes(length) as usize;
        match self.current {
            Some(Stream::Stdout) => self.stdout.begin_frame(),
            Some(Stream::Stderr) => self.stderr.begin_frame(),
            None if self.left == 0 => return Err(BrokenStream::Engine("it does not say why".into())),
            None => {}
        }
        Ok(())
    }
}

impl Unfinished {
    fn new(stream: Stream, max_line: usize, pieces: bool) -> Self {
        Self {
            stream,
            max_line,
            pieces,
            timestamp_ns: None,
            prefix: Some(Vec::new()),
            text: BytesMut::new(),
            in_piece: 0,
            begun: false,
            cut: false,
        }
    }

    /// A frame in the middle of a line is its next piece, with a time before it.
    fn begin_frame(&mut self) {
        self.settle_prefix();
        self.prefix = Some(Vec::new());
    }

    fn push(&mut self, mut part: Bytes, line: &mut impl FnMut(Line)) {
        while !part.is_empty() {
            let Some(end) = memchr::memchr(b'\n', &part) else {
                self.begun = true;
                self.add(&part);
                return;
            };
            let text = part.split_to(end);
            part.advance(1);
            if !self.begun
                && let Some(whole) = self.whole(&text)
            {
                line(whole);
                continue;
            }
            self.add(&text);
            self.end(line);
        }
    }

    /// A line that lies in one chunk: nothing is copied. `None` where it has to go the long way.
    fn whole(&mut self, text: &Bytes) -> Option<Line> {
        let time = memchr::memchr(b' ', &text[..text.len().min(LONGEST_TIME + 1)])?;
        let timestamp_ns = timestamp(&text[..time])?;
        let text = text.slice(time + 1..);
        if text.len() > self.max_line || (self.pieces && text.len() > PIECE) {
            return None;
        }
        self.timestamp_ns = Some(timestamp_ns);
        self.prefix = Some(Vec::new());
        let text = text.strip_suffix(b"\r").map_or(text.clone(), |t| text.slice_ref(t));
        Some(Line { stream: self.stream, timestamp_ns: Some(timestamp_ns), text, cut: false })
    }

    /// Bytes of the line, without its end.
    fn add(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if let Some(prefix) = &mut self.prefix {
                let room = LONGEST_TIME + 1 - prefix.len();
                let space = memchr::memchr(b' ', &bytes[..bytes.len().min(room)]);
                let taken = space.map_or(bytes.len().min(room), |s| s + 1);
                prefix.extend_from_slice(&bytes[..taken]);
                bytes = &bytes[taken..];
                if space.is_some() || prefix.len() > LONGEST_TIME {
                    self.settle_prefix();
                }
                continue;
            }
            let taken = if self.pieces { bytes.len().min(PIECE - self.in_piece) } else { bytes.len() };
            self.append(&bytes[..taken]);
            bytes = &bytes[taken..];
        }
    }

    /// What stood where a time may stand is one, or it is text.
    fn settle_prefix(&mut self) {
        let Some(prefix) = self.prefix.take() else { return };
        let time = prefix.strip_suffix(b" ").and_then(timestamp);
        match time {
            // The pieces of a line share the time of its first.
            Some(time) if self.text.is_empty() && !self.cut => self.timestamp_ns = Some(time),
            Some(_) => {}
            None => {
                self.append(&prefix);
                return;
            }
        }
        self.in_piece = 0;
    }

    fn append(&mut self, bytes: &[u8]) {
        let room = self.max_line - self.text.len();
        self.cut |= bytes.len() > room;
        self.text.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.in_piece += bytes.len();
        if self.pieces && self.in_piece >= PIECE {
            self.in_piece = 0;
            self.prefix = Some(Vec::new());
        }
    }

    fn end(&mut self, line: &mut impl FnMut(Line)) {
        self.settle_prefix();
        let mut text = self.text.split().freeze();
        if !self.cut && text.ends_with(b"\r") {
            text.truncate(text.len() - 1);
        }
        line(Line { stream: self.stream, timestamp_ns: self.timestamp_ns, text, cut: self.cut });
        self.prefix = Some(Vec::new());
        self.in_piece = 0;
        self.begun = false;
        self.cut = false;
    }
}

/// RFC 3339 with nanoseconds, as the engine writes it; Podman writes the local offset.
pub fn timestamp(text: &[u8]) -> Option<i64> {
    let shaped = (20..=LONGEST_TIME).contains(&text.len())
        && text[10] == b'T'
        && text.first().is_some_and(u8::is_ascii_digit);
    if !shaped {
        return None;
    }
    let time: Timestamp = std::str::from_utf8(text).ok()?.parse().ok()?;
    i64::try_from(time.as_nanosecond()).ok()
}

#[cfg(test)]
mod tests;

//! Writes push requests, and joins them.
//!
//! Layout of what is written: streams in order, in each first its labels, then its entries. [`merge`] and
//! [`RawStreams`] rely on that order and are for bodies that were written here.

use hashbrown::HashMap;
use signal::logs::Entry;

use crate::proto::{self, Reader, push_varint, put_varint, varint_len};

/// `PushRequest.streams` and `Stream.labels`.
const TAG_STREAM: u8 = 0x0a;
const TAG_LABELS: u8 = 0x0a;
/// `Stream.entries`.
const TAG_ENTRY: u8 = 0x12;
/// Fields of `Entry` and of its `Timestamp`.
const TAG_TIMESTAMP: u8 = 0x0a;
const TAG_LINE: u8 = 0x12;
const TAG_METADATA: u8 = 0x1a;
const TAG_SECONDS: u8 = 0x08;
const TAG_NANOS: u8 = 0x10;

const NANOS: i64 = 1_000_000_000;

/// Bytes that [`push_entry`] appends.
#[inline]
pub fn entry_len(entry: &Entry) -> usize {
    let inner = entry_inner_len(entry);
    1 + varint_len(inner as u64) + inner
}

#[inline]
fn entry_inner_len(entry: &Entry) -> usize {
    let line = entry.line.len();
    let line = if line == 0 { 0 } else { 1 + varint_len(line as u64) + line };
    // A label of structured metadata is as long as a label of a series: tags are one byte each.
    let metadata = entry.metadata.as_ref().map_or(0, |labels| labels.wire_bytes().len());
    2 + timestamp_len(entry.timestamp_ns) + line + metadata
}

#[inline]
fn timestamp_len(timestamp_ns: i64) -> usize {
    let (seconds, nanos) = (timestamp_ns.div_euclid(NANOS), timestamp_ns.rem_euclid(NANOS));
    let field = |value: u64| if value == 0 { 0 } else { 1 + varint_len(value) };
    field(seconds as u64) + field(nanos as u64)
}

/// Appends an entry as a field of its stream.
#[inline]
pub fn push_entry(out: &mut Vec<u8>, entry: &Entry) {
    // Tag and length of the entry, the timestamp (at most 1 + 10 + 1 + 5), tag and length of the line.
    let mut head = [0; 48];
    head[0] = TAG_ENTRY;
    let mut n = 1 + put_varint(&mut head[1..], entry_inner_len(entry) as u64);
    head[n] = TAG_TIMESTAMP;
    // Below 128: one byte.
    head[n + 1] = timestamp_len(entry.timestamp_ns) as u8;
    n += 2;
    let (seconds, nanos) = (entry.timestamp_ns.div_euclid(NANOS), entry.timestamp_ns.rem_euclid(NANOS));
    for (tag, value) in [(TAG_SECONDS, seconds as u64), (TAG_NANOS, nanos as u64)] {
        if value != 0 {
            head[n] = tag;
            n += 1 + put_varint(&mut head[n + 1..], value);
        }
    }
    if !entry.line.is_empty() {
        head[n] = TAG_LINE;
        n += 1 + put_varint(&mut head[n + 1..], entry.line.len() as u64);
    }
    out.extend_from_slice(&head[..n]);
    out.extend_from_slice(entry.line.as_bytes());
    if let Some(labels) = &entry.metadata {
        push_metadata(out, labels.wire_bytes());
    }
}

/// Labels of series differ from structured metadata in the number of the field only.
fn push_metadata(out: &mut Vec<u8>, wire: &[u8]) {
    let mut reader = Reader::new(wire);
    while let Ok(Some(label)) = reader.next_field() {
        let label = label.bytes().expect("a label set holds labels");
        out.push(TAG_METADATA);
        push_varint(out, label.len() as u64);
        out.extend_from_slice(label);
    }
}

/// Bytes that a stream takes in a request, given those of its entries together.
pub fn stream_len(labels: &str, entries: usize) -> usize {
    let inner = 1 + varint_len(labels.len() as u64) + labels.len() + entries;
    1 + varint_len(inner as u64) + inner
}

fn push_stream_head(out: &mut Vec<u8>, labels: &[u8], entries: usize) {
    let inner = 1 + varint_len(labels.len() as u64) + labels.len() + entries;
    out.push(TAG_STREAM);
    push_varint(out, inner as u64);
    out.push(TAG_LABELS);
    push_varint(out, labels.len() as u64);
    out.extend_from_slice(labels);
}

/// Appends a stream with its label string and its entries; `len` is the sum of their [`entry_len`]s.
pub fn push_stream<'a>(
    out: &mut Vec<u8>,
    labels: &str,
    len: usize,
    entries: impl Iterator<Item = &'a Entry>,
) {
    out.reserve(stream_len(labels, len));
    push_stream_head(out, labels.as_bytes(), len);
    let begin = out.len();
    entries.for_each(|entry| push_entry(out, entry));
    debug_assert_eq!(out.len() - begin, len, "the length has been told");
}

/// A stream of a request that was written here, not taken apart further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawStream<'a> {
    /// The label string.
    pub labels: &'a [u8],
    /// The fields of its entries.
    pub entries: &'a [u8],
}

impl<'a> RawStream<'a> {
    /// The entries one by one, each the whole field as [`push_entry`] wrote it, and its line.
    pub fn each_entry(&self, mut f: impl FnMut(&'a [u8], &'a [u8])) -> Result<(), proto::Error> {
        let mut reader = Reader::new(self.entries);
        while !reader.is_empty() {
            let before = reader.rest();
            let Some(field) = reader.next_field()? else { break };
            let whole = &before[..before.len() - reader.rest().len()];
            let (mut line, mut entry) = (&[][..], field.message()?);
            while let Some(field) = entry.next_field()? {
                if field.number == 2 {
                    line = field.bytes()?;
                }
            }
            f(whole, line);
        }
        Ok(())
    }
}

/// The streams of a request that was written here.
#[derive(Clone, Debug)]
pub struct RawStreams<'a>(Reader<'a>);

impl<'a> RawStreams<'a> {
    /// Of this body.
    pub fn new(body: &'a [u8]) -> Self {
        Self(Reader::new(body))
    }

    fn read(&mut self) -> Result<Option<RawStream<'a>>, proto::Error> {
        let Some(stream) = self.0.next_field()? else { return Ok(None) };
        let mut stream = stream.message()?;
        let labels = match stream.next_field()? {
            Some(labels) if labels.number == 1 => labels.bytes()?,
            _ => return Err(proto::Error::InvalidField),
        };
        Ok(Some(RawStream { labels, entries: stream.rest() }))
    }
}

impl<'a> Iterator for RawStreams<'a> {
    type Item = Result<RawStream<'a>, proto::Error>;
    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

/// Joins bodies that were written here: streams with equal label strings become one, with their entries in the
/// order of the bodies. Appends the request to `out`; on an error `out` is as long as before.
pub fn merge<'a>(bodies: impl IntoIterator<Item = &'a [u8]>, out: &mut Vec<u8>) -> Result<(), proto::Error> {
    struct Stream<'a> {
        labels: &'a [u8],
        len: usize,
        parts: Vec<&'a [u8]>,
    }
    let mut streams: Vec<Stream<'a>> = Vec::new();
    let mut places: HashMap<&[u8], usize, foldhash::fast::RandomState> = HashMap::default();
    for body in bodies {
        for stream in RawStreams::new(body) {
            let RawStream { labels, entries } = stream?;
            let place = *places.entry(labels).or_insert_with(|| {
                streams.push(Stream { labels, len: 0, parts: Vec::new() });
                streams.len() - 1
            });
            streams[place].len += entries.len();
            streams[place].parts.push(entries);
        }
    }
    for stream in streams {
        push_stream_head(out, stream.labels, stream.len);
        stream.parts.iter().for_each(|part| out.extend_from_slice(part));
    }
    Ok(())
}

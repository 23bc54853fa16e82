//! Reads push requests in protobuf from anybody.
//!
//! A body that is not the message fails as a whole; a stream whose labels make no sense is refused alone, with
//! a reason. Lines that are no UTF-8 are kept, with what is wrong in them replaced. What a batch takes in memory
//! beside the body is held against a limit: an entry of two bytes in the body is one of many more in memory.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use bytestring::ByteString;
use signal::logs::{Entry, LogBatch, LogBuilder};
use signal::{Labels, LabelsError};

use super::MAX_LABELS;
use super::labels::{LabelStringError, parse_label_string};
use crate::proto::{self, Field, Reader};

/// Why a body cannot be read at all. To be answered with 400, or 413 where it is too large.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not a protobuf message of this schema.
    #[error("the body is not a valid push request: {0}")]
    Proto(#[from] proto::Error),
    /// Not JSON of one of the two forms.
    #[error("the body is not a valid push request in JSON: {0}")]
    Json(String),
    /// As gogo/protobuf's `StdTimeUnmarshal`: years 1 to 9999, nanoseconds below a second.
    #[error("an entry has the timestamp {seconds}s {nanos}ns, which is no time")]
    Timestamp {
        /// `Timestamp.seconds`
        seconds: i64,
        /// `Timestamp.nanos`
        nanos: i64,
    },
    /// An entry has more metadata than anything could want.
    #[error("an entry or a stream has more than {MAX_LABELS} labels")]
    TooManyLabels,
    /// Entries, labels and metadata take too much memory.
    #[error("the entries of the request take more than {limit} bytes of memory")]
    TooLarge {
        /// The limit that was given.
        limit: usize,
    },
}

/// What a body holds.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// What is good of it.
    pub batch: LogBatch,
    /// What is not.
    pub refused: Refused,
    /// Lines, labels and metadata in which bytes that are no UTF-8 were replaced.
    pub replaced: usize,
}

/// Streams that were left out. Not empty means 400, after the rest is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// Entries of these streams.
    pub entries: usize,
    /// Number of these streams.
    pub streams: usize,
    /// Why, for the first few.
    pub reasons: Vec<String>,
}

impl Refused {
    /// Whether all was good.
    pub fn is_empty(&self) -> bool {
        self.streams == 0
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.reasons.join("; "))?;
        match self.streams - self.reasons.len() {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// Reads a decompressed body; lines borrow from it. `limit` bounds what the batch takes in memory beside the
/// body. Entries' `parsed` labels, which queries answer with, are left out, as Loki does when it stores.
pub fn decode(body: &Bytes, received_ms: i64, limit: usize) -> Result<Received, DecodeError> {
    let mut sink = Sink::new(received_ms, limit);
    let mut reader = Reader::new(body);
    while let Some(field) = reader.next_field()? {
        if field.number == 1 {
            stream(body, field.bytes()?, &mut sink)?;
        }
    }
    Ok(sink.finish())
}

fn stream(body: &Bytes, message: &[u8], sink: &mut Sink) -> Result<(), DecodeError> {
    let mut labels: &[u8] = &[];
    let mut reader = Reader::new(message);
    while let Some(field) = reader.next_field()? {
        if field.number == 1 {
            labels = field.bytes()?;
        }
    }
    let place = sink.stream_of_string(labels)?;
    let mut reader = Reader::new(message);
    while let Some(field) = reader.next_field()? {
        if field.number == 2 {
            let entry = entry(body, field, sink)?;
            sink.push(place, entry)?;
        }
    }
    Ok(())
}

fn entry(body: &Bytes, field: Field<'_>, sink: &mut Sink) -> Result<Entry, DecodeError> {
    let mut entry = Entry { stream: 0, timestamp_ns: 0, line: ByteString::new(), metadata: None };
    let mut metadata = Vec::new();
    let mut reader = field.message()?;
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => entry.timestamp_ns = timestamp(field.message()?)?,
            2 => entry.line = sink.line(body, field.bytes()?)?,
            3 if metadata.len() == MAX_LABELS => return Err(DecodeError::TooManyLabels),
            3 => metadata.push(pair(field)?),
            _ => {}
        }
    }
    entry.metadata = sink.metadata(&metadata)?;
    Ok(entry)
}

fn timestamp(mut reader: Reader<'_>) -> Result<i64, DecodeError> {
    let (mut seconds, mut nanos) = (0, 0);
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => seconds = field.i64()?,
            2 => nanos = i64::from(field.u32()? as i32),
            _ => {}
        }
    }
    // 0001-01-01 to 10000-01-01; those that nanoseconds do not reach become the nearest that they do.
    if !(-62_135_596_800..253_402_300_800).contains(&seconds) || !(0..1_000_000_000).contains(&nanos) {
        return Err(DecodeError::Timestamp { seconds, nanos });
    }
    Ok(clamp_ns(i128::from(seconds) * 1_000_000_000 + i128::from(nanos)))
}

/// The nearest moment that fits.
pub(super) fn clamp_ns(ns: i128) -> i64 {
    i64::try_from(ns).unwrap_or(if ns < 0 { i64::MIN } else { i64::MAX })
}

fn pair<'a>(field: Field<'a>) -> Result<(&'a [u8], &'a [u8]), proto::Error> {
    let (mut name, mut value): (&[u8], &[u8]) = (&[], &[]);
    let mut reader = field.message()?;
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => name = field.bytes()?,
            2 => value = field.bytes()?,
            _ => {}
        }
    }
    Ok((name, value))
}

/// Where what is read goes: the batch, and the account of the memory that it takes.
pub(super) struct Sink {
    builder: LogBuilder,
    refused: Refused,
    replaced: usize,
    budget: usize,
    limit: usize,
}

impl Sink {
    pub(super) fn new(received_ms: i64, limit: usize) -> Self {
        let builder = LogBuilder::new(received_ms, None);
        Self { builder, refused: Refused::default(), replaced: 0, budget: limit, limit }
    }

    pub(super) fn finish(self) -> Received {
        Received { batch: self.builder.finish().into_batch(), refused: self.refused, replaced: self.replaced }
    }

    pub(super) fn spend(&mut self, bytes: usize) -> Result<(), DecodeError> {
        self.budget = self.budget.checked_sub(bytes).ok_or(DecodeError::TooLarge { limit: self.limit })?;
        Ok(())
    }

    /// Text that may not be UTF-8.
    pub(super) fn text<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, str> {
        let text = String::from_utf8_lossy(bytes);
        self.replaced += usize::from(matches!(text, Cow::Owned(_)));
        text
    }

    fn line(&mut self, body: &Bytes, line: &[u8]) -> Result<ByteString, DecodeError> {
        if let Ok(line) = ByteString::try_from(body.slice_ref(line)) {
            return Ok(line);
        }
        let line = self.text(line);
        self.spend(line.len())?;
        Ok(line.into_owned().into())
    }

    fn metadata(&mut self, pairs: &[(&[u8], &[u8])]) -> Result<Option<Labels>, DecodeError> {
        if pairs.is_empty() {
            return Ok(None);
        }
        let pairs: Vec<_> = pairs.iter().map(|(n, v)| (self.text(n), self.text(v))).collect();
        self.labels(pairs).map(|labels| Some(labels).filter(|l| !l.is_empty()))
    }

    /// Structured metadata, or labels in JSON: of a name given twice the last counts.
    pub(super) fn labels<N: AsRef<str>, V: AsRef<str>>(
        &mut self,
        pairs: Vec<(N, V)>,
    ) -> Result<Labels, DecodeError> {
        self.spend(
            pairs.iter().map(|(n, v)| n.as_ref().len() + v.as_ref().len() + size_of::<Labels>()).sum(),
        )?;
        let labels = Labels::from_pairs(pairs);
        self.spend(labels.heap_bytes().saturating_sub(labels.wire_bytes().len()))?;
        Ok(labels)
    }

    /// The place of a stream whose labels stand in a string; `None` where it was refused.
    pub(super) fn stream_of_string(&mut self, labels: &[u8]) -> Result<Option<u32>, DecodeError> {
        self.spend(labels.len())?;
        let text = self.text(labels);
        match parse_label_string(&text) {
            Ok(labels) => self.stream(&labels).map(Some),
            Err(error) => {
                self.refuse(&text, &error);
                Ok(None)
            }
        }
    }

    pub(super) fn stream(&mut self, labels: &Labels) -> Result<u32, DecodeError> {
        self.spend(labels.heap_bytes() + 4 * size_of::<Labels>())?;
        Ok(self.builder.stream(labels))
    }

    fn refuse(&mut self, labels: &str, error: &LabelStringError) {
        const MAX_REASONS: usize = 10;
        self.refused.streams += 1;
        if self.refused.reasons.len() < MAX_REASONS {
            let short: String = labels.chars().take(200).collect();
            let error = match error {
                LabelStringError::Labels(LabelsError::Duplicate(name)) => {
                    let name: String = name.chars().take(80).collect();
                    LabelsError::Duplicate(name).to_string()
                }
                other => other.to_string(),
            };
            self.refused.reasons.push(format!("stream {short:?}: {error}"));
        }
    }

    /// Adds an entry to a stream, or counts it where the stream was refused.
    pub(super) fn push(&mut self, place: Option<u32>, entry: Entry) -> Result<(), DecodeError> {
        let Some(stream) = place else {
            self.refused.entries += 1;
            return Ok(());
        };
        self.spend(size_of::<Entry>())?;
        self.builder.push(Entry { stream, ..entry });
        Ok(())
    }
}

//! Reads `push.v1.PushRequest` in protobuf from anybody: profiles are slices of the body.
//!
//! What the batch takes in memory beside the body is held against a limit: an empty sample is two bytes in the body
//! and many more in memory. Annotations are left out, as Pyroscope does.

use bytes::Bytes;
use bytestring::ByteString;
use signal::Labels;
use signal::profiles::{Pprof, Profile, ProfileBody};

use super::MAX_LABELS;
use crate::proto::{self, Field, Reader};

/// Why a body cannot be read at all. To be answered with `invalid_argument`, or `resource_exhausted` where it is too
/// large.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not a protobuf message of this schema.
    #[error("the body is not a valid push.v1.PushRequest: {0}")]
    Proto(#[from] proto::Error),
    /// Not JSON of this schema.
    #[error("the body is not a valid push.v1.PushRequest in JSON: {0}")]
    Json(String),
    /// A series has more labels than anything could want.
    #[error("a series has more than {MAX_LABELS} labels")]
    TooManyLabels,
    /// Profiles and labels take too much memory.
    #[error("the profiles of the request take more than {limit} bytes of memory")]
    TooLarge {
        /// The limit that was given.
        limit: usize,
    },
}

/// Reads a decompressed body; one item a sample. Of a label given twice the last counts. `limit` bounds what the
/// answer takes in memory beside the body.
///
/// # Errors
/// If the body is none, or too much.
pub fn decode(body: &Bytes, limit: usize) -> Result<Vec<Profile>, DecodeError> {
    let mut sink = Sink::new(limit);
    let mut reader = Reader::new(body);
    while let Some(field) = reader.next_field()? {
        if field.number == 1 {
            series(body, field.message()?, &mut sink)?;
        }
    }
    Ok(sink.profiles)
}

fn series(body: &Bytes, message: Reader<'_>, sink: &mut Sink) -> Result<(), DecodeError> {
    // Labels may come after samples.
    let mut pairs = Vec::new();
    let mut reader = message;
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 if pairs.len() == MAX_LABELS => return Err(DecodeError::TooManyLabels),
            1 => pairs.push(pair(field)?),
            _ => {}
        }
    }
    let labels = sink.labels(&pairs)?;
    let mut reader = message;
    while let Some(field) = reader.next_field()? {
        if field.number == 2 {
            let sample = sample(body, field)?;
            sink.push(&labels, sample)?;
        }
    }
    Ok(())
}

fn pair<'a>(field: Field<'a>) -> Result<(&'a str, &'a str), proto::Error> {
    let (mut name, mut value) = ("", "");
    let mut reader = field.message()?;
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => name = field.str()?,
            2 => value = field.str()?,
            _ => {}
        }
    }
    Ok((name, value))
}

fn sample(body: &Bytes, field: Field<'_>) -> Result<Pprof, proto::Error> {
    let mut sample = Pprof::default();
    let mut reader = field.message()?;
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => sample.raw = body.slice_ref(field.bytes()?),
            2 => {
                let id = body.slice_ref(field.bytes()?);
                sample.id = ByteString::try_from(id)
                    .map_err(|_| proto::Error::InvalidUtf8 { field: field.number })?;
            }
            _ => {}
        }
    }
    Ok(sample)
}

/// Where what is read goes, with the account of the memory that it takes.
pub(super) struct Sink {
    pub(super) profiles: Vec<Profile>,
    budget: usize,
    limit: usize,
}

impl Sink {
    pub(super) fn new(limit: usize) -> Self {
        Self { profiles: Vec::new(), budget: limit, limit }
    }

    pub(super) fn spend(&mut self, bytes: usize) -> Result<(), DecodeError> {
        self.budget = self.budget.checked_sub(bytes).ok_or(DecodeError::TooLarge { limit: self.limit })?;
        Ok(())
    }

    /// A label set, paid for.
    pub(super) fn labels<N: AsRef<str>, V: AsRef<str>>(
        &mut self,
        pairs: &[(N, V)],
    ) -> Result<Labels, DecodeError> {
        let labels = Labels::from_pairs(pairs.iter().map(|(n, v)| (n.as_ref(), v.as_ref())));
        self.spend(size_of_val(pairs) + labels.heap_bytes())?;
        Ok(labels)
    }

    pub(super) fn push(&mut self, labels: &Labels, sample: Pprof) -> Result<(), DecodeError> {
        // Twice: the list doubles.
        self.spend(2 * size_of::<Profile>())?;
        self.profiles.push(Profile { labels: labels.clone(), body: ProfileBody::Pprof(sample) });
        Ok(())
    }
}

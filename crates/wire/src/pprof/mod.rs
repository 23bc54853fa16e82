//! pprof profiles as bytes: what came from a target, where its records stand, the difference of two.
//!
//! Nothing here decodes a profile into messages: records are places in the serialised bytes. Work and memory
//! are linear in the size of the profile, which the caller bounds.

mod delta;
mod ids;
mod tables;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod twin;

use std::borrow::Cow;

use crate::compress::{self, Encoding};
use crate::proto::{self, Reader, Value};

pub use delta::{Delta, Kind, MAX_SAMPLES, Outcome, Scratch};
pub use tables::Tables;

/// Most value types (columns) a profile may have; no profiler has more than a handful.
pub const MAX_COLUMNS: usize = 16;

/// Why bytes are not the profile that they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not protobuf.
    #[error("not a pprof profile: {0}")]
    Proto(#[from] proto::Error),
    /// The gzip around it is broken, or more would come out than may.
    #[error("the profile cannot be unpacked: {0}")]
    Unpack(#[from] compress::Error),
    /// More records or bytes than can be told apart.
    #[error("the profile has more records than the {limit} that are looked at")]
    TooManyRecords {
        /// The bound.
        limit: usize,
    },
    /// More distinct samples than are remembered.
    #[error("the profile has more than {limit} distinct samples")]
    TooManySamples {
        /// The bound.
        limit: usize,
    },
    /// More value types than any profiler has.
    #[error("the profile has {found} value types, more than {MAX_COLUMNS}")]
    TooManyColumns {
        /// How many there are.
        found: usize,
    },
    /// A text that is not in the table.
    #[error("the profile refers to string {index}, which it does not have")]
    NoString {
        /// The index.
        index: u64,
    },
    /// A location that is not in the table.
    #[error("a sample refers to location {id}, which the profile does not have")]
    NoLocation {
        /// The location's ID.
        id: u64,
    },
    /// A sample with too few or too many values.
    #[error("a sample has {found} values; the profile has {expected} value types")]
    Values {
        /// Values of the sample.
        found: usize,
        /// Value types of the profile.
        expected: usize,
    },
}

/// Whether bytes begin as gzip does.
pub fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b])
}

/// The serialised profile: what gzip packs, at most `limit` bytes of it, or the bytes themselves.
///
/// # Errors
/// If the gzip is broken or what it packs is longer than `limit`.
pub fn unpack<'a>(profile: &'a [u8], limit: usize, into: &'a mut Vec<u8>) -> Result<&'a [u8], Error> {
    if !is_gzip(profile) {
        return if profile.len() > limit {
            Err(compress::Error::TooLarge { limit }.into())
        } else {
            Ok(profile)
        };
    }
    into.clear();
    compress::decompress(Encoding::Gzip, profile, limit, into)?;
    Ok(into)
}

/// Appends a profile packed as the Go runtime packs it: gzip, fast.
pub fn pack(profile: &[u8], out: &mut Vec<u8>) {
    compress::compress(Encoding::Gzip, Some(1), &[profile], out).expect("gzip holds any bytes at level 1");
}

/// Says why an answer cannot be a profile: an error page with status 200, text, noise. What gzip packs is not looked at;
/// of a bare profile the fields are walked over, not what is in them.
///
/// # Errors
/// What is wrong, in words for the user.
pub fn sniff(body: &[u8]) -> Result<(), Cow<'static, str>> {
    if body.is_empty() {
        return Err("the answer is empty".into());
    }
    if is_gzip(body) || is_bare(body).unwrap_or(false) {
        return Ok(());
    }
    let shown: String = String::from_utf8_lossy(&body[..body.len().min(50)]).escape_debug().collect();
    Err(format!("the answer is no profile, it begins with \"{shown}\"").into())
}

/// Whether the fields of a profile have the types that they should have.
fn is_bare(body: &[u8]) -> Result<bool, proto::Error> {
    let mut reader = Reader::new(body);
    while let Some(read) = reader.next_field()? {
        let right = match read.number {
            1..=6 | 11 => matches!(read.value, Value::Bytes(_)),
            7..=10 | 12 | 14 | 15 => matches!(read.value, Value::Varint(_)),
            13 => matches!(read.value, Value::Varint(_) | Value::Bytes(_)),
            _ => true,
        };
        if !right {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What a profile holds, told from its tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Type and unit of each value, in order.
    pub columns: Vec<(String, String)>,
    /// Sum of each value over all samples.
    pub totals: Vec<i128>,
    /// How many samples there are.
    pub samples: usize,
}

/// Reads a serialised profile once and checks that its samples are what its tables say.
///
/// # Errors
/// If it is not a profile, or a sample refers to what is not there.
pub fn shape(profile: &[u8]) -> Result<Shape, Error> {
    let mut tables = Tables::default();
    tables.read(profile)?;
    let columns = tables.columns(profile)?;
    let text = |index| tables.string(profile, index).map(|s| String::from_utf8_lossy(s).into_owned());
    let columns: Vec<_> =
        columns.iter().map(|(kind, unit)| Ok((text(*kind)?, text(*unit)?))).collect::<Result<_, Error>>()?;
    let mut totals = vec![0i128; columns.len()];
    for sample in tables.samples(profile) {
        let (mut reader, mut found) = (Reader::new(sample), 0);
        while let Some(field) = reader.next_field()? {
            if field.number == 2 {
                field.each_varint(|value| {
                    if let Some(total) = totals.get_mut(found) {
                        *total += i128::from(value as i64);
                    }
                    found += 1;
                })?;
            }
        }
        if found != columns.len() {
            return Err(Error::Values { found, expected: columns.len() });
        }
    }
    Ok(Shape { samples: tables.samples(profile).count(), columns, totals })
}

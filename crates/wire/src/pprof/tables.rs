//! Where the records of a serialised profile stand.

use super::{Error, MAX_COLUMNS};
use crate::otlp::view::fields;
use crate::proto::Reader;

/// Most records of all tables together: their places take eight bytes each.
const MAX_RECORDS: usize = 1 << 22;

/// Numbers of a profile's fields (google/pprof: `profile.proto`).
pub(super) mod field {
    pub const SAMPLE_TYPE: u32 = 1;
    pub const SAMPLE: u32 = 2;
    pub const MAPPING: u32 = 3;
    pub const LOCATION: u32 = 4;
    pub const FUNCTION: u32 = 5;
    pub const STRING: u32 = 6;
    pub const DROP_FRAMES: u32 = 7;
    pub const KEEP_FRAMES: u32 = 8;
    pub const TIME_NANOS: u32 = 9;
    pub const DURATION_NANOS: u32 = 10;
    pub const PERIOD_TYPE: u32 = 11;
    pub const COMMENT: u32 = 13;
    pub const DEFAULT_SAMPLE_TYPE: u32 = 14;
    pub const DOC_URL: u32 = 15;
}

/// A place in the profile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    at: u32,
    len: u32,
}

impl Span {
    #[inline]
    pub(super) fn of(self, profile: &[u8]) -> &[u8] {
        &profile[self.at as usize..][..self.len as usize]
    }
}

/// The tables of one profile. They belong to the bytes that they were read from, which every question gets again;
/// with other bytes it panics or answers nonsense.
#[derive(Default)]
pub struct Tables {
    pub(super) sample_types: Vec<Span>,
    pub(super) samples: Vec<Span>,
    pub(super) mappings: Vec<Span>,
    pub(super) locations: Vec<Span>,
    pub(super) functions: Vec<Span>,
    pub(super) strings: Vec<Span>,
    /// All other fields, tag included.
    pub(super) others: Vec<(u32, Span)>,
    /// When it was taken.
    pub(super) time_nanos: Option<i64>,
}

impl Tables {
    /// Finds all records.
    ///
    /// # Errors
    /// If the bytes are not a message, a table holds something else than records, or there are too many.
    pub fn read(&mut self, profile: &[u8]) -> Result<(), Error> {
        self.clear();
        if u32::try_from(profile.len()).is_err() {
            return Err(Error::TooManyRecords { limit: MAX_RECORDS });
        }
        let (mut walk, mut count) = (fields(profile), 0);
        while let Some((place, read)) = walk.next_field()? {
            count += 1;
            if count > MAX_RECORDS {
                return Err(Error::TooManyRecords { limit: MAX_RECORDS });
            }
            let table = match read.number {
                field::SAMPLE_TYPE => &mut self.sample_types,
                field::SAMPLE => &mut self.samples,
                field::MAPPING => &mut self.mappings,
                field::LOCATION => &mut self.locations,
                field::FUNCTION => &mut self.functions,
                field::STRING => &mut self.strings,
                number => {
                    if number == field::TIME_NANOS {
                        self.time_nanos = Some(read.i64()?);
                    }
                    let whole = Span { at: place.start as u32, len: place.len() as u32 };
                    self.others.push((number, whole));
                    continue;
                }
            };
            let len = read.bytes()?.len();
            // The payload is the end of the field.
            table.push(Span { at: (place.end - len) as u32, len: len as u32 });
        }
        Ok(())
    }

    fn clear(&mut self) {
        let Self { sample_types, samples, mappings, locations, functions, strings, others, time_nanos } =
            self;
        for table in [sample_types, samples, mappings, locations, functions, strings] {
            table.clear();
        }
        others.clear();
        *time_nanos = None;
    }

    /// Bytes that the tables take.
    pub(super) fn capacity(&self) -> usize {
        let Self { sample_types, samples, mappings, locations, functions, strings, others, .. } = self;
        let places: usize = [sample_types, samples, mappings, locations, functions, strings]
            .iter()
            .map(|t| t.capacity())
            .sum();
        places * size_of::<Span>() + others.capacity() * size_of::<(u32, Span)>()
    }

    /// The serialised samples.
    pub fn samples<'a>(&'a self, profile: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.samples.iter().map(|span| span.of(profile))
    }

    /// A text of the string table. Index 0 is the empty text, also where there is no table.
    ///
    /// # Errors
    /// If it is not there.
    #[inline]
    pub fn string<'a>(&self, profile: &'a [u8], index: u64) -> Result<&'a [u8], Error> {
        match usize::try_from(index).ok().and_then(|i| self.strings.get(i)) {
            Some(span) => Ok(span.of(profile)),
            None if index == 0 => Ok(b""),
            None => Err(Error::NoString { index }),
        }
    }

    /// The value types: indices of the texts of type and unit.
    ///
    /// # Errors
    /// If one is broken or there are too many.
    pub fn columns(&self, profile: &[u8]) -> Result<Vec<(u64, u64)>, Error> {
        if self.sample_types.len() > MAX_COLUMNS {
            return Err(Error::TooManyColumns { found: self.sample_types.len() });
        }
        self.sample_types.iter().map(|span| value_type(span.of(profile))).collect()
    }
}

/// A `ValueType`: indices of type and unit.
pub(super) fn value_type(message: &[u8]) -> Result<(u64, u64), Error> {
    let (mut kind, mut unit) = (0, 0);
    let mut reader = Reader::new(message);
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => kind = field.u64()?,
            2 => unit = field.u64()?,
            _ => {}
        }
    }
    Ok((kind, unit))
}

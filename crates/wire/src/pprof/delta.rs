//! What has been added to a cumulative profile since the last one of the same target.
//!
//! Data path: tables → each sample's identity (addresses of its stack, labels) → what is remembered of it → the
//! samples that have grown, with the locations, functions and texts that they need; all else stays out or empty.
//! Invariants: a profile is compared with the last one that was *settled*, so that what was not taken downstream is
//! part of the next difference; a profile that fails changes nothing that a later difference is made from; what is
//! remembered has a bound.

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::ids::Ids;
use super::tables::{Span, Tables, field, value_type};
use super::{Error, MAX_COLUMNS};
use crate::otlp::view::fields;
use crate::proto::{Field, Reader, push_bytes_field, push_varint, push_varint_field, varint_len};

/// Most samples that are remembered of a target: 40 bytes each. Real programs have some ten thousand.
pub const MAX_SAMPLES: usize = 1 << 18;
/// A sample that profiles have no more is forgotten after so many of them. The Go runtime never drops one.
const KEEP: u32 = 4;
/// Cumulative values of a sample.
const SLOTS: usize = 2;

/// Which values of a profile only grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What was allocated since the program started; what is in use is left as it is.
    Memory,
    /// How often and how long the program has waited (block, mutex).
    Contention,
}

impl Kind {
    fn columns(self) -> [(&'static [u8], &'static [u8]); SLOTS] {
        match self {
            Self::Memory => [(b"alloc_objects", b"count"), (b"alloc_space", b"bytes")],
            Self::Contention => [(b"contentions", b"count"), (b"delay", b"nanoseconds")],
        }
    }
}

/// What became of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// None of its values is cumulative: it is to be used as it is.
    Plain,
    /// It is the first: there is nothing to compare it with.
    First,
    /// Nothing has been added.
    Empty,
    /// The difference has been written.
    Written {
        /// The values had fallen: the program was started anew, and what it has had since is the difference.
        restarted: bool,
    },
}

/// What is remembered of a sample.
struct Known {
    /// Its cumulative values in the settled profile.
    old: [i64; SLOTS],
    /// The last profile that had it.
    seen: u32,
    /// Which of that profile's distinct samples it was.
    distinct: u32,
}

/// A profile that has been compared and not settled yet.
struct Pending {
    /// By number of the distinct sample.
    values: Vec<[i64; SLOTS]>,
    time_nanos: Option<i64>,
    restarted: bool,
}

/// The memory of one target's profile.
pub struct Delta {
    kind: Kind,
    /// Most samples of `known`.
    limit: usize,
    known: HashMap<(u64, u64), Known, foldhash::fast::RandomState>,
    profile: u32,
    started: bool,
    time_nanos: Option<i64>,
    pending: Option<Pending>,
}

/// One of the profile's distinct samples.
struct Distinct {
    sample: Span,
    old: [i64; SLOTS],
}

/// What a comparison needs besides the memory of the target; to be used again.
#[derive(Default)]
pub struct Scratch {
    tables: Tables,
    location_ids: Ids,
    function_ids: Ids,
    /// What a location is known by: its address, or its lines where it has none.
    identities: Vec<u64>,
    distinct: Vec<Distinct>,
    /// Values of the distinct samples, a row each.
    sums: Vec<i64>,
    values: Vec<i64>,
    key: Vec<u8>,
    labels: Vec<u128>,
    needed: Needed,
    sample: Vec<u8>,
}

/// Records that the written samples refer to.
#[derive(Default)]
struct Needed {
    locations: Vec<bool>,
    functions: Vec<bool>,
    strings: Vec<bool>,
}

impl Needed {
    fn reset(&mut self, tables: &Tables) {
        let sizes = [tables.locations.len(), tables.functions.len(), tables.strings.len()];
        for (marks, size) in
            [&mut self.locations, &mut self.functions, &mut self.strings].into_iter().zip(sizes)
        {
            marks.clear();
            marks.resize(size, false);
        }
        // The empty text is always there.
        self.string(0);
    }

    /// A text that is not there is not there in the difference either.
    fn string(&mut self, index: u64) {
        if let Some(mark) = usize::try_from(index).ok().and_then(|i| self.strings.get_mut(i)) {
            *mark = true;
        }
    }
}

impl Scratch {
    /// Bytes that it holds on to.
    pub fn capacity(&self) -> usize {
        self.tables.capacity()
            + self.identities.capacity() * size_of::<u64>()
            + self.distinct.capacity() * size_of::<Distinct>()
            + (self.sums.capacity() + self.values.capacity()) * size_of::<i64>()
    }

    /// Finds what each location is known by.
    fn locate(&mut self, profile: &[u8]) -> Result<(), Error> {
        let Self { tables, location_ids, function_ids, identities, key, .. } = self;
        function_ids.reset(tables.functions.len());
        for (place, span) in tables.functions.iter().enumerate() {
            function_ids.insert(first_varint(span.of(profile), 1)?, place as u32);
        }
        location_ids.reset(tables.locations.len());
        identities.clear();
        for (place, span) in tables.locations.iter().enumerate() {
            let (mut id, mut address) = (0, 0);
            let mut reader = Reader::new(span.of(profile));
            while let Some(field) = reader.next_field()? {
                match field.number {
                    1 => id = field.u64()?,
                    3 => address = field.u64()?,
                    _ => {}
                }
            }
            location_ids.insert(id, place as u32);
            identities.push(match address {
                0 => lines(tables, function_ids, key, profile, *span)?,
                address => address,
            });
        }
        Ok(())
    }

    /// The identity of a sample; its values are left in `values`.
    fn identify(&mut self, profile: &[u8], sample: Span) -> Result<(u64, u64), Error> {
        self.key.clear();
        self.labels.clear();
        self.values.clear();
        let mut reader = Reader::new(sample.of(profile));
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => {
                    let mut missing = None;
                    field.each_varint(|id| match self.location_ids.get(id) {
                        Some(place) => self.key.extend_from_slice(&self.identities[place].to_le_bytes()),
                        None => missing = Some(id),
                    })?;
                    if let Some(id) = missing {
                        return Err(Error::NoLocation { id });
                    }
                }
                2 => field.each_varint(|value| self.values.push(value as i64))?,
                3 => self.labels.push(label(&self.tables, profile, field)?),
                _ => {}
            }
        }
        // Two samples differ by their labels, not by the order of these.
        self.labels.sort_unstable();
        if !self.labels.is_empty() {
            let stack = self.key.len() as u64;
            self.labels.iter().for_each(|label| self.key.extend_from_slice(&label.to_le_bytes()));
            self.key.extend_from_slice(&stack.to_le_bytes());
        }
        let hash = xxh3_128(&self.key);
        Ok(((hash >> 64) as u64, hash as u64))
    }
}

/// The first varint field of a number; 0 if there is none.
fn first_varint(message: &[u8], number: u32) -> Result<u64, Error> {
    let mut reader = Reader::new(message);
    while let Some(field) = reader.next_field()? {
        if field.number == number {
            return Ok(field.u64()?);
        }
    }
    Ok(0)
}

/// What a location without an address is known by, as interpreters' profiles have them: functions and lines.
fn lines(
    tables: &Tables,
    ids: &Ids,
    key: &mut Vec<u8>,
    profile: &[u8],
    location: Span,
) -> Result<u64, Error> {
    key.clear();
    let mut reader = Reader::new(location.of(profile));
    while let Some(field) = reader.next_field()? {
        if field.number != 4 {
            continue;
        }
        let (mut function, mut line) = (0, 0);
        let mut reader = field.message()?;
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => function = field.u64()?,
                2 => line = field.u64()?,
                _ => {}
            }
        }
        if let Some(place) = ids.get(function) {
            let mut reader = Reader::new(tables.functions[place].of(profile));
            while let Some(field) = reader.next_field()? {
                // Name and file.
                if matches!(field.number, 2 | 4) {
                    let text = tables.string(profile, field.u64()?)?;
                    key.extend_from_slice(&(text.len() as u64).to_le_bytes());
                    key.extend_from_slice(text);
                }
            }
        }
        key.extend_from_slice(&line.to_le_bytes());
    }
    Ok(xxh3_64(key))
}

/// What a label is known by: its texts, not their places in the table.
fn label(tables: &Tables, profile: &[u8], field: Field<'_>) -> Result<u128, Error> {
    let [mut name, mut text, mut number, mut unit] = [0; 4];
    let mut reader = field.message()?;
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => name = field.u64()?,
            2 => text = field.u64()?,
            3 => number = field.u64()?,
            4 => unit = field.u64()?,
            _ => {}
        }
    }
    let mut key = [0; 32];
    let texts = [name, text, unit];
    for (part, index) in key.chunks_exact_mut(8).zip(texts) {
        part.copy_from_slice(&xxh3_64(tables.string(profile, index)?).to_le_bytes());
    }
    key[24..].copy_from_slice(&number.to_le_bytes());
    Ok(xxh3_128(&key))
}

impl Delta {
    /// Nothing is remembered yet.
    pub fn new(kind: Kind) -> Self {
        Self::with_limit(kind, MAX_SAMPLES)
    }

    /// As [`Delta::new`], for at most `limit` samples.
    pub fn with_limit(kind: Kind, limit: usize) -> Self {
        let known = HashMap::default();
        Self { kind, limit, known, profile: 0, started: false, time_nanos: None, pending: None }
    }

    /// Which of its values only grow.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// How many samples are remembered.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Compares a serialised profile with the settled one; the difference is appended to `out`.
    ///
    /// # Errors
    /// If it is not a sound profile: the next one is compared as if this one had not come. If it has more samples
    /// than are remembered: the next one is the first.
    pub fn compare(
        &mut self,
        profile: &[u8],
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<Outcome, Error> {
        self.pending = None;
        scratch.tables.read(profile)?;
        let columns = scratch.tables.columns(profile)?;
        let slots = self.slots(&columns, &scratch.tables, profile)?;
        if slots.iter().all(Option::is_none) {
            return Ok(Outcome::Plain);
        }
        scratch.locate(profile)?;
        if let Err(error) = self.gather(profile, columns.len(), scratch) {
            if matches!(error, Error::TooManySamples { .. }) {
                // Half of them may be those of a program that is no more: without them the next one may fit.
                *self = Self::with_limit(self.kind, self.limit);
            }
            return Err(error);
        }
        let (values, restarted) = self.subtract(&slots, scratch);
        let time_nanos = scratch.tables.time_nanos;
        self.pending = Some(Pending { values, time_nanos, restarted });
        if !self.started {
            return Ok(Outcome::First);
        }
        let width = columns.len();
        if scratch.sums.iter().all(|value| *value == 0) {
            return Ok(Outcome::Empty);
        }
        let before = out.len();
        let duration =
            self.time_nanos.zip(time_nanos).and_then(|(was, is)| is.checked_sub(was)).filter(|d| *d > 0);
        let written = write(scratch, width, profile, duration, out);
        if written.is_err() {
            out.truncate(before);
            self.pending = None;
        }
        written.map(|()| Outcome::Written { restarted })
    }

    /// From now on profiles are compared with the last one that [`Delta::compare`] got.
    pub fn settle(&mut self) {
        let Some(pending) = self.pending.take() else { return };
        let profile = self.profile;
        self.known.retain(|_, known| {
            if known.seen == profile {
                known.old = pending.values[known.distinct as usize];
                return true;
            }
            // Of a program that was started anew nothing is worth knowing.
            !pending.restarted && profile.wrapping_sub(known.seen) < KEEP
        });
        if self.known.capacity() > 4 * self.known.len().max(256) {
            self.known.shrink_to_fit();
        }
        self.time_nanos = pending.time_nanos;
        self.started = true;
    }

    /// For each value type, which cumulative value it is.
    fn slots(
        &self,
        columns: &[(u64, u64)],
        tables: &Tables,
        profile: &[u8],
    ) -> Result<[Option<usize>; MAX_COLUMNS], Error> {
        let mut slots = [None; MAX_COLUMNS];
        for (slot, (kind, unit)) in self.kind.columns().into_iter().enumerate() {
            for (column, (kind_index, unit_index)) in columns.iter().enumerate() {
                if tables.string(profile, *kind_index)? == kind
                    && tables.string(profile, *unit_index)? == unit
                {
                    slots[column] = Some(slot);
                    break;
                }
            }
        }
        Ok(slots)
    }

    /// Fills `distinct` and `sums`: a profile may have a sample several times, which is the sum of them.
    fn gather(&mut self, profile: &[u8], width: usize, scratch: &mut Scratch) -> Result<(), Error> {
        scratch.distinct.clear();
        scratch.sums.clear();
        // 0 would be taken for a profile's number after 2^32 of them; the worst is that a sample is forgotten late.
        self.profile = self.profile.wrapping_add(1);
        for i in 0..scratch.tables.samples.len() {
            let sample = scratch.tables.samples[i];
            let key = scratch.identify(profile, sample)?;
            if scratch.values.len() != width {
                return Err(Error::Values { found: scratch.values.len(), expected: width });
            }
            let distinct = scratch.distinct.len();
            let room = self.known.len() < self.limit;
            let old = match self.known.entry(key) {
                Entry::Occupied(mut known) if known.get().seen != self.profile => {
                    (known.get_mut().seen, known.get_mut().distinct) = (self.profile, distinct as u32);
                    known.get().old
                }
                Entry::Occupied(known) => {
                    let row = &mut scratch.sums[known.get().distinct as usize * width..][..width];
                    row.iter_mut()
                        .zip(&scratch.values)
                        .for_each(|(sum, value)| *sum = sum.wrapping_add(*value));
                    continue;
                }
                Entry::Vacant(_) if !room => return Err(Error::TooManySamples { limit: self.limit }),
                Entry::Vacant(free) => {
                    free.insert(Known { old: [0; SLOTS], seen: self.profile, distinct: distinct as u32 });
                    [0; SLOTS]
                }
            };
            scratch.distinct.push(Distinct { sample, old });
            scratch.sums.extend_from_slice(&scratch.values);
        }
        Ok(())
    }

    /// Makes differences of the cumulative sums; answers what they were, and whether the program was started anew.
    ///
    /// It was if the total of what both profiles have has fallen, which in one process it cannot. One sample alone
    /// may waver where a profiler scales what it counts: it is 0 then.
    fn subtract(
        &self,
        slots: &[Option<usize>; MAX_COLUMNS],
        scratch: &mut Scratch,
    ) -> (Vec<[i64; SLOTS]>, bool) {
        let width = scratch.tables.sample_types.len();
        let (mut was, mut is) = ([0i128; SLOTS], [0i128; SLOTS]);
        let mut values = Vec::with_capacity(scratch.distinct.len());
        let rows = scratch.sums.chunks_exact(width);
        for (distinct, row) in scratch.distinct.iter().zip(rows) {
            let mut new = [0; SLOTS];
            for (value, slot) in row.iter().zip(slots) {
                if let Some(slot) = *slot {
                    new[slot] = *value;
                }
            }
            if distinct.old != [0; SLOTS] {
                for slot in 0..SLOTS {
                    was[slot] += i128::from(distinct.old[slot]);
                    is[slot] += i128::from(new[slot]);
                }
            }
            values.push(new);
        }
        let restarted = was.iter().zip(&is).any(|(was, is)| is < was);
        if !restarted {
            for (distinct, row) in scratch.distinct.iter().zip(scratch.sums.chunks_exact_mut(width)) {
                for (value, slot) in row.iter_mut().zip(slots) {
                    if let Some(slot) = *slot {
                        *value = value.saturating_sub(distinct.old[slot]).max(0);
                    }
                }
            }
        }
        (values, restarted)
    }
}

/// Appends the profile of the samples whose sums are not all 0.
fn write(
    scratch: &mut Scratch,
    width: usize,
    profile: &[u8],
    duration: Option<i64>,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let Scratch { tables, location_ids, function_ids, distinct, sums, needed, sample: message, .. } = scratch;
    needed.reset(tables);
    for span in &tables.sample_types {
        let (kind, unit) = value_type(span.of(profile))?;
        [kind, unit].into_iter().for_each(|index| needed.string(index));
        push_bytes_field(out, field::SAMPLE_TYPE, span.of(profile));
    }
    for (distinct, row) in distinct.iter().zip(sums.chunks_exact(width)) {
        if row.iter().any(|value| *value != 0) {
            message.clear();
            write_sample(distinct.sample.of(profile), row, location_ids, needed, message)?;
            push_bytes_field(out, field::SAMPLE, message);
        }
    }
    for span in &tables.mappings {
        // File and build ID.
        each_varint_of(span.of(profile), &[5, 6], |index| needed.string(index))?;
        push_bytes_field(out, field::MAPPING, span.of(profile));
    }
    for place in 0..tables.locations.len() {
        if needed.locations[place] {
            let location = tables.locations[place].of(profile);
            need_functions(location, function_ids, needed)?;
            push_bytes_field(out, field::LOCATION, location);
        }
    }
    for place in 0..tables.functions.len() {
        if needed.functions[place] {
            let function = tables.functions[place].of(profile);
            each_varint_of(function, &[2, 3, 4], |index| needed.string(index))?;
            push_bytes_field(out, field::FUNCTION, function);
        }
    }
    for (number, span) in &tables.others {
        if *number == field::DURATION_NANOS && duration.is_some() {
            continue;
        }
        write_other(*number, span.of(profile), needed, out)?;
    }
    if let Some(duration) = duration {
        push_varint_field(out, field::DURATION_NANOS, duration as u64);
    }
    // Unused texts are empty ones: the others keep their places.
    for (needed, span) in needed.strings.iter().zip(&tables.strings) {
        push_bytes_field(out, field::STRING, if *needed { span.of(profile) } else { b"" });
    }
    Ok(())
}

/// A sample as it stands there, with other values.
fn write_sample(
    sample: &[u8],
    values: &[i64],
    locations: &Ids,
    needed: &mut Needed,
    message: &mut Vec<u8>,
) -> Result<(), Error> {
    let mut walk = fields(sample);
    while let Some((place, read)) = walk.next_field()? {
        match read.number {
            1 => read.each_varint(|id| {
                if let Some(place) = locations.get(id) {
                    needed.locations[place] = true;
                }
            })?,
            2 => continue,
            3 => each_varint_of(read.bytes()?, &[1, 2, 4], |index| needed.string(index))?,
            _ => {}
        }
        message.extend_from_slice(&sample[place]);
    }
    let len: usize = values.iter().map(|value| varint_len(*value as u64)).sum();
    push_varint(message, 2 << 3 | 2);
    push_varint(message, len as u64);
    values.iter().for_each(|value| push_varint(message, *value as u64));
    Ok(())
}

/// Calls `f` for the varint fields of some numbers.
fn each_varint_of(message: &[u8], numbers: &[u32], mut f: impl FnMut(u64)) -> Result<(), Error> {
    let mut reader = Reader::new(message);
    while let Some(field) = reader.next_field()? {
        if numbers.contains(&field.number) {
            field.each_varint(&mut f)?;
        }
    }
    Ok(())
}

fn need_functions(location: &[u8], functions: &Ids, needed: &mut Needed) -> Result<(), Error> {
    let mut reader = Reader::new(location);
    while let Some(field) = reader.next_field()? {
        if field.number == 4 {
            each_varint_of(field.bytes()?, &[1], |id| {
                if let Some(place) = functions.get(id) {
                    needed.functions[place] = true;
                }
            })?;
        }
    }
    Ok(())
}

/// A field that is not of a table, as it stands there.
fn write_other(number: u32, whole: &[u8], needed: &mut Needed, out: &mut Vec<u8>) -> Result<(), Error> {
    let texts =
        [field::DROP_FRAMES, field::KEEP_FRAMES, field::COMMENT, field::DEFAULT_SAMPLE_TYPE, field::DOC_URL];
    if number == field::PERIOD_TYPE {
        let message = Reader::new(whole).next_field()?.map(Field::bytes).transpose()?.unwrap_or_default();
        let (kind, unit) = value_type(message)?;
        [kind, unit].into_iter().for_each(|index| needed.string(index));
    } else if texts.contains(&number) {
        each_varint_of(whole, &[number], |index| needed.string(index))?;
    }
    out.extend_from_slice(whole);
    Ok(())
}

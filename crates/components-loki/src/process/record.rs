//! The working record: one entry on its way through the stages.
//!
//! Invariant: nothing of an entry is copied before a stage changes it. The record borrows the entry from its
//! batch and the buffers from the pipeline; both outlive it.

use std::borrow::Cow;

use bytestring::ByteString;
use signal::logs::{Entry, Hold};
use signal::{Labels, LabelsBuilder};

use super::extracted::{Extracted, Values};
use super::labels::{Changes, EntryLabels, LabelCache};

/// Memory that records use one after the other.
#[derive(Debug, Default)]
pub struct Buffers {
    changes: Changes,
    values: Values,
    metadata: MetadataBuffer,
}

#[derive(Debug, Default)]
struct MetadataBuffer {
    builder: LabelsBuilder,
    changed: bool,
}

/// One entry on its way. Its parts are fields of their own, so that one can be read while another is written.
#[derive(Debug)]
pub struct Record<'a> {
    /// Nanoseconds since the Unix epoch.
    pub timestamp_ns: i64,
    /// The line.
    pub line: Line<'a>,
    /// Labels.
    pub labels: EntryLabels<'a>,
    /// Structured metadata.
    pub metadata: Metadata<'a>,
    /// What stages have taken out of the entry.
    pub extracted: Extracted<'a>,
    /// Set where the record is (part of) what a stage kept back: see [`Kept`].
    kept: Option<&'a Kept>,
    initial: &'a Labels,
    came_at_ns: i64,
}

/// The line of a record.
#[derive(Debug)]
pub struct Line<'a> {
    came: &'a ByteString,
    changed: Option<ByteString>,
}

impl std::ops::Deref for Line<'_> {
    type Target = ByteString;
    fn deref(&self) -> &ByteString {
        self.changed.as_ref().unwrap_or(self.came)
    }
}

impl Line<'_> {
    /// Replaces it.
    pub fn set(&mut self, line: impl Into<ByteString>) {
        self.changed = Some(line.into());
    }
}

/// The structured metadata of a record.
#[derive(Debug)]
pub struct Metadata<'a> {
    came: Option<&'a Labels>,
    buffer: &'a mut MetadataBuffer,
}

impl Metadata<'_> {
    fn begin(&mut self) -> &mut LabelsBuilder {
        if !self.buffer.changed {
            match self.came {
                Some(came) => self.buffer.builder.reset(came),
                None => self.buffer.builder.clear(),
            }
            self.buffer.changed = true;
        }
        &mut self.buffer.builder
    }

    /// The value of a name; `None` where absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        if self.buffer.changed { self.buffer.builder.get(name) } else { self.came?.get(name) }
    }

    /// Sets a value; an empty one removes the name.
    pub fn set(&mut self, name: &str, value: &str) {
        if self.get(name).unwrap_or_default() != value {
            self.begin().set(name, value);
        }
    }

    /// Removes a name.
    pub fn remove(&mut self, name: &str) {
        self.set(name, "");
    }

    /// All names and values.
    pub fn for_each(&self, mut f: impl FnMut(&str, &str)) {
        if self.buffer.changed {
            self.buffer.builder.iter().for_each(|(n, v)| f(n, v));
        } else {
            self.came.iter().flat_map(|m| m.iter()).for_each(|(n, v)| f(n, v));
        }
    }

    fn finish(&self) -> Option<Labels> {
        if self.buffer.changed {
            Some(self.buffer.builder.build()).filter(|m| !m.is_empty())
        } else {
            self.came.cloned()
        }
    }
}

/// A record that a stage keeps back: owned, with the promise of the batches that its lines came in.
#[derive(Debug)]
pub struct Kept {
    /// Nanoseconds since the Unix epoch.
    pub timestamp_ns: i64,
    /// The line.
    pub line: ByteString,
    /// Labels as they were when it was kept.
    pub labels: Labels,
    metadata: Option<Labels>,
    values: Values,
    initial: Labels,
    holds: Vec<(u64, Hold)>,
}

impl Kept {
    /// Adds the promise of a batch that another part of it came in; once a batch.
    pub fn hold(&mut self, batch: u64, hold: Option<&Hold>) {
        if let Some(hold) = hold
            && self.holds.last().is_none_or(|(last, _)| *last != batch)
        {
            self.holds.push((batch, hold.clone()));
        }
    }

    /// Adds the promises of an earlier part.
    pub fn hold_all(&mut self, earlier: &Kept) {
        for (batch, hold) in &earlier.holds {
            if self.holds.iter().all(|(known, _)| known != batch) {
                self.holds.push((*batch, hold.clone()));
            }
        }
    }

    /// Bytes of memory that it takes, roughly.
    pub fn bytes(&self) -> usize {
        self.line.len() + size_of::<Self>() + self.holds.len() * size_of::<(u64, Hold)>()
    }
}

impl<'a> Record<'a> {
    pub(super) fn new(entry: &'a Entry, labels: &'a Labels, buffers: &'a mut Buffers) -> Self {
        buffers.changes.clear();
        buffers.values.clear();
        buffers.metadata.changed = false;
        Self {
            timestamp_ns: entry.timestamp_ns,
            line: Line { came: &entry.line, changed: None },
            labels: EntryLabels::new(labels, &mut buffers.changes),
            metadata: Metadata { came: entry.metadata.as_ref(), buffer: &mut buffers.metadata },
            extracted: Extracted::new(labels, &mut buffers.values),
            kept: None,
            initial: labels,
            came_at_ns: entry.timestamp_ns,
        }
    }

    pub(super) fn of_kept(kept: &'a Kept, buffers: &'a mut Buffers) -> Self {
        buffers.changes.clear();
        buffers.values.clone_from(&kept.values);
        buffers.metadata.changed = false;
        Self {
            timestamp_ns: kept.timestamp_ns,
            line: Line { came: &kept.line, changed: None },
            labels: EntryLabels::new(&kept.labels, &mut buffers.changes),
            metadata: Metadata { came: kept.metadata.as_ref(), buffer: &mut buffers.metadata },
            extracted: Extracted::new(&kept.initial, &mut buffers.values),
            kept: Some(kept),
            initial: &kept.initial,
            came_at_ns: kept.timestamp_ns,
        }
    }

    /// What a stage that has a `source` reads: the extracted value of that name as text, else the line.
    /// `None` where the value is absent or null. A long text is shared, not copied.
    pub fn source(&self, source: Option<&str>) -> Option<ByteString> {
        match source {
            None => Some(self.line.clone()),
            Some(name) => self.extracted.shared_text(name),
        }
    }

    /// As [`Record::source`], to be looked at while nothing is written.
    pub fn peek(&self, source: Option<&str>) -> Option<Cow<'_, str>> {
        match source {
            None => Some(Cow::Borrowed(&**self.line)),
            Some(name) => self.extracted.text(name),
        }
    }

    /// Makes the labels of now part of the extracted map, as at the start of a pipeline.
    pub(super) fn extract_labels(&mut self) {
        if self.labels.is_unchanged() && self.extracted.values().is_empty() {
            return;
        }
        let extracted = &mut self.extracted;
        self.labels.for_each(|name, value| extracted.set(name, value));
    }

    /// Whether it is still the entry that it was, so that the batch may go on as it came.
    pub(super) fn is_unchanged(&self) -> bool {
        self.kept.is_none()
            && self.line.changed.is_none()
            && self.labels.is_unchanged()
            && !self.metadata.buffer.changed
            && self.timestamp_ns == self.came_at_ns
    }

    /// The promises that it depends on, with the numbers of their batches.
    pub(super) fn holds(&self) -> &[(u64, Hold)] {
        self.kept.map_or(&[], |kept| &kept.holds)
    }

    /// The entry that it has become. A changed line is taken out of the record.
    pub(super) fn entry(&mut self, stream: u32) -> Entry {
        Entry {
            stream,
            timestamp_ns: self.timestamp_ns,
            line: self.line.changed.take().unwrap_or_else(|| self.line.came.clone()),
            metadata: self.metadata.finish(),
        }
    }

    /// An owned copy, for stages that keep records back. `batch` and `hold` are of the batch under way.
    pub(super) fn keep(&self, cache: &mut LabelCache, batch: u64, hold: Option<&Hold>) -> Kept {
        let mut kept = Kept {
            timestamp_ns: self.timestamp_ns,
            line: (*self.line).clone(),
            labels: cache.resolve(&self.labels),
            metadata: self.metadata.finish(),
            values: self.extracted.values().clone(),
            initial: self.initial.clone(),
            holds: self.kept.map(|k| k.holds.clone()).unwrap_or_default(),
        };
        if self.kept.is_none() {
            kept.hold(batch, hold);
        }
        kept
    }
}

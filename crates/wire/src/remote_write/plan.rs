//! How a batch is cut into requests and series: the part that both versions share.
//!
//! Points of one series are joined if they are neighbours. An exemplar travels with the first point or
//! histogram of its series; what belongs to none goes alone, at the end, where the version allows that.

use hashbrown::HashTable;
use signal::samples::{ExemplarPoint, HistogramPoint};
use signal::{PointRef, Points, SampleBatch, Series};

use super::{Counts, Options};
use crate::proto::put_varint;

/// What becomes one `TimeSeries` message.
pub(super) struct Group<'b> {
    pub series: &'b Series,
    pub data: Data<'b>,
    /// Index into [`SampleBatch::families`], or [`signal::samples::NO_FAMILY`].
    pub family: u32,
}

pub(super) enum Data<'b> {
    Points(Run<'b>),
    Histograms(&'b [HistogramPoint]),
    /// Only exemplars.
    Nothing,
}

/// Neighbouring points of one series.
#[derive(Clone, Copy)]
pub(super) struct Run<'b> {
    points: &'b Points,
    start: usize,
    pub len: usize,
}

impl<'b> Run<'b> {
    pub(super) fn iter(self) -> impl Iterator<Item = PointRef<'b>> {
        (self.start..self.start + self.len).map(|index| self.points.at(index))
    }

    /// The point, if it is only one.
    #[inline]
    pub(super) fn only(self) -> Option<PointRef<'b>> {
        (self.len == 1).then(|| self.points.at(self.start))
    }
}

/// Walks a batch once.
pub(super) struct Plan<'b> {
    batch: &'b SampleBatch,
    options: Options,
    points: usize,
    histograms: usize,
    exemplars: Exemplars<'b>,
    /// Whether exemplars go that belong to nothing else in the batch.
    lone_exemplars: bool,
    /// Items in the current request.
    used: usize,
}

impl<'b> Plan<'b> {
    pub(super) fn new(batch: &'b SampleBatch, options: Options, lone_exemplars: bool) -> Self {
        let exemplars = if options.exemplars { &batch.exemplars[..] } else { &[] };
        let exemplars = Exemplars::new(exemplars);
        Self { batch, options, points: 0, histograms: 0, exemplars, lone_exemplars, used: 0 }
    }

    /// Exemplars that have not been given out.
    pub(super) fn exemplars_left(&self) -> usize {
        self.exemplars.sent.iter().filter(|sent| !**sent).count()
    }

    pub(super) fn start_request(&mut self) {
        self.used = 0;
    }

    fn room(&self) -> usize {
        self.options.max_samples.max(1).saturating_sub(self.used)
    }

    /// The next series of this request, with the exemplars that go along put into `exemplars`; `None` when
    /// the request is full or the batch is at its end.
    #[inline]
    pub(super) fn next_group(&mut self, exemplars: &mut Vec<&'b ExemplarPoint>) -> Option<Group<'b>> {
        let room = self.room();
        if room == 0 {
            return None;
        }
        let points = &self.batch.points;
        let group = if self.points < points.len() {
            let (start, first) = (self.points, points.at(self.points));
            let most = room.min(points.len() - start);
            let same = |index: usize| {
                let next = points.at(index);
                next.series.ptr_eq(first.series) && next.family == first.family
            };
            let len = 1 + (start + 1..start + most).take_while(|index| same(*index)).count();
            self.points += len;
            self.used += len;
            Group {
                series: first.series,
                data: Data::Points(Run { points, start, len }),
                family: first.family,
            }
        } else {
            self.next_without_points(room)?
        };
        if !self.exemplars.is_empty() {
            exemplars.clear();
            self.exemplars.take(group.series, exemplars);
            self.used += exemplars.len();
        }
        Some(group)
    }

    fn next_without_points(&mut self, room: usize) -> Option<Group<'b>> {
        let histograms = if self.options.histograms { &self.batch.histograms[..] } else { &[] };
        if let Some(first) = histograms.get(self.histograms) {
            let rest = &histograms[self.histograms..];
            let same = |h: &&HistogramPoint| h.series.ptr_eq(&first.series) && h.family == first.family;
            let len = 1 + rest[1..].iter().take(room - 1).take_while(same).count();
            self.histograms += len;
            self.used += len;
            return Some(Group {
                series: &first.series,
                data: Data::Histograms(&rest[..len]),
                family: first.family,
            });
        }
        if !self.lone_exemplars {
            return None;
        }
        let series = self.exemplars.first_left()?;
        Some(Group { series, data: Data::Nothing, family: signal::samples::NO_FAMILY })
    }
}

/// Exemplars of a batch by series.
struct Exemplars<'b> {
    all: &'b [ExemplarPoint],
    /// First exemplar of each series that is still to be sent.
    first: HashTable<u32>,
    /// The next exemplar of the same series; `u32::MAX` at the end.
    next: Vec<u32>,
    /// All before this one are sent.
    done: usize,
    sent: Vec<bool>,
}

impl<'b> Exemplars<'b> {
    fn new(all: &'b [ExemplarPoint]) -> Self {
        let mut first: HashTable<u32> = HashTable::with_capacity(all.len());
        let mut next = vec![u32::MAX; all.len()];
        // From the end, so that chains are in order.
        for (i, exemplar) in all.iter().enumerate().rev() {
            let Ok(index) = u32::try_from(i) else { continue };
            let hash = exemplar.series.hash();
            match first.find_mut(hash, |j| all[*j as usize].series.ptr_eq(&exemplar.series)) {
                Some(head) => next[i] = std::mem::replace(head, index),
                None => {
                    first.insert_unique(hash, index, |j| all[*j as usize].series.hash());
                }
            }
        }
        Self { all, first, next, done: 0, sent: vec![false; all.len()] }
    }

    #[inline]
    fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    fn take(&mut self, series: &Series, out: &mut Vec<&'b ExemplarPoint>) {
        let all = self.all;
        let Ok(entry) = self.first.find_entry(series.hash(), |i| all[*i as usize].series.ptr_eq(series))
        else {
            return;
        };
        let mut index = entry.remove().0 as usize;
        while let Some(exemplar) = all.get(index) {
            out.push(exemplar);
            self.sent[index] = true;
            index = self.next[index] as usize;
        }
    }

    fn first_left(&mut self) -> Option<&'b Series> {
        while *self.sent.get(self.done)? {
            self.done += 1;
        }
        Some(&self.all[self.done].series)
    }
}

/// The `samples` field with one sample, the same in both versions: `0x12 len { 0x09 value 0x10 timestamp }`.
/// Neighbouring samples mostly have one time, so the bytes behind the value are kept.
pub(super) struct SampleField {
    timestamp_ms: i64,
    /// With a value, and with the value 0, which is left out as proto3 says.
    with_value: ([u8; 24], usize),
    zero: ([u8; 24], usize),
}

impl SampleField {
    pub(super) fn new() -> Self {
        let mut field = Self { timestamp_ms: 0, with_value: ([0; 24], 0), zero: ([0; 24], 0) };
        field.set(0);
        field
    }

    fn set(&mut self, timestamp_ms: i64) {
        self.timestamp_ms = timestamp_ms;
        let mut time = [0; 11];
        time[0] = 0x10;
        let len = if timestamp_ms == 0 { 0 } else { 1 + put_varint(&mut time[1..], timestamp_ms as u64) };
        self.zero.0[..2].copy_from_slice(&[0x12, len as u8]);
        self.zero.0[2..2 + len].copy_from_slice(&time[..len]);
        self.zero.1 = 2 + len;
        self.with_value.0[..3].copy_from_slice(&[0x12, len as u8 + 9, 0x09]);
        self.with_value.0[11..11 + len].copy_from_slice(&time[..len]);
        self.with_value.1 = 11 + len;
    }

    #[inline]
    pub(super) fn bytes(&mut self, timestamp_ms: i64, value: f64) -> &[u8] {
        let (bytes, len) = self.padded(timestamp_ms, value);
        &bytes[..len]
    }

    /// The field at the start of a longer array, and its length.
    #[inline]
    pub(super) fn padded(&mut self, timestamp_ms: i64, value: f64) -> (&[u8; 24], usize) {
        if timestamp_ms != self.timestamp_ms {
            self.set(timestamp_ms);
        }
        if value.to_bits() == 0 {
            return (&self.zero.0, self.zero.1);
        }
        self.with_value.0[3..11].copy_from_slice(&value.to_le_bytes());
        (&self.with_value.0, self.with_value.1)
    }
}

/// Adds a group to the counts of a request.
#[inline]
pub(super) fn count(counts: &mut Counts, group: &Group<'_>, exemplars: usize) {
    match group.data {
        Data::Points(points) => counts.samples += points.len,
        Data::Histograms(histograms) => counts.histograms += histograms.len(),
        Data::Nothing => {}
    }
    counts.exemplars += exemplars;
}

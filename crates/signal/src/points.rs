//! The float samples of a batch: a list of points, or a row.
//!
//! A target shows the same series in the same order scrape after scrape. Where it does, its samples are a
//! [`Row`]: values and one time beside a shared [`SeriesList`]. Nothing is said again about a series, so
//! nothing of it is touched: no reference count, no cold memory. What was made of a list (relabelled series,
//! an encoded request) is kept under its identity.
//!
//! Readers go through [`Points::iter`] and need not know which of the two it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::labels::Series;
use crate::samples::{FamilyMetadata, NO_FAMILY, Point};

/// Metadata that points refer to by index; shared by batches that have the same.
pub type FamilyList = Arc<Vec<Arc<FamilyMetadata>>>;

/// Float samples; those of one family stand together where the source knows families.
#[derive(Clone, Debug)]
pub struct Points(Form);

#[derive(Clone, Debug)]
enum Form {
    Listed(Vec<Point>),
    Row(Row),
}

/// One sample for each series of a list, all of one time and without start times.
#[derive(Clone, Debug)]
pub struct Row {
    list: Arc<SeriesList>,
    timestamp_ms: i64,
    values: Vec<f64>,
}

/// The series of rows, in their order, with the families that they belong to.
#[derive(Debug)]
pub struct SeriesList {
    id: u64,
    series: Box<[Series]>,
    /// For each series an index into `families`, or [`NO_FAMILY`](crate::samples::NO_FAMILY).
    family: Indexes,
    families: FamilyList,
}

/// Indexes in as few bytes as they need.
#[derive(Debug)]
enum Indexes {
    /// All are [`NO_FAMILY`].
    None,
    /// [`u16::MAX`] for [`NO_FAMILY`].
    Narrow(Box<[u16]>),
    Wide(Box<[u32]>),
}

impl Indexes {
    fn new(indexes: Vec<u32>) -> Self {
        if indexes.iter().all(|index| *index == NO_FAMILY) {
            return Self::None;
        }
        if indexes.iter().all(|index| *index == NO_FAMILY || *index < u32::from(u16::MAX)) {
            return Self::Narrow(indexes.into_iter().map(|index| index as u16).collect());
        }
        Self::Wide(indexes.into())
    }

    #[inline]
    fn at(&self, index: usize) -> u32 {
        match self {
            Self::None => NO_FAMILY,
            Self::Narrow(indexes) if indexes[index] == u16::MAX => NO_FAMILY,
            Self::Narrow(indexes) => indexes[index].into(),
            Self::Wide(indexes) => indexes[index],
        }
    }
}

/// A point, wherever its parts are.
#[derive(Clone, Copy, Debug)]
pub struct PointRef<'a> {
    /// The labels, metric name included.
    pub series: &'a Series,
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// The value; the bits of [`STALE_NAN`](crate::samples::STALE_NAN) mark the end of a series.
    pub value: f64,
    /// When the counter started; 0 where unknown.
    pub start_ms: i64,
    /// Index into the batch's families, or [`NO_FAMILY`](crate::samples::NO_FAMILY).
    pub family: u32,
}

impl PointRef<'_> {
    /// A point of its own.
    pub fn to_point(self) -> Point {
        let Self { series, timestamp_ms, value, start_ms, family } = self;
        Point { series: series.clone(), timestamp_ms, value, start_ms, family }
    }

    /// The same sample of another series.
    pub fn with_series(self, series: Series) -> Point {
        let Self { timestamp_ms, value, start_ms, family, .. } = self;
        Point { series, timestamp_ms, value, start_ms, family }
    }
}

impl<'a> From<&'a Point> for PointRef<'a> {
    #[inline]
    fn from(point: &'a Point) -> Self {
        let Point { ref series, timestamp_ms, value, start_ms, family } = *point;
        Self { series, timestamp_ms, value, start_ms, family }
    }
}

impl SeriesList {
    /// A list with an identity of its own. `family` has an index for each series.
    ///
    /// # Panics
    /// If there are more or fewer indexes than series.
    pub fn new(series: Vec<Series>, family: Vec<u32>, families: FamilyList) -> Self {
        static IDS: AtomicU64 = AtomicU64::new(1);
        assert_eq!(series.len(), family.len(), "each series has an index");
        let id = IDS.fetch_add(1, Ordering::Relaxed);
        Self { id, series: series.into(), family: Indexes::new(family), families }
    }

    /// Its alone in this process, for ever.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The series in their order.
    pub fn series(&self) -> &[Series] {
        &self.series
    }

    /// For each series its index into [`SeriesList::families`].
    pub fn family(&self) -> impl ExactSizeIterator<Item = u32> {
        (0..self.series.len()).map(|index| self.family.at(index))
    }

    /// What the batches of such rows have as their families.
    pub fn families(&self) -> &FamilyList {
        &self.families
    }
}

impl Row {
    /// Samples of a list.
    ///
    /// # Panics
    /// If there is not one value for each series.
    pub fn new(list: Arc<SeriesList>, timestamp_ms: i64, values: Vec<f64>) -> Self {
        assert_eq!(list.series.len(), values.len(), "each series of a row has a value");
        Self { list, timestamp_ms, values }
    }

    /// The series.
    pub fn list(&self) -> &Arc<SeriesList> {
        &self.list
    }

    /// The time of all samples, in milliseconds since the Unix epoch.
    pub fn timestamp_ms(&self) -> i64 {
        self.timestamp_ms
    }

    /// The values in the order of the series.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    #[inline]
    fn at(&self, index: usize) -> PointRef<'_> {
        PointRef {
            series: &self.list.series[index],
            timestamp_ms: self.timestamp_ms,
            value: self.values[index],
            start_ms: 0,
            family: self.list.family.at(index),
        }
    }
}

impl Points {
    /// How many.
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Listed(points) => points.len(),
            Form::Row(row) => row.values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The point at an index.
    ///
    /// # Panics
    /// If there are not so many.
    #[inline]
    pub fn at(&self, index: usize) -> PointRef<'_> {
        match &self.0 {
            Form::Listed(points) => (&points[index]).into(),
            Form::Row(row) => row.at(index),
        }
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = PointRef<'_>> + Clone {
        (0..self.len()).map(|index| self.at(index))
    }

    /// The row, if it is one.
    pub fn row(&self) -> Option<&Row> {
        match &self.0 {
            Form::Row(row) => Some(row),
            Form::Listed(_) => None,
        }
    }

    /// The points as a list, for changing: a row becomes one.
    pub fn listed(&mut self) -> &mut Vec<Point> {
        if let Form::Row(row) = &self.0 {
            self.0 = Form::Listed((0..row.values.len()).map(|index| row.at(index).to_point()).collect());
        }
        match &mut self.0 {
            Form::Listed(points) => points,
            Form::Row(_) => unreachable!("made a list above"),
        }
    }

    /// Adds one at the end.
    #[inline]
    pub fn push(&mut self, point: Point) {
        match &mut self.0 {
            Form::Listed(points) => points.push(point),
            Form::Row(_) => self.listed().push(point),
        }
    }

    /// Takes all away; the memory of a list stays.
    pub fn clear(&mut self) {
        match &mut self.0 {
            Form::Listed(points) => points.clear(),
            Form::Row(_) => *self = Self::default(),
        }
    }
}

impl Default for Points {
    fn default() -> Self {
        Self(Form::Listed(Vec::new()))
    }
}

impl From<Vec<Point>> for Points {
    fn from(points: Vec<Point>) -> Self {
        Self(Form::Listed(points))
    }
}

impl From<Row> for Points {
    fn from(row: Row) -> Self {
        Self(Form::Row(row))
    }
}

impl FromIterator<Point> for Points {
    fn from_iter<I: IntoIterator<Item = Point>>(points: I) -> Self {
        Self::from(Vec::from_iter(points))
    }
}

impl Extend<Point> for Points {
    fn extend<I: IntoIterator<Item = Point>>(&mut self, points: I) {
        self.listed().extend(points);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Labels;

    fn series(name: &str) -> Series {
        Series::intern(Labels::from_pairs([("points_test", name)]))
    }

    fn row() -> Row {
        let list = SeriesList::new(vec![series("a"), series("b")], vec![0, NO_FAMILY], FamilyList::default());
        Row::new(Arc::new(list), 7, vec![1.0, 2.0])
    }

    fn shown(points: &Points) -> Vec<(String, i64, f64, u32)> {
        points.iter().map(|p| (p.series.to_string(), p.timestamp_ms, p.value, p.family)).collect()
    }

    #[test]
    fn a_row_reads_like_the_list_that_it_becomes_when_it_is_changed() {
        let mut points = Points::from(row());
        assert!(points.row().is_some());
        let before = shown(&points);
        assert_eq!(before[1], (series("b").to_string(), 7, 2.0, NO_FAMILY));
        points.push(Point { value: 3.0, ..points.at(0).to_point() });
        assert!(points.row().is_none());
        assert_eq!((points.len(), &shown(&points)[..2]), (3, &before[..]));
        points.clear();
        assert!(points.is_empty());
    }

    #[test]
    fn lists_with_the_same_series_are_told_apart() {
        assert_ne!(row().list().id(), row().list().id());
    }

    #[test]
    fn indexes_of_any_size_are_kept_as_they_are() {
        for family in [
            vec![],
            vec![NO_FAMILY; 2],
            vec![0, NO_FAMILY, 65_534],
            vec![0, NO_FAMILY, 65_535],
            vec![NO_FAMILY - 1, NO_FAMILY, 70_000],
        ] {
            let all = vec![series("a"); family.len()];
            let list = Arc::new(SeriesList::new(all, family.clone(), FamilyList::default()));
            assert!(list.family().eq(family.iter().copied()));
            let values = vec![0.0; family.len()];
            let points = Points::from(Row::new(list, 0, values));
            assert!(points.iter().map(|p| p.family).eq(family));
        }
    }
}

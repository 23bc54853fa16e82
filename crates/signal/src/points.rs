//! The float samples of a batch: a list of points, or a row.
//!
//! A target shows the same series in the same order scrape after scrape. Where it does, its samples are a
//! [`Row`]: values and one time beside a shared [`SeriesList`]. Nothing is said again about a series, so
//! nothing of it is touched: no reference count, no cold memory. What was made of a list (relabelled series,
//! an encoded request) is kept under its identity.
//!
//! Where everything that is needed of a list has been made of it, its series are not looked at any more. Who holds it
//! may then [pack](SeriesList::pack) it: what it says is kept in writing, a tenth of the memory, and the series
//! are there again when somebody asks.
//!
//! Readers go through [`Points::iter`] and need not know which of the two it is.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::labels::Series;
use crate::packed::Packed;
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
    /// Of the list, once they were asked for.
    series: OnceLock<Arc<[Series]>>,
    timestamp_ms: i64,
    values: Vec<f64>,
}

/// The series of rows, in their order, with the families that they belong to.
#[derive(Debug)]
pub struct SeriesList {
    id: u64,
    len: usize,
    content: Mutex<Content>,
    /// For each series an index into `families`, or [`NO_FAMILY`](crate::samples::NO_FAMILY).
    family: Indexes,
    families: FamilyList,
}

/// Series of all lists that are there in writing only.
static PACKED: AtomicUsize = AtomicUsize::new(0);

/// How many series there are in this process: those that are alive and those of packed lists.
pub fn series_count() -> usize {
    crate::series::live() + PACKED.load(Ordering::Relaxed)
}

/// The series of a list, the same in writing, or both.
#[derive(Debug)]
struct Content {
    series: Option<Arc<[Series]>>,
    packed: Option<Packed>,
    need: Need,
}

/// Whether series of a list were asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// They were not.
    #[default]
    None,
    /// They were, and they were there.
    Held,
    /// They were, and had to be made again.
    Unpacked,
}

/// When to pack the lists of one origin, which follow one another. At first at once, for most are needed a few
/// times when they begin and never again; where a list was needed too often after it had been packed, only when it has
/// not been for longer and longer.
#[derive(Clone, Debug, Default)]
pub struct Patience {
    /// How often a list had to be unpacked.
    unpacked: u32,
    /// Batches since the series were needed last.
    quiet: u32,
}

impl Patience {
    /// Unpackings before there is any waiting: what two lists take from their first batch until requests
    /// and relabelled series have been made of them.
    const FREE: u32 = 6;
    /// The longest wait is `1 << LONGEST` batches.
    const LONGEST: u32 = 8;
    /// After so many batches without a need all is as at first.
    const FORGIVEN: u32 = 512;

    /// Whether to pack now, behind a batch for which there was such need.
    pub fn is_over(&mut self, need: Need) -> bool {
        self.quiet = if need == Need::None { self.quiet.saturating_add(1) } else { 0 };
        if self.quiet >= Self::FORGIVEN {
            self.unpacked = 0;
        }
        if need == Need::Unpacked {
            self.unpacked = self.unpacked.saturating_add(1);
        }
        let over = self.unpacked.checked_sub(Self::FREE + 1);
        self.quiet >= over.map_or(0, |over| 1 << over.min(Self::LONGEST))
    }
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
        let (len, series) = (series.len(), Some(series.into()));
        let content = Mutex::new(Content { series, packed: None, need: Need::Held });
        Self { id, len, content, family: Indexes::new(family), families }
    }

    /// Its alone in this process, for ever.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// How many series.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The series in their order. Where the list is packed they are made again, which takes nearly as long as reading
    /// them off a page.
    pub fn series(&self) -> Arc<[Series]> {
        let mut content = self.content.lock();
        if let Some(series) = content.series.clone() {
            content.need = content.need.max(Need::Held);
            return series;
        }
        let series: Arc<[Series]> = content.packed.as_ref().map(Packed::unpack).unwrap_or_default().into();
        (content.series, content.need) = (Some(series.clone()), Need::Unpacked);
        PACKED.fetch_sub(self.len, Ordering::Relaxed);
        series
    }

    /// Whether series were asked for since this was called last; of a new list that they were.
    pub fn need(&self) -> Need {
        std::mem::take(&mut self.content.lock().need)
    }

    /// Lets go of the series and keeps what they say in writing.
    pub fn pack(&self) {
        let mut content = self.content.lock();
        let Some(series) = content.series.take() else { return };
        content.packed.get_or_insert_with(|| Packed::new(&series));
        PACKED.fetch_add(self.len, Ordering::Relaxed);
        // Series that end go to the tables that they stand in: outside of the lock.
        drop(content);
    }

    /// Whether it holds no series.
    pub fn is_packed(&self) -> bool {
        self.content.lock().series.is_none()
    }

    /// For each series its index into [`SeriesList::families`].
    pub fn family(&self) -> impl ExactSizeIterator<Item = u32> {
        (0..self.len).map(|index| self.family.at(index))
    }

    /// What the batches of such rows have as their families.
    pub fn families(&self) -> &FamilyList {
        &self.families
    }
}

impl Drop for SeriesList {
    fn drop(&mut self) {
        if self.content.get_mut().series.is_none() {
            PACKED.fetch_sub(self.len, Ordering::Relaxed);
        }
    }
}

impl Row {
    /// Samples of a list.
    ///
    /// # Panics
    /// If there is not one value for each series.
    pub fn new(list: Arc<SeriesList>, timestamp_ms: i64, values: Vec<f64>) -> Self {
        assert_eq!(list.len, values.len(), "each series of a row has a value");
        Self { list, series: OnceLock::new(), timestamp_ms, values }
    }

    /// What has the series.
    pub fn list(&self) -> &Arc<SeriesList> {
        &self.list
    }

    /// The series in their order, as [`SeriesList::series`] gives them.
    pub fn series(&self) -> &[Series] {
        self.series.get_or_init(|| self.list.series())
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
            series: &self.series()[index],
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
    fn a_packed_list_has_its_series_again_when_they_are_asked_for() {
        let row = row();
        let (list, series) = (row.list().clone(), row.series().to_vec());
        let in_writing = || PACKED.load(Ordering::Relaxed);
        assert_eq!((list.need(), list.need(), in_writing()), (Need::Held, Need::None, 0));
        list.pack();
        assert_eq!((list.is_packed(), in_writing()), (true, 2));
        let later = Row::new(list.clone(), 8, vec![3.0, 4.0]);
        assert_eq!((later.list().len(), list.need()), (2, Need::None), "nobody needs the series for that");
        drop(row);
        assert_eq!((later.series(), list.need()), (&series[..], Need::Unpacked));
        assert_eq!((list.is_packed(), in_writing()), (false, 0));
        assert_eq!((&list.series()[..], list.need()), (&series[..], Need::Held));
        // Who has begun to look at them goes on.
        list.pack();
        assert_eq!(later.series(), series);
        assert_eq!(shown(&later.clone().into())[1], (series[1].to_string(), 8, 4.0, NO_FAMILY));
        drop((list, later));
        assert_eq!(in_writing(), 0);
    }

    #[test]
    fn a_list_that_is_needed_again_and_again_stays_unpacked_for_longer() {
        let mut patience = Patience::default();
        // Batches without a need until the next pack.
        let mut wait = |need: Need| {
            let mut needs = std::iter::once(need).chain(std::iter::repeat(Need::None));
            std::iter::repeat_with(|| patience.is_over(needs.next().unwrap_or_default()))
                .position(|over| over)
                .expect("endless")
        };
        assert_eq!(wait(Need::Held), 0);
        let waits: Vec<usize> = (0..20).map(|_| wait(Need::Unpacked)).collect();
        assert_eq!(waits[..10], [0, 0, 0, 0, 0, 0, 1, 2, 4, 8]);
        assert_eq!(waits[14..], [256; 5 + 1]);
        (0..600).for_each(|_| assert_eq!(wait(Need::None), 0));
        assert_eq!(wait(Need::Unpacked), 0, "forgiven");
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

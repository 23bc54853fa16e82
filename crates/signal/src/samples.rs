//! A batch of metric samples, as it travels from scrapers and receivers to writers.
//!
//! A batch is shared and copied on write: cloning it is a reference count. A point is a series handle, a
//! time and a value, or a place in a row; nothing on the per-sample path looks at labels.

use std::sync::Arc;

use crate::histogram::NativeHistogram;
use crate::labels::{Labels, Series};
use crate::points::{FamilyList, Points};

/// A shared batch of samples.
#[derive(Clone, Debug, Default)]
pub struct Samples(Arc<SampleBatch>);

/// What a batch holds.
#[derive(Clone, Debug, Default)]
pub struct SampleBatch {
    /// Float samples: a list or a row.
    pub points: Points,
    /// Native histogram samples.
    pub histograms: Vec<HistogramPoint>,
    /// Exemplars, each with the series that it belongs to.
    pub exemplars: Vec<ExemplarPoint>,
    /// Families that `Point::family` and `HistogramPoint::family` point into, and metadata on its own.
    pub families: FamilyList,
    /// All series of the batch come from one origin that emits each series in order (a target): a writer
    /// may then keep the batch whole and order by this key instead of by series.
    pub origin: Option<u64>,
}

/// No family is known.
pub const NO_FAMILY: u32 = u32::MAX;

/// One float sample.
#[derive(Clone, Debug)]
pub struct Point {
    /// The labels, metric name included.
    pub series: Series,
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// The value; [`STALE_NAN`] bits mark the end of a series.
    pub value: f64,
    /// When the counter started, in milliseconds since the Unix epoch; 0 where unknown.
    pub start_ms: i64,
    /// Index into [`SampleBatch::families`], or [`NO_FAMILY`].
    pub family: u32,
}

/// One native histogram sample.
#[derive(Clone, Debug)]
pub struct HistogramPoint {
    /// The labels, metric name included.
    pub series: Series,
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// The histogram.
    pub histogram: Arc<NativeHistogram>,
    /// When it started to count, in milliseconds since the Unix epoch; 0 where unknown.
    pub start_ms: i64,
    /// Index into [`SampleBatch::families`], or [`NO_FAMILY`].
    pub family: u32,
}

/// An exemplar of a series.
#[derive(Clone, Debug)]
pub struct ExemplarPoint {
    /// The series that it illustrates.
    pub series: Series,
    /// Its own labels (`trace_id` …).
    pub labels: Labels,
    /// The observed value.
    pub value: f64,
    /// Milliseconds since the Unix epoch; 0 where the source gave none.
    pub timestamp_ms: i64,
}

/// What is known of a metric family.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FamilyMetadata {
    /// Family name (without `_total`, `_bucket` … where the source says so).
    pub name: String,
    /// Its type.
    pub kind: MetricKind,
    /// Help text, unescaped; may be empty.
    pub help: String,
    /// Unit; may be empty.
    pub unit: String,
}

/// Metric types, as in OpenMetrics and remote write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum MetricKind {
    /// Not told.
    #[default]
    Unknown,
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Buckets, sum, count.
    Histogram,
    /// A histogram of current values.
    GaugeHistogram,
    /// Quantiles, sum, count.
    Summary,
    /// Constant 1 with labels.
    Info,
    /// Booleans by label.
    StateSet,
}

/// The NaN whose bits mark a series as stale. As prometheus/model/value: `StaleNaN`.
pub const STALE_NAN: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// Whether a value is the staleness marker (bits compared: it is a NaN among NaNs).
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN.to_bits()
}

impl Samples {
    /// Makes a batch shareable.
    pub fn new(batch: SampleBatch) -> Self {
        Self(Arc::new(batch))
    }

    /// For changing: copies only if somebody else holds the batch too.
    pub fn make_mut(&mut self) -> &mut SampleBatch {
        Arc::make_mut(&mut self.0)
    }

    /// Samples, histograms and exemplars together.
    pub fn len(&self) -> usize {
        self.points.len() + self.histograms.len() + self.exemplars.len()
    }

    /// Whether it carries nothing, metadata included.
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.families.is_empty()
    }
}

impl std::ops::Deref for Samples {
    type Target = SampleBatch;
    fn deref(&self) -> &SampleBatch {
        &self.0
    }
}

impl From<SampleBatch> for Samples {
    fn from(batch: SampleBatch) -> Self {
        Self::new(batch)
    }
}

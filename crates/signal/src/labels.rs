//! Label sets: immutable, sorted, reference counted, held in the form in which remote write 1 sends them.
//!
//! Layout: one allocation with a header (hash, number of labels) and, label by label, the bytes of a
//! `prompb.TimeSeries.labels` field: `0x0A len { 0x0A len name 0x12 len value }`. A writer copies them
//! beside fresh samples. Names are sorted by bytes and unique; empty values are absent.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use triomphe::ThinArc;

/// The label that holds the metric name.
pub const METRIC_NAME: &str = "__name__";

/// An immutable label set. Equality compares bytes, behind the hash.
#[derive(Clone)]
pub struct Labels(ThinArc<Header, u8>);

#[derive(Clone, Copy, PartialEq, Eq)]
struct Header {
    hash: u64,
    count: u32,
}

/// A label set that is interned: within the process two equal sets are the same handle.
/// Until somebody interns through [`Series::intern`], a set is only [`Labels`].
#[derive(Clone)]
pub struct Series(Labels);

impl Series {
    /// The label set.
    pub fn labels(&self) -> &Labels {
        &self.0
    }
}
impl std::ops::Deref for Series {
    type Target = Labels;
    fn deref(&self) -> &Labels {
        &self.0
    }
}
impl fmt::Debug for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} labels", self.0.header.header.count)
    }
}
impl PartialEq for Labels {
    fn eq(&self, other: &Self) -> bool {
        self.0.header.header == other.0.header.header && self.0.slice == other.0.slice
    }
}
impl Eq for Labels {}
impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.header.header.hash);
    }
}
impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.slice.cmp(&other.0.slice)
    }
}

//! Native (exponential and custom-bucket) histograms, in the shape that Prometheus stores and sends.
//!
//! Data here; what can be done with them is in `check` (validity), `resolution` (merging buckets) and
//! `classic` (from `le` buckets), their form in OTLP in `otlp`, and as text in `display`.

mod buckets;
mod check;
mod classic;
mod display;
mod otlp;
mod resolution;

pub use check::HistogramError;
pub use classic::{ClassicError, convert_classic};
pub use otlp::has_no_value;

use crate::samples::{STALE_NAN, is_stale};

/// The schema of histograms with custom buckets.
pub const CUSTOM_BUCKETS: i32 = -53;

/// Schemas of exponential histograms that can be sent.
pub const EXPONENTIAL: std::ops::RangeInclusive<i32> = -4..=8;

/// One native histogram. Integer histograms keep their buckets as deltas, float histograms as absolute
/// counts, as in `prompb.Histogram`.
#[derive(Clone, Debug, PartialEq)]
pub struct NativeHistogram {
    /// Resolution: bucket factor 2^(2^-schema) for -4 ≤ schema ≤ 8; -53 means custom buckets.
    pub schema: i32,
    /// Width of the zero bucket.
    pub zero_threshold: f64,
    /// Sum of all observations.
    pub sum: f64,
    /// The counts, integer or float.
    pub counts: HistogramCounts,
    /// Runs of positive buckets.
    pub positive_spans: Vec<BucketSpan>,
    /// Runs of negative buckets.
    pub negative_spans: Vec<BucketSpan>,
    /// Upper bounds of custom buckets (schema -53), without +Inf.
    pub custom_values: Vec<f64>,
    /// Whether a reset is known to have happened or not.
    pub reset_hint: ResetHint,
}

/// The counts of a native histogram.
#[derive(Clone, Debug, PartialEq)]
pub enum HistogramCounts {
    /// Whole observations.
    Int {
        /// All observations.
        count: u64,
        /// Observations in the zero bucket.
        zero_count: u64,
        /// Positive buckets, each the difference to the one before.
        positive_deltas: Vec<i64>,
        /// Negative buckets, each the difference to the one before.
        negative_deltas: Vec<i64>,
    },
    /// Weighted or derived observations.
    Float {
        /// All observations.
        count: f64,
        /// Observations in the zero bucket.
        zero_count: f64,
        /// Positive buckets, absolute.
        positive_counts: Vec<f64>,
        /// Negative buckets, absolute.
        negative_counts: Vec<f64>,
    },
}

/// `length` consecutive buckets after a gap of `offset` buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketSpan {
    /// Gap to the previous span, or the index of the first bucket.
    pub offset: i32,
    /// Buckets in the run.
    pub length: u32,
}

/// What is known of counter resets, as in `prompb.Histogram.ResetHint`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ResetHint {
    /// Has to be detected.
    #[default]
    Unknown = 0,
    /// A reset.
    Yes = 1,
    /// No reset.
    No = 2,
    /// A gauge histogram, where resets mean nothing.
    Gauge = 3,
}

impl NativeHistogram {
    /// The marker for the end of a series, a histogram without buckets.
    pub fn stale() -> Self {
        Self {
            schema: 0,
            zero_threshold: 0.0,
            sum: STALE_NAN,
            counts: HistogramCounts::Int {
                count: 0,
                zero_count: 0,
                positive_deltas: Vec::new(),
                negative_deltas: Vec::new(),
            },
            positive_spans: Vec::new(),
            negative_spans: Vec::new(),
            custom_values: Vec::new(),
            reset_hint: ResetHint::Unknown,
        }
    }

    /// Whether it marks the end of a series.
    pub fn is_stale(&self) -> bool {
        is_stale(self.sum)
    }

    /// Whether its buckets have custom bounds.
    pub fn has_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_BUCKETS
    }

    /// Buckets held, the zero bucket not counted.
    pub fn bucket_count(&self) -> usize {
        match &self.counts {
            HistogramCounts::Int { positive_deltas, negative_deltas, .. } => {
                positive_deltas.len() + negative_deltas.len()
            }
            HistogramCounts::Float { positive_counts, negative_counts, .. } => {
                positive_counts.len() + negative_counts.len()
            }
        }
    }

    /// All observations.
    pub fn count(&self) -> f64 {
        match self.counts {
            HistogramCounts::Int { count, .. } => count as f64,
            HistogramCounts::Float { count, .. } => count,
        }
    }

    /// The same with float counts.
    #[must_use]
    pub fn to_float(&self) -> Self {
        let HistogramCounts::Int { count, zero_count, positive_deltas, negative_deltas } = &self.counts
        else {
            return self.clone();
        };
        let floats = |deltas: &[i64]| buckets::absolute(deltas).map(|count| count as f64).collect();
        let counts = HistogramCounts::Float {
            count: *count as f64,
            zero_count: *zero_count as f64,
            positive_counts: floats(positive_deltas),
            negative_counts: floats(negative_deltas),
        };
        Self { counts, ..self.clone() }
    }

    /// The same with integer counts; `None` where a count is negative, has a fraction or is too large to be
    /// exact.
    pub fn to_int(&self) -> Option<Self> {
        let HistogramCounts::Float { count, zero_count, positive_counts, negative_counts } = &self.counts
        else {
            return Some(self.clone());
        };
        let deltas = |counts: &[f64]| {
            let whole: Option<Vec<i64>> = counts.iter().map(|c| buckets::whole(*c)).collect();
            whole.map(|whole| buckets::deltas(&whole))
        };
        let counts = HistogramCounts::Int {
            count: buckets::whole(*count)?.unsigned_abs(),
            zero_count: buckets::whole(*zero_count)?.unsigned_abs(),
            positive_deltas: deltas(positive_counts)?,
            negative_deltas: deltas(negative_counts)?,
        };
        Some(Self { counts, ..self.clone() })
    }
}

//! Native (exponential and custom-bucket) histograms, in the shape that Prometheus stores and sends.

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

//! What flows through the graph: label sets, metric samples and the rules that rewrite them. Pure.

pub mod exposition;
pub mod histogram;
pub mod labels;
pub mod samples;

pub use histogram::NativeHistogram;
pub use labels::{Labels, Series};
pub use samples::{FamilyMetadata, MetricKind, SampleBatch, Samples};

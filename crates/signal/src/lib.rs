//! What flows through the graph: label sets, metric samples, log entries, OTLP requests, profiles and the rules
//! that rewrite them. Pure, but for the clock that stamps what carries no time.

mod builder;
mod by_origin;
pub mod clock;
pub mod copies;
pub mod exposition;
mod field;
pub mod histogram;
mod interner;
pub mod label_cache;
pub mod labels;
pub mod logs;
pub mod names;
pub mod otlp;
pub mod otlp_names;
mod packed;
pub mod points;
pub mod profiles;
pub mod re2;
pub mod relabel;
pub mod samples;
mod series;
pub mod target;
pub mod tracestate;

pub use builder::LabelsBuilder;
pub use by_origin::ByOrigin;
pub use histogram::NativeHistogram;
pub use labels::{Labels, LabelsError, METRIC_NAME};
pub use logs::{LogBatch, LogBuilder, Logs};
pub use names::{Escaping, NameScheme};
pub use otlp::{OtlpLogs, OtlpMetrics, Traces};
pub use points::{FamilyList, Need, Patience, PointRef, Points, Row, SeriesList, series_count};
pub use profiles::{Profile, ProfileBatch, ProfileBody, Profiles};
pub use re2::Regex;
pub use relabel::{RelabelCache, Rule, Rules};
pub use samples::{FamilyMetadata, MetricKind, SampleBatch, Samples};
pub use series::Series;
pub use target::Target;

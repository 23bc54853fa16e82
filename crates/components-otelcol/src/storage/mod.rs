//! `otelcol.storage.*`: where queues and offsets are kept.

pub mod file;

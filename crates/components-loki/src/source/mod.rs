//! `loki.source.*`: where log lines come from.

pub mod file;

//! `loki.source.*`: where log lines come from, and what several of them share.

pub mod cursors;
pub mod docker;
pub mod outlet;

//! `otelcol.exporter.*`: where data leaves.

pub mod debug;

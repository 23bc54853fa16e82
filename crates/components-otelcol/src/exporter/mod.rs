//! `otelcol.exporter.*`, and what they share.

pub mod args;
pub mod debug;
pub mod otlphttp;
pub mod prometheus;

//! `otelcol.exporter.*`, and what they share.

pub mod args;
pub mod otlphttp;

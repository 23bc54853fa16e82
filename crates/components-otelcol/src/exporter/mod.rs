//! `otelcol.exporter.*`, and what they share.

pub mod args;
mod cut;
pub mod debug;
pub mod otlphttp;

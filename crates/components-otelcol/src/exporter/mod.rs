//! `otelcol.exporter.*`, and what they share.

pub mod args;
pub mod debug;
pub mod otlp;
pub mod otlphttp;
pub(crate) mod sending;
pub mod prometheus;

//! `otelcol.exporter.*`, and what they share.

pub mod args;
pub mod debug;
pub mod otlp;
pub mod loki;
pub mod otlphttp;
pub(crate) mod sending;
pub mod prometheus;

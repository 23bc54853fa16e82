//! `otelcol.exporter.*`, and what they share.

pub mod args;
pub mod debug;
pub mod file;
pub mod loadbalancing;
pub mod otlp;
pub mod loki;
pub mod otlphttp;
pub mod prometheus;
pub(crate) mod sending;

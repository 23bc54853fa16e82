//! `otelcol.exporter.*`, and what they share.

pub mod args;
pub mod debug;
pub mod file;
pub mod loadbalancing;
pub mod loki;
pub mod otlp;
pub mod otlphttp;
pub mod prometheus;
pub(crate) mod sending;

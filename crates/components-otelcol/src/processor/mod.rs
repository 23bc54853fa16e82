//! `otelcol.processor.*`: what changes, gathers or holds back data on its way.

pub mod attributes;
pub mod batch;
mod items;
pub mod memory_limiter;

//! `otelcol.processor.*`: what changes, gathers or holds back data on its way.

pub mod attributes;
pub mod batch;
pub mod filter;
pub mod memory_limiter;
mod rules;
pub mod transform;

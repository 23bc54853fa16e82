//! `otelcol.processor.*`: what changes, gathers or holds back data on its way.

pub mod attributes;
pub mod batch;
pub mod memory_limiter;
pub mod probabilistic_sampler;
mod relay;
pub mod tail_sampling;

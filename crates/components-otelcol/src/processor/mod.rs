//! `otelcol.processor.*`: what changes, gathers or holds back data on its way.

pub mod attributes;
pub mod batch;
pub mod discovery;
pub mod groupbyattrs;
mod lru;
pub mod memory_limiter;
pub mod probabilistic_sampler;
pub(crate) mod relay;
pub mod resourcedetection;
pub mod span;
pub mod tail_sampling;
pub mod filter;
pub mod memory_limiter;
mod rules;
pub mod transform;

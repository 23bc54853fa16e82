//! `otelcol.processor.*`: what changes, gathers or holds back data on its way.

pub mod attributes;
pub mod batch;
pub mod cumulativetodelta;
pub mod deltatocumulative;
pub mod interval;
mod lru;
mod items;
pub mod memory_limiter;
pub mod metric_start_time;
pub mod probabilistic_sampler;
pub(crate) mod relay;
pub mod tail_sampling;
pub mod filter;
mod rules;
pub mod transform;

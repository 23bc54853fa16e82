//! `otelcol.processor.*`: what changes, gathers or holds back data on its way.

pub mod attributes;
pub mod batch;
pub mod cumulativetodelta;
pub mod deltatocumulative;
pub mod interval;
mod items;
pub mod memory_limiter;
pub mod metric_start_time;
pub mod probabilistic_sampler;
mod relay;
pub mod tail_sampling;

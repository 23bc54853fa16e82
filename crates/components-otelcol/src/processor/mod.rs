//! `otelcol.processor.*`: what changes, gathers or holds back data on its way.

pub mod attributes;
pub mod batch;
pub mod cumulativetodelta;
pub mod deltatocumulative;
pub mod discovery;
pub mod filter;
pub mod groupbyattrs;
pub mod interval;
mod items;
pub(crate) mod lru;
pub mod memory_limiter;
pub mod metric_start_time;
pub mod probabilistic_sampler;
pub mod redaction;
pub(crate) mod relay;
pub mod resourcedetection;
mod rules;
pub mod span;
pub mod tail_sampling;
pub mod transform;

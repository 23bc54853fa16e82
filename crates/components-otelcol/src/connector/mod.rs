//! `otelcol.connector.*`: what makes one signal out of another.

pub mod host_info;
pub mod servicegraph;
pub mod spanlogs;
pub mod spanmetrics;
mod spans;

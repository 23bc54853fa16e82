//! `otelcol.connector.*`: what makes one signal out of another.

pub mod host_info;
pub mod spanlogs;
pub mod servicegraph;
pub mod spanmetrics;
mod spans;

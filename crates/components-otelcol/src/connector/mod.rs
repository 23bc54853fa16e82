//! `otelcol.connector.*`: what makes one signal out of another.

pub mod servicegraph;
pub mod spanmetrics;
mod spans;

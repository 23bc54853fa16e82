//! `otelcol.connector.*`: what makes one signal out of another.

pub mod count;
mod generation;
pub mod host_info;
mod items;
pub mod servicegraph;
pub mod signaltometrics;
pub mod spanlogs;
pub mod spanmetrics;
mod spans;

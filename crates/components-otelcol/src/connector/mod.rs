//! `otelcol.connector.*`: what makes one signal out of another.

pub mod count;
mod items;
pub mod host_info;
pub mod spanlogs;
pub mod servicegraph;
pub mod signaltometrics;
pub mod spanmetrics;
mod spans;

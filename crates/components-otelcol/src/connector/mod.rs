//! `otelcol.connector.*`: what makes one signal out of another.

pub mod spanmetrics;
mod spans;

//! `otelcol.exporter.*`, and what they share.

pub mod args;
<<<<<<< HEAD
=======
mod cut;
pub mod debug;
>>>>>>> oproc
pub mod otlphttp;

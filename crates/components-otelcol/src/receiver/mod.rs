//! Components that take data from clients.

pub mod otlp;
pub mod prometheus;

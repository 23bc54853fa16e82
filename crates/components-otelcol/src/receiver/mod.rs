//! Components that take data from clients.

pub mod otlp;

//! Components that take data from clients.

pub mod filelog;
pub mod loki;
pub mod otlp;
pub mod prometheus;

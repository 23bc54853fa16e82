//! Components that take data from clients.

pub mod loki;
pub mod filelog;
pub mod otlp;
pub mod prometheus;

//! Components that take data from clients.

pub mod filelog;
pub mod otlp;
pub mod prometheus;
pub mod syslog;
pub mod tcplog;
mod text;

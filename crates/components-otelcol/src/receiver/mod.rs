//! Components that take data from clients.

#[cfg(test)]
pub(crate) mod bench;
pub mod filelog;
pub mod jaeger;
pub mod loki;
mod metrics;
pub mod otlp;
mod posts;
pub mod prometheus;
mod spans;
pub mod syslog;
pub mod tcplog;
mod text;
pub mod zipkin;

use component::eval::Invalid;
use component::otel::DebugMetrics;

/// What of `debug_metrics` cannot be honoured.
fn check_debug_metrics(args: &DebugMetrics) -> Result<(), Invalid> {
    if args.disable_high_cardinality_metrics {
        return Ok(());
    }
    let message = "metrics with the address of every client are not made";
    Err(Invalid::field("debug_metrics", message).with_help("remove disable_high_cardinality_metrics = false"))
}

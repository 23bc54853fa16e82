//! Components that take data from clients.

#[cfg(test)]
pub(crate) mod bench;
pub mod jaeger;
mod metrics;
pub mod otlp;
mod posts;
mod spans;
pub mod zipkin;

use component::eval::Invalid;
use component::otel::DebugMetrics;

use crate::server::TlsServerArgs;

/// What of `debug_metrics` cannot be honoured.
fn check_debug_metrics(args: &DebugMetrics) -> Result<(), Invalid> {
    if args.disable_high_cardinality_metrics {
        return Ok(());
    }
    let message = "metrics with the address of every client are not made";
    Err(Invalid::field("debug_metrics", message).with_help("remove disable_high_cardinality_metrics = false"))
}

/// Tells the log of arguments that change nothing, with the blocks that they stand in.
fn warn_unused<'a>(blocks: impl IntoIterator<Item = (&'static str, Option<&'a TlsServerArgs>)>) {
    let names = |(block, tls): (&'static str, Option<&'a TlsServerArgs>)| {
        tls.into_iter().flat_map(TlsServerArgs::unused).map(move |name| format!("{block}.{name}"))
    };
    let unused: Vec<_> = blocks.into_iter().flat_map(names).collect();
    if !unused.is_empty() {
        tracing::warn!(
            arguments = unused.join(", "),
            "arguments have no effect on a server; clients are verified with client_ca_file"
        );
    }
}

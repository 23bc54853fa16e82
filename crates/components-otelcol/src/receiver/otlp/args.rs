//! What an `otelcol.receiver.otlp` block may say.

use component::Arguments;
use component::eval::Invalid;
use component::otel::{DebugMetrics, Output};

use crate::receiver::check_debug_metrics;
use crate::server::{GrpcServerArgs, HttpServerArgs};

/// `otelcol.receiver.otlp`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct Args {
    /// Listens for gRPC.
    #[arg(block)]
    pub grpc: Option<GrpcServerArgs>,
    /// Listens for HTTP.
    #[arg(block)]
    pub http: Option<HttpArgs>,
    /// What the component tells of itself.
    #[arg(block, default = DebugMetrics::default())]
    pub debug_metrics: DebugMetrics,
    /// Where data goes. A signal without a consumer is not served.
    #[arg(block, required)]
    pub output: Output,
}

/// `http`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct HttpArgs {
    /// The server.
    #[arg(squash, default = HttpServerArgs::default())]
    pub server: HttpServerArgs,
    /// Path that takes traces.
    #[arg(default = "/v1/traces".to_string())]
    pub traces_url_path: String,
    /// Path that takes metrics.
    #[arg(default = "/v1/metrics".to_string())]
    pub metrics_url_path: String,
    /// Path that takes logs.
    #[arg(default = "/v1/logs".to_string())]
    pub logs_url_path: String,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if let (Some(grpc), Some(http)) = (&self.grpc, &self.http)
            && grpc.endpoint == http.server.endpoint
            && !grpc.endpoint.ends_with(":0")
        {
            let message = format!("grpc and http cannot both listen on {:?}", grpc.endpoint);
            return Err(Invalid::field("http", message).with_help("give each its own endpoint"));
        }
        check_debug_metrics(&self.debug_metrics)
    }
}

impl HttpArgs {
    fn validate(&self) -> Result<(), Invalid> {
        self.server.validate()?;
        let [traces, metrics, logs] = self.paths();
        if metrics == traces {
            return Err(Invalid::field("metrics_url_path", "metrics and traces cannot have the same path"));
        }
        if logs == traces || logs == metrics {
            return Err(Invalid::field("logs_url_path", "the path is another signal's already"));
        }
        Ok(())
    }

    /// The paths of traces, metrics and logs. A slash that is missing in front is added, as otlpreceiver does.
    pub(super) fn paths(&self) -> [String; 3] {
        [&self.traces_url_path, &self.metrics_url_path, &self.logs_url_path]
            .map(|path| if path.starts_with('/') { path.clone() } else { format!("/{path}") })
    }
}

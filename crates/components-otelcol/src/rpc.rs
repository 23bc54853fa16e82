//! The metrics of gRPC calls, as OpenTelemetry's instrumentation names them, of either side.

use std::time::Duration;

use component::metrics::{HistogramOpts, HistogramVec, NodeMetrics};
use net::grpc::Code;

/// The families; they show nothing until a call was made.
pub(crate) struct Rpc {
    duration: HistogramVec,
    request_size: HistogramVec,
    response_size: HistogramVec,
    requests: HistogramVec,
    responses: HistogramVec,
}

impl Rpc {
    /// Those of a `side`: `server` or `client`.
    pub(crate) fn new(metrics: &NodeMetrics, side: &str) -> Self {
        // Those of OpenTelemetry's SDKs.
        const BUCKETS: [f64; 15] = [
            0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1000.0, 2500.0, 5000.0, 7500.0,
            10000.0,
        ];
        const LABELS: [&str; 4] = ["rpc_grpc_status_code", "rpc_method", "rpc_service", "rpc_system"];
        let family = |what: &str, help: &str| {
            let opts = HistogramOpts::new(format!("rpc_{side}_{what}"), help).buckets(BUCKETS.to_vec());
            metrics.register(
                HistogramVec::new(opts, &LABELS).expect("metric names are constants of this program"),
            )
        };
        Self {
            duration: family("duration_milliseconds", "Milliseconds that calls took."),
            request_size: family("request_size_bytes", "Bytes of messages of requests."),
            response_size: family("response_size_bytes", "Bytes of messages of responses."),
            requests: family("requests_per_rpc", "Messages of requests in a call."),
            responses: family("responses_per_rpc", "Messages of responses in a call."),
        }
    }

    /// A call of `/package.Service/Method` has ended; `answered`: the bytes of the answer, if there was one.
    pub(crate) fn called(
        &self,
        method: &str,
        code: Code,
        took: Duration,
        request_bytes: usize,
        answered: Option<usize>,
    ) {
        let code = code.number().to_string();
        let (service, method) = method.trim_start_matches('/').split_once('/').unwrap_or((method, ""));
        let labels = [code.as_str(), method, service, "grpc"];
        let observe = |family: &HistogramVec, value: f64| family.with_label_values(&labels).observe(value);
        observe(&self.duration, took.as_secs_f64() * 1000.0);
        observe(&self.request_size, request_bytes as f64);
        observe(&self.response_size, answered.unwrap_or(0) as f64);
        observe(&self.requests, 1.0);
        observe(&self.responses, if answered.is_some() { 1.0 } else { 0.0 });
    }

    /// Forgets all calls.
    pub(crate) fn reset(&self) {
        [&self.duration, &self.request_size, &self.response_size, &self.requests, &self.responses]
            .into_iter()
            .for_each(HistogramVec::reset);
    }
}

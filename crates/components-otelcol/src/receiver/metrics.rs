//! Own metrics of receivers, by the names that Alloy gives them.
//!
//! All are families, which show nothing until they are used: `debug_metrics` decides what is.

use component::metrics::{HistogramOpts, HistogramVec, IntCounterVec, NodeMetrics};
use component::otel::MetricsLevel;
use net::grpc::Finished;
use signal::otlp::OtlpSignal;

use crate::signals::Kind;

/// The families.
pub(super) struct Metrics {
    /// `receiver` label: as otelcol names components, the type and Alloy's ID.
    receiver: String,
    /// Those of the signals that the receiver has.
    items: Vec<(Kind, Items)>,
    rpc: Rpc,
}

/// Those of a signal.
struct Items {
    accepted: IntCounterVec,
    refused: IntCounterVec,
}

/// Those of calls, as OpenTelemetry's instrumentation of gRPC names them.
struct Rpc {
    duration: HistogramVec,
    request_size: HistogramVec,
    response_size: HistogramVec,
    requests: HistogramVec,
    responses: HistogramVec,
}

impl Metrics {
    /// For a receiver of a type (`otlp`) that takes some of the signals.
    pub(super) fn new(metrics: &NodeMetrics, of: &str, id: &str, kinds: &[Kind]) -> Self {
        let (_, local) = component::metrics::split_global_id(id);
        let items = |kind: &Kind| {
            let words = kind.items().replace('_', " ");
            let count = |what: &str, help: &str| {
                let name = format!("otelcol_receiver_{what}_{}_total", kind.items());
                let help = format!("Number of {words} that were {help}.");
                metrics.counter_vec(&name, &help, &["receiver", "transport"])
            };
            let accepted = count("accepted", "taken by all consumers");
            (*kind, Items { accepted, refused: count("refused", "not taken") })
        };
        Self {
            receiver: format!("{of}/{local}"),
            items: kinds.iter().map(items).collect(),
            rpc: Rpc::new(metrics),
        }
    }

    /// Items of a request were taken, or not.
    pub(super) fn received<S: OtlpSignal>(
        &self,
        level: MetricsLevel,
        transport: &str,
        items: u64,
        taken: bool,
    ) {
        let of = self.items.iter().find(|(kind, _)| *kind == Kind::of::<S>());
        if let Some((_, of)) = of.filter(|_| level > MetricsLevel::None) {
            let family = if taken { &of.accepted } else { &of.refused };
            family.with_label_values(&[&self.receiver, transport]).inc_by(items);
        }
    }

    /// A call was answered.
    pub(super) fn called(&self, level: MetricsLevel, finished: &Finished<'_>) {
        if level == MetricsLevel::Detailed {
            self.rpc.called(finished);
        }
    }

    /// The level has changed: what it does not show any more is forgotten.
    pub(super) fn show(&self, level: MetricsLevel) {
        if level == MetricsLevel::None {
            self.items.iter().flat_map(|(_, i)| [&i.accepted, &i.refused]).for_each(IntCounterVec::reset);
        }
        if level < MetricsLevel::Detailed {
            let rpc = &self.rpc;
            [&rpc.duration, &rpc.request_size, &rpc.response_size, &rpc.requests, &rpc.responses]
                .into_iter()
                .for_each(HistogramVec::reset);
        }
    }
}

impl Rpc {
    fn new(metrics: &NodeMetrics) -> Self {
        // Those of OpenTelemetry's SDKs.
        const BUCKETS: [f64; 15] = [
            0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1000.0, 2500.0, 5000.0, 7500.0,
            10000.0,
        ];
        let family = |name: &str, help: &str, labels: &[&str]| {
            let opts = HistogramOpts::new(name, help).buckets(BUCKETS.to_vec());
            metrics.register(
                HistogramVec::new(opts, labels).expect("metric names are constants of this program"),
            )
        };
        let labels = ["rpc_grpc_status_code", "rpc_method", "rpc_service", "rpc_system"];
        Self {
            duration: family("rpc_server_duration_milliseconds", "Milliseconds that calls took.", &labels),
            request_size: family("rpc_server_request_size_bytes", "Bytes of messages received.", &labels),
            response_size: family("rpc_server_response_size_bytes", "Bytes of messages sent.", &labels),
            requests: family("rpc_server_requests_per_rpc", "Messages received in a call.", &labels),
            responses: family("rpc_server_responses_per_rpc", "Messages sent in a call.", &labels),
        }
    }

    fn called(&self, finished: &Finished<'_>) {
        let code = finished.code.number().to_string();
        let (service, method) =
            finished.method.trim_start_matches('/').split_once('/').unwrap_or((finished.method, ""));
        let labels = [code.as_str(), method, service, "grpc"];
        let observe = |family: &HistogramVec, value: f64| family.with_label_values(&labels).observe(value);
        observe(&self.duration, finished.took.as_secs_f64() * 1000.0);
        observe(&self.request_size, finished.request_bytes as f64);
        observe(&self.response_size, finished.response_bytes as f64);
        observe(&self.requests, 1.0);
        observe(&self.responses, if finished.code == net::grpc::Code::Ok { 1.0 } else { 0.0 });
    }
}

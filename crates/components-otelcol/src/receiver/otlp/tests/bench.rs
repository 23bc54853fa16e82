//! A receiver behind real sockets, three sinks, and clients of both protocols.

use std::sync::Arc;

use bytes::Bytes;
use component::testkit::{Harness, Names, Sink};
use component::{ArgValue, ComponentDef, otel::OtelInput};
use net::grpc::Status;
use prost::Message;
use signal::otlp::proto::collector::logs::v1::ExportLogsServiceRequest;
use signal::otlp::proto::collector::metrics::v1::ExportMetricsServiceRequest;
use signal::otlp::proto::collector::trace::v1::ExportTraceServiceRequest;
use signal::otlp::proto::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use signal::otlp::proto::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric::Data, number_data_point,
};
use signal::otlp::proto::trace::v1::{ResourceSpans, ScopeSpans, Span};
use signal::otlp::{OtlpLogs, OtlpMetrics, Traces};

pub(super) use crate::receiver::bench::{Answer, Caller, frame, free_port, gzip, listening, send};
use crate::receiver::otlp::OtlpReceiver;

pub(super) const DEFINITION: ComponentDef = ComponentDef::of::<OtlpReceiver>();
pub(super) const PATHS: [&str; 3] = ["/v1/traces", "/v1/metrics", "/v1/logs"];
pub(super) const METHODS: [&str; 3] = [
    "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
];
pub(super) const ALL: &str = "output {\n traces = [input]\n metrics = [input]\n logs = [input]\n}";

/// Where the sinks of a bench are.
pub(super) struct Sinks {
    pub(super) traces: Sink<Traces>,
    pub(super) metrics: Sink<OtlpMetrics>,
    pub(super) logs: Sink<OtlpLogs>,
}

impl Sinks {
    pub(super) fn new() -> Self {
        Self { traces: Sink::new(), metrics: Sink::new(), logs: Sink::new() }
    }

    pub(super) fn names(&self) -> Names {
        let input = OtelInput {
            traces: Some(self.traces.receiver()),
            metrics: Some(self.metrics.receiver()),
            logs: Some(self.logs.receiver()),
        };
        Names::default().with("input", input.to_value())
    }

    /// What has arrived: serialised requests with the word of the compression that was kept.
    pub(super) fn take(&self) -> Vec<(Bytes, Option<&'static str>)> {
        let mut all = Vec::new();
        for batch in self.traces.take() {
            all.extend(batch.requests.iter().map(|r| (r.wire().clone(), r.packed().map(|p| p.encoding))));
        }
        for batch in self.metrics.take() {
            all.extend(batch.requests.iter().map(|r| (r.wire().clone(), r.packed().map(|p| p.encoding))));
        }
        for batch in self.logs.take() {
            all.extend(batch.requests.iter().map(|r| (r.wire().clone(), r.packed().map(|p| p.encoding))));
        }
        all
    }
}

/// A receiver under test.
pub(super) struct Bench {
    pub(super) harness: Harness,
    pub(super) sinks: Sinks,
    pub(super) grpc: u16,
    pub(super) http: u16,
}

/// The body of a block; the middle parts go into the protocols' blocks.
pub(super) fn config(grpc: (u16, &str), http: (u16, &str), rest: &str) -> String {
    format!(
        "grpc {{\n endpoint = \"127.0.0.1:{}\"\n{}\n}}\nhttp {{\n endpoint = \"127.0.0.1:{}\"\n{}\n}}\n{rest}",
        grpc.0, grpc.1, http.0, http.1
    )
}

impl Bench {
    pub(super) async fn start() -> Self {
        Self::with("", "", ALL).await
    }

    pub(super) async fn with(in_grpc: &str, in_http: &str, rest: &str) -> Self {
        let (sinks, grpc, http) = (Sinks::new(), free_port(), free_port());
        let body = config((grpc, in_grpc), (http, in_http), rest);
        let harness = Harness::start(DEFINITION, &body, sinks.names()).await;
        listening(grpc).await;
        listening(http).await;
        Self { harness, sinks, grpc, http }
    }

    pub(super) async fn post(&self, path: &str, headers: &str, body: &[u8]) -> Answer {
        send(self.http, &format!("POST {path} HTTP/1.1\r\n{headers}"), body).await
    }

    pub(super) async fn call(
        &self,
        method: &str,
        headers: &[(&'static str, &str)],
        frame: Vec<u8>,
    ) -> Status {
        Caller::connect(self.grpc).await.call(method, headers, frame).await
    }

    pub(super) fn text(&self) -> String {
        self.harness.services.metrics.text()
    }
}

pub(super) fn traces() -> ExportTraceServiceRequest {
    let span = Span { trace_id: vec![1; 16], span_id: vec![2; 8], name: "s".into(), ..Span::default() };
    let scope_spans = vec![ScopeSpans { spans: vec![span.clone(), span], ..ScopeSpans::default() }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }],
    }
}

pub(super) fn metrics() -> ExportMetricsServiceRequest {
    let value = Some(number_data_point::Value::AsDouble(1.5));
    let point = NumberDataPoint { time_unix_nano: 5, value, ..NumberDataPoint::default() };
    let data = Some(Data::Gauge(Gauge { data_points: vec![point] }));
    let metrics = vec![Metric { name: "m".into(), data, ..Metric::default() }];
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }],
    }
}

pub(super) fn logs() -> ExportLogsServiceRequest {
    let record = LogRecord { severity_text: "info".into(), ..LogRecord::default() };
    let scope_logs = vec![ScopeLogs { log_records: vec![record; 3], ..ScopeLogs::default() }];
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }] }
}

/// Each signal's request, serialised and as JSON.
pub(super) fn requests() -> [(Vec<u8>, Vec<u8>); 3] {
    let json = |value: serde_json::Result<Vec<u8>>| value.expect("serialises");
    [
        (traces().encode_to_vec(), json(serde_json::to_vec(&traces()))),
        (metrics().encode_to_vec(), json(serde_json::to_vec(&metrics()))),
        (logs().encode_to_vec(), json(serde_json::to_vec(&logs()))),
    ]
}

/// For tests that share a bench between tasks.
pub(super) type Shared = Arc<Bench>;

//! A receiver behind real sockets, three sinks, and clients of both protocols.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use component::testkit::{Harness, Names, Sink};
use component::{ArgValue, ComponentDef, otel::OtelInput};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use net::grpc::{Code, PREFIX, Status};
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
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::receiver::otlp::OtlpReceiver;

pub(super) const DEFINITION: ComponentDef = ComponentDef::of::<OtlpReceiver>();
pub(super) const PATHS: [&str; 3] = ["/v1/traces", "/v1/metrics", "/v1/logs"];
pub(super) const METHODS: [&str; 3] = [
    "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
];
pub(super) const ALL: &str = "output {\n traces = [input]\n metrics = [input]\n logs = [input]\n}";

/// A port that was free a moment ago.
pub(super) fn free_port() -> u16 {
    net::testkit::free_port()
}

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

pub(super) async fn listening(port: u16) {
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        tokio::task::yield_now().await;
    }
}

/// What a client got over HTTP.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// In lower case.
    pub(super) head: String,
    pub(super) body: Vec<u8>,
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

/// Sends a request: its first line and headers, each with its line end, and its body.
pub(super) async fn send(port: u16, head: &str, body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("listening");
    let head = format!("{head}Host: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.expect("sent");
    // The server may answer and close before it has read all.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or(answer.len());
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or_default();
    Answer { status, head, body: answer.get(end + 4..).unwrap_or_default().to_vec() }
}

/// A client with one HTTP/2 connection.
pub(super) struct Caller {
    sender: hyper::client::conn::http2::SendRequest<Full<Bytes>>,
    port: u16,
}

impl Caller {
    pub(super) async fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("listening");
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .expect("HTTP/2");
        tokio::spawn(connection);
        Self { sender, port }
    }

    fn request(
        &self,
        method: &str,
        headers: &[(&'static str, &str)],
        frame: Vec<u8>,
    ) -> Request<Full<Bytes>> {
        let uri = format!("http://127.0.0.1:{}{method}", self.port);
        let mut request = Request::post(uri).header("content-type", "application/grpc");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Full::new(frame.into())).expect("a request")
    }

    /// Opens a call and resets it at once; `false` when the server has had enough of that.
    pub(super) async fn give_up(&mut self, method: &str, frame: Vec<u8>) -> bool {
        let request = self.request(method, &[], frame);
        let sending = self.sender.send_request(request);
        let answer = tokio::time::timeout(std::time::Duration::ZERO, sending).await;
        tokio::task::yield_now().await;
        !matches!(answer, Ok(Err(_)))
    }

    pub(super) async fn call(
        &mut self,
        method: &str,
        headers: &[(&'static str, &str)],
        frame: Vec<u8>,
    ) -> Status {
        let request = self.request(method, headers, frame);
        let response = self.sender.send_request(request).await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK);
        let (head, body) = response.into_parts();
        let collected = body.collect().await.expect("a body");
        let trailers = collected.trailers().cloned().unwrap_or_else(HeaderMap::new);
        let status = Status::read(&trailers).or_else(|| Status::read(&head.headers)).expect("a status");
        // An answer has one empty message, a failure none.
        let expected = if status.code == Code::Ok { PREFIX } else { 0 };
        assert_eq!(collected.to_bytes().len(), expected);
        status
    }
}

pub(super) fn frame(flag: u8, message: &[u8]) -> Vec<u8> {
    let mut frame = vec![flag];
    frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
    frame.extend_from_slice(message);
    frame
}

pub(super) fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).expect("memory");
    encoder.finish().expect("memory")
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

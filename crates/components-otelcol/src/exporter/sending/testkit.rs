//! For the tests of exporters: a component with the way into it, numbered records, and a back end of gRPC that
//! answers as it is told.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use component::eval::ArgValue as _;
use component::otel::OtelInput;
use component::testkit::{Harness, Names, Refused};
use component::{ComponentDef, Services};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use net::grpc::{Code, Status};
use parking_lot::Mutex;
use prost::Message as _;
use signal::OtlpLogs;
use signal::otlp::proto::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use signal::otlp::proto::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use signal::otlp::{LogsSignal, Otlp, OtlpBatch, OtlpRequest};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use wire::compress::{Encoding, decompress};

/// Retries that do not make a test wait.
pub(crate) const FAST: &str = "retry_on_failure {\ninitial_interval = \"1ms\"\nmax_interval = \"5ms\"\n}\n";
/// Nothing that a test waits for takes this long unless it never comes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A component under test with the way into it.
pub(crate) struct Running {
    pub harness: Harness,
    pub input: OtelInput,
    _folder: Option<tempfile::TempDir>,
}

impl Running {
    pub(crate) async fn start(definition: ComponentDef, body: &str, names: Names) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let running = Self::start_in(definition, body, names, folder.path()).await;
        Self { _folder: Some(folder), ..running }
    }

    /// With a storage path of the caller's.
    pub(crate) async fn start_in(definition: ComponentDef, body: &str, names: Names, root: &Path) -> Self {
        Self::beside(definition, body, names, Services::for_tests(root)).await
    }

    /// With the services of another one, which may be on its way out.
    pub(crate) async fn beside(
        definition: ComponentDef,
        body: &str,
        names: Names,
        services: Arc<Services>,
    ) -> Self {
        let harness = Harness::new(definition, names, services);
        harness.update(body).await.unwrap_or_else(|refused| panic!("refused: {refused:?}\n{body}"));
        harness.node.start();
        let exports = harness.node.exports();
        let input = OtelInput::from_value(&exports.as_object().expect("an object")["input"]);
        Self { harness, input: input.expect("an input"), _folder: None }
    }

    pub(crate) async fn send(&self, batch: OtlpLogs) -> Result<(), component::Rejected> {
        self.input.logs.as_ref().expect("takes logs").send(batch).await
    }

    /// Takes numbered records in, each number a request of its own in a batch of its own.
    pub(crate) async fn push(&self, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            self.send(logs(&[&[number]])).await.expect("taken");
        }
    }

    pub(crate) async fn update(&self, body: &str) {
        self.harness.update(body).await.unwrap_or_else(|refused| panic!("refused: {refused:?}\n{body}"));
    }

    /// The sum of a metric over all label sets that contain a text.
    pub(crate) fn sum(&self, name: &str, part: &str) -> f64 {
        let text = self.harness.services.metrics.text();
        let is_it = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let value = |line: &str| line.rsplit(' ').next().and_then(|v| v.parse::<f64>().ok());
        text.lines().filter(is_it).filter(|l| l.contains(part)).filter_map(value).sum()
    }

    pub(crate) fn sent(&self) -> f64 {
        self.sum("otelcol_exporter_sent_log_records_total", "")
    }

    pub(crate) fn failed(&self) -> f64 {
        self.sum("otelcol_exporter_send_failed_log_records_total", "")
    }

    /// Items that were given up, by reason.
    pub(crate) fn dropped(&self, reason: &str) -> f64 {
        self.sum("otelcol_exporter_dropped_items_total", &format!("reason=\"{reason}\""))
    }

    /// Waits until a condition holds that is not told to anybody.
    pub(crate) async fn eventually(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let wait = async {
            while !condition(self) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never: {what}"));
    }
}

/// Why a body is refused.
pub(crate) fn refused(definition: ComponentDef, body: &str, names: Names) -> String {
    let harness = Harness::new(definition, names, Services::for_tests("unused"));
    match futures_util::FutureExt::now_or_never(harness.update(body)) {
        Some(Err(Refused::Diagnostics(found))) => {
            found.iter().map(|d| format!("{} {}", d.message, d.help.clone().unwrap_or_default())).collect()
        }
        Some(Err(Refused::Error(error))) => error.to_string(),
        other => panic!("not refused: {other:?}\n{body}"),
    }
}

/// A schema's lines that are not Alloy's, and Alloy's that are missing.
pub(crate) fn differences(schema: &component::eval::BodySchema, theirs: &str) -> Vec<String> {
    let ours = component::testkit::surface(schema);
    let theirs: Vec<_> = theirs.lines().collect();
    let missing = theirs.iter().filter(|l| !ours.iter().any(|o| o == *l)).map(|l| format!("missing: {l}"));
    let added = ours.iter().filter(|l| !theirs.contains(&l.as_str())).map(|l| format!("added: {l}"));
    missing.chain(added).collect()
}

pub(crate) fn message(numbers: &[u64]) -> ExportLogsServiceRequest {
    let record = |n: &u64| LogRecord { time_unix_nano: *n, ..LogRecord::default() };
    let log_records = numbers.iter().map(record).collect();
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }] }
}

pub(crate) fn request(numbers: &[u64]) -> OtlpRequest<LogsSignal> {
    let items = u32::try_from(numbers.len()).expect("few");
    OtlpRequest::from_wire(message(numbers).encode_to_vec().into(), items, None)
}

/// A batch of requests.
pub(crate) fn logs(requests: &[&[u64]]) -> OtlpLogs {
    let requests = requests.iter().map(|numbers| request(numbers)).collect();
    Otlp::new(OtlpBatch { requests, ..OtlpBatch::default() })
}

/// The numbers in a request.
pub(crate) fn numbers_of(request: ExportLogsServiceRequest) -> Vec<u64> {
    let scopes = request.resource_logs.into_iter().flat_map(|r| r.scope_logs);
    scopes.flat_map(|s| s.log_records).map(|record| record.time_unix_nano).collect()
}

/// One call.
#[derive(Clone, Debug)]
pub(crate) struct Called {
    pub method: String,
    pub headers: HeaderMap,
    /// As it came, without its prefix.
    pub message: Vec<u8>,
    /// Unpacked.
    pub wire: Vec<u8>,
    pub taken: bool,
}

impl Called {
    pub(crate) fn numbers(&self) -> Vec<u64> {
        numbers_of(ExportLogsServiceRequest::decode(&self.wire[..]).expect("a request"))
    }
}

/// What the back end does with a call.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Taken,
    Partly {
        rejected: i64,
        message: &'static str,
    },
    Fails(Code),
    /// `RetryInfo` with so many seconds.
    FailsFor(Code, u8),
    Hangs,
    /// Answers in plain HTTP.
    Http(u16),
    /// Takes it and ends the answer without a status.
    NoStatus,
}

type Script = Box<dyn FnMut(&Called) -> Outcome + Send>;

/// A back end of gRPC; it lives for as long as the test's runtime.
#[derive(Clone)]
pub(crate) struct GrpcBackend(Arc<Shared>);

struct Shared {
    address: SocketAddr,
    script: Mutex<Script>,
    calls: Mutex<Vec<Called>>,
    arrived: Notify,
    connections: AtomicUsize,
}

impl GrpcBackend {
    pub(crate) async fn start(script: impl FnMut(&Called) -> Outcome + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let shared = Arc::new(Shared {
            address: listener.local_addr().expect("bound"),
            script: Mutex::new(Box::new(script)),
            calls: Mutex::default(),
            arrived: Notify::new(),
            connections: AtomicUsize::new(0),
        });
        let serving = shared.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serving.connections.fetch_add(1, Ordering::Relaxed);
                let shared = serving.clone();
                let service = hyper::service::service_fn(move |request| answer(request, shared.clone()));
                let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection);
            }
        });
        Self(shared)
    }

    /// Takes everything.
    pub(crate) async fn good() -> Self {
        Self::start(|_| Outcome::Taken).await
    }

    /// Does this with the first calls, then takes everything.
    pub(crate) async fn first(outcomes: impl IntoIterator<Item = Outcome>) -> Self {
        let mut outcomes: VecDeque<_> = outcomes.into_iter().collect();
        Self::start(move |_| outcomes.pop_front().unwrap_or(Outcome::Taken)).await
    }

    pub(crate) fn script(&self, script: impl FnMut(&Called) -> Outcome + Send + 'static) {
        *self.0.script.lock() = Box::new(script);
    }

    pub(crate) fn address(&self) -> String {
        self.0.address.to_string()
    }

    pub(crate) fn connections(&self) -> usize {
        self.0.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn all(&self) -> Vec<Called> {
        self.0.calls.lock().clone()
    }

    /// The numbers of calls that were taken, sorted.
    pub(crate) fn taken(&self) -> Vec<u64> {
        taken_of(&self.0.calls.lock())
    }

    pub(crate) async fn until(&self, condition: impl Fn(&[Called]) -> bool) -> Vec<Called> {
        let wait = async {
            loop {
                let arrived = self.0.arrived.notified();
                let all = self.all();
                if condition(&all) {
                    return all;
                }
                arrived.await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never: {:?}", self.taken()))
    }

    pub(crate) async fn wait(&self, calls: usize) -> Vec<Called> {
        self.until(|all| all.len() >= calls).await
    }
}

/// The numbers of calls that were taken, sorted.
pub(crate) fn taken_of(calls: &[Called]) -> Vec<u64> {
    let mut taken: Vec<_> = calls.iter().filter(|c| c.taken).flat_map(Called::numbers).collect();
    taken.sort_unstable();
    taken
}

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else {
        return Ok(Response::new(Full::new(Bytes::new()).boxed_unsync()));
    };
    let frame = body.to_bytes();
    assert_eq!(u32::from_be_bytes(frame[1..5].try_into().expect("four")) as usize, frame.len() - 5);
    let mut wire = Vec::new();
    match (frame[0], head.headers.get("grpc-encoding").map(|v| v.to_str().expect("text"))) {
        (0, _) => wire.extend_from_slice(&frame[5..]),
        (_, word) => {
            let encoding = Encoding::from_content_encoding(word.expect("said")).expect("known");
            decompress(encoding, &frame[5..], 1 << 28, &mut wire).expect("compressed so");
        }
    }
    let mut called = Called {
        method: head.uri.path().to_owned(),
        headers: head.headers,
        message: frame[5..].to_vec(),
        wire,
        taken: false,
    };
    let outcome = (shared.script.lock())(&called);
    called.taken = matches!(outcome, Outcome::Taken | Outcome::Partly { .. } | Outcome::NoStatus);
    shared.calls.lock().push(called);
    shared.arrived.notify_waiters();
    Ok(response(outcome).await)
}

async fn response(outcome: Outcome) -> Response<Body> {
    let mut trailers = HeaderMap::new();
    let mut message = Vec::new();
    match outcome {
        Outcome::Hangs => std::future::pending().await,
        Outcome::Http(status) => {
            let response = Response::builder().status(status).body(Full::new(Bytes::new()).boxed_unsync());
            return response.expect("a response");
        }
        Outcome::Fails(code) => Status::new(code, "as told").put(&mut trailers),
        Outcome::FailsFor(code, seconds) => {
            Status::new(code, "as told").put(&mut trailers);
            let name = b"\x0a\x28type.googleapis.com/google.rpc.RetryInfo";
            let any = [&name[..], b"\x12\x04\x0a\x02\x08", &[seconds]].concat();
            let details = [&b"\x08\x08\x1a"[..], &[any.len() as u8], &any].concat();
            let details = HeaderValue::try_from(STANDARD.encode(details)).expect("base64");
            trailers.insert("grpc-status-details-bin", details);
        }
        Outcome::Taken | Outcome::NoStatus => Status::new(Code::Ok, "").put(&mut trailers),
        Outcome::Partly { rejected, message: error } => {
            let partial =
                ExportLogsPartialSuccess { rejected_log_records: rejected, error_message: error.into() };
            message = ExportLogsServiceResponse { partial_success: Some(partial) }.encode_to_vec();
            Status::new(Code::Ok, "").put(&mut trailers);
        }
    }
    let ok = trailers.get("grpc-status").is_some_and(|status| status == "0");
    let mut response = match (ok, matches!(outcome, Outcome::NoStatus)) {
        (true, no_status) => {
            let mut frame = vec![0];
            frame.extend_from_slice(&u32::try_from(message.len()).expect("short").to_be_bytes());
            frame.extend_from_slice(&message);
            let trailers = (!no_status).then_some(Ok(trailers));
            let body = Full::new(Bytes::from(frame)).with_trailers(std::future::ready(trailers));
            Response::new(body.boxed_unsync())
        }
        (false, _) => {
            let mut response = Response::new(Full::new(Bytes::new()).boxed_unsync());
            *response.headers_mut() = trailers;
            response
        }
    };
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

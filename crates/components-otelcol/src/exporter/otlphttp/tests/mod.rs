//! The component against back ends in this process: what it sends, what it makes of every answer, and that
//! nothing is lost.

mod arguments;
mod faults;
mod protocol;
mod queue;

use std::time::Duration;

use component::eval::ArgValue as _;
use component::otel::OtelInput;
use component::testkit::{Harness, Names, Refused};
use component::{ComponentDef, Services};
use net::testkit::{Backend, Posted};
use prost::Message as _;
use signal::OtlpLogs;
use signal::otlp::proto::collector::logs::v1::ExportLogsServiceRequest;
use signal::otlp::proto::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use signal::otlp::{LogsSignal, Otlp, OtlpBatch, OtlpRequest};
use wire::compress::{Encoding, decompress};

use super::OtlpHttp;

const DEFINITION: ComponentDef = ComponentDef::of::<OtlpHttp>();

/// Retries that do not make a test wait.
const FAST: &str = "retry_on_failure {\ninitial_interval = \"1ms\"\nmax_interval = \"5ms\"\n}\n";

/// A component under test with the way into it.
struct Running {
    harness: Harness,
    input: OtelInput,
    _folder: tempfile::TempDir,
}

async fn start(body: &str) -> Running {
    start_with(body, Names::default()).await
}

async fn start_with(body: &str, names: Names) -> Running {
    let folder = tempfile::tempdir().expect("a folder");
    let harness = Harness::new(DEFINITION, names, Services::for_tests(folder.path()));
    harness.update(body).await.unwrap_or_else(|refused| panic!("refused: {refused:?}\n{body}"));
    harness.node.start();
    let exports = harness.node.exports();
    let input = OtelInput::from_value(&exports.as_object().expect("an object")["input"]);
    Running { harness, input: input.expect("an input"), _folder: folder }
}

impl Running {
    async fn send(&self, batch: OtlpLogs) -> Result<(), component::Rejected> {
        self.input.logs.as_ref().expect("takes logs").send(batch).await
    }

    /// Takes numbered records in, each number a request of its own in a batch of its own.
    async fn push(&self, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            self.send(logs(&[&[number]])).await.expect("taken");
        }
    }

    async fn update(&self, body: &str) {
        self.harness.update(body).await.unwrap_or_else(|refused| panic!("refused: {refused:?}\n{body}"));
    }

    /// The sum of a metric over all label sets that contain a text.
    fn sum(&self, name: &str, part: &str) -> f64 {
        let text = self.harness.services.metrics.text();
        let is_it = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let value = |line: &str| line.rsplit(' ').next().and_then(|v| v.parse::<f64>().ok());
        text.lines().filter(is_it).filter(|l| l.contains(part)).filter_map(value).sum()
    }

    fn sent(&self) -> f64 {
        self.sum("otelcol_exporter_sent_log_records_total", "")
    }

    fn failed(&self) -> f64 {
        self.sum("otelcol_exporter_send_failed_log_records_total", "")
    }

    /// Items that were given up, by reason.
    fn dropped(&self, reason: &str) -> f64 {
        self.sum("otelcol_exporter_dropped_items_total", &format!("reason=\"{reason}\""))
    }

    /// Waits until a condition holds that is not told to anybody.
    async fn eventually(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let wait = async {
            while !condition(self) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap_or_else(|_| panic!("never: {what}"));
    }
}

/// An exporter to a back end; `client` and `rest` go into the client block and beside it.
fn body(base: &str, client: &str, rest: &str) -> String {
    let fast = if rest.contains("retry_on_failure") { "" } else { FAST };
    format!("client {{\nendpoint = \"{base}\"\n{client}\n}}\n{fast}{rest}\n")
}

fn message(numbers: &[u64]) -> ExportLogsServiceRequest {
    let record = |n: &u64| LogRecord { time_unix_nano: *n, ..LogRecord::default() };
    let log_records = numbers.iter().map(record).collect();
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }] }
}

fn request(numbers: &[u64]) -> OtlpRequest<LogsSignal> {
    let items = u32::try_from(numbers.len()).expect("few");
    OtlpRequest::from_wire(message(numbers).encode_to_vec().into(), items, None)
}

/// A batch of requests.
fn logs(requests: &[&[u64]]) -> OtlpLogs {
    let requests = requests.iter().map(|numbers| request(numbers)).collect();
    Otlp::new(OtlpBatch { requests, ..OtlpBatch::default() })
}

/// The numbers in a post.
fn numbers(posted: &Posted) -> Vec<u64> {
    let encoding = posted.headers.get("content-encoding").map_or("", String::as_str);
    let encoding = if encoding == "zlib" { "deflate" } else { encoding };
    let encoding = Encoding::from_content_encoding(encoding).expect("a known encoding");
    let mut bytes = Vec::new();
    decompress(encoding, &posted.body, 1 << 28, &mut bytes).expect("compressed so");
    let request = match posted.headers["content-type"].as_str() {
        "application/json" => serde_json::from_slice(&bytes).expect("OTLP JSON"),
        _ => ExportLogsServiceRequest::decode(&bytes[..]).expect("a request"),
    };
    let scopes = request.resource_logs.into_iter().flat_map(|r| r.scope_logs);
    scopes.flat_map(|s| s.log_records).map(|record| record.time_unix_nano).collect()
}

/// The numbers of posts that were taken, sorted.
fn taken_of(posted: &[Posted]) -> Vec<u64> {
    let mut taken: Vec<_> = posted.iter().filter(|p| p.status / 100 == 2).flat_map(numbers).collect();
    taken.sort_unstable();
    taken
}

fn taken(backend: &Backend) -> Vec<u64> {
    taken_of(&backend.all())
}

fn refused(body: &str) -> String {
    let harness = Harness::new(DEFINITION, Names::default(), Services::for_tests("unused"));
    match futures_util::FutureExt::now_or_never(harness.update(body)) {
        Some(Err(Refused::Diagnostics(found))) => {
            found.iter().map(|d| format!("{} {}", d.message, d.help.clone().unwrap_or_default())).collect()
        }
        Some(Err(Refused::Error(error))) => error.to_string(),
        other => panic!("not refused: {other:?}\n{body}"),
    }
}

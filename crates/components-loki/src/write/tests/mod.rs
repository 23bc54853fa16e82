//! The component against Lokis in this process: what it sends, what it makes of every answer, and that nothing is
//! lost or reordered.

mod arguments;
mod faults;
mod loki;
mod protocol;
mod queue;
mod reload;

use std::sync::Arc;
use std::time::Duration;

use component::eval::ArgValue as _;
use component::testkit::{Harness, Names, Refused};
use component::{ComponentDef, Receiver, Services};
use signal::logs::Entry;
use signal::{Labels, LogBuilder, Logs};

use super::Write;

const DEFINITION: ComponentDef = ComponentDef::of::<Write>();

/// An endpoint that does not make a test wait, unless the test says otherwise.
const FAST: [(&str, &str); 4] = [
    ("batch_wait", "\"0s\""),
    ("min_backoff_period", "\"1ms\""),
    ("max_backoff_period", "\"5ms\""),
    ("max_backoff_retries", "0"),
];

/// A component under test with the way into it.
struct Running {
    harness: Harness,
    input: Receiver<Logs>,
    folder: Option<tempfile::TempDir>,
}

async fn start(body: &str) -> Running {
    let folder = tempfile::tempdir().expect("a folder");
    let services = Services::for_tests(folder.path());
    Running { folder: Some(folder), ..start_in(&services, body).await }
}

async fn start_in(services: &Arc<Services>, body: &str) -> Running {
    let harness = Harness::new(DEFINITION, Names::default(), services.clone());
    harness.update(body).await.unwrap_or_else(|refused| panic!("refused: {refused:?}\n{body}"));
    harness.node.start();
    let exports = harness.node.exports();
    let input = Receiver::from_value(&exports.as_object().expect("an object")["receiver"]);
    Running { harness, input: input.expect("a receiver"), folder: None }
}

impl Running {
    /// Takes numbered lines of a stream in, as one batch.
    async fn push(&self, stream: &str, numbers: impl IntoIterator<Item = u32>) {
        self.input.send(lines(stream, numbers)).await.expect("taken");
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

    /// Entries that were given up, by reason.
    fn dropped(&self, reason: &str) -> f64 {
        self.sum("loki_write_dropped_entries_total", &format!("reason=\"{reason}\""))
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

    /// As a `kill -9` leaves it.
    async fn kill(self) -> Option<tempfile::TempDir> {
        self.harness.node.stop(Duration::ZERO).await;
        self.folder
    }
}

fn endpoint(base: &str, inside: &str) -> String {
    let fast = FAST.iter().filter(|(name, _)| !inside.contains(name));
    let fast: String = fast.map(|(name, value)| format!("{name} = {value}\n")).collect();
    format!("endpoint {{\nurl = \"{base}/loki/api/v1/push\"\n{fast}{inside}\n}}\n")
}

const BEGIN_NS: i64 = 1_763_700_000_000_000_000;

/// An entry whose time is that of its number.
fn entry(stream: u32, number: u32, line: impl Into<bytestring::ByteString>) -> Entry {
    let timestamp_ns = BEGIN_NS + i64::from(number) * 1_000_000;
    Entry { stream, timestamp_ns, line: line.into(), metadata: None }
}

fn batch<'a>(entries: impl IntoIterator<Item = (&'a [(&'a str, &'a str)], Entry)>) -> Logs {
    let mut builder = LogBuilder::new(0, None);
    for (labels, entry) in entries {
        let stream = builder.stream(&Labels::from_pairs(labels.iter().copied()));
        builder.push(Entry { stream, ..entry });
    }
    builder.finish()
}

fn lines(stream: &str, numbers: impl IntoIterator<Item = u32>) -> Logs {
    let labels = [("s", stream)];
    batch(numbers.into_iter().map(|n| (&labels[..], entry(0, n, n.to_string()))))
}

/// Whether each number comes for the first time after all smaller ones.
fn first_arrivals_ascend(numbers: &[u32]) -> bool {
    let (mut seen, mut newest) = (std::collections::BTreeSet::new(), None);
    numbers.iter().all(|n| {
        let ascends = !seen.insert(*n) || newest < Some(*n);
        newest = newest.max(Some(*n));
        ascends
    })
}

fn refused(body: &str) -> Vec<component::eval::syntax::Diagnostic> {
    let harness = Harness::new(DEFINITION, Names::default(), Services::for_tests("unused"));
    match futures_util::FutureExt::now_or_never(harness.update(body)) {
        Some(Err(Refused::Diagnostics(diagnostics))) => diagnostics,
        other => panic!("not refused: {other:?}\n{body}"),
    }
}

//! The component against back ends in this process: what it sends, what it makes of every answer, and that
//! nothing is lost or reordered.

mod arguments;
mod auth;
mod faults;
mod protocol;
mod queue;
mod receiver;
mod reload;
mod schema;

use std::sync::Arc;
use std::time::Duration;

use component::eval::Scope;
use component::eval::syntax::Source;
use component::testkit::{Harness, Names, Refused};
use component::{ArgValue, BuildCx, ComponentDef, Receiver, Services};
use delivery::Endpoint as _;
use signal::samples::{NO_FAMILY, Point};
use signal::{Labels, SampleBatch, Samples, Series};

use super::endpoint::Endpoint;
use super::metrics::Metrics;
use super::plan::plans;
use super::{Args, RemoteWrite};

const DEFINITION: ComponentDef = ComponentDef::of::<RemoteWrite>();

/// A queue that does not make a test wait.
const FAST: &str = r#"queue_config {
    min_backoff = "1ms"
    max_backoff = "5ms"
    batch_send_deadline = "0s"
}"#;

/// A component under test with the way into it.
struct Running {
    harness: Harness,
    input: Receiver<Samples>,
    _folder: Option<tempfile::TempDir>,
}

async fn start(body: &str) -> Running {
    let folder = tempfile::tempdir().expect("a folder");
    let services = Services::for_tests(folder.path());
    Running { _folder: Some(folder), ..start_in(&services, body).await }
}

async fn start_in(services: &Arc<Services>, body: &str) -> Running {
    let harness = Harness::new(DEFINITION, Names::default(), services.clone());
    harness.update(body).await.unwrap_or_else(|refused| panic!("refused: {refused:?}\n{body}"));
    harness.node.start();
    let input = input(&harness);
    Running { harness, input, _folder: None }
}

fn input(harness: &Harness) -> Receiver<Samples> {
    let exports = harness.node.exports();
    Receiver::from_value(&exports.as_object().expect("an object")["receiver"]).expect("a receiver")
}

impl Running {
    /// Takes one sample in.
    async fn push(&self, name: &str, value: f64) {
        self.send(batch(name, &[value])).await;
    }

    async fn send(&self, batch: SampleBatch) {
        self.input.send(Samples::new(batch)).await.expect("taken");
    }

    async fn update(&self, body: &str) {
        self.harness.update(body).await.unwrap_or_else(|refused| panic!("refused: {refused:?}\n{body}"));
    }

    /// Own metrics of a name, without the labels of the component.
    fn metric(&self, name: &str) -> Vec<String> {
        let text = self.harness.services.metrics.text();
        let lines = text.lines().filter(|l| l.strip_prefix(name).is_some_and(|r| r.starts_with(['{', ' '])));
        lines.map(str::to_owned).collect()
    }

    /// The sum of a metric over all label sets that contain a text.
    fn sum(&self, name: &str, part: &str) -> f64 {
        let lines = self.metric(name);
        let value = |line: &String| line.rsplit(' ').next().and_then(|v| v.parse::<f64>().ok());
        lines.iter().filter(|l| l.contains(part)).filter_map(value).sum()
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
        self._folder
    }
}

fn endpoint(url: &str, inside: &str) -> String {
    let queue = if inside.contains("queue_config") { "" } else { FAST };
    format!("endpoint {{\nurl = {url:?}\n{inside}\n{queue}\n}}\n")
}

/// An endpoint by itself, with the metrics that it counts into.
async fn open(body: &str) -> (Endpoint, Arc<Metrics>, Arc<Services>) {
    let body = format!("{body}\nwal {{\nenabled = false\n}}");
    let source = Source::new("test.alloy", &body);
    let (file, _) = component::eval::syntax::parse(&source);
    let names = Names::default();
    let (args, found) = component::eval::decode::<Args>(&source, &file.body, None, &Scope::new(&names));
    let args = args.unwrap_or_else(|| panic!("{found:?}"));
    let services = Services::for_tests("unused");
    let cx = BuildCx::detached("prometheus.remote_write.test", services.clone());
    let metrics = Arc::new(Metrics::new(&cx.metrics()));
    // The metrics of a node go with it.
    std::mem::forget(cx.clone());
    let plan = plans(&args, &cx).expect("good arguments").remove(0);
    (Endpoint::open(plan, &metrics).await.expect("opened"), metrics, services)
}

fn series(pairs: &[(&str, &str)]) -> Series {
    Series::intern(Labels::from_pairs(pairs.iter().copied()))
}

fn point(series: Series, timestamp_ms: i64, value: f64) -> Point {
    Point { series, timestamp_ms, value, start_ms: 0, family: NO_FAMILY }
}

/// Samples of one series; each value is its time as well, so that order shows.
fn batch(name: &str, values: &[f64]) -> SampleBatch {
    let one = series(&[("__name__", name)]);
    let points: Vec<_> = values.iter().map(|v| point(one.clone(), 1_000_000 + *v as i64, *v)).collect();
    SampleBatch { points: points.into(), origin: Some(one.hash()), ..SampleBatch::default() }
}

/// The pairs that references mean.
fn labels(symbols: &[String], refs: &[u32]) -> Vec<(String, String)> {
    let text = |i: u32| symbols[i as usize].clone();
    refs.chunks(2).map(|pair| (text(pair[0]), text(pair[1]))).collect()
}

/// Whether each value comes for the first time after all smaller ones.
fn first_arrivals_ascend(values: &[f64]) -> bool {
    let mut newest = f64::MIN;
    let mut seen = std::collections::BTreeSet::new();
    values.iter().all(|v| {
        let first = seen.insert(v.to_bits());
        let ascends = !first || *v > newest;
        newest = newest.max(*v);
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

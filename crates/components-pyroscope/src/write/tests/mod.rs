//! The component against Pyroscopes in this process: what it sends, what it makes of every answer, and that nothing
//! is lost.

mod arguments;
mod faults;
mod protocol;
mod queue;
mod reload;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use component::eval::ArgValue as _;
use component::testkit::{Harness, Names, Refused};
use component::{ComponentDef, Receiver, Services};
use net::testkit::{Backend, Posted};
use signal::profiles::{Ingest, Profile, ProfileBody};
use signal::{Labels, Profiles};

use super::Write;

const DEFINITION: ComponentDef = ComponentDef::of::<Write>();

/// An endpoint that does not make a test wait, unless the test says otherwise.
const FAST: [(&str, &str); 3] =
    [("min_backoff_period", "\"1ms\""), ("max_backoff_period", "\"5ms\""), ("max_backoff_retries", "0")];

/// A component under test with the way into it.
struct Running {
    harness: Harness,
    input: Receiver<Profiles>,
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
    /// Takes numbered profiles in, as one batch.
    async fn push(&self, numbers: impl IntoIterator<Item = u32>) {
        self.input.send(profiles(numbers)).await.expect("taken");
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

    /// Profiles that were given up, by reason.
    fn dropped(&self, reason: &str) -> f64 {
        self.sum("pyroscope_write_drops_total", &format!("reason=\"{reason}\""))
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
    format!("endpoint {{\nurl = \"{base}\"\n{fast}{inside}\n}}\n")
}

/// A profile whose bytes are its number. Odd ones are requests to `/ingest`.
fn profile(number: u32) -> Profile {
    let series = (number % 7).to_string();
    let raw = Bytes::from(number.to_string());
    match number % 2 {
        0 => Profile::pprof(Labels::from_pairs([("service_name", "s"), ("n", &series)]), raw),
        _ => ingest(&[("service_name", "s"), ("__name__", "s"), ("n", &series)], raw),
    }
}

fn ingest(pairs: &[(&str, &str)], raw: Bytes) -> Profile {
    let ingest = Ingest {
        parameters: [("from", "1"), ("until", "2"), ("format", "pprof")]
            .map(|(n, v)| (n.into(), v.into()))
            .into(),
        content_type: "multipart/form-data; boundary=x".into(),
        content_encoding: Default::default(),
        raw,
    };
    Profile { labels: Labels::from_pairs(pairs.iter().copied()), body: ProfileBody::Ingest(ingest) }
}

fn profiles(numbers: impl IntoIterator<Item = u32>) -> Profiles {
    Profiles::new(numbers.into_iter().map(profile), 0)
}

/// What a request holds: labels, and the bytes of the profile.
fn pushed(posted: &Posted) -> (Labels, Bytes) {
    if let Some(query) = posted.path.strip_prefix("/ingest?") {
        let query = wire::pyroscope::parse_query(query).expect("a query");
        return (query.labels, posted.body.clone().into());
    }
    assert_eq!(posted.path, "/push.v1.PusherService/Push");
    let read = wire::pyroscope::decode(&posted.body.clone().into(), 1 << 20).expect("a push request");
    let [one] = &read[..] else { panic!("one profile a request: {read:?}") };
    (one.labels.clone(), one.raw().clone())
}

fn number(posted: &Posted) -> u32 {
    std::str::from_utf8(&pushed(posted).1).expect("a number").parse().expect("a number")
}

/// The numbers of profiles in requests that were taken.
fn taken_of(posted: &[Posted]) -> Vec<u32> {
    posted.iter().filter(|p| p.status / 100 == 2).map(number).collect()
}

/// As [`taken_of`], of all that this Pyroscope has got, sorted.
fn taken(pyroscope: &Backend) -> Vec<u32> {
    let mut all = taken_of(&pyroscope.all());
    all.sort_unstable();
    all
}

fn refused(body: &str) -> Vec<component::eval::syntax::Diagnostic> {
    let harness = Harness::new(DEFINITION, Names::default(), Services::for_tests("unused"));
    match futures_util::FutureExt::now_or_never(harness.update(body)) {
        Some(Err(Refused::Diagnostics(diagnostics))) => diagnostics,
        other => panic!("not refused: {other:?}\n{body}"),
    }
}

//! Pages and targets as they come, told by what reaches the sink.

mod hostile;
mod native;
mod pages;
mod rows;
mod targets;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use component::eval::Scope;
use component::eval::syntax::Source;
use component::testkit::{Harness, Names, Sink};
use component::{ComponentDef, Services};
use parking_lot::Mutex;
use signal::Samples;
use signal::samples::is_stale;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::Scrape;

pub(super) const DEFINITION: ComponentDef = ComponentDef::of::<Scrape>();

/// What a target answers, byte for byte, one after the other; the last one again and again.
#[derive(Clone, Default)]
pub(super) struct Site(Arc<SiteState>);

#[derive(Default)]
struct SiteState {
    answers: Mutex<VecDeque<Vec<u8>>>,
    requests: Mutex<Vec<String>>,
    asked: Notify,
}

/// A whole HTTP answer.
pub(super) fn answer(head: &str, body: &[u8]) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())
        .into_bytes();
    out.extend_from_slice(body);
    out
}

/// A page in the Prometheus text format.
pub(super) fn text(body: &str) -> Vec<u8> {
    answer("200 OK\r\nContent-Type: text/plain; version=0.0.4", body.as_bytes())
}

/// A page in the OpenMetrics format; `# EOF` is added.
pub(super) fn openmetrics(body: &str) -> Vec<u8> {
    let body = format!("{body}# EOF\n");
    answer("200 OK\r\nContent-Type: application/openmetrics-text; version=1.0.0", body.as_bytes())
}

impl Site {
    pub(super) fn new(answers: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let site = Self::default();
        site.0.answers.lock().extend(answers);
        site
    }

    /// What it answers from now on.
    pub(super) fn set(&self, answer: Vec<u8>) {
        *self.0.answers.lock() = [answer].into();
    }

    /// Serves on loopback; stops with the runtime.
    pub(super) async fn listen(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        let site = self.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let mut part = [0; 1024];
                    match stream.read(&mut part).await {
                        Ok(n) if n > 0 => request.extend_from_slice(&part[..n]),
                        _ => break,
                    }
                }
                let answer = site.next(String::from_utf8_lossy(&request).into_owned());
                // A client that has read enough hangs up.
                let _ = stream.write_all(&answer).await;
            }
        });
        address
    }

    fn next(&self, request: String) -> Vec<u8> {
        self.0.requests.lock().push(request);
        self.0.asked.notify_waiters();
        let mut answers = self.0.answers.lock();
        if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() }.unwrap_or_default()
    }

    pub(super) fn requests(&self) -> Vec<String> {
        self.0.requests.lock().clone()
    }
}

/// Answers at the in-memory address, where paused time does not race with the network.
struct InMemory(Site);

impl component::http::Handler for InMemory {
    fn handle<'a>(
        &'a self,
        path: &'a str,
        request: component::http::Request,
    ) -> component::BoxFuture<'a, component::http::Response> {
        let mut told = format!("GET {path}?{}\n", request.uri().query().unwrap_or_default());
        for (name, value) in request.headers() {
            told.push_str(&format!("{name}: {}\n", value.to_str().unwrap_or("?")));
        }
        let answer = self.0.next(told);
        let end = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("a head");
        let head = std::str::from_utf8(&answer[..end]).expect("text");
        let status: u16 = head.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
        let mut response = http::Response::builder().status(status);
        for line in head.lines().skip(1) {
            let (name, value) = line.split_once(": ").expect("a header");
            response = response.header(name, value);
        }
        let response = response.body(bytes::Bytes::copy_from_slice(&answer[end + 4..])).expect("a response");
        Box::pin(std::future::ready(response))
    }
}

/// A component that scrapes one in-memory target every 10 s.
pub(super) struct Bench {
    pub(super) harness: Harness,
    pub(super) sink: Sink<Samples>,
    pub(super) site: Site,
}

/// Evaluates a body of which the test knows that it is valid.
async fn evaluate(harness: &Harness, sink: &Sink<Samples>, body: &str) {
    let source = Source::new("test.alloy", body);
    let (file, errors) = component::eval::syntax::parse(&source);
    assert!(errors.is_empty(), "{errors:?}");
    let names = Names::default().with("sink", sink.value());
    let prepared = {
        let scope = Scope::new(&names);
        harness.node.prepare(&source, &file.body, None, &scope).expect("a valid configuration")
    };
    harness.node.apply(prepared).await.expect("a component that can be built");
}

/// The target of [`Bench`].
pub(super) const TARGET: &str = r#"{"__address__" = "alloy.internal:12345", "instance" = "i", "job" = "j"}"#;

pub(super) fn config(targets: &str, extra: &str) -> String {
    format!("targets = [{targets}]\nforward_to = [sink]\nscrape_interval = \"10s\"\n{extra}")
}

impl Bench {
    pub(super) async fn start(extra: &str, answers: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self::with_targets(TARGET, extra, answers).await
    }

    pub(super) async fn with_targets(
        targets: &str,
        extra: &str,
        answers: impl IntoIterator<Item = Vec<u8>>,
    ) -> Self {
        let (sink, site) = (Sink::new(), Site::new(answers));
        let services = Services::for_tests("unused");
        services.handlers.set_main(Arc::new(InMemory(site.clone())));
        let names = Names::default().with("sink", sink.value());
        let harness = Harness::new(DEFINITION, names, services);
        evaluate(&harness, &sink, &config(targets, extra)).await;
        harness.node.start();
        Self { harness, sink, site }
    }

    /// The next batch.
    pub(super) async fn next(&self) -> Samples {
        let mut batches = self.sink.wait(1).await;
        assert_eq!(batches.len(), 1, "one batch a scrape");
        batches.remove(0)
    }

    /// The next batch as text, without reported series.
    pub(super) async fn scraped(&self) -> Vec<String> {
        shown(&self.next().await)
    }
}

const REPORTED: [&str; 8] = [
    "up{",
    "scrape_duration_seconds{",
    "scrape_samples_scraped{",
    "scrape_samples_post_metric_relabeling{",
    "scrape_series_added{",
    "scrape_timeout_seconds{",
    "scrape_sample_limit{",
    "scrape_body_size_bytes{",
];

/// Series and values, without reported series and their common labels.
pub(super) fn shown(batch: &Samples) -> Vec<String> {
    let mut out = Vec::new();
    for point in batch.points.iter() {
        let series = point.series.to_string();
        if !REPORTED.iter().any(|r| series.starts_with(r)) {
            let value = if is_stale(point.value) { "stale".to_owned() } else { point.value.to_string() };
            out.push(format!("{} {value}", brief(&series)));
        }
    }
    for point in &batch.histograms {
        let count =
            if point.histogram.is_stale() { "stale".to_owned() } else { point.histogram.count().to_string() };
        out.push(format!("{} histogram {count}", brief(&point.series.to_string())));
    }
    out
}

fn brief(series: &str) -> String {
    let out = series.replace("instance=\"i\", ", "").replace("instance=\"i\"", "");
    let out = out.replace(", job=\"j\"", "").replace("job=\"j\", ", "").replace("job=\"j\"", "");
    out.replace("{}", "")
}

/// The value of a reported series.
pub(super) fn reported(batch: &Samples, name: &str) -> Option<f64> {
    batch.points.iter().find(|p| p.series.metric_name() == Some(name)).map(|p| p.value)
}

/// Lets paused time pass.
pub(super) async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

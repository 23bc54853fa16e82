//! Programs under profile as they come, told by what reaches the sink.

mod arguments;
mod delivery;
mod hostile;
mod profiles;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use component::testkit::{Harness, Names, Sink};
use component::{BoxFuture, ComponentDef, Services};
use parking_lot::Mutex;
use signal::Profiles;
use wire::pprof::{pack, shape, unpack};
use wire::proto::{push_bytes_field, push_message_field, push_varint_field};

use super::Scrape;

pub(super) const DEFINITION: ComponentDef = ComponentDef::of::<Scrape>();

/// What a program answers.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// A status and a page.
    Page(u16, Vec<u8>),
    /// With 200, after a while.
    After(Duration, Vec<u8>),
    /// Never.
    Hang,
}

type Script = Box<dyn FnMut(&str) -> Answer + Send>;

/// A program at the in-memory address, where paused time does not race with the network.
#[derive(Clone)]
pub(super) struct Program {
    asked: Arc<Mutex<Vec<String>>>,
    script: Arc<Mutex<Script>>,
}

impl Program {
    fn new(script: impl FnMut(&str) -> Answer + Send + 'static) -> Self {
        Self { asked: Arc::default(), script: Arc::new(Mutex::new(Box::new(script))) }
    }

    /// Paths and queries so far.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }
}

impl component::http::Handler for Program {
    fn handle<'a>(
        &'a self,
        path: &'a str,
        request: component::http::Request,
    ) -> BoxFuture<'a, component::http::Response> {
        let path = match request.uri().query() {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        };
        let answer = (self.script.lock())(&path);
        self.asked.lock().push(path);
        Box::pin(async move {
            let (status, page) = match answer {
                Answer::Page(status, page) => (status, page),
                Answer::After(wait, page) => {
                    tokio::time::sleep(wait).await;
                    (200, page)
                }
                Answer::Hang => std::future::pending().await,
            };
            http::Response::builder().status(status).body(page.into()).expect("a response")
        })
    }
}

/// A component that scrapes one program.
pub(super) struct Bench {
    pub(super) harness: Harness,
    pub(super) sink: Sink<Profiles>,
    pub(super) program: Program,
}

/// The target of [`Bench`].
pub(super) const TARGET: &str = r#"{"__address__" = "alloy.internal:12345", "service_name" = "s"}"#;

pub(super) fn config(targets: &str, extra: &str) -> String {
    format!("targets = [{targets}]\nforward_to = [sink]\n{extra}")
}

/// `profiling_config` with these types only.
pub(super) fn only(types: &[&str]) -> String {
    let known = ["memory", "block", "goroutine", "mutex", "process_cpu"];
    let blocks = known.map(|name| format!("profile.{name} {{\nenabled = {}\n}}\n", types.contains(&name)));
    format!("profiling_config {{\n{}}}\n", blocks.concat())
}

impl Bench {
    pub(super) async fn start(extra: &str, script: impl FnMut(&str) -> Answer + Send + 'static) -> Self {
        let (sink, program) = (Sink::new(), Program::new(script));
        let services = Services::for_tests("unused");
        services.handlers.set_main(Arc::new(program.clone()));
        let harness = Harness::new(DEFINITION, Names::default().with("sink", sink.value()), services);
        harness.update(&config(TARGET, extra)).await.expect("valid");
        harness.node.start();
        Self { harness, sink, program }
    }

    /// The next profile.
    pub(super) async fn next(&self) -> Profiles {
        let mut batches = self.sink.wait(1).await;
        assert_eq!(batches.len(), 1, "one profile came");
        batches.remove(0)
    }

    /// Totals of the next profile.
    pub(super) async fn totals(&self) -> Vec<i128> {
        totals(&self.next().await)
    }

    /// The sum of a metric over its labels.
    pub(super) fn metric(&self, name: &str) -> f64 {
        let text = self.harness.services.metrics.text();
        let lines = text.lines().filter(|line| line.starts_with(name));
        lines.map(|l| l.rsplit(' ').next().and_then(|v| v.parse::<f64>().ok()).expect("a value")).sum()
    }

    pub(super) fn debug_info(&self) -> String {
        format!("{:?}", self.harness.node.debug_info())
    }
}

/// Sums of the values of a batch's only profile.
pub(super) fn totals(batch: &Profiles) -> Vec<i128> {
    assert_eq!(batch.len(), 1);
    let mut buffer = Vec::new();
    let profile = unpack(batch.items[0].raw(), 1 << 20, &mut buffer).expect("packed");
    shape(profile).expect("a profile").totals
}

pub(super) async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

pub(super) const CONTENTION: [(&str, &str); 2] = [("contentions", "count"), ("delay", "nanoseconds")];
pub(super) const MEMORY: [(&str, &str); 4] = [
    ("alloc_objects", "count"),
    ("alloc_space", "bytes"),
    ("inuse_objects", "count"),
    ("inuse_space", "bytes"),
];

/// A packed profile: its columns, and a sample for each address.
pub(super) fn profile(columns: &[(&str, &str)], samples: &BTreeMap<u64, Vec<i64>>) -> Vec<u8> {
    let (mut out, mut texts) = (Vec::new(), vec![""]);
    let mut text = |text| {
        texts.push(text);
        texts.len() as u64 - 1
    };
    for (kind, unit) in columns {
        let (kind, unit) = (text(kind), text(unit));
        push_message_field(&mut out, 1, |out| {
            push_varint_field(out, 1, kind);
            push_varint_field(out, 2, unit);
        });
    }
    for (place, (address, values)) in samples.iter().enumerate() {
        push_message_field(&mut out, 2, |out| {
            push_varint_field(out, 1, place as u64 + 1);
            values.iter().for_each(|value| push_varint_field(out, 2, *value as u64));
        });
        push_message_field(&mut out, 4, |out| {
            push_varint_field(out, 1, place as u64 + 1);
            push_varint_field(out, 3, *address);
        });
    }
    texts.iter().for_each(|text| push_bytes_field(&mut out, 6, text.as_bytes()));
    let mut packed = Vec::new();
    pack(&out, &mut packed);
    packed
}

/// A profile of waiting: one sample.
pub(super) fn waited(times: i64) -> Vec<u8> {
    profile(&CONTENTION, &[(0x1000, vec![times, times * 10])].into())
}

/// A program that has waited once more each time that it is asked.
pub(super) fn waiting() -> impl FnMut(&str) -> Answer + Send + 'static {
    let mut times = 0;
    move |_| {
        times += 1;
        Answer::Page(200, waited(times * times))
    }
}

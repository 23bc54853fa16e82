//! The Go program of `examples/go-worker-pool` through the pipeline of that example: each job's count, log line and span
//! arrive at the back ends, and the profiles of what it does.
//!
//! The pool numbers its jobs without gaps and fails every tenth, so that what has to arrive is known beforehand.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;
use signal::otlp::proto::common::v1::KeyValue;
use signal::otlp::proto::common::v1::any_value::Value as Attribute;
use signal::otlp::proto::trace::v1::Span;
use wire::pprof::unpack;

use crate::kit::otlp::{Backend, Content};
use crate::kit::pyroscope::Pyroscope;
use crate::kit::sdk::go_program;
use crate::kit::{Loki, Peer, Program, Sink, eventually, free_address, get, post};

/// Of the pool.
const WORKERS: i64 = 8;

/// The pool, the collector with the example's configuration, and the back ends.
struct Stack {
    pool: Peer,
    collector: Program,
    sink: Sink,
    loki: Loki,
    tempo: Backend,
    pyroscope: Pyroscope,
    /// Of the log.
    _folder: tempfile::TempDir,
}

impl Stack {
    /// `None` where there is no Go toolchain.
    fn start() -> Option<Self> {
        let command = go_program("worker-pool/worker-pool")?;
        let (sink, loki, tempo) = (Sink::start(), Loki::start(), Backend::start());
        let pyroscope = Pyroscope::of_programs();
        let otlp = free_address();
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("worker-pool.log");
        let pool = Peer::start(&command.display().to_string(), "/health", |address, _| {
            vec![
                format!("-listen={address}"),
                format!("-otlp={otlp}"),
                format!("-log-file={}", log.display()),
                format!("-workers={WORKERS}"),
                "-queue=1000".into(),
                "-rate=0".into(),
            ]
        });
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/go-worker-pool/config.alloy");
        let mut collector = Program::prepare_file(&config);
        collector.set_env("METRICS_URL", sink.url());
        collector.set_env("LOGS_URL", loki.url());
        collector.set_env("TRACES_ENDPOINT", tempo.address.to_string());
        collector.set_env("PROFILES_URL", pyroscope.url());
        collector.set_env("OTLP_GRPC", otlp.to_string());
        collector.set_env("OTLP_HTTP", free_address().to_string());
        collector.set_env("WORKER_POOL_ADDRESS", pool.address.to_string());
        collector.set_env("WORKER_POOL_LOG", log.display().to_string());
        collector.set_env("SCRAPE_INTERVAL", "1s");
        collector.set_env("PROFILE_INTERVAL", "3s");
        collector.set_env("PROFILE_DURATION", "2s");
        collector.launch();
        collector.wait_ready();
        // The pool gives a span up that it cannot send within the grace after a signal to stop.
        eventually("the collector takes spans", || {
            std::net::TcpStream::connect(otlp).map(drop).map_err(|e| format!("{e}\n{}", collector.log()))
        });
        Some(Self { pool, collector, sink, loki, tempo, pyroscope, _folder: folder })
    }

    /// Gives the pool so many jobs; all have to be accepted.
    fn jobs(&self, count: u64) {
        let answer = post(self.pool.address, &format!("/jobs?n={count}")).expect("the pool answers");
        let accepted: Value = serde_json::from_str(&answer.body).expect("JSON");
        assert_eq!((answer.status, accepted["accepted"].as_u64()), (202, Some(count)), "{}", answer.body);
    }

    /// The lines of jobs by number, once there is one of each.
    fn lines(&self, count: u64) -> BTreeMap<u64, (String, Value)> {
        let lines = eventually("every job has its line", || {
            let mut lines: BTreeMap<u64, Vec<_>> = BTreeMap::new();
            for entry in self.loki.entries("service_name=\"worker-pool\"") {
                let line: Value = serde_json::from_str(&entry.line).expect("every line is JSON");
                if let Some(job) = line["job_id"].as_u64() {
                    lines.entry(job).or_default().push((entry.stream.to_string(), line));
                }
            }
            complete(lines, count, &self.collector)
        });
        each_once("line", lines)
    }

    /// The spans of jobs by number, once there is one of each.
    fn spans(&self, count: u64) -> BTreeMap<u64, Span> {
        let spans = eventually("every job has its span", || {
            let mut spans: BTreeMap<u64, Vec<Span>> = BTreeMap::new();
            for content in self.tempo.received() {
                let Content::Traces(request) = content else { panic!("only spans are sent: {content:?}") };
                for of_resource in request.resource_spans {
                    let resource = of_resource.resource.expect("a resource");
                    assert_eq!(text(&resource.attributes, "service.name"), "worker-pool");
                    for span in of_resource.scope_spans.into_iter().flat_map(|s| s.spans) {
                        let job = integer(&span.attributes, "job.id").expect("every span is a job's");
                        spans.entry(job as u64).or_default().push(span);
                    }
                }
            }
            complete(spans, count, &self.collector)
        });
        each_once("span", spans)
    }

    /// The last value of a metric of the pool, with these labels, once it is what it should be.
    fn last_value(&self, name: &str, labels: &str, expected: f64) {
        eventually(&format!("{name} with {labels} is {expected}"), || {
            let series = self.sink.series(name);
            let mut ours = series.iter().filter(|(s, _)| is_of(s, name) && s.contains(labels));
            match ours.next().and_then(|(_, values)| values.last()) {
                Some((_, value)) if *value == expected => Ok(()),
                _ => Err(format!("{series:?}\n{}", self.collector.log())),
            }
        });
    }
}

/// Whether a series' text is one of that name.
fn is_of(series: &str, name: &str) -> bool {
    series.starts_with(&format!("{name}{{")) || series.contains(&format!("__name__=\"{name}\""))
}

fn complete<T>(
    found: BTreeMap<u64, Vec<T>>,
    count: u64,
    collector: &Program,
) -> Result<BTreeMap<u64, Vec<T>>, String> {
    let missing: Vec<_> = (1..=count).filter(|n| !found.contains_key(n)).collect();
    match missing.is_empty() {
        true => Ok(found),
        false => Err(format!("{} missing: {missing:?}\n{}", missing.len(), collector.log())),
    }
}

fn each_once<T>(what: &str, found: BTreeMap<u64, Vec<T>>) -> BTreeMap<u64, T> {
    let only = |(job, mut all): (u64, Vec<T>)| {
        assert_eq!(all.len(), 1, "job {job} has more than one {what}");
        (job, all.remove(0))
    };
    found.into_iter().map(only).collect()
}

fn find<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Attribute> {
    attributes.iter().find(|a| a.key == key)?.value.as_ref()?.value.as_ref()
}

fn text<'a>(attributes: &'a [KeyValue], key: &str) -> &'a str {
    match find(attributes, key) {
        Some(Attribute::StringValue(text)) => text,
        other => panic!("{key} is {other:?}"),
    }
}

fn integer(attributes: &[KeyValue], key: &str) -> Option<i64> {
    match find(attributes, key) {
        Some(Attribute::IntValue(n)) => Some(*n),
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn every_job_of_the_worker_pool_has_its_count_its_line_and_its_span() {
    let Some(stack) = Stack::start() else { return };
    const JOBS: u64 = 200;
    stack.jobs(JOBS);

    let (lines, spans) = (stack.lines(JOBS), stack.spans(JOBS));
    assert_eq!((lines.len() as u64, spans.len() as u64), (JOBS, JOBS), "none that was never given");
    let mut workers = BTreeSet::new();
    for (job, span) in &spans {
        let fails = job.is_multiple_of(10);
        assert_eq!(span.name, "process_job");
        let worker = integer(&span.attributes, "worker.id").expect("a worker");
        assert!((1..=WORKERS).contains(&worker), "{worker}");
        workers.insert(worker);
        assert!(text(&span.attributes, "job.url").ends_with(&format!("/work?job={job}")), "{span:?}");
        assert_eq!(span.status.as_ref().map_or(0, |s| s.code), if fails { 2 } else { 0 }, "{span:?}");

        let (stream, line) = &lines[job];
        let (level, message) = if fails { ("error", "job failed") } else { ("info", "job done") };
        assert!(stream.contains(&format!("level=\"{level}\"")), "{stream}");
        assert_eq!(line["msg"], message);
        // One signal leads to the other.
        assert_eq!(line["trace_id"], hex(&span.trace_id));
        assert_eq!(line["span_id"], hex(&span.span_id));
        assert_eq!(line["worker_id"], worker);
    }
    assert!(workers.len() > 1, "all was done by {workers:?}");

    for (status, count) in [("ok", 180.0), ("error", 20.0), ("refused", 0.0)] {
        stack.last_value("jobs_total", &format!("status=\"{status}\""), count);
    }
    stack.last_value("job_duration_seconds_count", "", JOBS as f64);
    stack.last_value("job_duration_seconds_bucket", "le=\"+Inf\"", JOBS as f64);
    for idle in ["workers_active", "jobs_queue_depth"] {
        stack.last_value(idle, "", 0.0);
    }
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    for name in ["go_goroutines", "go_threads", "go_gc_duration_seconds_count", "process_open_fds", "up"] {
        let series = stack.sink.series(name);
        let of_host = |s: &str| {
            s.contains(&format!("instance=\"{host}\"")) && s.contains("job=\"worker-pool\"") && is_of(s, name)
        };
        assert!(series.keys().any(|s| of_host(s)), "{name}: {series:?}");
    }
    let log = stack.collector.log();
    assert!(!log.contains("level=error"), "{log}");
}

#[test]
fn what_the_worker_pool_says_last_arrives_too() {
    let Some(mut stack) = Stack::start() else { return };
    const JOBS: u64 = 300;
    stack.jobs(JOBS);
    // With most of them still in the queue.
    assert!(stack.pool.terminate().success());
    assert_eq!((stack.lines(JOBS).len(), stack.spans(JOBS).len()), (JOBS as usize, JOBS as usize));
    eventually("the last line has come", || {
        let entries = stack.loki.entries("service_name=\"worker-pool\"");
        let last = entries.iter().any(|e| e.line.contains("\"msg\":\"stopped\",\"jobs\":300"));
        if last { Ok(()) } else { Err(stack.collector.log()) }
    });
    let entries = stack.loki.entries("service_name=\"worker-pool\"");
    assert!(!entries.iter().any(|e| e.line.contains("were not finished")), "{entries:?}");
}

#[test]
fn profiles_of_what_the_worker_pool_does_arrive() {
    let Some(stack) = Stack::start() else { return };
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    // Of each kind one in which a function is that has to be in it. Differences of cumulative ones take two scrapes.
    let expected = [
        ("process_cpu", "main.digest"),
        ("memory", "main.(*pool).fetch"),
        ("goroutine", "main.(*pool).work"),
        ("block", "main.(*pool).work"),
    ];
    let found = eventually("profiles of each kind have come", || {
        // A full queue refuses; there is work to see all the same.
        post(stack.pool.address, "/jobs?n=50").expect("the pool answers");
        let profiles = stack.pyroscope.profiles("worker-pool").into_iter().map(|arrived| {
            let mut buffer = Vec::new();
            let raw = unpack(&arrived.raw, 64 << 20, &mut buffer).expect("as Go compresses it").to_vec();
            (arrived.labels, raw)
        });
        let profiles: Vec<_> = profiles.collect();
        let holds = |kind: &str, function: &str| {
            profiles.iter().find(|(labels, raw)| {
                labels.get("__name__") == Some(kind)
                    && raw.windows(function.len()).any(|w| w == function.as_bytes())
            })
        };
        let missing: Vec<_> =
            expected.iter().filter(|(kind, function)| holds(kind, function).is_none()).collect();
        if missing.is_empty() {
            Ok(profiles.into_iter().map(|(labels, _)| labels).collect::<Vec<_>>())
        } else {
            Err(format!("{missing:?} of {} profiles\n{}", profiles.len(), stack.collector.log()))
        }
    });
    for labels in found {
        assert_eq!(labels.get("instance"), Some(host.as_str()), "{labels}");
    }
}

/// Names that pages show, those of histograms and summaries included.
fn names_on_page(address: SocketAddr) -> BTreeSet<String> {
    let page = get(address, "/metrics").expect("a page").body;
    let samples = page.lines().filter(|l| !l.starts_with('#') && !l.is_empty());
    samples.filter_map(|l| l.split(['{', ' ']).next()).map(str::to_owned).collect()
}

#[test]
fn every_metric_of_the_dashboards_is_one_that_the_programs_give() {
    let Some(stack) = Stack::start() else { return };
    stack.jobs(20);
    stack.lines(20);
    stack.spans(20);
    let mut given = names_on_page(stack.pool.address);
    given.extend(names_on_page(stack.collector.address));
    // What a scrape itself reports.
    given.insert("up".into());
    let mut asked = 0;
    for (file, dashboard) in crate::stacks::dashboards() {
        for expression in crate::stacks::prometheus_queries(&dashboard) {
            let names = crate::stacks::metric_names(&expression);
            assert!(!names.is_empty(), "{file}: no metric in {expression}");
            for name in names {
                assert!(given.contains(&name), "{file}: nobody gives {name}: {expression}\n{given:?}");
                asked += 1;
            }
        }
    }
    assert!(asked > 50, "{asked} names are no dashboards");
}

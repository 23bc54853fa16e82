//! `pyroscope.scrape` fetches profiles from targets and forwards them.
//!
//! Data path: a worker for each profile of each target → the bytes that the target sent, or the difference to its last
//! cumulative profile → `forward_to`.
//! Invariants: the run loop does no I/O; a change of arguments or of targets keeps what is remembered of every profile
//! that stays, and cuts off nothing that is on its way.

mod args;
mod take;
mod target;
#[cfg(test)]
mod tests;
mod worker;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use component::eval::Item;
use component::metrics::{Histogram, IntCounter, IntCounterVec, IntGauge, NodeMetrics};
use component::{BuildCx, Component, Error, Event, Exports, Fanout, OnceAMinute, RunCx, Spawner, Stability};
use net::scrape::{Pool, Status};
use net::{Client, ClientOptions};
use parking_lot::Mutex;
use signal::LabelsBuilder;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

pub use args::Args;
use target::Spec;
use worker::{Job, Settings, Shared, Worker};

/// Nothing: profiles go to `forward_to`.
#[derive(Clone, Debug, Default, PartialEq, Exports)]
pub struct ScrapeExports {}

/// The component.
pub struct Scrape {
    args: Args,
    settings: Arc<Settings>,
    metrics: Metrics,
}

impl Component for Scrape {
    const NAME: &'static str = "pyroscope.scrape";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = ScrapeExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, ScrapeExports), Error> {
        let settings = settings(&args, None, cx)?;
        Ok((Self { args, settings, metrics: Metrics::new(&cx.metrics()) }, ScrapeExports {}))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let (gone, mut ended) = mpsc::channel(64);
        let shown: Arc<Shown> = Arc::default();
        let (show, build) = (shown.clone(), BuildCx::clone(&cx));
        cx.set_debug_info(move || debug_info(&show));
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let shared = Arc::new(Shared {
            forward: ArcSwap::from_pointee(Fanout::new([])),
            pool: Pool::default(),
            compare: Semaphore::new(threads),
            metrics: self.metrics,
            lost: OnceAMinute::default(),
            cx: build,
        });
        let mut running = Running {
            workers: HashMap::new(),
            settings: self.settings,
            shared,
            shown,
            gone,
            twice: OnceAMinute::default(),
        };
        let (spawner, stop) = (cx.spawner(), cx.stopping());
        running.apply(&self.args, &spawner, &stop)?;
        loop {
            tokio::select! {
                biased;
                event = cx.event() => match event {
                    Event::Stop => return Ok(()),
                    Event::Update(update) => {
                        update.apply(|args| running.apply(&args, &spawner, &stop));
                    }
                },
                Some(key) = ended.recv() => running.forget(key),
            }
        }
    }
}

/// Profiles as UI and API show them: the job, the profile, its last scrape.
type Shown = Mutex<Vec<(String, Spec, Arc<Status>)>>;

/// A worker as the run loop knows it.
struct Handle {
    job: watch::Sender<Option<Arc<Job>>>,
    status: Arc<Status>,
}

struct Running {
    /// By key of the profile.
    workers: HashMap<u64, Handle>,
    settings: Arc<Settings>,
    shared: Arc<Shared>,
    shown: Arc<Shown>,
    gone: mpsc::Sender<u64>,
    /// For the line about profiles that are asked for twice.
    twice: OnceAMinute,
}

impl Running {
    /// Puts arguments into force.
    fn apply(&mut self, args: &Args, spawner: &Spawner, stop: &CancellationToken) -> Result<(), Error> {
        self.settings = settings(args, Some(&self.settings), &self.shared.cx)?;
        self.shared.forward.store(Arc::new(Fanout::new(args.forward_to.iter().cloned())));
        let specs = self.specs(args);
        self.shared.metrics.targets.set(i64::try_from(specs.len()).unwrap_or(i64::MAX));
        let mut old = std::mem::take(&mut self.workers);
        let job = if args.job_name.is_empty() { self.shared.cx.id() } else { &args.job_name }.to_owned();
        let mut shown = Vec::with_capacity(specs.len());
        for spec in specs {
            let handle = old.remove(&spec.key).unwrap_or_else(|| self.spawn(&spec, spawner, stop));
            shown.push((job.clone(), spec.clone(), handle.status.clone()));
            self.set(handle, spec);
        }
        for (key, handle) in old {
            handle.job.send_if_modified(|job| job.take().is_some());
            self.workers.insert(key, handle);
        }
        *self.shown.lock() = shown;
        Ok(())
    }

    /// The profiles, each once; those that cannot be fetched are logged.
    fn specs(&self, args: &Args) -> Vec<Spec> {
        let wanted = args.profiling_config.wanted();
        let mut builder = LabelsBuilder::new();
        let mut seen = HashSet::new();
        let mut specs = Vec::with_capacity(args.targets.len() * wanted.len());
        for target in &args.targets {
            for wanted in &wanted {
                match Spec::new(target.labels(), args, *wanted, &mut builder) {
                    Ok(spec) if seen.insert(spec.key) => specs.push(spec),
                    Ok(spec) => {
                        if self.twice.now() {
                            let target = net::shown_url(&spec.url);
                            tracing::warn!(%target, profile = wanted.name, "a profile is asked for twice, by a target that is given twice or by two types of one path; it is scraped once");
                        }
                    }
                    Err(error) => {
                        tracing::error!(error, target = %target.labels(), "target cannot be scraped");
                        break;
                    }
                }
            }
        }
        specs
    }

    /// Gives a worker its job, if it is another one.
    fn set(&mut self, handle: Handle, spec: Spec) {
        let key = spec.key;
        handle.job.send_if_modified(|current| {
            let same = |job: &Arc<Job>| job.spec == spec && Arc::ptr_eq(&job.settings, &self.settings);
            if current.as_ref().is_some_and(same) {
                return false;
            }
            *current = Some(Arc::new(Job { spec, settings: self.settings.clone() }));
            true
        });
        self.workers.insert(key, handle);
    }

    fn spawn(&self, spec: &Spec, spawner: &Spawner, stop: &CancellationToken) -> Handle {
        let job = Arc::new(Job { spec: spec.clone(), settings: self.settings.clone() });
        let (job, jobs) = watch::channel(Some(job));
        let status = Arc::new(Status::default());
        let worker = Worker {
            shared: self.shared.clone(),
            jobs,
            status: status.clone(),
            stop: stop.clone(),
            gone: self.gone.clone(),
        };
        spawner.spawn(worker.run());
        Handle { job, status }
    }

    /// A worker has nothing more to do; unless its target is back by now, it can go.
    fn forget(&mut self, key: u64) {
        if self.workers.get(&key).is_some_and(|handle| handle.job.borrow().is_none()) {
            self.workers.remove(&key);
        }
    }
}

/// What all targets share; what was made before, where nothing of it has changed.
fn settings(args: &Args, before: Option<&Arc<Settings>>, cx: &BuildCx) -> Result<Arc<Settings>, Error> {
    if let Some(before) = before.filter(|before| before.args == args.client) {
        return Ok(before.clone());
    }
    let client = Client::new(&args.client, ClientOptions::new(cx.services().user_agent()))?;
    Ok(Arc::new(Settings { args: args.client.clone(), client }))
}

fn debug_info(shown: &Shown) -> Vec<Item> {
    let shown = shown.lock();
    shown.iter().map(|(job, spec, status)| status.item(job, &spec.url, spec.labels.iter())).collect()
}

/// Own metrics of the component.
#[derive(Clone)]
struct Metrics {
    targets: IntGauge,
    forwarded: IntCounter,
    latency: Histogram,
    failed: IntCounter,
    dropped: IntCounterVec,
}

impl Metrics {
    fn new(metrics: &NodeMetrics) -> Self {
        const SECONDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
        Self {
            targets: metrics
                .gauge("pyroscope_scrape_targets_gauge", "Profiles of targets that this component scrapes."),
            forwarded: metrics.counter(
                "pyroscope_forwarded_profiles_total",
                "Profiles that were taken by all of forward_to.",
            ),
            latency: metrics.histogram(
                "pyroscope_fanout_latency",
                "Seconds that handing a profile to all of forward_to took.",
                &SECONDS,
            ),
            failed: metrics.counter("pyroscope_scrape_failures_total", "Scrapes that gave no profile."),
            dropped: metrics.counter_vec(
                "pyroscope_scrape_profiles_dropped_total",
                "Profiles that were fetched and not taken by forward_to: in time, before it stopped, or at all.",
                &["reason"],
            ),
        }
    }
}

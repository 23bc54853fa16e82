//! `prometheus.scrape` fetches metrics from targets and forwards them.
//!
//! Data path: a worker a target → page → the target's cache → one batch → `forward_to`.
//! Invariants: the run loop does no I/O; a change of arguments keeps what is remembered of every target that
//! stays, so that staleness and predictions survive it.

mod args;
mod cache;
mod classic;
mod failures;
mod family;
mod fetch;
pub mod page;
mod rules;
mod target;
#[cfg(test)]
mod tests;
mod worker;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use component::eval::Item;
use component::{BuildCx, Component, Error, Event, Exports, Fanout, RunCx, Spawner, Stability};
use http::HeaderValue;
use net::scrape::{Places, Pool, Status, first_within};
use net::{Client, ClientOptions};
use parking_lot::Mutex;
use signal::{Labels, LabelsBuilder};
use tokio::sync::{mpsc, watch};
use wire::exposition::{NativeHistograms, accept_header};

pub use args::Args;
use failures::FailureLog;
use fetch::{DEFAULT_BODY, Metrics};
pub(crate) use rules::kind_word;
use rules::{Limits, Rules};
use target::Spec;
use worker::{Job, Settings, Shared, Worker};

/// Nothing: samples go to `forward_to`.
#[derive(Clone, Debug, Default, PartialEq, Exports)]
pub struct ScrapeExports {}

/// The component.
pub struct Scrape {
    args: Args,
    settings: Arc<Settings>,
    metrics: Metrics,
}

impl Component for Scrape {
    const NAME: &'static str = "prometheus.scrape";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = ScrapeExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, ScrapeExports), Error> {
        let settings = settings(&args, None, None, cx)?;
        Ok((Self { args, settings, metrics: Metrics::new(&cx.metrics()) }, ScrapeExports {}))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let (gone, mut ended) = mpsc::channel(64);
        let shown: Arc<Shown> = Arc::default();
        let (show, build) = (shown.clone(), BuildCx::clone(&cx));
        cx.set_debug_info(move || debug_info(&show));
        let shared = Arc::new(Shared {
            forward: ArcSwap::from_pointee(Fanout::new([])),
            pool: Pool::default(),
            metrics: self.metrics,
            places: ArcSwap::from_pointee(places(0, &build)),
            cx: build,
        });
        let mut running = Running { workers: HashMap::new(), settings: self.settings, shared, shown, gone };
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

/// New targets are scraped for the first time within this and a millisecond for every target, or within [`EACH`] for every
/// target where that is more: what is not known yet costs more to read and to hold than what is known, and all of
/// it at once would set the peak of CPU and memory for good.
const FIRST_WITHIN: Duration = Duration::from_secs(1);
const EACH: Duration = Duration::from_millis(20);

/// Targets as UI and API show them.
type Shown = Mutex<Vec<(Spec, Arc<Status>)>>;

/// A worker as the run loop knows it.
struct Handle {
    job: watch::Sender<Option<Arc<Job>>>,
    status: Arc<Status>,
}

impl Handle {
    /// The labels of its samples; `None` once it has ended.
    fn labels(&self) -> Option<Labels> {
        self.job.borrow().as_ref().map(|job| job.spec.labels.clone())
    }
}

struct Running {
    /// By key of the target.
    workers: HashMap<u64, Handle>,
    settings: Arc<Settings>,
    shared: Arc<Shared>,
    shown: Arc<Shown>,
    gone: mpsc::Sender<u64>,
}

impl Running {
    /// Puts arguments into force.
    fn apply(
        &mut self,
        args: &Args,
        spawner: &Spawner,
        stop: &tokio_util::sync::CancellationToken,
    ) -> Result<(), Error> {
        let cx = &self.shared.cx;
        let specs = specs(args, cx);
        let limit = usize::try_from(args.target_limit).unwrap_or(usize::MAX);
        let refused = (limit > 0 && specs.len() > limit)
            .then(|| format!("target_limit of {limit} exceeded: there are {} targets", specs.len()));
        self.settings = settings(args, refused, Some(&self.settings), cx)?;
        self.shared.forward.store(Arc::new(Fanout::new(args.forward_to.iter().cloned())));
        self.shared.metrics.targets.set(i64::try_from(specs.len()).unwrap_or(i64::MAX));
        self.shared.places.store(Arc::new(places(specs.len(), cx)));
        let count = u32::try_from(specs.len()).unwrap_or(u32::MAX);
        let spread = (FIRST_WITHIN + Duration::from_millis(count.into())).max(EACH * count);
        let mut old = std::mem::take(&mut self.workers);
        let mut shown = Vec::with_capacity(specs.len());
        let mut new = Vec::new();
        for spec in specs {
            match old.remove(&spec.key) {
                Some(handle) => {
                    shown.push((spec.clone(), handle.status.clone()));
                    self.set(handle, spec);
                }
                None => new.push(spec),
            }
        }
        let by_labels: HashMap<u64, u64> =
            old.iter().filter_map(|(key, h)| Some((h.labels()?.hash(), *key))).collect();
        for spec in new {
            // The same series from another address or path: what is remembered of them stays true.
            let moved = by_labels.get(&spec.labels.hash());
            let moved =
                moved.filter(|key| old.get(key).and_then(Handle::labels).as_ref() == Some(&spec.labels));
            let handle = match moved.and_then(|key| old.remove(key)) {
                Some(handle) => handle,
                None => self.spawn(&spec, spread, spawner, stop),
            };
            shown.push((spec.clone(), handle.status.clone()));
            self.set(handle, spec);
        }
        for (key, handle) in old {
            handle.job.send_if_modified(|job| job.take().is_some());
            self.workers.insert(key, handle);
        }
        *self.shown.lock() = shown;
        Ok(())
    }

    /// Gives a worker its job, if it is another one.
    fn set(&mut self, handle: Handle, spec: Spec) {
        let key = spec.key;
        handle.job.send_if_modified(|current| {
            let same = |job: &Arc<Job>| job.spec == spec && Arc::ptr_eq(&job.settings, &self.settings);
            if current.as_ref().is_some_and(same) {
                return false;
            }
            *current = Some(self.job(spec));
            true
        });
        self.workers.insert(key, handle);
    }

    fn job(&self, spec: Spec) -> Arc<Job> {
        let rules = rules(&self.settings.args, &spec);
        Arc::new(Job { spec, rules, settings: self.settings.clone() })
    }

    fn spawn(
        &self,
        spec: &Spec,
        spread: Duration,
        spawner: &Spawner,
        stop: &tokio_util::sync::CancellationToken,
    ) -> Handle {
        let (job, jobs) = watch::channel(Some(self.job(spec.clone())));
        let status = Arc::new(Status::default());
        let worker = Worker {
            shared: self.shared.clone(),
            jobs,
            status: status.clone(),
            stop: stop.clone(),
            gone: self.gone.clone(),
        };
        spawner.spawn(worker.run(first_within(spec.key, spread.min(spec.interval))));
        Handle { job, status }
    }

    /// The end of a target has been marked; unless it is back by now, its worker can go.
    fn forget(&mut self, key: u64) {
        if self.workers.get(&key).is_some_and(|handle| handle.job.borrow().is_none()) {
            self.workers.remove(&key);
        }
    }
}

/// The same for as long as the program keeps its storage folder.
fn places(targets: usize, cx: &BuildCx) -> Places {
    Places::new(targets, xxhash_rust::xxh3::xxh3_64(cx.services().instance_id.as_bytes()))
}

/// The targets, each once; those that cannot be scraped are logged.
fn specs(args: &Args, cx: &BuildCx) -> Vec<Spec> {
    let job = if args.job_name.is_empty() { cx.id() } else { &args.job_name };
    let mut builder = LabelsBuilder::new();
    let mut seen = std::collections::HashSet::new();
    let mut specs = Vec::with_capacity(args.targets.len());
    for target in &args.targets {
        match Spec::new(target.labels(), args, job, &mut builder) {
            Ok(spec) if seen.insert(spec.key) => specs.push(spec),
            Ok(spec) => tracing::debug!(target = %spec.url, "target is given twice; it is scraped once"),
            Err(error) => tracing::error!(error, target = %target.labels(), "target cannot be scraped"),
        }
    }
    specs
}

/// What all targets share; what was made before, where nothing of it has changed.
fn settings(
    args: &Args,
    refused: Option<String>,
    before: Option<&Arc<Settings>>,
    cx: &BuildCx,
) -> Result<Arc<Settings>, Error> {
    let args = Args { targets: Vec::new(), forward_to: Vec::new(), ..args.clone() };
    if let Some(before) = before.filter(|b| b.args == args && b.refused == refused) {
        return Ok(before.clone());
    }
    let client = match before.filter(|b| b.args.client == args.client) {
        Some(before) => before.client.clone(),
        None => Client::new(&args.client, ClientOptions::new(cx.services().user_agent()))?,
    };
    let path = &args.scrape_failure_log_file;
    let failures = match before.filter(|b| b.args.scrape_failure_log_file == *path) {
        Some(before) => before.failures.clone(),
        None => (!path.is_empty()).then(|| FailureLog::new(path)),
    };
    let accept = accept_header(&args.protocols(), args.escaping());
    let accept =
        HeaderValue::try_from(accept).map_err(|e| Error::argument("scrape_protocols", e.to_string()))?;
    Ok(Arc::new(Settings {
        client,
        accept,
        compression: args.enable_compression,
        body_limit: match usize::try_from(args.body_size_limit.bytes()).unwrap_or(usize::MAX) {
            0 => DEFAULT_BODY,
            limit => limit,
        },
        fallback: args.scrape_fallback_protocol.wire(),
        refused,
        failures,
        args,
    }))
}

fn rules(args: &Args, spec: &Spec) -> Rules {
    let size = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
    Rules {
        labels: spec.labels.clone(),
        honor_labels: args.honor_labels,
        honor_timestamps: args.honor_timestamps,
        track_timestamps_staleness: args.track_timestamps_staleness,
        names: args.metric_name_validation_scheme.scheme(),
        limits: Limits {
            samples: size(args.sample_limit),
            labels: size(args.label_limit),
            name: size(args.label_name_length_limit),
            value: size(args.label_value_length_limit),
        },
        native: match (args.native_histograms(), args.scrape_classic_histograms) {
            (false, _) => NativeHistograms::Ignore,
            (true, false) => NativeHistograms::Prefer,
            (true, true) => NativeHistograms::Both,
        },
        convert_classic: args.convert_classic_histograms_to_nhcb,
        keep_classic: args.scrape_classic_histograms,
        bucket_limit: size(args.native_histogram_bucket_limit),
        max_schema: max_schema(args.native_histogram_min_bucket_factor),
        metadata: args.honor_metadata,
        type_and_unit: args.enable_type_and_unit_labels,
        start_zero: args.start_timestamp_zero_ingestion,
    }
}

/// The highest schema whose buckets grow by a factor or more. As prometheus/scrape: `pickSchema`.
fn max_schema(factor: f64) -> i32 {
    if factor == 0.0 {
        return 8;
    }
    let factor = if factor <= 1.0 { 1.00271 } else { factor };
    (-factor.log2().log2()).floor().clamp(-4.0, 8.0) as i32
}

fn debug_info(shown: &Shown) -> Vec<Item> {
    let targets = shown.lock();
    targets.iter().map(|(spec, status)| status.item(&spec.job, &spec.url, spec.labels.iter())).collect()
}

//! `loki.source.docker` follows the logs of containers.
//!
//! Data path: targets → one [`follower`] a container → `/containers/<id>/logs` in frames → lines
//! ([`wire::docker`]) → those that were not sent before ([`resume`]) → streams → `forward_to`.
//! Invariants: a container is followed once, however many targets it has; a position moves only when the sinks
//! have what is before it; of a follower that is replaced the new one goes on where the old one stopped.

mod follower;
mod info;
mod resume;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use component::eval::Invalid;
use component::metrics::IntCounter;
use component::{
    Arguments, BuildCx, Component, Error, Event, Exports, Fanout, Health, Receiver, RelabelRules, RunCx,
    Spawner, Stability, Target,
};
use net::args::HttpClientArgs;
use net::docker::Engine;
use parking_lot::Mutex;
use signal::{Labels, LabelsBuilder, Logs};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::cursors::{Cursors, SAVE_EVERY};
use super::outlet::Outlet;
use crate::intake::Intake;
use component::OnceAMinute;
use follower::{Container, Follower};
use info::Status;
use resume::Place;
use tail::positions::label_text;

const ID_LABEL: &str = "__meta_docker_container_id";
/// Questions to the engine under way at once; streams that are open are not among them.
const QUESTIONS: usize = 16;
/// Positions kept of containers that are no target any more, in case they come back.
const REMEMBERED: usize = 10_000;
/// How long the end waits for followers before positions are written.
const END_WITHIN: Duration = Duration::from_secs(5);

/// Arguments.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct Args {
    /// The engine: `unix:///var/run/docker.sock`, `tcp://host:2375`, `http://…` or `https://…`.
    pub host: String,
    /// Containers to follow, by their label `__meta_docker_container_id`.
    pub targets: Vec<Target>,
    /// Where entries go.
    pub forward_to: Vec<Receiver<Logs>>,
    /// Labels for all entries; they win over those of targets.
    #[arg(default)]
    pub labels: BTreeMap<String, String>,
    /// Rules that make the labels of entries from those of targets.
    pub relabel_rules: Option<RelabelRules>,
    /// How often a container that does not run, or an engine that does not answer, is looked at again at
    /// least, and a quiet stream is checked.
    #[arg(default = "1m")]
    pub refresh_interval: Duration,
    /// How to reach the engine.
    #[arg(block)]
    pub http_client_config: Option<HttpClientArgs>,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if self.refresh_interval.is_zero() {
            return Err(Invalid::field("refresh_interval", "refresh_interval must be longer than 0"));
        }
        net::docker::validate(&self.host, &self.client()).map_err(|invalid| match invalid.field {
            Some("host") => invalid,
            _ => Invalid { field: Some("http_client_config"), ..invalid },
        })
    }

    fn client(&self) -> HttpClientArgs {
        self.http_client_config.clone().unwrap_or_default()
    }
}

/// The component.
pub struct Docker {
    args: Args,
    metrics: Metrics,
}

/// Own metrics.
#[derive(Clone)]
struct Metrics {
    entries: IntCounter,
    errors: IntCounter,
    refused: IntCounter,
}

/// What all followers of a component share.
struct Shared {
    cx: BuildCx,
    outlet: Outlet,
    metrics: Metrics,
    questions: Semaphore,
    status: Mutex<BTreeMap<String, Status>>,
    /// Bad lines are told of.
    told: OnceAMinute,
    /// Whether the node was reported healthy last.
    healthy: Mutex<Option<bool>>,
}

impl Shared {
    /// Reports the node's health where it has changed: it is that of the engine.
    fn review(&self) {
        let (trouble, count) = {
            let all = self.status.lock();
            (all.values().filter(|s| s.engine).find_map(|s| s.error.clone()), all.len())
        };
        let mut healthy = self.healthy.lock();
        if healthy.replace(trouble.is_none()) != Some(trouble.is_none()) {
            self.cx.report(match trouble {
                Some(error) => Health::unhealthy(error),
                None => Health::healthy(format!("{count} containers are followed")),
            });
        }
    }
}

/// The component at work.
struct Running {
    shared: Arc<Shared>,
    spawner: Spawner,
    cursors: Arc<Cursors>,
    /// Containers that are or were targets.
    containers: HashMap<String, Arc<Container>>,
    following: HashMap<String, Following>,
    /// What the followers were made with.
    made: Option<Args>,
    engine: Option<Arc<Engine>>,
}

/// A follower at work.
struct Following {
    labels: Labels,
    stop: CancellationToken,
    done: CancellationToken,
}

impl Component for Docker {
    const NAME: &'static str = "loki.source.docker";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = DockerExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, DockerExports), Error> {
        prepare(&args, cx)?;
        let metrics = cx.metrics();
        let entries = "Total number of successful entries sent to the Docker target.";
        let errors = "Total number of parsing errors while receiving Docker messages.";
        let dropped = "Entries that were dropped, by reason.";
        let metrics = Metrics {
            entries: metrics.counter("loki_source_docker_target_entries_total", entries),
            errors: metrics.counter("loki_source_docker_target_parsing_errors_total", errors),
            refused: metrics
                .counter_vec("loki_source_docker_dropped_entries_total", dropped, &["reason"])
                .with_label_values(&["refused"]),
        };
        Ok((Self { args, metrics }, DockerExports {}))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let shared = Arc::new(Shared {
            cx: (*cx).clone(),
            outlet: Outlet::new(Fanout::new([]), self.metrics.refused.clone()),
            metrics: self.metrics,
            questions: Semaphore::new(QUESTIONS),
            status: Mutex::default(),
            told: OnceAMinute::default(),
            healthy: Mutex::default(),
        });
        let show = shared.clone();
        cx.set_debug_info(move || info::items(&show.status.lock()));
        let cursors = Arc::new(Cursors::open(&cx.data_path()).await);
        let mut running = Running {
            shared,
            spawner: cx.spawner(),
            cursors,
            containers: HashMap::new(),
            following: HashMap::new(),
            made: None,
            engine: None,
        };
        running.apply(self.args)?;
        let mut save = tokio::time::interval(SAVE_EVERY);
        loop {
            tokio::select! {
                biased;
                event = cx.event() => match event {
                    Event::Stop => break,
                    Event::Update(update) => {
                        update.apply(|args| running.apply(args));
                    }
                },
                _ = save.tick() => running.save(),
            }
        }
        running.end().await;
        Ok(())
    }
}

/// What can be wrong with arguments is found out here, and without I/O.
fn prepare(args: &Args, cx: &BuildCx) -> Result<Engine, Error> {
    Intake::new(Labels::empty(), args.relabel_rules.as_ref())?;
    Ok(Engine::new(&args.host, &args.client(), &cx.services().user_agent())?)
}

/// The containers of the targets, with the labels of one target each: the first in the order of labels, so that
/// it is the same one every time.
fn wanted(args: &Args) -> BTreeMap<String, Labels> {
    let mut targets: Vec<&Target> = args.targets.iter().collect();
    targets.sort_unstable();
    let mut wanted = BTreeMap::new();
    let mut builder = LabelsBuilder::new();
    for target in targets {
        let Some(id) = target.get(ID_LABEL) else {
            tracing::debug!(target = %target.labels(), "a target without {ID_LABEL} is no container");
            continue;
        };
        if !net::docker::is_id(id) {
            tracing::warn!(id, "a target's {ID_LABEL} cannot be the ID of a container");
            continue;
        }
        wanted.entry(id.to_owned()).or_insert_with(|| {
            builder.reset(target.labels());
            for (name, value) in &args.labels {
                builder.set(name, value);
            }
            builder.build()
        });
    }
    wanted
}

impl Running {
    fn apply(&mut self, args: Args) -> Result<(), Error> {
        let same_engine = self
            .made
            .as_ref()
            .is_some_and(|made| made.host == args.host && made.http_client_config == args.http_client_config);
        let engine = match self.engine.clone().filter(|_| same_engine) {
            Some(engine) => engine,
            None => Arc::new(prepare(&args, &self.shared.cx)?),
        };
        // Rules that do not work are told before anything is changed.
        Intake::new(Labels::empty(), args.relabel_rules.as_ref())?;
        let same = same_engine
            && self.made.as_ref().is_some_and(|made| {
                made.relabel_rules == args.relabel_rules && made.refresh_interval == args.refresh_interval
            });
        self.shared.outlet.set(Fanout::new(args.forward_to.iter().cloned()));
        let wanted = wanted(&args);
        let gone: Vec<_> = self.following.keys().filter(|id| !wanted.contains_key(*id)).cloned().collect();
        for id in gone {
            let old = self.following.remove(&id).expect("it was listed");
            old.stop.cancel();
            self.shared.status.lock().remove(&id);
        }
        for (id, labels) in wanted {
            if same && self.following.get(&id).is_some_and(|f| f.labels == labels) {
                continue;
            }
            let intake = Intake::new(Labels::empty(), args.relabel_rules.as_ref())?;
            self.follow(id, labels, intake, &engine, args.refresh_interval);
        }
        self.engine = Some(engine);
        self.made = Some(args);
        self.shared.review();
        Ok(())
    }

    fn follow(&mut self, id: String, labels: Labels, intake: Intake, engine: &Arc<Engine>, every: Duration) {
        let container = match self.containers.get(&id) {
            Some(known) => known.clone(),
            None => {
                let container = Arc::new(Container::new(&id, stored(&self.cursors, &id, &labels)));
                self.containers.insert(id.clone(), container.clone());
                container
            }
        };
        container.label(label_text(&labels));
        let status =
            Status { labels: label_text(&labels), position: container.seconds(), ..Status::default() };
        self.shared.status.lock().insert(id.clone(), status);
        if let Some(old) = self.following.get(&id) {
            old.stop.cancel();
        }
        let (stop, done) = (CancellationToken::new(), CancellationToken::new());
        let follower = Follower::new(
            self.shared.clone(),
            engine.clone(),
            container,
            &labels,
            intake,
            every,
            stop.clone(),
        );
        let ended = done.clone().drop_guard();
        self.spawner.spawn(async move {
            follower.run().await;
            drop(ended);
        });
        self.following.insert(id, Following { labels, stop, done });
    }

    /// Has what is settled written.
    fn save(&mut self) {
        self.gather();
        let cursors = self.cursors.clone();
        self.spawner.spawn(async move { told(cursors.save_unless_busy().await) });
    }

    /// Puts together what is settled, and forgets containers that have long been gone.
    fn gather(&mut self) {
        self.settle();
        if self.containers.len() > REMEMBERED + self.following.len() {
            let mut old: Vec<_> =
                self.containers.iter().filter(|(id, _)| !self.following.contains_key(*id)).collect();
            old.sort_by_key(|(_, c)| c.seconds());
            let excess = old.len().saturating_sub(REMEMBERED);
            let excess: Vec<_> = old[..excess].iter().map(|(id, _)| (*id).clone()).collect();
            for id in excess {
                self.containers.remove(&id);
                self.cursors.put(&key(&id), &[]);
            }
        }
        self.forget_unknown();
    }

    /// Positions in the file of containers that were no targets since the start are bounded too.
    fn forget_unknown(&self) {
        let paths = self.cursors.paths();
        let excess = paths.len().saturating_sub(self.containers.len() + REMEMBERED);
        let known: HashSet<String> = self.containers.keys().map(|id| key(id)).collect();
        for path in paths.iter().filter(|p| !known.contains(*p)).take(excess) {
            self.cursors.put(path, &[]);
        }
    }

    fn settle(&mut self) {
        let mut gone = Vec::new();
        for (id, container) in &self.containers {
            if let Some(status) = self.shared.status.lock().get_mut(id) {
                status.position = container.seconds();
            }
            if let Some(place) = container.settled() {
                let labels = container.labels();
                let values = [(labels.as_str(), place.seconds().to_string()), (OWN, place.render())];
                self.cursors.put(&key(id), &values);
            }
            if container.is_gone() && !self.following.contains_key(id) {
                gone.push(id.clone());
            }
        }
        for id in gone {
            self.containers.remove(&id);
            self.cursors.put(&key(&id), &[]);
        }
    }

    async fn end(&mut self) {
        for following in self.following.values() {
            following.stop.cancel();
        }
        let all = async {
            for following in self.following.values() {
                following.done.cancelled().await;
            }
        };
        // A sink that does not answer must not keep the positions of the other containers from being written.
        if tokio::time::timeout(END_WITHIN, all).await.is_err() {
            tracing::warn!("some containers' last entries were not taken; they are read again");
        }
        self.gather();
        told(self.cursors.save().await);
    }
}

fn told(saved: Result<(), Error>) {
    if let Err(error) = saved {
        tracing::error!(%error, "positions are not stored");
    }
}

/// As Alloy: `positions.CursorKey`.
fn key(id: &str) -> String {
    format!("cursor-{id}")
}

/// The labels under which the place is stored that only this program understands.
const OWN: &str = "ferroalloy";

/// Where a container's log was left: by us, or by Alloy under the same labels, or under any.
fn stored(cursors: &Cursors, id: &str, labels: &Labels) -> Place {
    let values = cursors.get(&key(id));
    let of = |labels: &str| values.iter().find(|(l, _)| l == labels).map(|(_, v)| v.as_str());
    let own = of(OWN).and_then(Place::parse);
    let alloys: Vec<i64> =
        values.iter().filter(|(l, _)| l != OWN).filter_map(|(_, v)| v.trim().parse().ok()).collect();
    let exact = of(&label_text(labels)).and_then(|v| v.trim().parse().ok());
    let seconds = exact.or_else(|| alloys.into_iter().max());
    match (own, seconds) {
        // Alloy has gone on with this file since.
        (Some(own), Some(seconds)) if seconds > own.seconds() => Place::at_second(seconds),
        (Some(own), _) => own,
        (None, Some(seconds)) => Place::at_second(seconds),
        (None, None) => Place::default(),
    }
}

/// There are none.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct DockerExports {}

/// Reads any text as a place in a container's log; for `tests/fuzz` only.
#[doc(hidden)]
pub fn read_arbitrary(text: &str, times: &[i64]) {
    resume::read_arbitrary(text, times);
}

#[cfg(test)]
mod tests;

//! The back ends and the exporter to each: found again and again, opened, changed, and when they are gone drained
//! into those that are left.
//!
//! Invariant: what waits for a back end that is gone is shared out anew, whether it went while the program ran or
//! while it did not; a name that cannot be resolved leaves the back ends as they are.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use component::otel::MetricsLevel;
use component::{BoxFuture, BuildCx};
use delivery::{Endpoint as _, Endpoints};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, sleep_until};
use tokio_util::sync::CancellationToken;

use super::args::Args;
use super::find::Finder;
use super::keys::RoutingKey;
use super::metrics::Balance;
use super::ring::Ring;
use super::router::{Router, Table, Tables};
use crate::exporter::otlp::calls::{Caller, caller};
use crate::exporter::sending::{Endpoint, Metrics, Plan, Queueing, kept_backends};
use crate::rpc::Rpc;
use crate::signals::Kind;

/// A back end that has taken nothing for this long, while something waits, makes the node unhealthy.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often that is looked at.
const HEALTH_INTERVAL: Duration = Duration::from_secs(5);
/// How long the queue of a back end that is gone may take to be shared out: others may be full for a while.
const SHARING_OUT: Duration = Duration::from_secs(300);
/// Most back ends; more is a mistake.
const MOST_BACKENDS: usize = 4096;

/// The task that has the back ends.
pub(super) struct Backends {
    wanted: watch::Sender<Arc<Args>>,
    shared: Arc<Shared>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// What the task tells.
#[derive(Default)]
pub(super) struct Shared {
    pub tables: Tables,
    trouble: Mutex<Option<String>>,
}

impl Backends {
    pub(super) fn start(
        args: Arc<Args>,
        cx: BuildCx,
        metrics: Arc<Metrics>,
        balance: Arc<Balance>,
        rpc: Arc<Rpc>,
        shared: Arc<Shared>,
        finder: Finder,
    ) -> Self {
        let (wanted, wants) = watch::channel(args);
        let stop = CancellationToken::new();
        let keeper = Keeper {
            finder,
            changed: None,
            stop: stop.clone(),
            endpoints: Endpoints::new(metrics.clone()),
            found: Vec::new(),
            callers: HashMap::new(),
            leaving: JoinSet::new(),
            took_over: false,
            unresolved: None,
            unopened: Vec::new(),
            cx,
            metrics,
            balance,
            rpc,
            shared: shared.clone(),
        };
        let task = tokio::spawn(keeper.run(wants));
        Self { wanted, shared, stop, task }
    }

    pub(super) fn change(&self, args: Arc<Args>) {
        self.wanted.send_replace(args);
    }

    pub(super) fn trouble(&self) -> Option<String> {
        self.shared.trouble.lock().clone()
    }

    /// Sends what waits and ends.
    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        // Ended either way; a panic in it has been reported by the runtime.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Backends {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Keeper {
    finder: Finder,
    /// Ends when there may be other back ends.
    changed: Option<BoxFuture<'static, ()>>,
    stop: CancellationToken,
    endpoints: Endpoints<Endpoint>,
    /// The back ends of now, sorted.
    found: Vec<Arc<str>>,
    /// Those of the arguments of now.
    callers: HashMap<Arc<str>, Caller>,
    /// Back ends that are being shared out.
    leaving: JoinSet<()>,
    /// Queues on disk of back ends that went while the program did not run have been looked for.
    took_over: bool,
    /// Why back ends could not be looked up, and queues not be opened.
    unresolved: Option<String>,
    unopened: Vec<String>,
    cx: BuildCx,
    metrics: Arc<Metrics>,
    balance: Arc<Balance>,
    rpc: Arc<Rpc>,
    shared: Arc<Shared>,
}

impl Keeper {
    async fn run(mut self, mut wants: watch::Receiver<Arc<Args>>) {
        let mut args = wants.borrow_and_update().clone();
        let mut again = self.resolve(&args).await;
        let mut health = tokio::time::interval(HEALTH_INTERVAL);
        health.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let (resolve_at, reopen_at) = (again, self.endpoints.reopen_at());
            tokio::select! {
                () = self.stop.cancelled() => break,
                changed = wants.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    args = wants.borrow_and_update().clone();
                    self.callers.clear();
                    self.found.clear();
                    again = self.resolve(&args).await;
                }
                () = at(resolve_at) => again = self.resolve(&args).await,
                () = ended(&mut self.changed) => again = self.resolve(&args).await,
                () = at(reopen_at) => {
                    let errors = self.endpoints.reopen().await;
                    self.publish(errors);
                }
                _ = health.tick() => self.look_for_trouble(),
                Some(_) = self.leaving.join_next() => {}
            }
        }
        let drains = self.endpoints.all().map(|endpoint| endpoint.drain(&self.metrics, Duration::ZERO));
        futures_util::future::join_all(drains).await;
        while self.leaving.join_next().await.is_some() {}
    }

    /// Looks for the back ends; the answer is when to look again.
    async fn resolve(&mut self, args: &Arc<Args>) -> Option<Instant> {
        let finding = self.finder.find(&args.resolver);
        let result = self.stop.run_until_cancelled(finding).await?;
        let resolver = args.resolver.name();
        self.balance.resolved(resolver, result.is_ok());
        let again = args.resolver.interval(result.is_ok()).map(|interval| Instant::now() + interval);
        self.changed = None;
        let names = match result {
            Ok(found) => {
                self.changed = found.changed;
                found.names
            }
            Err(error) => {
                tracing::warn!(error, "the back ends cannot be looked up; those from before stay");
                if self.found.is_empty() {
                    // The arguments may have changed with the same back ends behind them.
                    self.found = self.shared.tables.load().backends();
                    if !self.found.is_empty() {
                        self.change(args).await;
                    }
                }
                self.unresolved = Some(error);
                self.look_for_trouble();
                return again;
            }
        };
        self.unresolved = None;
        let mut names: Vec<Arc<str>> = names.into_iter().map(Arc::from).collect();
        names.sort_unstable();
        names.dedup();
        if names.len() > MOST_BACKENDS {
            tracing::warn!(
                found = names.len(),
                used = MOST_BACKENDS,
                "there are more back ends than can be used"
            );
            names.truncate(MOST_BACKENDS);
        }
        if names != self.found || self.callers.is_empty() {
            self.balance.changed(resolver, names.len());
            self.found = names;
            self.change(args).await;
        }
        self.look_for_trouble();
        again
    }

    /// Brings the exporters in line with what was found.
    async fn change(&mut self, args: &Arc<Args>) {
        let kept = self.kept(args);
        if !kept.is_empty() {
            let plans: Vec<_> = self
                .found
                .clone()
                .iter()
                .chain(&kept)
                .flat_map(|backend| self.plans(args, backend))
                .collect();
            self.endpoints.change(plans, async || {}).await;
        }
        let plans: Vec<_> = self.found.clone().iter().flat_map(|backend| self.plans(args, backend)).collect();
        // What is on its way into a queue that moves is refused by it, and shared out again.
        let (gone, errors) = self.endpoints.change(plans, async || {}).await;
        self.publish(errors);
        let found = &self.found;
        self.callers.retain(|backend, _| found.contains(backend));
        for endpoint in gone {
            self.share_out(args, endpoint);
        }
    }

    /// Back ends that have a queue on disk and are no more.
    fn kept(&mut self, args: &Args) -> Vec<Arc<str>> {
        let folder = args.protocol.otlp.queue.storage.as_ref().and_then(|handler| handler.folder());
        match folder {
            // With no back end at all nothing could be shared out yet.
            Some(folder) if !self.took_over && !self.found.is_empty() => {
                self.took_over = true;
                let all = kept_backends(folder, self.cx.id()).into_iter().map(Arc::from);
                all.filter(|backend| !self.found.contains(backend)).collect()
            }
            _ => Vec::new(),
        }
    }

    fn share_out(&mut self, args: &Args, endpoint: Endpoint) {
        let (kind, backend) = (endpoint.plan.kind, endpoint.plan.backend.clone());
        endpoint.divert(Arc::new(router(args, kind, &self.shared.tables, &self.balance)));
        let (metrics, balance) = (self.metrics.clone(), self.balance.clone());
        let still_there = self.found.contains(&backend);
        self.leaving.spawn(async move {
            endpoint.drain(&metrics, SHARING_OUT).await;
            if !still_there {
                balance.forget(&backend);
            }
        });
    }

    /// The plans of one back end, for those signals that the key says something about.
    fn plans(&mut self, args: &Args, backend: &Arc<str>) -> Vec<Plan> {
        let otlp = &args.protocol.otlp;
        let caller = match self.callers.get(backend) {
            Some(caller) => caller.clone(),
            None => {
                let rpc = (args.debug_metrics.level == MetricsLevel::Detailed).then(|| self.rpc.clone());
                match caller(backend, &otlp.client, otlp.timeout, &self.cx, rpc) {
                    Ok(caller) => self.callers.entry(backend.clone()).or_insert(caller).clone(),
                    Err(error) => {
                        tracing::error!(%backend, error, "there is no way to this back end");
                        return Vec::new();
                    }
                }
            }
        };
        let queueing = Queueing {
            queue: otlp.queue.clone(),
            retry: otlp.retry.clone(),
            timeout: otlp.timeout,
            most_at_once: None,
        };
        let kinds = Kind::ALL.into_iter().filter(|kind| args.key().takes(*kind));
        kinds.map(|kind| queueing.plan(kind, backend, Arc::new(caller.of(kind)), &self.cx)).collect()
    }

    /// From now on requests are shared out among the back ends that are open.
    fn publish(&mut self, errors: Vec<String>) {
        let inlet =
            |endpoint: &Endpoint| ((endpoint.plan.backend.clone(), endpoint.plan.kind), endpoint.inlet());
        self.shared.tables.store(Arc::new(Table {
            ring: Ring::new(&self.found),
            inlets: self.endpoints.iter().map(inlet).collect(),
        }));
        self.unopened = errors;
        self.look_for_trouble();
    }

    fn look_for_trouble(&self) {
        let trouble = |endpoint: &Endpoint| {
            let trouble = endpoint.queue.as_ref()?.stats().trouble(PATIENCE)?;
            Some(format!("{}: {trouble}", endpoint.plan.backend))
        };
        let nobody = self.found.is_empty().then(|| "there is no back end".to_owned());
        let all: Vec<String> = self
            .endpoints
            .iter()
            .filter_map(trouble)
            .chain(self.unopened.iter().cloned())
            .chain(self.unresolved.clone())
            .chain(nobody)
            .collect();
        *self.shared.trouble.lock() = (!all.is_empty()).then(|| all.join("; "));
    }
}

/// What shares requests of a signal out.
pub(super) fn router(args: &Args, kind: Kind, tables: &Tables, balance: &Arc<Balance>) -> Router {
    let key: RoutingKey = args.key();
    Router {
        kind,
        key,
        tables: tables.clone(),
        limit: Some(args.timeout).filter(|limit| !limit.is_zero()),
        auth: args.protocol.otlp.client.auth.clone(),
        metrics: balance.clone(),
    }
}

async fn ended(changed: &mut Option<BoxFuture<'static, ()>>) {
    match changed {
        Some(changed) => changed.await,
        None => std::future::pending().await,
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

//! What a component is given: at `build` ([`BuildCx`]) and while it runs ([`RunCx`]).

use std::any::Any;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;

use eval::{Exports, Item, Value};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::definition::Component;
use crate::error::Error;
use crate::health::{Health, HealthCell, Part};
use crate::http::Handler;
use crate::legacy::Legacy;
use crate::metrics::NodeMetrics;
use crate::port::{BoxFuture, Port, Signal};
use crate::services::Services;

/// Makes the details that the UI and API show of a running component.
pub type DebugInfo = Arc<dyn Fn() -> Vec<Item> + Send + Sync>;

/// What all parts of one node share.
pub(crate) struct NodeShared {
    pub(crate) global_id: String,
    pub(crate) services: Arc<Services>,
    pub(crate) health: Arc<HealthCell>,
    pub(crate) metrics: Mutex<Option<NodeMetrics>>,
    pub(crate) exports: Mutex<Value>,
    pub(crate) on_exports: Arc<dyn Fn() + Send + Sync>,
    ports: Mutex<HashMap<&'static str, ErasedPort>>,
    debug_info: Mutex<Option<DebugInfo>>,
}

struct ErasedPort {
    port: Box<dyn Any + Send + Sync>,
    suspend: Box<dyn Fn() + Send + Sync>,
    stop: Box<dyn Fn() + Send + Sync>,
}

impl NodeShared {
    pub(crate) fn new(
        global_id: String,
        services: Arc<Services>,
        on_exports: Arc<dyn Fn() + Send + Sync>,
    ) -> Arc<Self> {
        Arc::new(Self {
            global_id,
            services,
            health: Arc::new(HealthCell::new()),
            metrics: Mutex::new(None),
            exports: Mutex::new(Value::Null),
            on_exports,
            ports: Mutex::default(),
            debug_info: Mutex::default(),
        })
    }

    /// Puts exports in place; tells the runtime only if they changed.
    pub(crate) fn publish(&self, value: Value) {
        {
            let mut current = self.exports.lock();
            if *current == value {
                return;
            }
            *current = value;
        }
        (self.on_exports)();
    }

    pub(crate) fn suspend_ports(&self) {
        self.ports.lock().values().for_each(|p| (p.suspend)());
    }

    pub(crate) fn stop_ports(&self) {
        self.ports.lock().values().for_each(|p| (p.stop)());
    }

    pub(crate) fn debug_info(&self) -> Vec<Item> {
        let make = self.debug_info.lock().clone();
        make.map(|m| m()).unwrap_or_default()
    }

    /// Forgets what belonged to an instance that is gone.
    pub(crate) fn clear_instance(&self) {
        self.services.handlers.remove(&self.global_id);
        *self.debug_info.lock() = None;
        *self.metrics.lock() = None;
    }
}

/// What a component is given at `build`. Cheap to clone.
#[derive(Clone)]
pub struct BuildCx(pub(crate) Arc<NodeShared>);

impl BuildCx {
    /// A context outside of a graph, for tests and for `validate`.
    pub fn detached(global_id: impl Into<String>, services: Arc<Services>) -> Self {
        Self(NodeShared::new(global_id.into(), services, Arc::new(|| {})))
    }

    /// The node's global ID: module path, `/`, local ID.
    pub fn id(&self) -> &str {
        &self.0.global_id
    }

    /// The process's services.
    pub fn services(&self) -> &Arc<Services> {
        &self.0.services
    }

    /// The node is built only to see whether it can be: content that `build` would have to read or ask for
    /// is left empty.
    pub fn is_trial(&self) -> bool {
        self.0.services.trial
    }

    /// Refuses a component that reads what only Linux has where there is no Linux: it would find nothing, and say
    /// nothing. Not in a trial, for a configuration may be checked elsewhere than it runs.
    pub fn needs_linux(&self, what: &str) -> Result<(), Error> {
        refuse_outside_linux(std::env::consts::OS, self.is_trial(), what)
    }

    /// The node's folder below the storage path; it may not exist yet.
    pub fn data_path(&self) -> PathBuf {
        self.0.services.storage.join(&self.0.global_id)
    }

    /// The node's own metrics.
    pub fn metrics(&self) -> NodeMetrics {
        let mut metrics = self.0.metrics.lock();
        metrics.get_or_insert_with(|| self.0.services.metrics.node(&self.0.global_id)).clone()
    }

    /// The node's port of a name. The same name gives the same port for as long as the node lives, so that
    /// exported receivers stay valid when the component is built anew.
    ///
    /// # Panics
    /// If the same name is asked for with another signal: that is a mistake in the component.
    pub fn port<T: Signal>(&self, name: &'static str) -> Port<T> {
        let mut ports = self.0.ports.lock();
        let erased = ports.entry(name).or_insert_with(|| {
            let port = Port::<T>::new(self.0.global_id.clone(), Some(self.0.health.clone()));
            let (suspend, stop) = (port.clone(), port.clone());
            ErasedPort {
                port: Box::new(port),
                suspend: Box::new(move || drop(suspend.suspend())),
                stop: Box::new(move || drop(stop.stop())),
            }
        });
        erased.port.downcast_ref::<Port<T>>().expect("a port keeps its signal").clone()
    }

    /// Answers HTTP requests below `/api/v0/component/<global id>`; removed with the node.
    pub fn serve(&self, handler: impl Handler) {
        self.0.services.handlers.register(&self.0.global_id, Arc::new(handler));
    }

    /// What the UI and API show beside arguments and exports.
    pub fn set_debug_info(&self, make: impl Fn() -> Vec<Item> + Send + Sync + 'static) {
        *self.0.debug_info.lock() = Some(Arc::new(make));
    }

    /// The component's own word on its health; stays until the next one.
    pub fn report(&self, health: Health) {
        self.0.health.set(Part::Reported, health);
    }

    /// Leaves something to the next node of this ID, for as long as the answer is kept.
    pub fn leave<T: Clone + Send + 'static>(&self, what: T) -> Legacy {
        self.0.services.legacies.leave(&self.0.global_id, what)
    }

    /// What nodes of this ID have left, oldest first.
    pub fn left<T: Clone + Send + 'static>(&self) -> Vec<T> {
        self.0.services.legacies.of(&self.0.global_id)
    }

    /// Publishes to live-debugging watchers; `text` is made only if there is one.
    pub fn live_debug(&self, text: impl FnOnce() -> String) {
        self.0.services.live_debug.publish(&self.0.global_id, text);
    }
}

/// What a running component is told.
#[derive(Debug)]
pub enum Event<A> {
    /// New arguments: apply them and answer.
    Update(Update<A>),
    /// Finish: stop sources first, drain, return.
    Stop,
}

/// New arguments. Not answering counts as a failure.
#[derive(Debug)]
pub struct Update<A> {
    args: Box<A>,
    answer: oneshot::Sender<Result<(), Error>>,
}

/// An update on its way to a component whose type the sender does not know.
pub(crate) struct AnyUpdate {
    args: Box<dyn Any + Send>,
    answer: oneshot::Sender<Result<(), Error>>,
}

impl AnyUpdate {
    pub(crate) fn new(args: Box<dyn Any + Send>) -> (Self, oneshot::Receiver<Result<(), Error>>) {
        let (answer, receiver) = oneshot::channel();
        (Self { args, answer }, receiver)
    }

    fn of<A: 'static>(self) -> Update<A> {
        let args = self.args.downcast().expect("a node is sent arguments of its own kind");
        Update { args, answer: self.answer }
    }
}

impl<A> Update<A> {
    /// The arguments.
    pub fn args(&self) -> &A {
        &self.args
    }

    /// Applied, or why not: then the old arguments stay in force.
    pub fn answer(self, result: Result<(), Error>) {
        // The asker may have given up after its deadline.
        let _ = self.answer.send(result);
    }
}

impl<A: Clone> Update<A> {
    /// Applies the arguments with `apply` and answers with its result; `true` if they are in force.
    pub fn apply(self, apply: impl FnOnce(A) -> Result<(), Error>) -> bool {
        let result = apply(A::clone(&self.args));
        let applied = result.is_ok();
        self.answer(result);
        applied
    }
}

/// What a running component is given. It dereferences to its [`BuildCx`].
pub struct RunCx<C: Component> {
    parts: RunParts,
    of: PhantomData<fn() -> C>,
}

/// A [`RunCx`] of any component.
pub(crate) struct RunParts {
    pub(crate) build: BuildCx,
    /// Boxed: a channel has places for thirty-two of these, and every component has a channel.
    pub(crate) updates: mpsc::Receiver<Box<AnyUpdate>>,
    pub(crate) stop: CancellationToken,
    /// Cancelled when the node makes way.
    pub(crate) aside: CancellationToken,
    pub(crate) tasks: Tasks,
}

impl RunParts {
    async fn event(&mut self) -> Option<Box<AnyUpdate>> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            update = self.updates.recv() => update,
        }
    }
}

/// The tasks of a node besides its run loop; `kill` ends those that outlive the deadline.
#[derive(Clone)]
pub(crate) struct Tasks {
    pub(crate) tracker: TaskTracker,
    pub(crate) kill: CancellationToken,
    /// The node's: what its tasks log says whose it is.
    pub(crate) span: tracing::Span,
}

impl<C: Component> std::ops::Deref for RunCx<C> {
    type Target = BuildCx;
    fn deref(&self) -> &BuildCx {
        &self.parts.build
    }
}

impl<C: Component> RunCx<C> {
    pub(crate) fn of(parts: RunParts) -> Self {
        Self { parts, of: PhantomData }
    }

    /// The next update, or the order to stop. Safe to drop and call again (`select!`).
    pub async fn event(&mut self) -> Event<C::Args> {
        self.parts.event().await.map_or(Event::Stop, |update| Event::Update(update.of()))
    }

    /// Cancelled when the node is to stop; give clones to tasks.
    pub fn stopping(&self) -> CancellationToken {
        self.parts.stop.clone()
    }

    /// Says, of a node that stops, that what it has still to do can go on beside a node with the same ID: that one
    /// need not wait for the end. The data folder, the metrics and what else belongs to the ID are the other's from
    /// now on, but for what this one has left to it and is not asked for.
    pub fn make_way(&self) {
        self.parts.aside.cancel();
    }

    /// Replaces the exports; dependants are evaluated again if they differ.
    pub fn export(&self, exports: &C::Exports) {
        self.parts.build.0.publish(exports.to_value());
    }

    /// Runs a task that belongs to the node: it is aborted when the node has stopped, and its panic is the
    /// node's health.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> tokio::task::AbortHandle {
        let RunParts { build, stop, tasks, .. } = &self.parts;
        spawn_guarded(tasks, stop, build, Box::pin(task))
    }

    /// For components that spawn from places that do not hold the `RunCx`.
    pub fn spawner(&self) -> Spawner {
        let RunParts { build, stop, tasks, .. } = &self.parts;
        Spawner { tasks: tasks.clone(), stop: stop.clone(), build: build.clone() }
    }
}

/// Spawns tasks that belong to a node. Cheap to clone.
#[derive(Clone)]
pub struct Spawner {
    tasks: Tasks,
    stop: CancellationToken,
    build: BuildCx,
}

impl Spawner {
    /// As [`RunCx::spawn`].
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> tokio::task::AbortHandle {
        spawn_guarded(&self.tasks, &self.stop, &self.build, Box::pin(task))
    }
}

/// The task comes boxed: all that is around it is the same code for all tasks, and each of its layers would have places for
/// the task where it comes from and where it goes to. A scraper has a task for each target, and all it needs of its memory
/// is the inmost place.
fn spawn_guarded(
    tasks: &Tasks,
    stop: &CancellationToken,
    build: &BuildCx,
    task: BoxFuture<'static, ()>,
) -> tokio::task::AbortHandle {
    let guarded = guarded(tasks.kill.clone(), stop.clone(), build.clone(), task);
    tasks.tracker.spawn(tracing::Instrument::instrument(guarded, tasks.span.clone())).abort_handle()
}

/// The task until it is killed; its panic is the node's health.
async fn guarded(
    kill: CancellationToken,
    stop: CancellationToken,
    build: BuildCx,
    task: BoxFuture<'static, ()>,
) {
    let task = futures_util::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(task));
    let Some(caught) = kill.run_until_cancelled(task).await else { return };
    if let Err(panic) = caught {
        let message = format!("a task panicked: {}", crate::port::panic_text(&*panic));
        tracing::error!(node = %build.id(), "{message}");
        if !stop.is_cancelled() {
            build.report(Health::unhealthy(message));
        }
    }
}

fn refuse_outside_linux(system: &str, trial: bool, what: &str) -> Result<(), Error> {
    if system == "linux" || trial {
        return Ok(());
    }
    Err(Error::other(format!(
        "{what}, and this program runs on {system}: leave the component out here, or run the configuration on Linux"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_linux_is_refused_elsewhere_unless_it_is_only_checked() {
        assert!(refuse_outside_linux("linux", false, "it reads /proc").is_ok());
        assert!(refuse_outside_linux("macos", true, "it reads /proc").is_ok());
        let refused =
            refuse_outside_linux("macos", false, "it reads /proc").expect_err("refused").to_string();
        assert!(refused.starts_with("it reads /proc, and this program runs on macos: "), "{refused}");
    }
}

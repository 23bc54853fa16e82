//! A node as the runtime sees it: evaluate, start, stop; whatever the component's types are (`kind.rs`).
//!
//! Evaluation has two steps, so that nothing is changed before everything has been decoded:
//! [`Node::prepare`] (synchronous, no effects) and [`Node::apply`] (build, or update by message).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use eval::syntax::{Diagnostic, Source, ast};
use eval::{Arguments, Exports, Item, Scope, Value};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::context::{AnyUpdate, BuildCx, NodeShared, RunParts, Tasks};
use crate::definition::Pure;
use crate::error::Error;
use crate::health::{Health, HealthState, Part};
use crate::kind::{Args, Built, Decoded, Kind, Written, decode};
use crate::port::{BoxFuture, panic_text};
use crate::services::Services;

/// How long a component may take to answer an update.
const UPDATE_DEADLINE: Duration = Duration::from_secs(30);

/// What a node is made with.
#[derive(Clone)]
pub struct NodeCx {
    /// Module path, `/`, local ID.
    pub global_id: String,
    /// The process's services.
    pub services: Arc<Services>,
    /// Called after the exports have changed; must only take note.
    pub on_exports: Arc<dyn Fn() + Send + Sync>,
}

/// Decoded arguments on their way from [`Node::prepare`] to [`Node::apply`].
pub struct Prepared {
    /// `None`: they are those in force.
    args: Option<Args>,
    warnings: Vec<Diagnostic>,
}

impl Prepared {
    /// What works, but maybe not as somebody thinks.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }
}

/// What an evaluation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evaluated {
    /// The component was built.
    Built,
    /// It took new arguments.
    Updated,
    /// The arguments are as before.
    Unchanged,
}

/// How a node came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// In time.
    Clean,
    /// It was aborted at the deadline.
    Aborted,
}

/// What a node has still to do beside its successor; ends at the node's deadline.
pub type Rest = BoxFuture<'static, ()>;

/// A type-erased component instance.
pub trait Node: Send + Sync {
    /// Decodes a body. No effects besides the node's evaluation health on failure.
    fn prepare(
        &self,
        source: &Source,
        body: &ast::Body,
        label: Option<&ast::Ident>,
        scope: &Scope<'_>,
    ) -> Result<Prepared, Vec<Diagnostic>>;

    /// Builds, or updates. On an error the old arguments stay in force.
    fn apply(&self, prepared: Prepared) -> BoxFuture<'_, Result<Evaluated, Error>>;

    /// Starts the run loop if the node is built and not running; restarts it after an exit.
    fn start(&self);

    /// Stops the run loop; aborts it at the deadline. Afterwards receivers refuse.
    fn stop(&self, deadline: Duration) -> BoxFuture<'_, Stopped>;

    /// As [`Node::stop`], of a node that another of its ID may take the place of: once that one waits (`successor` is
    /// cancelled) and the component has made way for it, what goes on beside it is the answer.
    fn retire(&self, deadline: Duration, _successor: CancellationToken) -> BoxFuture<'_, Option<Rest>> {
        Box::pin(async move {
            self.stop(deadline).await;
            None
        })
    }

    /// The present exports; `null` before the first build.
    fn exports(&self) -> Value;

    /// The present health.
    fn health(&self) -> Health;

    /// Tells that evaluation failed before it reached the node.
    fn evaluation_failed(&self, message: String);

    /// The arguments in force, for UI and API.
    fn arguments(&self) -> Vec<Item>;

    /// Details of the running component, for UI and API.
    fn debug_info(&self) -> Vec<Item>;
}

fn prepared(
    shared: &NodeShared,
    (decoded, diagnostics): (Decoded, Vec<Diagnostic>),
) -> Result<Prepared, Vec<Diagnostic>> {
    match decoded {
        Decoded::Same => Ok(Prepared { args: None, warnings: diagnostics }),
        Decoded::New(args) => Ok(Prepared { args: Some(args), warnings: diagnostics }),
        Decoded::Wrong => {
            let first = diagnostics.iter().find(|d| d.is_error());
            let message = first.map_or("arguments could not be decoded", |d| d.message.as_str());
            shared.health.set(Part::Evaluation, Health::unhealthy(message));
            Err(diagnostics)
        }
    }
}

fn guarded<R>(what: &str, f: impl FnOnce() -> Result<R, Error>) -> Result<R, Error> {
    catch_unwind(AssertUnwindSafe(f))
        .unwrap_or_else(|panic| Err(Error::other(format!("{what} panicked: {}", panic_text(&*panic)))))
}

fn evaluated(shared: &NodeShared, result: Result<Evaluated, Error>) -> Result<Evaluated, Error> {
    let health = match &result {
        Ok(_) => Health::healthy("component evaluated"),
        Err(error) => Health::unhealthy(error.to_string()),
    };
    shared.health.set(Part::Evaluation, health);
    result
}

/// A node of a component with a task.
pub(crate) struct ComponentNode {
    kind: &'static dyn Kind,
    shared: Arc<NodeShared>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    args: Option<Args>,
    built: Option<Box<dyn Built>>,
    running: Option<Running>,
}

struct Running {
    updates: mpsc::Sender<Box<AnyUpdate>>,
    stop: CancellationToken,
    aside: CancellationToken,
    task: JoinHandle<()>,
}

impl ComponentNode {
    pub(crate) fn new(kind: &'static dyn Kind, cx: NodeCx) -> Self {
        let shared = NodeShared::new(cx.global_id, cx.services, cx.on_exports);
        Self { kind, shared, state: Mutex::default() }
    }

    fn build(&self, args: Args) -> Result<Box<dyn Built>, Error> {
        self.shared.clear_instance();
        let cx = BuildCx(self.shared.clone());
        let (component, exports) = guarded(self.kind.name(), || self.kind.build(args, &cx))?;
        self.shared.publish(exports);
        Ok(component)
    }

    /// Tells the run loop to stop. The answer is its end, at the deadline if not before, and what tells that it has
    /// made way; `None` if it does not run.
    fn end(&self, deadline: Duration) -> Option<(BoxFuture<'static, Stopped>, CancellationToken)> {
        let running = self.state.lock().running.take()?;
        let Running { stop, aside, task, .. } = running;
        stop.cancel();
        let (abort, node) = (task.abort_handle(), self.shared.global_id.clone());
        let end = tokio::time::timeout(deadline, task);
        let ending = async move {
            if end.await.is_ok() {
                return Stopped::Clean;
            }
            tracing::error!(%node, ?deadline, "did not stop in time and is aborted");
            abort.abort();
            Stopped::Aborted
        };
        Some((Box::pin(ending), aside))
    }

    /// Nothing runs any more that is the node's alone.
    fn ended(&self) {
        self.shared.stop_ports();
        self.shared.clear_instance();
        self.shared.health.set(Part::Run, Health::now(HealthState::Exited, "component stopped"));
    }

    fn running_updates(&self) -> Option<mpsc::Sender<Box<AnyUpdate>>> {
        let state = self.state.lock();
        state.running.as_ref().filter(|r| !r.task.is_finished()).map(|r| r.updates.clone())
    }

    async fn change(&self, args: Args) -> Result<Evaluated, Error> {
        if let Some(updates) = self.running_updates() {
            let (update, answer) = AnyUpdate::new(self.kind.copy(&args));
            let gone = || Error::other("the component ended before it took its new arguments");
            let taken = async {
                updates.send(Box::new(update)).await.map_err(|_| gone())?;
                answer.await.map_err(|_| gone())?
            };
            tokio::time::timeout(UPDATE_DEADLINE, taken).await.map_err(|_| {
                Error::other(format!("did not take its new arguments within {UPDATE_DEADLINE:?}"))
            })??;
            self.state.lock().args = Some(args);
            return Ok(Evaluated::Updated);
        }
        let component = self.build(self.kind.copy(&args))?;
        let mut state = self.state.lock();
        let first = state.args.replace(args).is_none();
        state.built = Some(component);
        Ok(if first { Evaluated::Built } else { Evaluated::Updated })
    }
}

impl Node for ComponentNode {
    fn prepare(
        &self,
        source: &Source,
        body: &ast::Body,
        label: Option<&ast::Ident>,
        scope: &Scope<'_>,
    ) -> Result<Prepared, Vec<Diagnostic>> {
        let body = Written { source, body, label, scope };
        let decoded = self.kind.decode(&body, self.state.lock().args.as_ref());
        prepared(&self.shared, decoded)
    }

    fn apply(&self, prepared: Prepared) -> BoxFuture<'_, Result<Evaluated, Error>> {
        Box::pin(async move {
            let result = match prepared.args {
                None => Ok(Evaluated::Unchanged),
                Some(args) => self.change(args).await,
            };
            evaluated(&self.shared, result)
        })
    }

    fn start(&self) {
        let mut state = self.state.lock();
        if state.running.as_ref().is_some_and(|r| !r.task.is_finished()) {
            return;
        }
        let component = match (state.built.take(), &state.args) {
            (Some(component), _) => component,
            (None, Some(args)) => match self.build(self.kind.copy(args)) {
                Ok(component) => component,
                Err(error) => {
                    self.shared.health.set(Part::Run, Health::now(HealthState::Exited, error.to_string()));
                    return;
                }
            },
            (None, None) => {
                let health = Health::now(HealthState::Exited, "the component could not be built");
                self.shared.health.set(Part::Run, health);
                return;
            }
        };
        self.shared.suspend_ports();
        state.running = Some(launch(&self.shared, component));
    }

    fn stop(&self, deadline: Duration) -> BoxFuture<'_, Stopped> {
        Box::pin(async move {
            let ending = self.end(deadline);
            let outcome = match ending {
                Some((ending, _)) => ending.await,
                None => Stopped::Clean,
            };
            self.ended();
            outcome
        })
    }

    fn retire(&self, deadline: Duration, successor: CancellationToken) -> BoxFuture<'_, Option<Rest>> {
        Box::pin(async move {
            let mut rest = None;
            if let Some((mut ending, aside)) = self.end(deadline) {
                let made_way = async {
                    successor.cancelled().await;
                    aside.cancelled().await;
                };
                tokio::select! {
                    biased;
                    _ = &mut ending => {}
                    () = made_way => rest = Some(Box::pin(async move { let _ = ending.await; }) as Rest),
                }
            }
            self.ended();
            rest
        })
    }

    fn exports(&self) -> Value {
        self.shared.exports.lock().clone()
    }

    fn health(&self) -> Health {
        self.shared.health.get()
    }

    fn evaluation_failed(&self, message: String) {
        self.shared.health.set(Part::Evaluation, Health::unhealthy(message));
    }

    fn arguments(&self) -> Vec<Item> {
        let mut items = Vec::new();
        if let Some(args) = &self.state.lock().args {
            self.kind.encode(args, &mut items);
        }
        items
    }

    fn debug_info(&self) -> Vec<Item> {
        self.shared.debug_info()
    }
}

fn launch(shared: &Arc<NodeShared>, component: Box<dyn Built>) -> Running {
    let (updates, receiver) = mpsc::channel(1);
    let (stop, aside) = (CancellationToken::new(), CancellationToken::new());
    // Without a parent: what starts a node says nothing about it.
    let span = tracing::info_span!(parent: None, "node", component_id = %shared.global_id);
    let tasks = Tasks { tracker: TaskTracker::new(), kill: CancellationToken::new(), span: span.clone() };
    let guard = tasks.kill.clone().drop_guard();
    let cx = RunParts {
        build: BuildCx(shared.clone()),
        updates: receiver,
        stop: stop.clone(),
        aside: aside.clone(),
        tasks: tasks.clone(),
    };
    let (shared, asked) = (shared.clone(), stop.clone());
    shared.health.set(Part::Run, Health::healthy("started component"));
    let task = tokio::spawn(tracing::Instrument::instrument(
        async move {
            // An abort from outside drops the guard, which ends all tasks of the node.
            let _guard = guard;
            run_guarded(component, cx).await;
            finish(&shared, &asked, &tasks).await;
        },
        span,
    ));
    Running { updates, stop, aside, task }
}

async fn run_guarded(component: Box<dyn Built>, cx: RunParts) {
    let (shared, asked) = (cx.build.0.clone(), cx.stop.clone());
    let run = AssertUnwindSafe(component.run(cx));
    let message = match futures_util::FutureExt::catch_unwind(run).await {
        Ok(Ok(())) if asked.is_cancelled() => return,
        Ok(Ok(())) => "the component ended by itself".to_string(),
        Ok(Err(error)) => error.to_string(),
        Err(panic) => format!("the component panicked: {}", panic_text(&*panic)),
    };
    tracing::error!("{message}");
    shared.health.set(Part::Run, Health::now(HealthState::Exited, message));
}

async fn finish(shared: &NodeShared, asked: &CancellationToken, tasks: &Tasks) {
    shared.stop_ports();
    asked.cancel();
    tasks.tracker.close();
    tasks.tracker.wait().await;
}

/// A node of a pure component.
pub(crate) struct PureNode<P: Pure> {
    shared: Arc<NodeShared>,
    args: Mutex<Option<P::Args>>,
}

impl<P: Pure> PureNode<P> {
    pub(crate) fn new(cx: NodeCx) -> Self {
        Self { shared: NodeShared::new(cx.global_id, cx.services, cx.on_exports), args: Mutex::new(None) }
    }

    fn change(&self, args: P::Args) -> Result<Evaluated, Error> {
        let cx = BuildCx(self.shared.clone());
        let exports = guarded(P::NAME, || P::evaluate(&args, &cx))?;
        self.shared.publish(exports.to_value());
        let first = self.args.lock().replace(args).is_none();
        Ok(if first { Evaluated::Built } else { Evaluated::Updated })
    }
}

impl<P: Pure> Node for PureNode<P> {
    fn prepare(
        &self,
        source: &Source,
        body: &ast::Body,
        label: Option<&ast::Ident>,
        scope: &Scope<'_>,
    ) -> Result<Prepared, Vec<Diagnostic>> {
        let body = Written { source, body, label, scope };
        let decoded = decode::<P::Args>(&body, self.args.lock().as_ref());
        prepared(&self.shared, decoded)
    }

    fn apply(&self, prepared: Prepared) -> BoxFuture<'_, Result<Evaluated, Error>> {
        let result = match prepared.args {
            None => Ok(Evaluated::Unchanged),
            Some(args) => self.change(*args.downcast::<P::Args>().expect("prepared by this node")),
        };
        let result = evaluated(&self.shared, result);
        Box::pin(std::future::ready(result))
    }

    fn start(&self) {
        self.shared.health.set(Part::Run, Health::healthy("started component"));
    }

    fn stop(&self, _deadline: Duration) -> BoxFuture<'_, Stopped> {
        self.shared.clear_instance();
        self.shared.health.set(Part::Run, Health::now(HealthState::Exited, "component stopped"));
        Box::pin(std::future::ready(Stopped::Clean))
    }

    fn exports(&self) -> Value {
        self.shared.exports.lock().clone()
    }

    fn health(&self) -> Health {
        self.shared.health.get()
    }

    fn evaluation_failed(&self, message: String) {
        self.shared.health.set(Part::Evaluation, Health::unhealthy(message));
    }

    fn arguments(&self) -> Vec<Item> {
        let mut items = Vec::new();
        if let Some(args) = &*self.args.lock() {
            args.encode(&mut items);
        }
        items
    }

    fn debug_info(&self) -> Vec<Item> {
        self.shared.debug_info()
    }
}

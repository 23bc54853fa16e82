//! The nodes of a test's graph: the true component, with somebody before it.
//!
//! The true component always decodes and builds, so that a mistake in its arguments is found as in `run`. What is
//! decided here is whether it also runs, and what others see as its exports. One that does not run is built as on
//! trial: it reads and asks nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use component::otel::OtelInput;
use component::{
    ArgValue, BoxFuture, ComponentDef, Error, Evaluated, Fanout, Health, HealthState, Node, NodeCx, Prepared,
    Receiver, Services, Stopped,
};
use eval::syntax::{Diagnostic, Source, ast};
use eval::{Capsule, Item, OptionalSecret, Scope, Value};
use parking_lot::Mutex;
use signal::{Logs, Profiles, Samples};

use crate::bench::Bench;
use crate::journal::tap;
use crate::roles::{Role, advice, role};
use crate::spec::StubExports;

/// A component of the graph under test.
pub(crate) struct TestNode {
    id: String,
    definition: ComponentDef,
    bench: Arc<Bench>,
    role: Role,
    /// Decodes and builds; runs where the component stands for itself.
    checked: Arc<dyn Node>,
    /// Runs, where that is decided only by the arguments.
    live: Option<Arc<dyn Node>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Prepared for `live`, between the two steps of an evaluation.
    prepared: Option<Prepared>,
    /// Whether `live` is the one in force.
    lives: bool,
    started: bool,
    /// What stands for a receiver of the component, by export and kind.
    taps: BTreeMap<String, Value>,
    /// Exports that are not the component's.
    given: BTreeMap<String, Value>,
}

/// The node that stands before a component.
pub(crate) fn make(bench: &Arc<Bench>, definition: &ComponentDef, cx: NodeCx) -> Arc<dyn Node> {
    let id = cx.global_id.clone();
    let role = match bench.stub(&id) {
        Some(_) => Role::Stub,
        None => role(definition),
    };
    let trial = NodeCx { services: trial_services(&cx.services), ..cx.clone() };
    let (checked, live) = match role {
        Role::Itself => ((definition.node)(cx), None),
        Role::Files => ((definition.node)(trial), Some((definition.node)(cx))),
        _ => ((definition.node)(trial), None),
    };
    let node = Arc::new(TestNode {
        definition: *definition,
        bench: bench.clone(),
        role,
        checked,
        live,
        state: Mutex::new(State { lives: role == Role::Itself, ..State::default() }),
        id: id.clone(),
    });
    bench.register(&id, &node);
    node
}

/// Services of nodes that are only built: what they register is seen by nobody.
fn trial_services(services: &Services) -> Arc<Services> {
    Arc::new(Services {
        metrics: Default::default(),
        handlers: Default::default(),
        live_debug: Default::default(),
        legacies: Default::default(),
        storage: services.storage.clone(),
        memory_address: services.memory_address.clone(),
        stability: services.stability,
        shutdown_deadline: services.shutdown_deadline,
        hostname: services.hostname.clone(),
        version: services.version,
        trial: true,
        instance_id: services.instance_id.clone(),
    })
}

impl TestNode {
    fn in_force(&self) -> &Arc<dyn Node> {
        match &self.live {
            Some(live) if self.state.lock().lives => live,
            _ => &self.checked,
        }
    }

    /// After the component is built: what is it to be, and what do others see?
    fn settle(&self) -> Result<(), Error> {
        let arguments = self.checked.arguments();
        let mut given = BTreeMap::new();
        match self.role {
            Role::Stub => self.stub(&mut given)?,
            Role::File => {
                given.insert("content".to_string(), self.file(&arguments)?);
            }
            Role::Remote => {
                given.insert("content".to_string(), self.remote(&arguments)?);
            }
            Role::Files if self.definition.name == "local.file_match" && !is_relative(&arguments) => {
                given.insert("targets".to_string(), Value::array(Vec::new()));
            }
            _ => {}
        }
        self.state.lock().given = given;
        Ok(())
    }

    fn stub(&self, given: &mut BTreeMap<String, Value>) -> Result<(), Error> {
        let Some(stub) = self.bench.stub(&self.id) else {
            let message =
                format!("{} asks what a test cannot ask: {}", self.id, advice(&self.definition, &self.id));
            self.bench.broken(message);
            return Ok(());
        };
        let StubExports::Values(values) = &stub.exports else { return Ok(()) };
        for (name, _, value) in values {
            given.insert(name.clone(), self.shaped(name, value)?);
        }
        Ok(())
    }

    /// A value in the form in which the component exports it.
    fn shaped(&self, name: &str, value: &Value) -> Result<Value, Error> {
        let exports = (self.definition.exports)();
        let Some(export) = exports.iter().find(|e| e.name == name) else {
            let names: Vec<&str> = exports.iter().map(|e| e.name).collect();
            let help = match eval::closest(name, names.iter().copied()) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("there is {}", names.join(", ")),
            };
            return Err(Error::other(format!(
                "the stub gives {name:?}, which {} does not export: {help}",
                self.id
            )));
        };
        let wrong =
            |e: &dyn std::fmt::Display| Error::other(format!("the stub's {name} of {}: {e}", self.id));
        match &*export.code_type {
            "list(target)" | "list(map(string))" => {
                let targets =
                    Vec::<component::Target>::from_value(value).map_err(|e| wrong(&e.to_string()))?;
                Ok(targets.to_value())
            }
            kind if kind.contains("secret") && !kind.contains("map") => {
                let text = value.as_str().ok_or_else(|| wrong(&"a text is wanted"))?;
                Ok(Value::OptionalSecret(OptionalSecret::plain(text)))
            }
            _ => Ok(value.clone()),
        }
    }

    /// The content of a `local.file`: the test's, or that of the file as it is now.
    fn file(&self, arguments: &[Item]) -> Result<Value, Error> {
        let path = text(arguments, "filename").unwrap_or_default();
        if let Some(content) = self.bench.file(&path) {
            return Ok(secret(arguments, content));
        }
        let content = std::fs::read_to_string(&path).map_err(|e| {
            let help = format!("a test can give it: files: {{ {path:?}: … }}");
            Error::argument("filename", format!("cannot read {path}: {e}; {help}"))
        })?;
        Ok(secret(arguments, &content))
    }

    /// The content of a `remote.http`: what the test says that the server answers.
    fn remote(&self, arguments: &[Item]) -> Result<Value, Error> {
        let url = text(arguments, "url").unwrap_or_default();
        let method = text(arguments, "method").unwrap_or_else(|| "GET".into());
        let url = net::Url::parse(&url).map_err(|e| Error::argument("url", e.to_string()))?;
        let answer = self.bench.server.ask(&method, &url);
        let body = answer.map_err(|message| Error::argument("url", message))?;
        Ok(secret(arguments, String::from_utf8_lossy(body.body()).trim()))
    }

    /// Whether the component itself is to run.
    fn lives(&self) -> bool {
        match self.role {
            Role::Itself => true,
            Role::Files => is_relative(&self.checked.arguments()),
            _ => false,
        }
    }

    /// An export as others see it: receivers note what comes.
    fn seen(&self, name: &str, value: &Value) -> Value {
        let mut state = self.state.lock();
        if let Some(given) = state.given.get(name) {
            return given.clone();
        }
        let Value::Capsule(capsule) = value else { return value.clone() };
        let passes = state.lives;
        if let Some(tap) = state.taps.get(name) {
            return tap.clone();
        }
        let Some(tapped) = self.tapped(capsule, passes) else { return value.clone() };
        self.bench.journal.open(&self.id, self.role == Role::Sink);
        state.taps.insert(name.to_string(), tapped.clone());
        tapped
    }

    fn tapped(&self, capsule: &Capsule, passes: bool) -> Option<Value> {
        let (id, journal) = (&self.id, &self.bench.journal);
        if let Some(logs) = capsule.downcast_ref::<Receiver<Logs>>() {
            return Some(tap(id, journal, passes.then(|| logs.clone())).to_value());
        }
        if let Some(samples) = capsule.downcast_ref::<Receiver<Samples>>() {
            return Some(tap(id, journal, passes.then(|| samples.clone())).to_value());
        }
        if let Some(profiles) = capsule.downcast_ref::<Receiver<Profiles>>() {
            return Some(tap(id, journal, passes.then(|| profiles.clone())).to_value());
        }
        let input = capsule.downcast_ref::<OtelInput>()?;
        let tapped = OtelInput {
            traces: input.traces.as_ref().map(|r| tap(id, journal, passes.then(|| r.clone()))),
            metrics: input.metrics.as_ref().map(|r| tap(id, journal, passes.then(|| r.clone()))),
            logs: input.logs.as_ref().map(|r| tap(id, journal, passes.then(|| r.clone()))),
        };
        Some(tapped.to_value())
    }

    /// Where a source gives log entries.
    pub(crate) fn logs_to(&self) -> Option<Fanout<Logs>> {
        receivers(&self.checked.arguments()).map(Fanout::new)
    }

    /// Where a source gives samples.
    pub(crate) fn samples_to(&self) -> Option<Fanout<Samples>> {
        receivers(&self.checked.arguments()).map(Fanout::new)
    }

    /// Where a source gives profiles.
    pub(crate) fn profiles_to(&self) -> Option<Fanout<Profiles>> {
        receivers(&self.checked.arguments()).map(Fanout::new)
    }

    /// The `output` block of a source, by signal.
    pub(crate) fn output(&self, signal: &str) -> Vec<OtelInput> {
        let arguments = self.checked.arguments();
        let blocks = arguments.iter().filter_map(|item| match item {
            Item::Block { name, body, .. } if name == "output" => Some(body),
            _ => None,
        });
        let lists = blocks.flat_map(|body| attribute(body, signal));
        lists.filter_map(|v| Vec::<OtelInput>::from_value(v).ok()).flatten().collect()
    }
}

/// The receivers in `forward_to`; `None` if it holds those of another kind.
fn receivers<T: component::Signal>(arguments: &[Item]) -> Option<Vec<Receiver<T>>> {
    Vec::from_value(attribute(arguments, "forward_to")?).ok()
}

fn attribute<'a>(items: &'a [Item], wanted: &str) -> Option<&'a Value> {
    items.iter().find_map(|item| match item {
        Item::Attribute { name, value } if name == wanted => Some(value),
        _ => None,
    })
}

fn text(items: &[Item], name: &str) -> Option<String> {
    attribute(items, name)?.as_str().map(str::to_string)
}

/// Content as `is_secret` wants it.
fn secret(arguments: &[Item], content: &str) -> Value {
    let hidden = matches!(attribute(arguments, "is_secret"), Some(Value::Bool(true)));
    let content = if hidden { OptionalSecret::secret(content) } else { OptionalSecret::plain(content) };
    Value::OptionalSecret(content)
}

/// Whether the files that a component reads are the test's own.
fn is_relative(arguments: &[Item]) -> bool {
    let lists = ["targets", "path_targets"].into_iter().filter_map(|name| attribute(arguments, name));
    let targets = lists.flat_map(|list| list.as_array().unwrap_or_default().to_vec());
    let mut paths = targets.filter_map(|target| match &target {
        Value::Capsule(capsule) => {
            capsule.downcast_ref::<component::Target>().and_then(|t| t.get("__path__").map(str::to_string))
        }
        other => other.as_object().and_then(|o| o.get("__path__")?.as_str().map(str::to_string)),
    });
    paths.any(|path| Path::new(&path).is_relative())
}

impl Node for TestNode {
    fn prepare(
        &self,
        source: &Source,
        body: &ast::Body,
        label: Option<&ast::Ident>,
        scope: &Scope<'_>,
    ) -> Result<Prepared, Vec<Diagnostic>> {
        let prepared = self.checked.prepare(source, body, label, scope)?;
        if let Some(live) = &self.live {
            self.state.lock().prepared = Some(live.prepare(source, body, label, scope)?);
        }
        Ok(prepared)
    }

    fn apply(&self, prepared: Prepared) -> BoxFuture<'_, Result<Evaluated, Error>> {
        Box::pin(async move {
            let built = self.checked.apply(prepared).await?;
            let live = self.state.lock().prepared.take();
            let lives = self.lives();
            self.state.lock().lives = lives;
            self.settle()?;
            match (&self.live, live) {
                (Some(node), Some(prepared)) if lives => node.apply(prepared).await,
                _ => Ok(built),
            }
        })
    }

    fn start(&self) {
        let lives = {
            let mut state = self.state.lock();
            state.started = true;
            state.lives
        };
        if lives {
            self.in_force().start();
        }
    }

    fn stop(&self, deadline: Duration) -> BoxFuture<'_, Stopped> {
        Box::pin(async move {
            self.checked.stop(deadline).await;
            match &self.live {
                Some(live) => live.stop(deadline).await,
                None => Stopped::Clean,
            }
        })
    }

    fn exports(&self) -> Value {
        let exports = self.in_force().exports();
        let Some(fields) = exports.as_object() else { return exports };
        let seen = fields.iter().map(|(name, value)| (name.clone(), self.seen(name, value)));
        Value::object(seen.collect())
    }

    fn health(&self) -> Health {
        let state = self.state.lock();
        if state.lives {
            drop(state);
            return self.in_force().health();
        }
        let started = state.started;
        drop(state);
        let health = self.checked.health();
        match health.state {
            HealthState::Unhealthy => health,
            _ if started => Health::healthy("stands in a test"),
            _ => health,
        }
    }

    fn evaluation_failed(&self, message: String) {
        self.in_force().evaluation_failed(message);
    }

    fn arguments(&self) -> Vec<Item> {
        self.in_force().arguments()
    }

    fn debug_info(&self) -> Vec<Item> {
        self.in_force().debug_info()
    }
}

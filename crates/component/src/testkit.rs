//! For tests of components: feed and drain one from its configuration text, without a graph or sockets.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use eval::syntax::{Diagnostic, Source};
use eval::{BodySchema, FieldSchema, Resolve, Scope, Value};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::definition::ComponentDef;
use crate::error::Error;
use crate::node::{Evaluated, Node, NodeCx, Rest, Stopped};
use crate::port::{BoxFuture, Consumer, Port, Receiver, Rejected, Signal};
use crate::services::Services;

/// Names that the configuration under test may refer to.
#[derive(Default, Clone)]
pub struct Names(HashMap<String, Value>);

impl Names {
    /// Adds a name.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_string(), value.into());
        self
    }
}

impl Resolve for Names {
    fn resolve(&self, path: &[&str]) -> Option<(usize, Value)> {
        Some((1, self.0.get(*path.first()?)?.clone()))
    }
}

/// One node under test.
pub struct Harness {
    /// The node.
    pub node: Arc<dyn Node>,
    /// Its services.
    pub services: Arc<Services>,
    names: Names,
    exported: Arc<(AtomicUsize, Notify)>,
}

/// Why a configuration was refused.
#[derive(Debug)]
pub enum Refused {
    /// By the decoder.
    Diagnostics(Vec<Diagnostic>),
    /// By the component.
    Error(Error),
}

impl Harness {
    /// Builds and starts a component from the text of its block's body.
    ///
    /// # Panics
    /// If the configuration is refused.
    pub async fn start(definition: ComponentDef, body: &str, names: Names) -> Self {
        let folder =
            std::env::temp_dir().join(format!("ferroalloy-test-{}-{}", std::process::id(), unique()));
        let harness = Self::new(definition, names, Services::for_tests(folder));
        harness
            .update(body)
            .await
            .unwrap_or_else(|refused| panic!("{} refused: {refused:?}", definition.name));
        harness.node.start();
        harness
    }

    /// A node that nothing has been told yet.
    pub fn new(definition: ComponentDef, names: Names, services: Arc<Services>) -> Self {
        let exported = Arc::new((AtomicUsize::new(0), Notify::new()));
        let on_exports = {
            let exported = exported.clone();
            Arc::new(move || {
                exported.0.fetch_add(1, Ordering::Relaxed);
                exported.1.notify_waiters();
            })
        };
        let cx =
            NodeCx { global_id: format!("{}.test", definition.name), services: services.clone(), on_exports };
        Self { node: (definition.node)(cx), services, names, exported }
    }

    /// Evaluates the node with a new body.
    pub async fn update(&self, body: &str) -> Result<Evaluated, Refused> {
        let source = Source::new("test.alloy", body);
        let (file, mut diagnostics) = eval::syntax::parse(&source);
        if diagnostics.is_empty() {
            let prepared = {
                let scope = Scope::new(&self.names);
                self.node.prepare(&source, &file.body, None, &scope)
            };
            match prepared {
                Ok(prepared) => return self.node.apply(prepared).await.map_err(Refused::Error),
                Err(found) => diagnostics = found,
            }
        }
        Err(Refused::Diagnostics(diagnostics))
    }

    /// How often the exports have changed.
    pub fn exported(&self) -> usize {
        self.exported.0.load(Ordering::Relaxed)
    }

    /// Waits until the exports satisfy a condition.
    pub async fn until_exports(&self, condition: impl Fn(&Value) -> bool) -> Value {
        loop {
            let notified = self.exported.1.notified();
            let exports = self.node.exports();
            if condition(&exports) {
                return exports;
            }
            notified.await;
        }
    }

    /// Stops the node while another of its ID waits; what it still does when it has made way for that one.
    pub async fn retire(&self) -> Option<Rest> {
        let successor = CancellationToken::new();
        successor.cancel();
        self.node.retire(Duration::from_secs(600), successor).await
    }

    /// Stops the node.
    pub async fn stop(&self) -> Stopped {
        self.node.stop(Duration::from_secs(60)).await
    }
}

/// One line a block and an attribute of a schema, sorted: to be compared with a list of facts. Defaults that are a
/// type's zero are left out.
pub fn surface(schema: &BodySchema) -> Vec<String> {
    fn walk(path: &str, schema: &BodySchema, out: &mut Vec<String>) {
        const ZEROS: [&str; 6] = ["\"\"", "false", "0", "\"0s\"", "{}", "[]"];
        for field in &schema.fields {
            match field {
                FieldSchema::Attribute(a) => {
                    let required = if a.required { " required" } else { "" };
                    let default = a.default.as_deref().filter(|d| !ZEROS.contains(d));
                    let default = default.map(|d| format!(" = {d}")).unwrap_or_default();
                    out.push(format!("{path}{} {}{required}{default}", a.name, a.code_type));
                }
                FieldSchema::Block(b) => {
                    let required = if b.required { " required" } else { "" };
                    let repeatable = if b.repeatable { " repeatable" } else { "" };
                    out.push(format!("{path}{} block{required}{repeatable} {}", b.name, b.absent.as_str()));
                    walk(&format!("{path}{}.", b.name), (b.body)(), out);
                }
            }
        }
    }
    let mut out = Vec::new();
    walk("", schema, &mut out);
    out.sort();
    out
}

fn unique() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Collects batches and answers as it is told.
pub struct Sink<T> {
    port: Port<T>,
    shared: Arc<SinkShared<T>>,
}

struct SinkShared<T> {
    batches: Mutex<Vec<T>>,
    answer: Mutex<Result<(), Rejected>>,
    arrived: Notify,
}

struct SinkConsumer<T>(Arc<SinkShared<T>>);

impl<T: Signal> Sink<T> {
    /// A sink that accepts.
    #[expect(clippy::new_without_default, reason = "a sink is made on purpose")]
    pub fn new() -> Self {
        let shared = Arc::new(SinkShared {
            batches: Mutex::default(),
            answer: Mutex::new(Ok(())),
            arrived: Notify::new(),
        });
        let port = Port::detached("sink");
        let _ = port.attach(SinkConsumer(shared.clone()));
        Self { port, shared }
    }

    /// Its address.
    pub fn receiver(&self) -> Receiver<T> {
        self.port.receiver()
    }

    /// Its address as a value for `forward_to`.
    pub fn value(&self) -> Value {
        eval::ArgValue::to_value(&self.receiver())
    }

    /// What it answers from now on; refused batches are not kept.
    pub fn answer(&self, answer: Result<(), Rejected>) {
        *self.shared.answer.lock() = answer;
    }

    /// Takes what has arrived.
    pub fn take(&self) -> Vec<T> {
        std::mem::take(&mut self.shared.batches.lock())
    }

    /// Waits until at least `count` batches have arrived, then takes all.
    pub async fn wait(&self, count: usize) -> Vec<T> {
        loop {
            let arrived = self.shared.arrived.notified();
            if self.shared.batches.lock().len() >= count {
                return self.take();
            }
            arrived.await;
        }
    }
}

impl<T: Signal> Consumer<T> for SinkConsumer<T> {
    fn consume(&self, batch: T) -> BoxFuture<'_, Result<(), Rejected>> {
        let answer = self.0.answer.lock().clone();
        if answer.is_ok() {
            self.0.batches.lock().push(batch);
        }
        self.0.arrived.notify_waiters();
        Box::pin(std::future::ready(answer))
    }
}

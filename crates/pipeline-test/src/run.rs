//! Runs one test: a runtime of its own on a thread of its own, whose clock moves only when the test says so.
//!
//! Data path: test → graph of [`crate::nodes`] → inputs → [`Journal`](crate::journal::Journal) → claims. Invariants:
//! nothing here opens a socket; time passes only while nobody has anything to do; a test that hangs ends at its limit.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use component::{Registry, Services, Stability};
use runtime::{ConfigBlockDef, ConfigSource, ImportDef, Options, Runtime};
use syntax::{Diagnostic, Source, Span};
use tokio::time::Instant;

use crate::bench::{Bench, Network, Pages};
use crate::feed::{self, Place, Sending, Senseless};
use crate::items::{self, Item};
use crate::judge::{holds, judge};
use crate::report::{Outcome, Problem};
use crate::spec::{Assertion, Input, Rule, Signal, Step, TestCase};
use crate::{nodes, prelude};

/// What a program brings to its tests.
#[derive(Clone, Copy)]
pub struct Program {
    /// All components.
    pub registry: fn() -> Registry,
    /// The blocks of a configuration's root, without effect.
    pub blocks: fn() -> Vec<ConfigBlockDef>,
    /// Kinds of imports that need no network of their own.
    pub imports: fn() -> Vec<ImportDef>,
    /// As in the program's own metrics.
    pub version: &'static str,
}

/// How far time moves at least while a claim may still come true.
const TICK: Duration = Duration::from_millis(50);
/// How long the graph may take to stop; nobody looks at it any more.
const STOP: Duration = Duration::from_secs(1);

/// Runs a test; gives up after `limit` of real time.
pub(crate) fn run(program: Program, source: &Source, test: &TestCase, limit: Duration) -> Outcome {
    let (tell, told) = std::sync::mpsc::channel();
    let (source, owned) = (source.clone(), test.clone());
    let spawned = std::thread::Builder::new().name("pipeline-test".into()).spawn(move || {
        // Who waits may have given up.
        let _ = tell.send(on_this_thread(program, &source, &owned));
    });
    let broken = |message: String| Outcome { problems: vec![Problem::Broken(message)], ..Outcome::default() };
    let thread = match spawned {
        Ok(thread) => thread,
        Err(error) => return broken(format!("no thread for the test: {error}")),
    };
    match told.recv_timeout(limit) {
        Ok(outcome) => {
            // It has sent its last; what it drops now is not waited for longer than that takes.
            let _ = thread.join();
            outcome
        }
        Err(RecvTimeoutError::Timeout) => {
            broken(format!("the test has not ended within {limit:?} of real time and is given up"))
        }
        Err(RecvTimeoutError::Disconnected) => {
            broken("the test panicked: this is a mistake in ferroalloy".into())
        }
    }
}

fn on_this_thread(program: Program, source: &Source, test: &TestCase) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let (runtime, storage) = match (runtime, tempfile::tempdir()) {
        (Ok(runtime), Ok(storage)) => (runtime, storage),
        (Err(error), _) | (_, Err(error)) => {
            let message = format!("the test cannot be set up: {error}");
            return Outcome { problems: vec![Problem::Broken(message)], ..Outcome::default() };
        }
    };
    let outcome = runtime.block_on(async {
        let bench = Bench::new(test);
        let clock = Clock::new(test.start_ns);
        let _time = signal::clock::stand_in(clock.data());
        let _environment = eval::stdlib::environment::stand_in(test.env.clone());
        let _network = net::stand_in(Rc::new(Network(bench.clone())));
        let graph = graph(program, &bench, storage.path());
        let mut running =
            Running { source, test, bench, clock, graph, problems: Vec::new(), sent: Vec::new() };
        running.all().await;
        running.graph.shutdown(STOP).await;
        Outcome { problems: running.problems, files_read: running.bench.files_read() }
    });
    runtime.shutdown_background();
    outcome
}

fn graph(program: Program, bench: &Arc<Bench>, storage: &std::path::Path) -> Runtime {
    let services = Arc::new(Services {
        metrics: Default::default(),
        handlers: Default::default(),
        live_debug: Default::default(),
        legacies: Default::default(),
        storage: storage.to_path_buf(),
        memory_address: "alloy.internal:12345".into(),
        stability: Stability::Experimental,
        shutdown_deadline: STOP,
        hostname: "test-host".into(),
        version: program.version,
        trial: false,
        instance_id: "00000000-0000-0000-0000-000000000000".into(),
    });
    services.handlers.set_main(Arc::new(Pages(bench.clone())));
    let made = bench.clone();
    let registry = (program.registry)()
        .with(prelude::COMPONENTS)
        .with_nodes(Arc::new(move |definition, cx| nodes::make(&made, definition, cx)));
    Runtime::new(Options { registry, blocks: (program.blocks)(), imports: (program.imports)(), services })
}

/// The test's clock: what has been asked for in all, from the moment at which the graph was up.
struct Clock {
    start_ns: i64,
    began: Rc<std::cell::Cell<Option<Instant>>>,
    passed: Duration,
}

impl Clock {
    fn new(start_ns: i64) -> Self {
        Self { start_ns, began: Rc::default(), passed: Duration::ZERO }
    }

    /// What components see as the time of data.
    fn data(&self) -> signal::clock::Clock {
        let (start_ns, began) = (self.start_ns, self.began.clone());
        Rc::new(move || {
            let passed = began.get().map(|b| b.elapsed().as_nanos()).unwrap_or_default();
            start_ns.saturating_add(i64::try_from(passed).unwrap_or(i64::MAX))
        })
    }

    /// What the test itself sends carries the time that its steps add up to.
    fn now_ns(&self) -> i64 {
        self.start_ns.saturating_add(i64::try_from(self.passed.as_nanos()).unwrap_or(i64::MAX))
    }

    fn begin(&self) {
        self.began.set(Some(Instant::now()));
    }

    /// Lets everybody do what there is to do now: a paused clock moves only when all have done it.
    async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    /// Lets time pass. Counted from the start, so that the millisecond of each [`Clock::settle`] does not add up.
    async fn advance(&mut self, by: Duration) {
        self.passed += by;
        let began = self.began.get().unwrap_or_else(Instant::now);
        tokio::time::sleep_until(began + self.passed).await;
        self.settle().await;
    }
}

struct Running<'a> {
    source: &'a Source,
    test: &'a TestCase,
    bench: Arc<Bench>,
    clock: Clock,
    graph: Runtime,
    problems: Vec<Problem>,
    /// Data that has not been answered for.
    sent: Vec<Sent>,
}

struct Sent {
    to: String,
    span: Span,
    sending: Sending,
}

impl Running<'_> {
    async fn all(&mut self) {
        let loaded = match self.sources() {
            Ok(sources) => self.graph.load(sources).await.map_err(|e| e.diagnostics),
            Err(diagnostics) => Err(diagnostics),
        };
        if let Err(diagnostics) = loaded {
            let errors = diagnostics.into_iter().filter(Diagnostic::is_error);
            let errors: Vec<Diagnostic> = errors.map(|d| self.in_the_file(d)).collect();
            return self.broken(syntax::render(&errors, false));
        }
        self.graph.settled().await;
        self.clock.settle().await;
        self.clock.begin();
        self.check_stubs();
        for step in &self.test.steps {
            if self.problems.iter().any(Problem::is_broken) {
                break;
            }
            self.step(step).await;
        }
        for message in self.bench.all_broken() {
            self.broken(message);
        }
    }

    /// The texts of the configuration, and what the test adds to them.
    fn sources(&self) -> Result<Vec<Source>, Vec<Diagnostic>> {
        let mut sources = Vec::new();
        if let Some((path, span)) = &self.test.config.path {
            let read = ConfigSource::Path(path.clone()).read().map_err(|error| {
                let why = error.diagnostics.first().map_or("", |d| &d.message);
                let message = format!("the configuration could not be read: {why}");
                vec![Diagnostic::error("test_file", message, self.source, *span)]
            })?;
            sources.extend(read);
        }
        sources.extend(self.test.config.inline.iter().cloned());
        if sources.iter().any(|s| s.text().contains("pipelinetest")) {
            sources.push(prelude::text(&self.test.mocks));
        }
        Ok(sources)
    }

    /// A place in a configuration that stands in the test file, as a place of that file: the lines are the same,
    /// the columns are not.
    fn in_the_file(&self, mut diagnostic: Diagnostic) -> Diagnostic {
        let Some(location) = &mut diagnostic.location else { return diagnostic };
        let line_of = |source: &Source| {
            let line = location.line_column().line as usize - 1;
            let mut before = source.text().split_inclusive('\n');
            let start: usize = before.by_ref().take(line).map(str::len).sum();
            (start, before.next().unwrap_or_default().trim_end().to_string())
        };
        let (inner_start, inner) = line_of(&location.source);
        let (outer_start, outer) = line_of(self.source);
        if location.source.name() == self.source.name()
            && let Some(indent) = outer.find(&inner).filter(|_| !inner.is_empty())
        {
            let moved = |at: u32| (at as usize + outer_start + indent).saturating_sub(inner_start) as u32;
            let end = (outer_start + outer.len()) as u32;
            location.span = Span::new(moved(location.span.start), moved(location.span.end).min(end));
            location.source = self.source.clone();
        }
        diagnostic
    }

    fn broken(&mut self, message: String) {
        self.problems.push(Problem::Broken(message));
    }

    fn at(&self, span: Span, message: impl Into<String>) -> String {
        syntax::render(&[Diagnostic::error("test", message, self.source, span)], false)
    }

    fn check_stubs(&mut self) {
        let snapshot = self.graph.snapshot();
        let unmet: Vec<String> = self
            .bench
            .stubs()
            .iter()
            .filter(|stub| self.bench.node(&stub.component).is_none())
            .map(|stub| {
                let ids: Vec<String> = snapshot.components().map(|c| c.global_id()).collect();
                let near = eval::closest(&stub.component, ids.iter().map(String::as_str));
                let help = near.map(|n| format!(": did you mean {n}?")).unwrap_or_default();
                self.at(stub.span, format!("the configuration has no component {}{help}", stub.component))
            })
            .collect();
        unmet.into_iter().for_each(|message| self.broken(message));
    }

    async fn step(&mut self, step: &Step) {
        match step {
            Step::Advance(by) => self.clock.advance(*by).await,
            Step::Answer(answers) => self.bench.server.add(answers),
            Step::Assert(claims, within) => self.assert(claims, *within).await,
            Step::Send(input) => {
                input.to.iter().for_each(|(name, span)| self.send(input, name, *span));
                self.clock.settle().await;
            }
        }
        self.answered().await;
    }

    fn send(&mut self, input: &Input, name: &str, span: Span) {
        let place = feed::place(&self.graph.snapshot(), &self.bench, name).map_err(Senseless::Place);
        let sent = place.and_then(|place| feed::send(&self.bench, &place, &input.data, self.clock.now_ns()));
        match sent {
            Ok(sending) => self.sent.push(Sent { to: name.to_string(), span, sending }),
            Err(Senseless::Place(message)) => self.broken(self.at(span, message)),
            Err(Senseless::Data(message)) => self.broken(self.at(input.span, message)),
        }
    }

    /// Looks at the answers that are there. Who keeps data until a batch is full answers when that has gone.
    async fn answered(&mut self) {
        let (done, waiting) =
            std::mem::take(&mut self.sent).into_iter().partition(|s| s.sending.is_finished());
        self.sent = waiting;
        let done: Vec<Sent> = done;
        for Sent { to, span, sending } in done {
            if let Ok(Err(refused)) = sending.await {
                let text = self.at(span, format!("{to} has refused the data: {refused}"));
                self.problems.push(Problem::Failed(text));
            }
        }
    }

    /// All claims together, again and again until they hold or their time is over.
    async fn assert(&mut self, claims: &[Assertion], within: Duration) {
        let mut waited = Duration::ZERO;
        loop {
            if waited >= within {
                return match self.judged(claims) {
                    Ok(failed) => self.problems.extend(failed.into_iter().map(Problem::Failed)),
                    Err(broken) => broken.into_iter().for_each(|m| self.broken(m)),
                };
            }
            let holds = |claim: &Assertion| self.items(claim).is_ok_and(|items| holds(claim, &items));
            if claims.iter().all(holds) {
                return;
            }
            let by = TICK.max(waited / 8).min(within - waited);
            self.clock.advance(by).await;
            waited += by;
        }
    }

    /// What does not hold; `Err`: what makes no sense.
    fn judged(&self, claims: &[Assertion]) -> Result<Vec<String>, Vec<String>> {
        let (mut failed, mut broken) = (Vec::new(), Vec::new());
        for claim in claims {
            match self.items(claim) {
                Ok(items) => {
                    if let Some(text) = judge(claim, &items) {
                        let line = self.source.line(claim.span.start);
                        let place = format!("{}:{line}: {}", self.source.name(), self.title(claim));
                        failed.push(format!("{place}\n{text}{}", self.flow(claim.signal)));
                    }
                }
                Err(message) => broken.push(message),
            }
        }
        if broken.is_empty() { Ok(failed) } else { Err(broken) }
    }

    fn title(&self, claim: &Assertion) -> String {
        let kind = match &claim.rule {
            Rule::Contains(_) => "contains",
            Rule::Count(..) => "count",
            Rule::None(_) => "none",
            Rule::All(_) => "all",
            Rule::Exact { .. } => "exact",
            Rule::Dropped { .. } => return "dropped".into(),
        };
        let sinks: Vec<&str> = claim.sinks.iter().map(|(name, _)| name.as_str()).collect();
        let at = if sinks.is_empty() { String::new() } else { format!(" at {}", sinks.join(", ")) };
        format!("{} {kind}{at}", claim.signal.name())
    }

    fn items(&self, claim: &Assertion) -> Result<Vec<Item>, String> {
        if claim.signal == Signal::OwnMetrics {
            let page = self.graph.services().metrics.text();
            let samples = feed::samples(&page, false, self.clock.now_ns() / 1_000_000)?;
            let mut found = Vec::new();
            items::samples(&samples, &mut found);
            return Ok(found.into_iter().map(|fields| Item { node: String::new(), fields }).collect());
        }
        let mut nodes = Vec::new();
        for (name, span) in &claim.sinks {
            let place =
                feed::place(&self.graph.snapshot(), &self.bench, name).map_err(|m| self.at(*span, m))?;
            if let Place::Source(_) = place {
                return Err(self.at(*span, format!("{name} receives nothing: name a receiver")));
            }
            nodes.push(feed::owner(&place));
        }
        Ok(self.bench.journal.read(|by_node| {
            let asked =
                by_node.iter().filter(
                    |(node, received)| {
                        if nodes.is_empty() { received.sink } else { nodes.contains(node) }
                    },
                );
            asked.flat_map(|(node, received)| items::items(node, received, claim.signal)).collect()
        }))
    }

    /// How much came how far: where it was lost.
    fn flow(&self, signal: Signal) -> String {
        let counts: BTreeMap<String, (usize, Vec<String>)> = self.bench.journal.read(|by_node| {
            let counted = by_node.iter().map(|(node, received)| {
                let refused = received.refused.iter().map(|(why, n)| format!("{why} ({n} times)")).collect();
                (node.clone(), (items::items(node, received, signal).len(), refused))
            });
            counted.collect()
        });
        if counts.len() < 2 || signal == Signal::OwnMetrics {
            return String::new();
        }
        let unanswered: Vec<&str> = self.sent.iter().map(|s| s.to.as_str()).collect();
        let width = counts.keys().map(String::len).max().unwrap_or_default();
        let mut text = format!("{} that each receiver has taken:\n", signal.items().1);
        for (node, (count, refused)) in &counts {
            let node = if node == prelude::SINK { "pipelinetest" } else { node };
            text += &format!("    {node:width$}  {count}\n");
            for why in refused {
                text += &format!("    {:width$}  refused further on: {why}\n", "");
            }
        }
        if !unanswered.is_empty() {
            text += &format!("data sent to {} has not been answered for yet\n", unanswered.join(", "));
        }
        text
    }
}

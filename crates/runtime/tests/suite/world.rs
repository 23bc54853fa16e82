//! Components for tests, over a signal of their own, and the world that they report to.
//!
//! `test.source` → `test.relay` → `test.sink`; `test.value` is pure; `test.tick` changes its exports when
//! the world says so; `test.faulty` fails in every way there is. Worlds are named, so that tests in one
//! process do not see each other.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use component::{
    Arguments, BoxFuture, BuildCx, Component, ComponentDef, Consumer, Error, Event, Exports, Fanout, Port,
    Pure, Receiver, Registry, Rejected, RunCx, Services, Signal, Stability,
};
use eval::{Invalid, Value};
use runtime::{ConfigBlockDef, LoadError, Loaded, Options, Runtime};
use syntax::Source;
use tokio::sync::{Notify, mpsc};

/// What flows in tests: one number.
#[derive(Clone, Debug, PartialEq)]
pub struct Item(pub u64);

impl Signal for Item {
    const RECEIVER: &'static str = "ItemReceiver";
}

/// Another signal, to be wired wrongly.
#[derive(Clone, Debug, PartialEq)]
pub struct Other;

impl Signal for Other {
    const RECEIVER: &'static str = "OtherReceiver";
}

/// What components of one test have done.
#[derive(Default)]
pub struct World {
    next: AtomicU64,
    /// Items that a source was told `Ok` for.
    pub accepted: Mutex<Vec<u64>>,
    /// How often a sink has had an item, by sink and item.
    pub arrived: Mutex<BTreeMap<String, HashMap<u64, usize>>>,
    /// What happened, in order: `build x`, `run x`, `update x`, `stop x`.
    pub log: Mutex<Vec<String>>,
    /// What `test.tick` exports.
    pub tick: AtomicU64,
    pub ticked: Notify,
}

static WORLDS: LazyLock<Mutex<HashMap<String, Arc<World>>>> = LazyLock::new(Mutex::default);

impl World {
    pub fn of(name: &str) -> Arc<Self> {
        WORLDS.lock().unwrap().entry(name.to_string()).or_default().clone()
    }

    fn note(&self, what: &str, id: &str) {
        self.log.lock().unwrap().push(format!("{what} {id}"));
    }

    /// Takes what has happened.
    pub fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.log.lock().unwrap())
    }

    pub fn set_tick(&self, value: u64) {
        self.tick.store(value, Ordering::SeqCst);
        self.ticked.notify_waiters();
    }
}

#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct SourceArgs {
    pub world: String,
    pub forward_to: Vec<Receiver<Item>>,
    #[arg(default)]
    pub targets: Vec<Value>,
    #[arg(default = "10ms")]
    pub every: Duration,
}

/// Sends a new item every so often and repeats one that was not taken.
pub struct SourceComponent(SourceArgs);

impl Component for SourceComponent {
    const NAME: &'static str = "test.source";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = "";
    type Args = SourceArgs;
    type Exports = ();

    fn build(args: SourceArgs, cx: &BuildCx) -> Result<(Self, ()), Error> {
        World::of(&args.world).note("build", cx.id());
        Ok((Self(args), ()))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let mut args = self.0;
        let world = World::of(&args.world);
        world.note("run", cx.id());
        let mut item = world.next.fetch_add(1, Ordering::SeqCst);
        loop {
            let sending = async {
                tokio::time::sleep(args.every).await;
                Fanout::new(args.forward_to.iter().cloned()).send(Item(item)).await
            };
            tokio::select! {
                biased;
                event = cx.event() => match event {
                    Event::Stop => break,
                    Event::Update(update) => {
                        world.note("update", cx.id());
                        args = update.args().clone();
                        update.answer(Ok(()));
                    }
                },
                answer = sending => {
                    if answer.is_ok() {
                        world.accepted.lock().unwrap().push(item);
                        item = world.next.fetch_add(1, Ordering::SeqCst);
                    }
                }
            }
        }
        world.note("stop", cx.id());
        Ok(())
    }
}

#[derive(Clone, Debug, PartialEq, Exports)]
pub struct Input {
    pub receiver: Receiver<Item>,
}

#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(without_effect = RelayArgs::without_effect)]
pub struct RelayArgs {
    pub world: String,
    pub forward_to: Vec<Receiver<Item>>,
    #[arg(default)]
    pub tag: String,
    #[arg(default)]
    pub delay: Duration,
    #[arg(default)]
    pub panic_on: Option<u64>,
    /// Of a time when relays grew tired.
    #[arg(default, no_effect = "relays do not grow tired; use delay")]
    pub rest: Duration,
    #[arg(block, no_effect = "relays keep nothing")]
    pub memory: Option<MemoryArgs>,
}

impl RelayArgs {
    fn without_effect(&self) -> Vec<Invalid> {
        let mute = self.tag == "mute";
        mute.then(|| Invalid::without_effect("tag", "nobody reads this tag")).into_iter().collect()
    }
}

#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct MemoryArgs {
    #[arg(default)]
    pub size: i64,
}

/// Passes items on, in the sender's task.
pub struct Relay(RelayArgs, Port<Item>);

struct Pass {
    to: Fanout<Item>,
    delay: Duration,
    panic_on: Option<u64>,
}

impl Pass {
    fn of(args: &RelayArgs) -> Self {
        Self { to: Fanout::new(args.forward_to.iter().cloned()), delay: args.delay, panic_on: args.panic_on }
    }
}

impl Consumer<Item> for Pass {
    fn consume(&self, item: Item) -> BoxFuture<'_, Result<(), Rejected>> {
        Box::pin(async move {
            assert!(self.panic_on != Some(item.0), "told to panic");
            tokio::time::sleep(self.delay).await;
            self.to.send(item).await
        })
    }
}

impl Component for Relay {
    const NAME: &'static str = "test.relay";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = "";
    type Args = RelayArgs;
    type Exports = Input;

    fn build(args: RelayArgs, cx: &BuildCx) -> Result<(Self, Input), Error> {
        World::of(&args.world).note("build", cx.id());
        let port = cx.port::<Item>("receiver");
        let receiver = port.receiver();
        Ok((Self(args, port), Input { receiver }))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let Self(args, port) = self;
        let world = World::of(&args.world);
        world.note("run", cx.id());
        let _ = port.attach(Pass::of(&args));
        while let Event::Update(update) = cx.event().await {
            world.note("update", cx.id());
            let _ = port.attach(Pass::of(update.args()));
            update.answer(Ok(()));
        }
        port.stop().finished().await;
        world.note("stop", cx.id());
        Ok(())
    }
}

#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct SinkArgs {
    pub world: String,
    #[arg(default)]
    pub tag: String,
    #[arg(default = 16u64)]
    pub queue: u64,
    /// Items are taken out of the queue this slowly.
    #[arg(default)]
    pub delay: Duration,
    /// Does not stop when told.
    #[arg(default)]
    pub stubborn: bool,
    /// Makes way for another of its ID, and goes on for so long.
    #[arg(default)]
    pub lingers: Duration,
    #[arg(default)]
    pub password: eval::Secret,
}

/// Answers when an item is in its queue; stores from the queue; empties it before it ends.
pub struct Sink(SinkArgs, Port<Item>);

struct Enqueue(mpsc::Sender<Item>);

impl Consumer<Item> for Enqueue {
    fn consume(&self, item: Item) -> BoxFuture<'_, Result<(), Rejected>> {
        Box::pin(async move { self.0.send(item).await.map_err(|_| Rejected::Stopped) })
    }
}

impl Component for Sink {
    const NAME: &'static str = "test.sink";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = "";
    type Args = SinkArgs;
    type Exports = Input;

    fn build(args: SinkArgs, cx: &BuildCx) -> Result<(Self, Input), Error> {
        if args.queue == 0 {
            return Err(Error::argument("queue", "the queue must hold something"));
        }
        World::of(&args.world).note("build", cx.id());
        let port = cx.port::<Item>("receiver");
        let receiver = port.receiver();
        Ok((Self(args, port), Input { receiver }))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let Self(mut args, port) = self;
        let world = World::of(&args.world);
        world.note("run", cx.id());
        let id = cx.id().to_string();
        let store = |item: Item| {
            *world.arrived.lock().unwrap().entry(id.clone()).or_default().entry(item.0).or_default() += 1;
        };
        let (sender, mut queue) = mpsc::channel(args.queue as usize);
        let _ = port.attach(Enqueue(sender));
        loop {
            tokio::select! {
                event = cx.event() => match event {
                    Event::Stop => break,
                    Event::Update(update) => {
                        world.note("update", &id);
                        let valid = update.args().queue > 0;
                        if valid {
                            args = update.args().clone();
                        }
                        let answer = Err(Error::argument("queue", "the queue must hold something"));
                        update.answer(if valid { Ok(()) } else { answer });
                    }
                },
                Some(item) = queue.recv() => {
                    tokio::time::sleep(args.delay).await;
                    store(item);
                }
            }
        }
        if args.stubborn {
            std::future::pending::<()>().await;
        }
        port.stop().finished().await;
        if !args.lingers.is_zero() {
            cx.make_way();
            tokio::time::sleep(args.lingers).await;
        }
        while let Some(item) = queue.recv().await {
            store(item);
        }
        world.note("stop", &id);
        Ok(())
    }
}

#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct ValueArgs {
    pub value: Value,
    #[arg(default)]
    pub world: String,
}

#[derive(Clone, Debug, PartialEq, Exports)]
pub struct ValueExports {
    pub value: Value,
    pub text: String,
}

/// Exports its argument.
pub struct Pass1;

impl Pure for Pass1 {
    const NAME: &'static str = "test.value";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = "";
    type Args = ValueArgs;
    type Exports = ValueExports;

    fn evaluate(args: &ValueArgs, cx: &BuildCx) -> Result<ValueExports, Error> {
        if !args.world.is_empty() {
            World::of(&args.world).note("evaluate", cx.id());
        }
        Ok(ValueExports { value: args.value.clone(), text: args.value.to_source() })
    }
}

#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct TickArgs {
    pub world: String,
}

#[derive(Clone, Debug, PartialEq, Exports)]
pub struct TickExports {
    pub value: u64,
}

/// Exports the world's tick whenever that changes.
pub struct Tick(Arc<World>);

impl Component for Tick {
    const NAME: &'static str = "test.tick";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = "";
    type Args = TickArgs;
    type Exports = TickExports;

    fn build(args: TickArgs, _cx: &BuildCx) -> Result<(Self, TickExports), Error> {
        let world = World::of(&args.world);
        let value = world.tick.load(Ordering::SeqCst);
        Ok((Self(world), TickExports { value }))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        loop {
            let ticked = self.0.ticked.notified();
            cx.export(&TickExports { value: self.0.tick.load(Ordering::SeqCst) });
            tokio::select! {
                event = cx.event() => match event {
                    Event::Stop => return Ok(()),
                    Event::Update(update) => update.answer(Ok(())),
                },
                () = ticked => {}
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct FaultyArgs {
    pub how: String,
}

/// Fails as it is told.
pub struct Faulty(String);

impl Component for Faulty {
    const NAME: &'static str = "test.faulty";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = "";
    type Args = FaultyArgs;
    type Exports = ValueExports;

    fn build(args: FaultyArgs, _cx: &BuildCx) -> Result<(Self, ValueExports), Error> {
        match args.how.as_str() {
            "build error" => Err(Error::argument("how", "told to fail")),
            "build panic" => panic!("told to panic"),
            _ => Ok((Self(args.how.clone()), ValueExports { value: args.how.into(), text: String::new() })),
        }
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        assert_ne!(self.0, "run panic", "told to panic");
        if self.0 == "run error" {
            return Err(Error::other("told to fail"));
        }
        while let Event::Update(update) = cx.event().await {
            match update.args().how.as_str() {
                "update error" => update.answer(Err(Error::argument("how", "told to fail"))),
                "update panic" => panic!("told to panic"),
                "no answer" => drop(update),
                _ => update.answer(Ok(())),
            }
        }
        Ok(())
    }
}

/// As `test.value`, but not settled.
pub struct Preview;

impl Pure for Preview {
    const NAME: &'static str = "test.preview";
    const STABILITY: Stability = Stability::PublicPreview;
    const DOCS: &'static str = "";
    type Args = ValueArgs;
    type Exports = ValueExports;

    fn evaluate(args: &ValueArgs, cx: &BuildCx) -> Result<ValueExports, Error> {
        Pass1::evaluate(args, cx)
    }
}

#[derive(Clone, Debug, PartialEq, Exports)]
pub struct OtherInput {
    pub receiver: Receiver<Other>,
}

/// Takes another signal.
pub struct OtherSink;

impl Pure for OtherSink {
    const NAME: &'static str = "test.other_sink";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = "";
    type Args = TickArgs;
    type Exports = OtherInput;

    fn evaluate(_args: &TickArgs, cx: &BuildCx) -> Result<OtherInput, Error> {
        Ok(OtherInput { receiver: cx.port::<Other>("receiver").receiver() })
    }
}

const COMPONENTS: &[ComponentDef] = &[
    ComponentDef::of::<SourceComponent>(),
    ComponentDef::of::<Relay>(),
    ComponentDef::of::<Sink>(),
    ComponentDef::of::<Tick>(),
    ComponentDef::of::<Faulty>(),
    ComponentDef::pure::<Pass1>(),
    ComponentDef::pure::<Preview>(),
    ComponentDef::pure::<OtherSink>(),
];

/// `settings { level = "…" }`, a block of the root.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct Settings {
    #[arg(default = "info")]
    pub level: String,
    #[arg(default)]
    pub write_to: Vec<Receiver<Item>>,
}

/// Options with the components above; what `settings` is set to goes to the returned list.
pub fn options(services: Arc<Services>) -> (Options, Arc<Mutex<Vec<String>>>) {
    let levels = Arc::new(Mutex::new(Vec::new()));
    let seen = levels.clone();
    let settings = ConfigBlockDef::new::<Settings>("settings", Stability::GenerallyAvailable, move |args| {
        if args.level == "wrong" {
            return Err(Error::argument("level", "there is no such level"));
        }
        seen.lock().unwrap().push(args.level.clone());
        Ok(())
    });
    let absent = component::Absent { name: "test.gone", instead: "use test.value instead" };
    let registry = Registry::new(&[COMPONENTS]).without(&[absent]);
    (Options { registry, blocks: vec![settings], imports: Vec::new(), services }, levels)
}

/// A folder that is gone with the test.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// A runtime with the components above.
pub fn runtime() -> Runtime {
    Runtime::new(options(Services::for_tests("/nonexistent")).0)
}

/// Statements stand on lines of their own; in these tests two spaces, or a brace and a space, separate
/// them too.
pub fn spread(text: &str) -> String {
    let lines = text.lines().map(|line| line.trim().replace("  ", "\n"));
    let mut spread = lines.collect::<Vec<_>>().join("\n");
    for next in 'a'..='z' {
        spread = spread.replace(&format!("}} {next}"), &format!("}}\n{next}"));
    }
    spread
}

/// Loads a text.
pub async fn load(runtime: &Runtime, text: &str) -> Result<Loaded, LoadError> {
    runtime.load(vec![Source::new("config.alloy", spread(text))]).await
}

/// Loads a text that has to be accepted.
pub async fn accept(runtime: &Runtime, text: &str) {
    if let Err(error) = load(runtime, text).await {
        panic!("{}", syntax::render(&error.diagnostics, false));
    }
}

/// Loads a text that has to be refused and answers the codes of the errors.
pub async fn refuse(runtime: &Runtime, text: &str) -> Vec<&'static str> {
    let error = load(runtime, text).await.expect_err("refused");
    error.diagnostics.iter().filter(|d| d.is_error()).map(|d| d.code).collect()
}

/// An export of a component.
pub fn export(runtime: &Runtime, global_id: &str, name: &str) -> Option<Value> {
    let snapshot = runtime.snapshot();
    let component = snapshot.component(global_id)?;
    component.exports.iter().find_map(|item| match item {
        eval::Item::Attribute { name: n, value } if n == name => Some(value.clone()),
        _ => None,
    })
}

//! The log as a whole: levels, receivers, and that nothing feeds on itself.

use std::sync::Arc;
use std::time::Duration;

use component::testkit::Sink;
use component::{
    Arguments, BoxFuture, BuildCx, Component, ComponentDef, Consumer, Error, Event, Exports, Port, Receiver,
    Registry, Rejected, RunCx, Services, Stability,
};
use runtime::{Options, Runtime};
use signal::{Labels, Logs};
use syntax::Source;
use tracing_subscriber::layer::SubscriberExt;

use super::*;

fn args(write_to: Vec<Receiver<Logs>>) -> LoggingArgs {
    LoggingArgs { level: Level::Info, format: Format::Logfmt, destination: Destination::Stderr, write_to }
}

fn line(msg: &str) -> Line {
    let fields = vec![("msg", msg.to_string())];
    Line { level: Level::Info, time: jiff::Timestamp::UNIX_EPOCH, fields, origin: Origin::default() }
}

fn lines(batches: &[Logs]) -> Vec<String> {
    batches.iter().flat_map(|b| b.entries.iter().map(|e| e.line.to_string())).collect()
}

/// The messages of what has arrived, once there are so many.
async fn messages(sink: &Sink<Logs>, count: usize) -> Vec<String> {
    let mut got = Vec::new();
    while got.len() < count {
        let arrived = lines(&sink.wait(1).await);
        got.extend(arrived.iter().map(|l| l.split("msg=").nth(1).unwrap_or_default().to_string()));
    }
    got
}

fn dropped(log: &Log, receiver: &str, reason: &str) -> u64 {
    log.0.dropped.with_label_values(&[receiver, reason]).get()
}

#[test]
fn a_nodes_id_is_split_into_path_and_id() {
    let mut fields = Vec::new();
    add_span_field(&mut fields, "component_id", "mod.a/local.file.b");
    let expected = [("component_path", "/mod.a".to_string()), ("component_id", "local.file.b".to_string())];
    assert_eq!(fields, expected);
}

#[tokio::test(start_paused = true)]
async fn what_was_held_back_goes_to_the_receivers_too_with_alloys_label() {
    let (log, sink) = (Log::new(), Sink::new());
    log.take(line("early"));
    log.take(Line { level: Level::Debug, ..line("too chatty") });
    log.configure(&args(vec![sink.receiver()])).expect("configured");
    log.take(line("late"));
    let mut batches = sink.wait(1).await;
    if batches[0].len() < 2 {
        batches.extend(sink.wait(1).await);
    }
    let ts = "ts=1970-01-01T00:00:00.000000000Z level=info";
    assert_eq!(lines(&batches), [format!("{ts} msg=early"), format!("{ts} msg=late")]);
    let first = &batches[0];
    assert_eq!(first.labels(&first.entries[0]), &Labels::from_pairs([("component", "alloy")]));
    assert_eq!(first.entries[0].timestamp_ns, 0);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_does_not_take_anything_holds_up_nobody_and_loses_the_oldest_counted() {
    let log = Log::new();
    let (stuck, other) = (Port::<Logs>::detached("stuck"), Sink::new());
    log.configure(&args(vec![stuck.receiver(), other.receiver()])).expect("configured");
    let all = forward::MAX_LINES + 2000;
    let mut got = Vec::new();
    for i in 0..all {
        // Not printed: they are many.
        match &*log.0.state.lock() {
            State::Writing(writing) => writing.hand_over(&line(""), format!("msg={i}"), &[]),
            State::HoldingBack(_) => unreachable!("configured"),
        }
        if i % 1000 == 999 || i + 1 == all {
            // The other one keeps up.
            while got.len() <= i {
                got.extend(lines(&other.wait(1).await));
            }
        }
    }
    assert_eq!((got.len(), dropped(&log, "sink", "queue_full")), (all, 0));
    // One batch was taken out of the queue and waits for the receiver.
    let lost = dropped(&log, "stuck", "queue_full");
    assert!((500..=2000).contains(&lost), "{lost}");
    // Now somebody stands behind the address.
    let late = Sink::<Logs>::new();
    let _ = stuck.attach(component::Fanout::new([late.receiver()]));
    let got = messages(&late, all - lost as usize).await;
    assert_eq!(got.last(), Some(&(all - 1).to_string()));
    assert_eq!(dropped(&log, "stuck", "queue_full"), lost);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_for_now_comes_again_and_what_is_refused_for_good_is_counted() {
    let (log, sink) = (Log::new(), Sink::new());
    log.configure(&args(vec![sink.receiver()])).expect("configured");
    for refusal in [Rejected::Retryable("later".into()), Rejected::Stopped] {
        sink.answer(Err(refusal));
        log.take(line("kept"));
        tokio::time::sleep(Duration::from_secs(20)).await;
        sink.answer(Ok(()));
        assert_eq!(messages(&sink, 1).await, ["kept"]);
    }
    sink.answer(Err(Rejected::Permanent("never".into())));
    log.take(line("lost"));
    log.flush(Duration::from_secs(5)).await;
    assert_eq!(dropped(&log, "sink", "rejected"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_stays_keeps_what_waits_for_it_and_one_that_goes_has_a_moment_to_take_it() {
    let log = Log::new();
    let (stays, goes, stuck) =
        (Port::<Logs>::detached("a"), Port::<Logs>::detached("b"), Port::detached("c"));
    log.configure(&args(vec![stays.receiver(), goes.receiver(), stuck.receiver()])).expect("configured");
    log.take(line("one"));
    log.configure(&args(vec![stays.receiver()])).expect("configured");
    log.take(line("two"));
    let (first, second) = (Sink::<Logs>::new(), Sink::<Logs>::new());
    let _ = goes.attach(component::Fanout::new([second.receiver()]));
    assert_eq!(messages(&second, 1).await, ["one"]);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(dropped(&log, "c", "receiver_gone"), 1);
    let _ = stays.attach(component::Fanout::new([first.receiver()]));
    assert_eq!(messages(&first, 2).await, ["one", "two"]);
    assert_eq!(second.take().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_flush_waits_for_the_receivers_but_not_for_ever() {
    let (log, stuck) = (Log::new(), Port::<Logs>::detached("stuck"));
    log.configure(&args(vec![stuck.receiver()])).expect("configured");
    let start = Instant::now();
    log.flush(Duration::from_secs(5)).await;
    assert_eq!(start.elapsed(), Duration::ZERO, "nothing waits");
    log.take(line("x"));
    log.flush(Duration::from_secs(5)).await;
    assert_eq!(start.elapsed(), Duration::from_secs(5));
}

#[test]
fn lines_of_what_carries_them_do_not_go_the_same_way() {
    let carriers = ["loki.write.a".to_string(), "mod.m".to_string()];
    let cases = [
        (Origin::default(), true),
        (Origin { node: Some("loki.write.ab".into()), ..Origin::default() }, true),
        (Origin { node: Some("loki.write.a".into()), ..Origin::default() }, false),
        (Origin { node: Some("mod.m/loki.process.p".into()), ..Origin::default() }, false),
        (Origin { forwarding: true, ..Origin::default() }, false),
        (Origin { stranger: true, ..Origin::default() }, false),
    ];
    for (origin, expected) in cases {
        assert_eq!(origin.may_go(&carriers), expected, "{:?}", origin.node);
    }
}

/// Logs whenever it is handed something: at once, and in a task of its own a little later.
struct Talker(TalkerArgs, Port<Logs>);

#[derive(Clone, Debug, PartialEq, Arguments)]
struct TalkerArgs {
    forward_to: Vec<Receiver<Logs>>,
}

#[derive(Clone, Debug, PartialEq, Exports)]
struct TalkerExports {
    receiver: Receiver<Logs>,
}

struct Talking(component::Fanout<Logs>, component::Spawner);

impl Consumer<Logs> for Talking {
    fn consume(&self, batch: Logs) -> BoxFuture<'_, Result<(), Rejected>> {
        Box::pin(async move {
            tracing::info!("talker got {} lines", batch.len());
            self.1.spawn(async { tracing::info!("talker's task") });
            self.0.send(batch).await
        })
    }
}

impl Component for Talker {
    const NAME: &'static str = "test.talker";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = "";
    type Args = TalkerArgs;
    type Exports = TalkerExports;

    fn build(args: TalkerArgs, cx: &BuildCx) -> Result<(Self, TalkerExports), Error> {
        let port = cx.port("receiver");
        let receiver = port.receiver();
        Ok((Self(args, port), TalkerExports { receiver }))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        tracing::info!("talker starts");
        let to = |args: &TalkerArgs| component::Fanout::new(args.forward_to.iter().cloned());
        let _ = self.1.attach(Talking(to(&self.0), cx.spawner()));
        while let Event::Update(update) = cx.event().await {
            let _ = self.1.attach(Talking(to(update.args()), cx.spawner()));
            update.answer(Ok(()));
        }
        Ok(())
    }
}

/// Keeps what it gets where the test finds it.
struct Keeper(Port<Logs>);

#[derive(Clone, Debug, PartialEq, Arguments)]
struct KeeperArgs {}

static KEPT: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

struct Keeping(String);

impl Consumer<Logs> for Keeping {
    fn consume(&self, batch: Logs) -> BoxFuture<'_, Result<(), Rejected>> {
        KEPT.lock().extend(lines(&[batch]).into_iter().map(|l| (self.0.clone(), l)));
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Component for Keeper {
    const NAME: &'static str = "test.keeper";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = "";
    type Args = KeeperArgs;
    type Exports = TalkerExports;

    fn build(_args: KeeperArgs, cx: &BuildCx) -> Result<(Self, TalkerExports), Error> {
        let port = cx.port("receiver");
        let receiver = port.receiver();
        Ok((Self(port), TalkerExports { receiver }))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let _ = self.0.attach(Keeping(cx.id().to_string()));
        tracing::info!("keeper runs");
        while let Event::Update(update) = cx.event().await {
            update.answer(Ok(()));
        }
        Ok(())
    }
}

fn kept_by(keeper: &str, part: &str) -> usize {
    KEPT.lock().iter().filter(|(by, line)| by == keeper && line.contains(part)).count()
}

async fn until_kept(keeper: &str, part: &str) {
    while kept_by(keeper, part) == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn runtime(log: &Log) -> Runtime {
    let registry = Registry::new(&[&[ComponentDef::of::<Keeper>(), ComponentDef::of::<Talker>()]]);
    let services: Arc<Services> = Services::for_tests("/nonexistent");
    Runtime::new(Options {
        registry,
        blocks: vec![crate::blocks::logging(log)],
        imports: Vec::new(),
        services,
    })
}

async fn load(runtime: &Runtime, text: &str) {
    let loaded = runtime.load(vec![Source::new("config.alloy", text)]).await;
    loaded.unwrap_or_else(|e| panic!("{}", syntax::render(&e.diagnostics, false)));
}

/// The real runtime, the real subscriber, and a component on the way that logs about every line.
#[tokio::test(start_paused = true)]
async fn in_the_real_runtime_lines_go_where_the_configuration_says_and_feed_on_nothing() {
    // A place in the code that another test's thread, which has no subscriber, reaches for the first time just
    // now may stay silent for all: they are all reached once, and then asked again.
    {
        let log = Log::new();
        let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(log.clone()));
        let runtime = runtime(&log);
        let text = "test.talker \"w\" {\nforward_to = [test.keeper.w.receiver]\n}\ntest.keeper \"w\" { }\n\
                    logging {\nwrite_to = [test.talker.w.receiver]\n}";
        load(&runtime, text).await;
        tracing::info!("warm");
        until_kept("test.keeper.w", "warm").await;
        runtime.shutdown(Duration::from_secs(1)).await;
    }
    tracing::callsite::rebuild_interest_cache();

    let log = Log::new();
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(log.clone()));
    tracing::info!("before everything");
    let runtime = runtime(&log);
    let common = r#"
        test.talker "t" { forward_to = [test.keeper.a.receiver] }
        test.keeper "a" { }
        test.keeper "b" { }"#
        .replace("{ forward", "{\nforward")
        .replace("] }", "]\n}");
    load(&runtime, &format!("{common}\nlogging {{\nwrite_to = [test.talker.t.receiver, null]\n}}")).await;
    tracing::info!("hello");
    until_kept("test.keeper.a", "hello").await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(kept_by("test.keeper.a", "before everything"), 1, "held back until there was a receiver");
    assert_eq!(kept_by("test.keeper.a", "talker"), 0, "{:?}", KEPT.lock());
    assert_eq!(kept_by("test.keeper.a", "keeper runs"), 1, "of the one that is not on the way");

    // Elsewhere, and at another level.
    load(
        &runtime,
        &format!("{common}\nlogging {{\nwrite_to = [test.keeper.b.receiver]\nlevel = \"warn\"\n}}"),
    )
    .await;
    tracing::info!("hush");
    tracing::warn!("moved");
    until_kept("test.keeper.b", "moved").await;
    assert_eq!((kept_by("test.keeper.a", "moved"), kept_by("test.keeper.b", "hush")), (0, 0));

    // Nowhere any more: the block is not written.
    load(&runtime, &common).await;
    tracing::warn!("nowhere");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!((kept_by("test.keeper.a", "nowhere"), kept_by("test.keeper.b", "nowhere")), (0, 0));
    runtime.shutdown(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_level_that_changes_counts_for_places_that_have_spoken_before() {
    let (log, sink) = (Log::new(), Sink::new());
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(log.clone()));
    let speak = |round: usize| tracing::debug!(round, "a detail");
    let at = |level| LoggingArgs { level, ..args(vec![sink.receiver()]) };
    log.configure(&at(Level::Info)).expect("configured");
    speak(1);
    log.configure(&at(Level::Debug)).expect("configured");
    speak(2);
    log.configure(&at(Level::Error)).expect("configured");
    speak(3);
    log.flush(Duration::from_secs(5)).await;
    let got = lines(&sink.take());
    assert_eq!(got.len(), 1, "{got:?}");
    assert!(got[0].contains("round=2"), "{got:?}");
}

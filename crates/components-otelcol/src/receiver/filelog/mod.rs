//! `otelcol.receiver.filelog` reads files, makes log records of what is in them, and follows them as they are
//! rotated.
//!
//! Data path: patterns → the engine of `tail` → records with the file's attributes (`outlet`) → operators →
//! `output` → position. Invariant: a position moves only when every consumer has what was read up to it, or it
//! was dropped on purpose and counted.

mod args;
mod find;
mod outlet;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use component::eval::{Invalid, Item, Value};
use component::metrics::{Metrics as Registry, NodeMetrics};
use component::otel::MetricsLevel;
use component::{BuildCx, Component, Error, Event, Exports, RunCx, Stability};
use tail::{Engine, Keeper, Metrics, WORKERS};
use tokio_util::sync::CancellationToken;

pub use args::{Args, Encoding, Multiline};
use find::Files;
use outlet::{Make, Records};

use crate::operators::deliver::{Delivery, Given, Way};
use crate::operators::{Counters, Pipeline};

/// In names of metrics.
const PREFIX: &str = "otelcol_receiver_filelog";

/// Nothing: data goes to `output`.
#[derive(Clone, Debug, Default, PartialEq, Exports)]
pub struct FileLogExports {}

/// Own metrics, shown or not. Those that are shown are made when they are first needed: what is made is shown.
struct Own {
    cx: BuildCx,
    shown: OnceLock<(Metrics, Counters)>,
    hidden: OnceLock<(Metrics, Counters)>,
}

impl Own {
    fn of(&self, args: &Args) -> &(Metrics, Counters) {
        let make = |metrics: NodeMetrics| (Metrics::new(&metrics, PREFIX), Counters::new(&metrics, PREFIX));
        if args.debug_metrics.level == MetricsLevel::None {
            return self.hidden.get_or_init(|| make(Registry::default().node(self.cx.id())));
        }
        self.shown.get_or_init(|| make(self.cx.metrics()))
    }
}

/// The component.
pub struct FileLog {
    args: Args,
    own: Own,
    cx: BuildCx,
}

impl Component for FileLog {
    const NAME: &'static str = "otelcol.receiver.filelog";
    const STABILITY: Stability = Stability::PublicPreview;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = FileLogExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, FileLogExports), Error> {
        let own = Own { cx: cx.clone(), shown: OnceLock::new(), hidden: OnceLock::new() };
        parts(&args, &own.of(&args).1)?;
        Ok((Self { args, own, cx: cx.clone() }, FileLogExports {}))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let Self { mut args, own, cx: build } = self;
        let mut running = Running::start(&args, &own, &build, &cx).await?;
        loop {
            tokio::select! {
                biased;
                event = cx.event() => match event {
                    Event::Stop => break,
                    Event::Update(update) => {
                        let new = update.args().clone();
                        let result = change(running, &args, &new, (&own, &build, &cx)).await;
                        let (now, answer) = match result {
                            Ok(now) => (now, Ok(())),
                            Err((now, error)) => (now, Err(error)),
                        };
                        running = now;
                        if answer.is_ok() {
                            args = new;
                        }
                        update.answer(answer);
                    }
                },
                () = running.keeper.step() => {}
            }
        }
        running.stop().await;
        Ok(())
    }
}

fn invalid(error: Invalid) -> Error {
    Error::argument(error.field.unwrap_or("operators"), error.message)
}

/// What arguments become, but for files.
fn parts(args: &Args, counters: &Counters) -> Result<(Way, Make), Error> {
    let wrong = |message: String| Error::argument("operators", message);
    let way = Way {
        pipeline: Pipeline::new("operators", &args.operators, counters).map_err(wrong)?,
        given: Given::new(&args.attributes, &args.resource).map_err(invalid)?,
        fanout: args.output.fanout()?.logs,
        retry: args.retry_on_failure.clone(),
    };
    let header = args.header.as_ref().map(|header| {
        let pipeline = Pipeline::new("metadata_operators", &header.metadata_operators, counters);
        pipeline.map_err(|message| Error::argument("header", message))
    });
    let encoding = Encoding::named(&args.encoding).map_err(invalid)?;
    Ok((way, Make::new(args, encoding, header.transpose()?)))
}

/// Whether new arguments need everything anew: metrics, handles and the place of positions.
fn needs_restart(old: &Args, new: &Args) -> bool {
    let is_hidden = |args: &Args| args.debug_metrics.level == MetricsLevel::None;
    is_hidden(old) != is_hidden(new)
        || old.max_concurrent_files != new.max_concurrent_files
        || old.storage != new.storage
        || old.compression != new.compression
}

/// Puts new arguments in force.
async fn change(
    running: Running,
    old: &Args,
    new: &Args,
    (own, build, cx): (&Own, &BuildCx, &RunCx<FileLog>),
) -> Result<Running, (Running, Error)> {
    if needs_restart(old, new) {
        if let Err(error) = parts(new, &own.of(new).1) {
            return Err((running, error));
        }
        running.stop().await;
        // The arguments were tried: only the folder of positions may fail, and that is told by its reads.
        let started = Running::start(new, own, build, cx).await;
        return Ok(started.unwrap_or_else(|error| unreachable!("the arguments were tried: {error}")));
    }
    let mut running = running;
    match running.update(new, own, cx).await {
        Ok(()) => Ok(running),
        Err(error) => Err((running, error)),
    }
}

/// The engine with what feeds on it.
struct Running {
    engine: Arc<Engine>,
    keeper: Keeper,
    delivery: Arc<Delivery>,
    make: Arc<ArcSwap<Make>>,
    stop: CancellationToken,
    time: tokio::task::AbortHandle,
}

/// Where positions are kept.
fn folder(args: &Args, build: &BuildCx) -> PathBuf {
    match args.storage.as_ref().and_then(|handler| handler.folder()) {
        Some(folder) => {
            if let Err(error) = folder.prepare() {
                tracing::error!(error, "positions cannot be kept in the storage yet");
            }
            folder.of(build.id())
        }
        None => build.data_path(),
    }
}

impl Running {
    async fn start(args: &Args, own: &Own, build: &BuildCx, cx: &RunCx<FileLog>) -> Result<Self, Error> {
        let (metrics, counters) = own.of(args).clone();
        let (way, make) = parts(args, &counters)?;
        let settings = args.settings().map_err(invalid)?;
        let files: Arc<Files> = Arc::new(Files::new(args).map_err(invalid)?);
        let (delivery, stop) = (Arc::new(Delivery::new(way, counters)), CancellationToken::new());
        let make = Arc::new(ArcSwap::from_pointee(make));
        let records = Records { make: make.clone(), delivery: delivery.clone(), stop: stop.clone() };
        let mut engine = Engine::new(settings, records, metrics);
        engine.most_open = usize::try_from(args.max_concurrent_files).unwrap_or(1).clamp(2, engine.most_open);
        let engine = Arc::new(engine);
        let mut keeper = Keeper::open(&engine, &folder(args, build), files.clone(), Path::new("")).await;
        for _ in 0..WORKERS {
            cx.spawn(engine.clone().work(keeper.worker()));
        }
        let shown = engine.clone();
        cx.set_debug_info(move || debug_info(&shown));
        keeper.set_finder(files, false).await;
        let (timed, stopped) = (delivery.clone(), stop.clone());
        let time = cx.spawn(async move { timed.keep_time(&stopped).await });
        Ok(Self { engine, keeper, delivery, make, stop, time })
    }

    async fn update(&mut self, args: &Args, own: &Own, cx: &RunCx<FileLog>) -> Result<(), Error> {
        let (way, make) = parts(args, &own.of(args).1)?;
        let settings = args.settings().map_err(invalid)?;
        let files: Arc<Files> = Arc::new(Files::new(args).map_err(invalid)?);
        self.make.store(Arc::new(make));
        let held = self.delivery.change(way);
        let (delivery, stop) = (self.delivery.clone(), self.stop.clone());
        cx.spawn(async move { drop(delivery.hand_over(held, &stop).await) });
        let records =
            Records { make: self.make.clone(), delivery: self.delivery.clone(), stop: self.stop.clone() };
        self.engine.configure(settings, records);
        self.keeper.set_finder(files, false).await;
        Ok(())
    }

    /// Ends: what is under way is waited for, what is held goes on, positions are written.
    async fn stop(self) {
        self.stop.cancel();
        self.time.abort();
        tokio::select! {
            () = self.keeper.stop() => {}
            () = self.delivery.empty(&self.stop) => {}
        }
    }
}

fn debug_info(engine: &Arc<Engine>) -> Vec<Item> {
    let attribute = |name: &'static str, value: Value| Item::Attribute { name: name.into(), value };
    let files = engine.shown().into_iter().map(|shown| Item::Block {
        name: "files".into(),
        label: None,
        body: vec![
            attribute("path", shown.path.as_str().into()),
            attribute("is_open", shown.is_running.into()),
            attribute("read_offset", shown.read_offset.into()),
        ],
    });
    files.collect()
}

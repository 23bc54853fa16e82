//! `loki.source.gelf` takes messages of Graylog's format over UDP.
//!
//! Data path: datagrams → chunks put together → messages → labels and rules → `forward_to`. Invariant: what a
//! sender can make grow has a bound: messages under way, their bytes, what they decompress to, what waits.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use component::metrics::{IntCounter, IntCounterVec, NodeMetrics};
use component::{
    Arguments, BuildCx, Component, Error, Event, Fanout, Receiver, RelabelRules, RunCx, Stability,
};
use net::socket::{Claim, listen_udp};
use parking_lot::Mutex;
use signal::logs::{Entry, LogBuilder};
use signal::{Labels, LabelsBuilder, Logs};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wire::gelf::{Assembled, Chunks, GelfError, Message, unpack};

use super::hand_over::HandOver;
use super::http_intake::NoExports;
use crate::intake::Intake;
use net::datagrams::{Datagram, KERNEL_BUFFER, Limits, Receiving};

/// `loki.source.gelf`
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct Args {
    /// Where to listen, as `host:port`.
    #[arg(default = "0.0.0.0:12201")]
    pub listen_address: String,
    /// Keeps the times of messages; otherwise entries get the time at which they come in.
    #[arg(default)]
    pub use_incoming_timestamp: bool,
    /// Rules that make labels of what is known of a message.
    pub relabel_rules: Option<RelabelRules>,
    /// Where entries go.
    pub forward_to: Vec<Receiver<Logs>>,
}

/// Bytes of a message after decompression.
const MAX_MESSAGE: usize = 8 << 20;
/// Bytes of a batch of entries.
const MAX_BATCH: usize = 1 << 20;
/// Batches of datagrams that wait for being taken.
const QUEUE: usize = 16;
/// How often messages that did not become whole are looked for.
const TICK: Duration = Duration::from_secs(1);

/// The component.
pub struct Gelf {
    args: Args,
    shared: Arc<Shared>,
}

struct Shared {
    config: ArcSwap<Config>,
    entries: [IntCounter; 2],
    errors: [IntCounter; 2],
    datagrams: IntCounterVec,
    hand_over: HandOver,
    cx: BuildCx,
}

/// What of the arguments can change while messages are taken.
struct Config {
    use_incoming_timestamp: bool,
    forward_to: Fanout<Logs>,
    intake: Mutex<Intake>,
}

impl Config {
    fn new(args: &Args) -> Result<Self, Error> {
        if net::socket::split(&args.listen_address).is_none() {
            let message =
                format!("{:?} is not an address: write host:port, as in 0.0.0.0:12201", args.listen_address);
            return Err(Error::argument("listen_address", message));
        }
        Ok(Self {
            use_incoming_timestamp: args.use_incoming_timestamp,
            forward_to: Fanout::new(args.forward_to.iter().cloned()),
            intake: Mutex::new(Intake::new(Labels::empty(), args.relabel_rules.as_ref())?),
        })
    }
}

impl Shared {
    fn new(args: &Args, metrics: &NodeMetrics, cx: &BuildCx) -> Result<Self, Error> {
        // The name that Alloy has now, and the one from before, which its reference still shows.
        let both = |what: &str, help: &str| {
            ["loki_source_gelf_target", "gelf_target"]
                .map(|before| metrics.counter(&format!("{before}_{what}"), help))
        };
        Ok(Self {
            config: ArcSwap::from_pointee(Config::new(args)?),
            entries: both("entries_total", "Entries that were taken by all of forward_to."),
            errors: both("parsing_errors_total", "Datagrams and messages that could not be read."),
            datagrams: metrics.counter_vec(
                "loki_source_gelf_dropped_datagrams_total",
                "Datagrams that were dropped, by reason.",
                &["reason"],
            ),
            hand_over: HandOver::new(metrics, "loki_source_gelf"),
            cx: cx.clone(),
        })
    }
}

impl Component for Gelf {
    const NAME: &'static str = "loki.source.gelf";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = NoExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, NoExports), Error> {
        let shared = Arc::new(Shared::new(&args, &cx.metrics(), cx)?);
        Ok((Self { args, shared }, NoExports {}))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let Self { args, shared } = self;
        let mut address = args.listen_address;
        let mut listener = listen(&address, &shared, &cx).await?;
        loop {
            match cx.event().await {
                Event::Update(update) => {
                    let result = async {
                        let args = update.args();
                        let config = Config::new(args)?;
                        if args.listen_address != address {
                            let new = listen(&args.listen_address, &shared, &cx).await?;
                            std::mem::replace(&mut listener, new).retire.cancel();
                            address.clone_from(&args.listen_address);
                        }
                        shared.config.store(Arc::new(config));
                        Ok(())
                    };
                    let result = result.await;
                    update.answer(result);
                }
                Event::Stop => {
                    listener.retire.cancel();
                    while listener.done.changed().await.is_ok() {}
                    return Ok(());
                }
            }
        }
    }
}

/// A listener that runs.
struct Listener {
    retire: CancellationToken,
    /// Closed when all that it has taken in is handed over.
    done: watch::Receiver<()>,
}

async fn listen(address: &str, shared: &Arc<Shared>, cx: &RunCx<Gelf>) -> Result<Listener, Error> {
    let claim = listen_udp(cx.id(), address, KERNEL_BUFFER).await?;
    tracing::info!(address = %claim.address(), "listening for GELF over UDP");
    let retire = CancellationToken::new();
    let (ended, done) = watch::channel(());
    let running = receive(claim, shared.clone(), retire.clone());
    cx.spawn(async move {
        let _ended = ended;
        running.await;
    });
    Ok(Listener { retire, done })
}

/// Receives until it is retired or the socket is claimed by another; returns when all is handed over.
async fn receive(claim: Claim<UdpSocket>, shared: Arc<Shared>, retire: CancellationToken) {
    let (queue, batches) = mpsc::channel(QUEUE);
    let receiving = Receiving { claim, queue, dropped: shared.datagrams.clone(), limits: Limits::default() };
    let mut tasks = JoinSet::new();
    tasks.spawn(receiving.run(retire.clone()));
    tasks.spawn(forward(batches, shared, retire));
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            // A panic of one half; the other ends with it. It is the node's health.
            std::panic::resume_unwind(Box::new(format!("a listener failed: {error}")));
        }
    }
}

async fn forward(mut batches: mpsc::Receiver<Vec<Datagram>>, shared: Arc<Shared>, retire: CancellationToken) {
    let (mut chunks, start) = (Chunks::default(), Instant::now());
    let mut tick = tokio::time::interval(TICK);
    loop {
        let batch = tokio::select! {
            batch = batches.recv() => batch,
            _ = tick.tick() => {
                chunks.forget(start.elapsed());
                shared.given_up(&mut chunks);
                continue;
            }
        };
        let Some(batch) = batch else { return };
        let config = shared.config.load_full();
        let mut reading = Reading::new(&config, &shared);
        for (from, datagram) in batch {
            if reading.bytes >= MAX_BATCH {
                let full = std::mem::replace(&mut reading, Reading::new(&config, &shared));
                shared.hand_over(full.finish(), &retire).await;
            }
            match chunks.take(from.ip(), datagram, start.elapsed()) {
                Ok(Assembled::Part) => {}
                Ok(Assembled::Message(bytes)) => reading.add(&bytes),
                Err(error) => reading.error(&error),
            }
        }
        shared.given_up(&mut chunks);
        shared.hand_over(reading.finish(), &retire).await;
    }
}

impl Shared {
    async fn hand_over(&self, batch: Logs, retire: &CancellationToken) {
        let count = batch.len();
        if count == 0 {
            return;
        }
        self.cx.live_debug(|| format!("{count} entries received"));
        let forward_to = || self.config.load().forward_to.clone();
        let taken = self.hand_over.send(forward_to, batch, retire).await;
        self.entries.iter().for_each(|counter| counter.inc_by(taken));
    }

    fn given_up(&self, chunks: &mut Chunks) {
        self.hand_over.drop("incomplete", chunks.given_up());
    }
}

/// Messages becoming entries.
struct Reading<'a> {
    config: &'a Config,
    shared: &'a Shared,
    builder: LogBuilder,
    scratch: LabelsBuilder,
    now_ns: i64,
    bytes: usize,
    dropped: u64,
}

impl<'a> Reading<'a> {
    fn new(config: &'a Config, shared: &'a Shared) -> Self {
        let now_ns = crate::intake::now_ns();
        let builder = LogBuilder::new(now_ns / 1_000_000, None);
        Self { config, shared, builder, scratch: LabelsBuilder::new(), now_ns, bytes: 0, dropped: 0 }
    }

    fn add(&mut self, bytes: &[u8]) {
        let message = match unpack(bytes, MAX_MESSAGE).and_then(|json| Message::parse(&json)) {
            Ok(message) => message,
            Err(error) => return self.error(&error),
        };
        self.scratch.clear();
        for (name, value) in [
            ("__gelf_message_level", message.level_name().unwrap_or_default()),
            ("__gelf_message_host", &message.host),
            ("__gelf_message_version", &message.version),
            ("__gelf_message_facility", &message.facility),
        ] {
            self.scratch.set(name, value);
        }
        let Some(stream) = self.config.intake.lock().stream(&self.scratch.build()) else {
            self.dropped += 1;
            return;
        };
        let stream = self.builder.stream(&stream);
        let theirs = message.timestamp_ns().filter(|_| self.config.use_incoming_timestamp);
        let mut line = String::new();
        message.write(&mut line);
        let timestamp_ns = theirs.unwrap_or(self.now_ns);
        self.bytes += line.len();
        self.builder.push(Entry { stream, timestamp_ns, line: line.into(), metadata: None });
    }

    fn error(&self, error: &GelfError) {
        self.shared.errors.iter().for_each(IntCounter::inc);
        if self.shared.hand_over.may_warn() {
            tracing::warn!(%error, "a message could not be read");
        }
    }

    fn finish(self) -> Logs {
        self.shared.hand_over.drop("relabel_rules", self.dropped);
        self.builder.finish()
    }
}

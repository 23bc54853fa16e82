//! `loki.source.file` reads files line by line and follows them as they grow and are rotated.
//!
//! Data path: target → [`tail::Tail`] (which file is it, what became of it) → [`generation::Generation`] (read,
//! split) → a batch of one stream that borrows the read buffer → `forward_to` → position.
//! Invariants: a place is persisted only when the batch before it was answered with `Ok` and nobody keeps
//! anything of it back; a file is recognised by what it is, not by its name; what is refused is kept or read
//! again, so that a blocked sink stops the reading and loses nothing.

mod charset;
mod engine;
mod generation;
mod handle;
mod identity;
mod inotify;
mod keeper;
mod lines;
pub(crate) mod positions;
mod registry;
mod siblings;
mod tail;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use component::eval::{Invalid, Item, Value};
use component::metrics::{GaugeVec, IntCounterVec, IntGauge, NodeMetrics};
use component::{
    ArgEnum, Arguments, BuildCx, Component, Error, Event, Exports, Fanout, Receiver, RunCx, Stability, Target,
};
use signal::Logs;

use charset::Charset;
use engine::Engine;
use handle::Codec;
use keeper::Keeper;

/// `loki.source.file`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// Files to read: each target names one in `__path__`. Labels that start with `__` are not sent.
    pub targets: Vec<Target>,
    /// Where lines go.
    pub forward_to: Vec<Receiver<Logs>>,
    /// Encoding of the files, by its IANA name; UTF-8 where it is absent. A byte-order mark wins over it.
    #[arg(default)]
    pub encoding: String,
    /// Start at the last line of a file that there is no position of.
    #[arg(default)]
    pub tail_from_end: bool,
    /// Positions of Promtail or of Grafana Agent's static mode, taken over once.
    #[arg(default)]
    pub legacy_positions_file: String,
    /// What to do with files whose position cannot be read.
    #[arg(default, code_type = "string(OnPositionsFileError)")]
    pub on_positions_file_error: OnPositionsFileError,
    /// Read compressed files.
    #[arg(block)]
    pub decompression: Decompression,
    /// How often files are looked at.
    #[arg(block)]
    pub file_watch: FileWatch,
    /// Take `__path__` as a pattern.
    #[arg(block)]
    pub file_match: FileMatch,
}

/// What to do with a file whose position cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, ArgEnum)]
pub enum OnPositionsFileError {
    /// Read it from its start.
    #[default]
    RestartFromBeginning,
    /// Read it from its last line.
    RestartFromEnd,
    /// Do not read it.
    Skip,
}

/// How files are compressed.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct Decompression {
    /// Files are compressed.
    pub enabled: bool,
    /// How long to wait before a new file is read: its writer may not have finished.
    #[arg(default)]
    pub initial_delay: Duration,
    /// Format of the files.
    #[arg(code_type = "string(CompressionFormat)")]
    pub format: Format,
}

impl Default for Decompression {
    fn default() -> Self {
        Self { enabled: false, initial_delay: Duration::ZERO, format: Format::Gz }
    }
}

/// Formats of compressed files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, ArgEnum)]
pub enum Format {
    /// gzip, perhaps of several members.
    #[default]
    Gz,
    /// zlib.
    Z,
    /// bzip2, perhaps of several streams.
    Bz2,
}

/// How often files are looked at. Where the kernel tells of changes, idle files are looked at once a second.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct FileWatch {
    /// First wait between looks at a file; at least 10ms.
    #[arg(default = "250ms")]
    pub min_poll_frequency: Duration,
    /// The wait doubles up to this while nothing happens.
    #[arg(default = "250ms")]
    pub max_poll_frequency: Duration,
}

/// Finding files by patterns.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = FileMatch::validate)]
pub struct FileMatch {
    /// `__path__` of targets is a pattern, `__path_exclude__` one of files to leave out.
    #[arg(default)]
    pub enabled: bool,
    /// How often files are looked for.
    #[arg(default = "10s")]
    pub sync_period: Duration,
    /// Do not start with files that were last written longer ago than this; 0 takes all.
    #[arg(default = "0s")]
    pub ignore_older_than: Duration,
}

impl FileMatch {
    fn validate(&self) -> Result<(), Invalid> {
        if self.sync_period.is_zero() {
            return Err(Invalid::field("sync_period", "sync_period must be longer than 0"));
        }
        Ok(())
    }
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        match Charset::named(&self.encoding) {
            Ok(_) => Ok(()),
            Err(message) => {
                let help = "use the IANA name of an encoding, as \"UTF-16LE\" or \"windows-1252\"";
                Err(Invalid::field("encoding", message).with_help(help))
            }
        }
    }
}

/// Arguments as the parts below use them.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    charset: Charset,
    tail_from_end: bool,
    on_positions_file_error: OnPositionsFileError,
    file_watch: FileWatch,
    decompression: Option<Decompressed>,
}

#[derive(Clone, Debug, PartialEq)]
struct Decompressed {
    codec: Codec,
    initial_delay: Duration,
}

impl Settings {
    fn new(args: &Args) -> Result<Self, Error> {
        let charset = Charset::named(&args.encoding).map_err(|m| Error::argument("encoding", m))?;
        let Decompression { enabled, initial_delay, format } = args.decompression;
        let codec = match format {
            Format::Gz => Codec::Gzip,
            Format::Z => Codec::Zlib,
            Format::Bz2 => Codec::Bzip2,
        };
        Ok(Self {
            charset,
            tail_from_end: args.tail_from_end,
            on_positions_file_error: args.on_positions_file_error,
            file_watch: args.file_watch.clone(),
            decompression: enabled.then_some(Decompressed { codec, initial_delay }),
        })
    }
}

/// Nothing to refer to.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct NoExports {}

/// Own metrics.
#[derive(Clone)]
pub struct Metrics {
    read_bytes: GaugeVec,
    file_bytes: GaugeVec,
    read_lines: IntCounterVec,
    files_active: IntGauge,
    dropped: IntCounterVec,
    undecodable: IntCounterVec,
    cut: IntCounterVec,
    holes: IntCounterVec,
}

impl Metrics {
    fn new(metrics: &NodeMetrics) -> Self {
        let name = |what: &str| format!("loki_source_file_{what}");
        let path = &["path"];
        Self {
            read_bytes: metrics.gauge_vec(&name("read_bytes_total"), "Number of bytes read.", path),
            file_bytes: metrics.gauge_vec(&name("file_bytes_total"), "Number of bytes total.", path),
            read_lines: metrics.counter_vec(&name("read_lines_total"), "Number of lines read.", path),
            files_active: metrics.gauge(&name("files_active_total"), "Number of active files."),
            dropped: metrics.counter_vec(
                &name("dropped_lines_total"),
                "Lines that a receiver refused for good.",
                path,
            ),
            undecodable: metrics.counter_vec(
                &name("encoding_failures_total"),
                "Lines in which something could not be decoded and was replaced.",
                path,
            ),
            cut: metrics.counter_vec(
                &name("cut_lines_total"),
                "Parts of lines that were too long for one entry.",
                path,
            ),
            holes: metrics.counter_vec(
                &name("skipped_nul_bytes_total"),
                "NUL bytes of holes that were skipped.",
                path,
            ),
        }
    }

    fn forget(&self, path: &str) {
        let _ = self.read_bytes.remove_label_values(&[path]);
        let _ = self.file_bytes.remove_label_values(&[path]);
        for counters in [&self.read_lines, &self.dropped, &self.undecodable, &self.cut, &self.holes] {
            let _ = counters.remove_label_values(&[path]);
        }
    }
}

/// The component.
pub struct File {
    args: Args,
    settings: Settings,
    metrics: Metrics,
    data_path: PathBuf,
}

impl Component for File {
    const NAME: &'static str = "loki.source.file";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = NoExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, NoExports), Error> {
        let settings = Settings::new(&args)?;
        let metrics = Metrics::new(&cx.metrics());
        Ok((Self { args, settings, metrics, data_path: cx.data_path() }, NoExports {}))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let Self { args, settings, metrics, data_path } = self;
        let forward = Fanout::new(args.forward_to.clone());
        let engine = Arc::new(Engine::new(settings, forward, metrics));
        let mut keeper = Keeper::open(&engine, &data_path, &args).await;
        for _ in 0..engine::WORKERS {
            cx.spawn(engine.clone().work(keeper.worker()));
        }
        let shown = engine.clone();
        cx.set_debug_info(move || debug_info(&shown));
        keeper.set_targets(&args).await;
        loop {
            tokio::select! {
                biased;
                event = cx.event() => match event {
                    Event::Stop => break,
                    Event::Update(update) => {
                        let args = update.args().clone();
                        match Settings::new(&args) {
                            Ok(settings) => {
                                engine.configure(settings, Fanout::new(args.forward_to.clone()));
                                keeper.set_targets(&args).await;
                                update.answer(Ok(()));
                            }
                            Err(error) => update.answer(Err(error)),
                        }
                    }
                },
                () = keeper.step() => {}
            }
        }
        keeper.stop().await;
        Ok(())
    }
}

fn debug_info(engine: &Arc<Engine>) -> Vec<Item> {
    let attribute = |name: &'static str, value: Value| Item::Attribute { name: name.into(), value };
    let targets = engine.shown().into_iter().map(|shown| Item::Block {
        name: "targets_info".into(),
        label: None,
        body: vec![
            attribute("path", shown.path.as_str().into()),
            attribute("labels", shown.labels.as_str().into()),
            attribute("is_running", shown.is_running.into()),
            attribute("read_offset", shown.read_offset.into()),
        ],
    });
    targets.collect()
}

//! `loki.source.file` reads files line by line and follows them as they grow and are rotated.
//!
//! Data path: targets → the engine of `tail` → a batch of one stream that borrows the read buffer →
//! `forward_to` → position. Here are the arguments, the labels and the wiring.

mod find;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use component::eval::{Invalid, Item, Value};
use component::{
    ArgEnum, Arguments, BuildCx, Component, Error, Event, Exports, Fanout, Receiver, RunCx, Stability, Target,
};
use signal::Logs;
use tail::{Charset, Codec, Engine, Keeper, Metrics, OnLost, Packing, Settings, Start};

use find::Targets;

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

/// Arguments as the engine takes them.
fn settings(args: &Args) -> Result<Settings, Error> {
    let charset = Charset::named(&args.encoding).map_err(|m| Error::argument("encoding", m))?;
    let Decompression { enabled, initial_delay, format } = args.decompression;
    let codec = match format {
        Format::Gz => Codec::Gzip,
        Format::Z => Codec::Zlib,
        Format::Bz2 => Codec::Bzip2,
    };
    Ok(Settings {
        charset,
        start: if args.tail_from_end { Start::LastLine } else { Start::Beginning },
        on_lost: match args.on_positions_file_error {
            OnPositionsFileError::RestartFromBeginning => OnLost::Beginning,
            OnPositionsFileError::RestartFromEnd => OnLost::LastLine,
            OnPositionsFileError::Skip => OnLost::Skip,
        },
        poll: (args.file_watch.min_poll_frequency, args.file_watch.max_poll_frequency),
        packing: if enabled { Packing::All(codec) } else { Packing::None },
        initial_delay,
        ..Settings::default()
    })
}

/// Nothing to refer to.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct NoExports {}

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
        let settings = settings(&args)?;
        let metrics = Metrics::new(&cx.metrics(), "loki_source_file");
        Ok((Self { args, settings, metrics, data_path: cx.data_path() }, NoExports {}))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let Self { args, settings, metrics, data_path } = self;
        let forward = Fanout::new(args.forward_to.clone());
        let engine = Arc::new(Engine::new(settings, forward, metrics));
        let legacy = Path::new(&args.legacy_positions_file);
        let mut keeper = Keeper::open(&engine, &data_path, Arc::new(Targets::new(&args)), legacy).await;
        for _ in 0..tail::WORKERS {
            cx.spawn(engine.clone().work(keeper.worker()));
        }
        let shown = engine.clone();
        cx.set_debug_info(move || debug_info(&shown));
        look_for(&mut keeper, &args).await;
        loop {
            tokio::select! {
                biased;
                event = cx.event() => match event {
                    Event::Stop => break,
                    Event::Update(update) => {
                        let args = update.args().clone();
                        match self::settings(&args) {
                            Ok(settings) => {
                                engine.configure(settings, Fanout::new(args.forward_to.clone()));
                                look_for(&mut keeper, &args).await;
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

async fn look_for(keeper: &mut Keeper, args: &Args) {
    let use_legacy = !args.legacy_positions_file.is_empty();
    keeper.set_finder(Arc::new(Targets::new(args)), use_legacy).await;
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

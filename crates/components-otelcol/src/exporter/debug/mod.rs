//! `otelcol.exporter.debug` writes what it receives as text.
//!
//! Data path: batch → sampling → text (decoding only beyond `basic`) → the program's log, or files. Writing is
//! the back-pressure.

#[cfg(test)]
mod tests;
mod text;

use std::fs::{File, OpenOptions};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use component::eval::Invalid;
use component::otel::{DebugMetrics, MetricsLevel, OtelInput};
use component::{
    ArgEnum, Arguments, BoxFuture, BuildCx, Component, Consumer, Error, Event, Exports, Rejected, RunCx,
    Stability,
};
use parking_lot::Mutex;
use signal::otlp::Otlp;
use tokio::time::Instant;

use crate::exporter::sending::Metrics;
use crate::ports::{Consumers, Ports};
use crate::signals::Kind;
use text::Written;

/// `otelcol.exporter.debug`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// How much is written: a line a batch, a line an item, or everything.
    #[arg(default = Verbosity::Basic, code_type = "string")]
    pub verbosity: Verbosity,
    /// Batches of a signal that are written in every second.
    #[arg(default = 2)]
    pub sampling_initial: i64,
    /// Of the further batches of that second, each so-manieth is written; 0 writes none.
    #[arg(default = 1)]
    pub sampling_thereafter: i64,
    /// Write to the program's log instead of `output_paths`.
    #[arg(default = true)]
    pub use_internal_logger: bool,
    /// `stdout`, `stderr` or files that are appended to, where `use_internal_logger` is off.
    #[arg(default = vec!["stdout".to_string()])]
    pub output_paths: Vec<String>,
    /// How much the component tells of itself.
    #[arg(block)]
    pub debug_metrics: DebugMetrics,
}

/// How much is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ArgEnum)]
pub enum Verbosity {
    /// A line a batch.
    Basic,
    /// A line an item.
    Normal,
    /// Everything.
    Detailed,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        for (name, value) in
            [("sampling_initial", self.sampling_initial), ("sampling_thereafter", self.sampling_thereafter)]
        {
            if value < 0 {
                return Err(Invalid::field(name, "must not be negative"));
            }
        }
        if !self.use_internal_logger && self.output_paths.is_empty() {
            return Err(Invalid::field("output_paths", "must name where to write to"));
        }
        Ok(())
    }
}

/// What others may refer to.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct DebugExports {
    /// Takes data in.
    pub input: OtelInput,
}

/// The component.
pub struct Debug {
    args: Args,
    ports: Ports,
    metrics: Arc<Metrics>,
}

impl Component for Debug {
    const NAME: &'static str = "otelcol.exporter.debug";
    const STABILITY: Stability = Stability::Experimental;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = DebugExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, DebugExports), Error> {
        let ports = Ports::new(cx);
        let exports = DebugExports { input: ports.input() };
        let metrics = Metrics::new(&cx.metrics(), format!("debug/{}", cx.id()));
        Ok((Self { args, ports, metrics }, exports))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let _ = self.ports.attach(Consumers::of(Printer::new(&self.args, &self.metrics)?));
        loop {
            match cx.event().await {
                Event::Stop => return Ok(()),
                Event::Update(update) => {
                    update.apply(|args| {
                        let _ = self.ports.attach(Consumers::of(Printer::new(&args, &self.metrics)?));
                        Ok(())
                    });
                }
            }
        }
    }
}

/// One generation of the component.
struct Printer {
    verbosity: Verbosity,
    /// Of traces, metrics, logs.
    samplers: [Sampler; 3],
    /// `None`: the program's log.
    outputs: Option<Arc<Mutex<Vec<Output>>>>,
    metrics: Arc<Metrics>,
}

enum Output {
    Stdout,
    Stderr,
    File(PathBuf, File),
}

impl Printer {
    fn new(args: &Args, metrics: &Arc<Metrics>) -> Result<Self, Error> {
        let number = |n: i64| u64::try_from(n).unwrap_or_default();
        let sampler = || Sampler {
            initial: number(args.sampling_initial),
            thereafter: number(args.sampling_thereafter),
            second: Mutex::new((Instant::now(), 0)),
        };
        let outputs = if args.use_internal_logger {
            None
        } else {
            let opened: Result<Vec<_>, _> = args.output_paths.iter().map(|path| Output::open(path)).collect();
            Some(Arc::new(Mutex::new(opened?)))
        };
        metrics.show(args.debug_metrics.level != MetricsLevel::None);
        Ok(Self {
            verbosity: args.verbosity,
            samplers: [sampler(), sampler(), sampler()],
            outputs,
            metrics: metrics.clone(),
        })
    }

    async fn print<S: Written>(&self, batch: Otlp<S>) -> Result<(), Rejected> {
        let sampler = match S::NAME {
            "traces" => 0,
            "metrics" => 1,
            _ => 2,
        };
        if !self.samplers[sampler].takes() {
            return Ok(());
        }
        let text = render(&batch, self.verbosity).map_err(Rejected::Permanent)?;
        let Some(outputs) = self.outputs.clone() else {
            tracing::info!("{}", text.trim_end());
            return Ok(());
        };
        // A terminal may block; that must not hold up a worker thread.
        let written = tokio::task::spawn_blocking(move || {
            outputs.lock().iter_mut().try_for_each(|output| output.write(text.as_bytes()))
        });
        match written.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Rejected::Permanent(error)),
            Err(error) => Err(Rejected::Permanent(error.to_string())),
        }
    }
}

impl<S: Written> Consumer<Otlp<S>> for Printer {
    fn consume(&self, batch: Otlp<S>) -> BoxFuture<'_, Result<(), Rejected>> {
        Box::pin(async move {
            let (kind, items) = (Kind::of::<S>(), batch.items() as u64);
            let printed = self.print(batch).await;
            match &printed {
                // Those that sampling leaves out too: they were taken, and not writing them is what was asked for.
                Ok(()) => self.metrics.sent(kind, items),
                Err(_) => self.metrics.failed(kind, "not_written", items),
            }
            printed
        })
    }
}

impl Output {
    fn open(path: &str) -> Result<Self, Error> {
        let path = match path {
            "stdout" => return Ok(Self::Stdout),
            "stderr" => return Ok(Self::Stderr),
            path => PathBuf::from(path.strip_prefix("file://").unwrap_or(path)),
        };
        let file = OpenOptions::new().create(true).append(true).open(&path);
        match file {
            Ok(file) => Ok(Self::File(path, file)),
            Err(error) => Err(Error::argument("output_paths", format!("{}: {error}", path.display()))),
        }
    }

    fn write(&mut self, text: &[u8]) -> Result<(), String> {
        let (name, written) = match self {
            Self::Stdout => ("standard output".to_string(), whole(&mut std::io::stdout().lock(), text)),
            Self::Stderr => ("standard error".to_string(), whole(&mut std::io::stderr().lock(), text)),
            Self::File(path, file) => (path.display().to_string(), whole(file, text)),
        };
        written.map_err(|error| format!("{name}: {error}"))
    }
}

fn whole(out: &mut impl std::io::Write, text: &[u8]) -> std::io::Result<()> {
    out.write_all(text)?;
    out.flush()
}

/// Lets the first batches of every second through, then some.
struct Sampler {
    initial: u64,
    thereafter: u64,
    /// Its start, and batches in it.
    second: Mutex<(Instant, u64)>,
}

impl Sampler {
    fn takes(&self) -> bool {
        let mut second = self.second.lock();
        if second.0.elapsed() >= Duration::from_secs(1) {
            *second = (Instant::now(), 0);
        }
        second.1 += 1;
        match second.1.checked_sub(self.initial) {
            None | Some(0) => true,
            Some(further) => self.thereafter > 0 && further.is_multiple_of(self.thereafter),
        }
    }
}

fn render<S: Written>(batch: &Otlp<S>, verbosity: Verbosity) -> Result<String, String> {
    let (mut resources, mut bytes, mut body) = (0, 0, String::new());
    for request in &batch.requests {
        resources += count_resources(request.wire()).map_err(|error| error.to_string())?;
        bytes += request.wire().len();
        if verbosity != Verbosity::Basic {
            let message = request.message().map_err(|error| error.to_string())?;
            S::write(message, verbosity == Verbosity::Detailed, &mut body);
        }
    }
    let (name, items) = (S::NAME, batch.items());
    Ok(format!("{name}: {resources} {}, {items} {}, {bytes} bytes\n{body}", S::RESOURCES, S::ITEMS))
}

/// Entries of a request's only field.
fn count_resources(request: &[u8]) -> Result<usize, wire::proto::Error> {
    let (mut reader, mut count) = (wire::proto::Reader::new(request), 0);
    while let Some(field) = reader.next_field()? {
        count += usize::from(field.number == 1);
    }
    Ok(count)
}

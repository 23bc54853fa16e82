//! `ferroalloy run`: from the command line to a running pipeline and back to an exit code.

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use component::Services;
use component::metrics::{Collector, Computed, Gauge, Opts, proto};
use runtime::{ConfigSource, Convert, Reloader, Runtime, Translated};
use syntax::Diagnostic;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use web::Api;

use crate::args::RunArgs;
use crate::code_pages::CodePages;
use crate::host::{Program, log};
use crate::logging::Log;
use crate::serve::MainServer;
use crate::spans::Spans;
use crate::{blocks, identity, load, resources, systemd};

/// What runs without a file: on Linux with the host's metrics.
const DEFAULT: &str = if cfg!(target_os = "linux") {
    include_str!("default.alloy")
} else {
    include_str!("default_elsewhere.alloy")
};
/// How often files are looked at even if the system says nothing.
const POLL: Duration = Duration::from_secs(5);
/// How long the end of the program waits for receivers of its own log.
const FLUSH: Duration = Duration::from_secs(5);
/// Threads for blocking calls; they end when they are idle.
const BLOCKING_THREADS: usize = 64;

/// Runs until a signal; 0 after an orderly end, 1 if the configuration is refused.
pub fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    if args.load.language.foreign().is_some() && args.path.as_ref().is_none_or(|p| p.is_dir()) {
        bail!("--config.format: name the one file that is to be converted");
    }
    if args.cluster.enabled {
        bail!("--cluster.enabled: clustering is not available in this version");
    }
    if args.graphql || args.graphql_playground {
        bail!("--server.http.enable-graphql: there is no GraphQL API in this version");
    }
    let pages = CodePages::of_the_loader();
    net::install_provider();
    let journal = Log::new();
    let spans = Spans::new();
    tracing_subscriber::registry().with(journal.clone()).with(spans.clone()).init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .context("the asynchronous runtime")?;
    let code = runtime.block_on(serve(args, pages, journal, spans));
    runtime.shutdown_timeout(Duration::from_secs(1));
    code
}

async fn serve(args: RunArgs, pages: CodePages, journal: Log, spans: Spans) -> anyhow::Result<ExitCode> {
    // Before anything else: a signal that nobody listens for ends the program at once, whatever it is.
    let (hangup, mut end) = (signal(SignalKind::hangup()).context("SIGHUP")?, End::listen()?);
    let id = identity::load(&args.storage)?;
    let services =
        load::services(&args.load, args.storage.clone(), &args.memory_address, args.shutdown_deadline, id);
    register_metrics(&services);
    journal.register(&services.metrics);
    spans.register(&services.metrics);
    let started = start(&args, &journal, &spans, &services).await?;
    let first = tokio::select! {
        first = started.reloader.reload() => Some(first),
        () = end.is_wanted() => None,
    };
    match first {
        Some(Err(error)) => {
            journal.release();
            // The log may go to a place that nobody looks at; this is for whoever started the program.
            let code = crate::report(&error.diagnostics);
            started.server.shutdown().await;
            return Ok(code);
        }
        Some(loaded) => {
            log(&loaded);
            if let Some(address) = started.server.address().await {
                tracing::info!(%address, "ready");
            }
            systemd::notify("READY=1");
            tokio::spawn(pages.keep_few());
            tokio::select! {
                () = end.is_wanted() => {}
                () = keep_loaded(&args, &started.reloader, hangup) => {}
            }
        }
        // The load under way ends early, as a reload does.
        None => journal.release(),
    }
    systemd::notify("STOPPING=1");
    tracing::info!("stopping");
    let stop = async {
        // While those that take our own lines still run.
        let patience = FLUSH.min(args.shutdown_deadline);
        tokio::join!(journal.flush(patience), spans.flush(patience));
        started.reloader.runtime().shutdown(args.shutdown_deadline).await;
        started.server.shutdown().await;
    };
    tokio::select! {
        () = stop => {}
        // Somebody at a terminal does not want to wait. A second SIGTERM changes nothing: wrappers repeat it.
        _ = end.interrupt.recv() => {
            tracing::warn!("interrupted while stopping: ends at once, what waits in memory is lost");
            return Ok(ExitCode::FAILURE);
        }
    }
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

struct Started {
    reloader: Reloader,
    server: MainServer,
}

/// The server listens before the first load, so that a slow one can be looked at.
async fn start(
    args: &RunArgs,
    journal: &Log,
    spans: &Spans,
    services: &Arc<Services>,
) -> anyhow::Result<Started> {
    let late = Arc::new(LateHost::default());
    let api = Arc::new(Api::new(late.clone(), services.clone(), &args.ui_prefix, args.enable_pprof));
    services.handlers.set_main(api.clone());
    let server = MainServer::bind(&args.listen, api).await?;
    let blocks = blocks::running(journal, spans, &server, services);
    let runtime = Runtime::new(load::options(services, blocks));
    let convert = load::converter(&args.load).map(without_lines);
    let source = match (&args.path, convert) {
        (Some(path), Some(convert)) => ConfigSource::Converted { path: path.clone(), convert },
        (Some(path), None) => ConfigSource::Path(path.clone()),
        (None, _) => ConfigSource::Text { name: "<default>".into(), text: DEFAULT.into() },
    };
    let reloader = Reloader::new(runtime, source);
    late.set(Program(reloader.clone()));
    Ok(Started { reloader, server })
}

/// Problems of a conversion get into the log and over HTTP, and a line of YAML may hold a secret next to what is wrong.
fn without_lines(convert: Convert) -> Convert {
    let bare = |d: Diagnostic| {
        let place = d.location.as_ref().map(|l| (l.source.name().to_string(), l.line_column()));
        let place = place.map_or(String::new(), |(name, at)| format!("{name}:{}:{}: ", at.line, at.column));
        Diagnostic { message: format!("{place}{}", d.message), location: None, ..d }
    };
    let all = move |found: Vec<Diagnostic>| found.into_iter().map(bare).collect();
    Arc::new(move |source| match convert(source) {
        Ok(made) => Ok(Translated { warnings: all(made.warnings), ..made }),
        Err(found) => Err(all(found)),
    })
}

/// The signals that end the program.
struct End {
    interrupt: Signal,
    terminate: Signal,
}

impl End {
    /// From here on none is missed.
    fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context("SIGINT")?,
            terminate: signal(SignalKind::terminate()).context("SIGTERM")?,
        })
    }

    /// Returns when there is one.
    async fn is_wanted(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Reloads whenever there is a reason, and goes on until it is dropped: a reload may take long, and must not keep the
/// program from ending.
async fn keep_loaded(args: &RunArgs, reloader: &Reloader, mut hangup: Signal) {
    let watched = async {
        if args.watch {
            reloader.watch(POLL, log).await;
        }
    };
    let hung_up = async {
        while hangup.recv().await.is_some() {
            systemd::notify("RELOADING=1");
            log(&reloader.reload().await);
            systemd::notify("READY=1");
        }
        std::future::pending::<()>().await;
    };
    tokio::join!(watched, hung_up);
}

fn register_metrics(services: &Services) {
    let labels = HashMap::from([
        ("version".to_string(), format!("v{}", crate::VERSION)),
        ("branch".to_string(), String::new()),
        ("revision".to_string(), option_env!("FERROALLOY_REVISION").unwrap_or_default().to_string()),
        ("goos".to_string(), std::env::consts::OS.to_string()),
        ("goarch".to_string(), go_arch(std::env::consts::ARCH).to_string()),
    ]);
    let opts = Opts::new("alloy_build_info", "Which program this is.").const_labels(labels);
    services.metrics.register(Gauge::with_opts(opts).expect("a constant name")).set(1.0);
    services.metrics.register(resources::metrics());
    services.metrics.register(Computed::new("alloy_labelstore", series_count));
}

/// The name that `goarch` gives a processor: what selects by it knows no other.
fn go_arch(arch: &str) -> &str {
    match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Series that the process knows: what scrape caches and batches hold.
fn series_count() -> Vec<proto::MetricFamily> {
    let help = "Label sets that the process knows.";
    let gauge = Gauge::new("alloy_labelstore_global_ids_count", help).expect("a constant name");
    gauge.set(signal::series_count() as f64);
    gauge.collect()
}

/// Stands in for the program until there is one: the server listens first.
#[derive(Default)]
pub struct LateHost(std::sync::OnceLock<Program>);

impl LateHost {
    fn set(&self, program: Program) {
        // Set once, by `start`.
        let _ = self.0.set(program);
    }
}

impl web::Host for LateHost {
    fn is_ready(&self) -> bool {
        self.0.get().is_some_and(web::Host::is_ready)
    }

    fn unhealthy(&self) -> Vec<(String, String)> {
        self.0.get().map(web::Host::unhealthy).unwrap_or_default()
    }

    fn reload(&self) -> component::BoxFuture<'_, Result<String, String>> {
        match self.0.get() {
            Some(program) => web::Host::reload(program),
            None => Box::pin(std::future::ready(Err("the program is starting\n".to_string()))),
        }
    }

    fn components(&self, module: &str) -> Option<serde_json::Value> {
        self.0.get()?.components(module)
    }

    fn component(&self, id: &str) -> Option<serde_json::Value> {
        self.0.get()?.component(id)
    }

    fn heap_profile(&self) -> Option<Result<Vec<u8>, String>> {
        crate::heap::profile()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_have_the_names_that_go_gives_them() {
        for (arch, named) in [("x86_64", "amd64"), ("aarch64", "arm64"), ("riscv64", "riscv64")] {
            assert_eq!(go_arch(arch), named);
        }
    }

    #[test]
    fn problems_of_a_conversion_tell_their_place_and_not_their_line() {
        let convert: Convert = Arc::new(|source| {
            Err(vec![Diagnostic::error("x", "wrong", source, syntax::Span::new(2, 3)).with_help("do")])
        });
        let source = syntax::Source::new("f.yml", "a\nb: hunter2\n");
        let found = without_lines(convert)(&source).expect_err("problems");
        assert_eq!(syntax::render(&found, false), "error[x]: f.yml:2:1: wrong\n |\n = help: do\n");
    }
}

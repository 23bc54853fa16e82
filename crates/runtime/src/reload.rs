//! Where the configuration comes from, and reloading it: on demand, and when its files change.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use syntax::{Diagnostic, Source};
use tokio::sync::Mutex;

use crate::modules::file::{directory, read_sources};
use crate::runtime::{LoadError, Loaded, Runtime};
use crate::watch::Watch;

/// Where the configuration comes from.
#[derive(Clone)]
pub enum ConfigSource {
    /// A file, or a directory of `*.alloy` files.
    Path(PathBuf),
    /// A file in another language, read anew and converted at each load.
    Converted {
        /// The file.
        path: PathBuf,
        /// What makes a configuration of its text.
        convert: Convert,
    },
    /// A text that is part of the program.
    Text {
        /// What diagnostics call it.
        name: String,
        /// The configuration.
        text: String,
    },
}

/// A text in another language → a configuration, or why there is none.
pub type Convert = Arc<dyn Fn(&Source) -> Result<Translated, Vec<Diagnostic>> + Send + Sync>;

/// What a text in another language has become.
#[derive(Debug)]
pub struct Translated {
    /// The configuration.
    pub source: Source,
    /// What is not in it, or different there.
    pub warnings: Vec<Diagnostic>,
}

impl ConfigSource {
    /// The texts as they are now and in the language they are written in, files of a directory sorted by name.
    pub fn read(&self) -> Result<Vec<Source>, LoadError> {
        match self {
            Self::Text { name, text } => Ok(vec![Source::new(name.as_str(), text.as_str())]),
            Self::Converted { path, .. } if path.is_dir() => {
                let message = format!("{} is a folder", path.display());
                Err(refused(message, "name the one file that is to be converted"))
            }
            Self::Path(path) | Self::Converted { path, .. } => {
                let sources =
                    read_sources(path).map_err(|diagnostics| LoadError { diagnostics, applied: false })?;
                match sources.is_empty() {
                    true => {
                        let message = format!("{} holds no *.alloy file", path.display());
                        Err(refused(message, "name the folder of the configuration"))
                    }
                    false => Ok(sources),
                }
            }
        }
    }

    /// The file or directory.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Path(path) | Self::Converted { path, .. } => Some(path),
            Self::Text { .. } => None,
        }
    }

    /// What was read as configurations, and what is to be said of that.
    fn converted(&self, sources: Vec<Source>) -> Result<(Vec<Source>, Vec<Diagnostic>), LoadError> {
        let Self::Converted { convert, .. } = self else { return Ok((sources, Vec::new())) };
        let (mut configurations, mut warnings) = (Vec::new(), Vec::new());
        for source in &sources {
            let made = convert(source).map_err(|diagnostics| LoadError { diagnostics, applied: false })?;
            configurations.push(made.source);
            warnings.extend(made.warnings);
        }
        Ok((configurations, warnings))
    }
}

fn refused(message: String, help: &str) -> LoadError {
    let diagnostics = vec![Diagnostic::plain("unreadable", message).with_help(help)];
    LoadError { diagnostics, applied: false }
}

/// Reloads a runtime's configuration from where it comes from. Cheap to clone: signals, the HTTP API and
/// the file watch each hold one.
#[derive(Clone)]
pub struct Reloader(Arc<Inner>);

struct Inner {
    runtime: Runtime,
    source: ConfigSource,
    asked: AtomicU64,
    last: Mutex<Last>,
}

struct Last {
    /// The highest request that the last load answers.
    answers: u64,
    result: Result<Loaded, LoadError>,
    /// Of what was loaded, or refused, last.
    hash: Option<u64>,
}

impl Reloader {
    /// Nothing is loaded yet.
    pub fn new(runtime: Runtime, source: ConfigSource) -> Self {
        let last = Last { answers: 0, result: Ok(Loaded::default()), hash: None };
        Self(Arc::new(Inner { runtime, source, asked: AtomicU64::new(0), last: Mutex::new(last) }))
    }

    /// The runtime.
    pub fn runtime(&self) -> &Runtime {
        &self.0.runtime
    }

    /// Reads and loads the configuration. Requests that arrive while another load runs are answered by the
    /// one load that follows it.
    pub async fn reload(&self) -> Result<Loaded, LoadError> {
        let me = self.0.asked.fetch_add(1, Ordering::AcqRel) + 1;
        let mut last = self.0.last.lock().await;
        if last.answers < me {
            let answers = self.0.asked.load(Ordering::Acquire);
            let sources = self.read().await;
            self.apply(&mut last, sources).await;
            // Last: whoever asked goes away in between is no answer to the others.
            last.answers = answers;
        }
        last.result.clone()
    }

    async fn read(&self) -> Result<Vec<Source>, LoadError> {
        let source = self.0.source.clone();
        let read = tokio::task::spawn_blocking(move || source.read()).await;
        read.unwrap_or_else(|e| {
            Err(refused(format!("reading ended without a result: {e}"), "reload once more"))
        })
    }

    async fn apply(&self, last: &mut Last, sources: Result<Vec<Source>, LoadError>) {
        last.hash = content(&sources);
        last.result = match sources.and_then(|s| self.0.source.converted(s)) {
            Ok((sources, warnings)) => {
                let loaded = match &self.0.source {
                    // As in Alloy, a converted file is where it is: what it names relative to itself is found.
                    ConfigSource::Converted { path, .. } => {
                        self.0.runtime.load_in(sources, directory(path)).await
                    }
                    ConfigSource::Path(_) | ConfigSource::Text { .. } => self.0.runtime.load(sources).await,
                };
                with_warnings(loaded, warnings)
            }
            Err(error) => {
                self.0.runtime.load_failed();
                Err(error)
            }
        };
    }

    /// Reloads when the content of the files has changed: noticed by the operating system, and by looking
    /// every `poll`. Runs until it is dropped; `report` is told of each load.
    pub async fn watch(&self, poll: Duration, report: impl Fn(&Result<Loaded, LoadError>)) {
        let Some(path) = self.0.source.path() else { return std::future::pending().await };
        let paths = [path.to_path_buf()];
        let mut watch = Watch::new(&paths);
        loop {
            let _ = tokio::time::timeout(poll, watch.changed()).await;
            // Each time, for links lead elsewhere after a change; before the content is read, so that what
            // changes meanwhile is not missed.
            watch = watch.renew(&paths);
            if let Some(result) = self.reload_if_changed().await {
                report(&result);
            }
        }
    }

    /// Reloads if the texts are not those of the last load. A file that cannot be read just now is no
    /// change: it is being replaced.
    async fn reload_if_changed(&self) -> Option<Result<Loaded, LoadError>> {
        let sources = self.read().await;
        let content = content(&sources)?;
        let mut last = self.0.last.lock().await;
        if last.hash == Some(content) {
            return None;
        }
        self.apply(&mut last, sources).await;
        Some(last.result.clone())
    }
}

/// A load says what its conversion has to say too.
fn with_warnings(loaded: Result<Loaded, LoadError>, warnings: Vec<Diagnostic>) -> Result<Loaded, LoadError> {
    match loaded {
        Ok(mut loaded) => {
            loaded.warnings.splice(0..0, warnings);
            Ok(loaded)
        }
        Err(mut error) => {
            error.diagnostics.splice(0..0, warnings);
            Err(error)
        }
    }
}

/// What tells one content from another: of texts themselves, or of what is wrong with files that hold no text, which
/// stay so until somebody mends them. `None` of files that could not be read.
fn content(sources: &Result<Vec<Source>, LoadError>) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    match sources {
        Ok(sources) => {
            for source in sources {
                source.name().hash(&mut hasher);
                source.text().hash(&mut hasher);
            }
        }
        Err(error) if error.diagnostics.iter().all(|d| d.code == "encoding") => {
            for problem in &error.diagnostics {
                problem.message.hash(&mut hasher);
                let place = problem.location.as_ref();
                place.map(|l| (l.source.name(), l.source.text())).hash(&mut hasher);
            }
        }
        Err(_) => return None,
    }
    Some(hasher.finish())
}

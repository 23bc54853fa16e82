//! `local.file` offers a file's content and follows its changes.
//!
//! The file's folder is watched, so that replacing the file and the symlink swaps of Kubernetes' volumes are
//! seen; the file is looked at every `poll_frequency` as well, for what a watch misses.
//! Invariant: a file that cannot be read leaves the last content in place.

mod watch;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use component::eval::{Invalid, OptionalSecret};
use component::metrics::Gauge;
use component::{ArgEnum, Arguments, BuildCx, Component, Error, Event, Exports, Health, RunCx, Stability};

use watch::Watch;

/// Contents larger than this are a mistake: they would be copied into the configuration.
const MAX_SIZE: u64 = 32 << 20;

/// How changes are noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, ArgEnum)]
pub enum Detector {
    /// The kernel says so; the file is looked at every `poll_frequency` besides.
    #[default]
    Fsnotify,
    /// Only by looking every `poll_frequency`.
    Poll,
}

/// Arguments.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct Args {
    /// Path of the file.
    pub filename: String,
    /// How changes are noticed.
    #[arg(default, code_type = "string(Detector)")]
    pub detector: Detector,
    /// How often the file is looked at.
    #[arg(default = "1m")]
    pub poll_frequency: Duration,
    /// The content is a secret.
    #[arg(default)]
    pub is_secret: bool,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if self.poll_frequency.is_zero() {
            return Err(Invalid::field("poll_frequency", "poll_frequency must be longer than 0"));
        }
        Ok(())
    }
}

/// Exports.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct FileExports {
    /// The content of the file.
    pub content: OptionalSecret,
}

/// The component.
pub struct File {
    args: Args,
    accessed: Gauge,
}

impl Component for File {
    const NAME: &'static str = "local.file";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = FileExports;

    /// Reads the file once: what depends on the content is evaluated before `run`.
    fn build(args: Args, cx: &BuildCx) -> Result<(Self, FileExports), Error> {
        let accessed = cx.metrics().float_gauge(
            "local_file_timestamp_last_accessed_unix_seconds",
            "The last successful access in unix seconds",
        );
        let exports = if cx.is_trial() {
            FileExports { content: OptionalSecret::plain("") }
        } else {
            read(&args, &accessed)?
        };
        Ok((Self { args, accessed }, exports))
    }

    async fn run(mut self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let mut watch =
            Watch::new(Path::new(&self.args.filename), self.args.detector, self.args.poll_frequency);
        // What happened between `build` and the watch.
        self.refresh(&cx);
        loop {
            tokio::select! {
                event = cx.event() => match event {
                    Event::Stop => return Ok(()),
                    Event::Update(update) => {
                        let applied = update.apply(|args| {
                            let exports = read(&args, &self.accessed)?;
                            cx.export(&exports);
                            self.args = args;
                            Ok(())
                        });
                        if applied {
                            let args = &self.args;
                            watch = Watch::new(Path::new(&args.filename), args.detector, args.poll_frequency);
                            cx.report(Health::healthy("read file"));
                        }
                    }
                },
                () = watch.changed() => self.refresh(&cx),
            }
        }
    }
}

impl File {
    fn refresh(&self, cx: &RunCx<Self>) {
        match read(&self.args, &self.accessed) {
            Ok(exports) => {
                cx.export(&exports);
                cx.report(Health::healthy("read file"));
            }
            Err(error) => {
                tracing::warn!(%error, "the last content stays in place");
                cx.report(Health::unhealthy(error.to_string()));
            }
        }
    }
}

fn read(args: &Args, accessed: &Gauge) -> Result<FileExports, Error> {
    let path = PathBuf::from(&args.filename);
    let failed = |error| Error::io(format!("cannot read {}", path.display()), error);
    // What the system says of a size is not asked: devices and files of the kernel have none.
    let mut bytes = Vec::new();
    let file = std::fs::File::open(&path).map_err(failed)?;
    file.take(MAX_SIZE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_SIZE {
        let message = format!("{} has more bytes than the limit of {MAX_SIZE}", path.display());
        return Err(Error::argument("filename", message));
    }
    let text =
        String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    accessed.set(now.as_secs_f64());
    let content = if args.is_secret { OptionalSecret::secret(text) } else { OptionalSecret::plain(text) };
    Ok(FileExports { content })
}

#[cfg(test)]
mod tests {
    use component::ComponentDef;
    use component::HealthState;
    use component::eval::Value;
    use component::testkit::{Harness, Names, Refused};

    use super::*;

    const DEF: ComponentDef = ComponentDef::of::<File>();

    fn content(exports: &Value) -> Option<OptionalSecret> {
        match exports.as_object()?.get("content")? {
            Value::OptionalSecret(s) => Some(s.clone()),
            _ => None,
        }
    }

    fn shows(text: &'static str) -> impl Fn(&Value) -> bool {
        move |exports| content(exports) == Some(OptionalSecret::plain(text))
    }

    fn replace(path: &Path, text: &str) {
        let next = path.with_extension("next");
        std::fs::write(&next, text).unwrap();
        std::fs::rename(next, path).unwrap();
    }

    #[tokio::test]
    async fn the_content_is_there_at_once_and_follows_every_way_of_changing_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, "one").unwrap();
        for detector in ["fsnotify", "poll"] {
            std::fs::write(&path, "one").unwrap();
            let body = format!("filename = {path:?}\ndetector = {detector:?}\npoll_frequency = \"10ms\"");
            let harness = Harness::start(DEF, &body, Names::default()).await;
            assert!(shows("one")(&harness.node.exports()));
            std::fs::write(&path, "two\n").unwrap();
            harness.until_exports(shows("two\n")).await;
            replace(&path, "three");
            harness.until_exports(shows("three")).await;
            harness.stop().await;
        }
    }

    #[tokio::test]
    async fn a_device_without_an_end_is_refused_at_the_limit() {
        let services = component::Services::for_tests(std::env::temp_dir());
        let harness = Harness::new(DEF, Names::default(), services);
        let refused = harness.update("filename = \"/dev/zero\"").await.unwrap_err();
        assert!(format!("{refused:?}").contains("more bytes than the limit"), "{refused:?}");
    }

    #[tokio::test]
    async fn the_kernel_tells_long_before_the_poll() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, "one").unwrap();
        let body = format!("filename = {path:?}\npoll_frequency = \"10h\"");
        let harness = Harness::start(DEF, &body, Names::default()).await;
        replace(&path, "two");
        harness.until_exports(shows("two")).await;
    }

    #[tokio::test]
    async fn a_volume_of_kubernetes_is_followed_through_its_symlinks() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (generation, text) in [("..1", "one"), ("..2", "two")] {
            std::fs::create_dir(at(generation)).unwrap();
            std::fs::write(at(generation).join("f"), text).unwrap();
        }
        std::os::unix::fs::symlink("..1", at("..data")).unwrap();
        std::os::unix::fs::symlink("..data/f", at("f")).unwrap();
        let body = format!("filename = {:?}\npoll_frequency = \"10h\"", at("f"));
        let harness = Harness::start(DEF, &body, Names::default()).await;
        std::os::unix::fs::symlink("..2", at("..data_tmp")).unwrap();
        std::fs::rename(at("..data_tmp"), at("..data")).unwrap();
        harness.until_exports(shows("two")).await;
    }

    #[tokio::test]
    async fn a_file_that_vanishes_makes_the_node_unhealthy_and_keeps_the_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, "one").unwrap();
        let body = format!("filename = {path:?}\npoll_frequency = \"10ms\"");
        let harness = Harness::start(DEF, &body, Names::default()).await;
        std::fs::remove_file(&path).unwrap();
        while harness.node.health().state != HealthState::Unhealthy {
            tokio::task::yield_now().await;
        }
        assert!(shows("one")(&harness.node.exports()));
        std::fs::write(&path, "two").unwrap();
        harness.until_exports(shows("two")).await;
        assert_eq!(harness.node.health().state, HealthState::Healthy);
    }

    #[tokio::test]
    async fn a_secret_stays_one_and_a_missing_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, "hunter2").unwrap();
        let body = format!("filename = {path:?}\nis_secret = true");
        let harness = Harness::start(DEF, &body, Names::default()).await;
        let exported = content(&harness.node.exports()).unwrap();
        assert!(exported.is_secret() && exported.reveal() == "hunter2");
        assert!(harness.services.metrics.text().contains("local_file_timestamp_last_accessed_unix_seconds{"));

        let refused = harness.update("filename = \"/nonexistent/f\"").await.unwrap_err();
        assert!(matches!(refused, Refused::Error(e) if e.to_string().contains("/nonexistent/f")));
        assert_eq!(content(&harness.node.exports()).unwrap().reveal(), "hunter2");
    }
}

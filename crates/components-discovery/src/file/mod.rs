//! `discovery.file` reads targets from files and follows their changes.
//!
//! Invariant: a file that cannot be read keeps the targets it had; a file that is gone has none.

mod glob;
mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use component::eval::Invalid;
use component::metrics::IntCounter;
use component::{Arguments, BuildCx, Component, Error, RunCx, Stability, Target};

use crate::discovery::{self, Found, Look};
use crate::groups;
use watch::Watch;

/// Files larger than this hold no targets.
const MAX_SIZE: u64 = 64 << 20;
const EXTENSIONS: [&str; 3] = ["json", "yml", "yaml"];

/// Arguments.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct Args {
    /// Paths of `.json`, `.yml` and `.yaml` files; `*`, `?` and `[…]` match within one folder's name.
    pub files: Vec<String>,
    /// How often all files are read, besides when they change.
    #[arg(default = "5m")]
    pub refresh_interval: Duration,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if self.refresh_interval.is_zero() {
            return Err(Invalid::field("refresh_interval", "refresh_interval must be longer than 0"));
        }
        for pattern in &self.files {
            let extension = Path::new(pattern).extension().and_then(|e| e.to_str()).unwrap_or_default();
            if !EXTENSIONS.contains(&extension.to_ascii_lowercase().as_str()) {
                let message = format!("{pattern:?} does not end in .json, .yml or .yaml");
                return Err(Invalid::field("files", message));
            }
            glob::check(pattern).map_err(|e| Invalid::field("files", format!("{pattern:?}: {e}")))?;
        }
        Ok(())
    }
}

/// The component.
pub struct File {
    args: Args,
    errors: IntCounter,
}

impl Component for File {
    const NAME: &'static str = "discovery.file";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = Found;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, Found), Error> {
        let errors = cx
            .metrics()
            .counter("prometheus_sd_file_read_errors_total", "The number of File-SD read errors.");
        Ok((Self { args, errors }, Found::default()))
    }

    async fn run(self, cx: RunCx<Self>) -> Result<(), Error> {
        let Self { args, errors } = self;
        discovery::run(cx, Files::new(args, errors.clone()), |args, _| Ok(Files::new(args, errors.clone())))
            .await
    }
}

/// The files with what was last read from each.
struct Files {
    args: Args,
    errors: IntCounter,
    known: BTreeMap<PathBuf, Vec<Target>>,
    watch: Watch,
}

impl Files {
    fn new(args: Args, errors: IntCounter) -> Self {
        Self { args, errors, known: BTreeMap::new(), watch: Watch::default() }
    }
}

impl Look for Files {
    async fn look(&mut self) -> Result<Vec<Target>, Error> {
        let patterns = self.args.files.clone();
        // First the watch, then the reading, so that no change falls in between.
        self.watch.cover(patterns.iter().map(|p| glob::folder(p)));
        let read = tokio::task::spawn_blocking(move || {
            let files = patterns.iter().flat_map(|p| glob::files(p));
            files.map(|path| (read(&path), path)).collect::<Vec<_>>()
        });
        let read = read.await.map_err(|_| Error::other("the reading of the files was cut off"))?;
        let mut before = std::mem::take(&mut self.known);
        let mut problem = None;
        for (targets, path) in read {
            let targets = targets.unwrap_or_else(|error| {
                self.errors.inc();
                tracing::warn!(%error, path = %path.display(), "the targets that the file had stay in place");
                problem = Some(error);
                before.remove(&path).unwrap_or_default()
            });
            self.known.insert(path, targets);
        }
        let all = self.known.values().flatten().cloned().collect();
        match problem {
            // With nothing to fall back to, a bad file is what there is to tell.
            Some(error) if self.known.values().all(Vec::is_empty) => Err(Error::other(error)),
            _ => Ok(all),
        }
    }

    fn interval(&self) -> Duration {
        self.args.refresh_interval
    }

    async fn nudged(&mut self) {
        self.watch.changed().await;
    }
}

fn read(path: &Path) -> Result<Vec<Target>, String> {
    let shown = path.display();
    let size = std::fs::metadata(path).map_err(|e| format!("{shown}: {e}"))?.len();
    if size > MAX_SIZE {
        return Err(format!("{shown} has {size} bytes, more than the limit of {MAX_SIZE}"));
    }
    let text = std::fs::read_to_string(path).map_err(|e| format!("{shown}: {e}"))?;
    let json = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json"));
    let groups = if json { groups::from_json(text.as_bytes()) } else { groups::from_yaml(&text) };
    let groups = groups.map_err(|e| format!("{shown} holds no list of target groups: {e}"))?;
    let shown = shown.to_string();
    Ok(groups.iter().flat_map(|g| g.targets(("__meta_filepath", &shown))).collect())
}

#[cfg(test)]
mod tests {
    use component::ComponentDef;
    use component::testkit::{Harness, Names, Refused};

    use super::*;
    use crate::discovery::exported;

    const DEF: ComponentDef = ComponentDef::of::<File>();

    fn addresses(exports: &component::eval::Value) -> Vec<String> {
        exported(exports).iter().map(|t| t.get("__address__").unwrap_or_default().to_owned()).collect()
    }

    fn replace(path: &Path, text: &str) {
        let next = path.with_extension("next");
        std::fs::write(&next, text).unwrap();
        std::fs::rename(next, path).unwrap();
    }

    #[tokio::test]
    async fn files_are_found_read_and_followed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("a.json"), r#"[{"targets": ["a:1"]}]"#).unwrap();
        std::fs::write(at("b.yml"), "- targets: ['b:1']\n").unwrap();
        std::fs::write(at("c.txt"), "not looked at").unwrap();
        let pattern = |p: &str| at(p).to_str().unwrap().to_owned();
        let body =
            format!("files = [{:?}, {:?}]\nrefresh_interval = \"10h\"", pattern("*.json"), pattern("?.yml"));
        let harness = Harness::start(DEF, &body, Names::default()).await;
        let exports = harness.until_exports(|e| !exported(e).is_empty()).await;
        assert_eq!(addresses(&exports), ["a:1", "b:1"]);
        let path = at("a.json").to_str().unwrap().to_owned();
        assert_eq!(exported(&exports)[0].get("__meta_filepath"), Some(path.as_str()));
    }

    #[tokio::test]
    async fn a_change_is_told_by_the_kernel() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        std::fs::write(&path, r#"[{"targets": ["a:1"]}]"#).unwrap();
        let mut files = look_at(&path);
        files.look().await.unwrap();
        replace(&path, r#"[{"targets": ["a:2"]}]"#);
        files.nudged().await;
        let found = files.look().await.unwrap();
        assert_eq!(found[0].get("__address__"), Some("a:2"));
    }

    fn look_at(pattern: &Path) -> Files {
        let args =
            Args { files: vec![pattern.to_str().unwrap().into()], refresh_interval: Duration::from_secs(9) };
        Files::new(args, IntCounter::new("x", "x").unwrap())
    }

    #[tokio::test]
    async fn a_broken_file_keeps_its_targets_and_a_removed_one_loses_them() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("a.json"), r#"[{"targets": ["a:1"]}]"#).unwrap();
        std::fs::write(at("b.json"), r#"[{"targets": ["b:1"]}]"#).unwrap();
        let mut files = look_at(&at("*.json"));
        let look = async |files: &mut Files| -> Vec<String> {
            let targets = files.look().await.unwrap();
            targets.iter().map(|t| t.get("__address__").unwrap_or_default().to_owned()).collect()
        };
        assert_eq!(look(&mut files).await, ["a:1", "b:1"]);
        std::fs::write(at("a.json"), "[{").unwrap();
        std::fs::remove_file(at("b.json")).unwrap();
        assert_eq!(look(&mut files).await, ["a:1"]);
        assert_eq!(files.errors.get(), 1);
        std::fs::remove_file(at("a.json")).unwrap();
        assert!(look(&mut files).await.is_empty());
        std::fs::write(at("c.json"), "{").unwrap();
        assert!(files.look().await.is_err(), "a bad file that never was good is told");
    }

    #[tokio::test]
    async fn files_of_another_kind_are_refused() {
        let services = component::Services::for_tests(std::env::temp_dir());
        let harness = Harness::new(DEF, Names::default(), services);
        for body in
            ["files = [\"/a/b.txt\"]", "files = [\"/a/[.json\"]", "files = []\nrefresh_interval = \"0\""]
        {
            let refused = harness.update(body).await.unwrap_err();
            assert!(matches!(refused, Refused::Diagnostics(_)), "{body}: {refused:?}");
        }
    }
}

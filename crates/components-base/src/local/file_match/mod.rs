//! `local.file_match` finds the files that patterns stand for.
//!
//! Data path: `path_targets` → one target a file → `targets`, every `sync_period` and after an update. Folders
//! are read on a blocking thread; nothing is exported where nothing changed.

use std::sync::Arc;
use std::time::Duration;

use component::eval::Invalid;
use component::paths::{BadPattern, TargetPatterns};
use component::{Arguments, BuildCx, Component, Error, Event, Exports, Health, RunCx, Stability, Target};
use tokio::time::MissedTickBehavior;

/// `local.file_match`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// Targets whose `__path__` is a pattern; files that match `__path_exclude__` are left out.
    pub path_targets: Vec<Target>,
    /// How often files are looked for.
    #[arg(default = "10s")]
    pub sync_period: Duration,
    /// Leave out files that were last written longer ago than this; 0 takes all.
    #[arg(default = "0s")]
    pub ignore_older_than: Duration,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if self.sync_period.is_zero() {
            return Err(Invalid::field("sync_period", "sync_period must be longer than 0"));
        }
        Ok(())
    }
}

/// What others may refer to.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct FileMatchExports {
    /// One target a file: its pattern's target, with the path of the file in `__path__`.
    pub targets: Vec<Target>,
}

/// The component.
pub struct FileMatch(Args);

impl Component for FileMatch {
    const NAME: &'static str = "local.file_match";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = FileMatchExports;

    fn build(args: Args, _cx: &BuildCx) -> Result<(Self, FileMatchExports), Error> {
        Ok((Self(args), FileMatchExports { targets: Vec::new() }))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let Self(mut args) = self;
        let mut told = Vec::new();
        // Compiled when files are first looked for, and again only where they have changed.
        let mut patterns: Option<Arc<TargetPatterns>> = None;
        let mut ticks = ticks(args.sync_period);
        loop {
            tokio::select! {
                biased;
                event = cx.event() => match event {
                    Event::Stop => return Ok(()),
                    Event::Update(update) => {
                        if update.args().sync_period != args.sync_period {
                            ticks = self::ticks(update.args().sync_period);
                        }
                        ticks.reset_immediately();
                        patterns = patterns.filter(|_| update.args().path_targets == args.path_targets);
                        args = update.args().clone();
                        update.answer(Ok(()));
                    }
                },
                _ = ticks.tick() => {
                    let (known, limit) = (patterns.clone(), args.ignore_older_than);
                    let new = if known.is_none() { args.path_targets.clone() } else { Vec::new() };
                    let looked = tokio::task::spawn_blocking(move || {
                        let patterns = known.unwrap_or_else(|| Arc::new(TargetPatterns::new(&new)));
                        (patterns.targets(limit), patterns)
                    });
                    let (targets, these) = looked.await.map_err(|error| Error::other(error.to_string()))?;
                    cx.export(&FileMatchExports { targets });
                    tell(&cx, &mut told, these.broken());
                    patterns = Some(these);
                }
            }
        }
    }
}

fn ticks(period: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Says once what is wrong with the patterns, and again when it has changed.
fn tell(cx: &BuildCx, told: &mut Vec<BadPattern>, errors: &[BadPattern]) {
    if told.as_slice() == errors {
        return;
    }
    match errors.first() {
        None => cx.report(Health::healthy("all patterns work")),
        Some(first) => {
            errors.iter().for_each(|error| tracing::error!(%error, "no files are found by a pattern"));
            cx.report(Health::unhealthy(first.to_string()));
        }
    }
    *told = errors.to_vec();
}

#[cfg(test)]
mod tests {
    use std::fs::{File, FileTimes};
    use std::path::Path;
    use std::time::SystemTime;

    use component::testkit::{Harness, Names, Refused};
    use component::{ArgValue, ComponentDef, HealthState, eval::Value};

    use super::*;

    const DEF: ComponentDef = ComponentDef::of::<FileMatch>();

    fn paths(exports: &Value) -> Vec<String> {
        let targets = exports.as_object().unwrap().get("targets").unwrap().clone();
        let targets = Vec::<Target>::from_value(&targets).unwrap();
        targets.iter().map(|t| t.get("__path__").unwrap().to_string()).collect()
    }

    fn body(folder: &Path, rest: &str) -> String {
        let (path, exclude) = (folder.join("**/*.log"), folder.join("**/no*"));
        format!(
            "path_targets = [{{__path__ = {path:?}, __path_exclude__ = {exclude:?}, job = \"x\"}}]\n{rest}"
        )
    }

    #[tokio::test(start_paused = true)]
    async fn files_come_and_go_with_the_sync_period() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("a.log"), "").unwrap();
        std::fs::write(at("no.log"), "").unwrap();
        let harness =
            Harness::start(DEF, &body(folder.path(), "sync_period = \"1s\""), Names::default()).await;
        let path = |name: &str| at(name).to_str().unwrap().to_string();
        harness.until_exports(|e| paths(e) == [path("a.log")]).await;
        std::fs::create_dir(at("sub")).unwrap();
        std::fs::write(at("sub/b.log"), "").unwrap();
        harness.until_exports(|e| paths(e) == [path("a.log"), path("sub/b.log")]).await;
        std::fs::remove_file(at("a.log")).unwrap();
        harness.until_exports(|e| paths(e) == [path("sub/b.log")]).await;
        let exported = harness.exported();
        harness.update(&body(folder.path(), "")).await.unwrap();
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(harness.exported(), exported, "nothing changed, so nothing is exported");
        harness.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn old_files_are_left_out_until_they_are_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let file = File::create(&path).unwrap();
        let hour = Duration::from_secs(3600);
        file.set_times(FileTimes::new().set_modified(SystemTime::now() - 2 * hour)).unwrap();
        std::fs::write(folder.path().join("b.log"), "").unwrap();
        let body = body(folder.path(), "ignore_older_than = \"1h\"");
        let harness = Harness::start(DEF, &body, Names::default()).await;
        harness.until_exports(|e| paths(e).len() == 1).await;
        file.set_times(FileTimes::new().set_modified(SystemTime::now())).unwrap();
        harness.until_exports(|e| paths(e).len() == 2).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_pattern_that_does_not_work_is_told_and_the_others_go_on() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.log"), "").unwrap();
        let good = folder.path().join("*.log");
        let body = format!("path_targets = [{{__path__ = \"/x/[\"}}, {{__path__ = {good:?}}}]");
        let harness = Harness::start(DEF, &body, Names::default()).await;
        harness.until_exports(|e| paths(e).len() == 1).await;
        while harness.node.health().state != HealthState::Unhealthy {
            tokio::task::yield_now().await;
        }
        assert!(harness.node.health().message.contains("/x/["));
        // Other patterns are compiled anew.
        std::fs::write(folder.path().join("a.txt"), "").unwrap();
        let other = folder.path().join("*.txt");
        harness.update(&format!("path_targets = [{{__path__ = {other:?}}}]")).await.unwrap();
        harness.until_exports(|e| paths(e) == [folder.path().join("a.txt").to_str().unwrap()]).await;
        while harness.node.health().state != HealthState::Healthy {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_sync_period_of_zero_is_refused() {
        let harness = Harness::start(DEF, "path_targets = []", Names::default()).await;
        let refused = harness.update("path_targets = []\nsync_period = \"0s\"").await.unwrap_err();
        assert!(matches!(refused, Refused::Diagnostics(d) if format!("{d:?}").contains("sync_period")));
    }
}

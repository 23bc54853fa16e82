//! Which files the targets name, or their patterns stand for.

use std::time::Duration;

use component::Target;
use component::paths::{EXCLUDE_LABEL, FoundFile, PATH_LABEL, PathPattern};
use signal::Labels;
use tail::{Finder, Wanted};

use super::Args;

/// The files of a component's targets.
pub struct Targets {
    targets: Vec<Target>,
    patterns: bool,
    every: Duration,
    ignore_older_than: Duration,
}

impl Targets {
    /// As arguments say.
    pub fn new(args: &Args) -> Self {
        Self {
            targets: args.targets.clone(),
            patterns: args.file_match.enabled,
            every: args.file_match.sync_period,
            ignore_older_than: args.file_match.ignore_older_than,
        }
    }

    fn wanted(&self, target: &Target, path: &str, found: Option<&FoundFile>) -> Wanted {
        let labels = Labels::from_pairs(target.iter().filter(|(name, _)| !name.starts_with("__")));
        let is_old = found.is_some_and(|f| f.is_older_than(self.ignore_older_than));
        Wanted { is_old, ..Wanted::new(path, labels) }
    }
}

impl Finder for Targets {
    fn find(&self) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        for target in &self.targets {
            let path = target.get(PATH_LABEL).unwrap_or_default();
            if !self.patterns {
                wanted.push(self.wanted(target, path, None));
                continue;
            }
            match PathPattern::new(path, target.get(EXCLUDE_LABEL)) {
                Err(error) => tracing::error!(%error, "no files are found by a pattern"),
                Ok(pattern) => wanted.extend(pattern.files().iter().filter_map(|found| {
                    // A path that is not UTF-8 cannot be a label.
                    Some(self.wanted(target, found.path.to_str()?, Some(found)))
                })),
            }
        }
        wanted
    }

    fn every(&self) -> Option<Duration> {
        self.patterns.then_some(self.every)
    }
}

//! Notices that files have changed.
//!
//! The parent directories are watched, not the files: editors and atomic writers put a new file in the old
//! one's place, and Kubernetes swaps the `..data` link beside it. A burst of changes is one notice, given
//! when it is over. Whoever is told compares contents: a notice is a reason to look, nothing more.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

/// How long nothing more must change before a change is told.
const QUIET: Duration = Duration::from_millis(500);

/// A burst that does not end is told after this long anyway.
const PATIENCE: Duration = Duration::from_secs(5);

/// Watches files and directories.
pub struct Watch {
    events: Arc<Notify>,
    /// There was an event, of which nobody knows whether it was the end of a directory.
    told: bool,
    /// What is watched; `None` where some of it is not.
    watched: Option<Identities>,
    /// Ends the watching when dropped; `None` where the system cannot watch: then polling has to do.
    _watcher: Option<RecommendedWatcher>,
}

/// Directories by name, with device and inode.
type Identities = BTreeMap<PathBuf, Option<(u64, u64)>>;

impl Watch {
    /// Watches paths; what cannot be watched is logged and left to polling.
    pub fn new(paths: &[PathBuf]) -> Self {
        let events = Arc::new(Notify::new());
        // Before they are watched: one that is replaced in between is taken for another afterwards.
        let directories = identities(paths);
        let (watcher, all) = match directories.is_empty() {
            true => (None, true),
            false => watcher(&directories, events.clone()),
        };
        Self { events, told: false, watched: all.then_some(directories), _watcher: watcher }
    }

    /// A watch over what these paths lead to now: itself, if that is what it watches and nothing has happened there.
    /// A watch costs a thread, and whoever looks now and then asks for it each time.
    pub fn renew(self, paths: &[PathBuf]) -> Self {
        let is_same = !self.told && self.watched.as_ref() == Some(&identities(paths));
        if is_same { self } else { Self::new(paths) }
    }

    /// Returns when something has changed and has been quiet since.
    pub async fn changed(&mut self) {
        self.events.notified().await;
        self.told = true;
        let quiet = async { while tokio::time::timeout(QUIET, self.events.notified()).await.is_ok() {} };
        // A burst without end is over when patience is.
        let _ = tokio::time::timeout(PATIENCE, quiet).await;
    }
}

/// A watcher, and whether it watches all of them.
fn watcher(directories: &Identities, events: Arc<Notify>) -> (Option<RecommendedWatcher>, bool) {
    let tell = move |event: notify::Result<notify::Event>| match event {
        Ok(event) if matches!(event.kind, EventKind::Access(_)) => {}
        // An error may mean that changes were missed.
        Ok(_) | Err(_) => events.notify_one(),
    };
    let mut watcher = match notify::recommended_watcher(tell) {
        Ok(watcher) => watcher,
        Err(error) => {
            tracing::warn!(%error, "files cannot be watched; they are looked at from time to time");
            return (None, false);
        }
    };
    let mut all = true;
    for directory in directories.keys() {
        if let Err(error) = watcher.watch(directory, RecursiveMode::NonRecursive) {
            tracing::warn!(path = %directory.display(), %error, "cannot be watched; it is looked at from time to time");
            all = false;
        }
    }
    (Some(watcher), all)
}

/// The directories to watch, and which they are just now.
fn identities(paths: &[PathBuf]) -> Identities {
    let identity = |path: &Path| std::fs::metadata(path).ok().map(|m| (m.dev(), m.ino()));
    directories(paths).into_iter().map(|path| (path.clone(), identity(&path))).collect()
}

/// Directories whose entries say everything: those around the paths, the paths that are directories, and
/// those around what links lead to.
fn directories(paths: &[PathBuf]) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for path in paths {
        found.extend(around(path));
        if path.is_dir() {
            found.insert(path.clone());
        }
        if let Ok(real) = path.canonicalize() {
            found.extend(around(&real));
        }
    }
    found
}

fn around(path: &Path) -> Option<PathBuf> {
    match path.parent()? {
        empty if empty.as_os_str().is_empty() => Some(PathBuf::from(".")),
        parent => Some(parent.to_path_buf()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Whether a watch stays the same.
    fn stays(watch: Watch, paths: &[PathBuf]) -> (bool, Watch) {
        let before = watch.events.clone();
        let after = watch.renew(paths);
        (Arc::ptr_eq(&before, &after.events), after)
    }

    #[tokio::test]
    async fn a_watch_stays_while_its_paths_lead_to_the_same_directories_and_nothing_was_told() {
        let root = tempfile::tempdir().expect("a folder");
        let at = |name: &str| root.path().join(name);
        for folder in ["a", "b"] {
            fs::create_dir(at(folder)).expect("a folder");
            fs::write(at(folder).join("c"), "x").expect("written");
        }
        std::os::unix::fs::symlink(at("a"), at("to")).expect("a link");
        let paths = [at("to").join("c")];
        let (same, watch) = stays(Watch::new(&paths), &paths);
        assert!(same, "nothing has happened");
        let (same, watch) = stays(watch, &[at("b").join("c")]);
        assert!(!same, "another path");
        let (same, mut watch) = stays(watch, &paths);
        assert!(!same, "and back");
        fs::write(at("a").join("c"), "y").expect("written");
        watch.changed().await;
        let (same, watch) = stays(watch, &paths);
        assert!(!same, "something has changed");
        // The folder around the link is not watched: this is not told.
        fs::remove_file(at("to")).expect("removed");
        std::os::unix::fs::symlink(at("b"), at("to")).expect("a link");
        let (same, watch) = stays(watch, &paths);
        assert!(!same, "the link leads elsewhere");
        fs::rename(at("b"), at("moved")).expect("renamed");
        fs::create_dir(at("b")).expect("a folder");
        fs::write(at("b").join("c"), "x").expect("written");
        assert!(!stays(watch, &paths).0, "another folder of that name");
    }

    #[test]
    fn a_watch_that_does_not_see_all_is_tried_again() {
        let root = tempfile::tempdir().expect("a folder");
        let paths = [root.path().join("none/c")];
        let (same, watch) = stays(Watch::new(&paths), &paths);
        assert!(!same, "there is no such folder");
        fs::create_dir(root.path().join("none")).expect("a folder");
        let (_, watch) = stays(watch, &paths);
        assert!(stays(watch, &paths).0, "there is now");
    }
}

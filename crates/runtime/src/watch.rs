//! Notices that files have changed.
//!
//! The parent directories are watched, not the files: editors and atomic writers put a new file in the old
//! one's place, and Kubernetes swaps the `..data` link beside it. A burst of changes is one notice, given
//! when it is over. Whoever is told compares contents: a notice is a reason to look, nothing more.

use std::collections::BTreeSet;
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
    /// Ends the watching when dropped; `None` where the system cannot watch: then polling has to do.
    _watcher: Option<RecommendedWatcher>,
}

impl Watch {
    /// Watches paths; what cannot be watched is logged and left to polling.
    pub fn new(paths: Vec<PathBuf>) -> Self {
        let events = Arc::new(Notify::new());
        let watcher = if paths.is_empty() { None } else { watcher(&paths, events.clone()) };
        Self { events, _watcher: watcher }
    }

    /// Returns when something has changed and has been quiet since.
    pub async fn changed(&mut self) {
        self.events.notified().await;
        let quiet = async { while tokio::time::timeout(QUIET, self.events.notified()).await.is_ok() {} };
        // A burst without end is over when patience is.
        let _ = tokio::time::timeout(PATIENCE, quiet).await;
    }
}

fn watcher(paths: &[PathBuf], events: Arc<Notify>) -> Option<RecommendedWatcher> {
    let tell = move |event: notify::Result<notify::Event>| match event {
        Ok(event) if matches!(event.kind, EventKind::Access(_)) => {}
        // An error may mean that changes were missed.
        Ok(_) | Err(_) => events.notify_one(),
    };
    let mut watcher = match notify::recommended_watcher(tell) {
        Ok(watcher) => watcher,
        Err(error) => {
            tracing::warn!(%error, "files cannot be watched; they are looked at from time to time");
            return None;
        }
    };
    for directory in directories(paths) {
        if let Err(error) = watcher.watch(&directory, RecursiveMode::NonRecursive) {
            tracing::warn!(path = %directory.display(), %error, "cannot be watched; it is looked at from time to time");
        }
    }
    Some(watcher)
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

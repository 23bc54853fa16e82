//! Says when something in some folders has changed. Many changes in a row are one.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

/// A watch over folders.
#[derive(Default)]
pub(super) struct Watch {
    told: Arc<Notify>,
    watcher: Option<RecommendedWatcher>,
    covered: BTreeSet<PathBuf>,
}

impl Watch {
    /// Watches these folders too. One that cannot be watched is told once; its files are still read every
    /// interval.
    pub(super) fn cover(&mut self, folders: impl Iterator<Item = PathBuf>) {
        for folder in folders {
            if self.covered.contains(&folder) || !folder.is_dir() {
                continue;
            }
            if let Err(error) = self.add(&folder) {
                tracing::warn!(%error, folder = %folder.display(), "the folder cannot be watched, only read from time to time");
            }
            self.covered.insert(folder);
        }
    }

    fn add(&mut self, folder: &std::path::Path) -> notify::Result<()> {
        if self.watcher.is_none() {
            let told = self.told.clone();
            self.watcher = Some(notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                // Reading a file is an access, too; it must not lead to the next one.
                if event.map_or(true, |e| !e.kind.is_access()) {
                    told.notify_one();
                }
            })?);
        }
        match &mut self.watcher {
            Some(watcher) => watcher.watch(folder, RecursiveMode::NonRecursive),
            None => Ok(()),
        }
    }

    /// Returns when something has changed. Safe to drop and call again.
    pub(super) async fn changed(&self) {
        self.told.notified().await;
    }
}

//! Says when a file may have changed.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{Interval, MissedTickBehavior};

use super::Detector;

/// A watch over one file. Many changes in a row are one.
pub(super) struct Watch {
    told: Arc<Notify>,
    poll: Interval,
    _watcher: Option<RecommendedWatcher>,
}

impl Watch {
    /// Watches the folder of a file. Where the kernel cannot do it, only the poll is left, and the log says
    /// so.
    pub(super) fn new(path: &Path, detector: Detector, poll: Duration) -> Self {
        let told = Arc::new(Notify::new());
        let watcher = match detector {
            Detector::Poll => None,
            Detector::Fsnotify => watcher(path, told.clone())
                .inspect_err(|error| {
                    tracing::warn!(%error, path = %path.display(), ?poll, "the file cannot be watched, only polled");
                })
                .ok(),
        };
        let mut poll = tokio::time::interval_at(tokio::time::Instant::now() + poll, poll);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { told, poll, _watcher: watcher }
    }

    /// Returns when the file may have changed. Safe to drop and call again.
    pub(super) async fn changed(&mut self) {
        tokio::select! {
            () = self.told.notified() => {}
            _ = self.poll.tick() => {}
        }
    }
}

fn watcher(path: &Path, told: Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    // The folder and not the file: a file that is replaced is another file. `Path::parent` of a bare name is
    // the empty path.
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading the file is an access, too; it must not lead to the next one.
        if event.map_or(true, |e| !e.kind.is_access()) {
            told.notify_one();
        }
    })?;
    watcher.watch(folder, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

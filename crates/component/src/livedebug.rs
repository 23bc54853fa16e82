//! Live debugging: components say what passes through them while somebody watches.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;
use tokio::sync::broadcast;

/// How many texts a slow watcher may be behind before it misses some.
const BACKLOG: usize = 256;

/// The switch and the watchers.
#[derive(Default)]
pub struct LiveDebug {
    enabled: AtomicBool,
    streams: RwLock<HashMap<String, broadcast::Sender<Arc<str>>>>,
}

impl LiveDebug {
    /// Turns it on or off; turning it off ends all watches.
    pub fn set_enabled(&self, enabled: bool) {
        self.enabled.store(enabled, Ordering::Relaxed);
        if !enabled {
            self.streams.write().clear();
        }
    }

    /// Whether the `livedebugging` block allows it.
    pub fn enabled(&self) -> bool {
        self.enabled.load(Ordering::Relaxed)
    }

    /// Watches one component by global ID; `None` while live debugging is off.
    pub fn watch(&self, global_id: &str) -> Option<broadcast::Receiver<Arc<str>>> {
        if !self.enabled() {
            return None;
        }
        let mut streams = self.streams.write();
        // Watchers go without a word, and so do components.
        streams.retain(|_, stream| stream.receiver_count() > 0);
        let sender = streams.entry(global_id.to_string()).or_insert_with(|| broadcast::channel(BACKLOG).0);
        Some(sender.subscribe())
    }

    /// Tells watchers of a component; `text` is made only if there is one.
    pub fn publish(&self, global_id: &str, text: impl FnOnce() -> String) {
        if !self.enabled() {
            return;
        }
        let watched = {
            let streams = self.streams.read();
            streams.get(global_id).filter(|s| s.receiver_count() > 0).cloned()
        };
        if let Some(sender) = watched {
            // Fails only when the last watcher has just gone.
            let _ = sender.send(text().into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_made_only_for_watchers() {
        let live = LiveDebug::default();
        assert!(live.watch("a").is_none());
        live.set_enabled(true);
        live.publish("a", || unreachable!("nobody watches"));
        let mut watch = live.watch("a").expect("enabled");
        live.publish("a", || "passed".into());
        assert_eq!(&*watch.try_recv().expect("published"), "passed");
        live.set_enabled(false);
        assert!(watch.try_recv().is_err());
    }

    #[test]
    fn what_nobody_watches_any_more_is_forgotten() {
        let live = LiveDebug::default();
        live.set_enabled(true);
        let kept = live.watch("kept");
        for number in 0..100 {
            drop(live.watch(&format!("foreach.f/foreach_{number}_1/x")));
        }
        assert!(live.streams.read().len() <= 2, "{}", live.streams.read().len());
        let mut kept = kept.expect("enabled");
        live.publish("kept", || "still".into());
        assert_eq!(&*kept.try_recv().expect("published"), "still");
    }
}

//! Source maps that are remembered, and that some cannot be had.

use std::sync::Arc;
use std::time::Duration;

use component::Error;
use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::Instant;

use super::fetch::{Fetch, Fetched};
use super::map::Map;
use crate::faro::receiver::args::{Cache, SourceMaps};
use crate::faro::receiver::metrics::MapMetrics;

/// Entries: maps, and files without one.
const MOST_ENTRIES: usize = 8192;
/// Bytes that all maps take together.
const MOST_MEMORY: usize = 256 << 20;
/// Maps that are being read at one time.
const READERS: usize = 2;

/// The maps of a component.
pub(in crate::faro::receiver) struct Store {
    fetch: Fetch,
    cache: Cache,
    entries: Mutex<Entries>,
    readers: Semaphore,
}

type Key = (String, String);

#[derive(Default)]
struct Entries {
    all: HashMap<Key, Entry, foldhash::fast::RandomState>,
    memory: usize,
}

struct Entry {
    /// Set when it is known; who comes meanwhile waits for it.
    map: Arc<OnceCell<Option<Arc<Map>>>>,
    since: Instant,
    used: Instant,
    origin: String,
    memory: usize,
}

impl Store {
    pub(in crate::faro::receiver) fn new(args: &SourceMaps, metrics: MapMetrics) -> Result<Self, Error> {
        Ok(Self {
            fetch: Fetch::new(args, metrics)?,
            cache: args.cache.clone().unwrap_or_default(),
            entries: Mutex::default(),
            readers: Semaphore::new(READERS),
        })
    }

    /// How often [`Store::clean`] is to be called.
    pub(in crate::faro::receiver) fn interval(&self) -> Duration {
        self.cache.cleanup_check_interval
    }

    /// The map of a file, where there is one.
    pub(super) async fn map(&self, file: &str, release: &str) -> Option<Arc<Map>> {
        let key = (file.to_owned(), release.chars().take(256).collect::<String>());
        let cell = self.entry(&key);
        let map = cell.get_or_init(|| self.get(file, &key.1)).await.clone();
        self.settle(&key, &cell, map.as_ref());
        map
    }

    /// The place of a map among those that are remembered.
    fn entry(&self, key: &Key) -> Arc<OnceCell<Option<Arc<Map>>>> {
        let mut entries = self.entries.lock();
        let now = Instant::now();
        if let Some(entry) = entries.all.get_mut(key) {
            entry.used = now;
            return entry.map.clone();
        }
        if entries.all.len() >= MOST_ENTRIES {
            self.evict(&mut entries);
        }
        let map = Arc::new(OnceCell::new());
        let origin = self.fetch.metrics.origin(&key.0);
        let entry = Entry { map: map.clone(), since: now, used: now, origin, memory: 0 };
        entries.all.insert(key.clone(), entry);
        map
    }

    /// A map has been had: it takes its room.
    fn settle(&self, key: &Key, cell: &Arc<OnceCell<Option<Arc<Map>>>>, map: Option<&Arc<Map>>) {
        let Some(map) = map else { return };
        let mut entries = self.entries.lock();
        let Some(entry) = entries.all.get_mut(key).filter(|entry| Arc::ptr_eq(&entry.map, cell)) else {
            return;
        };
        if entry.memory > 0 {
            return;
        }
        entry.memory = map.memory;
        self.fetch.metrics.size.with_label_values(&[entry.origin.as_str()]).inc();
        entries.memory += map.memory;
        while entries.memory > MOST_MEMORY
            && entries.all.values().filter(|entry| entry.memory > 0).count() > 1
        {
            self.evict(&mut entries);
        }
    }

    /// Forgets what has not been used for longest.
    fn evict(&self, entries: &mut Entries) {
        let is_known = |entry: &Entry| entry.map.initialized();
        // Of maps where memory is what there is too little of.
        let maps_only = entries.memory > MOST_MEMORY;
        let candidates = entries.all.iter().filter(|(_, e)| is_known(e) && (!maps_only || e.memory > 0));
        let oldest = candidates.min_by_key(|(_, entry)| entry.used).map(|(key, _)| key.clone());
        if let Some(key) = oldest {
            self.forget(entries, &key);
            self.fetch.metrics.evicted.inc();
        }
    }

    fn forget(&self, entries: &mut Entries, key: &Key) {
        let Some(entry) = entries.all.remove(key) else { return };
        entries.memory -= entry.memory;
        if entry.memory > 0 {
            self.fetch.metrics.size.with_label_values(&[entry.origin.as_str()]).dec();
        }
    }

    /// Forgets maps that nobody has needed for a while, and failures that may be tried again.
    pub(in crate::faro::receiver) fn clean(&self) {
        let mut entries = self.entries.lock();
        let is_old = |entry: &Entry| match entry.map.get() {
            None => false,
            Some(Some(_)) => !self.cache.ttl.is_zero() && entry.used.elapsed() >= self.cache.ttl,
            Some(None) => entry.since.elapsed() >= self.cache.error_cleanup_interval,
        };
        let old: Vec<Key> =
            entries.all.iter().filter(|(_, e)| is_old(e)).map(|(key, _)| key.clone()).collect();
        for key in old {
            self.forget(&mut entries, &key);
        }
    }

    /// Entries that there are.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.entries.lock().all.len()
    }

    async fn get(&self, file: &str, release: &str) -> Option<Arc<Map>> {
        let result = match self.fetch.get(file, release).await {
            Ok(None) => return None,
            Ok(Some(fetched)) => self.read(fetched).await,
            Err(error) => Err(error),
        };
        match result {
            Ok(map) => {
                tracing::info!(file, release, "a source map was read");
                Some(Arc::new(map))
            }
            Err(error) => {
                tracing::debug!(file, release, error, "a source map cannot be had");
                None
            }
        }
    }

    /// Reading takes a while and must not hold up others; a panic of the reader is an error.
    async fn read(&self, fetched: Fetched) -> Result<Map, String> {
        let _reader = self.readers.acquire().await.map_err(|e| e.to_string())?;
        let read = tokio::task::spawn_blocking(move || Map::parse(&fetched.content, &fetched.url));
        read.await.map_err(|error| format!("the reader of source maps failed: {error}"))?
    }
}

impl Drop for Store {
    /// The metrics outlive a change of arguments.
    fn drop(&mut self) {
        let entries = self.entries.get_mut();
        for entry in entries.all.values().filter(|entry| entry.memory > 0) {
            self.fetch.metrics.size.with_label_values(&[entry.origin.as_str()]).dec();
        }
    }
}

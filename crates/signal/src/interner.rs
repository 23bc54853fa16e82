//! The one copy of equal things in this process, for as long as anybody holds a handle.
//!
//! The table holds one reference to each live item; the item counts its handles. A handle that takes the
//! count to zero locks the shard and removes the item, unless a lookup (which hands out handles only under
//! that lock) has raised the count again meanwhile. The remover still owns a reference to the allocation, so
//! what it removes is found by address and can be nothing else. Hence: no item stays without handles, none
//! with handles is removed, and no allocation is freed under a lock.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use hashbrown::HashTable;
use parking_lot::Mutex;

/// Shards of a table; a power of two. Contention is between scrapers that meet new series.
pub(crate) const SHARDS: usize = 64;

/// Below this many slots a shard is not worth shrinking.
const MIN_SHRINK: usize = 64;

/// A reference to what is interned; a clone of it is not a handle.
pub(crate) trait Item: Clone {
    /// Of the content. All bits are used.
    fn hash(&self) -> u64;
    /// How many handles there are; touched by the interner and by handles only.
    fn handles(&self) -> &AtomicU32;
    /// Of the allocation.
    fn address(&self) -> usize;
}

/// A table of items.
pub(crate) struct Interner<T> {
    shards: [Mutex<HashTable<T>>; SHARDS],
    live: AtomicUsize,
}

impl<T: Item> Interner<T> {
    pub(crate) fn new() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::new(HashTable::new())), live: AtomicUsize::new(0) }
    }

    /// How many items are alive.
    pub(crate) fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    pub(crate) fn shard(&self, hash: u64) -> &Mutex<HashTable<T>> {
        // The table takes its slot from the low bits and its tag from the highest seven; the shard comes
        // from in between.
        &self.shards[(hash >> 40) as usize % SHARDS]
    }

    /// The item, with one more handle, if it is alive.
    pub(crate) fn find(&self, hash: u64, mut same: impl FnMut(&T) -> bool) -> Option<T> {
        let table = self.shard(hash).lock();
        let known = table.find(hash, |known| known.hash() == hash && same(known))?;
        known.handles().fetch_add(1, Ordering::Relaxed);
        Some(known.clone())
    }

    /// The item, with one more handle: `made`, or the one that somebody else has put in meanwhile.
    pub(crate) fn insert(&self, made: T, mut same: impl FnMut(&T) -> bool) -> T {
        let hash = made.hash();
        let mut table = self.shard(hash).lock();
        // `made` is freed, if at all, when the lock has been let go of.
        if let Some(known) = table.find(hash, |known| known.hash() == hash && same(known)) {
            known.handles().fetch_add(1, Ordering::Relaxed);
            let known = known.clone();
            drop(table);
            return known;
        }
        made.handles().fetch_add(1, Ordering::Relaxed);
        table.insert_unique(hash, made.clone(), Item::hash);
        self.live.fetch_add(1, Ordering::Relaxed);
        made
    }

    /// Takes out an item whose last handle has ended.
    #[cold]
    pub(crate) fn remove(&self, item: &T) {
        let mut table = self.shard(item.hash()).lock();
        // Given out again between the decrement and the lock: that handle's end will remove it.
        if item.handles().load(Ordering::Relaxed) != 0 {
            return;
        }
        // Absent if it was given out again and that handle has already ended.
        if let Ok(entry) = table.find_entry(item.hash(), |known| known.address() == item.address()) {
            entry.remove();
            self.live.fetch_sub(1, Ordering::Relaxed);
            if table.capacity() > MIN_SHRINK && table.len() < table.capacity() / 4 {
                let keep = table.len() * 2;
                table.shrink_to(keep, Item::hash);
            }
        }
    }
}

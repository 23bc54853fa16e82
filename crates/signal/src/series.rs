//! Interned label sets: while anybody holds a [`Series`], every equal set in the process is that handle.
//!
//! The table holds one reference to each live set; the set counts its handles. A handle that takes the
//! count to zero locks the shard and removes the set, unless an [`Series::intern`] (which hands out handles
//! only under that lock) has raised the count again meanwhile. The remover still owns a reference to the
//! allocation, so what it removes is found by address and can be nothing else. Hence: no set stays without
//! handles, none with handles is removed, and no allocation is freed under a lock.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use hashbrown::HashTable;
use parking_lot::Mutex;

use crate::labels::Labels;

/// An interned label set. Comparing and hashing look at the address only; a clone is two reference counts.
pub struct Series(Labels);

/// Shards of the table; a power of two. Contention is between scrapers that meet new series.
const SHARDS: usize = 64;

/// Below this many slots a shard is not worth shrinking.
const MIN_SHRINK: usize = 64;

struct Interner {
    shards: [Mutex<HashTable<Labels>>; SHARDS],
    live: AtomicUsize,
}

static INTERNER: LazyLock<Interner> = LazyLock::new(|| Interner {
    shards: std::array::from_fn(|_| Mutex::new(HashTable::new())),
    live: AtomicUsize::new(0),
});

/// How many series are alive in this process.
pub fn series_count() -> usize {
    INTERNER.live.load(Ordering::Relaxed)
}

impl Interner {
    fn shard(&self, labels: &Labels) -> &Mutex<HashTable<Labels>> {
        // The table takes its slot from the low bits and its tag from the highest seven; the shard comes
        // from in between.
        &self.shards[(labels.hash() >> 40) as usize % SHARDS]
    }

    fn intern(&self, labels: Labels) -> Series {
        let mut table = self.shard(&labels).lock();
        if let Some(known) = table.find(labels.hash(), |known| *known == labels) {
            known.handles().fetch_add(1, Ordering::Relaxed);
            let series = Series(known.clone());
            drop(table);
            return series;
        }
        labels.handles().fetch_add(1, Ordering::Relaxed);
        table.insert_unique(labels.hash(), labels.clone(), |known| known.hash());
        self.live.fetch_add(1, Ordering::Relaxed);
        Series(labels)
    }

    #[cold]
    fn remove(&self, labels: &Labels) {
        let mut table = self.shard(labels).lock();
        // Given out again between our decrement and the lock: that handle's end will remove it.
        if labels.handles().load(Ordering::Relaxed) != 0 {
            return;
        }
        // Absent if it was given out again and that handle has already ended.
        if let Ok(entry) = table.find_entry(labels.hash(), |known| known.address() == labels.address()) {
            entry.remove();
            self.live.fetch_sub(1, Ordering::Relaxed);
            if table.capacity() > MIN_SHRINK && table.len() < table.capacity() / 4 {
                let keep = table.len() * 2;
                table.shrink_to(keep, |known| known.hash());
            }
        }
    }
}

impl Series {
    /// The one handle for this set.
    pub fn intern(labels: Labels) -> Self {
        INTERNER.intern(labels)
    }

    /// The label set.
    pub fn labels(&self) -> &Labels {
        &self.0
    }

    /// A key that is this series' alone for as long as a handle is held.
    pub fn id(&self) -> usize {
        self.0.address()
    }

    /// Whether two handles are of one set; the same as equality of the sets.
    pub fn ptr_eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl Clone for Series {
    fn clone(&self) -> Self {
        self.0.handles().fetch_add(1, Ordering::Relaxed);
        Self(self.0.clone())
    }
}

impl Drop for Series {
    fn drop(&mut self) {
        if self.0.handles().fetch_sub(1, Ordering::AcqRel) == 1 {
            INTERNER.remove(&self.0);
        }
    }
}

impl From<Labels> for Series {
    fn from(labels: Labels) -> Self {
        Self::intern(labels)
    }
}
impl std::ops::Deref for Series {
    type Target = Labels;
    fn deref(&self) -> &Labels {
        &self.0
    }
}
impl fmt::Debug for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
impl PartialEq for Series {
    fn eq(&self, other: &Self) -> bool {
        self.ptr_eq(other)
    }
}
impl Eq for Series {}
impl Hash for Series {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_usize(self.id());
    }
}

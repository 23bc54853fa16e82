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

use crate::labels::{Encoded, Labels, LabelsError, decode};

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
    fn shard(&self, hash: u64) -> &Mutex<HashTable<Labels>> {
        // The table takes its slot from the low bits and its tag from the highest seven; the shard comes
        // from in between.
        &self.shards[(hash >> 40) as usize % SHARDS]
    }

    /// The handle of a set that is alive, without allocating for the question.
    fn find(&self, encoded: &Encoded<'_>) -> Option<Series> {
        let table = self.shard(encoded.hash).lock();
        let same = |known: &Labels| known.hash() == encoded.hash && known.wire_bytes() == encoded.wire;
        let known = table.find(encoded.hash, same)?;
        known.handles().fetch_add(1, Ordering::Relaxed);
        Some(Series(known.clone()))
    }

    fn intern(&self, labels: Labels) -> Series {
        let mut table = self.shard(labels.hash()).lock();
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
        let mut table = self.shard(labels.hash()).lock();
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

    /// The handle for the `TimeSeries.labels` fields of a remote write request, tags included. A set that is
    /// alive and comes in our own encoding (sorted, as senders do) is found by its bytes, which are not
    /// looked into.
    pub fn from_wire(bytes: &[u8]) -> Result<Self, LabelsError> {
        if let Some(known) = INTERNER.find(&Encoded::foreign(bytes)) {
            return Ok(known);
        }
        let pairs = decode(bytes).ok_or(LabelsError::Malformed)?;
        Labels::try_from_pairs(pairs).map(Self::intern)
    }

    /// The one handle for a set of pairs that are sorted by name and unique; allocates only where the set is
    /// not alive yet.
    pub(crate) fn from_sorted<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        Encoded::with(pairs, |encoded| {
            INTERNER.find(encoded).unwrap_or_else(|| INTERNER.intern(encoded.to_labels()))
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(value: &str) -> Labels {
        Labels::from_pairs([("series_test", value)])
    }

    fn is_held(labels: &Labels) -> bool {
        INTERNER.shard(labels.hash()).lock().find(labels.hash(), |known| known == labels).is_some()
    }

    #[test]
    fn equal_sets_share_a_handle_while_one_is_held() {
        let one = Series::intern(labels("same"));
        let two = Series::intern(labels("same"));
        assert!(one.ptr_eq(&two) && one == two && one.id() == two.id());
        assert_ne!(one, Series::intern(labels("other")));
        drop(one);
        assert!(is_held(&labels("same")));
        drop(two.clone());
        assert!(is_held(&labels("same")));
        drop(two);
        assert!(!is_held(&labels("same")));
    }

    #[test]
    fn a_label_set_outlives_its_series_and_can_be_interned_again() {
        let series = Series::intern(labels("again"));
        let kept = series.labels().clone();
        let id = series.id();
        drop(series);
        assert!(!is_held(&kept));
        let series = Series::intern(kept.clone());
        assert_eq!(series.id(), id);
        drop(kept);
        assert!(is_held(&series));
    }

    #[test]
    fn threads_that_intern_and_drop_one_set_never_see_two_of_it_and_leave_none() {
        let current = Mutex::new(None::<Series>);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let current = &current;
                scope.spawn(move || {
                    for round in 0..20_000 {
                        let mine = Series::intern(labels("race"));
                        let again = Series::intern(labels("race"));
                        assert!(mine.ptr_eq(&again));
                        // Handles also end on threads that did not make them, and may be the last.
                        if round % 3 == thread % 3 {
                            let other = current.lock().replace(mine.clone());
                            assert!(other.is_none_or(|other| other == mine));
                        } else if round % 5 == 0 {
                            let other = current.lock().take();
                            drop(mine);
                            drop(again);
                            drop(other);
                        }
                    }
                });
            }
        });
        drop(current);
        assert!(!is_held(&labels("race")));
    }

    #[test]
    fn a_series_is_found_by_the_bytes_of_a_remote_write_request() {
        let known = Series::intern(Labels::from_pairs([("series_test", "wire"), ("z", "1")]));
        assert_eq!(Series::from_wire(known.wire_bytes()).as_ref(), Ok(&known));
        // Unsorted, value before name, and a label without a value.
        let bytes = b"\x0a\x06\x12\x011\x0a\x01z\x0a\x03\x0a\x01e\x0a\x13\x0a\x0bseries_test\x12\x04wire";
        assert_eq!(Series::from_wire(bytes), Ok(known.clone()));
        let new = b"\x0a\x07\x0a\x01n\x12\x02ew";
        assert_eq!(Series::from_wire(new).map(|s| s.to_string()), Ok("{n=\"ew\"}".to_owned()));
        let twice = [new.as_slice(), new].concat();
        assert_eq!(Series::from_wire(&twice), Err(LabelsError::Duplicate("n".into())));
        for bytes in
            [&b"\x0a"[..], b"\x0a\x05\x0a", b"\x12\x00", b"\x0a\x03\x0a\x01\xff", b"\x0a\x02\x1a\x00"]
        {
            assert_eq!(Series::from_wire(bytes), Err(LabelsError::Malformed), "{bytes:?}");
        }
        assert_eq!(Series::from_wire(b"").map(|s| s.len()), Ok(0));
    }

    #[test]
    fn a_shard_gives_memory_back_after_a_wave_of_series() {
        let wave: Vec<Series> =
            (0..SHARDS * 400).map(|i| Series::intern(labels(&format!("wave{i}")))).collect();
        assert!(series_count() >= wave.len());
        let shard = INTERNER.shard(wave[0].labels().hash());
        let full = shard.lock().capacity();
        drop(wave);
        assert!(shard.lock().capacity() < full);
    }
}

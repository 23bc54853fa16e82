//! The one copy of equal things in this process, for as long as anybody holds a handle.
//!
//! Layout of an item: one allocation with a [`Head`] of 12 bytes, what the kind adds to it, and the parts. A handle is its
//! address; the table has the address too, and owns the allocation. The only count is that of handles: an [`Arc`]
//! beside it would cost as much again as the head does, and there is an item for each series and each label.
//!
//! Why an item is not freed too early: it is freed by whoever takes it out of the table, under the lock of its shard,
//! while it has no handles. New handles come from a handle, of which there is none, or from a lookup under that lock,
//! which would have to find it in the table. A handle that takes the count to zero goes to the table with what it
//! knew before, the item's hash and address, and looks into the item only once it has found it there: another may have
//! been quicker, after a lookup had raised the count again, and the address may already be another item's. If that one
//! has handles it is left alone; if it has none it may go as well as any.
//!
//! Hence: no item stays without handles, none with handles is removed, and no allocation is freed under a lock.
//!
//! [`Arc`]: std::sync::Arc
#![expect(unsafe_code, reason = "there is no library with an allocation as small as this one")]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use hashbrown::HashTable;
use parking_lot::Mutex;

/// Shards of a table; a power of two. Contention is between scrapers that meet new series.
pub(crate) const SHARDS: usize = 64;

/// Below this many slots a shard is not worth shrinking.
const MIN_SHRINK: usize = 64;

/// So many handles are a leak: the process ends before the count could wrap and an item be freed that is held.
const MOST_HANDLES: u32 = u32::MAX / 2;

/// What is interned in one table.
pub(crate) trait Kind: Sized + 'static {
    /// What an item has beside its parts.
    type Extra: Copy + Send + Sync;
    type Part: Send + Sync;
    fn interner() -> &'static Interner<Self>;
}

/// The start of an item's allocation; its parts follow.
#[repr(C)]
struct Head<X> {
    handles: AtomicU32,
    /// Of the content.
    hash: u32,
    /// How many parts follow.
    len: u32,
    extra: X,
}

/// An item's allocation, owned by nobody.
struct Block<K: Kind>(NonNull<Head<K::Extra>>);

impl<K: Kind> Clone for Block<K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K: Kind> Copy for Block<K> {}

// SAFETY: what is read of a block is `Sync`, and it may be freed, its parts with it, on any thread.
unsafe impl<K: Kind> Send for Block<K> {}
// SAFETY: as above; the count is atomic and nothing else is ever written.
unsafe impl<K: Kind> Sync for Block<K> {}

impl<K: Kind> Block<K> {
    /// With one handle.
    fn new(hash: u32, extra: K::Extra, parts: impl ExactSizeIterator<Item = K::Part>) -> Self {
        let len = u32::try_from(parts.len()).expect("what comes in one body is far below four gigabytes");
        let (layout, offset) = Self::layout(len);
        // SAFETY: a head is never empty, so the layout is not.
        let start = NonNull::new(unsafe { alloc(layout) }).unwrap_or_else(|| handle_alloc_error(layout));
        let head = Head { handles: AtomicU32::new(1), hash, len, extra };
        let mut written = 0;
        // SAFETY: the allocation begins with room for a head, and has room for `len` parts at `offset`, both
        // aligned by the layout; `take` lets no more be written. (A panic of the iterator leaks the block.)
        unsafe {
            start.cast::<Head<K::Extra>>().write(head);
            let first = start.add(offset).cast::<K::Part>();
            for part in parts.take(len as usize) {
                first.add(written).write(part);
                written += 1;
            }
        }
        assert_eq!(written, len as usize, "an iterator of exact size has as many items as it says");
        Self(start.cast())
    }

    /// Of an item with so many parts, and where these begin.
    fn layout(len: u32) -> (Layout, usize) {
        let parts = Layout::array::<K::Part>(len as usize).expect("it was in memory before");
        let (layout, offset) = Layout::new::<Head<K::Extra>>().extend(parts).expect("as above");
        (layout.pad_to_align(), offset)
    }

    /// # Safety
    /// The block has not been freed, and is not while the answer is used.
    unsafe fn head<'b>(self) -> &'b Head<K::Extra> {
        // SAFETY: it begins with an initialised head, of which only the atomic is ever written.
        unsafe { self.0.as_ref() }
    }

    /// # Safety
    /// As for [`Block::head`].
    unsafe fn parts<'b>(self) -> &'b [K::Part] {
        let (_, offset) = Self::layout(0);
        // SAFETY: `new` has written that many parts at this offset, which does not depend on their number, and the
        // address still stands for the whole allocation.
        unsafe {
            let first = self.0.cast::<u8>().add(offset).cast::<K::Part>();
            NonNull::slice_from_raw_parts(first, self.head().len as usize).as_ref()
        }
    }

    /// # Safety
    /// As for [`Block::head`].
    unsafe fn is(self, hash: u32, same: &mut impl FnMut(&K::Extra, &[K::Part]) -> bool) -> bool {
        // SAFETY: the caller's.
        unsafe { self.head().hash == hash && same(&self.head().extra, self.parts()) }
    }

    fn address(self) -> usize {
        self.0.addr().get()
    }

    /// # Safety
    /// Nobody uses the block any more, and it is in no table.
    unsafe fn free(self) {
        // SAFETY: the caller's; layout and parts are those that `new` made of the same length.
        unsafe {
            let (layout, offset) = Self::layout(self.head().len);
            let first = self.0.cast::<u8>().add(offset).cast::<K::Part>();
            NonNull::slice_from_raw_parts(first, self.head().len as usize).drop_in_place();
            dealloc(self.0.cast().as_ptr(), layout);
        }
    }

    /// One more handle.
    ///
    /// # Safety
    /// Of a block that has a handle, or stands in a table whose lock is held.
    unsafe fn hold(self) -> Interned<K> {
        // SAFETY: the caller's.
        if unsafe { self.head() }.handles.fetch_add(1, Ordering::Relaxed) >= MOST_HANDLES {
            std::process::abort();
        }
        Interned(self, PhantomData)
    }
}

/// A handle of an item: equal items have the same address while there is one.
pub(crate) struct Interned<K: Kind>(Block<K>, PhantomData<(K::Extra, K::Part)>);

impl<K: Kind> Interned<K> {
    #[inline]
    fn head(&self) -> &Head<K::Extra> {
        // SAFETY: what has a handle is not freed.
        unsafe { self.0.head() }
    }

    /// What the item has beside its parts.
    #[inline]
    pub(crate) fn extra(&self) -> &K::Extra {
        &self.head().extra
    }

    #[inline]
    pub(crate) fn parts(&self) -> &[K::Part] {
        // SAFETY: what has a handle is not freed.
        unsafe { self.0.parts() }
    }

    /// The hash that it was interned by.
    #[inline]
    pub(crate) fn hash(&self) -> u32 {
        self.head().hash
    }

    /// The item's alone for as long as there is a handle.
    #[inline]
    pub(crate) fn address(&self) -> usize {
        self.0.address()
    }
}

impl<K: Kind> Clone for Interned<K> {
    #[inline]
    fn clone(&self) -> Self {
        // SAFETY: it has this handle.
        unsafe { self.0.hold() }
    }
}

impl<K: Kind> Drop for Interned<K> {
    #[inline]
    fn drop(&mut self) {
        let hash = self.hash();
        // Release: whoever frees the item does so after the last use by any handle.
        if self.head().handles.fetch_sub(1, Ordering::Release) == 1 {
            K::interner().remove(hash, self.address());
        }
    }
}

/// All bits of a hash from the 32 that are kept. The low ones stay what they are; those that shards and tags are taken
/// from depend on the others.
#[inline]
pub(crate) fn spread(hash: u32) -> u64 {
    let mixed = hash.swap_bytes().wrapping_mul(0x9e37_79b1);
    u64::from(mixed) << 32 | u64::from(hash)
}

/// A table of items.
pub(crate) struct Interner<K: Kind> {
    shards: [Mutex<HashTable<Block<K>>>; SHARDS],
    live: AtomicUsize,
}

impl<K: Kind> Interner<K> {
    pub(crate) fn new() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::new(HashTable::new())), live: AtomicUsize::new(0) }
    }

    /// How many items are alive.
    pub(crate) fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    fn shard(&self, hash: u32) -> &Mutex<HashTable<Block<K>>> {
        // The table takes its slot from the low bits and its tag from the highest seven; the shard comes
        // from in between.
        &self.shards[(spread(hash) >> 40) as usize % SHARDS]
    }

    /// Of an entry, for the table.
    fn spread_of(known: &Block<K>) -> u64 {
        // SAFETY: a block in a table is not freed while the table's lock is held.
        spread(unsafe { known.head() }.hash)
    }

    /// The item, with one more handle, if it is alive.
    pub(crate) fn find(
        &self,
        hash: u32,
        mut same: impl FnMut(&K::Extra, &[K::Part]) -> bool,
    ) -> Option<Interned<K>> {
        let table = self.shard(hash).lock();
        // SAFETY: a block in a table is not freed while the table's lock is held.
        unsafe { Some(table.find(spread(hash), |known| known.is(hash, &mut same))?.hold()) }
    }

    /// The item, with one more handle: a new one, or the one that somebody else has put in meanwhile.
    pub(crate) fn insert(
        &self,
        hash: u32,
        extra: K::Extra,
        parts: impl ExactSizeIterator<Item = K::Part>,
        mut same: impl FnMut(&K::Extra, &[K::Part]) -> bool,
    ) -> Interned<K> {
        let made = Block::new(hash, extra, parts);
        let mut table = self.shard(hash).lock();
        // SAFETY: a block in a table is not freed while the table's lock is held.
        if let Some(known) = table.find(spread(hash), |known| unsafe { known.is(hash, &mut same) }) {
            // SAFETY: as above.
            let known = unsafe { known.hold() };
            drop(table);
            // SAFETY: nobody has seen it.
            unsafe { made.free() };
            return known;
        }
        table.insert_unique(spread(hash), made, Self::spread_of);
        self.live.fetch_add(1, Ordering::Relaxed);
        Interned(made, PhantomData)
    }

    /// Takes out the item of this hash at this address if it is there and has no handles.
    #[cold]
    fn remove(&self, hash: u32, address: usize) {
        let mut table = self.shard(hash).lock();
        let Ok(entry) = table.find_entry(spread(hash), |known| known.address() == address) else { return };
        // SAFETY: a block in a table is not freed while the table's lock is held. Acquire: as in `drop`.
        if unsafe { entry.get().head() }.handles.load(Ordering::Acquire) != 0 {
            return;
        }
        let (block, _) = entry.remove();
        self.live.fetch_sub(1, Ordering::Relaxed);
        if table.capacity() > MIN_SHRINK && table.len() < table.capacity() / 4 {
            let keep = table.len() * 2;
            table.shrink_to(keep, Self::spread_of);
        }
        drop(table);
        // SAFETY: it has no handles and is in no table, so that it cannot get one.
        unsafe { block.free() };
    }

    /// Items that the shard of a hash has room for.
    #[cfg(test)]
    pub(crate) fn room(&self, hash: u32) -> usize {
        self.shard(hash).lock().capacity()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    /// Parts that can be counted; `Extra` makes the head end off the parts' alignment.
    struct Numbers;

    static NUMBERS: LazyLock<Interner<Numbers>> = LazyLock::new(Interner::new);
    static ALIVE: AtomicUsize = AtomicUsize::new(0);

    struct Number(u64);

    impl Number {
        fn new(number: u64) -> Self {
            ALIVE.fetch_add(1, Ordering::Relaxed);
            Self(number)
        }
    }
    impl Drop for Number {
        fn drop(&mut self) {
            ALIVE.fetch_sub(1, Ordering::Relaxed);
        }
    }

    impl Kind for Numbers {
        type Extra = u16;
        type Part = Number;
        fn interner() -> &'static Interner<Self> {
            &NUMBERS
        }
    }

    /// All of one hash: they meet in one shard and one slot.
    fn intern(extra: u16, numbers: &[u64]) -> Interned<Numbers> {
        let same = |known: &u16, parts: &[Number]| {
            *known == extra && parts.iter().map(|part| part.0).eq(numbers.iter().copied())
        };
        let known = NUMBERS.find(7, same);
        let parts = numbers.iter().map(|number| Number::new(*number));
        known.unwrap_or_else(|| NUMBERS.insert(7, extra, parts, same))
    }

    #[test]
    fn items_of_one_hash_are_told_apart_by_content_and_all_is_freed_with_the_last_handle() {
        {
            let one = intern(1, &[1, 2, 3]);
            let again = intern(1, &[1, 2, 3]);
            let longer = intern(1, &[1, 2, 3, 4]);
            let other = intern(2, &[1, 2, 3]);
            let none = intern(2, &[]);
            assert_eq!(one.address(), again.address());
            assert!(one.parts().iter().map(|part| part.0).eq([1, 2, 3]));
            assert!(longer.parts().iter().map(|part| part.0).eq([1, 2, 3, 4]));
            assert_eq!((*other.extra(), other.parts().len(), none.parts().len(), none.hash()), (2, 3, 0, 7));
            drop(one);
            assert_eq!(again.parts()[2].0, 3);
            assert_eq!(ALIVE.load(Ordering::Relaxed), 10);
            let more = again.clone();
            drop(again);
            assert_eq!(more.parts()[0].0, 1);
            // Threads that put in and let go the same items by turns, each often the last to hold one.
            std::thread::scope(|scope| {
                for thread in 0..4_u64 {
                    scope.spawn(move || {
                        for round in 0..if cfg!(miri) { 300 } else { 20_000_u64 } {
                            let number = (round ^ thread) % 3;
                            let mine = intern(3, &[number, number + 1]);
                            assert_eq!((mine.parts()[0].0, mine.parts()[1].0), (number, number + 1));
                        }
                    });
                }
            });
        }
        assert_eq!((NUMBERS.live(), ALIVE.load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn shard_and_tag_depend_on_other_bits_than_the_slot_does() {
        // Hashes that share the low bits of their slot spread over all shards and tags.
        let hashes: Vec<u64> = (0..1 << 14).map(|high| spread(high << 18 | 5)).collect();
        let kinds = |part: fn(u64) -> u64| {
            hashes.iter().map(|hash| part(*hash)).collect::<std::collections::HashSet<_>>().len()
        };
        assert_eq!((kinds(|hash| hash >> 40 & 63), kinds(|hash| hash >> 57)), (64, 128));
        assert!(hashes.iter().all(|hash| hash & 0xffff == 5));
    }
}

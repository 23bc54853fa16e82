//! What is known of each stream, bounded in number and forgotten when a stream has not been seen for long.

use std::hash::{BuildHasherDefault, Hasher};
use std::time::Duration;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry as Slot;
use tokio::time::Instant;

use super::Identity;

/// An identity is its own hash.
#[derive(Default)]
pub struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// A map by identity.
pub type ByIdentity<V> = HashMap<Identity, V, BuildHasherDefault<AsItIs>>;

/// A map full of streams looks for forgotten ones at most so often.
const SWEEP: Duration = Duration::from_secs(1);

/// A bounded map of streams.
pub struct Streams<V> {
    entries: ByIdentity<Entry<V>>,
    limit: usize,
    /// After so long without a point a stream is forgotten.
    idle: Option<Duration>,
    swept: Option<Instant>,
}

struct Entry<V> {
    value: V,
    seen: Instant,
}

/// What is known of a stream.
pub enum Known<'a, V> {
    /// This, from before.
    Old(&'a mut V),
    /// Nothing: it was just made.
    New,
}

impl<V> Streams<V> {
    /// For `limit` streams; `idle` of `None` forgets none.
    pub fn new(limit: usize, idle: Option<Duration>) -> Self {
        Self { entries: ByIdentity::default(), limit, idle, swept: None }
    }

    /// Sets new bounds; what is known stays.
    pub fn bound(&mut self, limit: usize, idle: Option<Duration>) {
        (self.limit, self.idle) = (limit, idle);
    }

    /// The stream of an identity, made if it is not known; `None` if there is no room for another. It counts as seen.
    pub fn see(&mut self, id: Identity, now: Instant, make: impl FnOnce() -> V) -> Option<Known<'_, V>> {
        if self.entries.len() >= self.limit && !self.entries.contains_key(&id) && !self.make_room(now) {
            return None;
        }
        let idle = self.idle;
        match self.entries.entry(id) {
            Slot::Occupied(slot) => {
                let entry = slot.into_mut();
                let stale = idle.is_some_and(|idle| now.duration_since(entry.seen) > idle);
                entry.seen = now;
                if stale {
                    entry.value = make();
                    return Some(Known::New);
                }
                Some(Known::Old(&mut entry.value))
            }
            Slot::Vacant(slot) => {
                slot.insert(Entry { value: make(), seen: now });
                Some(Known::New)
            }
        }
    }

    fn make_room(&mut self, now: Instant) -> bool {
        if self.idle.is_none() || self.swept.is_some_and(|swept| now.duration_since(swept) < SWEEP) {
            return false;
        }
        self.expire(now);
        self.entries.len() < self.limit
    }

    /// The stream of an identity, if it is known.
    pub fn get_mut(&mut self, id: Identity) -> Option<&mut V> {
        self.entries.get_mut(&id).map(|entry| &mut entry.value)
    }

    /// Forgets the streams that have not been seen for too long; answers how many.
    pub fn expire(&mut self, now: Instant) -> usize {
        self.swept = Some(now);
        let Some(idle) = self.idle else { return 0 };
        let before = self.entries.len();
        self.entries.retain(|_, entry| now.duration_since(entry.seen) <= idle);
        if self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to_fit();
        }
        before - self.entries.len()
    }

    /// Streams that are known.
    pub fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> Identity {
        Identity::of_bytes(&[n])
    }

    fn is_new(known: Option<Known<'_, u8>>) -> Option<bool> {
        known.map(|known| matches!(known, Known::New))
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_no_room_beyond_the_limit_until_streams_are_forgotten() {
        let mut streams = Streams::new(2, Some(Duration::from_secs(60)));
        assert_eq!(is_new(streams.see(id(1), Instant::now(), || 1)), Some(true));
        tokio::time::advance(Duration::from_secs(40)).await;
        assert_eq!(is_new(streams.see(id(2), Instant::now(), || 2)), Some(true));
        assert_eq!(is_new(streams.see(id(3), Instant::now(), || 3)), None);
        assert_eq!(
            is_new(streams.see(id(2), Instant::now(), || 2)),
            Some(false),
            "those that are known stay"
        );
        tokio::time::advance(Duration::from_secs(21)).await;
        assert_eq!(is_new(streams.see(id(3), Instant::now(), || 3)), Some(true), "the first is forgotten");
        assert_eq!(streams.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_comes_back_too_late_is_a_new_one() {
        let mut streams = Streams::new(9, Some(Duration::from_secs(60)));
        let _ = streams.see(id(1), Instant::now(), || 1);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(is_new(streams.see(id(1), Instant::now(), || 1)), Some(false));
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!(is_new(streams.see(id(1), Instant::now(), || 1)), Some(true));
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!((streams.expire(Instant::now()), streams.len()), (1, 0));
    }
}

//! The series of data points, found again by a hash of where the point came from.
//!
//! A point's key is made of its resource, scope, metric and attributes in whatever order they stand; what has
//! this key has its labels made once. Keys are 128 bits under a seed of this process, so that two points
//! never meet by chance and nobody can make them. Shards are chosen by the resource: clients do not wait
//! for each other.
//! Invariant: at most `most` series are held. What comes beyond is converted all the same, each time anew.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry as Place;
use parking_lot::{Mutex, MutexGuard};
use signal::Series;
use signal::otlp::proto::common::v1::KeyValue;
use signal::otlp::proto::common::v1::any_value::Value;
use signal::samples::FamilyMetadata;
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// Shards of the cache; a power of two.
const SHARDS: usize = 16;

/// Series that a component remembers: about 200 MB of them.
pub(super) const MOST_SERIES: usize = 1_000_000;

/// Remembered series by the keys of data points.
pub(super) struct Cache {
    shards: [Mutex<Shard>; SHARDS],
    series: AtomicUsize,
    most: usize,
}

/// Part of a cache.
#[derive(Default)]
pub(super) struct Shard {
    points: HashMap<u128, Entry, FixedState>,
    families: HashMap<u128, Family, FixedState>,
}

/// What is known of a data point.
#[derive(Debug)]
pub(super) struct Entry {
    /// The series that it is written to, in the order of its kind.
    pub(super) slots: Box<[Slot]>,
    /// Bounds or quantiles that the last slots are for.
    pub(super) bounds: Box<[f64]>,
    /// Time of the last point, Unix nanoseconds; 0 before the first.
    last_ns: u64,
    used: u32,
    /// Whether the cache has it; else it is made anew for every point.
    kept: bool,
}

/// A series and what was last written to it.
#[derive(Debug)]
pub(super) struct Slot {
    /// The series.
    pub(super) series: Series,
    /// Time of the newest exemplar, Unix nanoseconds.
    pub(super) exemplar_ns: u64,
}

struct Family {
    metadata: Arc<FamilyMetadata>,
    used: u32,
}

impl Entry {
    /// Notes a point's time. `None` if it is before the last one: such points do not keep an entry alive, so
    /// that one point from the future does not shut its series for ever.
    pub(super) fn advance(&mut self, time_ns: u64, now: u32) -> Option<Before> {
        if time_ns < self.last_ns {
            return None;
        }
        self.touch(now);
        let before_ns = std::mem::replace(&mut self.last_ns, time_ns);
        Some(Before(self.kept.then_some(before_ns)))
    }

    /// Keeps the entry alive.
    pub(super) fn touch(&mut self, now: u32) {
        self.used = now;
    }
}

/// Time of the point before, Unix nanoseconds; 0 if there was none, `None` if that is not known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Before(pub(super) Option<u64>);

impl Cache {
    pub(super) fn new(most: usize) -> Self {
        Self { shards: Default::default(), series: AtomicUsize::new(0), most }
    }

    /// The part for a resource.
    pub(super) fn shard(&self, resource: u128) -> MutexGuard<'_, Shard> {
        self.shards[resource as usize % SHARDS].lock()
    }

    /// Series held.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.series.load(Ordering::Relaxed)
    }

    /// What is known under a key, made by `make` if it is nothing or belongs to other bounds; without `bounds`
    /// all are right. `spare` is where it lives if there is no room. `None` if `make` says so.
    pub(super) fn entry<'a>(
        &self,
        shard: &'a mut Shard,
        (key, bounds): (u128, Option<&[f64]>),
        now: u32,
        spare: &'a mut Option<Entry>,
        make: impl FnOnce() -> Option<Box<[Slot]>>,
    ) -> Option<&'a mut Entry> {
        let new = || {
            let bounds = bounds.unwrap_or_default().into();
            make().map(|slots| Entry { slots, bounds, last_ns: 0, used: now, kept: true })
        };
        match shard.points.entry(key) {
            Place::Occupied(place) => {
                let known = place.into_mut();
                if bounds.is_some_and(|bounds| !same(bounds, &known.bounds)) {
                    let new = Entry { last_ns: known.last_ns, used: known.used, ..new()? };
                    self.series.fetch_add(new.slots.len(), Ordering::Relaxed);
                    self.series.fetch_sub(known.slots.len(), Ordering::Relaxed);
                    *known = new;
                }
                Some(known)
            }
            Place::Vacant(place) => {
                let new = new()?;
                let series = new.slots.len();
                if self.series.fetch_add(series, Ordering::Relaxed) + series > self.most {
                    self.series.fetch_sub(series, Ordering::Relaxed);
                    return Some(spare.insert(Entry { kept: false, ..new }));
                }
                Some(place.insert(new))
            }
        }
    }

    /// Forgets what was not used since `since`.
    pub(super) fn forget(&self, since: u32) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            let gone: Vec<Entry> =
                shard.points.extract_if(|_, entry| entry.used < since).map(|(_, entry)| entry).collect();
            shard.families.retain(|_, family| family.used >= since);
            if shard.points.len() < shard.points.capacity() / 4 {
                shard.points.shrink_to_fit();
            }
            drop(shard);
            // Series are freed outside of the lock.
            let series: usize = gone.iter().map(|entry| entry.slots.len()).sum();
            self.series.fetch_sub(series, Ordering::Relaxed);
        }
    }
}

impl Shard {
    /// The metadata of a metric. `current` says whether what is known is still right.
    pub(super) fn family(
        &mut self,
        key: u128,
        now: u32,
        current: impl FnOnce(&FamilyMetadata) -> bool,
        make: impl FnOnce() -> Option<FamilyMetadata>,
    ) -> Option<Arc<FamilyMetadata>> {
        if let Some(known) = self.families.get_mut(&key)
            && current(&known.metadata)
        {
            known.used = now;
            return Some(known.metadata.clone());
        }
        let metadata = Arc::new(make()?);
        // As many as there are metrics, which have series that are bounded; beyond that none is kept.
        if self.families.len() < MOST_SERIES / SHARDS {
            self.families.insert(key, Family { metadata: metadata.clone(), used: now });
        }
        Some(metadata)
    }
}

impl Slot {
    pub(super) fn new(series: Series) -> Self {
        Self { series, exemplar_ns: 0 }
    }
}

fn same(one: &[f64], other: &[f64]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(a, b)| a.to_bits() == b.to_bits())
}

/// Makes keys.
#[derive(Debug)]
pub(super) struct Keys {
    seed: u64,
    text: Vec<u8>,
}

impl Keys {
    /// With the seed of a cache.
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, text: Vec::with_capacity(256) }
    }

    /// A seed that nobody else knows.
    pub(super) fn random_seed() -> u64 {
        RandomState::new().build_hasher().finish()
    }

    /// A key below another one, for texts in their order and attributes in any order.
    pub(super) fn below(&mut self, above: u128, texts: &[&str], attributes: &[KeyValue]) -> u128 {
        let sum =
            attributes.iter().fold(0_u128, |sum, attribute| sum.wrapping_add(self.attribute(attribute)));
        self.text.clear();
        self.text.extend_from_slice(&above.to_le_bytes());
        self.text.extend_from_slice(&sum.to_le_bytes());
        for text in texts {
            push(text.as_bytes(), &mut self.text);
        }
        xxh3_128_with_seed(&self.text, self.seed)
    }

    fn attribute(&mut self, attribute: &KeyValue) -> u128 {
        let text = &mut self.text;
        text.clear();
        push(attribute.key.as_bytes(), text);
        match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
            None => text.push(0),
            Some(Value::StringValue(value)) => {
                text.push(1);
                text.extend_from_slice(value.as_bytes());
            }
            Some(Value::IntValue(value)) => {
                text.push(2);
                text.extend_from_slice(&value.to_le_bytes());
            }
            Some(Value::BoolValue(value)) => text.extend_from_slice(&[3, u8::from(*value)]),
            Some(value) => {
                text.push(4);
                value.encode(text);
            }
        }
        xxh3_128_with_seed(text, self.seed)
    }
}

fn push(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use signal::Labels;
    use signal::otlp::proto::common::v1::AnyValue;

    use super::*;

    fn attribute(key: &str, value: Value) -> KeyValue {
        KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
    }

    fn slots(names: &[&str]) -> Option<Box<[Slot]>> {
        let slot = |name: &&str| Slot::new(Series::intern(Labels::from_pairs([("cache_test", *name)])));
        Some(names.iter().map(slot).collect())
    }

    #[test]
    fn the_order_of_attributes_does_not_make_a_key_but_everything_else_does() {
        let mut keys = Keys::new(Keys::random_seed());
        let text = |value: &str| Value::StringValue(value.into());
        let (a, b) = (attribute("a", text("1")), attribute("b", text("2")));
        let key = keys.below(7, &["m"], &[a.clone(), b.clone()]);
        assert_eq!(key, keys.below(7, &["m"], &[b.clone(), a.clone()]));
        let others = [
            keys.below(8, &["m"], &[a.clone(), b.clone()]),
            keys.below(7, &["n"], &[a.clone(), b.clone()]),
            keys.below(7, &["m", ""], &[a.clone(), b.clone()]),
            keys.below(7, &["m"], std::slice::from_ref(&a)),
            keys.below(7, &["m"], &[attribute("a", text("2")), attribute("b", text("1"))]),
            keys.below(7, &["m"], &[attribute("a", Value::IntValue(1)), b.clone()]),
            keys.below(7, &["m"], &[attribute("a", Value::DoubleValue(1.0)), b.clone()]),
            keys.below(7, &["m"], &[attribute("a", Value::BoolValue(true)), b]),
        ];
        assert!(others.iter().all(|other| *other != key));
        assert_ne!(Keys::new(1).below(7, &["m"], &[]), Keys::new(2).below(7, &["m"], &[]));
    }

    #[test]
    fn series_are_made_once_and_again_for_other_bounds() {
        let cache = Cache::new(10);
        let (mut shard, mut spare) = (cache.shard(0), None);
        let mut made = 0;
        for (bounds, times) in [(Some(&[1.0][..]), 1), (Some(&[1.0]), 1), (None, 1), (Some(&[2.0]), 2)] {
            let entry = cache.entry(&mut shard, (1, bounds), 0, &mut spare, || {
                made += 1;
                slots(&["a", "b"])
            });
            assert_eq!(entry.expect("made").slots.len(), 2);
            assert_eq!(made, times, "{bounds:?}");
        }
        assert_eq!(cache.len(), 2);
        assert!(spare.is_none());
        assert!(cache.entry(&mut shard, (2, None), 0, &mut spare, || None).is_none());
    }

    #[test]
    fn a_full_cache_lends_what_it_cannot_keep_and_has_room_again_after_a_while() {
        let cache = Cache::new(2);
        let mut spare = None;
        for (key, kept) in [(1, true), (2, true), (3, false)] {
            let mut shard = cache.shard(0);
            cache.entry(&mut shard, (key, None), key as u32, &mut spare, || slots(&["x"])).expect("lent");
            assert_eq!(shard.points.contains_key(&key), kept, "{key}");
        }
        assert!(spare.take().is_some());
        cache.forget(2);
        assert_eq!(cache.len(), 1);
        let mut shard = cache.shard(0);
        cache.entry(&mut shard, (3, None), 3, &mut spare, || slots(&["x"])).expect("kept");
        assert!(spare.is_none());
    }

    #[test]
    fn time_goes_forward() {
        let (slots, bounds) = (Box::new([]), Box::new([]));
        let mut entry = Entry { slots, bounds, last_ns: 0, used: 0, kept: true };
        let times = [5, 7, 7, 6, 8].map(|time| entry.advance(time, 1).and_then(|before| before.0));
        assert_eq!(times, [Some(0), Some(5), Some(7), None, Some(7)]);
    }
}

//! Which back end a key belongs to: a ring of hashes.
//!
//! The ring is that of the OpenTelemetry Collector's exporter (36,000 places, 100 of them a back end, CRC-32), so that
//! several balancers, of either program, send one trace to one back end. Invariant: where a back end comes or goes,
//! only the keys of its places move.

use std::sync::Arc;

use crc32fast::Hasher;

const PLACES: u32 = 36_000;
const EACH: u8 = 100;

/// The ring; immutable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ring {
    /// Places that are taken, with their back ends, in order.
    taken: Vec<(u32, Arc<str>)>,
}

impl Ring {
    /// Of back ends; each counts once.
    pub(super) fn new<'a>(backends: impl IntoIterator<Item = &'a Arc<str>>) -> Self {
        let mut sorted: Vec<_> = backends.into_iter().cloned().collect();
        // Where two want one place the first gets it: everybody must agree on who that is.
        sorted.sort_unstable();
        sorted.dedup();
        let places =
            |backend: Arc<str>| (0..EACH).map(move |n| (place(&[backend.as_bytes(), &[n]]), backend.clone()));
        let mut taken: Vec<_> = sorted.into_iter().flat_map(places).collect();
        taken.sort_by_key(|(place, _)| *place);
        taken.dedup_by_key(|(place, _)| *place);
        Self { taken }
    }

    /// The back end of a key; `None` where there is none at all.
    pub(super) fn backend(&self, key: &[u8]) -> Option<&Arc<str>> {
        let wanted = place(&[key]);
        let next = self.taken.partition_point(|(place, _)| *place < wanted);
        self.taken.get(next).or(self.taken.first()).map(|(_, backend)| backend)
    }
}

fn place(parts: &[&[u8]]) -> u32 {
    let mut hasher = Hasher::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize() % PLACES
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn ring(names: &[&str]) -> Ring {
        Ring::new(&names.iter().map(|name| Arc::from(*name)).collect::<Vec<_>>())
    }

    fn keys() -> impl Iterator<Item = [u8; 16]> {
        (0..5000u128).map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835).to_be_bytes())
    }

    #[test]
    fn keys_are_shared_out_evenly() {
        let ring = ring(&["a:4317", "b:4317", "c:4317", "d:4317"]);
        let mut shares: BTreeMap<&str, u32> = BTreeMap::new();
        for key in keys() {
            *shares.entry(ring.backend(&key).expect("one")).or_default() += 1;
        }
        assert!(shares.len() == 4 && shares.values().all(|n| (800..1800).contains(n)), "{shares:?}");
    }

    #[test]
    fn only_the_keys_of_a_back_end_that_goes_move() {
        let (before, after) = (ring(&["a:1", "b:1", "c:1"]), ring(&["c:1", "a:1"]));
        for key in keys() {
            let (was, is) = (before.backend(&key).expect("one"), after.backend(&key).expect("one"));
            assert!(was == is || &**was == "b:1");
        }
    }

    #[test]
    fn the_order_of_the_list_does_not_matter_and_nobody_has_nothing() {
        assert_eq!(ring(&["a:1", "b:1", "a:1"]), ring(&["b:1", "a:1"]));
        assert_eq!(ring(&[]).backend(b"x"), None);
        assert_eq!(ring(&["a:1"]).backend(b"x").map(|b| &**b), Some("a:1"));
    }

    /// CRC-32 of the name and the number, as Go's `crc32.ChecksumIEEE`.
    #[test]
    fn places_are_those_of_upstream() {
        assert_eq!(place(&[b"123456789"]), 0xCBF4_3926 % PLACES);
        assert_eq!(place(&[b"1234", b"56789"]), 0xCBF4_3926 % PLACES);
    }
}

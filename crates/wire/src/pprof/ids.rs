//! From the IDs of records to their places in a table. Profilers count from 1; whoever does not costs a hash table.

use hashbrown::HashMap;

const NONE: u32 = u32::MAX;

/// IDs of one table.
#[derive(Default)]
pub(super) struct Ids {
    dense: Vec<u32>,
    sparse: HashMap<u64, u32, foldhash::fast::RandomState>,
}

impl Ids {
    /// Forgets all; room for a table of `count` records.
    pub(super) fn reset(&mut self, count: usize) {
        self.dense.clear();
        self.dense.resize(2 * count + 16, NONE);
        self.sparse.clear();
    }

    /// The last record of an ID counts.
    pub(super) fn insert(&mut self, id: u64, place: u32) {
        match usize::try_from(id).ok().and_then(|id| self.dense.get_mut(id)) {
            Some(slot) => *slot = place,
            None => drop(self.sparse.insert(id, place)),
        }
    }

    #[inline]
    pub(super) fn get(&self, id: u64) -> Option<usize> {
        let place = match usize::try_from(id).ok().and_then(|id| self.dense.get(id)) {
            Some(place) => *place,
            None if self.sparse.is_empty() => NONE,
            None => self.sparse.get(&id).copied().unwrap_or(NONE),
        };
        (place != NONE).then_some(place as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_any_size_are_found_and_the_last_record_counts() {
        let mut ids = Ids::default();
        ids.reset(2);
        for (place, id) in [1, 19, 20, u64::MAX, 1].into_iter().enumerate() {
            ids.insert(id, place as u32);
        }
        assert_eq!([1, 19, 20, u64::MAX].map(|id| ids.get(id)), [Some(4), Some(1), Some(2), Some(3)]);
        assert_eq!((ids.get(0), ids.get(7), ids.get(1 << 40)), (None, None, None));
        ids.reset(0);
        assert_eq!((ids.get(1), ids.get(u64::MAX)), (None, None));
    }
}

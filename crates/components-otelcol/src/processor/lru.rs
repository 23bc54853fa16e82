//! A map of bounded size that forgets what was not asked for the longest.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::hash::Hash;

use hashbrown::HashMap;

/// At most so many entries.
#[derive(Debug)]
pub(crate) struct Lru<K, V> {
    most: usize,
    entries: HashMap<K, (V, u64), foldhash::fast::RandomState>,
    /// By the time of their last use.
    order: BTreeMap<u64, K>,
    clock: u64,
}

impl<K: Hash + Eq + Clone, V> Lru<K, V> {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, entries: HashMap::default(), order: BTreeMap::new(), clock: 0 }
    }

    /// What is known of a key, which is thereby used.
    pub(crate) fn get<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let (value, used) = self.entries.get_mut(key)?;
        if let Some(key) = self.order.remove(used) {
            self.clock += 1;
            *used = self.clock;
            self.order.insert(self.clock, key);
        }
        Some(value)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        if self.most == 0 {
            return;
        }
        self.clock += 1;
        if let Some((_, used)) = self.entries.insert(key.clone(), (value, self.clock)) {
            self.order.remove(&used);
        }
        self.order.insert(self.clock, key);
        self.trim(self.most);
    }

    /// Forgets until so many are left.
    pub(crate) fn trim(&mut self, most: usize) {
        while self.entries.len() > most {
            let Some((_, key)) = self.order.pop_first() else { return };
            self.entries.remove(&key);
        }
    }

    /// A new bound.
    pub(crate) fn resize(&mut self, most: usize) {
        self.most = most;
        self.trim(most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_the_longest_is_forgotten() {
        let mut lru = Lru::new(2);
        lru.insert("a", 1);
        lru.insert("b", 2);
        assert_eq!(lru.get("a"), Some(&1));
        lru.insert("c", 3);
        assert_eq!(lru.get("a"), Some(&1));
        assert_eq!(lru.get("b"), None);
        assert_eq!(lru.get("c"), Some(&3));
        lru.insert("c", 4);
        lru.resize(1);
        assert_eq!(lru.get("a"), None);
        assert_eq!(lru.get("c"), Some(&4));
        lru.resize(0);
        lru.insert("d", 5);
        assert_eq!(lru.get("d"), None);
    }
}

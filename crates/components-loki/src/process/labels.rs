//! The labels of an entry while stages change them, and the cache that turns changes into a label set.
//!
//! Changes are noted, not made: at the end (label set that came in, changes) is looked up in a bounded cache,
//! so an entry whose changes have been seen before costs a hash and no allocation.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use signal::{Labels, LabelsBuilder};

/// How many answers are remembered; then all are forgotten and remembered anew.
const REMEMBERED: usize = 16_384;

/// Changes longer than this are not remembered.
const REMEMBERED_BYTES: usize = 1024;

/// Notes what stages do to labels.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    text: String,
    list: Vec<Change>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Change {
    /// Ends in `text`; the name begins where the one before ended.
    name_end: u32,
    /// As `name_end` for a label that goes: values are never empty.
    value_end: u32,
}

impl Changes {
    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.text.clear();
        if self.text.capacity() > 64 << 10 {
            self.text = String::new();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    fn at(&self, i: usize) -> (&str, &str) {
        let start = if i == 0 { 0 } else { self.list[i - 1].value_end as usize };
        let (name_end, value_end) = (self.list[i].name_end as usize, self.list[i].value_end as usize);
        (&self.text[start..name_end], &self.text[name_end..value_end])
    }

    /// The last change of a name: its new value, empty where the label goes.
    fn last(&self, name: &str) -> Option<&str> {
        (0..self.list.len()).rev().map(|i| self.at(i)).find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    fn note(&mut self, name: &str, value: &str) {
        let end = |text: &str| u32::try_from(text.len()).expect("changes of labels are below 4 GiB");
        self.text.push_str(name);
        let name_end = end(&self.text);
        self.text.push_str(value);
        self.list.push(Change { name_end, value_end: end(&self.text) });
    }
}

/// The labels of one entry.
#[derive(Debug)]
pub struct EntryLabels<'a> {
    base: &'a Labels,
    changes: &'a mut Changes,
}

impl<'a> EntryLabels<'a> {
    pub(super) fn new(base: &'a Labels, changes: &'a mut Changes) -> Self {
        Self { base, changes }
    }

    /// The value of a label; `None` where absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        match self.changes.last(name) {
            Some(value) => Some(value).filter(|v| !v.is_empty()),
            None => self.base.get(name),
        }
    }

    /// Sets a label; an empty value removes it, an empty name changes nothing.
    pub fn set(&mut self, name: &str, value: &str) {
        if !name.is_empty() && self.get(name).unwrap_or_default() != value {
            self.changes.note(name, value);
        }
    }

    /// Removes a label.
    pub fn remove(&mut self, name: &str) {
        self.set(name, "");
    }

    /// Keeps the labels for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &str) -> bool) {
        let mut gone: Vec<String> = Vec::new();
        self.for_each(|name, value| {
            if !keep(name, value) {
                gone.push(name.to_owned());
            }
        });
        gone.iter().for_each(|name| self.remove(name));
    }

    /// All labels, in no order.
    pub fn for_each(&self, mut f: impl FnMut(&str, &str)) {
        for (name, value) in self.base {
            match self.changes.last(name) {
                Some("") => {}
                Some(changed) => f(name, changed),
                None => f(name, value),
            }
        }
        for i in 0..self.changes.list.len() {
            let (name, _) = self.changes.at(i);
            let first = (0..i).all(|j| self.changes.at(j).0 != name);
            if first && self.base.get(name).is_none() && self.changes.last(name) != Some("") {
                f(name, self.changes.last(name).unwrap_or_default());
            }
        }
    }

    /// Whether they are as they came.
    pub fn is_unchanged(&self) -> bool {
        self.changes.is_empty()
    }
}

/// Label sets by what they came from and how they were changed.
#[derive(Default)]
pub struct LabelCache {
    table: HashTable<Known>,
    state: RandomState,
    scratch: LabelsBuilder,
    overflows: u64,
}

struct Known {
    hash: u64,
    base: Labels,
    text: Box<str>,
    list: Box<[Change]>,
    made: Labels,
}

impl LabelCache {
    /// The label set that the changes make.
    pub fn resolve(&mut self, labels: &EntryLabels<'_>) -> Labels {
        let (base, changes) = (labels.base, &*labels.changes);
        if changes.is_empty() {
            return base.clone();
        }
        if changes.text.len() > REMEMBERED_BYTES {
            return make(&mut self.scratch, base, changes);
        }
        let hash = self.state.hash_one((base.hash(), changes.text.as_str()));
        let same = |k: &Known| {
            k.hash == hash && *k.text == *changes.text && *k.list == *changes.list && k.base == *base
        };
        if let Some(known) = self.table.find(hash, same) {
            return known.made.clone();
        }
        let made = make(&mut self.scratch, base, changes);
        if self.table.len() >= REMEMBERED {
            self.table.clear();
            self.overflows += 1;
        }
        let known = Known {
            hash,
            base: base.clone(),
            text: changes.text.as_str().into(),
            list: changes.list.as_slice().into(),
            made: made.clone(),
        };
        self.table.insert_unique(hash, known, |k| k.hash);
        made
    }

    /// How often it was full, since the last question.
    pub fn take_overflows(&mut self) -> u64 {
        std::mem::take(&mut self.overflows)
    }
}

fn make(scratch: &mut LabelsBuilder, base: &Labels, changes: &Changes) -> Labels {
    scratch.reset(base);
    for i in 0..changes.list.len() {
        let (name, value) = changes.at(i);
        scratch.set(name, value);
    }
    scratch.build()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_remembered_is_bounded_and_overflows_are_counted() {
        let (mut cache, mut changes) = (LabelCache::default(), Changes::default());
        let base = Labels::from_pairs([("job", "app")]);
        for i in 0..2 * REMEMBERED + 1 {
            changes.clear();
            let mut labels = EntryLabels::new(&base, &mut changes);
            labels.set("id", &i.to_string());
            assert_eq!(cache.resolve(&labels), Labels::from_pairs([("job", "app"), ("id", &i.to_string())]));
        }
        assert_eq!(cache.take_overflows(), 2);
        assert!(cache.table.len() <= REMEMBERED);
    }

    #[test]
    fn equal_changes_of_equal_labels_give_the_same_allocation() {
        let mut cache = LabelCache::default();
        let made: Vec<Labels> = (0..2)
            .map(|_| {
                let (base, mut changes) = (Labels::from_pairs([("a", "1")]), Changes::default());
                let mut labels = EntryLabels::new(&base, &mut changes);
                labels.set("b", "2");
                cache.resolve(&labels)
            })
            .collect();
        assert!(std::ptr::eq(made[0].wire_bytes(), made[1].wire_bytes()));
    }

    proptest! {
        #[test]
        fn changes_have_the_effect_that_they_have_on_a_map(
            base in proptest::collection::vec(("[a-c]{1,2}", "[xy]{0,2}"), 0..5),
            changes in proptest::collection::vec(("[a-c]{0,2}", "[xy]{0,2}"), 0..9),
        ) {
            let base = Labels::from_pairs(base);
            let mut map: BTreeMap<String, String> =
                base.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            let mut noted = Changes::default();
            let mut labels = EntryLabels::new(&base, &mut noted);
            for (name, value) in &changes {
                labels.set(name, value);
                if value.is_empty() {
                    map.remove(name);
                } else if !name.is_empty() {
                    map.insert(name.clone(), value.clone());
                }
                prop_assert_eq!(labels.get(name), map.get(name).map(String::as_str));
            }
            let mut listed = BTreeMap::new();
            labels.for_each(|n, v| assert!(listed.insert(n.to_owned(), v.to_owned()).is_none()));
            prop_assert_eq!(&listed, &map);
            let mut cache = LabelCache::default();
            prop_assert_eq!(cache.resolve(&labels), Labels::from_pairs(&map));
            labels.retain(|name, _| name.starts_with('a'));
            map.retain(|name, _| name.starts_with('a'));
            prop_assert_eq!(cache.resolve(&labels), Labels::from_pairs(&map));
        }
    }
}

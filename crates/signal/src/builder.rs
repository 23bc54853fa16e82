//! A reusable scratch pad for changing label sets.
//!
//! Text is only ever appended to one buffer and entries point into it, so a change never moves a value;
//! what is unchanged at the end is the label set that it began with.

use crate::labels::{Iter, Labels, MAX_KEPT_BYTES};
use crate::series::Series;

/// Changes label sets, one after the other, without allocating for each.
#[derive(Debug, Default)]
pub struct LabelsBuilder {
    base: Base,
    changed: bool,
    text: String,
    /// Sorted by name.
    entries: Vec<Entry>,
    /// Names that were given without a value.
    blank: Vec<Span>,
}

/// What the builder began with.
#[derive(Debug, Default)]
enum Base {
    /// No labels; a shared empty set would be a reference count that all threads fight for.
    #[default]
    Nothing,
    Labels(Labels),
    Series(Series),
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    name: Span,
    value: Span,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    start: usize,
    end: usize,
}

impl LabelsBuilder {
    /// A builder without labels.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets all and starts from a label set.
    pub fn reset(&mut self, base: &Labels) {
        self.start(base.iter());
        self.base = Base::Labels(base.clone());
    }

    /// Forgets all and starts from the labels of a series.
    pub fn reset_series(&mut self, base: &Series) {
        self.start(base.iter());
        self.base = Base::Series(base.clone());
    }

    fn start(&mut self, pairs: Iter<'_>) {
        self.clear();
        for (name, value) in pairs {
            let entry = Entry { name: self.push(name), value: self.push(value) };
            self.entries.push(entry);
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.blank.clear();
        self.text.clear();
        if self.text.capacity() > MAX_KEPT_BYTES {
            self.text = String::new();
        }
        self.base = Base::Nothing;
        self.changed = false;
    }

    /// Sets a label; an empty value deletes it. An empty name changes nothing.
    pub fn set(&mut self, name: &str, value: &str) {
        if value.is_empty() {
            return self.del(name);
        }
        match self.find(name) {
            Ok(i) => {
                if self.slice(self.entries[i].value) != value {
                    self.entries[i].value = self.push(value);
                    self.changed = true;
                }
            }
            Err(_) if name.is_empty() => {}
            Err(i) => {
                let entry = Entry { name: self.push(name), value: self.push(value) };
                self.entries.insert(i, entry);
                self.changed = true;
            }
        }
    }

    /// Notes that a label came without a value. That is a set without the label; but who gave it so has said
    /// that nobody else is to give it ([`LabelsBuilder::is_blank`]).
    pub fn note_blank(&mut self, name: &str) {
        let name = self.push(name);
        self.blank.push(name);
    }

    /// Whether a label was given without a value since the builder was cleared or reset.
    pub fn is_blank(&self, name: &str) -> bool {
        self.blank.iter().any(|blank| self.slice(*blank) == name)
    }

    /// Deletes a label.
    pub fn del(&mut self, name: &str) {
        if let Ok(i) = self.find(name) {
            self.entries.remove(i);
            self.changed = true;
        }
    }

    /// Keeps the labels for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &str) -> bool) {
        let (text, before) = (&self.text, self.entries.len());
        self.entries.retain(|e| keep(&text[e.name.start..e.name.end], &text[e.value.start..e.value.end]));
        self.changed |= self.entries.len() != before;
    }

    /// The value of a label; `None` where absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.find(name).ok().map(|i| self.slice(self.entries[i].value))
    }

    /// Names and values in order of names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.entries.iter().map(|e| (self.slice(e.name), self.slice(e.value)))
    }

    /// Number of labels.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The label set; the one that it began with where nothing has changed.
    pub fn build(&self) -> Labels {
        match &self.base {
            Base::Labels(base) if !self.changed => base.clone(),
            _ => Labels::from_sorted(self.iter()),
        }
    }

    /// The interned label set; allocates only where nobody holds it yet.
    pub fn build_series(&self) -> Series {
        match &self.base {
            Base::Labels(base) if !self.changed => Series::intern(base.clone()),
            Base::Series(base) if !self.changed => base.clone(),
            _ => Series::from_sorted(self.iter()),
        }
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.entries.binary_search_by(|e| self.slice(e.name).cmp(name))
    }

    fn slice(&self, span: Span) -> &str {
        &self.text[span.start..span.end]
    }

    fn push(&mut self, text: &str) -> Span {
        let start = self.text.len();
        self.text.push_str(text);
        Span { start, end: self.text.len() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_unchanged_is_the_set_that_it_began_with() {
        let base = Labels::from_pairs([("a", "1"), ("b", "2")]);
        let mut builder = LabelsBuilder::new();
        builder.reset(&base);
        builder.set("a", "1");
        builder.del("c");
        builder.set("c", "");
        assert_eq!(builder.build().address(), base.address());
        builder.set("a", "2");
        assert_ne!(builder.build(), base);
    }

    #[test]
    fn a_label_without_a_value_is_absent_and_remembered_until_the_next_set() {
        let mut builder = LabelsBuilder::new();
        builder.set("a", "1");
        builder.note_blank("b");
        assert!(builder.is_blank("b") && !builder.is_blank("a"));
        assert_eq!((builder.get("b"), builder.build()), (None, Labels::from_pairs([("a", "1")])));
        builder.reset(&Labels::from_pairs([("a", "1")]));
        assert!(!builder.is_blank("b"));
    }

    #[test]
    fn a_series_that_is_alive_is_found_again() {
        let mut builder = LabelsBuilder::new();
        builder.set("builder_test", "1");
        let series = builder.build_series();
        assert_eq!(builder.build_series(), series);
        builder.reset_series(&series);
        assert_eq!(builder.build_series(), series);
        builder.clear();
        assert!(builder.is_empty() && builder.build().is_empty());
    }

    #[test]
    fn a_label_of_ten_megabytes_is_not_copied_by_changes_of_others() {
        let base = Labels::from_pairs([("big", "x".repeat(10 << 20)), ("z", "1".to_owned())]);
        let mut builder = LabelsBuilder::new();
        builder.reset(&base);
        let before = builder.text.len();
        for i in 0..1000 {
            builder.set("z", if i % 2 == 0 { "2" } else { "3" });
        }
        assert_eq!(builder.text.len(), before + 1000);
        assert_eq!(builder.build().get("big").map(str::len), Some(10 << 20));
        builder.clear();
        assert_eq!(builder.text.capacity(), 0);
    }

    proptest! {
        #[test]
        fn changes_have_the_effect_that_they_have_on_a_map(
            base in proptest::collection::vec(("[a-d]{1,2}", "[xy]{0,2}"), 0..6),
            changes in proptest::collection::vec(("[a-d]{0,2}", "[xy]{0,2}"), 0..12),
        ) {
            let base = Labels::from_pairs(base);
            let mut map: std::collections::BTreeMap<String, String> =
                base.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            let mut builder = LabelsBuilder::new();
            builder.reset(&base);
            for (name, value) in &changes {
                builder.set(name, value);
                if value.is_empty() || name.is_empty() {
                    map.remove(name);
                } else {
                    map.insert(name.clone(), value.clone());
                }
                prop_assert_eq!(builder.get(name), map.get(name).map(String::as_str));
            }
            prop_assert_eq!(builder.len(), map.len());
            prop_assert_eq!(builder.build(), Labels::from_pairs(&map));
            builder.retain(|name, _| name.starts_with('a'));
            map.retain(|name, _| name.starts_with('a'));
            prop_assert_eq!(builder.build(), Labels::from_pairs(&map));
        }
    }
}

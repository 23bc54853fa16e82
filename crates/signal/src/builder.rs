//! A reusable scratch pad for changing label sets.
//!
//! Text is only ever appended to one buffer and entries point into it, so a change never moves a value;
//! what is unchanged at the end is the label set that it began with.

use crate::labels::{Labels, MAX_KEPT_BYTES};
use crate::series::Series;

/// Changes label sets, one after the other, without allocating for each.
#[derive(Debug, Default)]
pub struct LabelsBuilder {
    base: Labels,
    changed: bool,
    text: String,
    /// Sorted by name.
    entries: Vec<Entry>,
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
        self.clear();
        for (name, value) in base {
            let entry = Entry { name: self.push(name), value: self.push(value) };
            self.entries.push(entry);
        }
        self.base = base.clone();
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.text.clear();
        if self.text.capacity() > MAX_KEPT_BYTES {
            self.text = String::new();
        }
        self.base = Labels::empty();
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
        if !self.changed {
            return self.base.clone();
        }
        Labels::from_sorted(self.iter())
    }

    /// The interned label set.
    pub fn build_series(&self) -> Series {
        Series::intern(self.build())
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

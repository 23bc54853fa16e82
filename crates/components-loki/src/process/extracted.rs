//! What stages have taken out of an entry: names with typed values.
//!
//! At the start of a pipeline the map holds all labels as texts. They are not copied: a name that no stage has
//! set is looked up in the label set that the entry came with. Texts are kept in one buffer that lives as long
//! as the pipeline; large ones are slices of the line.

use std::borrow::Cow;
use std::hash::BuildHasher;

use bytestring::ByteString;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use signal::Labels;

/// Texts longer than this are kept as slices of what they were found in.
const COPIED: usize = 64;

/// Up to this many names are found by looking at each.
const SCANNED: usize = 16;

/// Buffers above this size are given back after an entry.
const MAX_KEPT_BYTES: usize = 256 << 10;

/// A value of the extracted map. Nested JSON is its text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// A text.
    Text(&'a str),
    /// A number as it was written in JSON.
    Number(&'a str),
    /// A computed number.
    Float(f64),
    /// true or false.
    Bool(bool),
    /// Null, as JSON has it.
    Null,
}

impl<'a> Value<'a> {
    /// As text; `None` for null. Whole numbers keep all their digits, others are written without exponent.
    pub fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Text(text) => Some(text.into()),
            Self::Number(text) if is_plain_integer(text) => Some(text.into()),
            Self::Number(_) | Self::Float(_) => self.number().map(|n| format_float(n).into()),
            Self::Bool(true) => Some("true".into()),
            Self::Bool(false) => Some("false".into()),
            Self::Null => None,
        }
    }

    /// As a number, without looking into texts.
    pub fn number(self) -> Option<f64> {
        match self {
            Self::Number(text) => text.parse().ok(),
            Self::Float(number) => Some(number),
            Self::Text(_) | Self::Bool(_) | Self::Null => None,
        }
    }
}

/// A number as Go's `strconv.FormatFloat(f, 'f', -1, 64)` writes it.
pub fn format_float(number: f64) -> String {
    if number.is_nan() {
        "NaN".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        number.to_string()
    }
}

fn is_plain_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) && text != "-0"
}

/// The values that stages have set; without the labels behind them.
#[derive(Clone, Debug, Default)]
pub struct Values {
    text: String,
    entries: Vec<Entry>,
    /// Places in `entries` by name, once there are more than [`SCANNED`].
    index: HashTable<u32>,
    /// Names come from lines: nobody may know which ones collide.
    state: RandomState,
}

#[derive(Clone, Debug)]
struct Entry {
    name: Span,
    slot: Slot,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    start: usize,
    end: usize,
}

#[derive(Clone, Debug)]
enum Slot {
    Text(Span),
    Slice(ByteString),
    Number(Span),
    Float(f64),
    Bool(bool),
    Null,
    /// Was there, or behind it is a label of this name: it is gone.
    Removed,
}

impl Values {
    /// Forgets all, keeps the memory.
    pub fn clear(&mut self) {
        if self.entries.is_empty() {
            return;
        }
        self.entries.clear();
        self.index.clear();
        self.text.clear();
        if self.text.capacity() > MAX_KEPT_BYTES {
            self.text = String::new();
        }
        if self.entries.capacity() > MAX_KEPT_BYTES / size_of::<Entry>() {
            (self.entries, self.index) = (Vec::new(), HashTable::new());
        }
    }

    /// Whether no stage has set anything.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn slice(&self, span: Span) -> &str {
        &self.text[span.start..span.end]
    }

    fn push(&mut self, text: &str) -> Span {
        let start = self.text.len();
        self.text.push_str(text);
        Span { start, end: self.text.len() }
    }

    fn find(&self, name: &str) -> Option<usize> {
        if self.entries.len() <= SCANNED {
            return self.entries.iter().position(|e| self.slice(e.name) == name);
        }
        let found = self
            .index
            .find(self.state.hash_one(name), |i| self.slice(self.entries[*i as usize].name) == name);
        found.map(|i| *i as usize)
    }

    fn put(&mut self, name: &str, slot: Slot) {
        if let Some(known) = self.find(name) {
            self.entries[known].slot = slot;
            return;
        }
        let name = self.push(name);
        self.entries.push(Entry { name, slot });
        if self.entries.len() > SCANNED {
            self.index_from(self.index.len());
        }
    }

    fn index_from(&mut self, first: usize) {
        let (text, entries, state) = (&self.text, &self.entries, &self.state);
        let name = |i: u32| &text[entries[i as usize].name.start..entries[i as usize].name.end];
        for i in first..entries.len() {
            let i = u32::try_from(i).expect("an entry has fewer than 2^32 extracted values");
            self.index.insert_unique(state.hash_one(name(i)), i, |i| state.hash_one(name(*i)));
        }
    }

    fn value(&self, slot: &'_ Slot) -> Option<Value<'_>> {
        // The slot is one of our own; its lifetime does not matter for spans.
        match slot {
            Slot::Text(span) => Some(Value::Text(self.slice(*span))),
            Slot::Slice(_) | Slot::Removed => None,
            Slot::Number(span) => Some(Value::Number(self.slice(*span))),
            Slot::Float(number) => Some(Value::Float(*number)),
            Slot::Bool(truth) => Some(Value::Bool(*truth)),
            Slot::Null => Some(Value::Null),
        }
    }
}

/// The extracted map of one entry.
#[derive(Debug)]
pub struct Extracted<'a> {
    /// The labels that the entry had at the start of the pipeline.
    initial: &'a Labels,
    values: &'a mut Values,
}

impl<'a> Extracted<'a> {
    /// What stages have set, over the labels that the entry came with.
    pub fn new(initial: &'a Labels, values: &'a mut Values) -> Self {
        Self { initial, values }
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<Value<'_>> {
        match self.values.find(name) {
            Some(i) => self.at(i),
            None => self.initial.get(name).map(Value::Text),
        }
    }

    /// The text of a name: `None` where it is absent or null.
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        self.get(name)?.text()
    }

    /// Its text as one that can be kept; a slice of the line stays a slice.
    pub fn shared_text(&self, name: &str) -> Option<ByteString> {
        if let Some(i) = self.values.find(name)
            && let Slot::Slice(slice) = &self.values.entries[i].slot
        {
            return Some(slice.clone());
        }
        self.text(name).map(|text| ByteString::from(&*text))
    }

    /// Whether there is such a name.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    fn at(&self, i: usize) -> Option<Value<'_>> {
        match &self.values.entries[i].slot {
            Slot::Slice(slice) => Some(Value::Text(slice)),
            slot => self.values.value(slot),
        }
    }

    /// Sets a text.
    pub fn set(&mut self, name: &str, text: &str) {
        let span = self.values.push(text);
        self.values.put(name, Slot::Text(span));
    }

    /// Sets a text that stands in `source`: long ones are not copied.
    pub fn set_part(&mut self, name: &str, source: &ByteString, text: &str) {
        if text.len() <= COPIED {
            self.set(name, text);
        } else {
            self.values.put(name, Slot::Slice(source.slice_ref(text)));
        }
    }

    /// Sets a text that is shared already.
    pub fn set_shared(&mut self, name: &str, text: ByteString) {
        self.values.put(name, Slot::Slice(text));
    }

    /// Sets a number as JSON writes it.
    pub fn set_number(&mut self, name: &str, text: &str) {
        let span = self.values.push(text);
        self.values.put(name, Slot::Number(span));
    }

    /// Sets a computed number.
    pub fn set_float(&mut self, name: &str, number: f64) {
        self.values.put(name, Slot::Float(number));
    }

    /// Sets true or false.
    pub fn set_bool(&mut self, name: &str, truth: bool) {
        self.values.put(name, Slot::Bool(truth));
    }

    /// Sets null.
    pub fn set_null(&mut self, name: &str) {
        self.values.put(name, Slot::Null);
    }

    /// Takes a name away.
    pub fn remove(&mut self, name: &str) {
        if self.contains(name) {
            self.values.put(name, Slot::Removed);
        }
    }

    /// All names and values; what stages have set in the order in which they did, then labels.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        let set = (0..self.values.entries.len())
            .filter_map(|i| Some((self.values.slice(self.values.entries[i].name), self.at(i)?)));
        let labels = self.initial.iter().filter(|(name, _)| self.values.find(name).is_none());
        set.chain(labels.map(|(name, value)| (name, Value::Text(value))))
    }

    /// The values that stages have set, to be kept.
    pub(super) fn values(&self) -> &Values {
        self.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_no_stage_has_set_are_labels() {
        let labels = Labels::from_pairs([("job", "app"), ("host", "a")]);
        let mut values = Values::default();
        let mut extracted = Extracted::new(&labels, &mut values);
        extracted.set("job", "other");
        extracted.set_number("n", "12345678901234567890");
        extracted.set_number("f", "1.50e2");
        extracted.set_float("g", 0.1);
        extracted.set_bool("b", true);
        extracted.set_null("null");
        let text = |name: &str| extracted.text(name).map(Cow::into_owned);
        assert_eq!(text("job").as_deref(), Some("other"));
        assert_eq!(text("host").as_deref(), Some("a"));
        assert_eq!(text("n").as_deref(), Some("12345678901234567890"));
        assert_eq!(text("f").as_deref(), Some("150"));
        assert_eq!(text("g").as_deref(), Some("0.1"));
        assert_eq!(text("b").as_deref(), Some("true"));
        assert_eq!((text("null"), text("absent")), (None, None));
        assert!(extracted.contains("null") && !extracted.contains("absent"));
        extracted.remove("host");
        assert_eq!(extracted.get("host"), None);
        let names: Vec<_> = extracted.iter().map(|(name, _)| name.to_owned()).collect();
        assert_eq!(names, ["job", "n", "f", "g", "b", "null"]);
    }

    #[test]
    fn many_names_are_found_as_few_are() {
        let mut values = Values::default();
        let labels = Labels::empty();
        for round in 0..2 {
            let mut extracted = Extracted::new(&labels, &mut values);
            for i in 0..1000 {
                extracted.set(&format!("name{i}"), &format!("{round} {i}"));
                extracted.set(&format!("name{}", i / 2), "again");
            }
            assert_eq!(extracted.get("name999"), Some(Value::Text(&format!("{round} 999"))));
            assert_eq!(extracted.get("name3"), Some(Value::Text("again")));
            assert_eq!(extracted.iter().count(), 1000);
            values.clear();
            assert!(values.is_empty());
        }
    }

    #[test]
    fn long_texts_stay_slices_of_the_line() {
        let line = ByteString::from(format!("x={}", "y".repeat(200)));
        let labels = Labels::empty();
        let mut values = Values::default();
        let mut extracted = Extracted::new(&labels, &mut values);
        extracted.set_part("x", &line, &line[2..]);
        let shared = extracted.shared_text("x").expect("set");
        assert!(std::ptr::eq(shared.as_ptr(), line[2..].as_ptr()), "not copied");
    }
}

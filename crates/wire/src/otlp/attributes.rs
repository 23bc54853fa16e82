//! The attributes of one serialised message as a list that can be changed: what has not been touched is never
//! copied, what has changed becomes [`Splices`].

use std::borrow::Cow;
use std::ops::Range;

use super::edit::Splices;
use super::view::{Unclear, attribute, fields};
use crate::proto::{push_bytes_field, push_varint, varint_len};

/// The attributes of a message.
#[derive(Debug)]
pub struct AttributeList<'a> {
    /// The number of the field that they are in.
    number: u32,
    /// Where what is new goes: the end of the message.
    end: usize,
    entries: Vec<Entry<'a>>,
    changed: bool,
}

#[derive(Debug)]
struct Entry<'a> {
    /// Where it was; none for what is new.
    place: Option<Range<usize>>,
    /// The serialised `KeyValue` as it was.
    raw: &'a [u8],
    key: Cow<'a, [u8]>,
    value: Option<Cow<'a, [u8]>>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Same,
    Changed,
    Gone,
}

impl<'a> AttributeList<'a> {
    /// Those in the fields of a number of a serialised message.
    ///
    /// # Errors
    /// If the message is not what it should be.
    pub fn new(message: &'a [u8], number: u32) -> Result<Self, Unclear> {
        Self::of(message, number, |_| true)
    }

    /// As [`AttributeList::new`], of keys that are of interest: the others are not in the list and stay what
    /// they are.
    ///
    /// # Errors
    /// If the message is not what it should be.
    pub fn of(message: &'a [u8], number: u32, interest: impl Fn(&[u8]) -> bool) -> Result<Self, Unclear> {
        let mut list = Self { number, end: message.len(), entries: Vec::new(), changed: false };
        let mut fields = fields(message);
        while let Some((place, field)) = fields.next_field()? {
            if field.number != number {
                continue;
            }
            let found = attribute(place, field.bytes()?)?;
            if interest(found.key) {
                list.entries.push(Entry {
                    place: Some(found.place),
                    raw: found.raw,
                    key: Cow::Borrowed(found.key),
                    value: found.value.map(Cow::Borrowed),
                    state: State::Same,
                });
            }
        }
        Ok(list)
    }

    /// Whether anything has changed.
    pub fn has_changed(&self) -> bool {
        self.changed
    }

    /// The first attribute of a key.
    #[inline]
    pub fn find(&self, key: &[u8]) -> Option<usize> {
        self.entries.iter().position(|e| e.state != State::Gone && *e.key == *key)
    }

    /// Places of the list; those of attributes that have been removed answer nothing.
    pub fn places(&self) -> Range<usize> {
        0..self.entries.len()
    }

    /// The key at a place.
    pub fn key(&self, at: usize) -> Option<&[u8]> {
        self.entries.get(at).filter(|e| e.state != State::Gone).map(|e| &*e.key)
    }

    /// The serialised `AnyValue` at a place; none where there is no value.
    pub fn value(&self, at: usize) -> Option<&[u8]> {
        self.entries.get(at).filter(|e| e.state != State::Gone).and_then(|e| e.value.as_deref())
    }

    /// Copies the value at a place for use elsewhere in the list.
    pub fn value_to_keep(&self, at: usize) -> Option<Cow<'a, [u8]>> {
        self.entries.get(at).filter(|e| e.state != State::Gone).and_then(|e| e.value.clone())
    }

    /// Gives the attribute at a place another value.
    pub fn set(&mut self, at: usize, value: Cow<'a, [u8]>) {
        if let Some(entry) = self.entries.get_mut(at) {
            entry.value = Some(value);
            entry.state = State::Changed;
            self.changed = true;
        }
    }

    /// Gives the attribute at a place another key.
    pub fn rename(&mut self, at: usize, key: Cow<'a, [u8]>) {
        if let Some(entry) = self.entries.get_mut(at) {
            entry.key = key;
            entry.state = State::Changed;
            self.changed = true;
        }
    }

    /// Adds an attribute behind the others.
    pub fn push(&mut self, key: Cow<'a, [u8]>, value: Option<Cow<'a, [u8]>>) {
        self.entries.push(Entry { place: None, raw: b"", key, value, state: State::Changed });
        self.changed = true;
    }

    /// Takes the attribute at a place away; other places stay what they are.
    pub fn remove(&mut self, at: usize) {
        if let Some(entry) = self.entries.get_mut(at) {
            entry.state = State::Gone;
            self.changed = true;
        }
    }

    /// Writes the changes down.
    pub fn write(&self, splices: &mut Splices) {
        if !self.changed {
            return;
        }
        for entry in &self.entries {
            match (entry.state, &entry.place) {
                (State::Same, _) | (State::Gone, None) => {}
                (State::Gone, Some(place)) => splices.remove(place.clone()),
                (State::Changed, place) => {
                    let place = place.clone().unwrap_or(self.end..self.end);
                    splices.replace(place, |out| entry.write(self.number, out));
                }
            }
        }
    }
}

impl Entry<'_> {
    fn write(&self, number: u32, out: &mut Vec<u8>) {
        let field = |len: usize| 1 + varint_len(len as u64) + len;
        let value = self.value.as_ref().map_or(0, |value| field(value.len()));
        let others = self.others();
        push_varint(out, u64::from(number) << 3 | 2);
        push_varint(out, (field(self.key.len()) + value + others.len()) as u64);
        push_bytes_field(out, 1, &self.key);
        if let Some(value) = &self.value {
            push_bytes_field(out, 2, value);
        }
        out.extend_from_slice(&others);
    }

    /// Fields that are neither key nor value.
    fn others(&self) -> Vec<u8> {
        let mut others = Vec::new();
        let mut fields = fields(self.raw);
        while let Ok(Some((place, field))) = fields.next_field() {
            if field.number > 2 {
                others.extend_from_slice(&self.raw[place]);
            }
        }
        others
    }
}

/// Appends an attribute as a field of a number; `value` is a serialised `AnyValue`.
pub fn push_attribute(out: &mut Vec<u8>, number: u32, key: &[u8], value: &[u8]) {
    let entry = Entry {
        place: None,
        raw: b"",
        key: Cow::Borrowed(key),
        value: Some(Cow::Borrowed(value)),
        state: State::Changed,
    };
    entry.write(number, out);
}

/// A serialised `AnyValue` that holds a text.
pub fn text_value(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 4);
    push_bytes_field(&mut out, 1, text);
    out
}

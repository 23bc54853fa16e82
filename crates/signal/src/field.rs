//! One label of series, name and value, once per process.
//!
//! The series of a target have its `instance` and `job` in common, those of a family its name, those of all
//! hosts what the same exporter says on each of them. A series is therefore a list of handles of labels, and
//! the text of a label is there once.

use std::fmt;
use std::sync::LazyLock;

use xxhash_rust::xxh3::xxh3_64;

use crate::interner::{Interned, Interner, Kind};
use crate::labels::Iter;

/// A handle of a label in the form of a `TimeSeries.labels` field, tag and length included.
#[derive(Clone)]
pub(crate) struct Field(Interned<Text>);

/// Bytes of a label.
struct Text;

impl Kind for Text {
    type Extra = ();
    type Part = u8;
    fn interner() -> &'static Interner<Self> {
        &FIELDS
    }
}

static FIELDS: LazyLock<Interner<Text>> = LazyLock::new(Interner::new);

impl Field {
    /// The one handle for these bytes, which are our own encoding of a label.
    pub(crate) fn intern(bytes: &[u8]) -> Self {
        let hash = hash(bytes);
        let same = |_: &(), known: &[u8]| known == bytes;
        let known = FIELDS.find(hash, same);
        Self(known.unwrap_or_else(|| FIELDS.insert(hash, (), bytes.iter().copied(), same)))
    }

    /// The field.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.parts()
    }

    /// Name and value.
    pub(crate) fn pair(&self) -> (&str, &str) {
        Iter::of_fields(std::slice::from_ref(self)).next().expect("a field holds a label")
    }

    /// This label's alone for as long as a handle is held.
    #[inline]
    pub(crate) fn address(&self) -> usize {
        self.0.address()
    }
}

fn hash(bytes: &[u8]) -> u32 {
    xxh3_64(bytes) as u32
}

impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Field").field(&self.bytes().escape_ascii().to_string()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_held(bytes: &[u8]) -> bool {
        FIELDS.find(hash(bytes), |_, known| known == bytes).is_some()
    }

    #[test]
    fn a_label_is_there_once_and_as_long_as_it_is_held() {
        let one = Field::intern(b"field test 1");
        let two = Field::intern(b"field test 1");
        let other = Field::intern(b"field test 2");
        assert_eq!(one.0.address(), two.0.address());
        assert_ne!(one.0.address(), other.0.address());
        drop(one);
        assert!(is_held(b"field test 1"));
        drop(two);
        assert!(!is_held(b"field test 1") && is_held(b"field test 2"));
    }
}

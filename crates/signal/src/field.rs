//! One label of series, name and value, once per process.
//!
//! The series of a target have its `instance` and `job` in common, those of a family its name, those of all
//! hosts what the same exporter says on each of them. A series is therefore a list of handles of labels, and
//! the text of a label is there once.

use std::fmt;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use triomphe::ThinArc;
use xxhash_rust::xxh3::xxh3_64;

use crate::interner::{Interner, Item};

/// A handle of a label in the form of a `TimeSeries.labels` field, tag and length included.
pub(crate) struct Field(Shared);

#[derive(Clone)]
struct Shared(ThinArc<Header, u8>);

struct Header {
    hash: u32,
    handles: AtomicU32,
}

static FIELDS: LazyLock<Interner<Shared>> = LazyLock::new(Interner::new);

impl Item for Shared {
    fn hash(&self) -> u64 {
        spread(self.0.header.header.hash)
    }
    fn handles(&self) -> &AtomicU32 {
        &self.0.header.header.handles
    }
    fn address(&self) -> usize {
        std::ptr::from_ref(&self.0.header).addr()
    }
}

/// All bits of a hash from the 32 that are kept: the low ones stay as far apart as they are.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Field {
    /// The one handle for these bytes, which are our own encoding of a label.
    pub(crate) fn intern(bytes: &[u8]) -> Self {
        let hash = xxh3_64(bytes) as u32;
        let same = |known: &Shared| known.0.slice == *bytes;
        let known = FIELDS.find(spread(hash), same);
        Self(known.unwrap_or_else(|| {
            let header = Header { hash, handles: AtomicU32::new(0) };
            FIELDS.insert(Shared(ThinArc::from_header_and_slice(header, bytes)), same)
        }))
    }

    /// The field.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0.0.slice
    }
}

impl Drop for Field {
    fn drop(&mut self) {
        if self.0.handles().fetch_sub(1, Ordering::AcqRel) == 1 {
            FIELDS.remove(&self.0);
        }
    }
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
        let hash = spread(xxh3_64(bytes) as u32);
        FIELDS.shard(hash).lock().find(hash, |known| known.0.slice == *bytes).is_some()
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

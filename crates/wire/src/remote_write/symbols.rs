//! The symbol table of a remote write 2 request, already in wire form.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use crate::proto::push_varint;

/// `Request.symbols`: each string once, the empty string first.
#[derive(Debug)]
pub(super) struct Symbols {
    /// `0x22 len text` for each symbol.
    bytes: Vec<u8>,
    /// Where each text is in `bytes`.
    spans: Vec<(u32, u32)>,
    table: HashTable<u32>,
    hasher: FixedState,
}

impl Symbols {
    pub(super) fn new() -> Self {
        let mut symbols = Self {
            bytes: Vec::new(),
            spans: Vec::new(),
            table: HashTable::new(),
            hasher: FixedState::default(),
        };
        symbols.clear();
        symbols
    }

    /// Back to only the empty string.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.spans.clear();
        self.table.clear();
        self.bytes.extend_from_slice(&[0x22, 0]);
        self.spans.push((2, 0));
    }

    /// All `symbols` fields.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The reference to a text.
    #[inline]
    pub(super) fn of(&mut self, text: &[u8]) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let hash = hash_text(&self.hasher, text);
        let (bytes, spans) = (&self.bytes, &self.spans);
        if let Some(known) = self.table.find(hash, |i| symbol(bytes, spans, *i) == text) {
            return *known;
        }
        self.add(hash, text)
    }

    fn add(&mut self, hash: u64, text: &[u8]) -> u32 {
        let index = self.spans.len() as u32;
        self.bytes.push(0x22);
        push_varint(&mut self.bytes, text.len() as u64);
        self.spans.push((self.bytes.len() as u32, text.len() as u32));
        self.bytes.extend_from_slice(text);
        let (bytes, spans, hasher) = (&self.bytes, &self.spans, &self.hasher);
        self.table.insert_unique(hash, index, |i| hash_text(hasher, symbol(bytes, spans, *i)));
        index
    }
}

/// The bytes alone, without the length that `hash_one` mixes in.
#[inline]
fn hash_text(hasher: &FixedState, text: &[u8]) -> u64 {
    let mut state = hasher.build_hasher();
    state.write(text);
    state.finish()
}

#[inline]
fn symbol<'a>(bytes: &'a [u8], spans: &[(u32, u32)], index: u32) -> &'a [u8] {
    let (start, len) = spans[index as usize];
    &bytes[start as usize..(start + len) as usize]
}

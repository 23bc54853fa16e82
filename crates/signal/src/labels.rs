//! Label sets: immutable, sorted, reference counted, held in the form in which remote write 1 sends them.
//!
//! Layout: one allocation with a header (hash, number of labels) and, label by label, the bytes of a
//! `prompb.TimeSeries.labels` field: `0x0A len { 0x0A len name 0x12 len value }`, which writers copy. Metric
//! samples have [`Series`] instead, which share the text of labels. Names are sorted by bytes and unique; empty values and empty names are absent;
//! both sides are UTF-8.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::LazyLock;

use triomphe::ThinArc;
use xxhash_rust::xxh64::{Xxh64, xxh64};

pub use crate::builder::LabelsBuilder;
use crate::field::Field;
pub use crate::series::Series;

/// The label that holds the metric name.
pub const METRIC_NAME: &str = "__name__";

/// Labels with this prefix are for relabelling of discovered targets only.
pub const META_PREFIX: &str = "__meta_";

/// Field 1, length delimited: `TimeSeries.labels` outside, `Label.name` inside.
const TAG_LABEL: u8 = 0x0A;
const TAG_NAME: u8 = 0x0A;
/// Field 2, length delimited: `Label.value`.
const TAG_VALUE: u8 = 0x12;

/// An immutable label set. Equality compares bytes, behind the hash. A clone is a reference count.
#[derive(Clone)]
pub struct Labels(ThinArc<Header, u8>);

struct Header {
    /// xxh64 of the wire bytes.
    hash: u64,
    count: u32,
}

/// Why pairs do not make a label set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelsError {
    /// The name appears more than once.
    #[error("label name {0:?} is given twice: keep one of them")]
    Duplicate(String),
    /// A label without a name.
    #[error("a label has an empty name")]
    EmptyName,
    /// The bytes are no `TimeSeries.labels` fields.
    #[error("labels are not encoded as remote write says")]
    Malformed,
}

impl Labels {
    /// The set without labels; does not allocate after the first call.
    pub fn empty() -> Self {
        static EMPTY: LazyLock<Labels> = LazyLock::new(|| Labels::from_sorted(std::iter::empty()));
        EMPTY.clone()
    }

    /// A set from pairs in any order. Of pairs with one name the last wins; empty values and empty names are
    /// left out.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut pairs: Vec<(N, V)> = pairs.into_iter().collect();
        pairs.sort_by(|a, b| a.0.as_ref().cmp(b.0.as_ref()));
        let last = |i: usize| pairs.get(i + 1).is_none_or(|next| next.0.as_ref() != pairs[i].0.as_ref());
        Self::from_sorted(
            (0..pairs.len()).filter(|i| last(*i)).map(|i| (pairs[i].0.as_ref(), pairs[i].1.as_ref())),
        )
    }

    /// As [`Labels::from_pairs`], but a name given twice or an empty name is an error; for data from outside
    /// whose sender must learn of it.
    pub fn try_from_pairs<N: AsRef<str>, V: AsRef<str>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, LabelsError> {
        let mut pairs: Vec<(N, V)> = pairs.into_iter().collect();
        pairs.sort_by(|a, b| a.0.as_ref().cmp(b.0.as_ref()));
        if pairs.first().is_some_and(|(name, _)| name.as_ref().is_empty()) {
            return Err(LabelsError::EmptyName);
        }
        if let Some(twice) = pairs.windows(2).find(|pair| pair[0].0.as_ref() == pair[1].0.as_ref()) {
            return Err(LabelsError::Duplicate(twice[0].0.as_ref().to_owned()));
        }
        Ok(Self::from_sorted(pairs.iter().map(|(n, v)| (n.as_ref(), v.as_ref()))))
    }

    /// A set from pairs that are sorted by name and unique.
    pub(crate) fn from_sorted<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        Encoded::with(pairs, |encoded| encoded.to_labels())
    }

    /// Names and values in order of names.
    pub fn iter(&self) -> Iter<'_> {
        Iter { rest: &self.0.slice, fields: [].iter(), left: self.len() }
    }

    /// The value of a label; `None` where absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().value(name)
    }

    /// The value of `__name__`.
    pub fn metric_name(&self) -> Option<&str> {
        self.get(METRIC_NAME)
    }

    /// Number of labels.
    pub fn len(&self) -> usize {
        self.0.header.header.count as usize
    }

    /// Whether it has no labels.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A hash of the whole set, computed when it was built; stable within a version of this program only.
    pub fn hash(&self) -> u64 {
        self.0.header.header.hash
    }

    /// All `TimeSeries.labels` fields of remote write 1, tags included.
    pub fn wire_bytes(&self) -> &[u8] {
        &self.0.slice
    }

    /// The hash that Prometheus gives this set in every build. As prometheus/model/labels: `StableHash`.
    pub fn stable_hash(&self) -> u64 {
        hash_pairs(self.iter())
    }

    /// The key by which clustered components share targets: labels for relabelling only do not count.
    pub fn target_hash(&self) -> u64 {
        hash_pairs(self.iter().filter(|(name, _)| !name.starts_with(META_PREFIX)))
    }

    /// Bytes of memory that this allocation takes, as far as it knows.
    pub fn heap_bytes(&self) -> usize {
        size_of::<usize>() * 2 + size_of::<Header>() + self.0.slice.len()
    }

    /// The address of the allocation.
    pub(crate) fn address(&self) -> usize {
        std::ptr::from_ref(&self.0.header).addr()
    }

    pub(crate) fn encoded(&self) -> Encoded<'_> {
        let Header { hash, count } = self.0.header.header;
        Encoded { hash, wire: &self.0.slice, count }
    }
}

/// A label set that has no allocation of its own yet.
pub(crate) struct Encoded<'a> {
    pub(crate) hash: u64,
    pub(crate) wire: &'a [u8],
    count: u32,
}

impl Encoded<'_> {
    /// Encodes sorted, unique pairs into a buffer of the thread and lends it.
    pub(crate) fn with<'a, R>(
        pairs: impl Iterator<Item = (&'a str, &'a str)>,
        f: impl FnOnce(&Encoded<'_>) -> R,
    ) -> R {
        thread_local! {
            static WIRE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        WIRE.with_borrow_mut(|wire| {
            wire.clear();
            let mut count = 0;
            for (name, value) in pairs.filter(|(name, value)| !name.is_empty() && !value.is_empty()) {
                write_label(name.as_bytes(), value.as_bytes(), wire);
                count += 1;
            }
            let result = f(&Encoded { hash: xxh64(wire, 0), wire, count });
            // One huge label must not pin its size in every thread.
            if wire.capacity() > MAX_KEPT_BYTES {
                *wire = Vec::new();
            }
            result
        })
    }

    /// Bytes of somebody else, to ask whether a set of just these bytes is known. Not to be made a set of.
    pub(crate) fn foreign<'a>(wire: &'a [u8]) -> Encoded<'a> {
        Encoded { hash: xxh64(wire, 0), wire, count: 0 }
    }

    pub(crate) fn to_labels(&self) -> Labels {
        let header = Header { hash: self.hash, count: self.count };
        Labels(ThinArc::from_header_and_slice(header, self.wire))
    }
}

/// Scratch buffers above this size are given back after use.
pub(crate) const MAX_KEPT_BYTES: usize = 1 << 20;

fn hash_pairs<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> u64 {
    let mut state = Xxh64::new(0);
    for (name, value) in pairs {
        state.update(name.as_bytes());
        state.update(b"\xff");
        state.update(value.as_bytes());
        state.update(b"\xff");
    }
    state.digest()
}

pub(crate) fn write_label(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    let inner = 2 + varint_len(name.len()) + name.len() + varint_len(value.len()) + value.len();
    out.reserve(inner + 1 + varint_len(inner));
    out.push(TAG_LABEL);
    push_varint(inner, out);
    out.push(TAG_NAME);
    push_varint(name.len(), out);
    out.extend_from_slice(name);
    out.push(TAG_VALUE);
    push_varint(value.len(), out);
    out.extend_from_slice(value);
}

fn varint_len(value: usize) -> usize {
    (usize::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize
}

pub(crate) fn push_varint(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn split_varint(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    if first < 0x80 {
        return Some((usize::from(first), rest));
    }
    let mut value = usize::from(first & 0x7f);
    let mut shift = 7;
    let mut rest = rest;
    loop {
        let (&byte, after) = rest.split_first()?;
        value |= usize::from(byte & 0x7f).checked_shl(shift)?;
        rest = after;
        if byte < 0x80 {
            return Some((value, rest));
        }
        shift += 7;
    }
}

/// The fields of our own bytes, one a label.
pub(crate) fn fields(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (_, _, rest) = split_field(bytes)?;
        let (field, rest) = bytes.split_at(bytes.len() - rest.len());
        bytes = rest;
        Some(field)
    })
}

/// First label of our own bytes: name, value, what follows. `None` at the end.
fn split_label(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (_, rest) = split_varint(bytes.get(1..)?)?;
    let (len, rest) = split_varint(rest.get(1..)?)?;
    let (name, rest) = rest.split_at_checked(len)?;
    let (len, rest) = split_varint(rest.get(1..)?)?;
    let (value, rest) = rest.split_at_checked(len)?;
    Some((name, value, rest))
}

/// Reads `TimeSeries.labels` fields of anybody: names and values in their order.
pub(crate) fn decode(mut bytes: &[u8]) -> Option<Vec<(&str, &str)>> {
    let mut pairs = Vec::new();
    while !bytes.is_empty() {
        let (TAG_LABEL, mut label, rest) = split_field(bytes)? else { return None };
        bytes = rest;
        let (mut name, mut value) = ("", "");
        while !label.is_empty() {
            let (tag, text, rest) = split_field(label)?;
            let text = std::str::from_utf8(text).ok()?;
            match tag {
                TAG_NAME => name = text,
                TAG_VALUE => value = text,
                _ => return None,
            }
            label = rest;
        }
        pairs.push((name, value));
    }
    Some(pairs)
}

fn split_field(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (len, rest) = split_varint(rest)?;
    let (field, rest) = rest.split_at_checked(len)?;
    Some((*tag, field, rest))
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("label bytes are only ever written from &str")
}

/// Iterates over a [`Labels`] or a [`Series`].
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    rest: &'a [u8],
    /// What follows `rest`.
    fields: std::slice::Iter<'a, Field>,
    left: usize,
}

impl<'a> Iter<'a> {
    pub(crate) fn of_fields(fields: &'a [Field]) -> Self {
        Self { rest: &[], fields: fields.iter(), left: fields.len() }
    }

    /// The value of a label, looked for among those that are left.
    pub(crate) fn value(mut self, name: &str) -> Option<&'a str> {
        while let Some((found, value)) = self.advance() {
            match found.cmp(name.as_bytes()) {
                Ordering::Less => {}
                Ordering::Equal => return Some(text(value)),
                Ordering::Greater => return None,
            }
        }
        None
    }

    #[inline]
    fn advance(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        if self.rest.is_empty() {
            self.rest = self.fields.next()?.bytes();
        }
        let (name, value, rest) = split_label(self.rest)?;
        self.rest = rest;
        self.left = self.left.saturating_sub(1);
        Some((name, value))
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a str);
    fn next(&mut self) -> Option<Self::Item> {
        let (name, value) = self.advance()?;
        Some((text(name), text(value)))
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}
impl ExactSizeIterator for Iter<'_> {}

impl<'a> IntoIterator for &'a Labels {
    type Item = (&'a str, &'a str);
    type IntoIter = Iter<'a>;
    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self::from_pairs(pairs)
    }
}

impl Default for Labels {
    fn default() -> Self {
        Self::empty()
    }
}

impl fmt::Display for Labels {
    /// `name{a="b"}` as in PromQL, `{a="b"}` without a name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_pairs(self.iter(), f)
    }
}

pub(crate) fn write_pairs(pairs: Iter<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let name = pairs.clone().value(METRIC_NAME);
    let plain = name.is_some_and(crate::names::is_legacy_name);
    if let (Some(name), true) = (name, plain) {
        f.write_str(name)?;
        if pairs.len() == 1 {
            return Ok(());
        }
    }
    f.write_str("{")?;
    let shown = pairs.filter(|(label, _)| !plain || *label != METRIC_NAME);
    for (i, (label, value)) in shown.enumerate() {
        let comma = if i == 0 { "" } else { ", " };
        if crate::names::is_legacy_label(label) {
            write!(f, "{comma}{label}={value:?}")?;
        } else {
            write!(f, "{comma}{label:?}={value:?}")?;
        }
    }
    f.write_str("}")
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for Labels {
    fn eq(&self, other: &Self) -> bool {
        self.address() == other.address() || (self.hash() == other.hash() && self.0.slice == other.0.slice)
    }
}
impl Eq for Labels {}
impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.header.header.hash);
    }
}
impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Labels {
    /// Label by label, name before value.
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pairs_are_sorted_and_the_last_of_a_name_wins() {
        let labels = Labels::from_pairs([("b", "1"), ("a", "2"), ("b", "3"), ("c", ""), ("", "x")]);
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "2"), ("b", "3")]);
        assert_eq!(labels.len(), 2);
        assert_eq!(Labels::from_pairs([("a", "1"), ("a", "")]), Labels::empty());
    }

    #[test]
    fn strict_construction_names_the_label_that_is_wrong() {
        let twice = Labels::try_from_pairs([("b", "1"), ("a", "2"), ("b", "1")]);
        assert_eq!(twice, Err(LabelsError::Duplicate("b".into())));
        assert_eq!(Labels::try_from_pairs([("", "1")]), Err(LabelsError::EmptyName));
        assert_eq!(Labels::try_from_pairs([("b", ""), ("a", "2")]), Ok(Labels::from_pairs([("a", "2")])));
    }

    #[test]
    fn wire_bytes_are_the_labels_fields_of_a_time_series() {
        let labels = Labels::from_pairs([("a", "bc")]);
        assert_eq!(labels.wire_bytes(), b"\x0a\x07\x0a\x01a\x12\x02bc");
        let long = "v".repeat(300);
        let labels = Labels::from_pairs([("n", long.as_str())]);
        assert_eq!(&labels.wire_bytes()[..9], b"\x0a\xb2\x02\x0a\x01n\x12\xac\x02");
        assert_eq!(labels.get("n"), Some(long.as_str()));
    }

    #[test]
    fn labels_are_shown_as_promql_writes_them() {
        let show = |pairs: &[(&str, &str)]| Labels::from_pairs(pairs.iter().copied()).to_string();
        assert_eq!(show(&[]), "{}");
        assert_eq!(show(&[("__name__", "up")]), "up");
        assert_eq!(show(&[("__name__", "up"), ("a", "x\"y"), ("b.c", "2")]), r#"up{a="x\"y", "b.c"="2"}"#);
        assert_eq!(show(&[("__name__", "a.b")]), r#"{__name__="a.b"}"#);
    }

    #[test]
    fn a_label_of_ten_megabytes_survives() {
        let value = "x".repeat(10 << 20);
        let labels = Labels::from_pairs([("big", value.as_str()), ("z", "1")]);
        assert_eq!(labels.get("big").map(str::len), Some(value.len()));
        assert_eq!(labels.get("z"), Some("1"));
    }

    #[test]
    fn the_hash_of_a_target_leaves_out_what_is_for_relabelling() {
        let labels = Labels::from_pairs([("a", "b")]);
        // xxhash of "a\xffb\xff".
        assert_eq!(labels.stable_hash(), xxh64(b"a\xffb\xff", 0));
        let target = Labels::from_pairs([("a", "b"), ("__meta_x", "1"), ("__metal", "")]);
        assert_eq!(target.target_hash(), labels.stable_hash());
        assert_ne!(target.stable_hash(), labels.stable_hash());
    }

    proptest! {
        #[test]
        fn any_pairs_come_back_sorted_unique_and_without_empties(
            pairs in proptest::collection::vec(("[a-c]{0,2}|.{0,3}", ".{0,200}"), 0..12)
        ) {
            let labels = Labels::from_pairs(pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())));
            let mut expected = std::collections::BTreeMap::new();
            for (name, value) in &pairs {
                expected.insert(name.as_str(), value.as_str());
            }
            expected.retain(|name, value| !name.is_empty() && !value.is_empty());
            prop_assert_eq!(labels.iter().collect::<Vec<_>>(), expected.iter().map(|(n, v)| (*n, *v)).collect::<Vec<_>>());
            prop_assert_eq!(labels.len(), expected.len());
            for (name, value) in &pairs {
                prop_assert_eq!(labels.get(name), expected.get(name.as_str()).copied());
                let _ = value;
            }
            prop_assert_eq!(&Labels::from_pairs(labels.iter()), &labels);
        }
    }
}

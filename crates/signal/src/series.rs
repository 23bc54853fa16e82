//! Interned label sets: while anybody holds a [`Series`], every equal set in the process is that handle.
//!
//! Layout: one allocation with a head (count of handles, hash, number of labels, length on the wire) and, label by
//! label in order of names, a handle of the label itself (`field.rs`): 16 bytes and 8 for each label. How handles come
//! and go is said in `interner.rs`; a series that ends gives its labels back after it has let go of the table.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::LazyLock;

use smallvec::SmallVec;

use crate::field::Field;
use crate::interner::{Interned, Interner, Kind, spread};
use crate::labels::{Encoded, Iter, Labels, LabelsError, METRIC_NAME, decode, fields, write_pairs};

/// An interned label set. Comparing and hashing look at the address only; a clone is a reference count.
#[derive(Clone)]
pub struct Series(Interned<Set>);

/// The set itself: labels in order of names.
struct Set;

impl Kind for Set {
    /// Bytes of all fields.
    type Extra = u32;
    type Part = Field;
    fn interner() -> &'static Interner<Self> {
        &SERIES
    }
}

static SERIES: LazyLock<Interner<Set>> = LazyLock::new(Interner::new);

/// How many series are alive in this process.
pub(crate) fn live() -> usize {
    SERIES.live()
}

/// Whether a set has these bytes.
fn is(wire_len: u32, fields: &[Field], wire: &[u8]) -> bool {
    if wire_len as usize != wire.len() {
        return false;
    }
    let mut fields = fields.iter();
    fields.try_fold(wire, |rest, field| rest.strip_prefix(field.bytes())).is_some_and(<[u8]>::is_empty)
}

/// What a series keeps of the hash of the equal [`Labels`].
fn kept(hash: u64) -> u32 {
    hash as u32
}

impl Series {
    /// The one handle for this set.
    pub fn intern(labels: Labels) -> Self {
        Self::of(&labels.encoded())
    }

    fn of(encoded: &Encoded<'_>) -> Self {
        Self(Self::find(encoded).unwrap_or_else(|| {
            let fields: SmallVec<[Field; 16]> = fields(encoded.wire).map(Field::intern).collect();
            Self::insert(encoded, fields.into_iter())
        }))
    }

    fn insert(encoded: &Encoded<'_>, fields: impl ExactSizeIterator<Item = Field>) -> Interned<Set> {
        let wire_len = u32::try_from(encoded.wire.len()).expect("bodies are far below four gigabytes");
        SERIES.insert(kept(encoded.hash), wire_len, fields, |len, fields| is(*len, fields, encoded.wire))
    }

    fn find(encoded: &Encoded<'_>) -> Option<Interned<Set>> {
        SERIES.find(kept(encoded.hash), |len, fields| is(*len, fields, encoded.wire))
    }

    /// The handle for the `TimeSeries.labels` fields of a remote write request, tags included. A set that is
    /// alive and comes in our own encoding (sorted, as senders do) is found by its bytes, which are not
    /// looked into.
    pub fn from_wire(bytes: &[u8]) -> Result<Self, LabelsError> {
        let encoded = Encoded::foreign(bytes);
        if let Some(known) = Self::find(&encoded) {
            return Ok(Self(known));
        }
        let pairs = decode(bytes).ok_or(LabelsError::Malformed)?;
        Labels::try_from_pairs(pairs).map(Self::intern)
    }

    /// The one handle for a set of pairs that are sorted by name and unique; allocates only where the set is
    /// not alive yet.
    pub(crate) fn from_sorted<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        Encoded::with(pairs, Self::of)
    }

    /// The one handle for a set of labels that are sorted by name and unique. `wire` is room to work in.
    pub(crate) fn of_fields(labels: &[Field], wire: &mut Vec<u8>) -> Self {
        wire.clear();
        labels.iter().for_each(|field| wire.extend_from_slice(field.bytes()));
        let encoded = Encoded::foreign(wire);
        Self(Self::find(&encoded).unwrap_or_else(|| Self::insert(&encoded, labels.iter().cloned())))
    }

    /// The labels.
    #[inline]
    pub(crate) fn fields(&self) -> &[Field] {
        self.0.parts()
    }

    /// The set as one of its own, copied.
    pub fn to_labels(&self) -> Labels {
        Labels::from_sorted(self.iter())
    }

    /// Names and values in order of names.
    pub fn iter(&self) -> Iter<'_> {
        Iter::of_fields(self.0.parts())
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
        self.0.parts().len()
    }

    /// Whether it has no labels.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A hash of the set: equal sets have the same, and so may others, for it is made of 32 bits. The low ones are those
    /// of the hash of the equal [`Labels`].
    pub fn hash(&self) -> u64 {
        spread(self.0.hash())
    }

    /// The `TimeSeries.labels` fields of remote write 1, tags included, one by one. Series that have a label
    /// in common have the same bytes of it, at the same address.
    #[inline]
    pub fn wire_fields(&self) -> impl ExactSizeIterator<Item = &[u8]> + Clone {
        self.0.parts().iter().map(Field::bytes)
    }

    /// Bytes of all [`Series::wire_fields`].
    #[inline]
    pub fn wire_len(&self) -> usize {
        *self.0.extra() as usize
    }

    /// A key that is this series' alone for as long as a handle is held.
    #[inline]
    pub fn id(&self) -> usize {
        self.0.address()
    }

    /// Whether two handles are of one set; the same as equality of the sets.
    #[inline]
    pub fn ptr_eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl From<Labels> for Series {
    fn from(labels: Labels) -> Self {
        Self::intern(labels)
    }
}
impl<'a> IntoIterator for &'a Series {
    type Item = (&'a str, &'a str);
    type IntoIter = Iter<'a>;
    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}
impl fmt::Debug for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl fmt::Display for Series {
    /// As [`Labels`] are shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_pairs(self.iter(), f)
    }
}
impl PartialEq for Series {
    fn eq(&self, other: &Self) -> bool {
        self.ptr_eq(other)
    }
}
impl Eq for Series {}
impl PartialEq<Labels> for Series {
    fn eq(&self, other: &Labels) -> bool {
        self.0.hash() == kept(other.hash()) && is(*self.0.extra(), self.0.parts(), other.wire_bytes())
    }
}
impl Hash for Series {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_usize(self.id());
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use proptest::prelude::*;

    use super::*;
    use crate::interner::SHARDS;

    fn labels(value: &str) -> Labels {
        Labels::from_pairs([("series_test", value)])
    }

    fn is_held(labels: &Labels) -> bool {
        Series::find(&labels.encoded()).is_some()
    }

    #[test]
    fn equal_sets_share_a_handle_while_one_is_held() {
        let one = Series::intern(labels("same"));
        let two = Series::intern(labels("same"));
        assert!(one.ptr_eq(&two) && one == two && one.id() == two.id());
        assert_ne!(one, Series::intern(labels("other")));
        drop(one);
        assert!(is_held(&labels("same")));
        drop(two.clone());
        assert!(is_held(&labels("same")));
        drop(two);
        assert!(!is_held(&labels("same")));
    }

    #[test]
    fn a_label_set_outlives_its_series_and_can_be_interned_again() {
        let series = Series::intern(labels("again"));
        let kept = series.to_labels();
        drop(series);
        assert!(!is_held(&kept));
        let series = Series::intern(kept.clone());
        assert_eq!(series, kept);
        assert!(is_held(&kept));
    }

    #[test]
    fn threads_that_intern_and_drop_one_set_never_see_two_of_it_and_leave_none() {
        let current = Mutex::new(None::<Series>);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let current = &current;
                scope.spawn(move || {
                    for round in 0..20_000 {
                        let mine = Series::intern(labels("race"));
                        let again = Series::intern(labels("race"));
                        assert!(mine.ptr_eq(&again));
                        // Handles also end on threads that did not make them, and may be the last.
                        if round % 3 == thread % 3 {
                            let other = current.lock().replace(mine.clone());
                            assert!(other.is_none_or(|other| other == mine));
                        } else if round % 5 == 0 {
                            let other = current.lock().take();
                            drop(mine);
                            drop(again);
                            drop(other);
                        }
                    }
                });
            }
        });
        drop(current);
        assert!(!is_held(&labels("race")));
    }

    #[test]
    fn a_series_is_found_by_the_bytes_of_a_remote_write_request() {
        let known = Series::intern(Labels::from_pairs([("series_test", "wire"), ("z", "1")]));
        assert_eq!(Series::from_wire(known.to_labels().wire_bytes()).as_ref(), Ok(&known));
        // Unsorted, value before name, and a label without a value.
        let bytes = b"\x0a\x06\x12\x011\x0a\x01z\x0a\x03\x0a\x01e\x0a\x13\x0a\x0bseries_test\x12\x04wire";
        assert_eq!(Series::from_wire(bytes), Ok(known.clone()));
        let new = b"\x0a\x07\x0a\x01n\x12\x02ew";
        assert_eq!(Series::from_wire(new).map(|s| s.to_string()), Ok("{n=\"ew\"}".to_owned()));
        let twice = [new.as_slice(), new].concat();
        assert_eq!(Series::from_wire(&twice), Err(LabelsError::Duplicate("n".into())));
        for bytes in
            [&b"\x0a"[..], b"\x0a\x05\x0a", b"\x12\x00", b"\x0a\x03\x0a\x01\xff", b"\x0a\x02\x1a\x00"]
        {
            assert_eq!(Series::from_wire(bytes), Err(LabelsError::Malformed), "{bytes:?}");
        }
        assert_eq!(Series::from_wire(b"").map(|s| s.len()), Ok(0));
    }

    #[test]
    fn a_shard_gives_memory_back_after_a_wave_of_series() {
        let wave: Vec<Series> =
            (0..SHARDS * 400).map(|i| Series::intern(labels(&format!("wave{i}")))).collect();
        assert!(live() >= wave.len());
        let hash = wave[0].0.hash();
        let full = SERIES.room(hash);
        drop(wave);
        assert!(SERIES.room(hash) < full);
    }

    #[test]
    fn a_series_takes_eight_bytes_a_label_and_shares_their_text() {
        let of = |path: &str| {
            Series::intern(Labels::from_pairs([("job", "series test"), ("path", path), ("zone", "a")]))
        };
        let (one, two) = (of("/1"), of("/2"));
        let shared = |i: usize| {
            let at = |series: &Series| series.wire_fields().nth(i).expect("a label").as_ptr();
            at(&one) == at(&two)
        };
        assert_eq!([shared(0), shared(1), shared(2)], [true, false, true]);
        assert_eq!(one.0.parts().as_ptr().addr() - one.id(), 16);
        assert_eq!((size_of::<Field>(), size_of::<Option<Series>>()), (8, 8));
    }

    proptest! {
        #[test]
        fn a_series_says_what_its_labels_say(pairs in proptest::collection::vec(("[a-cé_]{1,3}", ".{0,3}"), 0..6)) {
            let labels = Labels::from_pairs(pairs);
            let series = Series::intern(labels.clone());
            prop_assert_eq!(&series, &labels);
            prop_assert_eq!(series.hash() as u32, labels.hash() as u32);
            prop_assert_eq!(series.len(), labels.len());
            prop_assert!(series.iter().eq(labels.iter()));
            prop_assert_eq!(series.iter().len(), labels.len());
            prop_assert_eq!(series.to_string(), labels.to_string());
            prop_assert_eq!(series.wire_fields().collect::<Vec<_>>().concat(), labels.wire_bytes());
            prop_assert_eq!(series.wire_len(), labels.wire_bytes().len());
            for (name, value) in &labels {
                prop_assert_eq!(series.get(name), Some(value));
            }
            prop_assert_eq!(series.get("b!"), None);
            prop_assert_eq!(series.to_labels(), labels);
        }
    }
}

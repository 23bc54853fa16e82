//! Series in writing: what a list of them says, in few bytes and without a handle of any.
//!
//! The series of a target differ from one another in little, and mostly from their neighbours. One is written as the
//! labels by which it differs from the one before it: a number for a label that the list has had, and for a new one
//! the end of its value, the rest of which is the beginning of the value that stood in its place.
//!
//! Of a series: a varint, `mask << 1` with a bit for each label that is another (as many labels as before, at most
//! [`MASKED`]) or `count << 1 | 1` (all are told); then each such label: its number plus one, or 0 and the label. A
//! label: `shared << 1`, bytes of its value that the one in its place begins with too, whose name it has, or
//! `length << 1 | 1` and its name; then the length of what follows of the value, and that.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use smallvec::SmallVec;

use crate::field::Field;
use crate::labels::{push_varint, split_varint, write_label};
use crate::series::Series;

/// Labels of a series that can be compared with those of the one before.
const MASKED: usize = 32;

/// A list of series in their order.
pub(crate) struct Packed(Box<[u8]>);

impl Packed {
    pub(crate) fn new(series: &[Series]) -> Self {
        let mut out = Vec::with_capacity(series.len() * 8);
        let mut known: HashMap<usize, usize, FixedState> = HashMap::default();
        let mut before: &[Field] = &[];
        for series in series {
            let fields = series.fields();
            let masked = fields.len() == before.len() && fields.len() <= MASKED;
            let changed = |at: usize| !masked || fields[at].address() != before[at].address();
            let mask = |mask: usize, at: usize| mask | usize::from(changed(at)) << at;
            push_varint(
                if masked { (0..fields.len()).fold(0, mask) << 1 } else { fields.len() << 1 | 1 },
                &mut out,
            );
            for at in (0..fields.len()).filter(|at| changed(*at)) {
                let next = known.len();
                match known.entry(fields[at].address()) {
                    hashbrown::hash_map::Entry::Occupied(number) => push_varint(number.get() + 1, &mut out),
                    hashbrown::hash_map::Entry::Vacant(entry) => {
                        entry.insert(next);
                        out.push(0);
                        push_label(&fields[at], before.get(at), &mut out);
                    }
                }
            }
            before = fields;
        }
        // Copied, not shrunk: an allocator may leave what is shrunk by less than half where it is.
        Self(Box::from(&out[..]))
    }

    pub(crate) fn unpack(&self) -> Vec<Series> {
        let mut rest = Rest(&self.0);
        let (mut known, mut now) = (Vec::new(), SmallVec::<[Field; 16]>::new());
        let (mut label, mut wire) = (Vec::new(), Vec::new());
        let mut all = Vec::new();
        while !rest.0.is_empty() {
            let head = rest.number();
            let (told, mask) = if head & 1 == 1 { (head >> 1, usize::MAX) } else { (now.len(), head >> 1) };
            now.truncate(told);
            for at in (0..told).filter(|at| mask == usize::MAX || mask >> at & 1 == 1) {
                let field = match rest.number() {
                    0 => {
                        rest.label(now.get(at), &mut label);
                        known.push(Field::intern(&label));
                        known.last().expect("pushed above").clone()
                    }
                    number => Field::clone(&known[number - 1]),
                };
                match now.get_mut(at) {
                    Some(place) => *place = field,
                    None => now.push(field),
                }
            }
            all.push(Series::of_fields(&now, &mut wire));
        }
        all
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        self.0.len()
    }
}

impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Packed({} bytes)", self.bytes())
    }
}

fn push_label(field: &Field, before: Option<&Field>, out: &mut Vec<u8>) {
    let (name, value) = field.pair();
    let shared = before.map(Field::pair).filter(|(other, _)| *other == name).map(|(_, other)| {
        value.as_bytes().iter().zip(other.as_bytes()).take_while(|(mine, other)| mine == other).count()
    });
    match shared {
        Some(shared) => push_varint(shared << 1, out),
        None => {
            push_varint(name.len() << 1 | 1, out);
            out.extend_from_slice(name.as_bytes());
        }
    }
    let end = &value.as_bytes()[shared.unwrap_or(0)..];
    push_varint(end.len(), out);
    out.extend_from_slice(end);
}

/// What is still to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn number(&mut self) -> usize {
        let (number, rest) = split_varint(self.0).expect("written by Packed::new");
        self.0 = rest;
        number
    }

    fn bytes(&mut self) -> &'a [u8] {
        let len = self.number();
        self.take(len)
    }

    fn take(&mut self, len: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(len);
        self.0 = rest;
        bytes
    }

    /// A label in the form of [`Field::bytes`].
    fn label(&mut self, before: Option<&Field>, out: &mut Vec<u8>) {
        let head = self.number();
        let (name, begin) = if head & 1 == 1 {
            (self.take(head >> 1), &[][..])
        } else {
            let (name, value) = before.expect("written by Packed::new").pair();
            (name.as_bytes(), &value.as_bytes()[..head >> 1])
        };
        let value = [begin, self.bytes()].concat();
        out.clear();
        write_label(name, &value, out);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Labels;

    fn check(series: &[Series]) -> usize {
        let packed = Packed::new(series);
        assert_eq!(packed.unpack(), series);
        packed.bytes()
    }

    #[test]
    fn series_come_back_after_the_last_handle_is_gone() {
        let pairs = |i: usize| [("__name__", format!("packed_{}_total", i / 7)), ("path", format!("/é{i}"))];
        let made = |i: usize| Labels::from_pairs(pairs(i));
        let series: Vec<Series> = (0..100).map(|i| Series::intern(made(i))).collect();
        let packed = Packed::new(&series);
        drop(series);
        let again = packed.unpack();
        assert_eq!(again.len(), 100);
        assert!(again.iter().enumerate().all(|(i, series)| *series == made(i)));
    }

    #[test]
    fn a_series_like_an_exporters_takes_a_tenth_of_its_text() {
        let series = |i: usize| {
            Series::intern(Labels::from_pairs([
                ("__name__", format!("http_request_duration_seconds_{}", i / 19)),
                ("code", format!("{}", 200 + i % 4)),
                ("instance", "10.0.12.7:9100".into()),
                ("job", "integrations/server".into()),
                ("method", ["GET", "POST", "PUT"][i % 3].into()),
                ("path", format!("/api/v1/resource/{i}")),
            ]))
        };
        let all: Vec<Series> = (0..1900).map(series).collect();
        let text: usize = all.iter().map(Series::wire_len).sum();
        assert!(check(&all) * 10 < text, "{} of {text}", check(&all));
    }

    #[test]
    fn more_labels_than_the_mask_has_room_for_are_told_one_by_one() {
        for count in [0, 1, MASKED - 1, MASKED, MASKED + 1, 200] {
            let of = |end: usize| {
                Series::intern(Labels::from_pairs(
                    (0..count).map(|i| (format!("l{i:03}"), format!("{}", i * end))),
                ))
            };
            check(&[of(1), of(2), of(1), of(2)]);
        }
    }

    proptest! {
        #[test]
        fn any_series_in_any_order_come_back(
            sets in prop::collection::vec(prop::collection::vec(("[a-cé]{1,2}", "[xyé]{0,3}"), 0..5), 0..40),
        ) {
            let series: Vec<Series> = sets.into_iter().map(|pairs| Series::intern(Labels::from_pairs(pairs))).collect();
            check(&series);
        }
    }
}

//! A request that comes again and again with other values and another time: compressed once, then filled in.
//!
//! Data path: message with any values → [`Template::of`] finds the values and times in it and compresses what
//! stands between them, slowly and well → [`Template::fill`] copies that and writes the values, as one snappy
//! block. Nothing is hashed, searched or looked up for a sample.
//!
//! The parts: before each value stand its three bytes of tags ([`TAGS`]), behind it its time. A *piece* is
//! what lies between one value and the tags of the next. It begins with the time of the sample before, which
//! is written out once and copied from there to all others, so that one change changes them all. No other
//! copy reaches into a time or a value.

use super::matcher::{Matcher, copy_element, literal_tag, push_copy};
use super::{Counts, Message};
use crate::proto::{Reader, Value, push_varint, push_zeros, put_varint};

/// `Sample` field of 16 bytes, `value` as a double.
const TAGS: [u8; 3] = [0x12, 0x10, 0x09];
/// Bytes of a value and of its tags.
const VALUE: usize = 8;
const TAGGED: usize = TAGS.len() + VALUE;
/// `timestamp` with its tag: six bytes of varint last from 2004 to 2109.
const TIME: usize = 7;
/// As far as a copy of three bytes reaches back.
const WINDOW: usize = 65_535;
/// Fewest bytes of 0 at the start of a value that are worth a copy.
const WHOLE: usize = 4;
/// Values of which the last place is known.
const RECENT: usize = 64;
/// Bytes that are copied at a time, most of which may not count: elements between two values are seldom longer.
const SLACK: usize = 32;

/// A request without its values and its time.
#[derive(Debug)]
pub struct Template {
    /// Piece by piece: three lengths as varints (what is copied, how much at its end is a literal, what it
    /// decompresses to), then snappy elements.
    code: Box<[u8]>,
    /// Length of the message.
    length: usize,
    counts: Counts,
}

impl Template {
    /// From an encoded message of float samples that all have the time `timestamp_ms`, and values that are
    /// not 0. `None` where it holds anything else, or times that take more or fewer than six bytes.
    pub fn of(message: Message, body: &[u8], counts: Counts, timestamp_ms: i64) -> Option<Self> {
        let values = values(message, body, timestamp_ms)?;
        if values.len() != counts.samples || counts.items() != counts.samples || values.is_empty() {
            return None;
        }
        let mut code = Vec::with_capacity(values.len() * 20);
        let mut matcher = Matcher::new(body);
        let (mut start, mut elements) = (0, Vec::new());
        let ends = values.iter().map(|at| at - TAGS.len()).chain([body.len()]);
        for (number, end) in ends.enumerate() {
            elements.clear();
            let time = if number == 0 { 0 } else { TIME };
            let mut from = start;
            if number == 1 {
                // The only time that is written out.
                elements.push(literal_tag(TIME).0[0]);
                elements.extend_from_slice(&body[start..start + TIME]);
                from = start + TIME;
            } else if number > 1 {
                let (source, len) = matcher.best_piece(start, TIME, end);
                push_copy(&mut elements, start - source, len);
                from = start + len;
            }
            let literal = matcher.compress(start + time, from, end, &mut elements);
            if number > 0 {
                matcher.add_piece(start, end);
            }
            for length in [elements.len(), literal, end - start] {
                push_varint(&mut code, length as u64);
            }
            code.extend_from_slice(&elements);
            start = end + TAGGED;
        }
        // Copied, not shrunk: an allocator may leave what is shrunk by less than half where it is.
        Some(Self { code: Box::from(&code[..]), length: body.len(), counts })
    }

    /// What a request holds.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.code.len()
    }

    /// Appends the snappy block of the message with the values of a row: those at the places `kept`, or all. `false`,
    /// and nothing is appended, where the time needs more or fewer bytes than the template has for it.
    ///
    /// # Panics
    /// If there are fewer values than samples; those beyond are not looked at.
    pub fn fill(&self, row: &[f64], kept: Option<&[u32]>, timestamp_ms: i64, out: &mut Vec<u8>) -> bool {
        let Some(time) = time_field(timestamp_ms) else { return false };
        push_varint(out, self.length as u64);
        let start = out.len();
        push_zeros(out, self.code.len() + self.counts.samples * (TAGGED + 1) + SLACK);
        let mut filling = Filling::new(&mut out[start..]);
        let mut rest = &self.code[..];
        let mut number = 0;
        loop {
            let [copied, literal, length] = lengths(&mut rest);
            let at = filling.at;
            filling.elements(rest, copied);
            rest = &rest[copied..];
            if number == 1 {
                filling.out[at + 1..at + 1 + TIME].copy_from_slice(&time);
            }
            filling.position += length;
            if number == self.counts.samples {
                break;
            }
            let place = kept.map_or(number, |kept| kept[number] as usize);
            filling.value(row[place], literal);
            number += 1;
        }
        let written = filling.at;
        out.truncate(start + written);
        true
    }
}

/// Three varints of our own, which have a byte each as a rule, the last one or two.
#[inline(always)]
fn lengths(rest: &mut &[u8]) -> [usize; 3] {
    if let [first, second, third, after @ ..] = *rest
        && (first | second) & 0x80 == 0
    {
        let [first, second, low] = [first, second, third].map(|byte| usize::from(*byte));
        if low < 0x80 {
            *rest = after;
            return [first, second, low];
        }
        if let [high @ ..=0x7f, after @ ..] = after {
            *rest = after;
            return [first, second, (low & 0x7f) | usize::from(*high) << 7];
        }
    }
    any_lengths(rest)
}

#[cold]
fn any_lengths(rest: &mut &[u8]) -> [usize; 3] {
    let mut reader = Reader::new(rest);
    let lengths = [(); 3].map(|()| reader.varint().expect("written by Template::of") as usize);
    *rest = reader.rest();
    lengths
}

fn time_field(timestamp_ms: i64) -> Option<[u8; TIME]> {
    let mut field = [0; 11];
    field[0] = 0x10;
    let len = put_varint(&mut field[1..], timestamp_ms as u64);
    (len == TIME - 1).then(|| field[..TIME].try_into().expect("as long as it says"))
}

/// Where the values of a message are. `None` where something is not as a template needs it.
fn values(message: Message, body: &[u8], timestamp_ms: i64) -> Option<Vec<usize>> {
    let time = time_field(timestamp_ms)?;
    let series_field = if message == Message::V1 { 1 } else { 5 };
    let mut found = Vec::new();
    let mut reader = Reader::new(body);
    while let Some(field) = reader.next_field().ok()? {
        let (true, Value::Bytes(series)) = (field.number == series_field, field.value) else { continue };
        let series_end = body.len() - reader.rest().len();
        let mut inner = Reader::new(series);
        while let Some(field) = inner.next_field().ok()? {
            let (2, Value::Bytes(sample)) = (field.number, field.value) else { continue };
            let at = series_end - inner.rest().len() - sample.len();
            let fits = sample.len() == 1 + VALUE + TIME
                && sample[0] == TAGS[2]
                && sample[1 + VALUE..] == time
                && body[at - 2..=at] == TAGS;
            found.push(fits.then_some(at + 1)?);
        }
    }
    Some(found)
}

/// A block that is being filled. It is written by place, in parts of fixed sizes of which not all may count: for a few
/// bytes at a time that takes less than appending them would.
struct Filling<'o> {
    /// Long enough for all, and [`SLACK`] more.
    out: &'o mut [u8],
    /// So much of it is written.
    at: usize,
    /// In the message.
    position: usize,
    /// By hash: a value and where its tags are.
    recent: [(u64, usize); RECENT],
    /// Where the tags of the last value are whose lower 4, 5 or 6 bytes are 0, as with small whole numbers.
    whole: [usize; 3],
}

impl<'o> Filling<'o> {
    fn new(out: &'o mut [u8]) -> Self {
        // No value is at the end of all positions.
        Self { out, at: 0, position: 0, recent: [(0, usize::MAX); RECENT], whole: [usize::MAX; 3] }
    }

    /// The first `count` of these bytes.
    #[inline(always)]
    fn elements(&mut self, bytes: &[u8], count: usize) {
        match bytes.first_chunk::<SLACK>() {
            Some(chunk) if count <= SLACK => self.put(chunk, count),
            _ => {
                self.out[self.at..self.at + count].copy_from_slice(&bytes[..count]);
                self.at += count;
            }
        }
    }

    /// All of these bytes, of which so many count.
    #[inline(always)]
    fn put<const N: usize>(&mut self, bytes: &[u8; N], count: usize) {
        self.out[self.at..self.at + N].copy_from_slice(bytes);
        self.at += count;
    }

    /// A copy of at most 64 bytes from within the window.
    #[inline(always)]
    fn copy(&mut self, distance: usize, len: usize) {
        let (element, count) = copy_element(distance, len);
        self.put(&element, count);
    }

    /// Whether tags that lie there can be copied to here.
    #[inline(always)]
    fn is_near(&self, at: usize) -> bool {
        self.position.checked_sub(at).is_some_and(|distance| distance <= WINDOW)
    }

    /// Writes tags and value, behind a literal of `literal` bytes that may still be made longer.
    #[inline(always)]
    fn value(&mut self, value: f64, literal: usize) {
        let (bits, here) = (value.to_bits(), self.position);
        let slot = (bits.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as usize;
        let (known, place) = self.recent[slot];
        self.recent[slot] = (bits, here);
        let zeros = (bits.trailing_zeros() as usize / 8).min(WHOLE + 2);
        let mut whole = zeros;
        while whole >= WHOLE && !self.is_near(self.whole[whole - WHOLE]) {
            whole -= 1;
        }
        if known == bits && self.is_near(place) {
            self.copy(here - place, TAGGED);
        } else if whole >= WHOLE {
            self.copy(here - self.whole[whole - WHOLE], TAGS.len() + whole);
            let left = VALUE - whole;
            let tag = u64::from(literal_tag(left).0[0]);
            self.put(&(bits >> (8 * whole) << 8 | tag).to_le_bytes(), 1 + left);
        } else {
            if (1..=60 - TAGGED).contains(&literal) {
                self.out[self.at - literal - 1] = literal_tag(literal + TAGGED).0[0];
            } else {
                self.put(&[literal_tag(TAGGED).0[0]], 1);
            }
            self.put(&TAGS, TAGS.len());
            self.put(&bits.to_le_bytes(), VALUE);
        }
        let mut known_zeros = WHOLE;
        while known_zeros <= zeros {
            self.whole[known_zeros - WHOLE] = here;
            known_zeros += 1;
        }
        self.position = here + TAGGED;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use signal::samples::{NO_FAMILY, Point};
    use signal::{FamilyMetadata, Labels, MetricKind, SampleBatch, Series};

    use super::*;
    use crate::compress::{Encoding, decompress};
    use crate::remote_write::{Options, V1Encoder, V2Encoder, decode};

    const TIME_MS: i64 = 1_763_700_000_123;

    fn batch(labels: &[Vec<(String, String)>], value: f64) -> SampleBatch {
        let family = |name: &str| {
            let (name, help, unit) = (name.to_string(), format!("What {name} is."), String::new());
            std::sync::Arc::new(FamilyMetadata { name, kind: MetricKind::Gauge, help, unit })
        };
        let points = labels.iter().enumerate().map(|(i, labels)| {
            let named = [("__name__", "named")].into_iter();
            let pairs = named.chain(labels.iter().map(|(n, v)| (n.as_str(), v.as_str())));
            let series = Series::intern(Labels::from_pairs(pairs));
            let family = [0, 1, NO_FAMILY][i / 5 % 3];
            Point { series, timestamp_ms: TIME_MS, value, start_ms: 0, family }
        });
        let families = vec![family("one"), family("two")].into();
        SampleBatch { points: points.collect(), families, ..SampleBatch::default() }
    }

    fn encode(message: Message, batch: &SampleBatch, max_samples: usize) -> Vec<(Vec<u8>, Counts)> {
        let options = Options { max_samples, ..Options::default() };
        let (mut v1, mut v2) = (V1Encoder::new(), V2Encoder::new());
        let mut bodies = Vec::new();
        let mut body = Vec::new();
        match message {
            Message::V1 => {
                let mut requests = v1.requests(batch, options);
                while let Some(counts) = requests.next(&mut body) {
                    bodies.push((std::mem::take(&mut body), counts));
                }
            }
            Message::V2 => {
                let mut requests = v2.requests(batch, options);
                while let Some(counts) = requests.next(&mut body) {
                    bodies.push((std::mem::take(&mut body), counts));
                }
            }
        }
        bodies
    }

    fn like_an_exporter(count: usize) -> Vec<Vec<(String, String)>> {
        (0..count)
            .map(|i| {
                let pairs = [
                    ("__name__", format!("bench_family_{}_total", i / 19)),
                    ("device", format!("nvme{}n1", i % 4)),
                    ("instance", "127.0.0.1:41234".into()),
                    ("job", "prometheus.scrape.bench".into()),
                    ("mode", format!("mode-{}", i % 19)),
                    ("path", format!("/var/lib/thing/{i}")),
                ];
                pairs.map(|(n, v)| (n.to_string(), v)).into()
            })
            .collect()
    }

    /// The series, times and values of a request in order.
    fn read(message: Message, block: &[u8]) -> Vec<(String, i64, u64)> {
        let mut body = Vec::new();
        decompress(Encoding::Snappy, block, 1 << 26, &mut body).expect("a snappy block");
        let received = decode(message, &body, 1 << 26).expect("a request");
        let points = received.batch.points.iter();
        points.map(|p| (p.series.to_string(), p.timestamp_ms, p.value.to_bits())).collect()
    }

    fn check(message: Message, labels: &[Vec<(String, String)>], rounds: &[Vec<f64>], max_samples: usize) {
        let batch = batch(labels, 1.0);
        let mut first = 0;
        for (body, counts) in encode(message, &batch, max_samples) {
            let template = Template::of(message, &body, counts, TIME_MS).expect("a template");
            for (round, values) in rounds.iter().enumerate() {
                let (time, mut block) = (TIME_MS + round as i64 * 5_000, b"before".to_vec());
                let values = &values[first..first + counts.samples];
                assert!(template.fill(values, None, time, &mut block));
                let points = batch.points.iter().skip(first);
                let expected: Vec<_> =
                    points.zip(values).map(|(p, v)| (p.series.to_string(), time, v.to_bits())).collect();
                assert_eq!(read(message, &block[6..]), expected);
            }
            first += counts.samples;
        }
        assert_eq!(first, labels.len());
    }

    #[test]
    fn a_filled_template_is_the_request_with_those_values_and_that_time() {
        let labels = like_an_exporter(700);
        let rounds: Vec<Vec<f64>> = vec![
            (0..700).map(|i| (i * 7) as f64).collect(),
            (0..700).map(|i| i as f64 * 0.1).collect(),
            vec![0.0; 700],
            (0..700).map(|i| [f64::NAN, -0.0, 1.0, 0.5, signal::samples::STALE_NAN][i % 5]).collect(),
        ];
        for message in [Message::V1, Message::V2] {
            check(message, &labels, &rounds, 2000);
            check(message, &labels, &rounds, 300);
            check(message, &labels, &rounds, 1);
        }
    }

    #[test]
    fn a_message_of_many_windows_is_made_like_a_small_one() {
        let labels = like_an_exporter(3000);
        let rounds = [(0..3000).map(|i| i as f64).collect(), vec![0.25; 3000]];
        for message in [Message::V1, Message::V2] {
            check(message, &labels, &rounds, 3000);
        }
    }

    #[test]
    fn what_a_copy_cannot_reach_is_written_out() {
        // Each series is longer than the window.
        let labels: Vec<_> =
            (0..3).map(|i| vec![("__name__".to_string(), format!("{i}{}", "x".repeat(70_000)))]).collect();
        for message in [Message::V1, Message::V2] {
            check(message, &labels, &[vec![1.0, 1.0, 1.0], vec![2.0, 4.0, 2.0]], 2000);
        }
    }

    #[test]
    fn what_is_not_floats_of_one_time_makes_no_template() {
        let mut odd = batch(&like_an_exporter(3), 1.0);
        let of = |batch: &SampleBatch| {
            let (body, counts) = encode(Message::V1, batch, 100).remove(0);
            Template::of(Message::V1, &body, counts, TIME_MS).is_some()
        };
        assert!(of(&odd));
        odd.points.listed()[1].timestamp_ms += 1;
        assert!(!of(&odd));
        odd.points.listed()[1] = Point { value: 0.0, ..odd.points.at(0).to_point() };
        assert!(!of(&odd));
        odd.points.listed().clear();
        assert!(encode(Message::V1, &odd, 100).is_empty());
        let (body, counts) = encode(Message::V1, &batch(&like_an_exporter(3), 1.0), 100).remove(0);
        let template = Template::of(Message::V1, &body, counts, TIME_MS).expect("a template");
        let mut out = Vec::new();
        assert!(!template.fill(&[1.0; 3], None, 1, &mut out) && out.is_empty());
    }

    #[test]
    fn a_template_compresses_as_well_as_the_encoder_that_sees_the_values() {
        let labels = like_an_exporter(1900);
        let values: Vec<f64> =
            (0..1900).map(|i| if i % 3 == 0 { i * 7 } else { i * 1000 + 137 } as f64).collect();
        let [v1, v2] = [Message::V1, Message::V2].map(|message| {
            let mut batch = batch(&labels, 1.0);
            let (body, counts) = encode(message, &batch, 2000).remove(0);
            let template = Template::of(message, &body, counts, TIME_MS).expect("a template");
            let mut filled = Vec::new();
            assert!(template.fill(&values, None, TIME_MS, &mut filled));
            batch.points.listed().iter_mut().zip(&values).for_each(|(p, v)| p.value = *v);
            let (body, _) = encode(message, &batch, 2000).remove(0);
            let mut plain = Vec::new();
            crate::compress::SnappyEncoder::new().compress(&body, &mut plain).expect("small");
            assert!(template.bytes() < 20 * 1900, "{} bytes are kept", template.bytes());
            (filled.len(), plain.len())
        });
        let close = |(filled, plain): (usize, usize)| filled * 100 <= plain * 104;
        assert!(close(v1) && close(v2), "version 1: {v1:?}, version 2: {v2:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn any_labels_and_values_come_back(
            labels in prop::collection::vec(prop::collection::vec(("[a-c]{1,3}", "[a-b]{1,40}"), 1..5), 1..40),
            seed in any::<u64>(),
            max_samples in 1usize..50,
        ) {
            let mut random = seed | 1;
            let mut next = || { random ^= random << 13; random ^= random >> 7; random ^= random << 17; random };
            let mut round = || labels.iter().map(|_| match next() % 4 {
                0 => 0.0, 1 => (next() % 9) as f64, 2 => f64::from_bits(next()), _ => (next() % 100_000) as f64,
            }).collect::<Vec<f64>>();
            // Neighbours of one series share a message, which is as good.
            let rounds = [round(), round()];
            for message in [Message::V1, Message::V2] {
                check(message, &labels, &rounds, max_samples);
            }
        }
    }
}

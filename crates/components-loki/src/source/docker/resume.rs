//! Going on in a container's log where it was left, without a line twice and without one missing.
//!
//! The engine is asked for what was written since a time, and answers with lines that were sent already: those of
//! the same nanosecond, those of the same second where it knows seconds only, and those that were written a
//! little out of order, because standard output and standard error are written by two. So the last lines
//! that were sent are remembered, each by its time and a hash; of what is replayed, they and everything older
//! are left out.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;

use wire::docker::{Line, Stream};
use xxhash_rust::xxh3::Xxh3;

/// So many lines are remembered, and further ones as long as they share a time.
const REMEMBERED: usize = 32;
/// So many at most.
const MAX_REMEMBERED: usize = 1024;

/// A line that was sent: its time, and a hash of stream and text.
type Sent = (i64, u64);

/// How far a container's log was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Lines before this time were sent.
    floor: i64,
    /// The last lines that were sent, in the order of the log.
    last: VecDeque<Sent>,
}

impl Place {
    /// All lines before a second were sent, as Alloy stores it. Of that second itself nothing is known.
    pub fn at_second(seconds: i64) -> Self {
        Self { floor: seconds.saturating_mul(1_000_000_000), last: VecDeque::new() }
    }

    /// Whether nothing was sent yet.
    pub fn is_start(&self) -> bool {
        *self == Self::default()
    }

    /// A line was sent.
    pub fn push(&mut self, line: &Line) {
        let Some(time) = line.timestamp_ns else { return };
        self.last.push_back((time, hash(line)));
        while self.last.len() > REMEMBERED {
            let rest = self.last.iter().skip(1).map(|(t, _)| *t).min().unwrap_or(i64::MAX);
            let oldest = self.last.front().map_or(i64::MAX, |(t, _)| *t);
            // What is forgotten has to be told from what is not by its time alone.
            if oldest >= rest && self.last.len() <= MAX_REMEMBERED {
                break;
            }
            self.last.pop_front();
        }
        self.floor = self.last.iter().map(|(t, _)| *t).min().unwrap_or(self.floor);
    }

    /// The time of the last line in whole seconds, for Alloy.
    pub fn seconds(&self) -> i64 {
        self.last.back().map_or(self.floor, |(t, _)| *t).div_euclid(1_000_000_000)
    }

    /// What to ask the engine for: `seconds.nanoseconds`, as Docker's own client writes it.
    pub fn since(&self) -> String {
        let second = 1_000_000_000;
        format!("{}.{:09}", self.floor.div_euclid(second), self.floor.rem_euclid(second))
    }

    /// What is to be left out of a replay.
    pub fn replay(&self) -> Replay {
        let mut sent: HashMap<Sent, u32> = HashMap::new();
        for line in &self.last {
            *sent.entry(*line).or_default() += 1;
        }
        let newest = self.last.iter().map(|(t, _)| *t).max().unwrap_or(self.floor);
        Replay { floor: self.floor, newest, sent, over: self.is_start() }
    }

    /// As text: `floor time.hash time.hash …`, times as nanoseconds after the floor.
    pub fn render(&self) -> String {
        let mut out = self.floor.to_string();
        for (time, hash) in &self.last {
            // Times are the engine's: two of them may be further apart than one number reaches.
            let _ = write!(out, " {}.{hash:x}", i128::from(*time) - i128::from(self.floor));
        }
        out
    }

    /// Reads what [`Place::render`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let floor: i64 = words.next()?.parse().ok()?;
        let mut last = VecDeque::new();
        for word in words {
            let (after, hash) = word.split_once('.')?;
            let time = i128::from(floor).checked_add(after.parse().ok()?)?;
            let time = i64::try_from(time).ok()?;
            last.push_back((time, u64::from_str_radix(hash, 16).ok()?));
        }
        (last.len() <= MAX_REMEMBERED + 1).then_some(Self { floor, last })
    }
}

fn hash(line: &Line) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(&[match line.stream {
        Stream::Stdout => 1,
        Stream::Stderr => 2,
    }]);
    hash.update(&line.text);
    hash.digest()
}

/// The start of a stream that was asked for since a time.
#[derive(Debug)]
pub struct Replay {
    floor: i64,
    newest: i64,
    sent: HashMap<Sent, u32>,
    over: bool,
}

impl Replay {
    /// Whether a line was sent before. Once a line is behind all that were sent, none is: then clocks may go
    /// as they like.
    pub fn was_sent(&mut self, line: &Line) -> bool {
        if self.over {
            return false;
        }
        let Some(time) = line.timestamp_ns else { return false };
        if time < self.floor {
            return true;
        }
        if let Some(count) = self.sent.get_mut(&(time, hash(line)))
            && *count > 0
        {
            *count -= 1;
            return true;
        }
        self.over = time > self.newest;
        false
    }
}

/// Reads any text as a place, what is written of it, and a log that goes on from there; for
/// `tests/fuzz/fuzz_targets/log_places.rs` only.
pub(super) fn read_arbitrary(text: &str, times: &[i64]) {
    let Some(mut place) = Place::parse(text) else { return };
    assert_eq!(Place::parse(&place.render()).as_ref(), Some(&place));
    let _ = (place.since(), place.seconds());
    let line =
        |time: i64| Line { timestamp_ns: Some(time), stream: Stream::Stdout, text: "x".into(), cut: false };
    for time in times {
        place.push(&line(*time));
    }
    assert_eq!(Place::parse(&place.render()).as_ref(), Some(&place));
    let mut replay = place.replay();
    for time in times {
        let _ = replay.was_sent(&line(*time));
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn line(stream: Stream, time: i64, text: &str) -> Line {
        let text = Bytes::copy_from_slice(text.as_bytes());
        Line { stream, timestamp_ns: Some(time), text, cut: false }
    }

    fn out(time: i64, text: &str) -> Line {
        line(Stream::Stdout, time, text)
    }

    /// What a follower sends of a log that is replayed from its place.
    fn sent(place: &Place, log: &[Line], coarse: bool) -> Vec<Line> {
        let since = place.since();
        let (seconds, nanos) = since.split_once('.').unwrap();
        let nanos: i64 = if coarse { 0 } else { nanos.parse().unwrap() };
        let since = seconds.parse::<i64>().unwrap() * 1_000_000_000 + nanos;
        let mut replay = place.replay();
        let replayed = log.iter().filter(|l| l.timestamp_ns.unwrap() >= since);
        replayed.filter(|l| !replay.was_sent(l)).cloned().collect()
    }

    #[test]
    fn lines_of_the_same_nanosecond_are_told_apart() {
        let same = 5_000_000_007;
        let log =
            [out(1, "a"), out(same, "b"), out(same, "b"), line(Stream::Stderr, same, "b"), out(same, "c")];
        for upto in 0..=log.len() {
            let mut place = Place::default();
            log[..upto].iter().for_each(|l| place.push(l));
            for coarse in [false, true] {
                assert_eq!(sent(&place, &log, coarse), log[upto..], "after {upto}");
            }
        }
    }

    #[test]
    fn a_line_that_is_late_is_not_lost() {
        // Standard error took its time first and wrote second.
        let log = [out(10, "a"), out(100, "b"), line(Stream::Stderr, 99, "late"), out(101, "c")];
        let mut place = Place::default();
        log[..2].iter().for_each(|l| place.push(l));
        assert_eq!(sent(&place, &log, false), log[2..]);
    }

    #[test]
    fn a_clock_that_goes_back_costs_no_line() {
        let before: Vec<_> = (0..100).map(|i| out(1_000_000 + i, "before")).collect();
        let mut place = Place::default();
        before.iter().for_each(|l| place.push(l));
        let mut replay = place.replay();
        assert!(!replay.was_sent(&out(2_000_000, "new")));
        assert!(!replay.was_sent(&out(5, "after the jump")), "a live line is never old");
        let after: Vec<_> = (0..50).map(|i| out(i, &format!("after {i}"))).collect();
        after.iter().for_each(|l| place.push(l));
        let whole = [before, after, vec![out(60, "last")]].concat();
        assert_eq!(sent(&place, &whole, false).last(), Some(&out(60, "last")));
    }

    #[test]
    fn a_place_of_alloy_sends_its_second_again_and_nothing_before() {
        let log = [out(4_999_999_999, "a"), out(5_000_000_000, "b"), out(6_000_000_000, "c")];
        let place = Place::at_second(5);
        assert_eq!((place.since().as_str(), place.seconds()), ("5.000000000", 5));
        assert_eq!(sent(&place, &log, false), log[1..]);
        for bad in ["", "x", "5 6", "5 x.1", "9223372036854775807 1.0"] {
            assert_eq!(Place::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut place = Place::default();
        for i in 0..5000 {
            place.push(&out(7, &i.to_string()));
        }
        assert_eq!(place.last.len(), MAX_REMEMBERED);
        for i in 0..5000 {
            place.push(&out(8 + i, "x"));
        }
        assert_eq!(place.last.len(), REMEMBERED);
    }

    proptest! {
        #[test]
        fn a_log_is_sent_once_wherever_it_is_interrupted(
            steps in vec((0i64..4, any::<bool>(), "[ab]{0,2}"), 1..200),
            upto in 0usize..200,
            coarse in any::<bool>(),
        ) {
            let mut time = 1_700_000_000_000_000_000;
            let log: Vec<_> = steps
                .iter()
                .map(|(step, stderr, text)| {
                    time += step * 400_000_000;
                    line(if *stderr { Stream::Stderr } else { Stream::Stdout }, time, text)
                })
                .collect();
            let upto = upto.min(log.len());
            let mut place = Place::default();
            log[..upto].iter().for_each(|l| place.push(l));
            prop_assert_eq!(Place::parse(&place.render()), Some(place.clone()));
            prop_assert_eq!(sent(&place, &log, coarse), &log[upto..]);
        }
    }
}

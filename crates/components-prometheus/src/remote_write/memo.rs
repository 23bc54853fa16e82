//! What relabelling made of the last batch of an origin, by position.
//!
//! A target's batches hold the same series in the same order, so the common case costs a comparison of
//! addresses a sample: no lookup, no reference count. Answers are lent to the batch that is encoded and given
//! back afterwards. Memory: 16 bytes a series and the series themselves, at most [`MOST_PAIRS`] an endpoint; an origin is
//! forgotten, and with it its hold on its series, when there are templates of its requests, or it has been silent for
//! [`FORGET`]. Until an origin has sent [`EARLY`] batches nothing is remembered: by then there are templates, as a rule.

use std::time::{Duration, Instant};

use hashbrown::HashMap;
use parking_lot::Mutex;
use signal::Series;

/// Series remembered, an endpoint.
const MOST_PAIRS: usize = 1_000_000;
/// After so long without a batch an origin is forgotten.
const FORGET: Duration = Duration::from_secs(600);
/// Batches of an origin before what relabelling makes of them is remembered: a page, the same as a row, and the rows
/// until templates are made of it.
const EARLY: u8 = 4;

/// The memory of one origin.
#[derive(Default)]
pub(super) struct Memo {
    pub points: Positions,
    pub histograms: Positions,
    batches: u8,
}

/// What became of each series, in the order of the batch.
#[derive(Default)]
pub(super) struct Positions(Vec<Pair>);

struct Pair {
    input: Series,
    /// `None` while it is lent.
    output: Option<Series>,
}

impl Positions {
    /// Makes the answers fit a batch; `relabel` is asked about series that the batch before did not have.
    pub(super) fn fit<'a>(
        &mut self,
        incoming: impl ExactSizeIterator<Item = &'a Series> + Clone,
        mut relabel: impl FnMut(&Series) -> Series,
    ) {
        let same = self.0.iter().zip(incoming.clone()).take_while(|(pair, s)| pair.input.ptr_eq(s)).count();
        if same == incoming.len() {
            self.0.truncate(same);
            return;
        }
        // From the first difference on everything may have moved.
        let mut known: HashMap<usize, Pair, foldhash::fast::FixedState> =
            self.0.drain(same..).map(|pair| (pair.input.id(), pair)).collect();
        self.0.reserve(incoming.len() - same);
        for series in incoming.skip(same) {
            let pair = known
                .remove(&series.id())
                .unwrap_or_else(|| Pair { output: Some(relabel(series)), input: series.clone() });
            self.0.push(pair);
        }
    }

    /// Lends the answers that are not `dropped`, with the positions that they belong to.
    pub(super) fn lend<'a>(&'a mut self, dropped: &'a Series) -> impl Iterator<Item = Option<Series>> + 'a {
        self.0.iter_mut().map(|pair| pair.output.take_if(|output| !output.ptr_eq(dropped)))
    }

    /// Takes back what was lent, in the same order.
    pub(super) fn give_back(&mut self, mut lent: impl Iterator<Item = Series>) {
        for pair in self.0.iter_mut().filter(|pair| pair.output.is_none()) {
            pair.output = lent.next();
        }
    }
}

impl Memo {
    fn len(&self) -> usize {
        self.points.0.len() + self.histograms.0.len()
    }
}

/// The memories of all origins.
#[derive(Default)]
pub(super) struct Memos(Mutex<State>);

#[derive(Default)]
struct State {
    by_origin: HashMap<u64, (Memo, Instant), foldhash::fast::FixedState>,
    pairs: usize,
    swept: Option<Instant>,
}

impl Memos {
    /// Takes the memory of an origin out; empty where there is none, or where it is in use.
    pub(super) fn take(&self, origin: u64) -> Memo {
        let mut state = self.0.lock();
        let memo = state.by_origin.remove(&origin).map(|(memo, _)| memo).unwrap_or_default();
        state.pairs -= memo.len();
        memo
    }

    /// Puts it back. Where there is too much, what was used longest ago is forgotten.
    pub(super) fn put(&self, origin: u64, mut memo: Memo, now: Instant) {
        memo.batches = memo.batches.saturating_add(1);
        if memo.batches < EARLY {
            memo = Memo { batches: memo.batches, ..Memo::default() };
        }
        let mut gone = Vec::new();
        let mut state = self.0.lock();
        state.pairs += memo.len();
        if let Some((old, _)) = state.by_origin.insert(origin, (memo, now)) {
            state.pairs -= old.len();
            gone.push(old);
        }
        while state.pairs > MOST_PAIRS {
            let oldest = state.by_origin.iter().min_by_key(|(_, (_, used))| *used).map(|(origin, _)| *origin);
            let Some((old, _)) = oldest.and_then(|origin| state.by_origin.remove(&origin)) else { break };
            state.pairs -= old.len();
            gone.push(old);
        }
        drop(state);
        // Series are freed outside of the lock.
        drop(gone);
    }

    /// How many series are remembered.
    #[cfg(test)]
    pub(super) fn pairs(&self) -> usize {
        self.0.lock().pairs
    }

    /// Forgets silent origins; once a minute at most, however often it is called.
    pub(super) fn sweep(&self, now: Instant) {
        let mut state = self.0.lock();
        if state.swept.is_some_and(|at| now.saturating_duration_since(at) < FORGET / 10) {
            return;
        }
        state.swept = Some(now);
        let silent = |used: Instant| now.saturating_duration_since(used) > FORGET;
        let gone: Vec<_> = state.by_origin.extract_if(|_, (_, used)| silent(*used)).collect();
        state.pairs -= gone.iter().map(|(_, (memo, _))| memo.len()).sum::<usize>();
        drop(state);
        drop(gone);
    }
}

#[cfg(test)]
mod tests {
    use signal::Labels;

    use super::*;

    fn series(name: &str) -> Series {
        Series::intern(Labels::from_pairs([("memo_test", name)]))
    }

    fn all(names: &[&str]) -> Vec<Series> {
        names.iter().map(|n| series(n)).collect()
    }

    /// Runs a batch through; what came out, and which series were asked about.
    fn run(positions: &mut Positions, names: &[&str]) -> (Vec<String>, Vec<String>) {
        let (batch, dropped, mut asked) = (all(names), series("dropped"), Vec::new());
        positions.fit(batch.iter(), |s| {
            let name = s.get("memo_test").unwrap().to_string();
            asked.push(name.clone());
            if name.starts_with('x') { dropped.clone() } else { series(&format!("new_{name}")) }
        });
        let lent: Vec<Series> = positions.lend(&dropped).flatten().collect();
        let out = lent.iter().map(|s| s.get("memo_test").unwrap().to_string()).collect();
        positions.give_back(lent.into_iter());
        assert!(positions.0.iter().all(|pair| pair.output.is_some()));
        (out, asked)
    }

    #[test]
    fn a_series_is_relabelled_once_whatever_comes_and_goes_around_it() {
        let mut positions = Positions::default();
        let cases: [(&[&str], &[&str]); 8] = [
            (&["a", "x", "b"], &["a", "x", "b"]),
            (&["a", "x", "b"], &[]),
            (&["a", "x", "b", "c"], &["c"]),
            (&["n", "a", "x", "b", "c"], &["n"]),
            (&["c", "b", "x", "a"], &[]),
            (&["c", "b"], &[]),
            (&["b", "b"], &["b"]),
            (&[], &[]),
        ];
        for (batch, expected) in cases {
            let (out, asked) = run(&mut positions, batch);
            let kept: Vec<_> = batch.iter().filter(|n| **n != "x").map(|n| format!("new_{n}")).collect();
            assert_eq!(out, kept, "{batch:?}");
            assert_eq!(asked, expected, "{batch:?}");
        }
    }

    #[test]
    fn a_silent_origin_is_forgotten_and_with_it_its_hold_on_its_series() {
        let (memos, start) = (Memos::default(), Instant::now());
        for batch in 1..=EARLY {
            let mut memo = memos.take(1);
            run(&mut memo.points, &["held_by_memo"]);
            memos.put(1, memo, start);
            assert_eq!(memos.pairs(), usize::from(batch == EARLY));
        }
        memos.put(2, Memo::default(), start + FORGET);
        memos.sweep(start + FORGET);
        assert_eq!(memos.0.lock().pairs, 1);
        memos.sweep(start + FORGET + Duration::from_secs(1));
        assert_eq!(memos.0.lock().pairs, 1, "swept a moment ago");
        memos.sweep(start + 2 * FORGET);
        assert_eq!(memos.0.lock().pairs, 0);
        assert_eq!(memos.0.lock().by_origin.len(), 1);
    }

    #[test]
    fn the_bound_forgets_the_origin_that_was_used_longest_ago() {
        let (memos, start) = (Memos::default(), Instant::now());
        let many = |origin: u64, after: u64| {
            let (one, mut memo) = (series("bound"), Memo { batches: EARLY, ..Memo::default() });
            let pair = || Pair { input: one.clone(), output: Some(one.clone()) };
            memo.points.0 = (0..MOST_PAIRS / 2).map(|_| pair()).collect();
            memos.put(origin, memo, start + Duration::from_secs(after));
        };
        many(1, 2);
        many(2, 1);
        many(3, 3);
        let mut left: Vec<_> = memos.0.lock().by_origin.keys().copied().collect();
        left.sort();
        assert_eq!(left, [1, 3]);
        assert_eq!(memos.0.lock().pairs, MOST_PAIRS);
    }
}

//! What was made of the last list of series of each origin.
//!
//! A target's batches are rows of one [`SeriesList`](crate::points::SeriesList) until its page changes, so
//! the answer for all of its series is found by one comparison of identities. Bounded by cost: the origin
//! that was silent longest goes first. An origin that is silent for too long is forgotten, and with it what
//! its answer holds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use parking_lot::Mutex;

/// Answers by origin, each for one list.
pub struct ByOrigin<T> {
    most: usize,
    forget: Duration,
    state: Mutex<State<T>>,
}

struct State<T> {
    origins: HashMap<u64, Known<T>, FixedState>,
    cost: usize,
    swept: Option<Instant>,
}

struct Known<T> {
    list: u64,
    answer: Arc<T>,
    cost: usize,
    used: Instant,
}

impl<T> ByOrigin<T> {
    /// Holds answers of at most `most` cost together; those not used for `forget` are forgotten.
    pub fn new(most: usize, forget: Duration) -> Self {
        let state = State { origins: HashMap::default(), cost: 0, swept: None };
        Self { most, forget, state: Mutex::new(state) }
    }

    /// The answer for a list of an origin.
    pub fn get(&self, origin: u64, list: u64, now: Instant) -> Option<Arc<T>> {
        let mut state = self.state.lock();
        let known = state.origins.get_mut(&origin).filter(|known| known.list == list)?;
        known.used = now;
        Some(known.answer.clone())
    }

    /// The answer for the last list of an origin, whichever that was.
    pub fn last(&self, origin: u64) -> Option<Arc<T>> {
        self.state.lock().origins.get(&origin).map(|known| known.answer.clone())
    }

    /// Keeps an answer in place of the one that the origin had. What costs more than all may cost together
    /// is not kept. Tells how many answers had to go for it.
    pub fn put(&self, origin: u64, list: u64, answer: Arc<T>, cost: usize, now: Instant) -> usize {
        let mut gone = Vec::new();
        let mut state = self.state.lock();
        gone.extend(state.remove(origin));
        let replaced = gone.len();
        if cost <= self.most {
            while state.cost + cost > self.most {
                let oldest = state.origins.iter().min_by_key(|(_, known)| known.used).map(|(key, _)| *key);
                let Some(oldest) = oldest else { break };
                gone.extend(state.remove(oldest));
            }
            state.cost += cost;
            state.origins.insert(origin, Known { list, answer, cost, used: now });
        }
        drop(state);
        // Answers are freed outside of the lock.
        gone.len() - replaced
    }

    /// Forgets origins that are silent; looks at most ten times in the time that it takes to be forgotten.
    /// Tells how many went.
    pub fn sweep(&self, now: Instant) -> usize {
        let mut state = self.state.lock();
        if state.swept.is_some_and(|at| now.saturating_duration_since(at) < self.forget / 10) {
            return 0;
        }
        state.swept = Some(now);
        let silent = |known: &Known<T>| now.saturating_duration_since(known.used) > self.forget;
        let gone: Vec<_> = state.origins.extract_if(|_, known| silent(known)).collect();
        state.cost -= gone.iter().map(|(_, known)| known.cost).sum::<usize>();
        drop(state);
        gone.len()
    }

    /// What all answers cost together.
    pub fn cost(&self) -> usize {
        self.state.lock().cost
    }
}

impl<T> State<T> {
    fn remove(&mut self, origin: u64) -> Option<Arc<T>> {
        let known = self.origins.remove(&origin)?;
        self.cost -= known.cost;
        Some(known.answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_for_one_list_and_the_origins_silent_longest_make_room() {
        let (memo, start) = (ByOrigin::new(10, Duration::from_secs(60)), Instant::now());
        let at = |s| start + Duration::from_secs(s);
        assert_eq!(memo.put(1, 100, Arc::new("a"), 4, at(0)), 0);
        assert_eq!(memo.put(2, 200, Arc::new("b"), 4, at(1)), 0);
        assert_eq!(memo.get(1, 100, at(2)).as_deref(), Some(&"a"));
        assert_eq!(memo.get(1, 101, at(2)), None);
        assert_eq!((memo.last(1).as_deref(), memo.last(3)), (Some(&"a"), None));
        assert_eq!(memo.put(3, 300, Arc::new("c"), 4, at(3)), 1);
        assert_eq!(memo.get(2, 200, at(3)), None, "used before the first");
        assert_eq!(memo.put(1, 101, Arc::new("d"), 6, at(4)), 0, "in place of the old one");
        assert_eq!((memo.get(1, 101, at(4)).as_deref(), memo.cost()), (Some(&"d"), 10));
        memo.put(9, 900, Arc::new("large"), 11, at(5));
        assert_eq!((memo.get(9, 900, at(5)), memo.cost()), (None, 10));
    }

    #[test]
    fn a_silent_origin_is_forgotten() {
        let (memo, start) = (ByOrigin::new(10, Duration::from_secs(60)), Instant::now());
        let answer = Arc::new(());
        memo.put(1, 1, answer.clone(), 1, start);
        assert_eq!(memo.sweep(start + Duration::from_secs(60)), 0);
        assert_eq!(memo.sweep(start + Duration::from_secs(61)), 0, "looked a moment ago");
        assert_eq!(memo.sweep(start + Duration::from_secs(67)), 1);
        assert_eq!((Arc::strong_count(&answer), memo.cost()), (1, 0));
    }
}

//! What a rule chain has answered, by series.
//!
//! Entries hold their series, so an address can not be reused while it is a key. Bounded by entries or by
//! age; a chain that changes needs a new cache (or [`RelabelCache::clear`]).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use parking_lot::Mutex;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, UnitWeighter};

use super::Rules;
use crate::series::Series;

/// What keeps a cache from growing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheBound {
    /// At most so many series; those used least go first.
    Entries(usize),
    /// Answers are forgotten this long after they were given.
    Age(Duration),
}

/// Answers of a rule chain, by series.
pub struct RelabelCache {
    store: Store,
    hits: AtomicU64,
    misses: AtomicU64,
    /// Entries put in, for the number of evictions.
    added: AtomicU64,
    cleared: AtomicU64,
}

type Answer = Option<Series>;

enum Store {
    Entries(Cache<Series, Answer, UnitWeighter, FixedState, DefaultLifecycle<Series, Answer>>),
    Age(Mutex<Aging>),
}

struct Aging {
    age: Duration,
    next_sweep: Option<Instant>,
    answers: HashMap<Series, (Answer, Instant), FixedState>,
}

/// How a cache has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct CacheCounts {
    /// Answers found.
    pub hits: u64,
    /// Answers computed.
    pub misses: u64,
    /// Entries held now.
    pub entries: u64,
    /// Entries that had to go, by room or by age.
    pub evictions: u64,
}

impl RelabelCache {
    /// An empty cache.
    pub fn new(bound: CacheBound) -> Self {
        let store = match bound {
            CacheBound::Entries(entries) => {
                let entries = entries.max(1);
                // One shard keeps the bound exact for small caches; large ones spread their locks.
                let shards = if entries < 4096 { 1 } else { 8 };
                let options = OptionsBuilder::new()
                    .estimated_items_capacity(entries)
                    .weight_capacity(entries as u64)
                    .shards(shards)
                    .build()
                    .expect("both capacities are given");
                Store::Entries(Cache::with_options(
                    options,
                    UnitWeighter,
                    FixedState::default(),
                    DefaultLifecycle::default(),
                ))
            }
            CacheBound::Age(age) => {
                Store::Age(Mutex::new(Aging { age, next_sweep: None, answers: HashMap::default() }))
            }
        };
        Self {
            store,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            added: AtomicU64::new(0),
            cleared: AtomicU64::new(0),
        }
    }

    /// The series after the chain, `None` where it is dropped. `now` matters to caches bounded by age.
    pub fn relabel(&self, rules: &Rules, series: &Series, now: Instant) -> Option<Series> {
        if let Some(answer) = self.find(series, now) {
            self.hits.fetch_add(1, Ordering::Relaxed);
            return answer;
        }
        self.misses.fetch_add(1, Ordering::Relaxed);
        // Outside of any lock: two threads may compute the same answer once.
        let answer = rules.relabel_series(series);
        match &self.store {
            Store::Entries(cache) => {
                self.added.fetch_add(1, Ordering::Relaxed);
                cache.insert(series.clone(), answer.clone());
            }
            Store::Age(aging) => {
                let mut aging = aging.lock();
                let until = now + aging.age;
                if aging.answers.insert(series.clone(), (answer.clone(), until)).is_none() {
                    self.added.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        answer
    }

    fn find(&self, series: &Series, now: Instant) -> Option<Answer> {
        match &self.store {
            Store::Entries(cache) => cache.get(series),
            Store::Age(aging) => {
                let mut aging = aging.lock();
                aging.sweep(now);
                aging.answers.get(series).filter(|(_, until)| now < *until).map(|(answer, _)| answer.clone())
            }
        }
    }

    /// Forgets the answers for these series; not counted as evictions.
    pub fn forget(&self, series: &[Series]) {
        let gone = match &self.store {
            Store::Entries(cache) => series.iter().filter(|series| cache.remove(*series).is_some()).count(),
            Store::Age(aging) => {
                let mut aging = aging.lock();
                series.iter().filter(|series| aging.answers.remove(*series).is_some()).count()
            }
        };
        self.cleared.fetch_add(gone as u64, Ordering::Relaxed);
    }

    /// Forgets everything; not counted as evictions.
    pub fn clear(&self) {
        let gone = match &self.store {
            Store::Entries(cache) => {
                let gone = cache.len();
                cache.clear();
                gone
            }
            Store::Age(aging) => std::mem::take(&mut aging.lock().answers).len(),
        };
        self.cleared.fetch_add(gone as u64, Ordering::Relaxed);
    }

    /// How it has done so far.
    pub fn counts(&self) -> CacheCounts {
        let entries = match &self.store {
            Store::Entries(cache) => cache.len(),
            Store::Age(aging) => aging.lock().answers.len(),
        } as u64;
        let gone = self.added.load(Ordering::Relaxed).saturating_sub(entries);
        CacheCounts {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            entries,
            evictions: gone.saturating_sub(self.cleared.load(Ordering::Relaxed)),
        }
    }
}

impl Aging {
    /// Twice per age at most: forgets what has expired.
    fn sweep(&mut self, now: Instant) {
        match self.next_sweep {
            Some(at) if now < at => return,
            None => {}
            Some(_) => {
                self.answers.retain(|_, (_, until)| now < *until);
                if self.answers.len() < self.answers.capacity() / 4 {
                    self.answers.shrink_to(self.answers.len() * 2);
                }
            }
        }
        self.next_sweep = Some(now + self.age / 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::Labels;
    use crate::names::NameScheme;
    use crate::relabel::{Action, Rule};

    fn series(i: usize) -> Series {
        Series::intern(Labels::from_pairs([("cache_test", i.to_string().as_str())]))
    }

    fn drop_sevens() -> Rules {
        let rule = Rule {
            source_labels: vec!["cache_test".into()],
            regex: crate::re2::Regex::anchored(".*7").unwrap(),
            action: Action::Drop,
            ..Rule::default()
        };
        Rules::new(vec![rule], NameScheme::Legacy).unwrap()
    }

    #[test]
    fn answers_that_are_forgotten_are_no_evictions() {
        let rules = drop_sevens();
        for bound in [CacheBound::Entries(100), CacheBound::Age(Duration::from_secs(60))] {
            let (cache, now) = (RelabelCache::new(bound), Instant::now());
            let all: Vec<Series> = (0..10).map(series).collect();
            all.iter().for_each(|series| drop(cache.relabel(&rules, series, now)));
            cache.forget(&all[..4]);
            cache.forget(&all[..4]);
            let CacheCounts { entries, evictions, .. } = cache.counts();
            assert_eq!((entries, evictions), (6, 0));
            assert_eq!(cache.relabel(&rules, &all[7], now), None);
            assert_eq!((cache.counts().hits, cache.counts().misses), (1, 10));
        }
    }

    #[test]
    fn a_cache_of_entries_answers_again_and_stays_within_its_bound() {
        let (cache, rules, now) = (RelabelCache::new(CacheBound::Entries(50)), drop_sevens(), Instant::now());
        for _ in 0..2 {
            for i in 0..20 {
                assert_eq!(cache.relabel(&rules, &series(i), now), (i % 10 != 7).then(|| series(i)));
            }
        }
        assert_eq!(cache.counts(), CacheCounts { hits: 20, misses: 20, entries: 20, evictions: 0 });
        for i in 0..500 {
            cache.relabel(&rules, &series(i), now);
        }
        let counts = cache.counts();
        assert!(counts.entries <= 50, "{counts:?}");
        assert_eq!(counts.evictions, counts.misses - counts.entries);
        cache.clear();
        assert_eq!(cache.counts().entries, 0);
        assert_eq!(cache.counts().evictions, counts.evictions);
    }

    #[test]
    fn a_cache_of_an_age_forgets_answers_that_are_older() {
        let (cache, rules, start) =
            (RelabelCache::new(CacheBound::Age(Duration::from_secs(60))), drop_sevens(), Instant::now());
        cache.relabel(&rules, &series(1), start);
        cache.relabel(&rules, &series(1), start + Duration::from_secs(59));
        cache.relabel(&rules, &series(7), start + Duration::from_secs(59));
        assert_eq!(cache.counts(), CacheCounts { hits: 1, misses: 2, entries: 2, evictions: 0 });
        cache.relabel(&rules, &series(7), start + Duration::from_secs(100));
        assert_eq!(cache.counts(), CacheCounts { hits: 2, misses: 2, entries: 1, evictions: 1 });
        cache.relabel(&rules, &series(1), start + Duration::from_secs(100));
        assert_eq!(cache.counts().misses, 3);
    }
}

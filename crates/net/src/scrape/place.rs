//! When targets are scraped: spread over the interval, each always at its own place.

use std::time::Duration;

/// A wait below `limit` that is always the same for a target.
pub fn first_within(key: u64, limit: Duration) -> Duration {
    Duration::from_nanos(key % u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX).max(1))
}

/// How long it is from a Unix time until a target's place within the interval comes next: by its key and the clock, so
/// that it stays where it is across restarts. Never 0.
pub fn wait_for_place(key: u64, interval: Duration, now_ms: i64) -> Duration {
    let interval_ms = milliseconds(interval);
    wait((key % interval_ms.unsigned_abs()) as i64, interval_ms, now_ms)
}

fn milliseconds(interval: Duration) -> i64 {
    i64::try_from(interval.as_millis()).unwrap_or(i64::MAX).max(1)
}

fn wait(offset: i64, interval_ms: i64, now_ms: i64) -> Duration {
    let wait = interval_ms - now_ms.wrapping_sub(offset).rem_euclid(interval_ms);
    Duration::from_millis(wait.unsigned_abs())
}

/// Places within the interval that several targets share, so that threads wake, and code and tables come into the
/// processor's caches, once for all of them. A place is less than a twentieth of the interval away from the target's own
/// one ([`wait_for_place`]), before it or after.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    count: u64,
    phase: u64,
}

impl Places {
    /// Places in an interval, however few targets there are.
    const FEWEST: u64 = 20;
    /// Targets that share a place, where there are many.
    const TOGETHER: u64 = 8;

    /// For so many targets. Programs of different `phase` have their places at different times: a back end
    /// is not to hear of all of them at once.
    pub fn new(targets: usize, phase: u64) -> Self {
        let wanted = u64::try_from(targets).unwrap_or(u64::MAX) / Self::TOGETHER;
        Self { count: wanted.max(Self::FEWEST), phase }
    }

    /// How long it is until a target's place comes next; as [`wait_for_place`].
    pub fn wait(&self, key: u64, interval: Duration, now_ms: i64) -> Duration {
        let interval_ms = milliseconds(interval);
        let own = key % interval_ms.unsigned_abs();
        let width = (interval_ms.unsigned_abs() / self.count).max(1);
        wait((own / width * width + self.phase % width) as i64, interval_ms, now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_the_same_place_whenever_one_asks() {
        let interval = Duration::from_secs(15);
        for key in [0, 1, 14_999, 15_000, u64::MAX] {
            let places: Vec<_> = [0, 7, 14_999, 1_700_000_000_123]
                .iter()
                .map(|now| (now + wait_for_place(key, interval, *now).as_millis() as i64) % 15_000)
                .collect();
            assert!(places.iter().all(|place| *place == (key % 15_000) as i64), "{key}: {places:?}");
            let wait = wait_for_place(key, interval, 1_700_000_000_123);
            assert!(!wait.is_zero() && wait <= interval);
        }
        assert_eq!(wait_for_place(5, Duration::ZERO, 3), Duration::from_millis(1));
        assert_eq!(first_within(u64::MAX, Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn targets_share_places_that_are_near_their_own() {
        let (interval, now) = (Duration::from_secs(5), 1_700_000_000_123);
        let place = |places: Places, key| (now + places.wait(key, interval, now).as_millis() as i64) % 5000;
        for (targets, width) in [(0, 250), (1, 250), (160, 250), (400, 100), (1_000_000, 1)] {
            let places = Places::new(targets, 77);
            let mut all: Vec<i64> = (0..5000).map(|key| place(places, key)).collect();
            for (own, place) in (0..5000).zip(&all) {
                let away = (own - place).rem_euclid(5000).min((place - own).rem_euclid(5000));
                let in_width = (own + 77 % width - place).rem_euclid(5000);
                assert!(away < width && in_width < width, "{targets} targets: {own} is at {place}");
            }
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len() as i64, 5000 / width, "{targets} targets");
        }
        // Another program's places are between.
        let other = place(Places::new(100, 200), 1234);
        assert_ne!(other % 250, place(Places::new(100, 77), 1234) % 250);
        assert_eq!(Places::new(3, 9).wait(5, Duration::ZERO, 3), Duration::from_millis(1));
    }
}

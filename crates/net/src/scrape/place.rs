//! When targets are scraped: spread over the interval, each always at its own place.

use std::time::Duration;

/// A wait below `limit` that is always the same for a target.
pub fn first_within(key: u64, limit: Duration) -> Duration {
    Duration::from_nanos(key % u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX).max(1))
}

/// How long it is from a Unix time until a target's place within the interval comes next: by its key and the clock, so
/// that it stays where it is across restarts. Never 0.
pub fn wait_for_place(key: u64, interval: Duration, now_ms: i64) -> Duration {
    let interval_ms = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX).max(1);
    let offset = (key % interval_ms.unsigned_abs()) as i64;
    let wait = interval_ms - now_ms.wrapping_sub(offset).rem_euclid(interval_ms);
    Duration::from_millis(wait.unsigned_abs())
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
}

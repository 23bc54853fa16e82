//! Which traces are kept: decided once, at the root.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// A way to decide.
pub(super) enum Sampler {
    /// A part of all traces: those whose ID is below a bound.
    Fraction(f64),
    /// So many traces a second.
    Rate(Bucket),
    /// A part that depends on the name of the root, and for each name so many traces a second at least.
    PerOperation { by_name: HashMap<String, (f64, Bucket)>, others: f64 },
}

impl Sampler {
    pub(super) fn fraction(fraction: f64) -> Self {
        Self::Fraction(fraction)
    }

    /// Whether a trace is kept whose root has this name.
    pub(super) fn keeps(&self, name: &str, trace: &[u8; 16]) -> bool {
        match self {
            Self::Fraction(fraction) => is_below(*fraction, trace),
            Self::Rate(bucket) => bucket.take(),
            Self::PerOperation { by_name, others } => match by_name.get(name) {
                Some((fraction, least)) => is_below(*fraction, trace) || least.take(),
                None => is_below(*others, trace),
            },
        }
    }
}

/// As OpenTelemetry's `TraceIdRatioBased`: the last eight bytes without their first bit, against a bound.
fn is_below(fraction: f64, trace: &[u8; 16]) -> bool {
    let last = u64::from_be_bytes(trace[8..].try_into().expect("eight of sixteen bytes")) >> 1;
    fraction >= 1.0 || (last as f64) < fraction * (1_u64 << 63) as f64
}

/// A token bucket.
pub(super) struct Bucket {
    a_second: f64,
    state: Mutex<(f64, Instant)>,
}

impl Bucket {
    pub(super) fn new(a_second: f64) -> Self {
        Self { a_second, state: Mutex::new((a_second.max(1.0), Instant::now())) }
    }

    fn take(&self) -> bool {
        let mut state = self.state.lock();
        let now = Instant::now();
        let since: Duration = now - state.1;
        let tokens = (state.0 + since.as_secs_f64() * self.a_second).min(self.a_second.max(1.0));
        let taken = tokens >= 1.0;
        *state = (if taken { tokens - 1.0 } else { tokens }, now);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(sampler: &Sampler, name: &str, traces: u64) -> usize {
        // IDs spread evenly.
        let step = u64::MAX / traces;
        let trace = |i: u64| u128::from(step * i + step / 2).to_be_bytes();
        (0..traces).filter(|i| sampler.keeps(name, &trace(*i))).count()
    }

    #[test]
    fn a_fraction_keeps_that_part_of_all_ids() {
        for (fraction, expected) in [(0.0, 0), (0.1, 100), (0.5, 500), (1.0, 1000)] {
            assert_eq!(kept(&Sampler::fraction(fraction), "x", 1000), expected, "{fraction}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_keeps_so_many_a_second() {
        let sampler = Sampler::Rate(Bucket::new(2.0));
        assert_eq!(kept(&sampler, "x", 100), 2);
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(kept(&sampler, "x", 100), 1);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(kept(&sampler, "x", 100), 2, "what is not used is not saved up");
    }

    #[tokio::test(start_paused = true)]
    async fn names_have_fractions_of_their_own_and_a_least_rate() {
        let by_name = HashMap::from([("rare".to_string(), (0.0, Bucket::new(1.0)))]);
        let sampler = Sampler::PerOperation { by_name, others: 0.5 };
        assert_eq!((kept(&sampler, "rare", 100), kept(&sampler, "other", 100)), (1, 50));
    }
}

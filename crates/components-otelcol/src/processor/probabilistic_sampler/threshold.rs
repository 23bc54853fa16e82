//! Thresholds and randomness: 56 bits each, as OpenTelemetry's probability sampling writes them down.
//!
//! An item is sampled if its randomness is at least the threshold. As the collector's `pkg/sampling`.

/// 2^56: one more than the largest randomness.
const LIMIT: u64 = 1 << 56;

/// Hexadecimal digits of 56 bits.
pub(super) const DIGITS: usize = 14;

/// The smallest probability that can be written down.
pub(super) const MIN_PROBABILITY: f64 = 1.0 / LIMIT as f64;

/// What randomness has to reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Threshold(u64);

/// What decides about an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Randomness(u64);

/// Why a probability has no threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// Outside of 2^-56 to 1.
    Range,
    /// So close to 1 that no digit of it would be left.
    Precision,
}

impl Threshold {
    /// Everything is sampled.
    pub(super) const ALWAYS: Self = Self(0);
    /// Nothing is sampled.
    pub(super) const NEVER: Self = Self(LIMIT);

    /// Of the upper bits of a threshold.
    pub(super) fn of_bits(bits: u64) -> Self {
        Self(bits.min(LIMIT))
    }

    /// Of a probability, with so many significant hexadecimal digits.
    pub(super) fn of(probability: f64, precision: u32) -> Result<Self, Unfit> {
        if !(MIN_PROBABILITY..=1.0).contains(&probability) {
            return Err(Unfit::Range);
        }
        if probability == 1.0 {
            return Ok(Self::ALWAYS);
        }
        // Leading zeros of the rejection are digits that say nothing.
        let mut digits = precision;
        let mut reject = 1.0 - probability;
        while reject * 16.0 < 1.0 && digits <= DIGITS as u32 {
            reject *= 16.0;
            digits += 1;
        }
        if digits > DIGITS as u32 {
            return Err(Unfit::Precision);
        }
        let rejected = LIMIT - (probability * LIMIT as f64).round() as u64;
        let shift = 4 * (DIGITS as u32 - digits);
        let half = if shift == 0 { 0 } else { 1 << (shift - 1) };
        Ok(Self((rejected + half) >> shift << shift))
    }

    /// From a `th` value: up to 14 digits, without the zeros at the end.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.len() > DIGITS {
            return None;
        }
        Some(Self(hex(text)? << (4 * (DIGITS - text.len()))))
    }

    /// As a `th` value; nothing where nothing is sampled.
    pub(super) fn text(self) -> String {
        match self {
            Self::NEVER => String::new(),
            Self::ALWAYS => "0".to_string(),
            Self(bits) => format!("{bits:014x}").trim_end_matches('0').to_string(),
        }
    }

    /// The probability that an item is sampled.
    pub(super) fn probability(self) -> f64 {
        (LIMIT - self.0) as f64 / LIMIT as f64
    }

    /// Whether an item is sampled.
    pub(super) fn samples(self, randomness: Randomness) -> bool {
        self.0 <= randomness.0
    }
}

impl Randomness {
    /// Sampled by every threshold but "never".
    pub(super) const ALL: Self = Self(LIMIT - 1);

    /// The lower 56 bits.
    pub(super) fn of_bits(bits: u64) -> Self {
        Self(bits & (LIMIT - 1))
    }

    /// The last seven bytes of a trace ID, as the W3C says that they are random.
    pub(super) fn of_trace_id(id: &[u8; 16]) -> Self {
        Self::of_bits(u64::from_be_bytes(*id.last_chunk().expect("16 bytes end with 8")))
    }

    /// From an `rv` value: 14 digits.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() == DIGITS { hex(text).map(Self) } else { None }
    }

    /// As an `rv` value.
    pub(super) fn text(self) -> String {
        format!("{:014x}", self.0)
    }
}

fn hex(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|b| b.is_ascii_hexdigit());
    digits.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

/// Lower 14 bits of a hash decide in the mode `hash_seed`.
pub(super) const BUCKET_BITS: u32 = 14;

/// The randomness that gives the decision of the `hash_seed` mode: the FNV-1a hash of seed and bytes, with the
/// bucket turned around in the upper bits. As the collector's `randomnessFromBytes`.
pub(super) fn hashed(bytes: &[u8], seed: u32) -> Randomness {
    let hash = seed
        .to_le_bytes()
        .iter()
        .chain(bytes)
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    let buckets = (1 << BUCKET_BITS) - 1;
    let bucket = u64::from(hash) & buckets;
    let unused = u64::from(hash >> BUCKET_BITS);
    // The 18 bits left over, spread over 28.
    let mixed = unused ^ (unused << 10);
    Randomness::of_bits((buckets - bucket) << 42 | (mixed << 14) & ((1 << 42) - 1) | bucket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_become_thresholds_of_a_precision() {
        for (probability, precision, text) in [
            (1.0, 4, "0"),
            (0.5, 4, "8"),
            (0.25, 4, "c"),
            (0.1, 4, "e666"),
            (0.1, 8, "e6666666"),
            (0.01, 4, "fd71"),
            (1.0 / 3.0, 3, "aab"),
            (0.99, 4, "028f6"),
            (MIN_PROBABILITY, 14, "ffffffffffffff"),
        ] {
            assert_eq!(Threshold::of(probability, precision).map(Threshold::text).as_deref(), Ok(text));
        }
        assert_eq!(Threshold::of(0.0, 4), Err(Unfit::Range));
        assert_eq!(Threshold::of(1.01, 4), Err(Unfit::Range));
        assert_eq!(Threshold::of(1.0 - MIN_PROBABILITY * 8.0, 14), Err(Unfit::Precision));
    }

    #[test]
    fn values_of_tracestate_are_read_and_written() {
        for text in ["0", "8", "c", "e666", "ffffffffffffff"] {
            assert_eq!(Threshold::parse(text).map(Threshold::text).as_deref(), Some(text));
        }
        assert_eq!(Threshold::parse("80").map(Threshold::text).as_deref(), Some("8"));
        for text in ["", "g", "123456789abcdef", "+1"] {
            assert_eq!(Threshold::parse(text), None, "{text}");
        }
        assert_eq!(
            Randomness::parse("0123456789abcd").map(Randomness::text).as_deref(),
            Some("0123456789abcd")
        );
        assert_eq!(Randomness::parse("123"), None);
        let id = [1, 2, 3, 4, 5, 6, 7, 8, 9, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10];
        assert_eq!(Randomness::of_trace_id(&id).text(), "0a0b0c0d0e0f10");
    }

    #[test]
    fn a_hash_is_sampled_exactly_where_its_bucket_is_below_the_rate() {
        for n in 0..5000u32 {
            let randomness = hashed(&n.to_be_bytes(), 17);
            let bucket = randomness.0 & 0x3fff;
            for rate in [1, 100, 8192, 16383] {
                let threshold = Threshold::of_bits((16384 - rate) << 42);
                assert_eq!(threshold.samples(randomness), bucket < rate, "{n} {rate}");
            }
        }
    }
}

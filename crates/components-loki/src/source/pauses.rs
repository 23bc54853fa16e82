//! Pauses between offers of a batch that nobody can take now.

use std::time::Duration;

/// The first and the longest.
const BOUNDS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];

/// They double up to the longest; each is cut by a random part of up to a half, so that those who were refused together do
/// not come back together.
pub(super) struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Self {
        Self(BOUNDS[0])
    }
}

impl Pauses {
    /// The next one.
    pub(super) fn next(&mut self) -> Duration {
        let whole = self.0;
        self.0 = (whole * 2).min(BOUNDS[1]);
        whole.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut pauses = Pauses::default();
        for whole in [100, 200, 400, 800, 1600, 3200, 5000, 5000] {
            let pause = pauses.next();
            assert!((whole / 2..=whole).contains(&(pause.as_millis() as u64)), "{pause:?} of {whole}");
        }
    }
}

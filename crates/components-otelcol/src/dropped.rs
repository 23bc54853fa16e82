//! What a conversion between signal families cannot carry: counted, never silent.

use component::BuildCx;
use component::metrics::IntCounterVec;

/// The counter `<component>_conversion_dropped_total{what, why}`. A clone counts into the same one.
#[derive(Clone)]
pub struct Dropped(IntCounterVec);

impl Dropped {
    /// That of a component; `prefix` is its name with underscores.
    pub fn new(cx: &BuildCx, prefix: &str) -> Self {
        let help = "What the conversion could not carry over, by kind and reason.";
        Self(cx.metrics().counter_vec(&format!("{prefix}_conversion_dropped_total"), help, &["what", "why"]))
    }

    /// Counts.
    pub fn add(&self, what: &str, why: &str, items: usize) {
        if items > 0 {
            self.0.with_label_values(&[what, why]).inc_by(items as u64);
        }
    }

    /// How many so far.
    #[cfg(test)]
    pub fn count(&self, what: &str, why: &str) -> u64 {
        self.0.with_label_values(&[what, why]).get()
    }
}

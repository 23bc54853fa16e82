//! `stage.sampling` lets a share of the entries through.

use component::eval::Invalid;
use component::metrics::IntCounter;
use component::{Arguments, Error};

use crate::process::pipeline::{Cx, Flow, MapStage, Node, StageCx};
use crate::process::record::Record;

/// `stage.sampling`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// Reason under which dropped entries are counted.
    #[arg(default = "sampling_stage")]
    pub drop_counter_reason: String,
    /// Share of the entries that go on, 0 to 1.
    pub rate: f64,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if !(0.0..=1.0).contains(&self.rate) {
            return Err(Invalid::field("rate", "must be between 0 and 1"));
        }
        Ok(())
    }

    pub(super) fn build(&self, cx: &StageCx<'_>) -> Result<Node, Error> {
        let random = fastrand::Rng::new();
        let dropped = cx.counters.dropped(&self.drop_counter_reason);
        Ok(Node::map(Sampling { rate: self.rate, random, dropped }))
    }
}

struct Sampling {
    rate: f64,
    random: fastrand::Rng,
    dropped: IntCounter,
}

impl MapStage for Sampling {
    fn process(&mut self, _record: &mut Record<'_>, _cx: &Cx) -> Flow {
        // The random number is below 1: a rate of 1 lets all through, a rate of 0 none.
        if self.random.f64() < self.rate {
            return Flow::Next;
        }
        self.dropped.inc();
        Flow::Drop
    }
}

#[cfg(test)]
mod tests {
    use crate::process::testkit::{Bench, Case, check, refused};

    #[test]
    fn all_or_nothing_goes_through_at_the_ends() {
        check("stage.sampling { rate = 1 }", &[Case::new("x").same()]);
        check("stage.sampling { rate = 0 }", &[Case::new("x").gives_nothing()]);
    }

    #[test]
    fn a_share_goes_through_and_the_rest_is_counted() {
        let mut bench = Bench::new("stage.sampling { rate = 0.25\n drop_counter_reason = \"share\" }");
        let came = vec![Case::new("x"); 40_000];
        let passed = bench.run(&came).len();
        // Ten standard deviations around 10,000.
        assert!((9_130..10_870).contains(&passed), "{passed}");
        let dropped = bench.metric("loki_process_dropped_lines_total{reason=\"share\"}");
        assert_eq!(dropped, Some((40_000 - passed) as f64));
    }

    #[test]
    fn the_rate_is_a_share() {
        for rate in ["-0.1", "1.1"] {
            refused(&format!("stage.sampling {{ rate = {rate} }}"), "between 0 and 1");
        }
        refused("stage.sampling { }", "rate");
    }
}

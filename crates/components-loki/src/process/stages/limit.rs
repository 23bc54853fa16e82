//! `stage.limit` lets so many entries a second through, and drops the others or lets them wait.

use std::time::Duration;

use component::eval::Invalid;
use component::metrics::{IntCounter, IntCounterVec};
use component::{Arguments, Error};
use hashbrown::HashMap;
use tokio::time::Instant;

use crate::process::pipeline::{Cx, Flow, MapStage, Node, StageCx};
use crate::process::record::Record;

/// `stage.limit`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// Entries a second.
    pub rate: f64,
    /// Entries that may come at once.
    #[arg(code_type = "int")]
    pub burst: i64,
    /// Whether entries above the rate are dropped; else the sender waits.
    #[arg(default)]
    pub drop: bool,
    /// Label each value of which has a rate of its own; entries without it are not limited.
    #[arg(default)]
    pub by_label_name: String,
    /// Values of that label whose rates are remembered; at least 10000.
    #[arg(default = 10_000, code_type = "int")]
    pub max_distinct_labels: i64,
}

/// Fewest values of a label that are remembered. As Alloy's.
const FEWEST_LABELS: usize = 10_000;
/// As Alloy's.
const REASON: &str = "ratelimit_drop_stage";
/// Longest time that a bucket makes a sender wait: rates below one a year are as good as none.
const LONGEST_WAIT: f64 = 366.0 * 86_400.0;

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if !(self.rate > 0.0 && self.rate.is_finite()) {
            return Err(Invalid::field("rate", "must be above 0"));
        }
        if self.burst <= 0 {
            return Err(Invalid::field("burst", "must be above 0"));
        }
        if !self.by_label_name.is_empty() && !self.drop {
            let message = "limits by label drop what is above them: set drop = true";
            return Err(Invalid::field("by_label_name", message));
        }
        Ok(())
    }

    pub(super) fn build(&self, cx: &StageCx<'_>) -> Result<Node, Error> {
        let full = Bucket { tokens: self.burst as f64, at: None };
        let rate = Rate { per_second: self.rate, burst: self.burst as f64 };
        let dropped = cx.counters.dropped(REASON);
        if self.by_label_name.is_empty() {
            return Ok(Node::map(Limit { rate, bucket: full, dropped: Some(dropped).filter(|_| self.drop) }));
        }
        let asked = usize::try_from(self.max_distinct_labels).unwrap_or(0);
        if asked < FEWEST_LABELS {
            tracing::warn!(node = %cx.node.id(), "stage.limit: max_distinct_labels was raised to {FEWEST_LABELS}");
        }
        Ok(Node::map(LimitByLabel {
            rate,
            label: self.by_label_name.clone(),
            most: asked.max(FEWEST_LABELS),
            new: HashMap::new(),
            old: HashMap::new(),
            dropped,
            dropped_by_label: cx.counters.dropped_by_label.clone(),
        }))
    }
}

#[derive(Clone, Copy)]
struct Rate {
    per_second: f64,
    burst: f64,
}

/// Tokens of one rate; below 0 where entries wait for theirs.
#[derive(Clone, Copy)]
struct Bucket {
    tokens: f64,
    /// When they were counted; `None` while it is full because nothing has come yet.
    at: Option<Instant>,
}

impl Bucket {
    fn fill(&mut self, rate: Rate, now: Instant) {
        if let Some(at) = self.at {
            let elapsed = now.saturating_duration_since(at).as_secs_f64();
            self.tokens = (self.tokens + elapsed * rate.per_second).min(rate.burst);
        }
        self.at = Some(now);
    }

    /// Takes a token if there is one.
    fn take(&mut self, rate: Rate, now: Instant) -> bool {
        self.fill(rate, now);
        let there = self.tokens >= 1.0;
        if there {
            self.tokens -= 1.0;
        }
        there
    }

    /// Takes a token in any case; how long it takes until there is one.
    fn reserve(&mut self, rate: Rate, now: Instant) -> Duration {
        self.fill(rate, now);
        self.tokens -= 1.0;
        let wait = (-self.tokens / rate.per_second).clamp(0.0, LONGEST_WAIT);
        Duration::from_secs_f64(wait)
    }
}

struct Limit {
    rate: Rate,
    bucket: Bucket,
    /// Counts what is dropped; `None` where entries wait.
    dropped: Option<IntCounter>,
}

impl MapStage for Limit {
    fn process(&mut self, _record: &mut Record<'_>, cx: &Cx) -> Flow {
        let Some(dropped) = &self.dropped else {
            let wait = self.bucket.reserve(self.rate, cx.now);
            if !wait.is_zero() {
                cx.not_before(cx.now + wait);
            }
            return Flow::Next;
        };
        if self.bucket.take(self.rate, cx.now) {
            return Flow::Next;
        }
        dropped.inc();
        Flow::Drop
    }
}

/// A bucket for each value of a label. Two generations: what has not been seen while one was filled is
/// forgotten.
struct LimitByLabel {
    rate: Rate,
    label: String,
    most: usize,
    new: HashMap<Box<str>, Bucket>,
    old: HashMap<Box<str>, Bucket>,
    dropped: IntCounter,
    dropped_by_label: IntCounterVec,
}

impl LimitByLabel {
    fn take(&mut self, value: &str, now: Instant) -> bool {
        if let Some(bucket) = self.new.get_mut(value) {
            return bucket.take(self.rate, now);
        }
        let known = self.old.get(value).copied();
        let mut bucket = known.unwrap_or(Bucket { tokens: self.rate.burst, at: None });
        let there = bucket.take(self.rate, now);
        self.new.insert(value.into(), bucket);
        if self.new.len() >= self.most {
            self.old = std::mem::take(&mut self.new);
            // As Alloy: with the values their counters go.
            self.dropped_by_label.reset();
        }
        there
    }
}

impl MapStage for LimitByLabel {
    fn process(&mut self, record: &mut Record<'_>, cx: &Cx) -> Flow {
        let Some(value) = record.labels.get(&self.label) else { return Flow::Next };
        if self.take(value, cx.now) {
            return Flow::Next;
        }
        self.dropped.inc();
        self.dropped_by_label.with_label_values(&[self.label.as_str(), value]).inc();
        Flow::Drop
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::testkit::{Bench, Case, batch, refused};

    fn entries(count: usize) -> Vec<Case> {
        vec![Case::new("x"); count]
    }

    async fn later(seconds: f64) {
        tokio::time::advance(Duration::from_secs_f64(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn above_the_rate_entries_are_dropped_and_counted() {
        let mut bench = Bench::new("stage.limit { rate = 2\n burst = 3\n drop = true }");
        assert_eq!(bench.run(&entries(5)).len(), 3);
        assert_eq!(
            bench.metric("loki_process_dropped_lines_total{reason=\"ratelimit_drop_stage\"}"),
            Some(2.0)
        );
        later(1.0).await;
        assert_eq!(bench.run(&entries(5)).len(), 2);
        later(0.4).await;
        assert_eq!(bench.run(&entries(1)).len(), 0);
        later(0.1).await;
        assert_eq!(bench.run(&entries(1)).len(), 1);
        // However long nothing comes, no more than a burst is saved up.
        later(3600.0).await;
        assert_eq!(bench.run(&entries(9)).len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn without_drop_entries_wait_for_their_time() {
        let mut bench = Bench::new("stage.limit { rate = 2\n burst = 1 }");
        let now = Instant::now();
        let waits = |bench: &mut Bench, count| -> Vec<(Option<Duration>, usize)> {
            let pieces = bench.pipeline.process(&batch(&entries(count), None));
            pieces.iter().map(|p| (p.not_before.map(|at| at - now), p.batch.len())).collect()
        };
        let half = |n: u32| Some(Duration::from_millis(500) * n);
        assert_eq!(waits(&mut bench, 3), [(None, 1), (half(1), 1), (half(2), 1)]);
        // Those that wait have taken their tokens.
        assert_eq!(waits(&mut bench, 1), [(half(3), 1)]);
        later(2.0).await;
        assert_eq!(waits(&mut bench, 1), [(None, 1)]);
    }

    #[tokio::test(start_paused = true)]
    async fn each_value_of_a_label_has_its_own_rate() {
        let mut bench =
            Bench::new("stage.limit { rate = 1\n burst = 1\n drop = true\n by_label_name = \"app\" }");
        let app = |name: &'static str| Case::new(name).labels([("app", name)]);
        let got = bench.run(&[app("a"), app("a"), app("b"), Case::new("none"), Case::new("none"), app("b")]);
        assert_eq!(got.len(), 4, "{got:?}");
        let by_label = |value| {
            format!("loki_process_dropped_lines_by_label_total{{label_name=\"app\",label_value=\"{value}\"}}")
        };
        assert_eq!(bench.metric(&by_label("a")), Some(1.0));
        assert_eq!(bench.metric(&by_label("b")), Some(1.0));
        assert_eq!(
            bench.metric("loki_process_dropped_lines_total{reason=\"ratelimit_drop_stage\"}"),
            Some(2.0)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn millions_of_values_take_bounded_memory() {
        let metrics = component::metrics::Metrics::default();
        let counters = crate::process::pipeline::Counters::new(&metrics.node("loki.process.test"));
        let mut limit = LimitByLabel {
            rate: Rate { per_second: 1.0, burst: 1.0 },
            label: "app".into(),
            most: FEWEST_LABELS,
            new: HashMap::new(),
            old: HashMap::new(),
            dropped: counters.dropped(REASON),
            dropped_by_label: counters.dropped_by_label.clone(),
        };
        let now = Instant::now();
        for i in 0..100_000 {
            assert!(limit.take(&i.to_string(), now));
            assert!(limit.new.len() < FEWEST_LABELS && limit.old.len() <= FEWEST_LABELS);
        }
        // A value seen a short while ago still has its rate.
        assert!(!limit.take("99999", now));
    }

    #[test]
    fn arguments_are_checked() {
        refused("stage.limit { rate = 0\n burst = 1 }", "must be above 0");
        refused("stage.limit { rate = -1\n burst = 1 }", "must be above 0");
        refused("stage.limit { rate = 1\n burst = 0 }", "must be above 0");
        refused("stage.limit { rate = 1\n burst = 1\n by_label_name = \"a\" }", "drop = true");
        refused("stage.limit { burst = 1 }", "rate");
    }
}

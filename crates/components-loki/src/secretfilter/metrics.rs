//! The component's own metrics, and the summary of how long lines take.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use component::metrics::{Computed, IntCounter, IntCounterVec, NodeMetrics, proto};
use hashbrown::HashSet;
use parking_lot::Mutex;

/// Pairs of rule and origin that are counted one by one; what comes after has the origin [`OTHER`].
const MAX_CATEGORIES: usize = 2_000;
/// The origin of secrets whose own is one too many.
const OTHER: &str = "other";
/// Quantiles are of the last ten minutes. As Prometheus' clients: `MaxAge`, `AgeBuckets`.
const AGES: usize = 5;
const AGE: Duration = Duration::from_secs(120);
const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];

/// The metrics.
pub struct Counters {
    pub redacted: IntCounter,
    categories: IntCounterVec,
    known: Mutex<HashSet<(Arc<str>, String)>>,
    pub bypassed: IntCounter,
    pub timed_out: IntCounter,
    pub dropped: IntCounter,
    durations: Arc<Mutex<Durations>>,
}

impl Counters {
    pub fn new(metrics: &NodeMetrics) -> Self {
        let name = |what: &str| format!("loki_secretfilter_{what}");
        let durations = Arc::new(Mutex::new(Durations::new(Instant::now())));
        let shown = durations.clone();
        let summary = name("processing_duration_seconds");
        metrics.register(Computed::new(&format!("{summary}_summary"), move || {
            vec![shown.lock().family(&summary, Instant::now())]
        }));
        Self {
            redacted: metrics.counter(&name("secrets_redacted_total"), "Secrets redacted."),
            categories: metrics.counter_vec(
                &name("secrets_redacted_by_category_total"),
                "Secrets redacted, by rule and value of origin_label.",
                &["rule", "origin"],
            ),
            known: Mutex::default(),
            bypassed: metrics
                .counter(&name("entries_bypassed_total"), "Entries passed on unseen because of rate."),
            timed_out: metrics
                .counter(&name("lines_timed_out_total"), "Lines that took longer than processing_timeout."),
            dropped: metrics
                .counter(&name("lines_dropped_total"), "Lines dropped because of processing_timeout."),
            durations,
        }
    }

    /// A secret was redacted.
    pub fn secret(&self, rule: &Arc<str>, origin: &str) {
        self.redacted.inc();
        let category = (rule.clone(), origin.to_string());
        let mut known = self.known.lock();
        let is_known = known.contains(&category);
        let origin = if is_known || known.len() < MAX_CATEGORIES { origin } else { OTHER };
        if !is_known && origin != OTHER {
            known.insert(category);
        }
        drop(known);
        self.categories.with_label_values(&[rule, origin]).inc();
    }

    /// So many lines took this long each.
    pub fn took(&self, each: Duration, lines: u64) {
        if lines > 0 {
            self.durations.lock().add(each, lines, Instant::now());
        }
    }
}

/// Durations, counted in steps of a ninth: precise enough for what they tell.
struct Durations {
    count: u64,
    sum: f64,
    /// Youngest last; each of one [`AGE`].
    ages: VecDeque<[u64; STEPS]>,
    turned: Instant,
}

/// From a nanosecond to minutes, eight steps an octave.
const STEPS: usize = 8 * 40;

impl Durations {
    fn new(now: Instant) -> Self {
        Self { count: 0, sum: 0.0, ages: VecDeque::from([[0; STEPS]]), turned: now }
    }

    fn turn(&mut self, now: Instant) {
        let passed = (now.duration_since(self.turned).as_secs() / AGE.as_secs()) as usize;
        for _ in 0..passed.min(AGES) {
            self.ages.push_back([0; STEPS]);
        }
        while self.ages.len() > AGES {
            self.ages.pop_front();
        }
        self.turned += AGE * passed as u32;
    }

    fn add(&mut self, each: Duration, lines: u64, now: Instant) {
        self.turn(now);
        self.count += lines;
        self.sum += each.as_secs_f64() * lines as f64;
        let step = ((each.as_nanos().max(1) as f64).log2() * 8.0) as usize;
        let youngest = self.ages.back_mut().expect("there is always one");
        youngest[step.min(STEPS - 1)] += lines;
    }

    fn quantile(&self, quantile: f64) -> f64 {
        let total: u64 = self.ages.iter().flatten().sum();
        let mut left = (quantile * total as f64).ceil() as u64;
        for step in 0..STEPS {
            let here: u64 = self.ages.iter().map(|age| age[step]).sum();
            if here > 0 && here >= left {
                return ((step as f64 + 0.5) / 8.0).exp2() / 1e9;
            }
            left -= here;
        }
        f64::NAN
    }

    fn family(&mut self, name: &str, now: Instant) -> proto::MetricFamily {
        self.turn(now);
        let mut summary = proto::Summary::default();
        summary.set_sample_count(self.count);
        summary.set_sample_sum(self.sum);
        let quantiles = QUANTILES.map(|q| {
            let mut quantile = proto::Quantile::default();
            quantile.set_quantile(q);
            quantile.set_value(self.quantile(q));
            quantile
        });
        summary.set_quantile(quantiles.to_vec());
        let mut metric = proto::Metric::default();
        metric.set_summary(summary);
        let mut family = proto::MetricFamily::default();
        family.set_name(name.to_string());
        family.set_help("How long a line takes.".to_string());
        family.set_field_type(proto::MetricType::SUMMARY);
        family.set_metric(vec![metric]);
        family
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_near_what_was_measured_and_forget_what_is_old() {
        let start = Instant::now();
        let mut durations = Durations::new(start);
        assert!(durations.quantile(0.5).is_nan());
        for i in 1..=1000u64 {
            durations.add(Duration::from_micros(i), 1, start);
        }
        for (quantile, expected) in [(0.5, 500e-6), (0.9, 900e-6), (0.99, 990e-6)] {
            let found = durations.quantile(quantile);
            assert!((found / expected - 1.0).abs() < 0.1, "{quantile}: {found}");
        }
        let late = start + Duration::from_secs(605);
        durations.add(Duration::from_millis(8), 3, late);
        assert!((durations.quantile(0.5) / 8e-3 - 1.0).abs() < 0.1);
        let family = durations.family("x", late);
        assert_eq!(family.get_metric()[0].get_summary().sample_count(), 1003);
    }

    #[test]
    fn origins_are_bounded() {
        let services = component::Services::for_tests("unused");
        let counters = Counters::new(&services.metrics.node("loki.secretfilter.x"));
        let rule: Arc<str> = "r".into();
        for i in 0..MAX_CATEGORIES + 50 {
            counters.secret(&rule, &i.to_string());
        }
        counters.secret(&rule, "0");
        assert_eq!(counters.categories.with_label_values(&["r", OTHER]).get(), 50);
        assert_eq!(counters.categories.with_label_values(&["r", "0"]).get(), 2);
    }
}

//! The series of the metrics that stages of one component make.
//!
//! Invariant: a metric has a bounded number of series; what does not fit is counted. Stages that name the same
//! metric share its series. A metric is on the page as long as one of its stages runs.

use std::sync::{Arc, Weak};
use std::time::Duration;

use component::metrics::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric as Sample, MetricFamily, MetricType,
};
use component::metrics::{Computed, IntCounterVec, NodeMetrics};
use hashbrown::HashMap;
use parking_lot::Mutex;
use signal::Labels;
use tokio::time::Instant;

/// Most series of one metric.
pub(super) const MOST_SERIES: usize = 10_000;

/// The metrics of all stages of a component.
#[derive(Clone)]
pub struct CustomMetrics {
    shared: Arc<Mutex<Vec<Weak<Family>>>>,
    overflows: IntCounterVec,
}

/// What a metric is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    /// Upper bounds of the buckets.
    Histogram(Box<[f64]>),
}

/// What an entry does to a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Change {
    Add(f64),
    Set(f64),
    Observe(f64),
}

/// A metric that a stage changes.
#[derive(Clone)]
pub(super) struct Metric(Arc<Family>);

struct Family {
    name: String,
    help: String,
    kind: Kind,
    series: Mutex<Series>,
    overflows: component::metrics::IntCounter,
}

#[derive(Default)]
struct Series {
    /// By the labels that entries have; several may be shown as the same.
    known: HashMap<Labels, u32, foldhash::fast::FixedState>,
    shown: HashMap<Labels, u32, foldhash::fast::FixedState>,
    values: Vec<Option<OneSeries>>,
    free: Vec<u32>,
}

struct OneSeries {
    labels: Labels,
    value: f64,
    /// Of a histogram: how many values each bucket has, the last one for what is above all bounds.
    counts: Box<[u64]>,
    changed: Instant,
    max_idle: Duration,
}

impl CustomMetrics {
    /// Puts the metrics of stages on the node's page.
    pub fn new(metrics: &NodeMetrics) -> Self {
        let shared: Arc<Mutex<Vec<Weak<Family>>>> = Arc::default();
        let collected = shared.clone();
        metrics.register(Computed::new("loki_process_custom", move || {
            let living: Vec<Arc<Family>> = {
                let mut metrics = collected.lock();
                metrics.retain(|metric| metric.strong_count() > 0);
                metrics.iter().filter_map(Weak::upgrade).collect()
            };
            families(&living)
        }));
        let overflows = metrics.counter_vec(
            "loki_process_custom_series_overflows_total",
            "A count of changes to metrics of stages that were not made because the metric has too many series",
            &["metric"],
        );
        Self { shared, overflows }
    }

    /// The metric of a name: the one that another stage has already, or a new one.
    pub(super) fn metric(&self, name: &str, kind: Kind, help: &str) -> Metric {
        let mut metrics = self.shared.lock();
        let known = metrics.iter().filter_map(Weak::upgrade).find(|m| m.name == name && m.kind == kind);
        Metric(known.unwrap_or_else(|| {
            let new = Arc::new(Family {
                name: name.to_owned(),
                help: help.to_owned(),
                kind,
                series: Mutex::default(),
                overflows: self.overflows.with_label_values(&[name]),
            });
            metrics.push(Arc::downgrade(&new));
            new
        }))
    }
}

/// Families by name. Of two metrics of one name that are not of one kind, as during a reload, the newer one is
/// shown.
fn families(metrics: &[Arc<Family>]) -> Vec<MetricFamily> {
    let mut out: Vec<MetricFamily> = Vec::new();
    for metric in metrics.iter().rev() {
        if !out.iter().any(|family| family.name() == metric.name) {
            out.push(metric.family());
        }
    }
    out
}

impl Metric {
    /// Changes the series of an entry's labels.
    pub(super) fn apply(&self, labels: &Labels, change: Change, max_idle: Duration, now: Instant) {
        let Family { kind, series, overflows, .. } = &*self.0;
        let mut series = series.lock();
        let Some(place) = series.place(labels, kind, now) else {
            overflows.inc();
            return;
        };
        let Some(one) = &mut series.values[place as usize] else { return };
        one.changed = now;
        one.max_idle = max_idle;
        match change {
            Change::Set(value) => one.value = value,
            Change::Add(value) => one.value += value,
            Change::Observe(value) => {
                one.value += value;
                if let Kind::Histogram(bounds) = kind {
                    let bucket = bounds.iter().position(|bound| value <= *bound).unwrap_or(bounds.len());
                    one.counts[bucket] += 1;
                }
            }
        }
    }
}

impl Series {
    /// The place of the series of these labels; `None` where there are too many.
    fn place(&mut self, labels: &Labels, kind: &Kind, now: Instant) -> Option<u32> {
        if let Some(place) = self.known.get(labels) {
            return Some(*place);
        }
        let shown = shown(labels);
        let place = match self.shown.get(&shown) {
            Some(place) => *place,
            None => {
                if self.shown.len() >= MOST_SERIES {
                    self.prune(now);
                }
                if self.shown.len() >= MOST_SERIES {
                    return None;
                }
                let buckets = if let Kind::Histogram(bounds) = kind { bounds.len() + 1 } else { 0 };
                let one = OneSeries {
                    labels: shown.clone(),
                    value: 0.0,
                    counts: vec![0; buckets].into(),
                    changed: now,
                    max_idle: Duration::ZERO,
                };
                let place = self.free.pop().unwrap_or_else(|| {
                    self.values.push(None);
                    u32::try_from(self.values.len() - 1).expect("series are bounded")
                });
                self.values[place as usize] = Some(one);
                self.shown.insert(shown, place);
                place
            }
        };
        // Labels that are not shown may differ from entry to entry: what is remembered is bounded too.
        if self.known.len() >= 2 * MOST_SERIES {
            self.known.clear();
        }
        self.known.insert(labels.clone(), place);
        Some(place)
    }

    /// Forgets series that have not changed for too long.
    fn prune(&mut self, now: Instant) {
        let mut gone = false;
        for (place, slot) in self.values.iter_mut().enumerate() {
            let idle =
                slot.as_ref().is_some_and(|one| now.saturating_duration_since(one.changed) >= one.max_idle);
            if idle && let Some(one) = slot.take() {
                self.shown.remove(&one.labels);
                self.free.push(u32::try_from(place).expect("series are bounded"));
                gone = true;
            }
        }
        if gone {
            let values = &self.values;
            self.known.retain(|_, place| values[*place as usize].is_some());
        }
    }
}

/// The labels under which an entry's series is shown. Labels for Alloy itself (`__…`) are left out, and so that
/// labels of the component win, theirs get another name, as Prometheus has it.
fn shown(labels: &Labels) -> Labels {
    let fits = |name: &str| signal::names::is_legacy_label(name) && !name.starts_with("__");
    Labels::from_pairs(labels.iter().filter(|(name, _)| fits(name)).map(|(name, value)| {
        let taken = matches!(name, "component_id" | "component_path" | "le");
        (if taken { format!("exported_{name}") } else { name.to_owned() }, value)
    }))
}

impl Family {
    /// All series, and then those go that have not changed for too long.
    fn family(&self) -> MetricFamily {
        let mut series = self.series.lock();
        let mut family = MetricFamily::default();
        family.set_name(self.name.clone());
        family.set_help(self.help.clone());
        family.set_field_type(match self.kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
            Kind::Histogram(_) => MetricType::HISTOGRAM,
        });
        let samples = series.values.iter().flatten().map(|one| self.sample(one)).collect();
        family.set_metric(samples);
        series.prune(Instant::now());
        family
    }

    fn sample(&self, one: &OneSeries) -> Sample {
        let pair = |(name, value): (&str, &str)| {
            let mut pair = LabelPair::default();
            pair.set_name(name.to_owned());
            pair.set_value(value.to_owned());
            pair
        };
        let mut sample = Sample::default();
        sample.set_label(one.labels.iter().map(pair).collect());
        match &self.kind {
            Kind::Counter => {
                let mut counter = Counter::default();
                counter.set_value(one.value);
                sample.set_counter(counter);
            }
            Kind::Gauge => {
                let mut gauge = Gauge::default();
                gauge.set_value(one.value);
                sample.set_gauge(gauge);
            }
            Kind::Histogram(bounds) => sample.set_histogram(histogram(bounds, one)),
        }
        sample
    }
}

fn histogram(bounds: &[f64], one: &OneSeries) -> Histogram {
    let mut sum = 0;
    let bucket = |(bound, count): (&f64, &u64)| {
        sum += count;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(sum);
        bucket
    };
    let mut histogram = Histogram::default();
    histogram.set_bucket(bounds.iter().zip(&one.counts).map(bucket).collect());
    histogram.set_sample_count(one.counts.iter().sum());
    histogram.set_sample_sum(one.value);
    histogram
}

//! Own metrics of `prometheus.remote_write`, under Alloy's names, by endpoint.

use std::sync::Arc;

use component::metrics::{Collector, Desc, GaugeVec, IntCounter, IntCounterVec, NodeMetrics, Opts, proto};
use delivery::{Outcome, SEND_SECONDS_BOUNDS, Stats};
use parking_lot::Mutex;
use wire::remote_write::Counts;

const LABELS: [&str; 2] = ["remote_name", "url"];

/// The metrics of the component; endpoints take their share by label.
pub(super) struct Metrics {
    sums: Sums,
    queues: Queues,
}

struct Sums {
    samples_in: IntCounterVec,
    histograms_in: IntCounterVec,
    exemplars_in: IntCounterVec,
    samples: IntCounterVec,
    histograms: IntCounterVec,
    exemplars: IntCounterVec,
    metadata: IntCounterVec,
    samples_failed: IntCounterVec,
    histograms_failed: IntCounterVec,
    exemplars_failed: IntCounterVec,
    metadata_failed: IntCounterVec,
    samples_retried: IntCounterVec,
    histograms_retried: IntCounterVec,
    exemplars_retried: IntCounterVec,
    metadata_retried: IntCounterVec,
    samples_dropped: IntCounterVec,
    appended: IntCounter,
    appended_exemplars: IntCounter,
    metadata_updates: IntCounter,
}

impl Metrics {
    pub(super) fn new(metrics: &NodeMetrics) -> Self {
        let vec = |name: &str, help: &str| metrics.counter_vec(&format!("prometheus_remote_storage_{name}"), help, &LABELS);
        let by_reason = metrics.counter_vec(
            "prometheus_remote_storage_samples_dropped_total",
            "Samples, histograms and exemplars left out or given up, by reason.",
            &["remote_name", "url", "reason"],
        );
        let wal = |name: &str, help: &str| metrics.counter(&format!("prometheus_remote_write_wal_{name}"), help);
        let queues = Queues::default();
        metrics.register(queues.clone());
        Self {
            sums: Sums {
                samples_in: vec("samples_in_total", "Samples taken in."),
                histograms_in: vec("histograms_in_total", "Native histograms taken in."),
                exemplars_in: vec("exemplars_in_total", "Exemplars taken in."),
                samples: vec("samples_total", "Samples delivered."),
                histograms: vec("histograms_total", "Native histograms delivered."),
                exemplars: vec("exemplars_total", "Exemplars delivered."),
                metadata: vec("metadata_total", "Metadata entries delivered."),
                samples_failed: vec("samples_failed_total", "Samples that the endpoint refused for good."),
                histograms_failed: vec("histograms_failed_total", "Native histograms refused for good."),
                exemplars_failed: vec("exemplars_failed_total", "Exemplars refused for good."),
                metadata_failed: vec("metadata_failed_total", "Metadata entries refused for good."),
                samples_retried: vec("samples_retried_total", "Samples in attempts that are repeated."),
                histograms_retried: vec("histograms_retried_total", "Native histograms in attempts that are repeated."),
                exemplars_retried: vec("exemplars_retried_total", "Exemplars in attempts that are repeated."),
                metadata_retried: vec("metadata_retried_total", "Metadata entries in attempts that are repeated."),
                samples_dropped: by_reason,
                appended: wal("samples_appended_total", "Samples and native histograms taken in by the component."),
                appended_exemplars: wal("exemplars_appended_total", "Exemplars taken in by the component."),
                metadata_updates: wal("metadata_updates_total", "Metadata entries queued."),
            },
            queues,
        }
    }

    /// Counts a batch once, whatever the number of endpoints.
    pub(super) fn appended(&self, batch: &signal::SampleBatch) {
        self.sums.appended.inc_by((batch.points.len() + batch.histograms.len()) as u64);
        self.sums.appended_exemplars.inc_by(batch.exemplars.len() as u64);
    }

    pub(super) fn metadata_updates(&self, count: usize) {
        self.sums.metadata_updates.inc_by(count as u64);
    }

    /// The share of one endpoint.
    pub(super) fn endpoint(&self, name: &str, url: &str) -> Counters {
        let labels = [name, url];
        let of = |vec: &IntCounterVec| vec.with_label_values(&labels);
        let s = &self.sums;
        Counters {
            taken: Kinds { samples: of(&s.samples_in), histograms: of(&s.histograms_in), exemplars: of(&s.exemplars_in), metadata: None },
            sent: Kinds { samples: of(&s.samples), histograms: of(&s.histograms), exemplars: of(&s.exemplars), metadata: Some(of(&s.metadata)) },
            failed: Kinds {
                samples: of(&s.samples_failed),
                histograms: of(&s.histograms_failed),
                exemplars: of(&s.exemplars_failed),
                metadata: Some(of(&s.metadata_failed)),
            },
            retried: Kinds {
                samples: of(&s.samples_retried),
                histograms: of(&s.histograms_retried),
                exemplars: of(&s.exemplars_retried),
                metadata: Some(of(&s.metadata_retried)),
            },
            by_reason: s.samples_dropped.clone(),
            labels: [name.to_string(), url.to_string()],
        }
    }

    /// Sets which queues `/metrics` shows.
    pub(super) fn show(&self, queues: Vec<(String, String, delivery::Queue)>) {
        *self.queues.shown.lock() = queues;
    }
}

/// The counters of one endpoint.
pub(super) struct Counters {
    pub taken: Kinds,
    sent: Kinds,
    failed: Kinds,
    retried: Kinds,
    by_reason: IntCounterVec,
    labels: [String; 2],
}

pub(super) struct Kinds {
    samples: IntCounter,
    histograms: IntCounter,
    exemplars: IntCounter,
    metadata: Option<IntCounter>,
}

impl Kinds {
    pub(super) fn add(&self, counts: Counts) {
        self.samples.inc_by(counts.samples as u64);
        self.histograms.inc_by(counts.histograms as u64);
        self.exemplars.inc_by(counts.exemplars as u64);
        if let Some(metadata) = &self.metadata {
            metadata.inc_by(counts.metadata as u64);
        }
    }
}

impl Counters {
    pub(super) fn tell(&self, outcome: &Outcome, counts: Counts) {
        match outcome {
            Outcome::Delivered => self.sent.add(counts),
            Outcome::Retry { .. } | Outcome::Split { .. } => self.retried.add(counts),
            Outcome::Drop { reason, .. } => {
                self.failed.add(counts);
                self.dropped(reason, counts.items() as u64);
            }
        }
    }

    pub(super) fn dropped(&self, reason: &str, items: u64) {
        if items > 0 {
            self.by_reason.with_label_values(&[&self.labels[0], &self.labels[1], reason]).inc_by(items);
        }
    }
}

/// What the queues say at the moment of a scrape.
#[derive(Clone, Default)]
struct Queues {
    shown: Arc<Mutex<Vec<(String, String, delivery::Queue)>>>,
}

type Read = fn(&Stats) -> f64;

/// Name, help, whether it is a counter, and how it is read.
const READ: &[(&str, &str, bool, Read)] = &[
    ("samples_pending", "Samples, histograms and exemplars that wait or are being sent.", false, |s| s.queued.items as f64),
    ("bytes_total", "Bytes of compressed messages delivered.", true, |s| s.sent.bytes as f64),
    ("queue_bytes", "Bytes of compressed messages that wait or are being sent.", false, |s| s.queued.bytes as f64),
    ("queue_disk_bytes", "Bytes of the queue's files.", false, |s| s.disk_bytes as f64),
    ("queue_oldest_age_seconds", "Age of the oldest batch that waits.", false, |s| {
        s.oldest_age.map_or(0.0, |a| a.as_secs_f64())
    }),
    ("queue_damaged_records_total", "Unreadable records of the queue's files that were set aside.", true, |s| {
        s.damaged_records as f64
    }),
    ("queue_highest_sent_timestamp_seconds", "Newest sample that was delivered.", false, |s| {
        s.newest_sent_ms.map_or(0.0, |ms| ms as f64 / 1000.0)
    }),
    ("highest_timestamp_in_seconds", "Newest sample that was taken in.", false, |s| {
        s.newest_appended_ms.map_or(0.0, |ms| ms as f64 / 1000.0)
    }),
    ("shards", "Requests allowed in flight at once.", false, |s| s.senders as f64),
    ("shards_desired", "Requests in flight that the load asks for.", false, |s| s.senders_desired),
    ("shards_min", "Fewest requests in flight.", false, |s| s.senders_min as f64),
    ("shards_max", "Most requests in flight.", false, |s| s.senders_max as f64),
];

impl Queues {
    fn gauges(&self) -> Vec<proto::MetricFamily> {
        let stats: Vec<_> = self.shown.lock().iter().map(|(n, u, q)| (n.clone(), u.clone(), q.stats())).collect();
        let mut families: Vec<_> = READ
            .iter()
            .map(|(name, help, counter, read)| {
                let full = format!("prometheus_remote_storage_{name}");
                let vec = GaugeVec::new(Opts::new(full, *help), &LABELS).expect("names are constants of this program");
                for (name, url, stats) in &stats {
                    vec.with_label_values(&[name, url]).set(read(stats));
                }
                let mut family = vec.collect().remove(0);
                if *counter {
                    as_counter(&mut family);
                }
                family
            })
            .collect();
        families.extend(dropped(&stats));
        families.push(durations(&stats));
        families.retain(|f| !f.get_metric().is_empty());
        families
    }
}

/// Drops that the queue itself decided on: age, size, shutdown.
fn dropped(stats: &[(String, String, Stats)]) -> Option<proto::MetricFamily> {
    let help = "Samples, histograms and exemplars that the queue gave up, by reason.";
    let opts = Opts::new("prometheus_remote_storage_queue_dropped_total", help);
    let vec = GaugeVec::new(opts, &["remote_name", "url", "reason"]).expect("names are constants of this program");
    for (name, url, stats) in stats {
        for (reason, amount) in &stats.dropped {
            vec.with_label_values(&[name, url, *reason]).set(amount.items as f64);
        }
    }
    let mut family = vec.collect().into_iter().next()?;
    as_counter(&mut family);
    Some(family)
}

fn as_counter(family: &mut proto::MetricFamily) {
    family.set_field_type(proto::MetricType::COUNTER);
    for metric in family.mut_metric() {
        let mut counter = proto::Counter::default();
        counter.set_value(metric.get_gauge().get_value());
        metric.set_counter(counter);
    }
}

fn durations(stats: &[(String, String, Stats)]) -> proto::MetricFamily {
    let mut family = proto::MetricFamily::default();
    family.set_name("prometheus_remote_storage_sent_batch_duration_seconds".into());
    family.set_help("How long attempts took.".into());
    family.set_field_type(proto::MetricType::HISTOGRAM);
    let metrics = stats.iter().map(|(name, url, stats)| {
        let mut histogram = proto::Histogram::default();
        histogram.set_sample_count(stats.send_seconds.count);
        histogram.set_sample_sum(stats.send_seconds.sum);
        let buckets = SEND_SECONDS_BOUNDS.iter().zip(stats.send_seconds.buckets).map(|(bound, count)| {
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(count);
            bucket
        });
        histogram.set_bucket(buckets.collect());
        let labels = LABELS.iter().zip([name, url]).map(|(label, value)| {
            let mut pair = proto::LabelPair::default();
            pair.set_name((*label).into());
            pair.set_value(value.clone());
            pair
        });
        let mut metric = proto::Metric::default();
        metric.set_label(labels.collect());
        metric.set_histogram(histogram);
        metric
    });
    family.set_metric(metrics.collect());
    family
}

impl Collector for Queues {
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        self.gauges()
    }
}

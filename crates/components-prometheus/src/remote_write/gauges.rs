//! What the queues say about themselves at the moment of a scrape, as metrics.

use std::collections::BTreeMap;
use std::sync::Arc;

use component::metrics::{Collector, Desc, GaugeVec, Opts, proto};
use delivery::{SEND_SECONDS_BOUNDS, Stats};
use parking_lot::Mutex;

use super::metrics::{Counters, Dropped, LABELS, PREFIX, Shown};

/// All queues of a component.
#[derive(Clone, Default)]
pub(super) struct Queues(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    shown: BTreeMap<u64, Shown>,
    /// By name and URL.
    counters: BTreeMap<(String, String), Arc<Counters>>,
}

impl Queues {
    pub(super) fn counters(&self, name: &str, url: &str, make: impl FnOnce() -> Counters) -> Arc<Counters> {
        let key = (name.to_string(), url.to_string());
        self.0.lock().counters.entry(key).or_insert_with(|| Arc::new(make())).clone()
    }

    pub(super) fn show(&self, id: u64, shown: Shown) {
        self.0.lock().shown.insert(id, shown);
    }

    pub(super) fn close(&self, id: u64) {
        let mut state = self.0.lock();
        let Some(shown) = state.shown.remove(&id) else { return };
        if let Some(counters) = state.counters.get(&shown.key()) {
            for (reason, amount) in &shown.queue.stats().dropped {
                counters.dropped_items("samples", reason, amount.items);
            }
        }
    }

    /// Removes counters without a queue; tells whose they were.
    pub(super) fn forget_gone(&self) -> Vec<(String, String)> {
        let State { shown, counters } = &mut *self.0.lock();
        let gone = |key: &(String, String)| !shown.values().any(|s| s.key() == *key);
        let keys: Vec<_> = counters.keys().filter(|key| gone(key)).cloned().collect();
        counters.retain(|key, _| !keys.contains(key));
        keys
    }
}

impl Shown {
    fn key(&self) -> (String, String) {
        (self.name.clone(), self.url.clone())
    }
}

type Read = fn(&Shown, &Stats) -> f64;

/// Name, help, whether it is a counter, and how it is read.
const READ: &[(&str, &str, bool, Read)] = &[
    ("samples_pending", "Samples, histograms and exemplars that wait or are being sent.", false, |_, s| {
        s.queued.items as f64
    }),
    ("queue_bytes", "Bytes of compressed messages that wait or are being sent.", false, |_, s| {
        s.queued.bytes as f64
    }),
    ("queue_disk_bytes", "Bytes of the queue's files.", false, |_, s| s.disk_bytes as f64),
    ("queue_oldest_age_seconds", "Age of the oldest batch that waits.", false, |_, s| {
        s.oldest_age.map_or(0.0, |a| a.as_secs_f64())
    }),
    ("queue_rejected_total", "Items that were not taken in because the queue was full.", true, |_, s| {
        s.rejected.items as f64
    }),
    ("queue_damaged_records_total", "Unreadable records of the queue's files, set aside.", true, |_, s| {
        s.damaged_records as f64
    }),
    ("queue_highest_sent_timestamp_seconds", "Newest sample that was delivered.", false, |_, s| {
        s.newest_sent_ms.map_or(0.0, |ms| ms as f64 / 1000.0)
    }),
    ("queue_highest_timestamp_seconds", "Newest sample that was queued.", false, |_, s| {
        s.newest_appended_ms.map_or(0.0, |ms| ms as f64 / 1000.0)
    }),
    ("shards", "Requests allowed in flight at once.", false, |_, s| s.senders as f64),
    ("shards_desired", "Requests in flight that the load asks for.", false, |_, s| s.senders_desired),
    ("shards_min", "Fewest requests in flight.", false, |_, s| s.senders_min as f64),
    ("shards_max", "Most requests in flight.", false, |_, s| s.senders_max as f64),
    ("shard_capacity", "Items per sender that are kept in memory.", false, |shown, _| shown.capacity as f64),
    ("max_samples_per_send", "Most items in one request.", false, |shown, _| shown.max_samples as f64),
];

type Snapshot = (Shown, Stats, Option<Arc<Counters>>);

impl Queues {
    fn snapshot(&self) -> Vec<Snapshot> {
        let state = self.0.lock();
        let read = |s: &Shown| (s.clone(), s.queue.stats(), state.counters.get(&s.key()).cloned());
        state.shown.values().map(read).collect()
    }

    fn families(&self) -> Vec<proto::MetricFamily> {
        let queues = self.snapshot();
        let mut families: Vec<_> = READ
            .iter()
            .filter_map(|(name, help, counter, read)| {
                let values = queues.iter().map(|(s, stats, _)| (vec![&*s.name, &*s.url], read(s, stats)));
                family(name, help, *counter, &LABELS, values)
            })
            .collect();
        families.extend(dropped(&queues));
        families.extend(newest(&queues));
        families.push(durations(&queues));
        families.retain(|f| !f.get_metric().is_empty());
        families
    }
}

fn family<'a>(
    name: &str,
    help: &str,
    counter: bool,
    labels: &[&str],
    values: impl Iterator<Item = (Vec<&'a str>, f64)>,
) -> Option<proto::MetricFamily> {
    let opts = Opts::new(format!("{PREFIX}{name}"), help);
    let vec = GaugeVec::new(opts, labels).expect("names are constants of this program");
    for (labels, value) in values {
        vec.with_label_values(&labels).set(value);
    }
    let mut family = component::metrics::Collector::collect(&vec).into_iter().next()?;
    if counter {
        family.set_field_type(proto::MetricType::COUNTER);
        for metric in family.mut_metric() {
            let mut counter = proto::Counter::default();
            counter.set_value(metric.get_gauge().get_value());
            metric.set_counter(counter);
        }
    }
    Some(family)
}

/// What was left out or given up, by kind and reason. The queue itself does not tell kinds apart: what it
/// gives up counts as samples.
fn dropped(queues: &[Snapshot]) -> Vec<proto::MetricFamily> {
    let by_queue: Vec<(&Shown, Dropped)> = queues
        .iter()
        .map(|(shown, stats, counters)| {
            let mut all = counters.as_ref().map(|c| c.all_dropped()).unwrap_or_default();
            for (reason, amount) in &stats.dropped {
                *all.entry(("samples", *reason)).or_default() += amount.items;
            }
            (shown, all)
        })
        .collect();
    let kinds = [
        ("samples", "Samples left out, and all items that the queue gave up, by reason."),
        ("histograms", "Native histograms left out, by reason."),
        ("exemplars", "Exemplars left out, by reason."),
    ];
    let of = |(kind, help): (&'static str, &str)| {
        let values = by_queue.iter().flat_map(|(shown, all)| {
            let of_kind = all.iter().filter(move |((k, _), _)| *k == kind);
            of_kind.map(|((_, reason), items)| (vec![&*shown.name, &*shown.url, *reason], *items as f64))
        });
        family(&format!("{kind}_dropped_total"), help, true, &["remote_name", "url", "reason"], values)
    };
    kinds.into_iter().filter_map(of).collect()
}

/// As in Prometheus without the labels of an endpoint: it is compared with what each has sent.
fn newest(queues: &[Snapshot]) -> Option<proto::MetricFamily> {
    let ms = queues.iter().filter_map(|(_, stats, _)| stats.newest_appended_ms).max()?;
    let value = std::iter::once((vec![], ms as f64 / 1000.0));
    family("highest_timestamp_in_seconds", "Newest sample that was taken in.", false, &[], value)
}

fn durations(queues: &[Snapshot]) -> proto::MetricFamily {
    let mut family = proto::MetricFamily::default();
    family.set_name(format!("{PREFIX}sent_batch_duration_seconds"));
    family.set_help("How long attempts took.".into());
    family.set_field_type(proto::MetricType::HISTOGRAM);
    let metrics = queues.iter().map(|(shown, stats, _)| {
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
        let labels = LABELS.iter().zip([&shown.name, &shown.url]).map(|(label, value)| {
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
        self.families()
    }
}

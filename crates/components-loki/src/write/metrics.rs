//! Own metrics of `loki.write`, under Alloy's names, by host and tenant; and what the queues say about themselves.
//!
//! Beyond Alloy's: `loki_write_late_entries_total` and `loki_write_queue_*`. Invariant: at most [`MOST_TENANTS`]
//! tenants of a host have series of their own, the others share one.

use std::collections::BTreeMap;
use std::sync::Arc;

use component::metrics::{
    Collector, Computed, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, NodeMetrics, Opts,
    proto,
};
use delivery::{Queue, Stats};
use hashbrown::HashMap;
use parking_lot::Mutex;
use xxhash_rust::xxh64::xxh64;

/// Tenants with series of their own.
const MOST_TENANTS: usize = 1000;
/// The tenant that all further ones are counted under.
const OTHER_TENANTS: &str = "(other)";
const BY_TENANT: [&str; 2] = ["host", "tenant"];
const BY_REASON: [&str; 3] = ["host", "tenant", "reason"];
const BY_STATUS: [&str; 3] = ["status_code", "host", "tenant"];
/// As Alloy, present from the start so that the first drop is an increase.
const REASONS: [&str; 5] =
    ["ingester_error", "rate_limited", "stream_limited", "line_too_long", "queue_is_full"];
const LATENCY_BOUNDS: [f64; 14] =
    [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 21600.0];

/// Every metric with labels.
struct Vecs {
    retries: IntCounterVec,
    dropped_bytes: IntCounterVec,
    dropped_entries: IntCounterVec,
    sent_bytes: IntCounterVec,
    sent_entries: IntCounterVec,
    late: IntCounterVec,
    request_size: HistogramVec,
    request_seconds: HistogramVec,
}

/// The metrics of the component; endpoints take their share by host.
pub(super) struct Metrics {
    vecs: Arc<Vecs>,
    shown: Arc<Mutex<Showing>>,
    #[cfg(test)]
    all: Option<Arc<component::metrics::Metrics>>,
    #[cfg(test)]
    _node: Option<NodeMetrics>,
}

#[derive(Default)]
struct Showing {
    hosts: BTreeMap<String, Arc<Host>>,
    queues: BTreeMap<u64, Shown>,
}

/// A queue on `/metrics`.
#[derive(Clone)]
pub(super) struct Shown {
    pub host: String,
    pub name: String,
    pub queue: Queue,
}

/// What is counted for one host.
pub(super) struct Host {
    name: String,
    vecs: Arc<Vecs>,
    tenants: Mutex<HashMap<u64, Arc<Tenant>, foldhash::fast::RandomState>>,
}

/// A tenant of a host, with its counters.
pub(super) struct Tenant {
    pub name: Box<str>,
    /// Its group in the queue.
    pub group: u64,
    host: String,
    shown_name: String,
    vecs: Arc<Vecs>,
    retries: IntCounter,
    sent_bytes: IntCounter,
    sent_entries: IntCounter,
    request_size: component::metrics::Histogram,
    latency: Mutex<Latency>,
}

/// Seconds from when an entry was taken in until it was delivered, by [`LATENCY_BOUNDS`].
#[derive(Clone, Default)]
struct Latency {
    buckets: [u64; LATENCY_BOUNDS.len()],
    count: u64,
    sum: f64,
}

/// Entries of a batch that Loki is likely to refuse for their time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Late {
    pub out_of_order: u64,
    pub too_far_behind: u64,
    pub too_old: u64,
}

impl Metrics {
    pub(super) fn new(metrics: &NodeMetrics) -> Self {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            metrics.counter_vec(&format!("loki_write_{name}"), help, labels)
        };
        let histogram = |name: &str, help: &str, labels: &[&str], buckets: Option<Vec<f64>>| {
            let opts = HistogramOpts::new(format!("loki_write_{name}"), help);
            let opts = buckets.into_iter().fold(opts, HistogramOpts::buckets);
            metrics.register(HistogramVec::new(opts, labels).expect("names are constants of this program"))
        };
        let kib = [1, 4, 16, 64, 256, 512, 1024, 2048, 4096, 8192, 16384, 20480];
        let size_buckets = kib.map(|kib| f64::from(kib * 1024)).to_vec();
        let vecs = Vecs {
            retries: counter("batch_retries_total", "Attempts that are repeated.", &BY_TENANT),
            dropped_bytes: counter(
                "dropped_bytes_total",
                "Bytes of entries given up, by reason.",
                &BY_REASON,
            ),
            dropped_entries: counter("dropped_entries_total", "Entries given up, by reason.", &BY_REASON),
            sent_bytes: counter("sent_bytes_total", "Bytes of compressed requests delivered.", &BY_TENANT),
            sent_entries: counter("sent_entries_total", "Entries delivered.", &BY_TENANT),
            late: counter(
                "late_entries_total",
                "Entries whose time Loki is likely to refuse, counted before they are sent, by reason.",
                &BY_REASON,
            ),
            request_size: histogram(
                "request_size_bytes",
                "Bytes of compressed requests.",
                &BY_TENANT,
                Some(size_buckets),
            ),
            request_seconds: histogram(
                "request_duration_seconds",
                "How long attempts took.",
                &BY_STATUS,
                None,
            ),
        };
        let shown = Arc::<Mutex<Showing>>::default();
        let showing = shown.clone();
        metrics.register(Computed::new("loki_write_queues", move || showing.lock().families()));
        Self {
            vecs: Arc::new(vecs),
            shown,
            #[cfg(test)]
            all: None,
            #[cfg(test)]
            _node: None,
        }
    }

    /// The counters of a host; the same ones for as long as a queue is shown for it.
    pub(super) fn host(&self, name: &str) -> Arc<Host> {
        let make = || {
            let (name, vecs) = (name.to_owned(), self.vecs.clone());
            Arc::new(Host { name, vecs, tenants: Mutex::default() })
        };
        self.shown.lock().hosts.entry(name.to_owned()).or_insert_with(make).clone()
    }

    /// Shows a queue from now on, in place of what had its number.
    pub(super) fn show(&self, id: u64, shown: Shown) {
        self.shown.lock().queues.insert(id, shown);
    }

    /// Shows a queue no longer.
    pub(super) fn close(&self, id: u64) {
        self.shown.lock().queues.remove(&id);
    }

    /// Forgets hosts that no queue is shown for.
    pub(super) fn forget_gone(&self) {
        let gone: Vec<String> = {
            let Showing { hosts, queues } = &mut *self.shown.lock();
            let is_gone = |host: &str| !queues.values().any(|q| q.host == host);
            hosts.extract_if(.., |host, _| is_gone(host)).map(|(host, _)| host).collect()
        };
        let vecs = &self.vecs;
        for host in gone {
            for vec in [&vecs.retries, &vecs.sent_bytes, &vecs.sent_entries] {
                remove(vec, &BY_TENANT, &host, |values| vec.remove_label_values(values));
            }
            for vec in [&vecs.dropped_bytes, &vecs.dropped_entries, &vecs.late] {
                remove(vec, &BY_REASON, &host, |values| vec.remove_label_values(values));
            }
            let size = &vecs.request_size;
            remove(size, &BY_TENANT, &host, |values| size.remove_label_values(values));
            let seconds = &vecs.request_seconds;
            remove(seconds, &BY_STATUS, &host, |values| seconds.remove_label_values(values));
        }
    }
}

/// Removes all series of a host.
fn remove<E>(vec: &impl Collector, names: &[&str], host: &str, remove: impl Fn(&[&str]) -> Result<(), E>) {
    for family in vec.collect() {
        for metric in family.get_metric() {
            let value = |name: &&str| {
                let label = metric.get_label().iter().find(|label| label.name() == *name);
                label.map_or("", |label| label.value())
            };
            let values: Vec<&str> = names.iter().map(value).collect();
            if value(&"host") == host {
                // It was there a moment ago; if not, that is as good.
                let _ = remove(&values);
            }
        }
    }
}

impl Host {
    /// A tenant by its name.
    pub(super) fn tenant(&self, name: &str) -> Arc<Tenant> {
        let group = xxh64(name.as_bytes(), 0);
        let mut tenants = self.tenants.lock();
        if let Some(known) = tenants.get(&group) {
            return known.clone();
        }
        let has_room = tenants.len() < MOST_TENANTS;
        let tenant = Arc::new(self.make(name, group, if has_room { name } else { OTHER_TENANTS }));
        if has_room {
            tenants.insert(group, tenant.clone());
        }
        tenant
    }

    /// The tenant of a group, if it has been seen.
    pub(super) fn tenant_of(&self, group: u64) -> Option<Arc<Tenant>> {
        self.tenants.lock().get(&group).cloned()
    }

    fn make(&self, name: &str, group: u64, shown_name: &str) -> Tenant {
        let labels = [&*self.name, shown_name];
        for reason in REASONS {
            for vec in [&self.vecs.dropped_bytes, &self.vecs.dropped_entries] {
                vec.with_label_values(&[&*self.name, shown_name, reason]);
            }
        }
        Tenant {
            name: name.into(),
            group,
            host: self.name.clone(),
            shown_name: shown_name.to_owned(),
            retries: self.vecs.retries.with_label_values(&labels),
            sent_bytes: self.vecs.sent_bytes.with_label_values(&labels),
            sent_entries: self.vecs.sent_entries.with_label_values(&labels),
            request_size: self.vecs.request_size.with_label_values(&labels),
            vecs: self.vecs.clone(),
            latency: Mutex::default(),
        }
    }
}

impl Tenant {
    pub(super) fn dropped(&self, reason: &str, entries: u64, bytes: u64) {
        let labels = [&*self.host, &*self.shown_name, reason];
        self.vecs.dropped_entries.with_label_values(&labels).inc_by(entries);
        self.vecs.dropped_bytes.with_label_values(&labels).inc_by(bytes);
    }

    pub(super) fn late(&self, late: Late) {
        let reasons = [
            ("out_of_order", late.out_of_order),
            ("too_far_behind", late.too_far_behind),
            ("too_old", late.too_old),
        ];
        for (reason, entries) in reasons.into_iter().filter(|(_, entries)| *entries > 0) {
            self.vecs.late.with_label_values(&[&*self.host, &*self.shown_name, reason]).inc_by(entries);
        }
    }

    /// An attempt has ended: with a status, or without an answer.
    pub(super) fn attempted(&self, status: Option<u16>, seconds: f64, bytes: usize) {
        // As Alloy: −1 where there was no answer.
        let status = status.map_or_else(|| "-1".to_owned(), |status| status.to_string());
        self.vecs
            .request_seconds
            .with_label_values(&[&*status, &*self.host, &*self.shown_name])
            .observe(seconds);
        self.request_size.observe(bytes as f64);
    }

    pub(super) fn retried(&self) {
        self.retries.inc();
    }

    pub(super) fn sent(&self, entries: u64, bytes: usize) {
        self.sent_entries.inc_by(entries);
        self.sent_bytes.inc_by(bytes as u64);
    }

    /// Entries have arrived so long after they were taken in.
    pub(super) fn arrived(&self, seconds: f64, entries: u64) {
        let mut latency = self.latency.lock();
        latency.count += entries;
        latency.sum += seconds * entries as f64;
        for (bucket, bound) in latency.buckets.iter_mut().zip(LATENCY_BOUNDS) {
            *bucket += if seconds <= bound { entries } else { 0 };
        }
    }
}

type Read = fn(&Stats) -> f64;

/// Name, help, whether it is a counter, and how it is read.
const READ: [(&str, &str, bool, Read); 5] = [
    ("queue_entries", "Entries that wait or are being sent.", false, |s| s.queued.items as f64),
    ("queue_bytes", "Bytes of entries that wait or are being sent.", false, |s| s.queued.bytes as f64),
    ("queue_disk_bytes", "Bytes of the queue's files.", false, |s| s.disk_bytes as f64),
    ("queue_oldest_age_seconds", "Age of the oldest batch that waits.", false, |s| {
        s.oldest_age.map_or(0.0, |age| age.as_secs_f64())
    }),
    ("queue_damaged_records_total", "Unreadable records of the queue's files, set aside.", true, |s| {
        s.damaged_records as f64
    }),
];

impl Showing {
    fn families(&self) -> Vec<proto::MetricFamily> {
        let queues: Vec<_> = self.queues.values().map(|q| (q, q.queue.stats())).collect();
        let read = |(name, help, counter, read): (&str, &str, bool, Read)| {
            let opts = Opts::new(format!("loki_write_{name}"), help);
            let vec =
                GaugeVec::new(opts, &["host", "endpoint"]).expect("names are constants of this program");
            for (shown, stats) in &queues {
                vec.with_label_values(&[&shown.host, &shown.name]).add(read(stats));
            }
            let mut family = vec.collect().into_iter().next()?;
            if counter {
                family.set_field_type(proto::MetricType::COUNTER);
                for metric in family.mut_metric() {
                    let mut counter = proto::Counter::default();
                    counter.set_value(metric.get_gauge().get_value());
                    metric.set_counter(counter);
                }
            }
            Some(family)
        };
        let mut families: Vec<_> = READ.into_iter().filter_map(read).collect();
        families.push(self.latencies());
        families.retain(|family| !family.get_metric().is_empty());
        families
    }

    fn latencies(&self) -> proto::MetricFamily {
        let mut by_name: BTreeMap<[String; 2], Latency> = BTreeMap::new();
        for host in self.hosts.values() {
            for tenant in host.tenants.lock().values() {
                let key = [tenant.host.clone(), tenant.shown_name.clone()];
                by_name.insert(key, tenant.latency.lock().clone());
            }
        }
        let mut family = proto::MetricFamily::default();
        family.set_name("loki_write_entry_propagation_latency_seconds".into());
        family.set_help("From when entries were taken in until they were delivered.".into());
        family.set_field_type(proto::MetricType::HISTOGRAM);
        family.set_metric(by_name.into_iter().map(|(labels, latency)| latency.metric(labels)).collect());
        family
    }
}

impl Latency {
    fn metric(&self, labels: [String; 2]) -> proto::Metric {
        let mut histogram = proto::Histogram::default();
        histogram.set_sample_count(self.count);
        histogram.set_sample_sum(self.sum);
        let buckets = LATENCY_BOUNDS.iter().zip(self.buckets).map(|(bound, count)| {
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(count);
            bucket
        });
        histogram.set_bucket(buckets.collect());
        let pairs = BY_TENANT.iter().zip(labels).map(|(name, value)| {
            let mut pair = proto::LabelPair::default();
            pair.set_name((*name).into());
            pair.set_value(value);
            pair
        });
        let mut metric = proto::Metric::default();
        metric.set_label(pairs.collect());
        metric.set_histogram(histogram);
        metric
    }
}

#[cfg(test)]
impl Metrics {
    /// With a registry of their own.
    pub(super) fn for_tests() -> Self {
        let all = Arc::new(component::metrics::Metrics::default());
        let node = all.node("loki.write.test");
        Self { all: Some(all), _node: Some(node.clone()), ..Self::new(&node) }
    }

    pub(super) fn text(&self) -> String {
        self.all.as_ref().expect("made for tests").text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_beyond_the_limit_are_counted_together() {
        let metrics = Metrics::for_tests();
        let host = metrics.host("h");
        for i in 0..MOST_TENANTS + 5 {
            let tenant = host.tenant(&i.to_string());
            assert_eq!(*tenant.name, *i.to_string());
            tenant.sent(1, 10);
        }
        let text = metrics.text();
        let sent: Vec<_> = text.lines().filter(|l| l.starts_with("loki_write_sent_entries_total{")).collect();
        assert_eq!(sent.len(), MOST_TENANTS + 1);
        assert!(sent.iter().any(|l| l.contains("tenant=\"(other)\"") && l.ends_with(" 5")), "{sent:?}");
    }

    #[test]
    fn a_host_without_queues_is_forgotten_whole() {
        let metrics = Metrics::for_tests();
        for host in ["a:1", "b"] {
            let tenant = metrics.host(host).tenant("t");
            tenant.dropped("odd", 1, 2);
            tenant.late(Late { too_old: 1, ..Late::default() });
            tenant.attempted(Some(204), 0.1, 5);
            tenant.arrived(0.2, 3);
        }
        assert!(metrics.text().contains("latency_seconds_bucket") && metrics.text().contains("host=\"a:1\""));
        metrics.forget_gone();
        assert!(!metrics.text().contains("host="), "{}", metrics.text());
    }
}

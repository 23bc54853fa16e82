//! What the queues of a writer say about themselves on `/metrics`.

use std::collections::BTreeMap;
use std::sync::Arc;

use component::metrics::{Collector as _, Computed, GaugeVec, NodeMetrics, Opts, proto};
use delivery::{Queue, Stats};
use parking_lot::Mutex;

type Read = fn(&Stats) -> f64;

/// The queues that are shown, by a number of their own.
#[derive(Clone, Default)]
pub struct Gauges(Arc<Mutex<BTreeMap<u64, ([String; 2], Queue)>>>);

impl Gauges {
    /// Registers `<prefix>_queue_…`, with two labels; `items` is what the writer calls what it sends.
    pub fn new(
        prefix: &'static str,
        items: &'static str,
        labels: [&'static str; 2],
        to: &NodeMetrics,
    ) -> Self {
        let gauges = Self::default();
        let shown = gauges.0.clone();
        let read = move || families(prefix, items, labels, &shown.lock());
        to.register(Computed::new(&format!("{prefix}_queues"), read));
        gauges
    }

    /// Shows a queue from now on, in place of what had its number.
    pub fn show(&self, id: u64, labels: [String; 2], queue: Queue) {
        self.0.lock().insert(id, (labels, queue));
    }

    /// Shows a queue no longer.
    pub fn close(&self, id: u64) {
        self.0.lock().remove(&id);
    }

    /// Whether a queue is shown whose first label is this.
    pub fn shows(&self, first: &str) -> bool {
        self.0.lock().values().any(|(labels, _)| labels[0] == first)
    }
}

fn families(
    prefix: &str,
    items: &str,
    labels: [&str; 2],
    shown: &BTreeMap<u64, ([String; 2], Queue)>,
) -> Vec<proto::MetricFamily> {
    let table: [(String, String, bool, Read); 5] = [
        (items.into(), format!("{items} that wait or are being sent."), false, |s| s.queued.items as f64),
        ("bytes".into(), format!("Bytes of {items} that wait or are being sent."), false, |s| {
            s.queued.bytes as f64
        }),
        ("disk_bytes".into(), "Bytes of the queue's files.".into(), false, |s| s.disk_bytes as f64),
        ("oldest_age_seconds".into(), format!("Age of the oldest of the {items} that wait."), false, |s| {
            s.oldest_age.map_or(0.0, |age| age.as_secs_f64())
        }),
        (
            "damaged_records_total".into(),
            "Unreadable records of the queue's files, set aside.".into(),
            true,
            |s| s.damaged_records as f64,
        ),
    ];
    let stats: Vec<_> = shown.values().map(|(values, queue)| (values, queue.stats())).collect();
    let family = |(name, help, counts, read): (String, String, bool, Read)| {
        let opts = Opts::new(format!("{prefix}_queue_{name}"), help);
        let vec = GaugeVec::new(opts, &labels).expect("names are constants of this program");
        for (values, stats) in &stats {
            vec.with_label_values(&[&values[0], &values[1]]).add(read(stats));
        }
        let mut family = vec.collect().into_iter().next()?;
        if counts {
            family.set_field_type(proto::MetricType::COUNTER);
            for metric in family.mut_metric() {
                let mut counter = proto::Counter::default();
                counter.set_value(metric.get_gauge().get_value());
                metric.set_counter(counter);
            }
        }
        Some(family).filter(|family| !family.get_metric().is_empty())
    };
    table.into_iter().filter_map(family).collect()
}

//! Own metrics, under Alloy's names; and what was given up, by reason.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use component::metrics::{Computed, NodeMetrics, proto};
use delivery::Queue;
use parking_lot::Mutex;

use crate::exporter::args::Sizer;
use crate::signals::Kind;

/// The metrics of an exporter.
pub(crate) struct Metrics {
    exporter: String,
    shown: AtomicBool,
    signals: [Counters; 3],
    queues: Mutex<BTreeMap<u64, Shown>>,
}

/// What is counted for one signal.
#[derive(Default)]
struct Counters {
    sent: AtomicU64,
    failed: AtomicU64,
    enqueue_failed: AtomicU64,
    dropped: Mutex<BTreeMap<&'static str, u64>>,
}

/// A queue on `/metrics`.
pub(super) struct Shown {
    pub kind: Kind,
    /// Empty where there is one only.
    pub backend: Arc<str>,
    pub queue: Queue,
    pub sizer: Sizer,
    pub capacity: u64,
}

impl Metrics {
    /// `exporter` is the label of that name.
    pub(crate) fn new(metrics: &NodeMetrics, exporter: String) -> Arc<Self> {
        let all = Arc::new(Self {
            exporter,
            shown: AtomicBool::new(true),
            signals: Default::default(),
            queues: Mutex::default(),
        });
        let showing = Arc::downgrade(&all);
        metrics.register(Computed::new("otelcol_exporter", move || {
            showing
                .upgrade()
                .filter(|m| m.shown.load(Ordering::Relaxed))
                .map(|m| m.families())
                .unwrap_or_default()
        }));
        all
    }

    /// Whether there are any (`debug_metrics > level`).
    pub(crate) fn show(&self, on: bool) {
        self.shown.store(on, Ordering::Relaxed);
    }

    fn of(&self, kind: Kind) -> &Counters {
        &self.signals[kind as usize]
    }

    /// The back end has taken items.
    pub(crate) fn sent(&self, kind: Kind, items: u64) {
        self.of(kind).sent.fetch_add(items, Ordering::Relaxed);
    }

    /// Items are given up.
    pub(crate) fn failed(&self, kind: Kind, reason: &'static str, items: u64) {
        if items > 0 {
            self.of(kind).failed.fetch_add(items, Ordering::Relaxed);
            *self.of(kind).dropped.lock().entry(reason).or_default() += items;
        }
    }

    /// Items did not get into the queue.
    pub(super) fn enqueue_failed(&self, kind: Kind, items: u64) {
        self.of(kind).enqueue_failed.fetch_add(items, Ordering::Relaxed);
    }

    pub(super) fn show_queue(&self, id: u64, shown: Shown) {
        self.queues.lock().insert(id, shown);
    }

    pub(super) fn hide_queue(&self, id: u64) {
        self.queues.lock().remove(&id);
    }

    fn families(&self) -> Vec<proto::MetricFamily> {
        let mut families = Vec::new();
        type Read = fn(&Counters) -> &AtomicU64;
        let counters: [(&str, &str, Read); 3] = [
            ("sent", "that the back end has taken", |c| &c.sent),
            ("send_failed", "that were given up or that the back end has refused", |c| &c.failed),
            ("enqueue_failed", "that did not get into the queue", |c| &c.enqueue_failed),
        ];
        for (what, help, read) in counters {
            for kind in Kind::ALL {
                let name = format!("otelcol_exporter_{what}_{}_total", kind.items());
                let metric = self.metric(&[], Value::Counter(read(self.of(kind)).load(Ordering::Relaxed)));
                let help = format!("{} {help}.", kind.items());
                families.push(family(&name, &help, proto::MetricType::COUNTER, vec![metric]));
            }
        }
        let mut dropped = Vec::new();
        for kind in Kind::ALL {
            for (reason, items) in &*self.of(kind).dropped.lock() {
                let labels = [("data_type", kind.name()), ("reason", *reason)];
                dropped.push(self.metric(&labels, Value::Counter(*items)));
            }
        }
        let help = "Items that were given up, by reason.";
        families.push(family(
            "otelcol_exporter_dropped_items_total",
            help,
            proto::MetricType::COUNTER,
            dropped,
        ));
        families.extend(self.queue_families());
        families.retain(|family| !family.get_metric().is_empty());
        families
    }

    fn queue_families(&self) -> [proto::MetricFamily; 2] {
        // While a queue takes the place of another both are there; together they are one.
        let mut by_kind: BTreeMap<(Kind, Arc<str>), (u64, u64)> = BTreeMap::new();
        for shown in self.queues.lock().values() {
            let queued = shown.queue.stats().queued;
            let size = match shown.sizer {
                Sizer::Requests => queued.records,
                Sizer::Items => queued.items,
                Sizer::Bytes => queued.bytes,
            };
            let sum = by_kind.entry((shown.kind, shown.backend.clone())).or_default();
            *sum = (sum.0 + size, shown.capacity);
        }
        let gauges = |read: fn(&(u64, u64)) -> u64| {
            let gauge = |((kind, backend), sum): (&(Kind, Arc<str>), &(u64, u64))| {
                let labels = [("data_type", kind.name()), ("endpoint", &**backend)];
                let labels = if backend.is_empty() { &labels[..1] } else { &labels };
                self.metric(labels, Value::Gauge(read(sum)))
            };
            by_kind.iter().map(gauge).collect::<Vec<_>>()
        };
        let kind = proto::MetricType::GAUGE;
        [
            family("otelcol_exporter_queue_size", "What waits or is being sent.", kind, gauges(|s| s.0)),
            family("otelcol_exporter_queue_capacity", "What may wait.", kind, gauges(|s| s.1)),
        ]
    }

    fn metric(&self, labels: &[(&str, &str)], value: Value) -> proto::Metric {
        let mut metric = proto::Metric::default();
        let all = labels.iter().copied().chain([("exporter", &*self.exporter)]);
        let pair = |(name, value): (&str, &str)| {
            let mut pair = proto::LabelPair::default();
            pair.set_name(name.into());
            pair.set_value(value.into());
            pair
        };
        metric.set_label(all.map(pair).collect());
        match value {
            Value::Counter(value) => {
                let mut counter = proto::Counter::default();
                counter.set_value(value as f64);
                metric.set_counter(counter);
            }
            Value::Gauge(value) => {
                let mut gauge = proto::Gauge::default();
                gauge.set_value(value as f64);
                metric.set_gauge(gauge);
            }
        }
        metric
    }
}

enum Value {
    Counter(u64),
    Gauge(u64),
}

fn family(
    name: &str,
    help: &str,
    kind: proto::MetricType,
    metrics: Vec<proto::Metric>,
) -> proto::MetricFamily {
    let mut family = proto::MetricFamily::default();
    family.set_name(name.into());
    family.set_help(help.into());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

//! Own metrics of `prometheus.remote_write`, under Alloy's names, by endpoint.
//!
//! Left out because they would not be true here: `exemplars_pending` (the queue counts items, whatever they
//! are) and the `wal_storage_*` and `wal_out_of_order_samples_total` metrics (there is no log of series).

use std::collections::BTreeMap;
use std::sync::Arc;

use component::metrics::{IntCounter, IntCounterVec, NodeMetrics};
use delivery::{Outcome, Queue};
use parking_lot::Mutex;
use wire::remote_write::Counts;

use super::gauges::Queues;

pub(super) const LABELS: [&str; 2] = ["remote_name", "url"];
pub(super) const PREFIX: &str = "prometheus_remote_storage_";

/// The metrics of the component; endpoints take their share by label.
pub(super) struct Metrics {
    input: Kinds,
    wal: Kinds,
    by_endpoint: ByEndpoint,
    queues: Queues,
}

/// Every counter with the labels of an endpoint.
struct ByEndpoint {
    sent: [IntCounterVec; 4],
    failed: [IntCounterVec; 4],
    retried: [IntCounterVec; 4],
    /// The name that Alloy's documentation gives `samples_retried_total`; dashboards know both.
    retries: IntCounterVec,
    bytes: IntCounterVec,
    metadata_bytes: IntCounterVec,
    enqueue_retries: IntCounterVec,
}

const KINDS: [(&str, &str); 4] = [
    ("samples", "Samples"),
    ("histograms", "Native histograms"),
    ("exemplars", "Exemplars"),
    ("metadata", "Metadata entries"),
];

impl Metrics {
    pub(super) fn new(metrics: &NodeMetrics) -> Self {
        let vec = |name: &str, help: &str| metrics.counter_vec(&format!("{PREFIX}{name}"), help, &LABELS);
        let four = |suffix: &str, what: &str| {
            KINDS.map(|(kind, title)| vec(&format!("{kind}_{suffix}"), &format!("{title} {what}")))
        };
        let plain = |name: &str, help: &str| metrics.counter(name, help);
        let input = |kind: &str| {
            plain(&format!("{PREFIX}{kind}_in_total"), "Taken in by the component, whatever its endpoints.")
        };
        let wal = |name: &str, help: &str| plain(&format!("prometheus_remote_write_wal_{name}"), help);
        let appended = wal("samples_appended_total", "Samples and native histograms taken in.");
        let queues = Queues::default();
        metrics.register(queues.clone());
        Self {
            input: Kinds {
                samples: input("samples"),
                histograms: input("histograms"),
                exemplars: input("exemplars"),
                metadata: IntCounter::new("unused", "Not registered.").expect("a good name"),
            },
            wal: Kinds {
                samples: appended.clone(),
                histograms: appended,
                exemplars: wal("exemplars_appended_total", "Exemplars taken in."),
                metadata: wal("metadata_updates_total", "Metadata entries queued."),
            },
            by_endpoint: ByEndpoint {
                sent: four("total", "delivered."),
                failed: four("failed_total", "that the endpoint refused for good."),
                retried: four("retried_total", "in attempts that are repeated."),
                retries: vec("samples_retries_total", "As samples_retried_total."),
                bytes: vec("bytes_total", "Bytes of compressed messages delivered, without metadata."),
                metadata_bytes: vec("metadata_bytes_total", "Bytes of compressed metadata delivered."),
                enqueue_retries: vec("enqueue_retries_total", "Batches that found the queue full."),
            },
            queues,
        }
    }

    /// Counts a batch once, whatever the number of endpoints.
    pub(super) fn taken(&self, batch: &signal::SampleBatch) {
        let counts = Counts {
            samples: batch.points.len(),
            histograms: batch.histograms.len(),
            exemplars: batch.exemplars.len(),
            metadata: 0,
        };
        self.input.add(counts);
        self.wal.add(counts);
    }

    pub(super) fn metadata_queued(&self, families: usize) {
        self.wal.metadata.inc_by(families as u64);
    }

    /// The counters of an endpoint; the same ones for as long as it is not removed.
    pub(super) fn endpoint(&self, name: &str, url: &str) -> Arc<Counters> {
        self.queues.counters(name, url, || {
            let labels = [name, url];
            let of = |vec: &IntCounterVec| vec.with_label_values(&labels);
            let all = &self.by_endpoint;
            let kinds = |vecs: &[IntCounterVec; 4]| Kinds {
                samples: of(&vecs[0]),
                histograms: of(&vecs[1]),
                exemplars: of(&vecs[2]),
                metadata: of(&vecs[3]),
            };
            Counters {
                sent: kinds(&all.sent),
                failed: kinds(&all.failed),
                retried: kinds(&all.retried),
                retries: of(&all.retries),
                bytes: of(&all.bytes),
                metadata_bytes: of(&all.metadata_bytes),
                enqueue_retries: of(&all.enqueue_retries),
                dropped: Mutex::default(),
            }
        })
    }

    /// Shows a queue from now on, in place of what had its number.
    pub(super) fn show(&self, id: u64, shown: Shown) {
        self.queues.show(id, shown);
    }

    /// Keeps what a queue that is over has counted, and shows it no longer.
    pub(super) fn close(&self, id: u64) {
        self.queues.close(id);
    }

    /// Forgets endpoints that no queue is shown for.
    pub(super) fn forget_gone(&self) {
        let all = &self.by_endpoint;
        let singles = [&all.retries, &all.bytes, &all.metadata_bytes, &all.enqueue_retries];
        for (name, url) in self.queues.forget_gone() {
            let fours = [&all.sent, &all.failed, &all.retried].into_iter().flatten();
            for vec in fours.chain(singles) {
                // It has these labels unless the endpoint was never opened.
                let _ = vec.remove_label_values(&[&name, &url]);
            }
        }
    }
}

/// A queue on `/metrics`.
#[derive(Clone)]
pub(super) struct Shown {
    pub name: String,
    pub url: String,
    pub queue: Queue,
    /// `queue_config > capacity`.
    pub capacity: u64,
    /// `queue_config > max_samples_per_send`.
    pub max_samples: usize,
}

/// The counters of one endpoint.
pub(super) struct Counters {
    sent: Kinds,
    failed: Kinds,
    retried: Kinds,
    retries: IntCounter,
    bytes: IntCounter,
    metadata_bytes: IntCounter,
    enqueue_retries: IntCounter,
    /// What was left out before the queue, and what queues that are over have dropped; by kind and reason.
    dropped: Mutex<Dropped>,
}

/// Items dropped, by kind and reason.
pub(super) type Dropped = BTreeMap<(&'static str, &'static str), u64>;

struct Kinds {
    samples: IntCounter,
    histograms: IntCounter,
    exemplars: IntCounter,
    metadata: IntCounter,
}

impl Kinds {
    fn add(&self, counts: Counts) {
        self.samples.inc_by(counts.samples as u64);
        self.histograms.inc_by(counts.histograms as u64);
        self.exemplars.inc_by(counts.exemplars as u64);
        self.metadata.inc_by(counts.metadata as u64);
    }
}

impl Counters {
    /// Counts an attempt. `written`: what the endpoint says it took of what it refuses.
    pub(super) fn tell(&self, outcome: &Outcome, counts: Counts, written: Counts) {
        match outcome {
            Outcome::Delivered => self.sent.add(counts),
            Outcome::Retry { .. } | Outcome::Split { .. } => {
                self.retried.add(counts);
                self.retries.inc_by(counts.samples as u64);
            }
            Outcome::Drop { .. } => {
                let written = Counts {
                    samples: written.samples.min(counts.samples),
                    histograms: written.histograms.min(counts.histograms),
                    exemplars: written.exemplars.min(counts.exemplars),
                    metadata: 0,
                };
                self.sent.add(written);
                self.failed.add(Counts {
                    samples: counts.samples - written.samples,
                    histograms: counts.histograms - written.histograms,
                    exemplars: counts.exemplars - written.exemplars,
                    metadata: counts.metadata,
                });
            }
        }
    }

    pub(super) fn sent_bytes(&self, is_metadata: bool, bytes: usize) {
        let counter = if is_metadata { &self.metadata_bytes } else { &self.bytes };
        counter.inc_by(bytes as u64);
    }

    /// A batch found the queue full.
    pub(super) fn queue_was_full(&self) {
        self.enqueue_retries.inc();
    }

    pub(super) fn dropped(&self, reason: &'static str, counts: Counts) {
        let kinds =
            [("samples", counts.samples), ("histograms", counts.histograms), ("exemplars", counts.exemplars)];
        for (kind, count) in kinds {
            self.dropped_items(kind, reason, count as u64);
        }
    }

    pub(super) fn dropped_items(&self, kind: &'static str, reason: &'static str, items: u64) {
        if items > 0 {
            *self.dropped.lock().entry((kind, reason)).or_default() += items;
        }
    }

    pub(super) fn all_dropped(&self) -> Dropped {
        self.dropped.lock().clone()
    }
}

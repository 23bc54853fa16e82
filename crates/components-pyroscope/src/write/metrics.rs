//! Own metrics of `pyroscope.write`, under Alloy's names, by endpoint; and what the queues say about themselves.
//!
//! Beyond Alloy's: `pyroscope_write_drops_total`, which has the reasons, and `pyroscope_write_queue_*`. Bytes are those
//! of what is queued: the profile and its labels.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use component::metrics::{
    Collector as _, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, NodeMetrics,
};
use parking_lot::Mutex;
use writer::Gauges;

use super::encode::Kind;

/// As Alloy: the endpoint of what concerns all of them.
const ALL: &str = "-";

/// Every metric with labels.
struct Vecs {
    sent_bytes: IntCounterVec,
    sent_profiles: IntCounterVec,
    dropped_bytes: IntCounterVec,
    dropped_profiles: IntCounterVec,
    drops: IntCounterVec,
    retries: IntCounterVec,
    latency: HistogramVec,
}

/// The metrics of the component.
pub(super) struct Metrics {
    vecs: Arc<Vecs>,
    endpoints: Mutex<BTreeMap<String, Arc<Counted>>>,
    pub gauges: Gauges,
}

/// What is counted for one endpoint.
pub(super) struct Counted {
    endpoint: String,
    vecs: Arc<Vecs>,
    sent_bytes: IntCounter,
    sent_profiles: IntCounter,
    dropped_bytes: IntCounter,
    dropped_profiles: IntCounter,
    retries: IntCounter,
}

impl Metrics {
    pub(super) fn new(metrics: &NodeMetrics) -> Self {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            metrics.counter_vec(&format!("pyroscope_write_{name}"), help, labels)
        };
        let latency = HistogramOpts::new(
            "pyroscope_write_latency",
            "Seconds: *_total until a batch was taken in, *_endpoint from then on until a profile was delivered, \
             *_downstream of one attempt.",
        );
        let latency = HistogramVec::new(latency, &["endpoint", "type"]);
        let vecs = Vecs {
            sent_bytes: counter("sent_bytes_total", "Bytes of profiles delivered.", &["endpoint"]),
            sent_profiles: counter("sent_profiles_total", "Profiles delivered.", &["endpoint"]),
            dropped_bytes: counter("dropped_bytes_total", "Bytes of profiles given up.", &["endpoint"]),
            dropped_profiles: counter("dropped_profiles_total", "Profiles given up.", &["endpoint"]),
            drops: counter("drops_total", "Profiles given up, by reason.", &["endpoint", "reason"]),
            retries: counter("retries_total", "Attempts that are repeated.", &["endpoint"]),
            latency: metrics.register(latency.expect("names are constants of this program")),
        };
        let gauges = Gauges::new("pyroscope_write", "profiles", ["endpoint", "name"], metrics);
        Self { vecs: Arc::new(vecs), endpoints: Mutex::default(), gauges }
    }

    /// The counters of an endpoint; the same ones for as long as a queue is shown for it.
    pub(super) fn endpoint(&self, name: &str) -> Arc<Counted> {
        let make = || Arc::new(Counted::new(name, &self.vecs));
        self.endpoints.lock().entry(name.to_owned()).or_insert_with(make).clone()
    }

    /// A batch has been answered after so long.
    pub(super) fn taken(&self, kind: Kind, after: Duration) {
        self.vecs.observe(ALL, kind, "total", after);
    }

    /// Forgets endpoints that no queue is shown for.
    pub(super) fn forget_gone(&self) {
        let mut endpoints = self.endpoints.lock();
        let gone = endpoints.extract_if(.., |name, _| !self.gauges.shows(name));
        for (name, _) in gone {
            self.vecs.forget(&name);
        }
    }
}

impl Vecs {
    fn observe(&self, endpoint: &str, kind: Kind, what: &str, after: Duration) {
        let word = format!("{}_{what}", kind.word());
        self.latency.with_label_values(&[endpoint, &word]).observe(after.as_secs_f64());
    }

    fn forget(&self, endpoint: &str) {
        // What was never there need not be removed.
        for vec in [
            &self.sent_bytes,
            &self.sent_profiles,
            &self.dropped_bytes,
            &self.dropped_profiles,
            &self.retries,
        ] {
            let _ = vec.remove_label_values(&[endpoint]);
        }
        for kind in [Kind::Push, Kind::Ingest] {
            for what in ["endpoint", "downstream"] {
                let word = format!("{}_{what}", kind.word());
                let _ = self.latency.remove_label_values(&[endpoint, &word]);
            }
        }
        for family in self.drops.collect() {
            for metric in family.get_metric() {
                let value = |name: &str| {
                    let label = metric.get_label().iter().find(|label| label.name() == name);
                    label.map_or("", |label| label.value())
                };
                if value("endpoint") == endpoint {
                    let _ = self.drops.remove_label_values(&[endpoint, value("reason")]);
                }
            }
        }
    }
}

impl Counted {
    fn new(endpoint: &str, vecs: &Arc<Vecs>) -> Self {
        let of = |vec: &IntCounterVec| vec.with_label_values(&[endpoint]);
        Self {
            endpoint: endpoint.to_owned(),
            vecs: vecs.clone(),
            sent_bytes: of(&vecs.sent_bytes),
            sent_profiles: of(&vecs.sent_profiles),
            dropped_bytes: of(&vecs.dropped_bytes),
            dropped_profiles: of(&vecs.dropped_profiles),
            retries: of(&vecs.retries),
        }
    }

    pub(super) fn dropped(&self, reason: &str, profiles: u64, bytes: u64) {
        self.dropped_profiles.inc_by(profiles);
        self.dropped_bytes.inc_by(bytes);
        self.vecs.drops.with_label_values(&[&*self.endpoint, reason]).inc_by(profiles);
    }

    /// A profile was delivered so long after it was taken in.
    pub(super) fn sent(&self, kind: Kind, bytes: usize, after: Duration) {
        self.sent_profiles.inc();
        self.sent_bytes.inc_by(bytes as u64);
        self.vecs.observe(&self.endpoint, kind, "endpoint", after);
    }

    /// An attempt has ended, well or not.
    pub(super) fn attempted(&self, kind: Kind, after: Duration) {
        self.vecs.observe(&self.endpoint, kind, "downstream", after);
    }

    pub(super) fn retried(&self) {
        self.retries.inc();
    }
}

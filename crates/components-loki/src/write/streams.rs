//! What an endpoint knows about streams: their label strings, tenants, places in the queue, newest timestamps.
//!
//! Invariant: bounded, whatever labels come. Two generations, each with at most [`MOST`] streams and
//! [`MOST_BYTES`] of labels: what has not been seen for a whole generation is forgotten.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use signal::Labels;
use tokio::time::Instant;
use xxhash_rust::xxh64::xxh64;

use super::metrics::{Host, Tenant};
use crate::intake::TENANT_LABEL;

/// Streams in a generation.
const MOST: usize = 16 << 10;
/// Bytes of labels and label strings in a generation.
const MOST_BYTES: usize = 8 << 20;
/// A stream that has been silent for so long does not count as active.
const SILENT: Duration = Duration::from_secs(60);

/// A stream as an endpoint sends it.
pub(super) struct Stream {
    pub tenant: Arc<Tenant>,
    /// `{a="b"}`, external labels included.
    pub labels: Box<str>,
    /// A hash of tenant and labels.
    pub key: u64,
    /// The newest timestamp that has gone into the queue, nanoseconds.
    newest_ns: AtomicI64,
}

impl Stream {
    pub(super) fn newest_ns(&self) -> i64 {
        self.newest_ns.load(Ordering::Relaxed)
    }

    pub(super) fn advance(&self, newest_ns: i64) {
        self.newest_ns.fetch_max(newest_ns, Ordering::Relaxed);
    }
}

type Known = HashMap<Labels, Arc<Stream>, foldhash::fast::RandomState>;

/// The streams of one endpoint.
pub(super) struct Streams {
    external: BTreeMap<String, String>,
    /// Of entries that name none.
    tenant: String,
    host: Arc<Host>,
    /// 0: no limit.
    max_active: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    young: Known,
    young_bytes: usize,
    old: Known,
    /// When each was last seen, by key; only where there is a limit.
    active: HashMap<u64, Instant, foldhash::fast::RandomState>,
}

impl Streams {
    pub(super) fn new(
        external: BTreeMap<String, String>,
        tenant: String,
        host: Arc<Host>,
        max_active: usize,
    ) -> Self {
        Self { external, tenant, host, max_active, state: Mutex::default() }
    }

    /// The stream that entries with these labels belong to, and whether there is room for it among those that
    /// are active.
    pub(super) fn get(&self, labels: &Labels) -> (Arc<Stream>, bool) {
        let mut state = self.state.lock();
        let stream = match state.young.get(labels) {
            Some(stream) => stream.clone(),
            None => {
                let stream = state.old.remove(labels).unwrap_or_else(|| Arc::new(self.make(labels)));
                state.keep(labels, &stream);
                stream
            }
        };
        let fits = self.max_active == 0 || state.is_active(stream.key, self.max_active, Instant::now());
        (stream, fits)
    }

    fn make(&self, labels: &Labels) -> Stream {
        let missing = self.external.iter().filter(|(name, _)| labels.get(name).is_none());
        let missing = missing.map(|(name, value)| (name.as_str(), value.as_str()));
        let all = labels.iter().chain(missing).filter(|(_, value)| !value.is_empty());
        let mut all: Vec<_> = all.collect();
        all.sort_unstable();
        // As Alloy, external labels may name the tenant too.
        let named = all.iter().find(|(name, _)| *name == TENANT_LABEL).map(|(_, value)| *value);
        let tenant = self.host.tenant(named.unwrap_or(&self.tenant));
        let mut text = String::new();
        wire::loki::write_label_string(all.into_iter().filter(|(name, _)| *name != TENANT_LABEL), &mut text);
        let key = xxh64(text.as_bytes(), tenant.group);
        Stream { tenant, labels: text.into(), key, newest_ns: AtomicI64::new(i64::MIN) }
    }
}

impl State {
    fn keep(&mut self, labels: &Labels, stream: &Arc<Stream>) {
        let bytes = labels.heap_bytes() + stream.labels.len();
        if self.young.len() >= MOST || self.young_bytes + bytes > MOST_BYTES {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += bytes;
        self.young.insert(labels.clone(), stream.clone());
    }

    fn is_active(&mut self, key: u64, most: usize, now: Instant) -> bool {
        if let Some(seen) = self.active.get_mut(&key) {
            *seen = now;
            return true;
        }
        if self.active.len() >= most {
            self.active.retain(|_, seen| now.duration_since(*seen) < SILENT);
        }
        let fits = self.active.len() < most;
        if fits {
            self.active.insert(key, now);
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::super::metrics::Metrics;
    use super::*;

    fn streams(external: &[(&str, &str)], max_active: usize) -> Streams {
        let external = external.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Streams::new(external, "default".into(), Metrics::for_tests().host("h"), max_active)
    }

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        Labels::from_pairs(pairs.iter().copied())
    }

    #[test]
    fn external_labels_fill_what_is_missing_and_the_tenant_is_no_label() {
        let streams = streams(&[("a", "ext"), ("z", "ext")], 0);
        let cases = [
            (vec![("a", "own"), ("m", "1")], r#"{a="own", m="1", z="ext"}"#, "default"),
            (vec![("__tenant_id__", "t"), ("m", "1")], r#"{a="ext", m="1", z="ext"}"#, "t"),
            (vec![], r#"{a="ext", z="ext"}"#, "default"),
        ];
        for (pairs, text, tenant) in cases {
            let (stream, fits) = streams.get(&labels(&pairs));
            assert_eq!((&*stream.labels, &*stream.tenant.name, fits), (text, tenant, true));
        }
        let same = [("m", "1")];
        let one = streams.get(&labels(&same)).0;
        let other = streams.get(&labels(&[("m", "1"), ("__tenant_id__", "t")])).0;
        assert_eq!(one.labels, other.labels);
        assert_ne!(one.key, other.key, "the same labels of two tenants are two streams");
    }

    #[test]
    fn memory_is_bounded_and_what_is_in_use_is_remembered() {
        let streams = streams(&[], 0);
        let busy = streams.get(&labels(&[("busy", "1")])).0;
        busy.advance(7);
        for i in 0..3 * MOST {
            streams.get(&labels(&[("i", &i.to_string())]));
            if i % 1000 == 0 {
                assert_eq!(streams.get(&labels(&[("busy", "1")])).0.newest_ns(), 7);
            }
        }
        let state = streams.state.lock();
        assert!(state.young.len() <= MOST && state.old.len() <= MOST);
        drop(state);
        let long = "x".repeat(MOST_BYTES / 3);
        for i in 0..10 {
            streams.get(&labels(&[("long", &format!("{i}{long}"))]));
        }
        let state = streams.state.lock();
        assert!(state.young_bytes <= MOST_BYTES && state.old.len() + state.young.len() <= 4);
    }

    #[tokio::test(start_paused = true)]
    async fn streams_beyond_the_limit_wait_for_others_to_fall_silent() {
        let streams = streams(&[], 2);
        let fits = |name: &str| streams.get(&labels(&[("s", name)])).1;
        assert!(fits("a") && fits("b") && !fits("c") && fits("a"));
        tokio::time::advance(SILENT / 2).await;
        assert!(fits("a") && !fits("c"));
        tokio::time::advance(SILENT / 2).await;
        assert!(fits("c"), "b has been silent");
        assert!(!fits("b") && fits("a"));
    }
}

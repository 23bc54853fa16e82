//! Metadata of families for remote write 1, which sends it apart from samples and at its own pace.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;
use signal::{FamilyMetadata, SampleBatch};
use tokio::time::Instant;

use super::endpoint::{Endpoint, metadata_record};
use super::metrics::Metrics;

/// Families remembered between two sends.
const MOST_FAMILIES: usize = 100_000;

/// Families seen since metadata was last sent. Scrapers share one `Arc` a family, so its address tells
/// whether it is known without a look at the name.
#[derive(Default)]
pub(super) struct Families(Mutex<HashMap<usize, Arc<FamilyMetadata>, foldhash::fast::FixedState>>);

impl Families {
    pub(super) fn note(&self, batch: &SampleBatch) {
        if batch.families.is_empty() {
            return;
        }
        let mut seen = self.0.lock();
        for family in &batch.families {
            let address = Arc::as_ptr(family) as usize;
            if seen.len() < MOST_FAMILIES && !seen.contains_key(&address) {
                seen.insert(address, family.clone());
            }
        }
    }

    /// What has been seen, one entry a name.
    fn take(&self) -> Vec<Arc<FamilyMetadata>> {
        let seen = std::mem::take(&mut *self.0.lock());
        let by_name: BTreeMap<_, _> = seen.into_values().map(|f| (f.name.clone(), f)).collect();
        by_name.into_values().collect()
    }
}

/// When metadata is due.
#[derive(Default)]
pub(super) struct Ticker {
    last: Option<Instant>,
}

impl Ticker {
    /// Waits until the endpoint with the shortest interval is due; for ever if none wants metadata.
    pub(super) async fn due(&mut self, endpoints: &[Endpoint]) {
        let interval = endpoints.iter().filter(|e| e.wants_metadata()).map(|e| e.plan.metadata.send_interval).min();
        match interval {
            None => std::future::pending().await,
            Some(interval) => {
                let last = *self.last.get_or_insert_with(Instant::now);
                tokio::time::sleep_until(last + interval).await;
            }
        }
    }

    /// Queues what has been seen for every endpoint that wants it.
    pub(super) async fn send(&mut self, endpoints: &[Endpoint], families: &Families, metrics: &Metrics) {
        self.last = Some(Instant::now());
        let families = families.take();
        let now_ms = jiff::Timestamp::now().as_millisecond();
        for endpoint in endpoints.iter().filter(|e| e.wants_metadata()) {
            for part in families.chunks(endpoint.plan.metadata.max_samples_per_send) {
                let record = metadata_record(part.iter().map(|f| &**f), now_ms);
                // Metadata comes again with the next interval: a full queue is no place for it.
                let appended = tokio::time::timeout(std::time::Duration::from_secs(1), endpoint.queue.append(record)).await;
                match appended {
                    Ok(Ok(())) => metrics.metadata_updates(part.len()),
                    Ok(Err(error)) => tracing::debug!(%error, "metadata was not queued"),
                    Err(_) => tracing::debug!("metadata was not queued: the queue is full"),
                }
            }
        }
    }
}

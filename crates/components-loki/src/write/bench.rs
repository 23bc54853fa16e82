//! What the bench of the crate measures: from a batch to records, and from records to a request.

use std::collections::BTreeMap;
use std::sync::Arc;

use delivery::Record;
use signal::LogBatch;

use super::encode::{Encoder, Shape};
use super::metrics::Metrics;
use super::record::Scratch;
use super::streams::Streams;

/// An encoder and buffers as an endpoint has them.
pub struct Encoding {
    encoder: Encoder,
    scratch: Scratch,
    _metrics: Arc<component::metrics::Metrics>,
}

impl Encoding {
    /// With external labels.
    pub fn new(external: &[(&str, &str)]) -> Self {
        let all = Arc::new(component::metrics::Metrics::default());
        let metrics = Metrics::new(&all.node("loki.write.bench"));
        let external: BTreeMap<_, _> = external.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        let streams = Streams::new(external, String::new(), metrics.host("bench"), 0);
        let encoder = Encoder::new(streams, Shape { lanes: 1, record_bytes: 256 << 10, in_memory: true });
        Self { encoder, scratch: Scratch::default(), _metrics: all }
    }

    /// The records that a batch becomes.
    pub fn records(&self, batch: &LogBatch) -> Vec<Record> {
        self.encoder.encode(batch, 1_763_700_000_000).into_iter().map(|(record, _)| record).collect()
    }

    /// Bytes of the request that records become.
    ///
    /// # Panics
    /// If they are not from [`Encoding::records`].
    pub fn request(&mut self, records: &[Record]) -> usize {
        self.scratch.body(records, "").expect("our own records").len()
    }
}

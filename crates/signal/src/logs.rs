//! A batch of log entries, as it travels from sources to writers.
//!
//! A batch is shared and copied on write: cloning it is a reference count. An entry points into the batch's
//! list of streams and borrows its line from the buffer that it was read into, so a line is not copied
//! between the file and the request. Order within a batch is the order in which the source gave entries.

use std::sync::Arc;

use bytestring::ByteString;
use hashbrown::HashMap;

use crate::labels::Labels;

/// A shared batch of log entries.
#[derive(Clone, Debug, Default)]
pub struct Logs(Arc<LogBatch>);

/// What a batch holds.
#[derive(Clone, Debug, Default)]
pub struct LogBatch {
    /// Label sets of streams, internal labels (`__tenant_id__`) included; [`Entry::stream`] points into it.
    pub streams: Vec<Labels>,
    /// The entries, in the order in which they are to be sent.
    pub entries: Vec<Entry>,
    /// When the source took the entries in, Unix milliseconds; 0 where nobody has noted it.
    pub received_ms: i64,
    /// Whoever keeps entries of the batch back after having answered `Ok` keeps a clone of this.
    pub hold: Option<Hold>,
}

/// One log entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Index into [`LogBatch::streams`].
    pub stream: u32,
    /// Nanoseconds since the Unix epoch.
    pub timestamp_ns: i64,
    /// The line, without its line end.
    pub line: ByteString,
    /// Structured metadata.
    pub metadata: Option<Labels>,
}

impl Entry {
    /// Bytes as Loki counts them for its limits: line and structured metadata.
    pub fn bytes(&self) -> usize {
        let metadata = self.metadata.iter().flat_map(Labels::iter).map(|(n, v)| n.len() + v.len());
        self.line.len() + metadata.sum::<usize>()
    }
}

/// Marks entries as not yet with every sink although the batch was answered with `Ok`: a stage that joins
/// lines keeps the last one back until it knows that it is whole. Dropped when they have gone on.
#[derive(Clone, Debug)]
pub struct Hold(#[expect(dead_code, reason = "held, not read")] Held);

#[derive(Clone, Debug)]
#[expect(dead_code, reason = "held, not read")]
enum Held {
    One(Arc<()>),
    All(Arc<[Hold]>),
}

impl Hold {
    /// One that holds up all of these: for a batch with entries that came in several.
    pub fn all(holds: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut holds: Vec<Self> = holds.into_iter().collect();
        if holds.len() > 1 { Some(Self(Held::All(holds.into()))) } else { holds.pop() }
    }
}

/// The source's half of a [`Hold`].
#[derive(Debug, Default)]
pub struct Receipt(Arc<()>);

impl Receipt {
    /// A receipt that nobody holds up.
    pub fn new() -> Self {
        Self::default()
    }

    /// For the batch.
    pub fn hold(&self) -> Hold {
        Hold(Held::One(self.0.clone()))
    }

    /// Whether nobody keeps anything of the batch back any more. Meaningful once the batch was answered.
    pub fn is_settled(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

impl LogBatch {
    /// Bytes of all entries, as [`Entry::bytes`].
    pub fn bytes(&self) -> usize {
        self.entries.iter().map(Entry::bytes).sum()
    }

    /// The labels of an entry of this batch.
    pub fn labels(&self, entry: &Entry) -> &Labels {
        &self.streams[entry.stream as usize]
    }
}

impl Logs {
    /// Makes a batch shareable.
    pub fn new(batch: LogBatch) -> Self {
        Self(Arc::new(batch))
    }

    /// For changing: copies only if somebody else holds the batch too.
    pub fn make_mut(&mut self) -> &mut LogBatch {
        Arc::make_mut(&mut self.0)
    }

    /// For changing in place; `None` if somebody else holds the batch too.
    pub fn get_mut(&mut self) -> Option<&mut LogBatch> {
        Arc::get_mut(&mut self.0)
    }

    /// The batch itself; copies only if somebody else holds it too.
    pub fn into_batch(self) -> LogBatch {
        Arc::unwrap_or_clone(self.0)
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it has no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl std::ops::Deref for Logs {
    type Target = LogBatch;
    fn deref(&self) -> &LogBatch {
        &self.0
    }
}

impl From<LogBatch> for Logs {
    fn from(batch: LogBatch) -> Self {
        Self::new(batch)
    }
}

/// Builds a batch whose entries belong to several streams: each label set gets one place.
#[derive(Debug, Default)]
pub struct LogBuilder {
    batch: LogBatch,
    places: HashMap<Labels, u32, foldhash::fast::FixedState>,
}

impl LogBuilder {
    /// An empty batch.
    pub fn new(received_ms: i64, hold: Option<Hold>) -> Self {
        let batch = LogBatch { received_ms, hold, ..LogBatch::default() };
        Self { batch, places: HashMap::default() }
    }

    /// The place of a label set in the batch.
    pub fn stream(&mut self, labels: &Labels) -> u32 {
        if let Some(last) = self.batch.streams.last()
            && last == labels
        {
            return self.batch.streams.len() as u32 - 1;
        }
        let streams = &mut self.batch.streams;
        let next = || {
            streams.push(labels.clone());
            u32::try_from(streams.len() - 1).expect("a batch has fewer than 2^32 streams")
        };
        *self.places.entry_ref(labels).or_insert_with(next)
    }

    /// Adds an entry; its stream is a place that [`LogBuilder::stream`] gave.
    pub fn push(&mut self, entry: Entry) {
        debug_assert!((entry.stream as usize) < self.batch.streams.len());
        self.batch.entries.push(entry);
    }

    /// Number of entries so far.
    pub fn len(&self) -> usize {
        self.batch.entries.len()
    }

    /// Whether there are no entries yet.
    pub fn is_empty(&self) -> bool {
        self.batch.entries.is_empty()
    }

    /// The batch.
    pub fn finish(self) -> Logs {
        self.batch.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(job: &str) -> Labels {
        Labels::from_pairs([("job", job)])
    }

    #[test]
    fn equal_label_sets_share_a_place_in_a_batch() {
        let mut builder = LogBuilder::new(5, None);
        let places = ["a", "b", "a", "b", "b"].map(|job| builder.stream(&labels(job)));
        assert_eq!(places, [0, 1, 0, 1, 1]);
        for (i, stream) in places.into_iter().enumerate() {
            let line = format!("line {i}").into();
            builder.push(Entry { stream, timestamp_ns: i as i64, line, metadata: None });
        }
        let batch = builder.finish();
        assert_eq!((batch.len(), batch.streams.len(), batch.received_ms), (5, 2, 5));
        assert_eq!(batch.labels(&batch.entries[2]), &labels("a"));
        assert_eq!(batch.bytes(), 30);
    }

    #[test]
    fn a_receipt_settles_when_the_last_hold_is_gone() {
        let receipt = Receipt::new();
        let batch = Logs::new(LogBatch { hold: Some(receipt.hold()), ..LogBatch::default() });
        let kept = batch.hold.clone();
        drop(batch);
        assert!(!receipt.is_settled());
        drop(kept);
        assert!(receipt.is_settled());
    }

    #[test]
    fn a_batch_made_of_several_holds_up_each_of_them() {
        let receipts = [Receipt::new(), Receipt::new()];
        let all = Hold::all(receipts.iter().map(Receipt::hold));
        let clone = all.clone();
        drop(all);
        assert!(receipts.iter().all(|r| !r.is_settled()));
        drop(clone);
        assert!(receipts.iter().all(Receipt::is_settled));
        assert!(Hold::all([]).is_none());
    }

    #[test]
    fn structured_metadata_counts_as_loki_counts_it() {
        let metadata = Some(Labels::from_pairs([("trace", "abc")]));
        assert_eq!(Entry { stream: 0, timestamp_ns: 0, line: "12345".into(), metadata }.bytes(), 13);
    }
}

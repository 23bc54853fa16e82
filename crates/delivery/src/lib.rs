//! The delivery engine: everything between "a batch is encoded" and "the back end has it".
//!
//! One [`Queue`] serves one endpoint. It knows bytes, not signals: an owner appends [`Record`]s and implements
//! [`Transport`]; the queue bounds, stores, orders, retries, paces and reports.
//!
//! Invariant: a record for which `append` answered `Ok` is delivered at least once or counted as dropped with a
//! reason; records of one group with equal keys are delivered in order.

mod attempt;
mod config;
mod cursor;
mod endpoints;
mod engine;
mod format;
mod fs;
mod handover;
mod inspect;
mod lane;
mod log;
mod queue;
mod record;
mod recover;
mod scale;
mod stats;
#[cfg(test)]
mod tests;

pub use config::{Backoff, Config, DiskConfig, Fsync, Growth, OnFull};
pub use endpoints::{Endpoint, Endpoints, Plan};
pub use handover::Handover;
pub use inspect::{Inspection, SegmentInspection, StoredRecord, inspect};
pub use lane::lane_of;
pub use queue::{AppendError, FolderChanged, OpenError, Queue};
pub use record::{BoxFuture, Outcome, Record, Transport};
pub use stats::{Amount, Drained, Histogram, LastError, SEND_SECONDS_BOUNDS, Stats};

/// Feeds arbitrary bytes to the readers of a queue folder; for `tests/fuzz/fuzz_targets/queue_reader.rs` only.
#[doc(hidden)]
pub fn read_arbitrary(cursor: &[u8], segment: &[u8]) {
    let first = format::SegmentHeader::decode(segment).map_or(0, |header| header.first);
    let found = recover::recover(Some(cursor), [(first, Ok(segment.to_vec()))]);
    for frame in &found.frames {
        let (start, len) = (frame.offset as usize, format::FRAME_HEADER + frame.header.len as usize);
        let salt = found.segments[&first].salt;
        let record = format::decode_frame(segment[start..start + len].to_vec(), salt, frame.header.sequence);
        assert!(record.is_some(), "what recovery accepts can be read back");
        assert!(!found.done.contains(frame.header.sequence) && frame.header.sequence < found.next_sequence);
    }
}

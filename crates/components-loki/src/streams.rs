//! Rewriting the label sets of a batch: one look-up a stream, not an entry.
//!
//! Data path: the batch's streams → what becomes of each → new streams, entries moved to their places.
//! Invariants: a batch that nothing changes is passed on as it came; streams whose label sets become equal
//! share one place, so that their entries stay in order.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use signal::label_cache::Relabelled;
use signal::logs::{Entry, LogBatch};
use signal::{Labels, Logs};
use smallvec::SmallVec;

/// Gives each stream of the batch the labels that `answer` says; entries of dropped streams leave it.
pub fn relabelled(mut batch: Logs, mut answer: impl FnMut(&Labels) -> Relabelled) -> Logs {
    let answers: SmallVec<[Relabelled; 8]> = batch.streams.iter().map(&mut answer).collect();
    if answers.iter().zip(&batch.streams).all(|(after, before)| after.as_ref() == Some(before)) {
        return batch;
    }
    let (streams, places) = places(answers);
    if let Some(own) = batch.get_mut() {
        own.streams = streams;
        own.entries.retain_mut(|entry| match places[entry.stream as usize] {
            Some(place) => {
                entry.stream = place;
                true
            }
            None => false,
        });
        return batch;
    }
    // Made anew from the borrowed one, for whoever sent it still holds it.
    let moved = |e: &Entry| places[e.stream as usize].map(|place| Entry { stream: place, ..e.clone() });
    LogBatch {
        streams,
        entries: batch.entries.iter().filter_map(moved).collect(),
        received_ms: batch.received_ms,
        hold: batch.hold.clone(),
    }
    .into()
}

/// The label sets that are left, each once, and the place of each old stream among them.
fn places(answers: SmallVec<[Relabelled; 8]>) -> (Vec<Labels>, Vec<Option<u32>>) {
    let mut streams: Vec<Labels> = Vec::with_capacity(answers.len());
    let mut known: HashMap<Labels, u32, FixedState> = HashMap::default();
    let mut place = |labels: Labels| {
        *known.entry(labels).or_insert_with_key(|labels| {
            streams.push(labels.clone());
            u32::try_from(streams.len() - 1).expect("no more streams than the batch had")
        })
    };
    let places = answers.into_iter().map(|answer| answer.map(&mut place)).collect();
    (streams, places)
}

#[cfg(test)]
mod tests {
    use signal::logs::Receipt;

    use super::*;

    fn labels(job: &str) -> Labels {
        Labels::from_pairs([("job", job)])
    }

    fn batch(receipt: &Receipt) -> Logs {
        let entry = |i: usize, stream| Entry {
            stream,
            timestamp_ns: i as i64,
            line: format!("line {i}").into(),
            metadata: None,
        };
        LogBatch {
            streams: ["a", "b", "c"].map(labels).to_vec(),
            entries: [0, 1, 2, 1, 0].into_iter().enumerate().map(|(i, s)| entry(i, s)).collect(),
            received_ms: 7,
            hold: Some(receipt.hold()),
        }
        .into()
    }

    fn lines(batch: &Logs) -> Vec<(String, String)> {
        let job = |e| batch.labels(e).get("job").unwrap_or_default().to_string();
        batch.entries.iter().map(|e| (job(e), e.line.to_string())).collect()
    }

    #[test]
    fn entries_follow_their_streams_and_equal_streams_share_a_place() {
        let answer = |before: &Labels| match before.get("job") {
            Some("a") => Some(labels("c")),
            Some("b") => None,
            _ => Some(before.clone()),
        };
        let expected = [("c", "line 0"), ("c", "line 2"), ("c", "line 4")];
        let expected = expected.map(|(a, b)| (a.to_string(), b.to_string()));
        let receipt = Receipt::new();
        let (owned, shared) = (batch(&receipt), batch(&receipt));
        let (keep, copy) = (shared.clone(), relabelled(shared, answer));
        for after in [relabelled(owned, answer), copy] {
            assert_eq!(lines(&after), expected);
            assert_eq!((after.streams.len(), after.received_ms), (1, 7));
            assert!(after.hold.is_some() && !receipt.is_settled());
        }
        assert_eq!(keep.len(), 5, "what others hold stays as it was");
    }

    #[test]
    fn a_batch_that_nothing_changes_is_passed_on_as_it_came() {
        let batch = batch(&Receipt::new());
        let sent = batch.clone();
        // Equal, but another allocation.
        let after = relabelled(batch, |l| Some(Labels::from_pairs(l.iter())));
        assert!(std::ptr::eq(&*after, &*sent));
    }
}

//! Metadata of families for remote write 1, which sends it apart from samples and at its own pace.
//!
//! Invariant: an endpoint gets, once an interval, what has been seen since it got metadata last.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;
use signal::{FamilyList, FamilyMetadata, SampleBatch};
use tokio::time::Instant;

/// Families remembered.
const MOST_FAMILIES: usize = 100_000;

/// Lists of families remembered.
const MOST_LISTS: usize = 10_000;

/// Families seen, and when last. Scrapers share one `Arc` a family, so its address tells whether it is known
/// without a look at the name. Those of rows are noted as the list that they are.
#[derive(Default)]
pub(super) struct Families(Mutex<State>);

#[derive(Default)]
struct State {
    families: HashMap<usize, Seen, foldhash::fast::FixedState>,
    /// By the address of the list.
    lists: HashMap<usize, (FamilyList, Instant), foldhash::fast::FixedState>,
}

struct Seen {
    /// Held, so that the address stays its own.
    family: Arc<FamilyMetadata>,
    at: Instant,
}

impl Families {
    pub(super) fn note(&self, batch: &SampleBatch, now: Instant) {
        if batch.families.is_empty() {
            return;
        }
        let mut state = self.0.lock();
        let State { families: seen, lists } = &mut *state;
        if batch.points.row().is_some() {
            let address = Arc::as_ptr(&batch.families) as usize;
            if let Some((_, at)) = lists.get_mut(&address) {
                *at = now;
                return;
            }
            if lists.len() < MOST_LISTS {
                lists.insert(address, (batch.families.clone(), now));
                return;
            }
        }
        for family in batch.families.iter() {
            let address = Arc::as_ptr(family) as usize;
            if let Some(known) = seen.get_mut(&address) {
                known.at = now;
            } else if seen.len() < MOST_FAMILIES {
                seen.insert(address, Seen { family: family.clone(), at: now });
            }
        }
    }

    /// What has been seen at `since` or later, one entry a name.
    pub(super) fn since(&self, since: Instant) -> Vec<Arc<FamilyMetadata>> {
        let state = self.0.lock();
        let single = state.families.values().filter(|s| s.at >= since).map(|s| &s.family);
        let lists = state.lists.values().filter(|(_, at)| *at >= since);
        let recent = single.chain(lists.flat_map(|(families, _)| families.iter()));
        let by_name: BTreeMap<_, _> = recent.map(|family| (family.name.as_str(), family)).collect();
        by_name.into_values().cloned().collect()
    }

    /// Forgets what nobody has shown since.
    pub(super) fn forget(&self, before: Instant) {
        let mut state = self.0.lock();
        state.families.retain(|_, seen| seen.at >= before);
        state.lists.retain(|_, (_, at)| *at >= before);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use signal::{Row, SeriesList};

    use super::*;

    fn family(name: &str) -> Arc<FamilyMetadata> {
        let (name, help, unit) = (name.to_string(), String::new(), String::new());
        Arc::new(FamilyMetadata { name, kind: signal::MetricKind::Gauge, help, unit })
    }

    #[test]
    fn a_family_is_due_again_only_after_it_was_seen_again() {
        let (families, start) = (Families::default(), Instant::now());
        let at = |s| start + Duration::from_secs(s);
        let (a, b, twin) = (family("a"), family("b"), family("a"));
        let batch = |families: &[&Arc<FamilyMetadata>]| SampleBatch {
            families: families.iter().map(|f| (*f).clone()).collect::<Vec<_>>().into(),
            ..SampleBatch::default()
        };
        families.note(&batch(&[&b, &a, &twin]), at(1));
        families.note(&batch(&[&b]), at(5));
        let names = |since| families.since(at(since)).iter().map(|f| f.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(1), ["a", "b"]);
        assert_eq!(names(2), ["b"]);
        families.forget(at(2));
        assert_eq!(names(0), ["b"]);
        // A row's families are noted with their list.
        let mut row = batch(&[&a]);
        let list = SeriesList::new(Vec::new(), Vec::new(), row.families.clone());
        row.points = Row::new(Arc::new(list), 0, Vec::new()).into();
        families.note(&row, at(6));
        families.note(&row, at(7));
        assert_eq!((names(5), names(7)), (vec!["a".to_string(), "b".into()], vec!["a".to_string()]));
        families.forget(at(8));
        assert_eq!(names(0), [""; 0]);
    }
}

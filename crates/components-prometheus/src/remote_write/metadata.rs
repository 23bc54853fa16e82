//! Metadata of families for remote write 1, which sends it apart from samples and at its own pace.
//!
//! Invariant: an endpoint gets, once an interval, what has been seen since it got metadata last.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;
use signal::{FamilyMetadata, SampleBatch};
use tokio::time::Instant;

/// Families remembered.
const MOST_FAMILIES: usize = 100_000;

/// Families seen, and when last. Scrapers share one `Arc` a family, so its address tells whether it is known
/// without a look at the name.
#[derive(Default)]
pub(super) struct Families(Mutex<HashMap<usize, Seen, foldhash::fast::FixedState>>);

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
        let mut seen = self.0.lock();
        for family in &batch.families {
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
        let seen = self.0.lock();
        let recent = seen.values().filter(|s| s.at >= since);
        let by_name: BTreeMap<_, _> = recent.map(|s| (s.family.name.as_str(), &s.family)).collect();
        by_name.into_values().cloned().collect()
    }

    /// Forgets what nobody has shown since.
    pub(super) fn forget(&self, before: Instant) {
        self.0.lock().retain(|_, seen| seen.at >= before);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
            families: families.iter().map(|f| (*f).clone()).collect(),
            ..SampleBatch::default()
        };
        families.note(&batch(&[&b, &a, &twin]), at(1));
        families.note(&batch(&[&b]), at(5));
        let names = |since| families.since(at(since)).iter().map(|f| f.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(1), ["a", "b"]);
        assert_eq!(names(2), ["b"]);
        families.forget(at(2));
        assert_eq!(names(0), ["b"]);
    }
}

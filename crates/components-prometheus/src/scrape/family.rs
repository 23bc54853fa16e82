//! Metadata of the families of a page, shared by the whole process.
//!
//! A family is one `Arc` wherever it is scraped, so that writers may know it by its address. A page's
//! families are predicted to be those of the last page, in order; only what differs is looked up.

use std::hash::BuildHasher;
use std::sync::{Arc, LazyLock, Weak};

use hashbrown::HashTable;
use parking_lot::Mutex;
use signal::samples::NO_FAMILY;
use signal::{FamilyMetadata, MetricKind};

/// Every family that somebody holds.
struct Interner {
    table: HashTable<(u64, Weak<FamilyMetadata>)>,
    /// At this size those that nobody holds any more are removed.
    sweep_at: usize,
}

static FAMILIES: LazyLock<Mutex<Interner>> =
    LazyLock::new(|| Mutex::new(Interner { table: HashTable::new(), sweep_at: 256 }));
static STATE: LazyLock<foldhash::fast::RandomState> = LazyLock::new(Default::default);

/// A family as it is being read. Its texts are kept as buffers.
#[derive(Debug, Default)]
pub(super) struct Reading {
    name: String,
    kind: MetricKind,
    help: String,
    unit: String,
    /// Its place in the batch, once a sample needed it.
    index: Option<u32>,
}

impl Reading {
    /// Metadata about a name: of the family at hand, or the start of the next one.
    fn named(&mut self, name: &str) {
        if self.name != name {
            self.clear();
            self.name.push_str(name);
        }
        self.index = None;
    }

    fn clear(&mut self) {
        self.name.clear();
        self.help.clear();
        self.unit.clear();
        self.kind = MetricKind::Unknown;
        self.index = None;
    }

    fn is(&self, family: &FamilyMetadata) -> bool {
        self.name == family.name
            && self.kind == family.kind
            && self.help == family.help
            && self.unit == family.unit
    }

    fn hash(&self) -> u64 {
        STATE.hash_one((&self.name, self.kind, &self.help, &self.unit))
    }

    fn intern(&self) -> Arc<FamilyMetadata> {
        let hash = self.hash();
        let mut interner = FAMILIES.lock();
        let mut found = None;
        interner.table.find(hash, |(known, family)| {
            found = (*known == hash).then(|| family.upgrade()).flatten().filter(|f| self.is(f));
            found.is_some()
        });
        if let Some(found) = found {
            return found;
        }
        let family = Arc::new(FamilyMetadata {
            name: self.name.clone(),
            kind: self.kind,
            help: self.help.clone(),
            unit: self.unit.clone(),
        });
        if interner.table.len() >= interner.sweep_at {
            interner.table.retain(|(_, family)| family.strong_count() > 0);
            interner.sweep_at = interner.table.len() * 2 + 256;
        }
        interner.table.insert_unique(hash, (hash, Arc::downgrade(&family)), |(hash, _)| *hash);
        family
    }
}

/// The families of a target's pages.
#[derive(Debug, Default)]
pub(super) struct Families {
    reading: Reading,
    /// Those of the last page that had any use.
    known: Vec<Arc<FamilyMetadata>>,
    /// Which of them is expected next.
    at: usize,
}

impl Families {
    /// A page begins.
    pub(super) fn begin(&mut self) {
        self.reading.clear();
        self.at = 0;
    }

    /// A page has been read to its end: what it did not use is forgotten.
    pub(super) fn end(&mut self) {
        self.known.truncate(self.at);
    }

    pub(super) fn set_kind(&mut self, name: &str, kind: MetricKind) {
        self.reading.named(name);
        self.reading.kind = kind;
    }

    pub(super) fn set_help(&mut self, name: &str, help: &str) {
        self.reading.named(name);
        self.reading.help.clear();
        self.reading.help.push_str(help);
    }

    pub(super) fn set_unit(&mut self, name: &str, unit: &str) {
        self.reading.named(name);
        self.reading.unit.clear();
        self.reading.unit.push_str(unit);
    }

    pub(super) fn name(&self) -> &str {
        &self.reading.name
    }

    pub(super) fn kind(&self) -> MetricKind {
        self.reading.kind
    }

    pub(super) fn unit(&self) -> &str {
        &self.reading.unit
    }

    /// Whether a metric belongs to the family at hand. As prometheus/scrape: `isSeriesPartOfFamily`.
    pub(super) fn holds(&self, metric: &str) -> bool {
        let Reading { name, kind, .. } = &self.reading;
        let suffixes: &[&str] = match kind {
            MetricKind::Counter => &["_total"],
            MetricKind::Histogram => &["_bucket", "_sum", "_count"],
            MetricKind::GaugeHistogram => &["_bucket", "_gsum", "_gcount"],
            MetricKind::Summary => &["_sum", "_count"],
            MetricKind::Info => &["_info"],
            MetricKind::Unknown | MetricKind::Gauge | MetricKind::StateSet => &[],
        };
        // Prometheus text gives counters the name of their samples.
        let family =
            if *kind == MetricKind::Counter { name.strip_suffix("_total").unwrap_or(name) } else { name };
        let Some(rest) = metric.strip_prefix(family) else { return false };
        !name.is_empty() && (rest.is_empty() || suffixes.contains(&rest))
    }

    /// Whether a series text begins with the family's name: the cheap check that what was once found to
    /// belong to it still does.
    pub(super) fn leads(&self, raw: &[u8]) -> bool {
        let name = self.reading.name.as_bytes();
        let name = if self.reading.kind == MetricKind::Counter {
            name.strip_suffix(b"_total").unwrap_or(name)
        } else {
            name
        };
        // Quoted names stand behind `{"`, protobuf keys begin with a length.
        let start = match raw.first() {
            Some(b'{') => 2,
            Some(b'a'..=b'z' | b'A'..=b'Z' | b'_' | b':') if raw.starts_with(name) => 0,
            _ if name.len() < 128 => 1,
            _ => 2,
        };
        !name.is_empty() && raw.get(start..).is_some_and(|raw| raw.starts_with(name))
    }

    /// The place of the family at hand among those of the batch.
    pub(super) fn index(&mut self, batch: &mut Vec<Arc<FamilyMetadata>>) -> u32 {
        if let Some(index) = self.reading.index {
            return index;
        }
        if self.reading.name.is_empty() {
            return NO_FAMILY;
        }
        let family = match self.known.get(self.at) {
            Some(known) if self.reading.is(known) => known.clone(),
            _ => {
                let family = self.reading.intern();
                // What follows in the old order is found again by name: pages rarely change here.
                self.known.truncate(self.at);
                self.known.push(family.clone());
                family
            }
        };
        self.at += 1;
        let index = batch.len() as u32;
        batch.push(family);
        self.reading.index = Some(index);
        index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(families: &mut Families, name: &str, kind: MetricKind, help: &str) -> Arc<FamilyMetadata> {
        families.set_help(name, help);
        families.set_kind(name, kind);
        let mut batch = Vec::new();
        assert_eq!(families.index(&mut batch), 0);
        assert_eq!(families.index(&mut batch), 0);
        batch.remove(0)
    }

    #[test]
    fn one_family_is_one_allocation_wherever_it_is_read() {
        let (mut one, mut two) = (Families::default(), Families::default());
        one.begin();
        two.begin();
        let a = read(&mut one, "family_test", MetricKind::Gauge, "Help.");
        let b = read(&mut two, "family_test", MetricKind::Gauge, "Help.");
        assert!(Arc::ptr_eq(&a, &b));
        let other = read(&mut two, "family_test", MetricKind::Counter, "Help.");
        assert!(!Arc::ptr_eq(&a, &other));
        one.end();
        one.begin();
        assert!(Arc::ptr_eq(&a, &read(&mut one, "family_test", MetricKind::Gauge, "Help.")));
    }

    #[test]
    fn a_family_that_nobody_holds_is_forgotten() {
        let mut families = Families::default();
        families.begin();
        let weak = Arc::downgrade(&read(&mut families, "family_test_gone", MetricKind::Gauge, ""));
        families.begin();
        families.end();
        assert!(weak.upgrade().is_none());
    }

    #[test]
    fn metrics_belong_to_their_family_by_name_and_suffix() {
        let mut families = Families::default();
        let cases = [
            ("hits", MetricKind::Counter, "hits_total", true),
            ("hits_total", MetricKind::Counter, "hits_total", true),
            ("hits_total", MetricKind::Counter, "hits", true),
            ("size", MetricKind::Histogram, "size_bucket", true),
            ("size", MetricKind::Histogram, "size_total", false),
            ("size", MetricKind::Gauge, "size_bytes", false),
            ("a", MetricKind::Unknown, "b", false),
            ("build", MetricKind::Info, "build_info", true),
        ];
        for (family, kind, metric, holds) in cases {
            families.begin();
            families.set_kind(family, kind);
            assert_eq!(families.holds(metric), holds, "{metric} in {family}");
            if holds {
                assert!(families.leads(metric.as_bytes()), "{metric} in {family}");
                assert!(families.leads(format!("{{\"{metric}\",a=\"b\"}}").as_bytes()));
            }
        }
    }
}

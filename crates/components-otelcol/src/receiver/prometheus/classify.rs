//! What a sample is to OTLP: of which metric, of what kind, and which part of a point.
//!
//! Types come from metadata: that of the sample, or what was last said of a metric of its name. Where nobody has
//! said anything, names tell it as OpenMetrics writes them.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use parking_lot::Mutex;
use signal::Series;
use signal::points::PointRef;
use signal::samples::{FamilyMetadata, MetricKind};

/// Families that are remembered; then all are forgotten and remembered anew.
const REMEMBERED: usize = 20_000;

/// Suffixes of samples that are parts of something.
const SUFFIXES: [&str; 6] = ["_bucket", "_count", "_sum", "_total", "_info", "_created"];

/// What becomes of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// Also what nothing is known of, and histograms of current values, whose parts stay apart.
    Gauge,
    Counter,
    /// Infos and state sets: a sum that may fall, as the collector does.
    Plain,
    Histogram,
    Summary,
    Exponential,
}

/// Which part of a point a sample is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Part {
    Value,
    Bucket(f64),
    Quantile(f64),
    Sum,
    Count,
    /// When it has started, in seconds.
    Created,
}

/// What a sample is.
#[derive(Debug)]
pub(super) struct Class<'a> {
    /// Name of the metric.
    pub(super) name: &'a str,
    pub(super) kind: Kind,
    pub(super) part: Part,
    pub(super) family: Option<Arc<FamilyMetadata>>,
}

/// Families by name, from the batches that had them.
#[derive(Default)]
pub(super) struct Known(Mutex<HashMap<String, Arc<FamilyMetadata>, foldhash::fast::RandomState>>);

impl Known {
    /// Notes what a batch says of its families.
    pub(super) fn learn(&self, families: &[Arc<FamilyMetadata>]) {
        if families.is_empty() {
            return;
        }
        let mut known = self.0.lock();
        for family in families {
            if known.get(family.name.as_str()).is_some_and(|old| old == family) {
                continue;
            }
            if known.len() >= REMEMBERED {
                known.clear();
            }
            known.insert(family.name.clone(), family.clone());
        }
    }

    fn find(&self, metric: &str) -> Option<Arc<FamilyMetadata>> {
        let known = self.0.lock();
        if known.is_empty() {
            return None;
        }
        if let Some(exact) = known.get(metric) {
            return Some(exact.clone());
        }
        let (stem, suffix) = stem_of(metric);
        // A gauge `x` says nothing of `x_total`. Text calls counters by the names of their samples.
        let total = (suffix == "_created").then(|| known.get(format!("{stem}_total").as_str())).flatten();
        let fits = |family: &&Arc<FamilyMetadata>| has_samples(family.kind, suffix);
        known.get(stem).filter(fits).or_else(|| total.filter(fits)).cloned()
    }
}

/// Whether metrics of a kind have samples with a suffix.
fn has_samples(kind: MetricKind, suffix: &str) -> bool {
    match kind {
        MetricKind::Counter => matches!(suffix, "_total" | "_created"),
        MetricKind::Histogram => matches!(suffix, "_bucket" | "_count" | "_sum" | "_created"),
        MetricKind::GaugeHistogram => suffix == "_bucket",
        MetricKind::Summary => matches!(suffix, "_count" | "_sum" | "_created"),
        MetricKind::Info => suffix == "_info",
        MetricKind::Unknown | MetricKind::Gauge | MetricKind::StateSet => false,
    }
}

/// What the names of a batch's samples tell.
#[derive(Default)]
pub(super) struct Shapes<'a> {
    histograms: HashSet<&'a str, foldhash::fast::RandomState>,
    summaries: HashSet<&'a str, foldhash::fast::RandomState>,
    counters: HashSet<&'a str, foldhash::fast::RandomState>,
}

impl<'a> Shapes<'a> {
    pub(super) fn of(points: impl Iterator<Item = PointRef<'a>>) -> Self {
        let mut shapes = Self::default();
        for point in points {
            let labels = point.series;
            let Some(name) = labels.metric_name() else { continue };
            if let Some(stem) = name.strip_suffix("_total").filter(|stem| !stem.is_empty()) {
                shapes.counters.insert(stem);
            } else if let Some(stem) = name.strip_suffix("_bucket").filter(|stem| !stem.is_empty()) {
                if labels.get("le").is_some() {
                    shapes.histograms.insert(stem);
                }
            } else if labels.get("quantile").is_some() {
                shapes.summaries.insert(name);
            }
        }
        shapes
    }

    fn kind(&self, name: &str) -> MetricKind {
        let (stem, suffix) = stem_of(name);
        let is = |kind, set: &HashSet<&str, _>| has_samples(kind, suffix) && set.contains(stem);
        if is(MetricKind::Histogram, &self.histograms) {
            MetricKind::Histogram
        } else if self.summaries.contains(name) || is(MetricKind::Summary, &self.summaries) {
            MetricKind::Summary
        } else if suffix == "_total" || suffix == "_created" && self.counters.contains(stem) {
            MetricKind::Counter
        } else {
            MetricKind::Unknown
        }
    }
}

/// What a float sample is.
pub(super) fn sample<'a>(
    labels: &'a Series,
    name: &'a str,
    family: Option<&Arc<FamilyMetadata>>,
    known: &Known,
    shapes: &Shapes<'_>,
) -> Class<'a> {
    let family = family.cloned().or_else(|| known.find(name));
    let kind = family.as_ref().map_or_else(|| shapes.kind(name), |family| family.kind);
    let number =
        |label: &str| labels.get(label).and_then(|text| text.parse::<f64>().ok()).filter(|n| !n.is_nan());
    let (stem, kind, part) = match kind {
        MetricKind::Counter => match name.strip_suffix("_created") {
            Some(stem) => (stem, Kind::Counter, Part::Created),
            None => (name, Kind::Counter, Part::Value),
        },
        MetricKind::Histogram => {
            let part = match (number("le"), stem_of(name)) {
                (Some(le), (stem, "_bucket")) => Some((stem, Part::Bucket(le))),
                (_, (stem, "_sum")) => Some((stem, Part::Sum)),
                (_, (stem, "_count")) => Some((stem, Part::Count)),
                (_, (stem, "_created")) => Some((stem, Part::Created)),
                _ => None,
            };
            part.map_or((name, Kind::Gauge, Part::Value), |(stem, part)| (stem, Kind::Histogram, part))
        }
        MetricKind::Summary => match (number("quantile"), stem_of(name)) {
            (Some(quantile), _) => (name, Kind::Summary, Part::Quantile(quantile)),
            (_, (stem, "_sum")) => (stem, Kind::Summary, Part::Sum),
            (_, (stem, "_count")) => (stem, Kind::Summary, Part::Count),
            (_, (stem, "_created")) => (stem, Kind::Summary, Part::Created),
            _ => (name, Kind::Gauge, Part::Value),
        },
        MetricKind::Info | MetricKind::StateSet => (name, Kind::Plain, Part::Value),
        MetricKind::Unknown | MetricKind::Gauge | MetricKind::GaugeHistogram => {
            (name, Kind::Gauge, Part::Value)
        }
    };
    Class { name: stem, kind, part, family }
}

/// What a native histogram is.
pub(super) fn histogram<'a>(
    name: &'a str,
    family: Option<&Arc<FamilyMetadata>>,
    known: &Known,
    custom_buckets: bool,
) -> Class<'a> {
    let family = family.cloned().or_else(|| known.find(name));
    let kind = if custom_buckets { Kind::Histogram } else { Kind::Exponential };
    Class { name, kind, part: Part::Value, family }
}

/// A metric's name without what samples have behind it, and that.
fn stem_of(name: &str) -> (&str, &'static str) {
    let found = SUFFIXES.iter().find_map(|suffix| Some((name.strip_suffix(suffix)?, *suffix)));
    found.filter(|(stem, _)| !stem.is_empty()).unwrap_or((name, ""))
}

/// What `prometheus.type` says of a metric.
pub(super) fn type_word(family: Option<&FamilyMetadata>, kind: Kind) -> &'static str {
    let of_kind = match kind {
        Kind::Gauge | Kind::Plain => "unknown",
        Kind::Counter => "counter",
        Kind::Histogram | Kind::Exponential => "histogram",
        Kind::Summary => "summary",
    };
    family.map_or(of_kind, |family| match family.kind {
        MetricKind::Unknown => of_kind,
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
        MetricKind::Histogram => "histogram",
        MetricKind::GaugeHistogram => "gaugehistogram",
        MetricKind::Summary => "summary",
        MetricKind::Info => "info",
        MetricKind::StateSet => "stateset",
    })
}

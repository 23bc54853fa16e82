//! What is made of a target's pages: which labels series get, which names and sizes they may have.

use net::scrape::Failed;
use signal::{Labels, LabelsBuilder, METRIC_NAME, MetricKind, NameScheme};
use wire::exposition::NativeHistograms;

/// What is made of the pages of one target.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// Labels given to every series.
    pub labels: Labels,
    /// Scraped labels win over those.
    pub honor_labels: bool,
    /// Times on the page are taken.
    pub honor_timestamps: bool,
    /// Series with times on the page become stale too.
    pub track_timestamps_staleness: bool,
    /// Which names are valid.
    pub names: NameScheme,
    /// Limits; 0 for none.
    pub limits: Limits,
    /// What becomes of native histograms.
    pub native: NativeHistograms,
    /// Classic histograms become native ones.
    pub convert_classic: bool,
    /// And stay beside them.
    pub keep_classic: bool,
    /// Buckets of a native histogram; 0 for no limit.
    pub bucket_limit: usize,
    /// Highest resolution of a native histogram.
    pub max_schema: i32,
    /// Batches carry the families' metadata.
    pub metadata: bool,
    /// Series carry `__type__` and `__unit__`.
    pub type_and_unit: bool,
    /// A zero is sent at the start of a counter.
    pub start_zero: bool,
}

/// Limits of a page; 0 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// Samples.
    pub samples: usize,
    /// Labels of a series.
    pub labels: usize,
    /// Bytes of a label name.
    pub name: usize,
    /// Bytes of a label value.
    pub value: usize,
}

impl Rules {
    /// Rules that change as little as possible.
    pub fn plain(labels: Labels) -> Self {
        Self {
            labels,
            honor_labels: false,
            honor_timestamps: true,
            track_timestamps_staleness: false,
            names: NameScheme::Legacy,
            limits: Limits::default(),
            native: NativeHistograms::Ignore,
            convert_classic: false,
            keep_classic: false,
            bucket_limit: 0,
            max_schema: 8,
            metadata: false,
            type_and_unit: false,
            start_zero: false,
        }
    }

    /// Whether a line gives the same series under both.
    pub(super) fn same_series(&self, other: &Self) -> bool {
        let key = |r: &Self| {
            let limits = Limits { samples: 0, ..r.limits };
            (r.honor_labels, r.names, limits, r.convert_classic, r.keep_classic, r.type_and_unit, r.metadata)
        };
        key(self) == key(other) && self.labels == other.labels
    }

    /// Whether the families of a page have to be known.
    pub(super) fn needs_families(&self) -> bool {
        self.metadata || self.type_and_unit || self.convert_classic
    }

    /// Whether scraped labels, those of the target added, are within names and limits.
    pub(super) fn check_labels(&self, labels: &LabelsBuilder) -> Result<(), Refused> {
        let Limits { labels: label_limit, name: name_limit, value: value_limit, .. } = self.limits;
        let metric = labels.get(METRIC_NAME).unwrap_or_default();
        if !self.names.allows_metric(metric) {
            return Err(misnamed(format!("invalid metric name {:?}", short(metric))));
        }
        if label_limit > 0 && labels.len() > label_limit {
            let count = labels.len();
            return Err(beyond(format!(
                "label_limit of {label_limit} exceeded: series {:?} has {count} labels",
                short(metric)
            )));
        }
        for (name, value) in labels.iter() {
            if !self.names.allows_label(name) {
                return Err(misnamed(format!(
                    "invalid label name {:?} in series {:?}",
                    short(name),
                    short(metric)
                )));
            }
            if name_limit > 0 && name.len() > name_limit {
                let (name, length) = (short(name), name.len());
                return Err(beyond(format!(
                    "label_name_length_limit of {name_limit} exceeded: label {name:?} of series {:?} has a name of {length} bytes",
                    short(metric)
                )));
            }
            if value_limit > 0 && value.len() > value_limit {
                let length = value.len();
                return Err(beyond(format!(
                    "label_value_length_limit of {value_limit} exceeded: label {:?} of series {:?} has a value of {length} bytes",
                    short(name),
                    short(metric)
                )));
            }
        }
        Ok(())
    }
}

/// Why a page does not count. Boxed: most lines are good, and their answer is to be small.
pub type Refused = Box<Failed>;

/// It does not keep to its format.
pub(super) fn broken(why: impl ToString) -> Refused {
    Box::new(Failed::new("page", why.to_string()))
}

/// It exceeds one of the limits of the arguments.
pub(super) fn beyond(why: String) -> Refused {
    Box::new(Failed::new("limit", why))
}

/// A name in it is outside of `metric_name_validation_scheme`.
fn misnamed(why: String) -> Refused {
    Box::new(Failed::new("name", why))
}

/// Gives scraped labels those of the target. As prometheus/scrape: `mutateSampleLabels`.
pub(super) fn add_target_labels(builder: &mut LabelsBuilder, target: &Labels, honor: bool) {
    let mut conflicts: Vec<(String, String)> = Vec::new();
    for (name, value) in target {
        match builder.get(name) {
            Some(_) if honor => continue,
            // An empty label is the page's way to say that it wants none: the Pushgateway shows `instance=""` so
            // that what was pushed without an instance does not get the gateway's.
            None if honor && builder.is_blank(name) => continue,
            Some(scraped) => conflicts.push((name.to_owned(), scraped.to_owned())),
            None => {}
        }
        builder.set(name, value);
    }
    // Shorter names first, so that `exported_x` of the page keeps clear of what `x` becomes.
    conflicts.sort_by_key(|(name, _)| name.len());
    for (mut name, scraped) in conflicts {
        while builder.get(&name).is_some() {
            name.insert_str(0, "exported_");
        }
        builder.set(&name, &scraped);
    }
}

/// The value of `__type__`; nothing for unknown types.
pub(crate) fn kind_word(kind: MetricKind) -> &'static str {
    match kind {
        MetricKind::Unknown => "",
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
        MetricKind::Histogram => "histogram",
        MetricKind::GaugeHistogram => "gaugehistogram",
        MetricKind::Summary => "summary",
        MetricKind::Info => "info",
        MetricKind::StateSet => "stateset",
    }
}

fn short(text: &str) -> &str {
    text.char_indices().nth(50).map_or(text, |(end, _)| &text[..end])
}

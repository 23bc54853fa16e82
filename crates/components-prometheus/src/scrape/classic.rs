//! Classic histograms as native ones with custom buckets: lines are collected until the next histogram
//! begins. As prometheus/model/textparse: `NHCBParser`.

use std::sync::Arc;

use signal::Series;
use signal::histogram::convert_classic;
use signal::samples::HistogramPoint;

use super::cache::Role;

/// The histogram whose lines are being read.
#[derive(Debug, Default)]
pub(super) struct Collector {
    series: Option<Series>,
    buckets: Vec<(f64, f64)>,
    sum: f64,
    count: Option<f64>,
    timestamp_ms: i64,
    start_ms: i64,
    family: u32,
    /// A histogram that the page has in native form already.
    native: Option<Series>,
}

/// What a line says beside its role.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) value: f64,
    pub(super) timestamp_ms: i64,
    pub(super) start_ms: i64,
    pub(super) family: u32,
}

impl Collector {
    /// Takes a line; gives the histogram before it, if this is of another one.
    pub(super) fn add(&mut self, histogram: &Series, role: Role, line: Line) -> Option<HistogramPoint> {
        let done = if self.series.as_ref() == Some(histogram) { None } else { self.begin(histogram, line) };
        match role {
            Role::Count => self.count = Some(line.value),
            Role::Sum => self.sum = line.value,
            Role::Bucket(bound) => self.buckets.push((bound, line.value)),
        }
        done
    }

    fn begin(&mut self, histogram: &Series, line: Line) -> Option<HistogramPoint> {
        let done = self.end();
        self.series = Some(histogram.clone());
        (self.timestamp_ms, self.start_ms, self.family) = (line.timestamp_ms, line.start_ms, line.family);
        done
    }

    /// The histogram is complete. Buckets that make no histogram are left out, as in Prometheus.
    pub(super) fn end(&mut self) -> Option<HistogramPoint> {
        let series = self.series.take()?;
        let converted = convert_classic(&self.buckets, self.sum, self.count);
        self.buckets.clear();
        (self.sum, self.count) = (0.0, None);
        if self.native.as_ref() == Some(&series) {
            return None;
        }
        Some(HistogramPoint {
            series,
            timestamp_ms: self.timestamp_ms,
            histogram: Arc::new(converted.ok()?),
            start_ms: self.start_ms,
            family: self.family,
        })
    }

    /// The page has this histogram in native form: classic lines of it that follow are not converted.
    pub(super) fn seen_native(&mut self, series: &Series) {
        self.native = Some(series.clone());
    }

    /// A page begins.
    pub(super) fn reset(&mut self) {
        *self = Self { buckets: std::mem::take(&mut self.buckets), ..Self::default() };
        self.buckets.clear();
    }
}

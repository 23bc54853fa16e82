//! Metric families that our own exporters produce, and their text form.

use std::borrow::Cow;
use std::fmt::Write;

use crate::samples::MetricKind;

/// One metric family of an exporter.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Name as exposed, `_total` included.
    pub name: Cow<'static, str>,
    /// Help text, unescaped.
    pub help: Cow<'static, str>,
    /// Type; histograms and summaries carry their series with suffixes in [`Metric::suffix`].
    pub kind: MetricKind,
    /// The series.
    pub metrics: Vec<Metric>,
}

/// One series of a family.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// `_bucket`, `_sum`, `_count` or empty.
    pub suffix: &'static str,
    /// Label names and values in order of exposition.
    pub labels: Vec<(Cow<'static, str>, String)>,
    /// The value.
    pub value: f64,
    /// Milliseconds since the Unix epoch, where the exporter states a time.
    pub timestamp_ms: Option<i64>,
}

impl Family {
    /// A family without series yet.
    pub fn new(
        name: impl Into<Cow<'static, str>>,
        help: impl Into<Cow<'static, str>>,
        kind: MetricKind,
    ) -> Self {
        Self { name: name.into(), help: help.into(), kind, metrics: Vec::new() }
    }

    /// A counter family.
    pub fn counter(name: impl Into<Cow<'static, str>>, help: impl Into<Cow<'static, str>>) -> Self {
        Self::new(name, help, MetricKind::Counter)
    }

    /// A gauge family.
    pub fn gauge(name: impl Into<Cow<'static, str>>, help: impl Into<Cow<'static, str>>) -> Self {
        Self::new(name, help, MetricKind::Gauge)
    }

    /// Adds a series.
    pub fn add(&mut self, labels: &[(&'static str, &str)], value: f64) {
        let labels = labels.iter().map(|(n, v)| (Cow::Borrowed(*n), (*v).to_string())).collect();
        self.metrics.push(Metric { suffix: "", labels, value, timestamp_ms: None });
    }

    /// Adds a series, for building in one expression.
    #[must_use]
    pub fn with(mut self, labels: &[(&'static str, &str)], value: f64) -> Self {
        self.add(labels, value);
        self
    }
}

/// Writes families in the Prometheus text format 0.0.4; families without series are left out.
pub fn write_text(families: &[Family], out: &mut String) {
    for family in families.iter().filter(|f| !f.metrics.is_empty()) {
        let kind = match family.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge | MetricKind::Info | MetricKind::StateSet => "gauge",
            MetricKind::Histogram | MetricKind::GaugeHistogram => "histogram",
            MetricKind::Summary => "summary",
            MetricKind::Unknown => "untyped",
        };
        let _ = write!(out, "# HELP {} ", family.name);
        escape(&family.help, false, out);
        let _ = writeln!(out, "\n# TYPE {} {kind}", family.name);
        for metric in &family.metrics {
            write_metric(&family.name, metric, out);
        }
    }
}

fn write_metric(name: &str, metric: &Metric, out: &mut String) {
    out.push_str(name);
    out.push_str(metric.suffix);
    for (i, (label, value)) in metric.labels.iter().enumerate() {
        out.push(if i == 0 { '{' } else { ',' });
        out.push_str(label);
        out.push_str("=\"");
        escape(value, true, out);
        out.push('"');
    }
    if !metric.labels.is_empty() {
        out.push('}');
    }
    out.push(' ');
    write_value(metric.value, out);
    if let Some(ms) = metric.timestamp_ms {
        let _ = write!(out, " {ms}");
    }
    out.push('\n');
}

/// Writes a value as the text format spells it (`+Inf`, `-Inf`, `NaN`).
pub fn write_value(value: f64, out: &mut String) {
    if value.is_nan() {
        out.push_str("NaN");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    } else if value != 0.0 && (value.abs() >= 1e21 || value.abs() < 1e-6) {
        let _ = write!(out, "{value:e}");
    } else {
        let _ = write!(out, "{value}");
    }
}

fn escape(text: &str, quotes: bool, out: &mut String) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_written_with_help_type_labels_and_escapes() {
        let family = Family::gauge("a", "line\nbreak \\")
            .with(&[("x", "q\"\\\n"), ("y", "")], 1.5)
            .with(&[], f64::INFINITY);
        let mut out = String::new();
        write_text(&[family, Family::counter("none_total", "left out")], &mut out);
        assert_eq!(
            out,
            "# HELP a line\\nbreak \\\\\n# TYPE a gauge\na{x=\"q\\\"\\\\\\n\",y=\"\"} 1.5\na +Inf\n"
        );
    }
}

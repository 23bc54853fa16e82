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

/// Writes a value as the text format spells it: `+Inf`, `-Inf`, `NaN`, and otherwise the fewest digits that
/// read back as the same value, with an exponent of at least two digits where it would be below -4 or above
/// 5. As Go's `strconv.FormatFloat(value, 'g', -1, 64)`.
pub fn write_value(value: f64, out: &mut String) {
    if value.is_nan() {
        return out.push_str("NaN");
    }
    if value.is_infinite() {
        return out.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    }
    if value == 0.0 || (1e-4..1e6).contains(&value.abs()) {
        let _ = write!(out, "{value}");
        return;
    }
    let start = out.len();
    let _ = write!(out, "{value:e}");
    // Go writes the sign of the exponent and two digits of it.
    let Some(e) = out[start..].find('e').map(|at| start + at) else { return };
    let exponent = out.split_off(e + 1);
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent.as_str()), |digits| ('-', digits));
    let _ = write!(out, "{sign}{digits:0>2}");
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

    #[test]
    fn values_are_written_as_go_formats_them() {
        // Bits and text: answers of Go's strconv.FormatFloat(v, 'g', -1, 64).
        let cases = [
            (0x0, "0"),
            (0x8000000000000000, "-0"),
            (0x3ff0000000000000, "1"),
            (0xbff0000000000000, "-1"),
            (0x3fb999999999999a, "0.1"),
            (0x3ff8000000000000, "1.5"),
            (0x4059000000000000, "100"),
            (0x40fe240000000000, "123456"),
            (0x412e847e00000000, "999999"),
            (0x412e848000000000, "1e+06"),
            (0x4132d68700000000, "1.234567e+06"),
            (0x41678c29c0000000, "1.2345678e+07"),
            (0x4415af1d78b58c40, "1e+20"),
            (0x444b1ae4d6e2ef50, "1e+21"),
            (0x4454542ba12a337c, "1.5e+21"),
            (0x437b69b4ba630f35, "1.2345678901234568e+17"),
            (0x3f1a36e2eb1c432d, "0.0001"),
            (0x3f1f75104d551d69, "0.00012"),
            (0x3ee4f8b588e368f1, "1e-05"),
            (0x3ee9e3abe16fc70d, "1.2345e-05"),
            (0x3e8421f5f40d8376, "1.5e-07"),
            (0x54b249ad2594c37d, "1e+100"),
            (0x2b2bff2ee48e0530, "1e-100"),
            (0x81bac9a7b3b7302f, "-2.5e-300"),
            (0x7fefffffffffffff, "1.7976931348623157e+308"),
            (0x1, "5e-324"),
            (0x4011666666666666, "4.35"),
            (0x4340000000000000, "9.007199254740992e+15"),
            (0x41d954fc40000000, "1.7e+09"),
            (0x41d954fc4007df3b, "1.700000000123e+09"),
            (0x400921fb54442d18, "3.141592653589793"),
            (0x3fd5555555555555, "0.3333333333333333"),
            (0x4140000000000000, "2.097152e+06"),
            (0x4110000200000000, "262144.5"),
            (0x7ff0000000000000, "+Inf"),
            (0xfff0000000000000, "-Inf"),
            (0x7ff8000000000001, "NaN"),
        ];
        for (bits, expected) in cases {
            let mut out = String::new();
            write_value(f64::from_bits(bits), &mut out);
            assert_eq!(out, expected);
        }
    }
}

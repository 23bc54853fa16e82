//! Strict reading of OpenMetrics text: everything that the specification forbids and Prometheus lets pass.
//!
//! All findings are told, not only the first: a line that cannot be read is skipped. Rules are those of
//! OpenMetrics 1.0 (prometheus/OpenMetrics `specification/OpenMetrics.md`), whose words "MUST" they follow.

use std::collections::{HashMap, HashSet};

use signal::MetricKind;

use super::number::parse_float;
use super::series::{Text, walk};
use super::text::{Dialect, TextParser};
use super::{Error, Event, Exemplar, ExemplarLabels, Options, Sample};

/// After so many findings the rest of the body is not looked at.
pub const MAX_FINDINGS: usize = 1000;

/// An exemplar's label names and values together, in characters.
const MAX_EXEMPLAR_CHARS: usize = 128;

/// One violation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Counted from 1; for a family or metric that lacks something, its last line.
    pub line: usize,
    /// What is wrong, and what should stand there.
    pub message: String,
}

/// Reads an OpenMetrics text body strictly and returns what is wrong with it, in order of lines.
pub fn lint(body: &[u8]) -> Vec<Finding> {
    let mut lint = Lint::default();
    let mut parser = TextParser::new(Dialect::OpenMetrics, body, Options::default());
    let mut counted = 0;
    lint.line = 1;
    while lint.findings.len() < MAX_FINDINGS {
        let at = parser.pos();
        lint.line += memchr::memchr_iter(b'\n', &body[counted..at]).count();
        counted = at;
        match parser.next(|_| None) {
            Ok(None) => break,
            Ok(Some(Event::Sample(sample))) => lint.sample(&sample),
            Ok(Some(Event::Type { name, kind })) => lint.metadata(&name, Metadata::Type(kind)),
            Ok(Some(Event::Help { name, .. })) => lint.metadata(&name, Metadata::Help),
            Ok(Some(Event::Unit { name, unit })) => lint.metadata(&name, Metadata::Unit(&unit)),
            Ok(Some(Event::Histogram(_))) => {}
            Err(error) => {
                lint.find(match error {
                    Error::Line { message, .. } => message,
                    other => other.to_string(),
                });
                if at == body.len() {
                    break;
                }
                parser.skip_line();
            }
        }
    }
    lint.end_family();
    lint.findings.sort_by_key(|f| f.line);
    lint.findings.truncate(MAX_FINDINGS);
    lint.findings
}

#[derive(Default)]
struct Lint {
    line: usize,
    findings: Vec<Finding>,
    family: Option<Family>,
    /// Names of families that are over.
    ended: HashSet<String>,
    /// Sample names with the family that they belong to.
    names: HashMap<String, String>,
}

#[derive(Default)]
struct Family {
    name: String,
    kind: Option<MetricKind>,
    has_help: bool,
    unit: Option<String>,
    has_samples: bool,
    last_line: usize,
    /// Series with the time of their last sample.
    series: HashMap<String, Option<i64>>,
    /// Label sets without `le` and `quantile`.
    groups: HashSet<String>,
    group: String,
    /// Histogram points by label set and time, in order of appearance.
    points: Vec<Point>,
    point_index: HashMap<(String, Option<i64>), usize>,
}

/// What belongs to one point of a histogram.
#[derive(Default)]
struct Point {
    labels: String,
    line: usize,
    /// Bounds and counts.
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: Option<f64>,
}

enum Metadata<'a> {
    Type(MetricKind),
    Help,
    Unit(&'a str),
}

/// A sample's labels as the rules want to see them.
struct Labels {
    name: String,
    pairs: Vec<(String, String)>,
}

impl Labels {
    fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// A key of the labels, in order of names, without one.
    fn key(&self, without: &str) -> String {
        let mut pairs: Vec<&(String, String)> = self.pairs.iter().filter(|(n, _)| n != without).collect();
        pairs.sort();
        pairs.iter().map(|(n, v)| format!("{n}={v:?},")).collect()
    }
}

/// What may follow a family's name in the names of its samples.
fn suffixes(kind: MetricKind) -> &'static [&'static str] {
    match kind {
        MetricKind::Counter => &["_total", "_created"],
        MetricKind::Gauge | MetricKind::Unknown | MetricKind::StateSet => &[""],
        MetricKind::Histogram => &["_bucket", "_count", "_sum", "_created"],
        MetricKind::GaugeHistogram => &["_bucket", "_gcount", "_gsum"],
        MetricKind::Summary => &["", "_count", "_sum", "_created"],
        MetricKind::Info => &["_info"],
    }
}

const ALL_SUFFIXES: [&str; 9] =
    ["", "_total", "_created", "_bucket", "_count", "_sum", "_gcount", "_gsum", "_info"];

impl Lint {
    fn find(&mut self, message: impl Into<String>) {
        self.find_at(self.line, message);
    }

    fn find_at(&mut self, line: usize, message: impl Into<String>) {
        self.findings.push(Finding { line, message: message.into() });
    }

    fn metadata(&mut self, name: &str, metadata: Metadata<'_>) {
        if self.family.as_ref().is_none_or(|f| f.name != name) {
            self.begin_family(name);
        }
        let Some(mut family) = self.family.take() else { return };
        family.last_line = self.line;
        if family.has_samples {
            self.find(format!("metadata of '{name}' must stand before its samples"));
        }
        let twice = match metadata {
            Metadata::Type(kind) => family.kind.replace(kind).is_some(),
            Metadata::Help => std::mem::replace(&mut family.has_help, true),
            Metadata::Unit(unit) => family.unit.replace(unit.to_owned()).is_some(),
        };
        if twice {
            self.find(format!("metadata of '{name}' is given twice"));
        }
        let has_unit = family.unit.as_ref().is_some_and(|u| !u.is_empty());
        if has_unit && matches!(family.kind, Some(MetricKind::Info | MetricKind::StateSet)) {
            self.find(format!("'{name}' cannot have a unit: it is an info or a stateset"));
        }
        self.family = Some(family);
    }

    fn begin_family(&mut self, name: &str) {
        self.end_family();
        if self.ended.contains(name) {
            self.find(format!("the family '{name}' has been before: all its lines must stand together"));
        }
        if name.starts_with('_') || name.contains(':') {
            self.find(format!("the name '{name}' is reserved: it begins with '_' or has a ':'"));
        }
        self.family = Some(Family { name: name.to_owned(), ..Family::default() });
    }

    fn end_family(&mut self) {
        let Some(family) = self.family.take() else { return };
        for point in &family.points {
            self.end_point(&family, point);
        }
        // Names clash even where the samples that would show it are not there.
        for suffix in suffixes(family.kind.unwrap_or_default()) {
            let name = format!("{}{suffix}", family.name);
            if let Some(other) = self.names.insert(name.clone(), family.name.clone())
                && other != family.name
            {
                let message = format!(
                    "'{name}' would be a sample name of the families '{other}' and '{}'",
                    family.name
                );
                self.find_at(family.last_line, message);
            }
        }
        self.ended.insert(family.name);
    }

    fn sample(&mut self, sample: &Sample<'_>) {
        let Some(labels) = self.labels(sample.raw) else { return };
        let belongs = self.family.as_ref().and_then(|f| {
            let rest = labels.name.strip_prefix(f.name.as_str())?;
            ALL_SUFFIXES.iter().copied().find(|s| *s == rest)
        });
        // A name with a known suffix behind a family of unknown type is another family.
        let known = self.family.as_ref().is_some_and(|f| f.kind.is_some());
        let suffix = match belongs {
            Some(suffix) if known || suffix.is_empty() => suffix,
            _ => {
                self.begin_family(&labels.name);
                ""
            }
        };
        let Some(mut family) = self.family.take() else { return };
        let kind = family.kind.unwrap_or_default();
        family.last_line = self.line;
        family.has_samples = true;
        if !suffixes(kind).contains(&suffix) {
            let wanted: Vec<String> =
                suffixes(kind).iter().map(|s| format!("'{}{s}'", family.name)).collect();
            self.find(format!(
                "'{}' is not a sample name of a {kind:?} named '{}': expected {}",
                labels.name,
                family.name,
                wanted.join(", ")
            ));
        }
        if let Some(other) = self.names.insert(labels.name.clone(), family.name.clone())
            && other != family.name
        {
            self.find(format!(
                "'{}' is a sample name of the families '{other}' and '{}'",
                labels.name, family.name
            ));
        }
        self.check_place(&mut family, &labels, kind, sample.timestamp_ms);
        self.check_value(&family, &labels, kind, suffix, sample.value);
        if let Some(exemplar) = &sample.exemplar {
            self.check_exemplar(&labels.name, suffix, exemplar);
        }
        if matches!(kind, MetricKind::Histogram | MetricKind::GaugeHistogram) {
            self.collect(&mut family, &labels, suffix, sample);
        }
        self.family = Some(family);
    }

    /// Takes the series apart; tells what is wrong with its labels.
    fn labels(&mut self, raw: &[u8]) -> Option<Labels> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        let text = |text: Text<'_>| {
            text.decode().map(String::from).ok_or_else(|| "a name or value is not valid UTF-8".to_owned())
        };
        let name = walk(Dialect::OpenMetrics, raw, false, |name, value| {
            pairs.push((text(name)?, text(value)?));
            Ok(())
        });
        let name = match name.and_then(|name| text(name.ok_or("the series has no metric name")?)) {
            Ok(name) => name,
            Err(message) => {
                self.find(message);
                return None;
            }
        };
        if raw.ends_with(b",}") {
            self.find(format!("no comma may stand behind the last label of '{name}'"));
        }
        let mut seen = HashSet::new();
        for (label, _) in &pairs {
            if !seen.insert(label.as_str()) {
                self.find(format!("the label '{label}' of '{name}' is given twice"));
            }
            if label.starts_with("__") {
                self.find(format!("the label name '{label}' is reserved: it begins with '__'"));
            }
        }
        Some(Labels { name, pairs })
    }

    /// Samples of one label set stand together, no series comes twice, time does not go back.
    fn check_place(&mut self, family: &mut Family, labels: &Labels, kind: MetricKind, time: Option<i64>) {
        let group = labels.key(bound_label(kind));
        if kind != MetricKind::StateSet && group != family.group {
            if family.groups.contains(&group) {
                self.find(format!("the samples of '{}{{{group}}}' must stand together", family.name));
            }
            family.groups.insert(group.clone());
            family.group = group;
        }
        let series = format!("{}{{{}}}", labels.name, labels.key(""));
        match family.series.get(&series) {
            None => {}
            Some(last) => match (last, time) {
                (Some(last), Some(time)) if time > *last => {}
                (Some(_), Some(_)) => self.find(format!("the timestamps of '{series}' must rise")),
                (None, None) => self.find(format!("the series '{series}' is given twice")),
                _ => self.find(format!("'{series}' has samples with and without a timestamp")),
            },
        }
        family.series.insert(series, time);
    }

    fn check_value(&mut self, family: &Family, labels: &Labels, kind: MetricKind, suffix: &str, value: f64) {
        let name = &labels.name;
        let counts = matches!(suffix, "_total" | "_bucket" | "_count" | "_gcount");
        if counts && (value.is_nan() || value < 0.0) {
            self.find(format!("'{name}' must be neither negative nor NaN"));
        }
        if matches!(suffix, "_bucket" | "_count" | "_gcount") && value.is_finite() && value.fract() != 0.0 {
            self.find(format!("'{name}' must be a whole number"));
        }
        if suffix == "_sum" && value < 0.0 {
            self.find(format!(
                "'{name}' must not be negative: leave it out where there are negative observations"
            ));
        }
        if suffix == "_created" && !(value.is_finite() && value >= 0.0) {
            self.find(format!("'{name}' must be a time in seconds"));
        }
        match (kind, suffix) {
            (MetricKind::Info, _) if value != 1.0 => {
                self.find(format!("the value of the info '{name}' must be 1"))
            }
            (MetricKind::StateSet, _) => {
                if value != 0.0 && value != 1.0 {
                    self.find(format!("the value of the stateset '{name}' must be 0 or 1"));
                }
                if labels.get(&family.name).is_none() {
                    self.find(format!("the stateset '{name}' needs a label '{}' for its state", family.name));
                }
            }
            (MetricKind::Summary, "") => {
                self.check_bound(labels, "quantile", |q| (0.0..=1.0).contains(&q), value < 0.0)
            }
            (_, "_bucket") => self.check_bound(labels, "le", |le| !le.is_nan(), false),
            _ => {}
        }
    }

    fn check_bound(&mut self, labels: &Labels, label: &str, good: impl Fn(f64) -> bool, negative: bool) {
        let bound = labels.get(label).and_then(|v| parse_float(v.as_bytes()));
        if !bound.is_some_and(good) {
            self.find(format!("'{}' needs a label '{label}' with a number that makes sense", labels.name));
        }
        if negative {
            self.find(format!("the quantile values of '{}' must not be negative", labels.name));
        }
    }

    fn check_exemplar(&mut self, name: &str, suffix: &str, exemplar: &Exemplar<'_>) {
        if !matches!(suffix, "_total" | "_bucket") {
            self.find(format!("'{name}' cannot have an exemplar: only '_total' and '_bucket' samples can"));
        }
        let ExemplarLabels::Text(labels) = exemplar.labels else { return };
        let mut chars = 0;
        let mut names = HashSet::new();
        let mut twice = false;
        // The parser has checked the text.
        let _ = walk(Dialect::OpenMetrics, labels, true, |name, value| {
            let (name, value) = (name.decode().unwrap_or_default(), value.decode().unwrap_or_default());
            chars += name.chars().count() + value.chars().count();
            twice |= !names.insert(name.into_owned());
            Ok(())
        });
        if twice {
            self.find(format!("the exemplar of '{name}' has a label twice"));
        }
        if labels.ends_with(b",}") {
            self.find(format!("no comma may stand behind the last label of the exemplar of '{name}'"));
        }
        if chars > MAX_EXEMPLAR_CHARS {
            self.find(format!(
                "the exemplar's labels have {chars} characters, at most {MAX_EXEMPLAR_CHARS} are allowed"
            ));
        }
    }

    fn collect(&mut self, family: &mut Family, labels: &Labels, suffix: &str, sample: &Sample<'_>) {
        let key = (labels.key("le"), sample.timestamp_ms);
        let index = *family.point_index.entry(key.clone()).or_insert_with(|| {
            family.points.push(Point { labels: key.0, ..Point::default() });
            family.points.len() - 1
        });
        let point = &mut family.points[index];
        point.line = self.line;
        match suffix {
            "_bucket" => {
                let bound = labels.get("le").and_then(|v| parse_float(v.as_bytes())).unwrap_or(f64::NAN);
                let before = point.buckets.last().copied();
                point.buckets.push((bound, sample.value));
                if let Some((last_bound, last_count)) = before {
                    if bound <= last_bound {
                        self.find(format!(
                            "the buckets of '{}' must be in rising order of 'le'",
                            family.name
                        ));
                    }
                    if sample.value < last_count {
                        self.find(format!(
                            "the buckets of '{}' must be cumulative: this one is lower than the one before",
                            family.name
                        ));
                    }
                }
            }
            "_count" | "_gcount" => point.count = Some(sample.value),
            "_sum" | "_gsum" => point.sum = Some(sample.value),
            _ => {}
        }
    }

    fn end_point(&mut self, family: &Family, point: &Point) {
        let name = format!("{}{{{}}}", family.name, point.labels);
        let Some((bound, last)) = point.buckets.last() else {
            return self.find_at(
                point.line,
                format!("the histogram '{name}' has no buckets: it needs at least le=\"+Inf\""),
            );
        };
        if *bound != f64::INFINITY {
            self.find_at(point.line, format!("the histogram '{name}' has no bucket le=\"+Inf\" at its end"));
        }
        if point.count.is_some_and(|count| count != *last) {
            self.find_at(point.line, format!("the count of '{name}' must equal its bucket le=\"+Inf\""));
        }
        match (point.sum.is_some(), point.count.is_some()) {
            (true, false) => {
                self.find_at(point.line, format!("the histogram '{name}' has a sum and no count"));
            }
            (false, true) => {
                let message =
                    format!("the histogram '{name}' has a count and no sum: leave the count out as well");
                self.find_at(point.line, message);
            }
            _ => {}
        }
        // Whatever they count: what can be negative is no counter.
        if point.sum.is_some()
            && family.kind == Some(MetricKind::Histogram)
            && point.buckets.first().is_some_and(|(bound, _)| *bound < 0.0)
        {
            self.find_at(
                point.line,
                format!("the histogram '{name}' has negative bounds: it must not have a sum"),
            );
        }
    }
}

/// The label that tells the series of one metric apart.
fn bound_label(kind: MetricKind) -> &'static str {
    match kind {
        MetricKind::Histogram | MetricKind::GaugeHistogram => "le",
        MetricKind::Summary => "quantile",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(body: &str) -> Vec<String> {
        lint(format!("{body}# EOF\n").as_bytes())
            .iter()
            .map(|f| format!("{}: {}", f.line, f.message))
            .collect()
    }

    #[test]
    fn a_good_page_has_no_findings() {
        let page = concat!(
            "# TYPE acme_http_router_request_seconds summary\n# UNIT acme_http_router_request_seconds seconds\n# HELP acme_http_router_request_seconds Latency.\n",
            "acme_http_router_request_seconds_sum{path=\"/api/v1\",method=\"GET\"} 9036.32\nacme_http_router_request_seconds_count{path=\"/api/v1\",method=\"GET\"} 807283.0\n",
            "acme_http_router_request_seconds_created{path=\"/api/v1\",method=\"GET\"} 1605281325.0\n",
            "acme_http_router_request_seconds{path=\"/api/v2\",method=\"POST\",quantile=\"0.5\"} 479.3\nacme_http_router_request_seconds_count{path=\"/api/v2\",method=\"POST\"} 34.0\n",
            "# TYPE go_goroutines gauge\ngo_goroutines 69\n# TYPE process_cpu_seconds counter\nprocess_cpu_seconds_total 4.20072246e+06\n",
            "# TYPE h histogram\nh_bucket{le=\"0.1\"} 8 # {trace_id=\"x\"} 0.05 1.5\nh_bucket{le=\"+Inf\"} 17\nh_count 17\nh_sum 324789.3\nh_created 1\n",
            "# TYPE g gaugehistogram\ng_bucket{le=\"-1\"} 2\ng_bucket{le=\"+Inf\"} 3\ng_gcount 3\ng_gsum -4\n",
            "# TYPE b info\nb_info{v=\"1\"} 1\n# TYPE s stateset\ns{s=\"a\"} 1\ns{s=\"b\"} 0\nuntyped{x=\"1\"} -5\nuntyped{x=\"2\"} NaN\nother 1\n",
            "# TYPE t gauge\nt{a=\"1\"} 1 1\nt{a=\"1\"} 2 2\nt{a=\"2\"} 1 1\n",
        );
        assert_eq!(messages(page), [""; 0]);
    }

    #[test]
    fn what_the_specification_forbids_is_found() {
        let long = "x".repeat(121);
        let cases = [
            (
                "# TYPE a counter\na 1\n",
                "2: 'a' is not a sample name of a Counter named 'a': expected 'a_total', 'a_created'",
            ),
            ("# TYPE a gauge\na_total 1\n", "2: 'a_total' is not a sample name of a Gauge"),
            ("# TYPE a counter\na_total NaN\n", "2: 'a_total' must be neither negative nor NaN"),
            ("# TYPE a counter\na_total -1\n", "2: 'a_total' must be neither negative nor NaN"),
            ("# TYPE a gauge\n# TYPE a gauge\n", "2: metadata of 'a' is given twice"),
            ("# HELP a x\n# HELP a x\n", "2: metadata of 'a' is given twice"),
            ("# TYPE a gauge\na 1\n# HELP a x\n", "3: metadata of 'a' must stand before its samples"),
            ("# TYPE a_s info\n# UNIT a_s s\n", "2: 'a_s' cannot have a unit"),
            ("a 1\nb 1\na{x=\"1\"} 1\n", "3: the family 'a' has been before"),
            (
                "# TYPE a gauge\na 1\n# TYPE b gauge\nb 1\n# TYPE a gauge\n",
                "5: the family 'a' has been before",
            ),
            (
                "# TYPE a counter\na_total{x=\"1\"} 1\na_total{x=\"2\"} 1\na_created{x=\"1\"} 1\n",
                "4: the samples of 'a{x=\"1\",}' must stand together",
            ),
            ("a{x=\"1\"} 1\na{x=\"1\"} 1\n", "2: the series 'a{x=\"1\",}' is given twice"),
            ("a{x=\"1\",y=\"2\"} 1\na{y=\"2\",x=\"1\"} 1\n", "2: the series"),
            ("a 1 5\na 1 4\n", "2: the timestamps of 'a{}' must rise"),
            ("a 1\na 1 4\n", "2: 'a{}' has samples with and without a timestamp"),
            ("a{x=\"1\",x=\"2\"} 1\n", "1: the label 'x' of 'a' is given twice"),
            ("a{__x=\"1\"} 1\n", "1: the label name '__x' is reserved"),
            ("_a 1\n", "1: the name '_a' is reserved"),
            ("a:b 1\n", "1: the name 'a:b' is reserved"),
            ("a 1 # {x=\"1\"} 1\n", "1: 'a' cannot have an exemplar"),
            (
                "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_count 1\n",
                "3: the histogram 'h{}' has no bucket le=\"+Inf\"",
            ),
            (
                "# TYPE h histogram\nh_bucket{le=\"2\"} 1\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 1\n",
                "3: the buckets of 'h' must be in rising order",
            ),
            (
                "# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 1\n",
                "3: the buckets of 'h' must be cumulative",
            ),
            ("# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_count 2\n", "3: the count of 'h{}' must equal"),
            (
                "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_sum 2\n",
                "3: the histogram 'h{}' has a sum and no count",
            ),
            (
                "# TYPE h histogram\nh_bucket{le=\"-1\"} 1\nh_bucket{le=\"+Inf\"} 1\nh_count 1\nh_sum 2\n",
                "5: the histogram 'h{}' has negative bounds",
            ),
            (
                "# TYPE h histogram\nh_bucket{le=\"-1\"} 0\nh_bucket{le=\"+Inf\"} 1\nh_count 1\nh_sum 2\n",
                "5: the histogram 'h{}' has negative bounds",
            ),
            (
                "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_count 1\n",
                "3: the histogram 'h{}' has a count and no sum",
            ),
            ("a{x=\"1\",} 1\n", "1: no comma may stand behind the last label of 'a'"),
            (
                "# TYPE a counter\na_total 1 # {x=\"1\",} 1\n",
                "2: no comma may stand behind the last label of the exemplar",
            ),
            (
                "# TYPE a counter\n# TYPE a_created gauge\n",
                "2: 'a_created' would be a sample name of the families 'a' and 'a_created'",
            ),
            (
                "# TYPE h_sum gauge\n# TYPE h summary\n",
                "2: 'h_sum' would be a sample name of the families 'h_sum' and 'h'",
            ),
            ("# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1.5\n", "2: 'h_bucket' must be a whole number"),
            ("# TYPE h histogram\nh_bucket 1\n", "2: 'h_bucket' needs a label 'le'"),
            ("# TYPE h histogram\nh_count 1\n", "2: the histogram 'h{}' has no buckets"),
            ("# TYPE s summary\ns{quantile=\"2\"} 1\n", "2: 's' needs a label 'quantile'"),
            (
                "# TYPE s summary\ns{quantile=\"0.5\"} -1\n",
                "2: the quantile values of 's' must not be negative",
            ),
            ("# TYPE s summary\ns_sum -1\n", "2: 's_sum' must not be negative"),
            ("# TYPE i info\ni_info 2\n", "2: the value of the info 'i_info' must be 1"),
            ("# TYPE s stateset\ns{s=\"a\"} 2\n", "2: the value of the stateset 's' must be 0 or 1"),
            ("# TYPE s stateset\ns{x=\"a\"} 1\n", "2: the stateset 's' needs a label 's'"),
            (
                "# TYPE a counter\na_total 1\n# TYPE a_total gauge\na_total 1\n",
                "4: 'a_total' is a sample name of the families 'a' and 'a_total'",
            ),
            ("# TYPE a counter\na_created -1\n", "2: 'a_created' must be a time"),
            ("a  1\n", "1: expected one blank"),
        ];
        for (body, expected) in cases {
            let found = messages(body);
            assert!(found.iter().any(|f| f.starts_with(expected)), "{body}: {found:?}");
        }
        let exemplar = format!("# TYPE a counter\na_total 1 # {{trace_id=\"{long}\"}} 1\n");
        assert!(messages(&exemplar)[0].contains("have 129 characters"));
    }

    #[test]
    fn all_findings_are_told_and_lines_that_cannot_be_read_are_skipped() {
        let body = "a 1 x\n# comment\n\nb{ 1\n# TYPE c counter\nc 1\nc_total -1\n";
        let lines: Vec<usize> = lint(body.as_bytes()).iter().map(|f| f.line).collect();
        assert_eq!(lines, [1, 2, 3, 4, 6, 7, 8]);
        assert!(lint(body.as_bytes()).last().unwrap().message.contains("# EOF"));
    }

    #[test]
    fn findings_are_bounded() {
        assert_eq!(lint("x\n".repeat(5000).as_bytes()).len(), MAX_FINDINGS);
    }
}

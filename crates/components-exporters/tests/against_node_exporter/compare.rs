//! Compares three pages of metrics: ours, and another exporter's from just before and just after.
//!
//! Both exporters read the same kernel, so families, types, label names and series must agree, and a
//! counter of ours must lie between the two of the other page. Gauges must agree where the other
//! page shows them standing still, unless they are named as restless.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use components_exporters::text;
use signal::exposition::{Family, Metric};
use signal::samples::MetricKind;

/// What two pages disagree in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// Only the other page has the family.
    Missing,
    /// Only our page has the family.
    Extra,
    Kind,
    Help,
    /// The names of the labels.
    Labels,
    /// The series, where the names of their labels agree.
    Series,
    Value,
}

/// One disagreement.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    pub family: String,
    pub what: What,
    pub detail: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}: {}", self.family, self.what, self.detail)
    }
}

/// Pages of the other exporter around ours.
pub struct Pages<'a> {
    pub before: &'a str,
    pub ours: &'a str,
    pub after: &'a str,
}

type Families = BTreeMap<String, Family>;

/// All disagreements, sorted. `restless` are prefixes of families whose values are not compared, but for those in `still`.
pub fn compare(pages: &Pages<'_>, restless: &[&str], still: &[&str]) -> Vec<Difference> {
    let read = |page: &str| -> Families {
        let families = text::parse(page).expect("the page is in the text format");
        families.into_iter().map(|parsed| (parsed.family.name.to_string(), parsed.family)).collect()
    };
    let (before, ours, after) = (read(pages.before), read(pages.ours), read(pages.after));
    let mut found = Vec::new();
    let names: BTreeSet<_> = before.keys().chain(ours.keys()).collect();
    for name in names {
        let mut add = |what, detail: String| found.push(Difference { family: name.clone(), what, detail });
        match (before.get(name), ours.get(name)) {
            (Some(theirs), None) => add(What::Missing, format!("{} series", theirs.metrics.len())),
            (None, Some(ours)) => add(What::Extra, format!("{} series", ours.metrics.len())),
            (Some(theirs), Some(ours)) => {
                shape(theirs, ours, &mut add);
                if still.contains(&name.as_str()) || !restless.iter().any(|prefix| name.starts_with(prefix)) {
                    values([theirs, ours, after.get(name).unwrap_or(theirs)], &mut add);
                }
            }
            (None, None) => {}
        }
    }
    found.sort();
    found
}

fn shape(theirs: &Family, ours: &Family, add: &mut impl FnMut(What, String)) {
    if theirs.kind != ours.kind {
        add(What::Kind, format!("{:?} there, {:?} here", theirs.kind, ours.kind));
    }
    if theirs.help != ours.help {
        add(What::Help, format!("{:?} there, {:?} here", theirs.help, ours.help));
    }
    let names = |family: &Family| -> BTreeSet<Vec<String>> {
        let names = |metric: &Metric| sorted(metric).into_iter().map(|(name, _)| name).collect();
        family.metrics.iter().map(names).collect()
    };
    if names(theirs) != names(ours) {
        add(What::Labels, format!("{:?} there, {:?} here", names(theirs), names(ours)));
        return;
    }
    let series = |family: &Family| family.metrics.iter().map(sorted).collect::<BTreeSet<_>>();
    let (theirs, ours) = (series(theirs), series(ours));
    let only: Vec<_> = theirs.symmetric_difference(&ours).take(4).collect();
    if !only.is_empty() {
        add(What::Series, format!("{} there, {} here, such as {only:?}", theirs.len(), ours.len()));
    }
}

fn sorted(metric: &Metric) -> Vec<(String, String)> {
    let mut labels: Vec<_> =
        metric.labels.iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
    labels.sort();
    labels
}

fn values([before, ours, after]: [&Family; 3], add: &mut impl FnMut(What, String)) {
    let by_series = |family: &Family| -> BTreeMap<Vec<(String, String)>, f64> {
        family.metrics.iter().map(|metric| (sorted(metric), metric.value)).collect()
    };
    let (first, last) = (by_series(before), by_series(after));
    for (series, value) in by_series(ours) {
        let (Some(&first), Some(&last)) = (first.get(&series), last.get(&series)) else { continue };
        let counts = matches!(ours.kind, MetricKind::Counter | MetricKind::Unknown);
        // The page shows fewer digits than the number has.
        let slack = value.abs() * 1e-9;
        let agrees = if counts {
            first - slack <= value && value <= last + slack
        } else {
            first != last || (value - first).abs() <= slack
        };
        if !agrees {
            add(What::Value, format!("{series:?} is {value}, there {first} and then {last}"));
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whats(before: &str, ours: &str, after: &str) -> Vec<(String, What)> {
        let found = compare(&Pages { before, ours, after }, &["restless"], &[]);
        found.into_iter().map(|difference| (difference.family, difference.what)).collect()
    }

    #[test]
    fn equal_pages_have_no_differences() {
        let page = "# HELP a x\n# TYPE a gauge\na{x=\"1\",y=\"2\"} 1\n";
        let other_order = "# HELP a x\n# TYPE a gauge\na{y=\"2\",x=\"1\"} 1\n";
        assert_eq!(whats(page, other_order, page), []);
    }

    #[test]
    fn every_kind_of_difference_is_found() {
        let cases = [
            ("a 1\n", "b 1\n", vec![("a", What::Missing), ("b", What::Extra)]),
            ("# TYPE a gauge\na 1\n", "# TYPE a counter\na 1\n", vec![("a", What::Kind)]),
            ("# HELP a x\na 1\n", "# HELP a y\na 1\n", vec![("a", What::Help)]),
            ("a{x=\"1\"} 1\n", "a{y=\"1\"} 1\n", vec![("a", What::Labels)]),
            ("a{x=\"1\"} 1\n", "a{x=\"2\"} 1\n", vec![("a", What::Series)]),
            ("a 1\n", "a 2\n", vec![("a", What::Value)]),
            ("restless 1\n", "restless 2\n", vec![]),
        ];
        for (theirs, ours, expected) in cases {
            let expected: Vec<_> =
                expected.into_iter().map(|(name, what)| (name.to_string(), what)).collect();
            assert_eq!(whats(theirs, ours, theirs), expected, "{theirs} {ours}");
        }
    }

    #[test]
    fn a_counter_lies_between_the_pages_around_it_and_a_moving_gauge_anywhere() {
        let counter = |value: &str| format!("# TYPE a counter\na {value}\n");
        let gauge = |value: &str| format!("# TYPE a gauge\na {value}\n");
        assert_eq!(whats(&counter("1"), &counter("2"), &counter("3")), []);
        assert_eq!(whats(&counter("1"), &counter("4"), &counter("3")).len(), 1);
        assert_eq!(whats(&gauge("1"), &gauge("4"), &gauge("3")), []);
        assert_eq!(whats(&gauge("1"), &gauge("4"), &gauge("1")).len(), 1);
    }
}

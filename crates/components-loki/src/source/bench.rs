//! For tests of sources.

use component::testkit::{Harness, Names};
use component::{ArgValue, Pattern, RelabelAction, RelabelRule, RelabelRules};

/// Names with `rules`: one that copies labels whose name matches to what stands in the group.
pub(crate) fn keep_all(pattern: &str) -> Names {
    let rule = RelabelRule {
        source_labels: vec![],
        separator: ";".into(),
        regex: Some(pattern.parse::<Pattern>().expect("a pattern")),
        modulus: 0,
        target_label: String::new(),
        replacement: "$1".into(),
        action: RelabelAction::LabelMap,
    };
    Names::default().with("rules", RelabelRules(std::sync::Arc::new(vec![rule])).to_value())
}

/// The value of a metric of a component, by its name and labels without those of the component.
pub(crate) fn metric(harness: &Harness, name: &str) -> f64 {
    let (name, labels) = name.split_once('{').unwrap_or((name, "}"));
    let matches = |line: &&str| {
        line.starts_with(&format!("{name}{{"))
            && labels.trim_end_matches('}').split(',').all(|label| line.contains(label))
    };
    let text = harness.services.metrics.text();
    let line = text.lines().find(matches).unwrap_or_else(|| panic!("no {name} in {text}"));
    line.rsplit(' ').next().and_then(|v| v.parse().ok()).expect("a number")
}

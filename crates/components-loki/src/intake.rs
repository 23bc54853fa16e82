//! What every source does with the labels that it finds: fixed labels are added, `relabel_rules` run, labels
//! for relabelling only (`__…`) go.
//!
//! Invariant: one internal label survives, because it means something to writers: `__tenant_id__`.

use component::{Error, RelabelRules, compile_rules};
use hashbrown::HashMap;
use signal::relabel::Rules;
use signal::{Labels, LabelsBuilder};

/// The label that names the tenant of an entry to `loki.write`. As Loki's clients: `ReservedLabelTenantID`.
pub const TENANT_LABEL: &str = "__tenant_id__";

/// How many label sets have their answer remembered; then all are forgotten and remembered anew.
const REMEMBERED: usize = 4096;

/// Where a component's own labels come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fixed {
    /// Before the rules; found labels win over them.
    Under,
    /// Before the rules; they win over found labels.
    Over,
    /// After the rules; what is there by then wins over them.
    After,
}

/// The time of entries that bring none: Unix nanoseconds.
pub fn now_ns() -> i64 {
    signal::clock::now_ns()
}

/// Turns the label sets that a source finds into those of streams. What it has answered is remembered, so that
/// a source with few streams pays for the rules once.
pub struct Intake {
    place: Fixed,
    fixed: Labels,
    rules: Rules,
    scratch: LabelsBuilder,
    remembered: HashMap<Labels, Option<Labels>, foldhash::fast::RandomState>,
}

impl Intake {
    /// `fixed` are a component's own `labels`; found labels win over them. `rules` is its `relabel_rules`.
    ///
    /// # Errors
    /// If a rule is not valid.
    pub fn new(fixed: Labels, rules: Option<&RelabelRules>) -> Result<Self, Error> {
        Self::placing(Fixed::Under, fixed, rules)
    }

    /// As [`Intake::new`], with another place for the component's own labels.
    ///
    /// # Errors
    /// If a rule is not valid.
    pub fn placing(place: Fixed, fixed: Labels, rules: Option<&RelabelRules>) -> Result<Self, Error> {
        let rules = match rules {
            Some(rules) => compile_rules("relabel_rules", &rules.0)?,
            None => Rules::none(),
        };
        Ok(Self { place, fixed, rules, scratch: LabelsBuilder::new(), remembered: HashMap::default() })
    }

    /// The labels of the stream that entries with these found labels belong to; `None` where the rules drop
    /// them.
    pub fn stream(&mut self, found: &Labels) -> Option<Labels> {
        if let Some(known) = self.remembered.get(found) {
            return known.clone();
        }
        let stream = self.work_out(found);
        if self.remembered.len() >= REMEMBERED {
            self.remembered.clear();
        }
        self.remembered.insert(found.clone(), stream.clone());
        stream
    }

    fn work_out(&mut self, found: &Labels) -> Option<Labels> {
        let (first, second) = match self.place {
            Fixed::Under => (&self.fixed, Some(found)),
            Fixed::Over => (found, Some(&self.fixed)),
            Fixed::After => (found, None),
        };
        self.scratch.reset(first);
        for (name, value) in second.into_iter().flatten() {
            self.scratch.set(name, value);
        }
        if !self.rules.apply(&mut self.scratch) {
            return None;
        }
        self.scratch.retain(|name, _| !name.starts_with("__") || name == TENANT_LABEL);
        if self.place == Fixed::After {
            for (name, value) in &self.fixed {
                if self.scratch.get(name).is_none() {
                    self.scratch.set(name, value);
                }
            }
        }
        Some(self.scratch.build())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use component::{Pattern, RelabelAction, RelabelRule};

    use super::*;

    fn rule(source: &str, target: &str, action: RelabelAction, regex: &str) -> RelabelRule {
        RelabelRule {
            source_labels: vec![source.into()],
            separator: ";".into(),
            regex: Some(regex.parse::<Pattern>().expect("a pattern")),
            modulus: 0,
            target_label: target.into(),
            replacement: "$1".into(),
            action,
        }
    }

    #[test]
    fn rules_see_internal_labels_and_streams_do_not_keep_them() {
        let rules = RelabelRules(Arc::new(vec![
            rule("__found", "unit", RelabelAction::Replace, "(.+)"),
            rule("job", "", RelabelAction::Drop, "noise"),
        ]));
        let fixed = Labels::from_pairs([("env", "prod"), ("job", "fixed")]);
        let mut intake = Intake::new(fixed, Some(&rules)).expect("valid rules");
        for _ in 0..2 {
            let found = Labels::from_pairs([("__found", "ssh"), ("__tenant_id__", "t")]);
            let expected = [("env", "prod"), ("job", "fixed"), ("unit", "ssh"), (TENANT_LABEL, "t")];
            assert_eq!(intake.stream(&found), Some(Labels::from_pairs(expected)));
            assert_eq!(intake.stream(&Labels::from_pairs([("job", "noise")])), None);
        }
    }

    #[test]
    fn own_labels_come_in_where_the_source_wants_them() {
        let drop = RelabelRule {
            source_labels: vec![],
            target_label: String::new(),
            ..rule("", "", RelabelAction::LabelDrop, "b")
        };
        let rules = RelabelRules(Arc::new(vec![drop]));
        let fixed = || Labels::from_pairs([("a", "own"), ("b", "own")]);
        let found = Labels::from_pairs([("a", "found")]);
        for (place, expected) in [
            (Fixed::Under, vec![("a", "found")]),
            (Fixed::Over, vec![("a", "own")]),
            (Fixed::After, vec![("a", "found"), ("b", "own")]),
        ] {
            let mut intake = Intake::placing(place, fixed(), Some(&rules)).expect("valid rules");
            assert_eq!(intake.stream(&found), Some(Labels::from_pairs(expected)), "{place:?}");
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut intake = Intake::new(Labels::empty(), None).expect("no rules");
        for i in 0..3 * REMEMBERED {
            let found = Labels::from_pairs([("i", i.to_string())]);
            assert_eq!(intake.stream(&found), Some(found));
        }
        assert!(intake.remembered.len() <= REMEMBERED);
    }
}

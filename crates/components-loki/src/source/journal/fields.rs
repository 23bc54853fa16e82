//! What becomes of an entry's fields: the line, and the labels that rules see.

use std::collections::{BTreeMap, HashSet};

use component::{RelabelAction, RelabelRules};

/// The field with the text.
const MESSAGE: &str = "MESSAGE";
const PRIORITY: &str = "PRIORITY";

/// Label names that rules can make a difference by; `None`: any. Entries have fields that are different in each,
/// so label sets without those are few, and are worth remembering.
pub fn needed(rules: Option<&RelabelRules>) -> Option<HashSet<String>> {
    let mut needed = HashSet::new();
    for rule in rules.iter().flat_map(|r| r.0.iter()) {
        if rule.action == RelabelAction::LabelMap {
            return None;
        }
        needed.extend(rule.source_labels.iter().cloned());
        needed.insert(rule.target_label.clone());
    }
    Some(needed)
}

/// `_SYSTEMD_UNIT` → `__journal__systemd_unit`, with the value; and the name of the priority.
pub fn labels(fields: &[(String, Vec<u8>)], needed: Option<&HashSet<String>>) -> Vec<(String, String)> {
    let mut labels = Vec::new();
    let mut add = |name: String, value: &str| {
        if needed.is_none_or(|n| n.contains(&name)) {
            labels.push((name, value.to_owned()));
        }
    };
    for (name, value) in fields {
        let value = String::from_utf8_lossy(value);
        if name == PRIORITY {
            add("__journal_priority_keyword".into(), keyword(&value));
        }
        add(format!("__journal_{}", name.to_lowercase()), &value);
    }
    labels
}

/// As Alloy: `makeJournalPriority`.
fn keyword(priority: &str) -> &str {
    match priority {
        "0" => "emerg",
        "1" => "alert",
        "2" => "crit",
        "3" => "error",
        "4" => "warning",
        "5" => "notice",
        "6" => "info",
        "7" => "debug",
        other => other,
    }
}

/// The line: the message, or all fields as JSON. Empty where there is no message.
pub fn line(fields: &[(String, Vec<u8>)], as_json: bool) -> String {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    if !as_json {
        // As Alloy: of several the last.
        let message = fields.iter().rev().find(|(name, _)| name == MESSAGE);
        return message.map(|(_, value)| text(value)).unwrap_or_default();
    }
    let fields: BTreeMap<&str, String> = fields.iter().map(|(n, v)| (n.as_str(), text(v))).collect();
    serde_json::to_string(&fields).expect("a map of text can be written")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use component::RelabelRule;

    use super::*;

    fn fields(pairs: &[(&str, &[u8])]) -> Vec<(String, Vec<u8>)> {
        pairs.iter().map(|(n, v)| ((*n).to_owned(), v.to_vec())).collect()
    }

    #[test]
    fn the_line_is_the_message_or_all_fields_as_json() {
        let entry = fields(&[("PRIORITY", b"3"), ("MESSAGE", b"a\xff\n"), ("_UID", b"0")]);
        assert_eq!(line(&entry, false), "a\u{fffd}\n");
        assert_eq!(line(&entry, true), "{\"MESSAGE\":\"a\u{fffd}\\n\",\"PRIORITY\":\"3\",\"_UID\":\"0\"}");
        assert_eq!(line(&entry[..1], false), "");
    }

    #[test]
    fn fields_become_labels_in_small_letters_and_priorities_have_names() {
        let entry = fields(&[("PRIORITY", b"3"), ("_SYSTEMD_UNIT", b"ssh.service")]);
        let pair = |n: &str, v: &str| (n.to_owned(), v.to_owned());
        assert_eq!(
            labels(&entry, None),
            [
                pair("__journal_priority_keyword", "error"),
                pair("__journal_priority", "3"),
                pair("__journal__systemd_unit", "ssh.service"),
            ]
        );
        let names = [("0", "emerg"), ("1", "alert"), ("2", "crit"), ("4", "warning"), ("5", "notice")];
        for (number, name) in names.into_iter().chain([("6", "info"), ("7", "debug"), ("9", "9")]) {
            assert_eq!(keyword(number), name);
        }
    }

    #[test]
    fn only_labels_that_rules_name_are_needed_unless_they_are_mapped_by_pattern() {
        let rule = |action| RelabelRule {
            source_labels: vec!["__journal__systemd_unit".into()],
            separator: ";".into(),
            regex: None,
            modulus: 0,
            target_label: "unit".into(),
            replacement: "$1".into(),
            action,
        };
        let rules = |action| RelabelRules(Arc::new(vec![rule(action)]));
        let some = needed(Some(&rules(RelabelAction::Replace))).unwrap();
        assert!(some.contains("__journal__systemd_unit") && some.contains("unit") && some.len() == 2);
        assert_eq!(needed(Some(&rules(RelabelAction::LabelMap))), None);
        assert_eq!(needed(None), Some(HashSet::new()));
        let entry = fields(&[("_SYSTEMD_UNIT", b"a"), ("_PID", b"1")]);
        assert_eq!(labels(&entry, Some(&some)).len(), 1);
    }
}

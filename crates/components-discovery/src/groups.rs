//! Target groups, as files and HTTP servers list them: addresses with labels that they share.
//!
//! `[{"targets": ["host:port"], "labels": {"name": "value"}}]`, in JSON or YAML.

use std::collections::BTreeMap;

use component::Target;
use serde::Deserialize;
use signal::target::ADDRESS;

/// One group.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Values of `__address__`.
    #[serde(default)]
    targets: Vec<String>,
    /// Labels of all of them.
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

impl Group {
    /// The targets, each with the group's labels and one more.
    pub fn targets<'a>(&'a self, extra: (&'a str, &'a str)) -> impl Iterator<Item = Target> + 'a {
        self.targets.iter().map(move |address| {
            let own = [(ADDRESS, address.as_str()), extra];
            let labels = self.labels.iter().flatten().map(|(n, v)| (n.as_str(), v.as_str()));
            // A target's own labels win over its group's.
            let shared = labels.filter(|(name, _)| own.iter().all(|(n, _)| n != name));
            Target::from_pairs(shared.chain(own).collect::<Vec<_>>())
        })
    }
}

/// Reads JSON.
pub fn from_json(text: &[u8]) -> Result<Vec<Group>, String> {
    let groups: Vec<Option<Group>> = serde_json::from_slice(text).map_err(|e| e.to_string())?;
    all(groups)
}

/// Reads YAML.
pub fn from_yaml(text: &str) -> Result<Vec<Group>, String> {
    if text.lines().all(|l| l.trim().is_empty() || l.trim_start().starts_with('#')) {
        return Ok(Vec::new());
    }
    let groups: Vec<Option<Group>> = serde_saphyr::from_str(text).map_err(|e| e.to_string())?;
    all(groups)
}

fn all(groups: Vec<Option<Group>>) -> Result<Vec<Group>, String> {
    let missing = |i| format!("group {i} is null");
    groups.into_iter().enumerate().map(|(i, group)| group.ok_or_else(|| missing(i))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::target;

    fn targets(groups: &[Group]) -> Vec<Target> {
        groups.iter().flat_map(|g| g.targets(("__meta_x", "y"))).collect()
    }

    #[test]
    fn json_and_yaml_say_the_same() {
        let json =
            br#"[{"targets": ["a:1", "b:2"], "labels": {"env": "x", "n": "017"}}, {"targets": ["c:3"]}]"#;
        let yaml =
            "# comment\n- targets: ['a:1', b:2]\n  labels:\n    env: x\n    n: 017\n- targets: [c:3]\n";
        let expected = [
            target(&[("__address__", "a:1"), ("env", "x"), ("n", "017"), ("__meta_x", "y")]),
            target(&[("__address__", "b:2"), ("env", "x"), ("n", "017"), ("__meta_x", "y")]),
            target(&[("__address__", "c:3"), ("__meta_x", "y")]),
        ];
        assert_eq!(targets(&from_json(json).unwrap()), expected);
        assert_eq!(targets(&from_yaml(yaml).unwrap()), expected);
    }

    #[test]
    fn labels_that_look_like_something_else_are_text() {
        let yaml = "- targets: [a]\n  labels: {on: yes, port: 8080, ratio: 1.50, none: true}\n";
        let expected =
            [("__address__", "a"), ("on", "yes"), ("port", "8080"), ("ratio", "1.50"), ("none", "true")];
        let mut pairs = expected.to_vec();
        pairs.push(("__meta_x", "y"));
        assert_eq!(targets(&from_yaml(yaml).unwrap()), [target(&pairs)]);
    }

    #[test]
    fn a_target_keeps_its_own_address() {
        let json = br#"[{"targets": ["a"], "labels": {"__address__": "group", "__meta_x": "group"}}]"#;
        assert_eq!(targets(&from_json(json).unwrap()), [target(&[("__address__", "a"), ("__meta_x", "y")])]);
    }

    #[test]
    fn rubbish_is_an_error_and_nothing_is_no_group() {
        for bad in ["{", "[null]", r#"[{"target": ["a"]}]"#, r#"[{"targets": "a"}]"#, r#""x""#] {
            assert!(from_json(bad.as_bytes()).is_err(), "{bad}");
            assert!(from_yaml(bad).is_err(), "{bad}");
        }
        assert_eq!(from_yaml("\n# nothing\n").unwrap(), []);
        assert_eq!(from_json(b"[]").unwrap(), []);
    }
}

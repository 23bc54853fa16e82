//! Against answers of Prometheus (`testdata/relabel.txt`) and against a plain reading of the rules.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Undoes Go's `strconv.QuoteToASCII` where only characters of the test data appear.
fn unquote(quoted: &str) -> String {
    let inner = quoted.strip_prefix('"').and_then(|q| q.strip_suffix('"')).unwrap();
    let mut out = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '\\' { chars.next() } else { None }) {
            (_, Some('u')) => {
                let hex: String = chars.by_ref().take(4).collect();
                out.push(char::from_u32(u32::from_str_radix(&hex, 16).unwrap()).unwrap());
            }
            (_, Some('n')) => out.push('\n'),
            (_, Some(escaped)) => out.push(escaped),
            (plain, None) => out.push(plain),
        }
    }
    out
}

fn labels(fields: &[&str]) -> Labels {
    let texts: Vec<String> = fields.iter().filter(|f| !f.is_empty()).map(|f| unquote(f)).collect();
    // Prometheus' labelmap can make a label without a name, which no reader accepts; we leave it out.
    Labels::from_pairs(texts.chunks_exact(2).map(|pair| (&pair[0], &pair[1])))
}

fn rule(fields: &[&str]) -> (NameScheme, Rule) {
    let names = if fields[0] == "utf8" { NameScheme::Utf8 } else { NameScheme::Legacy };
    let sources = unquote(fields[2]);
    let rule = Rule {
        source_labels: sources.split(',').filter(|s| !s.is_empty()).map(str::to_owned).collect(),
        separator: unquote(fields[3]),
        regex: Regex::anchored(&unquote(fields[4])).unwrap(),
        modulus: fields[5].parse().unwrap(),
        target_label: unquote(fields[6]),
        replacement: unquote(fields[7]),
        action: fields[1].parse().unwrap(),
    };
    (names, rule)
}

#[test]
fn rules_are_refused_or_work_as_in_prometheus() {
    let lines: Vec<Vec<&str>> = include_str!("../../testdata/relabel.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split('\t').collect())
        .collect();
    let of_kind = |kind: &'static str| lines.iter().filter(move |fields| fields[0] == kind);
    let sets: Vec<Labels> = of_kind("set").map(|fields| labels(&fields[1..])).collect();
    for (set, fields) in sets.iter().zip(of_kind("hash")) {
        assert_eq!(set.stable_hash().to_string(), fields[1], "{set}");
    }
    let mut wrong = Vec::new();
    for block in lines.chunk_by(|_, next| next[0] != "rule").filter(|block| block[0][0] == "rule") {
        let (names, rule) = rule(&block[0][1..]);
        let compiled = Rules::new(vec![rule.clone()], names);
        let expected_error =
            block.iter().find(|fields| fields[0] == "error").map(|fields| unquote(fields[1]));
        let rules = match (compiled, expected_error) {
            (Ok(rules), None) => rules,
            (Err((0, error)), Some(expected)) if error.to_string() == expected => continue,
            (other, expected) => {
                wrong.push(format!("{rule:?}: {other:?} instead of {expected:?}"));
                continue;
            }
        };
        for (i, set) in sets.iter().enumerate() {
            let answer = block[1..].iter().find(|fields| fields[1] == i.to_string());
            let expected = match answer {
                None => Some(set.clone()),
                Some(fields) if fields[0] == "drop" => None,
                Some(fields) => Some(labels(&fields[2..])),
            };
            let ours = rules.relabel(set);
            if ours != expected {
                wrong.push(format!("{rule:?} on {set}: {ours:?} instead of {expected:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_series_without_labels_is_dropped_and_an_unchanged_one_is_the_same_handle() {
    let series = Series::intern(Labels::from_pairs([("relabel_test", "1")]));
    let with = |action, regex: &str| {
        let rule = Rule { action, regex: Regex::anchored(regex).unwrap(), ..Rule::default() };
        Rules::new(vec![rule], NameScheme::Legacy).unwrap()
    };
    assert_eq!(with(Action::LabelDrop, "relabel_.*").relabel_series(&series), None);
    let kept = with(Action::LabelDrop, "other").relabel_series(&series).unwrap();
    assert!(kept.ptr_eq(&series));
}

#[test]
fn a_pattern_that_could_match_anywhere_is_anchored() {
    let regex = Regex::new("a").unwrap();
    let rule = Rule { action: Action::LabelDrop, regex, ..Rule::default() };
    let rules = Rules::new(vec![rule], NameScheme::Legacy).unwrap();
    let left = rules.relabel(&Labels::from_pairs([("a", "1"), ("ab", "2")]));
    assert_eq!(left, Some(Labels::from_pairs([("ab", "2")])));
}

#[test]
fn chains_are_equal_by_definition() {
    let chain = || Rules::new(vec![Rule { target_label: "x".into(), ..Rule::default() }], NameScheme::Legacy);
    assert_eq!(chain(), chain());
    assert_ne!(chain().unwrap(), Rules::none());
    let bad = vec![Rule { target_label: "x".into(), ..Rule::default() }, Rule::default()];
    let (place, error) = Rules::new(bad, NameScheme::Legacy).unwrap_err();
    assert_eq!(place, 1);
    assert_eq!(error.to_string(), "relabel configuration for replace action requires 'target_label' value");
}

/// The rules read as they are written, with maps and the automaton only.
fn naive(rules: &[Rule], labels: &Labels) -> Option<BTreeMap<String, String>> {
    let mut set: BTreeMap<String, String> =
        labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    for rule in rules {
        let value = |name: &String| set.get(name).cloned().unwrap_or_default();
        let source = rule.source_labels.iter().map(value).collect::<Vec<_>>().join(&rule.separator);
        let regex = regex::Regex::new(&format!("^(?s:{})$", rule.regex)).unwrap();
        match rule.action {
            Action::Keep if !regex.is_match(&source) => return None,
            Action::Drop if regex.is_match(&source) => return None,
            Action::KeepEqual if value(&rule.target_label) != source => return None,
            Action::DropEqual if value(&rule.target_label) == source => return None,
            Action::Replace => {
                if let Some(captures) = regex.captures(&source) {
                    let (mut name, mut result) = (String::new(), String::new());
                    captures.expand(&rule.target_label, &mut name);
                    captures.expand(&rule.replacement, &mut result);
                    if NameScheme::Legacy.allows_label(&name) {
                        set.insert(name, result);
                    }
                }
            }
            Action::LabelMap => {
                for (name, value) in set.clone() {
                    if regex.is_match(&name) {
                        set.insert(regex.replace_all(&name, rule.replacement.as_str()).into_owned(), value);
                    }
                }
            }
            Action::LabelDrop => set.retain(|name, _| !regex.is_match(name)),
            Action::LabelKeep => set.retain(|name, _| regex.is_match(name)),
            _ => {}
        }
        set.retain(|name, value| !name.is_empty() && !value.is_empty());
    }
    Some(set)
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let name = || proptest::sample::select(vec!["a", "b", "c", "ab"]);
    let regex = proptest::sample::select(vec![
        "(.*)",
        ".*",
        "(.+)",
        "a",
        "a|b",
        "a(.*)",
        "(.*)b",
        "x.+",
        "([^;]*);?(.*)",
        "(a|b)+(c?)",
        "",
    ]);
    let action = proptest::sample::select(vec![
        Action::Replace,
        Action::Keep,
        Action::Drop,
        Action::LabelMap,
        Action::LabelDrop,
        Action::LabelKeep,
        Action::KeepEqual,
        Action::DropEqual,
    ]);
    let target = proptest::sample::select(vec!["a", "b", "n_$1", "${1}"]);
    let replacement = proptest::sample::select(vec!["$1", "x", "${1}a", "$2b", "", "b_$0"]);
    (proptest::collection::vec(name(), 0..3), regex, action, target, replacement).prop_map(
        |(sources, regex, action, target, replacement)| Rule {
            source_labels: sources.into_iter().map(str::to_owned).collect(),
            regex: Regex::anchored(regex).unwrap(),
            target_label: target.to_owned(),
            replacement: replacement.to_owned(),
            action,
            ..Rule::default()
        },
    )
}

proptest! {
    #[test]
    fn chains_do_what_their_rules_say_one_after_the_other(
        rules in proptest::collection::vec(any_rule(), 0..5),
        pairs in proptest::collection::vec(("[abc]{1,2}", "[abx;]{0,3}"), 0..5),
    ) {
        let labels = Labels::from_pairs(pairs);
        // Unvalidated: a chain for any rules.
        let steps = rules.iter().map(Step::new).collect();
        let chain = Rules(Arc::new(Chain { definition: rules.clone(), names: NameScheme::Legacy, steps }));
        let ours = chain.relabel(&labels);
        let expected = naive(&rules, &labels).map(Labels::from_pairs);
        prop_assert_eq!(ours, expected);
    }
}

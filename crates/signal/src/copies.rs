//! Labels that are copied onto the data of a target, by the value that both have in common.

use hashbrown::HashMap;

use crate::{Labels, LabelsBuilder};

/// What is copied, by the value of a label.
#[derive(Debug, Default)]
pub struct Copies {
    by_value: HashMap<String, Labels, foldhash::fast::RandomState>,
    /// Of the data.
    label: String,
}

impl Copies {
    /// Of targets by their label `target_label`, for data by its label `label` (empty: of the same name); only the
    /// labels in `wanted`, all if there are none. Of targets with the same value the last counts; those without it count
    /// for nothing.
    pub fn new<'a>(
        targets: impl IntoIterator<Item = &'a Labels>,
        target_label: &str,
        label: &str,
        wanted: &[String],
    ) -> Self {
        let copied = |name: &str| wanted.is_empty() || wanted.iter().any(|w| w == name);
        let by_value = targets.into_iter().filter_map(|target| {
            let value = target.get(target_label).filter(|v| !v.is_empty())?;
            Some((value.to_string(), Labels::from_pairs(target.iter().filter(|(name, _)| copied(name)))))
        });
        let label = if label.is_empty() { target_label } else { label };
        Self { by_value: by_value.collect(), label: label.to_owned() }
    }

    /// The labels of data with the target's beside or instead of its own.
    pub fn onto(&self, labels: &Labels) -> Labels {
        let copied = labels.get(&self.label).and_then(|value| self.by_value.get(value));
        let Some(copied) = copied.filter(|c| !c.is_empty()) else { return labels.clone() };
        let mut builder = LabelsBuilder::new();
        builder.reset(labels);
        for (name, value) in copied {
            builder.set(name, value);
        }
        builder.build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_target_of_a_value_counts_and_what_matches_none_stays() {
        let target = |pairs: &[(&str, &str)]| Labels::from_pairs(pairs.iter().copied());
        let targets = [
            target(&[("host", "a"), ("rack", "1"), ("os", "linux")]),
            target(&[("host", "a"), ("rack", "2")]),
            target(&[("host", ""), ("rack", "never")]),
        ];
        let copies = Copies::new(&targets, "host", "node", &["rack".to_owned()]);
        let of = |pairs: &[(&str, &str)]| copies.onto(&Labels::from_pairs(pairs.iter().copied())).to_string();
        assert_eq!(of(&[("node", "a"), ("rack", "own")]), r#"{node="a", rack="2"}"#);
        assert_eq!(of(&[("node", "b"), ("rack", "own")]), r#"{node="b", rack="own"}"#);
        assert_eq!(of(&[("host", "a")]), r#"{host="a"}"#);
    }
}

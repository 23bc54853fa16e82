//! A discovered target: a label set with `__address__`, `__meta_*` and whatever else discovery found.
//!
//! A label with an empty value is the same as no label, as everywhere in Prometheus.

use crate::labels::Labels;

/// The label with host and port.
pub const ADDRESS: &str = "__address__";

/// One target of a discovery or of a configuration. A clone is a reference count.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct Target(Labels);

impl Target {
    /// A target from labels in any order; see [`Labels::from_pairs`].
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        Self(Labels::from_pairs(pairs))
    }

    /// Its own labels over those of its group, as `targets` and `labels` of a service discovery file.
    pub fn in_group<'a>(
        own: impl IntoIterator<Item = (&'a str, &'a str)>,
        group: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        Self(Labels::from_pairs(group.into_iter().chain(own)))
    }

    /// The labels.
    pub fn labels(&self) -> &Labels {
        &self.0
    }

    /// `__address__`.
    pub fn address(&self) -> Option<&str> {
        self.0.get(ADDRESS)
    }

    /// The key by which clustered components share targets and by which duplicates are found.
    pub fn key(&self) -> u64 {
        self.0.target_hash()
    }
}

impl std::ops::Deref for Target {
    type Target = Labels;
    fn deref(&self) -> &Labels {
        &self.0
    }
}

impl From<Labels> for Target {
    fn from(labels: Labels) -> Self {
        Self(labels)
    }
}

impl From<Target> for Labels {
    fn from(target: Target) -> Self {
        target.0
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for Target {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self::from_pairs(pairs)
    }
}

impl<'a> IntoIterator for &'a Target {
    type Item = (&'a str, &'a str);
    type IntoIter = crate::labels::Iter<'a>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_targets_own_labels_win_over_its_groups() {
        let target =
            Target::in_group([("__address__", "a:1"), ("x", "own")], [("x", "group"), ("y", "group")]);
        assert_eq!(target.address(), Some("a:1"));
        assert_eq!(target.iter().collect::<Vec<_>>(), [("__address__", "a:1"), ("x", "own"), ("y", "group")]);
    }

    #[test]
    fn labels_for_relabelling_do_not_tell_targets_apart() {
        let one = Target::from_pairs([("__address__", "a:1"), ("__meta_x", "1")]);
        let two = Target::from_pairs([("__address__", "a:1"), ("__meta_x", "2")]);
        assert_eq!(one.key(), two.key());
        assert_ne!(one, two);
    }
}

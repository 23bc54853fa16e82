//! `matches`: `FIELD=value` terms, as journalctl takes them.
//!
//! Terms of one field are alternatives, terms of several fields must all hold, and `+` begins another set.

use std::collections::BTreeMap;

use sdjournal::{EntryRef, JournalQuery};

/// So many terms are looked up in the journal's index; more are checked entry by entry.
const MAX_INDEXED: usize = 64;

/// Which entries are wanted: any of the sets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matches(Vec<BTreeMap<String, Vec<String>>>);

impl Matches {
    /// Reads terms separated by white space.
    ///
    /// # Errors
    /// If a term is not one.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut sets = vec![BTreeMap::<String, Vec<String>>::new()];
        for term in text.split_whitespace() {
            if term == "+" {
                sets.push(BTreeMap::new());
                continue;
            }
            let plain = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
            match term.split_once('=') {
                Some((field, value)) if !field.is_empty() && field.bytes().all(plain) => {
                    let set = sets.last_mut().expect("there is one from the start");
                    set.entry(field.to_owned()).or_default().push(value.to_owned());
                }
                _ => {
                    return Err(format!(
                        "{term:?} is no match: write FIELD=value, with the field in capitals"
                    ));
                }
            }
        }
        sets.retain(|set| !set.is_empty());
        Ok(Self(sets))
    }

    /// Whether an entry is wanted.
    pub fn hold(&self, entry: &EntryRef) -> bool {
        let has = |field: &str, values: &[String]| {
            entry.iter_fields().any(|(f, v)| f == field && values.iter().any(|w| w.as_bytes() == v))
        };
        self.0.is_empty() || self.0.iter().any(|set| set.iter().all(|(field, values)| has(field, values)))
    }

    /// Lets the journal's index find the entries, where that is possible. An entry may come more than once.
    pub fn look_up(&self, query: &mut JournalQuery) {
        let mut branches: Vec<Vec<(&str, &str)>> = Vec::new();
        for set in &self.0 {
            let mut of_set: Vec<Vec<(&str, &str)>> = vec![Vec::new()];
            for (field, values) in set {
                of_set = of_set
                    .iter()
                    .flat_map(|branch| {
                        values.iter().map(move |value| {
                            let mut longer = branch.clone();
                            longer.push((field, value));
                            longer
                        })
                    })
                    .take(MAX_INDEXED + 1)
                    .collect();
            }
            branches.extend(of_set);
        }
        if branches.iter().map(Vec::len).sum::<usize>() > MAX_INDEXED {
            return;
        }
        for branch in branches {
            // All terms of a group have to hold, and one of the groups.
            query.or_group(|group| {
                for (field, value) in branch {
                    group.match_exact(field, value.as_bytes());
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_fields_with_values_in_sets() {
        let matches = Matches::parse("_UID=0 _UID=1 _TRANSPORT=kernel\t+ PRIORITY=3").unwrap();
        assert_eq!(matches.0.len(), 2);
        assert_eq!(matches.0[0]["_UID"], ["0", "1"]);
        assert_eq!(Matches::parse(" "), Ok(Matches::default()));
        assert_eq!(Matches::parse("+ A=b=c +").unwrap().0[0]["A"], ["b=c"]);
        for bad in ["x", "=x", "unit=a", "A B=1"] {
            assert!(Matches::parse(bad).is_err(), "{bad}");
        }
    }
}

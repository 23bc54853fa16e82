//! "Did you mean …?"

/// The candidate most like `name`, where one is near enough to have been meant: at most a third of its
/// characters away (an exchange of neighbours counts once), or another spelling of the same words.
pub fn closest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .filter(|c| *c != name)
        .map(|c| (if same_words(name, c) { 0 } else { distance(name, c) }, c))
        .filter(|(d, _)| *d <= limit)
        .min_by_key(|(d, _)| *d)
        .map(|(_, c)| c)
}

/// `help` text with the closest candidate, or what else there is if that is a short list.
pub(crate) fn help(name: &str, candidates: &[&str]) -> Option<String> {
    if let Some(near) = closest(name, candidates.iter().copied()) {
        return Some(format!("did you mean {near:?}?"));
    }
    match candidates.len() {
        0 => None,
        1..=12 => Some(format!("there is {}", candidates.join(", "))),
        _ => None,
    }
}

fn same_words(a: &str, b: &str) -> bool {
    let plain =
        |s: &str| s.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect::<String>();
    plain(a) == plain(b)
}

/// Optimal string alignment distance.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(64).collect();
    let b: Vec<char> = b.chars().take(64).collect();
    let mut older = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let cost = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + cost);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(older[j - 2] + 1);
            }
        }
        older = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_name_is_suggested_and_a_far_one_is_not() {
        let names = ["scrape_interval", "scrape_timeout", "targets", "forward_to"];
        for (written, meant) in [
            ("scrape_intervall", Some("scrape_interval")),
            ("forwardTo", Some("forward_to")),
            ("tragets", Some("targets")),
            ("colour", None),
        ] {
            assert_eq!(closest(written, names), meant, "{written}");
        }
    }
}

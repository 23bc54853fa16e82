//! What Loki means by a refusal.
//!
//! Loki checks entry by entry: those that it does not want are left out, the others stored, and the answer is 400
//! all the same, with a text about (some of) the former. Sending such a request again, whole or in parts, would
//! only repeat the refusal. The texts are those of loki/pkg/validation and loki/pkg/ingester.

/// Part of a request was refused and the rest taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Partial {
    /// Why, as the counter of drops names it.
    pub reason: &'static str,
    /// How many entries, as far as the text tells; at least one.
    pub entries: u64,
}

/// Texts by which refusals of single entries are known.
const TEXTS: [(&str, &str); 6] = [
    ("entry out of order", "out_of_order"),
    ("entry too far behind", "too_far_behind"),
    ("has timestamp too old", "too_old"),
    ("has timestamp too new", "too_new"),
    ("Max entry size", "line_too_long"),
    ("structured metadata", "structured_metadata"),
];

/// Reads the body of a 400.
pub(super) fn partial(text: &str) -> Option<Partial> {
    let (_, reason) = TEXTS.into_iter().find(|(known, _)| text.contains(known))?;
    // One line a refused entry up to a limit, then "total ignored: 3 out of 10" for each stream.
    let totals = text.split("total ignored: ").skip(1);
    let totals: u64 = totals.filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok()).sum();
    let mentioned = TEXTS.iter().map(|(known, _)| text.matches(known).count() as u64).sum::<u64>();
    Some(Partial { reason, entries: totals.max(mentioned).max(1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_entries_are_told_from_refusals_of_requests() {
        let stream = r#"{a="b"}"#;
        let cases = [
            (
                format!(
                    "entry with timestamp 2024-01-02 03:04:05 +0000 UTC ignored, reason: 'entry out of order',\n\
                     user 'fake', total ignored: 3 out of 10 for stream: {stream}"
                ),
                Some(("out_of_order", 3)),
            ),
            (
                format!(
                    "entry with timestamp X ignored, reason: 'entry too far behind, entry timestamp is: X, oldest \
                     acceptable timestamp is: Y',\nuser 'fake', total ignored: 1 out of 1 for stream: {stream}"
                ),
                Some(("too_far_behind", 1)),
            ),
            (
                format!(
                    "entry for stream '{stream}' has timestamp too old: X, oldest acceptable timestamp is: Y"
                ),
                Some(("too_old", 1)),
            ),
            (format!("entry for stream '{stream}' has timestamp too new: X"), Some(("too_new", 1))),
            (
                format!("Max entry size '262144' bytes exceeded for stream '{stream}' while adding an entry"),
                Some(("line_too_long", 1)),
            ),
            (
                format!("stream '{stream}' has structured metadata too large"),
                Some(("structured_metadata", 1)),
            ),
            ("error parsing labels {a: unexpected end".into(), None),
            ("error at least one label pair is required per stream".into(), None),
            (String::new(), None),
        ];
        for (text, expected) in cases {
            let found = partial(&text).map(|p| (p.reason, p.entries));
            assert_eq!(found, expected, "{text}");
        }
    }
}

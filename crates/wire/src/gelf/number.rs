//! Numbers as Go's `encoding/json` reads them.

/// A JSON number.
pub(super) fn parse(json: &str) -> Option<f64> {
    let first = json.bytes().next()?;
    (first == b'-' || first.is_ascii_digit())
        .then(|| json.parse().ok())
        .flatten()
        .filter(|n: &f64| n.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_numbers_are_read() {
        for (text, expected) in [
            ("1", Some(1.0)),
            ("-1.5e3", Some(-1500.0)),
            ("\"1\"", None),
            ("null", None),
            ("1e999", None),
            ("", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}

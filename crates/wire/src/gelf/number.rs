//! Numbers as Go's `encoding/json` reads and writes them.

use std::fmt::Write as _;

/// A JSON number.
pub(super) fn parse(json: &str) -> Option<f64> {
    let first = json.bytes().next()?;
    (first == b'-' || first.is_ascii_digit())
        .then(|| json.parse().ok())
        .flatten()
        .filter(|n: &f64| n.is_finite())
}

/// The shortest digits that give the number back; with an exponent below 1e-6 and from 1e21 on.
pub(super) fn write(number: f64, out: &mut String) {
    let size = number.abs();
    if size == 0.0 || (1e-6..1e21).contains(&size) {
        let _ = write!(out, "{number}");
        return;
    }
    let text = format!("{number:e}");
    let (digits, exponent) = text.split_once('e').expect("this format always has an exponent");
    let sign = if exponent.starts_with('-') { '-' } else { '+' };
    // Go pads exponents to two digits and its JSON takes the padding off for negative ones only.
    let exponent = exponent.trim_start_matches('-');
    let _ = write!(out, "{digits}e{sign}{exponent}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_look_as_go_writes_them() {
        for (number, expected) in [
            (0.0, "0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (1_385_053_862.307_2, "1385053862.3072"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.25e-7, "1.25e-7"),
            (1e-6, "0.000001"),
        ] {
            let mut out = String::new();
            write(number, &mut out);
            assert_eq!(out, expected);
        }
    }

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

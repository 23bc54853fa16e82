//! Times as container runtimes write them. As Go's `time.Parse(time.RFC3339Nano, …)`.

/// Nanoseconds since the Unix epoch of `2006-01-02T15:04:05.999999999Z07:00`; the fraction may be absent and of
/// any length, a comma may stand for its point. `None` for anything else and for times outside of 1677–2262.
pub fn parse(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let (head, rest) = bytes.split_at_checked(19)?;
    let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if separators.iter().any(|(at, byte)| head[*at] != *byte) {
        return None;
    }
    let field = |from: usize, to: usize| number(&head[from..to]);
    let (year, month, day) = (field(0, 4)?, field(5, 7)?, field(8, 10)?);
    let (hour, minute, second) = (field(11, 13)?, field(14, 16)?, field(17, 19)?);
    if !(1..=12).contains(&month) || !(1..=days_in(year, month)).contains(&day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (nanos, zone) = fraction(rest)?;
    let seconds =
        days_since_epoch(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset(zone)?;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanos)
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |n, d| d.is_ascii_digit().then(|| n * 10 + i64::from(d - b'0')))
}

/// Nanoseconds, and what stands behind the fraction. More than nine digits are cut.
fn fraction(rest: &[u8]) -> Option<(i64, &[u8])> {
    let [b'.' | b',', digits @ ..] = rest else { return Some((0, rest)) };
    let end = digits.iter().position(|d| !d.is_ascii_digit()).unwrap_or(digits.len());
    let (digits, zone) = digits.split_at(end);
    if digits.is_empty() {
        return None;
    }
    let kept = &digits[..digits.len().min(9)];
    let scale = 10_i64.pow(9 - u32::try_from(kept.len()).expect("at most nine"));
    Some((number(kept)? * scale, zone))
}

/// Seconds east of Greenwich.
fn offset(zone: &[u8]) -> Option<i64> {
    match zone {
        b"Z" => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?);
            if hours > 24 || minutes > 59 {
                return None;
            }
            let seconds = hours * 3600 + minutes * 60;
            Some(if *sign == b'+' { seconds } else { -seconds })
        }
        _ => None,
    }
}

fn days_in(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Of the proleptic Gregorian calendar: whole years since March of year 0, then days within.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let days = 365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    days + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_read_as_go_reads_them() {
        let cases = [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2019-04-30T02:12:41.8443515Z", Some(1_556_590_361_844_351_500)),
            ("2019-04-30T02:12:41.844351500+02:00", Some(1_556_583_161_844_351_500)),
            ("2000-02-29T23:59:59.1234567891-00:30", Some(951_870_599_123_456_789)),
            ("1969-12-31T23:59:59,5Z", Some(-500_000_000)),
            ("2019-02-29T00:00:00Z", None),
            ("2019-04-30T24:00:00Z", None),
            ("2019-04-30T02:12:41", None),
            ("2019-04-30T02:12:41.Z", None),
            ("2019-04-30 02:12:41Z", None),
            ("2019-04-30T02:12:41Zx", None),
            ("2019-04-30T02:12:4é", None),
            ("9999-04-30T02:12:41Z", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_time_is_read_back(ns in any::<i64>()) {
            let time = jiff::Timestamp::from_nanosecond(i128::from(ns)).expect("in range");
            prop_assert_eq!(parse(&format!("{time:.9}")), Some(ns));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[0-9TZ:.+-]{0,40}|.{0,40}") {
            let _ = parse(&text);
        }
    }
}

//! Numbers of the text formats: reads what Prometheus reads, formats bounds as OpenMetrics wants them.

/// The NaN that a parsed `NaN` becomes. As prometheus/model/value: `NormalNaN`.
pub const NORMAL_NAN: f64 = f64::from_bits(0x7ff8_0000_0000_0001);

/// Powers of ten that a double holds exactly.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// Reads what stands behind a series where that is one blank, a value and the end of the line: the value, and
/// how long all of it is. `None` where there is anything else; both text formats have lines of this form.
pub fn plain_value(text: &[u8]) -> Option<(f64, usize)> {
    let [b' ', number @ ..] = text else { return None };
    // What most values are: a few digits.
    if let Some(eight) = number.first_chunk::<8>() {
        let (value, len) = up_to_eight_digits(*eight);
        if len > 0 && number.get(len) == Some(&b'\n') {
            return Some((value as f64, len + 2));
        }
    }
    if let Some((value, len)) = short_decimal(number)
        && number.get(len) == Some(&b'\n')
    {
        return Some((value, len + 2));
    }
    let len = memchr::memchr(b'\n', number)?;
    parse_float(&number[..len]).map(|value| (value, len + 2))
}

/// Reads a short decimal number at the start of `text`: the value and its length. `None` means only that
/// the fast way does not apply: the caller then finds the end of the token and asks [`parse_float`]. The
/// caller checks that a delimiter follows.
///
/// Exact (Clinger's fast path): an integer below 2^53 times or over a power of ten up to 10^22 takes one
/// correctly rounded operation.
pub fn short_decimal(text: &[u8]) -> Option<(f64, usize)> {
    let mut i = 0;
    let negative = match text.first()? {
        b'-' => true,
        b'+' => return None,
        _ => false,
    };
    i += usize::from(negative);
    let mut mantissa = 0u64;
    let mut digits = leading_digits(&text[i..], &mut mantissa);
    i += digits;
    let mut exponent = 0i32;
    if text.get(i) == Some(&b'.') {
        let fraction = leading_digits(&text[i + 1..], &mut mantissa);
        i += 1 + fraction;
        digits += fraction;
        exponent = -i32::try_from(fraction).ok()?;
    }
    // Nineteen digits fit into 64 bits.
    if digits == 0 || digits > 19 {
        return None;
    }
    if let Some(b'e' | b'E') = text.get(i) {
        let (stated, len) = short_exponent(&text[i + 1..])?;
        exponent += stated;
        i += 1 + len;
    }
    if mantissa > 1 << 53 {
        return None;
    }
    let power = *EXACT_POWERS.get(exponent.unsigned_abs() as usize)?;
    let value = if exponent < 0 { mantissa as f64 / power } else { mantissa as f64 * power };
    Some((if negative { -value } else { value }, i))
}

/// Puts the digits that `text` begins with behind those of `mantissa`, which wraps around, and tells how many they are.
#[inline(always)]
fn leading_digits(text: &[u8], mantissa: &mut u64) -> usize {
    let mut i = 0;
    while let Some(eight) = text[i..].first_chunk::<8>() {
        let (value, count) = up_to_eight_digits(*eight);
        *mantissa = mantissa.wrapping_mul(POWERS[count]).wrapping_add(value);
        i += count;
        if count < 8 {
            return i;
        }
    }
    while let Some(digit) = digit(text, i) {
        *mantissa = mantissa.wrapping_mul(10).wrapping_add(digit);
        i += 1;
    }
    i
}

/// Powers of ten by the number of digits that are read at a time.
const POWERS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// The number that these bytes begin with, and how many digits it has. All are looked at together: as bytes, then as
/// pairs of digits, then as fours, as simdjson reads eight digits.
#[inline(always)]
fn up_to_eight_digits(text: [u8; 8]) -> (u64, usize) {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let bytes = u64::from_le_bytes(text) ^ (EACH * u64::from(b'0'));
    // The uppermost bit of a byte that is no digit: it is above 9, or has that bit already.
    let others = (((bytes & (EACH * 0x7f)) + EACH * (0x80 - 10)) | bytes) & (EACH * 0x80);
    let count = others.trailing_zeros() as usize / 8;
    if count == 0 {
        return (0, 0);
    }
    // Noughts in front instead of what follows. The first digit is in the lowest byte.
    let digits = bytes << (8 * (8 - count));
    let pairs = (digits * 10 + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    ((fours & 0xffff) * 10_000 + (fours >> 32), count)
}

#[inline(always)]
fn digit(text: &[u8], i: usize) -> Option<u64> {
    text.get(i).map(|b| b.wrapping_sub(b'0')).filter(|d| *d <= 9).map(u64::from)
}

fn short_exponent(text: &[u8]) -> Option<(i32, usize)> {
    let (negative, mut i) = match text.first()? {
        b'-' => (true, 1),
        b'+' => (false, 1),
        _ => (false, 0),
    };
    let at = i;
    let mut value = 0i32;
    while let Some(digit) = digit(text, i) {
        value = value * 10 + digit as i32;
        i += 1;
        if i - at > 3 {
            return None;
        }
    }
    (i > at).then_some((if negative { -value } else { value }, i))
}

/// Reads a whole token as a float. Accepts what Prometheus accepts: Go's `strconv.ParseFloat` without
/// underscores and hexadecimal floats (prometheus/model/textparse: `parseFloat`), so `inf` and `infinity` in
/// any case with a sign, `nan` in any case without one, and no number that overflows.
pub fn parse_float(token: &[u8]) -> Option<f64> {
    if let Some((value, len)) = short_decimal(token)
        && len == token.len()
    {
        return Some(value);
    }
    let unsigned = match token {
        [b'+' | b'-', rest @ ..] => rest,
        _ => token,
    };
    match unsigned.first()? {
        b'n' | b'N' => token.eq_ignore_ascii_case(b"nan").then_some(NORMAL_NAN),
        b'i' | b'I' => {
            let known = unsigned.eq_ignore_ascii_case(b"inf") || unsigned.eq_ignore_ascii_case(b"infinity");
            known.then_some(if token[0] == b'-' { f64::NEG_INFINITY } else { f64::INFINITY })
        }
        // The rest of the grammar is that of Rust: digits, a point, an exponent.
        _ => std::str::from_utf8(token).ok()?.parse().ok().filter(|v: &f64| v.is_finite()),
    }
}

/// Formats a bucket bound or quantile as OpenMetrics wants it: as Go's `%g`, with `.0` behind whole
/// numbers. As prometheus/model/textparse: `formatOpenMetricsFloat`.
pub fn format_bound(value: f64) -> String {
    let mut out = String::new();
    format_go(value, &mut out);
    if !value.is_nan() && !value.is_infinite() && !out.contains(['.', 'e']) {
        out.push_str(".0");
    }
    out
}

/// Go's `strconv.FormatFloat(value, 'g', -1, 64)`: the shortest digits that come back, with an exponent of
/// at least two digits below 1e-4 and from 1e6 on.
pub fn format_go(value: f64, out: &mut String) {
    use std::fmt::Write;
    if value.is_nan() {
        return out.push_str("NaN");
    }
    if value.is_infinite() {
        return out.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    }
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-4..1e6).contains(&magnitude) {
        let start = out.len();
        let _ = write!(out, "{value:e}");
        // Rust writes 1e-7, Go writes 1e-07.
        if let Some(e) = out[start..].find('e') {
            let (sign, digits) = match out[start + e + 1..].strip_prefix('-') {
                Some(digits) => ("-", digits),
                None => ("+", &out[start + e + 1..]),
            };
            let exponent = format!("{sign}{digits:0>2}");
            out.truncate(start + e + 1);
            out.push_str(&exponent);
        }
    } else {
        let _ = write!(out, "{value}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_that_prometheus_takes_are_taken() {
        let cases = [
            ("0", 0.0),
            ("1", 1.0),
            ("-1", -1.0),
            ("+1", 1.0),
            ("1.", 1.0),
            (".5", 0.5),
            ("-.5e1", -5.0),
            ("1e3", 1000.0),
            ("1E+3", 1000.0),
            ("1e-3", 0.001),
            ("1.6840212e+07", 16_840_212.0),
            ("0.30000000000000004", 0.30000000000000004),
            ("123456789012345678901234567890", 1.2345678901234568e29),
            ("9007199254740993", 9007199254740992.0),
            ("1e-400", 0.0),
            ("4.9e-324", 5e-324),
            ("1.7976931348623157e308", f64::MAX),
            ("000000000000000000000000000001", 1.0),
            ("Inf", f64::INFINITY),
            ("+inf", f64::INFINITY),
            ("-INFINITY", f64::NEG_INFINITY),
        ];
        for (text, value) in cases {
            assert_eq!(parse_float(text.as_bytes()).map(f64::to_bits), Some(value.to_bits()), "{text}");
        }
        assert_eq!(parse_float(b"-0").map(f64::to_bits), Some((-0.0f64).to_bits()));
        for text in ["NaN", "nan", "NAN"] {
            assert_eq!(parse_float(text.as_bytes()).map(f64::to_bits), Some(NORMAL_NAN.to_bits()));
        }
    }

    #[test]
    fn numbers_that_prometheus_refuses_are_refused() {
        for text in [
            "", "+", "-", ".", "e", "e5", "1e", "1e+", "1_000", "0x1", "0x1p3", "0b1", "1p3", "+NaN", "-nan",
            "infi", "in", "1e400", "-1e309", "1 ", " 1", "1,5", "--1", "1.2.3", "1f", "nanx", "١",
        ] {
            assert_eq!(parse_float(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn bounds_are_formatted_as_openmetrics_wants() {
        let cases = [
            (1.0, "1.0"),
            (0.0, "0.0"),
            (-1.0, "-1.0"),
            (0.5, "0.5"),
            (10.0, "10.0"),
            (1e6, "1e+06"),
            (123456.0, "123456.0"),
            (1e20, "1e+20"),
            (1e21, "1e+21"),
            (1234567.0, "1.234567e+06"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (2.5e-7, "2.5e-07"),
            (1e100, "1e+100"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ];
        for (value, text) in cases {
            assert_eq!(format_bound(value), text);
        }
    }

    #[test]
    fn a_plain_value_ends_its_line() {
        for (text, expected) in [
            (" 7\nx{} 1\n", Some((7.0, 3))),
            (" 7\n", Some((7.0, 3))),
            (" 1234567\nx 1\n", Some((1_234_567.0, 9))),
            (" 12345678\nx 1\n", Some((12_345_678.0, 10))),
            (" 123456789\nx 1\n", Some((123_456_789.0, 11))),
            (" 1.5\nx{} 1\n", Some((1.5, 5))),
            (" -3\nx{} 1\n", Some((-3.0, 4))),
            (" 1e3\nx{} 1\n", Some((1000.0, 5))),
            (" +Inf\nx{} 1\n", Some((f64::INFINITY, 6))),
            (" 12345678", None),
            (" 7 1234\nx{} 1\n", None),
            (" 7 # {} 1\nx 1\n", None),
            (" 7\r\nx{} 12\n", None),
            (" \nx{} 12\n", None),
            ("7\nx{} 1234\n", None),
            ("", None),
        ] {
            assert_eq!(plain_value(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn digits_end_at_the_first_byte_that_is_none() {
        for count in 0..=8 {
            for other in (0..=u8::MAX).filter(|byte| !byte.is_ascii_digit()) {
                let mut text = *b"98765432";
                text[count..].fill(other);
                // What follows another byte does not count, digit or not.
                for after in [other, b'1'] {
                    text[(count + 1).min(8)..].fill(after);
                    let expected = std::str::from_utf8(&text[..count]).expect("digits").parse().unwrap_or(0);
                    assert_eq!(up_to_eight_digits(text), (expected, count), "{text:?}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn a_number_is_the_same_whatever_follows(text in "-?[0-9]{0,22}(\\.[0-9]{0,12})?", after in "[ \n}#x]{0,9}") {
            let long = format!("{text}{after}");
            let whole = text.parse::<f64>().ok();
            prop_assert_eq!(parse_float(text.as_bytes()).map(f64::to_bits), whole.map(f64::to_bits));
            if let Some((value, len)) = short_decimal(long.as_bytes()) {
                prop_assert_eq!((Some(value.to_bits()), len), (whole.map(f64::to_bits), text.len()));
            }
        }

        #[test]
        fn shortest_forms_come_back_exactly(bits: u64) {
            let value = f64::from_bits(bits);
            if value.is_finite() {
                for text in [format!("{value}"), format!("{value:e}")] {
                    prop_assert_eq!(parse_float(text.as_bytes()).map(f64::to_bits), Some(bits));
                }
                let mut text = String::new();
                format_go(value, &mut text);
                prop_assert_eq!(parse_float(text.as_bytes()).map(f64::to_bits), Some(bits));
            }
        }

        #[test]
        fn decimals_are_rounded_as_the_standard_library_rounds(text in "-?[0-9]{0,20}\\.?[0-9]{0,6}(e[+-]?[0-9]{1,3})?") {
            let reference = text.parse::<f64>().ok().filter(|v| v.is_finite());
            prop_assert_eq!(parse_float(text.as_bytes()).map(f64::to_bits), reference.map(f64::to_bits));
        }
    }
}
